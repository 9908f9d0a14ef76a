"""/v1/job/:id and what hangs below it."""

from __future__ import annotations

import asyncio
import math
from array import array
from datetime import datetime
from typing import Any

import msgspec

from rove import jobspec
from rove.errors import BadRequestError
from rove.jobspec import launch_times
from rove.structs.alloc import Allocation, AllocMetric, AllocStub
from rove.structs.base import ZERO_TIME, Noun, from_unix
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobSummary
from rove.structs.plan import DesiredUpdates

from .allocations import alloc_order
from .backend import Planned, Snapshot
from .call import Call, Reply
from .evaluations import evaluation_order
from .govalues import shown
from .jobs import register_submitted, registered, warning_text
from .missing import unknown_job
from .reading import read, read_page
from .registration import JobBody, Submitted, submitted
from .routes import BLOCKING, LISTING, READ, WRITE, Route
from .shapes import EvalReply, EvalView, alloc_stub, deployment_order, eval_view, summary_or_empty

PLACES_MAX = 10_000
"""Placements that a dry run's answer lists."""


class PlanAnnotations(Noun, frozen=True, kw_only=True):
    """What a plan would do, in numbers per group."""

    desired_tg_updates: dict[str, DesiredUpdates] = {}
    preempted_allocs: list[AllocStub] | None = None


class PlannedPlace(Noun, frozen=True, kw_only=True):
    """Where one allocation would go. score: null where none was computed."""

    name: str
    node_id: str
    node_name: str
    score: float | None = None


class WhyNotView(Noun, frozen=True, kw_only=True):
    """What stands against a group on a node; no reasons: it would fit."""

    node_id: str
    node_name: str
    task_group: str
    reasons: tuple[str, ...] = ()


class WhyReply(Noun, frozen=True, kw_only=True):
    """How far a job is from what it asks for, in a paragraph."""

    job_id: str
    why: str


class PlanReply(Noun, frozen=True, kw_only=True):
    """The outcome of a dry run."""

    annotations: PlanAnnotations
    failed_tg_allocs: dict[str, AllocMetric] | None = None
    job_modify_index: int = 0
    created_evals: list[EvalView] | None = None
    diff: Any = None
    next_periodic_launch: datetime = ZERO_TIME
    warnings: str = ""
    index: int = 0
    placements: list[PlannedPlace] = []
    why_not: list[WhyNotView] | None = None


class EvalOptions(Noun, frozen=True, kw_only=True):
    """How to evaluate."""

    force_reschedule: bool = False


class EvaluateBody(Noun, frozen=True, kw_only=True):
    """Look at a job again."""

    job_id: str = ""
    eval_options: EvalOptions = EvalOptions()


class ActionStub(Noun, frozen=True, kw_only=True):
    """A command that a task offers by name."""

    name: str
    command: str
    args: tuple[str, ...]
    task_name: str
    task_group_name: str


def target_of(call: Call) -> tuple[str, str]:
    return call.namespace, call.ids["job_id"]


def known_job(snapshot: Snapshot, namespace: str, job_id: str) -> Job:
    job = snapshot.job(namespace, job_id)
    if job is None:
        raise unknown_job(namespace, job_id)
    return job


async def read_job(call: Call) -> Reply:
    """The job's newest version."""
    namespace, job_id = target_of(call)
    return await read(call, [("job", namespace, job_id)], lambda snap: known_job(snap, namespace, job_id))


async def update(call: Call) -> Reply:
    """Register a job whose id is in the path."""
    return await register_submitted(call, await submitted(call, call.ids["job_id"]))


