"""The store: durable tables with one rising revision, on any engine.

`commit` applies a transaction to the *head* at once and returns when it is durable; only then do
snapshots, watchers and events see it. Concurrent commits share a flush. When a flush fails, the head goes
back to the durable state and every commit under way fails.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from rove.engine import Change, Damage, Engine, StaleError
from rove.errors import invariant
from rove.ports import Clock, Ids
from rove.structs.base import unix_ns

from .apply import apply
from .committed import Committed
from .draft import Draft
from .events import BUFFER, EventBroker
from .load import load
from .snapshot import Snapshot
from .tables import Tables, WatchKey
from .transactions import Transaction
from .watch import Watchers

log = logging.getLogger("rove.state")

FREEZE_ROWS = 50_000
"""From this many rows on, what was loaded is taken out of the garbage collector's sight."""


@dataclass(slots=True)
class _Pending:
    """A commit that is applied to the head and on its way to the engine."""

    committed: Committed
    tables: Tables
    changes: list[Change]
    done: asyncio.Future[int]


class Store:
    """All state of a region. Belongs to one event loop; snapshots may be read from any thread."""

    def __init__(self, engine: Engine, clock: Clock, ids: Ids, event_buffer: int = BUFFER) -> None:
        self.damage: tuple[Damage, ...] = ()
        """What could not be read at `open`; everything else was."""
        self.setbacks = 0
        """How often the head went back, since what was applied to it was not stored."""
        self.events = EventBroker(event_buffer)
        self._engine = engine
        self._clock = clock
        self._ids = ids
        self._fence = 0
        self._durable = Tables()
        self._head = self._durable
        self._pending: deque[_Pending] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watchers = Watchers()
        self._callbacks: list[Callable[[Committed], None]] = []
        self._open = False

    async def open(self, leadership_token: int) -> None:
        """Load everything; commits carry `leadership_token` as their fence."""
        self._fence = leadership_token
        collecting = gc.isenabled()
        gc.disable()
        try:
            loaded = await self._engine.load()
            rows = list(loaded.rows)
            tables, damage = load(loaded.revision, rows)
        finally:
            if collecting:
                gc.enable()
        if len(rows) >= FREEZE_ROWS:
            gc.freeze()
        self.damage = (*loaded.damage, *damage)
        for part in self.damage:
            log.error("damaged state: %s: %s", part.where, part.why)
        self._durable = self._head = tables
        self._open = True

    async def close(self) -> None:
        """Wait for commits under way, end subscriptions. The engine is closed by its owner."""
        self._open = False
        while self._tasks:
            await asyncio.wait(self._tasks)
        self.events.close()
        self._watchers.wake_all()

    @property
    def index(self) -> int:
        """The newest revision that is durable and visible."""
        return self._durable.index

    def snapshot(self) -> Snapshot:
        """The newest durable state: immutable, O(1), readable from any thread."""
        return Snapshot(self._durable)

    def head(self) -> Snapshot:
        """The state with transactions that are applied but not flushed yet; for the plan applier."""
        return Snapshot(self._head)

    async def commit(self, transaction: Transaction) -> int:
        """Apply, store durably, and return the revision.

        Raises `FencedError` when no longer leader, `OSError` when the medium refuses; then nothing was
        stored, and the head is rolled back to the durable state. Raises what applying raises, unstored.
        A caller that is cancelled does not undo the commit.
        """
        return await asyncio.shield(self.submit(transaction))

    def submit(self, transaction: Transaction) -> asyncio.Future[int]:
        """Apply to the head now; the future resolves as `commit` does. Keeps the order of calls."""
        invariant(self._open, "commit on a store that is not open")
        before = self._head
        draft = Draft(before, before.index + 1, unix_ns(self._clock.now()), self._ids.random_bytes)
        apply(draft, transaction)
        after, changes = draft.finish()
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        pending = _Pending(Committed(draft, transaction, before, after), after, changes, done)
        self._head = after
        self._pending.append(pending)
        task = asyncio.create_task(self._flush(pending))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return done

    async def _flush(self, pending: _Pending) -> None:
        index = pending.tables.index
        try:
            if pending.done.done():
                return  # an earlier commit failed before this one was handed over
            revision = await self._engine.commit(pending.changes, self._fence, index - 1)
        except Exception as error:
            self._fail(pending, error)
            return
        invariant(revision == index, f"the engine stored revision {revision} where {index} was due")
        if not pending.done.done():
            self._publish(pending)

    def _publish(self, pending: _Pending) -> None:
        invariant(self._pending and self._pending[0] is pending, "commits were flushed out of order")
        self._pending.popleft()
        self._durable = pending.tables
        committed = pending.committed
        self.events.publish(committed)
        for callback in self._callbacks:
            try:
                callback(committed)
            except Exception:
                log.exception("a listener failed on revision %d", committed.revision)
        self._watchers.wake(committed.touched, committed.alloc_nodes)
        pending.done.set_result(committed.revision)

    def _fail(self, failed: _Pending, error: Exception) -> None:
        """Roll the head back to what is durable; everything under way fails for the same reason."""
        if failed.done.done():
            return
        for pending in self._pending:
            if not pending.done.done():
                pending.done.set_exception(_reason(error))
                pending.done.exception()  # nobody has to be waiting
        self._pending.clear()
        self._head = self._durable
        self.setbacks += 1

    async def wait(self, keys: Collection[WatchKey], after: int, timeout_s: float) -> int:
        """Return the newest index of `keys` once it is above `after`, or at the time-out."""
        newest = self.snapshot().last_index(*keys)
        if newest > after or timeout_s <= 0:
            return newest
        deadline = asyncio.get_running_loop().time() + timeout_s
        with self._watchers.watching(keys) as woken:
            while newest <= after and self._open:
                if not await woken.wait_until(deadline):
                    break
                newest = self.snapshot().last_index(*keys)
        return self.snapshot().last_index(*keys)

    def on_commit(self, callback: Callable[[Committed], None]) -> None:
        """Call `callback` on the loop, in order, after each commit became durable. It must not block."""
        self._callbacks.append(callback)


def _reason(error: Exception) -> Exception:
    """A failure of its own for each caller, since a traceback grows on a shared one."""
    if isinstance(error, StaleError):
        return OSError("an earlier commit was not stored")
    try:
        return type(error)(*error.args)
    except TypeError:
        return OSError(str(error))
