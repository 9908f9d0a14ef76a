"""The shape of the route table's entries. Serving and OpenAPI are both derived from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any

from aiohttp import web

from .call import Call, Reply

Handler = Callable[[Call], Coroutine[Any, Any, Reply | web.StreamResponse]]


class Place(StrEnum):
    """Who can answer a route."""

    SERVER = "server"
    """A server; an agent without one forwards."""
    AGENT = "agent"
    """The agent that was asked."""
    NODE = "node"
    """The node that holds the thing: this agent if it does, else by way of a server."""


READ = ("GET",)
WRITE = ("PUT", "POST")
LISTING = ("prefix", "filter", "per_page", "next_token", "reverse")
BLOCKING = ("index", "wait", "stale")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Route:
    """One route: methods, a path with `{names}`, who answers, what goes in and comes out.

    query: parameters beyond `region`, `namespace` and `pretty`. capability: what a token must allow, "" for none.
    blocks_on: the watch keys of a blocking read, for the documentation. answer: a type that JSON schema can be
    made of, or None for text, bytes and streams.
    """

    methods: tuple[str, ...]
    path: str
    handler: Handler
    summary: str
    capability: str = ""
    place: Place = Place.SERVER
    query: tuple[str, ...] = ()
    body: Any = None
    answer: Any = None
    blocks_on: tuple[str, ...] = ()
    content_type: str = "application/json"

    @property
    def is_write(self) -> bool:
        return "GET" not in self.methods
