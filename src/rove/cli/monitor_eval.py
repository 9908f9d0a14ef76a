"""Following an evaluation: what it placed, why it could not place, and the deployment that comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from rove.cli.app import App
from rove.cli.explain import failed_groups
from rove.cli.output import clean, short
from rove.errors import NotFoundError

Json = dict[str, Any]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_NOT_PLACED = 2

FINISHED = ("complete", "failed", "canceled")
POLL_S = 0.5
LIMIT_NOT_FOUND = 10
"""How often an evaluation may be unknown: a server that lags behind does not have it at once."""


@dataclass
class Watch:
    """What has been told already, so that each thing is told once."""

    status: str = ""
    triggered: bool = False
    allocs: dict[str, str] = field(default_factory=dict)
    deployment: str = ""


def say(app: App, text: str) -> None:
    """One line with the time in front."""
    when = datetime.fromtimestamp(app.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for line in clean(text).splitlines():
        click.echo(f"    {when}: {line}")


def follow(app: App, eval_id: str, verbose: bool = False, *, with_deployment: bool = True) -> int:
    """Follow an evaluation, those that come after it and its deployment to the end; the exit code.

    0: all placed, and the deployment, if any, succeeded. 1: it failed. 2: not everything was placed.
    """
    code = EXIT_OK
    deployment_id = ""
    found: Json = {}
    blocked = ""
    while eval_id:
        click.echo(f'==> Following evaluation "{short(eval_id, verbose)}"')
        found = _finished(app, eval_id, verbose)
        deployment_id = str(found.get("DeploymentID") or deployment_id)
        if found["Status"] != "complete":
            code = EXIT_FAILED
            if found.get("StatusDescription"):
                say(app, f"Because: {found['StatusDescription']}")
        if found.get("FailedTGAllocs"):
            code = EXIT_NOT_PLACED
            _tell_failures(app, found, verbose)
            blocked = str(found.get("BlockedEval") or "")
        eval_id = str(found.get("NextEval") or "")
        if eval_id and (wait := int(found.get("Wait") or 0)):
            say(app, f"The next evaluation starts in {wait / 1e9:g} s")
            app.sleep(wait / 1e9)
    if blocked:
        say(app, f'Evaluation "{short(blocked, verbose)}" waits for room and places the rest when there is some')
    if with_deployment and not deployment_id and found["Status"] == "complete":
        deployment_id = _deployment_since(app, found)
    if deployment_id and with_deployment:
        from rove.cli.monitor_deployment import follow as follow_deployment

        succeeded = follow_deployment(app, deployment_id, verbose)
        return EXIT_OK if succeeded else (code or EXIT_FAILED)
    return code


def _deployment_since(app: App, found: Json) -> str:
    """The deployment that an evaluation has begun without naming it, "" when there is none."""
    if not found.get("JobID") or found.get("Type") not in ("service", "system"):
        return ""
    newest = app.client().jobs.deployment(found["JobID"]) or {}
    begun = int(newest.get("CreateIndex") or 0) >= int(found.get("CreateIndex") or 0)
    return str(newest["ID"]) if begun and newest.get("Status") == "running" else ""


def _finished(app: App, eval_id: str, verbose: bool) -> Json:
    watch = Watch()
    missing = 0
    while True:
        try:
            found: Json = app.client().evaluations.read(eval_id, related=True)
        except NotFoundError:
            missing += 1
            if missing >= LIMIT_NOT_FOUND:
                raise
            app.sleep(POLL_S)
            continue
        allocs = app.client().evaluations.allocations(eval_id)
        for line in news(watch, found, allocs or [], verbose):
            say(app, line)
        if found["Status"] in FINISHED:
            return found
        app.sleep(POLL_S)


def news(watch: Watch, found: Json, allocs: list[Json], verbose: bool) -> list[str]:
    """The lines about what has changed since the last look; `watch` remembers it."""
    lines: list[str] = []
    if not watch.triggered:
        watch.triggered = True
        lines.append(_trigger(found, verbose))
    for alloc in allocs:
        line = _alloc_line(watch, found, alloc, verbose)
        if line:
            lines.append(line)
    deployment = str(found.get("DeploymentID") or "")
    if deployment and watch.deployment != deployment:
        watch.deployment = deployment
        lines.append(f'It belongs to deployment "{short(deployment, verbose)}"')
    status = found["Status"]
    if watch.status and watch.status != status:
        lines.append(f'Evaluation went from "{watch.status}" to "{status}"')
    if status in FINISHED:
        lines.append(f'Evaluation "{short(found["ID"], verbose)}" ended as "{status}"')
    watch.status = status
    return lines


def _trigger(found: Json, verbose: bool) -> str:
    if found.get("NodeID") and not found.get("JobID"):
        return f'Triggered by {found["TriggeredBy"]} of node "{short(found["NodeID"], verbose)}"'
    return f'Triggered by {found["TriggeredBy"]} of job "{found.get("JobID", "")}"'


def _alloc_line(watch: Watch, found: Json, alloc: Json, verbose: bool) -> str:
    alloc_id, status = alloc["ID"], str(alloc.get("ClientStatus", ""))
    before = watch.allocs.get(alloc_id)
    watch.allocs[alloc_id] = status
    name = f'Allocation "{short(alloc_id, verbose)}"'
    where = f'group "{alloc.get("TaskGroup", "")}", node "{short(alloc.get("NodeID"), verbose)}"'
    if before is None:
        if alloc.get("DesiredStatus") in ("stop", "evict"):
            return f"{name} is to stop: {where}"
        made = int(alloc.get("CreateIndex") or 0) > int(found.get("CreateIndex") or 0)
        return f"{name} {'created' if made else 'modified'}: {where}"
    if before != status:
        return f'{name} went from "{before}" to "{status}"'
    return ""


def _tell_failures(app: App, found: Json, verbose: bool) -> None:
    say(app, "Not everything could be placed:")
    for line in failed_groups(found["FailedTGAllocs"], verbose):
        click.echo(f"        {line}")
