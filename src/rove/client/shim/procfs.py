"""What /proc says about processes: identity, state, family. Standard library only; used by all sides."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple


class ProcStat(NamedTuple):
    """The fields of /proc/PID/stat that matter here. Times in clock ticks, rss in pages."""

    pid: int
    state: str
    ppid: int
    session: int
    user: int
    system: int
    children_user: int
    children_system: int
    start_ticks: int
    rss: int

    @property
    def alive(self) -> bool:
        """False for a zombie: it runs nothing and only waits to be collected."""
        return self.state not in "ZX"


def parse_stat(data: bytes) -> ProcStat | None:
    """One stat line; None if it is not one. Fields count from behind the last ')': names may hold brackets."""
    head, bracket, tail = data.rpartition(b")")
    fields = tail.split()
    if not bracket or len(fields) < 22:
        return None
    try:
        return ProcStat(
            pid=int(head[: head.index(b"(")]),
            state=chr(fields[0][0]),
            ppid=int(fields[1]),
            session=int(fields[3]),
            user=int(fields[11]),
            system=int(fields[12]),
            children_user=int(fields[13]),
            children_system=int(fields[14]),
            start_ticks=int(fields[19]),
            rss=int(fields[21]),
        )
    except ValueError:
        return None


def read_small(path: str) -> bytes | None:
    """A short file of the kernel in one read; None if it is gone or refused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 65536)
    except OSError:
        return None
    finally:
        os.close(fd)


def stat_of(pid: int) -> ProcStat | None:
    """The process now; None if there is none."""
    data = read_small(f"/proc/{pid}/stat")
    return None if data is None else parse_stat(data)


def start_ticks_of(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 if there is none."""
    stat = stat_of(pid)
    return stat.start_ticks if stat else 0


def is_same(pid: int, start_ticks: int) -> bool:
    """Whether that very process still runs: a pid that was handed to a stranger does not count."""
    stat = stat_of(pid)
    return stat is not None and stat.alive and stat.start_ticks == start_ticks


def boot_id() -> str:
    """Identifies this run of the kernel; pids and start times of another run mean nothing."""
    return (read_small("/proc/sys/kernel/random/boot_id") or b"").decode().strip()


def scan() -> dict[int, ProcStat]:
    """Every process, by pid, in one pass over /proc."""
    found: dict[int, ProcStat] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := stat_of(int(name))) is not None:
            found[stat.pid] = stat
    return found


def children_of(processes: Iterable[ProcStat]) -> dict[int, list[int]]:
    """Parent pid to the pids of its children."""
    tree: dict[int, list[int]] = {}
    for process in processes:
        tree.setdefault(process.ppid, []).append(process.pid)
    return tree


def descendants(tree: dict[int, list[int]], root: int) -> list[int]:
    """All pids below a process, without itself, parents first."""
    found: list[int] = []
    ahead = list(tree.get(root, ()))
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead.extend(tree.get(pid, ()))
    return found
