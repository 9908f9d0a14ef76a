"""`rove job plan`."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli.app import App, current
from rove.cli.command import argument, command, option, switch
from rove.cli.diff_text import job_lines
from rove.cli.explain import failed_groups
from rove.cli.job_validate import shown_in_file
from rove.cli.jobfile import Given, jobfile_options, read_job, warn
from rove.cli.output import emit, short, stamp, table, title
from rove.sdk.request import request

Json = dict[str, Any]

EXIT_SAME, EXIT_CHANGES, EXIT_ERROR = 0, 1, 255
EXIT_IN_PLACE, EXIT_DESTRUCTIVE = 2, 3
"""With -exit-code=detailed."""

MOVES = ("Stop", "Place", "Migrate", "DestructiveUpdate", "Canary")
"""Counts of allocations that begin or end."""


@command(error_exit=EXIT_ERROR)
@argument("path", metavar="FILE")
@jobfile_options
@option("--diff", "with_diff", default="true", metavar="BOOL", help="Show the differences (default true).")
@switch("--json-output", "Print the answer as JSON.")
@option("-t", "template", metavar="TEMPLATE", help="Print the answer through a Go template.")
@switch("--policy-override", "Accepted for Nomad's sake.")
@option("--why-not", metavar="NODE", help="Say what speaks against this node, or against every one: all.")
@option(
    "--exit-code",
    type=click.Choice(["simple", "detailed"]),
    default="simple",
    help="detailed: 0 the same, 2 in place only, 3 allocations begin or end, 255 error.",
)
@option("--vault-namespace", help="Accepted for Nomad's sake.")
@option("--consul-namespace", help="Accepted for Nomad's sake.")
@switch("--verbose", "Show fields of what is new or gone too, and whole ids.")
def plan(
    path: str, as_json: bool, variables: tuple[str, ...], var_files: tuple[str, ...], strict: str, with_diff: str,
    json_output: bool, template: str | None, policy_override: bool, why_not: str | None, exit_code: str,
    vault_namespace: str | None, consul_namespace: str | None, verbose: bool,
) -> None:  # fmt: skip
    """Show what submitting a job FILE (- for standard input) would change. Nothing is changed.

    Ends with 0 when no allocation would begin or end, with 1 when some would, with 255 on an error.
    """
    app = current()
    file = read_job(app, path, Given(as_json, variables, var_files, strict != "false"))
    warn(file.warnings)
    with shown_in_file(file):
        answer = ask(app, file.api, why_not)
    if not emit(answer, json_output, template):
        _show(answer, path, with_diff != "false", verbose)
        if why_not:
            _show_why_not(answer, why_not, verbose)
    sys.exit(code_of(answer, detailed=exit_code == "detailed"))


def ask(app: App, job: Json, why_not: str | None) -> Json:
    """The plan of a job. `why_not`: a node's id, name or "all", passed on as the query parameter `why_not`."""
    settings = app.settings()
    job = dict(job)
    for key, value in (("Namespace", settings.namespace), ("Region", settings.region)):
        if value and not job.get(key):
            job[key] = value
    if not why_not:
        answer: Json = app.client().jobs.plan(job)
        return answer
    params = {"why_not": why_not, "namespace": job.get("Namespace") or ""}
    body = {"Job": job, "Diff": True}
    found: Json = app.client().value(request("PUT", "job", str(job.get("ID", "")), "plan", params=params, body=body))
    return found


def code_of(answer: Json, *, detailed: bool) -> int:
    """The exit code of a plan."""
    updates: list[Json] = list(((answer.get("Annotations") or {}).get("DesiredTGUpdates") or {}).values())
    moves = sum(int(update.get(key) or 0) for update in updates for key in MOVES)
    in_place = sum(int(update.get("InPlaceUpdate") or 0) for update in updates)
    if not detailed:
        return EXIT_CHANGES if moves else EXIT_SAME
    if moves:
        return EXIT_DESTRUCTIVE
    changed = (answer.get("Diff") or {}).get("Type", "None") != "None"
    return EXIT_IN_PLACE if in_place or changed else EXIT_SAME


def _show(answer: Json, path: str, with_diff: bool, verbose: bool) -> None:
    diff = answer.get("Diff")
    if with_diff and diff:
        for line in job_lines(diff, verbose=verbose):
            click.echo(line)
        click.echo("")
    click.echo(click.style("Scheduler dry run:", bold=True))
    failed = answer.get("FailedTGAllocs") or {}
    if failed:
        click.echo(click.style("- Not everything would be placed:", fg="yellow"))
        for line in failed_groups(failed, verbose):
            click.echo(f"  {line}")
    else:
        click.echo(click.style("- Everything would be placed.", fg="green"))
    launch = answer.get("NextPeriodicLaunch")
    if launch and not str(launch).startswith("0001-"):
        click.echo(f"- Submitted now, it would be launched next at {stamp(launch)}.")
    _show_preemptions(answer, verbose)
    _show_placements(answer, verbose)
    warn(answer.get("Warnings"))
    index = answer.get("JobModifyIndex", 0)
    click.echo(f"\nJob Modify Index: {index}")
    click.echo("Submit exactly this, and only if nobody has changed the job meanwhile, with:\n")
    click.echo(f"    rove job run -check-index {index} {path}")


def _show_preemptions(answer: Json, verbose: bool) -> None:
    victims = (answer.get("Annotations") or {}).get("PreemptedAllocs") or []
    if victims:
        title("These allocations would be pushed aside:")
        rows = [[short(each.get("ID"), verbose), each.get("JobID"), each.get("TaskGroup")] for each in victims]
        click.echo(table(["Alloc ID", "Job ID", "Task Group"], rows))


def _show_placements(answer: Json, verbose: bool) -> None:
    """Where allocations would go, where the agent says so (a field of Rove's own)."""
    placements = answer.get("Placements") or []
    if placements:
        title("Placements")
        rows = [
            [each.get("Name"), each.get("NodeName"), short(each.get("NodeID"), verbose), _score(each)]
            for each in placements
        ]
        click.echo(table(["Allocation", "Node", "Node ID", "Score"], rows))


def _score(placement: Json) -> str:
    score = placement.get("Score")
    return "-" if score is None else f"{float(score):.3f}"


def _show_why_not(answer: Json, asked: str, verbose: bool) -> None:
    """Every check that fails on the nodes asked about (a field of Rove's own)."""
    title("Why not")
    entries = answer.get("WhyNot")
    if entries is None:
        click.echo("The agent at this address does not explain nodes; it may be an older one.")
        return
    if not entries:
        click.echo(f'Nothing speaks against "{asked}".')
    for entry in entries:
        node = entry.get("NodeName") or short(entry.get("NodeID"), verbose)
        reasons = entry.get("Reasons") or []
        click.echo(f'{node} ({short(entry.get("NodeID"), verbose)}), group "{entry.get("TaskGroup", "")}":')
        for reason in reasons or ["nothing speaks against it"]:
            click.echo(f"  * {reason}")
