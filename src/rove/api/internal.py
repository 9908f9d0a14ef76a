"""The agents' own entrance: a node's WebSocket at /v1/internal/connect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from rove.ports.transport import MAX_FRAME, Pipe
from rove.ports.websocket import PATH, WebSocketPipe


def mount_internal(app: web.Application, serve_node: Callable[[Pipe, str], Awaitable[None]]) -> None:
    """Serve nodes on `app`. `serve_node(pipe, peer)` runs the connection until it ends; peer is host:port."""

    async def connect(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400, text="this address takes a WebSocket of a Rove node agent\n")
        if "Origin" in request.headers:
            return web.Response(status=403, text="browsers are not served here\n")
        socket = web.WebSocketResponse(max_msg_size=MAX_FRAME, compress=False, timeout=2.0)
        await socket.prepare(request)
        await serve_node(WebSocketPipe(socket), peer_of(request))
        return socket

    app.router.add_get(PATH, connect)


def peer_of(request: web.Request) -> str:
    """The other end as ``host:port``."""
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else "unknown"
