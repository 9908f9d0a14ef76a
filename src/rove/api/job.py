"""/v1/job/:id and what hangs below it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from rove import jobspec
from rove.errors import BadRequestError, NotFoundError
from rove.structs.alloc import Allocation, AllocMetric, AllocStub
from rove.structs.base import Noun
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobSubmission, JobSummary
from rove.structs.plan import DesiredUpdates

from .backend import Planned, Snapshot
from .call import Call, Reply
from .evaluations import evaluation_order
from .govalues import parse_uint, shown
from .jobs import register_submitted, registered, warning_text
from .missing import unknown, unknown_job
from .reading import read, read_page
from .registration import JobBody, Submitted, submitted
from .routes import BLOCKING, LISTING, READ, WRITE, Route
from .shapes import EvalReply, EvalView, WriteReply, alloc_stub, deployment_order, eval_view, summary_or_empty


class PlanAnnotations(Noun, frozen=True, kw_only=True):
    """What a plan would do, in numbers per group."""

    desired_tg_updates: dict[str, DesiredUpdates] = {}
    preempted_allocs: list[AllocStub] | None = None


class PlanReply(Noun, frozen=True, kw_only=True):
    """The outcome of a dry run."""

    annotations: PlanAnnotations
    failed_tg_allocs: dict[str, AllocMetric] | None = None
    job_modify_index: int = 0
    created_evals: list[EvalView] | None = None
    diff: Any = None
    next_periodic_launch: str = "0001-01-01T00:00:00Z"
    warnings: str = ""
    index: int = 0


class VersionsReply(WriteReply, frozen=True, kw_only=True):
    """Versions, newest first; `diffs[i]` compares version i with the next older one."""

    versions: tuple[Job, ...] = ()
    diffs: list[Any] | None = None


class EvalOptions(Noun, frozen=True, kw_only=True):
    """How to evaluate."""

    force_reschedule: bool = False


class EvaluateBody(Noun, frozen=True, kw_only=True):
    """Look at a job again."""

    job_id: str = ""
    eval_options: EvalOptions = EvalOptions()


class RevertBody(Noun, frozen=True, kw_only=True):
    """Go back to a version. enforce_prior_version: refuse unless this is the present one."""

    job_id: str = ""
    job_version: int = 0
    enforce_prior_version: int | None = None


class StableBody(Noun, frozen=True, kw_only=True):
    """Mark a version as (not) known to work."""

    job_id: str = ""
    job_version: int = 0
    stable: bool = False


class StableReply(WriteReply, frozen=True, kw_only=True):
    """The index of a stability change."""

    job_modify_index: int = 0


class DispatchBody(Noun, frozen=True, kw_only=True):
    """Start a copy of a parameterized job."""

    job_id: str = ""
    payload: bytes = b""
    meta: dict[str, str] = {}
    id_prefix_template: str = ""
    priority: int = 0


class DispatchReply(WriteReply, frozen=True, kw_only=True):
    """The child that was started."""

    dispatched_job_id: str = ""
    eval_id: str = ""
    eval_create_index: int = 0
    job_create_index: int = 0


class ActionStub(Noun, frozen=True, kw_only=True):
    """A command that a task offers by name."""

    name: str
    command: str
    args: tuple[str, ...]
    task_name: str
    task_group_name: str


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


def _target(call: Call) -> tuple[str, str]:
    return call.namespace, call.ids["job_id"]


def _known_job(snapshot: Snapshot, namespace: str, job_id: str) -> Job:
    job = snapshot.job(namespace, job_id)
    if job is None:
        raise unknown_job(namespace, job_id)
    return job


async def read_job(call: Call) -> Reply:
    """The job's newest version."""
    namespace, job_id = _target(call)
    return await read(call, [("job", namespace, job_id)], lambda snap: _known_job(snap, namespace, job_id))


async def update(call: Call) -> Reply:
    """Register a job whose id is in the path."""
    return await register_submitted(call, await submitted(call, call.ids["job_id"]))


async def stop(call: Call) -> Reply:
    """Stop a job, or forget it with `purge`."""
    namespace, job_id = _target(call)
    priority = call.uint("eval_priority", limit=100)
    done = await call.server.deregister_job(
        namespace,
        job_id,
        purge=call.flag("purge"),
        eval_priority=priority,
        no_shutdown_delay=call.flag("no_shutdown_delay"),
    )
    return registered(done)


