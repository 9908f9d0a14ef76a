"""A node that knocks while the disk is full is told so at once, and is not taken for lost."""

from __future__ import annotations

import pytest

from rove.errors import RoveError
from rove.structs.node import NodeStatus
from rove.testing.builders import a_job
from rove.testing.cluster import Cluster
from rove.testing.virtual_time import virtually

FULL = OSError(28, "database or disk is full")
RETRY_S = 15.0
"""The longest pause of an agent between two tries."""


@virtually
async def test_it_is_told_at_once_that_nothing_was_stored() -> None:
    async with Cluster(nodes=1) as cluster:
        (node,) = cluster.nodes.values()
        await node.hang_up()
        cluster.engine.fail_with = FULL
        before = cluster.clock.now()
        with pytest.raises(RoveError) as caught:
            await node.connect()
        assert caught.value.code == "state.not_stored"
        assert cluster.clock.now() - before < 1
        cluster.engine.fail_with = None
        await node.connect()


@virtually
async def test_what_runs_on_it_is_not_lost_when_the_disk_has_room_again_before_its_next_try() -> None:
    async with Cluster(nodes=1) as cluster:
        await cluster.register(a_job(count=2))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 2)
        before = [alloc.id for alloc in cluster.allocs()]
        (node,) = cluster.nodes.values()
        await node.hang_up()
        cluster.engine.fail_with = FULL
        for _ in range(8):
            with pytest.raises(RoveError):
                await node.connect()
            await node.hang_up()
            await cluster.settle(RETRY_S)
        with pytest.raises(RoveError):
            await node.connect()
        await node.hang_up()
        cluster.engine.fail_with = None
        await cluster.settle(RETRY_S)
        await node.connect()
        await cluster.settle(60)
        assert [stored.status for stored in cluster.server.store.snapshot().nodes()] == [NodeStatus.READY]
        assert [alloc.id for alloc in cluster.allocs(running=True)] == before


@virtually
async def test_a_node_that_went_away_during_an_outage_is_found_lost_after_it() -> None:
    async with Cluster(nodes=2) as cluster:
        node = next(iter(cluster.nodes.values()))
        cluster.engine.fail_with = FULL
        await node.die()
        await cluster.settle(120)
        cluster.engine.fail_with = None
        away = node.node.id

        def is_down() -> bool:
            found = cluster.server.store.snapshot().node(away)
            return found is not None and found.status is NodeStatus.DOWN

        await cluster.until(is_down, within_s=10)
