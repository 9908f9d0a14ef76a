"""How late the event loop is: the longest time that something has kept it from its next step."""

from __future__ import annotations

import asyncio

from rove.ports import Clock

from . import garbage

EVERY_S = 0.02
WINDOW_S = 10.0


class LoopLag:
    """Sleeps for a moment again and again, and notes by how much it overslept. Costs fifty wake-ups a second.

    Each is used to look for young garbage as well (`rove.agent.garbage`).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._worst_s = 0.0
        self._worst_before_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def worst_ms(self) -> float:
        """The longest delay of the last ten to twenty seconds, in milliseconds."""
        return max(self._worst_s, self._worst_before_s) * 1000

    async def _run(self) -> None:
        window_ends = self._clock.monotonic() + WINDOW_S
        while True:
            garbage.collect_young()
            before = self._clock.monotonic()
            await self._clock.sleep(EVERY_S)
            now = self._clock.monotonic()
            self._worst_s = max(self._worst_s, now - before - EVERY_S)
            if now >= window_ends:
                self._worst_before_s, self._worst_s = self._worst_s, 0.0
                window_ends = now + WINDOW_S
