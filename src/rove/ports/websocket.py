"""The real pipe: a WebSocket (RFC 6455) carried by aiohttp, one binary message a frame."""

from __future__ import annotations

import aiohttp
from aiohttp import web

from .transport import MAX_FRAME

PATH = "/v1/internal/connect"


class WebSocketPipe:
    """A `Pipe` over either end of a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, data: bytes) -> None:
        """Hand over one frame."""
        if self._socket.closed:
            raise ConnectionResetError("connection closed")
        try:
            await self._socket.send_bytes(data)
        except (RuntimeError, aiohttp.ClientError) as error:
            raise ConnectionResetError(str(error)) from error

    async def receive(self) -> bytes | None:
        """The next frame, or None when the connection is closed."""
        message = await self._socket.receive()
        return message.data if message.type is aiohttp.WSMsgType.BINARY else None

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()


async def dial(session: aiohttp.ClientSession, address: str, timeout_s: float = 10.0) -> WebSocketPipe:
    """Connect to a server's rpc address (``host:port``). Raises `aiohttp.ClientError`, `TimeoutError`."""
    timeout = aiohttp.ClientWSTimeout(ws_close=2.0)
    socket = await session.ws_connect(
        f"http://{address}{PATH}", timeout=timeout, max_msg_size=MAX_FRAME, compress=0, autoping=True,
    )  # fmt: skip
    return WebSocketPipe(socket)
