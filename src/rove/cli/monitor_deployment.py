"""Following a deployment to its end: lines in a file, one block that is redrawn on a terminal."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli.app import App
from rove.cli.monitor_eval import say
from rove.cli.output import block, short, stamp, table
from rove.errors import UnavailableError

Json = dict[str, Any]

ACTIVE = ("running", "paused", "pending", "initializing", "blocked", "unblocking")
WAIT_S = 10.0
RETRIES = 10
REVERT_WAIT_S = 1.0


def follow(app: App, deployment_id: str, verbose: bool = False) -> bool:
    """Follow a deployment, and the one that takes its failure back; whether the first succeeded."""
    click.echo(f'==> Following deployment "{short(deployment_id, verbose)}"')
    last = _to_the_end(app, deployment_id, verbose)
    if last["Status"] == "failed" and _reverts(last):
        _follow_revert(app, last, verbose)
    return bool(last["Status"] == "successful")


def _to_the_end(app: App, deployment_id: str, verbose: bool) -> Json:
    screen = _Screen(app)
    try:
        return _watch(app, deployment_id, verbose, screen)
    finally:
        # Also on Ctrl-C: the live display hides the cursor.
        screen.done()


def _watch(app: App, deployment_id: str, verbose: bool, screen: _Screen) -> Json:
    index, told, failures = 0, "", 0
    while True:
        try:
            reply = app.client().get("deployment", deployment_id, options={"index": index, "wait_s": WAIT_S})
        except UnavailableError:
            failures += 1
            if failures > RETRIES:
                raise
            app.sleep(1.0)
            continue
        failures = 0
        found: Json = reply.value
        text = summary(found, verbose)
        if text != told:
            screen.show(found, verbose)
            told = text
        if found["Status"] not in ACTIVE:
            return found
        if reply.index <= index:
            # No index, no blocking: never ask in a busy loop.
            app.sleep(0.5)
        index = reply.index


def summary(found: Json, verbose: bool) -> str:
    """A deployment as text: head, then a row for each group."""
    head = block(
        [
            ("ID", short(found["ID"], verbose)),
            ("Job ID", found.get("JobID")),
            ("Job Version", found.get("JobVersion")),
            ("Status", found.get("Status")),
            ("Description", found.get("StatusDescription")),
        ]
    )
    return f"{head}\n\n{groups_text(found)}"


def groups_text(found: Json) -> str:
    """The groups as a table, and below it what their gates have said so far."""
    return "\n".join([groups_table(found), *gate_lines(found)])


def gate_lines(found: Json) -> list[str]:
    """The last answer of each gate, a line each."""
    lines = []
    for name, group in sorted((found.get("TaskGroups") or {}).items()):
        for answer in group.get("GateAnswers") or []:
            state = "open" if answer.get("IsOpen") else "closed"
            lines.append(f'Gate "{answer.get("Name")}" of "{name}" is {state}: {answer.get("Text") or "-"}')
    return lines


def groups_table(found: Json) -> str:
    """The groups of a deployment; columns about canaries and reverts only where they say something."""
    groups: dict[str, Json] = found.get("TaskGroups") or {}
    has_revert = any(group.get("AutoRevert") for group in groups.values())
    has_canary = any(group.get("DesiredCanaries") for group in groups.values())
    header = ["Task Group"]
    header += ["Auto Revert"] if has_revert else []
    header += ["Promoted"] if has_canary else []
    header += ["Desired"]
    header += ["Canaries"] if has_canary else []
    header += ["Placed", "Healthy", "Unhealthy", "Progress Deadline"]
    rows = []
    for name, group in sorted(groups.items()):
        row: list[Any] = [name]
        row += [bool(group.get("AutoRevert"))] if has_revert else []
        row += [bool(group.get("Promoted")) if group.get("DesiredCanaries") else "N/A"] if has_canary else []
        row += [group.get("DesiredTotal", 0)]
        row += [group.get("DesiredCanaries", 0)] if has_canary else []
        row += [group.get("PlacedAllocs", 0), group.get("HealthyAllocs", 0), group.get("UnhealthyAllocs", 0)]
        rows.append([*row, stamp(group.get("RequireProgressBy"))])
    return table(header, rows)


def _reverts(found: Json) -> bool:
    return any(group.get("AutoRevert") for group in (found.get("TaskGroups") or {}).values())


def _follow_revert(app: App, failed: Json, verbose: bool) -> None:
    app.sleep(REVERT_WAIT_S)
    newest = app.client().jobs.deployment(failed["JobID"])
    if newest and newest["ID"] != failed["ID"] and newest.get("JobVersion", 0) > failed.get("JobVersion", 0):
        say(app, "The job goes back to its last stable version")
        click.echo(f'==> Following deployment "{short(newest["ID"], verbose)}"')
        _to_the_end(app, newest["ID"], verbose)


class _Screen:
    """Shows a text that changes: redrawn in place on a terminal, else printed each time with the time."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._live: Any = None
        if sys.stdout.isatty() and app.colored():
            from rich.live import Live

            self._live = Live(auto_refresh=False)
            self._live.start()

    def show(self, found: Json, verbose: bool) -> None:
        """Show a deployment as it is now."""
        if self._live is None:
            name = f'Deployment "{short(found["ID"], verbose)}"'
            say(self._app, f"{name} is {found['Status']}: {found.get('StatusDescription') or '-'}")
            click.echo(_indented(groups_text(found)))
        else:
            from rich.text import Text

            self._live.update(Text(_indented(summary(found, verbose))), refresh=True)

    def done(self) -> None:
        """Leave the last picture standing."""
        if self._live is not None:
            self._live.stop()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
