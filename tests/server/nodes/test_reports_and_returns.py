"""What nodes report makes jobs be looked at; nodes find a server that was away before it gives them up."""

from __future__ import annotations

from msgspec.structs import replace

from rove.client.settings import ClientSettings
from rove.server.nodes.core import TAKEOVER_GRACE_S, jobs_to_look_at
from rove.structs.alloc import Allocation, AllocStatus, AllocUpdate
from rove.structs.base import SECOND
from rove.structs.evaluation import Trigger
from rove.structs.job import DisconnectStrategy
from rove.testing.builders import a_constraint, a_job, an_alloc
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


def test_a_copy_that_its_node_stopped_because_no_server_was_heard_is_replaced() -> None:
    job = a_job(disconnect=DisconnectStrategy(stop_on_client_after=4 * SECOND))
    alloc = an_alloc(job)
    ended = AllocUpdate(id=alloc.id, client_status=AllocStatus.COMPLETE)
    assert jobs_to_look_at([(ended, alloc)])[Trigger.RECONNECT] == {job.key: alloc}
    assert not jobs_to_look_at([(ended, an_alloc(a_job()))])[Trigger.RECONNECT]


def test_nodes_dial_again_well_before_a_server_that_was_away_gives_them_up() -> None:
    longest = ClientSettings(data_dir=None, node_id="n", secret_id="s", version="1").reconnect_max_s  # type: ignore[arg-type]
    assert 3 * longest < TAKEOVER_GRACE_S


@virtually
async def test_meta_that_only_one_node_has_brings_a_system_job_to_it_and_away_again() -> None:
    async with Cluster(nodes=2) as cluster:
        job = a_job(type="system", constraints=(a_constraint("${meta.unique.color}", "=", "blue"),))
        await cluster.register(job)
        await cluster.settle(10)
        assert not cluster.allocs(running=True)
        node = cluster.nodes["node-1"]
        for meta, running in (({"unique.color": "blue"}, 1), ({}, 0)):
            node.node = replace(node.node, meta=meta)
            await node.hang_up()
            await node.connect()
            await cluster.until(lambda wanted=running: len(cluster.allocs(running=True)) == wanted, f"{running} run")


@virtually
async def test_a_report_that_a_node_stopped_a_copy_itself_brings_another() -> None:
    async with Cluster(nodes=2) as cluster:
        first: list[str] = []

        def once(alloc: Allocation) -> Script:
            first.append(alloc.id)
            return Script(completes_after=5.0 if alloc.id == first[0] else None)

        cluster.behave(once)
        await cluster.register(a_job(disconnect=DisconnectStrategy(stop_on_client_after=4 * SECOND)))
        await cluster.until(lambda: [a.id for a in cluster.allocs(running=True) if a.id != first[0]], "another runs")
