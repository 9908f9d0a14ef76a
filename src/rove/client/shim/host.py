"""Tasks as the agent sees them: started through the zygote, found again on disk, watched, ended.

    host = ShimHost()
    handle = await host.launch(spec)        # or: await host.adopt(state_dir)
    record = await handle.wait()

An agent that dies leaves its tasks alone; the next one adopts them by pid, start time and boot.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import time
from typing import Any, NamedTuple

from rove.client.shim import cgroup, procfs
from rove.client.shim.contract import (
    EXIT_FILE,
    LOCK_FILE,
    MISSING,
    PID_FILE,
    SPEC_FILE,
    ExecSpec,
    ExitRecord,
    LaunchSpec,
    Limits,
    PidRecord,
    Unreadable,
    control_path,
    decode_pid,
    encode,
    read_exit,
    read_pid,
    read_spec,
    remove_file,
    write_file,
)
from rove.client.shim.leftovers import end_leftovers, own_groups
from rove.client.shim.link import IDLE_S, ShimError, ZygoteLink, decode_report
from rove.client.shim.logs import wall_clock
from rove.client.shim.sessions import ShimExec, open_session
from rove.client.shim.stats import GroupMeter, ProcScan, Usage, completed, usage_of
from rove.client.shim.waiting import read_all, wait_readable
from rove.client.shim.zygote import LAUNCH

LAUNCH_TIMEOUT_S = 30.0
LAUNCH_TRIES = 3
ORDER_TIMEOUT_S = 5.0
KILL_GRACE_S = 30.0
"""How long after the timeout a killed task may take to vanish before the kill counts as failed."""
ADOPT_TRIES = 100
ADOPT_PAUSE_S = 0.05
POLL_S = 0.25
"""Between looks at the shim on kernels without pidfd (before 5.3)."""
ANSWER_BYTES = 64 * 1024


def signal_number(name: str) -> int:
    """ "SIGHUP", "hup" or "1" to a number. Raises `ShimError`."""
    text = name.strip().upper()
    if text.isdigit() and int(text) in set(signal.valid_signals()):
        return int(text)
    known = getattr(signal, text if text.startswith("SIG") else f"SIG{text}", None)
    if not isinstance(known, signal.Signals):
        raise ShimError(f"there is no signal called {name!r}")
    return int(known)


class ShimHost:
    """Starts tasks under shims and finds them again."""

    def __init__(self, *, python: str = sys.executable, idle_s: float = IDLE_S) -> None:
        """idle_s: how long the zygote may rest before it is let go; the next start makes a new one."""
        self._link = ZygoteLink(python, idle_s)
        self._proven = False
        self._scan = ProcScan()
        self._handles: set[Handle] = set()
        self._undoing: set[asyncio.Task[None]] = set()

    @property
    def zygote_pid(self) -> int:
        """The zygote's process id; 0 if none runs now."""
        return self._link.pid

    async def warm(self) -> None:
        """Have a zygote ready. Raises `ShimError` if none can be started."""
        await self._link.warm()

    async def prove(self) -> None:
        """Have shown once that a zygote can be started. Raises `ShimError` if it cannot."""
        if not self._proven:
            await self.warm()
            self._proven = True

    async def launch(self, spec: LaunchSpec) -> Handle:
        """Start a task; its state directory is made, or emptied of what an ended task left in it.

        Raises `ShimError`; then nothing runs. A caller that gives up waiting gets the same, a moment later.
        """
        work = asyncio.create_task(self._launch(spec))
        try:
            return await asyncio.wait_for(asyncio.shield(work), LAUNCH_TIMEOUT_S)
        except TimeoutError:
            self._undo(work)
            what = f"the task was not started within {LAUNCH_TIMEOUT_S:g} s"
            raise ShimError(what, recoverable=True) from None
        except asyncio.CancelledError:
            self._undo(work)
            raise

    async def adopt(self, state_dir: str) -> Handle | None:
        """Find a task that an earlier agent started; None if nothing of it runs and no exit is known.

        A task that ended meanwhile comes back ended, with its true code. If its shim was killed, what is
        left of the task is ended and the exit says so.
        """
        for _ in range(ADOPT_TRIES):  # more than once only while its shim is just starting it
            exit_record = read_exit(state_dir)
            if isinstance(exit_record, ExitRecord):
                return self._ended(state_dir, exit_record)
            record = read_pid(state_dir)
            if isinstance(record, PidRecord):
                return self._adopt_known(state_dir, record)
            if not _is_locked(state_dir):
                return None
            told = _pid_record(await _ask(state_dir, {"op": "ping"}) or {})
            if isinstance(told, PidRecord):
                return self._adopt_known(state_dir, told)
            await asyncio.sleep(ADOPT_PAUSE_S)
        raise ShimError("the task's shim does not answer, and its pid file cannot be used")

    async def close(self) -> None:
        """Let go of the zygote and of all tasks; tasks run on."""
        for handle in list(self._handles):
            await handle.release()
        self._link.close()

    async def _launch(self, spec: LaunchSpec) -> Handle:
        _prepare(spec)
        for _ in range(LAUNCH_TRIES):
            report = await self._order(LAUNCH + os.fsencode(spec.state_dir))
            if report:
                record = _pid_record(decode_report(report))
                if isinstance(record, Unreadable):
                    raise ShimError(f"the shim's report cannot be used: {record.detail}")
                return self._running(spec.state_dir, record)
            if (handle := await self.adopt(spec.state_dir)) is not None:
                return handle  # the shim died right after the start
        raise ShimError("the process that starts tasks keeps dying", recoverable=True)

    async def _order(self, order: bytes) -> bytes:
        """The report of whoever the zygote forked; b"" if it died without one."""
        report, theirs = os.pipe()
        os.set_blocking(report, False)
        try:
            try:
                await self._link.send(order, [theirs])
            finally:
                os.close(theirs)
            return await read_all(report)
        finally:
            os.close(report)

    def _undo(self, work: asyncio.Task[Handle]) -> None:
        """Nobody waits for this start any more: end the task as soon as it has started."""

        async def undo() -> None:
            with contextlib.suppress(ShimError):
                handle = await work
                await handle.kill("SIGKILL", 0)

        task = asyncio.create_task(undo())
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    def _adopt_known(self, state_dir: str, record: PidRecord) -> Handle | None:
        if record.boot_id != procfs.boot_id():
            return None  # ended with the machine; its pids mean nothing now
        return self._running(state_dir, record)

    def _running(self, state_dir: str, record: PidRecord) -> Handle:
        handle = Handle(self, state_dir, record)
        self._handles.add(handle)
        handle.watch()
        return handle

    def _ended(self, state_dir: str, exit_record: ExitRecord) -> Handle:
        record = read_pid(state_dir)
        handle = Handle(self, state_dir, record if isinstance(record, PidRecord) else None)
        handle.settle(exit_record)
        return handle

    def forget(self, handle: Handle) -> None:
        """The task has ended."""
        self._handles.discard(handle)

    async def open_exec(self, spec: ExecSpec) -> ShimExec:
        """Run a command. Raises `ShimError`."""
        return await open_session(self._link, spec)

    async def processes_below(self, pid: int) -> tuple[list[procfs.ProcStat], float]:
        """From the scan of /proc that all tasks share, and when that was (monotonic)."""
        return await self._scan.family(pid)


