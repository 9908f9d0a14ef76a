"""What a node remembers over its agent's restarts: who it is, its allocations, their tasks.

Under the state directory: ``client-id``, ``secret-id``, ``meta`` (what was changed of it), ``lock``, and in
``allocs/`` two files an allocation: ``<id>.alloc`` (the allocation with its job) and ``<id>.tasks`` (how far
its tasks are). A file is a header line ``rove-state <version> <crc32>`` and JSON below. Files are replaced whole:
temporary name, fsync, rename, then one fsync of the directory for all files of a batch. A file that cannot be read is
moved aside and named; it never keeps the agent from starting.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from rove.client.allocrunner.loop import AllocRecord
from rove.client.taskrunner.loop import Offload
from rove.errors import RoveError
from rove.ports import Ids
from rove.structs.alloc import Allocation

VERSION = 1
MAGIC = "rove-state"
SEQUENCE_BITS = 20
"""Reports of one allocation that one agent may number; the numbers stay below 2**53."""
ALLOC, TASKS, BROKEN = ".alloc", ".tasks", ".broken"
META = "meta"

log = logging.getLogger(__name__)
Value = TypeVar("Value")


class Damage(NamedTuple):
    """A file that could not be used. moved_to: where it is now, empty if it could not be moved."""

    path: str
    why: str
    moved_to: str


class Remembered(NamedTuple):
    """An allocation as it was saved. record None: its tasks' file is missing or broken."""

    alloc: Allocation
    record: AllocRecord | None


