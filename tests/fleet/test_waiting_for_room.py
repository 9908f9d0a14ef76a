"""A job that waits for room gets it, however long the wait was."""

from __future__ import annotations

from rove.testing.builders import a_job, a_node
from rove.testing.cluster import Cluster
from rove.testing.promises import broken_promises
from rove.testing.virtual_time import virtually


@virtually
async def test_a_job_that_waited_longer_than_its_progress_deadline_is_placed_when_a_node_joins() -> None:
    async with Cluster([a_node("small", cpu=50)]) as cluster:
        await cluster.register(a_job("web", count=2, cpu=100, create_index=0, modify_index=0, job_modify_index=0))
        await cluster.settle(3600)
        await cluster.add_node(a_node("big"))
        await cluster.settle(60)
        assert len(cluster.allocs(running=True)) == 2


@virtually
async def test_why_a_count_is_not_met_is_known_a_day_later() -> None:
    async with Cluster([a_node("small", cpu=50)]) as cluster:
        await cluster.register(a_job("web", count=2, cpu=100, create_index=0, modify_index=0, job_modify_index=0))
        await cluster.settle(24 * 3600)
        assert broken_promises(cluster.server.store.snapshot()) == []
