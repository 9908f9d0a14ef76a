"""The shim: a small process that starts one task, keeps its output, and writes down how it ended.

It outlives the agent and the zygote it was forked from. It is the subreaper of everything the task
starts, so no descendant gets away from it. Standard library only.

Orders come over the SEQPACKET socket `ctl`, one JSON object a message, each answered by one:

========================================== =====================================================
`{"op": "ping"}`                           `{"ok": true, "pid": <PidRecord>, "dropped_bytes": n}`
`{"op": "signal", "signal": n,             send a signal to the main process, or to its process
"group": bool}`                            group
`{"op": "kill", "signal": n,               send a signal; after the timeout, force
"timeout_s": s}`
`{"op": "force"}`                          SIGKILL to every process of the task, now
========================================== =====================================================

A refused order is answered `{"ok": false, "error": "..."}`.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, NoReturn

from rove.client.shim import cgroup, procfs
from rove.client.shim.become import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_NAME,
    Child,
    Identity,
    abandon,
    fork_child,
    prctl,
    release,
)
from rove.client.shim.contract import (
    CONTROL_SOCKET,
    EXIT_FILE,
    KIND_PROCESS,
    LOCK_FILE,
    PID_FILE,
    STDIN_NULL,
    ExitRecord,
    LaunchSpec,
    Limits,
    PidRecord,
    Rusage,
    StartError,
    Unreadable,
    control_path,
    encode,
    plain,
    read_spec,
    remove_file,
    sync_dir,
    write_file,
)
from rove.client.shim.logs import LogStream, Notes, wall_clock

CHUNK_BYTES = 64 * 1024
ORDER_BYTES_MAX = 64 * 1024
CLIENTS_MAX = 16
RESERVE_BYTES = 4096
EXIT_WRITE_TRIES = 60
EXIT_WRITE_PAUSE_S = 1.0
FORCE_TRIES = 500
FORCE_PAUSE_S = 0.01

_EXIT_RESERVE = f".{EXIT_FILE}"


class _StartFailed(Exception):
    def __init__(self, error: StartError) -> None:
        super().__init__(error.text)
        self.error = error


def run(state_dir: str, report_fd: int, layout: cgroup.Layout) -> NoReturn:
    """Be the shim of the task described in a state directory, from the fork to the end of the process.

    report_fd: pipe that is told once, in JSON, `{"ok": true, "pid": <PidRecord>}` or
    `{"ok": false, "error": <StartError>}`, and then closed.
    """
    notes = Notes(state_dir)
    try:
        _detach()
        task = _start(state_dir, report_fd, layout, notes)
        task.supervise()
    except _StartFailed as failure:
        _report(report_fd, {"ok": False, "error": plain(failure.error)})
    except BaseException as failure:
        notes.write(f"the shim failed: {type(failure).__name__}: {failure}")
        _report(report_fd, {"ok": False, "error": plain(StartError("shim", 0, f"{failure}"))})
        os._exit(1)
    os._exit(0)


def _detach() -> None:
    """A session of its own, deaf to signals meant for the agent, foster parent of all descendants."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE,
                   signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGXFSZ):  # fmt: skip
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o022)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_NAME, b"rove-shim")


def _report(report_fd: int, report: dict[str, Any]) -> None:
    """Tell the starter; it may have died, which changes nothing."""
    try:
        os.write(report_fd, json.dumps(report).encode())
        os.close(report_fd)
    except OSError:
        pass


def _start(state_dir: str, report_fd: int, layout: cgroup.Layout, notes: Notes) -> Task:
    spec = read_spec(state_dir)
    if isinstance(spec, Unreadable):
        raise _StartFailed(StartError("spec", 0, f"the task's description cannot be used: {spec.detail}"))
    lock_fd = _lock(state_dir)
    runtime = RUNTIMES.get(spec.kind)
    if runtime is None:
        raise _StartFailed(StartError("kind", 0, f"this shim cannot run tasks of kind {spec.kind!r}"))
    task = Task(spec, state_dir, lock_fd, notes)
    try:
        task.record = runtime(task, layout)
    except _StartFailed as failure:
        task.never_ran(failure.error)
        raise
    _report(report_fd, {"ok": True, "pid": plain(task.record)})
    return task


