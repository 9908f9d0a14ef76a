"""Rolling updates: one batch after another, each once the one before is healthy."""

from __future__ import annotations

from rove.structs.base import HOUR, MINUTE, SECOND
from rove.structs.deployment import DeploymentStatus
from rove.structs.job import ReschedulePolicy
from rove.structs.node import DrainSpec
from rove.testing.builders import a_group, a_job, a_node, a_restarting_version, a_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


@virtually
async def test_a_first_deployment_ends_once_all_copies_are_healthy() -> None:
    async with Cluster() as cluster:
        await cluster.register(a_job(count=3))
        deployment = await cluster.until_status("successful")
        assert deployment.task_groups["api"].healthy_allocs == 3
        assert cluster.job().stable


@virtually
async def test_a_version_that_has_not_been_rolled_out_is_not_stable() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_job(count=3))
        await cluster.settle(60)
        assert cluster.deployment().status == "running"
        assert not cluster.job().stable


@virtually
async def test_no_more_than_max_parallel_copies_are_away_at_a_time() -> None:
    async with Cluster() as cluster:
        job = a_job(count=6, update=an_update(max_parallel=2))
        await cluster.register(job)
        await cluster.until_status("successful")
        fewest = 6

        def watched() -> bool:
            nonlocal fewest
            serving = [a for a in cluster.allocs(running=True) if a.is_healthy]
            fewest = min(fewest, len(serving))
            return cluster.deployment().job_version == 1 and cluster.deployment().status == "successful"

        await cluster.register(a_restarting_version(job))
        await cluster.until(watched)
        assert fewest == 4
        assert [a.job_version for a in cluster.allocs(running=True)] == [1] * 6


@virtually
async def test_the_next_batch_waits_until_the_one_before_is_healthy() -> None:
    async with Cluster() as cluster:
        job = a_job(count=4, update=an_update(max_parallel=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_restarting_version(job))
        await cluster.settle(120)
        assert len(cluster.allocs(version=1)) == 1
        assert len(cluster.allocs(running=True, version=0)) == 3


@virtually
async def test_a_job_updated_in_the_middle_cancels_the_older_roll_out() -> None:
    async with Cluster() as cluster:
        job = a_job(count=4)
        await cluster.register(job)
        await cluster.until_status("successful")
        cluster.behave(lambda alloc: Script(healthy_after=None if alloc.job_version == 1 else 1.0))
        second = a_restarting_version(job)
        await cluster.register(second)
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 1)
        await cluster.register(a_restarting_version(second))
        await cluster.until_status("successful", version=2)
        assert [d.status for d in cluster.deployments()] == ["successful", "cancelled", "successful"]
        assert [a.job_version for a in cluster.allocs(running=True)] == [2] * 4
        assert "newer version" in cluster.deployments()[1].status_description


@virtually
async def test_a_count_changed_in_the_middle_is_rolled_out_with_the_new_version() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3)
        await cluster.register(job)
        await cluster.until_status("successful")
        second = a_restarting_version(job)
        await cluster.register(second)
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 1)
        await cluster.register(a_version(second, count=5))
        deployment = await cluster.until_status("successful", version=2)
        assert deployment.task_groups["api"].desired_total == 5
        assert [a.job_version for a in cluster.allocs(running=True)] == [2] * 5
        assert cluster.deployments()[1].status == "cancelled"


@virtually
async def test_a_job_stopped_in_the_middle_cancels_its_roll_out() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3)
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 1)
        await cluster.server.deregister_job("default", "web")
        await cluster.until_status("cancelled")
        await cluster.until(lambda: not cluster.allocs(running=True))
        assert "stopped" in cluster.deployment().status_description


@virtually
async def test_a_job_purged_in_the_middle_leaves_no_running_deployment() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_job(count=3))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 3)
        await cluster.server.deregister_job("default", "web", purge=True)
        await cluster.until_status("cancelled")


