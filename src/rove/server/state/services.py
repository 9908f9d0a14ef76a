"""Registered services: put by nodes, gone with their allocation or node."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from immutables import Map

from rove.structs.node import Node, NodeStatus
from rove.structs.service import ServiceHealth, ServiceRegistration

from . import rows
from . import transactions as t
from .blocks import split
from .draft import Draft
from .snapshot import Snapshot
from .tables import ServiceKey, WatchKey

replace = msgspec.structs.replace

TABLE = "services"
AWAY = frozenset({NodeStatus.DOWN, NodeStatus.DISCONNECTED})
"""Nodes whose services are not to be reached."""


Instances = Map[str, ServiceRegistration]
NONE: Instances = Map()
NO_KEYS: Map[str, ServiceKey] = Map()


def put_services(draft: Draft, transaction: t.PutServices) -> None:
    """Take over what a node offers. What belongs to no live allocation of the node is left out."""
    node: Node | None = draft.nodes.get(transaction.node_id)
    if node is None or node.status in AWAY:
        return
    if transaction.full:
        wanted = {registration.id for registration in transaction.put}
        held = draft.services_of_node.get(node.id, NO_KEYS)
        _remove(draft, node.id, [key for key in held if key not in wanted])
    else:
        _remove(draft, node.id, transaction.gone)
    for registration in transaction.put:
        _put(draft, node, registration)


def has_news(snapshot: Snapshot, transaction: t.PutServices) -> bool:
    """True unless the state is already as the transaction wants it."""
    tables = snapshot._tables
    held = tables.services_of_node.get(transaction.node_id, NO_KEYS)
    if transaction.full and set(held) - {registration.id for registration in transaction.put}:
        return True
    if any(service_id in held for service_id in transaction.gone):
        return True
    return any(
        (known := _at(tables.services, held.get(registration.id))) is None or _merged(known, registration) != known
        for registration in transaction.put
    )


def delete_service(draft: Draft, transaction: t.DeleteService) -> None:
    """Forget one registration, by hand. Its node says it again with its next full report, if it still runs."""
    instances: Instances = draft.services.get((transaction.namespace, transaction.name), NONE)
    known = instances.get(transaction.id)
    if known is not None:
        _remove(draft, known.node_id, [known.id])


def follow(draft: Draft) -> None:
    """Forget the services of allocations that have ended or are gone, and of nodes that are away."""
    if not draft.base.services_of_node and "services_of_node" not in draft.__dict__:
        return
    for reference in draft.changed_allocs:
        number, position = split(reference)
        block = draft.blocks.get(number)
        if block is not None and draft.change_of(block, position).is_client_terminal:
            _remove_of_alloc(draft, block.node_of(position), block.id_of(position))
    for alloc_id, node_id in draft.gone_allocs.items():
        _remove_of_alloc(draft, node_id, alloc_id)
    for node_id in [key[1] for key in draft.events if key[0] == "Node"]:
        node: Node | None = draft.nodes.get(node_id)
        if node is None or node.status in AWAY:
            _remove(draft, node_id, list(draft.services_of_node.get(node_id, NO_KEYS)))


def restore(draft: Draft, registration: ServiceRegistration) -> None:
    """Add a stored registration, as when loading."""
    _index(draft, registration)


def _at(services: Map[tuple[str, str], Instances], key: ServiceKey | None) -> ServiceRegistration | None:
    return None if key is None else services.get((key.namespace, key.name), NONE).get(key.id)


def _put(draft: Draft, node: Node, registration: ServiceRegistration) -> None:
    found = draft.find_alloc(registration.alloc_id)
    if found is None:
        return
    block, position = found
    if block.node_of(position) != node.id or draft.change_of(block, position).is_client_terminal:
        return
    namespace, job_id = block.job_key
    known: ServiceRegistration | None = draft.services.get((namespace, registration.service_name), NONE).get(
        registration.id
    )
    health = registration.health or (known.health if known is not None else ServiceHealth.PENDING)
    new = replace(
        registration, namespace=namespace, job_id=job_id, node_id=node.id, datacenter=node.datacenter, health=health,
        create_index=known.create_index if known is not None else draft.index,
        modify_index=known.modify_index if known is not None else draft.index,
    )  # fmt: skip
    if new == known:
        return
    new = replace(new, modify_index=draft.index)
    _index(draft, new)
    draft.put_row(TABLE, _row_key(new), new)
    draft.events["Service", new.namespace, new.service_name, new.id] = "ServiceRegistration"
    draft.mark(("services",), ("service", new.namespace, new.service_name))


def _merged(known: ServiceRegistration, registration: ServiceRegistration) -> ServiceRegistration:
    return replace(
        registration, namespace=known.namespace, job_id=known.job_id, node_id=known.node_id,
        datacenter=known.datacenter, health=registration.health or known.health, create_index=known.create_index,
        modify_index=known.modify_index,
    )  # fmt: skip


def _index(draft: Draft, registration: ServiceRegistration) -> None:
    name = (registration.namespace, registration.service_name)
    draft.services[name] = draft.services.get(name, NONE).set(registration.id, registration)
    of_node: Map[str, ServiceKey] = draft.services_of_node.get(registration.node_id, NO_KEYS)
    draft.services_of_node[registration.node_id] = of_node.set(
        registration.id, ServiceKey(*name, registration.id, registration.alloc_id)
    )


def _remove_of_alloc(draft: Draft, node_id: str, alloc_id: str) -> None:
    held: Map[str, ServiceKey] = draft.services_of_node.get(node_id, NO_KEYS)
    mine = [key.id for key in held.values() if key.alloc_id == alloc_id] if held else []
    if mine:
        _remove(draft, node_id, mine)


def _remove(draft: Draft, node_id: str, ids: Iterable[str]) -> None:
    held: Map[str, ServiceKey] = draft.services_of_node.get(node_id, NO_KEYS)
    for service_id in ids:
        key = held.get(service_id)
        if key is None:
            continue
        held = held.delete(service_id)
        name = (key.namespace, key.name)
        instances: Instances = draft.services.get(name, NONE)
        gone = instances[service_id]
        rest = instances.delete(service_id)
        watch: WatchKey = ("service", *name)
        draft.mark(("services",), watch)
        if rest:
            draft.services[name] = rest
        else:
            draft.services.pop(name)
            draft.marks.pop(watch)  # or names that come and go would add up; the table's index stands in for it
        draft.delete_row(TABLE, _row_key(gone))
        draft.events["Service", gone.namespace, gone.service_name, gone.id] = "ServiceDeregistration"
    if held:
        draft.services_of_node[node_id] = held
    elif node_id in draft.services_of_node:
        draft.services_of_node.pop(node_id)


def _row_key(registration: ServiceRegistration) -> bytes:
    return rows.key(registration.create_index, registration.namespace, registration.service_name, registration.id)
