"""What every `Engine` must do. A test class inherits `EngineContract` and says how to make an engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rove.engine import Change, Commit, CompactedError, Engine, FencedError, StaleError


def put(key: bytes, value: bytes = b"v", table: str = "t") -> Change:
    """A row to write."""
    return Change(table, key, value)


def drop(key: bytes, table: str = "t") -> Change:
    """A row to delete."""
    return Change(table, key, None)


async def rows(engine: Engine) -> dict[tuple[str, bytes], bytes | None]:
    """All rows of an engine."""
    return {(row.table, row.key): row.value for row in (await engine.load()).rows}


class EngineContract:
    """Tests that every engine passes. `engine` is a fixture giving a new engine and a way to open it again."""

    async def open_again(self, engine: Any) -> Any:
        """Close the engine and open one on the same medium."""
        raise NotImplementedError

    async def test_an_empty_engine_is_at_revision_0(self, engine: Engine) -> None:
        loaded = await engine.load()
        assert (loaded.revision, list(loaded.rows), loaded.damage) == (0, [], ())

    async def test_every_commit_raises_the_revision_by_one(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        assert [await engine.commit([put(b"%d" % n)], token) for n in range(3)] == [1, 2, 3]
        assert (await engine.load()).revision == 3

    async def test_a_commit_without_changes_is_a_revision_too(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        assert await engine.commit([], token) == 1

    async def test_rows_are_written_overwritten_and_deleted(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        await engine.commit([put(b"1", b"x"), put(b"2", b"y"), put(b"1", b"z", "other")], token)
        await engine.commit([put(b"1", b"xx"), drop(b"2"), drop(b"never there")], token)
        assert await rows(engine) == {("t", b"1"): b"xx", ("other", b"1"): b"z"}

    async def test_changes_of_one_commit_are_applied_in_order(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        await engine.commit([put(b"1", b"x"), drop(b"1"), put(b"2"), drop(b"2"), put(b"2", b"last")], token)
        assert await rows(engine) == {("t", b"2"): b"last"}

    async def test_rows_come_in_order_of_table_and_key(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        await engine.commit([put(b"\x02"), put(b"\x01\xff"), put(b"\x01"), put(b"\x00", table="a")], token)
        found = [(row.table, row.key) for row in (await engine.load()).rows]
        assert found == [("a", b"\x00"), ("t", b"\x01"), ("t", b"\x01\xff"), ("t", b"\x02")]

    async def test_keys_and_values_may_be_any_bytes(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        every = bytes(range(256))
        await engine.commit([put(every, every * 1000), put(b"", b"")], token)
        assert await rows(engine) == {("t", every): every * 1000, ("t", b""): b""}

    async def test_what_was_committed_is_there_after_opening_again(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        await engine.commit([put(b"1"), put(b"2")], token)
        await engine.commit([drop(b"1")], token)
        again = await self.open_again(engine)
        loaded = await again.load()
        assert loaded.revision == 2
        assert [row.key for row in loaded.rows] == [b"2"]
        await again.close()

    async def test_concurrent_commits_are_stored_in_call_order(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        tasks = [asyncio.create_task(engine.commit([put(b"k", b"%d" % n)], token)) for n in range(200)]
        assert await asyncio.gather(*tasks) == list(range(1, 201))
        assert await rows(engine) == {("t", b"k"): b"199"}

    async def test_a_commit_with_an_old_token_is_refused(self, engine: Engine) -> None:
        old = await engine.campaign("a")
        new = await engine.campaign("b")
        assert new.token > old.token
        await asyncio.wait_for(old.lost(), 5)
        with pytest.raises(FencedError):
            await engine.commit([put(b"1")], old.token)
        assert await engine.commit([put(b"2")], new.token) == 1
        assert await rows(engine) == {("t", b"2"): b"v"}

    async def test_a_commit_after_resigning_is_refused(self, engine: Engine) -> None:
        term = await engine.campaign("a")
        await term.resign()
        await asyncio.wait_for(term.lost(), 5)
        with pytest.raises(FencedError):
            await engine.commit([put(b"1")], term.token)
        assert await rows(engine) == {}

    async def test_tokens_rise_over_restarts(self, engine: Engine) -> None:
        first = (await engine.campaign("a")).token
        again = await self.open_again(engine)
        assert (await again.campaign("a")).token > first
        await again.close()

    async def test_a_commit_made_after_another_revision_is_refused(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        assert await engine.commit([put(b"1")], token, after=0) == 1
        with pytest.raises(StaleError):
            await engine.commit([put(b"2")], token, after=0)
        assert await engine.commit([put(b"3")], token, after=1) == 2
        assert set(await rows(engine)) == {("t", b"1"), ("t", b"3")}

    async def test_when_one_of_a_chain_is_refused_those_after_it_are_too(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        chain = [
            engine.commit([put(b"1")], token, after=0),
            engine.commit([put(b"2")], token + 1, after=1),
            engine.commit([put(b"3")], token, after=2),
        ]
        results = await asyncio.gather(*(asyncio.create_task(one) for one in chain), return_exceptions=True)
        assert results[0] == 1
        assert isinstance(results[1], FencedError)
        assert isinstance(results[2], StaleError)
        assert set(await rows(engine)) == {("t", b"1")}

    async def test_a_watch_sees_every_commit_in_order(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        await engine.commit([put(b"1")], token)
        await engine.commit([put(b"2")], token)
        watch = engine.watch(1)
        first = await asyncio.wait_for(anext(watch), 5)
        assert first == Commit(2, (put(b"2"),))
        await engine.commit([put(b"3"), drop(b"1")], token)
        assert await asyncio.wait_for(anext(watch), 5) == Commit(3, (put(b"3"), drop(b"1")))

    async def test_a_watch_from_before_what_is_kept_says_so(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        for n in range(3):
            await engine.commit([put(b"%d" % n)], token)
        again = await self.open_again(engine)
        with pytest.raises(CompactedError):
            await anext(again.watch(1))
        await again.close()

    async def test_a_watch_ends_when_the_engine_closes(self, engine: Engine) -> None:
        token = (await engine.campaign("a")).token
        await engine.commit([put(b"1")], token)

        async def follow() -> list[int]:
            return [commit.revision async for commit in engine.watch(0)]

        following = asyncio.create_task(follow())
        await asyncio.sleep(0)
        await engine.close()
        assert await asyncio.wait_for(following, 5) == [1]
