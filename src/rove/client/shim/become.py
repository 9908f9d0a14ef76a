"""The step from a forked child to the task's program: clean descriptors, signals, user, limits, exec.

Runs in the child, between fork and exec, in a process without threads. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import stat
import termios
import time
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from rove.client.shim import cgroup
from rove.client.shim.contract import StartError, start_error

PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

FD_MAX = 2**31 - 1
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUSY_TRIES = 20
BUSY_PAUSE_S = 0.02
"""A program that was just unpacked may still be open for writing in a sibling's fork for a moment."""

_libc = ctypes.CDLL(None, use_errno=True)


class Identity(NamedTuple):
    """Who and what the child becomes."""

    argv: list[str]
    path: str | None
    env: dict[str, str]
    cwd: str
    uid: int | None
    gid: int | None
    groups: list[int]
    umask: int
    rlimits: list[tuple[str, int, int]]
    no_new_privs: bool
    tty: bool = False


class Child(NamedTuple):
    """A forked child that waits for `release` before it executes anything.

    refused: why it could not enter all of its control groups, "" if it could.
    """

    pid: int
    go_fd: int
    fail_fd: int
    refused: str


class _StepError(Exception):
    def __init__(self, stage: str, number: int, text: str) -> None:
        super().__init__(text)
        self.error = StartError(stage, number, text)


