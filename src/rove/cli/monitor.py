"""`rove monitor`."""

from __future__ import annotations

import sys

import click

from rove.cli import find
from rove.cli.app import current
from rove.cli.command import command, option, switch

LEVELS = ["trace", "debug", "info", "warn", "error"]


@command()
@option("--log-level", type=click.Choice(LEVELS, case_sensitive=False), default="info", help="Least level shown.")
@switch("--json", "The log as JSON lines.", "as_json")
@switch("--log-include-location", "Accepted for Nomad's sake.")
@option("--node-id", default="", help="The agent of this node.")
@option("--server-id", default="", help="This server, by name, or leader.")
def monitor(log_level: str, as_json: bool, log_include_location: bool, node_id: str, server_id: str) -> None:
    """Follow an agent's log until Ctrl-C."""
    from rove.sdk.frames import data_of

    app = current()
    chosen = find.node(app, node_id)["ID"] if node_id else ""
    stream = app.client().agent.monitor(
        log_level=log_level.lower(), log_json=as_json, node_id=chosen, server_id=server_id
    )
    for piece in data_of(stream):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
