"""Many roll-outs, and big ones: nothing is late, and the controller is no bottleneck."""

from __future__ import annotations

from rove.server.state import Batch, Committed, PutEvaluations
from rove.structs.evaluation import Trigger
from rove.testing.builders import a_job, a_node, a_restarting_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually


@virtually
async def test_a_hundred_roll_outs_at_once_miss_their_deadlines_within_a_second() -> None:
    from rove.structs.base import MINUTE

    async with Cluster(nodes=[a_node(f"node-{n}", cpu=20_000, memory=64_000) for n in range(4)]) as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        for number in range(100):
            await cluster.register(a_job(f"job-{number}", update=an_update(progress_deadline=5 * MINUTE)))
        ended: dict[str, float] = {}

        def note(committed: Committed) -> None:
            for deployment in committed.deployments:
                if deployment.status == "failed":
                    deadline = deployment.task_groups["api"].require_progress_by.timestamp()
                    ended.setdefault(deployment.id, cluster.clock.now() - deadline)

        cluster.server.store.on_commit(note)
        await cluster.until(lambda: len(ended) == 100)
        assert max(ended.values()) < 1.0
        assert min(ended.values()) >= 0.0


@virtually
async def test_decisions_that_come_together_are_stored_together() -> None:
    async with Cluster(nodes=[a_node(f"node-{n}", cpu=20_000, memory=64_000) for n in range(4)]) as cluster:
        jobs = [a_job(f"job-{number}") for number in range(50)]
        stored: list[int] = []

        def note(committed: Committed) -> None:
            transaction = committed.transaction
            if isinstance(transaction, Batch):
                own = [
                    evaluation
                    for part in transaction.parts
                    if isinstance(part, PutEvaluations)
                    for evaluation in part.evaluations
                    if evaluation.triggered_by is Trigger.DEPLOYMENT_WATCHER
                ]
                if own:
                    stored.append(len(own))

        cluster.server.store.on_commit(note)
        for job in jobs:
            await cluster.register(job)
        await cluster.until(lambda: all(cluster.deployment(job.id).status == "successful" for job in jobs))
        assert sum(stored) >= 50
        assert len(stored) <= 10


@virtually
async def test_a_thousand_copies_roll_in_batches_of_fifty() -> None:
    async with Cluster(nodes=[a_node(f"node-{n:02}", cpu=60_000, memory=256_000) for n in range(20)]) as cluster:
        update = an_update(max_parallel=50, min_healthy_time=0)
        cluster.behave(lambda alloc: Script(starts_after=0.1, healthy_after=0.1, stops_after=0.0))
        job = a_job(count=1000, cpu=100, memory=64, update=update)
        await cluster.register(job)
        await cluster.until_status("successful")
        began = cluster.clock.now()
        away = 0

        def watched() -> bool:
            nonlocal away
            group = cluster.deployment().task_groups["api"]
            if cluster.deployment().job_version != 1:
                return False
            away = max(away, group.placed_allocs - group.healthy_allocs)
            return not cluster.deployment().is_active

        await cluster.register(a_restarting_version(job))
        await cluster.until(watched)
        assert cluster.deployment().status == "successful"
        assert away <= 50
        # 20 batches that take 0.2 s on their nodes: the controller adds less than 50 ms (of virtual time) to each.
        assert cluster.clock.now() - began < 20 * (0.2 + 0.05)
