"""The collection is decided beside the event loop; what is registered meanwhile is not lost."""

from __future__ import annotations

import asyncio

import pytest

from rove.server.collection.core import AT_ONCE
from rove.server.collection.loop import INTERVAL_S
from rove.structs.job import JobStatus
from rove.testing.builders import a_job
from rove.testing.cluster import Cluster
from rove.testing.virtual_time import virtually


@virtually
async def test_a_job_that_is_registered_again_during_a_collection_lives_and_runs() -> None:
    async with Cluster(nodes=1) as cluster:
        for job_id in ("web", "gone"):
            await cluster.register(a_job(job_id, count=1))
            await cluster.until(lambda job_id=job_id: len(cluster.allocs(job_id, running=True)) == 1)
            await cluster.server.deregister_job("default", job_id)
            await cluster.until(lambda job_id=job_id: cluster.job(job_id).status is JobStatus.DEAD)
        await cluster.settle(5)
        cluster.engine.pause()  # applied, and not yet seen by the one who decides
        again = asyncio.create_task(cluster.register(a_job("web", count=2)))
        await asyncio.sleep(0.1)
        collecting = asyncio.create_task(cluster.server.collection.collect(AT_ONCE))
        await asyncio.sleep(0.1)
        cluster.engine.resume()
        registered = await again
        found = await collecting
        assert set(found.jobs) == {("default", "web"), ("default", "gone")}, "nobody met: this test is not one"
        assert cluster.job().job_modify_index == registered.job_modify_index
        assert [job.id for job in cluster.server.store.snapshot().jobs()] == ["web"]
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 2, within_s=30)


@virtually
async def test_a_store_that_refuses_for_a_while_does_not_end_the_collection() -> None:
    async with Cluster(nodes=1) as cluster:
        await cluster.register(a_job(count=1, type="batch"))
        await cluster.until(lambda: len(cluster.allocs(running=True)) == 1)
        await cluster.server.deregister_job("default", "web")
        await cluster.until(lambda: all(alloc.is_client_terminal for alloc in cluster.allocs()))
        cluster.engine.fail_with = OSError(28, "database or disk is full")
        with pytest.raises(OSError, match="full"):
            await cluster.server.collect_garbage()
        await cluster.settle(5 * 3600)
        assert cluster.job().status is JobStatus.DEAD
        cluster.engine.fail_with = None
        await cluster.until(lambda: not list(cluster.server.store.snapshot().jobs()), within_s=2 * INTERVAL_S)
