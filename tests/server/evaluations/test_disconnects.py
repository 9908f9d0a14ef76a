"""A node is cut off and comes back: what its copies and their stand-ins do, end to end."""

from __future__ import annotations

import pytest

from rove.structs.alloc import Allocation, AllocStatus, Desired
from rove.structs.base import MINUTE, SECOND
from rove.structs.evaluation import Trigger
from rove.structs.job import DisconnectStrategy
from rove.structs.node import NodeStatus
from rove.testing.builders import a_job, a_node
from rove.testing.cluster import Cluster
from rove.testing.virtual_time import virtually


def status_of(cluster: Cluster, node_id: str) -> NodeStatus:
    node = cluster.server.store.snapshot().node(node_id)
    assert node is not None
    return node.status


def original(cluster: Cluster) -> Allocation:
    return cluster.allocs()[0]


async def cut_off(cluster: Cluster, **rules: object) -> tuple[str, str]:
    """A job of one copy whose node falls silent: (alloc id, node id)."""
    strategy = DisconnectStrategy(**{"lost_after": 10 * MINUTE, "replace": True, **rules})  # type: ignore[arg-type]
    await cluster.register(a_job(count=1, disconnect=strategy))
    await cluster.until_status("successful")
    alloc = original(cluster)
    await cluster.nodes[alloc.node_id].hang_up()
    return alloc.id, alloc.node_id


@virtually
async def test_a_node_that_jobs_wait_for_is_disconnected_and_others_are_down() -> None:
    async with Cluster(nodes=2) as cluster:
        _, node_id = await cut_off(cluster)
        (other,) = set(cluster.nodes) - {node_id}
        await cluster.until(lambda: status_of(cluster, node_id) is NodeStatus.DISCONNECTED)
        await cluster.until(lambda: original(cluster).client_status is AllocStatus.UNKNOWN)
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 1)
        assert cluster.allocs(running=True)[0].node_id == other


@pytest.mark.parametrize(
    ("strategy", "stays"),
    [("keep_original", "original"), ("keep_replacement", "replacement"), ("longest_running", "original")],
)
def test_when_it_comes_back_the_strategy_says_who_stays(strategy: str, stays: str) -> None:
    @virtually
    async def story() -> None:
        async with Cluster(nodes=2) as cluster:
            alloc_id, node_id = await cut_off(cluster, reconcile=strategy)
            await cluster.until(lambda: len(cluster.allocs(running=True)) == 1)
            await cluster.settle(60)
            await cluster.nodes[node_id].connect()
            await cluster.until(lambda: len([a for a in cluster.allocs() if not a.is_terminal]) == 1)
            await cluster.settle(60)
            (kept,) = [a for a in cluster.allocs() if not a.is_terminal]
            assert (kept.id == alloc_id) is (stays == "original")
            assert kept.client_status is AllocStatus.RUNNING
            triggers = {e.triggered_by for e in cluster.server.store.snapshot().evaluations_of_job("default", "web")}
            assert Trigger.RECONNECT in triggers
            assert status_of(cluster, node_id) is NodeStatus.READY

    story()


@virtually
async def test_without_replace_nothing_else_starts_and_the_copy_goes_on_when_its_node_is_back() -> None:
    async with Cluster(nodes=2) as cluster:
        alloc_id, node_id = await cut_off(cluster, replace=False)
        await cluster.until(lambda: original(cluster).client_status is AllocStatus.UNKNOWN)
        await cluster.settle(120)
        assert len(cluster.allocs()) == 1
        await cluster.nodes[node_id].connect()
        await cluster.until(lambda: original(cluster).client_status is AllocStatus.RUNNING)
        await cluster.settle(60)
        assert [a.id for a in cluster.allocs(running=True)] == [alloc_id]


@virtually
async def test_after_lost_after_the_copy_is_lost_and_its_node_down() -> None:
    async with Cluster(nodes=2) as cluster:
        _, node_id = await cut_off(cluster, replace=False)
        began = cluster.clock.now()
        ended = await cluster.until(lambda: original(cluster).client_status is AllocStatus.LOST)
        assert 590 <= ended - began <= 630
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 1, "replaced elsewhere")
        await cluster.until(lambda: status_of(cluster, node_id) is NodeStatus.DOWN, within_s=30)


@virtually
async def test_a_copy_that_comes_back_after_its_time_is_told_to_stop() -> None:
    async with Cluster(nodes=2) as cluster:
        alloc_id, node_id = await cut_off(cluster)
        await cluster.until(lambda: status_of(cluster, node_id) is NodeStatus.DOWN)
        await cluster.nodes[node_id].connect()
        await cluster.until(lambda: original(cluster).client_status is AllocStatus.COMPLETE)
        await cluster.settle(30)
        assert original(cluster).id == alloc_id
        assert original(cluster).desired_status is Desired.STOP
        assert len(cluster.allocs(running=True)) == 1


@virtually
async def test_a_server_that_restarts_in_between_still_keeps_the_window() -> None:
    async with Cluster(nodes=2) as cluster:
        alloc_id, node_id = await cut_off(cluster, replace=False)
        await cluster.until(lambda: original(cluster).client_status is AllocStatus.UNKNOWN)
        cluster.nodes[node_id].is_dead = True  # it does not come back with the server
        await cluster.restart_server(after_s=30)
        await cluster.settle(60)
        assert original(cluster).client_status is AllocStatus.UNKNOWN
        assert status_of(cluster, node_id) is NodeStatus.DISCONNECTED
        await cluster.nodes[node_id].connect()
        await cluster.until(lambda: original(cluster).client_status is AllocStatus.RUNNING)
        assert [a.id for a in cluster.allocs(running=True)] == [alloc_id]


@virtually
async def test_stop_on_client_after_puts_the_replacement_off() -> None:
    rules = DisconnectStrategy(stop_on_client_after=90 * SECOND, replace=True)
    async with Cluster(nodes=2) as cluster:
        await cluster.register(a_job(count=1, disconnect=rules))
        await cluster.until_status("successful")
        node_id = original(cluster).node_id
        await cluster.nodes[node_id].die()
        down = await cluster.until(lambda: status_of(cluster, node_id) is NodeStatus.DOWN)
        await cluster.settle(60)
        assert len(cluster.allocs()) == 1, "its node may still run it"
        replaced = await cluster.until(lambda: len(cluster.allocs()) == 2)
        assert 85 <= replaced - down <= 110


@virtually
async def test_a_system_copy_waits_too() -> None:
    rules = DisconnectStrategy(lost_after=5 * MINUTE)
    async with Cluster(nodes=[a_node("n1"), a_node("n2")]) as cluster:
        await cluster.register(a_job(type="system", disconnect=rules))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 2)
        await cluster.nodes["n1"].hang_up()
        await cluster.until(lambda: status_of(cluster, "n1") is NodeStatus.DISCONNECTED)
        await cluster.settle(60)
        await cluster.nodes["n1"].connect()
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 2)
        assert len(cluster.allocs()) == 2
