"""Drains on the real server with simulated nodes, in virtual time."""

from __future__ import annotations

import pytest

from rove.errors import BadRequestError, NotFoundError
from rove.structs.alloc import AllocStatus
from rove.structs.base import MINUTE, SECOND
from rove.structs.evaluation import Trigger
from rove.structs.job import MigrateStrategy
from rove.structs.node import DrainSpec, Eligibility, Node
from rove.testing.builders import a_job, a_restarting_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually

HOURLONG = DrainSpec(deadline=60 * MINUTE)


def node_of(cluster: Cluster, node_id: str) -> Node:
    node = cluster.server.store.snapshot().node(node_id)
    assert node is not None
    return node


def is_drained(cluster: Cluster, node_id: str) -> bool:
    return node_of(cluster, node_id).drain_strategy is None


def on(cluster: Cluster, node_id: str, job_id: str = "web") -> int:
    return sum(1 for alloc in cluster.allocs(job_id, running=True) if alloc.node_id == node_id)


async def crowd(cluster: Cluster, job_id: str = "web", **fields: object) -> None:
    """A job with all its copies on node-0."""
    for number in range(1, len(cluster.nodes)):
        await cluster.server.set_eligibility(f"node-{number}", Eligibility.INELIGIBLE)
    await cluster.register(a_job(job_id, **fields))
    if fields.get("type", "service") == "service":
        await cluster.until_status("successful", job_id)
    else:
        await cluster.until(lambda: on(cluster, "node-0", job_id) == fields.get("count", 1))
    for number in range(1, len(cluster.nodes)):
        await cluster.server.set_eligibility(f"node-{number}", Eligibility.ELIGIBLE)


@virtually
async def test_a_service_leaves_in_steps_and_stays_up() -> None:
    async with Cluster(3) as cluster:
        await crowd(cluster, count=6, migrate=MigrateStrategy(max_parallel=2))
        fewest = 6

        def watched() -> bool:
            nonlocal fewest
            serving = [a for a in cluster.allocs(running=True) if a.is_healthy and not a.desired_transition.migrate]
            fewest = min(fewest, len(serving))
            return is_drained(cluster, "node-0")

        await cluster.server.drain_node("node-0", HOURLONG, meta={"message": "disk"})
        node = node_of(cluster, "node-0")
        assert node.scheduling_eligibility is Eligibility.INELIGIBLE
        assert node.last_drain is not None
        assert node.last_drain.status == "draining"
        await cluster.until(watched)
        assert fewest == 4
        assert on(cluster, "node-0") == 0
        node = node_of(cluster, "node-0")
        assert node.last_drain is not None
        assert (node.last_drain.status, node.last_drain.meta) == ("complete", {"message": "disk"})
        assert [e.details for e in node.events if e.subsystem == "Drain"] == [{}, {}]
        evaluations = cluster.server.store.snapshot().evaluations_of_job("default", "web")
        assert sum(e.triggered_by is Trigger.NODE_DRAIN for e in evaluations) >= 3


@virtually
async def test_without_healthy_replacements_the_rest_stays_until_the_deadline() -> None:
    async with Cluster(2) as cluster:
        await crowd(cluster, count=4, migrate=MigrateStrategy(max_parallel=1))
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.server.drain_node("node-0", DrainSpec(deadline=10 * MINUTE))
        await cluster.settle(9 * 60)
        assert on(cluster, "node-0") == 3
        assert not is_drained(cluster, "node-0")
        await cluster.until(lambda: is_drained(cluster, "node-0"), within_s=90)
        assert on(cluster, "node-0") == 0
        [event] = [e for e in node_of(cluster, "node-0").events if e.message == "Node drain complete"]
        assert event.details == {"deadline_reached": "true"}


@virtually
async def test_without_room_elsewhere_only_what_the_group_allows_goes() -> None:
    async with Cluster(2) as cluster:
        await crowd(cluster, count=4, migrate=MigrateStrategy(max_parallel=1))
        await cluster.server.set_eligibility("node-1", Eligibility.INELIGIBLE)
        await cluster.server.drain_node("node-0", DrainSpec(deadline=0))
        await cluster.settle(3600)
        assert on(cluster, "node-0") == 3
        await cluster.server.set_eligibility("node-1", Eligibility.ELIGIBLE)
        await cluster.until(lambda: is_drained(cluster, "node-0") and on(cluster, "node-1") == 4)


