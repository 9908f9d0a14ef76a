"""How many connections one peer may have to a listener (`limits { http_max_conns_per_client }`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

REFUSAL = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: 38\r\n\r\nthis address has too many connections\n"
)


class Admission:
    """Counts a listener's connections by address, and turns away those over the limit."""

    def __init__(self, server: web.Server, most: int) -> None:
        """most: connections per address; 0 for any number."""
        self._most = most
        self._open: Counter[str] = Counter()
        self._peers: dict[Any, str] = {}
        self._made, self._lost = server.connection_made, server.connection_lost

    @classmethod
    def guard(cls, server: web.Server, most: int) -> None:
        """Watch over a server's connections from now on."""
        if most > 0:
            admission = cls(server, most)
            server.connection_made = admission.connection_made  # type: ignore[method-assign]
            server.connection_lost = admission.connection_lost  # type: ignore[method-assign]

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """A peer has connected."""
        self._made(handler, transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        self._peers[handler] = address
        self._open[address] += 1
        if self._open[address] > self._most:
            transport.write(REFUSAL)
            transport.close()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """A connection is over."""
        self._lost(handler, exc)
        address = self._peers.pop(handler, None)
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