@virtually
async def test_registering_an_identical_job_makes_no_deployment() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3)
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(job)
        await cluster.settle()
        assert len(cluster.deployments()) == 1
        assert len(cluster.allocs()) == 3


@virtually
async def test_groups_without_update_rules_need_no_deployment() -> None:
    async with Cluster() as cluster:
        groups = [a_group(name, count=2, update=an_update(max_parallel=0)) for name in ("api", "db")]
        job = a_job(groups=groups)
        await cluster.register(job)
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 4)
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 4)
        assert cluster.deployments() == []


@virtually
async def test_batch_jobs_have_no_deployment() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None, completes_after=2.0))
        await cluster.register(a_job(count=2, type="batch"))
        await cluster.until(lambda: cluster.job().status == "dead")
        assert cluster.deployments() == []


@virtually
async def test_a_drained_node_in_the_middle_does_not_stop_the_roll_out() -> None:
    async with Cluster(nodes=4) as cluster:
        job = a_job(count=4, update=an_update(max_parallel=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 2)
        node_id = cluster.allocs(running=True, version=1)[0].node_id
        await cluster.server.drain_node(node_id, DrainSpec(deadline=HOUR))
        await cluster.until_status("successful", version=1)

        def moved() -> bool:
            running = cluster.allocs(running=True)
            return [a.job_version for a in running] == [1] * 4 and node_id not in {a.node_id for a in running}

        await cluster.until(moved)


@virtually
async def test_a_node_that_dies_in_the_middle_does_not_stop_the_roll_out() -> None:
    async with Cluster(nodes=4) as cluster:
        job = a_job(count=4, update=an_update(max_parallel=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 2)
        lost = cluster.allocs(running=True, version=1)[0].node_id
        await cluster.nodes[lost].die()
        await cluster.until_status("successful", version=1)
        await cluster.until(lambda: [a.job_version for a in cluster.allocs(running=True)] == [1] * 4)


@virtually
async def test_a_system_job_rolls_over_its_nodes() -> None:
    async with Cluster(nodes=4) as cluster:
        job = a_job(type="system", update=an_update(max_parallel=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        deployment = await cluster.until_status("successful", version=1)
        assert deployment.task_groups["api"].healthy_allocs == 4
        assert {a.job_version for a in cluster.allocs(running=True)} == {1}


@virtually
async def test_a_change_in_place_is_a_roll_out_too() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3)
        await cluster.register(job)
        await cluster.until_status("successful")
        before = {a.id for a in cluster.allocs(running=True)}
        await cluster.register(a_version(job, priority=70))
        await cluster.until_status("successful", version=1)
        assert {a.id for a in cluster.allocs(running=True)} == before


@virtually
async def test_a_roll_out_goes_on_when_room_appears() -> None:
    async with Cluster(nodes=[a_node("small", cpu=450)]) as cluster:
        job = a_job(count=4, cpu=100, update=an_update(max_parallel=4, progress_deadline=30 * MINUTE))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_version(job, count=6))
        await cluster.settle(120)
        assert cluster.deployment().status is DeploymentStatus.RUNNING
        await cluster.add_node(a_node("another"))
        await cluster.until_status("successful", version=1)
        assert len(cluster.allocs(running=True)) == 6


@virtually
async def test_a_leader_that_takes_over_goes_on_with_the_roll_out() -> None:
    async with Cluster() as cluster:
        job = a_job(count=4, update=an_update(max_parallel=1, min_healthy_time=SECOND))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 2)
        await cluster.restart_server(after_s=5)
        await cluster.until_status("successful", version=1)
        assert [a.job_version for a in cluster.allocs(running=True)] == [1] * 4


@virtually
async def test_a_finished_evaluation_names_the_deployment_it_began() -> None:
    async with Cluster() as cluster:
        first = a_job(count=2)
        for version, job in enumerate((first, a_restarting_version(first))):
            registered = await cluster.register(job)
            await cluster.until_status("successful", version=version)
            evaluation = cluster.server.store.snapshot().evaluation(registered.eval_id)
            assert evaluation is not None
            assert (evaluation.status, evaluation.deployment_id) == ("complete", cluster.deployment().id)


@virtually
async def test_health_that_nobody_acted_on_is_acted_on_by_the_next_leader() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3, update=an_update(max_parallel=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 1)
        await cluster.server.deployments.stop()
        await cluster.settle(60)
        assert cluster.deployment().task_groups["api"].healthy_allocs == 1
        assert len(cluster.allocs(version=1)) == 1
        await cluster.restart_server()
        await cluster.until_status("successful", version=1)


@virtually
async def test_a_failure_that_nobody_acted_on_is_acted_on_by_the_next_leader() -> None:
    async with Cluster() as cluster:
        job = a_job(count=3, update=an_update(max_parallel=1), reschedule_policy=ReschedulePolicy(attempts=0))
        await cluster.register(job)
        await cluster.until_status("successful")
        cluster.behave(lambda alloc: Script(healthy_after=None, fails_after=30.0))
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 1)
        await cluster.server.deployments.stop()
        await cluster.settle(60)
        assert cluster.deployment().status == "running"
        await cluster.restart_server()
        await cluster.until_status("failed", within_s=30)


