"""Safe reading below an allocation's directory, whose content belongs to tasks that nobody trusts.

Paths are walked descriptor by descriptor. Links are resolved here, within the directory, and one that leads
out is refused. ``secrets/`` and ``private/`` of tasks are never readable. Nothing but regular files is
opened for reading, so a pipe or device cannot hold up the agent.
"""

from __future__ import annotations

import asyncio
import errno
import mimetypes
import os
import stat
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from rove.errors import BadRequestError, ForbiddenError, NotFoundError, RoveError
from rove.ports import Clock
from rove.structs.messages import FileInfo, StreamChunk

CHUNK = 64 * 1024
LINKS_MAX = 40
DEPTH_MAX = 256
POLL_S = 0.2
ENTRIES_MAX = 100_000
HIDDEN = frozenset({"secrets", "private"})

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Resolved:
    """A place below the root: the parent's descriptor and the last name ("" for the root itself)."""

    def __init__(self, parent: int, name: str, parts: tuple[str, ...]) -> None:
        self.parent = parent
        self.name = name
        self.parts = parts

    def __enter__(self) -> Resolved:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.parent)

    def stat(self) -> os.stat_result:
        """Of the entry itself. Raises OSError."""
        if not self.name:
            return os.fstat(self.parent)
        return os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)

    def open(self, flags: int) -> int:
        """Open the entry. Raises OSError."""
        return os.open(self.name or ".", flags, dir_fd=self.parent)


