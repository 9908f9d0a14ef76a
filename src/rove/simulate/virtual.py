"""Time that passes only when somebody waits, and ids from a seed.

`SimulatedLoop` runs the server's own loops: when nothing is ready it moves its clock to the next timer. There are no
threads and no sockets in it, so that equal inputs give equal results.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rove.errors import invariant

T = TypeVar("T")

START = 1_700_000_000.0
"""Seconds since the epoch at which virtual time begins, unless a snapshot says otherwise."""


class _Jumping(selectors.SelectSelector):
    """Waits by moving the clock, up to `horizon`; there it calls `at_horizon`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.horizon = float("inf")
        self.at_horizon: Callable[[], None] = lambda: None

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or self.now + timeout > self.horizon:
            invariant(self.horizon != float("inf"), "the simulation waits for something that can never happen")
            self.at_horizon()
        else:
            self.now += max(timeout, 0.0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a number, and whose executors work on the spot."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self._jumping.at_horizon = self.stop

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call `func` now."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, however long that takes in virtual time."""
        self._jumping.horizon = float("inf")
        return self.run_until_complete(work)

    def settle(self, quiet_s: float, limit_s: float, last_change: Callable[[], float]) -> bool:
        """Run until nothing has changed for `quiet_s`, at most `limit_s` (virtual). Says whether it is quiet.

        last_change: when something last changed, in virtual seconds.
        """
        end = self.time() + limit_s
        horizon = self.time() + quiet_s
        while horizon <= end:
            self._jumping.horizon = horizon
            self.run_forever()
            if last_change() + quiet_s <= horizon:
                return True
            horizon = last_change() + quiet_s
        return False


class SimulatedClock:
    """The clock port on a `SimulatedLoop`. start: seconds since the epoch at the loop's beginning."""

    def __init__(self, loop: SimulatedLoop, start: float = START) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._start + self._loop.time()

    def monotonic(self) -> float:
        """Seconds since the loop was made."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait that long, virtually."""
        await asyncio.sleep(seconds)


class SeededIds:
    """The ids port: the same ids in the same order for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def uuid(self) -> str:
        """A UUID in text form."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def random_bytes(self, count: int) -> bytes:
        """That many bytes."""
        return self._random.randbytes(count)
