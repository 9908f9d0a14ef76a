"""Blocking queries: who waits for which keys."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from .tables import WatchKey


class Woken:
    """A wake-up that one query waits for."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the query."""
        self._event.set()

    async def wait_until(self, deadline: float) -> bool:
        """Wait for the next wake-up; False if the loop's clock reached `deadline` first."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Watchers:
    """Waiting queries by key. Belongs to one event loop."""

    def __init__(self) -> None:
        self._by_key: dict[WatchKey, set[Woken]] = defaultdict(set)
        self._on_nodes = 0

    @contextmanager
    def watching(self, keys: Collection[WatchKey]) -> Iterator[Woken]:
        """Wake-ups for `keys` while inside."""
        woken = Woken()
        on_nodes = sum(1 for key in keys if key[0] == "allocs.node")
        self._on_nodes += on_nodes
        for key in keys:
            self._by_key[key].add(woken)
        try:
            yield woken
        finally:
            self._on_nodes -= on_nodes
            for key in keys:
                waiting = self._by_key.get(key)
                if waiting is not None:
                    waiting.discard(woken)
                    if not waiting:
                        del self._by_key[key]

    def wake(self, keys: Iterable[WatchKey], alloc_nodes: Iterable[str]) -> None:
        """Wake whoever waits for one of `keys`, or for the allocations of one of `alloc_nodes`."""
        if not self._by_key:
            return
        for key in keys:
            for woken in self._by_key.get(key, ()):
                woken.set()
        if self._on_nodes:
            for node_id in alloc_nodes:
                for woken in self._by_key.get(("allocs.node", node_id), ()):
                    woken.set()

    def wake_all(self) -> None:
        """Wake everybody, as the store closes."""
        for waiting in self._by_key.values():
            for woken in waiting:
                woken.set()
