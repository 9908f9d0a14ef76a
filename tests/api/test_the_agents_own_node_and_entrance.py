"""The node in the same process, and the entrance of nodes at /v1/internal/connect."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rove.api import Backend, LocalNode, create_app, mount_internal
from rove.errors import NotFoundError
from rove.ports.transport import Router, Session, Stream
from rove.ports.websocket import dial
from rove.structs.messages import AllocRequest, Empty, FileRequest, Kind, Stats, StreamChunk


@pytest.fixture
def router() -> Router:
    import msgspec

    async def stats(_: Session, __: Empty) -> Stats:
        return Stats(body={"Uptime": 5})

    async def alloc_stats(_: Session, request: AllocRequest) -> Stats:
        raise NotFoundError("alloc.none", f"no allocation {request.alloc_id}")

    async def read(_: Session, request: FileRequest, stream: Stream) -> None:
        for part in (b"one ", request.path.encode()):
            await stream.send(msgspec.msgpack.encode(StreamChunk(data=part)))

    router = Router()
    router.on(Kind.NODE_STATS, Empty, stats)
    router.on(Kind.ALLOC_STATS, AllocRequest, alloc_stats)
    router.on_stream(Kind.FS_READ, FileRequest, read)
    return router


async def test_the_node_in_this_process_answers_without_a_server(serve: Any, router: Router) -> None:
    node = LocalNode("n1", lambda alloc_id: alloc_id == "a1", router)
    client = await serve(Backend(client=node))
    assert await (await client.get("/v1/client/stats")).json() == {"Uptime": 5}
    response = await client.get("/v1/client/allocation/a1/stats")
    assert response.status == 404
    assert "no allocation a1" in await response.text()
    assert await (await client.get("/v1/client/fs/cat/a1?path=two")).read() == b"one two"
    await node.close()


async def test_a_node_connects_and_a_browser_or_plain_request_does_not() -> None:
    served: list[str] = []
    received: list[bytes | None] = []

    async def serve_node(pipe: Any, peer: str) -> None:
        served.append(peer)
        received.append(await pipe.receive())
        await pipe.send(b"welcome")
        await pipe.receive()

    app = create_app(Backend())
    mount_internal(app, serve_node)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        pipe = await dial(session, f"127.0.0.1:{server.port}")
        await pipe.send(b"hello")
        async with asyncio.timeout(20):
            assert await pipe.receive() == b"welcome"
        await pipe.close()
        assert received == [b"hello"]
        assert served[0].startswith("127.0.0.1:")
        url = server.make_url("/v1/internal/connect")
        assert (await session.get(url)).status == 400
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url, headers={"Origin": "http://evil.example"})


async def test_further_routes_win_over_the_catch_all(serve: Any) -> None:
    app = create_app(Backend())

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="the page")

    app.router.add_get("/ui/{tail:.*}", page)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        assert await (await session.get(server.make_url("/ui/jobs"))).text() == "the page"
        assert (await session.get(server.make_url("/v1/none"))).status == 404