async def plan(call: Call) -> Reply:
    """A dry run: what registering the job would do."""
    given = await submitted(call, call.ids["job_id"])
    job = given.checked()
    planned = await call.server.plan_job(job)
    body = await asyncio.to_thread(plan_reply, given, planned)
    return Reply(body, planned.index)


def plan_reply(given: Submitted, planned: Planned) -> PlanReply:
    """The dry run as the API shows it; clients need the annotations, and the diff if they asked for one."""
    result, current = planned.result, planned.current
    diff = None
    if given.body.diff:
        diff = jobspec.annotate(jobspec.diff_jobs(current, given.job), result.plan.desired_updates)
    return PlanReply(
        annotations=PlanAnnotations(desired_tg_updates=result.plan.desired_updates),
        failed_tg_allocs=result.failed or None,
        job_modify_index=current.job_modify_index if current else 0,
        created_evals=[eval_view(evaluation) for evaluation in result.evaluations] or None,
        diff=diff,
        warnings=warning_text(given.warnings),
        index=planned.index,
    )


async def evaluate(call: Call) -> Reply:
    """Look at the job again."""
    namespace, job_id = _target(call)
    body = await call.body(EvaluateBody, optional=True)
    _same_id(body.job_id, job_id)
    force = body.eval_options.force_reschedule
    return registered(await call.server.evaluate_job(namespace, job_id, force_reschedule=force))


async def allocations(call: Call) -> Reply:
    """Stubs of the job's allocations. all: also those of an earlier job with the same id."""
    namespace, job_id = _target(call)
    want_all = call.flag("all")
    with_resources, with_states = call.flag("resources"), call.flag("task_states", True)

    def items(snapshot: Snapshot) -> Any:
        job = snapshot.job(namespace, job_id)
        allocs = snapshot.allocs_of_job(namespace, job_id)
        if want_all or job is None:
            return allocs
        return [alloc for alloc in allocs if alloc.create_index >= job.create_index]

    def shape(_: Snapshot, alloc: Allocation) -> AllocStub:
        return alloc_stub(alloc, with_resources, with_states)

    return await read_page(call, [("allocs.job", namespace, job_id)], items, shape, alloc_order)


def alloc_order(alloc: Allocation) -> tuple[int, str]:
    """Creation order."""
    return (alloc.create_index, alloc.id)


async def evaluations(call: Call) -> Reply:
    """The job's evaluations."""
    namespace, job_id = _target(call)

    def items(snapshot: Snapshot) -> Any:
        return snapshot.evaluations_of_job(namespace, job_id)

    def shape(_: Snapshot, evaluation: Evaluation) -> EvalView:
        return eval_view(evaluation)

    return await read_page(call, [("evals.job", namespace, job_id)], items, shape, evaluation_order)


async def deployments(call: Call) -> Reply:
    """The job's deployments. all: also those of an earlier job with the same id."""
    namespace, job_id = _target(call)
    want_all = call.flag("all")

    def items(snapshot: Snapshot) -> Any:
        job = snapshot.job(namespace, job_id)
        found = snapshot.deployments_of_job(namespace, job_id)
        if want_all or job is None:
            return found
        return [deployment for deployment in found if deployment.job_create_index == job.create_index]

    def shape(_: Snapshot, deployment: Deployment) -> Deployment:
        return deployment

    return await read_page(call, [("deployments.job", namespace, job_id)], items, shape, deployment_order)


async def latest_deployment(call: Call) -> Reply:
    """The newest deployment, or null."""
    namespace, job_id = _target(call)
    keys = [("deployments.job", namespace, job_id)]
    return await read(call, keys, lambda snap: snap.latest_deployment(namespace, job_id))


async def summary(call: Call) -> Reply:
    """Counts per group."""
    namespace, job_id = _target(call)

    def build(snapshot: Snapshot) -> JobSummary:
        job = _known_job(snapshot, namespace, job_id)
        return summary_or_empty(job, snapshot.job_summary(namespace, job_id))

    return await read(call, [("job.summary", namespace, job_id), ("job", namespace, job_id)], build)


async def versions(call: Call) -> Reply:
    """The versions that are kept, with their differences if asked for."""
    namespace, job_id = _target(call)
    want_diffs = call.flag("diffs")
    against_tag, against_version = call.query.get("diff_tag", ""), call.query.get("diff_version", "")

    def build(snapshot: Snapshot) -> VersionsReply:
        found = tuple(snapshot.job_versions(namespace, job_id))
        if not found:
            raise unknown_job(namespace, job_id)
        diffs = version_diffs(found, against_tag, against_version) if want_diffs else None
        index = snapshot.last_index(("job", namespace, job_id))
        return VersionsReply(versions=found, diffs=diffs, index=index, known_leader=True)

    return await read(call, [("job", namespace, job_id)], build)


