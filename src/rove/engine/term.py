"""A term as leader of an embedded engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Term:
    """A `Leadership` that lasts until it is ended. on_resign: the engine's own part of giving it up."""

    def __init__(self, token: int, on_resign: Callable[[Term], None]) -> None:
        self.token = token
        self._on_resign = on_resign
        self._over = asyncio.Event()

    def end(self) -> None:
        """The term is over; those who wait in `lost` are told."""
        self._over.set()

    async def lost(self) -> None:
        """Return when the term is over."""
        await self._over.wait()

    async def resign(self) -> None:
        """End the term; commits that carry its token are refused from now on."""
        self._on_resign(self)
