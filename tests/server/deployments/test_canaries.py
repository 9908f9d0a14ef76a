"""Canaries: a few copies of the new version beside the old, until somebody (or their health) says go."""

from __future__ import annotations

from typing import Any

import pytest

from rove.errors import BadRequestError
from rove.structs.alloc import Allocation, DesiredTransition
from rove.structs.base import MINUTE
from rove.structs.job import Job
from rove.testing.builders import a_group, a_job, a_node, a_restarting_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


def _canaries(cluster: Cluster) -> list[Allocation]:
    return [alloc for alloc in cluster.allocs(running=True) if alloc.is_canary]


async def _with_canaries(cluster: Cluster, *, count: int = 3, canary: int = 1, **update: Any) -> Job:
    """Version 0 is rolled out, version 1 has its canaries running."""
    job = a_job(count=count, update=an_update(canary=canary, **update))
    await cluster.register(job)
    await cluster.until_status("successful")
    second = a_restarting_version(job)
    await cluster.register(second)
    await cluster.until(lambda: len(_canaries(cluster)) == canary, "canaries run")
    return second


async def _healthy(cluster: Cluster, count: int) -> None:
    await cluster.until(lambda: len([a for a in _canaries(cluster) if a.is_healthy]) == count, "healthy canaries")


@virtually
async def test_canaries_wait_for_a_person_beside_the_old_version() -> None:
    async with Cluster() as cluster:
        await _with_canaries(cluster, canary=2)
        await _healthy(cluster, 2)
        await cluster.settle(60 * 60)
        assert cluster.deployment().status == "running"
        assert "wait to be promoted" in cluster.deployment().status_description
        assert len(cluster.allocs(running=True, version=0)) == 3
        assert len(cluster.allocs(running=True, version=1)) == 2


@virtually
async def test_promotion_replaces_the_old_version() -> None:
    async with Cluster() as cluster:
        await _with_canaries(cluster)
        await _healthy(cluster, 1)
        done = await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        assert done.eval_id
        await cluster.until_status("successful", version=1)
        assert [a.job_version for a in cluster.allocs(running=True)] == [1, 1, 1]
        assert _canaries(cluster) == []
        assert cluster.job().stable


@virtually
async def test_as_many_canaries_as_copies_make_blue_and_green() -> None:
    async with Cluster() as cluster:
        await _with_canaries(cluster, count=3, canary=3, max_parallel=3)
        await _healthy(cluster, 3)
        assert len(cluster.allocs(running=True)) == 6
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await cluster.until_status("successful", version=1)
        await cluster.until(lambda: [a.job_version for a in cluster.allocs(running=True)] == [1, 1, 1])


@virtually
async def test_canaries_promote_themselves_once_all_are_healthy() -> None:
    async with Cluster() as cluster:
        await _with_canaries(cluster, canary=2, auto_promote=True)
        await cluster.until_status("successful", version=1)
        assert [a.job_version for a in cluster.allocs(running=True)] == [1, 1, 1]


@virtually
async def test_canaries_do_not_promote_themselves_while_one_is_not_healthy() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None if alloc.index == 1 and alloc.job_version else 1.0))
        await _with_canaries(cluster, canary=2, auto_promote=True)
        await _healthy(cluster, 1)
        await cluster.settle(120)
        assert not cluster.deployment().task_groups["api"].promoted
        assert len(cluster.allocs(running=True, version=0)) == 3


@virtually
async def test_a_restarting_canary_is_not_promoted_before_it_runs_again() -> None:
    async with Cluster() as cluster:
        cluster.behave(
            lambda alloc: (
                Script(healthy_after=1.0, restarts_after=1.0, restart_takes=300.0)
                if alloc.job_version and alloc.index == 0
                else Script(healthy_after=2.0)
            )
        )
        await _with_canaries(cluster, canary=2, auto_promote=True)
        await cluster.settle(120)
        assert not cluster.deployment().task_groups["api"].promoted
        await cluster.until_status("successful", version=1)


@virtually
async def test_a_person_may_promote_while_a_healthy_canary_restarts() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(restarts_after=30.0, restart_takes=60.0) if alloc.job_version else Script())
        await _with_canaries(cluster)
        await _healthy(cluster, 1)
        await cluster.until(lambda: any(a.client_status == "pending" for a in cluster.allocs(version=1)))
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await cluster.until_status("successful", version=1)
        await cluster.until(lambda: [a.job_version for a in cluster.allocs(running=True)] == [1, 1, 1])


