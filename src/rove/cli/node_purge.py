"""`rove node purge`."""

from __future__ import annotations

import sys

import click

from rove.cli import find
from rove.cli.app import current
from rove.cli.command import argument, command, option
from rove.cli.output import short


@command()
@argument("node_id", metavar="NODE")
@option("--yes", "-y", "yes", is_flag=True, help="Do not ask.")
def purge(node_id: str, yes: bool) -> None:
    """Forget a NODE. What ran there counts as lost and is placed elsewhere; if its agent still runs, it joins anew."""
    app = current()
    node = find.node(app, node_id)
    if not yes and node["ID"] != node_id:
        name = node.get("Name") or node["ID"]
        if not click.confirm(f'Forget the node "{name}"?', default=False):
            click.echo("Nothing was changed")
            sys.exit(1)
    reply = app.client().nodes.purge(node["ID"])
    click.echo(f'Node "{short(node["ID"])}" is forgotten')
    for evaluation_id in (reply or {}).get("EvalIDs") or []:
        click.echo(f"Evaluation ID = {short(evaluation_id)}")
