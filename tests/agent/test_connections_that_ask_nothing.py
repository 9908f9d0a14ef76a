"""A listener keeps no connection that never gets to its first request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from rove.agent.admission import Admission

HEAD_S = 0.05
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Listener:
    """A server whose one handler answers once it is told to."""

    def __init__(self) -> None:
        self.port = 0
        self.go_on = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        await self.go_on.wait()
        return web.Response(text="done")

    async def ask(self, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(text)
        return reader, writer


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    app = web.Application()
    app.router.add_get("/", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    Admission.guard(runner.server, 2, HEAD_S)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.mark.parametrize("text", [b"", b"GET", ASK])
async def test_headers_that_do_not_end_close_the_connection(listener: Listener, text: bytes) -> None:
    reader, writer = await listener.ask(text)
    assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_request_that_was_asked_may_take_longer(listener: Listener) -> None:
    asked, writer = await listener.ask(ASK + b"\r\n")
    for _ in range(2):  # each is closed later than the first would have been
        slow, other = await listener.ask(ASK)
        await asyncio.wait_for(slow.read(), 30)
        other.close()
    listener.go_on.set()
    assert b"200 OK" in await asyncio.wait_for(asked.readline(), 30)
    writer.close()


async def test_connections_over_the_limit_are_turned_away(listener: Listener) -> None:
    writers = [(await listener.ask(ASK + b"\r\n"))[1] for _ in range(2)]
    reader, writer = await listener.ask(ASK)
    assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 429 ")
    for each in (*writers, writer):
        each.close()
