"""Random histories through the whole server: nodes come and go, jobs change, plans race, the server restarts.

Runs in virtual time. Schedulers look at a snapshot and deliver their plan a random moment later, so that plans meet a
state that has moved on. A failure prints its seed: ``pytest -k 'seed-17'`` plays it again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rove.server import scheduler
from rove.server.collection.core import Thresholds
from rove.server.nodes.loop import HeartbeatPolicy
from rove.server.state import Committed
from rove.simulate.virtual import SimulatedLoop
from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import SECOND
from rove.structs.evaluation import EvalStatus
from rove.structs.job import Job, JobType
from rove.structs.node import DrainSpec, Eligibility, Node, NodeStatus, PreemptionConfig, SchedulerConfiguration
from rove.testing.builders import (
    a_constraint,
    a_group,
    a_job,
    a_node,
    a_restarting_version,
    a_spread,
    a_version,
    an_evaluation,
    an_update,
)
from rove.testing.cluster import Cluster, Script, SimulatedNode
from rove.testing.promises import broken_promises

SEEDS = range(50)
STEPS = 40
REST_S = 3000.0
"""Longer than pauses before reschedules and deadlines of roll-outs; shorter than what is over is kept."""
PATIENCE = HeartbeatPolicy(ttl_s=30.0)
KEEP = Thresholds(deployment_s=1e9)
"""Deployments are kept, since a failed one is the reason why copies are held back."""


class RacingLoop(SimulatedLoop):
    """Work given to threads is done on the spot and delivered a random moment later."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done: asyncio.Future[Any] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            self.call_later(self._rng.random() * 0.05, lambda error=error: done.done() or done.set_exception(error))
        else:
            self.call_later(self._rng.random() * 0.05, lambda: done.done() or done.set_result(result))
        return done


def race(seed: int, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=lambda: RacingLoop(random.Random(seed))) as runner:
        runner.run(story())


def a_random_node(rng: random.Random, name: str) -> Node:
    return a_node(
        name, cpu=rng.choice((1000, 2000, 4000)), memory=rng.choice((1024, 4096)), disk=1000,
        meta={"rack": f"r{rng.randint(0, 2)}"}, datacenter=rng.choice(("dc1", "dc1", "dc2")),
        min_dynamic_port=20_000, max_dynamic_port=20_020,
    )  # fmt: skip


def a_random_job(rng: random.Random, name: str) -> Job:
    kind = rng.choice(("service", "service", "service", "batch", "batch", "system", "sysbatch"))
    group: dict[str, Any] = {
        "count": rng.randint(0, 12), "cpu": rng.choice((50, 100, 300, 900)), "memory": rng.choice((32, 128, 512)),
    }  # fmt: skip
    if kind in ("system", "sysbatch"):
        group["count"] = 1
    if kind == "service":
        group["update"] = an_update(
            max_parallel=rng.choice((0, 1, 2, 5)), canary=rng.choice((0, 0, 0, 1)), auto_promote=True,
            auto_revert=rng.random() < 0.3, min_healthy_time=SECOND,
        )  # fmt: skip
    if rng.random() < 0.3:
        group["ports"] = ("http",)
    elif rng.random() < 0.15:
        group["static_ports"] = {"http": rng.choice((8080, 8081))}
    if rng.random() < 0.3 and kind in ("service", "batch"):
        group["spreads"] = (a_spread("${meta.rack}"),)
    constraints = (a_constraint("", "distinct_hosts", "true"),) if rng.random() < 0.15 else ()
    return a_job(
        name, type=kind, groups=(a_group(**group),), priority=rng.choice((20, 50, 80)), constraints=constraints,
        datacenters=rng.choice((("*",), ("dc1",), ("dc1", "dc2"))), create_index=0, modify_index=0, job_modify_index=0,
    )  # fmt: skip


