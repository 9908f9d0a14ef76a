"""What nodes say of the services that run on them."""

from __future__ import annotations

import re

from rove.errors import BadRequestError
from rove.server.state import PutServices, Store, has_news
from rove.structs.messages import Empty, ServiceInstances, ServiceLookup, ServicesUpdate
from rove.structs.service import ServiceHealth, ServiceRegistration

PUT_MAX = 20_000
TEXT_MAX = 4096
TAGS_MAX = 64
ID_MAX = 512
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
HEALTH = frozenset({"", *ServiceHealth})


async def take(store: Store, node_id: str, update: ServicesUpdate) -> Empty:
    """Store what a node offers; answers once it is durable. Raises `BadRequestError`."""
    if len(update.put) > PUT_MAX or not all(is_acceptable(registration) for registration in update.put):
        raise BadRequestError("services.malformed", "the services were not registered", "the message is malformed")
    wanted = PutServices(node_id=node_id, put=update.put, gone=update.gone, full=update.full)
    if has_news(store.head(), wanted):
        await store.commit(wanted)
    return Empty()


def is_acceptable(registration: ServiceRegistration) -> bool:
    """True if a registration has sane sizes; to whom it belongs is looked at when it is stored."""
    texts = (registration.address, *registration.tags, *registration.meta, *registration.meta.values())
    return (
        0 < len(registration.id) <= ID_MAX
        and NAME.fullmatch(registration.service_name) is not None
        and registration.health in HEALTH
        and 0 <= registration.port <= 65_535
        and len(registration.tags) <= TAGS_MAX
        and len(registration.meta) <= TAGS_MAX
        and all(len(text) <= TEXT_MAX for text in texts)
    )


async def look_up(store: Store, request: ServiceLookup) -> ServiceInstances:
    """The instances of a service that are handed out."""
    found = store.snapshot().service(request.namespace, request.name)
    return ServiceInstances(instances=tuple(each for each in found if each.is_offered))
