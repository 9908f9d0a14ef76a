"""The node agent in this process, asked over a connection that does not leave it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from rove.ports.transport import Handler, Router, Session, Stream, memory_pipes
from rove.structs.messages import Kind

if TYPE_CHECKING:
    from rove.client.client import Client

T = TypeVar("T")


class LocalNode:
    """A `Backend.client`: answers by `handler` what a server would ask the node over its connection.

    has_alloc: whether an allocation's directory is here. Use it on one event loop; `close` it at the end.
    """

    def __init__(self, node_id: str, has_alloc: Callable[[str], bool], handler: Handler) -> None:
        self.node_id = node_id
        self._has_alloc = has_alloc
        self._handler = handler
        self._session: Session | None = None
        self._running: list[asyncio.Task[None]] = []

    def has_alloc(self, alloc_id: str) -> bool:
        """True if the allocation's directory is on this node."""
        return self._has_alloc(alloc_id)

    async def call(self, kind: Kind, body: Any, reply: type[T], timeout_s: float = 10.0) -> T:
        """Ask the node. Raises its `RoveError`."""
        return await self._connected().call(kind, body, reply, timeout_s)

    async def open(self, kind: Kind, body: Any) -> Stream:
        """Open a stream to the node."""
        return await self._connected().open(kind, body)

    async def close(self) -> None:
        """End what is open."""
        if self._session is not None:
            await self._session.close()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    def _connected(self) -> Session:
        if self._session is None or self._session.closed.is_set():
            here, there = memory_pipes()
            asking = Session(here, Router(), dialled=True, peer="this node")
            answering = Session(there, self._handler, dialled=False, peer="this agent")
            loop = asyncio.get_running_loop()
            self._running = [loop.create_task(asking.run()), loop.create_task(answering.run())]
            self._session = asking
        return self._session


def local_node(client: Client) -> LocalNode:
    """The node agent `client` for `Backend.client`."""
    from rove.client.serving import Serving

    router = Router()
    Serving(client).register(router)
    return LocalNode(client.node.id, client.runners.__contains__, router)