@virtually
async def test_a_canary_waits_for_room_and_is_promoted_when_it_came() -> None:
    async with Cluster(nodes=[a_node("full", cpu=350)]) as cluster:
        job = a_job(count=3, cpu=100, update=an_update(canary=1, auto_promote=True, progress_deadline=30 * MINUTE))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.settle(300)
        waits = await cluster.server.explain_deployment(cluster.deployment().id)
        assert [wait.kind for wait in waits.waiting_for] == ["capacity"]
        assert "cpu" in waits.waiting_for[0].text
        await cluster.add_node(a_node("another"))
        await cluster.until_status("successful", version=1)


@virtually
async def test_room_that_comes_while_a_deployment_is_paused_is_not_taken_before_it_goes_on() -> None:
    async with Cluster(nodes=[a_node("full", cpu=350)]) as cluster:
        job = a_job(count=3, cpu=100, update=an_update(canary=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.settle(60)
        deployment_id = cluster.deployment().id
        await cluster.server.pause_deployment(deployment_id, True)
        await cluster.add_node(a_node("another"))
        await cluster.settle(600)
        assert cluster.allocs(version=1) == []
        await cluster.server.pause_deployment(deployment_id, False)
        await _healthy(cluster, 1)


@virtually
async def test_a_canary_whose_node_dies_is_placed_elsewhere() -> None:
    async with Cluster(nodes=4) as cluster:
        await _with_canaries(cluster)
        await _healthy(cluster, 1)
        first = _canaries(cluster)[0]
        await cluster.nodes[first.node_id].die()
        await cluster.until(lambda: first.id not in {a.id for a in _canaries(cluster)} and len(_canaries(cluster)) == 1)
        with pytest.raises(BadRequestError, match="0/1 healthy allocations"):
            await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await _healthy(cluster, 1)
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await cluster.until_status("successful", version=1)
        await cluster.until(lambda: [a.job_version for a in cluster.allocs(running=True)] == [1, 1, 1])


@virtually
async def test_a_copy_of_the_old_version_lost_during_the_canary_phase_is_replaced_by_the_old_version() -> None:
    async with Cluster(nodes=5) as cluster:
        await _with_canaries(cluster)
        await _healthy(cluster, 1)
        canary = _canaries(cluster)[0]
        node_id = next(a.node_id for a in cluster.allocs(running=True, version=0) if a.node_id != canary.node_id)
        await cluster.nodes[node_id].die()
        await cluster.until(lambda: any(a.client_status == "lost" for a in cluster.allocs()))
        await cluster.until(lambda: len(cluster.allocs(running=True, version=0)) == 3)
        assert [a.id for a in cluster.allocs(running=True, version=1)] == [canary.id]
        assert cluster.deployment().status == "running"


@virtually
async def test_a_failed_canary_leaves_the_old_version_untouched() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(fails_after=1.0, healthy_after=None) if alloc.job_version else Script())
        job = a_job(count=3, update=an_update(canary=1, auto_revert=True, progress_deadline=3 * MINUTE))
        await cluster.register(job)
        await cluster.until_status("successful")
        old = {a.id for a in cluster.allocs(running=True)}
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: any(d.status == "failed" for d in cluster.deployments()))
        await cluster.settle(120)
        assert old == {a.id for a in cluster.allocs(running=True)}
        assert cluster.job().version == 2
        assert "back to stable version 0" in cluster.deployments()[1].status_description


@virtually
async def test_a_new_version_ends_the_canaries_of_the_one_before() -> None:
    async with Cluster() as cluster:
        second = await _with_canaries(cluster)
        await _healthy(cluster, 1)
        await cluster.register(a_restarting_version(second))
        await cluster.until(lambda: [a.job_version for a in _canaries(cluster)] == [2])
        assert [d.status for d in cluster.deployments()] == ["successful", "cancelled", "running"]
        assert len(cluster.allocs(running=True, version=0)) == 3


@virtually
async def test_groups_without_canaries_do_not_keep_others_from_promoting_themselves() -> None:
    async with Cluster() as cluster:
        groups = [
            a_group("api", count=2, update=an_update(canary=1, auto_promote=True)),
            a_group("db", count=2, update=an_update()),
            a_group("cache", count=1, update=an_update(max_parallel=0)),
        ]
        job = a_job(groups=groups)
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        deployment = await cluster.until_status("successful", version=1)
        assert deployment.task_groups["api"].promoted
        await cluster.until(lambda: {a.job_version for a in cluster.allocs(running=True)} == {1})


@virtually
async def test_one_group_that_needs_a_person_holds_all_groups_and_says_so() -> None:
    async with Cluster() as cluster:
        groups = [
            a_group("api", count=2, update=an_update(canary=1, auto_promote=True)),
            a_group("db", count=2, update=an_update(canary=1)),
        ]
        job = a_job(groups=groups)
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await _healthy(cluster, 2)
        await cluster.settle(60)
        deployment = cluster.deployment()
        assert not any(group.promoted for group in deployment.task_groups.values())
        waits = (await cluster.server.explain_deployment(deployment.id)).waiting_for
        assert {(wait.kind, wait.group) for wait in waits} == {("promotion", "api"), ("promotion", "db")}
        assert "db has no auto_promote" in next(wait.text for wait in waits if wait.group == "api")
        await cluster.server.promote_deployment(deployment.id, groups=["db"])
        await cluster.until_status("successful", version=1)