def prctl(option: int, value: int | bytes) -> None:
    """prctl(2) with one argument. Raises OSError."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def fork_child(identity: Identity, stdio: tuple[int, int, int], groups: Iterable[str] = ()) -> Child:
    """Fork a child that will execute the program once released. Raises OSError if there is no room for it.

    stdio: descriptors that become its 0, 1 and 2; all others are closed in it. groups: directories of
    control groups that it enters.
    """
    go_read, go_write = os.pipe()
    fail_read, fail_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(identity, stdio, groups, go_read, fail_write)
    os.close(go_read)
    os.close(fail_write)
    said = b""
    while not said.endswith(b"\n") and (piece := os.read(fail_read, 4096)):
        said += piece
    return Child(pid, go_write, fail_read, said.decode(errors="replace").strip())


def release(child: Child) -> StartError | None:
    """Let the child execute its program; wait until it did or failed. None: it runs."""
    try:
        os.write(child.go_fd, b"g")
    except OSError:
        pass  # it died: the silence below is the answer
    os.close(child.go_fd)
    with open(child.fail_fd, "rb") as file:
        data = file.read()
    return start_error(json.loads(data)) if data else None


def abandon(child: Child) -> None:
    """Let the child go without executing anything; it still has to be waited for."""
    os.close(child.go_fd)
    os.close(child.fail_fd)


def _child(
    identity: Identity, stdio: tuple[int, int, int], groups: Iterable[str], go_fd: int, fail_fd: int
) -> NoReturn:
    try:
        os.setsid()
        _reset_signals()
        os.write(fail_fd, cgroup.enter(groups).encode() + b"\n")
        if os.read(go_fd, 1):
            _arrange_descriptors(stdio, fail_fd)
            _become(identity)
    except _StepError as failure:
        _tell(fail_fd, failure.error)
    except Exception as failure:
        _tell(fail_fd, StartError("start", getattr(failure, "errno", None) or 0, str(failure)))
    finally:
        os._exit(127)


def _tell(fail_fd: int, error: StartError) -> None:
    os.write(fail_fd, json.dumps(error._asdict()).encode())


def _reset_signals() -> None:
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _arrange_descriptors(stdio: tuple[int, int, int], fail_fd: int) -> None:
    """stdio, all of them above 2, become 0, 1, 2; all else but the line to the shim is closed."""
    for target, source in enumerate(stdio):
        os.dup2(source, target)
    os.closerange(3, fail_fd)
    os.closerange(fail_fd + 1, FD_MAX)


def _become(identity: Identity) -> NoReturn:
    if identity.tty:
        _step("terminal", fcntl.ioctl, 0, termios.TIOCSCTTY, 0)
    for name, soft, hard in identity.rlimits:
        _set_rlimit(name, soft, hard)
    os.umask(identity.umask)
    _set_user(identity)
    if identity.no_new_privs:
        _step("no_new_privs", prctl, PR_SET_NO_NEW_PRIVS, 1)
    _change_dir(identity)
    _execute(identity)


def _step(stage: str, call: object, *arguments: object) -> None:
    try:
        call(*arguments)  # type: ignore[operator]
    except OSError as error:
        raise _StepError(stage, error.errno or 0, f"{stage}: {error.strerror}") from None


def _set_rlimit(name: str, soft: int, hard: int) -> None:
    number = getattr(resource, f"RLIMIT_{name.upper()}", None)
    if number is None:
        raise _StepError("rlimit", 0, f"there is no resource limit called {name!r}")
    try:
        resource.setrlimit(number, (soft, hard))
    except (OSError, ValueError) as error:
        wanted = f"resource limit {name} cannot be set to {soft}:{hard}"
        raise _StepError("rlimit", getattr(error, "errno", None) or errno.EPERM, f"{wanted}: {error}") from None


def _set_user(identity: Identity) -> None:
    if identity.uid is None or identity.uid == os.geteuid() != 0:
        return
    gid = identity.uid if identity.gid is None else identity.gid
    try:
        os.setgroups(identity.groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        text = f"cannot become user {identity.uid} and group {gid}: {error.strerror}"
        raise _StepError("user", error.errno or 0, text) from None


def _change_dir(identity: Identity) -> None:
    try:
        os.chdir(identity.cwd)
    except OSError as error:
        text = f"cannot enter the working directory {identity.cwd!r}: {error.strerror}"
        raise _StepError("cwd", error.errno or 0, text) from None


def _candidates(identity: Identity) -> list[str]:
    program = identity.path or identity.argv[0]
    if identity.path or "/" in program:
        return [program]
    places = identity.env.get("PATH", DEFAULT_PATH).split(":")
    return [os.path.join(place or ".", program) for place in places]


def _execute(identity: Identity) -> NoReturn:
    if not identity.argv or not identity.argv[0]:
        raise _StepError("arguments", errno.EINVAL, "there is no command")
    candidates = _candidates(identity)
    worst = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for program in candidates:
        error = _try_execute(program, identity)
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            worst = error
            candidates = [program]
            if error.errno != errno.EACCES:
                break
    shown = candidates[0] if len(candidates) == 1 else identity.argv[0]
    raise _StepError("exec", worst.errno or 0, _explain(shown, worst, len(candidates) > 1))


def _try_execute(program: str, identity: Identity) -> OSError:
    for tries_left in reversed(range(BUSY_TRIES)):
        try:
            os.execve(program, identity.argv, identity.env)  # noqa: S606 - no shell is the point
        except OSError as error:
            if error.errno != errno.ETXTBSY or not tries_left:
                return error
            time.sleep(BUSY_PAUSE_S)
        except ValueError as error:
            text = f"an argument or environment variable cannot be passed on: {error}"
            raise _StepError("arguments", errno.EINVAL, text) from None
    raise AssertionError("unreachable")


def _explain(program: str, error: OSError, searched: bool) -> str:
    said = f" ({error.strerror})"
    if error.errno == errno.ENOENT and searched:
        return f"program {program!r} was not found in any directory of PATH"
    if error.errno == errno.ENOENT and os.path.exists(program):
        return f"program {program!r} is there, but the interpreter or loader it names is not{said}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"program {program!r} was not found{said}"
    if error.errno == errno.EACCES:
        return f"program {program!r} {_why_not_executable(program)}{said}"
    if error.errno == errno.ENOEXEC:
        return f"program {program!r} is in a format that this machine cannot execute{said}"
    if error.errno == errno.E2BIG:
        return f"program {program!r}: its arguments and environment are too long{said}"
    return f"program {program!r} could not be executed{said}"


def _why_not_executable(program: str) -> str:
    try:
        mode = os.stat(program).st_mode
    except OSError:
        return f"cannot be reached by user {os.geteuid()}"
    if stat.S_ISDIR(mode):
        return "is a directory"
    if not mode & 0o111:
        return "is not marked executable"
    return f"may not be executed by user {os.geteuid()}"