def resolve(root: Path, path: str) -> Resolved:
    """Find `path` below `root`. Raises `ForbiddenError`, `NotFoundError`, `BadRequestError`."""
    if "\0" in path or len(path) > 4096:
        raise BadRequestError("fs.path", "the path cannot be used", "it holds a NUL or is too long")
    root_text = str(root)
    stack: list[tuple[str, int]] = []
    links = 0
    try:
        base = os.open(root, _DIR)
    except OSError as error:
        raise NotFoundError("fs.not_found", f"no directory at {root.name}", error.strerror or "") from error
    wanted = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    try:
        while wanted:
            part = wanted.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not stack:
                    raise _escape(path)
                os.close(stack.pop()[1])
                continue
            _check_hidden(stack, part, path)
            parent = stack[-1][1] if stack else base
            info = os.stat(part, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISLNK(info.st_mode):
                links += 1
                if links > LINKS_MAX:
                    raise _escape(path, "too many links")
                wanted.extend(_link_parts(os.readlink(part, dir_fd=parent), root_text, path))
                if os.readlink(part, dir_fd=parent).startswith("/"):
                    while stack:
                        os.close(stack.pop()[1])
                continue
            if not wanted:
                _check_hidden(stack, part, path)
                names = tuple(name for name, _ in stack)
                return Resolved(os.dup(parent), part, (*names, part))
            if len(stack) >= DEPTH_MAX:
                raise _escape(path, "too deep")
            stack.append((part, os.open(part, _DIR, dir_fd=parent)))
        last = stack[-1][1] if stack else base
        return Resolved(os.dup(last), "", tuple(name for name, _ in stack))
    except OSError as error:
        raise _translated(error, path) from error
    finally:
        for _, fd in stack:
            os.close(fd)
        os.close(base)


def _link_parts(target: str, root: str, path: str) -> list[str]:
    if target.startswith("/"):
        if target != root and not target.startswith(root + "/"):
            raise _escape(path, "a link leads out of it")
        target = target[len(root) :]
    return [part for part in reversed(target.split("/")) if part not in ("", ".")]


def _check_hidden(stack: list[tuple[str, int]], part: str, path: str) -> None:
    if len(stack) == 1 and part in HIDDEN and stack[0][0] != "alloc":
        raise ForbiddenError("fs.secret", f'"{path}" may not be read', f"{part}/ of a task is private to it")


def _escape(path: str, why: str = "it leaves the directory") -> RoveError:
    return ForbiddenError("fs.escape", f'"{path}" is not below the allocation\'s directory', why)


def _translated(error: OSError, path: str) -> RoveError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFoundError("fs.not_found", f'no file "{path}" in the allocation\'s directory')
    if error.errno in (errno.ELOOP, errno.EACCES, errno.EPERM):
        return ForbiddenError("fs.refused", f'"{path}" was not opened', error.strerror or "")
    return RoveError("fs.failed", f'"{path}" was not read', error.strerror or str(error))


def _info(name: str, found: os.stat_result) -> FileInfo:
    moment = datetime.fromtimestamp(found.st_mtime, UTC).isoformat().replace("+00:00", "Z")
    is_dir = stat.S_ISDIR(found.st_mode)
    return FileInfo(
        name=name, is_dir=is_dir, size=found.st_size, file_mode=stat.filemode(found.st_mode), mod_time=moment,
        content_type="" if is_dir else mimetypes.guess_type(name)[0] or "",
    )  # fmt: skip


def list_dir(root: Path, path: str) -> tuple[FileInfo, ...]:
    """Entries of a directory, sorted by name. Blocking. Raises `RoveError`."""
    with resolve(root, path) as place:
        try:
            fd = place.open(_DIR)
        except OSError as error:
            if error.errno == errno.ENOTDIR:
                raise BadRequestError("fs.not_a_directory", f'"{path}" is not a directory') from error
            raise _translated(error, path) from error
        try:
            entries: list[FileInfo] = []
            for name in sorted(os.listdir(fd))[:ENTRIES_MAX]:
                try:
                    entries.append(_info(name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
                except OSError:
                    continue  # gone meanwhile
            return tuple(entries)
        finally:
            os.close(fd)


def stat_path(root: Path, path: str) -> FileInfo:
    """One entry. A file's content type is looked up by name, else by its first bytes. Blocking."""
    with resolve(root, path) as place:
        try:
            found = place.stat()
            info = _info(place.name or "/", found)
            if info.content_type or not stat.S_ISREG(found.st_mode):
                return info
            fd = place.open(_FILE)
        except OSError as error:
            raise _translated(error, path) from error
        try:
            head = os.read(fd, 512)
        finally:
            os.close(fd)
        kind = "application/octet-stream" if b"\0" in head else "text/plain; charset=utf-8"
        return FileInfo(
            name=info.name, is_dir=info.is_dir, size=info.size, file_mode=info.file_mode,
            mod_time=info.mod_time, content_type=kind,
        )  # fmt: skip


def open_file(root: Path, path: str) -> int:
    """A descriptor of a regular file. Blocking. Raises `RoveError`."""
    with resolve(root, path) as place:
        try:
            fd = place.open(_FILE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise BadRequestError("fs.not_a_file", f'"{path}" is not a regular file') from error
            raise _translated(error, path) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise BadRequestError("fs.not_a_file", f'"{path}" is not a regular file')
        return fd


def read_all(root: Path, path: str, offset: int, limit: int) -> bytes:
    """Bytes of a file at once; limit 0: to its end. For small files. Blocking."""
    fd = open_file(root, path)
    try:
        size = os.fstat(fd).st_size
        wanted = max(size - offset, 0)
        return os.pread(fd, min(wanted, limit) if limit else wanted, max(offset, 0))
    finally:
        os.close(fd)


async def stream_file(
    root: Path, path: str, *, clock: Clock, offset: int = 0, limit: int = 0, origin: str = "start",
    follow: bool = False, is_done: Callable[[], bool] = lambda: False,
) -> AsyncIterator[StreamChunk]:  # fmt: skip
    """The content of a file in chunks; `follow`: also what is added, until `is_done`. Raises `RoveError`.

    offset counts from `origin`, for "end" backwards. limit 0: no limit.
    """
    fd = await asyncio.to_thread(open_file, root, path)
    name = path.lstrip("/")
    try:
        opened = os.fstat(fd)
        position = _position(opened.st_size, offset, origin)
        remaining = limit or None
        while remaining is None or remaining > 0:
            done = is_done()
            data = os.pread(fd, CHUNK if remaining is None else min(CHUNK, remaining), position)
            if data:
                position += len(data)
                remaining = None if remaining is None else remaining - len(data)
                yield StreamChunk(offset=position, data=data, file=name)
                continue
            if not follow or done:
                return
            await clock.sleep(POLL_S)
            event, fd, position = await asyncio.to_thread(_reopened, root, path, fd, position)
            if event:
                yield StreamChunk(offset=position, file=name, event=event)
                if event == "file deleted":
                    return
    finally:
        os.close(fd)


def _position(size: int, offset: int, origin: str) -> int:
    if origin not in ("start", "end"):
        raise BadRequestError("fs.origin", f'origin "{origin}" is not known', "", 'use "start" or "end"')
    if offset < 0:
        raise BadRequestError("fs.offset", "the offset is below zero")
    return min(offset, size) if origin == "start" else max(size - offset, 0)


def _reopened(root: Path, path: str, fd: int, position: int) -> tuple[str, int, int]:
    """Look whether the file was cut or replaced: (event, descriptor, position)."""
    now = os.fstat(fd)
    if now.st_size < position:
        return "file truncated", fd, 0
    if now.st_nlink:
        return "", fd, position
    try:
        fresh = open_file(root, path)
    except RoveError:
        return "file deleted", fd, position
    os.dup2(fresh, fd, inheritable=False)
    os.close(fresh)
    return "file truncated", fd, 0


def log_indexes(root: Path, task: str, kind: str) -> list[tuple[int, int]]:
    """(N, size) of a task's log files ``alloc/logs/<task>.<kind>.N``, oldest first. Blocking."""
    prefix = f"{task}.{kind}."
    found: list[tuple[int, int]] = []
    for entry in list_dir(root, "alloc/logs"):
        number = entry.name.removeprefix(prefix)
        if entry.name.startswith(prefix) and number.isascii() and number.isdigit() and not entry.is_dir:
            found.append((int(number), entry.size))
    return sorted(found)


async def stream_logs(
    root: Path, task: str, kind: str, *, clock: Clock, offset: int = 0, origin: str = "start",
    follow: bool = False, is_done: Callable[[], bool] = lambda: False,
) -> AsyncIterator[StreamChunk]:  # fmt: skip
    """A task's output over its rotated files, as one text; `follow`: until the task is done and all is read.

    offset counts over all files that are left; for origin "end" backwards. Raises `RoveError`.
    """
    if kind not in ("stdout", "stderr"):
        raise BadRequestError("logs.type", f'log type "{kind}" is not known', "", 'use "stdout" or "stderr"')
    if "/" in task or not task:
        raise BadRequestError("logs.task", "the logs of which task?")
    files = await asyncio.to_thread(log_indexes, root, task, kind)
    while not files and follow and not is_done():
        await clock.sleep(POLL_S)
        files = await asyncio.to_thread(log_indexes, root, task, kind)
    if not files:
        return
    index, position = _log_start(files, _position(sum(size for _, size in files), offset, origin))
    while True:
        name = f"alloc/logs/{task}.{kind}.{index}"
        done = is_done()
        try:
            fd = await asyncio.to_thread(open_file, root, name)
        except NotFoundError:
            fd = -1  # rotated away while a slow reader was busy: go on with what is left
        if fd >= 0:
            try:
                while data := os.pread(fd, CHUNK, position):
                    position += len(data)
                    yield StreamChunk(offset=position, data=data, file=name)
            finally:
                os.close(fd)
        newer = [number for number, _ in await asyncio.to_thread(log_indexes, root, task, kind) if number > index]
        if newer:
            if fd >= 0 and (rest := await _rest(root, name, position)):
                position += len(rest)
                yield StreamChunk(offset=position, data=rest, file=name)
                continue
            index, position = newer[0], 0
        elif not follow or done:
            return
        else:
            await clock.sleep(POLL_S)


async def _rest(root: Path, name: str, position: int) -> bytes:
    """What was added to a file between our last read and its rotation."""
    try:
        return await asyncio.to_thread(read_all, root, name, position, CHUNK)
    except RoveError:
        return b""


def _log_start(files: list[tuple[int, int]], position: int) -> tuple[int, int]:
    for index, size in files:
        if position <= size:
            return index, position
        position -= size
    return files[-1][0], files[-1][1]
