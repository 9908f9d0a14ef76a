"""Tests in the time of a `SimulatedLoop`: hours pass in milliseconds, in the same order each run.

Code under it must not use threads or sockets.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from rove.simulate.virtual import START, SimulatedLoop

P = ParamSpec("P")
T = TypeVar("T")


class VirtualClock:
    """The clock port under a `SimulatedLoop`. offset: added to `now`, to set the wall clock."""

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
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work)


def virtually(story: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of an async function: it runs in virtual time."""

    @functools.wraps(story)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        run(story(*args, **kwargs))

    return told