async def stop(call: Call) -> Reply:
    """Stop a job, or forget it with `purge`."""
    namespace, job_id = target_of(call)
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
    body = await asyncio.to_thread(plan_reply, given, planned, call.backend.clock.now())
    snapshot = call.store.snapshot()
    notes = msgspec.structs.replace(body.annotations, preempted_allocs=preempted_by(planned, snapshot) or None)
    body = msgspec.structs.replace(body, annotations=notes, placements=placements_of(planned, snapshot))
    if node := call.query.get("why_not"):
        found = await call.server.why_not(planned, node)
        body = msgspec.structs.replace(body, why_not=msgspec.convert(found, list[WhyNotView], from_attributes=True))
    return Reply(body, planned.index)


def placements_of(planned: Planned, snapshot: Snapshot) -> list[PlannedPlace]:
    """Where each allocation of a dry run would go, at most `PLACES_MAX` of them."""
    places: list[PlannedPlace] = []
    for placement in planned.result.plan.placements:
        indexes, nodes = array("i", placement.indexes), array("i", placement.nodes)
        scores = array("f", placement.scores)
        names = [_node_name(snapshot, node_id) for node_id in placement.node_ids]
        places += [
            PlannedPlace(
                name=f"{placement.job_id}.{placement.group}[{indexes[at]}]",
                node_id=placement.node_ids[nodes[at]],
                node_name=names[nodes[at]],
                score=round(float(scores[at]), 6) if at < len(scores) and math.isfinite(scores[at]) else None,
            )
            for at in range(min(len(placement), PLACES_MAX - len(places)))
        ]
    return places


def preempted_by(planned: Planned, snapshot: Snapshot) -> list[AllocStub]:
    """The allocations that a dry run would push aside."""
    preempted = [some for placement in planned.result.plan.placements for some in placement.preempted.values()]
    found = (snapshot.alloc(alloc_id) for some in preempted for alloc_id in some)
    return [alloc_stub(alloc) for alloc in found if alloc is not None]


def _node_name(snapshot: Snapshot, node_id: str) -> str:
    node = snapshot.node(node_id)
    return node.name if node is not None else ""


async def why(call: Call) -> Reply:
    """How far the job is from what it asks for, in a paragraph."""
    namespace, job_id = target_of(call)
    index = call.store.index
    text = await call.server.why_job(namespace, job_id)
    return Reply(WhyReply(job_id=job_id, why=text), index)


def plan_reply(given: Submitted, planned: Planned, now: float) -> PlanReply:
    """The dry run as the API shows it; clients need the annotations, and the diff if they asked for one.

    now: seconds since the epoch.
    """
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
        next_periodic_launch=next_launch(given.job, now),
        warnings=warning_text(given.warnings),
        index=planned.index,
    )


def next_launch(job: Job, now: float) -> datetime:
    """When a periodic job is launched next, by its own zone's wall clock; the zero time for other jobs."""
    if job.periodic is None or not job.periodic.enabled:
        return ZERO_TIME
    coming = launch_times.next_launch(job.periodic, now)
    return ZERO_TIME if coming is None else from_unix(coming).astimezone(launch_times.zone_of(job.periodic.time_zone))


async def evaluate(call: Call) -> Reply:
    """Look at the job again."""
    namespace, job_id = target_of(call)
    body = await call.body(EvaluateBody, optional=True)
    check_job_id(body.job_id, job_id)
    force = body.eval_options.force_reschedule
    return registered(await call.server.evaluate_job(namespace, job_id, force_reschedule=force))


async def allocations(call: Call) -> Reply:
    """Stubs of the job's allocations. all: also those of an earlier job with the same id."""
    namespace, job_id = target_of(call)
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

    return await read_page(call, [("allocs.job", namespace, job_id)], items, shape, alloc_order, is_ordered=True)


async def evaluations(call: Call) -> Reply:
    """The job's evaluations."""
    namespace, job_id = target_of(call)

    def items(snapshot: Snapshot) -> Any:
        return snapshot.evaluations_of_job(namespace, job_id)

    def shape(_: Snapshot, evaluation: Evaluation) -> EvalView:
        return eval_view(evaluation)

    return await read_page(call, [("evals.job", namespace, job_id)], items, shape, evaluation_order)


