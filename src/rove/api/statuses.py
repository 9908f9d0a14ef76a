"""/v1/jobs/statuses: jobs with their allocations in short, newest first, as web pages show them."""

from __future__ import annotations

import asyncio
from typing import Any

from rove.errors import BadRequestError
from rove.structs.alloc import Allocation
from rove.structs.base import Noun
from rove.structs.job import Job, JobChildrenSummary

from .backend import Snapshot
from .call import Call, Reply
from .reading import render, snapshot_after
from .routes import BLOCKING, LISTING, Route

MAX_JOBS = 1000


class JobRef(Noun, frozen=True, kw_only=True):
    """A job by name."""

    id: str = ""
    namespace: str = "default"


class StatusesBody(Noun, frozen=True, kw_only=True):
    """The jobs to tell about."""

    jobs: list[JobRef] | None = None


class AllocHealth(Noun, frozen=True, kw_only=True):
    """An allocation's part in a deployment."""

    canary: bool
    healthy: bool | None


class AllocShort(Noun, frozen=True, kw_only=True):
    """An allocation in short."""

    id: str
    group: str
    client_status: str
    node_id: str
    deployment_status: AllocHealth | None
    job_version: int
    followup_eval_id: str
    has_paused_task: bool


class DeploymentShort(Noun, frozen=True, kw_only=True):
    """A deployment in short."""

    id: str
    is_active: bool
    job_version: int
    status: str
    status_description: str
    all_auto_promote: bool
    requires_promotion: bool


class JobState(Noun, frozen=True, kw_only=True):
    """A job and how it does."""

    id: str
    namespace: str
    name: str
    type: str
    node_pool: str
    datacenters: tuple[str, ...]
    priority: int
    version: int
    submit_time: int
    modify_index: int
    allocs: list[AllocShort]
    group_count_sum: int
    child_statuses: list[str] | None
    parent_id: str
    latest_deployment: DeploymentShort | None
    stop: bool
    is_pack: bool
    status: str


async def statuses(call: Call) -> Reply:
    """Jobs and how they do, the one changed last first."""
    wanted: set[tuple[str, str]] | None = None
    if call.request.method == "POST":
        body = await call.body(StatusesBody, optional=True)
        if body.jobs is not None:
            if not body.jobs or len(body.jobs) > MAX_JOBS:
                raise BadRequestError("jobs.statuses", f"name 1 to {MAX_JOBS} jobs, or leave Jobs out")
            wanted = {(job.namespace or "default", job.id) for job in body.jobs}
    snapshot, index = await snapshot_after(call, [("jobs",), ("allocs",), ("deployments",)])
    with_children = call.flag("include_children")

    def items() -> list[Job]:
        return [job for job in _candidates(call, snapshot, wanted) if with_children or wanted or not job.parent_id]

    def shape(job: Job) -> JobState:
        return job_state(snapshot, job)

    text, token, _ = await asyncio.to_thread(lambda: render(call, items, shape, newest_first))
    return Reply(text, index, token)


def newest_first(job: Job) -> tuple[int, str, str]:
    """By the last change, the newest first."""
    return (-job.modify_index, job.namespace, job.id)


def _candidates(call: Call, snapshot: Snapshot, wanted: set[tuple[str, str]] | None) -> Any:
    if wanted is None:
        return snapshot.jobs(call.list_namespace, call.query.get("prefix", ""))
    return [job for key in wanted if (job := snapshot.job(*key)) is not None]


def job_state(snapshot: Snapshot, job: Job) -> JobState:
    """A job and how it does."""
    summary = snapshot.job_summary(job.namespace, job.id)
    allocs = snapshot.allocs_of_job(job.namespace, job.id)
    return JobState(
        id=job.id,
        namespace=job.namespace,
        name=job.name,
        type=job.type,
        node_pool=job.node_pool,
        datacenters=job.datacenters,
        priority=job.priority,
        version=job.version,
        submit_time=job.submit_time,
        modify_index=job.modify_index,
        allocs=[alloc_short(alloc) for alloc in allocs if not (alloc.is_server_terminal and alloc.is_client_terminal)],
        group_count_sum=sum(group.count for group in job.task_groups),
        child_statuses=_children(summary.children) if summary else None,
        parent_id=job.parent_id,
        latest_deployment=deployment_short(snapshot, job),
        stop=job.stop,
        is_pack="pack.name" in job.meta,
        status=job.status,
    )


def _children(counts: JobChildrenSummary | None) -> list[str] | None:
    if counts is None:
        return None
    return ["pending"] * counts.pending + ["running"] * counts.running + ["dead"] * counts.dead


def alloc_short(alloc: Allocation) -> AllocShort:
    """An allocation in short."""
    part = alloc.deployment_status
    return AllocShort(
        id=alloc.id,
        group=alloc.task_group,
        client_status=alloc.client_status,
        node_id=alloc.node_id,
        deployment_status=AllocHealth(canary=part.canary, healthy=part.healthy) if part else None,
        job_version=alloc.job_version,
        followup_eval_id=alloc.followup_eval_id,
        has_paused_task=any(state.paused for state in (alloc.task_states or {}).values()),
    )


def deployment_short(snapshot: Snapshot, job: Job) -> DeploymentShort | None:
    """The job's newest deployment in short."""
    deployment = snapshot.latest_deployment(job.namespace, job.id)
    if deployment is None:
        return None
    groups = deployment.task_groups.values()
    return DeploymentShort(
        id=deployment.id,
        is_active=deployment.is_active,
        job_version=deployment.job_version,
        status=deployment.status,
        status_description=deployment.status_description,
        all_auto_promote=bool(groups) and all(group.auto_promote for group in groups),
        requires_promotion=deployment.requires_promotion,
    )


ROUTES = (
    Route(
        methods=("GET", "POST"),
        path="/v1/jobs/statuses",
        handler=statuses,
        summary="Jobs and how they do",
        capability="read-job",
        query=(*LISTING, *BLOCKING, "include_children"),
        body=StatusesBody,
        answer=list[JobState],
        blocks_on=("jobs", "allocs", "deployments"),
    ),
)