def _lock(state_dir: str) -> int:
    """Hold the task's lock for life: two shims never run one task."""
    try:
        fd = os.open(f"{state_dir}/{LOCK_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _StartFailed(StartError("lock", 0, "another shim already runs this task")) from None
    except OSError as error:
        raise _failed("state", error, "the state directory cannot be used") from None
    return fd


def _failed(stage: str, error: OSError, what: str) -> _StartFailed:
    return _StartFailed(StartError(stage, error.errno or 0, f"{what}: {error.strerror}"))


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


def start_process(task: Task, layout: cgroup.Layout) -> PidRecord:
    """Run a plain program: group, pipes, fork, limits, `pid` file, and only then exec. Raises _StartFailed.

    The child waits until its pid is safely on disk, so nothing ever runs that a new agent could not find.
    """
    spec = task.spec
    try:
        stdio = task.open_stdio()
        task.reserve_exit()
    except OSError as error:
        raise _failed("state", error, f"cannot prepare {error.filename or 'pipes'}") from None
    task.dirs, limits = cgroup.prepare(spec.cgroup, layout) if spec.cgroup else ({}, Limits())
    try:
        child = fork_child(_identity(spec), stdio)
    except OSError as error:
        raise _failed("fork", error, "no process could be made") from None
    for fd in set(stdio):
        os.close(fd)
    task.main_pid = child.pid
    record = _record(task, child, limits)
    _commit(task, child, record)
    return record


def _record(task: Task, child: Child, limits: Limits) -> PidRecord:
    refused = cgroup.join(task.dirs.values(), child.pid)
    if refused:
        limits.missing["group"] = refused
    if task.spec.oom_score_adj is not None:
        _adjust_oom(child.pid, task.spec.oom_score_adj, limits)
    return PidRecord(
        pid=child.pid,
        start_ticks=procfs.start_ticks_of(child.pid),
        shim_pid=os.getpid(),
        shim_start_ticks=procfs.start_ticks_of(os.getpid()),
        boot_id=procfs.boot_id(),
        started_at=wall_clock(),
        cgroup_dirs=task.dirs,
        limits=limits,
    )


def _adjust_oom(pid: int, value: int, limits: Limits) -> None:
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(value))
        limits.applied["oom_score_adj"] = str(value)
    except OSError as error:
        limits.missing["oom_score_adj"] = f"the kernel refused {value}: {error.strerror}"


def _commit(task: Task, child: Child, record: PidRecord) -> None:
    try:
        write_file(task.state_dir, PID_FILE, encode(record))
    except OSError as error:
        abandon(child)
        os.waitpid(child.pid, 0)
        raise _failed("state", error, "the pid file could not be written") from None
    failure = release(child)
    if failure is not None:
        os.waitpid(child.pid, 0)
        raise _StartFailed(failure)


RUNTIMES: dict[str, Callable[[Task, cgroup.Layout], PidRecord]] = {KIND_PROCESS: start_process}
"""How a task of each kind is brought to life. Supervision after that is the same for all."""