class LocalState:
    """The state directory of one node. Only one agent may hold it."""

    def __init__(self, path: Path, offload: Offload = asyncio.to_thread) -> None:
        """offload: runs blocking calls."""
        self._offload = offload
        self.damage: list[Damage] = []
        self.writes = 0
        """Batches written, each with one fsync of the directory."""
        self._path = path
        self._allocs = path / "allocs"
        self._lock = -1
        self._pending: dict[str, bytes | None] = {}
        self._flush: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    def open(self) -> None:
        """Make the directory and take its lock. Raises `RoveError`."""
        try:
            self._allocs.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RoveError(
                "client.state_locked", "the node agent was not started",
                f"another agent is using {self._path}", "stop it, or give this one a data_dir of its own",
            ) from None  # fmt: skip
        except OSError as error:
            raise RoveError(
                "client.state_dir", "the node agent was not started",
                f"{self._path}: {error.strerror or error}", "name a writable data_dir",
            ) from None  # fmt: skip

    def identity(self, ids: Ids) -> tuple[str, str]:
        """(node id, secret id): kept from the first start on."""
        return self._kept("client-id", ids), self._kept("secret-id", ids)

    def _kept(self, name: str, ids: Ids) -> str:
        path = self._path / name
        try:
            if text := path.read_text().strip():
                return text
        except OSError:
            pass
        text = ids.uuid()
        _replace(path, text.encode())
        _sync_dir(self._path)
        return text

    def first_sequence(self, now: float) -> int:
        """Where this agent starts to number its reports: above every agent before, also if the clock was set back.

        now: seconds since the epoch, which keeps the order if the file is lost. Call it once a start.
        """
        path = self._path / "starts"
        try:
            before = int(path.read_text())
        except (OSError, ValueError):
            before = 0
        start = max(before + 1, int(now))
        try:
            _replace(path, str(start).encode())
            _sync_dir(self._path)
        except OSError as error:  # a full disk: the tasks that run here need an agent all the more
            log.error("state file %s was not written: %s; the clock orders the reports", path, error.strerror or error)
        return start << SEQUENCE_BITS

    def load_meta(self) -> dict[str, str | None]:
        """The changes of the node's meta that were kept."""
        path = self._path / META
        if not path.exists():
            return {}
        try:
            return msgspec.json.decode(_unframe(path.read_bytes()), type=dict[str, str | None])
        except (OSError, ValueError) as error:
            self._set_aside(path, str(error))
            return {}

    async def save_meta(self, changes: Mapping[str, str | None]) -> None:
        """Keep the changes of the node's meta. Raises `RoveError` if they cannot be kept."""
        data = _frame(msgspec.json.encode(dict(changes)))
        try:
            await self._offload(self._write_meta, data)
        except OSError as error:
            raise RoveError(
                "client.state_dir", "the node's meta was not changed", f"{self._path}: {error.strerror or error}"
            ) from None

    def _write_meta(self, data: bytes) -> None:
        _replace(self._path / META, data)
        _sync_dir(self._path)

    def load(self) -> list[Remembered]:
        """Every allocation that can be read. What cannot is in `damage`, and moved aside."""
        found: list[Remembered] = []
        names = sorted(os.listdir(self._allocs))
        for name in names:
            if name.endswith(ALLOC):
                alloc = self._read(name, Allocation)
                if alloc is None or alloc.job is None:
                    continue
                tasks = name.removesuffix(ALLOC) + TASKS
                found.append(Remembered(alloc, self._read(tasks, AllocRecord) if tasks in names else None))
            elif name.endswith(".tmp"):
                (self._allocs / name).unlink(missing_ok=True)
        return found

    def alloc_ids(self) -> set[str]:
        """Allocations of which any usable file is kept."""
        names = os.listdir(self._allocs)
        return {name.rsplit(".", 1)[0] for name in names if name.endswith((ALLOC, TASKS))}

    def record_of(self, alloc_id: str) -> AllocRecord | None:
        """The tasks' record alone, for an allocation whose own file was lost."""
        return self._read(alloc_id + TASKS, AllocRecord) if (self._allocs / (alloc_id + TASKS)).exists() else None

    async def save_alloc(self, alloc: Allocation) -> None:
        """Keep an allocation; returns when it is durable."""
        await self._put(alloc.id + ALLOC, _frame(msgspec.json.encode(alloc)))

    async def save_record(self, alloc_id: str, record: AllocRecord) -> None:
        """Keep how far an allocation's tasks are; returns when it is durable."""
        await self._put(alloc_id + TASKS, _frame(msgspec.json.encode(record)))

    async def forget(self, alloc_id: str) -> None:
        """Forget an allocation."""
        self._pending[alloc_id + TASKS] = None
        await self._put(alloc_id + ALLOC, None)

    async def close(self) -> None:
        """Write what is pending and let go of the lock."""
        self._closed = True
        if self._writer is not None:
            await self._writer
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _put(self, name: str, data: bytes | None) -> None:
        """Writes of the same moment share a batch; of several for one file the last is written."""
        self._pending[name] = data
        if self._flush is None:
            self._flush = asyncio.get_running_loop().create_future()
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())
        await asyncio.shield(self._flush)

    async def _write_all(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, {}
                done, self._flush = self._flush, None
                error = await self._offload(self._write, batch)
                if error:
                    log.error("%s", error)
                if done is not None and not done.done():
                    done.set_result(None)
        finally:
            self._writer = None

    def _write(self, batch: dict[str, bytes | None]) -> str:
        """Blocking. A full disk must not stop running tasks: what could not be kept is told, not raised."""
        failed = ""
        for name, data in batch.items():
            path = self._allocs / name
            try:
                if data is None:
                    path.unlink(missing_ok=True)
                else:
                    _replace(path, data)
            except OSError as error:
                failed = f"state file {path} was not written: {error.strerror or error}"
        try:
            _sync_dir(self._allocs)
        except OSError as error:
            failed = failed or f"{self._allocs}: {error.strerror or error}"
        self.writes += 1
        return failed

    def _read(self, name: str, kind: type[Value]) -> Value | None:
        path = self._allocs / name
        try:
            return msgspec.json.decode(_unframe(path.read_bytes()), type=kind)
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            self._set_aside(path, str(error))
            return None

    def _set_aside(self, path: Path, why: str) -> None:
        target = path.with_name(path.name + BROKEN)
        try:
            path.rename(target)
        except OSError:
            target = Path()
        moved = str(target) if target.name else ""
        self.damage.append(Damage(str(path), why, moved))
        log.error("state file %s cannot be used (%s); moved to %s", path, why, moved or "nowhere")


def _frame(body: bytes) -> bytes:
    return f"{MAGIC} {VERSION} {zlib.crc32(body):08x}\n".encode() + body


def _unframe(data: bytes) -> bytes:
    """The body. Raises ValueError if it is not whole."""
    header, _, body = data.partition(b"\n")
    parts = header.split(b" ")
    if len(parts) != 3 or parts[0] != MAGIC.encode():
        raise ValueError("not a state file")
    if not parts[1].isdigit() or int(parts[1]) > VERSION:
        raise ValueError(f"version {parts[1].decode(errors='replace')} is newer than this agent")
    if parts[2] != f"{zlib.crc32(body):08x}".encode():
        raise ValueError("the checksum does not match")
    return body


def _replace(path: Path, data: bytes) -> None:
    """Write, fsync, rename; the caller syncs the directory."""
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, path)


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
