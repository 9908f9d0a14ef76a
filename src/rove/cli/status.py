"""`rove status`: whatever an id or name begins with."""

from __future__ import annotations

from typing import Any

import click

from rove.cli.app import current
from rove.cli.command import argument, command, forms, switch
from rove.cli.output import table
from rove.errors import BadRequestError, NotFoundError

Json = dict[str, Any]

SHOWN_BY = {
    "jobs": "rove.cli.job",
    "allocs": "rove.cli.alloc",
    "nodes": "rove.cli.node",
    "evals": "rove.cli.evaluation",
    "deployment": "rove.cli.deployment",
    "namespaces": "rove.cli.namespace",
}


@command()
@argument("prefix", metavar="[PREFIX]", required=False, default="")
@forms
@switch("--verbose", "Print whole ids.")
def status(prefix: str, as_json: bool, template: str | None, verbose: bool) -> None:
    """Show the job, node, allocation, evaluation or deployment that PREFIX is the beginning of."""
    app = current()
    flags = ["--json"] if as_json else ["-t", template] if template else []
    if not prefix:
        _show("jobs", [], flags)
        return
    matches: dict[str, list[str]] = (app.client().search.prefix(prefix) or {}).get("Matches") or {}
    found = {kind: ids for kind, ids in matches.items() if ids and kind in SHOWN_BY}
    exact = {kind: [prefix] for kind, ids in found.items() if prefix in ids}
    found = exact or found
    if not found:
        raise NotFoundError("status.not_found", f'nothing has an id or name that begins with "{prefix}"')
    if len(found) > 1 or any(len(ids) > 1 for ids in found.values()):
        rows = [[kind, each] for kind, ids in found.items() for each in ids]
        raise BadRequestError(
            "status.ambiguous", f'"{prefix}" could be any of these', table(["Kind", "ID"], rows), "type more of it"
        )
    ((kind, ids),) = found.items()
    verbosity = ["--verbose"] if verbose and kind != "namespaces" else []
    _show(kind, [ids[0]], [*flags, *verbosity])


def _show(kind: str, args: list[str], flags: list[str]) -> None:
    from importlib import import_module

    shown: click.Command = import_module(SHOWN_BY[kind]).status
    context = click.get_current_context()
    with shown.make_context(kind, [*flags, *args], parent=context) as inner:
        shown.invoke(inner)
