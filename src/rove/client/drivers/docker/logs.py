"""Copies a container's output into the task's log files, and goes on exactly where an earlier agent stopped.

The engine keeps the output with a time stamp for each piece. Beside the log files a small note in the
task's state directory says up to which stamp each stream was copied and how large its file was then: a new
agent cuts the file back to that size (what was written after the note) and asks the engine for the rest.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import aiodocker
import aiohttp

from rove.client.drivers.base import TaskSpec
from rove.client.shim.logs import LogStream, Notes

log = logging.getLogger(__name__)

NOTE_FILE = "docker-logs"
STREAMS = {1: "stdout", 2: "stderr"}
RETRY_S = 1.0
_STAMP = re.compile(rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ")


class _File(LogStream):
    """A log file that says where it stands."""

    @property
    def position(self) -> tuple[str, int]:
        """(name, bytes) of the file that is written now."""
        return f"{self._base}.{max(0, self.index)}", self._size


class Position:
    """How far output was copied. stamp: of the last piece; seen: pieces that carry this very stamp."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NOTE_FILE
        self._fd = -1
        self.stamp = ""
        self.seen = 0
        self.sizes: dict[str, tuple[str, int]] = {}
        self._load()

    def _load(self) -> None:
        try:
            saved = json.loads(self._path.read_bytes().rstrip(b"\0 \n"))
            self.stamp, self.seen = str(saved["stamp"]), int(saved["seen"])
            self.sizes = {name: (str(file), int(size)) for name, (file, size) in saved["sizes"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            self.stamp, self.seen, self.sizes = "", 0, {}

    def take(self, stamp: str) -> bool:
        """Is this piece new? It is counted if so."""
        if stamp < self.stamp:
            return False
        if stamp > self.stamp:
            self.stamp, self.seen = stamp, 0
        self.seen += 1
        return True

    def save(self, sizes: dict[str, tuple[str, int]]) -> None:
        """Write the note in place, padded to one size: it survives the agent, not the machine's power."""
        note = {"stamp": self.stamp, "seen": self.seen, "sizes": sizes}
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.pwrite(self._fd, json.dumps(note).encode().ljust(512), 0)

    def close(self) -> None:
        """Close the note."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LogCopier:
    """Follows one container's output until it ends."""

    def __init__(self, container: aiodocker.containers.DockerContainer, spec: TaskSpec, *, tty: bool) -> None:
        self._container = container
        self._spec = spec
        self._tty = tty
        self._position = Position(spec.state_dir)
        notes = Notes(str(spec.state_dir))
        config = spec.log_config
        for file, size in self._position.sizes.values():
            _cut(spec.log_dir / file, size)
        self._files = {
            name: _File(
                str(spec.log_dir),
                f"{spec.name}.{name}",
                max(1, config.max_files),
                max(1, config.max_file_size_mb) * 1024**2,
                notes,
            )
            for name in STREAMS.values()
        }

    async def run(self) -> None:
        """Copy until the container has ended and everything was read; reconnect if the engine goes away."""
        try:
            while not await self._copy():
                await asyncio.sleep(RETRY_S)
        finally:
            self._position.close()
            for file in self._files.values():
                file.close()

    async def _copy(self) -> bool:
        """One connection. True if there is nothing more to come."""
        skip = self._position.seen
        resumed_at = self._position.stamp
        try:
            async for stream, stamp, content in self._pieces(resumed_at):
                if stamp < resumed_at:
                    continue
                if stamp == resumed_at and skip > 0:
                    skip -= 1
                    continue
                self._position.take(stamp)
                self._files[stream].write(content)
                self._position.save({name: file.position for name, file in self._files.items()})
            state = (await self._container.show())["State"]
        except aiodocker.DockerError as error:
            return error.status == 404
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.debug("output of %s: %s", self._spec.id, error)
            return False
        return not state.get("Running") and not state.get("Restarting")

    async def _pieces(self, since: str) -> AsyncIterator[tuple[str, str, bytes]]:
        """(stream, stamp, content) of every piece from `since` on."""
        params = {"stdout": "1", "stderr": "1", "follow": "1", "timestamps": "1"}
        if since:
            params["since"] = _unix(since)
        docker = self._container.docker
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        url = f"containers/{self._container.id}/logs"
        async with docker._query(url, params=params, timeout=timeout) as answer:
            reader = answer.content
            frames = _lines(reader) if self._tty else _frames(reader)
            async for number, data in frames:
                stamped = _STAMP.match(data)
                if stamped is None:
                    continue
                yield STREAMS.get(number, "stdout"), _normal(stamped[1].decode()), data[stamped.end() :]


async def _frames(reader: aiohttp.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """The engine's multiplexed format: one byte stream, three of nothing, four length, then the content."""
    while True:
        try:
            head = await reader.readexactly(8)
            yield head[0], await reader.readexactly(int.from_bytes(head[4:], "big"))
        except asyncio.IncompleteReadError:
            return


async def _lines(reader: aiohttp.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """A terminal's output: lines, all of them stdout."""
    while line := await reader.readline():
        yield 1, line


def _normal(stamp: str) -> str:
    """The stamp with nine decimals, so that stamps compare as text."""
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<9}Z"


def _unix(stamp: str) -> str:
    """Seconds and nanoseconds since the epoch, as the engine wants them."""
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(f"{seconds}+00:00")
    return f"{int(moment.timestamp())}.{fraction:0<9}"


def _cut(path: Path, size: int) -> None:
    """Cut a log file back to what the note says; a task may have put something else there: never follow a link."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.fstat(handle).st_size > size and os.fstat(handle).st_nlink == 1:
            os.ftruncate(handle, size)
    except OSError:
        pass
    finally:
        os.close(handle)
