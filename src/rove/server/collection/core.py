"""What may be forgotten. Pure: a snapshot and the time in, ids out.

An evaluation goes with its allocations, once all of them are over. The latest evaluation of a living job is kept,
so that the job can still be explained. Sources: Nomad's documented thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from rove.structs.alloc import Allocation
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobStatus, JobType
from rove.structs.node import Node, NodeStatus

HOUR_S = 3600.0


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """How long things stay after they ended, in seconds."""

    evaluation_s: float = HOUR_S
    batch_evaluation_s: float = 24 * HOUR_S
    job_s: float = 4 * HOUR_S
    node_s: float = 24 * HOUR_S
    deployment_s: float = HOUR_S


AT_ONCE = Thresholds(evaluation_s=0, batch_evaluation_s=0, job_s=0, node_s=0, deployment_s=0)


class Rubbish(msgspec.Struct, frozen=True, kw_only=True):
    """What to forget."""

    evaluation_ids: tuple[str, ...] = ()
    allocations: tuple[Allocation, ...] = ()
    jobs: tuple[tuple[str, str], ...] = ()
    deployment_ids: tuple[str, ...] = ()
    node_ids: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.evaluation_ids or self.allocations or self.jobs or self.deployment_ids or self.node_ids)


class View(Protocol):
    """What is read of the state."""

    def jobs(self, namespace: str | None = None) -> Iterable[Job]: ...
    def job(self, namespace: str, job_id: str) -> Job | None: ...
    def nodes(self) -> Iterable[Node]: ...
    def evaluations(self) -> Iterable[Evaluation]: ...
    def evaluations_of_job(self, namespace: str, job_id: str) -> Iterable[Evaluation]: ...
    def deployments(self) -> Iterable[Deployment]: ...
    def allocs_of_evaluation(self, evaluation_id: str) -> Iterable[Allocation]: ...
    def allocs_of_job(self, namespace: str, job_id: str) -> Iterable[Allocation]: ...
    def all_allocs_of_node(self, node_id: str) -> Iterable[Allocation]: ...
    def allocs_of_deployment(self, deployment_id: str) -> Iterable[Allocation]: ...


def rubbish(view: View, now: float, thresholds: Thresholds) -> Rubbish:
    """Everything that may be forgotten at `now` (seconds since the epoch)."""
    dead = [job for job in view.jobs(None) if _is_dead(view, job, now, thresholds)]
    dead_keys = {job.key for job in dead}
    evaluation_ids: list[str] = []
    allocations: dict[str, Allocation] = {}
    for evaluation in _ended(view, now, thresholds, dead_keys):
        owned = list(view.allocs_of_evaluation(evaluation.id))
        if evaluation.job_key in dead_keys or _is_over(view, evaluation, owned):
            evaluation_ids.append(evaluation.id)
            allocations.update((allocation.id, allocation) for allocation in owned)
    for key in dead_keys:
        allocations.update((allocation.id, allocation) for allocation in view.allocs_of_job(*key))
    return Rubbish(
        evaluation_ids=tuple(evaluation_ids),
        allocations=tuple(allocations.values()),
        jobs=tuple(dead_keys),
        deployment_ids=tuple(_deployments(view, now, thresholds, dead_keys, allocations)),
        node_ids=tuple(_nodes(view, now, thresholds, allocations)),
    )


def _is_dead(view: View, job: Job, now: float, thresholds: Thresholds) -> bool:
    if job.status is not JobStatus.DEAD or now - job.submit_time / 1e9 < thresholds.job_s:
        return False
    if not job.stop and job.type is not JobType.BATCH and job.type is not JobType.SYSBATCH:
        return False  # it may run again
    evaluations = view.evaluations_of_job(*job.key)
    if not all(e.is_terminal and _age_s(e.modify_time, now) >= thresholds.job_s for e in evaluations):
        return False
    return all(_is_collectable(allocation) for allocation in view.allocs_of_job(*job.key))


def _ended(view: View, now: float, thresholds: Thresholds, dead: set[tuple[str, str]]) -> Iterable[Evaluation]:
    """Evaluations that ended long enough ago, without the latest one of a living job. Looks at no allocation."""
    evaluations = list(view.evaluations())
    newest: dict[tuple[str, str], int] = {}
    for evaluation in evaluations:
        newest[evaluation.job_key] = max(evaluation.create_index, newest.get(evaluation.job_key, 0))
    for evaluation in evaluations:
        if evaluation.job_key in dead:
            yield evaluation
            continue
        threshold = thresholds.batch_evaluation_s if _is_batch(evaluation) else thresholds.evaluation_s
        if not evaluation.is_terminal or _age_s(evaluation.modify_time, now) < threshold:
            continue
        job = view.job(*evaluation.job_key)
        if job is None or job.stop or evaluation.create_index < newest[evaluation.job_key]:
            yield evaluation


def _is_over(view: View, evaluation: Evaluation, owned: list[Allocation]) -> bool:
    """Is everything over that an ended evaluation has placed?"""
    if not all(_is_collectable(allocation) for allocation in owned):
        return False
    job = view.job(*evaluation.job_key)
    # A batch job remembers what it has finished until it is collected itself.
    return not (_is_batch(evaluation) and owned and job is not None and not job.stop)


def _is_batch(evaluation: Evaluation) -> bool:
    return evaluation.type in (JobType.BATCH, JobType.SYSBATCH)


def _is_collectable(allocation: Allocation) -> bool:
    """Over on the node, and nothing still wants to replace it."""
    if not allocation.is_client_terminal:
        return False
    return allocation.is_server_terminal or not allocation.followup_eval_id


def _deployments(
    view: View,
    now: float,
    thresholds: Thresholds,
    dead: set[tuple[str, str]],
    allocations: dict[str, Allocation],
) -> Iterable[str]:
    for deployment in view.deployments():
        if deployment.job_key in dead:
            yield deployment.id
            continue
        is_old = not deployment.is_active and _age_s(deployment.modify_time, now) >= thresholds.deployment_s
        if is_old and all(allocation.id in allocations for allocation in view.allocs_of_deployment(deployment.id)):
            yield deployment.id


def _nodes(view: View, now: float, thresholds: Thresholds, allocations: dict[str, Allocation]) -> Iterable[str]:
    for node in view.nodes():
        if node.status is not NodeStatus.DOWN or now - node.status_updated_at < thresholds.node_s:
            continue
        if all(
            allocation.id in allocations or allocation.is_client_terminal
            for allocation in view.all_allocs_of_node(node.id)
        ):
            yield node.id


def _age_s(stamp_ns: int, now: float) -> float:
    return now - stamp_ns / 1e9
