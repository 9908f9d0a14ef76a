"""A store on the memory engine, with a clock that stands still until it is moved."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator

import pytest

from rove.engine.memory import MemoryEngine
from rove.server.state import Store


class StillClock:
    """Time that a test moves by hand."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class SeededIds:
    """The same ids in every run."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self._random.randbytes(16), version=4))

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
async def store(engine: MemoryEngine, clock: StillClock) -> AsyncIterator[Store]:
    store = Store(engine, clock, SeededIds())
    await store.open((await engine.campaign("test")).token)
    yield store
    await store.close()
    await engine.close()
