"""Workers that carry evaluations out, and the applier that stores their plans.

A worker takes an evaluation from the broker, schedules it on a snapshot in a thread, has the plan checked
against the newest state, and stores what still holds together with what became of the evaluation: one
transaction. Between the check and the change of the head there is no await, so that plans are applied
one after another without a lock.

A store that refuses, as on a full disk, ends nothing here: what it did not take is tried again until it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from concurrent.futures import Executor

from rove.engine import FencedError
from rove.ports import Clock, Ids
from rove.server import scheduler
from rove.server.state import ApplyPlan, Committed, PutEvaluations, Snapshot, Store
from rove.structs.evaluation import EvalStatus, Evaluation, Trigger, evaluation_of
from rove.structs.plan import Plan, SchedulerResult

from . import settle
from .core import DELIVERIES_MAX, POSTPONED_S, Blocked, Broker, Delivery

log = logging.getLogger(__name__)

CONFLICTED_RETRY_S = 60.0
"""How often evaluations that were blocked by plan conflicts run again."""
REFUSED_PAUSE_S = 1.0
"""How long a worker rests after the store refused: the next evaluation would fare no better."""
NOT_STORED = (OSError, FencedError)


class Evaluations:
    """The loop around `Broker`, `Blocked` and the scheduler. Runs on the leader only.

    workers: how many evaluations are scheduled at a time, on threads of `executor`.
    """

    def __init__(self, store: Store, clock: Clock, ids: Ids, executor: Executor, *, workers: int = 2) -> None:
        self.broker = Broker()
        self.blocked = Blocked()
        self._store = store
        self._clock = clock
        self._ids = ids
        self._executor = executor
        self._workers = workers
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._superseded: set[str] = set()
        """Evaluations that nobody works on any more, and that are still open in the store."""
        self._superseded_wake = asyncio.Event()
        self._run_again: dict[str, Evaluation] = {}
        self._jitter = random.Random(ids.random_bytes(8))
        self.cut_plans = 0
        """Plans of which a part no longer held when it was their turn."""

    def start(self) -> None:
        """Take over what is pending or blocked in the store, and begin."""
        for evaluation in self._store.snapshot().evaluations():
            self._take_in(evaluation)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()) for _ in range(self._workers)]
        self._tasks += [loop.create_task(self._retry_conflicted()), loop.create_task(self._cancel_superseded())]

    async def stop(self) -> None:
        """End the workers; evaluations in flight stay pending in the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._superseded.clear()
        self._run_again.clear()
        self.broker.clear()
        self.blocked.clear()

    def observe(self, committed: Committed) -> None:
        """Learn of a stored change: new evaluations, and room that appeared."""
        if not self._tasks:
            return
        for evaluation in committed.evaluations:
            self._take_in(evaluation)
        for node_class in _classes_with_room(committed):
            for evaluation in self.blocked.room(node_class, committed.revision):
                self._enqueue(evaluation)
        configuration = committed.snapshot.scheduler_configuration()
        if configuration.modify_index == committed.revision:
            self._wake.set()  # the queue may go on
            for evaluation in self.blocked.any_change(committed.revision):
                self._enqueue(evaluation)

    def _take_in(self, evaluation: Evaluation) -> None:
        match evaluation.status:
            case EvalStatus.PENDING:
                self._enqueue(evaluation)
            case EvalStatus.BLOCKED:
                self._block(evaluation)
            case _:
                self.broker.remove([evaluation.id])
                self.blocked.remove([evaluation.id])
                self._superseded.discard(evaluation.id)

    def _enqueue(self, evaluation: Evaluation) -> None:
        if self.broker.is_in_flight(evaluation.id):
            self._run_again[evaluation.id] = evaluation
            return
        self.broker.enqueue(evaluation, self._clock.now())
        self._wake.set()

    def _block(self, evaluation: Evaluation) -> None:
        replaced, missed = self.blocked.block(evaluation)
        if replaced is not None:
            self._cancel([replaced])
        if missed:
            self._enqueue(evaluation)

    async def _work(self) -> None:
        while True:
            delivery = await self._take()
            try:
                await self._deal_with(delivery)
            except Exception as error:  # also our own bugs: a worker must not end
                text = "the outcome of evaluation %s was not stored, trying again: %s"
                log.error(text, delivery.evaluation.id, error, exc_info=not isinstance(error, NOT_STORED))
                await self._clock.sleep(REFUSED_PAUSE_S)
                self.broker.postpone(delivery, self._clock.now())
                self._wake.set()

    async def _deal_with(self, delivery: Delivery) -> None:
        """Carry out what was delivered, or mark it as failed. Raises `NOT_STORED`: nothing came of it."""
        try:
            await self._carry_out(delivery.evaluation)
        except NOT_STORED:
            raise
        except Exception:
            log.exception("evaluation %s failed", delivery.evaluation.id)
            if self.broker.nack(delivery, self._clock.now()):
                self._wake.set()
                return
            await self._mark_failed(delivery.evaluation)
        self._finish(delivery)

    @property
    def is_paused(self) -> bool:
        """True while the scheduler configuration says that no evaluation is to be worked on."""
        return self._store.head().scheduler_configuration().pause_eval_broker

    async def _take(self) -> Delivery:
        while True:
            now = self._clock.now()
            delivery = None if self.is_paused else self.broker.dequeue(now)
            if delivery is not None:
                if self._is_wanted(delivery.evaluation):
                    return delivery
                self._finish(delivery)
                continue
            self._wake.clear()
            due = None if self.is_paused else self.broker.next_due()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - now) + 0.001):
                    await self._wake.wait()

    def _is_wanted(self, evaluation: Evaluation) -> bool:
        """False if it ended or was deleted while it was in the queue: durably, since the head may go back."""
        return _is_open(self._store.snapshot(), evaluation.id)

    def _finish(self, delivery: Delivery) -> None:
        stale = self.broker.ack(delivery)
        self._wake.set()
        again = self._run_again.pop(delivery.evaluation.id, None)
        if again is not None:
            self._enqueue(again)
        self._cancel(stale)

    async def _mark_failed(self, evaluation: Evaluation) -> None:
        """Workers failed on it too often: store that, and a follow-up."""
        updates = settle.undeliverable(
            evaluation,
            deliveries=DELIVERIES_MAX,
            now=self._clock.now(),
            jitter=self._jitter.random(),
            new_id=self._ids.uuid,
        )
        await self._store.commit(PutEvaluations(evaluations=tuple(updates)))

    def _cancel(self, evaluations: Sequence[Evaluation]) -> None:
        """Nobody works on these any more; their end is stored soon."""
        if evaluations:
            self._superseded.update(evaluation.id for evaluation in evaluations)
            self._superseded_wake.set()

    async def _cancel_superseded(self) -> None:
        """Store the end of evaluations that newer ones made needless, and try again until it is stored."""
        while True:
            await self._superseded_wake.wait()
            self._superseded_wake.clear()
            durable, head, now = self._store.snapshot(), self._store.head(), self._clock.now()
            self._superseded = {name for name in self._superseded if _is_open(durable, name)}
            known = [found for name in sorted(self._superseded) if (found := head.evaluation(name)) is not None]
            if not known:
                continue
            cancelled = tuple(settle.superseded(evaluation, now) for evaluation in known)
            try:
                await self._store.commit(PutEvaluations(evaluations=cancelled))
            except Exception as error:  # also our own bugs: this loop must not end
                text = "%d superseded evaluations were not cancelled, trying again: %s"
                log.error(text, len(known), error, exc_info=not isinstance(error, NOT_STORED))
                # Not in step with others that try again: commits under way fail together.
                await self._clock.sleep(POSTPONED_S * (1 + self._jitter.random()))
                self._superseded_wake.set()

    async def _carry_out(self, evaluation: Evaluation) -> None:
        """Schedule and store, again while plans are only partly still right.

        After a plan was overtaken by another, nobody else's is stored until the next one is: two workers that
        want the same nodes would else overtake each other again and again.
        """
        attempts: int | None = await self._attempt(evaluation, 0)
        while attempts is not None:
            async with self._turn:
                attempts = await self._attempt(evaluation, attempts, alone=True)

    async def _attempt(self, evaluation: Evaluation, attempts: int, *, alone: bool = False) -> int | None:
        """One plan. None: the evaluation is done with; else, how many plans in a row brought nothing."""
        view, setbacks = self._store.head(), self._store.setbacks
        result = await self._schedule(evaluation, view)
        if not alone:
            async with self._turn:
                pass  # somebody plans alone: wait until that is stored
        if self._store.setbacks != setbacks:
            raise OSError("it was planned on what was not stored in the end")
        plan, whole = scheduler.verify(result.plan, self._store.head())
        if whole:
            await self._store_outcome(evaluation, plan, result, view.index)
            return None
        self.cut_plans += 1
        attempts = 1 if not plan.is_empty else attempts + 1
        if attempts >= settle.attempts_of(evaluation.type):
            await self._give_up(evaluation, plan, result, attempts, view.index)
            return None
        if not plan.is_empty:
            await self._store.commit(ApplyPlan(plan=plan, evaluations=self._victims(plan)))
        return attempts

    async def _schedule(self, evaluation: Evaluation, view: Snapshot) -> SchedulerResult:
        now, seed = self._clock.now(), evaluation.id

        def run() -> SchedulerResult:
            return scheduler.schedule(evaluation, view, now=now, rng=random.Random(seed), new_id=self._ids.uuid)

        return await asyncio.get_running_loop().run_in_executor(self._executor, run)

    async def _store_outcome(
        self, evaluation: Evaluation, plan: Plan, result: SchedulerResult, snapshot_index: int
    ) -> None:
        now = self._clock.now()
        updates = settle.settled(evaluation, result, snapshot_index=snapshot_index, now=now, new_id=self._ids.uuid)
        if not result.failed:
            needless = self.blocked.of_job(evaluation.job_key)  # forgotten once that is stored
            if needless is not None and needless.id != evaluation.id:
                updates.append(settle.superseded(needless, now))
        updates += self._victims(plan)
        await self._store_plan(plan, updates)

    async def _store_plan(self, plan: Plan, evaluations: Sequence[Evaluation]) -> None:
        """Store a plan and what becomes of evaluations. One that only changes what runs may be stored in pieces."""
        *first, last = settle.pieces(plan)
        for piece in first:
            await self._store.commit(ApplyPlan(plan=piece))
        if last.is_empty:
            await self._store.commit(PutEvaluations(evaluations=tuple(evaluations)))
        else:
            await self._store.commit(ApplyPlan(plan=last, evaluations=tuple(evaluations)))

    async def _give_up(
        self, evaluation: Evaluation, plan: Plan, result: SchedulerResult, attempts: int, snapshot_index: int
    ) -> None:
        now = self._clock.now()
        updates = settle.gave_up(
            evaluation,
            result,
            attempts=attempts,
            snapshot_index=snapshot_index,
            now=now,
            new_id=self._ids.uuid,
        )
        updates += self._victims(plan)
        await self._store_plan(plan, updates)

    def _victims(self, plan: Plan) -> tuple[Evaluation, ...]:
        """One evaluation for each job that loses allocations to the plan."""
        pushed_out = [stop.alloc_id for stop in plan.stops if stop.preempted_by_index is not None]
        if not pushed_out:
            return ()
        head, now = self._store.head(), self._clock.now()
        evaluations: dict[tuple[str, str], Evaluation] = {}
        for alloc_id in pushed_out:
            allocation = head.alloc(alloc_id)
            job = None if allocation is None else head.job(*allocation.job_key)
            if job is not None and job.key not in evaluations:
                evaluations[job.key] = evaluation_of(
                    job,
                    Trigger.PREEMPTION,
                    evaluation_id=self._ids.uuid(),
                    now=now,
                    previous_eval=plan.eval_id,
                    job_modify_index=0,
                )
        return tuple(evaluations.values())

    async def _retry_conflicted(self) -> None:
        while True:
            await self._clock.sleep(CONFLICTED_RETRY_S)
            for evaluation in self.blocked.conflicted():
                self._enqueue(evaluation)


def _is_open(snapshot: Snapshot, evaluation_id: str) -> bool:
    stored = snapshot.evaluation(evaluation_id)
    return stored is not None and not stored.is_terminal


def _classes_with_room(committed: Committed) -> set[str]:
    """Classes of nodes that became ready, changed, or lost an allocation."""
    classes = {node.computed_class for node in committed.nodes if node.is_ready}
    for node_id in committed.ended_nodes():
        node = committed.snapshot.node(node_id)
        if node is not None:
            classes.add(node.computed_class)
    return classes
