"""Listens for DNS queries over UDP and TCP and answers them from the services that are registered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from rove.errors import RoveError
from rove.structs.service import ServiceRegistration

from .core import Wanted, Zone, answer, what_is_asked
from .wire import QUERY_MAX, TCP_MOST, Answer, Bad, Code, build, parse, refusal

QUERIES_AT_ONCE = 512
CONNECTIONS_AT_ONCE = 64
IDLE_S = 10.0
LOOKUP_S = 5.0

log = logging.getLogger(__name__)

LookUp = Callable[[str, str], Awaitable[Sequence[ServiceRegistration]]]
"""The instances that are handed out: (namespace, name). Raises `RoveError` when nobody can be asked."""


class Responder:
    """One responder. `start` binds both protocols to the same port."""

    def __init__(self, look_up: LookUp, zone: Zone) -> None:
        self.address: tuple[str, int] = ("", 0)
        """Where it listens, once started."""
        self._look_up = look_up
        self._zone = zone
        self._turn = 0
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._queries: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `RoveError` if the port is not to be had."""
        loop = asyncio.get_running_loop()
        try:
            self._tcp = await asyncio.start_server(self._connected, host, port, limit=QUERY_MAX)
            bound = self._tcp.sockets[0].getsockname()[1]
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, bound))
        except OSError as error:
            await self.stop()
            raise RoveError(
                "dns.listen", f"the DNS responder cannot listen on {host}:{port}", error.strerror or str(error),
                "write another port: dns { port = 8600 }",
            ) from None  # fmt: skip
        self.address = (host, bound)
        log.info("DNS responder for .%s at %s:%d", ".".join(self._zone.domain), host, bound)

    async def stop(self) -> None:
        """Stop listening and drop what is under way."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in (*self._queries, *self._connections):
            task.cancel()
        await asyncio.gather(*self._queries, *self._connections, return_exceptions=True)

    async def reply(self, data: bytes, size: int | None) -> bytes | None:
        """The answer to a message, None for none. size: most bytes, None: what the asker takes over UDP."""
        try:
            query = parse(data)
        except Bad as bad:
            return refusal(bad)
        asked = what_is_asked(query, self._zone)
        if isinstance(asked, Wanted):
            try:
                async with asyncio.timeout(LOOKUP_S):
                    found = await self._look_up(asked.namespace, asked.name)
            except (RoveError, TimeoutError, ConnectionError) as error:
                log.warning("a DNS query was not answered: %s", error)
                asked = Answer(Code.FAILED)
            else:
                self._turn += 1
                asked = answer(query, asked, found, self._zone, self._turn)
        return build(query, asked, size or query.size)

    def datagram(self, data: bytes, peer: tuple[str, int]) -> None:
        """A query over UDP; dropped when too many are under way."""
        if len(self._queries) >= QUERIES_AT_ONCE:
            return
        task = asyncio.get_running_loop().create_task(self._answer(data, peer))
        self._queries.add(task)
        task.add_done_callback(self._queries.discard)

    async def _answer(self, data: bytes, peer: tuple[str, int]) -> None:
        reply = await self.reply(data, None)
        if reply is not None and self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(reply, peer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= CONNECTIONS_AT_ONCE:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_S):
                size = int.from_bytes(await reader.readexactly(2), "big")
                if size > QUERY_MAX:
                    return
                data = await reader.readexactly(size)
                reply = await self.reply(data, TCP_MOST)
                if reply is None:
                    return
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    """Hands queries to the responder."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A datagram has come."""
        self._responder.datagram(data, addr)
