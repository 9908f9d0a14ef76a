"""A full disk, or anything else that makes the store refuse, ends no worker and leaves no evaluation behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rove.engine import Change
from rove.engine.memory import MemoryEngine
from rove.server.evaluations.loop import Evaluations
from rove.server.state import PutEvaluations, PutJob, PutNode, Store
from rove.simulate.virtual import SeededIds, SimulatedLoop
from rove.structs.evaluation import EvalStatus, Evaluation, Trigger
from rove.structs.node import SchedulerConfiguration
from rove.testing.builders import a_job, a_node, a_restarting_version, an_evaluation
from rove.testing.cluster import Cluster
from rove.testing.virtual_time import VirtualClock, virtually

OUTAGE_S = 90.0
FULL = OSError(28, "database or disk is full")


class PickyEngine(MemoryEngine):
    """Refuses the commits that `failure` has an error for."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Callable[[Sequence[Change]], Exception | None] = lambda changes: None
        self.refused = 0

    async def commit(self, changes: Sequence[Change], fence: int, after: int | None = None) -> int:
        if (error := self.failure(changes)) is not None:
            self.refused += 1
            await asyncio.sleep(0)  # after the commits before it, as every engine has it
            raise error
        return await super().commit(changes, fence, after)


def sets(changes: Sequence[Change], status: EvalStatus) -> bool:
    """True if a commit gives an evaluation this status."""
    rows = (change.value for change in changes if change.table == "evaluations" and change.value is not None)
    return any(status.value.encode() in row for row in rows)


def refuse(status: EvalStatus) -> Callable[[Sequence[Change]], Exception | None]:
    return lambda changes: FULL if sets(changes, status) else None


def evaluations(cluster: Cluster, job_id: str = "web") -> list[Evaluation]:
    return list(cluster.server.store.snapshot().evaluations_of_job("default", job_id))


def running(cluster: Cluster, job_id: str = "web") -> int:
    return len(cluster.allocs(job_id, running=True))


def placed(cluster: Cluster, job_id: str = "web") -> int:
    """Allocations that are wanted. Simulated nodes do not repeat a report that an outage has swallowed."""
    return sum(1 for alloc in cluster.allocs(job_id) if not alloc.is_server_terminal)


def all_over(cluster: Cluster, job_id: str = "web") -> bool:
    return all(evaluation.is_terminal for evaluation in evaluations(cluster, job_id))


@virtually
async def test_after_an_outage_everything_registered_before_it_is_placed_and_so_is_what_comes_later() -> None:
    async with Cluster(nodes=4) as cluster:
        names = [f"job-{number}" for number in range(12)]
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(pause_eval_broker=True))
        for name in names:
            for count in (1, 2, 3):
                await cluster.register(a_job(name, count=count, cpu=50))
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration())
        cluster.engine.fail_with = FULL
        await cluster.settle(OUTAGE_S)
        cluster.engine.fail_with = None
        await cluster.until(lambda: all(placed(cluster, name) == 3 for name in names), within_s=60)
        await cluster.until(lambda: all(all_over(cluster, name) for name in names), within_s=60)
        await cluster.register(a_job("after", count=1, cpu=50))
        await cluster.until(lambda: running(cluster, "after") == 1, within_s=10)


@virtually
async def test_deliveries_during_an_outage_do_not_count() -> None:
    async with Cluster() as cluster:
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(pause_eval_broker=True))
        await cluster.register(a_job(count=2))
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration())
        cluster.engine.fail_with = FULL
        await cluster.settle(600)
        assert [e.status for e in evaluations(cluster)] == [EvalStatus.PENDING]
        cluster.engine.fail_with = None
        await cluster.until(lambda: running(cluster) == 2, within_s=30)
        assert [e.status for e in evaluations(cluster)] == [EvalStatus.COMPLETE]


@virtually
async def test_cancellations_that_were_refused_are_stored_later_and_end_no_worker() -> None:
    engine = PickyEngine()
    async with Cluster(engine=engine, workers=1) as cluster:
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration(pause_eval_broker=True))
        for count in (1, 2, 3, 4):
            await cluster.register(a_job(count=count, cpu=50, type="batch"))
        engine.failure = refuse(EvalStatus.CANCELED)
        await cluster.server.set_scheduler_configuration(SchedulerConfiguration())
        await cluster.until(lambda: placed(cluster) == 4)
        await cluster.settle(OUTAGE_S)
        assert engine.refused
        assert [e.status for e in evaluations(cluster)].count(EvalStatus.PENDING) == 2
        await cluster.register(a_job("other", count=1, cpu=50, type="batch"))
        await cluster.until(lambda: placed(cluster, "other") == 1, within_s=10)
        engine.failure = lambda changes: None
        await cluster.until(lambda: all_over(cluster), within_s=30)
        assert [e.status for e in evaluations(cluster)].count(EvalStatus.CANCELED) == 2


