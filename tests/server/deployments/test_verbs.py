"""What people may ask of a deployment, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rove.errors import BadRequestError, NotFoundError, RoveError
from rove.structs.base import MINUTE, SECOND
from rove.structs.job import ReschedulePolicy
from rove.testing.builders import a_job, a_restarting_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


async def _in_the_middle(cluster: Cluster, **update: Any) -> str:
    """Version 1 has one healthy copy that is not enough; returns the deployment's id."""
    job = a_job(count=3, update=an_update(**update))
    await cluster.register(job)
    await cluster.until_status("successful")
    cluster.behave(lambda alloc: Script(healthy_after=120.0))
    await cluster.register(a_restarting_version(job))
    await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 1)
    return cluster.deployment().id


@virtually
async def test_a_paused_deployment_places_nothing() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        await cluster.server.pause_deployment(deployment_id, True)
        await cluster.settle(1800)
        assert len(cluster.allocs(version=1)) == 1
        assert cluster.deployment().status == "paused"


@virtually
async def test_a_paused_deployment_outlives_its_deadline_and_goes_on_with_a_fresh_one() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster, progress_deadline=3 * MINUTE)
        await cluster.server.pause_deployment(deployment_id, True)
        await cluster.settle(3600)
        assert cluster.deployment().status == "paused"
        resumed = cluster.clock.now()
        await cluster.server.pause_deployment(deployment_id, False)
        assert cluster.deployment().task_groups["api"].require_progress_by.timestamp() >= resumed + 180
        await cluster.until_status("successful", version=1)


@virtually
async def test_a_paused_deployment_stays_paused_across_a_restart_past_its_deadline() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster, progress_deadline=3 * MINUTE)
        await cluster.server.pause_deployment(deployment_id, True)
        await cluster.restart_server(after_s=3600)
        await cluster.settle(600)
        assert cluster.deployment().status == "paused"


@virtually
async def test_failures_while_paused_are_replaced_and_end_nothing() -> None:
    async with Cluster() as cluster:
        job = a_job(
            count=2, reschedule_policy=ReschedulePolicy(unlimited=True, delay=SECOND, delay_function="constant")
        )
        cluster.behave(lambda alloc: Script(healthy_after=None, fails_after=60.0))
        await cluster.register(job)
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 2)
        await cluster.server.pause_deployment(cluster.deployment().id, True)
        await cluster.until(lambda: len(cluster.allocs()) > 4)
        await cluster.settle(600)
        assert cluster.deployment().status == "paused"
        cluster.behave(lambda alloc: Script())
        await cluster.server.pause_deployment(cluster.deployment().id, False)
        await cluster.until_status("successful")


@virtually
async def test_pausing_twice_changes_nothing() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        await cluster.server.pause_deployment(deployment_id, True)
        before = cluster.deployment()
        done = await cluster.server.pause_deployment(deployment_id, True)
        assert cluster.deployment() == before
        assert done.eval_id == ""


@virtually
async def test_failing_a_deployment_ends_it_and_says_who() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        done = await cluster.server.fail_deployment(deployment_id)
        assert done.eval_id
        assert done.reverted_job_version is None
        assert cluster.deployment().status == "failed"
        assert "by a person" in cluster.deployment().status_description
        await cluster.settle(3600)
        assert len(cluster.allocs(running=True, version=0)) == 2


@virtually
async def test_failing_a_deployment_with_auto_revert_tells_the_version_it_goes_back_to() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster, auto_revert=True)
        done = await cluster.server.fail_deployment(deployment_id)
        assert done.reverted_job_version == 0
        await cluster.until_status("successful", version=2)


@virtually
async def test_health_set_by_hand_moves_the_roll_out_on() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_job(count=2, update=an_update(health_check="manual")))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 2)
        deployment_id = cluster.deployment().id
        await cluster.server.set_alloc_health(deployment_id, [a.id for a in cluster.allocs()], [])
        await cluster.until_status("successful")


@virtually
async def test_an_allocation_called_unhealthy_ends_the_deployment() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster, auto_revert=True)
        (new,) = cluster.allocs(version=1)
        done = await cluster.server.set_alloc_health(deployment_id, [], [new.id])
        assert done.reverted_job_version == 0
        assert cluster.deployments()[1].status == "failed"
        assert new.id[:8] in cluster.deployments()[1].status_description


