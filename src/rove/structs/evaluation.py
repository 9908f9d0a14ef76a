"""Evaluations: "look at this job again"."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from .alloc import AllocMetric
from .base import Ns, SparseNoun, UnixNs, unix_ns
from .job import Job


class EvalStatus(StrEnum):
    """Where an evaluation stands."""

    PENDING = "pending"
    COMPLETE = "complete"
    FAILED = "failed"
    BLOCKED = "blocked"
    CANCELED = "canceled"


EVAL_TERMINAL = frozenset({EvalStatus.COMPLETE, EvalStatus.FAILED, EvalStatus.CANCELED})


class Trigger(StrEnum):
    """Why an evaluation was made."""

    JOB_REGISTER = "job-register"
    JOB_DEREGISTER = "job-deregister"
    PERIODIC_JOB = "periodic-job"
    NODE_DRAIN = "node-drain"
    NODE_UPDATE = "node-update"
    ALLOC_STOP = "alloc-stop"
    SCHEDULED = "scheduled"
    ROLLING_UPDATE = "rolling-update"
    DEPLOYMENT_WATCHER = "deployment-watcher"
    FAILED_FOLLOW_UP = "failed-follow-up"
    MAX_PLAN_ATTEMPTS = "max-plan-attempts"
    ALLOC_FAILURE = "alloc-failure"
    QUEUED_ALLOCS = "queued-allocs"
    PREEMPTION = "preemption"
    JOB_SCALING = "job-scaling"
    MAX_DISCONNECT_TIMEOUT = "max-disconnect-timeout"
    RECONNECT = "reconnect"
    ALLOC_RESCHEDULE = "alloc-reschedule"


class EvalStub(SparseNoun, frozen=True, kw_only=True):
    """A related evaluation in short."""

    id: str = ""
    priority: int = 0
    type: str = ""
    triggered_by: str = ""
    namespace: str = ""
    job_id: str = ""
    node_id: str = ""
    deployment_id: str = ""
    status: EvalStatus = EvalStatus.PENDING
    status_description: str = ""
    wait_until: datetime | None = None
    next_eval: str = ""
    previous_eval: str = ""
    blocked_eval: str = ""
    create_index: int = 0
    modify_index: int = 0
    create_time: UnixNs = 0
    modify_time: UnixNs = 0


class Evaluation(SparseNoun, frozen=True, kw_only=True):
    """One look at one job. Immutable id; status moves pending -> complete, failed, blocked or canceled."""

    id: str = ""
    namespace: str = ""
    priority: int = 50
    type: str = "service"
    triggered_by: Trigger = Trigger.JOB_REGISTER
    job_id: str = ""
    job_modify_index: int = 0
    node_id: str = ""
    node_modify_index: int = 0
    deployment_id: str = ""
    status: EvalStatus = EvalStatus.PENDING
    status_description: str = ""
    wait: Ns = 0
    wait_until: datetime | None = None
    next_eval: str = ""
    previous_eval: str = ""
    blocked_eval: str = ""
    related_evals: tuple[EvalStub, ...] = ()
    failed_tg_allocs: dict[str, AllocMetric] = {}
    plan_annotations: dict[str, Any] | None = None
    class_eligibility: dict[str, bool] = {}
    quota_limit_reached: str = ""
    escaped_computed_class: bool = False
    annotate_plan: bool = False
    queued_allocations: dict[str, int] = {}
    snapshot_index: int = 0
    create_index: int = 0
    modify_index: int = 0
    create_time: UnixNs = 0
    modify_time: UnixNs = 0

    @property
    def job_key(self) -> tuple[str, str]:
        """(namespace, job id)."""
        return (self.namespace, self.job_id)

    @property
    def is_terminal(self) -> bool:
        return self.status in EVAL_TERMINAL


def evaluation_of(
    job: Job, trigger: Trigger, *, evaluation_id: str, now: float, priority: int = 0, **fields: Any
) -> Evaluation:
    """A new pending evaluation of a job. priority 0: the job's own. fields: what else is set, or set otherwise."""
    stamp = unix_ns(now)
    made = Evaluation(
        id=evaluation_id,
        namespace=job.namespace,
        job_id=job.id,
        priority=priority or job.priority,
        type=job.type,
        triggered_by=trigger,
        job_modify_index=job.job_modify_index,
        create_time=stamp,
        modify_time=stamp,
    )
    return msgspec.structs.replace(made, **fields)
