"""When a silent node counts as lost, and what a node has to be told. Pure: the clock is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from rove.structs.alloc import Allocation, AllocStatus, AllocUpdate
from rove.structs.messages import AllocsChanged, job_ref

HEARTBEAT_TTL_S = 3.0
"""How long a connected node may be silent; it sends a sign of life three times as often."""
SILENCE_GRACE_S = 1.0
"""Added to the TTL before a connected but silent node counts as lost."""
CLOSED_GRACE_S = 10.0
"""How long a node may stay away whose connection was closed: its agent may be restarting."""
TAKEOVER_GRACE_S = 10.0
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


def concerns_node(allocation: Allocation, *, held: bool) -> bool:
    """Does a node that (re)connects have to hear of this allocation?

    It must hear of everything that may still run there, and of ended ones whose directory it keeps.
    """
    return not allocation.is_client_terminal or held


def failed_jobs(updates: Iterable[tuple[AllocUpdate, Allocation]]) -> dict[tuple[str, str], Allocation]:
    """Jobs that have to be looked at again because an allocation failed: one allocation of each."""
    jobs: dict[tuple[str, str], Allocation] = {}
    for update, stored in updates:
        newly_failed = update.client_status is AllocStatus.FAILED and not stored.is_client_terminal
        if newly_failed and not stored.is_server_terminal:
            jobs.setdefault(stored.job_key, stored)
    return jobs
