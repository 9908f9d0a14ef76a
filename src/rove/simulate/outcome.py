"""What a step of a simulation led to, as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rove.structs.alloc import Allocation, AllocMetric


@dataclass(frozen=True)
class Placed:
    """One allocation on one node. score: normalised; scores: what it is made of, by scorer, where it was kept."""

    alloc_id: str
    name: str
    namespace: str
    job_id: str
    group: str
    node_id: str
    node_name: str
    score: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """Copies of a group's count that are not there: they found no room, or nothing waits to place them.

    why: a paragraph. metric: the scheduler's counts behind it, all zero for copies that do not wait for room.
    """

    namespace: str
    job_id: str
    group: str
    count: int
    why: str
    metric: AllocMetric


@dataclass(frozen=True)
class Outcome:
    """What one step changed, and how things stand after it.

    job_id: the job the step was about, '' for steps about nodes. placed, stopped: allocations that began and
    ended, of any job; preempted: those of `stopped` that had to make room for a job of higher priority.
    by_node: how many live allocations of the job (of all jobs) each node holds now, by node name. missing:
    what the job (every job) misses of its count. why: one paragraph about the job's count (for steps about
    nodes, one line for each job that misses something; '' if none does).
    """

    job_id: str = ""
    placed: tuple[Placed, ...] = ()
    stopped: tuple[Placed, ...] = ()
    preempted: tuple[Placed, ...] = ()
    by_node: dict[str, int] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()
    why: str = ""

    @property
    def is_complete(self) -> bool:
        """True if the job (every job) has what its count asks for."""
        return not self.missing

    @property
    def failed(self) -> dict[str, str]:
        """By group: why copies are missing."""
        return {each.group: each.why for each in self.missing}


def placed(alloc: Allocation, node_name: str) -> Placed:
    """An allocation in short."""
    scores = alloc.metrics.score_meta_data if alloc.metrics is not None else ()
    own = next((each for each in scores if each.node_id == alloc.node_id), None)
    return Placed(
        alloc_id=alloc.id, name=alloc.name, namespace=alloc.namespace, job_id=alloc.job_id, group=alloc.task_group,
        node_id=alloc.node_id, node_name=node_name, score=own.norm_score if own else 0.0,
        scores=dict(own.scores) if own else {},
    )  # fmt: skip


def count_by_node(allocs: tuple[Placed, ...]) -> dict[str, int]:
    """How many of the allocations each node holds, by name, in order of the names."""
    return dict(sorted(Counter(each.node_name for each in allocs).items()))
