"""/v1/client/*: what a node is asked, by way of the server's connection to it or directly if it is this agent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from rove.errors import BadRequestError, NotFoundError
from rove.structs.base import Noun
from rove.structs.messages import (
    AllocRequest,
    Empty,
    FileInfo,
    FileInfos,
    FileRequest,
    Kind,
    LogsRequest,
    NodeMeta,
    NodeMetaRequest,
    RestartRequest,
    SignalRequest,
    Stats,
    StreamChunk,
)

from . import govalues
from .allocations import known_alloc
from .backend import NodeStream
from .call import Call, Reply
from .govalues import shown
from .missing import unknown
from .replies import JSON, TEXT, start_stream, to_json
from .routes import READ, WRITE, Place, Route

T = TypeVar("T")
HEARTBEAT_S = 1.0
TIMEOUT_S = 30.0
MAX_FRAME = 64 * 1024


class RestartBody(Noun, frozen=True, kw_only=True):
    """Which task to restart: one, or all running ones; all_tasks: also those that have ended."""

    task_name: str = ""
    all_tasks: bool = False


class SignalBody(Noun, frozen=True, kw_only=True):
    """Which signal to send, to one task or all."""

    task: str = ""
    signal: str = ""


def find_node(call: Call, alloc_id: str) -> str:
    """The node of an allocation, "" for this agent's own. Raises `NotFoundError`."""
    client = call.client
    if call.backend.server is None:
        if client is None or not client.has_alloc(alloc_id):
            raise unknown("alloc", alloc_id)
        return ""
    return known_alloc(call.store.snapshot(), alloc_id).node_id


async def ask(call: Call, node_id: str, kind: Kind, body: Any, reply: type[T]) -> T:
    """Ask a node. Raises `RoveError` when it cannot be reached or refuses."""
    if node_id and call.backend.server is not None:
        return await call.server.call_node(node_id, kind, body, reply, timeout_s=TIMEOUT_S)
    if call.client is None:
        raise NotFoundError("node.none", "this agent is no node")
    return await call.client.call(kind, body, reply, timeout_s=TIMEOUT_S)


async def open_stream(call: Call, node_id: str, kind: Kind, body: Any) -> NodeStream:
    """Open a stream to a node."""
    if node_id and call.backend.server is not None:
        stream: NodeStream = await call.server.open_node(node_id, kind, body)
        return stream
    if call.client is None:
        raise NotFoundError("node.none", "this agent is no node")
    own: NodeStream = await call.client.open(kind, body)
    return own


def asked_node(call: Call, in_body: str = "") -> str:
    """`?node_id=` (or the body's), "" for this agent. Raises `NotFoundError` for a node that is not known."""
    node_id = call.query.get("node_id", "") or in_body
    client = call.client
    if node_id and (client is None or client.node_id != node_id):
        if call.backend.server is None or call.store.snapshot().node(node_id) is None:
            raise unknown("node", node_id)
        return node_id
    if client is None:
        raise BadRequestError("node.none", "this agent is no node", fix="name one with node_id=")
    return ""


async def restart(call: Call) -> Reply:
    """Restart tasks of an allocation."""
    alloc_id = call.ids["alloc_id"]
    body = await call.body(RestartBody, optional=True)
    if body.task_name and body.all_tasks:
        raise BadRequestError("alloc.restart", "TaskName and AllTasks exclude each other")
    request = RestartRequest(alloc_id=alloc_id, task=body.task_name, all_tasks=body.all_tasks)
    await ask(call, find_node(call, alloc_id), Kind.ALLOC_RESTART, request, Empty)
    return Reply({}, is_read=False)


async def send_signal(call: Call) -> Reply:
    """Send a signal to tasks of an allocation."""
    alloc_id = call.ids["alloc_id"]
    body = await call.body(SignalBody)
    if not body.signal:
        raise BadRequestError("alloc.signal", "no signal is named", fix='send {"Signal": "SIGHUP"}')
    request = SignalRequest(alloc_id=alloc_id, task=body.task, signal=body.signal)
    await ask(call, find_node(call, alloc_id), Kind.ALLOC_SIGNAL, request, Empty)
    return Reply({}, is_read=False)


async def alloc_stats(call: Call) -> Reply:
    """Resource usage of an allocation and its tasks."""
    alloc_id = call.ids["alloc_id"]
    request = AllocRequest(alloc_id=alloc_id, task=call.query.get("task", ""))
    return Reply((await ask(call, find_node(call, alloc_id), Kind.ALLOC_STATS, request, Stats)).body)


async def alloc_checks(call: Call) -> Reply:
    """Results of an allocation's service checks."""
    alloc_id = call.ids["alloc_id"]
    request = AllocRequest(alloc_id=alloc_id)
    return Reply((await ask(call, find_node(call, alloc_id), Kind.ALLOC_CHECKS, request, Stats)).body)


async def alloc_gc(call: Call) -> Reply:
    """Remove an ended allocation's directory."""
    alloc_id = call.ids["alloc_id"]
    await ask(call, find_node(call, alloc_id), Kind.ALLOC_GC, AllocRequest(alloc_id=alloc_id), Empty)
    return Reply({}, is_read=False)


