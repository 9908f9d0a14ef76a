"""A job as it came in a body, turned into one that may be stored."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from rove import jobspec
from rove.errors import BadRequestError, InvalidJobError, UnavailableError
from rove.structs.base import Noun
from rove.structs.job import Job, JobSubmission

from .call import BIG_BODY, Call, convert_body, decode_json
from .govalues import shown

GLOBAL = "global"
DEFAULT = "default"
PRIORITY_MAX = 100
JOB_DEPTH_MAX = 256
"""Levels of a body with a job in it: what is free-form in a job has a limit of its own, far below."""
SOURCE_MAX = 1_000_000
"""Bytes of source that are kept with a version."""


class SubmissionBody(Noun, frozen=True, kw_only=True):
    """The source a job was made from."""

    source: str = ""
    format: str = ""
    variable_flags: dict[str, str] = {}
    variables: str = ""

    @property
    def is_too_large(self) -> bool:
        """Whether it is more than is kept."""
        texts = (self.source, self.variables, *self.variable_flags.keys(), *self.variable_flags.values())
        return sum(len(text.encode("utf-8", "replace")) for text in texts) > SOURCE_MAX


class JobBody(Noun, frozen=True, kw_only=True):
    """A job to register, plan or validate. `Job` is read by `rove.jobspec`, which knows every spelling."""

    job: dict[str, Any] | None = None
    submission: SubmissionBody | None = None
    enforce_index: bool = False
    job_modify_index: int = 0
    policy_override: bool = False
    preserve_counts: bool = False
    preserve_resources: bool = False
    eval_priority: int = 0
    diff: bool = False
    region: str = ""
    namespace: str = ""


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded body, its job in canonical form, and what is wrong or odd about the job."""

    body: JobBody
    job: Job
    problems: list[str]
    warnings: list[str]

    def checked(self) -> Job:
        """The job. Raises `InvalidJobError` with every problem."""
        if self.problems:
            raise InvalidJobError(self.job.id, self.problems)
        return self.job

    def submission(self) -> JobSubmission | None:
        """The source to keep with the version, if one was sent that is not too large."""
        sent = self.body.submission
        if sent is None or not sent.source or sent.is_too_large:
            return None
        return JobSubmission(
            source=sent.source,
            format=sent.format,
            variable_flags=sent.variable_flags,
            variables=sent.variables,
            namespace=self.job.namespace,
            job_id=self.job.id,
        )


async def submitted(call: Call, job_id: str | None = None) -> Submitted:
    """Read a job from the request's body.

    job_id: what the path says; another id in the body is refused. Raises `BadRequestError`.
    """
    raw = await call.raw_body()
    namespace = call.query.get("namespace", "")
    region = call.backend.region
    work = (raw, namespace, region, job_id)
    return await asyncio.to_thread(_read, *work) if len(raw) > BIG_BODY else _read(*work)


def _read(raw: bytes, namespace: str, region: str, job_id: str | None) -> Submitted:
    value = decode_json(raw, JOB_DEPTH_MAX)
    if not isinstance(value, dict):
        raise BadRequestError("request.json", "the request body must be a JSON object")
    body = convert_body(value, JobBody)
    if body.job is None:
        raise BadRequestError("job.missing", "the request has no Job", fix='send {"Job": {...}}')
    return read_job(body, namespace, region, job_id)


def read_job(body: JobBody, namespace: str, region: str, job_id: str | None) -> Submitted:
    """The job of a decoded body in canonical form, in the namespace and region that the request settles."""
    if not 0 <= body.eval_priority <= PRIORITY_MAX:
        raise BadRequestError(
            "job.eval_priority",
            f"EvalPriority {body.eval_priority} is not between 0 and {PRIORITY_MAX}",
            fix="leave it out, and the evaluation has the job's own priority",
        )
    api = jobspec.decode_api_job(body.job or {})
    api["Namespace"] = settled_namespace(namespace, body.namespace, api.get("Namespace"))
    for named in (body.region, api.get("Region")):
        _check_region(named, region)
    api["Region"] = region
    if job_id is not None and api.get("ID") != job_id:
        raise BadRequestError(
            "job.id_mismatch", f"the job's ID {shown(str(api.get('ID')))} is not the path's {shown(job_id)}"
        )
    job = jobspec.canonicalize(api)
    problems = [str(problem) for problem in jobspec.validate(job)]
    warnings = [] if problems else [str(warning) for warning in jobspec.warnings(job)]
    if body.submission is not None and body.submission.is_too_large:
        warnings.append(f"the job's source is larger than {SOURCE_MAX} bytes, so it is not kept with the version")
    if not problems:
        # Services are registered by Rove itself, so those of the consul provider need no Consul agent.
        job = jobspec.add_implied_constraints(job, consul=False)
    return Submitted(body=body, job=job, problems=problems, warnings=warnings)


def _check_region(named: str | None, ours: str) -> None:
    """Refuse a job that names another region, as `?region=` does. "global" is what files say that name none."""
    if named not in {None, "", GLOBAL, ours}:
        raise UnavailableError(
            "forward.no_path",
            "No path to region",
            f"the job asks for region {shown(str(named))}; this one is {shown(ours)}",
            "send the job to an agent of that region, or leave its region out",
        )


def settled_namespace(in_query: str, in_body: str, in_job: str | None) -> str:
    """Query before body before job; `default` and `*` there settle nothing."""
    for name in (in_query, in_body):
        if name not in {"", "*", DEFAULT}:
            return name
    return in_job or DEFAULT
