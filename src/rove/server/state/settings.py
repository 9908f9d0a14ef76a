"""Rules of the small tables: scheduler configuration, node pools, namespaces, documents of other rooms."""

from __future__ import annotations

import msgspec

from rove.structs.node import Namespace, NodePool, SchedulerConfiguration

from . import rows
from .draft import Draft
from .tables import Document

BUILT_IN_POOLS = {
    "all": "every node of the region",
    "default": "nodes that name no other pool",
}
BUILT_IN_NAMESPACE = Namespace(name="default", description="for jobs that name no other namespace")
CONFIGURATION_KEY = b"scheduler"
replace = msgspec.structs.replace


def put_configuration(draft: Draft, configuration: SchedulerConfiguration) -> None:
    """Replace the scheduler's settings."""
    old = draft.configuration
    draft.configuration = replace(
        configuration, create_index=old.create_index or draft.index, modify_index=draft.index
    )  # fmt: skip
    draft.put_row("configuration", CONFIGURATION_KEY, draft.configuration)
    draft.mark(("scheduler",))


def put_pool(draft: Draft, pool: NodePool) -> None:
    """Create or change a node pool."""
    old: NodePool | None = draft.pools.get(pool.name)
    created = old.create_index if old is not None and old.create_index else draft.index
    pool = replace(pool, create_index=created, modify_index=draft.index)
    draft.pools[pool.name] = pool
    draft.put_row("pools", rows.key(pool.create_index, pool.name), pool)
    draft.mark(("node_pools",))
    draft.touched.add(("node_pool", pool.name))
    draft.events["NodePool", pool.name] = "NodePoolUpserted"


def delete_pool(draft: Draft, name: str) -> None:
    """Forget a node pool, unless it is built in."""
    if name in BUILT_IN_POOLS or (pool := draft.pools.pop(name)) is None:
        return
    draft.delete_row("pools", rows.key(pool.create_index, name))
    draft.mark(("node_pools",))
    draft.touched.add(("node_pool", name))
    draft.events["NodePool", name] = "NodePoolDeleted"


def put_namespace(draft: Draft, namespace: Namespace) -> None:
    """Create or change a namespace."""
    old: Namespace | None = draft.namespaces.get(namespace.name)
    created = old.create_index if old is not None and old.create_index else draft.index
    namespace = replace(namespace, create_index=created, modify_index=draft.index)
    draft.namespaces[namespace.name] = namespace
    draft.put_row("namespaces", rows.key(namespace.create_index, namespace.name), namespace)
    draft.mark(("namespaces",))
    draft.touched.add(("namespace", namespace.name))


def delete_namespace(draft: Draft, name: str) -> None:
    """Forget a namespace, unless it is built in."""
    if name == BUILT_IN_NAMESPACE.name or (namespace := draft.namespaces.pop(name)) is None:
        return
    draft.delete_row("namespaces", rows.key(namespace.create_index, name))
    draft.mark(("namespaces",))
    draft.touched.add(("namespace", name))


def put_document(draft: Draft, table: str, name: str, value: object) -> None:
    """Store or, with None, delete another room's value."""
    old: Document | None = draft.documents.get((table, name))
    created = old.create_index if old is not None else draft.index
    row_key = rows.key(created, table, name)
    if value is None:
        if old is None:
            return
        draft.documents.pop((table, name))
        draft.delete_row("documents", row_key)
    else:
        document = Document(table=table, key=name, value=value, create_index=created, modify_index=draft.index)
        draft.documents[table, name] = document
        draft.put_row("documents", row_key, document)
    draft.mark(("document", table))
    draft.touched.add(("document", table, name))
