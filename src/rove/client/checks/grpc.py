"""The one gRPC call that a health check needs, ``grpc.health.v1.Health/Check``, over a minimum of HTTP/2.

Header fields go out uncompressed, and those that come back are not looked at: the answer is in the message itself.
A server that has no such service answers without a message. Sources: RFC 9113, RFC 7541, the gRPC wire protocol and
the gRPC health checking protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct

from rove.errors import RoveError

SERVING = "serving"
STATES = {0: "unknown", 1: SERVING, 2: "not serving", 3: "service unknown"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, PADDED = 0x1, 0x1, 0x8
END_HEADERS = 0x4
STREAM = 1
FRAME_MAX = 1 << 14
MESSAGE_MAX = 64 * 1024
FRAMES_MAX = 1000


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def request(authority: str, service: str, *, tls: bool) -> bytes:
    """Everything the client says: preface, settings, one call."""
    fields = [
        (b":method", b"POST"), (b":scheme", b"https" if tls else b"http"), (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", authority.encode()), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
        (b"user-agent", b"rove-check"),
    ]  # fmt: skip
    block = b"".join(b"\x10" + _string(name) + _string(value) for name, value in fields)
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"".join(
        (
            PREFACE,
            frame(SETTINGS, 0, 0),
            frame(HEADERS, END_HEADERS, STREAM, block),
            frame(DATA, END_STREAM, STREAM, b"\0" + struct.pack(">I", len(message)) + message),
        )
    )


def _string(text: bytes) -> bytes:
    """A header string without compression (RFC 7541, 5.2)."""
    prefix_max = 127
    if len(text) < prefix_max:
        return bytes((len(text),)) + text
    return b"\x7f" + _varint(len(text) - prefix_max) + text


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def state_of(message: bytes) -> str:
    """The state in a HealthCheckResponse: field 1, a varint; absent means 0."""
    if not message:
        return STATES[0]
    if message[0] != 0x08 or len(message) < 2:
        return "not understood"
    return STATES.get(message[1], "not understood")


async def health(host: str, port: int, service: str, tls: ssl.SSLContext | None, server_name: str = "") -> str:
    """What the server says of the service's health. Raises `OSError`, `RoveError`."""
    reader, writer = await asyncio.open_connection(
        host, port, ssl=tls, server_hostname=(server_name or host) if tls else None
    )
    try:
        name = f"[{host}]" if ":" in host else host
        writer.write(request(f"{server_name or name}:{port}", service, tls=tls is not None))
        return state_of(await _message(reader, writer))
    except asyncio.IncompleteReadError:
        raise RoveError("check.grpc", "the server closed the connection without an answer") from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    data = bytearray()
    for _ in range(FRAMES_MAX):
        head = await reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if size > FRAME_MAX:
            raise RoveError("check.grpc", "the answer is not HTTP/2")
        body = await reader.readexactly(size)
        match kind:
            case _ if kind == SETTINGS and not flags & ACK:
                writer.write(frame(SETTINGS, ACK, 0))
            case _ if kind == PING and not flags & ACK:
                writer.write(frame(PING, ACK, 0, body))
            case _ if kind == DATA:
                data += body[1 : size - body[0]] if flags & PADDED and body else body
                if len(data) > MESSAGE_MAX:
                    break
                if len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
                    return bytes(data[5 : 5 + int.from_bytes(data[1:5], "big")])
            case _ if kind in (RST_STREAM, GOAWAY):
                raise RoveError("check.grpc", "the server refused the call")
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            break
    raise RoveError("check.grpc", "the server answered without a health state: it has no grpc.health.v1.Health for it")