def version_diffs(found: tuple[Job, ...], tag: str, version: str) -> list[Any]:
    """Each version against the next older one, or all against the one with this tag or number."""
    if not tag and not version:
        return [jobspec.diff_jobs(older, newer) for newer, older in itertools.pairwise(found)]
    number = parse_uint("diff_version", version) if version else None
    base = next(
        (
            job
            for job in found
            if job.version == number or (tag and job.version_tag is not None and job.version_tag.name == tag)
        ),
        None,
    )
    if base is None:
        raise NotFoundError("job.version_unknown", f"job version not found: {shown(tag or version)}")
    return [jobspec.diff_jobs(base, job) for job in found if job.version != base.version]


async def submission(call: Call) -> Reply:
    """The source that a version was made from."""
    namespace, job_id = _target(call)
    version = parse_uint("version", call.query.get("version", ""))

    def build(snapshot: Snapshot) -> JobSubmission:
        found = snapshot.submission(namespace, job_id, version)
        if found is None:
            raise unknown("job source", f"{job_id}, version {version}")
        return found

    return await read(call, [("job", namespace, job_id)], build)


async def revert(call: Call) -> Reply:
    """Make an older version the newest again."""
    namespace, job_id = _target(call)
    body = await call.body(RevertBody)
    _same_id(body.job_id, job_id)
    done = await call.server.revert_job(
        namespace, job_id, body.job_version, enforce_prior_version=body.enforce_prior_version
    )
    return registered(done)


async def set_stable(call: Call) -> Reply:
    """Mark a version as (not) known to work."""
    namespace, job_id = _target(call)
    body = await call.body(StableBody)
    _same_id(body.job_id, job_id)
    index = await call.server.set_stability(namespace, job_id, body.job_version, body.stable)
    return Reply(StableReply(job_modify_index=index, index=index), index, is_read=False)


async def dispatch(call: Call) -> Reply:
    """Start a copy of a parameterized job."""
    body = await call.body(DispatchBody, optional=True)
    _same_id(body.job_id, call.ids["job_id"])
    return await _dispatch(call, body)


async def dispatch_payload(call: Call) -> Reply:
    """Start a copy of a parameterized job; the body is the payload as it is."""
    return await _dispatch(call, DispatchBody(payload=await call.raw_body()))


async def _dispatch(call: Call, body: DispatchBody) -> Reply:
    namespace, job_id = _target(call)
    done = await call.server.dispatch_job(
        namespace,
        job_id,
        payload=body.payload,
        meta=body.meta,
        id_prefix=body.id_prefix_template,
        idempotency_token=call.query.get("idempotency_token", ""),
    )
    reply = DispatchReply(
        dispatched_job_id=done.dispatched_job_id,
        eval_id=done.eval_id,
        eval_create_index=done.eval_create_index,
        job_create_index=done.job_create_index,
        index=done.index,
    )
    return Reply(reply, done.index, is_read=False)


async def force_periodic(call: Call) -> Reply:
    """Launch a periodic job now."""
    return registered(await call.verb("force_periodic")(*_target(call)))


async def actions(call: Call) -> Reply:
    """Commands that the job's tasks offer by name."""
    namespace, job_id = _target(call)
    keys = [("job", namespace, job_id)]
    return await read(call, keys, lambda snap: actions_of(_known_job(snap, namespace, job_id)))


def actions_of(job: Job) -> list[ActionStub]:
    """Commands that the job's tasks offer by name."""
    return [
        ActionStub(
            name=action.name,
            command=action.command,
            args=action.args,
            task_name=task.name,
            task_group_name=group.name,
        )
        for group in job.task_groups
        for task in group.tasks
        for action in task.actions
    ]


async def scale_status(call: Call) -> Reply:
    """Counts and scaling events of a job's groups."""
    namespace, job_id = _target(call)
    keys = [("job", namespace, job_id), ("scaling", namespace, job_id), ("allocs.job", namespace, job_id)]
    return await read(call, keys, lambda snap: scale_status_of(snap, _known_job(snap, namespace, job_id)))


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
    namespace, job_id = _target(call)
    body = await call.body(ScaleBody)
    target = {key.lower(): value for key, value in body.target.items()}
    _same_id(target.get("job", ""), job_id)
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


