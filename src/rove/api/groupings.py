"""/v1/namespaces, /v1/namespace, /v1/node/pools, /v1/node/pool: names under which jobs and nodes are grouped."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from rove.errors import BadRequestError, ConflictError
from rove.structs.job import Job
from rove.structs.node import Namespace, Node, NodePool

from .backend import Snapshot
from .call import Call, Reply
from .govalues import shown
from .jobs import job_order
from .missing import unknown
from .reading import read, read_page
from .routes import BLOCKING, LISTING, READ, WRITE, Route
from .shapes import Indexed, JobStub, NodeStub, job_stub, node_stub

NAMESPACE_NAME = re.compile(r"[a-zA-Z0-9-]{1,128}\Z")
POOL_NAME = re.compile(r"[a-zA-Z0-9-_]{1,128}\Z")
MAX_DESCRIPTION = 256
CAPABILITIES = frozenset(("enabledtaskdrivers", "disabledtaskdrivers", "enablednetworkmodes", "disablednetworkmodes"))
BUILT_IN_POOLS = frozenset({"all", "default"})


async def list_namespaces(call: Call) -> Reply:
    """Namespaces by name."""
    prefix = call.query.get("prefix", "")

    def items(snapshot: Snapshot) -> Any:
        return [namespace for namespace in snapshot.namespaces() if namespace.name.startswith(prefix)]

    return await read_page(call, [("namespaces",)], items, lambda _, item: item, lambda item: (item.name,))


async def read_namespace(call: Call) -> Reply:
    """One namespace."""
    name = call.ids["name"]
    return await read(call, [("namespaces",)], lambda snap: _known_namespace(snap, name))


def _known_namespace(snapshot: Snapshot, name: str) -> Namespace:
    found = snapshot.namespace(name)
    if found is None:
        raise unknown("namespace", name)
    return found


async def write_namespace(call: Call) -> Reply:
    """Create or change a namespace."""
    namespace = await call.body(Namespace)
    name = call.ids.get("name", namespace.name)
    if namespace.name and namespace.name != name:
        raise BadRequestError("namespace.name", f"Name {shown(namespace.name)} is not the path's {shown(name)}")
    if not NAMESPACE_NAME.match(name):
        raise BadRequestError(
            "namespace.name", f"{shown(name)} is no name", fix="use 1 to 128 letters, digits and dashes"
        )
    _check_description(namespace.description)
    _check_capabilities(namespace)
    return await _store(call, _transactions().PutNamespace(namespace=msgspec.structs.replace(namespace, name=name)))


async def delete_namespace(call: Call) -> Reply:
    """Forget a namespace in which nothing runs."""
    name, snapshot = call.ids["name"], call.store.snapshot()
    if name == "default":
        raise BadRequestError("namespace.built_in", 'the namespace "default" cannot be deleted')
    _known_namespace(snapshot, name)
    busy = [job.id for job in snapshot.jobs(name) if job.status != "dead"]
    if busy:
        raise ConflictError(
            "namespace.in_use",
            f"namespace {shown(name)} has {len(busy)} jobs that are not over",
            why=", ".join(busy[:5]),
            fix="stop them first",
        )
    return await _store(call, _transactions().DeleteNamespace(name=name))


async def list_pools(call: Call) -> Reply:
    """Node pools by name."""
    prefix = call.query.get("prefix", "")

    def items(snapshot: Snapshot) -> Any:
        return [pool for pool in snapshot.node_pools() if pool.name.startswith(prefix)]

    return await read_page(call, [("node_pools",)], items, lambda _, item: item, lambda item: (item.name,))


async def read_pool(call: Call) -> Reply:
    """One node pool."""
    name = call.ids["name"]
    return await read(call, [("node_pools",)], lambda snap: _known_pool(snap, name))


def _known_pool(snapshot: Snapshot, name: str) -> NodePool:
    found = snapshot.node_pool(name)
    if found is None:
        raise unknown("node pool", name)
    return found


async def write_pool(call: Call) -> Reply:
    """Create or change a node pool."""
    pool = await call.body(NodePool)
    name = call.ids.get("name", pool.name)
    if pool.name and pool.name != name:
        raise BadRequestError("node_pool.name", f"Name {shown(pool.name)} is not the path's {shown(name)}")
    if not POOL_NAME.match(name):
        raise BadRequestError(
            "node_pool.name", f"{shown(name)} is no name", fix="use 1 to 128 letters, digits, dashes, underscores"
        )
    if name in BUILT_IN_POOLS:
        raise BadRequestError("node_pool.built_in", f"the node pool {shown(name)} is built in")
    _check_description(pool.description)
    return await _store(call, _transactions().PutNodePool(pool=msgspec.structs.replace(pool, name=name)))


async def delete_pool(call: Call) -> Reply:
    """Forget a node pool that has neither nodes nor jobs."""
    name, snapshot = call.ids["name"], call.store.snapshot()
    if name in BUILT_IN_POOLS:
        raise BadRequestError("node_pool.built_in", f"the node pool {shown(name)} is built in")
    _known_pool(snapshot, name)
    nodes = sum(1 for node in snapshot.nodes() if node.node_pool == name)
    jobs = sum(1 for job in snapshot.jobs() if job.node_pool == name and not job.stop)
    if nodes or jobs:
        raise ConflictError("node_pool.in_use", f"node pool {shown(name)} has {nodes} nodes and {jobs} jobs")
    return await _store(call, _transactions().DeleteNodePool(name=name))


async def pool_nodes(call: Call) -> Reply:
    """Stubs of a pool's nodes."""
    name = call.ids["name"]
    with_resources, with_os = call.flag("resources"), call.flag("os")

    def items(snapshot: Snapshot) -> Any:
        _known_pool(snapshot, name)
        return [node for node in snapshot.nodes() if name in {"all", node.node_pool}]

    def shape(_: Snapshot, node: Node) -> NodeStub:
        return node_stub(node, with_resources, with_os)

    return await read_page(call, [("nodes",), ("node_pools",)], items, shape, lambda node: (node.id,))


