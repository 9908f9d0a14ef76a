"""Control groups of raw tasks: found, made, limited, killed and removed; v1 and v2. Standard library only.

Nothing here raises for a machine that refuses: what could not be had is named in `Limits.missing`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from typing import NamedTuple

from rove.client.shim.contract import CgroupSpec, Limits
from rove.client.shim.procfs import read_small

V1_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "freezer")
V2_CONTROLLERS = ("memory", "cpu", "pids")
UNIFIED = "v2"

QUOTA_PERIOD_US = 100_000
FREEZE_TRIES = 40
FREEZE_PAUSE_S = 0.005


class Layout(NamedTuple):
    """Where this process may hope to make groups.

    v1: controller to the directory below which groups are made. v2: candidate directories, best first.
    Both empty: the machine has no control groups.
    """

    v1: dict[str, str] = {}
    v2: tuple[str, ...] = ()


def _mounts(text: str) -> tuple[dict[str, str], str]:
    """/proc/mounts to (v1 controller -> mount point, v2 mount point or "")."""
    v1: dict[str, str] = {}
    unified = ""
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) < 4:
            continue
        if fields[2] == "cgroup2":
            unified = unified or fields[1]
        elif fields[2] == "cgroup":
            options = fields[3].split(",")
            v1.update({name: fields[1] for name in V1_CONTROLLERS if name in options})
    return v1, unified


def _own_paths(text: str) -> dict[str, str]:
    """/proc/self/cgroup to controller -> path below its mount; "v2" for the unified hierarchy."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        for name in names.split(",") if names else [UNIFIED if number == "0" else ""]:
            paths[name] = path
    return paths


def _below(mount: str, path: str) -> str:
    own = mount + path.rstrip("/")
    return own if os.path.isdir(own) else mount


def _unified_rules(unified: str, v1: dict[str, str]) -> bool:
    """Whether the v2 hierarchy is the one with the controllers (on a hybrid machine it is not)."""
    offered = (read_small(unified + "/cgroup.controllers") or b"").decode().split()
    return not v1 or any(name in offered for name in V2_CONTROLLERS)


def detect(mounts: str | None = None, own: str | None = None) -> Layout:
    """Find the hierarchies. mounts, own: text of /proc/self/mounts and /proc/self/cgroup, read if None."""
    if mounts is None:
        mounts = _whole("/proc/self/mounts")
    if own is None:
        own = _whole("/proc/self/cgroup")
    v1, unified = _mounts(mounts)
    paths = _own_paths(own)
    if unified and _unified_rules(unified, v1):
        return Layout(v2=tuple(dict.fromkeys([unified, _below(unified, paths.get(UNIFIED, ""))])))
    return Layout(v1={name: _below(mount, paths.get(name, "")) for name, mount in v1.items()})