class History:
    """A cluster, what may happen to it, and what did."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        nodes = [a_random_node(self.rng, f"n{number}") for number in range(self.rng.randint(2, 8))]
        self.cluster = Cluster(nodes, seed=seed, heartbeat=PATIENCE, thresholds=KEEP)
        self.cluster.behave(self.behave)
        self.is_calm = False
        self.log: list[str] = []
        self.count = 0
        self.newest = 0
        self.watched: Any = None
        self.broken: list[str] = []

    def behave(self, alloc: Allocation) -> Script:
        rng = self.rng
        batch = alloc.job is not None and alloc.job.type in (JobType.BATCH, JobType.SYSBATCH)
        script = Script(
            starts_after=rng.random(),
            stops_after=rng.random() * 3,
            completes_after=20.0 + rng.random() if batch else None,
        )
        if not self.is_calm and rng.random() < 0.1:
            return Script(starts_after=rng.random(), fails_after=rng.random() * 20)
        return script

    # -- what may happen

    async def job_comes(self) -> None:
        self.count += 1
        if self.count <= 8:
            await self.cluster.register(a_random_job(self.rng, f"job{self.count}"))

    async def job_changes(self) -> None:
        job = self.some_job()
        if job is None:
            return
        everywhere = job.type in (JobType.SYSTEM, JobType.SYSBATCH)
        count = job.task_groups[0].count if everywhere else self.rng.randint(0, 12)
        make = self.rng.choice((a_version, a_restarting_version))
        await self.cluster.register(make(job, count=count))

    async def job_stops(self) -> None:
        job = self.some_job()
        if job is not None and self.rng.random() < 0.4:
            await self.cluster.server.deregister_job("default", job.id, purge=self.rng.random() < 0.3)

    async def alloc_is_stopped(self) -> None:
        live = [a for a in self.cluster.server.store.snapshot().allocs() if not a.is_terminal]
        if live:
            await self.cluster.server.stop_alloc(self.rng.choice(live).id)

    async def node_comes(self) -> None:
        if len(self.alive()) < 12:
            self.count += 1
            await self.cluster.add_node(a_random_node(self.rng, f"late{len(self.cluster.nodes)}"))

    async def node_dies(self) -> None:
        if len(self.alive()) > 1:
            await self.rng.choice(self.alive()).die()

    async def nodes_are_cut_off(self) -> None:
        """For longer or shorter than the server's patience."""
        for node in self.rng.sample(self.alive(), min(2, len(self.alive()))):
            await node.hang_up()
            away_s = self.rng.choice((0.5, 5.0, 60.0))
            asyncio.get_running_loop().call_later(away_s, lambda node=node: self.come_back(node))

    def come_back(self, node: SimulatedNode) -> None:
        if not node.is_dead and node._session is None and self.watched is self.cluster.server:
            node._spawn(node.connect())

    async def node_drains(self) -> None:
        deadline = self.rng.choice((-1, 0, 30 * SECOND))
        await self.cluster.server.drain_node(self.rng.choice(self.known()).id, DrainSpec(deadline=deadline))

    async def node_is_open_again(self) -> None:
        node = self.rng.choice(self.known())
        if node.drain_strategy is not None:
            await self.cluster.server.drain_node(node.id, None, mark_eligible=True)
        else:
            await self.cluster.server.set_eligibility(node.id, self.rng.choice(list(Eligibility)))

    async def dead_node_is_purged(self) -> None:
        down = [node for node in self.known() if node.status is NodeStatus.DOWN]
        gone = [node for node in down if self.cluster.nodes[node.id].is_dead]
        if gone:
            await self.cluster.server.purge_node(self.rng.choice(gone).id)

    async def scheduler_is_set(self) -> None:
        on = self.rng.random() < 0.5
        preemption = PreemptionConfig(service_scheduler_enabled=on, batch_scheduler_enabled=on)
        algorithm = self.rng.choice(("binpack", "spread"))
        await self.cluster.server.set_scheduler_configuration(
            SchedulerConfiguration(scheduler_algorithm=algorithm, preemption_config=preemption)
        )

    async def server_restarts(self) -> None:
        if self.rng.random() < 0.5:
            self.watched = None
            await self.cluster.restart_server(self.rng.choice((0.0, 1.0, 20.0)))
            self.watch()

    async def time_passes(self) -> None:
        await asyncio.sleep(self.rng.choice((0.1, 2.0, 30.0, 300.0)))

    # -- looking

    def alive(self) -> list[SimulatedNode]:
        return [node for node in self.cluster.nodes.values() if not node.is_dead]

    def known(self) -> list[Node]:
        return list(self.cluster.server.store.snapshot().nodes())

    def some_job(self) -> Job | None:
        jobs = sorted(self.cluster.server.store.snapshot().jobs(), key=lambda job: job.id)
        return self.rng.choice(jobs) if jobs else None

    def watch(self) -> None:
        self.watched = self.cluster.server
        index = self.cluster.server.store.index
        if index < self.newest:
            self.broken.append(f"after the restart the index is {index}, before it was {self.newest}")
        self.newest = index
        self.cluster.server.store.on_commit(self.observe)

    def observe(self, committed: Committed) -> None:
        """After every commit. A listener that raises is only logged, so what is wrong is kept for the next step."""
        if committed.revision != self.newest + 1:
            self.broken.append(f"revision {committed.revision} follows {self.newest}")
        self.newest = committed.revision
        if committed.alloc_nodes:
            self.broken += broken_promises(committed.snapshot, is_settled=False)

    async def step(self) -> None:
        happening = self.rng.choice(
            (
                self.job_comes, self.job_comes, self.job_changes, self.job_changes, self.job_changes, self.job_stops,
                self.alloc_is_stopped, self.node_comes, self.node_dies, self.nodes_are_cut_off, self.node_drains,
                self.node_is_open_again, self.dead_node_is_purged, self.scheduler_is_set, self.server_restarts,
                self.time_passes, self.time_passes,
            )
        )  # fmt: skip
        self.log.append(happening.__name__)
        await happening()
        await asyncio.sleep(self.rng.choice((0.0, 0.01, 0.05, 1.0)))
        assert not self.broken, (self.seed, self.log, self.broken)

    async def come_to_rest(self) -> None:
        """Nothing more happens, nothing fails; all that is alive is connected."""
        self.is_calm = True
        self.log.append("rest")
        await asyncio.sleep(120)
        for node in self.alive():
            if node._session is None or node._session.closed.is_set():
                await node.connect()
        for node in self.known():
            if node.drain_strategy is not None:
                await self.cluster.server.drain_node(node.id, None, mark_eligible=True)
        await asyncio.sleep(REST_S)
        assert not self.broken, (self.seed, self.log, self.broken)

    def check_at_rest(self) -> None:
        snapshot = self.cluster.server.store.snapshot()
        told = (self.seed, self.log)
        assert broken_promises(snapshot) == [], told
        assert [e for e in snapshot.evaluations() if e.status is EvalStatus.PENDING and not e.wait_until] == [], told
        for job in snapshot.jobs():
            result = scheduler.schedule(
                an_evaluation(job), snapshot, now=self.cluster.clock.now(), rng=random.Random(1), new_id=lambda: "new"
            )
            plan = result.plan
            moves = (plan.placements, plan.stops, plan.in_place, plan.annotations, plan.deployment_updates)
            assert not any(moves), (told, job.id, plan)
        for node in self.alive():
            runs = {alloc_id for alloc_id, play in node._plays.items() if play._status is AllocStatus.RUNNING}
            owns = {a.id for a in snapshot.allocs_of_node(node.node.id) if a.client_status is AllocStatus.RUNNING}
            assert runs == owns, (told, node.node.id)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
def test_promises_hold_throughout_and_everything_comes_to_rest(seed: int) -> None:
    history = History(seed)

    async def story() -> None:
        async with history.cluster:
            history.watch()
            for _ in range(2):
                for _ in range(STEPS // 2):
                    await history.step()
                await history.come_to_rest()
                history.check_at_rest()
                history.is_calm = False

    race(seed, story)