@virtually
async def test_two_nodes_drained_at_once_share_what_the_group_may_lose() -> None:
    async with Cluster(4) as cluster:
        for number in (2, 3):
            await cluster.server.set_eligibility(f"node-{number}", Eligibility.INELIGIBLE)
        await cluster.register(a_job(count=6))
        await cluster.until_status("successful")
        for number in (2, 3):
            await cluster.server.set_eligibility(f"node-{number}", Eligibility.ELIGIBLE)
        fewest = 6

        def watched() -> bool:
            nonlocal fewest
            fewest = min(fewest, sum(a.is_healthy for a in cluster.allocs(running=True)))
            return is_drained(cluster, "node-0") and is_drained(cluster, "node-1")

        await cluster.server.drain_node("node-0", HOURLONG)
        await cluster.server.drain_node("node-1", HOURLONG)
        await cluster.until(watched)
        assert fewest >= 5
        assert on(cluster, "node-0") + on(cluster, "node-1") == 0


@virtually
async def test_a_drain_during_a_roll_out_takes_no_more_than_the_two_together_allow() -> None:
    async with Cluster(3) as cluster:
        job = a_job(count=6, update=an_update(max_parallel=1), migrate=MigrateStrategy(max_parallel=1))
        await cluster.register(job)
        await cluster.until_status("successful")
        fewest = 6

        def watched() -> bool:
            nonlocal fewest
            fewest = min(fewest, sum(a.is_healthy for a in cluster.allocs(running=True)))
            return is_drained(cluster, "node-0") and cluster.deployment().job_version == 1

        await cluster.register(a_restarting_version(job))
        await cluster.until(lambda: cluster.deployment().job_version == 1)
        await cluster.server.drain_node("node-0", HOURLONG)
        await cluster.until(watched)
        await cluster.until_status("successful", version=1)
        assert fewest >= 4
        assert on(cluster, "node-0") == 0
        assert [a.job_version for a in cluster.allocs(running=True)] == [1] * 6


@virtually
async def test_batch_work_finishes_first_and_the_drain_ends_then() -> None:
    async with Cluster(2) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=1200.0))
        await crowd(cluster, "sum", type="batch", count=2)
        began = cluster.clock.now()
        await cluster.server.drain_node("node-0", HOURLONG)
        await cluster.until(lambda: is_drained(cluster, "node-0"))
        assert cluster.clock.now() - began > 1000
        assert [a.client_status for a in cluster.allocs("sum")] == [AllocStatus.COMPLETE] * 2


@virtually
async def test_a_forced_drain_moves_everything_now() -> None:
    async with Cluster(2) as cluster:
        await crowd(cluster, count=4)
        await crowd(cluster, "sum", type="batch", count=2)
        began = cluster.clock.now()
        await cluster.server.drain_node("node-0", DrainSpec(deadline=-1))
        await cluster.until(lambda: is_drained(cluster, "node-0"))
        assert cluster.clock.now() - began < 10
        await cluster.until(lambda: on(cluster, "node-1") == 4 and on(cluster, "node-1", "sum") == 2)


@virtually
async def test_system_jobs_go_last_and_come_back_with_eligibility() -> None:
    async with Cluster(2) as cluster:
        await cluster.register(a_job("logs", type="system"))
        await cluster.until(lambda: len(cluster.allocs("logs", running=True)) == 2)
        await crowd(cluster, count=3)
        await cluster.server.drain_node("node-0", HOURLONG)
        together: list[tuple[int, int]] = []

        def watched() -> bool:
            together.append((on(cluster, "node-0"), on(cluster, "node-0", "logs")))
            return is_drained(cluster, "node-0")

        await cluster.until(watched)
        assert all(logs == 1 for web, logs in together if web)
        assert together[-1] == (0, 0)
        await cluster.server.set_eligibility("node-0", Eligibility.ELIGIBLE)
        await cluster.until(lambda: on(cluster, "node-0", "logs") == 1)


