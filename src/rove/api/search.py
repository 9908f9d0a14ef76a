"""/v1/search (ids by prefix) and /v1/search/fuzzy (names by what they contain)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from rove.errors import BadRequestError
from rove.structs.base import Noun
from rove.structs.job import Job

from .backend import Snapshot, WatchKey
from .call import Call, Reply
from .govalues import shown
from .reading import snapshot_after
from .routes import BLOCKING, WRITE, Route

LIMIT = 20
FUZZY_LIMIT = 20
MIN_TERM = 2
MAX_TERM = 512
UUID_SIZE = 36

# Contexts that exist in Nomad but hold nothing here yet are answered with empty lists.
CONTEXTS = ("allocs", "deployment", "evals", "jobs", "namespaces", "node_pools", "nodes")
EMPTY_CONTEXTS = ("plugins", "volumes", "host_volumes", "scaling_policy", "vars", "quotas", "recommendations")
KEYS: dict[str, WatchKey] = {
    "allocs": ("allocs",),
    "deployment": ("deployments",),
    "evals": ("evals",),
    "jobs": ("jobs",),
    "namespaces": ("namespaces",),
    "node_pools": ("node_pools",),
    "nodes": ("nodes",),
}


class SearchBody(Noun, frozen=True, kw_only=True):
    """A prefix of ids, and what to look among."""

    prefix: str = ""
    context: str = "all"


class SearchReply(Noun, frozen=True, kw_only=True):
    """Ids by context; truncations: where there are more."""

    matches: dict[str, list[str]]
    truncations: dict[str, bool]
    index: int = 0
    known_leader: bool = True
    last_contact: int = 0


class FuzzyBody(Noun, frozen=True, kw_only=True):
    """A text, and what to look among."""

    text: str = ""
    context: str = "all"


class FuzzyMatch(Noun, frozen=True, kw_only=True):
    """A name that matched, and where it is: namespace, job, group, ... from the outside in."""

    id: str
    scope: list[str] | None = None


class FuzzyReply(Noun, frozen=True, kw_only=True):
    """Matches by context."""

    matches: dict[str, list[FuzzyMatch]]
    truncations: dict[str, bool]
    index: int = 0
    known_leader: bool = True
    last_contact: int = 0


def contexts_of(name: str) -> tuple[str, ...]:
    """The contexts to look among. Raises `BadRequestError` for an unknown one."""
    if name in {"", "all"}:
        return CONTEXTS
    if name in CONTEXTS:
        return (name,)
    if name in EMPTY_CONTEXTS:
        return ()
    raise BadRequestError(
        "search.context", f"{shown(name)} is nothing to search in", fix="use all, " + ", ".join(CONTEXTS)
    )


async def prefix_search(call: Call) -> Reply:
    """Ids that begin with a prefix."""
    body = await call.body(SearchBody)
    wanted = contexts_of(body.context)
    keys = [KEYS[context] for context in wanted] or [KEYS["jobs"]]
    snapshot, index = await snapshot_after(call, keys)
    matches: dict[str, list[str]] = {} if body.context in {"", "all"} else {body.context: []}
    truncations: dict[str, bool] = {}
    for context in wanted:
        found = list(islice(ids_in(snapshot, context, body.prefix, call.list_namespace), LIMIT + 1))
        matches[context] = found[:LIMIT]
        truncations[context] = len(found) > LIMIT
    return Reply(SearchReply(matches=matches, truncations=truncations, index=index), index)


def ids_in(snapshot: Snapshot, context: str, prefix: str, namespace: str | None) -> Iterable[str]:
    """Ids of a context that begin with `prefix`, in order."""
    if context in {"allocs", "evals", "deployment", "nodes"} and len(prefix) > UUID_SIZE:
        return ()
    find: dict[str, Callable[[], Iterable[str]]] = {
        "allocs": lambda: (alloc.id for alloc in snapshot.allocs(prefix, namespace)),
        "evals": lambda: (evaluation.id for evaluation in snapshot.evaluations(prefix, namespace)),
        "deployment": lambda: (deployment.id for deployment in snapshot.deployments(prefix, namespace)),
        "jobs": lambda: (job.id for job in snapshot.jobs(namespace, prefix)),
        "nodes": lambda: (node.id for node in snapshot.nodes(prefix)),
        "node_pools": lambda: (pool.name for pool in snapshot.node_pools() if pool.name.startswith(prefix)),
        "namespaces": lambda: (ns.name for ns in snapshot.namespaces() if ns.name.startswith(prefix)),
    }
    return find[context]()


async def fuzzy_search(call: Call) -> Reply:
    """Names that contain a text, regardless of case; ids still by prefix."""
    body = await call.body(FuzzyBody)
    if not MIN_TERM <= len(body.text) <= MAX_TERM:
        raise BadRequestError("search.term", f"the text must have {MIN_TERM} to {MAX_TERM} characters")
    wanted = contexts_of(body.context)
    keys = [KEYS[context] for context in wanted] or [KEYS["jobs"]]
    snapshot, index = await snapshot_after(call, keys)
    found = await asyncio.to_thread(fuzzy_matches, snapshot, wanted, body.text, call.list_namespace)
    truncations = {context: len(items) > FUZZY_LIMIT for context, items in found.items()}
    matches = {context: items[:FUZZY_LIMIT] for context, items in found.items()}
    return Reply(FuzzyReply(matches=matches, truncations=truncations, index=index), index)


Found = dict[str, list[FuzzyMatch]]


def fuzzy_matches(snapshot: Snapshot, contexts: Iterable[str], text: str, namespace: str | None) -> Found:
    """Matches by context, one more than the limit where there are more."""
    found: Found = {}
    for context in contexts:
        _fuzzy_context(snapshot, context, text, namespace, found)
    return found


def _add(found: Found, context: str, name: str, scope: list[str], needle: str) -> None:
    matches = found.setdefault(context, [])
    if len(matches) <= FUZZY_LIMIT and needle in name.lower():
        matches.append(FuzzyMatch(id=name, scope=scope or None))


def _fuzzy_context(snapshot: Snapshot, context: str, text: str, namespace: str | None, found: Found) -> None:
    needle = text.lower()
    if context == "jobs":
        for job in snapshot.jobs(namespace):
            _fuzzy_job(job, needle, found)
    elif context == "nodes":
        for node in snapshot.nodes():
            _add(found, "nodes", node.name, [node.id], needle)
            _add(found, "classes", node.node_class, [node.id], needle)
    elif context == "allocs":
        for alloc in snapshot.allocs("", namespace):
            _add(found, "allocs", alloc.name, [alloc.namespace, alloc.id], needle)
    elif context in {"namespaces", "node_pools"}:
        for name in ids_in(snapshot, context, "", None):
            _add(found, context, name, [], needle)
    else:
        matches = islice(ids_in(snapshot, context, needle, namespace), FUZZY_LIMIT + 1)
        found[context] = [FuzzyMatch(id=name) for name in matches]


def _fuzzy_job(job: Job, needle: str, found: Found) -> None:
    _add(found, "jobs", job.name, [job.namespace, job.id], needle)
    for group in job.task_groups:
        scope = [job.namespace, job.id]
        _add(found, "groups", group.name, scope, needle)
        for service in group.services:
            _add(found, "services", service.name, [*scope, group.name], needle)
        for task in group.tasks:
            _fuzzy_task(task, [*scope, group.name], needle, found)


def _fuzzy_task(task: Any, scope: list[str], needle: str, found: Found) -> None:
    _add(found, "tasks", task.name, scope, needle)
    inside = [*scope, task.name]
    for service in task.services:
        _add(found, "services", service.name, inside, needle)
    for context, key in (("images", "image"), ("commands", "command"), ("classes", "class")):
        value = task.config.get(key)
        if isinstance(value, str):
            _add(found, context, value, inside, needle)


ROUTES = (
    Route(
        methods=WRITE,
        path="/v1/search",
        handler=prefix_search,
        summary="Find ids by prefix",
        capability="read-job",
        query=BLOCKING,
        body=SearchBody,
        answer=SearchReply,
    ),
    Route(
        methods=WRITE,
        path="/v1/search/fuzzy",
        handler=fuzzy_search,
        summary="Find names by text",
        capability="read-job",
        query=BLOCKING,
        body=FuzzyBody,
        answer=FuzzyReply,
    ),
)
