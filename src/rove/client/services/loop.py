"""Tells the server which services run here, and waits where something has to be gone first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from rove.errors import RoveError
from rove.ports import Clock
from rove.structs.messages import ServicesUpdate
from rove.structs.service import ServiceRegistration

RETRY_S = 1.0
SETTLE_MAX_S = 3.0
"""How long a task that is to be stopped waits for its services to be gone."""
BATCH_MAX = 500
FULL_EVERY_S = 300.0

log = logging.getLogger(__name__)

Send = Callable[[ServicesUpdate], Awaitable[None]]
"""Hand a message to the server. Raises `RoveError` or `ConnectionError`."""


class Registrar:
    """What all allocations of the node offer, against what the server has been told."""

    def __init__(self, send: Send, clock: Clock, is_up: Callable[[], bool]) -> None:
        self._send = send
        self._clock = clock
        self._is_up = is_up
        self._wanted: dict[str, dict[str, ServiceRegistration]] = {}
        """By allocation."""
        self._told: dict[str, ServiceRegistration] = {}
        self._full = False
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()

    def offer(self, alloc_id: str, registrations: Iterable[ServiceRegistration]) -> None:
        """From now on the allocation offers exactly these."""
        wanted = {registration.id: registration for registration in registrations}
        if wanted == self._wanted.get(alloc_id, {}):
            return
        if wanted:
            self._wanted[alloc_id] = wanted
        else:
            del self._wanted[alloc_id]
        self._wake.set()

    def offered(self, alloc_id: str) -> tuple[ServiceRegistration, ...]:
        """What the allocation offers now."""
        return tuple(self._wanted.get(alloc_id, {}).values())

    def start_over(self) -> None:
        """There is a server again, or another one: tell it everything."""
        self._full = True
        self._wake.set()

    async def settle(self, alloc_id: str) -> None:
        """Wait until nothing is registered that the allocation no longer offers; not for ever, and not offline."""
        deadline = self._clock.monotonic() + SETTLE_MAX_S
        while self._is_up() and self._leftover(alloc_id):
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                log.warning("services of allocation %s were not removed in time", alloc_id)
                return
            self._settled.clear()
            await self._either(left_s)

    async def _either(self, seconds: float) -> None:
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        settled = asyncio.ensure_future(self._settled.wait())
        try:
            await asyncio.wait({pause, settled}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            settled.cancel()

    def _leftover(self, alloc_id: str) -> bool:
        wanted = self._wanted.get(alloc_id, {})
        return any(told.alloc_id == alloc_id and told.id not in wanted for told in self._told.values())

    async def run(self) -> None:
        """Tell the server of every change, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while (message := self._news()) is not None:
                    await self._tell(message)
            except (RoveError, ConnectionError) as error:
                log.warning("services were not reported: %s", error)
                self._settled.set()
                await self._clock.sleep(RETRY_S)
                if self._is_up():
                    self._wake.set()

    async def repeat(self) -> None:
        """Say everything again once in a while, so that whatever went wrong does not stay so."""
        while True:
            await self._clock.sleep(FULL_EVERY_S)
            self.start_over()

    def _news(self) -> ServicesUpdate | None:
        if not self._is_up():
            return None
        wanted = {key: registration for mine in self._wanted.values() for key, registration in mine.items()}
        if self._full:
            return ServicesUpdate(full=True, put=tuple(wanted.values()))
        changed = [registration for key, registration in wanted.items() if self._told.get(key) != registration]
        gone = [key for key in self._told if key not in wanted]
        if not changed and not gone:
            return None
        return ServicesUpdate(put=tuple(changed[:BATCH_MAX]), gone=tuple(gone[:BATCH_MAX]))

    async def _tell(self, message: ServicesUpdate) -> None:
        self._full = self._full and not message.full
        # Until the answer it may be there or not: either way it counts as something that may have to be removed.
        self._told |= {each.id: msgspec.structs.replace(each, modify_index=-1) for each in message.put}
        try:
            await self._send(message)
        except BaseException:
            self._full = self._full or message.full
            raise
        if message.full:
            self._told = {}
        for key in message.gone:
            self._told.pop(key, None)
        self._told.update({registration.id: registration for registration in message.put})
        self._settled.set()
