"""At any moment a deployment says what it waits for, and until when."""

from __future__ import annotations

from typing import Any

from rove.structs.base import MINUTE, SECOND
from rove.structs.deployment import DeploymentWaits
from rove.structs.job import Job, ReschedulePolicy, Service, ServiceCheck
from rove.testing.builders import a_job, a_node, a_restarting_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


async def _why(cluster: Cluster) -> DeploymentWaits:
    return await cluster.server.explain_deployment(cluster.deployment().id)


@virtually
async def test_it_names_each_allocation_that_is_not_healthy_yet_and_its_deadline() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None if alloc.index == 1 else 1.0))
        await cluster.register(a_job(count=3, update=an_update(healthy_deadline=4 * MINUTE)))
        await cluster.until(lambda: cluster.deployment().task_groups["api"].healthy_allocs == 2)
        why = await _why(cluster)
        (wait,) = why.waiting_for
        slow = cluster.allocs()[1]
        assert (wait.kind, wait.group, wait.alloc_ids) == ("health", "api", (slow.id,))
        assert "web.api[1]" in wait.text
        started = slow.task_states["main"].started_at  # type: ignore[index]
        assert started is not None
        assert abs(wait.until / SECOND - (started.timestamp() + 240)) < 1
        progress_by = cluster.deployment().task_groups["api"].require_progress_by.timestamp()
        assert abs(why.fails_at / SECOND - progress_by) < 0.001


@virtually
async def test_it_says_that_health_has_to_be_set_by_hand() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_job(count=1, update=an_update(health_check="manual")))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 1)
        (wait,) = (await _why(cluster)).waiting_for
        assert "by hand" in wait.text
        assert wait.until == 0


@virtually
async def test_it_names_what_the_nodes_lack() -> None:
    async with Cluster(nodes=[a_node("small", cpu=250)]) as cluster:
        await cluster.register(a_job(count=4, cpu=100))
        await cluster.until(lambda: cluster.deployment().task_groups["api"].healthy_allocs == 2)
        (wait,) = (await _why(cluster)).waiting_for
        assert wait.kind == "capacity"
        assert "2 allocations" in wait.text
        assert "cpu" in wait.text


@virtually
async def test_it_says_when_a_failed_allocation_is_replaced() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(fails_after=1.0, healthy_after=None))
        policy = ReschedulePolicy(unlimited=True, delay=MINUTE, delay_function="constant")
        await cluster.register(a_job(count=1, reschedule_policy=policy))
        await cluster.until(lambda: [a.client_status for a in cluster.allocs()] == ["failed"])
        failed_at = cluster.clock.now()
        (wait,) = (await _why(cluster)).waiting_for
        assert wait.kind == "reschedule"
        assert "failed" in wait.text
        assert abs(wait.until / SECOND - (failed_at + 60)) < 1


@virtually
async def test_it_says_how_to_promote() -> None:
    async with Cluster() as cluster:
        job = a_job(count=2, update=an_update(canary=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: any(a.is_healthy for a in cluster.allocs(version=1)))
        why = await _why(cluster)
        (wait,) = why.waiting_for
        assert wait.kind == "promotion"
        assert f"rove deployment promote {cluster.deployment().id[:8]}" in wait.text
        assert why.fails_at == 0


@virtually
async def test_it_says_how_to_resume() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_job(count=1))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 1)
        await cluster.server.pause_deployment(cluster.deployment().id, True)
        why = await _why(cluster)
        (wait,) = why.waiting_for
        assert wait.kind == "resume"
        assert why.fails_at == 0


@virtually
async def test_an_ended_deployment_waits_for_nothing() -> None:
    async with Cluster() as cluster:
        await cluster.register(a_job(count=1))
        await cluster.until_status("successful")
        assert (await _why(cluster)).waiting_for == ()


@virtually
async def test_a_running_deployment_always_waits_for_something() -> None:
    async with Cluster(nodes=4) as cluster:
        cluster.behave(lambda alloc: Script(starts_after=0.5, healthy_after=3.0, stops_after=0.5))
        job = a_job(count=6, update=an_update(max_parallel=2, canary=1, auto_promote=True))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        looks, silent = 0, 0
        while True:
            deployment = cluster.deployment()
            if deployment.job_version == 1 and not deployment.is_active:
                break
            if deployment.is_active:
                looks += 1
                silent += not (await _why(cluster)).waiting_for
            await cluster.settle(0.05)
        # Between the last healthy report and the plan that ends the roll-out nothing is left to wait for.
        assert looks > 100
        assert silent <= 1


@virtually
async def test_many_waiting_allocations_are_told_as_a_number() -> None:
    async with Cluster(nodes=5) as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(a_job(count=30))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 30)
        waits = (await _why(cluster)).waiting_for
        assert len(waits) == 11
        assert "20 more" in waits[-1].text
        assert len(waits[-1].alloc_ids) == 20


def _with_a_check(**fields: Any) -> Job:
    check = ServiceCheck(name="alive", type="http", path="/", interval=SECOND, timeout=SECOND)
    return a_job(services=(Service(name="shop", checks=(check,)),), **fields)


@virtually
async def test_it_tells_the_check_that_fails_and_what_it_said() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        cluster.checks = lambda alloc: {
            "1": {"Check": "alive", "Service": "shop", "Status": "failure", "Output": "503\nnot yet"},
            "2": {"Check": "fine", "Service": "shop", "Status": "success", "Output": "200"},
        }
        await cluster.register(_with_a_check())
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 1)
        (wait,) = (await _why(cluster)).waiting_for
        assert 'check "alive" of service "shop" is failure: 503 not yet' in wait.text
        assert "fine" not in wait.text


@virtually
async def test_a_node_that_does_not_answer_does_not_keep_the_explanation() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.register(_with_a_check())
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 1)
        await cluster.nodes[cluster.allocs()[0].node_id].hang_up()
        (wait,) = (await _why(cluster)).waiting_for
        assert wait.kind == "health"
