"""`rove deployment`."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.job import alloc_table
from rove.cli.monitor_deployment import ACTIVE, follow, summary
from rove.cli.output import duration, emit, short, table, title
from rove.errors import BadRequestError, NotFoundError

Json = dict[str, Any]


@command("list")
@forms
@option("--filter", "filter_text", default="", help="Filter expression.")
@switch("--verbose", "Print whole ids.")
def list_(as_json: bool, template: str | None, filter_text: str, verbose: bool) -> None:
    """List deployments."""
    found = current().client().deployments.list(filter=filter_text) or []
    if not emit(found, as_json, template):
        click.echo(list_table(found, verbose))


def list_table(found: list[Json], verbose: bool) -> str:
    """Deployments as a table."""
    if not found:
        return "No deployments"
    rows = [
        [short(each["ID"], verbose), each.get("JobID"), each.get("JobVersion"), each.get("Status"),
         each.get("StatusDescription")]
        for each in found
    ]  # fmt: skip
    return table(["ID", "Job ID", "Job Version", "Status", "Description"], rows)


@command()
@argument("deployment_id", metavar="[DEPLOYMENT]", required=False, default="")
@forms
@switch("--monitor", "Follow it to its end.")
@option("--wait", "wait", default="2s", help="Accepted for Nomad's sake: changes are shown as they happen.")
@switch("--verbose", "Print whole ids and its allocations.")
def status(deployment_id: str, as_json: bool, template: str | None, monitor: bool, wait: str, verbose: bool) -> None:
    """Show a deployment. DEPLOYMENT may be the beginning of an id."""
    app = current()
    if not deployment_id:
        if not (as_json or template):
            raise click.UsageError("Which deployment? `rove deployment list` lists them.")
        emit(app.client().deployments.list() or [], as_json, template)
        return
    stub = find.deployment(app, deployment_id)
    found = app.client().deployments.read(stub["ID"])
    if emit(found, as_json, template):
        return
    if monitor and found["Status"] in ACTIVE:
        sys.exit(0 if follow(app, found["ID"], verbose) else 1)
    click.echo(summary(found, verbose))
    if found["Status"] in ACTIVE:
        for line in waiting(_why(app, found["ID"]), app.now()):
            click.echo(line)
    if verbose:
        allocs = app.client().deployments.allocations(found["ID"]) or []
        title("Allocations")
        click.echo(alloc_table(app, allocs, verbose) if allocs else "none")


def _why(app: App, deployment_id: str) -> Json:
    """What it waits for; empty if the agent cannot say (it may be another product's)."""
    try:
        found: Json = app.client().deployments.why(deployment_id) or {}
    except (NotFoundError, BadRequestError):
        return {}
    return found


def waiting(why: Json, now: float) -> list[str]:
    """What it waits for, a line each. now: seconds since the epoch."""
    entries = why.get("WaitingFor") or []
    lines = [f"  * {entry.get('Text', '')}{_until(entry.get('Until'), now)}" for entry in entries]
    if lines and (fails_at := why.get("FailsAt")):
        lines.append(f"  It fails {_when(fails_at, now)} if nothing moves until then.")
    return ["", "Waiting for", *lines] if lines else []


def _until(until: int | None, now: float) -> str:
    return f" (decided {_when(until, now)} at the latest)" if until else ""


def _when(at_ns: int, now: float) -> str:
    left = round(at_ns / 1e9 - now)
    return f"in {duration(left)}" if left > 0 else "now"


def after_change(app: App, deployment_id: str, reply: Json, *, detach: bool, verbose: bool) -> int:
    """Follow a deployment that was changed, and say what the change brought; the exit code."""
    if reply.get("RevertedJobVersion") is not None:
        click.echo(f"The job goes back to version {reply['RevertedJobVersion']}")
    eval_id = str(reply.get("EvalID") or "")
    if detach:
        click.echo(f"Evaluation ID: {eval_id}" if eval_id else f'Deployment "{short(deployment_id)}" was changed')
        return 0
    if eval_id:
        from rove.cli.monitor_eval import follow as follow_eval

        code = follow_eval(app, eval_id, verbose, with_deployment=False)
        if code == 1:
            return code
    return 0 if follow(app, deployment_id, verbose) else 1


@command()
@argument("deployment_id", metavar="DEPLOYMENT")
@option("--group", "groups", multiple=True, help="Promote this group only; repeatable.")
@switch("--detach", "Return at once.")
@switch("--monitor", "Follow it to its end (the default).")
@switch("--verbose", "Print whole ids.")
def promote(deployment_id: str, groups: tuple[str, ...], detach: bool, monitor: bool, verbose: bool) -> None:
    """Let a deployment's canaries take over."""
    app = current()
    stub = find.deployment(app, deployment_id)
    reply = app.client().deployments.promote(stub["ID"], groups=groups)
    sys.exit(after_change(app, stub["ID"], reply, detach=detach, verbose=verbose))


@command()
@argument("deployment_id", metavar="DEPLOYMENT")
@switch("--detach", "Return at once.")
@switch("--monitor", "Follow what comes of it.")
@switch("--verbose", "Print whole ids.")
def fail(deployment_id: str, detach: bool, monitor: bool, verbose: bool) -> None:
    """End a deployment as failed. Groups with auto_revert go back to the last stable version."""
    app = current()
    stub = find.deployment(app, deployment_id)
    reply = app.client().deployments.fail(stub["ID"])
    if not monitor:
        after_change(app, stub["ID"], reply, detach=True, verbose=verbose)
        click.echo(f'Deployment "{short(stub["ID"], verbose)}" ended as failed')
        return
    # It fails because we asked for it: that is no failure of this command.
    after_change(app, stub["ID"], reply, detach=detach, verbose=verbose)


@command()
@argument("deployment_id", metavar="DEPLOYMENT")
@switch("--verbose", "Print whole ids.")
def pause(deployment_id: str, verbose: bool) -> None:
    """Hold a deployment: nothing more is placed until it is resumed."""
    app = current()
    stub = find.deployment(app, deployment_id)
    app.client().deployments.pause(stub["ID"])
    click.echo(f'Deployment "{short(stub["ID"], verbose)}" is paused')


@command()
@argument("deployment_id", metavar="DEPLOYMENT")
@switch("--detach", "Return at once.")
@switch("--monitor", "Follow it to its end (the default).")
@switch("--verbose", "Print whole ids.")
def resume(deployment_id: str, detach: bool, monitor: bool, verbose: bool) -> None:
    """Let a paused deployment go on."""
    app = current()
    stub = find.deployment(app, deployment_id)
    reply = app.client().deployments.pause(stub["ID"], paused=False)
    if detach:
        click.echo(f'Deployment "{short(stub["ID"], verbose)}" goes on')
        return
    sys.exit(after_change(app, stub["ID"], reply, detach=False, verbose=verbose))


@command()
@argument("deployment_id", metavar="DEPLOYMENT")
@switch("--detach", "Return at once.")
@switch("--monitor", "Follow it to its end (the default).")
@switch("--verbose", "Print whole ids.")
def unblock(deployment_id: str, detach: bool, monitor: bool, verbose: bool) -> None:
    """Let a deployment go on that waits for other regions."""
    app = current()
    stub = find.deployment(app, deployment_id)
    reply = app.client().deployments.unblock(stub["ID"])
    sys.exit(after_change(app, stub["ID"], reply, detach=detach, verbose=verbose))
