"""/v1/job/:id/versions/:name/tag: names that keep a version from being forgotten."""

from __future__ import annotations

from rove.errors import BadRequestError, ConflictError, NotFoundError
from rove.jobspec.rules import bad_character
from rove.structs.base import Noun, unix_ns
from rove.structs.job import JobVersionTag

from .call import Call, Reply
from .govalues import shown
from .missing import unknown_job
from .routes import WRITE, Route
from .shapes import WriteReply

MAX_NAME = 128
MAX_DESCRIPTION = 1000


class TagBody(Noun, frozen=True, kw_only=True):
    """Which version to name; none: the newest."""

    version: int | None = None
    description: str = ""


class TagReply(WriteReply, frozen=True, kw_only=True):
    """The tag as it was stored."""

    name: str = ""
    description: str = ""
    tagged_time: int = 0


async def tag(call: Call) -> Reply:
    """Name a version."""
    from rove.server.state import TagJobVersion  # late: an agent that is no server does without the state

    namespace, job_id, name = call.namespace, call.ids["job_id"], call.ids["name"]
    body = await call.body(TagBody, optional=True)
    if unfit := bad_character(name):
        raise BadRequestError("job.tag", f"the tag {shown(name)} may not hold {unfit}")
    if not name.strip() or len(name) > MAX_NAME or len(body.description) > MAX_DESCRIPTION:
        raise BadRequestError(
            "job.tag", f"a tag has 1 to {MAX_NAME} characters, its description at most {MAX_DESCRIPTION}"
        )
    kept = call.store.snapshot().job_versions(namespace, job_id)
    if not kept:
        raise unknown_job(namespace, job_id)
    version = kept[0].version if body.version is None else body.version
    if all(job.version != version for job in kept):
        raise NotFoundError("job.version_unknown", f"job version not found: {version} of {shown(job_id)}")
    holder = next((job for job in kept if job.version_tag is not None and job.version_tag.name == name), None)
    if holder is not None and holder.version != version:
        raise ConflictError(
            "job.tag_taken", f"tag {shown(name)} is on version {holder.version} already", fix="take it away first"
        )
    stamp = unix_ns(call.backend.clock.now())
    stored = JobVersionTag(name=name, description=body.description, tagged_time=stamp)
    index = await call.store.commit(
        TagJobVersion(namespace=namespace, job_id=job_id, version=version, tag=stored, name=name)
    )
    reply = TagReply(name=name, description=body.description, tagged_time=stamp, index=index)
    return Reply(reply, index, is_read=False)


async def untag(call: Call) -> Reply:
    """Take a version's name away."""
    from rove.server.state import TagJobVersion

    namespace, job_id, name = call.namespace, call.ids["job_id"], call.ids["name"]
    kept = call.store.snapshot().job_versions(namespace, job_id)
    holder = next((job for job in kept if job.version_tag is not None and job.version_tag.name == name), None)
    if holder is None:
        raise NotFoundError("job.tag_unknown", f"tag not found: {shown(name)} on job {shown(job_id)}")
    transaction = TagJobVersion(namespace=namespace, job_id=job_id, version=holder.version, tag=None, name=name)
    index = await call.store.commit(transaction)
    return Reply(TagReply(name=name, index=index), index, is_read=False)


ROUTES = (
    Route(
        methods=WRITE,
        path="/v1/job/{job_id}/versions/{name}/tag",
        handler=tag,
        summary="Name a job version",
        capability="submit-job",
        body=TagBody,
        answer=TagReply,
    ),
    Route(
        methods=("DELETE",),
        path="/v1/job/{job_id}/versions/{name}/tag",
        handler=untag,
        summary="Take a job version's name away",
        capability="submit-job",
        answer=TagReply,
    ),
)
