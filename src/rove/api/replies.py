"""From a `Reply` or an error to an HTTP response: headers, compression, plain-text errors."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from aiohttp import web

from rove.errors import RoveError

from .call import Call, Reply

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
GZIP_FROM = 1400
THREAD_FROM = 256 * 1024
FIXED_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}
STREAMING = web.RequestKey("streaming", bool)
_NO_WEIGHT = re.compile(r"q\s*=\s*0(\.0*)?", re.IGNORECASE)
_encode = msgspec.json.Encoder().encode


async def respond(call: Call, reply: Reply) -> web.Response:
    """The HTTP response of a handler's reply."""
    headers = {"Content-Type": "application/json", **FIXED_HEADERS, **call.backend.response_headers}
    if reply.index:
        headers["X-Nomad-Index"] = str(reply.index)
        if reply.is_read:
            headers["X-Nomad-LastContact"] = "0"
            server = call.backend.server
            headers["X-Nomad-KnownLeader"] = "true" if server is None or server.leader_address else "false"
    if reply.next_token:
        headers["X-Nomad-NextToken"] = to_header(reply.next_token)
    body = reply.body if isinstance(reply.body, bytes) else _encode(reply.body)
    if call.query and call.query.get("pretty", "0") != "0":
        body = msgspec.json.format(body, indent=4)
    if len(body) >= GZIP_FROM and accepts_gzip(call.request):
        body = await asyncio.to_thread(gzip, body) if len(body) > THREAD_FROM else gzip(body)
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
    return web.Response(body=body, status=reply.status, headers=headers)


def to_header(token: str) -> str:
    """A page token as a header can hold it: ids may have signs in them that a header may not."""
    return quote(token, safe="/:.~-_")


def from_header(token: str) -> str:
    """The page token of what a client sent back: what the header held, or an id as it is, written by hand.

    It came from the header if and only if quoting gives it again, so both forms of "50%" and "a@b" are understood.
    """
    plain = unquote(token)
    return plain if to_header(plain) == token else token


async def start_stream(call: Call, content_type: str) -> web.StreamResponse:
    """Begin an answer that is sent piece by piece."""
    headers = {"Content-Type": content_type, "Cache-Control": "no-cache", **FIXED_HEADERS}
    response = web.StreamResponse(headers={**headers, **call.backend.response_headers})
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    call.request[STREAMING] = True
    return response


def text_response(text: str, status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Plain text, as every error is."""
    return web.Response(
        body=text.encode("utf-8", "replace"),
        status=status,
        headers={"Content-Type": "text/plain; charset=utf-8", **FIXED_HEADERS, **(headers or {})},
    )


def error_response(error: RoveError) -> web.Response:
    """What a client sees of a failure."""
    return text_response(error.text(), error.status)


def accepts_gzip(request: web.Request) -> bool:
    """True if the client takes gzip."""
    for offer in request.headers.get("Accept-Encoding", "").split(","):
        coding, _, weight = offer.partition(";")
        if coding.strip().lower() in {"gzip", "x-gzip"}:
            return _NO_WEIGHT.fullmatch(weight.strip()) is None
    return False


def gzip(body: bytes) -> bytes:
    """`body` in gzip format, fast rather than small."""
    packer = zlib.compressobj(level=1, wbits=31)
    return packer.compress(body) + packer.flush()


def to_json(value: Any) -> bytes:
    """JSON text of a value."""
    return _encode(value)
