"""The node's connection to a server: dial, register, heartbeat, and again after a loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from rove.errors import RoveError, UnavailableError
from rove.ports import Clock
from rove.ports.transport import Handler, Pipe, Session
from rove.structs.messages import Heartbeat, HeartbeatReply, Kind, RegisterReply, RegisterRequest

if TYPE_CHECKING:
    import aiohttp

HEARTBEATS_PER_TTL = 3
HEARTBEAT_MIN_S = 0.2
RPC_PORT = 4647
DIAL_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class Dialer:
    """Connects to one of several servers, the next one at each attempt. `servers` may be replaced at any time."""

    def __init__(self, servers: Sequence[str]) -> None:
        self.servers = tuple(servers)
        self._next = 0
        self._http: aiohttp.ClientSession | None = None

    async def __call__(self) -> Pipe:
        """A new connection. Raises whatever the attempt raises, `UnavailableError` without servers."""
        import aiohttp

        from rove.ports.websocket import dial

        if not self.servers:
            raise UnavailableError(
                "client.no_servers", "no server to connect to", "", 'name one: client { servers = ["host:4647"] }'
            )
        address = self.servers[self._next % len(self.servers)]
        self._next += 1
        if self._http is None:
            self._http = aiohttp.ClientSession()
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            return await dial(self._http, address if _has_port(address) else f"{address}:{RPC_PORT}")

    async def close(self) -> None:
        """Let go of the HTTP session."""
        if self._http is not None:
            await self._http.close()
            self._http = None


def _has_port(address: str) -> bool:
    return address.rpartition("]")[2].rpartition(":")[2].isdigit() and ":" in address.rpartition("]")[2]


class ServerLink:
    """Keeps one registered session to a server, for as long as `run` runs."""

    def __init__(
        self,
        *,
        connect: Callable[[], Awaitable[Pipe]],
        handler: Handler,
        clock: Clock,
        jitter: Callable[[], float],
        register: Callable[[], RegisterRequest],
        on_up: Callable[[RegisterReply], None],
        on_down: Callable[[], None],
        reconnect_min_s: float,
        reconnect_max_s: float,
    ) -> None:
        """on_up: called after each registration; on_down: when a registered session was lost."""
        self.session: Session | None = None
        """The registered session, None while there is none."""
        self.up = asyncio.Event()
        self.attempts = 0
        self._connect = connect
        self._handler = handler
        self._clock = clock
        self._jitter = jitter
        self._register = register
        self._on_up = on_up
        self._on_down = on_down
        self._min_s, self._max_s = reconnect_min_s, reconnect_max_s

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        delay_s = self._min_s
        while True:
            self.attempts += 1
            was_up = False
            try:
                was_up = await self._serve()
            except (RoveError, OSError, TimeoutError) as error:
                log.warning("no server connection: %s", str(error) or type(error).__name__)
            except Exception as error:  # aiohttp's errors have no common base with ours
                log.warning("no server connection: %s: %s", type(error).__name__, error)
            delay_s = self._min_s if was_up else min(delay_s * 2, self._max_s)
            await self._clock.sleep(delay_s * (0.5 + 0.5 * self._jitter()))

    async def register(self) -> RegisterReply | None:
        """Register anew over the present session, since the node has changed. None if there is none."""
        if self.session is None:
            return None
        return await self.session.call(Kind.NODE_REGISTER, self._register(), RegisterReply)

    async def _serve(self) -> bool:
        """One session, from dialling to its end. True if it got as far as being registered."""
        pipe = await self._connect()
        session = Session(pipe, self._handler, dialled=True, peer="the server")
        reader = asyncio.get_running_loop().create_task(session.run())
        try:
            reply = await session.call(Kind.NODE_REGISTER, self._register(), RegisterReply)
            self.session = session
            self.up.set()
            self._on_up(reply)
            with contextlib.suppress(RoveError):
                await self._beat(session, reply.heartbeat_ttl_s)
            return True
        finally:
            self.session = None
            await session.close()
            reader.cancel()
            if self.up.is_set():
                self.up.clear()
                self._on_down()

    async def _beat(self, session: Session, ttl_s: float) -> None:
        """Heartbeats until the session ends. Raises `RoveError` when one is not answered in time."""
        while not session.closed.is_set():
            pause = max(ttl_s / HEARTBEATS_PER_TTL, HEARTBEAT_MIN_S)
            await self._pause(session, pause * (0.9 + 0.1 * self._jitter()))
            if session.closed.is_set():
                return
            timeout_s = max(ttl_s, 1.0)
            reply = await session.call(Kind.NODE_HEARTBEAT, Heartbeat(), HeartbeatReply, timeout_s)
            if not reply.registered:
                again = await session.call(Kind.NODE_REGISTER, self._register(), RegisterReply)
                self._on_up(again)
                ttl_s = again.heartbeat_ttl_s
            elif reply.heartbeat_ttl_s:
                ttl_s = reply.heartbeat_ttl_s

    async def _pause(self, session: Session, seconds: float) -> None:
        """Sleep, but no longer than the session lives."""
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        closed = asyncio.ensure_future(session.closed.wait())
        try:
            await asyncio.wait({sleep, closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            closed.cancel()
