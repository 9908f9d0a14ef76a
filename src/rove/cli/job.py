"""`rove job`: status, stop, allocs, eval."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.explain import failed_groups
from rove.cli.output import ago, block, emit, listing, moment, short, table, title
from rove.errors import NotFoundError

Json = dict[str, Any]

STATES = ("Queued", "Starting", "Running", "Failed", "Complete", "Lost", "Unknown")


@command()
@argument("job_id", metavar="[JOB]", required=False, default="")
@forms
@switch("--short", "Leave allocations and deployment out.")
@switch("--evals", "Show evaluations.")
@switch("--all-allocs", "Show allocations of earlier jobs of this name too.")
@switch("--verbose", "Print whole ids.")
def status(
    job_id: str, as_json: bool, template: str | None, short: bool, evals: bool, all_allocs: bool, verbose: bool
) -> None:
    """List jobs, or show one. JOB may be the beginning of an id."""
    app = current()
    if not job_id:
        _list(app, as_json, template)
        return
    stub = find.job(app, job_id)
    client = app.client()
    job = client.jobs.read(stub["ID"])
    if emit(job, as_json, template):
        return
    click.echo(block(_head(app, job)))
    if (job.get("Periodic") and not job.get("ParentID")) or _is_template(job):
        _show_children(app, job)
        return
    if short:
        return
    _show_summary(app, job)
    if evals:
        _show_evaluations(app, job, verbose)
    _show_failures(app, job, verbose)
    _show_deployment(app, job, verbose)
    allocs = client.jobs.allocations(job["ID"], every=all_allocs) or []
    title("Allocations")
    click.echo(alloc_table(app, allocs, verbose) if allocs else "none")


def _list(app: App, as_json: bool, template: str | None) -> None:
    jobs = app.client().jobs.list() or []
    if emit(jobs, as_json, template):
        return
    if not jobs:
        click.echo("No jobs are registered")
        return
    everywhere = app.settings().namespace == "*"
    header = ["ID", *(["Namespace"] if everywhere else []), "Type", "Priority", "Status", "Submit Date"]
    rows = [
        [
            stub["ID"],
            *([find.namespace_of(stub)] if everywhere else []),
            job_type(stub),
            stub.get("Priority"),
            job_status(stub),
            moment(stub.get("SubmitTime")),
        ]
        for stub in jobs
    ]
    click.echo(table(header, rows))


def job_status(job: Json) -> str:
    """The status, and whether somebody stopped the job."""
    return f"{job['Status']} (stopped)" if job.get("Stop") else str(job["Status"])


def job_type(job: Json) -> str:
    """The type, and what launches the job."""
    kinds = [name for key, name in (("Periodic", "periodic"), ("ParameterizedJob", "parameterized")) if job.get(key)]
    return "/".join([str(job.get("Type")), *kinds])


def _is_template(job: Json) -> bool:
    return bool(job.get("ParameterizedJob")) and not job.get("Dispatched")


def _head(app: App, job: Json) -> list[tuple[str, Any]]:
    pairs = [
        ("ID", job["ID"]),
        ("Name", job.get("Name")),
        ("Submit Date", moment(job.get("SubmitTime"))),
        ("Type", job.get("Type")),
        ("Priority", job.get("Priority")),
        ("Datacenters", listing(job.get("Datacenters"))),
        ("Namespace", job.get("Namespace")),
        ("Node Pool", job.get("NodePool")),
        ("Status", job_status(job)),
        ("Periodic", bool(job.get("Periodic"))),
        ("Parameterized", bool(job.get("ParameterizedJob"))),
    ]
    if job.get("Periodic") and not job.get("Stop"):
        pairs.append(("Next Launch", _next_launch(app, job["Periodic"])))
    if job.get("StatusDescription"):
        pairs.append(("Description", job["StatusDescription"]))
    return pairs


def _next_launch(app: App, periodic: Json) -> str:
    """When the clock launches a periodic job next, worked out here: the API tells it in dry runs only."""
    import msgspec

    from rove.jobspec.cron import CronError
    from rove.jobspec.launch_times import next_launch
    from rove.structs.job import Periodic

    wanted = msgspec.convert(periodic, Periodic)
    if not wanted.enabled:
        return "never: it is not enabled"
    if wanted.time_zone == "Local":
        return "by the clock of the servers"
    try:
        coming = next_launch(wanted, app.now())
    except (CronError, LookupError) as error:
        return f"unknown: {error}"
    return "never again" if coming is None else moment(coming * 1e9)


def _show_summary(app: App, job: Json) -> None:
    counts: dict[str, Json] = (app.client().jobs.summary(job["ID"]) or {}).get("Summary") or {}
    title("Summary")
    rows = [[name, *(group.get(state, 0) for state in STATES)] for name, group in sorted(counts.items())]
    click.echo(table(["Task Group", *STATES], rows))


def _show_children(app: App, job: Json) -> None:
    counts = (app.client().jobs.summary(job["ID"]) or {}).get("Children") or {}
    title("Children Job Summary")
    states = ("Pending", "Running", "Dead")
    click.echo(table(states, [[counts.get(state, 0) for state in states]]))
    kind = "periodic" if job.get("Periodic") else "dispatch"
    children = app.client().jobs.list(prefix=f"{job['ID']}/{kind}-") or []
    children = [stub for stub in children if stub.get("ParentID") == job["ID"]]
    title("Launched Jobs")
    rows = [[stub["ID"], job_status(stub)] for stub in children]
    click.echo(table(["ID", "Status"], rows) if rows else "none")


def _show_evaluations(app: App, job: Json, verbose: bool) -> None:
    title("Evaluations")
    rows = [
        [short(e["ID"], verbose), e["Priority"], e["TriggeredBy"], e["Status"], bool(e.get("FailedTGAllocs"))]
        for e in app.client().jobs.evaluations(job["ID"]) or []
    ]
    header = ["ID", "Priority", "Triggered By", "Status", "Placement Failures"]
    click.echo(table(header, rows) if rows else "none")


def _show_failures(app: App, job: Json, verbose: bool) -> None:
    """What the newest evaluation could not place, when something still waits for room."""
    evaluations = app.client().jobs.evaluations(job["ID"]) or []
    blocked = [e for e in evaluations if e["Status"] == "blocked"]
    failing = [e for e in evaluations if e.get("FailedTGAllocs")]
    if not blocked or not failing:
        return
    newest = max(failing, key=lambda e: int(e.get("CreateIndex") or 0))
    title("Placement Failures")
    for line in failed_groups(newest["FailedTGAllocs"], verbose):
        click.echo(line)


def _show_deployment(app: App, job: Json, verbose: bool) -> None:
    found = app.client().jobs.deployment(job["ID"])
    if not found:
        return
    from rove.cli.monitor_deployment import groups_table

    title("Latest Deployment")
    pairs = [("ID", short(found["ID"], verbose)), ("Status", found["Status"])]
    click.echo(block([*pairs, ("Description", found.get("StatusDescription"))]))
    title("Deployed")
    click.echo(groups_table(found))


def alloc_table(app: App, allocs: list[Json], verbose: bool) -> str:
    """Allocations as a table, newest first."""
    header = ["ID", "Node ID", "Task Group", "Version", "Desired", "Status", "Created", "Modified"]
    now = app.now()
    rows = [
        [
            short(alloc["ID"], verbose),
            short(alloc.get("NodeID"), verbose),
            alloc.get("TaskGroup"),
            alloc.get("JobVersion", (alloc.get("Job") or {}).get("Version", 0)),
            alloc.get("DesiredStatus"),
            alloc.get("ClientStatus"),
            moment(alloc.get("CreateTime")) if verbose else ago(alloc.get("CreateTime"), now),
            moment(alloc.get("ModifyTime")) if verbose else ago(alloc.get("ModifyTime"), now),
        ]
        for alloc in sorted(allocs, key=lambda alloc: -int(alloc.get("CreateTime") or 0))
    ]
    return table(header, rows)


@command()
@argument("job_id", metavar="JOB")
@forms
@switch("--all", "Those of earlier jobs of this name too.", "every")
@switch("--verbose", "Print whole ids.")
def allocs(job_id: str, as_json: bool, template: str | None, every: bool, verbose: bool) -> None:
    """List a job's allocations."""
    app = current()
    found = app.client().jobs.allocations(find.job(app, job_id)["ID"], every=every) or []
    if emit(found, as_json, template):
        return
    click.echo(alloc_table(app, found, verbose) if found else "No allocations")


