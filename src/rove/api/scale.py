"""/v1/job/:id/scale."""

from __future__ import annotations

from typing import Any

import msgspec

from rove.errors import BadRequestError
from rove.jobspec.validate_job import META_MAX
from rove.structs.base import Noun
from rove.structs.job import Job

from .backend import Snapshot
from .call import Call, Reply
from .govalues import shown
from .job import check_job_id, job_route, known_job, target_of
from .jobs import registered
from .reading import read
from .routes import BLOCKING, READ, WRITE
from .shapes import EvalReply


class ScaleBody(Noun, frozen=True, kw_only=True):
    """Change a group's count, or with no count only note an event."""

    target: dict[str, str] = {}
    count: int | None = None
    message: str = ""
    error: bool = False
    meta: dict[str, Any] = {}
    policy_override: bool = False
    enforce_index: bool = False
    job_modify_index: int = 0


class GroupScale(Noun, frozen=True, kw_only=True):
    """How many copies of a group are wanted and there."""

    desired: int = 0
    placed: int = 0
    running: int = 0
    healthy: int = 0
    unhealthy: int = 0
    events: tuple[Any, ...] = ()


class ScaleStatus(Noun, frozen=True, kw_only=True):
    """The counts of a job."""

    job_id: str
    namespace: str
    job_create_index: int
    job_modify_index: int
    job_stopped: bool
    task_groups: dict[str, GroupScale]


async def scale_status(call: Call) -> Reply:
    """Counts and scaling events of a job's groups."""
    namespace, job_id = target_of(call)
    keys = [("job", namespace, job_id), ("scaling", namespace, job_id), ("allocs.job", namespace, job_id)]
    return await read(call, keys, lambda snap: scale_status_of(snap, known_job(snap, namespace, job_id)))


def scale_status_of(snapshot: Snapshot, job: Job) -> ScaleStatus:
    """How many copies of each group are wanted and there."""
    noted = snapshot.scaling_events(job.namespace, job.id)
    live = [
        alloc
        for alloc in snapshot.allocs_of_job(job.namespace, job.id)
        if not alloc.is_terminal and alloc.create_index >= job.create_index
    ]
    groups = {}
    for group in job.task_groups:
        mine = [alloc for alloc in live if alloc.task_group == group.name]
        groups[group.name] = GroupScale(
            desired=group.count,
            placed=len(mine),
            running=sum(alloc.client_status == "running" for alloc in mine),
            healthy=sum(alloc.is_healthy for alloc in mine),
            unhealthy=sum(alloc.is_unhealthy for alloc in mine),
            events=noted.scaling_events.get(group.name, ()) if noted else (),
        )
    return ScaleStatus(
        job_id=job.id,
        namespace=job.namespace,
        job_create_index=job.create_index,
        job_modify_index=job.job_modify_index,
        job_stopped=job.stop,
        task_groups=groups,
    )


async def scale(call: Call) -> Reply:
    """Change a group's count."""
    namespace, job_id = target_of(call)
    body = await call.body(ScaleBody)
    target = {key.lower(): value for key, value in body.target.items()}
    check_job_id(target.get("job", ""), job_id)
    if target.get("namespace", namespace) not in {"", namespace}:
        raise BadRequestError(
            "job.namespace_mismatch",
            f"the Target's Namespace {shown(target['namespace'])} is not the request's {shown(namespace)}",
            fix="name the namespace in the query: ?namespace=...",
        )
    size = len(body.message.encode("utf-8", "replace")) + len(msgspec.json.encode(body.meta))
    if size > META_MAX:
        raise BadRequestError("job.scale_meta", f"message and meta of a scaling event are larger than {META_MAX} bytes")
    group = target.get("group", "")
    if not group:
        raise BadRequestError("job.scale_group", "the task group to scale is missing", fix='send Target {"Group": ...}')
    if body.count is not None and body.count < 0:
        raise BadRequestError("job.scale_count", f"a count of {body.count} is below zero")
    done = await call.server.scale_job(
        namespace,
        job_id,
        group,
        body.count,
        message=body.message,
        error=body.error,
        meta=body.meta,
        enforce_index=body.enforce_index,
        modify_index=body.job_modify_index,
    )
    return registered(done)


ROUTES = (
    job_route(
        READ,
        "/scale",
        scale_status,
        "Counts and scaling events",
        answer=ScaleStatus,
        query=BLOCKING,
        blocks_on=("job", "scaling", "allocs.job"),
        capability="read-job-scaling",
    ),
    job_route(
        WRITE, "/scale", scale, "Change a group's count", body=ScaleBody, answer=EvalReply, capability="scale-job"
    ),
)
