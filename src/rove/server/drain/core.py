"""Which allocations leave draining nodes now, and which drains are over. Pure: the state in, a decision out.

A service group may lose `migrate.max_parallel` healthy copies of its count at a time, on all draining nodes
together; the next ones leave when replacements are healthy. Batch work may finish until the deadline. System jobs
leave last. At the deadline everything leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from rove.errors import BadRequestError
from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import HOUR, SECOND, ZERO_TIME, from_unix
from rove.structs.job import Job, JobType, MigrateStrategy, TaskGroup
from rove.structs.node import DrainSpec, DrainStrategy, Node, NodeStatus

DEADLINE_MAX = 24 * 365 * 10 * HOUR
"""Nanoseconds. Ten years: more is a slip of the pen."""
EVERYWHERE = (JobType.SYSTEM, JobType.SYSBATCH)


class Reason(StrEnum):
    """Why an allocation leaves, or still stays."""

    ROOM = "the group may lose a copy now"
    SPARE = "the group loses no healthy copy by it"
    DEADLINE = "the drain's deadline has come"
    LAST = "everything else has left"
    HEALTH = "waits until replacements are healthy"
    BATCH = "may finish until the deadline"
    SYSTEM = "leaves when everything else has left"
    LEAVING = "is leaving"


class View(Protocol):
    """What is read of the state."""

    def job(self, namespace: str, job_id: str) -> Job | None: ...
    def allocs_of_node(self, node_id: str) -> Sequence[Allocation]: ...
    def allocs_of_job(self, namespace: str, job_id: str) -> Sequence[Allocation]: ...


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """A draining node. is_due: its deadline has come."""

    node: Node
    is_due: bool = False

    @property
    def ignores_system(self) -> bool:
        strategy = self.node.drain_strategy
        return strategy is not None and strategy.ignore_system_jobs


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A drain that is over. is_forced: by its deadline."""

    node_id: str
    is_forced: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. leaving: allocations to be marked, staying: those that wait, each with its reason."""

    leaving: dict[str, Reason] = {}
    staying: dict[str, Reason] = {}
    done: tuple[Done, ...] = ()
    jobs: frozenset[tuple[str, str]] = frozenset()
    """(namespace, id) of the jobs of those leaving: to be looked at again."""

    @property
    def is_empty(self) -> bool:
        return not self.leaving and not self.done


def decide(drains: Sequence[Drain], view: View) -> Decision:
    """Say what leaves now. drains: all draining nodes, oldest drain first, since they share what groups allow."""
    chosen = _Chosen(view)
    done: list[Done] = []
    for drain in drains:
        present = [alloc for alloc in view.allocs_of_node(drain.node.id) if not alloc.is_client_terminal]
        others = [alloc for alloc in present if not _is_system(alloc)]
        system = [] if drain.ignores_system else [alloc for alloc in present if _is_system(alloc)]
        for alloc in others:
            chosen.judge(alloc, drain.is_due)
        blocking = [alloc for alloc in others if not _is_given_up(alloc, drain.node)]
        for alloc in system:
            chosen.judge_system(alloc, drain.is_due, not blocking)
        if not blocking and all(_is_given_up(alloc, drain.node) for alloc in system):
            done.append(Done(node_id=drain.node.id, is_forced=drain.is_due))
    return Decision(
        leaving=chosen.leaving, staying=chosen.staying, done=tuple(done), jobs=frozenset(chosen.jobs)
    )  # fmt: skip


class _Chosen:
    """Gathers the decision; keeps what each group may still lose."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._room: dict[tuple[str, str, str], int] = {}
        self.leaving: dict[str, Reason] = {}
        self.staying: dict[str, Reason] = {}
        self.jobs: set[tuple[str, str]] = set()

    def judge(self, alloc: Allocation, is_due: bool) -> None:
        """Decide about an allocation that is not of a system job."""
        if is_leaving(alloc):
            self.staying[alloc.id] = Reason.LEAVING
        elif is_due:
            self._leave(alloc, Reason.DEADLINE)
        elif _type_of(alloc, self._view) is not JobType.SERVICE:
            self.staying[alloc.id] = Reason.BATCH
        elif not _counts(alloc):
            # A copy that is unhealthy, or an extra one, is no loss. One that is still undecided will be decided soon.
            if alloc.is_unhealthy or alloc.is_canary:
                self._leave(alloc, Reason.SPARE)
            else:
                self.staying[alloc.id] = Reason.HEALTH
        elif self._take_room(alloc):
            self._leave(alloc, Reason.ROOM)
        else:
            self.staying[alloc.id] = Reason.HEALTH

    def judge_system(self, alloc: Allocation, is_due: bool, is_alone: bool) -> None:
        """Decide about an allocation of a system or sysbatch job."""
        if is_leaving(alloc):
            self.staying[alloc.id] = Reason.LEAVING
        elif is_due:
            self._leave(alloc, Reason.DEADLINE)
        elif _type_of(alloc, self._view) is JobType.SYSBATCH:
            self.staying[alloc.id] = Reason.BATCH
        elif is_alone:
            self._leave(alloc, Reason.LAST)
        else:
            self.staying[alloc.id] = Reason.SYSTEM

    def _leave(self, alloc: Allocation, reason: Reason) -> None:
        self.leaving[alloc.id] = reason
        self.jobs.add(alloc.job_key)

    def _take_room(self, alloc: Allocation) -> bool:
        key = (*alloc.job_key, alloc.task_group)
        if key not in self._room:
            job = self._view.job(*alloc.job_key)
            group = job.group(alloc.task_group) if job is not None and not job.stop else None
            self._room[key] = room_of(group, self._view.allocs_of_job(*alloc.job_key), alloc.task_group)
        if self._room[key] <= 0:
            return False
        self._room[key] -= 1
        return True


