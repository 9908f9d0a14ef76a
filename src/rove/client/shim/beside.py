"""A command beside a task: runs in the task's context, and ends when the agent lets go of it.

Forked from the zygote. The control socket is a byte stream: in comes one line, the `ExecSpec`; out go
two, `{"ok": true, "pid": n}` (or `{"ok": false, "error": <StartError>}`) and then the `ExitRecord`.
End-of-file from the agent ends the command with everything it started. Standard library only.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from typing import Any, NoReturn

from rove.client.shim import procfs
from rove.client.shim.become import PR_SET_CHILD_SUBREAPER, PR_SET_NAME, Identity, fork_child, prctl, release
from rove.client.shim.contract import (
    FILE_SIZE_MAX,
    ExecSpec,
    ExitRecord,
    StartError,
    Unreadable,
    decode_exec,
    plain,
)
from rove.client.shim.logs import wall_clock

CHUNK_BYTES = 64 * 1024
FORCE_TRIES = 500
FORCE_PAUSE_S = 0.01


def run(control_fd: int, stdio: tuple[int, int, int]) -> NoReturn:
    """Run the command, report its end, leave nothing behind."""
    try:
        _detach()
        spec = decode_exec(_read_line(control_fd))
        if isinstance(spec, Unreadable):
            _fail(control_fd, StartError("spec", 0, f"the command's description cannot be used: {spec.detail}"))
        else:
            _run(spec, control_fd, stdio)
    except BaseException as error:
        _fail(control_fd, StartError("exec", getattr(error, "errno", None) or 0, str(error)))
    finally:
        os._exit(0)


def _detach() -> None:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_NAME, b"rove-exec")


def _read_line(fd: int) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < FILE_SIZE_MAX:
        piece = os.read(fd, CHUNK_BYTES)
        if not piece:
            raise EOFError("the agent went away")
        data += piece
    return data


def _run(spec: ExecSpec, control_fd: int, stdio: tuple[int, int, int]) -> None:
    child = fork_child(_identity(spec), stdio, spec.cgroup_dirs)
    for fd in set(stdio):
        os.close(fd)
    failure = release(child)
    if failure is not None:
        _fail(control_fd, failure)
        return
    _say(control_fd, {"ok": True, "pid": child.pid})
    status = _wait(child.pid, control_fd)
    _end_leftovers()
    code = os.waitstatus_to_exitcode(status)
    record = ExitRecord(code if code >= 0 else None, -code if code < 0 else None, at=wall_clock())
    _say(control_fd, plain(record))


def _identity(spec: ExecSpec) -> Identity:
    return Identity(
        argv=spec.argv,
        path=None,
        env=spec.env,
        cwd=spec.cwd,
        uid=spec.uid,
        gid=spec.gid,
        groups=spec.groups,
        umask=spec.umask,
        rlimits=[],
        no_new_privs=spec.no_new_privs,
        tty=spec.tty,
    )


def _wait(pid: int, control_fd: int) -> int:
    """The command's wait status; orders its end when the agent lets go."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    poll = select.poll()
    poll.register(wake_read, select.POLLIN)
    poll.register(control_fd, select.POLLIN)
    while (status := _collect(pid)) is None:
        for fd, _ in poll.poll():
            if not os.read(fd, CHUNK_BYTES):
                poll.unregister(control_fd)
                _end_descendants()
    return status


def _collect(main_pid: int) -> int | None:
    """Collect the dead; the main process's status if it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if pid == main_pid:
            return status
        if pid == 0:
            return None


def _end_leftovers() -> None:
    """Nothing that the command started outlives it."""
    for _ in range(FORCE_TRIES):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        _end_descendants()
        time.sleep(FORCE_PAUSE_S)


def _end_descendants() -> None:
    for pid in procfs.hold_descendants(os.getpid()):
        procfs.send(pid, signal.SIGKILL)


def _fail(control_fd: int, error: StartError) -> None:
    _say(control_fd, {"ok": False, "error": plain(error)})


def _say(control_fd: int, message: Any) -> None:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    try:
        os.write(control_fd, data + b"\n")
    except OSError:
        pass  # the agent has gone
