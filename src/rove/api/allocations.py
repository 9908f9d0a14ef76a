"""/v1/allocations and /v1/allocation/:id."""

from __future__ import annotations

from typing import Any

from rove.structs.alloc import Allocation, AllocStub

from .backend import Snapshot
from .call import Call, Reply
from .missing import unknown
from .reading import read, read_page
from .routes import BLOCKING, LISTING, READ, WRITE, Route
from .shapes import AllocView, EvalReply, alloc_stub, alloc_view


async def list_allocations(call: Call) -> Reply:
    """Allocation stubs in creation order."""
    namespace, prefix = call.list_namespace, call.query.get("prefix", "")
    with_resources, with_states = call.flag("resources"), call.flag("task_states", True)

    def items(snapshot: Snapshot) -> Any:
        return snapshot.allocs(prefix, namespace)

    def shape(_: Snapshot, alloc: Allocation) -> AllocStub:
        return alloc_stub(alloc, with_resources, with_states)

    return await read_page(call, [("allocs",)], items, shape, alloc_order, is_ordered=True)


def alloc_order(alloc: Allocation) -> tuple[int, str]:
    """Creation order."""
    return (alloc.create_index, alloc.id)


async def read_allocation(call: Call) -> Reply:
    """One allocation with its job."""
    alloc_id = call.ids["alloc_id"]

    def build(snapshot: Snapshot) -> AllocView:
        return whole(snapshot, known_alloc(snapshot, alloc_id))

    return await read(call, [("alloc", alloc_id)], build)


def known_alloc(snapshot: Snapshot, alloc_id: str) -> Allocation:
    """The allocation. Raises `NotFoundError`."""
    alloc = snapshot.alloc(alloc_id)
    if alloc is None:
        raise unknown("alloc", alloc_id)
    return alloc


def whole(snapshot: Snapshot, alloc: Allocation) -> AllocView:
    """The allocation with the job version it runs; the newest one if that version is no longer kept."""
    key = (alloc.namespace, alloc.job_id)
    job = alloc.job or snapshot.job_version(*key, alloc.job_version) or snapshot.job(*key)
    return alloc_view(alloc, job)


async def stop(call: Call) -> Reply:
    """Stop an allocation and place another in its stead."""
    done = await call.server.stop_alloc(
        call.ids["alloc_id"],
        no_shutdown_delay=call.flag("no_shutdown_delay"),
        reschedule=call.flag("reschedule"),
    )
    body = EvalReply(eval_id=done.eval_id, eval_create_index=done.eval_create_index, index=done.index)
    return Reply(body, done.index, is_read=False)


ROUTES = (
    Route(
        methods=READ,
        path="/v1/allocations",
        handler=list_allocations,
        summary="List allocations",
        capability="read-job",
        query=(*LISTING, *BLOCKING, "resources", "task_states"),
        answer=list[AllocStub],
        blocks_on=("allocs",),
    ),
    Route(
        methods=READ,
        path="/v1/allocation/{alloc_id}",
        handler=read_allocation,
        summary="Read an allocation",
        capability="read-job",
        query=BLOCKING,
        answer=AllocView,
        blocks_on=("alloc",),
    ),
    Route(
        methods=WRITE,
        path="/v1/allocation/{alloc_id}/stop",
        handler=stop,
        summary="Stop an allocation",
        capability="alloc-lifecycle",
        query=("no_shutdown_delay", "reschedule"),
        answer=EvalReply,
    ),
)