class Task:
    """One task under supervision: its streams, its control socket, its end."""

    record: PidRecord

    def __init__(self, spec: LaunchSpec, state_dir: str, lock_fd: int, notes: Notes) -> None:
        self.spec = spec
        self.state_dir = state_dir
        self.main_pid = 0
        self.dirs: dict[str, str] = {}
        self._lock_fd = lock_fd
        self._notes = notes
        self._dir_fd = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._streams: dict[int, LogStream] = {}
        self._logs: list[LogStream] = []
        self._clients = 0
        self._wake_fd = -1
        self._ended: tuple[int, Rusage] | None = None
        self._drain_until = 0.0
        self._force_at: float | None = None

    # Starting

    def open_stdio(self) -> tuple[int, int, int]:
        """The descriptors for the task's 0, 1 and 2; their other ends feed the logs. Raises OSError."""
        source = "/dev/null" if self.spec.stdin == STDIN_NULL else self.spec.stdin
        stdin = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(stdin, True)
        if not self.spec.logs:
            sink = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
            return stdin, sink, sink
        log_dir = os.open(self.spec.log_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        stdout = self._log_pipe(log_dir, self.spec.stdout_name)
        return stdin, stdout, self._log_pipe(log_dir, self.spec.stderr_name)

    def _log_pipe(self, log_dir: int, name: str) -> int:
        stream = LogStream(log_dir, name, self.spec.max_files, self.spec.max_file_bytes, self._notes)
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        self._logs.append(stream)
        self._streams[read_fd] = stream
        self._watch(read_fd, lambda: self._pump(read_fd))
        return write_fd

    def reserve_exit(self) -> None:
        """Take the disk space for the exit file now: a full disk must not cost the exit code.

        Raises OSError.
        """
        write_file(self.state_dir, _EXIT_RESERVE, b" " * RESERVE_BYTES, durable=False)

    def never_ran(self, error: StartError) -> None:
        """Leave an exit file that says why nothing ran, and clean up."""
        self._write_exit(ExitRecord(code=None, signal=None, at=wall_clock(), error=error))
        self._remove_groups()

    # Running

    def supervise(self) -> None:
        """Look after the task until it and all it started are gone."""
        self._catch_children()
        self._open_control()
        self._reap()
        try:
            while not self._is_over():
                for fd, _ in self._poll.poll(self._patience_ms()):
                    if fd in self._ready:
                        self._ready[fd]()
                self._on_time()
        except Exception as failure:
            self._notes.write(f"supervision failed: {type(failure).__name__}: {failure}")
            self._wait_plainly()
        self._finish()

    def _wait_plainly(self) -> None:
        """The last resort after a bug: give up output and orders, keep the exit code."""
        for fd in list(self._streams):
            self._close_stream(fd)
        while self._ended is None:
            pid, status, usage = os.wait4(-1, 0)
            self._note_end(pid, status, usage)

    def _catch_children(self) -> None:
        self._wake_fd, write_fd = os.pipe()
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _on_child)
        self._watch(self._wake_fd, self._on_wake)

    def _watch(self, fd: int, action: Callable[[], None]) -> None:
        self._ready[fd] = action
        self._poll.register(fd, select.POLLIN)

    def _unwatch(self, fd: int) -> None:
        self._ready.pop(fd, None)
        self._poll.unregister(fd)

    def _patience_ms(self) -> int | None:
        deadlines = [] if self._force_at is None else [self._force_at]
        if self._ended is not None:
            deadlines.append(self._drain_until)
        if not deadlines:
            return None
        return max(0, int((min(deadlines) - time.monotonic()) * 1000) + 1)

    def _on_time(self) -> None:
        if self._force_at is not None and time.monotonic() >= self._force_at:
            self._force_at = None
            self._force()

    def _is_over(self) -> bool:
        if self._ended is None:
            return False
        return not self._streams or time.monotonic() >= self._drain_until

    def _pump(self, fd: int) -> None:
        """Move one piece of output into its log."""
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._streams[fd].write(data)
        else:
            self._close_stream(fd)

    def _close_stream(self, fd: int) -> None:
        self._unwatch(fd)
        self._streams.pop(fd).close()
        os.close(fd)

    def _on_wake(self) -> None:
        os.read(self._wake_fd, 4096)
        self._reap()

    def _reap(self) -> bool:
        """Collect the dead. False if there is no child left at all."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._note_end(pid, status, usage)

    def _note_end(self, pid: int, status: int, usage: Any) -> None:
        if pid != self.main_pid or self._ended is not None:
            return
        used = Rusage(usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024)
        self._ended = (status, used)
        self._drain_until = time.monotonic() + self.spec.drain_s

    # Ending

    def _force(self) -> None:
        """SIGKILL to everything the task consists of. One pass."""
        if self.dirs:
            cgroup.kill_all(self.dirs)
        for pid in procfs.hold_descendants(os.getpid()):
            procfs.send(pid, signal.SIGKILL)

    def _finish(self) -> None:
        self._end_leftovers()
        for fd in list(self._streams):
            self._drain(fd)
        oom = cgroup.oom_kills(self.dirs)
        self._write_exit(self._exit_record(oom))
        self._remove_groups()
        remove_file(f"{self.state_dir}/{CONTROL_SOCKET}")

    def _end_leftovers(self) -> None:
        """No process of the task outlives it."""
        for _ in range(FORCE_TRIES):
            if not self._reap() and not (self.dirs and cgroup.members(self.dirs)):
                return
            self._force()
            time.sleep(FORCE_PAUSE_S)
        self._notes.write("some processes of the task cannot be killed and are left behind")

    def _drain(self, fd: int) -> None:
        """What is still in the pipe, and no more: a stranger may hold the other end."""
        left = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
        try:
            while left > 0 and (data := os.read(fd, CHUNK_BYTES)):
                self._streams[fd].write(data)
                left -= len(data)
        except OSError:
            pass  # empty
        self._close_stream(fd)

    def _exit_record(self, oom_kills: int) -> ExitRecord:
        status, used = self._ended or (0, Rusage())
        code = os.waitstatus_to_exitcode(status)
        return ExitRecord(
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            oom_killed=oom_kills > 0 and code != 0,
            at=wall_clock(),
            rusage=used,
            dropped_bytes=self._dropped(),
        )

    def _dropped(self) -> int:
        return sum(stream.dropped for stream in self._logs)

    def _write_exit(self, record: ExitRecord) -> None:
        """Put the end on disk; patient, since nothing else knows it."""
        for _ in range(EXIT_WRITE_TRIES):
            try:
                return self._fill_reserve(encode(record))
            except FileNotFoundError:
                if not os.path.isdir(self.state_dir):
                    return None  # the allocation is gone, nobody asks any more
            except OSError:
                pass
            if self._write_exit_anew(record):
                return None
            time.sleep(EXIT_WRITE_PAUSE_S)
        self._notes.write(f"the exit file could not be written; the record was {record}")
        return None

    def _fill_reserve(self, data: bytes) -> None:
        reserve = f"{self.state_dir}/{_EXIT_RESERVE}"
        fd = os.open(reserve, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.pwrite(fd, data, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(reserve, f"{self.state_dir}/{EXIT_FILE}")
        sync_dir(self.state_dir)

    def _write_exit_anew(self, record: ExitRecord) -> bool:
        try:
            write_file(self.state_dir, EXIT_FILE, encode(record))
        except OSError:
            return False
        return True

    def _remove_groups(self) -> None:
        for _ in range(FORCE_TRIES):
            if cgroup.try_remove(self.dirs.values()):
                return
            time.sleep(FORCE_PAUSE_S)
        self._notes.write(f"control groups were left behind: {', '.join(self.dirs.values())}")

    # Orders

    def _open_control(self) -> None:
        """Listen for orders. Without the socket the files still speak, so a failure is only noted."""
        remove_file(f"{self.state_dir}/{CONTROL_SOCKET}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        old = os.umask(0o177)
        try:
            listener.bind(control_path(self._dir_fd))
            listener.listen(CLIENTS_MAX)
            listener.setblocking(False)
            self._watch(listener.fileno(), lambda: self._accept(listener))
        except OSError as error:
            listener.close()
            self._notes.write(f"there is no control socket: {error.strerror}")
        finally:
            os.umask(old)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if self._clients >= CLIENTS_MAX or _peer_uid(client) not in (0, os.geteuid()):
            client.close()
            return
        client.setblocking(False)
        self._clients += 1
        self._watch(client.fileno(), lambda: self._serve(client))

    def _serve(self, client: socket.socket) -> None:
        try:
            order = client.recv(ORDER_BYTES_MAX)
            if order:
                client.send(json.dumps(self._obey(order)).encode())
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._unwatch(client.fileno())
        self._clients -= 1
        client.close()

    def _obey(self, data: bytes) -> dict[str, Any]:
        try:
            order = json.loads(data)
            return self._do(order["op"], order)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return {"ok": False, "error": f"not an order: {type(error).__name__}: {error}"}
        except OSError as error:
            return {"ok": False, "error": error.strerror}

    def _do(self, verb: str, order: dict[str, Any]) -> dict[str, Any]:
        if verb == "ping":
            return {"ok": True, "pid": plain(self.record), "dropped_bytes": self._dropped()}
        if self._ended is not None and verb in ("signal", "kill"):
            return {"ok": False, "error": "the task has ended"}
        if verb == "signal":
            self._signal(int(order["signal"]), bool(order.get("group", False)))
        elif verb == "kill":
            self._force_at = time.monotonic() + float(order["timeout_s"])
            self._signal(int(order["signal"]), False)
        elif verb == "force":
            self._drain_until = 0.0
            self._force()
        else:
            return {"ok": False, "error": f"unknown order {verb!r}"}
        return {"ok": True}

    def _signal(self, number: int, group: bool) -> None:
        """To our own child that is not collected yet: its pid cannot belong to anybody else."""
        if group:
            os.killpg(self.main_pid, number)
        else:
            os.kill(self.main_pid, number)


def _on_child(number: int, frame: object) -> None:
    """Nothing: the wake-up pipe carries the news."""


def _peer_uid(client: socket.socket) -> int:
    packed = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", packed)[1]
    return uid
