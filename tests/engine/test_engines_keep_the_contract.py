"""The memory fake and the real SQLite engine pass one suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rove.engine.memory import MemoryEngine
from rove.engine.sqlite import SqliteEngine
from rove.testing.engine_contract import EngineContract


class TestMemoryEngine(EngineContract):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[MemoryEngine]:
        engine = MemoryEngine()
        yield engine
        await engine.close()

    async def open_again(self, engine: MemoryEngine) -> MemoryEngine:
        await engine.close()
        return engine


class TestSqliteEngine(EngineContract):
    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[SqliteEngine]:
        engine = SqliteEngine(tmp_path / "state.db")
        yield engine
        await engine.close()

    async def open_again(self, engine: SqliteEngine) -> SqliteEngine:
        await engine.close()
        return SqliteEngine(engine.path)
