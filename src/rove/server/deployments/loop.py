"""Watches every running deployment and carries out what `core` decides. Runs on the leader only.

One loop for all of them: commits mark deployments as changed, a heap holds their deadlines, and whatever has
come together when the loop gets its turn is decided on the newest state and stored as one transaction.
Between the decision and the change of the head there is no await, so a decision is never out of date.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Iterable

import msgspec

from rove.ports import Clock, Ids
from rove.server.state import (
    Batch,
    Committed,
    PromoteDeployment,
    PutDeployment,
    PutEvaluations,
    PutJob,
    SetTransitions,
    Snapshot,
    Store,
    Transaction,
    UpdateDeployments,
)
from rove.structs.alloc import Allocation, DesiredTransition
from rove.structs.deployment import Deployment, DeploymentStatus
from rove.structs.evaluation import Evaluation
from rove.structs.plan import DeploymentUpdate

from . import core
from .asking import Asking
from .gates import Question, with_verdict

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""How long after a decision could not be stored it is made again."""
LOOK_AGAIN_S = 60.0
"""The longest wait, so that a clock that was set forward is noticed."""
RESCHEDULE = DesiredTransition(reschedule=True)

Progress = tuple[tuple[str, int, int, bool], ...]


class _Watched:
    """What the loop remembers of a running deployment.

    evaluated: the progress that the scheduler was last told of, None for none. suspects: ids of allocations
    that failed or were found unhealthy.
    """

    __slots__ = ("evaluated", "job_key", "suspects", "wake_at")

    def __init__(self, deployment: Deployment, evaluated: Progress | None) -> None:
        self.job_key = deployment.job_key
        self.evaluated = evaluated
        self.suspects: set[str] = set()
        self.wake_at: float | None = None