@virtually
async def test_a_system_roll_out_does_not_end_well_while_a_copy_is_not_healthy() -> None:
    async with Cluster(nodes=3) as cluster:
        sick = next(iter(cluster.nodes))
        cluster.behave(lambda alloc: Script(healthy_after=None if alloc.node_id == sick else 1.0))
        update = an_update(max_parallel=3, progress_deadline=30 * MINUTE)
        await cluster.register(a_job(type="system", update=update))
        await cluster.settle(30)
        healthy = next(a for a in cluster.allocs(running=True) if a.is_healthy)
        await cluster.server.stop_alloc(healthy.id)
        await cluster.settle(60)
        assert cluster.deployment().task_groups["api"].healthy_allocs == 2
        assert cluster.deployment().status is DeploymentStatus.RUNNING
        assert not cluster.job().stable


@virtually
async def test_a_system_roll_out_ends_well_without_a_node_that_left() -> None:
    async with Cluster(nodes=3) as cluster:
        leaving = next(iter(cluster.nodes))
        cluster.behave(lambda alloc: Script(healthy_after=None if alloc.node_id == leaving else 1.0))
        await cluster.register(a_job(type="system", update=an_update(max_parallel=3)))
        await cluster.settle(30)
        assert cluster.deployment().status is DeploymentStatus.RUNNING
        await cluster.nodes[leaving].die()
        await cluster.until_status("successful")


@virtually
async def test_a_healthy_copy_that_is_gone_no_longer_counts() -> None:
    async with Cluster(nodes=[a_node("only", cpu=350)]) as cluster:
        job = a_job(count=3, cpu=100, update=an_update(max_parallel=3, progress_deadline=MINUTE))
        cluster.behave(lambda alloc: Script(healthy_after=None if alloc.index == 2 else 1.0))
        await cluster.register(job)
        await cluster.until(lambda: cluster.deployment().task_groups["api"].healthy_allocs == 2)
        first = next(a for a in cluster.allocs(running=True) if a.is_healthy)
        await cluster.server.stop_alloc(first.id)
        await cluster.until(lambda: cluster.deployment().task_groups["api"].placed_allocs == 4)
        await cluster.until_status("failed")


@virtually
async def test_copies_that_are_not_healthy_are_replaced_first() -> None:
    async with Cluster(nodes=4) as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None if alloc.job_version == 1 and alloc.index == 2 else 1.0))
        job = a_job(count=4, update=an_update(max_parallel=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        second = a_restarting_version(job)
        await cluster.register(second)
        await cluster.until(lambda: len(cluster.allocs(running=True, version=1)) == 3)
        await cluster.register(a_restarting_version(second))
        await cluster.until(lambda: bool(cluster.allocs(running=True, version=2)))
        assert {alloc.index for alloc in cluster.allocs(version=2)} == {2}