class Handle:
    """One task, running or ended."""

    def __init__(self, host: ShimHost, state_dir: str, record: PidRecord | None) -> None:
        self.state_dir = state_dir
        self.record = record
        self._host = host
        self._exit: asyncio.Future[ExitRecord] = asyncio.get_running_loop().create_future()
        self._watcher: asyncio.Task[None] | None = None
        self._meter: GroupMeter | None = None
        self._last_cpu: _CpuLook | None = None
        self._sessions: set[ShimExec] = set()

    @property
    def pid(self) -> int:
        """The main process; 0 if it never ran."""
        return self.record.pid if self.record else 0

    @property
    def limits(self) -> Limits:
        """What became of the limits asked for."""
        return self.record.limits if self.record else Limits()

    @property
    def has_ended(self) -> bool:
        return self._exit.done()

    async def wait(self) -> ExitRecord:
        """Return when the task has ended with all its processes. May be awaited more than once."""
        return await asyncio.shield(self._exit)

    async def signal(self, name: str) -> None:
        """Send a signal to the main process. Raises `ShimError`."""
        await self._send_signal(signal_number(name))

    async def kill(self, signal: str, timeout_s: float) -> None:
        """Ask the task to end, force it after `timeout_s`; returns when all its processes are gone.

        Raises `ShimError` if the kernel cannot end it.
        """
        number = signal_number(signal)
        if self.has_ended:
            return
        order = {"op": "kill", "signal": number, "timeout_s": timeout_s} if timeout_s > 0 else {"op": "force"}
        answer = await _ask(self.state_dir, order)
        forced_here = False
        if (answer is None or not answer.get("ok")) and not self.has_ended:
            forced_here = True
            await self._kill_without_shim(number, timeout_s)
        try:
            await asyncio.wait_for(self.wait(), KILL_GRACE_S + (0 if forced_here else max(0.0, timeout_s)))
        except TimeoutError:
            raise ShimError("the task's processes cannot be ended; the kernel holds them") from None

    async def usage(self) -> Usage:
        """What the task uses now; zeros once it has ended."""
        if self.has_ended or self.record is None:
            return Usage()
        usage, now = self._from_groups(), time.monotonic()
        if not (usage.measured_cpu and usage.measured_memory):
            processes, scanned_at = await self._host.processes_below(self.record.shim_pid)
            now = now if usage.measured_cpu else scanned_at
            usage = completed(usage, usage_of(processes))
        return usage._replace(cpu_percent=self._percent(usage.user_ns + usage.system_ns, now))

    def _from_groups(self) -> Usage:
        """What the control groups tell; they may know nothing of memory, or nothing at all."""
        if self.record is None or not self.record.cgroup_dirs or self.limits.missing.get("group"):
            return Usage()
        if self._meter is None:
            has_quota = "cpu_quota_us" in self.limits.applied
            self._meter = GroupMeter(self.record.cgroup_dirs, has_quota=has_quota)
        return self._meter.read()._replace(pids=self._meter.pids())

    async def exec_in(self, command: list[str], *, tty: bool) -> ShimExec:
        """Run a command with the task's user, environment, directory and groups. Raises `ShimError`."""
        spec = read_spec(self.state_dir)
        if self.has_ended or self.record is None:
            raise ShimError("the task is not running")
        if isinstance(spec, Unreadable):
            raise ShimError(f"the task's description cannot be used: {spec.detail}")
        session = await self._host.open_exec(_exec_spec(spec, self.record, command, tty))
        self._sessions.add(session)
        session.when_ended(lambda: self._sessions.discard(session))
        return session

    def remove(self) -> None:
        """Remove the state directory of an ended task."""
        if self.has_ended:
            shutil.rmtree(self.state_dir, ignore_errors=True)

    async def release(self) -> None:
        """Watch no longer; the task runs on."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        self._let_go()

    def watch(self) -> None:
        """Start waiting for the shim's end."""
        self._watcher = asyncio.create_task(self._watch())

    def settle(self, record: ExitRecord) -> None:
        """The task has ended."""
        if not self._exit.done():
            self._exit.set_result(record)
        self._let_go()

    def _let_go(self) -> None:
        if self._meter is not None:
            self._meter.close()
            self._meter = None
        self._host.forget(self)

    async def _watch(self) -> None:
        """The shim writes the exit file and leaves: its end is the news."""
        assert self.record is not None
        await _wait_gone(self.record.shim_pid, self.record.shim_start_ticks)
        exit_record = read_exit(self.state_dir)
        if isinstance(exit_record, Unreadable):
            exit_record = await self._explain(exit_record)
        for session in list(self._sessions):
            with contextlib.suppress(Exception):
                await session.kill()
        self.settle(exit_record)

    async def _explain(self, unreadable: Unreadable) -> ExitRecord:
        """The end of a task whose shim left no word of it; what is left of the task is ended."""
        assert self.record is not None
        try:
            left = await asyncio.to_thread(end_leftovers, self.state_dir, self.record)
        except Exception as error:  # whoever waits for this task must not wait for ever
            left = f"what is left of it could not be ended: {error}"
        if unreadable.why != MISSING:
            why = f"the task has ended, but its exit file cannot be used ({unreadable.detail}); {left}"
            return ExitRecord(None, None, at=wall_clock(), unknown=why)
        record = ExitRecord(None, None, at=wall_clock(), unknown=f"the task's shim was killed; {left}")
        with contextlib.suppress(OSError):
            write_file(self.state_dir, EXIT_FILE, encode(record))
        return record

    async def _send_signal(self, number: int) -> None:
        if self.has_ended or self.record is None:
            raise ShimError("the task is not running")
        answer = await _ask(self.state_dir, {"op": "signal", "signal": number})
        if answer is None:  # no socket: by identity
            if not procfs.send_to(self.record.pid, self.record.start_ticks, number):
                raise ShimError("the task is not running")
        elif not answer.get("ok"):
            raise ShimError(f"the signal was not sent: {answer.get('error')}")

    async def _kill_without_shim(self, number: int, timeout_s: float) -> None:
        """The shim does not answer: signal by identity, then kill. The shim still collects the dead."""
        assert self.record is not None
        if timeout_s > 0:
            procfs.send_to(self.record.pid, self.record.start_ticks, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wait(), timeout_s)
        if not self.has_ended:
            await asyncio.to_thread(self._force)

    def _force(self) -> None:
        assert self.record is not None
        dirs = own_groups(read_spec(self.state_dir), self.record)
        if dirs:
            cgroup.kill_all(dirs)
        if procfs.is_same(self.record.shim_pid, self.record.shim_start_ticks):
            for pid in procfs.hold_descendants(self.record.shim_pid):
                procfs.send(pid, signal.SIGKILL)

    def _percent(self, total_ns: int, now: float) -> float:
        """Of one core since the last look; a look at the same scan as the last one says the same."""
        last = self._last_cpu
        if last is None or total_ns < last.total_ns:
            percent = 0.0
        elif now <= last.at:
            return last.percent
        else:
            percent = (total_ns - last.total_ns) / ((now - last.at) * 1e9) * 100
        self._last_cpu = _CpuLook(total_ns, now, percent)
        return percent


