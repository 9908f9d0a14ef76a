"""/v1/nodes and /v1/node/:id."""

from __future__ import annotations

from typing import Any

from rove.errors import BadRequestError
from rove.structs.base import Noun
from rove.structs.node import DrainSpec, DrainStrategy, Eligibility, Node

from .allocations import whole
from .backend import Snapshot
from .call import Call, Reply
from .govalues import shown
from .missing import unknown
from .reading import read, read_page
from .routes import BLOCKING, LISTING, READ, WRITE, Route
from .shapes import AllocView, NodeDetail, NodeReply, NodeStub, node_detail, node_stub


class DrainBody(Noun, frozen=True, kw_only=True):
    """Start a drain, or end it (no spec)."""

    node_id: str = ""
    drain_spec: DrainSpec | None = None
    mark_eligible: bool = False
    meta: dict[str, str] = {}


class DrainView(Noun, frozen=True, kw_only=True):
    """A drain, null if there is none, and why each allocation that is still on the node is there, by id."""

    node_id: str
    drain_strategy: DrainStrategy | None
    waits: dict[str, str] = {}


class EligibilityBody(Noun, frozen=True, kw_only=True):
    """Whether new allocations may be placed."""

    node_id: str = ""
    eligibility: str = ""


async def list_nodes(call: Call) -> Reply:
    """Node stubs, by id."""
    prefix, with_resources, with_os = call.query.get("prefix", ""), call.flag("resources"), call.flag("os")

    def items(snapshot: Snapshot) -> Any:
        return snapshot.nodes(prefix)

    def shape(_: Snapshot, node: Node) -> NodeStub:
        return node_stub(node, with_resources, with_os)

    return await read_page(call, [("nodes",)], items, shape, lambda node: (node.id,))


def known_node(snapshot: Snapshot, node_id: str) -> Node:
    """The node. Raises `NotFoundError`."""
    node = snapshot.node(node_id)
    if node is None:
        raise unknown("node", node_id)
    return node


async def read_node(call: Call) -> Reply:
    """One node."""
    node_id = call.ids["node_id"]
    return await read(call, [("node", node_id)], lambda snap: node_detail(known_node(snap, node_id)))


async def allocations(call: Call) -> Reply:
    """All allocations of a node, whole."""
    node_id = call.ids["node_id"]

    def build(snapshot: Snapshot) -> list[AllocView]:
        known_node(snapshot, node_id)
        found = sorted(snapshot.all_allocs_of_node(node_id), key=lambda alloc: (alloc.create_index, alloc.id))
        return [whole(snapshot, alloc) for alloc in found]

    return await read(call, [("allocs.node", node_id)], build)


async def evaluate(call: Call) -> Reply:
    """Look again at every job on a node."""
    return _evaluated(call, await call.server.evaluate_node(_existing(call)))


async def set_eligibility(call: Call) -> Reply:
    """Allow or forbid new allocations."""
    body = await call.body(EligibilityBody)
    _same_id(body.node_id, call.ids["node_id"])
    try:
        eligibility = Eligibility(body.eligibility)
    except ValueError:
        raise BadRequestError(
            "node.eligibility",
            f"{shown(body.eligibility)} is no eligibility",
            fix='use "eligible" or "ineligible"',
        ) from None
    return _evaluated(call, await call.server.set_eligibility(_existing(call), eligibility))


async def drain(call: Call) -> Reply:
    """Start or end a drain."""
    body = await call.body(DrainBody)
    _same_id(body.node_id, call.ids["node_id"])
    outcome = await call.verb("drain_node")(
        _existing(call), body.drain_spec, mark_eligible=body.mark_eligible, meta=body.meta
    )
    return _evaluated(call, outcome)


async def read_drain(call: Call) -> Reply:
    """A drain under way: what it waits for."""
    node = known_node(call.store.snapshot(), call.ids["node_id"])
    waits = await call.verb("drain_waits")(node.id)
    return Reply(DrainView(node_id=node.id, drain_strategy=node.drain_strategy, waits=waits), call.store.index)


async def purge(call: Call) -> Reply:
    """Forget a node."""
    return _evaluated(call, await call.server.purge_node(_existing(call)))


def _existing(call: Call) -> str:
    return known_node(call.store.snapshot(), call.ids["node_id"]).id


def _evaluated(call: Call, outcome: tuple[list[str], int]) -> Reply:
    eval_ids, index = outcome
    body = NodeReply(
        eval_ids=eval_ids, eval_create_index=index if eval_ids else 0, node_modify_index=index, index=index
    )
    return Reply(body, index, is_read=False)


def _same_id(in_body: str, in_path: str) -> None:
    if in_body and in_body != in_path:
        raise BadRequestError(
            "node.id_mismatch", f"NodeID {shown(in_body)} in the body is not the path's {shown(in_path)}"
        )


ROUTES = (
    Route(
        methods=READ,
        path="/v1/nodes",
        handler=list_nodes,
        summary="List nodes",
        capability="node:read",
        query=(*LISTING, *BLOCKING, "resources", "os"),
        answer=list[NodeStub],
        blocks_on=("nodes",),
    ),
    Route(
        methods=READ,
        path="/v1/node/{node_id}",
        handler=read_node,
        summary="Read a node",
        capability="node:read",
        query=BLOCKING,
        answer=NodeDetail,
        blocks_on=("node",),
    ),
    Route(
        methods=READ,
        path="/v1/node/{node_id}/allocations",
        handler=allocations,
        summary="Allocations of a node",
        capability="node:read",
        query=BLOCKING,
        answer=list[AllocView],
        blocks_on=("allocs.node",),
    ),
    Route(
        methods=WRITE,
        path="/v1/node/{node_id}/evaluate",
        handler=evaluate,
        summary="Evaluate a node's jobs",
        capability="node:write",
        answer=NodeReply,
    ),
    Route(
        methods=WRITE,
        path="/v1/node/{node_id}/eligibility",
        handler=set_eligibility,
        body=EligibilityBody,
        summary="Allow or forbid placements",
        capability="node:write",
        answer=NodeReply,
    ),
    Route(
        methods=READ,
        path="/v1/node/{node_id}/drain",
        handler=read_drain,
        summary="What a drain waits for",
        capability="node:read",
        answer=DrainView,
    ),
    Route(
        methods=WRITE,
        path="/v1/node/{node_id}/drain",
        handler=drain,
        summary="Start or end a drain",
        capability="node:write",
        body=DrainBody,
        answer=NodeReply,
    ),
    Route(
        methods=WRITE,
        path="/v1/node/{node_id}/purge",
        handler=purge,
        summary="Forget a node",
        capability="node:write",
        answer=NodeReply,
    ),
)
