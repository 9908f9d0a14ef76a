"""Turns: many tasks that become ready at once go on a few at a time, so that the event loop gets to other work."""

from __future__ import annotations

import asyncio
from collections import deque

from rove.ports import Clock

SLICE_S = 0.01


class Pace:
    """At most `per_slice` turns in each `SLICE_S`, in the order in which they were asked for."""

    def __init__(self, clock: Clock, per_slice: int) -> None:
        self._clock = clock
        self._per_slice = per_slice
        self._left = per_slice
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._refilling: asyncio.Task[None] | None = None

    async def turn(self) -> None:
        """Return when it is the caller's turn: at once while there are few."""
        if self._refilling is None:
            self._refilling = asyncio.get_running_loop().create_task(self._refill())
        if self._left:
            self._left -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def _refill(self) -> None:
        """Hand out turns until a slice passes in which nobody wants one."""
        while self._left < self._per_slice:
            await self._clock.sleep(SLICE_S)
            self._left = self._per_slice
            while self._left and self._waiting:
                turn = self._waiting.popleft()
                if not turn.done():  # else its task was cancelled
                    turn.set_result(None)
                    self._left -= 1
        self._refilling = None

    async def stop(self) -> None:
        """End; whoever waits is cancelled by its owner."""
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)
            self._refilling = None
