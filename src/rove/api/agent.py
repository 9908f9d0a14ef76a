"""/v1/agent/*: the agent that was asked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from rove.errors import BadRequestError, NotFoundError
from rove.structs.messages import Kind, MonitorRequest

from .call import Call, Reply
from .client import open_stream, send_frames, send_raw
from .govalues import shown
from .missing import unknown
from .replies import JSON, TEXT, start_stream, to_json
from .routes import READ, WRITE, Place, Route

LEVELS = frozenset({"trace", "debug", "info", "warn", "error"})
HEARTBEAT_S = 1.0


async def read_self(call: Call) -> Reply:
    """What this agent is: its configuration, its member entry, its statistics."""
    backend, agent = call.backend, call.backend.agent
    stats = {section: dict(values) for section, values in agent.stats().items()}
    if backend.client is not None:
        stats.setdefault("client", {})["node_id"] = backend.client.node_id
    if backend.server is not None:
        stats.setdefault("nomad", {}).update(
            server="true", leader=str(backend.server.is_leader).lower(), leader_addr=backend.server.leader_address
        )
    config = {"Region": backend.region, "Datacenter": agent.datacenter, "NodeName": agent.name, **agent.config}
    config.setdefault("Version", {"Version": agent.version})
    return Reply({"config": config, "member": own_member(call), "stats": stats})


def own_member(call: Call) -> dict[str, Any]:
    """This server's own entry among the members; empty on a node."""
    server = call.backend.server
    if server is None:
        return {}
    members = server.members()
    names = {server.name, f"{server.name}.{server.region}"}
    return next((member for member in members if member.get("Name") in names), members[0] if members else {})


async def members(call: Call) -> Reply:
    """The servers that this agent knows."""
    found = call.server.members()
    agent = call.backend.agent
    body = {
        "ServerName": call.server.name,
        "ServerRegion": call.server.region,
        "ServerDC": agent.datacenter,
        "Members": found,
    }
    return Reply(body)


async def servers(call: Call) -> Reply:
    """rpc addresses of the servers that this agent talks to."""
    known = list(call.backend.agent.server_addresses())
    if not known and call.backend.server is not None:
        known = [call.backend.server.leader_address]
    return Reply([address for address in known if address])


async def health(call: Call) -> Reply | web.StreamResponse:
    """Whether this agent's server and node are well; 500 if one is not."""
    kind = call.query.get("type", "")
    if kind not in {"", "client", "server"}:
        raise BadRequestError("agent.health_type", f"type={shown(kind)} is neither client nor server")
    body: dict[str, Any] = {}
    backend = call.backend
    if backend.server is not None and kind != "client":
        is_led = bool(backend.server.leader_address)
        body["server"] = {"ok": is_led, "message": "ok" if is_led else "No cluster leader"}
    if backend.client is not None and kind != "server":
        body["client"] = {"ok": True, "message": "ok"}
    if kind and kind not in body:
        body[kind] = {"ok": False, "message": f"{kind} is not enabled"}
    is_well = all(part["ok"] for part in body.values())
    return Reply(body, status=200 if is_well else 500)


async def monitor(call: Call) -> web.StreamResponse:
    """The agent's log as it is written; node_id: that of another agent."""
    level = call.query.get("log_level") or "info"
    if level.lower() not in LEVELS:
        raise BadRequestError(
            "agent.log_level", f"log_level={shown(level)} is no level", fix="use " + ", ".join(sorted(LEVELS))
        )
    as_json, is_plain = call.flag("log_json"), call.flag("plain")
    _check_server(call, call.query.get("server_id", ""))
    node_id = call.query.get("node_id", "")
    if node_id and (call.client is None or call.client.node_id != node_id):
        return await _node_monitor(call, node_id, MonitorRequest(log_level=level, log_json=as_json), is_plain)
    source = call.backend.agent.monitor
    if source is None:
        raise NotFoundError("agent.no_monitor", "this agent keeps no log to follow")
    return await stream_log(call, source(level.lower(), as_json), is_plain)


def _check_server(call: Call, server_id: str) -> None:
    """Refuse the name of a server that is not this one: its log is not here."""
    server = call.backend.server
    if not server_id or (server is not None and server_id in {"leader", server.name, f"{server.name}.{server.region}"}):
        return
    raise unknown("server", server_id)


async def _node_monitor(call: Call, node_id: str, request: MonitorRequest, is_plain: bool) -> web.StreamResponse:
    if call.store.snapshot().node(node_id) is None:
        raise unknown("node", node_id)
    stream = await open_stream(call, node_id, Kind.NODE_MONITOR, request)
    return await (send_raw(call, stream) if is_plain else send_frames(call, stream))


async def stream_log(call: Call, lines: AsyncIterator[bytes], is_plain: bool) -> web.StreamResponse:
    """Send log lines as frames or as they are, until the client goes."""
    response = await start_stream(call, TEXT if is_plain else JSON)
    pending: asyncio.Future[bytes] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(lines))
            done, _ = await asyncio.wait({pending}, timeout=HEARTBEAT_S)
            if not done:
                if not is_plain:
                    await response.write(b"{}\n")
                elif call.request.transport is None or call.request.transport.is_closing():
                    break
                continue
            finished, pending = pending, None
            try:
                line = finished.result()
            except StopAsyncIteration:
                break
            await response.write(line if is_plain else log_frame(line))
    finally:
        if pending is not None:
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
        if (close := getattr(lines, "aclose", None)) is not None:
            await close()
    await response.write_eof()
    return response


def log_frame(line: bytes) -> bytes:
    """A log line as a stream frame."""
    return to_json({"Data": base64.b64encode(line).decode()}) + b"\n"


async def join(call: Call) -> Reply:
    """Kept for clients: servers find each other by their configuration."""
    return Reply({"num_joined": 0, "error": "servers are joined by their configuration"}, is_read=False)


def _route(methods: tuple[str, ...], path: str, handler: Any, summary: str, **more: Any) -> Route:
    more.setdefault("place", Place.AGENT)
    return Route(methods=methods, path=f"/v1/agent/{path}", handler=handler, summary=summary, **more)


ROUTES = (
    _route(READ, "self", read_self, "What this agent is", capability="agent:read", answer=dict[str, Any]),
    _route(
        READ,
        "members",
        members,
        "Known servers",
        capability="node:read",
        answer=dict[str, Any],
        place=Place.SERVER,
    ),
    _route(READ, "servers", servers, "Servers of this agent", capability="agent:read", answer=list[str]),
    _route(READ, "health", health, "Health of this agent", query=("type",), answer=dict[str, Any]),
    _route(
        READ,
        "monitor",
        monitor,
        "Follow the log",
        capability="agent:read",
        query=("log_level", "log_json", "node_id", "server_id", "plain"),
    ),
    _route(WRITE, "join", join, "Join servers", capability="agent:write", query=("address",)),
)
