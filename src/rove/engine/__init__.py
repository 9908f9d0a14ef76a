"""The durable store below the tables, behind one protocol.

An engine keeps rows `(table, key) -> value` and a revision that rises by one with every commit. It knows
nothing of jobs. Every implementation passes `rove.testing.engine_contract`. Keys should rise (create
index first), since random keys make a B-tree store many times slower.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

import msgspec


class Change(msgspec.Struct, frozen=True, gc=False):
    """One row to write, or to delete if `value` is None."""

    table: str
    key: bytes
    value: bytes | None


class Commit(msgspec.Struct, frozen=True, gc=False):
    """One stored transaction, as watchers see it."""

    revision: int
    changes: tuple[Change, ...]


class Damage(msgspec.Struct, frozen=True, gc=False):
    """A part of the store that could not be read; everything else was."""

    where: str
    why: str


class Loaded(msgspec.Struct, frozen=True, gc=False):
    """The whole content at one revision."""

    revision: int
    rows: Iterable[Change]
    damage: tuple[Damage, ...] = ()


class Leadership(Protocol):
    """A term as leader. `token` is the fence that every commit carries."""

    token: int

    async def lost(self) -> None:
        """Return when the term is over."""
        ...

    async def resign(self) -> None:
        """Give up the term now."""
        ...


class FencedError(Exception):
    """The commit was refused, since its leader is no longer leader. Nothing was stored."""


class StaleError(Exception):
    """The commit was refused, since the newest revision is not the one it was made after. Nothing was stored."""


class CompactedError(Exception):
    """A watch starts at a revision whose changes are no longer kept: load again, then watch from there."""


class Engine(Protocol):
    """A durable, ordered store of rows."""

    async def load(self) -> Loaded:
        """Read everything. Damaged rows are left out and named."""
        ...

    async def commit(self, changes: Sequence[Change], fence: int, after: int | None = None) -> int:
        """Store all changes durably as one revision and return it; the newest durable state after return.

        Concurrent commits are stored in call order and may share one flush (group commit).
        after: the revision this commit was worked out from. It makes a chain: when one of several commits
        under way fails, those made after it are refused as well.
        Raises `FencedError` if `fence` is not the current leadership token, `StaleError` if the newest
        revision is not `after`, `OSError` if the medium refuses; in each case nothing was stored.
        """
        ...

    def watch(self, after: int) -> AsyncIterator[Commit]:
        """Every commit with a revision above `after`, in order, without gaps.

        Raises `CompactedError` if those are no longer at hand.
        """
        ...

    async def campaign(self, name: str) -> Leadership:
        """Wait until this process leads. An embedded engine leads at once."""
        ...

    async def close(self) -> None:
        """Flush and let go of the medium."""
        ...