class _CpuLook(NamedTuple):
    total_ns: int
    at: float
    percent: float


def _exec_spec(spec: LaunchSpec, record: PidRecord, command: list[str], tty: bool) -> ExecSpec:
    env = {**spec.env, "TERM": spec.env.get("TERM", "xterm-256color")} if tty else spec.env
    return ExecSpec(
        argv=command,
        env=env,
        cwd=spec.cwd,
        tty=tty,
        uid=spec.uid,
        gid=spec.gid,
        groups=spec.groups,
        umask=spec.umask,
        no_new_privs=spec.no_new_privs,
        cgroup_dirs=list(record.cgroup_dirs.values()),
    )


def _prepare(spec: LaunchSpec) -> None:
    """A state directory that holds the task's description and nothing of an earlier run."""
    try:
        os.makedirs(spec.state_dir, mode=0o700, exist_ok=True)
        if _is_locked(spec.state_dir):
            raise ShimError("this task runs already, under a shim of its own")
        for name in (PID_FILE, EXIT_FILE):
            remove_file(f"{spec.state_dir}/{name}")
        write_file(spec.state_dir, SPEC_FILE, encode(spec), durable=False)
    except OSError as error:
        what = f"the task's state directory cannot be written: {error.strerror}"
        raise ShimError(what, recoverable=True) from None


def _pid_record(answer: dict[str, Any]) -> PidRecord | Unreadable:
    return decode_pid(json.dumps(answer.get("pid")).encode())


def _is_locked(state_dir: str) -> bool:
    """Whether a shim lives in there."""
    try:
        fd = os.open(f"{state_dir}/{LOCK_FILE}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


async def _ask(state_dir: str, order: dict[str, Any]) -> dict[str, Any] | None:
    """Give the shim an order; its answer, or None if it cannot be reached."""
    try:
        dir_fd = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.setblocking(False)
            sock.connect(control_path(dir_fd))
            sock.send(json.dumps(order).encode())
            async with asyncio.timeout(ORDER_TIMEOUT_S):
                await wait_readable(sock.fileno())
            answer = json.loads(sock.recv(ANSWER_BYTES))
            return answer if isinstance(answer, dict) else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(dir_fd)


async def _wait_gone(pid: int, start_ticks: int) -> None:
    """Return when that very process is gone."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:
        while procfs.is_same(pid, start_ticks):
            await asyncio.sleep(POLL_S)
        return
    try:
        if procfs.is_same(pid, start_ticks):
            await wait_readable(fd)
    finally:
        os.close(fd)
