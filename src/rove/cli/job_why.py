"""`rove job why`: one paragraph on why a job is not as it was asked for."""

from __future__ import annotations

from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, switch
from rove.cli.explain import reasons
from rove.cli.output import emit, short, stamp
from rove.errors import NotFoundError

Json = dict[str, Any]

WIDTH = 100


@command()
@argument("job_id", metavar="JOB")
@forms
@switch("--verbose", "Print whole ids and scores, of an agent whose API has no such paragraph.")
def why(job_id: str, as_json: bool, template: str | None, verbose: bool) -> None:
    """Say in a paragraph why a job's count is not met, or that it is."""
    import textwrap

    app = current()
    answer = _answer(app, find.job(app, job_id)["ID"], verbose)
    if emit(answer, as_json, template):
        return
    click.echo(textwrap.fill(str(answer["Why"]), WIDTH, break_long_words=False, break_on_hyphens=False))


def _answer(app: App, job_id: str, verbose: bool) -> Json:
    """What the API says; of an agent that does not explain jobs, such as Nomad's, the same made here."""
    jobs = app.client().jobs
    try:
        answer: Json = jobs.why(job_id)
        if answer.get("Why"):
            return answer
    except NotFoundError:
        pass
    job = jobs.read(job_id)
    sentences = explain(
        job,
        jobs.allocations(job["ID"]) or [],
        jobs.evaluations(job["ID"]) or [],
        jobs.deployment(job["ID"]),
        verbose=verbose,
    )
    return {"JobID": job["ID"], "Why": " ".join(sentences)}


def explain(
    job: Json, allocs: list[Json], evaluations: list[Json], deployment: Json | None, *, verbose: bool = False
) -> list[str]:
    """Sentences on how far a job is from what it asks for, and what stands between."""
    name = f'Job "{job["ID"]}"'
    if job.get("Stop"):
        return [f"{name} is stopped, so nothing of it should run."]
    if (job.get("Periodic") and not job.get("ParentID")) or (job.get("ParameterizedJob") and not job.get("Dispatched")):
        return [f"{name} only launches other jobs; it has no allocations of its own."]
    if job.get("Type") in ("system", "sysbatch"):
        return [*_system(name, job, allocs), *_placement(evaluations, verbose)]
    sentences: list[str] = []
    for group in job.get("TaskGroups") or []:
        sentences += _group(job, group, allocs)
    if all(_is_met(job, group, allocs) for group in job.get("TaskGroups") or []):
        return [f"{name} is as it was asked for.", *sentences, *_rollout(deployment, verbose)]
    return [f"{name} is not yet as it was asked for.", *sentences, *_placement(evaluations, verbose),
            *_later(evaluations), *_rollout(deployment, verbose)]  # fmt: skip


def _of_group(group: Json, allocs: list[Json]) -> list[Json]:
    return [alloc for alloc in allocs if alloc.get("TaskGroup") == group["Name"]]


def _counts(job: Json, group: Json, allocs: list[Json]) -> tuple[int, int]:
    """How many run (or, for batch jobs, have completed too), and how many are wanted."""
    good = ("running", "complete") if job.get("Type") == "batch" else ("running",)
    mine = [
        alloc
        for alloc in _of_group(group, allocs)
        if alloc.get("ClientStatus") in good and (alloc.get("DesiredStatus") == "run" or job.get("Type") == "batch")
    ]
    return len(mine), int(group.get("Count") or 0)


def _is_met(job: Json, group: Json, allocs: list[Json]) -> bool:
    have, want = _counts(job, group, allocs)
    return have >= want


def _group(job: Json, group: Json, allocs: list[Json]) -> list[str]:
    have, want = _counts(job, group, allocs)
    what = "have run or run" if job.get("Type") == "batch" else "run"
    lines = [f'Of group "{group["Name"]}", {have} of {want} allocations {what}.']
    if have >= want:
        return lines
    mine = _of_group(group, allocs)
    pending = [a for a in mine if a.get("ClientStatus") == "pending" and a.get("DesiredStatus") == "run"]
    failed = [a for a in mine if a.get("ClientStatus") == "failed"]
    lost = [a for a in mine if a.get("ClientStatus") in ("lost", "unknown")]
    if pending:
        lines.append(f"{_many(len(pending))} starting ({_last_event(pending[0])}).")
    if failed:
        newest = max(failed, key=lambda a: int(a.get("ModifyTime") or 0))
        many = "One has" if len(failed) == 1 else f"{len(failed)} have"
        lines.append(f"{many} failed; the newest, {short(newest['ID'])}: {_last_event(newest)}.")
    if lost:
        lines.append(f"{_many(len(lost))} lost with the node.")
    return lines


def _many(count: int) -> str:
    return "One is" if count == 1 else f"{count} are"


def _last_event(alloc: Json) -> str:
    events = [
        event for state in (alloc.get("TaskStates") or {}).values() for event in (state or {}).get("Events") or []
    ]
    if not events:
        return str(alloc.get("ClientDescription") or "nothing is known of its tasks yet")
    event = max(events, key=lambda event: int(event.get("Time") or 0))
    text = " ".join(str(event.get("DisplayMessage") or event.get("Message") or "").split())
    return f"{event.get('Type')}: {text}" if text else str(event.get("Type"))


def _placement(evaluations: list[Json], verbose: bool) -> list[str]:
    failing = [e for e in evaluations if e.get("FailedTGAllocs")]
    if not failing:
        waiting = [e for e in evaluations if e.get("Status") == "pending"]
        return ["The scheduler has yet to look at it."] if waiting and not failing else []
    newest = max(failing, key=lambda e: int(e.get("CreateIndex") or 0))
    sentences = []
    for group, metric in sorted(newest["FailedTGAllocs"].items()):
        missing = int(metric.get("CoalescedFailures") or 0) + 1
        looked = int(metric.get("NodesEvaluated") or 0)
        nodes = "no node" if not looked else "1 node" if looked == 1 else f"{looked} nodes"
        found = "; ".join(reasons(metric))
        sentences.append(f'For {missing} of group "{group}" no place was found on {nodes} looked at: {found}.')
        if verbose:
            sentences += [
                f"The score of node {entry.get('NodeID')} was {float(entry.get('NormScore') or 0):.3f}."
                for entry in metric.get("ScoreMetaData") or []
            ]
    if any(e.get("Status") == "blocked" for e in evaluations):
        sentences.append("The rest is placed by itself as soon as a fitting node or room appears.")
    return sentences


def _later(evaluations: list[Json]) -> list[str]:
    times = sorted(
        stamp(e.get("WaitUntil"))
        for e in evaluations
        if e.get("Status") == "pending" and stamp(e.get("WaitUntil")) != "-"
    )
    return [f"The next try is at {times[0]}."] if times else []


def _rollout(deployment: Json | None, verbose: bool) -> list[str]:
    if not deployment or deployment.get("Status") in ("successful", "cancelled"):
        return []
    text = str(deployment.get("StatusDescription") or deployment.get("Status"))
    return [f'Deployment "{short(deployment["ID"], verbose)}" is {deployment["Status"]}: {text.rstrip(".")}.']


def _system(name: str, job: Json, allocs: list[Json]) -> list[str]:
    running = [alloc for alloc in allocs if alloc.get("ClientStatus") == "running"]
    nodes = "1 node" if len(running) == 1 else f"{len(running)} nodes"
    return [f"{name} runs once on every fitting node: now on {nodes}."]
