"""Jobs of every type find their places: pools, datacenters, namespaces, limits of nodes, nodes that join."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from rove.errors import BadRequestError
from rove.server.state import PutNamespace, PutNodePool
from rove.structs.alloc import AllocStatus
from rove.structs.evaluation import EvalStatus
from rove.structs.job import Job, JobStatus, ParameterizedJob, Resources, ScalingPolicy
from rove.structs.node import Eligibility, Namespace, NodePool, SchedulerConfiguration
from rove.testing.builders import a_constraint, a_group, a_job, a_node, a_restarting_version, a_task, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


def nodes_of(cluster: Cluster, job_id: str = "web") -> list[str]:
    return sorted(alloc.node_id for alloc in cluster.allocs(job_id, running=True))


def reasons(cluster: Cluster, job_id: str = "web") -> dict[str, int]:
    """What kept copies out, of the blocked evaluation."""
    found = cluster.server.store.snapshot().evaluations_of_job("default", job_id)
    metric = next(e.failed_tg_allocs["api"] for e in found if e.status is EvalStatus.BLOCKED)
    return {**metric.constraint_filtered, **metric.dimension_exhausted}


@virtually
async def test_a_system_job_reaches_nodes_that_join_later_and_those_made_eligible_again() -> None:
    async with Cluster([a_node("n1"), a_node("n2")]) as cluster:
        await cluster.server.set_eligibility("n2", Eligibility.INELIGIBLE)
        await cluster.register(a_job(type="system"))
        await cluster.until(lambda: nodes_of(cluster) == ["n1"])
        await cluster.add_node(a_node("n3"))
        await cluster.until(lambda: nodes_of(cluster) == ["n1", "n3"])
        await cluster.server.set_eligibility("n2", Eligibility.ELIGIBLE)
        await cluster.until(lambda: nodes_of(cluster) == ["n1", "n2", "n3"])
        await cluster.nodes["n3"].die()
        await cluster.until(lambda: any(a.client_status is AllocStatus.LOST for a in cluster.allocs()))
        await cluster.settle(30)
        assert nodes_of(cluster) == ["n1", "n2"]


@virtually
async def test_a_sysbatch_job_runs_once_on_every_node_also_on_later_ones() -> None:
    async with Cluster([a_node("n1"), a_node("n2")]) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=2.0))
        await cluster.register(a_job(type="sysbatch"))
        await cluster.until(lambda: [a.client_status for a in cluster.allocs()] == [AllocStatus.COMPLETE] * 2)
        await cluster.until(lambda: cluster.job().status is JobStatus.DEAD)
        await cluster.server.evaluate_job("default", "web")
        await cluster.settle(30)
        assert len(cluster.allocs()) == 2
        await cluster.add_node(a_node("n3"))
        await cluster.until(lambda: sorted(a.node_id for a in cluster.allocs()) == ["n1", "n2", "n3"])


@virtually
async def test_a_batch_job_that_completed_stays_completed_when_its_node_dies() -> None:
    async with Cluster([a_node("n1"), a_node("n2")]) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=1.0) if alloc.index == 0 else Script())
        await cluster.register(a_job(type="batch", count=2))
        await cluster.until(lambda: cluster.allocs()[0].client_status is AllocStatus.COMPLETE)
        for node in list(cluster.nodes.values()):
            if node.node.id == cluster.allocs()[0].node_id:
                await node.die()
        await cluster.settle(120)
        assert [a.index for a in cluster.allocs() if a.index == 0] == [0]


@virtually
async def test_datacenter_globs_and_node_pools_say_where() -> None:
    nodes = [
        a_node("de", datacenter="eu-de"),
        a_node("fr", datacenter="eu-fr", node_pool="gpu"),
        a_node("us", datacenter="us-1"),
    ]
    async with Cluster(nodes) as cluster:
        everywhere = ("*",)
        await cluster.register(a_job("all", type="system", datacenters=everywhere, node_pool="all"))
        await cluster.register(a_job("eu", type="system", datacenters=("eu-*",), node_pool="all"))
        await cluster.register(a_job("gpu", type="system", datacenters=everywhere, node_pool="gpu"))
        await cluster.register(a_job("plain", type="system", datacenters=everywhere, node_pool="default"))
        await cluster.register(a_job("one", type="system", datacenters=("us-*", "eu-?", "nowhere"), node_pool="all"))
        wanted = {"all": ["de", "fr", "us"], "eu": ["de", "fr"], "gpu": ["fr"], "plain": ["de", "us"], "one": ["us"]}
        await cluster.until(lambda: {job: nodes_of(cluster, job) for job in wanted} == wanted)
        await cluster.settle(20)
        assert {job: nodes_of(cluster, job) for job in wanted} == wanted


@virtually
async def test_an_unknown_pool_or_namespace_is_refused_until_it_exists() -> None:
    async with Cluster([a_node("n1")]) as cluster:
        with pytest.raises(BadRequestError, match="node pool"):
            await cluster.register(a_job("web", node_pool="metal"))
        with pytest.raises(BadRequestError, match="namespace"):
            await cluster.register(a_job("web", namespace="team"))
        assert list(cluster.server.store.snapshot().jobs()) == []
        await cluster.server.store.commit(PutNodePool(pool=NodePool(name="metal")))
        await cluster.register(a_job("web", node_pool="metal"))
        await cluster.add_node(a_node("m1", node_pool="metal"))
        await cluster.until(lambda: nodes_of(cluster) == ["m1"])


@virtually
async def test_namespaces_keep_jobs_of_one_name_apart() -> None:
    async with Cluster([a_node("n1")]) as cluster:
        await cluster.server.store.commit(PutNamespace(namespace=Namespace(name="team")))
        await cluster.register(a_job("web", count=2))
        await cluster.register(a_job("web", count=3, namespace="team"))
        snapshot = cluster.server.store.snapshot

        def count(namespace: str) -> int:
            return sum(1 for a in snapshot().allocs_of_job(namespace, "web") if not a.is_terminal)

        await cluster.until(lambda: (count("default"), count("team")) == (2, 3))
        await cluster.server.deregister_job("team", "web", purge=True)
        await cluster.until(lambda: count("team") == 0)
        await cluster.settle(20)
        assert count("default") == 2
        assert [job.namespace for job in snapshot().jobs()] == ["default"]


@virtually
async def test_all_at_once_does_not_wait_until_everything_fits() -> None:
    async with Cluster([a_node("n1", cpu=1000)]) as cluster:
        await cluster.register(a_job("web", count=2, cpu=700, all_at_once=True))
        await cluster.until(lambda: len(nodes_of(cluster)) == 1)
        assert reasons(cluster) == {"cpu": 1}
        await cluster.add_node(a_node("n2", cpu=1000))
        await cluster.until(lambda: len(nodes_of(cluster)) == 2)


@virtually
async def test_a_node_holds_no_more_allocations_than_it_says() -> None:
    async with Cluster([a_node("n1", node_max_allocs=3)]) as cluster:
        await cluster.register(a_job(count=5, cpu=10, memory=10))
        await cluster.until(lambda: len(nodes_of(cluster)) == 3)
        assert reasons(cluster) == {"node_max_allocs": 1}
        await cluster.add_node(a_node("n2", node_max_allocs=3))
        await cluster.until(lambda: len(nodes_of(cluster)) == 5)
        await cluster.register(a_job("all", type="system", cpu=10, memory=10))
        await cluster.until(lambda: nodes_of(cluster, "all") == ["n2"])
        assert reasons(cluster, "all") == {"node_max_allocs": 1}


@pytest.mark.parametrize("allowed", [False, True])
def test_memory_max_counts_only_where_oversubscription_is_allowed(allowed: bool) -> None:
    @virtually
    async def story() -> None:
        async with Cluster([a_node("n1", memory=1000)]) as cluster:
            rules = SchedulerConfiguration(memory_oversubscription_enabled=allowed)
            await cluster.server.set_scheduler_configuration(rules)
            task = a_task(resources=Resources(cpu=10, memory_mb=100, memory_max_mb=800))
            outcome = await cluster.register(a_job(groups=(a_group(count=2, tasks=(task,)),)))
            await cluster.until(lambda: len(nodes_of(cluster)) == 2)
            given = {a.allocated_resources.tasks["main"].memory.memory_max_mb for a in cluster.allocs()}
            assert given == ({800} if allowed else {0})
            assert ("memory_max has no effect" in outcome.warnings) is not allowed

    story()


@virtually
async def test_the_spread_algorithm_fills_nodes_evenly_and_binpack_one_by_one() -> None:
    for algorithm, most in (("spread", 2), ("binpack", 4)):
        nodes = [a_node(f"n{k}") for k in range(4)]
        async with Cluster(nodes) as cluster:
            await cluster.server.set_scheduler_configuration(SchedulerConfiguration(scheduler_algorithm=algorithm))
            for k in range(8):
                await cluster.register(a_job(f"job-{k}", cpu=100, memory=100))
                await cluster.until(lambda k=k: nodes_of(cluster, f"job-{k}"))  # type: ignore[misc]
            where = [nodes_of(cluster, f"job-{k}")[0] for k in range(8)]
            busiest = max(where.count(node.id) for node in nodes)
            assert (busiest == most) if algorithm == "spread" else (busiest >= most)


def parameterized(**rules: object) -> Job:
    return a_job("batch", type="batch", parameterized_job=ParameterizedJob(**rules))  # type: ignore[arg-type]


@virtually
async def test_a_dispatch_is_a_child_job_and_its_token_makes_it_once() -> None:
    async with Cluster() as cluster:
        cluster.behave(lambda alloc: Script(completes_after=1.0))
        parent = parameterized(meta_required=("customer",), meta_optional=("size",))
        registered = await cluster.register(parent)
        assert registered.eval_id == ""
        server = cluster.server
        same = {"meta": {"customer": "7"}, "idempotency_token": "order-1"}
        both = await asyncio.gather(
            server.dispatch_job("default", "batch", **same),
            server.dispatch_job("default", "batch", **same),  # type: ignore[arg-type]
        )
        assert both[0].dispatched_job_id == both[1].dispatched_job_id
        other = await server.dispatch_job("default", "batch", meta={"customer": "7"}, payload=b"x")
        child = both[0].dispatched_job_id
        assert other.dispatched_job_id != child
        await cluster.until(lambda: cluster.job(child).status is JobStatus.DEAD)
        assert len(cluster.allocs(child)) == 1
        assert cluster.job(child).meta["customer"] == "7"
        assert cluster.job("batch").status is JobStatus.RUNNING
        assert (await server.dispatch_job("default", "batch", **same)).dispatched_job_id == child  # type: ignore[arg-type]


@virtually
async def test_dispatches_against_the_rules_are_refused_and_change_nothing() -> None:
    async with Cluster() as cluster:
        await cluster.register(parameterized(meta_required=("customer",), payload="forbidden"))
        await cluster.register(a_job("web"))
        index = cluster.server.store.index
        for meta, payload, job_id in (
            ({}, b"", "batch"),
            ({"customer": "1", "colour": "red"}, b"", "batch"),
            ({"customer": "1"}, b"data", "batch"),
            ({"customer": "1"}, b"x" * (16 * 1024 + 1), "batch"),
            ({}, b"", "web"),
        ):
            with pytest.raises(BadRequestError):
                await cluster.server.dispatch_job("default", job_id, meta=meta, payload=payload)
        assert [job.id for job in cluster.server.store.snapshot().jobs()] == ["batch", "web"]
        assert cluster.server.store.index >= index


@virtually
async def test_scaling_changes_the_count_is_noted_and_stays_within_its_bounds() -> None:
    async with Cluster() as cluster:
        group = a_group(count=2, scaling=ScalingPolicy(min=1, max=4))
        await cluster.register(a_job(groups=(group,)))
        await cluster.until_status("successful")
        outcome = await cluster.server.scale_job("default", "web", "api", 4, message="more")
        await cluster.until(lambda: len(nodes_of(cluster)) == 4)
        events = cluster.server.store.snapshot().scaling_events("default", "web")
        assert events is not None
        (event,) = events.scaling_events["api"]
        assert (event.count, event.previous_count, event.message, event.eval_id) == (4, 2, "more", outcome.eval_id)
        await cluster.until_status("successful")
        for count in (0, 5, -1, 50_001):
            with pytest.raises(BadRequestError):
                await cluster.server.scale_job("default", "web", "api", count)
        assert cluster.job().task_groups[0].count == 4


@virtually
async def test_a_node_whose_meta_changes_lets_a_waiting_job_in() -> None:
    async with Cluster([a_node("n1", meta={"disk": "hdd"})]) as cluster:
        await cluster.register(a_job(constraints=(a_constraint("${meta.disk}", "=", "ssd"),)))
        await cluster.settle(10)
        assert reasons(cluster) == {"${meta.disk} = ssd": 1}
        node = cluster.nodes["n1"]
        node.node = msgspec.structs.replace(node.node, meta={"disk": "ssd"})
        await node.hang_up()
        await node.connect()
        await cluster.until(lambda: nodes_of(cluster) == ["n1"])


@virtually
async def test_every_job_reaches_its_count_or_says_why_whatever_happens_to_its_nodes() -> None:
    async with Cluster([a_node(f"n{k}", cpu=1000) for k in range(4)]) as cluster:
        jobs = [a_job(f"job-{k}", count=2, cpu=300, update=an_update(max_parallel=k % 2)) for k in range(8)]
        for job in jobs:
            await cluster.register(job)
        await cluster.settle(60)
        await cluster.nodes["n0"].die()
        await cluster.settle(60)
        for job in jobs[:4]:
            await cluster.register(a_restarting_version(job, count=3))
        await cluster.settle(900)
        snapshot = cluster.server.store.snapshot()
        for job in snapshot.jobs():
            has = len(cluster.allocs(job.id, running=True))
            waits = any(e.status is EvalStatus.BLOCKED for e in snapshot.evaluations_of_job(*job.key))
            deployment = snapshot.latest_deployment(*job.key)
            holds = deployment is not None and deployment.status == "failed"
            assert has == job.task_groups[0].count or waits or holds, f"{job.id}: {has}\n{cluster.picture()}"
