"""The event stream: a ring of the newest commits, and subscribers that follow it.

Events are made when a subscriber reads them, so that commits nobody follows cost nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from rove.errors import UnavailableError
from rove.structs.alloc import Allocation
from rove.structs.base import Noun

from .committed import Committed

BUFFER = 100
"""How many commits are held for replay; a subscriber further behind is dropped."""
BLANK_SECRET = ""


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


def events_of(committed: Committed) -> Iterator[Event]:
    """Every event of a commit."""
    index, after, before = committed.revision, committed.snapshot, committed.before
    for key, kind in committed.named.items():
        topic = key[0]
        name: str = key[-1]
        payload: dict[str, Any]
        namespace, filter_keys = "", ()  # type: tuple[str, tuple[str, ...]]
        if topic == "Job":
            job = after.job(key[1], key[2]) or before.job(key[1], key[2])
            if job is None:
                continue
            deleted = after.job(key[1], key[2]) is None
            payload, namespace = {"Job": job, "Deleted": deleted}, key[1]
            kind = "JobDeregistered" if deleted else kind
        elif topic == "Evaluation":
            if (evaluation := after.evaluation(name)) is None:
                continue
            payload, namespace = {"Evaluation": evaluation}, evaluation.namespace
            filter_keys = _present(evaluation.job_id, evaluation.deployment_id)
        elif topic == "Deployment":
            if (deployment := after.deployment(name)) is None:
                continue
            payload, namespace, filter_keys = {"Deployment": deployment}, deployment.namespace, (deployment.job_id,)
        elif topic == "Node":
            if (node := after.node(name) or before.node(name)) is None:
                continue
            payload = {"Node": msgspec.structs.replace(node, secret_id=BLANK_SECRET)}
        elif topic == "NodePool":
            payload = {"NodePool": after.node_pool(name) or before.node_pool(name)}
        elif topic == "Service":
            where = (key[1], key[2], name)
            if (service := after.service_instance(*where) or before.service_instance(*where)) is None:
                continue
            kind = "ServiceRegistration" if after.service_instance(*where) else "ServiceDeregistration"
            payload, namespace = {"Service": service}, key[1]
            filter_keys = _present(service.service_name, service.job_id, service.alloc_id)
        else:
            continue
        yield Event(
            topic=topic, type=kind, key=name, namespace=namespace, filter_keys=filter_keys, index=index,
            payload=payload,
        )  # fmt: skip
    for allocation in committed.created_allocs():
        yield _alloc_event(allocation, "PlanResult", index)
    types = committed.changed_allocs
    for block, position in committed.changed():
        allocation = committed.snapshot._make(block, position)
        yield _alloc_event(allocation, types[block.reference(position)], index)


def _alloc_event(allocation: Allocation, kind: str, index: int) -> Event:
    return Event(
        topic="Allocation", type=kind, key=allocation.id, namespace=allocation.namespace,
        filter_keys=_present(allocation.job_id, allocation.deployment_id), index=index,
        payload={"Allocation": msgspec.structs.replace(allocation, job=None)},
    )  # fmt: skip


def _present(*keys: str) -> tuple[str, ...]:
    return tuple(key for key in keys if key)


class Filter:
    """What a subscriber wants: topics with keys, one namespace or all."""

    def __init__(self, topics: Collection[str], namespace: str | None) -> None:
        self._namespace = None if namespace == "*" else namespace
        self._topics: dict[str, set[str]] = {}
        for topic in topics or ("*",):
            name, _, key = topic.partition(":")
            self._topics.setdefault(name, set()).add(key or "*")

    def wants(self, event: Event) -> bool:
        """True if the event is asked for."""
        if self._namespace is not None and event.namespace not in ("", self._namespace):
            return False
        return any(
            "*" in keys or event.key in keys or any(key in keys for key in event.filter_keys)
            for name in (event.topic, "*")
            if (keys := self._topics.get(name)) is not None
        )


class Subscription:
    """An async iterator of `EventBatch`. Raises `UnavailableError` (``events.slow``) when too far behind."""

    def __init__(self, broker: EventBroker, wanted: Filter, sequence: int) -> None:
        self._broker = broker
        self._wanted = wanted
        self._sequence = sequence
        self._wake = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> EventBatch:
        while not self._closed:
            committed = self._broker._at(self._sequence)
            if committed is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._sequence += 1
            events = tuple(event for event in events_of(committed) if self._wanted.wants(event))
            if events:
                return EventBatch(index=committed.revision, events=events)
            await asyncio.sleep(0)
        raise StopAsyncIteration

    def close(self) -> None:
        """End the iteration. Idempotent."""
        self._closed = True
        self._wake.set()
        self._broker._subscriptions.discard(self)


class EventBroker:
    """Holds the newest commits and wakes subscribers. Belongs to one event loop.

    Topics are `Topic`, `Topic:*` or `Topic:key`; none, or `*`, is all. namespace None or `*`: every namespace.
    """

    def __init__(self, size: int = BUFFER) -> None:
        self._held: deque[Committed] = deque(maxlen=size)
        self._first = 0
        self._subscriptions: set[Subscription] = set()

    def subscribe(
        self, topics: Collection[str] = (), index: int = 0, namespace: str | None = "default"
    ) -> Subscription:
        """Follow from the oldest commit held (index 0), or from the first one held at or after `index`."""
        skipped = sum(1 for committed in self._held if committed.revision < index)
        subscription = Subscription(self, Filter(topics, namespace), self._first + skipped)
        self._subscriptions.add(subscription)
        return subscription

    def publish(self, committed: Committed) -> None:
        """Add the next commit."""
        if len(self._held) == self._held.maxlen:
            self._first += 1
        self._held.append(committed.without_fleet())
        for subscription in self._subscriptions:
            subscription._wake.set()

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def _at(self, sequence: int) -> Committed | None:
        place = sequence - self._first
        if place < 0:
            raise UnavailableError(
                "events.slow", "the event stream was closed: it was read too slowly",
                fix="read faster, ask for fewer topics, or raise server.event_buffer_size",
            )  # fmt: skip
        return self._held[place] if place < len(self._held) else None
