"""The one GET that a server makes: bounded, without redirects, and not to addresses that give credentials away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from rove.ports.fetch import BODY_MAX, fetch, is_allowed


@pytest.fixture
async def site() -> AsyncIterator[str]:
    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPFound("/ok")

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * (BODY_MAX + 10_000))

    async def fine(_: web.Request) -> web.Response:
        return web.Response(status=201, text="fine")

    app = web.Application()
    app.add_routes([web.get("/ok", fine), web.get("/moved", moved), web.get("/large", large)])
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    port = listener._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_it_tells_status_and_body(site: str) -> None:
    assert await fetch(f"{site}/ok") == (201, b"fine")


async def test_names_are_resolved(site: str) -> None:
    assert await fetch(f"{site}/ok".replace("127.0.0.1", "localhost")) == (201, b"fine")


async def test_redirects_are_not_followed(site: str) -> None:
    status, _ = await fetch(f"{site}/moved")
    assert status == 302


async def test_only_the_beginning_of_a_body_is_read(site: str) -> None:
    _, body = await fetch(f"{site}/large")
    assert len(body) == BODY_MAX


async def test_nobody_there_is_an_os_error() -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    with pytest.raises(OSError, match=str(port)):
        await fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a/", "http://", "", "http://169.254.169.254/latest/"])
async def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        await fetch(url)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"])
def test_link_local_addresses_are_not_allowed(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "2001:db8::1", "shop.example.com"])
def test_others_are_allowed(address: str) -> None:
    assert is_allowed(address)
