"""An event loop whose time is a number: when nothing is ready it jumps to the next timer.

Code under it must not use threads or sockets; it sees hours pass in milliseconds, and the same order each run.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START = 1_700_000_000.0
"""Seconds since the epoch at which virtual time begins."""


class _Jumping(selectors.SelectSelector):
    """Waits by moving the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is scheduled and nothing is ready: the code under test would wait for ever")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `time` is virtual."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now


class VirtualClock:
    """The clock port under a `VirtualLoop`. offset: added to `now`, to set the wall clock."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return START + self.offset + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        """Seconds since the loop was made."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait that long, virtually."""
        await asyncio.sleep(seconds)


async def in_place(call: Any, *arguments: Any, **options: Any) -> Any:
    """Stands in for `asyncio.to_thread`: runs the call at once."""
    return call(*arguments, **options)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
