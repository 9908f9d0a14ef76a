"""/v1/evaluations and /v1/evaluation/:id."""

from __future__ import annotations

import asyncio
from typing import Any

from rove.errors import BadRequestError
from rove.structs.alloc import Allocation, AllocStub
from rove.structs.base import Noun
from rove.structs.evaluation import Evaluation

from .backend import Snapshot
from .call import Call, Reply
from .filter import Filter, parse_filter
from .missing import unknown
from .reading import read, read_page, snapshot_after
from .routes import BLOCKING, LISTING, READ, Route
from .shapes import EvalView, alloc_stub, eval_stub, eval_view

MAX_DELETE = 7281


class CountReply(Noun, frozen=True, kw_only=True):
    """How many."""

    count: int = 0
    index: int = 0


async def list_evaluations(call: Call) -> Reply:
    """Evaluations in creation order. status, job: only those."""
    status, job_id = call.query.get("status", ""), call.query.get("job", "")
    namespace, prefix = call.list_namespace, call.query.get("prefix", "")

    def items(snapshot: Snapshot) -> Any:
        return (
            evaluation
            for evaluation in snapshot.evaluations(prefix, namespace)
            if (not status or evaluation.status == status) and (not job_id or evaluation.job_id == job_id)
        )

    def shape(_: Snapshot, evaluation: Evaluation) -> EvalView:
        return eval_view(evaluation)

    return await read_page(call, [("evals",)], items, shape, evaluation_order)


def evaluation_order(evaluation: Evaluation) -> tuple[int, str]:
    """Creation order."""
    return (evaluation.create_index, evaluation.id)


async def count(call: Call) -> Reply:
    """How many evaluations match."""
    snapshot, index = await snapshot_after(call, [("evals",)])
    text = call.query.get("filter", "")
    wanted = parse_filter(text) if text else None
    found = await asyncio.to_thread(_count, snapshot, call.list_namespace, wanted)
    return Reply(CountReply(count=found, index=index), index)


def _count(snapshot: Snapshot, namespace: str | None, wanted: Filter | None) -> int:
    return sum(1 for item in snapshot.evaluations("", namespace) if wanted is None or wanted(item))


async def read_evaluation(call: Call) -> Reply:
    """One evaluation; related: with those around it."""
    eval_id, with_related = call.ids["eval_id"], call.flag("related")

    def build(snapshot: Snapshot) -> EvalView:
        evaluation = snapshot.evaluation(eval_id)
        if evaluation is None:
            raise unknown("evaluation", eval_id)
        return eval_view(evaluation, related(snapshot, evaluation) if with_related else ())

    return await read(call, [("eval", eval_id)], build)


def related(snapshot: Snapshot, evaluation: Evaluation) -> tuple[Any, ...]:
    """Evaluations that this one followed, or that follow it, however far."""
    everyone = {other.id: other for other in snapshot.evaluations_of_job(evaluation.namespace, evaluation.job_id)}
    found: dict[str, Evaluation] = {}
    waiting = [evaluation]
    while waiting:
        current = waiting.pop()
        for other_id in (current.previous_eval, current.next_eval, current.blocked_eval):
            other = everyone.get(other_id)
            if other is not None and other.id != evaluation.id and other.id not in found:
                found[other.id] = other
                waiting.append(other)
    return tuple(eval_stub(other) for other in sorted(found.values(), key=evaluation_order))


async def allocations(call: Call) -> Reply:
    """Stubs of the allocations that an evaluation made or changed."""
    eval_id = call.ids["eval_id"]

    def items(snapshot: Snapshot) -> Any:
        return snapshot.allocs_of_evaluation(eval_id)

    def shape(_: Snapshot, alloc: Allocation) -> AllocStub:
        return alloc_stub(alloc)

    return await read_page(call, [("allocs.eval", eval_id)], items, shape, lambda a: (a.create_index, a.id))


class DeleteBody(Noun, frozen=True, kw_only=True):
    """Which evaluations to forget: these, or all that a filter keeps."""

    eval_ids: list[str] = []
    filter: str = ""


async def delete(call: Call) -> Reply:
    """Forget evaluations; only while the broker is paused, so that none of them is being worked on."""
    from rove.server.state import Collect  # late: an agent that is no server does without the state

    body = await call.body(DeleteBody)
    if bool(body.eval_ids) == bool(body.filter):
        raise BadRequestError("evaluation.delete", "name either EvalIDs or a Filter")
    if len(body.eval_ids) > MAX_DELETE:
        raise BadRequestError("evaluation.delete", f"more than {MAX_DELETE} evaluations at once")
    snapshot = call.store.snapshot()
    if not snapshot.scheduler_configuration().pause_eval_broker:
        raise BadRequestError(
            "evaluation.broker",
            "evaluations are deleted only while the broker is paused",
            fix="set PauseEvalBroker in the scheduler's configuration",
        )
    if body.filter:
        wanted = parse_filter(body.filter)
        namespace = call.list_namespace
        ids = await asyncio.to_thread(
            lambda: tuple(item.id for item in snapshot.evaluations("", namespace) if wanted(item))
        )
    else:
        ids = tuple(body.eval_ids)
        for eval_id in ids:
            if snapshot.evaluation(eval_id) is None:
                raise unknown("evaluation", eval_id)
    index = await call.store.commit(Collect(evaluation_ids=ids)) if ids else call.store.index
    return Reply(CountReply(count=len(ids), index=index), index, is_read=False)


ROUTES = (
    Route(
        methods=("DELETE",),
        path="/v1/evaluations",
        handler=delete,
        summary="Forget evaluations",
        capability="management",
        body=DeleteBody,
        answer=CountReply,
    ),
    Route(
        methods=READ,
        path="/v1/evaluations",
        handler=list_evaluations,
        summary="List evaluations",
        capability="read-job",
        query=(*LISTING, *BLOCKING, "status", "job"),
        answer=list[EvalView],
        blocks_on=("evals",),
    ),
    Route(
        methods=READ,
        path="/v1/evaluations/count",
        handler=count,
        summary="Count evaluations",
        capability="read-job",
        query=("filter", *BLOCKING),
        answer=CountReply,
        blocks_on=("evals",),
    ),
    Route(
        methods=READ,
        path="/v1/evaluation/{eval_id}",
        handler=read_evaluation,
        summary="Read an evaluation",
        capability="read-job",
        query=("related", *BLOCKING),
        answer=EvalView,
        blocks_on=("eval",),
    ),
    Route(
        methods=READ,
        path="/v1/evaluation/{eval_id}/allocations",
        handler=allocations,
        summary="Allocations of an evaluation",
        capability="read-job",
        query=(*LISTING, *BLOCKING),
        answer=list[AllocStub],
        blocks_on=("allocs.eval",),
    ),
)
