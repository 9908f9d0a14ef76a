"""Reads from the store: blocking queries and pages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from rove.errors import BadRequestError

from .backend import Snapshot, WatchKey
from .call import Call, Reply
from .filter import parse_filter
from .replies import to_json

T = TypeVar("T")
SLICE_S = 10.0
JITTER = 16
INLINE_ITEMS = 256
"""Lists from this length on are made in a thread."""
PIECE = 500
MAX_PAGE = 2**31 - 1

PageKey = tuple[Any, ...]


async def snapshot_after(call: Call, keys: Sequence[WatchKey]) -> tuple[Any, int]:
    """The newest snapshot and the keys' index, once that index is above `?index=` or `?wait=` is over.

    The index is at least 1, since a client that is told 0 would ask again at once.
    """
    if call.query:
        call.flag("stale")  # every read is of the newest state; only the spelling is checked
        if after := call.wait_index:
            await _wait(call, keys, after)
    snapshot = call.store.snapshot()
    return snapshot, max(1, snapshot.last_index(*keys))


async def _wait(call: Call, keys: Sequence[WatchKey], after: int) -> None:
    wait_s = call.wait_ns / 1e9
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s + random.uniform(0, wait_s / JITTER)
    # In slices, so that a client that hung up is noticed and its wait forgotten.
    while (left := end - loop.time()) > 0:
        if await call.store.wait(keys, after, min(left, SLICE_S)) > after:
            return
        transport = call.request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client hung up")


async def read(call: Call, keys: Sequence[WatchKey], build: Callable[[Any], Any]) -> Reply:
    """A blocking read of one thing: `build(snapshot)` makes the answer, or raises `NotFoundError`."""
    snapshot, index = await snapshot_after(call, keys)
    return Reply(build(snapshot), index)


async def read_page(
    call: Call,
    keys: Sequence[WatchKey],
    items: Callable[[Snapshot], Iterable[T]],
    shape: Callable[[Snapshot, T], Any],
    order: Callable[[T], PageKey],
) -> Reply:
    """A blocking, filtered, paged list. order: the item's place, also its page token; rising unless `reverse`."""
    snapshot, index = await snapshot_after(call, keys)
    source = iter(items(snapshot))
    first = list(islice(source, INLINE_ITEMS))
    if len(first) < INLINE_ITEMS:
        found, token = page(call, first, order)
        return Reply([shape(snapshot, item) for item in found], index, token)
    body, token = await asyncio.to_thread(
        _render, call, chain(first, source), lambda item: shape(snapshot, item), order
    )
    return Reply(body, index, token)


def _render(
    call: Call, items: Iterable[T], shape: Callable[[T], Any], order: Callable[[T], PageKey]
) -> tuple[bytes, str]:
    """A long list as JSON text, made beside the event loop and encoded in pieces, since encoding holds the GIL."""
    found, token = page(call, items, order)
    pieces = [to_json([shape(item) for item in found[at : at + PIECE]])[1:-1] for at in range(0, len(found), PIECE)]
    return b"[" + b",".join(pieces) + b"]", token


def page(call: Call, items: Iterable[T], order: Callable[[T], PageKey]) -> tuple[list[T], str]:
    """The items of the page asked for, in order, and the next page's token ("" at the end)."""
    if not call.query:
        return sorted(items, key=order), ""
    reverse = call.flag("reverse")
    wanted = sorted(items, key=order, reverse=reverse)
    token = call.query.get("next_token", "")
    if token:
        wanted = _from_token(wanted, token, order, reverse)
    kept: Iterable[T] = wanted
    if text := call.query.get("filter", ""):
        kept = filter(parse_filter(text), wanted)
    size = call.uint("per_page", limit=MAX_PAGE)
    if not size:
        return list(kept), ""
    found = list(islice(kept, size + 1))
    return found[:size], token_text(order(found[size])) if len(found) > size else ""


def token_text(key: PageKey) -> str:
    """A page key as text; the first part may hold no dot (a number or a namespace)."""
    return ".".join(str(part) for part in key)


def _from_token(items: list[T], token: str, order: Callable[[T], PageKey], reverse: bool) -> list[T]:
    if not items:
        return items
    start = _parse_token(token, order(items[0]))
    if reverse:
        return [item for item in items if order(item) <= start]
    return [item for item in items if order(item) >= start]


def _parse_token(token: str, like: PageKey) -> PageKey:
    parts = token.split(".", len(like) - 1)
    if len(parts) != len(like):
        raise _bad_token(token)
    try:
        return tuple(type(sample)(part) for sample, part in zip(like, parts, strict=True))
    except ValueError:
        raise _bad_token(token) from None


def _bad_token(token: str) -> BadRequestError:
    return BadRequestError(
        "request.next_token", "failed to create result paginator: next_token is not one that this list gave"
    )
