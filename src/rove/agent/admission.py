"""Which connections a listener keeps: so many from one peer (`limits { http_max_conns_per_client }`), and none that
never gets to its first request."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

HEAD_TIMEOUT_S = 20.0
"""From the connection to the end of its first request's headers."""


def _refusal(status: str, text: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text


REFUSAL = _refusal("429 Too Many Requests", b"this address has too many connections\n")
TOO_SLOW = _refusal("408 Request Timeout", b"the request's headers did not arrive in time\n")


class Admission:
    """Counts a listener's connections by address; turns away those over the limit, and those that ask nothing."""

    def __init__(self, server: web.Server, most: int, head_timeout_s: float) -> None:
        self._most = most
        self._head_timeout_s = head_timeout_s
        self._open: Counter[str] = Counter()
        self._peers: dict[Any, str] = {}
        self._timers: dict[Any, asyncio.TimerHandle] = {}
        self._made, self._lost = server.connection_made, server.connection_lost
        self._make_request = server.request_factory

    @classmethod
    def guard(cls, server: web.Server, most: int, head_timeout_s: float = HEAD_TIMEOUT_S) -> None:
        """Watch over a server's connections from now on. most: connections per address; 0 for any number."""
        admission = cls(server, most, head_timeout_s)
        server.connection_made = admission.connection_made  # type: ignore[method-assign]
        server.connection_lost = admission.connection_lost  # type: ignore[method-assign]
        server.request_factory = admission.request_begun

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """A peer has connected."""
        self._made(handler, transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        self._peers[handler] = address
        self._open[address] += 1
        if 0 < self._most < self._open[address]:
            _turn_away(transport, REFUSAL)
            return
        loop = asyncio.get_running_loop()
        self._timers[handler] = loop.call_later(self._head_timeout_s, _turn_away, transport, TOO_SLOW)

    def request_begun(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
        """The headers of a request are complete; how long it takes from here on is for others to limit."""
        self._forget_timer(protocol)
        return self._make_request(message, payload, protocol, writer, task)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """A connection is over."""
        self._lost(handler, exc)
        self._forget_timer(handler)
        address = self._peers.pop(handler, None)
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def _forget_timer(self, handler: Any) -> None:
        if (timer := self._timers.pop(handler, None)) is not None:
            timer.cancel()


def _turn_away(transport: asyncio.Transport, text: bytes) -> None:
    transport.write(text)
    transport.close()
