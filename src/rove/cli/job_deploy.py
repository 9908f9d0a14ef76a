"""`rove job` and deployments: promote, deployments."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli import find
from rove.cli.app import current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.deployment import after_change, list_table
from rove.cli.monitor_deployment import summary
from rove.cli.output import emit
from rove.errors import NotFoundError

Json = dict[str, Any]


@command()
@argument("job_id", metavar="JOB")
@option("--group", "groups", multiple=True, help="Promote this group only; repeatable.")
@switch("--detach", "Return at once.")
@switch("--monitor", "Follow the deployment to its end (the default).")
@switch("--verbose", "Print whole ids.")
def promote(job_id: str, groups: tuple[str, ...], detach: bool, monitor: bool, verbose: bool) -> None:
    """Let the canaries of a job's latest deployment take over."""
    app = current()
    stub = find.job(app, job_id)
    found = app.client().jobs.deployment(stub["ID"])
    if not found:
        raise NotFoundError("job.no_deployment", f'job "{stub["ID"]}" has no deployment', "so there are no canaries")
    reply = app.client().deployments.promote(found["ID"], groups=groups)
    sys.exit(after_change(app, found["ID"], reply, detach=detach, verbose=verbose))


@command()
@argument("job_id", metavar="JOB")
@forms
@switch("--latest", "The latest one only.")
@switch("--all", "Those of earlier jobs of this name too.", "every")
@switch("--verbose", "Print whole ids.")
def deployments(job_id: str, as_json: bool, template: str | None, latest: bool, every: bool, verbose: bool) -> None:
    """List a job's deployments."""
    app = current()
    stub = find.job(app, job_id)
    if latest:
        found = app.client().jobs.deployment(stub["ID"])
        if not emit(found, as_json, template):
            click.echo(summary(found, verbose) if found else "No deployments")
        return
    every_one = app.client().jobs.deployments(stub["ID"], every=every) or []
    if not emit(every_one, as_json, template):
        click.echo(list_table(every_one, verbose))
