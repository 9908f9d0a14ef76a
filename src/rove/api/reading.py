"""Reads from the store: blocking queries and pages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, dropwhile, islice
from typing import Any, TypeVar

from rove.errors import BadRequestError

from .backend import Snapshot, WatchKey
from .call import Call, Reply
from .filter import parse_filter
from .replies import from_header, to_json

T = TypeVar("T")
SLICE_S = 10.0
JITTER = 16
LONG_LIST = 256
"""Lists from this length on are made in a thread."""
MAX_REMEMBERED = 10_000
PIECE = 500
MAX_PAGE = 2**31 - 1

PageKey = tuple[Any, ...]


async def snapshot_after(call: Call, keys: Sequence[WatchKey]) -> tuple[Any, int]:
    """The newest snapshot and the keys' index, once that index is above `?index=` or `?wait=` is over.

    The index is at least 1, since a client that is told 0 would ask again at once.
    """
    if call.query:
        call.flag("stale")  # every read is of the newest state; only the spelling is checked
        _ = call.wait_ns  # likewise where there is no index to wait for
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
    *,
    is_ordered: bool = False,
) -> Reply:
    """A blocking, filtered, paged list.

    order: the item's place, also its page token; the list rises by it, or falls with `reverse`. is_ordered: the
    items are allocations, which come in their order already (only the first part of `order` is sure to rise).
    """
    snapshot, index = await snapshot_after(call, keys)

    def make() -> tuple[bytes, str, int]:
        return render(call, lambda: items(snapshot), lambda item: shape(snapshot, item), order, is_ordered)

    is_long = tuple(keys) in call.backend.long_lists or (is_ordered and snapshot.alloc_count() >= LONG_LIST)
    # How much work a filter is does not show in the length of the list.
    in_thread = is_long or bool(call.query.get("filter"))
    body, token, count = await asyncio.to_thread(make) if in_thread else make()
    _remember_length(call, tuple(keys), count)
    return Reply(body, index, token)


def _remember_length(call: Call, keys: tuple[WatchKey, ...], count: int) -> None:
    """Long lists are made in a thread from the second time on; how long one is shows only when it is made."""
    known = call.backend.long_lists
    if count < LONG_LIST:
        known.discard(keys)
    elif len(known) < MAX_REMEMBERED:
        known.add(keys)


def render(
    call: Call,
    items: Callable[[], Iterable[T]],
    shape: Callable[[T], Any],
    order: Callable[[T], PageKey],
    is_ordered: bool = False,
) -> tuple[bytes, str, int]:
    """A list as JSON text, its next page's token, and how many items were looked at.

    Encoded in pieces, since encoding holds the interpreter's lock.
    """
    seen = _Counted(items)
    found, token = page(call, seen, order, is_ordered)
    pieces = [to_json([shape(item) for item in found[at : at + PIECE]])[1:-1] for at in range(0, len(found), PIECE)]
    return b"[" + b",".join(pieces) + b"]", token, seen.count


class _Counted:
    """Items from a function, counted as they pass; may be gone through again."""

    def __init__(self, items: Callable[[], Iterable[Any]]) -> None:
        self.count = 0
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        self.count = 0
        for item in self._items():
            self.count += 1
            yield item


def page(
    call: Call, items: Iterable[T], order: Callable[[T], PageKey], is_ordered: bool = False
) -> tuple[list[T], str]:
    """The items of the page asked for, in order, and the next page's token ("" at the end)."""
    if not call.query:
        return (list(items) if is_ordered else sorted(items, key=order)), ""
    reverse = call.flag("reverse")
    wanted: Iterable[T] = items
    if not is_ordered:
        wanted = sorted(items, key=order, reverse=reverse)
    elif reverse:
        wanted = list(items)[::-1]
    if token := call.query.get("next_token", ""):
        wanted = _from_token(wanted, from_header(token), order, reverse)
    if text := call.query.get("filter", ""):
        wanted = filter(parse_filter(text), wanted)
    size = call.uint("per_page", limit=MAX_PAGE)
    if not size:
        return list(wanted), ""
    found = list(islice(wanted, size + 1))
    return found[:size], token_text(order(found[size])) if len(found) > size else ""


def token_text(key: PageKey) -> str:
    """A page key as text; the first part may hold no dot (a number or a namespace)."""
    return ".".join(str(part) for part in key)


def _from_token(items: Iterable[T], token: str, order: Callable[[T], PageKey], reverse: bool) -> Iterable[T]:
    """The items from the one that the token names; if it has gone, from those that come after it."""
    first = next(iter(items), None)
    if first is None:
        return ()
    start = _parse_token(token, order(first))
    exact = dropwhile(lambda item: order(item) != start, items)
    if (found := next(exact, None)) is not None:
        return chain((found,), exact)
    return (item for item in items if (order(item) <= start if reverse else order(item) >= start))


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
