"""Starts one task for a shim: group, pipes, fork, limits, `pid` file, and only then the program.

Runs in a child of the shim that leaves when the work is done, so that its memory goes with it; the task's
process then belongs to the shim, its subreaper. Standard library only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from rove.client.shim import cgroup, procfs
from rove.client.shim.become import Child, Identity, abandon, fork_child, release
from rove.client.shim.contract import (
    CONTROL_SOCKET,
    EXIT_FILE,
    EXIT_RESERVE,
    KIND_PROCESS,
    PID_FILE,
    STDIN_NULL,
    ExitRecord,
    LaunchSpec,
    Limits,
    PidRecord,
    StartError,
    Unreadable,
    encode,
    plain,
    read_spec,
    remove_file,
    write_file,
)
from rove.client.shim.logs import LogStream, Notes, wall_clock

STARTED = b"started"
RESERVE_BYTES = 4096
LOG_FIELD = 2
GROUP_FIELD = 9


class Started(NamedTuple):
    """What came of a start."""

    record: PidRecord
    spec: LaunchSpec
    newest: tuple[int, int]
    """Numbers of the log files made for stdout and stderr; -1 where there is none."""


class _StartFailed(Exception):
    def __init__(self, error: StartError) -> None:
        super().__init__(error.text)
        self.error = error


def _failed(stage: str, error: OSError, what: str) -> _StartFailed:
    return _StartFailed(StartError(stage, error.errno or 0, f"{what}: {error.strerror}"))


def run(state_dir: str, report_fd: int, plan_fd: int, outputs: tuple[int, int], layout: cgroup.Layout) -> NoReturn:
    """Start the task, tell the shim on `plan_fd` and the agent on `report_fd`, and leave."""
    try:
        started = _start(state_dir, outputs, layout)
        os.write(plan_fd, encode_plan(started))
        report(report_fd, {"ok": True, "pid": plain(started.record)})
    except _StartFailed as failure:
        report(report_fd, {"ok": False, "error": plain(failure.error)})
    except BaseException as failure:
        Notes(state_dir).write(f"the start failed: {type(failure).__name__}: {failure}")
        report(report_fd, {"ok": False, "error": plain(StartError("start", 0, str(failure)))})
    finally:
        os._exit(0)


def report(report_fd: int, message: dict[str, Any]) -> None:
    """Tell the agent; it may have died, which changes nothing."""
    try:
        os.write(report_fd, json.dumps(message).encode())
    except OSError:
        pass


def encode_plan(started: Started) -> bytes:
    """What the shim has to know, in fields that cost it little to read.

    Main pid, seconds to drain, log directory, names of the two logs, numbers of their newest files, files
    and bytes of each, then `controller=directory` for each control group, and the word that says that it
    is complete.
    """
    spec, record = started.spec, started.record
    logs = [spec.log_dir, spec.stdout_name, spec.stderr_name, *started.newest, spec.max_files]
    fields = [record.pid, spec.drain_s, *logs, spec.max_file_bytes]
    groups = [f"{name}={path}" for name, path in record.cgroup_dirs.items()]
    texts = [*map(str, fields), *groups]
    return b"\0".join([*(os.fsencode(text) for text in texts), STARTED])


def plan_groups(plan: list[bytes]) -> dict[str, str]:
    """Controller to directory."""
    pairs = (os.fsdecode(field).partition("=") for field in plan[GROUP_FIELD:-1])
    return {name: path for name, _, path in pairs}


def open_log(plan: list[bytes], stream: int, notes: Notes) -> LogStream:
    """The log of stream 0 (stdout) or 1 (stderr)."""
    name, newest = os.fsdecode(plan[LOG_FIELD + 1 + stream]), int(plan[LOG_FIELD + 3 + stream])
    files, size = int(plan[LOG_FIELD + 5]), int(plan[LOG_FIELD + 6])
    return LogStream(os.fsdecode(plan[LOG_FIELD]), name, files, size, notes, newest=newest)


def _start(state_dir: str, outputs: tuple[int, int], layout: cgroup.Layout) -> Started:
    remove_file(f"{state_dir}/{CONTROL_SOCKET}")  # an earlier shim's
    spec = read_spec(state_dir)
    if isinstance(spec, Unreadable):
        raise _StartFailed(StartError("spec", 0, f"the task's description cannot be used: {spec.detail}"))
    runtime = RUNTIMES.get(spec.kind)
    if runtime is None:
        raise _StartFailed(StartError("kind", 0, f"this shim cannot run tasks of kind {spec.kind!r}"))
    dirs, limits = cgroup.prepare(spec.cgroup, layout) if spec.cgroup else ({}, Limits())
    try:
        newest = _make_logs(spec)
        return Started(runtime(spec, outputs, dirs, limits), spec, newest)
    except _StartFailed as failure:
        _never_ran(state_dir, failure.error)
        cgroup.try_remove(dirs.values())
        raise


def _never_ran(state_dir: str, error: StartError) -> None:
    """Leave an exit file that says why nothing ran."""
    try:
        write_file(state_dir, EXIT_FILE, encode(ExitRecord(None, None, at=wall_clock(), error=error)))
    except OSError as failure:
        Notes(state_dir).write(f"the exit file could not be written: {failure.strerror}")


def start_process(spec: LaunchSpec, outputs: tuple[int, int], dirs: dict[str, str], limits: Limits) -> PidRecord:
    """Run a plain program. The child waits until its pid is safely on disk. Raises _StartFailed.

    So nothing ever runs that a new agent could not find.
    """
    try:
        stdio = _open_stdio(spec, outputs)
        write_file(spec.state_dir, EXIT_RESERVE, b" " * RESERVE_BYTES, durable=False)
    except OSError as error:
        raise _failed("state", error, f"cannot prepare {error.filename or 'its files'}") from None
    try:
        child = fork_child(_identity(spec), stdio, dirs.values())
    except OSError as error:
        raise _failed("fork", error, "no process could be made") from None
    record = _record(spec, child, dirs, limits)
    _commit(spec.state_dir, child, record)
    return record


def _open_stdio(spec: LaunchSpec, outputs: tuple[int, int]) -> tuple[int, int, int]:
    """The task's 0, 1 and 2. Raises OSError."""
    source = "/dev/null" if spec.stdin == STDIN_NULL else spec.stdin
    stdin = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(stdin, True)
    if not spec.logs:
        sink = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        return stdin, sink, sink
    return stdin, *outputs


