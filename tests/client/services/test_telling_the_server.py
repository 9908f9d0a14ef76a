"""The registrar: what the server has been told follows what runs, whatever the connection does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rove.client.services import loop as services_loop
from rove.client.services.loop import Registrar
from rove.errors import UnavailableError
from rove.ports.real import RealClock
from rove.structs.messages import ServicesUpdate
from rove.structs.service import ServiceRegistration
from rove.testing.node_agent import until


class Server:
    """Keeps what it is told; may be away, or hold an answer back."""

    def __init__(self) -> None:
        self.up = True
        self.services: dict[str, ServiceRegistration] = {}
        self.messages: list[ServicesUpdate] = []
        self.open = asyncio.Event()
        self.open.set()

    async def take(self, update: ServicesUpdate) -> None:
        if not self.up:
            raise UnavailableError("test.down", "the server is away")
        self.messages.append(update)
        if update.full:
            self.services.clear()
        for key in update.gone:
            self.services.pop(key, None)
        self.services |= {registration.id: registration for registration in update.put}
        await self.open.wait()


class Fast(RealClock):
    """Retries at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01) if seconds == services_loop.RETRY_S else seconds)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def registrar(server: Server) -> AsyncIterator[Registrar]:
    made = Registrar(server.take, Fast(), lambda: server.up)
    run = asyncio.create_task(made.run())
    yield made
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


def an_instance(name: str = "web", alloc: str = "a1", **fields: Any) -> ServiceRegistration:
    return ServiceRegistration(id=f"{alloc}-{name}", service_name=name, alloc_id=alloc, **fields)


async def test_what_is_offered_is_registered_and_what_is_not_is_removed(registrar: Registrar, server: Server) -> None:
    registrar.offer("a1", [an_instance("web"), an_instance("db")])
    registrar.offer("a2", [an_instance("web", "a2")])
    await until(lambda: set(server.services) == {"a1-web", "a1-db", "a2-web"})
    registrar.offer("a1", [an_instance("db", tags=("new",))])
    await until(lambda: set(server.services) == {"a1-db", "a2-web"})
    assert server.services["a1-db"].tags == ("new",)


async def test_nothing_new_is_not_said_again(registrar: Registrar, server: Server) -> None:
    registrar.offer("a1", [an_instance()])
    await until(lambda: server.services)
    for _ in range(5):
        registrar.offer("a1", [an_instance()])
        await asyncio.sleep(0)
    assert len(server.messages) == 1


async def test_after_a_loss_everything_is_said_again(registrar: Registrar, server: Server) -> None:
    registrar.offer("a1", [an_instance()])
    await until(lambda: server.services)
    server.services["of-an-earlier-life"] = an_instance("old")
    registrar.start_over()
    await until(lambda: set(server.services) == {"a1-web"})
    assert server.messages[-1].full


async def test_what_changed_while_the_server_was_away_is_told_later(registrar: Registrar, server: Server) -> None:
    registrar.offer("a1", [an_instance()])
    await until(lambda: server.services)
    server.up = False
    registrar.offer("a1", [])
    registrar.offer("a2", [an_instance("web", "a2")])
    await asyncio.sleep(0)
    server.up = True
    registrar.start_over()
    await until(lambda: set(server.services) == {"a2-web"})


async def test_settling_waits_until_the_server_knows(registrar: Registrar, server: Server) -> None:
    registrar.offer("a1", [an_instance()])
    await until(lambda: server.services)
    server.open.clear()
    registrar.offer("a1", [])
    settling = asyncio.create_task(registrar.settle("a1"))
    await until(lambda: not server.services)
    assert not settling.done()
    server.open.set()
    async with asyncio.timeout(20):
        await settling


async def test_settling_counts_what_is_just_being_registered(registrar: Registrar, server: Server) -> None:
    server.open.clear()
    registrar.offer("a1", [an_instance()])
    await until(lambda: server.services)
    registrar.offer("a1", [])
    settling = asyncio.create_task(registrar.settle("a1"))
    await asyncio.sleep(0)
    assert not settling.done()
    server.open.set()
    async with asyncio.timeout(20):
        await settling
    assert server.services == {}


async def test_settling_does_not_wait_without_a_server(registrar: Registrar, server: Server) -> None:
    registrar.offer("a1", [an_instance()])
    await until(lambda: server.services)
    server.up = False
    registrar.offer("a1", [])
    async with asyncio.timeout(20):
        await registrar.settle("a1")