@virtually
async def test_a_blocked_evaluation_that_a_newer_one_replaces_is_cancelled_once_the_store_takes_it() -> None:
    engine = PickyEngine()
    async with Cluster([a_node("n1", cpu=1000)], engine=engine) as cluster:
        await cluster.register(a_job(count=3, cpu=900))
        await cluster.until(lambda: any(e.status is EvalStatus.BLOCKED for e in evaluations(cluster)))
        first = next(e for e in evaluations(cluster) if e.status is EvalStatus.BLOCKED)
        engine.failure = refuse(EvalStatus.CANCELED)
        await cluster.register(a_restarting_version(a_job(count=4, cpu=900)))
        await cluster.settle(OUTAGE_S)
        assert engine.refused
        engine.failure = lambda changes: None
        await cluster.until(lambda: next(e for e in evaluations(cluster) if e.id == first.id).is_terminal, within_s=30)
        assert len([e for e in evaluations(cluster) if e.status is EvalStatus.BLOCKED]) == 1


@virtually
async def test_a_failure_for_good_that_was_not_stored_is_not_forgotten() -> None:
    engine = PickyEngine()
    async with Cluster(engine=engine) as cluster:

        def failure(changes: Sequence[Change]) -> Exception | None:
            if any(change.table == "blocks" for change in changes):
                return RuntimeError("a bug of ours")
            return FULL if sets(changes, EvalStatus.FAILED) else None

        engine.failure = failure
        await cluster.register(a_job(count=2))
        await cluster.settle(600)
        assert [e.status for e in evaluations(cluster)] == [EvalStatus.PENDING]
        engine.failure = lambda changes: None
        await cluster.until(lambda: running(cluster) == 2, within_s=60)
        assert all_over(cluster)


@virtually
async def test_what_never_works_is_marked_as_failed_and_followed_up() -> None:
    engine = PickyEngine()
    async with Cluster(engine=engine) as cluster:
        engine.failure = lambda changes: (
            RuntimeError("a bug of ours") if any(change.table == "blocks" for change in changes) else None
        )
        await cluster.register(a_job(count=2))
        await cluster.until(lambda: len(evaluations(cluster)) == 2)
        failed, follow_up = evaluations(cluster)
        assert (failed.status, failed.next_eval) == (EvalStatus.FAILED, follow_up.id)
        assert follow_up.triggered_by is Trigger.FAILED_FOLLOW_UP
        engine.failure = lambda changes: None
        await cluster.until(lambda: running(cluster) == 2)


@virtually
async def test_a_blocked_evaluation_waits_on_while_the_end_of_its_wait_is_not_stored() -> None:
    engine = PickyEngine()
    async with Cluster([a_node("n1", cpu=1000)], engine=engine) as cluster:
        await cluster.register(a_job(count=3, cpu=900))
        await cluster.until(lambda: any(e.status is EvalStatus.BLOCKED for e in evaluations(cluster)))
        waiting = next(e for e in evaluations(cluster) if e.status is EvalStatus.BLOCKED)
        engine.failure = refuse(EvalStatus.CANCELED)
        await cluster.register(a_job(count=1, cpu=900))
        await cluster.settle(OUTAGE_S)
        assert engine.refused
        assert waiting.id in cluster.server.evaluations.blocked
        engine.failure = lambda changes: None
        await cluster.until(lambda: all_over(cluster), within_s=60)
        assert len(cluster.server.evaluations.blocked) == 0


class HoldingLoop(SimulatedLoop):
    """Keeps back what was worked out on threads until it is told to hand it over."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[tuple[asyncio.Future[Any], asyncio.Future[Any]]] | None = []

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        if self._held is None:
            return done
        later: asyncio.Future[Any] = self.create_future()
        self._held.append((later, done))
        return later

    def hand_over(self) -> int:
        held, self._held = self._held or [], None
        for later, done in held:
            later.set_result(done.result())
        return len(held)


def test_a_plan_for_a_version_that_another_took_the_place_of_before_it_was_stored_is_made_anew() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HoldingLoop)
        engine, clock, ids = MemoryEngine(), VirtualClock(), SeededIds(0)
        store = Store(engine, clock, ids)
        await store.open((await engine.campaign("test")).token)
        scheduling = Evaluations(store, clock, ids, ThreadPoolExecutor(1), workers=1)
        store.on_commit(scheduling.observe)
        job = a_job(count=2)
        await store.commit(PutNode(node=a_node("n1")))
        await store.commit(PutJob(job=job))
        await store.commit(PutEvaluations(evaluations=(an_evaluation(job),)))
        engine.pause()
        newer = store.submit(PutJob(job=a_job(count=5)))
        scheduling.start()
        await asyncio.sleep(1)
        engine.fail_with = FULL
        engine.resume()
        with pytest.raises(OSError, match="full"):
            await newer
        engine.fail_with = None
        await store.commit(PutJob(job=a_job(count=1)))  # also the second version
        assert loop.hand_over() == 1, "nothing was planned with the version that was not stored"
        await asyncio.sleep(60)
        assert all(evaluation.is_terminal for evaluation in store.snapshot().evaluations())
        assert [(alloc.name, alloc.job_version) for alloc in store.snapshot().allocs()] == [("web.api[0]", 1)]
        await scheduling.stop()
        await store.close()

    with asyncio.Runner(loop_factory=HoldingLoop) as runner:
        runner.run(story())
