"""/v1/jobs, /v1/jobs/parse, /v1/validate/job."""

from __future__ import annotations

import asyncio
from typing import Any

from rove import jobspec
from rove.errors import BadRequestError, InvalidJobError
from rove.structs.base import Noun
from rove.structs.job import Job

from .backend import Registered, Snapshot
from .call import Call, Reply
from .reading import read_page
from .registration import JobBody, Submitted, submitted
from .replies import to_json
from .routes import BLOCKING, LISTING, READ, WRITE, Route
from .shapes import EvalReply, JobStub, job_stub


class ParseBody(Noun, frozen=True, kw_only=True):
    """HCL text to turn into a job. variables: text of a variable file."""

    job_hcl: str = ""
    variables: str = ""
    canonicalize: bool = False


class ValidateReply(Noun, frozen=True, kw_only=True):
    """What is wrong with a job."""

    driver_config_validated: bool = True
    validation_errors: list[str] | None = None
    error: str = ""
    warnings: str = ""
    index: int = 0


async def list_jobs(call: Call) -> Reply:
    """Job stubs, by namespace and id."""
    namespace, prefix, with_meta = call.list_namespace, call.query.get("prefix", ""), call.flag("meta")

    def items(snapshot: Snapshot) -> Any:
        return snapshot.jobs(namespace, prefix)

    def shape(snapshot: Snapshot, job: Job) -> JobStub:
        return job_stub(job, snapshot.job_summary(job.namespace, job.id), with_meta)

    # Stubs hold counts of allocations, so a change of those is a change of the list.
    return await read_page(call, [("jobs",), ("allocs",)], items, shape, job_order)


def job_order(job: Job) -> tuple[str, str]:
    """By namespace, then id."""
    return (job.namespace, job.id)


async def register(call: Call) -> Reply:
    """Register or update a job."""
    return await register_submitted(call, await submitted(call))


async def register_submitted(call: Call, given: Submitted) -> Reply:
    """Store a job that was read from a body."""
    body = given.body
    done = await call.server.register_job(
        given.checked(),
        submission=given.submission(),
        enforce_index=body.enforce_index,
        modify_index=body.job_modify_index,
        preserve_counts=body.preserve_counts,
        preserve_resources=body.preserve_resources,
        eval_priority=body.eval_priority,
    )
    return registered(done, given.warnings)


def registered(done: Registered, warnings: list[str] | None = None) -> Reply:
    """The answer of a write about a job."""
    body = EvalReply(
        eval_id=done.eval_id,
        eval_create_index=done.eval_create_index,
        job_modify_index=done.job_modify_index,
        index=done.index,
        warnings=warning_text([*(warnings or []), *_as_list(done.warnings)]),
    )
    return Reply(body, done.index, is_read=False)


def _as_list(warnings: Any) -> list[str]:
    if not warnings:
        return []
    return [warnings] if isinstance(warnings, str) else [str(warning) for warning in warnings]


def warning_text(warnings: list[str]) -> str:
    """Warnings as one text: a count, then a line each; "" for none."""
    if not warnings:
        return ""
    noun = "warning" if len(warnings) == 1 else "warnings"
    return "\n".join([f"{len(warnings)} {noun}:", "", *(f"* {warning}" for warning in warnings)])


async def parse(call: Call) -> Reply:
    """HCL text to a job, without storing it."""
    body = await call.body(ParseBody)
    if not body.job_hcl.strip():
        raise BadRequestError("job.empty", "JobHCL is empty", fix="send the text of a job file in JobHCL")
    return Reply(await asyncio.to_thread(lambda: to_json(parse_text(body))))


def parse_text(body: ParseBody) -> Any:
    """The job in a body's text, as API values. Raises `JobFileError` with the diagnostics."""
    var_files = [("input.vars", body.variables)] if body.variables.strip() else []
    parsed = jobspec.parse_job(body.job_hcl, filename="input.hcl", var_files=var_files, env={})
    return jobspec.canonicalize(parsed.api) if body.canonicalize else parsed.api


async def validate(call: Call) -> Reply:
    """What is wrong with a job, without storing it; 200 also if something is."""
    try:
        given = await submitted(call)
        problems, warnings = given.problems, given.warnings
    except InvalidJobError as failure:
        problems, warnings = failure.problems, []
    error = "\n".join([f"{len(problems)} errors:", *(f"* {p}" for p in problems)]) if problems else ""
    body = ValidateReply(
        validation_errors=problems or None,
        error=error,
        warnings=warning_text(warnings),
        index=call.store.index,
    )
    return Reply(body, call.store.index)


ROUTES = (
    Route(
        methods=READ,
        path="/v1/jobs",
        handler=list_jobs,
        summary="List jobs",
        capability="list-jobs",
        query=(*LISTING, *BLOCKING, "meta"),
        answer=list[JobStub],
        blocks_on=("jobs", "allocs"),
    ),
    Route(
        methods=WRITE,
        path="/v1/jobs",
        handler=register,
        summary="Register or update a job",
        capability="submit-job",
        body=JobBody,
        answer=EvalReply,
    ),
    Route(
        methods=WRITE,
        path="/v1/jobs/parse",
        handler=parse,
        summary="Turn HCL into a job",
        capability="parse-job",
        body=ParseBody,
        answer=Job,
    ),
    Route(
        methods=WRITE,
        path="/v1/validate/job",
        handler=validate,
        summary="Check a job",
        capability="submit-job",
        body=JobBody,
        answer=ValidateReply,
    ),
)
