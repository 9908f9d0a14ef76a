"""The embedded engine: one SQLite file, WAL, ``synchronous=FULL``, one writer thread, group commit.

One table of rows keyed by (table, key), each with a CRC-32 over table, key and value, so that a changed
bit is found and named instead of served. `salvage` handles files that SQLite itself cannot read in full.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO
from zlib import crc32

from rove.errors import RoveError

from . import Change, Commit, Damage, FencedError, Loaded, StaleError
from .feed import Feed
from .salvage import TABLE_MARK, known_tables, read_rows, rebuild
from .term import Term

ROWS_PER_FLUSH = 1024
"""A flush takes commits until it holds this many rows."""
CHECKPOINT_PAGES = 4_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (tab TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL,
  PRIMARY KEY (tab, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('revision', 0), ('fence', 0), ('format', 1);
"""
FORMAT = 1
UPSERT = (
    "INSERT INTO rows VALUES (?, ?, ?, ?) "
    "ON CONFLICT (tab, key) DO UPDATE SET value = excluded.value, crc = excluded.crc"
)


def checksum(table: str, key: bytes, value: bytes) -> int:
    """CRC-32 over all that a row says."""
    return crc32(value, crc32(key, crc32(table.encode())))


@dataclass(slots=True)
class _Job:
    """One commit on its way to the writer thread."""

    changes: Sequence[Change]
    fence: int
    after: int | None
    future: asyncio.Future[int]
    new_fence: int = 0
    """Not a commit but the begin of a term, if not 0."""
    outcome: int | Exception | None = None


class SqliteEngine:
    """Opens (or makes) the file `path` and holds a lock beside it.

    Raises `RoveError`: ``store.locked`` if another process holds it, ``store.unwritable`` if the folder
    cannot be written, ``store.newer`` if a newer release wrote the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: tuple[Damage, ...] = ()
        self._lock = _take_lock(path)
        try:
            self._connection, found = _open(path)
        except BaseException:
            self._lock.close()
            raise
        self.damage = found
        meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        self._tables = set(known_tables(meta))
        self._revision: int = meta["revision"]
        self._fence: int = meta["fence"]
        self._term: Term | None = None
        self._feed = Feed()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
        self._token = 0
        self._closed = False

    async def load(self) -> Loaded:
        """Read every row, on a thread (1.5 s a million rows); damaged ones are named."""
        return await asyncio.to_thread(self._load)

    def _load(self) -> Loaded:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN")
            meta = dict(connection.execute("SELECT name, value FROM meta"))
            rows, damage = read_rows(connection, checksum, known_tables(meta))
        except sqlite3.Error as error:
            raise _as_os_error(error) from error
        finally:
            connection.close()
        return Loaded(meta["revision"], rows, (*self.damage, *damage))

    async def commit(self, changes: Sequence[Change], fence: int, after: int | None = None) -> int:
        """Hand over to the writer thread and wait for the flush."""
        return await self._enqueue(changes, fence, after)

    def _enqueue(
        self, changes: Sequence[Change], fence: int, after: int | None, new_fence: int = 0
    ) -> asyncio.Future[int]:
        if self._closed:
            raise OSError(errno.EBADF, "the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, args=(loop,), name="store-writer", daemon=True)
            self._writer.start()
        self._queue.put(_Job(changes, fence, after, future, new_fence))
        return future

    def watch(self, after: int) -> AsyncIterator[Commit]:
        """Follow the commits of this process."""
        return self._feed.follow(after, self._revision)

    async def campaign(self, name: str) -> Term:
        """Lead at once; an earlier term ends."""
        if self._term is not None:
            self._end(self._term)
        self._fence += 1
        token = self._fence
        await self._enqueue((), 0, None, token)
        self._term = Term(token, self._end)
        return self._term

    async def close(self) -> None:
        """Flush what is queued, close the file, let go of the lock. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._term is not None:
            self._term.end()
        if self._writer is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._writer.join)
        self._feed.close()
        self._connection.close()
        self._lock.close()

    def _end(self, term: Term) -> None:
        term.end()
        if self._term is term:
            self._term = None
            self._token = 0

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        """The writer thread: take what is queued, store it in one flush, tell the loop, until None comes."""
        open_ = True
        while open_:
            job = self._queue.get()
            group: list[_Job] = []
            rows = 0
            while True:
                if job is None:
                    open_ = False
                    break
                group.append(job)
                rows += len(job.changes) + 1
                if rows >= ROWS_PER_FLUSH or self._queue.empty():
                    break
                job = self._queue.get()
            if not group:
                continue
            self._flush(group)
            try:
                loop.call_soon_threadsafe(self._settle, group)
            except RuntimeError:
                return  # the loop has gone: nobody is waiting any more

    def _flush(self, group: list[_Job]) -> None:
        """Store a group in one transaction and note each job's outcome."""
        cursor = self._connection
        revision = self._revision
        tables: set[str] = set()
        try:
            cursor.execute("BEGIN IMMEDIATE")
            for job in group:
                if job.new_fence:
                    cursor.execute("UPDATE meta SET value = ? WHERE name = 'fence'", (job.new_fence,))
                    self._token = job.new_fence
                    job.outcome = revision
                elif job.fence != self._token:
                    job.outcome = FencedError()
                elif job.after is not None and job.after != revision:
                    job.outcome = StaleError()
                else:
                    _store(cursor, job.changes)
                    tables.update(change.table for change in job.changes)
                    revision += 1
                    job.outcome = revision
            cursor.execute("UPDATE meta SET value = ? WHERE name = 'revision'", (revision,))
            for table in tables - self._tables:
                cursor.execute("INSERT OR IGNORE INTO meta VALUES (?, 1)", (TABLE_MARK + table,))
            cursor.execute("COMMIT")
            self._revision = revision
            self._tables |= tables
        except Exception as error:  # whatever it is, nobody may be left waiting
            if cursor.in_transaction:
                try:
                    cursor.execute("ROLLBACK")
                except sqlite3.Error:
                    pass  # SQLite has rolled back by itself
            for job in group:
                if not isinstance(job.outcome, Exception):
                    job.outcome = _as_os_error(error)

    def _settle(self, group: list[_Job]) -> None:
        for job in group:
            outcome = job.outcome
            if isinstance(outcome, int) and not job.new_fence:
                self._feed.publish(Commit(outcome, tuple(job.changes)))
            if job.future.done():
                continue  # the caller has gone
            if isinstance(outcome, int):
                job.future.set_result(outcome)
            else:
                job.future.set_exception(outcome or OSError(errno.EIO, "not stored"))