def _same_id(in_body: str, in_path: str) -> None:
    if in_body and in_body != in_path:
        raise BadRequestError(
            "job.id_mismatch", f"JobID {shown(in_body)} in the body is not the path's {shown(in_path)}"
        )


def _route(methods: tuple[str, ...], below: str, handler: Any, summary: str, **more: Any) -> Route:
    return Route(methods=methods, path="/v1/job/{job_id}" + below, handler=handler, summary=summary, **more)


_READ_JOB = {"capability": "read-job"}
_SUBMIT = {"capability": "submit-job", "answer": EvalReply}

ROUTES = (
    _route(READ, "", read_job, "Read a job", answer=Job, query=BLOCKING, blocks_on=("job",), **_READ_JOB),
    _route(WRITE, "", update, "Register or update this job", body=JobBody, **_SUBMIT),
    _route(
        ("DELETE",), "", stop, "Stop a job", query=("purge", "global", "eval_priority", "no_shutdown_delay"), **_SUBMIT
    ),
    _route(WRITE, "/plan", plan, "Dry run", body=JobBody, answer=PlanReply, capability="submit-job"),
    _route(WRITE, "/evaluate", evaluate, "Evaluate a job again", body=EvaluateBody, answer=EvalReply, **_READ_JOB),
    _route(
        READ,
        "/allocations",
        allocations,
        "Allocations of a job",
        answer=list[AllocStub],
        query=(*LISTING, *BLOCKING, "all"),
        blocks_on=("allocs.job",),
        **_READ_JOB,
    ),
    _route(
        READ,
        "/evaluations",
        evaluations,
        "Evaluations of a job",
        answer=list[EvalView],
        query=(*LISTING, *BLOCKING),
        blocks_on=("evals.job",),
        **_READ_JOB,
    ),
    _route(
        READ,
        "/deployments",
        deployments,
        "Deployments of a job",
        answer=list[Deployment],
        query=(*LISTING, *BLOCKING, "all"),
        blocks_on=("deployments.job",),
        **_READ_JOB,
    ),
    _route(
        READ,
        "/deployment",
        latest_deployment,
        "Newest deployment of a job",
        answer=Deployment | None,
        query=BLOCKING,
        blocks_on=("deployments.job",),
        **_READ_JOB,
    ),
    _route(
        READ,
        "/summary",
        summary,
        "Counts per group",
        answer=JobSummary,
        query=BLOCKING,
        blocks_on=("job.summary",),
        **_READ_JOB,
    ),
    _route(
        READ,
        "/versions",
        versions,
        "Versions of a job",
        answer=VersionsReply,
        query=(*BLOCKING, "diffs", "diff_tag", "diff_version"),
        blocks_on=("job",),
        **_READ_JOB,
    ),
    _route(
        READ,
        "/submission",
        submission,
        "Source of a job version",
        answer=JobSubmission,
        query=(*BLOCKING, "version"),
        blocks_on=("job",),
        **_READ_JOB,
    ),
    _route(WRITE, "/revert", revert, "Go back to a version", body=RevertBody, **_SUBMIT),
    _route(
        WRITE,
        "/stable",
        set_stable,
        "Mark a version as stable",
        body=StableBody,
        answer=StableReply,
        capability="submit-job",
    ),
    _route(
        WRITE,
        "/dispatch",
        dispatch,
        "Dispatch a parameterized job",
        body=DispatchBody,
        answer=DispatchReply,
        query=("idempotency_token",),
        capability="dispatch-job",
    ),
    _route(
        WRITE,
        "/dispatch/payload",
        dispatch_payload,
        "Dispatch with a raw payload",
        answer=DispatchReply,
        query=("idempotency_token",),
        capability="dispatch-job",
    ),
    _route(WRITE, "/periodic/force", force_periodic, "Launch a periodic job now", **_SUBMIT),
    _route(
        READ,
        "/scale",
        scale_status,
        "Counts and scaling events",
        answer=ScaleStatus,
        query=BLOCKING,
        blocks_on=("job", "scaling", "allocs.job"),
        capability="read-job-scaling",
    ),
    _route(WRITE, "/scale", scale, "Change a group's count", body=ScaleBody, answer=EvalReply, capability="scale-job"),
)
