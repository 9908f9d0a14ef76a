"""`rove alloc`: status, stop, restart, signal, checks."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.explain import filters, score_table
from rove.cli.output import ago, block, clean, emit, moment, short, size, stamp, table, title
from rove.errors import BadRequestError, RoveError

Json = dict[str, Any]

EVENTS_SHOWN = 10
_HEALTH: dict[Any, str] = {True: "healthy", False: "unhealthy"}


@command()
@argument("alloc_id", metavar="[ALLOC]", required=False, default="")
@forms
@switch("--short", "Only the head and the tasks' states.", "brief")
@switch("--stats", "Show what the tasks use now.")
@switch("--verbose", "Print whole ids, times and scores.")
def status(alloc_id: str, as_json: bool, template: str | None, brief: bool, stats: bool, verbose: bool) -> None:
    """Show an allocation. ALLOC may be the beginning of an id."""
    app = current()
    if not alloc_id:
        found = app.client().allocations.list() or []
        if not (as_json or template):
            raise click.UsageError("Which allocation? `rove job status JOB` lists a job's allocations.")
        emit(found, as_json, template)
        return
    stub = find.alloc(app, alloc_id)
    alloc = app.client().allocations.read(stub["ID"])
    if emit(alloc, as_json, template):
        return
    click.echo(block(_head(app, alloc, verbose)))
    if brief:
        _show_short_tasks(alloc)
        return
    _show_addresses(alloc)
    usage = _usage(app, alloc) if stats or alloc.get("ClientStatus") == "running" else {}
    for name in _tasks_in_order(alloc):
        _show_task(alloc, name, usage.get(name) or {})
    if verbose:
        metric: Json = alloc.get("Metrics") or {}
        title("Placement Metrics")
        for line in filters(metric):
            click.echo(f"  * {clean(line)}")
        click.echo(score_table(metric) or "no scores are kept")


def _head(app: App, alloc: Json, verbose: bool) -> list[tuple[str, Any]]:
    job: Json = alloc.get("Job") or {}
    now = app.now()

    def when(unix_ns: Any) -> str:
        return moment(unix_ns) if verbose else ago(unix_ns, now)

    pairs: list[tuple[str, Any]] = [
        ("ID", alloc["ID"]),
        ("Eval ID", short(alloc.get("EvalID"), verbose)),
        ("Name", alloc.get("Name")),
        ("Node ID", short(alloc.get("NodeID"), verbose)),
        ("Node Name", alloc.get("NodeName")),
        ("Job ID", alloc.get("JobID")),
        ("Job Version", job.get("Version", 0)),
        ("Client Status", alloc.get("ClientStatus")),
        ("Client Description", alloc.get("ClientDescription")),
        ("Desired Status", alloc.get("DesiredStatus")),
        ("Desired Description", alloc.get("DesiredDescription")),
        ("Created", when(alloc.get("CreateTime"))),
        ("Modified", when(alloc.get("ModifyTime"))),
    ]
    if alloc.get("DeploymentID"):
        health: Json = alloc.get("DeploymentStatus") or {}
        healthy = _HEALTH.get(health.get("Healthy"), "unset")
        pairs += [("Deployment ID", short(alloc["DeploymentID"], verbose)), ("Deployment Health", healthy)]
        if health.get("Canary"):
            pairs.append(("Canary", True))
    for label, key in (
        ("Replacement Alloc ID", "NextAllocation"),
        ("Previous Alloc ID", "PreviousAllocation"),
        ("Preempted By", "PreemptedByAllocation"),
        ("Follow-up Eval ID", "FollowupEvalID"),
    ):
        if alloc.get(key):
            pairs.append((label, short(alloc[key], verbose)))
    attempts = (alloc.get("RescheduleTracker") or {}).get("Events") or []
    if attempts:
        pairs.append(("Reschedule Attempts", len(attempts)))
    return pairs


def _group_of(alloc: Json) -> Json:
    groups = (alloc.get("Job") or {}).get("TaskGroups") or []
    found: Json = next((group for group in groups if group["Name"] == alloc.get("TaskGroup")), {})
    return found


def task_names(alloc: Json) -> list[str]:
    """The tasks in the order of the job file."""
    return [task["Name"] for task in _group_of(alloc).get("Tasks") or []]


def _tasks_in_order(alloc: Json) -> list[str]:
    states: Json = alloc.get("TaskStates") or {}
    names = task_names(alloc)
    return names + sorted(name for name in states if name not in names)


def _show_short_tasks(alloc: Json) -> None:
    states: dict[str, Json] = alloc.get("TaskStates") or {}
    title("Tasks")
    rows = []
    for name in _tasks_in_order(alloc):
        state = states.get(name) or {}
        events = state.get("Events") or [{}]
        rows.append([name, state.get("State", "pending"), events[-1].get("Type"), _event_time(events[-1])])
    click.echo(table(["Name", "State", "Last Event", "Time"], rows))


def _show_addresses(alloc: Json) -> None:
    shared: Json = (alloc.get("AllocatedResources") or {}).get("Shared") or {}
    networks = shared.get("Networks") or [{}]
    dynamic = {port["Label"] for network in networks for port in network.get("DynamicPorts") or []}
    rows = []
    for port in shared.get("Ports") or []:
        to = f" -> {port['To']}" if port.get("To") else ""
        host = port.get("HostIP") or ""
        host = f"[{host}]" if ":" in host else host
        rows.append([f"*{port['Label']}", "yes" if port["Label"] in dynamic else "no", f"{host}:{port['Value']}{to}"])
    if rows:
        mode = networks[0].get("Mode") if networks else ""
        title(f'Allocation Addresses (mode = "{mode}"):' if mode and mode != "host" else "Allocation Addresses:")
        click.echo(table(["Label", "Dynamic", "Address"], rows))


def _usage(app: App, alloc: Json) -> dict[str, Json]:
    """What each task uses now; nothing where the node cannot be asked."""
    if alloc.get("ClientStatus") != "running":
        return {}
    try:
        stats = app.client().allocations.stats(alloc["ID"]) or {}
    except RoveError:
        return {}
    return {name: (entry or {}).get("ResourceUsage") or {} for name, entry in (stats.get("Tasks") or {}).items()}


def _show_task(alloc: Json, name: str, usage: Json) -> None:
    state: Json = (alloc.get("TaskStates") or {}).get(name) or {}
    kind = ""
    for task in _group_of(alloc).get("Tasks") or []:
        if task["Name"] == name and task.get("Lifecycle"):
            sidecar = " sidecar" if task["Lifecycle"].get("Sidecar") else ""
            kind = f" ({task['Lifecycle'].get('Hook')}{sidecar})"
    title(f'Task "{name}"{kind} is "{state.get("State", "pending")}"')
    click.echo("Task Resources:")
    click.echo(_resources(alloc, name, usage))
    click.echo("\nTask Events:")
    click.echo(
        block(
            [
                ("Started At", _or_na(state.get("StartedAt"))),
                ("Finished At", _or_na(state.get("FinishedAt"))),
                ("Total Restarts", state.get("Restarts", 0)),
                ("Last Restart", _or_na(state.get("LastRestart"))),
            ]
        )
    )
    events = (state.get("Events") or [])[-EVENTS_SHOWN:][::-1]
    click.echo("\nRecent Events:")
    rows = [[_event_time(event), event.get("Type"), _event_text(event)] for event in events]
    click.echo(table(["Time", "Type", "Description"], rows) if rows else "none")


def _or_na(text: Any) -> str:
    when = stamp(text)
    return "N/A" if when == "-" else when


def _event_time(event: Json) -> str:
    return moment(event.get("Time"))


def _event_text(event: Json) -> str:
    text = str(event.get("DisplayMessage") or event.get("Message") or "")
    return " ".join(text.split()) or "-"


def _resources(alloc: Json, name: str, usage: Json) -> str:
    allocated: Json = alloc.get("AllocatedResources") or {}
    task: Json = (allocated.get("Tasks") or {}).get(name) or (alloc.get("TaskResources") or {}).get(name) or {}
    cpu = (task.get("Cpu") or {}).get("CpuShares", task.get("CPU", 0))
    memory: Json = task.get("Memory") or {}
    limit = int(memory.get("MemoryMB", task.get("MemoryMB", 0)) or 0)
    disk = (allocated.get("Shared") or {}).get("DiskMB", 0)
    used_cpu = (usage.get("CpuStats") or {}).get("TotalTicks")
    memory_stats: Json = usage.get("MemoryStats") or {}
    used_memory = memory_stats.get("RSS") or memory_stats.get("Usage")
    cpu_text = f"{cpu} MHz" if used_cpu is None else f"{float(used_cpu):.0f}/{cpu} MHz"
    memory_text = f"{limit} MiB" if not used_memory else f"{size(used_memory)}/{limit} MiB"
    header, row = ["CPU", "Memory", "Disk"], [cpu_text, memory_text, f"{disk} MiB"]
    if memory.get("MemoryMaxMB"):
        header, row = [*header, "Memory Max"], [*row, f"{memory['MemoryMaxMB']} MiB"]
    return table(header, [row])


@command()
@argument("alloc_id", metavar="ALLOC")
@switch("--detach", "Return at once.")
@switch("--no-shutdown-delay", "Do not wait for the group's shutdown delay.")
@switch("--verbose", "Print whole ids.")
def stop(alloc_id: str, detach: bool, no_shutdown_delay: bool, verbose: bool) -> None:
    """Stop an allocation. Where the job still asks for it, another is placed."""
    app = current()
    stub = find.alloc(app, alloc_id)
    reply = app.client().allocations.stop(stub["ID"], no_shutdown_delay=no_shutdown_delay)
    eval_id = str(reply.get("EvalID") or "")
    if detach or not eval_id:
        click.echo(eval_id)
        return
    from rove.cli.monitor_eval import follow

    sys.exit(follow(app, eval_id, verbose))


@command()
@argument("alloc_id", metavar="ALLOC")
@argument("task_name", metavar="[TASK]", required=False, default="")
@option("--task", "task", default="", help="Restart this task only.")
@switch("--all-tasks", "Restart every task, finished ones too.")
@switch("--verbose", "Print whole ids.")
def restart(alloc_id: str, task_name: str, task: str, all_tasks: bool, verbose: bool) -> None:
    """Restart the running tasks of an allocation in place, or one of them."""
    app = current()
    chosen = task or task_name
    if chosen and all_tasks:
        raise click.UsageError("-task and -all-tasks cannot be used together.")
    stub = find.alloc(app, alloc_id)
    if chosen:
        check_task(app, stub, chosen)
    app.client().allocations.restart(stub["ID"], task=chosen, every_task=all_tasks)
    which = f'Task "{chosen}" of allocation' if chosen else "Allocation"
    click.echo(f'{which} "{short(stub["ID"], verbose)}" restarts')


@command()
@argument("alloc_id", metavar="ALLOC")
@argument("task_name", metavar="[TASK]", required=False, default="")
@option("-s", "--signal", "signal", default="SIGKILL", help="The signal, SIGKILL unless given.")
@option("--task", "task", default="", help="Send it to this task only.")
@switch("--verbose", "Print whole ids.")
def signal(alloc_id: str, task_name: str, signal: str, task: str, verbose: bool) -> None:
    """Send a signal to all tasks of an allocation, or to one."""
    app = current()
    stub = find.alloc(app, alloc_id)
    chosen = task or task_name
    if chosen:
        check_task(app, stub, chosen)
    app.client().allocations.signal(stub["ID"], signal, task=chosen)


def check_task(app: App, stub: Json, task: str) -> None:
    """Raise BadRequestError unless the allocation has this task."""
    names = task_names(app.client().allocations.read(stub["ID"]))
    if names and task not in names:
        raise BadRequestError(
            "alloc.no_such_task", f'allocation "{short(stub["ID"])}" has no task "{task}"',
            f"its tasks: {', '.join(names)}",
        )  # fmt: skip


@command()
@argument("alloc_id", metavar="ALLOC")
@forms
@switch("--verbose", "Print whole ids.")
def checks(alloc_id: str, as_json: bool, template: str | None, verbose: bool) -> None:
    """Show the latest results of an allocation's checks."""
    app = current()
    stub = find.alloc(app, alloc_id)
    found: dict[str, Json] = app.client().allocations.checks(stub["ID"]) or {}
    if emit(found, as_json, template):
        return
    rows = [
        [check.get("Service"), check.get("Check"), check.get("Mode"), check.get("Status"), _one_line(check)]
        for check in sorted(found.values(), key=lambda check: (check.get("Service", ""), check.get("Check", "")))
    ]
    click.echo(table(["Service", "Check", "Mode", "Status", "Output"], rows) if rows else "No checks")


def _one_line(check: Json) -> str:
    words = str(check.get("Output") or "").split()
    code = str(check.get("StatusCode") or "")
    return " ".join(words if not code or f"HTTP {code}" in " ".join(words[:2]) else [code, *words])
