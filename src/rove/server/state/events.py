"""The event stream: a ring of the newest commits, and subscribers that follow it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

import msgspec

from rove.structs.base import Noun


class Event(Noun, frozen=True, kw_only=True):
    """One event as `/v1/event/stream` shows it."""

    topic: str
    type: str
    key: str
    namespace: str = ""
    filter_keys: tuple[str, ...] = ()
    index: int = 0
    payload: dict[str, Any] = {}


class EventBatch(Noun, frozen=True, kw_only=True):
    """The events of one commit that a subscriber asked for."""

    index: int
    events: tuple[Event, ...] = ()


class Subscription:
    """Async iterator of `EventBatch`; raises `UnavailableError` (events.slow) when it fell behind the ring."""

    def __aiter__(self) -> AsyncIterator[EventBatch]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class EventBroker:
    """Topics are `Topic`, `Topic:*` or `Topic:key`; none, or `*`, is all. namespace None: every namespace."""

    def subscribe(self, topics: Collection[str] = (), index: int = 0, namespace: str | None = "default") -> Subscription:
        raise NotImplementedError
