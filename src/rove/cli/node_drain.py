"""`rove node drain` and `rove node eligibility`."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, option, switch
from rove.cli.monitor_eval import say
from rove.cli.output import short
from rove.errors import RoveError

Json = dict[str, Any]

POLL_S = 0.5
"""Seconds between two looks: what waits for one index, the node's, sleeps through what its allocations do."""
DEFAULT_DEADLINE = "1h"


@command()
@argument("node_id", metavar="[NODE]", required=False, default="")
@switch("--enable", "Drain the node.")
@switch("--disable", "End the drain.")
@option("--deadline", default=None, help="How long allocations have to move; 1h unless given.")
@switch("--force", "Move everything at once.")
@switch("--no-deadline", "Give allocations all the time they take.")
@switch("--ignore-system", "Leave system jobs where they are.")
@switch("--keep-ineligible", "With -disable: give the node no new allocations.")
@switch("--self", "The node of the agent at the address.", "own")
@switch("--monitor", "Only follow a drain that goes on.")
@switch("--detach", "Return at once.")
@option("-m", "message", default="", help="Why, kept with the drain.")
@option("--meta", "meta", multiple=True, metavar="KEY=VALUE", help="Kept with the drain; repeatable.")
@option("--yes", "-y", "yes", is_flag=True, help="Do not ask.")
@switch("--verbose", "Print whole ids.")
def drain(
    node_id: str, enable: bool, disable: bool, deadline: str | None, force: bool, no_deadline: bool,
    ignore_system: bool, keep_ineligible: bool, own: bool, monitor: bool, detach: bool, message: str,
    meta: tuple[str, ...], yes: bool, verbose: bool,
) -> None:  # fmt: skip
    """Move a NODE's allocations to others, and give it no new ones meanwhile."""
    if [enable, disable, monitor].count(True) != 1 and not (enable and monitor):
        raise click.UsageError("Say one of -enable, -disable and -monitor.")
    if [bool(deadline), force, no_deadline].count(True) > 1:
        raise click.UsageError("Say only one of -deadline, -force and -no-deadline.")
    app = current()
    node = _node(app, node_id, own)
    if monitor and not enable:
        _follow(app, node, {}, verbose)
        return
    if enable and not yes and not own and node["ID"] != node_id and not _confirmed(node):
        click.echo("Nothing was changed")
        sys.exit(1)
    notes = _notes(message, meta)
    if disable:
        app.client().nodes.drain(node["ID"], deadline_ns=None, mark_eligible=not keep_ineligible, meta=notes)
        click.echo(f'Node "{short(node["ID"], verbose)}" ends its drain')
        return
    told: dict[str, str] = {}
    if not detach:
        # What ran before the drain, so that a move is told that is over by the first look.
        moves(told, app.client().nodes.allocations(node["ID"]) or [], verbose)
    app.client().nodes.drain(
        node["ID"], deadline_ns=_deadline(deadline, force, no_deadline), ignore_system=ignore_system, meta=notes
    )  # fmt: skip
    click.echo(f'Node "{short(node["ID"], verbose)}" drains')
    if not detach:
        _follow(app, node, told, verbose)


def _node(app: App, node_id: str, own: bool) -> Json:
    if own:
        return {"ID": find.own_node(app)}
    if not node_id:
        raise click.UsageError("Which node? `rove node status` lists them; -self is this machine's.")
    return find.node(app, node_id)


def _confirmed(node: Json) -> bool:
    return click.confirm(f'Drain the node "{node.get("Name") or node["ID"]}"?', default=False)


def _deadline(deadline: str | None, force: bool, no_deadline: bool) -> int:
    """Nanoseconds; -1 forces, 0 means none."""
    if force:
        return -1
    if no_deadline:
        return 0
    from rove.agent.config_decode import seconds_of

    try:
        seconds = seconds_of(deadline or DEFAULT_DEADLINE)
    except ValueError as error:
        raise click.UsageError(f"-deadline: {error}.") from None
    if seconds <= 0:
        raise click.UsageError("-deadline must be positive; use -force or -no-deadline otherwise.")
    return int(seconds * 1e9)


def _notes(message: str, meta: tuple[str, ...]) -> dict[str, str]:
    notes = {"message": message} if message else {}
    for text in meta:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-meta {text!r}: write -meta key=value.")
        notes[name] = value
    return notes


def _follow(app: App, node: Json, told: dict[str, str], verbose: bool) -> None:
    """Tell how allocations leave, until the drain has ended. told: what is known of them already."""
    reasons: dict[str, str] = {}
    while True:
        # The node first: if it says that the drain is over, the allocations read after it are as the drain left them.
        is_over = not app.client().nodes.read(node["ID"]).get("DrainStrategy")
        allocs = app.client().nodes.allocations(node["ID"]) or []
        for line in moves(told, allocs, verbose):
            say(app, line)
        if is_over:
            break
        for line in waits(reasons, _waits(app, node), verbose):
            say(app, line)
        app.sleep(POLL_S)
    say(app, f'Drain of node "{short(node["ID"], verbose)}" is over')


def _waits(app: App, node: Json) -> dict[str, str]:
    """Why allocations are still there; empty where the server cannot say."""
    try:
        return (app.client().get("node", node["ID"], "drain").value or {}).get("Waits") or {}
    except RoveError:
        return {}


def waits(told: dict[str, str], found: dict[str, str], verbose: bool) -> list[str]:
    """Lines about allocations that stay for another reason than at the last look; `told` remembers it."""
    lines = []
    for alloc_id, reason in found.items():
        if told.get(alloc_id) != reason:
            told[alloc_id] = reason
            lines.append(f'Allocation "{short(alloc_id, verbose)}": {reason}')
    return lines


def moves(told: dict[str, str], allocs: list[Json], verbose: bool) -> list[str]:
    """Lines about allocations whose fate has changed since the last look; `told` remembers it."""
    lines = []
    for alloc in allocs:
        migrating = bool((alloc.get("DesiredTransition") or {}).get("Migrate"))
        state = f"{alloc.get('DesiredStatus')}/{alloc.get('ClientStatus')}/{'moving' if migrating else ''}"
        before = told.get(alloc["ID"])
        told[alloc["ID"]] = state
        if before is None or before == state:
            if before is None and migrating and alloc.get("ClientStatus") == "running":
                lines.append(f'Allocation "{short(alloc["ID"], verbose)}" is to move')
            continue
        name = f'Allocation "{short(alloc["ID"], verbose)}" of job "{alloc.get("JobID", "")}"'
        if migrating and not before.endswith("moving"):
            lines.append(f"{name} is to move")
        lines.append(f"{name}: {alloc.get('ClientStatus')}, wanted: {alloc.get('DesiredStatus')}")
    return lines


@command()
@argument("node_id", metavar="[NODE]", required=False, default="")
@switch("--enable", "Let it be given new allocations.")
@switch("--disable", "Give it none.")
@switch("--self", "The node of the agent at the address.", "own")
def eligibility(node_id: str, enable: bool, disable: bool, own: bool) -> None:
    """Say whether a NODE may be given new allocations. What runs there stays."""
    if enable == disable:
        raise click.UsageError("Say either -enable or -disable.")
    app = current()
    node = _node(app, node_id, own)
    app.client().nodes.eligibility(node["ID"], eligible=enable)
    click.echo(f'Node "{short(node["ID"])}" is {"eligible" if enable else "ineligible"}')
