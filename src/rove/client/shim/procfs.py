"""What /proc says about processes: identity, state, family. Standard library only; used by all sides."""

from __future__ import annotations

import os
import signal
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
    """One stat line, None if it is not one. Fields count from the last ')' on: names may hold brackets."""
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


def send(pid: int, number: int) -> bool:
    """Send a signal to a process known to be ours: a descendant not yet collected. False if it is gone."""
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def send_to(pid: int, start_ticks: int, number: int) -> bool:
    """Send a signal to that very process, never to a stranger with the same pid. False if it is gone.

    The pidfd pins the process before its start time is compared. Kernels without pidfd (before 5.3) are
    left with a gap of microseconds.
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except OSError:
        return is_same(pid, start_ticks) and send(pid, number)
    try:
        if not is_same(pid, start_ticks):
            return False
        signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


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


def _children_listed(pid: int) -> list[int]:
    """A process's children as the kernel lists them, thread by thread."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        found += map(int, (read_small(f"/proc/{pid}/task/{thread}/children") or b"").split())
    return found


def family(root: int) -> list[int]:
    """All pids below a process, without itself, parents first; reads only these where the kernel can."""
    if not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):
        return descendants(children_of(scan().values()), root)
    found: list[int] = []
    ahead = _children_listed(root)
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += _children_listed(pid)
    return found


STOP_PASSES_MAX = 20


def hold_descendants(root: int) -> list[int]:
    """Stop all descendants until no new one shows up, so that none forks away from the kill to come."""
    held: set[int] = set()
    for _ in range(STOP_PASSES_MAX):
        fresh = [pid for pid in family(root) if pid not in held]
        if not fresh:
            break
        for pid in fresh:
            send(pid, signal.SIGSTOP)
        held.update(fresh)
    return list(held)
