"""Drains as decisions: what leaves now, what waits and why, when a drain is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rove.errors import BadRequestError
from rove.server.drain.core import (
    Decision,
    Done,
    Drain,
    Reason,
    decide,
    is_leaving,
    oldest_first,
    seconds_left,
    strategy_for,
)
from rove.structs.alloc import Allocation, AllocDeploymentStatus, AllocStatus, Desired, DesiredTransition
from rove.structs.base import HOUR, SECOND, ZERO_TIME, from_unix
from rove.structs.job import Job, MigrateStrategy
from rove.structs.node import DrainSpec, DrainStrategy, Node, NodeStatus
from rove.testing.builders import a_group, a_job, a_node, an_alloc

NOW = 1_700_000_000.0
HEALTHY = AllocDeploymentStatus(healthy=True)
LEFT = DesiredTransition(migrate=True)


class State:
    """A handful of jobs and allocations."""

    def __init__(self, jobs: Sequence[Job] = (), allocs: Sequence[Allocation] = ()) -> None:
        self.jobs = {job.key: job for job in jobs}
        self.allocs = {alloc.id: alloc for alloc in allocs}

    def job(self, namespace: str, job_id: str) -> Job | None:
        return self.jobs.get((namespace, job_id))

    def allocs_of_node(self, node_id: str) -> list[Allocation]:
        return [a for a in self.allocs.values() if a.node_id == node_id and not a.is_client_terminal]

    def allocs_of_job(self, namespace: str, job_id: str) -> list[Allocation]:
        return [a for a in self.allocs.values() if a.job_key == (namespace, job_id)]


def a_drain(node_id: str = "n1", *, is_due: bool = False, ignore_system: bool = False, **node: Any) -> Drain:
    strategy = DrainStrategy(deadline=HOUR, ignore_system_jobs=ignore_system)
    return Drain(node=a_node(node_id, drain_strategy=strategy, **node), is_due=is_due)


def copies(job: Job, count: int, node: str = "n1", start: int = 0, **fields: Any) -> list[Allocation]:
    fields.setdefault("deployment_status", HEALTHY)
    return [an_alloc(job, start + number, node=node, **fields) for number in range(count)]


def decided(job: Job, allocs: Sequence[Allocation], *drains: Drain) -> Decision:
    return decide(drains or (a_drain(),), State([job], allocs))


def a_service(count: int, parallel: int = 1, **fields: Any) -> Job:
    return a_job(count=count, migrate=MigrateStrategy(max_parallel=parallel), **fields)


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_as_many_leave_at_a_time_as_the_migrate_block_allows(parallel: int) -> None:
    job = a_service(5, parallel)
    found = decided(job, copies(job, 5))
    assert len(found.leaving) == parallel
    assert set(found.leaving.values()) == {Reason.ROOM}
    assert set(found.staying.values()) <= {Reason.HEALTH}
    assert found.jobs == {job.key}
    assert found.done == ()


def test_nothing_leaves_while_a_replacement_is_not_healthy_yet() -> None:
    job = a_service(3)
    undecided = copies(job, 1, "n2", start=2, deployment_status=None)
    found = decided(job, [*copies(job, 2), *undecided])
    assert found.is_empty
    assert set(found.staying.values()) == {Reason.HEALTH}


def test_one_that_is_marked_but_still_runs_is_not_counted_as_serving() -> None:
    job = a_service(3)
    marked = copies(job, 1, start=2, desired_transition=LEFT)
    found = decided(job, [*copies(job, 2), *marked])
    assert found.leaving == {}
    assert found.staying[marked[0].id] is Reason.LEAVING


def test_copies_on_two_draining_nodes_share_what_their_group_may_lose() -> None:
    job = a_service(4)
    found = decided(job, [*copies(job, 2, "n1"), *copies(job, 2, "n2", start=2)], a_drain("n1"), a_drain("n2"))
    assert len(found.leaving) == 1
    assert next(iter(found.leaving)) in {a.id for a in copies(job, 2, "n1")}


def test_a_roll_out_under_way_leaves_no_room_for_the_drain() -> None:
    job = a_service(4)
    old = copies(job, 3)
    new = copies(job, 1, "n2", start=3, deployment_status=None, deployment_id="d1")
    assert decided(job, [*old, *new]).leaving == {}


def test_a_single_copy_may_leave() -> None:
    job = a_service(1)
    assert len(decided(job, copies(job, 1)).leaving) == 1


def test_a_copy_that_is_unhealthy_leaves_at_once_and_one_that_starts_waits() -> None:
    job = a_service(4)
    bad = copies(job, 1, deployment_status=AllocDeploymentStatus(healthy=False))
    starting = copies(job, 1, start=1, client_status=AllocStatus.PENDING, deployment_status=None)
    found = decided(job, [*bad, *starting])
    assert found.leaving == {bad[0].id: Reason.SPARE}
    assert found.staying == {starting[0].id: Reason.HEALTH}


def test_canaries_are_beyond_the_count() -> None:
    job = a_service(2)
    canary = copies(job, 1, start=0, id="canary", deployment_status=AllocDeploymentStatus(healthy=True, canary=True))
    found = decided(job, [*copies(job, 2, "n2"), *canary])
    assert found.leaving == {"canary": Reason.SPARE}


def test_batch_work_may_finish_and_leaves_at_the_deadline() -> None:
    job = a_job("sum", type="batch", count=2)
    waiting = decided(job, copies(job, 2, deployment_status=None))
    assert waiting.is_empty
    assert set(waiting.staying.values()) == {Reason.BATCH}
    due = decided(job, copies(job, 2, deployment_status=None), a_drain(is_due=True))
    assert set(due.leaving.values()) == {Reason.DEADLINE}
    assert due.done == ()


def test_system_jobs_leave_last() -> None:
    web, system = a_service(2), a_job("logs", type="system")
    [daemon] = copies(system, 1, deployment_status=None)
    moving = copies(web, 1, desired_transition=LEFT, desired_status=Desired.STOP)
    state = State([web, system], [*moving, daemon])
    found = decide([a_drain()], state)
    assert found.staying[daemon.id] is Reason.SYSTEM
    state.allocs[moving[0].id] = msgspec.structs.replace(moving[0], client_status=AllocStatus.COMPLETE)
    assert decide([a_drain()], state).leaving == {daemon.id: Reason.LAST}


def test_system_jobs_that_are_ignored_do_not_hold_the_drain_up() -> None:
    system = a_job("logs", type="system")
    found = decided(system, copies(system, 1), a_drain(ignore_system=True))
    assert found.leaving == {}
    assert found.done == (Done(node_id="n1", is_forced=False),)
    forced = decided(system, copies(system, 1), a_drain(ignore_system=True, is_due=True))
    assert forced.leaving == {}
    assert forced.done == (Done(node_id="n1", is_forced=True),)


def test_an_empty_node_is_drained_at_once() -> None:
    assert decide([a_drain()], State()).done == (Done(node_id="n1"),)


def test_ended_allocations_hold_nothing_up() -> None:
    job = a_job("sum", type="batch", count=2)
    ended = [*copies(job, 1, client_status="complete"), *copies(job, 1, start=1, client_status="failed")]
    assert decided(job, ended).done == (Done(node_id="n1"),)


def test_a_node_that_is_gone_holds_its_drain_up_only_until_the_deadline() -> None:
    job = a_service(1)
    silent = copies(job, 1, client_status="unknown")
    away = {"status": NodeStatus.DISCONNECTED}
    assert decided(job, silent, a_drain(**away)).is_empty
    due = decided(job, silent, a_drain(is_due=True, **away))
    assert set(due.leaving.values()) == {Reason.DEADLINE}
    marked = [msgspec.structs.replace(silent[0], desired_transition=LEFT)]
    assert decided(job, marked, a_drain(is_due=True, **away)).done == (Done(node_id="n1", is_forced=True),)


def test_a_stopped_or_purged_job_holds_nothing_back() -> None:
    job = a_service(3)
    stopped = msgspec.structs.replace(job, stop=True)
    assert len(decide([a_drain()], State([stopped], copies(job, 3))).leaving) == 3
    assert len(decide([a_drain()], State([], copies(job, 3))).leaving) == 3


def test_a_group_scaled_down_counts_with_its_new_count() -> None:
    job = a_service(6)
    smaller = a_service(2)
    assert len(decide([a_drain()], State([smaller], copies(job, 6))).leaving) == 5


# Every state: what was promised is kept, and a decision carried out leaves nothing to decide

STATUSES = ["running", "running", "running", "pending", "complete", "unknown"]
HEALTH = st.sampled_from([True, True, True, False, None])


@st.composite
def states(draw: st.DrawFn) -> tuple[State, list[Drain]]:
    jobs = [
        a_job(f"s{number}", groups=[
            a_group("api", count=draw(st.integers(0, 5)), migrate=MigrateStrategy(max_parallel=draw(st.integers(0, 3))))
        ])
        for number in range(draw(st.integers(1, 2)))
    ]  # fmt: skip
    jobs += [a_job("batch", type="batch", count=2), a_job("system", type="system"), a_job("each", type="sysbatch")]
    nodes = ["n1", "n2", "n3"]
    allocs = []
    for job in jobs:
        for index in range(draw(st.integers(0, 7))):
            health = draw(HEALTH)
            allocs.append(
                an_alloc(
                    job, index, node=draw(st.sampled_from(nodes)),
                    client_status=draw(st.sampled_from(STATUSES)),
                    desired_status=draw(st.sampled_from([Desired.RUN, Desired.RUN, Desired.RUN, Desired.STOP])),
                    desired_transition=draw(st.sampled_from([DesiredTransition(), DesiredTransition(), LEFT])),
                    deployment_status=AllocDeploymentStatus(healthy=health, canary=draw(st.integers(0, 9)) == 0),
                )
            )  # fmt: skip
    drains = [
        a_drain(
            node_id, is_due=draw(st.integers(0, 3)) == 0, ignore_system=draw(st.booleans()),
            status=draw(st.sampled_from([NodeStatus.READY, NodeStatus.READY, NodeStatus.DISCONNECTED])),
        )
        for node_id in nodes[: draw(st.integers(1, 3))]
    ]  # fmt: skip
    return State(jobs, allocs), drains


def serving(state: State, job: Job) -> int:
    return sum(
        1 for a in state.allocs_of_job(*job.key)
        if a.client_status is AllocStatus.RUNNING and a.is_healthy and not a.is_canary and not is_leaving(a)
    )  # fmt: skip


def carried_out(state: State, decision: Decision) -> State:
    allocs = [
        msgspec.structs.replace(a, desired_transition=LEFT) if a.id in decision.leaving else a
        for a in state.allocs.values()
    ]
    return State(tuple(state.jobs.values()), allocs)


@settings(max_examples=300, deadline=None)
@given(states())
def test_no_group_is_taken_below_what_it_was_promised(given_state: tuple[State, list[Drain]]) -> None:
    state, drains = given_state
    due = {drain.node.id for drain in drains if drain.is_due}
    decision = decide(drains, state)
    after = carried_out(state, decision)
    for job in state.jobs.values():
        if job.type != "service":
            continue
        group = job.task_groups[0]
        assert group.migrate is not None
        promised = group.count - max(group.migrate.max_parallel, 1)
        taken = [a for a in state.allocs_of_job(*job.key) if a.id in decision.leaving]
        if any(a.node_id in due for a in taken):
            continue
        assert serving(after, job) >= min(promised, serving(state, job))


@settings(max_examples=300, deadline=None)
@given(states())
def test_a_decision_carried_out_leaves_nothing_to_decide(given_state: tuple[State, list[Drain]]) -> None:
    state, drains = given_state
    first = decide(drains, state)
    assert decide(drains, carried_out(state, first)).leaving == {}


@settings(max_examples=300, deadline=None)
@given(states())
def test_every_allocation_on_a_draining_node_leaves_or_has_a_reason_to_stay(
    given_state: tuple[State, list[Drain]],
) -> None:
    state, drains = given_state
    decision = decide(drains, state)
    for drain in drains:
        for alloc in state.allocs_of_node(drain.node.id):
            is_system = alloc.job is not None and alloc.job.type in ("system", "sysbatch")
            if is_system and drain.ignores_system:
                assert alloc.id not in decision.leaving
            else:
                assert (alloc.id in decision.leaving) != (alloc.id in decision.staying)
            if drain.is_due and not (is_system and drain.ignores_system):
                assert is_leaving(alloc) or alloc.id in decision.leaving
    on_draining = {a.id for d in drains for a in state.allocs_of_node(d.node.id)}
    assert set(decision.leaving) <= on_draining
    assert decision.jobs == {state.allocs[alloc_id].job_key for alloc_id in decision.leaving}


@settings(max_examples=200, deadline=None)
@given(states())
def test_a_drain_ends_only_when_nothing_that_has_to_leave_is_there(given_state: tuple[State, list[Drain]]) -> None:
    state, drains = given_state
    done = {found.node_id for found in decide(drains, state).done}
    for drain in drains:
        left = [
            a for a in state.allocs_of_node(drain.node.id)
            if not (drain.ignores_system and a.job is not None and a.job.type in ("system", "sysbatch"))
            and not (
                a.client_status is AllocStatus.UNKNOWN and is_leaving(a) and drain.node.status is not NodeStatus.READY
            )
        ]  # fmt: skip
        assert (drain.node.id in done) == (not left)


# What a person asks for


def test_a_strategy_carries_its_deadline_and_keeps_the_start_of_the_one_it_changes() -> None:
    first = strategy_for(DrainSpec(deadline=60 * SECOND), None, NOW)
    assert (first.force_deadline, first.started_at) == (from_unix(NOW + 60), from_unix(NOW))
    assert seconds_left(first, NOW + 20) == 40
    changed = strategy_for(DrainSpec(deadline=10 * SECOND, ignore_system_jobs=True), first, NOW + 30)
    assert (changed.started_at, changed.force_deadline) == (from_unix(NOW), from_unix(NOW + 40))
    assert changed.ignore_system_jobs


def test_zero_is_no_deadline_and_below_zero_is_now() -> None:
    none = strategy_for(DrainSpec(deadline=0), None, NOW)
    assert (none.force_deadline, seconds_left(none, NOW + 1e9)) == (ZERO_TIME, None)
    for deadline in (-1, -5 * SECOND):
        forced = strategy_for(DrainSpec(deadline=deadline), None, NOW)
        assert (forced.deadline, forced.force_deadline, seconds_left(forced, NOW)) == (-1, ZERO_TIME, 0.0)


def test_a_deadline_beyond_all_sense_is_refused() -> None:
    with pytest.raises(BadRequestError, match="drain was not started"):
        strategy_for(DrainSpec(deadline=10**30), None, NOW)


def test_the_oldest_drain_comes_first() -> None:
    def node(name: str, started: float | None) -> Node:
        strategy = None if started is None else DrainStrategy(started_at=from_unix(started))
        return a_node(name, drain_strategy=strategy)

    found = oldest_first([node("c", 5), node("b", 1), node("a", 1), node("none", None)])
    assert [n.id for n in found] == ["a", "b", "c"]
