"""A running API for tests: a real server on the memory engine, and a fake node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rove.api import AgentInfo, Backend, create_app
from rove.errors import NotFoundError, RoveError
from rove.structs.messages import Empty, FileInfo, FileInfos, Kind, Stats, StreamChunk

T = TypeVar("T")
Http = TestClient[web.Request, web.Application]
Serve = Callable[[Backend], Awaitable[Http]]


class FakeStream:
    """A stream whose messages are known beforehand; keeps what was sent to it."""

    def __init__(self, messages: list[Any], error: RoveError | None = None) -> None:
        self.sent: list[bytes] = []
        self.closed = False
        self._messages = [msgspec.msgpack.encode(message) for message in messages]
        self._error = error

    async def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def receive(self) -> bytes | None:
        if self._messages:
            return self._messages.pop(0)
        if self._error is not None:
            raise self._error
        return None

    async def close(self, error: Any = None) -> None:
        self.closed = True


class FakeNode:
    """A node agent that answers from tables and remembers what it was asked."""

    node_id = "11111111-2222-3333-4444-555555555555"

    def __init__(self) -> None:
        self.asked: list[tuple[Kind, Any]] = []
        self.streams: list[FakeStream] = []
        self.allocs = {"a1"}
        self.chunks: list[Any] = [StreamChunk(offset=5, data=b"hello", file="alloc/logs/app.stdout.0")]
        self.error: RoveError | None = None
        self.break_off = False

    def has_alloc(self, alloc_id: str) -> bool:
        return alloc_id in self.allocs

    async def call(self, kind: Kind, body: Any, reply: type[T], timeout_s: float = 10.0) -> T:
        self.asked.append((kind, body))
        if self.error is not None:
            raise self.error
        answers: dict[Kind, Any] = {
            Kind.FS_LIST: FileInfos(entries=(FileInfo(name="alloc", is_dir=True),)),
            Kind.FS_STAT: FileInfo(name="x", size=3),
            Kind.ALLOC_STATS: Stats(body={"Tasks": {}}),
            Kind.NODE_STATS: Stats(body={"Uptime": 1}),
        }
        return msgspec.convert(answers.get(kind, Empty()), reply, from_attributes=True)

    async def open(self, kind: Kind, body: Any) -> FakeStream:
        self.asked.append((kind, body))
        if self.error is not None:
            raise self.error
        error = NotFoundError("fs.none", "no such file") if not self.chunks or self.break_off else None
        stream = FakeStream(self.chunks, error)
        self.streams.append(stream)
        return stream


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts an API over HTTP for a backend."""
    clients: list[Http] = []

    async def start(backend: Backend) -> Http:
        client = TestClient(TestServer(create_app(backend)), auto_decompress=True)
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def node_http(serve: Serve, node: FakeNode) -> Http:
    """The API of an agent that is a node and no server."""
    return await serve(Backend(client=node))


def a_job(job_id: str = "web", **changes: Any) -> dict[str, Any]:
    """A small job as a client would send it."""
    task = {"Name": "app", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}
    group = {"Name": "api", "Count": 2, "Tasks": [task]}
    return {"ID": job_id, "Name": job_id, "Type": "service", "Datacenters": ["dc1"], "TaskGroups": [group], **changes}


@pytest.fixture
async def server() -> AsyncIterator[Any]:
    """A server on an engine that forgets, with no nodes."""
    from rove.engine.memory import MemoryEngine
    from rove.ports.real import RealClock, RealIds
    from rove.server.server import Server, ServerSettings

    running = Server(ServerSettings(name="s1", workers=1), MemoryEngine(), RealClock(), RealIds())
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def http(serve: Serve, server: Any) -> Http:
    """The API of an agent that is a server."""
    return await serve(Backend(server=server, agent=AgentInfo(name="s1", version="1.2.3")))


@pytest.fixture
def job() -> Callable[..., dict[str, Any]]:
    return a_job
