"""Rolling updates: one batch after another, each once the one before is healthy."""

from __future__ import annotations

from rove.structs.base import SECOND
from rove.structs.deployment import DeploymentStatus
from rove.testing.builders import a_job, a_restarting_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


@virtually
async def test_a_first_deployment_ends_once_all_copies_are_healthy() -> None:
    async with Cluster() as cluster:
        await cluster.register(a_job(count=3))
        deployment = await cluster.until_status("successful")
        assert deployment.task_groups["api"].healthy_allocs == 3
        assert cluster.job().stable