async def host_stats(call: Call) -> Reply:
    """Statistics of a node's machine."""
    return Reply((await ask(call, asked_node(call), Kind.NODE_STATS, Empty(), Stats)).body)


async def node_gc(call: Call) -> Reply:
    """Remove the directories of all ended allocations of a node."""
    await ask(call, asked_node(call), Kind.NODE_GC, Empty(), Empty)
    return Reply({}, is_read=False)


class MetaBody(Noun, frozen=True, kw_only=True):
    """Change a node's meta; null takes a key away."""

    node_id: str = ""
    meta: dict[str, str | None] = {}


async def read_meta(call: Call) -> Reply:
    """A node's meta."""
    return Reply(await ask(call, asked_node(call), Kind.NODE_META, NodeMetaRequest(), NodeMeta))


async def change_meta(call: Call) -> Reply:
    """Change a node's meta while it runs."""
    body = await call.body(MetaBody)
    node_id = asked_node(call, body.node_id)
    if not body.meta:
        raise BadRequestError("node.meta", "missing required Meta object", fix='send {"Meta": {"key": "value"}}')
    return Reply(await ask(call, node_id, Kind.NODE_META, NodeMetaRequest(changes=body.meta), NodeMeta), is_read=False)


async def file_list(call: Call) -> Reply:
    """Entries of a directory in an allocation's folder."""
    alloc_id = call.ids["alloc_id"]
    request = FileRequest(alloc_id=alloc_id, path=call.query.get("path") or "/")
    return Reply((await ask(call, find_node(call, alloc_id), Kind.FS_LIST, request, FileInfos)).entries)


async def file_stat(call: Call) -> Reply:
    """One entry."""
    alloc_id = call.ids["alloc_id"]
    request = FileRequest(alloc_id=alloc_id, path=_path(call))
    return Reply(await ask(call, find_node(call, alloc_id), Kind.FS_STAT, request, FileInfo))


async def file_cat(call: Call) -> web.StreamResponse:
    """A file's bytes."""
    return await _send_file(call, FileRequest(alloc_id=call.ids["alloc_id"], path=_path(call)))


async def file_read_at(call: Call) -> web.StreamResponse:
    """A part of a file."""
    offset = _offset(call, required=True)
    limit = _limit(call)
    return await _send_file(
        call, FileRequest(alloc_id=call.ids["alloc_id"], path=_path(call), offset=offset, limit=limit)
    )


async def file_stream(call: Call) -> web.StreamResponse:
    """A file in frames, followed as it grows unless follow=false."""
    request = FileRequest(
        alloc_id=call.ids["alloc_id"],
        path=_path(call),
        offset=_offset(call),
        origin=_origin(call),
        follow=call.flag("follow", True),
    )
    stream = await open_stream(call, find_node(call, request.alloc_id), Kind.FS_STREAM, request)
    return await send_frames(call, stream)


async def logs(call: Call) -> web.StreamResponse:
    """A task's output: frames, or raw bytes with plain=true."""
    alloc_id, task = call.ids["alloc_id"], call.query.get("task", "")
    kind = call.query.get("type", "")
    if not task:
        raise BadRequestError("logs.task", "the task is missing", fix="name it with task=")
    if kind not in {"stdout", "stderr"}:
        raise BadRequestError("logs.type", f"type={shown(kind)} is no kind of log", fix="use stdout or stderr")
    request = LogsRequest(
        alloc_id=alloc_id,
        task=task,
        kind=kind,
        offset=_offset(call),
        origin=_origin(call),
        follow=call.flag("follow"),
    )
    is_plain = call.flag("plain")
    stream = await open_stream(call, find_node(call, alloc_id), Kind.FS_LOGS, request)
    return await (send_raw(call, stream) if is_plain else send_frames(call, stream))


async def _send_file(call: Call, request: FileRequest) -> web.StreamResponse:
    stream = await open_stream(call, find_node(call, request.alloc_id), Kind.FS_READ, request)
    return await send_raw(call, stream)


async def send_raw(call: Call, stream: NodeStream) -> web.StreamResponse:
    """Pass a stream's data on as it is. An error before the first byte becomes the answer."""
    try:
        first = await stream.receive()
        response = await start_stream(call, TEXT)
        data = first
        while data is not None:
            await response.write(msgspec.msgpack.decode(data, type=StreamChunk).data)
            data = await stream.receive()
        return await _finish(response)
    finally:
        await stream.close()


async def send_frames(call: Call, stream: NodeStream) -> web.StreamResponse:
    """Pass a stream on as JSON frames, with `{}` while nothing happens, so that a lost client is noticed."""
    frames = _with_heartbeats(stream)
    try:
        first = await anext(frames, None)
        response = await start_stream(call, JSON)
        if first is not None:
            await response.write(first)
            async for frame in frames:
                await response.write(frame)
        return await _finish(response)
    finally:
        await frames.aclose()  # type: ignore[attr-defined]
        await stream.close()


async def _finish(response: web.StreamResponse) -> web.StreamResponse:
    await response.write_eof()
    return response


