"""/v1/job/:id/versions, submission, revert, stable."""

from __future__ import annotations

import itertools
from typing import Any

from rove import jobspec
from rove.errors import NotFoundError
from rove.structs.base import Noun
from rove.structs.job import Job, JobSubmission

from .backend import Snapshot
from .call import Call, Reply
from .govalues import parse_uint, shown
from .job import READ_JOB, SUBMIT, check_job_id, job_route, target_of
from .jobs import registered
from .missing import unknown, unknown_job
from .reading import read
from .routes import BLOCKING, READ, WRITE
from .shapes import WriteReply


class VersionsReply(WriteReply, frozen=True, kw_only=True):
    """Versions, newest first; `diffs[i]` compares version i with the next older one."""

    versions: tuple[Job, ...] = ()
    diffs: list[Any] | None = None


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


async def versions(call: Call) -> Reply:
    """The versions that are kept, with their differences if asked for."""
    namespace, job_id = target_of(call)
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
    namespace, job_id = target_of(call)
    version = parse_uint("version", call.query.get("version", ""))

    def build(snapshot: Snapshot) -> JobSubmission:
        found = snapshot.submission(namespace, job_id, version)
        if found is None:
            raise unknown("job source", f"{job_id}, version {version}")
        return found

    return await read(call, [("job", namespace, job_id)], build)


async def revert(call: Call) -> Reply:
    """Make an older version the newest again."""
    namespace, job_id = target_of(call)
    body = await call.body(RevertBody)
    check_job_id(body.job_id, job_id)
    done = await call.server.revert_job(
        namespace, job_id, body.job_version, enforce_prior_version=body.enforce_prior_version
    )
    return registered(done)


async def set_stable(call: Call) -> Reply:
    """Mark a version as (not) known to work."""
    namespace, job_id = target_of(call)
    body = await call.body(StableBody)
    check_job_id(body.job_id, job_id)
    index = await call.server.set_stability(namespace, job_id, body.job_version, body.stable)
    return Reply(StableReply(job_modify_index=index, index=index), index, is_read=False)


ROUTES = (
    job_route(
        READ,
        "/versions",
        versions,
        "Versions of a job",
        answer=VersionsReply,
        query=(*BLOCKING, "diffs", "diff_tag", "diff_version"),
        blocks_on=("job",),
        **READ_JOB,
    ),
    job_route(
        READ,
        "/submission",
        submission,
        "Source of a job version",
        answer=JobSubmission,
        query=(*BLOCKING, "version"),
        blocks_on=("job",),
        **READ_JOB,
    ),
    job_route(WRITE, "/revert", revert, "Go back to a version", body=RevertBody, **SUBMIT),
    job_route(
        WRITE,
        "/stable",
        set_stable,
        "Mark a version as stable",
        body=StableBody,
        answer=StableReply,
        capability="submit-job",
    ),
)
