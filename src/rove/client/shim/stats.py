"""What tasks use: from cgroup files that are kept open, else from one scan of /proc shared by all tasks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from rove.client.shim import cgroup, procfs

NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SCAN_MAX_AGE_S = 0.5
READ_BYTES = 16 * 1024


class Usage(NamedTuple):
    """Use of a task now. cpu times in ns since its start; memory in bytes; percent of one core."""

    user_ns: int = 0
    system_ns: int = 0
    cpu_percent: float = 0.0
    throttled_periods: int = 0
    throttled_ns: int = 0
    rss: int = 0
    cache: int = 0
    swap: int = 0
    usage: int = 0
    max_usage: int = 0
    pids: tuple[int, ...] = ()
    measured_cpu: tuple[str, ...] = ()
    measured_memory: tuple[str, ...] = ()


class ProcScan:
    """One look at all processes, shared by everybody who asks within half a second."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._at = -SCAN_MAX_AGE_S
        self._processes: dict[int, procfs.ProcStat] = {}
        self._tree: dict[int, list[int]] = {}

    async def family(self, root: int) -> tuple[list[procfs.ProcStat], float]:
        """All processes below `root`, and the monotonic time they were seen at."""
        async with self._lock:
            if time.monotonic() - self._at >= SCAN_MAX_AGE_S:
                self._processes = await asyncio.to_thread(procfs.scan)
                self._tree = procfs.children_of(self._processes.values())
                self._at = time.monotonic()
        return [self._processes[pid] for pid in procfs.descendants(self._tree, root)], self._at


def _pairs(data: bytes) -> dict[str, int]:
    """Lines of `name number`."""
    found: dict[str, int] = {}
    for line in data.splitlines():
        name, _, value = line.partition(b" ")
        if value.isdigit():
            found[name.decode()] = int(value)
    return found


def parse_v1(cpu: bytes, memory: bytes, peak: bytes, throttle: bytes) -> Usage:
    """From cpuacct.usage_all (or .stat), memory.stat, memory.max_usage_in_bytes, cpu.stat; b"" if missing."""
    user, system = _cpu_v1(cpu)
    used, throttled = _pairs(memory), _pairs(throttle)
    rss, cache = used.get("total_rss", 0), used.get("total_cache", 0)
    return Usage(
        user_ns=user,
        system_ns=system,
        throttled_periods=throttled.get("nr_throttled", 0),
        throttled_ns=throttled.get("throttled_time", 0),
        rss=rss,
        cache=cache,
        swap=used.get("total_swap", 0),
        usage=rss + cache,
        max_usage=int(peak) if peak.strip().isdigit() else 0,
        measured_cpu=_measured(cpu, ("System Mode", "User Mode", "Percent"), throttle),
        measured_memory=("RSS", "Cache", "Swap", "Usage", "Max Usage") if memory else (),
    )


def _cpu_v1(data: bytes) -> tuple[int, int]:
    if not data.startswith(b"cpu "):
        ticks = _pairs(data)
        return ticks.get("user", 0) * NS_PER_TICK, ticks.get("system", 0) * NS_PER_TICK
    rows = [line.split() for line in data.splitlines()[1:]]
    return sum(int(row[1]) for row in rows), sum(int(row[2]) for row in rows)


def _measured(data: bytes, names: tuple[str, ...], throttle: bytes) -> tuple[str, ...]:
    throttled = ("Throttled Periods", "Throttled Time") if throttle else ()
    return (names if data else ()) + throttled


def parse_v2(cpu: bytes, memory: bytes, current: bytes, peak: bytes) -> Usage:
    """From cpu.stat, memory.stat, memory.current, memory.peak; b"" where missing."""
    time_used, used = _pairs(cpu), _pairs(memory)
    return Usage(
        user_ns=time_used.get("user_usec", 0) * 1000,
        system_ns=time_used.get("system_usec", 0) * 1000,
        throttled_periods=time_used.get("nr_throttled", 0),
        throttled_ns=time_used.get("throttled_usec", 0) * 1000,
        rss=used.get("anon", 0),
        cache=used.get("file", 0),
        swap=used.get("swapcached", 0),
        usage=int(current) if current.strip().isdigit() else 0,
        max_usage=int(peak) if peak.strip().isdigit() else 0,
        measured_cpu=_measured(cpu, ("System Mode", "User Mode", "Percent"), cpu),
        measured_memory=("RSS", "Cache", "Swap", "Usage", "Max Usage") if memory else (),
    )


class GroupMeter:
    """Reads the files of one task's control groups, each opened once."""

    def __init__(self, dirs: Mapping[str, str], *, has_quota: bool = False) -> None:
        """has_quota: whether the task can be throttled at all."""
        self._dirs = dict(dirs)
        self._has_quota = has_quota
        self._open: dict[str, int] = {}

    def read(self) -> Usage:
        """Usage now, without percent. Raises nothing: a file that is missing counts as zero."""
        if cgroup.UNIFIED in self._dirs:
            names = ("cpu.stat", "memory.stat", "memory.current", "memory.peak")
            return parse_v2(*(self._content(cgroup.UNIFIED, name) for name in names))
        cpu = self._content("cpuacct", "cpuacct.usage_all") or self._content("cpuacct", "cpuacct.stat")
        memory = self._content("memory", "memory.stat")
        peak = self._content("memory", "memory.max_usage_in_bytes")
        return parse_v1(cpu, memory, peak, self._content("cpu", "cpu.stat") if self._has_quota else b"")

    def pids(self) -> tuple[int, ...]:
        """Its processes, without those in groups that it made itself."""
        data = self._content(cgroup.tracker(self._dirs), "cgroup.procs")
        return tuple(sorted(map(int, data.split())))

    def close(self) -> None:
        """Close the files."""
        for fd in self._open.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._open.clear()

    def _content(self, controller: str, name: str) -> bytes:
        directory = self._dirs.get(controller)
        if directory is None:
            return b""
        path = f"{directory}/{name}"
        try:
            if path not in self._open:
                self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._open[path], READ_BYTES, 0)
        except OSError:
            return b""


def usage_of(processes: list[procfs.ProcStat]) -> Usage:
    """The sum over processes; what ended children used counts as far as their parents waited for them."""
    rss = sum(process.rss for process in processes) * PAGE_BYTES
    return Usage(
        user_ns=sum(p.user + p.children_user for p in processes) * NS_PER_TICK,
        system_ns=sum(p.system + p.children_system for p in processes) * NS_PER_TICK,
        rss=rss,
        usage=rss,
        pids=tuple(sorted(process.pid for process in processes)),
        measured_cpu=("System Mode", "User Mode", "Percent"),
        measured_memory=("RSS", "Usage"),
    )


def completed(usage: Usage, other: Usage) -> Usage:
    """`usage` with the halves that it did not measure taken from `other`."""
    if not usage.measured_cpu:
        usage = usage._replace(user_ns=other.user_ns, system_ns=other.system_ns, measured_cpu=other.measured_cpu)
    if not usage.measured_memory:
        usage = usage._replace(rss=other.rss, usage=other.usage, measured_memory=other.measured_memory)
    return usage if usage.pids else usage._replace(pids=other.pids)
