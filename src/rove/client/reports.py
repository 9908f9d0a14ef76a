"""Sends what becomes of allocations to the server: urgent reports at once, others in company."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from rove.client.allocrunner.loop import AllocRunner
from rove.client.link import ServerLink
from rove.errors import RoveError
from rove.ports import Clock
from rove.structs.alloc import AllocUpdate
from rove.structs.messages import AllocUpdates, Empty, Kind

BATCH_MAX = 500
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Reporter:
    """Collects reports and sends them, one message at a time. Of several for one allocation the newest goes."""

    def __init__(self, link: ServerLink, clock: Clock, batch_s: float) -> None:
        self.sent = 0
        """Messages that the server has answered."""
        self._link = link
        self._clock = clock
        self._batch_s = batch_s
        self._pending: dict[str, AllocRunner | AllocUpdate] = {}
        self._sending: dict[str, AllocRunner | AllocUpdate] = {}
        self._wake = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    def add(self, runner: AllocRunner, urgent: bool) -> None:
        """This allocation has something to report."""
        self._add(runner.alloc.id, runner, urgent)

    def add_bare(self, update: AllocUpdate) -> None:
        """A report about an allocation that has no runner."""
        self._add(update.id, update, True)

    def forget(self, alloc_id: str) -> None:
        """The allocation was removed: what its runner still had to say is sent as it stands."""
        pending = self._pending.get(alloc_id)
        if isinstance(pending, AllocRunner):
            self._pending[alloc_id] = pending.report()

    def owes(self, alloc_id: str) -> bool:
        """True while a report of this allocation has not been answered."""
        return alloc_id in self._pending or alloc_id in self._sending

    async def run(self) -> None:
        """Send for ever; waits while there is no server."""
        while True:
            await self._wake.wait()
            await self._link.up.wait()
            self._wake.clear()
            if not await self._send():
                await self._clock.sleep(RETRY_S)
                self._wake.set()

    async def flush(self) -> None:
        """Send what is pending now, if there is a server."""
        if self._link.up.is_set():
            await self._send()

    def _add(self, alloc_id: str, item: AllocRunner | AllocUpdate, urgent: bool) -> None:
        self._pending[alloc_id] = item
        if urgent:
            self._wake.set()
        elif self._timer is None and not self._wake.is_set():
            self._timer = asyncio.get_running_loop().create_task(self._wake_later())

    async def _wake_later(self) -> None:
        await self._clock.sleep(self._batch_s)
        self._timer = None
        self._wake.set()

    async def _send(self) -> bool:
        async with self._one_at_a_time:
            return await self._send_all()

    async def _send_all(self) -> bool:
        while self._pending and (session := self._link.session) is not None:
            taken = dict(list(self._pending.items())[:BATCH_MAX])
            for alloc_id in taken:
                del self._pending[alloc_id]
            self._sending = taken
            ends = [item for item in taken.values() if isinstance(item, AllocRunner) and item.is_over]
            message = AllocUpdates(updates=tuple(_updates(taken.values())))
            try:
                await session.call(Kind.ALLOC_UPDATE, message, Empty)
            except (RoveError, ConnectionError) as error:
                log.warning("reports were not delivered: %s", error)
                self._pending = {**taken, **self._pending}
                return False
            finally:
                self._sending = {}
            self.sent += 1
            for runner in ends:
                runner.end_acknowledged = True
        return True


def _updates(items: Iterable[AllocRunner | AllocUpdate]) -> list[AllocUpdate]:
    return [item.report() if isinstance(item, AllocRunner) else item for item in items]
