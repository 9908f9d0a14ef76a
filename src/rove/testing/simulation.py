"""Whole components in virtual time: work for threads is done on the spot, ids come from a seed."""

from __future__ import annotations

import asyncio
import functools
import random
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from .virtual_time import VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")


class SimulationLoop(VirtualLoop):
    """A virtual loop without threads: executors are never used."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call `func` now, on the spot."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class SeededIds:
    """An `Ids` that gives the same ids in the same order for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def uuid(self) -> str:
        """A UUID in text form."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def random_bytes(self, count: int) -> bytes:
        """That many bytes."""
        return self._random.randbytes(count)


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=SimulationLoop) as runner:
        return runner.run(work)


def virtually(story: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of an async function: it runs in virtual time."""

    @functools.wraps(story)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        simulate(story(*args, **kwargs))

    return told
