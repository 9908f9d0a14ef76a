"""An engine that forgets: for tests and simulation, with faults on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from . import Change, Commit, Damage, FencedError, Loaded, StaleError
from .feed import Feed
from .term import Term


class MemoryEngine:
    """Rows in dicts. `fail_with` makes the coming commits fail; `pause` holds them back, both for tests."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.revision = 0
        self.damage: tuple[Damage, ...] = ()
        self.fail_with: OSError | None = None
        self._feed = Feed()
        self._token = 0
        self._term: Term | None = None
        self._running = asyncio.Event()
        self._running.set()

    def pause(self) -> None:
        """Hold commits back until `resume`."""
        self._running.clear()

    def resume(self) -> None:
        """Let commits through again."""
        self._running.set()

    async def load(self) -> Loaded:
        """A copy of all rows, ordered by table and key."""
        rows = [Change(table, key, value) for (table, key), value in sorted(self.rows.items())]
        return Loaded(self.revision, rows, self.damage)

    async def commit(self, changes: Sequence[Change], fence: int, after: int | None = None) -> int:
        """Store the changes as one revision."""
        if not self._running.is_set():
            await self._running.wait()
        else:
            await asyncio.sleep(0)
        if self._term is None or fence != self._term.token:
            raise FencedError
        if after is not None and after != self.revision:
            raise StaleError
        if self.fail_with is not None:
            raise self.fail_with
        for change in changes:
            if change.value is None:
                self.rows.pop((change.table, change.key), None)
            else:
                self.rows[change.table, change.key] = change.value
        self.revision += 1
        self._feed.publish(Commit(self.revision, tuple(changes)))
        return self.revision

    def watch(self, after: int) -> AsyncIterator[Commit]:
        """Follow commits."""
        return self._feed.follow(after, self.revision)

    async def campaign(self, name: str) -> Term:
        """Lead at once; an earlier term ends."""
        if self._term is not None:
            self._end(self._term)
        self._token += 1
        self._term = Term(self._token, self._end)
        return self._term

    async def close(self) -> None:
        """End the term and the watches. The rows stay, so that a test can open a store on them again."""
        if self._term is not None:
            self._end(self._term)
        self._feed.close()
        self._feed = Feed()

    def _end(self, term: Term) -> None:
        term.end()
        if self._term is term:
            self._term = None