@virtually
async def test_a_drain_goes_on_after_the_server_was_restarted() -> None:
    async with Cluster(2) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=None))
        await crowd(cluster, "sum", type="batch", count=2)
        began = cluster.clock.now()
        await cluster.server.drain_node("node-0", DrainSpec(deadline=5 * MINUTE))
        await cluster.settle(60)
        await cluster.restart_server(after_s=30)
        assert not is_drained(cluster, "node-0")
        await cluster.until(lambda: is_drained(cluster, "node-0"), within_s=600)
        assert 299 <= cluster.clock.now() - began < 310


@virtually
async def test_a_deadline_that_was_changed_counts() -> None:
    async with Cluster(2) as cluster:
        await crowd(cluster, "sum", type="batch", count=2)
        await cluster.server.drain_node("node-0", DrainSpec(deadline=5 * MINUTE))
        await cluster.settle(60)
        await cluster.server.drain_node("node-0", DrainSpec(deadline=60 * MINUTE))
        await cluster.settle(30 * 60)
        assert not is_drained(cluster, "node-0")
        await cluster.server.drain_node("node-0", DrainSpec(deadline=SECOND))
        await cluster.until(lambda: is_drained(cluster, "node-0"), within_s=10)


@virtually
async def test_a_wall_clock_that_jumps_ends_no_drain() -> None:
    async with Cluster(2) as cluster:
        await crowd(cluster, "sum", type="batch", count=2)
        await cluster.server.drain_node("node-0", HOURLONG)
        await cluster.settle(10)
        cluster.clock.offset = 10 * 365 * 86_400.0
        await cluster.settle(60)
        assert not is_drained(cluster, "node-0")
        assert on(cluster, "node-0", "sum") == 2


@virtually
async def test_a_drain_taken_back_stops_moving() -> None:
    async with Cluster(2) as cluster:
        await crowd(cluster, count=6)
        await cluster.server.drain_node("node-0", HOURLONG)
        await cluster.until(lambda: on(cluster, "node-1") == 2)
        await cluster.server.drain_node("node-0", None, mark_eligible=True)
        await cluster.settle(600)
        assert on(cluster, "node-0") >= 3
        node = node_of(cluster, "node-0")
        assert node.last_drain is not None
        assert node.last_drain.status == "canceled"
        assert node.is_ready


@virtually
async def test_a_draining_node_may_be_purged() -> None:
    async with Cluster(2) as cluster:
        await crowd(cluster, count=3)
        await cluster.server.drain_node("node-0", DrainSpec(deadline=MINUTE))
        await cluster.nodes["node-0"].die()
        await cluster.server.purge_node("node-0")
        await cluster.until(lambda: on(cluster, "node-1") == 3)
        await cluster.settle(600)
        assert cluster.server.store.snapshot().node("node-0") is None


@virtually
async def test_a_node_that_dies_while_it_drains_is_drained() -> None:
    async with Cluster(2) as cluster:
        await crowd(cluster, count=3)
        cluster.behave(lambda alloc: Script(healthy_after=None))
        await cluster.server.drain_node("node-0", HOURLONG)
        await cluster.settle(5)
        await cluster.nodes["node-0"].die()
        await cluster.until(lambda: is_drained(cluster, "node-0"), within_s=300)


@virtually
async def test_unknown_nodes_and_senseless_deadlines_are_refused() -> None:
    async with Cluster(1) as cluster:
        with pytest.raises(NotFoundError):
            await cluster.server.drain_node("nobody", HOURLONG)
        with pytest.raises(BadRequestError):
            await cluster.server.drain_node("node-0", DrainSpec(deadline=10**20))
        assert is_drained(cluster, "node-0")


@virtually
async def test_a_store_that_refuses_for_a_while_does_not_end_a_drain() -> None:
    async with Cluster(3) as cluster:
        await crowd(cluster, count=4, migrate=MigrateStrategy(max_parallel=4))
        await cluster.server.drain_node("node-0", DrainSpec(deadline=30 * SECOND))
        cluster.engine.fail_with = OSError(28, "database or disk is full")
        await cluster.settle(120)
        assert not is_drained(cluster, "node-0")
        cluster.engine.fail_with = None
        await cluster.until(lambda: is_drained(cluster, "node-0"), within_s=60)
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 4, within_s=60)
        assert on(cluster, "node-0") == 0