@virtually
async def test_verbs_on_an_ended_deployment_are_refused() -> None:
    async with Cluster() as cluster:
        await cluster.register(a_job())
        deployment = await cluster.until_status("successful")
        server, alloc_id = cluster.server, cluster.allocs()[0].id
        for attempt, verb in (
            (server.promote_deployment(deployment.id, all=True), "promote"),
            (server.fail_deployment(deployment.id), "fail"),
            (server.pause_deployment(deployment.id, True), "pause"),
            (server.pause_deployment(deployment.id, False), "resume"),
            (server.unblock_deployment(deployment.id), "unblock"),
            (server.set_alloc_health(deployment.id, [alloc_id], []), "set health"),
        ):
            with pytest.raises(BadRequestError, match=f"can't {verb}.*terminal deployment") as refused:
                await attempt
            assert refused.value.status == 500
        assert cluster.deployment() == deployment


@virtually
async def test_a_promotion_without_canaries_is_refused() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        with pytest.raises(BadRequestError, match="no canaries to promote"):
            await cluster.server.promote_deployment(deployment_id, all=True)


@virtually
async def test_promoting_an_unknown_group_is_refused() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        with pytest.raises(BadRequestError, match="nope") as refused:
            await cluster.server.promote_deployment(deployment_id, groups=["nope"])
        assert "api" in refused.value.why


@virtually
async def test_promoting_unhealthy_canaries_is_refused_with_have_and_need() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3, update=an_update(canary=2))
        await cluster.register(job)
        await cluster.until_status("successful")
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: len(cluster.allocs(version=1)) == 2)
        with pytest.raises(BadRequestError, match='Task group "api" has 0/2 healthy allocations') as refused:
            await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        assert refused.value.status == 500
        assert not cluster.deployment().task_groups["api"].promoted


@virtually
async def test_promoting_twice_is_refused() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3, update=an_update(canary=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: any(a.is_healthy for a in cluster.allocs(version=1)))
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        with pytest.raises(BadRequestError, match="no canaries to promote"):
            await cluster.server.promote_deployment(cluster.deployment().id, all=True)


@virtually
async def test_unknown_ids_are_not_found() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        nobody = "00000000-0000-4000-8000-000000000000"
        for attempt in (
            cluster.server.promote_deployment(nobody, all=True),
            cluster.server.fail_deployment(nobody),
            cluster.server.set_alloc_health(deployment_id, [nobody], []),
        ):
            with pytest.raises(NotFoundError):
                await attempt
        with pytest.raises(NotFoundError):
            await cluster.server.explain_deployment(nobody)


@virtually
async def test_health_of_a_foreign_allocation_is_refused() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        await cluster.register(a_job("other"))
        await cluster.until_status("successful", "other")
        with pytest.raises(BadRequestError, match="not part of deployment"):
            await cluster.server.set_alloc_health(deployment_id, [], [cluster.allocs("other")[0].id])
        assert cluster.deployment().status == "running"


@virtually
async def test_an_allocation_cannot_be_healthy_and_unhealthy() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        (new,) = cluster.allocs(version=1)
        with pytest.raises(BadRequestError, match="as healthy and as unhealthy"):
            await cluster.server.set_alloc_health(deployment_id, [new.id], [new.id])


@virtually
async def test_only_a_blocked_deployment_can_be_unblocked() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        with pytest.raises(RoveError, match="not blocked"):
            await cluster.server.unblock_deployment(deployment_id)


@virtually
async def test_the_reply_names_an_evaluation_that_is_carried_out() -> None:
    async with Cluster() as cluster:
        deployment_id = await _in_the_middle(cluster)
        await cluster.server.pause_deployment(deployment_id, True)
        done = await cluster.server.pause_deployment(deployment_id, False)
        store = cluster.server.store

        def ended() -> bool:
            evaluation = store.snapshot().evaluation(done.eval_id)
            return evaluation is not None and evaluation.status == "complete"

        await cluster.until(ended)
        evaluation = store.snapshot().evaluation(done.eval_id)
        assert evaluation is not None
        assert (evaluation.triggered_by, evaluation.deployment_id) == ("deployment-watcher", deployment_id)
        assert done.index == done.deployment_modify_index == evaluation.create_index
