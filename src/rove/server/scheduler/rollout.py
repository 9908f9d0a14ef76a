"""Deployments as the scheduler sees them: which one counts, when to make, cancel and finish one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from rove.structs.base import unix_ns
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus
from rove.structs.job import Job, JobType, TaskGroup, UpdateStrategy
from rove.structs.plan import DeploymentUpdate

IN_PROGRESS = "the roll-out is in progress"
WAITS_FOR_PROMOTION = "the roll-out is in progress; its canaries wait to be promoted by a person"
PROMOTES_ITSELF = "the roll-out is in progress; its canaries are promoted when all are healthy"
SUCCESSFUL = "the roll-out is complete"
CANCELLED_STOP = "cancelled: the job was stopped"
CANCELLED_NEWER = "cancelled: a newer version of the job took its place"

HOLDING = frozenset({DeploymentStatus.PAUSED, DeploymentStatus.PENDING, DeploymentStatus.INITIALIZING})


@dataclass(frozen=True, slots=True)
class Progress:
    """What one group means for its deployment.

    total: copies that this version still has to bring up. fresh: no copy of this version existed, or
    some must be updated. settled: nothing is left to place, replace or update, and every copy is found healthy.
    copies: for system jobs, how many copies of the roll-out there are: nodes that left no longer count.
    """

    strategy: UpdateStrategy | None = None
    total: int = 0
    fresh: bool = False
    settled: bool = True
    canaries: int = 0
    copies: int | None = None


def strategy_of(job: Job, group: TaskGroup) -> UpdateStrategy | None:
    """The group's update rules if they ask for a deployment."""
    if job.type not in (JobType.SERVICE, JobType.SYSTEM):
        return None
    return group.update if group.update is not None and group.update.max_parallel > 0 else None


def is_for(deployment: Deployment, job: Job) -> bool:
    """True if the deployment rolls out exactly this version of this job."""
    return deployment.job_version == job.version and (
        not deployment.job_create_index or deployment.job_create_index == job.create_index
    )


def current(deployment: Deployment | None, job: Job | None) -> tuple[Deployment | None, list[DeploymentUpdate]]:
    """The deployment that governs `job` now (active or failed), and cancellations of one that does not."""
    if deployment is None:
        return None, []
    if job is None or job.stop:
        return None, _cancel(deployment, CANCELLED_STOP)
    if not is_for(deployment, job):
        return None, _cancel(deployment, CANCELLED_NEWER)
    if deployment.is_active or deployment.status is DeploymentStatus.FAILED:
        return deployment, []
    return None, []


def _cancel(deployment: Deployment, description: str) -> list[DeploymentUpdate]:
    if not deployment.is_active:
        return []
    return [DeploymentUpdate(deployment_id=deployment.id, status=DeploymentStatus.CANCELLED, description=description)]


def new_deployment(
    job: Job, progress: dict[str, Progress], now: float, priority: int, new_id: Callable[[], str]
) -> Deployment | None:
    """The deployment that these changes start, or None if they need none."""
    taking_part = {
        name: group for name, group in progress.items() if group.strategy and group.total > 0 and group.fresh
    }
    if not taking_part:
        return None
    groups = {name: _new_group(group) for name, group in progress.items() if group.strategy and group.total > 0}
    canary_groups = [group for group in groups.values() if group.desired_canaries]
    description = IN_PROGRESS
    if canary_groups:
        automatic = all(group.auto_promote for group in canary_groups)
        description = PROMOTES_ITSELF if automatic else WAITS_FOR_PROMOTION
    return Deployment(
        id=new_id(), namespace=job.namespace, job_id=job.id, job_version=job.version,
        job_modify_index=job.modify_index, job_spec_modify_index=job.job_modify_index,
        job_create_index=job.create_index, task_groups=groups, status=DeploymentStatus.RUNNING,
        status_description=description, eval_priority=priority, create_time=unix_ns(now),
        modify_time=unix_ns(now),
    )  # fmt: skip


def _new_group(progress: Progress) -> DeploymentGroup:
    """A group at the start. Its progress deadline begins with its first copy: a wait for room is no failure."""
    strategy = progress.strategy or UpdateStrategy()
    return DeploymentGroup(
        auto_revert=strategy.auto_revert,
        auto_promote=strategy.auto_promote,
        progress_deadline=strategy.progress_deadline,
        desired_canaries=progress.canaries,
        desired_total=progress.total,
    )


def with_fewer_canaries(deployment: Deployment, progress: dict[str, Progress]) -> Deployment | None:
    """The deployment of a system job, if nodes have left so that it can no longer have all its canaries."""
    groups = dict(deployment.task_groups)
    for name, group in deployment.task_groups.items():
        now = progress.get(name)
        if now is not None and now.copies is not None and 0 < now.canaries < group.desired_canaries:
            groups[name] = msgspec.structs.replace(group, desired_canaries=now.canaries)
    return None if groups == deployment.task_groups else msgspec.structs.replace(deployment, task_groups=groups)


def finished(deployment: Deployment, progress: dict[str, Progress]) -> list[DeploymentUpdate]:
    """The update that ends a deployment well, if every group is settled, healthy and promoted."""
    if deployment.status is not DeploymentStatus.RUNNING:
        return []
    for name, group in deployment.task_groups.items():
        now = progress.get(name)
        if now is None:
            continue  # the group is no longer in the job
        if not now.settled or (group.desired_canaries and not group.promoted):
            return []
        needed = group.desired_total if now.copies is None else min(group.desired_total, now.copies)
        if group.healthy_allocs < needed:
            return []
    return [DeploymentUpdate(deployment_id=deployment.id, status=DeploymentStatus.SUCCESSFUL, description=SUCCESSFUL)]
