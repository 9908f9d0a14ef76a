"""/v1/services and /v1/service/:name: who offers what, and where."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from rove.errors import BadRequestError, NotFoundError
from rove.structs.base import Noun
from rove.structs.service import ServiceRegistration

from .allocations import known_alloc
from .backend import Snapshot
from .call import Call, Reply
from .missing import unknown
from .reading import read, read_page, snapshot_after
from .routes import BLOCKING, LISTING, READ, Route

CHOOSE_MAX = 10_000


class ServiceStub(Noun, frozen=True, kw_only=True):
    """A service by name, with the tags of all its instances."""

    service_name: str
    tags: tuple[str, ...] = ()


class NamespaceServices(Noun, frozen=True, kw_only=True):
    """The services of a namespace."""

    namespace: str
    services: tuple[ServiceStub, ...] = ()


def wants_all(call: Call) -> bool:
    """True if instances are asked for whose checks do not pass."""
    asked = call.query.get("health", "passing")
    if asked not in ("passing", "any"):
        raise BadRequestError("service.health", f'health "{asked[:40]}" is not known', fix="use passing or any")
    return asked == "any"


async def list_services(call: Call) -> Reply:
    """Services by namespace."""
    namespace, every = call.list_namespace, wants_all(call)

    def build(snapshot: Snapshot) -> list[NamespaceServices]:
        tags: dict[str, dict[str, dict[str, None]]] = {}
        for each in snapshot.services(namespace):
            if every or each.is_offered:
                tags.setdefault(each.namespace, {}).setdefault(each.service_name, {}).update(dict.fromkeys(each.tags))
        return [
            NamespaceServices(
                namespace=name,
                services=tuple(
                    ServiceStub(service_name=each, tags=tuple(sorted(known))) for each, known in found.items()
                ),
            )
            for name, found in tags.items()
        ]

    return await read(call, [("services",)], build)


async def read_service(call: Call) -> Reply:
    """The instances of a service; none for a name that is not known."""
    name, namespace, every = call.ids["name"], call.namespace, wants_all(call)
    keys = [("service", namespace, name)]

    def items(snapshot: Snapshot) -> list[ServiceRegistration]:
        return [each for each in snapshot.service(namespace, name) if every or each.is_offered]

    if text := call.query.get("choose", ""):
        count, key = parse_choose(text)
        if any(call.query.get(other) for other in ("filter", "per_page", "next_token", "reverse")):
            raise BadRequestError("service.choose", "choose goes with neither a filter nor pages")
        snapshot, index = await snapshot_after(call, keys)
        return Reply(choose(items(snapshot), count, key), index)
    return await read_page(call, keys, items, lambda _, each: each, lambda each: (each.id,))


def parse_choose(text: str) -> tuple[int, str]:
    """The number and the key of ``N|key``. Raises `BadRequestError`."""
    number, bar, key = text.partition("|")
    if not bar or not key or not number.isdecimal() or not 0 < int(number[:10]) <= CHOOSE_MAX:
        raise BadRequestError(
            "service.choose", f'"{text[:80]}" is not a choice', fix="write a number, a bar and a key: choose=2|mykey"
        )
    return int(number[:10]), key


def choose(instances: Sequence[ServiceRegistration], count: int, key: str) -> list[ServiceRegistration]:
    """The same few instances for the same key, for as long as they exist (rendezvous hashing)."""

    def weight(each: ServiceRegistration) -> bytes:
        return hashlib.blake2b(f"{each.alloc_id}\0{key}".encode(), digest_size=16).digest()

    return sorted(instances, key=lambda each: (weight(each), each.id))[:count]


async def delete(call: Call) -> Reply:
    """Remove an instance. Its node registers it again with its next full report if it still runs."""
    from rove.server.state import DeleteService  # late: an agent that is no server does without the state

    where = (call.namespace, call.ids["name"], call.ids["service_id"])
    if call.store.snapshot().service_instance(*where) is None:
        raise NotFoundError("service.unknown", "service registration not found")
    index = await call.store.commit(DeleteService(namespace=where[0], name=where[1], id=where[2]))
    return Reply({"Index": index}, index, is_read=False)


async def job_services(call: Call) -> Reply:
    """The instances that a job has registered."""
    namespace, job_id, every = call.namespace, call.ids["job_id"], wants_all(call)

    def build(snapshot: Any) -> list[ServiceRegistration]:
        if snapshot.job(namespace, job_id) is None:
            raise unknown("job", job_id)
        return [each for each in snapshot.services_of_job(namespace, job_id) if every or each.is_offered]

    return await read(call, [("services",)], build)


async def alloc_services(call: Call) -> Reply:
    """The instances that an allocation has registered, also those whose checks do not pass."""

    def build(snapshot: Any) -> list[ServiceRegistration]:
        alloc = known_alloc(snapshot, call.ids["alloc_id"])
        return [each for each in snapshot.services_of_node(alloc.node_id) if each.alloc_id == alloc.id]

    return await read(call, [("services",)], build)


INSTANCES = list[ServiceRegistration]

ROUTES = (
    Route(
        methods=READ,
        path="/v1/services",
        handler=list_services,
        summary="List services",
        capability="read-job",
        query=(*BLOCKING, "health"),
        answer=list[NamespaceServices],
        blocks_on=("services",),
    ),
    Route(
        methods=READ,
        path="/v1/service/{name}",
        handler=read_service,
        summary="Read the instances of a service",
        capability="read-job",
        query=(*LISTING, *BLOCKING, "choose", "health"),
        answer=INSTANCES,
        blocks_on=("service",),
    ),
    Route(
        methods=("DELETE",),
        path="/v1/service/{name}/{service_id}",
        handler=delete,
        summary="Remove an instance of a service",
        capability="submit-job",
    ),
    Route(
        methods=READ,
        path="/v1/job/{job_id}/services",
        handler=job_services,
        summary="List what a job has registered",
        capability="read-job",
        query=(*BLOCKING, "health"),
        answer=INSTANCES,
        blocks_on=("services",),
    ),
    Route(
        methods=READ,
        path="/v1/allocation/{alloc_id}/services",
        handler=alloc_services,
        summary="List what an allocation has registered",
        capability="read-job",
        query=BLOCKING,
        answer=INSTANCES,
        blocks_on=("services",),
    ),
)
