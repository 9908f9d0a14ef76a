"""/v1/event/stream: what changes, as it changes, one JSON object a line."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from aiohttp import web

from rove.errors import BadRequestError, RoveError
from rove.structs.alloc import Allocation
from rove.structs.evaluation import Evaluation

from .call import Call
from .govalues import shown
from .replies import JSON, start_stream, to_json
from .routes import READ, Route
from .shapes import alloc_view, eval_view

HEARTBEAT_S = 10.0
TOPICS = frozenset(
    {
        "*",
        "ACLAuthMethod",
        "ACLBindingRule",
        "ACLPolicy",
        "ACLRole",
        "ACLToken",
        "Allocation",
        "CSIPlugin",
        "CSIVolume",
        "Deployment",
        "Evaluation",
        "HostVolume",
        "Job",
        "KV",
        "Node",
        "NodePool",
        "Operator",
        "Service",
        "Variable",
    }
)
MAX_TOPICS = 64


async def stream(call: Call) -> web.StreamResponse:
    """Events from an index on; `{}` while nothing happens."""
    topics = topics_of(call)
    subscription = call.store.events.subscribe(topics, call.wait_index, call.list_namespace)
    try:
        response = await start_stream(call, JSON)
        await response.write(b"{}\n")
        await _send(response, subscription)
        await response.write_eof()
    finally:
        subscription.close()
    return response


def topics_of(call: Call) -> list[str]:
    """The topics asked for, `Topic` or `Topic:key`. Raises `BadRequestError` for unknown ones."""
    topics = call.query.getall("topic", []) if hasattr(call.query, "getall") else []
    if len(topics) > MAX_TOPICS:
        raise BadRequestError("event.topics", f"more than {MAX_TOPICS} topics")
    for text in topics:
        topic, _, key = text.partition(":")
        if topic not in TOPICS:
            raise BadRequestError("event.topic", f"{shown(topic)} is no topic", fix="use " + ", ".join(sorted(TOPICS)))
        if ":" in text and not key:
            raise BadRequestError("event.topic", f"topic {shown(text)} has an empty key")
    return list(topics)


async def _send(response: web.StreamResponse, subscription: Any) -> None:
    batches = aiter(subscription)
    coming: asyncio.Future[Any] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(batches))
            done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT_S)
            if not done:
                await response.write(b"{}\n")
                continue
            finished, coming = coming, None
            try:
                batch = finished.result()
            except StopAsyncIteration:
                return
            except RoveError as error:
                await response.write(to_json({"Error": error.text()}) + b"\n")
                return
            await response.write(to_json(whole(batch)) + b"\n")
    finally:
        if coming is not None:
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, RoveError):
                await coming


def whole(batch: Any) -> Any:
    """The batch with nouns in the form that the API shows: the stored form leaves defaults out."""
    events = tuple(msgspec.structs.replace(event, payload=_shown_payload(event.payload)) for event in batch.events)
    return msgspec.structs.replace(batch, events=events)


def _shown_payload(payload: dict[str, Any]) -> dict[str, Any]:
    shown_forms: dict[str, Any] = {}
    for name, noun in payload.items():
        if isinstance(noun, Allocation):
            noun = alloc_view(noun, None)
        elif isinstance(noun, Evaluation):
            noun = eval_view(noun)
        shown_forms[name] = noun
    return shown_forms


ROUTES = (
    Route(
        methods=READ,
        path="/v1/event/stream",
        handler=stream,
        summary="Follow what changes",
        capability="read-job",
        query=("index", "topic"),
    ),
)