async def pool_jobs(call: Call) -> Reply:
    """Stubs of a pool's jobs."""
    name, namespace, with_meta = call.ids["name"], call.list_namespace, call.flag("meta")

    def items(snapshot: Snapshot) -> Any:
        _known_pool(snapshot, name)
        return [job for job in snapshot.jobs(namespace) if job.node_pool == name]

    def shape(snapshot: Snapshot, job: Job) -> JobStub:
        return job_stub(job, snapshot.job_summary(job.namespace, job.id), with_meta)

    return await read_page(call, [("jobs",), ("node_pools",)], items, shape, job_order)


def _check_description(text: str) -> None:
    if len(text) > MAX_DESCRIPTION:
        raise BadRequestError("request.description", f"a description has at most {MAX_DESCRIPTION} characters")


def _check_capabilities(namespace: Namespace) -> None:
    """Lists that registrations are held against have to be lists of names."""
    for key, value in (namespace.capabilities or {}).items():
        is_names = isinstance(value, list) and all(isinstance(name, str) for name in value)
        if key.lower() in CAPABILITIES and value is not None and not is_names:
            raise BadRequestError(
                "namespace.capabilities", f"Capabilities {shown(key)} is no list of names", fix='send ["docker", ...]'
            )


def _transactions() -> Any:
    """The state's transactions, imported late: an agent that is no server does without the state and its numpy."""
    from rove.server.state import transactions

    return transactions


async def _store(call: Call, transaction: Any) -> Reply:
    index = await call.store.commit(transaction)
    return Reply(Indexed(index=index), index, is_read=False)


def _route(methods: tuple[str, ...], path: str, handler: Any, summary: str, **more: Any) -> Route:
    return Route(methods=methods, path=path, handler=handler, summary=summary, **more)


_LIST = (*LISTING, *BLOCKING)
_NAMESPACE = "/v1/namespace/{name}"
_POOL = "/v1/node/pool/{name}"

ROUTES = (
    _route(READ, "/v1/namespaces", list_namespaces, "List namespaces", query=_LIST, answer=list[Namespace]),
    _route(
        WRITE,
        "/v1/namespace",
        write_namespace,
        "Create or change a namespace",
        body=Namespace,
        answer=Indexed,
        capability="management",
    ),
    _route(READ, _NAMESPACE, read_namespace, "Read a namespace", query=BLOCKING, answer=Namespace),
    _route(
        WRITE,
        _NAMESPACE,
        write_namespace,
        "Create or change this namespace",
        body=Namespace,
        answer=Indexed,
        capability="management",
    ),
    _route(("DELETE",), _NAMESPACE, delete_namespace, "Forget a namespace", answer=Indexed, capability="management"),
    _route(READ, "/v1/node/pools", list_pools, "List node pools", query=_LIST, answer=list[NodePool]),
    _route(
        WRITE,
        "/v1/node/pools",
        write_pool,
        "Create or change a node pool",
        body=NodePool,
        answer=Indexed,
        capability="node_pool:write",
    ),
    _route(READ, _POOL, read_pool, "Read a node pool", query=BLOCKING, answer=NodePool),
    _route(
        WRITE,
        _POOL,
        write_pool,
        "Create or change this node pool",
        body=NodePool,
        answer=Indexed,
        capability="node_pool:write",
    ),
    _route(("DELETE",), _POOL, delete_pool, "Forget a node pool", answer=Indexed, capability="node_pool:delete"),
    _route(
        READ,
        _POOL + "/nodes",
        pool_nodes,
        "Nodes of a pool",
        query=(*_LIST, "resources", "os"),
        answer=list[NodeStub],
        capability="node:read",
    ),
    _route(
        READ,
        _POOL + "/jobs",
        pool_jobs,
        "Jobs of a pool",
        query=(*_LIST, "meta"),
        answer=list[JobStub],
        capability="list-jobs",
    ),
)