def _make_logs(spec: LaunchSpec) -> tuple[int, int]:
    """Make the log files, so that readers find them; their numbers. Raises _StartFailed."""
    if not spec.logs:
        return -1, -1
    try:
        os.close(os.open(spec.log_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        raise _failed("state", error, f"cannot write logs to {spec.log_dir}") from None
    return _make_log(spec, spec.stdout_name), _make_log(spec, spec.stderr_name)


def _make_log(spec: LaunchSpec, name: str) -> int:
    stream = LogStream(spec.log_dir, name, spec.max_files, spec.max_file_bytes, Notes(spec.state_dir))
    stream.close()
    return stream.index


def _identity(spec: LaunchSpec) -> Identity:
    return Identity(
        argv=spec.argv,
        path=spec.path,
        env=spec.env,
        cwd=spec.cwd,
        uid=spec.uid,
        gid=spec.gid,
        groups=spec.groups,
        umask=spec.umask,
        rlimits=spec.rlimits,
        no_new_privs=spec.no_new_privs,
    )


def _record(spec: LaunchSpec, child: Child, dirs: dict[str, str], limits: Limits) -> PidRecord:
    if child.refused:
        limits.missing["group"] = child.refused
    if spec.oom_score_adj is not None:
        _adjust_oom(child.pid, spec.oom_score_adj, limits)
    if spec.cores:
        _hold_to_cores(child.pid, spec.cores, limits)
    shim_pid = os.getppid()
    return PidRecord(
        pid=child.pid,
        start_ticks=procfs.start_ticks_of(child.pid),
        shim_pid=shim_pid,
        shim_start_ticks=procfs.start_ticks_of(shim_pid),
        boot_id=procfs.boot_id(),
        started_at=wall_clock(),
        cgroup_dirs=dirs,
        limits=limits,
    )


def _adjust_oom(pid: int, value: int, limits: Limits) -> None:
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(value))
        limits.applied["oom_score_adj"] = str(value)
    except OSError as error:
        limits.missing["oom_score_adj"] = f"the kernel refused {value}: {error.strerror}"


def _hold_to_cores(pid: int, cores: list[int], limits: Limits) -> None:
    """The child has not run its program yet, so that every process it will have inherits this."""
    try:
        os.sched_setaffinity(pid, cores)
        limits.applied["cores"] = ",".join(str(core) for core in cores)
    except (OSError, ValueError, OverflowError) as error:
        limits.missing["cores"] = f"the kernel refused {cores}: {getattr(error, 'strerror', None) or error}"


def _commit(state_dir: str, child: Child, record: PidRecord) -> None:
    try:
        write_file(state_dir, PID_FILE, encode(record))
    except OSError as error:
        abandon(child)
        os.waitpid(child.pid, 0)
        raise _failed("state", error, "the pid file could not be written") from None
    failure = release(child)
    if failure is not None:
        os.waitpid(child.pid, 0)
        raise _StartFailed(failure)


RUNTIMES: dict[str, Callable[[LaunchSpec, tuple[int, int], dict[str, str], Limits], PidRecord]] = {
    KIND_PROCESS: start_process
}
"""How a task of each kind is brought to life. Supervision after that is the same for all."""
