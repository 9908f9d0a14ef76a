"""What remains of a task whose shim was killed: found by identity only, and ended."""

from __future__ import annotations

import os
import signal
import time

from rove.client.shim import cgroup, procfs
from rove.client.shim.contract import LaunchSpec, PidRecord, Unreadable, read_spec

PASSES_MAX = 200
PAUSE_S = 0.01


def end_leftovers(state_dir: str, record: PidRecord) -> str:
    """Kill what is left of the task. Returns what was found, in words. Blocks up to two seconds.

    A process counts as the task's only if it is in the task's own control group, or is the recorded main
    process (same pid and start time, same boot), its descendant, or in its session while it lives.
    """
    if record.boot_id != procfs.boot_id():
        return "the machine was started anew since"
    dirs = own_groups(read_spec(state_dir), record)
    found: set[int] = set()
    for _ in range(PASSES_MAX):
        alive = _kill_pass(record, dirs)
        if not alive:
            break
        found |= alive
        time.sleep(PAUSE_S)
    cgroup.try_remove(dirs.values())
    return f"{len(found)} processes of it were left and were ended" if found else "nothing of it was left"


def own_groups(spec: LaunchSpec | Unreadable, record: PidRecord) -> dict[str, str]:
    """The recorded groups that bear the task's own name; a record that names others is not believed."""
    if isinstance(spec, Unreadable) or spec.cgroup is None:
        return {}
    leaf = f"/{spec.cgroup.parent}/{spec.cgroup.name}"
    return {name: path for name, path in record.cgroup_dirs.items() if os.path.normpath(path).endswith(leaf)}


def _kill_pass(record: PidRecord, dirs: dict[str, str]) -> set[int]:
    """One round of SIGKILL; the pids that were alive before it."""
    members = set(cgroup.members(dirs)) if dirs else set()
    if members:
        cgroup.kill_all(dirs)
    relatives: list[procfs.ProcStat] = []
    if procfs.is_same(record.pid, record.start_ticks):
        relatives = _relatives(record)
        for process in relatives:
            procfs.send_to(process.pid, process.start_ticks, signal.SIGKILL)
        procfs.send_to(record.pid, record.start_ticks, signal.SIGKILL)
        members.add(record.pid)
    return members | {process.pid for process in relatives}


def _relatives(record: PidRecord) -> list[procfs.ProcStat]:
    """Descendants and session mates of the main process, while that lives and so vouches for its session."""
    processes = procfs.scan()
    below = set(procfs.descendants(procfs.children_of(processes.values()), record.pid))
    return [
        process
        for process in processes.values()
        if process.pid != record.pid and process.alive and (process.pid in below or process.session == record.pid)
    ]
