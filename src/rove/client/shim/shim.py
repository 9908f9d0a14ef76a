"""The shim: a small process that keeps one task's output, obeys orders, and writes down how it ended.

It outlives the agent and the zygote it was forked from. It is the subreaper of everything the task
starts, so no descendant gets away from it. The start itself is done by `starter` in a child that leaves
again: whatever code a process runs costs it private memory, and the shim is the one that stays.
Standard library only.

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

import _signal  # type: ignore[import-not-found]  # like _socket
import _socket  # not `socket`: its classes and enumerations are memory for every shim
import fcntl
import json
import os
import select
import signal
import struct
import time
from collections.abc import Callable
from typing import Any, NoReturn

from rove.client.shim import cgroup, procfs, starter
from rove.client.shim.become import PR_SET_CHILD_SUBREAPER, PR_SET_NAME, prctl
from rove.client.shim.contract import (
    CONTROL_SOCKET,
    EXIT_FILE,
    EXIT_RESERVE,
    LOCK_FILE,
    ExitRecord,
    PidRecord,
    Rusage,
    StartError,
    Unreadable,
    control_path,
    encode,
    plain,
    read_pid,
    remove_file,
    sync_dir,
    write_file,
)
from rove.client.shim.logs import LogStream, Notes, wall_clock

CHUNK_BYTES = 64 * 1024
ORDER_BYTES_MAX = 64 * 1024
CLIENTS_MAX = 16
EXIT_WRITE_TRIES = 60
EXIT_WRITE_PAUSE_S = 1.0
FORCE_TRIES = 500
FORCE_PAUSE_S = 0.01


def run(state_dir: str, report_fd: int, layout: cgroup.Layout) -> NoReturn:
    """Be the shim of the task described in a state directory, from the fork to the end of the process.

    report_fd: pipe that is told once, in JSON, `{"ok": true, "pid": <PidRecord>}` or
    `{"ok": false, "error": <StartError>}`, and then closed.
    """
    try:
        _detach()
        lock_fd = _lock(state_dir)
        if lock_fd < 0:
            starter.report(report_fd, {"ok": False, "error": plain(_lock_error(state_dir))})
            os._exit(1)
        task = _start(state_dir, report_fd, layout)
        if task is not None:
            task.open()
        os.close(report_fd)  # now the agent believes the report: orders can be given
        if task is not None:
            task.supervise()
    except BaseException as failure:
        Notes(state_dir).write(f"the shim failed: {type(failure).__name__}: {failure}")
        os._exit(1)
    os._exit(0)


def _detach() -> None:
    """A session of its own, foster parent of all descendants. Deaf to signals it is from the zygote on."""
    os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_NAME, b"rove-shim")


def _lock(state_dir: str) -> int:
    """Hold the task's lock for life: two shims never run one task. -1 if it cannot be had."""
    try:
        fd = os.open(f"{state_dir}/{LOCK_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return -1
    return fd


def _lock_error(state_dir: str) -> StartError:
    if os.access(f"{state_dir}/{LOCK_FILE}", os.W_OK):
        return StartError("lock", 0, "another shim already runs this task")
    return StartError("state", 0, "the task's state directory cannot be used")


def _start(state_dir: str, report_fd: int, layout: cgroup.Layout) -> Task | None:
    """Have the task started by a child; None if it did not come to that."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    plan_read, plan_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        starter.run(state_dir, report_fd, plan_write, (out_write, err_write), layout)
    for fd in (out_write, err_write, plan_write):
        os.close(fd)
    plan = b""
    while piece := os.read(plan_read, CHUNK_BYTES):
        plan += piece
    os.close(plan_read)
    os.waitpid(pid, 0)
    fields = plan.split(b"\0")
    if fields[-1] == starter.STARTED:
        return Task(state_dir, fields, (out_read, err_read))
    for orphan in procfs.hold_descendants(os.getpid()):  # the starter was killed half-way
        procfs.send(orphan, signal.SIGKILL)
    return None


class Task:
    """One task under supervision: its streams, its orders, its end."""

    def __init__(self, state_dir: str, plan: list[bytes], outputs: tuple[int, int]) -> None:
        """plan: the fields of `starter.encode_plan`. outputs: our ends of its stdout and stderr."""
        self.state_dir = state_dir
        self.main_pid = int(plan[0])
        self._plan = plan
        self._outputs = outputs
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._streams: dict[int, LogStream | None] = {}
        self._logs: list[LogStream] = []
        self._clients = 0
        self._wake_fd = -1
        self._ended: tuple[int, Rusage] | None = None
        self._drain_until = 0.0
        self._force_at: float | None = None

    @property
    def dirs(self) -> dict[str, str]:
        """The task's control groups."""
        return starter.plan_groups(self._plan)

    def _note(self, text: str) -> None:
        Notes(self.state_dir).write(text)

    def _watch_output(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._streams[fd] = None
        self._watch(fd, lambda: self._pump(fd))

    def _stream(self, fd: int) -> LogStream:
        """The log of one output; opened when there is something to write."""
        stream = self._streams[fd]
        if stream is None:
            stream = starter.open_log(self._plan, self._outputs.index(fd), Notes(self.state_dir))
            self._streams[fd] = stream
            self._logs.append(stream)
        return stream

    # Running

    def open(self) -> None:
        """Get ready for orders, output and the end of children."""
        self._catch_children()
        for fd in self._outputs:
            self._watch_output(fd)
        self._open_control()

    def supervise(self) -> None:
        """Look after the task until it and all it started are gone."""
        try:
            self._reap()
            while not self._is_over():
                for fd, _ in self._poll.poll(self._patience_ms()):
                    if fd in self._ready:
                        self._ready[fd]()
                self._on_time()
        except Exception as failure:
            self._note(f"supervision failed: {type(failure).__name__}: {failure}")
            self._wait_plainly()
        self._finish()

    def _wait_plainly(self) -> None:
        """The last resort after a bug: give up output and orders, keep the exit code."""
        for fd in list(self._streams):
            self._close_stream(fd)
        while self._ended is None:
            try:
                self._note_end(*os.wait4(-1, 0))
            except ChildProcessError:
                return

    def _catch_children(self) -> None:
        self._wake_fd, write_fd = os.pipe()
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, _on_child)
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
            self._stream(fd).write(data)
        else:
            self._close_stream(fd)

    def _close_stream(self, fd: int) -> None:
        self._unwatch(fd)
        stream = self._streams.pop(fd)
        if stream is not None:
            stream.close()
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
        self._drain_until = time.monotonic() + float(self._plan[1])

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
        self._note("some processes of the task cannot be killed and are left behind")

    def _drain(self, fd: int) -> None:
        """What is still in the pipe, and no more: a stranger may hold the other end."""
        left = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
        try:
            while left > 0 and (data := os.read(fd, CHUNK_BYTES)):
                self._stream(fd).write(data)
                left -= len(data)
        except OSError:
            pass  # empty
        self._close_stream(fd)

    def _exit_record(self, oom_kills: int) -> ExitRecord:
        if self._ended is None:
            return ExitRecord(None, None, at=wall_clock(), unknown="the task's shim lost sight of it")
        status, used = self._ended
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
        self._note(f"the exit file could not be written; the record was {record}")
        return None

    def _fill_reserve(self, data: bytes) -> None:
        reserve = f"{self.state_dir}/{EXIT_RESERVE}"
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
        self._note(f"control groups were left behind: {', '.join(self.dirs.values())}")

    # Orders

    def _open_control(self) -> None:
        """Listen for orders. Without the socket the files still speak, so a failure is only noted."""
        dir_fd = -1
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        old = os.umask(0o177)
        try:
            dir_fd = os.open(self.state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            listener.bind(control_path(dir_fd))
            listener.listen(CLIENTS_MAX)
            listener.setblocking(False)
            self._watch(listener.fileno(), lambda: self._accept(listener))
        except OSError as error:
            listener.close()
            self._note(f"there is no control socket: {error.strerror}")
        finally:
            os.umask(old)
            if dir_fd >= 0:
                os.close(dir_fd)

    def _accept(self, listener: _socket.socket) -> None:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]  # typeshed does not know it
        except OSError:
            return
        client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
        if self._clients >= CLIENTS_MAX or _peer_uid(client) not in (0, os.geteuid()):
            client.close()
            return
        client.setblocking(False)
        self._clients += 1
        self._watch(client.fileno(), lambda: self._serve(client))

    def _serve(self, client: _socket.socket) -> None:
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
            return {"ok": True, "pid": self._record(), "dropped_bytes": self._dropped()}
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

    def _record(self) -> Any:
        """The pid file's content; made up from what is known if the file was damaged."""
        record = read_pid(self.state_dir)
        if isinstance(record, Unreadable):
            record = PidRecord(
                pid=self.main_pid,
                start_ticks=procfs.start_ticks_of(self.main_pid),
                shim_pid=os.getpid(),
                shim_start_ticks=procfs.start_ticks_of(os.getpid()),
                boot_id=procfs.boot_id(),
                started_at=0.0,
                cgroup_dirs=self.dirs,
            )
        return plain(record)

    def _signal(self, number: int, group: bool) -> None:
        """To our own child that is not collected yet: its pid cannot belong to anybody else."""
        if group:
            os.killpg(self.main_pid, number)
        else:
            os.kill(self.main_pid, number)


def _on_child(number: int, frame: object) -> None:
    """Nothing: the wake-up pipe carries the news."""


def _peer_uid(client: _socket.socket) -> int:
    packed = client.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", packed)[1]
    return uid