@command()
@argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@switch("--detach", "Return at once.")
@switch("--purge", "Forget the job at once, instead of keeping it as stopped.")
@switch("--global", "Stop it in every region it runs in.", "everywhere")
@switch("--no-shutdown-delay", "Do not wait for the groups' shutdown delays.")
@option("--eval-priority", type=click.IntRange(1, 100), help="Priority of the evaluation.")
@option("--yes", "-y", "yes", is_flag=True, help="Do not ask.")
@switch("--verbose", "Print whole ids.")
def stop(
    job_ids: tuple[str, ...], detach: bool, purge: bool, everywhere: bool, no_shutdown_delay: bool,
    eval_priority: int | None, yes: bool, verbose: bool,
) -> None:  # fmt: skip
    """Stop one or more jobs and follow them until their allocations stop."""
    app = current()
    codes = []
    for typed in job_ids:
        stub = find.job(app, typed)
        if stub["ID"] != typed and not yes and not _confirmed(stub["ID"]):
            click.echo("Nothing was stopped")
            sys.exit(1)
        reply = app.client().jobs.stop(
            stub["ID"],
            purge=purge,
            everywhere=everywhere,
            no_shutdown_delay=no_shutdown_delay,
            eval_priority=eval_priority or 0,
        )
        codes.append(_follow_stop(app, stub["ID"], str(reply.get("EvalID") or ""), detach, verbose))
    sys.exit(max(codes))


def _confirmed(job_id: str) -> bool:
    """An id that was not typed in full is shown before anything happens to it."""
    return click.confirm(f'Stop the job "{job_id}"?', default=False)


def _follow_stop(app: App, job_id: str, eval_id: str, detach: bool, verbose: bool) -> int:
    if not eval_id:
        click.echo(f'Job "{job_id}" is stopped')
        return 0
    if detach:
        click.echo(eval_id)
        return 0
    from rove.cli.monitor_eval import follow

    return follow(app, eval_id, verbose, with_deployment=False)


@command("eval")
@argument("job_id", metavar="JOB")
@switch("--force-reschedule", "Reschedule failed allocations that would wait.")
@switch("--detach", "Return at once.")
@switch("--verbose", "Print whole ids.")
def evaluate(job_id: str, force_reschedule: bool, detach: bool, verbose: bool) -> None:
    """Have a job looked at again."""
    app = current()
    job = find.job(app, job_id)["ID"]
    reply = app.client().jobs.evaluate(job, force_reschedule=force_reschedule)
    eval_id = str(reply.get("EvalID") or "")
    if not eval_id:
        raise NotFoundError("eval.none", f'job "{job}" was not evaluated', "the agent made no evaluation")
    if detach:
        click.echo(f"Evaluation ID: {eval_id}")
        return
    from rove.cli.monitor_eval import follow

    sys.exit(follow(app, eval_id, verbose))