def room_of(group: TaskGroup | None, allocs: Iterable[Allocation], name: str) -> int:
    """How many healthy copies of a group may leave now. group None: it is wanted no more, all may."""
    healthy = sum(1 for alloc in allocs if alloc.task_group == name and _counts(alloc))
    if group is None:
        return healthy
    rules = group.migrate or MigrateStrategy()
    return healthy - max(group.count - max(rules.max_parallel, 1), 0)


def is_leaving(alloc: Allocation) -> bool:
    """True once it is marked, or ended by the server."""
    return alloc.is_server_terminal or alloc.desired_transition.migrate is True


def _counts(alloc: Allocation) -> bool:
    """True for a copy that serves: it runs, is found healthy, is wanted, and is none beyond the count."""
    if alloc.is_canary or is_leaving(alloc):
        return False
    return alloc.client_status is AllocStatus.RUNNING and alloc.is_healthy


def _is_given_up(alloc: Allocation, node: Node) -> bool:
    """True for an allocation that is to leave, but whose node is not there to end it."""
    return is_leaving(alloc) and node.status is not NodeStatus.READY and alloc.client_status is AllocStatus.UNKNOWN


def _is_system(alloc: Allocation) -> bool:
    return alloc.job is not None and alloc.job.type in EVERYWHERE


def _type_of(alloc: Allocation, view: View) -> JobType:
    job = alloc.job or view.job(*alloc.job_key)
    return job.type if job is not None else JobType.SERVICE


# What a person asks for


def strategy_for(spec: DrainSpec, running: DrainStrategy | None, now: float) -> DrainStrategy:
    """The drain that is asked for. running: the one that it changes, whose start is kept.

    Raises `BadRequestError` for a deadline that is out of range.
    """
    if spec.deadline > DEADLINE_MAX:
        raise BadRequestError(
            "node.drain_deadline", "the drain was not started", "its deadline is more than ten years away",
            "give a deadline in nanoseconds; 0 is none, -1 is now",
        )  # fmt: skip
    return DrainStrategy(
        deadline=max(spec.deadline, -1),
        ignore_system_jobs=spec.ignore_system_jobs,
        force_deadline=from_unix(now + spec.deadline / SECOND) if spec.deadline > 0 else ZERO_TIME,
        started_at=running.started_at if running is not None else from_unix(now),
    )


def seconds_left(strategy: DrainStrategy, now: float) -> float | None:
    """Seconds until the deadline (0 or less: it has come); None if there is none."""
    if strategy.deadline < 0:
        return 0.0
    if strategy.force_deadline == ZERO_TIME:
        return None
    return strategy.force_deadline.timestamp() - now


def oldest_first(nodes: Iterable[Node]) -> list[Node]:
    """Draining nodes in the order in which their drains began."""

    def began(node: Node) -> tuple[datetime, str]:
        return (node.drain_strategy.started_at if node.drain_strategy else ZERO_TIME, node.id)

    return sorted((node for node in nodes if node.drain_strategy is not None), key=began)
