"""Random histories: whatever happens in the middle, a roll-out ends once, and the right version runs in the end."""

from __future__ import annotations

import random

import pytest

from rove.errors import RoveError
from rove.server.state import Committed
from rove.structs.alloc import Allocation
from rove.structs.base import MINUTE, SECOND
from rove.structs.deployment import DEPLOYMENT_TERMINAL, DeploymentStatus
from rove.structs.job import Job, ReschedulePolicy
from rove.testing.builders import a_job, a_node, a_restarting_version, a_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import run

FAST = ReschedulePolicy(unlimited=True, delay=5 * SECOND, delay_function="constant")


class Promises:
    """What holds after every commit; `broken` says what did not."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self._ends: dict[str, DeploymentStatus] = {}
        self._promoted: set[tuple[str, str]] = set()

    def check(self, committed: Committed) -> None:
        for deployment in committed.deployments:
            end = self._ends.get(deployment.id)
            if end is not None and deployment.status is not end:
                self.broken.append(f"deployment {deployment.id} had ended as {end} and is {deployment.status}")
            if deployment.status in DEPLOYMENT_TERMINAL:
                self._ends[deployment.id] = deployment.status
            for name, group in deployment.task_groups.items():
                if not group.promoted and (deployment.id, name) in self._promoted:
                    self.broken.append(f"a promotion of {deployment.id} was taken back")
                if group.promoted:
                    self._promoted.add((deployment.id, name))
                if deployment.status is DeploymentStatus.SUCCESSFUL and group.healthy_allocs < group.desired_total:
                    self.broken.append(f"deployment {deployment.id} is successful without enough healthy copies")
        for job in committed.jobs:
            deployments = committed.snapshot.deployments_of_job(*job.key)
            if len([d for d in deployments if d.is_active]) > 1:
                self.broken.append("two roll-outs run at once")


class Story:
    """One job and what happens to it."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.bad: set[int] = set()
        self.calm = False
        self.promises = Promises()
        self.job = self._rules(a_job(count=rng.randint(1, 5), reschedule_policy=FAST))

    def _rules(self, job: Job) -> Job:
        rng = self.rng
        canary = rng.choice((0, 0, 1, 2))
        update = an_update(
            max_parallel=rng.randint(1, 3), canary=canary, auto_promote=bool(canary) and rng.random() < 0.7,
            auto_revert=rng.random() < 0.5, progress_deadline=rng.choice((2, 5)) * MINUTE,
        )  # fmt: skip
        return a_version(job, job.version, update=update)

    def behaviour(self, alloc: Allocation) -> Script:
        rng = self.rng
        if self.calm:
            return Script()
        if alloc.job_version in self.bad:
            return Script(fails_after=rng.uniform(0.1, 5.0), healthy_after=None)
        if rng.random() < 0.1:
            return Script(healthy_after=1.0, fails_after=rng.uniform(2.0, 60.0))
        return Script(starts_after=rng.uniform(0.1, 3.0), healthy_after=rng.uniform(0.1, 30.0))

    async def step(self) -> None:
        cluster, rng = self.cluster, self.rng
        match rng.choice(("update", "update", "bad", "scale", "kill", "verb", "verb", "restart", "wait", "wait")):
            case "update":
                self.job = self._rules(a_restarting_version(self.job))
                await cluster.register(self.job)
            case "bad":
                self.job = a_restarting_version(self.job)
                self.bad.add(cluster.job().version + 1)
                await cluster.register(self.job)
            case "scale":
                self.job = a_version(self.job, count=rng.randint(1, 5))
                await cluster.register(self.job)
            case "kill":
                living = [node for node in cluster.nodes.values() if not node.is_dead]
                if len(living) > 3:
                    await rng.choice(living).die()
            case "verb":
                await self._verb()
            case "restart":
                await cluster.restart_server(after_s=rng.uniform(0, 20))
                cluster.server.store.on_commit(self.promises.check)
            case _:
                pass
        await cluster.settle(rng.expovariate(1 / 20))

    async def _verb(self) -> None:
        server = self.cluster.server
        found = self.cluster.deployments()
        if not found:
            return
        deployment_id = found[-1].id
        verbs = {
            "promote": lambda: server.promote_deployment(deployment_id, all=True),
            "fail": lambda: server.fail_deployment(deployment_id),
            "pause": lambda: server.pause_deployment(deployment_id, True),
            "resume": lambda: server.pause_deployment(deployment_id, False),
        }
        try:
            await verbs[self.rng.choice(list(verbs))]()
        except RoveError:
            pass  # it was not the time for that

    async def play(self) -> None:
        self.cluster.server.store.on_commit(self.promises.check)
        self.cluster.behave(self.behaviour)
        await self.cluster.register(self.job)
        for _ in range(self.rng.randint(3, 12)):
            await self.step()
        await self.end()

    async def end(self) -> None:
        """All is well from now on: a last version without canaries is rolled out."""
        cluster = self.cluster
        self.calm = True
        update = an_update(max_parallel=1)
        self.job = a_version(a_restarting_version(self.job), update=update)
        await cluster.register(self.job)
        version = cluster.job().version
        await cluster.until_status("successful", version=version)
        await cluster.settle(120)
        count = self.job.task_groups[0].count
        running = cluster.allocs(running=True)
        assert [a.job_version for a in running] == [version] * count, cluster.picture()
        assert len({a.index for a in running}) == count, cluster.picture()
        assert not any(d.is_active for d in cluster.deployments()), cluster.picture()
        assert self.promises.broken == []


@pytest.mark.parametrize("seed", range(40))
def test_every_history_ends_with_the_last_version_running(seed: int) -> None:
    async def story() -> None:
        nodes = [a_node(f"node-{number}") for number in range(6)]
        async with Cluster(nodes=nodes, seed=seed) as cluster:
            await Story(cluster, random.Random(seed)).play()

    run(story())
