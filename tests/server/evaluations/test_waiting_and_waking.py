"""Evaluations that wait: for room, for a point in time, for an operator; and what they are woken by."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from rove.errors import ForbiddenError
from rove.server.state import Collect
from rove.structs.alloc import AllocStatus, Desired
from rove.structs.base import HOUR, SECOND
from rove.structs.evaluation import EvalStatus, Evaluation, Trigger
from rove.structs.job import JobStatus, ParameterizedJob, ReschedulePolicy
from rove.structs.node import Eligibility, PreemptionConfig, SchedulerConfiguration
from rove.testing.builders import a_constraint, a_job, a_node, a_restarting_version
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


def evaluations(cluster: Cluster, job_id: str = "web") -> list[Evaluation]:
    return list(cluster.server.store.snapshot().evaluations_of_job("default", job_id))


def blocked(cluster: Cluster, job_id: str = "web") -> Evaluation:
    found = [e for e in evaluations(cluster, job_id) if e.status is EvalStatus.BLOCKED]
    assert len(found) <= 1, "two evaluations of one job are blocked"
    return found[0]


def running(cluster: Cluster, job_id: str = "web") -> int:
    return len(cluster.allocs(job_id, running=True))


@virtually
async def test_what_found_no_room_is_woken_by_its_own_class_and_by_no_other() -> None:
    nodes = [
        a_node("big", cpu=4000, meta={"kind": "big"}),
        a_node("big-2", cpu=4000, meta={"kind": "big"}),
        a_node("small", cpu=2000, meta={"kind": "small"}),
    ]
    async with Cluster(nodes) as cluster:
        only_big = (a_constraint("${meta.kind}", "=", "big"),)
        await cluster.register(a_job("first", count=2, cpu=3000, constraints=only_big))
        await cluster.register(
            a_job("small", count=1, cpu=1500, constraints=(a_constraint("${meta.kind}", "=", "small"),))
        )
        await cluster.until(lambda: running(cluster, "first") == 2 and running(cluster, "small") == 1)
        await cluster.register(a_job("web", count=1, cpu=3000, constraints=only_big))
        await cluster.until(lambda: blocked(cluster))
        waiting = blocked(cluster)
        assert waiting.triggered_by is Trigger.QUEUED_ALLOCS
        assert waiting.queued_allocations == {"api": 1}
        assert sorted(waiting.class_eligibility.values()) == [False, True]
        assert waiting.previous_eval in {e.id for e in evaluations(cluster) if e.blocked_eval == waiting.id}
        await cluster.server.deregister_job("default", "small")
        await cluster.until(lambda: running(cluster, "small") == 0)
        await cluster.settle(30)
        assert blocked(cluster) == waiting, "room on a class that cannot help woke it"
        await cluster.server.deregister_job("default", "first")
        await cluster.until(lambda: running(cluster) == 1)
        assert [e.status for e in evaluations(cluster) if e.id == waiting.id] == [EvalStatus.COMPLETE]


@virtually
async def test_room_in_a_datacenter_or_pool_that_the_job_does_not_name_wakes_it_not() -> None:
    nodes = [a_node("n1", cpu=1000), a_node("n2", cpu=1000, datacenter="dc2"), a_node("n3", cpu=1000, node_pool="x")]
    async with Cluster(nodes) as cluster:
        for name, fields in (("n1", {}), ("n2", {"datacenters": ("dc2",)}), ("n3", {"node_pool": "x"})):
            await cluster.register(a_job(f"on-{name}", cpu=900, **{"datacenters": ("dc1",), **fields}))
        await cluster.until(lambda: all(running(cluster, f"on-n{k}") == 1 for k in (1, 2, 3)))
        await cluster.register(a_job(cpu=500, datacenters=("dc1",)))
        await cluster.until(lambda: blocked(cluster))
        waiting = blocked(cluster)
        assert sorted(waiting.class_eligibility.values()) == [False, False, True]
        await cluster.server.deregister_job("default", "on-n2")
        await cluster.server.deregister_job("default", "on-n3")
        await cluster.settle(30)
        assert blocked(cluster) == waiting
        await cluster.server.deregister_job("default", "on-n1")
        await cluster.until(lambda: running(cluster) == 1)


@virtually
async def test_a_node_of_a_class_never_seen_wakes_it_and_so_does_eligibility() -> None:
    async with Cluster([a_node("n1", cpu=1000)]) as cluster:
        await cluster.register(a_job(count=2, cpu=900))
        await cluster.until(lambda: running(cluster) == 1 and blocked(cluster))
        await cluster.server.set_eligibility("n1", Eligibility.INELIGIBLE)
        await cluster.add_node(a_node("n2", cpu=1000, meta={"new": "yes"}))
        await cluster.until(lambda: running(cluster) == 2)
        await cluster.register(a_job("other", count=1, cpu=50))
        await cluster.until(lambda: running(cluster, "other") == 1)
        await cluster.server.set_eligibility("n2", Eligibility.INELIGIBLE)
        await cluster.register(a_job("third", count=1, cpu=50))
        await cluster.until(lambda: blocked(cluster, "third"))
        await cluster.server.set_eligibility("n1", Eligibility.ELIGIBLE)
        await cluster.until(lambda: running(cluster, "third") == 1)


@virtually
async def test_only_one_evaluation_of_a_job_is_blocked_and_stopping_the_job_ends_it() -> None:
    async with Cluster([a_node("n1", cpu=1000)]) as cluster:
        await cluster.register(a_job(count=3, cpu=900))
        await cluster.until(lambda: blocked(cluster))
        first = blocked(cluster)
        await cluster.register(a_restarting_version(a_job(count=4, cpu=900)))
        await cluster.until(lambda: next(e for e in evaluations(cluster) if e.id == first.id).is_terminal)
        await cluster.settle(5)
        assert blocked(cluster).id != first.id
        assert {e.id: e.status for e in evaluations(cluster)}[first.id] is EvalStatus.CANCELED
        await cluster.server.deregister_job("default", "web")
        await cluster.until(lambda: all(e.is_terminal for e in evaluations(cluster)))
        assert cluster.job().status is JobStatus.DEAD


@virtually
async def test_what_was_blocked_is_still_blocked_after_a_restart_and_is_woken() -> None:
    async with Cluster([a_node("n1", cpu=1000)]) as cluster:
        await cluster.register(a_job(count=2, cpu=900))
        await cluster.until(lambda: running(cluster) == 1 and blocked(cluster))
        await cluster.restart_server()
        await cluster.settle(30)
        assert blocked(cluster)
        await cluster.add_node(a_node("n2", cpu=1000))
        await cluster.until(lambda: running(cluster) == 2)


@virtually
async def test_a_paused_broker_works_on_nothing_until_it_goes_on() -> None:
    async with Cluster() as cluster:
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(pause_eval_broker=True))
        outcome = await cluster.register(a_job(count=2))
        dropped = await cluster.register(a_job("dropped", count=2))
        await cluster.settle(300)
        assert cluster.allocs() == []
        assert cluster.server.store.snapshot().evaluation(outcome.eval_id).status is EvalStatus.PENDING  # type: ignore[union-attr]
        await cluster.server.store.commit(Collect(evaluation_ids=(dropped.eval_id,)))
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration())
        await cluster.until(lambda: running(cluster) == 2)
        await cluster.settle(30)
        assert cluster.allocs("dropped") == [], "a deleted evaluation was carried out"


@virtually
async def test_a_pause_outlives_the_server() -> None:
    async with Cluster() as cluster:
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(pause_eval_broker=True))
        await cluster.register(a_job(count=2))
        await cluster.restart_server()
        await cluster.settle(300)
        assert cluster.allocs() == []
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration())
        await cluster.until(lambda: running(cluster) == 2)


@virtually
async def test_registrations_dispatches_and_scaling_can_be_shut_out() -> None:
    async with Cluster() as cluster:
        await cluster.register(a_job(count=1))
        await cluster.register(a_job("batch", type="batch", parameterized_job=ParameterizedJob()))
        await cluster.until_status("successful")
        before = cluster.server.store.index
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(reject_job_registration=True))
        server = cluster.server
        for attempt in (
            server.register_job(a_job("new")),
            server.dispatch_job("default", "batch"),
            server.scale_job("default", "web", "api", 2),
        ):
            with pytest.raises(ForbiddenError, match="rejected at present"):
                await attempt
        assert server.store.index == before + 1
        await server.deregister_job("default", "web")  # stopping is always possible


@virtually
async def test_higher_priorities_are_served_first_when_room_is_short() -> None:
    async with Cluster([a_node("n1", cpu=1000)]) as cluster:
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(pause_eval_broker=True))
        await cluster.register(a_job("low", cpu=800, priority=20))
        await cluster.register(a_job("high", cpu=800, priority=80))
        await cluster.register(a_job("middle", cpu=800, priority=50))
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration())
        await cluster.until(lambda: running(cluster, "high") == 1)
        await cluster.until(lambda: blocked(cluster, "low") and blocked(cluster, "middle"))
        await cluster.server.deregister_job("default", "high")
        await cluster.until(lambda: running(cluster, "middle") == 1)
        await cluster.settle(30)
        assert running(cluster, "low") == 0


@virtually
async def test_a_preempted_copy_ends_its_job_is_looked_at_again_and_comes_back_when_there_is_room() -> None:
    async with Cluster([a_node("n1", cpu=1000)]) as cluster:
        rules = PreemptionConfig(service_scheduler_enabled=True)
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(preemption_config=rules))
        await cluster.register(a_job("low", cpu=600, priority=20))
        await cluster.until(lambda: running(cluster, "low") == 1)
        await cluster.register(a_job("high", cpu=600, priority=80))
        await cluster.until(lambda: running(cluster, "high") == 1)
        (victim,), (winner,) = cluster.allocs("low"), cluster.allocs("high")
        assert victim.desired_status is Desired.EVICT
        assert victim.preempted_by_allocation == winner.id
        assert winner.preempted_allocations == (victim.id,)
        await cluster.until(lambda: blocked(cluster, "low"))
        (again,) = [e for e in evaluations(cluster, "low") if e.triggered_by is Trigger.PREEMPTION]
        assert again.priority == 20 and again.status is EvalStatus.COMPLETE
        await cluster.server.deregister_job("default", "high")
        await cluster.until(lambda: running(cluster, "low") == 1)


@virtually
async def test_preemption_switched_on_lets_a_waiting_job_in() -> None:
    async with Cluster([a_node("n1", cpu=1000)]) as cluster:
        await cluster.register(a_job("low", cpu=600, priority=20))
        await cluster.until(lambda: running(cluster, "low") == 1)
        await cluster.register(a_job("high", cpu=600, priority=80))
        await cluster.until(lambda: blocked(cluster, "high"))
        rules = PreemptionConfig(service_scheduler_enabled=True)
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(preemption_config=rules))
        await cluster.until(lambda: running(cluster, "high") == 1)


@virtually
async def test_a_failed_copy_is_replaced_after_its_pause_and_pauses_grow() -> None:
    policy = ReschedulePolicy(delay=30 * SECOND, delay_function="exponential", max_delay=HOUR, unlimited=True)
    async with Cluster(nodes=3) as cluster:
        cluster.behave(lambda alloc: Script(fails_after=1.0))
        await cluster.register(a_job(type="batch", count=1, reschedule_policy=policy))
        await cluster.until(lambda: len(cluster.allocs()) == 4)
        allocs = cluster.allocs()
        starts = [a.create_time / 1e9 for a in allocs]
        pauses = [b - a for a, b in itertools.pairwise(starts)]
        assert [round(pause / 10) * 10 for pause in pauses] == [30, 60, 120]
        followup = allocs[0].followup_eval_id
        found = {e.id: e for e in evaluations(cluster)}[followup]
        assert found.triggered_by is Trigger.ALLOC_FAILURE and found.status is EvalStatus.COMPLETE
        assert [a.next_allocation for a in allocs[:3]] == [a.id for a in allocs[1:]]
        assert allocs[3].reschedule_tracker is not None
        assert [e.prev_alloc_id for e in allocs[3].reschedule_tracker.events] == [a.id for a in allocs[:3]]


@virtually
async def test_a_delayed_replacement_survives_a_restart_of_the_server() -> None:
    policy = ReschedulePolicy(delay=300 * SECOND, delay_function="constant", unlimited=True)
    async with Cluster(nodes=3) as cluster:
        cluster.behave(lambda alloc: Script(fails_after=1.0) if alloc.create_index < 10 else Script())
        await cluster.register(a_job(type="batch", count=1, reschedule_policy=policy))
        failed = await cluster.until(lambda: cluster.allocs()[0].client_status is AllocStatus.FAILED)
        await cluster.until(lambda: cluster.allocs()[0].followup_eval_id)
        await cluster.restart_server(after_s=20)
        placed = await cluster.until(lambda: len(cluster.allocs()) == 2)
        assert 295 <= placed - failed <= 310


@virtually
async def test_attempts_that_are_used_up_end_the_job_as_failed() -> None:
    policy = ReschedulePolicy(attempts=2, interval=HOUR, delay=5 * SECOND, delay_function="constant")
    async with Cluster(nodes=3) as cluster:
        cluster.behave(lambda alloc: Script(fails_after=1.0))
        await cluster.register(a_job(type="batch", count=1, reschedule_policy=policy))
        await cluster.until(lambda: len(cluster.allocs()) == 3)
        await cluster.settle(600)
        assert len(cluster.allocs()) == 3
        assert cluster.job().status is JobStatus.DEAD
        await cluster.server.evaluate_job("default", "web", force_reschedule=True)
        await cluster.until(lambda: len(cluster.allocs()) == 4)


@virtually
async def test_a_scheduler_that_breaks_on_one_job_does_not_hold_up_the_others() -> None:
    async with Cluster() as cluster:
        broken = a_job("broken", count=1)
        group = msgspec.structs.replace(broken.task_groups[0], count="many")  # type: ignore[arg-type]
        await cluster.register(msgspec.structs.replace(broken, task_groups=(group,)))
        await cluster.register(a_job("web", count=2))
        await cluster.until(lambda: running(cluster) == 2, within_s=10)
        await cluster.until(lambda: any(e.status is EvalStatus.FAILED for e in evaluations(cluster, "broken")))
        (failed,) = [e for e in evaluations(cluster, "broken") if e.status is EvalStatus.FAILED]
        assert "delivery limit" in failed.status_description
        (later,) = [e for e in evaluations(cluster, "broken") if e.triggered_by is Trigger.FAILED_FOLLOW_UP]
        assert failed.next_eval == later.id
