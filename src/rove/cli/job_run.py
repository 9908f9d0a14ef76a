"""`rove job run`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from rove.cli.app import App, current
from rove.cli.command import argument, command, option, switch
from rove.cli.job_validate import shown_in_file
from rove.cli.jobfile import Given, JobFile, jobfile_options, read_job, warn
from rove.errors import RoveError

Json = dict[str, Any]

EXIT_INTERRUPTED = 130


@command()
@argument("path", metavar="FILE")
@jobfile_options
@switch("--detach", "Return once the job is registered.")
@switch("--output", "Print the job as JSON and submit nothing.")
@option("--check-index", type=int, help="Submit only if the job's modify index is this; 0: only if it is new.")
@switch("--preserve-counts", "Keep the counts that the running job has.")
@switch("--preserve-resources", "Keep the resources that the running job has.")
@option("--eval-priority", type=click.IntRange(1, 100), help="Priority of the evaluation.")
@switch("--policy-override", "Accepted for Nomad's sake; there are no policies to override.")
@option("--vault-namespace", help="Kept with the job.")
@option("--consul-namespace", help="Kept with the job.")
@option("--ui", "open_page", is_flag=True, help="Accepted for Nomad's sake; there is no web page yet.")
@switch("--verbose", "Print whole ids.")
def run(
    path: str, as_json: bool, variables: tuple[str, ...], var_files: tuple[str, ...], strict: str, detach: bool,
    output: bool, check_index: int | None, preserve_counts: bool, preserve_resources: bool,
    eval_priority: int | None, policy_override: bool, vault_namespace: str | None,
    consul_namespace: str | None, open_page: bool, verbose: bool,
) -> None:  # fmt: skip
    """Submit a job FILE (- for standard input) and follow it until it runs.

    Ends with 0 when everything was placed and the deployment succeeded, with 1 on an error or a failed
    deployment, with 2 when not everything could be placed.
    """
    app = current()
    file = read_job(app, path, Given(as_json, variables, var_files, strict != "false"))
    job = _with_places(app, file, vault_namespace, consul_namespace)
    if output:
        click.echo(json.dumps({"Job": job}, indent=4, ensure_ascii=False))
        return
    warn(file.warnings)
    with shown_in_file(file):
        reply = app.client().jobs.register(
            job,
            submission=file.submission,
            check_index=check_index,
            preserve_counts=preserve_counts,
            preserve_resources=preserve_resources,
            policy_override=policy_override,
            eval_priority=eval_priority or 0,
        )
    warn(reply.get("Warnings"))
    app.in_namespace(str(job.get("Namespace") or app.settings().namespace or "default"))
    if open_page:
        click.echo(f"There is no web page yet: `rove job status {job['ID']}` shows the job.")
    try:
        code = _after(app, job, str(reply.get("EvalID") or ""), detach, verbose)
    except KeyboardInterrupt:
        click.echo(f"\nNo longer following. The job goes on: `rove job status {job['ID']}` shows it.")
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _with_places(app: App, file: JobFile, vault_namespace: str | None, consul_namespace: str | None) -> Json:
    """The job with the region and namespace of the flags where the file names none."""
    job = dict(file.api)
    settings = app.settings()
    for key, value in (
        ("Namespace", settings.namespace),
        ("Region", settings.region),
        ("VaultNamespace", vault_namespace),
        ("ConsulNamespace", consul_namespace),
    ):
        if value and not job.get(key):
            job[key] = value
    return job


def _after(app: App, job: Json, eval_id: str, detach: bool, verbose: bool) -> int:
    if not eval_id:
        click.echo(f'Job "{job["ID"]}" is registered')
        _tell_launch(app, job)
        return 0
    if detach:
        click.echo(f'Job "{job["ID"]}" is registered')
        click.echo(f"Evaluation ID: {eval_id}")
        return 0
    from rove.cli.monitor_eval import follow

    return follow(app, eval_id, verbose)


def _tell_launch(app: App, job: Json) -> None:
    """A periodic job has no evaluation of its own: say when it launches next."""
    if job.get("ParameterizedJob"):
        click.echo(f"Start a run of it with `rove job dispatch {job['ID']}`")
        return
    try:
        planned = app.client().jobs.plan(job, diff=False)
    except RoveError:
        return
    launch = planned.get("NextPeriodicLaunch")
    if launch and not str(launch).startswith("0001-"):
        from rove.cli.output import stamp

        click.echo(f"Next launch: {stamp(launch)}")
