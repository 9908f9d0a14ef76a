"""The verbs about jobs on the store: each checks against the head and commits one transaction."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from concurrent.futures import Executor
from typing import Any, cast

import msgspec

from rove.errors import BadRequestError, NotFoundError
from rove.ports import Clock, Ids
from rove.server import scheduler
from rove.server.state import (
    Batch,
    PutEvaluations,
    PutJob,
    PutScalingEvent,
    SetJobStability,
    SetTransitions,
    StopJob,
    Store,
)
from rove.server.state.jobs import spec_changed
from rove.server.state.snapshot import Snapshot
from rove.structs.alloc import AllocStatus, DesiredTransition
from rove.structs.base import unix_ns
from rove.structs.evaluation import Evaluation, Trigger, evaluation_of
from rove.structs.job import Job, JobSubmission, ScalingEvent
from rove.structs.plan import Plan, SchedulerResult

from . import core


class JobRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a write about a job. eval_id is empty if nothing has to be scheduled."""

    eval_id: str = ""
    eval_create_index: int = 0
    job_modify_index: int = 0
    index: int = 0
    warnings: str = ""


class JobDispatched(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a dispatch."""

    dispatched_job_id: str
    eval_id: str = ""
    eval_create_index: int = 0
    job_create_index: int = 0
    index: int = 0


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A dry run: what registering `job` would do to the state at `index`."""

    job: Job
    current: Job | None
    result: SchedulerResult
    index: int


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """What stands against one more copy of a group on a node; no reasons: it would fit."""

    node_id: str
    node_name: str
    task_group: str
    reasons: tuple[str, ...] = ()


class Jobs:
    """Verbs about jobs."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, executor: Executor) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._executor = executor

    async def register(
        self,
        job: Job,
        *,
        submission: JobSubmission | None = None,
        enforce_index: bool = False,
        modify_index: int = 0,
        preserve_counts: bool = False,
        preserve_resources: bool = False,
        eval_priority: int = 0,
        trigger: Trigger = Trigger.JOB_REGISTER,
    ) -> JobRegistered:
        """Store a job in canonical form, with an evaluation unless it is a parent of others.

        A job with `stop` set stays stopped, or is stopped.
        """
        head = self._store.head()
        core.check_open(head.scheduler_configuration())
        current = head.job(job.namespace, job.id)
        if enforce_index:
            core.check_index(current, modify_index)
        self._check_places(head, job)
        job = core.keep_from(current, job, counts=preserve_counts, resources=preserve_resources)
        job = msgspec.structs.replace(job, submit_time=unix_ns(self._clock.now()))
        evaluation = self._evaluation(job, trigger, eval_priority) if core.needs_evaluation(job) else None
        index = await self._store.commit(PutJob(job=job, submission=submission, evaluation=evaluation))
        warnings = core.oversubscription_warnings(job, head.scheduler_configuration())
        return msgspec.structs.replace(self._registered(job.key, index, evaluation), warnings="\n".join(warnings))

    async def deregister(
        self,
        namespace: str,
        job_id: str,
        *,
        purge: bool = False,
        eval_priority: int = 0,
        no_shutdown_delay: bool = False,
    ) -> JobRegistered:
        """Stop a job, or with `purge` forget it as well."""
        job = self._store.head().job(namespace, job_id)
        if job is None:
            raise NotFoundError(
                "job.unknown", "job not found", f'there is no job "{job_id}" in namespace "{namespace}"'
            )
        evaluation = (
            self._evaluation(job, Trigger.JOB_DEREGISTER, eval_priority) if core.needs_evaluation(job) else None
        )
        index = await self._store.commit(
            StopJob(
                namespace=namespace,
                job_id=job_id,
                purge=purge,
                evaluation=evaluation,
                no_shutdown_delay=no_shutdown_delay,
            )
        )
        return self._registered(job.key, index, evaluation)

    async def evaluate(self, namespace: str, job_id: str, *, force_reschedule: bool = False) -> JobRegistered:
        """Look at a job again. force_reschedule: replace failed allocations now, whatever their policy says."""
        head = self._store.head()
        job = self._existing(head, namespace, job_id)
        if not core.needs_evaluation(job):
            kind = "periodic" if job.is_periodic else "parameterized"
            raise BadRequestError(
                "job.not_evaluable", f"a {kind} job runs nothing itself, so there is nothing to evaluate", status=500
            )
        evaluation = self._evaluation(job, Trigger.JOB_REGISTER)
        transitions = {}
        if force_reschedule:
            wish = DesiredTransition(force_reschedule=True)
            transitions = {
                allocation.id: wish
                for allocation in head.allocs_of_job(namespace, job_id)
                if allocation.client_status is AllocStatus.FAILED and not allocation.next_allocation
            }
        index = await self._store.commit(SetTransitions(transitions=transitions, evaluations=(evaluation,)))
        return self._registered(job.key, index, evaluation)

    async def plan(self, job: Job) -> JobPlan:
        """What registering `job` would do. Nothing is stored."""
        view = self._store.snapshot()
        current = view.job(job.namespace, job.id)
        self._check_places(view, job)
        planned = self._as_registered(job, current, view.index)
        if not core.needs_evaluation(planned):
            return JobPlan(
                job=planned, current=current, result=SchedulerResult(plan=Plan(eval_id="")), index=view.index
            )
        evaluation = msgspec.structs.replace(self._evaluation(planned, Trigger.JOB_REGISTER), annotate_plan=True)
        what_if = cast(scheduler.View, WhatIf(view, planned))
        now, seed = self._clock.now(), planned.id

        def run() -> SchedulerResult:
            return scheduler.schedule(evaluation, what_if, now=now, rng=random.Random(seed), new_id=self._ids.uuid)

        result = await asyncio.get_running_loop().run_in_executor(self._executor, run)
        return JobPlan(job=planned, current=current, result=result, index=view.index)

    async def why_not(self, planned: JobPlan, node: str) -> list[WhyNot]:
        """What stands against one more copy of each group on a node (id, its beginning, or name), after a dry run.

        node: "all" for every node, the nearest miss first. Raises if there is no such node.
        """
        job, plan = planned.job, planned.result.plan
        view = self._store.snapshot()

        def run() -> list[WhyNot]:
            return [
                WhyNot(
                    node_id=verdict.node_id,
                    node_name=verdict.node_name,
                    task_group=group.name,
                    reasons=tuple(obstacle.text for obstacle in verdict.obstacles),
                )
                for group in job.task_groups
                for verdict in scheduler.explain(job, group.name, view, None if node == "all" else node, plan)
            ]

        found = await asyncio.get_running_loop().run_in_executor(self._executor, run)
        if not found and node != "all":
            raise NotFoundError(
                "node.unknown", f'there is no node "{node}"', fix="name a node of: rove node status, or say: all"
            )
        return found

    async def why(self, namespace: str, job_id: str) -> str:
        """A paragraph: what of the job's count is met, and what the rest waits for."""
        view = self._store.snapshot()
        job = self._existing(view, namespace, job_id)
        newest = core.newest_outcome(view.evaluations_of_job(namespace, job_id))
        failed = {} if newest is None else newest.failed_tg_allocs
        now = self._clock.now()
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: scheduler.why(job, view, failed, now)
        )

    def _as_registered(self, job: Job, current: Job | None, index: int) -> Job:
        if current is not None and not spec_changed(current, job):
            return current
        version = 0 if current is None else current.version + 1
        return msgspec.structs.replace(job, version=version, job_modify_index=index + 1, modify_index=index + 1)

    async def revert(
        self, namespace: str, job_id: str, version: int, *, enforce_prior_version: int | None = None
    ) -> JobRegistered:
        """Register an older version as a new one."""
        head = self._store.head()
        current, target = head.job(namespace, job_id), head.job_version(namespace, job_id, version)
        job = core.version_to_revert_to(current, target, version, enforce_prior_version)
        return await self.register(job, submission=head.submission(namespace, job_id, version))

    async def set_stability(self, namespace: str, job_id: str, version: int, stable: bool) -> int:
        """Say whether a version is known to work."""
        head = self._store.head()
        self._existing(head, namespace, job_id)
        if head.job_version(namespace, job_id, version) is None:
            raise NotFoundError("job.unknown_version", f'job "{job_id}" has no version {version}')
        return await self._store.commit(
            SetJobStability(namespace=namespace, job_id=job_id, version=version, stable=stable)
        )

    async def scale(
        self,
        namespace: str,
        job_id: str,
        group: str,
        count: int | None,
        *,
        message: str = "",
        error: bool = False,
        meta: dict[str, Any] | None = None,
        enforce_index: bool = False,
        modify_index: int = 0,
    ) -> JobRegistered:
        """Change a group's count, or (count None) only note an event."""
        head = self._store.head()
        job = self._existing(head, namespace, job_id)
        if enforce_index:
            core.check_index(job, modify_index)
        now = self._clock.now()
        previous = job.group(group)
        event = ScalingEvent(
            time=unix_ns(now),
            count=count,
            previous_count=previous.count if previous else 0,
            message=message,
            error=error,
            meta=meta or {},
        )
        if count is None:
            if previous is None:
                core.with_count(job, group, 0)
            index = await self._store.commit(
                PutScalingEvent(namespace=namespace, job_id=job_id, group=group, event=event)
            )
            return self._registered(job.key, index, None)
        if error:
            raise BadRequestError("job.scale", "an event that reports an error cannot change the count")
        latest = head.latest_deployment(namespace, job_id)
        if latest is not None and latest.is_active:
            raise BadRequestError(
                "job.deploying",
                "job scaling blocked due to active deployment",
                f"deployment {latest.id[:8]} is {latest.status}",
            )
        core.check_open(head.scheduler_configuration())
        scaled = core.with_count(job, group, count)
        if job.stop:
            raise BadRequestError("job.stopped", f'job "{job_id}" is stopped', fix="register it again to start it")
        scaled = msgspec.structs.replace(scaled, submit_time=unix_ns(now))
        evaluation = self._evaluation(scaled, Trigger.JOB_SCALING) if core.needs_evaluation(scaled) else None
        if evaluation is not None:
            event = msgspec.structs.replace(event, eval_id=evaluation.id)
        index = await self._store.commit(
            Batch(
                parts=(
                    PutJob(
                        job=scaled,
                        evaluation=evaluation,
                        submission=head.submission(namespace, job_id, job.version),
                    ),
                    PutScalingEvent(namespace=namespace, job_id=job_id, group=group, event=event),
                )
            )
        )
        return self._registered(job.key, index, evaluation)

    async def dispatch(
        self,
        namespace: str,
        job_id: str,
        *,
        payload: bytes = b"",
        meta: dict[str, str] | None = None,
        id_prefix: str = "",
        idempotency_token: str = "",
        priority: int = 0,
    ) -> JobDispatched:
        """Start a child of a parameterized job. The same idempotency token gives the same child again."""
        head = self._store.head()
        core.check_open(head.scheduler_configuration())
        parent = self._existing(head, namespace, job_id)
        core.check_dispatch(parent, payload, meta or {})
        core.check_child(id_prefix, priority)
        if idempotency_token:
            for child in head.children_of_job(namespace, job_id):
                if child.dispatch_idempotency_token == idempotency_token:
                    return JobDispatched(
                        dispatched_job_id=child.id, job_create_index=child.create_index, index=head.index
                    )
        now = self._clock.now()
        child = core.dispatched(
            parent,
            payload=payload,
            meta=meta or {},
            id_prefix=id_prefix,
            token=idempotency_token,
            now=now,
            suffix=self._ids.random_bytes(4).hex(),
            priority=priority,
        )
        outcome = await self.register(child)
        return JobDispatched(
            dispatched_job_id=child.id,
            eval_id=outcome.eval_id,
            eval_create_index=outcome.eval_create_index,
            job_create_index=outcome.index,
            index=outcome.index,
        )

    async def set_transitions(
        self, alloc_ids: Iterable[str], wish: DesiredTransition, trigger: Trigger
    ) -> tuple[list[Evaluation], int]:
        """Note a wish on allocations, and look at their jobs again."""
        head = self._store.head()
        transitions: dict[str, DesiredTransition] = {}
        jobs: dict[tuple[str, str], Job] = {}
        for alloc_id in alloc_ids:
            allocation = head.alloc(alloc_id)
            if allocation is None:
                raise NotFoundError("alloc.unknown", f'Unknown allocation "{alloc_id}"')
            transitions[alloc_id] = wish
            job = head.job(*allocation.job_key)
            if job is not None:
                jobs[job.key] = job
        evaluations = [self._evaluation(job, trigger) for job in jobs.values()]
        index = await self._store.commit(SetTransitions(transitions=transitions, evaluations=tuple(evaluations)))
        return evaluations, index

    async def store_evaluations(self, evaluations: tuple[Evaluation, ...]) -> int:
        """Store evaluations made elsewhere."""
        return await self._store.commit(PutEvaluations(evaluations=evaluations))

    def _evaluation(self, job: Job, trigger: Trigger, priority: int = 0) -> Evaluation:
        return evaluation_of(job, trigger, evaluation_id=self._ids.uuid(), now=self._clock.now(), priority=priority)

    def _registered(self, key: tuple[str, str], index: int, evaluation: Evaluation | None) -> JobRegistered:
        job = self._store.snapshot().job(*key)
        return JobRegistered(
            eval_id=evaluation.id if evaluation else "",
            eval_create_index=index if evaluation else 0,
            job_modify_index=job.job_modify_index if job else index,
            index=index,
        )

    @staticmethod
    def _existing(snapshot: Snapshot, namespace: str, job_id: str) -> Job:
        job = snapshot.job(namespace, job_id)
        if job is None:
            raise NotFoundError(
                "job.unknown", "job not found", f'there is no job "{job_id}" in namespace "{namespace}"'
            )
        return job

    @staticmethod
    def _check_places(snapshot: Snapshot, job: Job) -> None:
        namespace = snapshot.namespace(job.namespace)
        if namespace is None:
            raise BadRequestError(
                "job.unknown_namespace",
                f'job "{job.id}" names a nonexistent namespace, "{job.namespace}"',
                f"known: {', '.join(n.name for n in snapshot.namespaces())}",
                "create it, or name a known one",
                status=500,
            )
        if job.node_pool not in ("", "all") and snapshot.node_pool(job.node_pool) is None:
            raise BadRequestError(
                "job.unknown_node_pool",
                f'job "{job.id}" names a nonexistent node pool, "{job.node_pool}"',
                f"known: {', '.join(p.name for p in snapshot.node_pools())}",
                "create it, or name a known one",
                status=500,
            )
        core.check_capabilities(job, namespace)


class WhatIf:
    """A snapshot in which one job is registered as given."""

    def __init__(self, snapshot: Snapshot, job: Job) -> None:
        self._snapshot = snapshot
        self._job = job

    def __getattr__(self, name: str) -> Any:
        return getattr(self._snapshot, name)

    def job(self, namespace: str, job_id: str) -> Job | None:
        """The newest version, or the supposed one."""
        return self._job if (namespace, job_id) == self._job.key else self._snapshot.job(namespace, job_id)

    def job_version(self, namespace: str, job_id: str, version: int) -> Job | None:
        """A kept version, or the supposed one."""
        if (namespace, job_id, version) == (*self._job.key, self._job.version):
            return self._job
        return self._snapshot.job_version(namespace, job_id, version)
