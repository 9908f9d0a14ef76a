"""A command beside a container's main process (docker exec), as an `ExecSession`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiodocker
import aiohttp

from rove.client.drivers.base import DriverError

POLL_S = 0.02
POLLS_MAX = 250


class DockerExec:
    """One exec instance of the engine."""

    def __init__(self, exec_: Any, stream: Any) -> None:
        self._exec = exec_
        self._stream = stream
        self._ended = asyncio.Event()

    async def write(self, data: bytes) -> None:
        """Feed its stdin."""
        if data:
            await self._stream.write_in(data)

    async def close_stdin(self) -> None:
        """End its stdin. The library has no public half-close: this is the one place that reaches for it."""
        response = self._stream._resp
        connection = getattr(response, "connection", None)
        transport = getattr(connection, "transport", None)
        if transport is not None and transport.can_write_eof():
            transport.write_eof()

    async def resize(self, height: int, width: int) -> None:
        """Tell a terminal its size."""
        if height > 0 and width > 0:
            try:
                await self._exec.resize(h=height, w=width)
            except aiodocker.DockerError:
                pass  # it has ended meanwhile

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """("stdout" | "stderr", bytes) until both end."""
        try:
            while True:
                message = await self._stream.read_out()
                if message is None:
                    break
                yield ("stderr" if message.stream == 2 else "stdout"), message.data
        except (aiohttp.ClientError, OSError):
            pass
        finally:
            self._ended.set()

    async def wait(self) -> int:
        """The exit code, once the output has ended. Raises `DriverError` if the engine does not say."""
        await self._ended.wait()
        for _ in range(POLLS_MAX):
            try:
                state = await self._exec.inspect()
            except (aiodocker.DockerError, aiohttp.ClientError, OSError) as error:
                raise DriverError(f"the engine lost the command: {error}") from None
            if not state.get("Running"):
                return int(state.get("ExitCode") or 0)
            # The engine ends the stream a moment before it notes the exit, and sends no word when it does.
            await asyncio.sleep(POLL_S)
        raise DriverError("the command closed its output but goes on running")

    async def kill(self) -> None:
        """End the connection; the engine has no way to signal an exec'ed command, which gets SIGHUP or EPIPE."""
        self._ended.set()
        await self._stream.close()