async def deployments(call: Call) -> Reply:
    """The job's deployments. all: also those of an earlier job with the same id."""
    namespace, job_id = target_of(call)
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
    namespace, job_id = target_of(call)
    keys = [("deployments.job", namespace, job_id)]
    return await read(call, keys, lambda snap: snap.latest_deployment(namespace, job_id))


async def summary(call: Call) -> Reply:
    """Counts per group."""
    namespace, job_id = target_of(call)

    def build(snapshot: Snapshot) -> JobSummary:
        job = known_job(snapshot, namespace, job_id)
        return summary_or_empty(job, snapshot.job_summary(namespace, job_id))

    return await read(call, [("job.summary", namespace, job_id), ("job", namespace, job_id)], build)


async def actions(call: Call) -> Reply:
    """Commands that the job's tasks offer by name."""
    namespace, job_id = target_of(call)
    keys = [("job", namespace, job_id)]
    return await read(call, keys, lambda snap: actions_of(known_job(snap, namespace, job_id)))


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


def check_job_id(in_body: str, in_path: str) -> None:
    if in_body and in_body != in_path:
        raise BadRequestError(
            "job.id_mismatch", f"JobID {shown(in_body)} in the body is not the path's {shown(in_path)}"
        )


def job_route(methods: tuple[str, ...], below: str, handler: Any, summary: str, **more: Any) -> Route:
    return Route(methods=methods, path="/v1/job/{job_id}" + below, handler=handler, summary=summary, **more)


READ_JOB = {"capability": "read-job"}
SUBMIT = {"capability": "submit-job", "answer": EvalReply}

ROUTES = (
    job_route(READ, "", read_job, "Read a job", answer=Job, query=BLOCKING, blocks_on=("job",), **READ_JOB),
    job_route(WRITE, "", update, "Register or update this job", body=JobBody, **SUBMIT),
    job_route(
        ("DELETE",), "", stop, "Stop a job", query=("purge", "global", "eval_priority", "no_shutdown_delay"), **SUBMIT
    ),
    job_route(
        WRITE,
        "/plan",
        plan,
        "Dry run",
        body=JobBody,
        answer=PlanReply,
        query=("why_not",),
        capability="submit-job",
    ),
    job_route(READ, "/why", why, "Why a job is not as it was asked for", answer=WhyReply, **READ_JOB),
    job_route(WRITE, "/evaluate", evaluate, "Evaluate a job again", body=EvaluateBody, answer=EvalReply, **READ_JOB),
    job_route(
        READ,
        "/allocations",
        allocations,
        "Allocations of a job",
        answer=list[AllocStub],
        query=(*LISTING, *BLOCKING, "all"),
        blocks_on=("allocs.job",),
        **READ_JOB,
    ),
    job_route(
        READ,
        "/evaluations",
        evaluations,
        "Evaluations of a job",
        answer=list[EvalView],
        query=(*LISTING, *BLOCKING),
        blocks_on=("evals.job",),
        **READ_JOB,
    ),
    job_route(
        READ,
        "/deployments",
        deployments,
        "Deployments of a job",
        answer=list[Deployment],
        query=(*LISTING, *BLOCKING, "all"),
        blocks_on=("deployments.job",),
        **READ_JOB,
    ),
    job_route(
        READ,
        "/deployment",
        latest_deployment,
        "Newest deployment of a job",
        answer=Deployment | None,
        query=BLOCKING,
        blocks_on=("deployments.job",),
        **READ_JOB,
    ),
    job_route(
        READ,
        "/summary",
        summary,
        "Counts per group",
        answer=JobSummary,
        query=BLOCKING,
        blocks_on=("job.summary",),
        **READ_JOB,
    ),
    job_route(
        READ, "/actions", actions, "Named commands of a job", answer=list[ActionStub], query=BLOCKING, **READ_JOB
    ),
)
