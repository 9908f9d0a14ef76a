"""Sorting a group's allocations by what has happened to their nodes and to themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import UnixNs, unix_ns
from rove.structs.job import DisconnectStrategy, Job, JobType, TaskGroup
from rove.structs.node import Node, NodeStatus

NodeOf = Callable[[str], Node | None]

CLIENT_STATUS_FIELD = 0
"""`AllocStateChange.field` for changes of the client status."""


@dataclass(slots=True)
class Sorted:
    """A group's allocations by condition; each one is in at most one list.

    kept: on a good node, running, starting, waiting, or failed. done: batch copies that completed.
    migrate: asked to move. lost: their node is down or gone. late_lost: lost, but their replacement
    has to wait until the time given (ns). disconnecting: their node has just gone silent. unknown: silent,
    with the end of their grace (ns). expired: silent for too long. reconnecting: have been silent, run again.
    """

    kept: list[Allocation] = field(default_factory=list)
    done: list[Allocation] = field(default_factory=list)
    migrate: list[Allocation] = field(default_factory=list)
    lost: list[Allocation] = field(default_factory=list)
    late_lost: list[tuple[Allocation, UnixNs]] = field(default_factory=list)
    disconnecting: list[Allocation] = field(default_factory=list)
    unknown: list[tuple[Allocation, UnixNs]] = field(default_factory=list)
    expired: list[Allocation] = field(default_factory=list)
    reconnecting: list[Allocation] = field(default_factory=list)


def disconnect_of(alloc: Allocation) -> DisconnectStrategy | None:
    """The disconnect rules of the version that `alloc` runs."""
    group = alloc.job.group(alloc.task_group) if alloc.job else None
    return group.disconnect if group else None


def is_of(alloc: Allocation, job: Job) -> bool:
    """True if `alloc` runs exactly this version of this job (and not of an earlier job of that name)."""
    if alloc.job_version != job.version:
        return False
    return alloc.job is None or alloc.job is job or alloc.job.create_index == job.create_index


def last_client_status(alloc: Allocation) -> tuple[str, UnixNs]:
    """The newest recorded change of the client status and its time (ns)."""
    for change in reversed(alloc.alloc_states):
        if change.field == CLIENT_STATUS_FIELD:
            return change.value, int(change.time.timestamp() * 1e9) if change.time.year > 1 else 0
    return "", 0


def sort_allocs(allocs: Iterable[Allocation], job: Job, node_of: NodeOf, now: float) -> Sorted:
    """Sort `allocs` (of one group) by condition. Those that the server has ended are left out."""
    found = Sorted()
    is_batch = job.type in (JobType.BATCH, JobType.SYSBATCH)
    nodes: dict[str, Node | None] = {}
    for alloc in allocs:
        if alloc.is_server_terminal:
            continue
        if alloc.is_client_terminal and is_batch:
            if not is_of(alloc, job):
                continue  # a new version of a batch job starts over
            if alloc.client_status is AllocStatus.COMPLETE:
                found.done.append(alloc)
                continue
        if alloc.node_id not in nodes:
            nodes[alloc.node_id] = node_of(alloc.node_id)
        _sort_one(found, alloc, nodes[alloc.node_id], now)
    return found


def _sort_one(found: Sorted, alloc: Allocation, node: Node | None, now: float) -> None:
    status = alloc.client_status
    was_silent = any(
        change.value == AllocStatus.UNKNOWN and change.field == CLIENT_STATUS_FIELD for change in alloc.alloc_states
    )
    if was_silent and status in (AllocStatus.RUNNING, AllocStatus.PENDING) and not _is_bad(node):
        # Somebody has to choose between it and its stand-in, if there still is one.
        found.reconnecting.append(alloc)
        return
    if status is AllocStatus.COMPLETE or status is AllocStatus.LOST:
        if status is AllocStatus.LOST and alloc.next_allocation == "":
            found.lost.append(alloc)
        return
    if status is AllocStatus.FAILED:
        found.kept.append(alloc)
        return
    if status is AllocStatus.UNKNOWN:
        _sort_unknown(found, alloc, node, now)
    elif node is None or node.status is NodeStatus.DOWN:
        _sort_lost(found, alloc, node, now)
    elif node.status is NodeStatus.DISCONNECTED:
        rules = disconnect_of(alloc)
        if rules and rules.lost_after > 0 and status is AllocStatus.RUNNING:
            found.disconnecting.append(alloc)
        else:
            _sort_lost(found, alloc, node, now)
    elif alloc.desired_transition.migrate:
        found.migrate.append(alloc)
    else:
        found.kept.append(alloc)


def _is_bad(node: Node | None) -> bool:
    return node is None or node.status in (NodeStatus.DOWN, NodeStatus.DISCONNECTED)


def _sort_unknown(found: Sorted, alloc: Allocation, node: Node | None, now: float) -> None:
    if node is None:
        found.lost.append(alloc)
        return
    rules = disconnect_of(alloc)
    since = last_client_status(alloc)[1] or alloc.modify_time
    ends = since + (rules.lost_after if rules else 0)
    if unix_ns(now) >= ends and _is_bad(node):
        found.expired.append(alloc)
    else:
        found.unknown.append((alloc, ends))


def _sort_lost(found: Sorted, alloc: Allocation, node: Node | None, now: float) -> None:
    rules = disconnect_of(alloc)
    if node is not None and rules and rules.stop_on_client_after:
        ends = node.status_updated_at * 1_000_000_000 + rules.stop_on_client_after
        if ends > unix_ns(now):
            found.late_lost.append((alloc, ends))
            return
    found.lost.append(alloc)


def start_time(alloc: Allocation, group: TaskGroup | None) -> float:
    """When the allocation's main task (its leader, if one is named) started; infinity if it has not."""
    states = alloc.task_states or {}
    mains = [task.name for task in group.tasks if task.lifecycle is None] if group else list(states)
    leaders = [task.name for task in group.tasks if task.leader] if group else []
    starts = [
        state.started_at.timestamp()
        for name, state in states.items()
        if name in (leaders or mains) and state.started_at
    ]
    return min(starts, default=float("inf"))
