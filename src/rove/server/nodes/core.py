"""When a silent node counts as lost, and what a node has to be told. Pure: the clock is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from rove.server.scheduler.taint import disconnect_of, last_client_status
from rove.structs.alloc import Allocation, AllocStatus, AllocUpdate
from rove.structs.base import SECOND
from rove.structs.evaluation import Trigger
from rove.structs.job import TaskGroup
from rove.structs.messages import AllocsChanged, job_ref
from rove.structs.node import NodeStatus

HEARTBEAT_TTL_S = 3.0
"""How long a connected node may be silent; it sends a sign of life three times as often."""
SILENCE_GRACE_S = 1.0
"""Added to the TTL before a connected but silent node counts as lost."""
CLOSED_GRACE_S = 10.0
"""How long a node may stay away whose connection was closed: its agent may be restarting."""
AWAY_TEXT = {
    NodeStatus.DOWN: "node is down: no sign of life from its agent",
    NodeStatus.DISCONNECTED: "node is disconnected: no sign of life, but jobs wait for it to come back",
}
TAKEOVER_GRACE_S = 20.0
"""How long known nodes may take to show up after a server started or became leader."""


class Deadlines:
    """Points in time by which each node has to show a sign of life.

    Moving a deadline costs one dictionary write; the heap is corrected lazily when a point is reached.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._until

    def __len__(self) -> int:
        return len(self._until)

    def extend(self, node_id: str, until: float) -> None:
        """The node has until then."""
        known = node_id in self._until
        earlier = known and until < self._until[node_id]
        self._until[node_id] = until
        if not known or earlier:
            heapq.heappush(self._heap, (until, node_id))

    def forget(self, node_id: str) -> None:
        """The node is down, gone, or not watched any more."""
        self._until.pop(node_id, None)

    def expired(self, now: float) -> list[str]:
        """Nodes whose time is up; they are forgotten."""
        lost: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            _, node_id = heapq.heappop(self._heap)
            until = self._until.get(node_id)
            if until is None:
                continue
            if until <= now:
                del self._until[node_id]
                lost.append(node_id)
            else:
                heapq.heappush(self._heap, (until, node_id))
        return lost

    def clear(self) -> None:
        """Watch nobody."""
        self._until.clear()
        self._heap.clear()


def assignment(allocations: Iterable[Allocation], *, index: int, full: bool, gone: Iterable[str] = ()) -> AllocsChanged:
    """The message that tells a node what to run: each job once, allocations without what a node ignores."""
    jobs = {}
    lean = []
    for allocation in allocations:
        job = allocation.job
        if job is not None:
            jobs[job_ref(job.namespace, job.id, job.version)] = job
        lean.append(
            msgspec.structs.replace(allocation, job=None, metrics=None, task_states=None, reschedule_tracker=None)
        )
    return AllocsChanged(index=index, full=full, allocations=tuple(lean), jobs=jobs, gone=tuple(gone))


def jobs_to_look_at(
    updates: Iterable[tuple[AllocUpdate, Allocation]],
) -> dict[Trigger, dict[tuple[str, str], Allocation]]:
    """Jobs to evaluate for what nodes report, by trigger: one allocation of each.

    A copy failed, or one whose node was silent is heard of again, or of it that it was stopped meanwhile.
    """
    failed: dict[tuple[str, str], Allocation] = {}
    back: dict[tuple[str, str], Allocation] = {}
    for update, stored in updates:
        newly_failed = update.client_status is AllocStatus.FAILED and not stored.is_client_terminal
        if newly_failed and not stored.is_server_terminal:
            failed.setdefault(stored.job_key, stored)
        elif update.client_status is AllocStatus.COMPLETE and not stored.is_terminal:
            group = stored.job.group(stored.task_group) if stored.job else None
            if group is not None and stops_by_itself(group):
                back.setdefault(stored.job_key, stored)
        elif stored.client_status is AllocStatus.UNKNOWN and update.client_status is not AllocStatus.UNKNOWN:
            back.setdefault(stored.job_key, stored)
    return {Trigger.ALLOC_FAILURE: failed, Trigger.RECONNECT: {k: v for k, v in back.items() if k not in failed}}


def stops_by_itself(group: TaskGroup) -> bool:
    """True if nodes stop copies of the group when they hear nothing of the server (`stop_on_client_after`)."""
    return group.disconnect is not None and bool(group.disconnect.stop_on_client_after)


def return_deadline(allocations: Iterable[Allocation], now: float) -> float | None:
    """Until when (seconds since the epoch) a silent node may come back with its allocations; None: it is lost.

    Counted are copies that run, or are unknown, of groups with `disconnect.lost_after`.
    """
    deadlines = []
    for allocation in allocations:
        if allocation.is_server_terminal:
            continue
        rules = disconnect_of(allocation)
        if rules is None or rules.lost_after <= 0:
            continue
        if allocation.client_status is AllocStatus.RUNNING:
            deadlines.append(now + rules.lost_after / SECOND)
        elif allocation.client_status is AllocStatus.UNKNOWN:
            since = last_client_status(allocation)[1] or allocation.modify_time
            deadlines.append((since + rules.lost_after) / SECOND)
    latest = max(deadlines, default=now)
    return latest if latest > now else None
