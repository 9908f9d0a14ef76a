"""Roll-outs that fail: replacement of unhealthy copies, deadlines, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rove.structs.alloc import Allocation
from rove.structs.base import HOUR, MINUTE, SECOND
from rove.structs.job import Job, ReschedulePolicy
from rove.testing.builders import a_job, a_node, a_restarting_version, a_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually

ONCE = ReschedulePolicy(attempts=1, interval=HOUR, delay=5 * SECOND, delay_function="constant")
NEVER = ReschedulePolicy(attempts=0)
FAST = ReschedulePolicy(unlimited=True, delay=5 * SECOND, delay_function="constant")


def _fails(version: int) -> Callable[[Allocation], Script]:
    return lambda alloc: Script(fails_after=1.0, healthy_after=None) if alloc.job_version == version else Script()


async def _second_version(cluster: Cluster, **fields: Any) -> Job:
    job = a_job(**{"count": 3, "reschedule_policy": FAST, **fields})
    await cluster.register(job)
    await cluster.until_status("successful")
    second = a_restarting_version(job)
    await cluster.register(second)
    return second


@virtually
async def test_a_copy_that_fails_in_a_first_deployment_is_replaced() -> None:
    async with Cluster() as cluster:
        broken: set[str] = set()

        def first_time(alloc: Allocation) -> Script:
            if not broken:
                broken.add(alloc.id)
                return Script(fails_after=1.0, healthy_after=None)
            return Script()

        cluster.behave(first_time)
        await cluster.register(a_job(count=3, reschedule_policy=FAST))
        await cluster.until_status("successful")
        assert len(cluster.allocs(running=True)) == 3
        (failed,) = [a for a in cluster.allocs() if a.client_status == "failed"]
        assert failed.next_allocation
        assert failed.desired_status == "stop"


@virtually
async def test_a_copy_that_runs_but_misses_its_health_deadline_is_replaced() -> None:
    async with Cluster() as cluster:
        broken: set[str] = set()

        def first_time(alloc: Allocation) -> Script:
            if not broken:
                broken.add(alloc.id)
                return Script(healthy_after=None, unhealthy_after=30.0)
            return Script()

        cluster.behave(first_time)
        await cluster.register(a_job(count=3))
        await cluster.until_status("successful")
        assert len(cluster.allocs()) == 4
        assert broken.isdisjoint(a.id for a in cluster.allocs(running=True))


@virtually
async def test_a_copy_that_was_healthy_and_fails_during_the_roll_out_is_replaced() -> None:
    async with Cluster() as cluster:
        seen: list[str] = []

        def second_one_is_slow(alloc: Allocation) -> Script:
            seen.append(alloc.id)
            if len(seen) == 1:
                return Script(healthy_after=1.0, fails_after=5.0)
            return Script(healthy_after=90.0)

        cluster.behave(second_one_is_slow)
        await cluster.register(a_job(count=2, reschedule_policy=FAST))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 2 and len(cluster.allocs()) == 3)
        assert cluster.deployment().status == "running"
        await cluster.until_status("successful")


@virtually
async def test_a_roll_out_fails_early_when_no_attempt_is_left() -> None:
    async with Cluster() as cluster:
        cluster.behave(_fails(1))
        await _second_version(cluster, reschedule_policy=ONCE)
        began = cluster.clock.now()
        deployment = await cluster.until_status("failed")
        assert cluster.clock.now() - began < 60
        assert "no attempt to reschedule it is left" in deployment.status_description
        assert len(cluster.allocs(version=1)) == 2
        await cluster.settle(10 * MINUTE / SECOND)
        assert len(cluster.allocs(version=1)) == 2
        assert len(cluster.allocs(running=True, version=0)) == 2


@virtually
async def test_without_a_progress_deadline_the_first_unhealthy_copy_ends_the_roll_out() -> None:
    async with Cluster() as cluster:
        cluster.behave(_fails(1))
        await _second_version(cluster, update=an_update(progress_deadline=0))
        deployment = await cluster.until_status("failed")
        assert len(cluster.allocs(version=1)) == 1
        assert "no progress deadline" in deployment.status_description


@virtually
async def test_the_progress_deadline_ends_a_roll_out_in_which_nothing_becomes_healthy() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        began = cluster.clock.now()
        await cluster.register(a_job(count=3, update=an_update(progress_deadline=10 * MINUTE)))
        deployment = await cluster.until_status("failed")
        assert 600 <= cluster.clock.now() - began < 602
        assert "progress deadline" in deployment.status_description


@virtually
async def test_each_healthy_copy_moves_the_deadline_forward() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=8 * 60.0))
        job = a_job(count=3, update=an_update(progress_deadline=10 * MINUTE))
        await cluster.register(job)
        await cluster.until_status("successful")
        began = cluster.clock.now()
        await cluster.register(a_restarting_version(job))
        await cluster.until_status("successful", version=1)
        assert cluster.clock.now() - began > 20 * 60


@virtually
async def test_the_deadline_holds_across_a_restart_of_the_server() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        began = cluster.clock.now()
        await cluster.register(a_job(count=3, update=an_update(progress_deadline=10 * MINUTE)))
        await cluster.settle(300)
        await cluster.restart_server(after_s=60)
        await cluster.until_status("failed")
        assert 600 <= cluster.clock.now() - began < 602


@virtually
async def test_a_deadline_that_passed_while_no_server_ran_counts() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_job(count=3, update=an_update(progress_deadline=10 * MINUTE)))
        await cluster.settle(60)
        await cluster.restart_server(after_s=3600)
        began = cluster.clock.now()
        await cluster.until_status("failed")
        assert cluster.clock.now() - began < 2


@virtually
async def test_waiting_for_a_person_is_not_late() -> None:
    async with Cluster() as cluster:
        await _second_version(cluster, update=an_update(canary=1, progress_deadline=10 * MINUTE))
        await cluster.settle(2 * 3600)
        assert cluster.deployment().status == "running"


@virtually
async def test_the_time_a_person_took_does_not_count_after_promotion() -> None:
    async with Cluster() as cluster:
        await _second_version(cluster, update=an_update(canary=1, progress_deadline=10 * MINUTE))
        await cluster.settle(3600)
        cluster.behave(lambda alloc: Script(healthy_after=300.0))
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await cluster.until_status("successful", version=1)


@virtually
async def test_room_that_never_comes_ends_the_roll_out_at_its_deadline() -> None:
    async with Cluster(nodes=[a_node("small", cpu=250)]) as cluster:
        await cluster.register(a_job(count=3, cpu=100))
        deployment = await cluster.until_status("failed")
        assert deployment.task_groups["api"].healthy_allocs == 2


@virtually
async def test_auto_revert_goes_back_to_the_last_stable_version() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3, reschedule_policy=ONCE, update=an_update(auto_revert=True))
        await cluster.register(job)
        await cluster.until_status("successful")
        second = a_version(a_restarting_version(job), 1, reschedule_policy=ONCE)
        await cluster.register(second)
        await cluster.until_status("successful", version=1)
        cluster.behave(_fails(2))
        await cluster.register(a_restarting_version(second))
        await cluster.until_status("successful", version=3)
        snapshot = cluster.server.store.snapshot()
        assert [d.status for d in cluster.deployments()] == ["successful", "successful", "failed", "successful"]
        assert cluster.job().task_groups == snapshot.job_version("default", "web", 1).task_groups  # type: ignore[union-attr]
        assert {a.job_version for a in cluster.allocs(running=True)} == {3}
        assert [version.stable for version in snapshot.job_versions("default", "web")] == [True, False, True, True]


@virtually
async def test_a_way_back_that_fails_too_is_not_tried_again() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3, reschedule_policy=NEVER, update=an_update(auto_revert=True))
        await cluster.register(job)
        await cluster.until_status("successful")
        cluster.behave(lambda alloc: Script(fails_after=1.0, healthy_after=None))
        await cluster.register(a_restarting_version(job))
        await cluster.until_status("failed", version=2)
        await cluster.settle(1800)
        assert cluster.job().version == 2
        assert [d.status for d in cluster.deployments()] == ["successful", "failed", "failed"]
        assert "asks for the same" in cluster.deployment().status_description


@virtually
async def test_without_a_stable_version_there_is_no_way_back() -> None:
    async with Cluster() as cluster:
        cluster.behave(_fails(0))
        await cluster.register(a_job(count=2, reschedule_policy=NEVER, update=an_update(auto_revert=True)))
        deployment = await cluster.until_status("failed")
        await cluster.settle()
        assert cluster.job().version == 0
        assert "no stable version" in deployment.status_description


@virtually
async def test_without_auto_revert_the_failed_version_stays() -> None:
    async with Cluster() as cluster:
        cluster.behave(_fails(1))
        await _second_version(cluster, reschedule_policy=NEVER)
        await cluster.until_status("failed")
        await cluster.settle(600)
        assert cluster.job().version == 1
        assert len(cluster.deployments()) == 2


@virtually
async def test_a_version_after_a_failed_one_is_rolled_out() -> None:
    async with Cluster() as cluster:
        cluster.behave(_fails(1))
        second = await _second_version(cluster, reschedule_policy=NEVER)
        await cluster.until_status("failed")
        await cluster.register(a_restarting_version(second))
        await cluster.until_status("successful", version=2)
        await cluster.until(lambda: [a.job_version for a in cluster.allocs(running=True)] == [2, 2, 2])


@virtually
async def test_going_back_by_hand_deploys_exactly_that_version() -> None:
    async with Cluster() as cluster:
        await _second_version(cluster)
        await cluster.until_status("successful", version=1)
        await cluster.server.revert_job("default", "web", 0)
        await cluster.until_status("successful", version=2)
        snapshot = cluster.server.store.snapshot()
        first = snapshot.job_version("default", "web", 0)
        assert first is not None
        assert cluster.job().task_groups == first.task_groups


@virtually
async def test_the_group_that_fails_takes_the_whole_job_back() -> None:
    from rove.testing.builders import a_group

    async with Cluster() as cluster:
        groups = [
            a_group("api", count=2, update=an_update(), reschedule_policy=NEVER),
            a_group("db", count=2, update=an_update(auto_revert=True), reschedule_policy=NEVER),
        ]
        job = a_job(groups=groups)
        await cluster.register(job)
        await cluster.until_status("successful")
        cluster.behave(
            lambda alloc: (
                Script(fails_after=1.0, healthy_after=None)
                if alloc.job_version == 1 and alloc.task_group == "api"
                else Script()
            )
        )
        await cluster.register(a_restarting_version(job))
        await cluster.until_status("successful", version=2)
        assert {a.job_version for a in cluster.allocs(running=True)} == {2}


@virtually
async def test_a_store_that_refuses_for_a_while_does_not_end_the_watch() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_job(count=1, update=an_update(progress_deadline=MINUTE)))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 1)
        await cluster.settle(30)
        cluster.engine.fail_with = OSError("disk full")
        await cluster.settle(60)
        assert cluster.deployment().status == "running"
        cluster.engine.fail_with = None
        await cluster.until_status("failed")


@pytest.mark.parametrize("policy", [NEVER, ONCE, FAST])
def test_a_failing_first_version_always_comes_to_an_end(policy: ReschedulePolicy) -> None:
    @virtually
    async def story() -> None:
        async with Cluster() as cluster:
            cluster.behave(_fails(0))
            await cluster.register(a_job(count=3, reschedule_policy=policy))
            await cluster.until_status("failed")

    story()
