"""One request: its options, its body, and the answer to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from multidict import MultiDict

from rove.errors import BadRequestError, RoveError, TooLargeError, UnavailableError

from . import govalues
from .backend import Backend, Client, Server
from .fold import fold

T = TypeVar("T")
BIG_BODY = 64 * 1024
MAX_JSON_SIGNS = 3_000_000
"""Brackets and commas in one body. Decoding holds the interpreter's lock, so it must not take long."""
DEPTH_MAX = 64
"""Lists and objects inside one another in a body. The state has to be read again at the next start, and a message
nested much deeper than this cannot be."""
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
"""What a whole number can be where it is stored."""
MAX_WAIT_NS = 600 * 10**9
DEFAULT_WAIT_NS = 300 * 10**9
_EMPTY: MultiDict[str] = MultiDict()


class Reply(msgspec.Struct, frozen=True):
    """A JSON answer. index 0: no index header. raw: body is JSON text already."""

    body: Any
    index: int = 0
    next_token: str = ""
    is_read: bool = True
    status: int = 200


class Call:
    """What a handler gets: the request, decoded on demand, and the backend."""

    __slots__ = ("_namespace", "backend", "ids", "query", "request")

    def __init__(self, request: web.Request, backend: Backend, ids: Mapping[str, str]) -> None:
        self.request = request
        self.backend = backend
        self.ids = ids
        self.query: Mapping[str, str] = request.query if request.rel_url.raw_query_string else _EMPTY
        self._namespace: str | None = None

    @property
    def server(self) -> Server:
        """The server in this process. Routes placed on servers are forwarded before they get here without one."""
        if self.backend.server is None:
            raise UnavailableError("agent.no_server", "this agent is no server, and knows none to ask")
        return self.backend.server

    @property
    def client(self) -> Client | None:
        return self.backend.client

    @property
    def store(self) -> Any:
        return self.server.store

    def verb(self, name: str) -> Any:
        """A method that the server may not have (yet). Raises `RoveError` 501 if it has none."""
        method = getattr(self.server, name, None)
        if method is None:
            raise RoveError("server.no_verb", f"this server cannot {name.replace('_', ' ')}", status=501)
        return method

    @property
    def namespace(self) -> str:
        """The namespace asked about, `default` if none is named; may be `*` on lists."""
        return self.query.get("namespace") or "default"

    @property
    def list_namespace(self) -> str | None:
        """The namespace to list, None for all."""
        name = self.query.get("namespace") or "default"
        return None if name == "*" else name

    @property
    def token(self) -> str:
        """The caller's secret, or ""."""
        headers = self.request.headers
        if secret := headers.get("X-Nomad-Token"):
            return secret.strip()
        scheme, _, secret = headers.get("Authorization", "").partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else ""

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter; without a value it is true."""
        text = self.query.get(name)
        if text is None:
            return default
        return True if text == "" else govalues.parse_bool(name, text)

    def uint(self, name: str, default: int = 0, limit: int = 2**64 - 1) -> int:
        """An unsigned parameter."""
        text = self.query.get(name)
        return default if not text else govalues.parse_uint(name, text, limit)

    @property
    def wait_index(self) -> int:
        """`index`: answer only once something is newer; 0 answers at once."""
        return self.uint("index")

    @property
    def wait_ns(self) -> int:
        """How long a blocking query waits at most, before jitter."""
        text = self.query.get("wait")
        if not text:
            return DEFAULT_WAIT_NS
        wait = govalues.parse_duration("wait", text)
        if wait < 0:
            raise govalues.bad_value("wait", text, "a duration of zero or more")
        return min(wait, MAX_WAIT_NS) if wait else DEFAULT_WAIT_NS

    async def raw_body(self) -> bytes:
        """The body as bytes. Raises `TooLargeError` above the limit, before reading it where it says its size."""
        limit = self.backend.body_limit
        length = self.request.content_length
        if length is not None and length > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self.backend.body_timeout_s):
                return await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            raise _too_large(limit) from None
        except web.RequestPayloadError:
            why = "it is not in the Content-Encoding that its header names, or it breaks off"
            raise BadRequestError("request.payload", "the request body cannot be read", why) from None
        except TimeoutError:
            raise RoveError("request.slow", "the request body did not arrive in time", status=408) from None

    async def json(self) -> Any:
        """The body as plain JSON values. Raises `BadRequestError` if it is none."""
        raw = await self.raw_body()
        if len(raw) > BIG_BODY:
            return await asyncio.to_thread(decode_json, raw)
        return decode_json(raw)

    async def body(self, kind: type[T], *, optional: bool = False) -> T:
        """The body as `kind`; keys match without regard to case, unknown keys are ignored, null means absent.

        optional: an empty body gives `kind` with its defaults. Raises `BadRequestError`.
        """
        raw = await self.raw_body()
        if optional and not raw.strip():
            return kind()
        if len(raw) > BIG_BODY:
            return await asyncio.to_thread(decode_body, raw, kind)
        return decode_body(raw, kind)


def decode_json(raw: bytes, depth_max: int = DEPTH_MAX) -> Any:
    """JSON text as plain values that can be stored. Raises `BadRequestError`."""
    if not raw.strip():
        raise BadRequestError("request.empty", "the request has no body", fix="send a JSON object")
    if len(raw) > BIG_BODY and raw.count(b"{") + raw.count(b"[") + raw.count(b",") > MAX_JSON_SIGNS:
        raise TooLargeError("request.too_many", "the request body has too many values in it")
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise _too_deep(depth_max) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError("request.json", "the request body is not JSON", why=str(error)) from None
    _check_values(value, depth_max)
    return value


def _check_values(value: Any, depth_max: int) -> None:
    """Refuse what could be decoded but not stored, or not read again: level by level, so without recursion."""
    level: list[Any] = [[value]]
    for _ in range(depth_max + 1):
        below: list[Any] = []
        for each in level:
            for item in each.values() if type(each) is dict else each:
                kind = type(item)
                if kind is dict or kind is list:
                    below.append(item)
                elif kind is int and not INT_MIN <= item <= INT_MAX:
                    raise BadRequestError(
                        "request.number",
                        "the request body has a number in it that is too large",
                        f"whole numbers are {INT_MIN} to {INT_MAX}",
                        "send a larger one as text",
                    )
        if not below:
            return
        level = below
    raise _too_deep(depth_max)


def _too_deep(depth_max: int) -> BadRequestError:
    return BadRequestError(
        "request.depth", "the request body is nested too deeply", f"{depth_max} levels are the limit", "flatten it"
    )


def decode_body(raw: bytes, kind: type[T]) -> T:
    """JSON text as `kind`. Raises `BadRequestError`."""
    value = decode_json(raw)
    if not isinstance(value, dict):
        raise BadRequestError("request.json", "the request body must be a JSON object")
    return convert_body(value, kind)


def convert_body(value: Any, kind: type[T]) -> T:
    """Plain JSON values as `kind`. Raises `BadRequestError` that names the field."""
    try:
        return msgspec.convert(fold(value, kind), kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadRequestError("request.type", "the request body has a wrong type in it", why=str(error)) from None


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError("request.too_large", f"the request body is larger than {limit} bytes")
