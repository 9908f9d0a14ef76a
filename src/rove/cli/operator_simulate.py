"""`rove operator simulate`: what would become of a cluster, without touching it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rove.cli.app import App, current
from rove.cli.command import argument, command, option, switch
from rove.cli.jobfile import Given, jobfile_options, read_job, warn
from rove.cli.output import clean, table, title
from rove.errors import BadRequestError

if TYPE_CHECKING:
    from rove.simulate import Cluster, ClusterDump, Missing, Outcome

Json = dict[str, Any]
EXIT_MISSING = 2
"""Something is missing at the end."""
LISTED_MAX = 10


@command()
@argument("files", metavar="[FILE...]", nargs=-1)
@jobfile_options
@option("--snapshot", metavar="FILE", help="Begin with this file instead of the cluster at the address.")
@option("--empty", is_flag=True, help="Begin with nothing.")
@option("--save", metavar="FILE", help="Write what is begun with to a file, for -snapshot and for tests.")
@option("--add-node", multiple=True, metavar="SPEC",
        help="Nodes that join: name=n9,cpu=8000,memory=16384,class=big,meta.rack=r2,count=5.")  # fmt: skip
@option("--remove-node", multiple=True, metavar="NODE", help="A node that leaves for good.")
@option("--fail-node", multiple=True, metavar="NODE", help="A node that is found to be down.")
@option("--drain-node", multiple=True, metavar="NODE", help="A node that is drained.")
@option("--seed", type=int, default=0, help="Decides ties; equal seeds give equal placements.")
@switch("--json-output", "Print JSON.")
def simulate(
    files: tuple[str, ...], as_json: bool, variables: tuple[str, ...], var_files: tuple[str, ...], strict: str,
    snapshot: str | None, empty: bool, save: str | None, add_node: tuple[str, ...], remove_node: tuple[str, ...],
    fail_node: tuple[str, ...], drain_node: tuple[str, ...], seed: int, json_output: bool,
) -> None:  # fmt: skip
    """Say where everything would run if nodes came or went and jobs were submitted. Nothing is changed.

    Begins with the cluster at the address, with a file, or with nothing. Nodes are removed, failed and drained
    first, then others join, then the job FILEs are submitted in order. Ends with 2 if at the end any job misses
    something of its count, whether a step was about it or not.
    With -json and without job FILEs, JSON is printed, as with -json-output.
    """
    from rove.simulate import Cluster, nodes_from_text

    app = current()
    given = Given(as_json and bool(files), variables, var_files, strict != "false")
    jobs = [read_job(app, path, given) for path in files]
    joining = [node for text in add_node for node in nodes_from_text(text)]
    dump = _beginning(app, snapshot, empty)
    with Cluster(dump, seed) as cluster:
        if save:
            _save(save, cluster.to_snapshot())
        before = _by_node(cluster)
        missed = {_place(each) for each in cluster.missing()}
        steps: list[tuple[str, Outcome]] = []
        steps += [(f"remove node {name}", cluster.remove_node(name)) for name in remove_node]
        steps += [(f"fail node {name}", cluster.fail_node(name)) for name in fail_node]
        steps += [(f"drain node {name}", cluster.drain_node(name)) for name in drain_node]
        if joining:
            steps.append((f"add {_count(len(joining), 'node')}", cluster.add_node(*joining)))
        for job in jobs:
            warn(job.warnings)
            api = {**job.api, "Namespace": job.api.get("Namespace") or app.settings().namespace or "default"}
            steps.append((f"submit job {api.get('ID')}", cluster.submit(api)))
        after = _by_node(cluster)
        missing = [
            {**_missing(each), "MissingBefore": _place(each) in missed} for each in cluster.missing()
        ]  # fmt: skip
    if json_output or (as_json and not files):
        data = {
            "Index": dump.index, "Notes": _notes(dump), "Before": before, "After": after,
            "Steps": [{"Step": name, **_outcome(outcome)} for name, outcome in steps], "Missing": missing,
        }  # fmt: skip
        click.echo(json.dumps(data, indent=4, ensure_ascii=False, default=str))
    else:
        _show(dump, before, after, steps, missing)
    if missing:
        sys.exit(EXIT_MISSING)


def _beginning(app: App, snapshot: str | None, empty: bool) -> ClusterDump:
    from rove.simulate import ClusterDump, read_dump

    if snapshot and empty:
        raise BadRequestError("cli.flags", "nothing was simulated", "-snapshot and -empty exclude each other")
    if empty:
        return ClusterDump()
    return read_dump(Path(snapshot)) if snapshot else gathered(app)


def gathered(app: App) -> ClusterDump:
    """The cluster at the address, read over its API: one call a node and a job, and a few lists."""
    from rove.simulate.snapshot import dump_of

    client = app.client()
    nodes = [client.nodes.read(str(stub["ID"])) for stub in client.nodes.list() or []]
    jobs: list[Json] = []
    for stub in client.jobs.list(namespace="*") or []:
        found = client.jobs.versions(str(stub["ID"]), namespace=str(stub.get("Namespace") or "default")) or {}
        jobs += found.get("Versions") or []
    deployments: list[Json] = client.deployments.list(namespace="*") or []
    allocs: list[Json] = client.allocations.list(resources=True, namespace="*") or []
    evaluations: list[Json] = client.evaluations.list(namespace="*") or []
    nouns = (*nodes, *jobs, *allocs, *evaluations, *deployments)
    return dump_of(
        {
            "TakenAt": app.now(),
            "Index": max((int(each.get("ModifyIndex") or 0) for each in nouns), default=1),
            "Nodes": nodes,
            "Jobs": jobs,
            "Allocations": with_deployments(allocs, deployments),
            "Evaluations": [each for each in evaluations if each.get("Status") in ("pending", "blocked")],
            "Deployments": deployments,
            "Namespaces": client.namespaces.list() or [],
            "NodePools": client.pools.list() or [],
            "SchedulerConfiguration": (client.operator.scheduler() or {}).get("SchedulerConfig") or {},
        },
        f"what {app.settings().address} answered",
    )  # fmt: skip


def with_deployments(allocs: list[Json], deployments: list[Json]) -> list[Json]:
    """The allocations with the deployment that they belong to, which lists leave out."""
    newest: dict[tuple[Any, ...], Json] = {}
    for deployment in deployments:
        key = (deployment.get("Namespace"), deployment.get("JobID"), deployment.get("JobVersion"))
        if key not in newest or int(newest[key].get("CreateIndex") or 0) < int(deployment.get("CreateIndex") or 0):
            newest[key] = deployment
    found = []
    for alloc in allocs:
        deployment = newest.get((alloc.get("Namespace"), alloc.get("JobID"), alloc.get("JobVersion"))) or {}
        belongs = alloc.get("TaskGroup") in (deployment.get("TaskGroups") or {})
        own = alloc.get("DeploymentID") or (deployment.get("ID") if belongs else "")
        found.append({**alloc, "DeploymentID": own, "TaskStates": None})
    return found


def _save(path: str, data: bytes) -> None:
    target = Path(path)
    try:
        with target.open("xb") as out:
            target.chmod(0o600)
            out.write(data)
    except FileExistsError:
        raise BadRequestError("cli.file_exists", f"{path} was not written", "there is such a file already") from None
    except OSError as error:
        raise BadRequestError("cli.unwritable", f"{path} was not written", str(error.strerror).lower()) from None
    click.echo(f"Wrote {path}, {len(data)} bytes", err=True)


def _by_node(cluster: Cluster) -> dict[str, dict[str, int]]:
    """Node name -> job id -> live allocations; nodes that hold nothing too."""
    found: dict[str, dict[str, int]] = {node.name or node.id: {} for node in cluster.nodes()}
    for each in cluster.placements():
        held = found.setdefault(each.node_name, {})
        held[each.job_id] = held.get(each.job_id, 0) + 1
    return found


def _notes(dump: ClusterDump) -> list[str]:
    """In what the simulation differs from what it begins with."""
    if not dump.scheduler_configuration.pause_eval_broker:
        return []
    return ["The scheduler there is paused (pause_eval_broker). Here it is not: what waits for it is decided first."]


def _outcome(outcome: Outcome) -> Json:
    return {
        "JobID": outcome.job_id,
        "Placed": [_placed(each) for each in outcome.placed],
        "Stopped": [_placed(each) for each in outcome.stopped],
        "Preempted": [_placed(each) for each in outcome.preempted],
        "ByNode": outcome.by_node,
        "Missing": [_missing(each) for each in outcome.missing],
        "Why": outcome.why,
    }


def _missing(each: Missing) -> Json:
    return {
        "Namespace": each.namespace, "JobID": each.job_id, "Group": each.group, "Count": each.count, "Why": each.why,
    }  # fmt: skip


def _place(each: Missing) -> tuple[str, str, str]:
    return each.namespace, each.job_id, each.group


def _placed(each: Any) -> Json:
    names = {
        "alloc_id": "ID", "name": "Name", "namespace": "Namespace", "job_id": "JobID", "group": "TaskGroup",
        "node_id": "NodeID", "node_name": "NodeName", "score": "Score", "scores": "Scores",
    }  # fmt: skip
    return {names[key]: value for key, value in asdict(each).items()}


def _show(
    dump: ClusterDump, before: Json, after: Json, steps: list[tuple[str, Outcome]], missing: list[Json]
) -> None:  # fmt: skip
    live = sum(sum(held.values()) for held in before.values())
    jobs = len({(job.namespace, job.id) for job in dump.jobs})
    click.echo(f"Begins with {_count(len(before), 'node')}, {_count(jobs, 'job')}, {_count(live, 'live allocation')}.")
    for note in _notes(dump):
        click.echo(note)
    for name, outcome in steps:
        title(clean(name))
        for line in _lines(outcome):
            click.echo(f"  {clean(line)}")
    title("Allocations by node")
    rows = []
    for node in sorted({*before, *after}):
        was, now = before.get(node), after.get(node)
        rows.append([node, _total(was), _total(now), _jobs(now or {})])
    click.echo(table(["Node", "Before", "After", "Jobs after"], rows))
    if missing:
        title("Missing at the end")
    for each in missing:
        already = ", as before the first step" if each["MissingBefore"] else ""
        lost = f'job "{each["JobID"]}", group "{each["Group"]}": {_count(each["Count"], "allocation")}{already}'
        click.echo(clean(f"{lost}. {each['Why']}"))


def _lines(outcome: Outcome) -> list[str]:
    lines = []
    for verb, which in (("placed", outcome.placed), ("stopped", outcome.stopped), ("preempted", outcome.preempted)):
        if not which:
            continue
        lines.append(f"{_count(len(which), 'allocation')} {verb}:")
        lines += [
            f"  {each.name} on {each.node_name}" + (f", score {each.score:.3f}" if verb == "placed" else "")
            for each in which[:LISTED_MAX]
        ]
        if len(which) > LISTED_MAX:
            lines.append(f"  and {len(which) - LISTED_MAX} more")
    lines = lines or ["changes nothing"]
    many = sum(each.count for each in outcome.missing)
    return [*lines, f"{_count(many, 'allocation')} missing after it"] if many else lines


def _total(held: dict[str, int] | None) -> str:
    return "-" if held is None else str(sum(held.values()))


def _jobs(held: dict[str, int]) -> str:
    shown = [f"{job} {count}" for job, count in sorted(held.items(), key=lambda item: (-item[1], item[0]))]
    rest = len(shown) - 5
    return ", ".join(shown[:5]) + (f", and {rest} more" if rest > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
