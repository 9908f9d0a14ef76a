"""Requests that another agent must answer, passed on over HTTP: streams and WebSockets included."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from rove.errors import RoveError, UnavailableError

from .backend import Backend
from .call import Call
from .replies import FIXED_HEADERS, STREAMING
from .routes import Place, Route

HOPS = "X-Rove-Hops"
MAX_HOPS = 2
CHUNK = 64 * 1024
CONNECT_TIMEOUT_S = 5.0
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "expect",
    }
)


class Forwarder:
    """Decides who answers, and carries the request there."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._session: aiohttp.ClientSession | None = None

    def target(self, call: Call, route: Route) -> Sequence[str]:
        """Addresses (host:port) to forward to, one of them will do; empty: answer here."""
        if call.query and (region := call.query.get("region")) and region != self._backend.region:
            return self._region_target(call, route, region)
        if route.place is Place.AGENT:
            return ()
        server = self._backend.server
        if server is None:
            if route.place is Place.NODE and self._is_here(call):
                return ()
            return self._checked(call, tuple(self._backend.agent.server_addresses()), "no server is known")
        if route.place is Place.SERVER and route.is_write and not server.is_leader and server.leader_address:
            return self._checked(call, (server.leader_address,), "")
        return ()

    def _region_target(self, call: Call, route: Route, region: str) -> Sequence[str]:
        if route.place is Place.AGENT or (region in {"global", ""} and self._backend.region_addresses is None):
            return ()
        found = self._backend.region_addresses(region) if self._backend.region_addresses else ()
        return self._checked(call, tuple(found), "No path to region")

    def _checked(self, call: Call, addresses: Sequence[str], missing: str) -> Sequence[str]:
        if not addresses:
            raise UnavailableError("forward.no_path", missing or "nobody to forward to", "no address is known")
        if hops(call.request) >= MAX_HOPS:
            raise UnavailableError("forward.loop", "the request was forwarded too often", "no leader was found")
        return random.sample(addresses, len(addresses))

    def _is_here(self, call: Call) -> bool:
        client = self._backend.client
        if client is None:
            return False
        alloc_id = call.ids.get("alloc_id")
        if alloc_id is not None:
            return client.has_alloc(alloc_id)
        return call.query.get("node_id", client.node_id) in {client.node_id, ""}

    async def forward(self, request: web.Request, addresses: Sequence[str]) -> web.StreamResponse:
        """Pass the request on to the first address that can be reached, and its answer back.

        Another address is tried only if a connection could not be made, so nothing is done twice.
        """
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._forward_socket(request, addresses)
        last: Exception | None = None
        for address in addresses:
            try:
                return await self._forward_http(request, address)
            except aiohttp.ClientConnectorError as error:
                last = error
        raise UnavailableError("forward.unreachable", "no server could be reached", str(last))

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self._session

    async def _forward_http(self, request: web.Request, address: str) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        url = URL(f"http://{address}{request.rel_url.raw_path_qs}", encoded=True)
        headers = onward_headers(request)
        # A packed body was unpacked when it came in, so its length is no longer the one that was told.
        was_packed = headers.popall("Content-Encoding", None) is not None
        if request.content_length is not None and not was_packed:
            headers["Content-Length"] = str(request.content_length)
        try:
            upstream = await self._http().request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            )
        except aiohttp.ClientConnectorError:
            raise
        except aiohttp.ClientError as error:
            raise UnavailableError("forward.failed", f"{address} did not answer", str(error)) from error
        async with upstream:
            return await _copy_response(request, upstream)

    async def _forward_socket(self, request: web.Request, addresses: Sequence[str]) -> web.StreamResponse:
        last: Exception | None = None
        for address in addresses:
            url = URL(f"http://{address}{request.rel_url.raw_path_qs}", encoded=True)
            try:
                upstream = await self._http().ws_connect(url, headers=_socket_headers(request), max_msg_size=0)
            except aiohttp.WSServerHandshakeError as error:
                raise RoveError("forward.refused", "the server refused", error.message, status=error.status) from None
            except aiohttp.ClientError as error:
                last = error
                continue
            async with upstream:
                return await _join_sockets(request, upstream)
        raise UnavailableError("forward.unreachable", "no server could be reached", str(last))


def hops(request: web.Request) -> int:
    """How often the request has been forwarded already."""
    text = request.headers.get(HOPS, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else MAX_HOPS


def onward_headers(request: web.Request) -> CIMultiDict[str]:
    """The client's headers without those of its own connection."""
    headers: CIMultiDict[str] = CIMultiDict(
        (name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP
    )
    headers[HOPS] = str(hops(request) + 1)
    headers.popall("Origin", None)  # it was checked where the client came in
    return headers


def _socket_headers(request: web.Request) -> CIMultiDict[str]:
    headers = onward_headers(request)
    for name in [name for name in headers if name.lower().startswith("sec-websocket-")]:
        headers.popall(name, None)
    return headers


async def _copy_response(request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    headers: CIMultiDict[str] = CIMultiDict(
        (name, value)
        for name, value in upstream.headers.items()
        if name.lower() not in _HOP_BY_HOP | {"date", "server"}
    )
    headers.update(FIXED_HEADERS)
    length = upstream.headers.get("Content-Length")
    if length is not None:
        body = await upstream.read()
        return web.Response(status=upstream.status, headers=headers, body=body)
    response = web.StreamResponse(status=upstream.status, headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    request[STREAMING] = True
    async for data in upstream.content.iter_any():
        await response.write(data)
    await response.write_eof()
    return response


async def _join_sockets(request: web.Request, upstream: aiohttp.ClientWebSocketResponse) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    there = asyncio.ensure_future(_pump(socket, upstream))
    back = asyncio.ensure_future(_pump(upstream, socket))
    try:
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        there.cancel()
        back.cancel()
        await asyncio.gather(there, back, return_exceptions=True)
    code = upstream.close_code or 1000
    await socket.close(code=code if 1000 <= code < 5000 and code not in {1005, 1006} else 1011)
    return socket


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: Socket, target: Socket) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
