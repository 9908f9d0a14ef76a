"""`rove eval`."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.explain import failed_groups, score_table
from rove.cli.job import alloc_table
from rove.cli.output import ago, block, clean, emit, moment, short, stamp, table, title
from rove.errors import NotFoundError

Json = dict[str, Any]

SCORED_MAX = 10
"""Allocations of an evaluation whose scores are shown: each is read by a call of its own."""


@command("list")
@forms
@option("--job", "job", default="", help="Those of this job only.")
@option("--status", "status", default="", help="Those with this status only.")
@option("--filter", "filter_text", default="", help="Filter expression.")
@option("--per-page", type=int, default=0, help="Evaluations a page.")
@option("--page-token", default="", help="Where the page begins.")
@switch("--verbose", "Print whole ids.")
def list_(
    as_json: bool, template: str | None, job: str, status: str, filter_text: str, per_page: int, page_token: str,
    verbose: bool,
) -> None:  # fmt: skip
    """List evaluations."""
    app = current()
    params = {"job": job, "status": status, "filter": filter_text, "per_page": per_page or None}
    reply = app.client().get("evaluations", params={**params, "next_token": page_token})
    found: list[Json] = reply.value or []
    if emit(found, as_json, template):
        return
    click.echo(_table(found, verbose) if found else "No evaluations")
    if reply.next_token:
        click.echo(f"\nMore follow: -page-token {reply.next_token}")


def _table(found: list[Json], verbose: bool) -> str:
    header = ["ID", "Priority", "Triggered By", "Job ID", "Namespace", "Node ID", "Status", "Placement Failures"]
    rows = [
        [
            short(each["ID"], verbose), each.get("Priority"), each.get("TriggeredBy"), each.get("JobID"),
            each.get("Namespace"), short(each.get("NodeID"), verbose), each.get("Status"), _failures(each),
        ]
        for each in found
    ]  # fmt: skip
    return table(header, rows)


def _failures(found: Json) -> str:
    if found["Status"] == "blocked":
        return "N/A - In Progress"
    return "true" if found.get("FailedTGAllocs") else "false"


@command()
@argument("eval_id", metavar="[EVALUATION]", required=False, default="")
@forms
@switch("--monitor", "Follow it to its end.")
@switch("--verbose", "Print whole ids, times and scores.")
def status(eval_id: str, as_json: bool, template: str | None, monitor: bool, verbose: bool) -> None:
    """Show an evaluation. EVALUATION may be the beginning of an id."""
    app = current()
    if not eval_id:
        if not (as_json or template):
            raise click.UsageError("Which evaluation? `rove eval list` lists them.")
        emit(app.client().evaluations.list() or [], as_json, template)
        return
    stub = find.evaluation(app, eval_id)
    if monitor:
        from rove.cli.monitor_eval import follow

        sys.exit(follow(app, stub["ID"], verbose))
    found = app.client().evaluations.read(stub["ID"], related=True)
    if emit(found, as_json, template):
        return
    click.echo(block(_head(app, found, verbose)))
    _show_rest(app, found, verbose)


def _head(app: App, found: Json, verbose: bool) -> list[tuple[str, Any]]:
    now = app.now()

    def when(unix_ns: Any) -> str:
        return moment(unix_ns) if verbose else ago(unix_ns, now)

    pairs: list[tuple[str, Any]] = [
        ("ID", short(found["ID"], verbose)),
        ("Create Time", when(found.get("CreateTime"))),
        ("Modify Time", when(found.get("ModifyTime"))),
        ("Status", found.get("Status")),
        ("Status Description", found.get("StatusDescription")),
        ("Type", found.get("Type")),
        ("TriggeredBy", found.get("TriggeredBy")),
        ("Job ID", found.get("JobID")),
        ("Namespace", found.get("Namespace")),
        ("Priority", found.get("Priority")),
        ("Placement Failures", _failures(found)),
    ]
    for label, key in (
        ("Node ID", "NodeID"),
        ("Deployment ID", "DeploymentID"),
        ("Previous Eval", "PreviousEval"),
        ("Next Eval", "NextEval"),
        ("Blocked Eval", "BlockedEval"),
    ):
        if found.get(key):
            pairs.append((label, short(found[key], verbose)))
    if stamp(found.get("WaitUntil")) != "-":
        pairs.append(("Wait Until", stamp(found["WaitUntil"])))
    return pairs


def _show_rest(app: App, found: Json, verbose: bool) -> None:
    queued = {name: count for name, count in (found.get("QueuedAllocations") or {}).items() if count}
    if queued:
        title("Queued Allocations")
        click.echo(block(sorted(queued.items())))
    if found.get("FailedTGAllocs"):
        title("Failed Placements")
        for line in failed_groups(found["FailedTGAllocs"], verbose):
            click.echo(line)
        if found.get("BlockedEval"):
            click.echo(clean(_rest(app, found, verbose)))
    related = found.get("RelatedEvals") or []
    if related:
        title("Related Evaluations")
        rows = [[short(each["ID"], verbose), each.get("TriggeredBy"), each.get("Status")] for each in related]
        click.echo(table(["ID", "Triggered By", "Status"], rows))
    allocs = app.client().evaluations.allocations(found["ID"]) or []
    if allocs:
        title("Placed Allocations")
        click.echo(alloc_table(app, allocs, verbose))
    if allocs and verbose:
        _show_scores(app, allocs)


def _rest(app: App, found: Json, verbose: bool) -> str:
    """What has become of the allocations that found no room."""
    blocked_id = str(found["BlockedEval"])
    name = f'Evaluation "{short(blocked_id, verbose)}"'
    blocked = next((each for each in found.get("RelatedEvals") or [] if each.get("ID") == blocked_id), None)
    try:
        blocked = blocked or app.client().evaluations.read(blocked_id)
    except NotFoundError:
        return f"{name}, which waited for room to place the rest, is no longer kept"
    if blocked.get("Status") == "blocked":
        return f"{name} waits for room to place the rest"
    why = blocked.get("StatusDescription")
    return f"{name}, which waited for room to place the rest, is {blocked.get('Status')}{f': {why}' if why else ''}"


def _show_scores(app: App, allocs: list[Json]) -> None:
    """Of each allocation, the nodes that were compared for it."""
    title("Placement Scores")
    for stub in allocs[:SCORED_MAX]:
        alloc = app.client().allocations.read(stub["ID"])
        click.echo(clean(f'{alloc.get("Name")} on "{alloc.get("NodeName")}", allocation {stub["ID"]}:'))
        for line in (score_table(alloc.get("Metrics") or {}) or "no scores are kept").splitlines():
            click.echo(f"  {line}")
    if len(allocs) > SCORED_MAX:
        click.echo(f"and {len(allocs) - SCORED_MAX} more: `rove alloc status -verbose ALLOC` shows each")


@command()
@argument("eval_id", metavar="[EVALUATION]", required=False, default="")
@option("--filter", "filter_text", default="", help="Delete those that match this expression.")
@option("--yes", "-y", "yes", is_flag=True, help="Do not ask.")
def delete(eval_id: str, filter_text: str, yes: bool) -> None:
    """Delete an evaluation, or those that match a filter. The evaluation broker must be paused."""
    if bool(eval_id) == bool(filter_text):
        raise click.UsageError("Name either an evaluation or a filter.")
    app = current()
    ids = [find.evaluation(app, eval_id)["ID"]] if eval_id else []
    if not yes and not click.confirm("Delete? This cannot be undone.", default=False):
        click.echo("Nothing was deleted")
        sys.exit(1)
    reply = app.client().evaluations.delete(ids, filter_text=filter_text) or {}
    count = reply.get("Count", len(ids))
    click.echo(f"Deleted {count} evaluation{'' if count == 1 else 's'}")