def _store(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Upserts and deletes in order, each run of one kind as one statement."""
    puts: list[tuple[str, bytes, bytes, int]] = []
    for change in changes:
        if change.value is not None:
            crc = checksum(change.table, change.key, change.value)
            puts.append((change.table, change.key, change.value, crc))
            continue
        if puts:
            connection.executemany(UPSERT, puts)
            puts.clear()
        connection.execute("DELETE FROM rows WHERE tab = ? AND key = ?", (change.table, change.key))
    if puts:
        connection.executemany(UPSERT, puts)


def _take_lock(path: Path) -> IO[str]:
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(lock_path, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read(32).strip()
        lock.close()
        raise RoveError(
            "store.locked", f"another agent (pid {holder or 'unknown'}) uses {path.parent}",
            fix="stop that agent, or give this one a data_dir of its own",
        ) from error  # fmt: skip
    try:
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
    except OSError as error:
        lock.close()
        raise _unwritable(path, error.strerror or str(error)) from error
    return lock


def _unwritable(path: Path, why: str) -> RoveError:
    return RoveError(
        "store.unwritable", f"the state in {path.parent} cannot be written: {why}",
        fix="make data_dir a folder that this user may write, with room left",
    )  # fmt: skip


def _open(path: Path) -> tuple[sqlite3.Connection, tuple[Damage, ...]]:
    """Open the file; if SQLite finds it broken, rebuild it from what can be read."""
    damage: tuple[Damage, ...] = ()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # it holds nodes' secrets
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    try:
        connection = _connect(path)
    except sqlite3.OperationalError as error:
        raise _unwritable(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        damage = rebuild(path, SCHEMA, checksum, " ".join(str(error).split()))
        connection = _connect(path)
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if meta.get("format", FORMAT) > FORMAT:
        connection.close()
        raise RoveError(
            "store.newer", f"the state in {path} was written by a newer release",
            fix="start that release, or give this agent another data_dir",
        )  # fmt: skip
    return connection, damage


def _connect(path: Path) -> sqlite3.Connection:
    """Raises `sqlite3.DatabaseError` if the file is broken, `sqlite3.OperationalError` if it cannot be used."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        connection.executescript(SCHEMA)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _as_os_error(error: Exception) -> OSError:
    text = str(error)
    code = errno.ENOSPC if "full" in text else errno.EIO
    return OSError(code, text)
