"""Rules of deployments: status, promotion, and the counters that allocations move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from rove.structs.base import SECOND, ZERO_TIME, Ns, UnixNs, from_unix
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus
from rove.structs.job import Job
from rove.structs.plan import DeploymentUpdate

from . import rows
from .draft import Draft
from .jobs import set_stability, set_tally
from .transactions import SetJobStability

replace = msgspec.structs.replace


def deadline_after(now: UnixNs, deadline: Ns) -> datetime:
    """The point in time `deadline` after `now`; "never" without one."""
    return from_unix((now + deadline) / SECOND) if deadline > 0 else ZERO_TIME


def put_deployment(draft: Draft, deployment: Deployment) -> None:
    """Store a deployment, new or changed."""
    old: Deployment | None = draft.deployments.get(deployment.id)
    deployment = replace(
        deployment, modify_index=draft.index, modify_time=draft.now,
        create_index=draft.index if old is None else old.create_index,
        create_time=(deployment.create_time or draft.now) if old is None else old.create_time,
    )  # fmt: skip
    key = deployment.job_key
    draft.deployments[deployment.id] = deployment
    draft.put_row("deployments", rows.key(deployment.create_index, deployment.id), deployment)
    if old is None:
        draft.deployments_of_job[key] = draft.in_order(
            draft.deployments, draft.deployments_of_job.get(key, ()), deployment.id
        )  # fmt: skip
    was = old is not None and old.is_active
    if was != deployment.is_active:
        tally = draft.tally(key)
        change = 1 if deployment.is_active else -1
        set_tally(draft, key, replace(tally, active_deployments=tally.active_deployments + change))
    draft.mark(("deployments",), ("deployments.job", *key))
    draft.touched.add(("deployment", deployment.id))
    draft.events["Deployment", deployment.id] = draft.event_type


def update_status(draft: Draft, update: DeploymentUpdate) -> None:
    """Change a deployment's status. One that has ended keeps its end; unknown ones are ignored."""
    deployment: Deployment | None = draft.deployments.get(update.deployment_id)
    if deployment is None or not deployment.is_active:
        return
    resumed = deployment.status is DeploymentStatus.PAUSED and update.status is DeploymentStatus.RUNNING
    deployment = replace(deployment, status=update.status, status_description=update.description)
    put_deployment(draft, deployment)
    if update.status is DeploymentStatus.SUCCESSFUL:
        mark_stable(draft, deployment)
    if resumed:
        reset_progress(draft, deployment.id)


def mark_stable(draft: Draft, deployment: Deployment) -> None:
    """A version that was rolled out well is one to go back to."""
    job: Job | None = draft.jobs.get(deployment.job_key)
    if job is not None and deployment.job_create_index in (0, job.create_index):
        set_stability(draft, SetJobStability(
            namespace=job.namespace, job_id=job.id, version=deployment.job_version, stable=True,
        ))  # fmt: skip


def reset_progress(draft: Draft, deployment_id: str) -> None:
    """Give every group its whole progress deadline again."""
    deployment: Deployment | None = draft.deployments.get(deployment_id)
    if deployment is None or not deployment.is_active:
        return
    groups = {
        name: replace(group, require_progress_by=deadline_after(draft.now, group.progress_deadline))
        for name, group in deployment.task_groups.items()
    }
    put_deployment(draft, replace(deployment, task_groups=groups))


def promote(draft: Draft, deployment_id: str, names: Sequence[str]) -> bool:
    """Promote the groups named (none: all). True if something was promoted."""
    deployment: Deployment | None = draft.deployments.get(deployment_id)
    if deployment is None or not deployment.is_active:
        return False
    groups = {
        name: _promoted(group, draft.now) if (not names or name in names) else group
        for name, group in deployment.task_groups.items()
    }
    if groups == deployment.task_groups:
        return False
    put_deployment(draft, replace(deployment, task_groups=groups))
    return True


def _promoted(group: DeploymentGroup, now: UnixNs) -> DeploymentGroup:
    if group.promoted or group.desired_canaries == 0:
        return group
    return replace(group, promoted=True, require_progress_by=deadline_after(now, group.progress_deadline))


def count_placed(draft: Draft, deployment_id: str, name: str, count: int, canaries: Sequence[str]) -> None:
    """`count` allocations of group `name` joined a deployment; `canaries` are the ids of those that are canaries."""
    if (group := _group(draft, deployment_id, name)) is None:
        return
    progress_by = group.require_progress_by
    if progress_by == ZERO_TIME:
        progress_by = deadline_after(draft.now, group.progress_deadline)
    known = set(group.placed_canaries)
    new = tuple(alloc_id for alloc_id in canaries if alloc_id not in known)
    _put_group(draft, deployment_id, name, replace(
        group, placed_allocs=group.placed_allocs + count, placed_canaries=(*group.placed_canaries, *new),
        require_progress_by=progress_by,
    ))  # fmt: skip


def count_health(draft: Draft, deployment_id: str, name: str, old: bool | None, new: bool | None) -> None:
    """An allocation's health changed; a newly healthy one moves the progress deadline forward.

    new None: a healthy one has ended. That counts while the roll-out goes on; later its numbers tell how it went.
    """
    group = _group(draft, deployment_id, name)
    if group is None or old is new or (new is None and not draft.deployments.get(deployment_id).is_active):
        return
    progress_by = group.require_progress_by
    if new is True:
        progress_by = max(progress_by, deadline_after(draft.now, group.progress_deadline))
    _put_group(draft, deployment_id, name, replace(
        group, healthy_allocs=group.healthy_allocs + (new is True) - (old is True),
        unhealthy_allocs=group.unhealthy_allocs + (new is False) - (old is False),
        require_progress_by=progress_by,
    ))  # fmt: skip


def _group(draft: Draft, deployment_id: str, name: str) -> DeploymentGroup | None:
    deployment: Deployment | None = draft.deployments.get(deployment_id) if deployment_id else None
    return deployment.task_groups.get(name) if deployment is not None else None


def _put_group(draft: Draft, deployment_id: str, name: str, group: DeploymentGroup) -> None:
    deployment: Deployment = draft.deployments.get(deployment_id)
    put_deployment(draft, replace(deployment, task_groups={**deployment.task_groups, name: group}))


def forget(draft: Draft, deployment_id: str) -> None:
    """Remove a deployment."""
    deployment: Deployment | None = draft.deployments.pop(deployment_id)
    if deployment is None:
        return
    key = deployment.job_key
    rest = tuple(name for name in draft.deployments_of_job.get(key, ()) if name != deployment_id)
    if rest:
        draft.deployments_of_job[key] = rest
    else:
        draft.deployments_of_job.pop(key)
    draft.delete_row("deployments", rows.key(deployment.create_index, deployment_id))
    if deployment.is_active:
        tally = draft.tally(key)
        set_tally(draft, key, replace(tally, active_deployments=tally.active_deployments - 1))
    draft.mark(("deployments",), ("deployments.job", *key))
    draft.touched.add(("deployment", deployment_id))
