"""Waiting for descriptors inside an event loop, without a thread and without a transport."""

from __future__ import annotations

import asyncio
import os

CHUNK_BYTES = 64 * 1024


async def wait_readable(fd: int) -> None:
    """Return when `fd` has something to say. One waiter for a descriptor at a time."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def wait_writable(fd: int) -> None:
    """Return when `fd` takes bytes again."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def read_some(fd: int) -> bytes:
    """The next bytes of a non-blocking descriptor; b"" at its end, also when a terminal was hung up."""
    while True:
        try:
            return os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            await wait_readable(fd)
        except OSError:
            return b""


async def read_all(fd: int) -> bytes:
    """Everything up to end-of-file."""
    pieces = []
    while piece := await read_some(fd):
        pieces.append(piece)
    return b"".join(pieces)


async def write_all(fd: int, data: bytes) -> None:
    """Write to a non-blocking descriptor. Raises OSError, for instance BrokenPipeError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await wait_writable(fd)
