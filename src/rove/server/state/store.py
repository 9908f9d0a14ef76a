"""The store: durable tables with one rising revision, on any engine.

`commit` applies a transaction to the *head* at once and returns when it is durable; only then do
snapshots, watchers and events see it. Concurrent commits share a flush.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from rove.engine import Damage, Engine
from rove.ports import Clock, Ids

from .events import EventBroker
from .snapshot import Committed, Snapshot, WatchKey
from .transactions import Transaction


class Store:
    """All state of a region. Belongs to one event loop; snapshots may be read from any thread."""

    def __init__(self, engine: Engine, clock: Clock, ids: Ids) -> None:
        self.damage: tuple[Damage, ...] = ()
        """What could not be read at `open`; everything else was."""
        self.events: EventBroker

    async def open(self, leadership_token: int) -> None:
        """Load everything; commits carry `leadership_token` as their fence."""
        raise NotImplementedError

    async def close(self) -> None:
        """Wait for commits under way. The engine is closed by its owner."""
        raise NotImplementedError

    @property
    def index(self) -> int:
        """The newest revision that is durable and visible."""
        raise NotImplementedError

    def snapshot(self) -> Snapshot:
        """The newest durable state: immutable, O(1), readable from any thread."""
        raise NotImplementedError

    def head(self) -> Snapshot:
        """The state with transactions that are applied but not flushed yet; for the plan applier."""
        raise NotImplementedError

    async def commit(self, transaction: Transaction) -> int:
        """Apply, store durably, and return the revision.

        Raises `FencedError` when no longer leader, `OSError` when the medium refuses; then nothing was
        stored, and the head is rolled back to the durable state. Raises what applying raises, unstored.
        """
        raise NotImplementedError

    async def wait(self, keys: Collection[WatchKey], after: int, timeout_s: float) -> int:
        """Return the newest index of `keys` once it is above `after`, or at the time-out."""
        raise NotImplementedError

    def on_commit(self, callback: Callable[[Committed], None]) -> None:
        """Call `callback` on the loop, in order, after each commit became durable."""
        raise NotImplementedError
