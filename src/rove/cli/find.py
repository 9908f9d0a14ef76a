"""From what a person typed to the one thing meant: exact ids, unique prefixes, or a list to choose from."""

from __future__ import annotations

from typing import Any

from rove.cli.app import App
from rove.cli.output import table
from rove.errors import BadRequestError, NotFoundError

Json = dict[str, Any]


def job(app: App, typed: str) -> Json:
    """The job stub of an id or of a prefix that only one job has. Later calls use its namespace."""
    found: list[Json] = app.client().jobs.list(prefix=typed, per_page=20)
    exact = [stub for stub in found if stub["ID"] == typed]
    stub = _one(exact or found, typed, "job", [("ID", "ID"), ("Namespace", "Namespace"), ("Status", "Status")])
    app.in_namespace(namespace_of(stub))
    return stub


def namespace_of(stub: Json) -> str:
    """The namespace of a stub, wherever it is kept."""
    summary: Json = stub.get("JobSummary") or {}
    return str(stub.get("Namespace") or summary.get("Namespace") or "default")


def alloc(app: App, typed: str) -> Json:
    """The allocation stub of an id or of a prefix that only one has."""
    found = app.client().allocations.list(prefix=_hex(typed, "allocation"), namespace=_any(app))
    columns = [("ID", "ID"), ("Job ID", "JobID"), ("Status", "ClientStatus")]
    stub = _one([a for a in found if a["ID"].startswith(typed)], typed, "allocation", columns)
    app.in_namespace(namespace_of(stub))
    return stub


def evaluation(app: App, typed: str) -> Json:
    """The evaluation of an id or of a prefix that only one has."""
    found = app.client().evaluations.list(prefix=_hex(typed, "evaluation"), namespace=_any(app))
    columns = [("ID", "ID"), ("Job ID", "JobID"), ("Status", "Status")]
    stub = _one([e for e in found if e["ID"].startswith(typed)], typed, "evaluation", columns)
    app.in_namespace(namespace_of(stub))
    return stub


def scaling_policy(app: App, typed: str) -> Json:
    """The scaling policy's stub of an id or of a prefix that only one has."""
    found = app.client().scaling.list(prefix=typed, namespace="*")
    return _one(
        [each for each in found if each["ID"] == typed] or found, typed, "scaling policy",
        [("ID", "ID"), ("Target", "Target")],
    )  # fmt: skip


def deployment(app: App, typed: str) -> Json:
    """The deployment of an id or of a prefix that only one has."""
    found = app.client().deployments.list(prefix=_hex(typed, "deployment"), namespace=_any(app))
    columns = [("ID", "ID"), ("Job ID", "JobID"), ("Status", "Status")]
    stub = _one([d for d in found if d["ID"].startswith(typed)], typed, "deployment", columns)
    app.in_namespace(namespace_of(stub))
    return stub


def node(app: App, typed: str) -> Json:
    """The node stub of an id, of a prefix that only one has, or of a node's name."""
    found: list[Json] = app.client().nodes.list(prefix=typed) if _is_hex(typed) else []
    found = [stub for stub in found if stub["ID"].startswith(typed)]
    if not found:
        found = [stub for stub in app.client().nodes.list() if stub["Name"] == typed]
    return _one(found, typed, "node", [("ID", "ID"), ("Name", "Name"), ("Status", "Status")])


def own_node(app: App) -> str:
    """The id of the node that the agent at the address is."""
    stats = app.client().agent.self().get("stats") or {}
    node_id = (stats.get("client") or {}).get("node_id")
    if not node_id:
        raise NotFoundError(
            "node.agent_is_no_node", "the agent at this address runs no node", "it is a server only",
            "ask an agent that has `client { enabled = true }`",
        )  # fmt: skip
    return str(node_id)


def _any(app: App) -> str:
    """Ids are unique, so without a namespace of the user's choice all are searched."""
    return app.settings().namespace or "*"


def _one(found: list[Json], typed: str, noun: str, columns: list[tuple[str, str]]) -> Json:
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(
            f"{noun}.not_found", f'no {noun} has an id that begins with "{typed}"',
            fix=f"`rove {_LISTS[noun]}` lists what there is",
        )  # fmt: skip
    rows = [[stub.get(key) for _, key in columns] for stub in found[:20]]
    raise BadRequestError(
        f"{noun}.ambiguous", f'"{typed}" could be any of {len(found)} {noun}s',
        table([name for name, _ in columns], rows), "type more of the id",
    )  # fmt: skip


_LISTS = {
    "job": "job status",
    "allocation": "job status JOB",
    "evaluation": "eval list",
    "deployment": "deployment list",
    "node": "node status",
}


def _hex(typed: str, noun: str) -> str:
    """The prefix to ask for: the API wants an even number of digits, so an odd last one is cut off."""
    if len(typed) < 2 or not _is_hex(typed):
        raise BadRequestError(
            f"{noun}.bad_id", f'"{typed}" cannot be the id of {"an" if noun[0] in "ae" else "a"} {noun}',
            "an id is made of hexadecimal digits and dashes, and at least two are needed",
            f"`rove {_LISTS[noun]}` lists what there is",
        )  # fmt: skip
    digits = len(typed.replace("-", ""))
    return typed if digits % 2 == 0 else typed[:-1]


def _is_hex(typed: str) -> bool:
    return bool(typed) and all(ch in "0123456789abcdef-" for ch in typed)