class Deployments:
    """The loop."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, asking: Asking) -> None:
        self._store = store
        self._asking = asking
        self._asked: dict[tuple[str, str, str], asyncio.Task[None]] = {}
        self._clock = clock
        self._ids = ids
        self._watched: dict[str, _Watched] = {}
        self._jobs: dict[tuple[str, str], int] = {}
        self._changed: set[str] = set()
        self._timers: list[tuple[float, str]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take over the deployments that are running, and begin."""
        snapshot = self._store.snapshot()
        for deployment in snapshot.deployments():
            if deployment.is_active:
                watched = self._watch(deployment, None)
                troubled = filter(core.is_in_trouble, snapshot.allocs_of_deployment(deployment.id))
                watched.suspects.update(alloc.id for alloc in troubled)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End. What was decided and not stored is decided again by the next leader."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        self._watched.clear()
        self._jobs.clear()
        self._changed.clear()
        self._timers.clear()

    def observe(self, committed: Committed) -> None:
        """Learn of a stored change: progress of deployments, and allocations that failed."""
        if self._task is None:
            return
        for deployment in committed.deployments:
            if not deployment.is_active:
                self._forget(deployment.id)
            elif deployment.id in self._watched:
                self._mark(deployment.id)
            else:
                self._watch(deployment, progress_of(deployment))
        if self._jobs and committed.changed_allocs:
            self._note_allocs(committed)

    def _note_allocs(self, committed: Committed) -> None:
        """Allocations matter by themselves if they are in trouble, or are canaries that may be promoted."""
        for block, position in committed.changed():
            if (block.placement.namespace, block.placement.job_id) not in self._jobs:
                continue
            alloc = committed.snapshot.alloc(block.id_of(position))
            watched = self._watched.get(alloc.deployment_id) if alloc is not None else None
            if alloc is None or watched is None:
                continue
            if core.is_in_trouble(alloc):
                watched.suspects.add(alloc.id)
                self._mark(alloc.deployment_id)
            elif alloc.is_canary:
                self._mark(alloc.deployment_id)

    def _watch(self, deployment: Deployment, evaluated: Progress | None) -> _Watched:
        watched = self._watched[deployment.id] = _Watched(deployment, evaluated)
        self._jobs[deployment.job_key] = self._jobs.get(deployment.job_key, 0) + 1
        self._mark(deployment.id)
        return watched

    def _forget(self, deployment_id: str) -> None:
        watched = self._watched.pop(deployment_id, None)
        self._changed.discard(deployment_id)
        if watched is None:
            return
        left = self._jobs[watched.job_key] - 1
        if left:
            self._jobs[watched.job_key] = left
        else:
            del self._jobs[watched.job_key]

    def _mark(self, deployment_id: str) -> None:
        self._changed.add(deployment_id)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            changed = await self._take()
            try:
                await self._advance(changed)
            except Exception:
                log.exception("%d deployments could not be moved on; trying again in %g s", len(changed), RETRY_S)
                await self._clock.sleep(RETRY_S)
                self._changed.update(name for name in changed if name in self._watched)

    async def _take(self) -> list[str]:
        """Wait for deployments that changed or whose time has come."""
        while True:
            now = self._clock.now()
            while self._timers and self._timers[0][0] <= now:
                at, deployment_id = heapq.heappop(self._timers)
                watched = self._watched.get(deployment_id)
                if watched is not None and watched.wake_at == at:
                    watched.wake_at = None
                    self._changed.add(deployment_id)
            if self._changed:
                changed, self._changed = sorted(self._changed), set()
                return changed
            self._wake.clear()
            wait_s = LOOK_AGAIN_S if not self._timers else min(self._timers[0][0] - now + 0.001, LOOK_AGAIN_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _advance(self, changed: Iterable[str]) -> None:
        head, now = self._store.head(), self._clock.now()
        parts: list[Transaction] = []
        told: dict[str, Progress] = {}
        for deployment_id in changed:
            try:
                parts += self._moved_on(head, deployment_id, now, told)
            except Exception:
                log.exception("deployment %s could not be judged", deployment_id)
        if not parts:
            return
        await self._store.commit(Batch(parts=tuple(parts)))
        for deployment_id, progress in told.items():
            if (watched := self._watched.get(deployment_id)) is not None:
                watched.evaluated = progress

    def _moved_on(self, head: Snapshot, deployment_id: str, now: float, told: dict[str, Progress]) -> list[Transaction]:
        """What to store for one deployment."""
        watched, deployment = self._watched.get(deployment_id), head.deployment(deployment_id)
        if watched is None or deployment is None or not deployment.is_active:
            return []
        job = head.job(*deployment.job_key)
        allocs = self._of_interest(head, deployment, watched)
        stable = core.newest_stable(head.job_versions(*deployment.job_key))
        decision = core.decide(deployment, job, allocs, stable, now)
        self._set_timer(deployment_id, watched, decision.wake_at)
        watched.suspects = {alloc.id for alloc in allocs if core.is_in_trouble(alloc)} & watched.suspects
        for question in decision.ask:
            self._ask(question, [alloc for alloc in allocs if alloc.is_canary])
        progress = progress_of(deployment)
        if job is None or (decision.is_empty and watched.evaluated == progress):
            return []
        told[deployment_id] = progress
        if decision.status is not None:
            log.info("deployment %s of job %s failed: %s", deployment.id, deployment.job_id, decision.description)
        return carried_out(head, deployment, decision, core.evaluation_for(deployment, job, self._ids.uuid(), now))

    def _ask(self, question: Question, allocs: list[Allocation]) -> None:
        """Put a gate's question, unless its answer is awaited already."""
        key = (question.deployment_id, question.group, question.gate.name)
        if key in self._asked:
            return
        canaries = [alloc for alloc in allocs if alloc.task_group == question.group and not alloc.is_terminal]
        task = asyncio.get_running_loop().create_task(self._hear(question, canaries))
        self._asked[key] = task
        task.add_done_callback(lambda _: self._heard(key, task))

    def _heard(self, key: tuple[str, str, str], task: asyncio.Task[None]) -> None:
        if self._asked.get(key) is task:
            del self._asked[key]

    async def _hear(self, question: Question, canaries: list[Allocation]) -> None:
        """Wait for a gate's answer and store it; the commit then marks the deployment."""
        try:
            verdict = await self._asking.ask(question.gate, canaries)
            deployment = self._store.head().deployment(question.deployment_id)
            if deployment is None or question.group not in core.unpromoted(deployment):
                return
            if deployment.status is DeploymentStatus.RUNNING:
                heard = with_verdict(deployment, question.group, question.gate, verdict, self._clock.now())
                await self._store.commit(PutDeployment(deployment=heard))
        except Exception:
            log.exception("gate %s of deployment %s could not be heard", question.gate.name, question.deployment_id)
            await self._clock.sleep(RETRY_S)
            self._asked.pop((question.deployment_id, question.group, question.gate.name), None)
            if question.deployment_id in self._watched:
                self._mark(question.deployment_id)

    def _of_interest(self, head: Snapshot, deployment: Deployment, watched: _Watched) -> list[Allocation]:
        wanted = set(watched.suspects)
        for group in core.unpromoted(deployment).values():
            wanted.update(group.placed_canaries)
        found = (head.alloc(alloc_id) for alloc_id in sorted(wanted))
        return [alloc for alloc in found if alloc is not None]

    def _set_timer(self, deployment_id: str, watched: _Watched, wake_at: float | None) -> None:
        if wake_at is not None and watched.wake_at != wake_at:
            heapq.heappush(self._timers, (wake_at, deployment_id))
        watched.wake_at = wake_at


def progress_of(deployment: Deployment) -> Progress:
    """What the scheduler goes by: a change of it makes an evaluation due."""
    return tuple(
        (name, group.healthy_allocs, group.unhealthy_allocs, group.promoted)
        for name, group in deployment.task_groups.items()
    )


def carried_out(
    head: Snapshot, deployment: Deployment, decision: core.Decision, evaluation: Evaluation
) -> list[Transaction]:
    """The transactions that carry a decision out, the evaluation last."""
    parts: list[Transaction] = []
    if decision.status is not None:
        update = DeploymentUpdate(deployment_id=deployment.id, status=decision.status, description=decision.description)
        parts.append(UpdateDeployments(updates=(update,)))
    if decision.reschedule:
        parts.append(SetTransitions(transitions=dict.fromkeys(decision.reschedule, RESCHEDULE)))
    if decision.promote:
        parts += promoted(deployment, decision.promote)
    if decision.revert is not None:
        submission = head.submission(*deployment.job_key, decision.reverted_version or 0)
        parts.append(PutJob(job=decision.revert, submission=submission, evaluation=evaluation))
    else:
        parts.append(PutEvaluations(evaluations=(evaluation,)))
    return parts


def promoted(deployment: Deployment, groups: tuple[str, ...]) -> list[Transaction]:
    """The transactions that promote groups and say so."""
    rest = {name: group for name, group in deployment.task_groups.items() if name not in groups}
    description = core.description_of(msgspec.structs.replace(deployment, task_groups=rest))
    if deployment.status is not DeploymentStatus.RUNNING:
        description = deployment.status_description
    update = DeploymentUpdate(deployment_id=deployment.id, status=deployment.status, description=description)
    return [
        PromoteDeployment(deployment_id=deployment.id, groups=groups),
        UpdateDeployments(updates=(update,)),
    ]