@virtually
async def test_canaries_promote_themselves_after_the_server_restarted_in_the_middle() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=60.0 if alloc.job_version else 1.0))
        await _with_canaries(cluster, canary=2, auto_promote=True)
        await cluster.restart_server(after_s=50)
        await cluster.until_status("successful", version=1)
        assert [a.job_version for a in cluster.allocs(running=True)] == [1, 1, 1]


@virtually
async def test_canaries_that_became_healthy_while_no_server_ran_promote_themselves() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=30.0 if alloc.job_version else 1.0))
        await _with_canaries(cluster, canary=2, auto_promote=True)
        await cluster.restart_server(after_s=60)
        await cluster.until_status("successful", version=1)


@virtually
async def test_a_stopped_canary_is_not_counted_as_healthy() -> None:
    async with Cluster() as cluster:
        await _with_canaries(cluster, canary=2)
        await _healthy(cluster, 2)
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.server.stop_alloc(_canaries(cluster)[0].id)
        await cluster.until(lambda: len(cluster.allocs(version=1)) == 3)
        with pytest.raises(BadRequestError, match="1/2 healthy allocations"):
            await cluster.server.promote_deployment(cluster.deployment().id, all=True)


@virtually
async def test_some_groups_can_be_promoted_before_the_others() -> None:
    async with Cluster() as cluster:
        groups = [a_group(name, count=2, update=an_update(canary=1)) for name in ("api", "db")]
        job = a_job(groups=groups)
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await _healthy(cluster, 2)
        await cluster.server.promote_deployment(cluster.deployment().id, groups=["api"])
        await cluster.until(
            lambda: [a.job_version for a in cluster.allocs(running=True) if a.task_group == "api"] == [1, 1]
        )
        deployment = cluster.deployment()
        assert deployment.status == "running"
        assert (deployment.task_groups["api"].promoted, deployment.task_groups["db"].promoted) == (True, False)
        assert "wait to be promoted" in deployment.status_description
        await cluster.server.promote_deployment(deployment.id, all=True)
        await cluster.until_status("successful", version=1)
        assert "wait" not in cluster.deployment().status_description


@virtually
async def test_canaries_of_a_system_job_take_a_share_of_the_nodes() -> None:
    async with Cluster(nodes=4) as cluster:
        job = a_job(type="system", update=an_update(canary=50, max_parallel=4))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await _healthy(cluster, 2)
        await cluster.settle(60)
        assert len(cluster.allocs(running=True, version=0)) == 2
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await cluster.until_status("successful", version=1)
        await cluster.until(lambda: [a.job_version for a in cluster.allocs(running=True)] == [1] * 4)


@virtually
async def test_a_wish_to_move_a_canary_gives_another_canary() -> None:
    from rove.structs.evaluation import Trigger

    async with Cluster(nodes=3) as cluster:
        await _with_canaries(cluster)
        await _healthy(cluster, 1)
        first = _canaries(cluster)[0]
        await cluster.server.jobs.set_transitions([first.id], DesiredTransition(migrate=True), Trigger.ALLOC_STOP)
        await cluster.until(lambda: [a.id for a in _canaries(cluster)] not in ([], [first.id]))
        await _healthy(cluster, 1)
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await cluster.until_status("successful", version=1)


@virtually
async def test_a_system_roll_out_is_promoted_with_the_canaries_that_are_left() -> None:
    async with Cluster(nodes=3) as cluster:
        job = a_job(type="system", update=an_update(canary=100, max_parallel=9))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: cluster.deployment().task_groups["api"].healthy_allocs == 3)
        await cluster.nodes["node-2"].die()
        await cluster.until(lambda: cluster.deployment().task_groups["api"].desired_canaries == 2)
        await cluster.add_node(a_node("another"))
        await cluster.until(lambda: any(a.is_healthy for a in cluster.allocs(running=True) if a.node_id == "another"))
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await cluster.until_status("successful", version=1)


@virtually
async def test_nodes_with_a_broken_canary_of_a_system_job_are_healed_without_waiting() -> None:
    async with Cluster(nodes=4) as cluster:
        cluster.behave(
            lambda alloc: Script(unhealthy_after=5.0, healthy_after=None) if alloc.job_version == 1 else Script()
        )
        job = a_job(type="system", update=an_update(canary=50, max_parallel=2, auto_revert=True, progress_deadline=0))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until_status("failed", version=1)
        await cluster.until(lambda: 1 not in {a.job_version for a in cluster.allocs(running=True)})