def _whole(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: str) -> str:
    """Write a kernel file. Returns why it was refused, "" if it was not."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        return f"{path}: {error.strerror}"
    try:
        os.write(fd, value.encode())
    except OSError as error:
        return f"{path}: {error.strerror}"
    finally:
        os.close(fd)
    return ""


def _make(path: str) -> str:
    """Make a fresh group, killing and removing what an earlier one of that name left. Returns why not."""
    for _ in range(FREEZE_TRIES):
        try:
            os.makedirs(path)
            return ""
        except FileExistsError:
            kill_all({"": path})
            if not try_remove([path]):
                time.sleep(FREEZE_PAUSE_S)
        except OSError as error:
            return f"{path}: {error.strerror}"
    return f"{path}: an earlier group of this name cannot be removed"


class _Limiter:
    """Applies limits one by one and keeps the account."""

    def __init__(self) -> None:
        self.applied: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def set(self, limit: str, directory: str | None, file: str, value: int | str | None, why: str) -> None:
        if value is None:
            return
        refused = _write(f"{directory}/{file}", str(value)) if directory else why
        if refused:
            self.missing[limit] = refused
        else:
            self.applied[limit] = str(value)


def prepare(spec: CgroupSpec, layout: Layout) -> tuple[dict[str, str], Limits]:
    """Make the group of a task and set its limits.

    Returns controller -> absolute directory (empty if none could be made), and what became of every
    limit. Raises nothing.
    """
    if layout.v2:
        return _prepare_v2(spec, layout.v2)
    if layout.v1:
        return _prepare_v1(spec, layout.v1)
    return {}, _all_missing(spec, "this machine has no control groups mounted")


def _all_missing(spec: CgroupSpec, why: str) -> Limits:
    asked = [name for name in spec._fields[2:] if getattr(spec, name) is not None]
    return Limits({}, dict.fromkeys([*asked, "group"], why))


def _prepare_v1(spec: CgroupSpec, bases: dict[str, str]) -> tuple[dict[str, str], Limits]:
    dirs: dict[str, str] = {}
    refused: dict[str, str] = {}
    made: dict[str, str] = {}
    for name, base in bases.items():
        path = f"{base}/{spec.parent}/{spec.name}"
        if path not in made:  # cpu and cpuacct are often one mount
            made[path] = _make(path)
        if made[path]:
            refused[name] = made[path]
        else:
            dirs[name] = path
    return dirs, _limit_v1(spec, dirs, refused)


def _limit_v1(spec: CgroupSpec, dirs: dict[str, str], refused: dict[str, str]) -> Limits:
    account = _Limiter()

    def limit(name: str, controller: str, file: str, value: int | None) -> None:
        why = refused.get(controller, f"the {controller} controller is not mounted")
        account.set(name, dirs.get(controller), file, value, why)

    limit("memory_bytes", "memory", "memory.limit_in_bytes", spec.memory_bytes)
    if "memory_bytes" in account.applied:  # without this a task over its limit swaps instead; often not built in
        _write(f"{dirs['memory']}/memory.memsw.limit_in_bytes", str(spec.memory_bytes))
    limit("memory_reserved_bytes", "memory", "memory.soft_limit_in_bytes", spec.memory_reserved_bytes)
    limit("cpu_shares", "cpu", "cpu.shares", None if spec.cpu_shares is None else max(2, spec.cpu_shares))
    limit("cpu_quota_us", "cpu", "cpu.cfs_quota_us", spec.cpu_quota_us)
    limit("pids_max", "pids", "pids.max", spec.pids_max)
    _say_group(account, dirs, refused)
    return Limits(account.applied, account.missing)


def _say_group(account: _Limiter, dirs: dict[str, str], refused: dict[str, str]) -> None:
    if dirs:
        account.applied["group"] = ",".join(sorted(dirs))
    else:
        account.missing["group"] = next(iter(refused.values()), "no group could be made")


def _prepare_v2(spec: CgroupSpec, bases: tuple[str, ...]) -> tuple[dict[str, str], Limits]:
    refused = "no group could be made"
    for base in bases:
        _enable(base)
        parent = f"{base}/{spec.parent}"
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as error:
            refused = f"{parent}: {error.strerror}"
            continue
        _enable(parent)
        refused = _make(f"{parent}/{spec.name}")
        if not refused:
            dirs = {UNIFIED: f"{parent}/{spec.name}"}
            return dirs, _limit_v2(spec, dirs[UNIFIED])
    return {}, _all_missing(spec, refused)


def _enable(directory: str) -> None:
    """Hand the controllers down one level; those the kernel refuses stay out and are noticed later."""
    enabled = (read_small(directory + "/cgroup.subtree_control") or b"").decode().split()
    for name in V2_CONTROLLERS:
        if name not in enabled:
            _write(directory + "/cgroup.subtree_control", f"+{name}")


def weight_of(shares: int) -> int:
    """cgroup v1 cpu shares (2..262144) to the v2 weight (1..10000), linear between the ends."""
    shares = min(max(shares, 2), 262_144)
    return 1 + (shares - 2) * 9_999 // 262_142


def _limit_v2(spec: CgroupSpec, directory: str) -> Limits:
    account = _Limiter()
    present = (read_small(directory + "/cgroup.controllers") or b"").decode().split()

    def limit(name: str, controller: str, file: str, value: int | str | None) -> None:
        why = f"the {controller} controller is not handed down to {directory}"
        account.set(name, directory if controller in present else None, file, value, why)

    limit("memory_bytes", "memory", "memory.max", spec.memory_bytes)
    if "memory_bytes" in account.applied:  # swap would make the limit soft; often not built in
        _write(f"{directory}/memory.swap.max", "0")
    limit("memory_reserved_bytes", "memory", "memory.low", spec.memory_reserved_bytes)
    limit("cpu_shares", "cpu", "cpu.weight", None if spec.cpu_shares is None else weight_of(spec.cpu_shares))
    quota = None if spec.cpu_quota_us is None else f"{spec.cpu_quota_us} {QUOTA_PERIOD_US}"
    limit("cpu_quota_us", "cpu", "cpu.max", quota)
    limit("pids_max", "pids", "pids.max", spec.pids_max)
    account.applied["group"] = UNIFIED
    return Limits(account.applied, account.missing)


def enter(dirs: Iterable[str]) -> str:
    """Move this process, which has one thread, into groups. Returns why one refused, "" if none did.

    On v1 as a thread that moves itself: moving a process makes the kernel wait for all cpus, about 10 ms.
    """
    refused = ""
    for directory in dict.fromkeys(dirs):
        own = directory + "/tasks"
        refused = _write(own if os.path.exists(own) else directory + "/cgroup.procs", "0") or refused
    return refused


def _nested(directory: str) -> list[str]:
    """A group and all groups below it, deepest first."""
    found: list[str] = []
    try:
        with os.scandir(directory) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    for path in below:
        found += _nested(path)
    return [*found, directory]


def tracker(dirs: dict[str, str]) -> str:
    """The one controller by which members are counted; "" if there is none."""
    for name in ("freezer", "pids", UNIFIED):
        if name in dirs:
            return name
    return next(iter(dirs), "")


def members(dirs: dict[str, str]) -> list[int]:
    """Pids of all processes in the groups and in groups that the task made below them."""
    found: set[int] = set()
    for directory in _nested(dirs.get(tracker(dirs), "")):
        found.update(int(pid) for pid in _whole(directory + "/cgroup.procs").split() if pid.isdigit())
    return sorted(found)


def kill_all(dirs: dict[str, str]) -> None:
    """Send SIGKILL to every member. One pass: the caller repeats it until `members` is empty."""
    if UNIFIED in dirs and not _write(dirs[UNIFIED] + "/cgroup.kill", "1"):
        return
    frozen = dirs.get("freezer", "")
    if frozen:
        _freeze(frozen)
    try:
        for pid in members(dirs):
            _kill(pid)
    finally:
        if frozen:
            _write(frozen + "/freezer.state", "THAWED")


def _freeze(directory: str) -> None:
    """Hold the members still, so that none forks while they are counted. Bounded; a refusal is harmless."""
    for _ in range(FREEZE_TRIES):
        if _write(directory + "/freezer.state", "FROZEN"):
            return
        if read_small(directory + "/freezer.state") == b"FROZEN\n":
            return
        time.sleep(FREEZE_PAUSE_S)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def oom_kills(dirs: dict[str, str]) -> int:
    """How many members the kernel's OOM killer ended. Ask before `try_remove`: the count goes with it."""
    if "memory" in dirs:
        data = read_small(dirs["memory"] + "/memory.oom_control")
    elif UNIFIED in dirs:
        data = read_small(dirs[UNIFIED] + "/memory.events")
    else:
        return 0
    for line in (data or b"").splitlines():
        name, _, count = line.partition(b" ")
        if name == b"oom_kill":
            return int(count)
    return 0


def try_remove(dirs: Iterable[str]) -> bool:
    """Remove groups. False if one is still busy: a dying member takes a moment. Raises nothing."""
    gone = True
    for directory in dict.fromkeys(dirs):
        for path in _nested(directory):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass
            except OSError:
                gone = False
    return gone
