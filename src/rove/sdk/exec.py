"""Commands inside tasks, over a WebSocket: input, output, window size and the exit code."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from rove.errors import RoveError, UnavailableError
from rove.sdk.asynchronous import AsyncClient
from rove.sdk.request import error_of, headers_of, request, unreachable

HEARTBEAT_S = 10.0
MAX_FRAME = 4 * 2**20


@dataclass(frozen=True)
class Resize:
    """The terminal has a new size."""

    height: int
    width: int


Input = bytes | Resize
"""What goes to the command; empty bytes close its standard input."""


async def execute(
    client: AsyncClient,
    alloc_id: str,
    command: list[str],
    *,
    task: str,
    tty: bool,
    inputs: AsyncIterator[Input],
    output: Callable[[str, bytes], None],
    namespace: str = "",
) -> int:
    """Run a command inside a task and return its exit code.

    output is called with ``stdout`` or ``stderr`` and bytes as they come. Raises RoveError when the
    command cannot be started or the connection breaks off.
    """
    params = {"task": task, "tty": "true" if tty else "false", "command": json.dumps(command)}
    req = request("GET", "client", "allocation", alloc_id, "exec", params={**params, "namespace": namespace})
    try:
        async with client.session().ws_connect(
            client.url(req),
            headers=headers_of(client.settings, req),
            max_msg_size=MAX_FRAME,
            server_hostname=client.settings.tls_server_name or None,
        ) as socket:
            sending = [
                asyncio.create_task(_send(socket, inputs)),
                asyncio.create_task(_beat(socket)),
            ]
            try:
                return await _receive(socket, output)
            finally:
                for each in sending:
                    each.cancel()
                await asyncio.gather(*sending, return_exceptions=True)
    except aiohttp.WSServerHandshakeError as error:
        raise error_of(error.status, error.message or f"the agent refused with status {error.status}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise unreachable(client.settings, str(error)) from None


async def _send(socket: aiohttp.ClientWebSocketResponse, inputs: AsyncIterator[Input]) -> None:
    async for item in inputs:
        await socket.send_str(json.dumps(frame_of(item)))


def frame_of(item: Input) -> dict[str, Any]:
    """The frame of one input."""
    if isinstance(item, Resize):
        return {"tty_size": {"height": item.height, "width": item.width}}
    if not item:
        return {"stdin": {"close": True}}
    return {"stdin": {"data": b64encode(item).decode()}}


async def _beat(socket: aiohttp.ClientWebSocketResponse) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        await socket.send_str("{}")


async def _receive(socket: aiohttp.ClientWebSocketResponse, output: Callable[[str, bytes], None]) -> int:
    while True:
        message = await socket.receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise _broken(message)
        frame = json.loads(message.data)
        for kind in ("stdout", "stderr"):
            if data := (frame.get(kind) or {}).get("data"):
                output(kind, b64decode(data))
        if frame.get("exited"):
            return int((frame.get("result") or {}).get("exit_code") or 0)


def _broken(message: aiohttp.WSMessage) -> RoveError:
    """What a connection says that ends before the command: the agent's reason, if it gave one."""
    reason = str(message.extra or "") if message.type == aiohttp.WSMsgType.CLOSE else ""
    if message.type == aiohttp.WSMsgType.ERROR:
        reason = str(message.data)
    if reason:
        return error_of(500, reason)
    return UnavailableError(
        "exec.broken_off", "the command's connection ended before the command did",
        fix="look at the allocation with `rove alloc status`, and try again",
    )  # fmt: skip
