"""A node-only agent passes requests on to a server: bodies, streams, WebSockets, headers, errors."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from rove.api import AgentInfo, Backend


async def echo(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
            if message.data == "bye":
                break
        await socket.close(code=1008, message=b"over")
        return socket
    if request.path.endswith("/logs/a9"):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for number in range(3):
            await response.write(json.dumps({"n": number}).encode() + b"\n")
        return response
    body = {
        "method": request.method,
        "path": request.rel_url.raw_path_qs,
        "body": (await request.read()).decode(),
        "token": request.headers.get("X-Nomad-Token"),
        "hops": request.headers.get("X-Rove-Hops"),
    }
    status = 404 if "missing" in request.path else 200
    return web.json_response(body, status=status, headers={"X-Nomad-Index": "42"})


@pytest.fixture
async def upstream() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


@pytest.fixture
async def edge(serve: Any, node: Any, upstream: TestServer) -> Any:
    dead = f"127.0.0.1:{unused_port()}"
    agent = AgentInfo(server_addresses=lambda: (dead, f"127.0.0.1:{upstream.port}"))
    return await serve(Backend(client=node, agent=agent))


async def test_a_read_is_forwarded_with_its_query_and_token(edge: Any) -> None:
    for _ in range(8):  # the dead server comes first in some of these
        response = await edge.get("/v1/job/a%2Fb/summary?index=7&wait=1s", headers={"X-Nomad-Token": "t"})
        assert response.status == 200
        assert response.headers["X-Nomad-Index"] == "42"
        said = await response.json()
        assert said["path"] == "/v1/job/a%2Fb/summary?index=7&wait=1s"
        assert said["token"] == "t"
        assert said["hops"] == "1"


async def test_a_compressed_body_arrives_as_what_it_says(edge: Any) -> None:
    headers = {"Content-Encoding": "gzip"}
    response = await edge.put("/v1/jobs", data=gzip.compress(b'{"Job": {}}' * 100), headers=headers)
    assert (await response.json())["body"] == '{"Job": {}}' * 100


async def test_a_body_and_an_error_status_pass_through(edge: Any) -> None:
    response = await edge.put("/v1/jobs", data=b'{"Job": {}}')
    assert (await response.json())["body"] == '{"Job": {}}'
    assert (await edge.get("/v1/job/missing")).status == 404


async def test_a_stream_passes_through(edge: Any) -> None:
    response = await edge.get("/v1/client/fs/logs/a9?task=t&type=stdout")
    assert [json.loads(line)["n"] for line in (await response.text()).splitlines()] == [0, 1, 2]


async def test_a_websocket_passes_through_both_ways(edge: Any) -> None:
    async with edge.ws_connect('/v1/client/allocation/a9/exec?task=t&command=["x"]') as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "HELLO"
        await socket.send_str("bye")
        assert await socket.receive_str() == "BYE"
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1008


async def test_what_this_node_holds_is_answered_here(edge: Any, node: Any) -> None:
    response = await edge.get("/v1/client/fs/ls/a1")
    assert (await response.json())[0]["Name"] == "alloc"
    assert len(node.asked) == 1


async def test_the_agent_answers_for_itself(edge: Any, node: Any) -> None:
    said = await (await edge.get("/v1/agent/self")).json()
    assert said["stats"]["client"]["node_id"] == node.node_id
    assert said["member"] == {}


async def test_without_a_reachable_server_the_answer_says_so(serve: Any, node: Any) -> None:
    alone = await serve(Backend(client=node))
    response = await alone.get("/v1/jobs")
    assert response.status == 500
    assert "no server is known" in await response.text()
    dead = AgentInfo(server_addresses=lambda: (f"127.0.0.1:{unused_port()}",))
    response = await (await serve(Backend(client=node, agent=dead))).get("/v1/jobs")
    assert response.status == 500
    assert "no server could be reached" in await response.text()


async def test_a_request_that_goes_in_circles_is_stopped(serve: Any, node: Any) -> None:
    where: list[str] = []
    agent = AgentInfo(server_addresses=lambda: tuple(where))
    client = await serve(Backend(client=node, agent=agent))
    where.append(f"127.0.0.1:{client.port}")
    response = await client.get("/v1/jobs")
    assert response.status == 500
    assert "forwarded too often" in await response.text()


async def test_another_region_is_refused_with_a_plain_word(serve: Any, node: Any) -> None:
    client = await serve(Backend(client=node, region="eu"))
    response = await client.get("/v1/jobs?region=mars")
    assert response.status == 500
    assert "No path to region" in await response.text()
