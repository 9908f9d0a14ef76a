"""The newest commits of an embedded engine, for those who watch it within the process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from . import Commit, CompactedError

KEPT = 1024
"""How many commits a watcher may be behind."""


class Feed:
    """A ring of commits and a wake-up for its readers. Belongs to one event loop."""

    def __init__(self) -> None:
        self._kept: deque[Commit] = deque(maxlen=KEPT)
        self._wake = asyncio.Event()
        self._closed = False

    def publish(self, commit: Commit) -> None:
        """Add the next commit."""
        self._kept.append(commit)
        self._wake.set()

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        self._wake.set()

    async def follow(self, after: int, newest: int) -> AsyncIterator[Commit]:
        """Commits above `after`; `newest` is the engine's revision now. Raises `CompactedError` on a gap."""
        if after > newest:
            raise CompactedError
        while True:
            for commit in self._above(after, newest):
                yield commit
                after = commit.revision
            if self._closed:
                return
            newest = max(newest, after)
            if not self._kept or self._kept[-1].revision <= after:
                self._wake.clear()
                await self._wake.wait()

    def _above(self, after: int, newest: int) -> list[Commit]:
        oldest = self._kept[0].revision if self._kept else newest + 1
        if after + 1 < oldest and after < newest:
            raise CompactedError
        return [commit for commit in self._kept if commit.revision > after]
