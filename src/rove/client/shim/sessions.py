"""The agent's end of a command that runs beside a task."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable

from rove.client.shim.contract import ExecSpec, ExitRecord, Unreadable, decode_exit, encode
from rove.client.shim.link import ShimError, ZygoteLink, decode_report
from rove.client.shim.waiting import read_some, write_all
from rove.client.shim.zygote import EXEC

QUEUE_PIECES = 16
EXIT_UNKNOWN = 255
REPORT_LIMIT = 1024 * 1024


class ShimExec:
    """A running command: its streams, its end. Satisfies `rove.client.drivers.base.ExecSession`."""

    def __init__(
        self,
        control: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        stdin_fd: int,
        outputs: dict[str, int],
        *,
        tty: bool,
    ) -> None:
        self._reader, self._writer = control
        self._stdin_fd = stdin_fd
        self._writing = 0
        self._tty = tty
        self._queue: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(QUEUE_PIECES)
        self._pumps = [asyncio.create_task(self._pump(name, fd)) for name, fd in outputs.items()]
        self._end = asyncio.create_task(self._await_end())
        self._end.add_done_callback(lambda _: self._release_stdin())

    def when_ended(self, action: Callable[[], None]) -> None:
        """Call `action` once the command has ended."""
        self._end.add_done_callback(lambda _: action())

    async def write(self, data: bytes) -> None:
        """Feed its stdin; bytes for a command that reads no more are dropped."""
        if self._stdin_fd < 0:
            return
        self._writing += 1
        try:
            await write_all(self._stdin_fd, data)
        except OSError:
            pass  # it reads no more
        finally:
            self._writing -= 1
            if self._end.done():
                self._release_stdin()

    async def close_stdin(self) -> None:
        """End of its input; on a terminal that is Ctrl-D."""
        if self._tty:
            await self.write(b"\x04")
        else:
            self._release_stdin()

    async def resize(self, height: int, width: int) -> None:
        """Set the terminal's size in characters; nothing without a terminal."""
        if self._tty and self._stdin_fd >= 0:
            size = struct.pack("HHHH", max(0, height) & 0xFFFF, max(0, width) & 0xFFFF, 0, 0)
            fcntl.ioctl(self._stdin_fd, termios.TIOCSWINSZ, size)

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """("stdout" | "stderr", bytes) as it comes, until both end."""
        open_streams = len(self._pumps)
        while open_streams:
            piece = await self._queue.get()
            if piece is None:
                open_streams -= 1
            else:
                yield piece

    async def wait(self) -> int:
        """The exit code (128 + n after signal n)."""
        return await asyncio.shield(self._end)

    async def kill(self) -> None:
        """End it with everything it started; safe to call twice."""
        with contextlib.suppress(OSError, RuntimeError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
        await asyncio.shield(self._end)
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._release_stdin()

    def _release_stdin(self) -> None:
        """Close our end of its input, unless a write under way still holds it: that one does it then."""
        if self._writing or self._tty or self._stdin_fd < 0:
            return
        os.close(self._stdin_fd)
        self._stdin_fd = -1

    async def _pump(self, name: str, fd: int) -> None:
        try:
            while data := await read_some(fd):
                await self._queue.put((name, data))
        finally:
            if self._tty:
                self._stdin_fd = -1  # the same descriptor
            os.close(fd)
        await self._queue.put(None)

    async def _await_end(self) -> int:
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):
            line = b""
        self._writer.close()
        record = decode_exit(line)
        if isinstance(record, Unreadable):
            return EXIT_UNKNOWN
        return _exit_code(record)


def _exit_code(record: ExitRecord) -> int:
    if record.signal is not None:
        return 128 + record.signal
    return EXIT_UNKNOWN if record.code is None else record.code


def _streams(tty: bool) -> tuple[tuple[int, int, int], int, dict[str, int]]:
    """The command's 0, 1, 2; our end of its input; our ends of its output."""
    if tty:
        ours, theirs = os.openpty()
        os.set_blocking(ours, False)
        return (theirs, theirs, theirs), ours, {"stdout": ours}
    stdin, feed = os.pipe()
    stdout_read, stdout = os.pipe()
    stderr_read, stderr = os.pipe()
    for fd in (feed, stdout_read, stderr_read):
        os.set_blocking(fd, False)
    return (stdin, stdout, stderr), feed, {"stdout": stdout_read, "stderr": stderr_read}


async def open_session(link: ZygoteLink, spec: ExecSpec) -> ShimExec:
    """Run a command in the context that `spec` describes. Raises `ShimError`."""
    theirs, feed, outputs = _streams(spec.tty)
    ours, control = socket.socketpair()
    try:
        try:
            await link.send(EXEC, [control.fileno(), *theirs])
        finally:
            control.close()
            for fd in set(theirs):
                os.close(fd)
        reader, writer = await asyncio.open_connection(sock=ours, limit=REPORT_LIMIT)
        writer.write(encode(spec) + b"\n")
        line = await reader.readline()
        if not line:
            raise ShimError("the process that runs commands beside tasks died", recoverable=True)
        decode_report(line)
    except BaseException:
        ours.close()
        for fd in {feed, *outputs.values()}:
            os.close(fd)
        raise
    return ShimExec((reader, writer), feed, outputs, tty=spec.tty)
