"""Log files of a task: written and rotated by its shim. Standard library only.

The directory belongs to the allocation and its tasks may write there, so every name in it is
suspect: nothing but an ordinary file with one name is ever opened, and no link is followed.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from rove.client.shim.contract import NOTE_FILE

NEWLINE_WINDOW = 32 * 1024
"""Bytes to look back for the end of a line before a file is cut."""
NOTE_BYTES_MAX = 64 * 1024
INDEX_DIGITS_MAX = 9
NEWLINE = 0x0A

_OPEN = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def wall_clock() -> float:
    """Seconds since the epoch. The shim is a process of its own, out of reach of the agent's clock."""
    return time.clock_gettime(time.CLOCK_REALTIME)


class Notes:
    """The shim's own diary, for what it can tell nobody else. Never raises, never grows past its bound."""

    def __init__(self, state_dir: str) -> None:
        self._path = os.path.join(state_dir, NOTE_FILE)

    def write(self, text: str) -> None:
        """Append one dated line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_clock()))
        try:
            fd = os.open(self._path, _OPEN | os.O_CREAT, 0o600)
        except OSError:
            return
        try:
            if os.fstat(fd).st_size < NOTE_BYTES_MAX:
                os.write(fd, f"{stamp} {text}\n".encode())
        except OSError:
            pass
        finally:
            os.close(fd)


def indexes(dir_fd: int, base: str) -> list[int]:
    """The numbers N of the files `base.N` in a directory, ascending. Raises OSError."""
    prefix = base + "."
    tails = [name[len(prefix) :] for name in os.listdir(dir_fd) if name.startswith(prefix)]
    return sorted(int(t) for t in tails if t.isascii() and t.isdigit() and len(t) <= INDEX_DIGITS_MAX)


def cut_before(chunk: memoryview, room: int, tail_is_line: bool) -> int:
    """How much of a chunk still goes into a file that has room for fewer bytes than the chunk.

    chunk: longer than room. tail_is_line: the file so far ends with a newline. Looks back at most
    NEWLINE_WINDOW for the end of a line, so that lines stay whole; 0 means rotate first.
    """
    start = max(0, room - NEWLINE_WINDOW)
    newline = bytes(chunk[start:room]).rfind(b"\n")
    if newline >= 0:
        return start + newline + 1
    return 0 if tail_is_line and room <= NEWLINE_WINDOW else room


class LogStream:
    """One stream of a task as numbered files `base.N`; N only grows, the oldest are removed.

    A disk that is full costs output, never the task: what cannot be written is counted in `dropped`
    and noted, and the next chunk is tried again.
    """

    def __init__(
        self, log_dir: str, base: str, max_files: int, max_bytes: int, notes: Notes, *, newest: int = -1
    ) -> None:
        """newest: number of the newest file if it is known; spares a look at the directory."""
        self._log_dir = log_dir
        self._dir_fd = -1
        self._base = base
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._notes = notes
        self._fd = -1
        self.index = -1
        """Number of the file at hand; -1 if there is none."""
        self._size = 0
        self._tail_is_line = True
        self._failing = False
        self._ahead = memoryview(b"")
        self.dropped = 0
        """Bytes of output that found no place."""
        self._newest = newest
        self._attempt(self._continue)

    def write(self, data: bytes) -> None:
        """Append output, rotating where it has to be. Never raises."""
        self._ahead = memoryview(data)
        while self._ahead:
            if not self._attempt(self._step):
                self.dropped += len(self._ahead)
                return

    def close(self) -> None:
        """Close the file and the directory. Never raises."""
        self._close_file()
        if self._dir_fd >= 0:
            os.close(self._dir_fd)
            self._dir_fd = -1

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except OSError as error:
            if not self._failing:
                self._notes.write(f"{self._base}: output is dropped: {error.strerror}")
            self._failing = True
            return False
        return True

    def _step(self) -> None:
        """Write one piece into one file."""
        if self._fd < 0:
            self._continue()
        room = self._max_bytes - self._size
        if room <= 0:
            self._rotate()
            return
        count = len(self._ahead)
        must_cut = count > room
        if must_cut:
            count = cut_before(self._ahead, room, self._tail_is_line and self._size > 0)
        if count and self._put(count) < count:
            return  # the next step will be told why
        if must_cut:
            self._rotate()

    def _put(self, count: int) -> int:
        written = os.write(self._fd, self._ahead[:count])
        self._size += written
        self._tail_is_line = self._ahead[written - 1] == NEWLINE
        self._ahead = self._ahead[written:]
        if self._failing:
            self._failing = False
            self._notes.write(f"{self._base}: output is kept again; {self.dropped} bytes were dropped so far")
        return written

    def _continue(self) -> None:
        """Open the newest file if it has room, else a new one."""
        if self._dir_fd < 0:
            self._dir_fd = os.open(self._log_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        newest, self._newest = self._newest, -1
        if newest >= 0 and self._reopen(newest):
            return
        known = indexes(self._dir_fd, self._base)
        if not known:
            self._create(0)
        elif not self._reopen(known[-1]):
            self._create(known[-1] + 1)
        self._forget_older(self.index)

    def _reopen(self, index: int) -> bool:
        try:
            fd = os.open(f"{self._base}.{index}", _OPEN, dir_fd=self._dir_fd)
        except OSError:
            return False
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size >= self._max_bytes:
            os.close(fd)
            return False
        self._take(fd, index, status.st_size)
        return True

    def _create(self, index: int) -> None:
        """Make `base.<index>`; whatever was planted under that name goes first."""
        name = f"{self._base}.{index}"
        try:
            fd = os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self._dir_fd)
        except FileExistsError:
            self._notes.write(f"{name}: something else stood in the place of the log file and was removed")
            self._clear(name)
            fd = os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self._dir_fd)
        self._take(fd, index, 0)

    def _clear(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._dir_fd)
        except IsADirectoryError:
            os.rename(name, f".{name}.{wall_clock()}", src_dir_fd=self._dir_fd, dst_dir_fd=self._dir_fd)

    def _take(self, fd: int, index: int, size: int) -> None:
        self._close_file()
        self._fd, self.index, self._size, self._tail_is_line = fd, index, size, True

    def _rotate(self) -> None:
        self._forget_older(self.index + 1)  # first: on a full disk this makes the room
        self._create(self.index + 1)

    def _forget_older(self, newest: int) -> None:
        for index in indexes(self._dir_fd, self._base):
            if index <= newest - self._max_files:
                self._remove(f"{self._base}.{index}")

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._dir_fd)
        except OSError as error:
            self._notes.write(f"{name}: the old log file was not removed: {error.strerror}")