async def _with_heartbeats(stream: NodeStream) -> AsyncIterator[bytes]:
    """Frames as JSON text, `{}` after each second of silence."""
    receiving: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            receiving = receiving or asyncio.ensure_future(stream.receive())
            done, _ = await asyncio.wait({receiving}, timeout=HEARTBEAT_S)
            if not done:
                yield b"{}\n"
                continue
            finished, receiving = receiving, None
            data = finished.result()
            if data is None:
                return
            for frame in frames_of(msgspec.msgpack.decode(data, type=StreamChunk)):
                yield frame
    finally:
        if receiving is not None:
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await receiving


def frames_of(chunk: StreamChunk) -> list[bytes]:
    """A chunk as JSON frames of at most 64 KiB of data; empty fields are absent."""
    pieces = [chunk.data[at : at + MAX_FRAME] for at in range(0, len(chunk.data), MAX_FRAME)] or [b""]
    start = chunk.offset - len(chunk.data)
    frames: list[bytes] = []
    for piece in pieces:
        start += len(piece)
        fields = {"Offset": start, "Data": piece, "File": chunk.file, "FileEvent": chunk.event}
        frames.append(to_json({name: value for name, value in fields.items() if value}) + b"\n")
    return frames


def _path(call: Call) -> str:
    path = call.query.get("path", "")
    if not path:
        raise BadRequestError("fs.path", "the path is missing", fix="name it with path=")
    return path


def _offset(call: Call, required: bool = False) -> int:
    text = call.query.get("offset", "")
    if not text and not required:
        return 0
    offset = govalues.parse_int("offset", text)
    if offset < 0:
        raise govalues.bad_value("offset", text, "zero or more")
    return offset


def _limit(call: Call) -> int:
    text = call.query.get("limit", "")
    limit = govalues.parse_int("limit", text) if text else 0
    return max(limit, 0)


def _origin(call: Call) -> str:
    origin = call.query.get("origin") or "start"
    if origin not in {"start", "end"}:
        raise BadRequestError("fs.origin", f"origin={shown(origin)} is neither start nor end")
    return origin


def _alloc_route(methods: tuple[str, ...], below: str, handler: Any, summary: str, **more: Any) -> Route:
    path = f"/v1/client/allocation/{{alloc_id}}/{below}"
    return Route(methods=methods, path=path, handler=handler, summary=summary, place=Place.NODE, **more)


def _fs_route(verb: str, handler: Any, summary: str, *query: str, **more: Any) -> Route:
    more.setdefault("capability", "read-fs")
    path = f"/v1/client/fs/{verb}/{{alloc_id}}"
    return Route(methods=READ, path=path, handler=handler, summary=summary, place=Place.NODE, query=query, **more)


ROUTES = (
    _alloc_route(READ, "stats", alloc_stats, "Usage of an allocation", query=("task",), capability="read-job"),
    _alloc_route(READ, "checks", alloc_checks, "Checks of an allocation", capability="read-job"),
    Route(
        methods=READ,
        path="/v1/allocation/{alloc_id}/checks",
        handler=alloc_checks,
        summary="Checks of an allocation",
        place=Place.NODE,
        capability="read-job",
    ),
    _alloc_route(WRITE, "restart", restart, "Restart tasks", body=RestartBody, capability="alloc-lifecycle"),
    _alloc_route(WRITE, "signal", send_signal, "Signal tasks", body=SignalBody, capability="alloc-lifecycle"),
    _alloc_route(("GET", "PUT"), "gc", alloc_gc, "Clean up an allocation", capability="submit-job"),
    _fs_route("ls", file_list, "List a directory", "path", answer=list[FileInfo]),
    _fs_route("stat", file_stat, "Describe a file", "path", answer=FileInfo),
    _fs_route("cat", file_cat, "Read a file", "path", content_type="text/plain"),
    _fs_route("readat", file_read_at, "Read a part of a file", "path", "offset", "limit", content_type="text/plain"),
    _fs_route("stream", file_stream, "Follow a file", "path", "offset", "origin", "follow"),
    _fs_route(
        "logs",
        logs,
        "Read a task's output",
        "task",
        "type",
        "follow",
        "offset",
        "origin",
        "plain",
        capability="read-logs",
    ),
    Route(
        methods=READ,
        path="/v1/client/stats",
        handler=host_stats,
        summary="Statistics of a node's machine",
        place=Place.NODE,
        query=("node_id",),
        capability="node:read",
    ),
    Route(
        methods=READ,
        path="/v1/client/metadata",
        handler=read_meta,
        summary="A node's meta",
        query=("node_id",),
        capability="node:read",
        answer=NodeMeta,
        place=Place.NODE,
    ),
    Route(
        methods=WRITE,
        path="/v1/client/metadata",
        handler=change_meta,
        summary="Change a node's meta",
        query=("node_id",),
        capability="node:write",
        body=MetaBody,
        answer=NodeMeta,
        place=Place.NODE,
    ),
    Route(
        methods=READ,
        path="/v1/client/gc",
        handler=node_gc,
        summary="Clean up a node",
        place=Place.NODE,
        query=("node_id",),
        capability="node:write",
    ),
)
