"""`rove node meta`."""

from __future__ import annotations

from typing import Any

import click

from rove.cli import find
from rove.cli.app import current
from rove.cli.command import argument, command, forms, option
from rove.cli.output import block, emit, title

Json = dict[str, Any]


@command()
@argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@option("--node-id", default="", help="The node; that of the agent at the address unless given.")
@option("--unset", "unset", default="", help="Keys to take away, separated by commas.")
def apply(pairs: tuple[str, ...], node_id: str, unset: str) -> None:
    """Change a node's meta while it runs."""
    app = current()
    meta: dict[str, str | None] = {key: None for key in unset.split(",") if key}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{pair!r}: write KEY=VALUE.")
        meta[name] = value
    if not meta:
        raise click.UsageError("There is nothing to change: write KEY=VALUE or -unset KEY.")
    chosen = find.node(app, node_id)["ID"] if node_id else ""
    app.client().nodes.set_meta(meta, node_id=chosen)


@command()
@forms
@option("--node-id", default="", help="The node; that of the agent at the address unless given.")
def read(node_id: str, as_json: bool, template: str | None) -> None:
    """Show a node's meta: all of it, then what was changed while it runs."""
    app = current()
    chosen = find.node(app, node_id)["ID"] if node_id else ""
    found = app.client().nodes.meta(chosen)
    if emit(found, as_json, template):
        return
    for label, key in (("All Meta", "Meta"), ("Dynamic Meta", "Dynamic"), ("Static Meta", "Static")):
        title(label)
        pairs = sorted((found.get(key) or {}).items())
        click.echo(block(pairs) if pairs else "none")
