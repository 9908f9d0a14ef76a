"""/v1/job/:id/dispatch and /v1/job/:id/periodic/force: children of a job."""

from __future__ import annotations

from rove.structs.base import Noun

from .call import Call, Reply
from .job import SUBMIT, check_job_id, job_route, target_of
from .jobs import registered
from .routes import WRITE
from .shapes import WriteReply


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


async def dispatch(call: Call) -> Reply:
    """Start a copy of a parameterized job."""
    body = await call.body(DispatchBody, optional=True)
    check_job_id(body.job_id, call.ids["job_id"])
    return await _dispatch(call, body)


async def dispatch_payload(call: Call) -> Reply:
    """Start a copy of a parameterized job; the body is the payload as it is."""
    return await _dispatch(call, DispatchBody(payload=await call.raw_body()))


async def _dispatch(call: Call, body: DispatchBody) -> Reply:
    namespace, job_id = target_of(call)
    done = await call.server.dispatch_job(
        namespace,
        job_id,
        payload=body.payload,
        meta=body.meta,
        id_prefix=body.id_prefix_template,
        idempotency_token=call.query.get("idempotency_token", ""),
        priority=body.priority,
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
    return registered(await call.verb("force_periodic")(*target_of(call)))


ROUTES = (
    job_route(
        WRITE,
        "/dispatch",
        dispatch,
        "Dispatch a parameterized job",
        body=DispatchBody,
        answer=DispatchReply,
        query=("idempotency_token",),
        capability="dispatch-job",
    ),
    job_route(
        WRITE,
        "/dispatch/payload",
        dispatch_payload,
        "Dispatch with a raw payload",
        answer=DispatchReply,
        query=("idempotency_token",),
        capability="dispatch-job",
    ),
    job_route(WRITE, "/periodic/force", force_periodic, "Launch a periodic job now", **SUBMIT),
)
