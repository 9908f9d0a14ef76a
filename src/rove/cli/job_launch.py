"""`rove job` and runs: dispatch, periodic force, scale, scaling-events, restart."""

from __future__ import annotations

import sys
from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.output import ago, block, emit, short, table
from rove.errors import BadRequestError

Json = dict[str, Any]

MAX_PAYLOAD = 16 * 1024
POLL_S = 0.5


@command()
@argument("job_id", metavar="JOB")
@argument("payload", metavar="[FILE]", required=False, default="")
@option("--meta", "meta", multiple=True, metavar="KEY=VALUE", help="Meta of the run; repeatable.")
@option("--id-prefix-template", "prefix", default="", help="Beginning of the run's name.")
@option("--idempotency-token", "token", default="", help="A second dispatch with this token starts nothing.")
@option("--priority", type=click.IntRange(1, 32766), help="Priority of the run.")
@switch("--detach", "Return at once.")
@switch("--wait", "Wait until the run has ended.")
@switch("--verbose", "Print whole ids.")
def dispatch(
    job_id: str, payload: str, meta: tuple[str, ...], prefix: str, token: str, priority: int | None, detach: bool,
    wait: bool, verbose: bool,
) -> None:  # fmt: skip
    """Start a run of a parameterized JOB with the payload of FILE (- for standard input)."""
    app = current()
    stub = find.job(app, job_id)
    reply = app.client().jobs.dispatch(
        stub["ID"],
        payload=_payload(app, payload),
        meta=dict(_pair(text) for text in meta),
        id_prefix=prefix,
        priority=priority or 0,
        idempotency_token=token,
    )
    eval_id = str(reply.get("EvalID") or "")
    pairs = [("Dispatched Job ID", reply.get("DispatchedJobID"))]
    if eval_id:
        pairs.append(("Evaluation ID", short(eval_id, verbose)))
    click.echo(block(pairs))
    if detach or not eval_id:
        return
    from rove.cli.monitor_eval import follow

    click.echo("")
    code = follow(app, eval_id, verbose)
    if wait and code == 0:
        code = _until_dead(app, str(reply["DispatchedJobID"]))
    sys.exit(code)


def _payload(app: App, path: str) -> bytes:
    if not path:
        return b""
    if path == "-":
        buffer = getattr(app.stdin, "buffer", None)
        data = buffer.read(MAX_PAYLOAD + 1) if buffer else app.stdin.read(MAX_PAYLOAD + 1).encode()
    else:
        with open(path, "rb") as opened:
            data = opened.read(MAX_PAYLOAD + 1)
    if len(data) > MAX_PAYLOAD:
        raise BadRequestError(
            "job.payload_too_large", "the payload was not sent", f"it is larger than {MAX_PAYLOAD // 1024} KiB",
            "send the address of the data instead, and let the task fetch it",
        )  # fmt: skip
    return bytes(data)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadRequestError("cli.bad_meta", f'-meta "{text}" was not understood', fix="write -meta key=value")
    return name, value


def _until_dead(app: App, job_id: str) -> int:
    """Wait until a run has ended; 1 when any of its allocations failed."""
    while app.client().jobs.read(job_id)["Status"] != "dead":
        app.sleep(POLL_S)
    allocs = app.client().jobs.allocations(job_id) or []
    failed = [alloc for alloc in allocs if alloc.get("ClientStatus") in ("failed", "lost")]
    click.echo(f'Job "{job_id}" has ended' + (f"; {len(failed)} of its allocations failed" if failed else ""))
    return 1 if failed else 0


@command()
@argument("job_id", metavar="JOB")
@switch("--detach", "Return at once.")
@switch("--verbose", "Print whole ids.")
def force(job_id: str, detach: bool, verbose: bool) -> None:
    """Launch a periodic job now."""
    app = current()
    stub = find.job(app, job_id)
    if not stub.get("Periodic"):
        raise BadRequestError("job.not_periodic", f'job "{stub["ID"]}" was not launched', "it is not periodic")
    reply = app.client().jobs.force_periodic(stub["ID"])
    eval_id = str(reply.get("EvalID") or "")
    if detach or not eval_id:
        click.echo(f"Evaluation ID: {eval_id}")
        return
    from rove.cli.monitor_eval import follow

    sys.exit(follow(app, eval_id, verbose))


@command()
@argument("job_id", metavar="JOB")
@argument("words", metavar="[GROUP] COUNT", nargs=-1, required=True)
@option("--check-index", type=int, help="Only if the job's modify index is this.")
@switch("--detach", "Return at once.")
@switch("--verbose", "Print whole ids.")
def scale(job_id: str, words: tuple[str, ...], check_index: int | None, detach: bool, verbose: bool) -> None:
    """Change the count of a GROUP; the group may be left out when the job has one only."""
    app = current()
    if len(words) > 2 or not words[-1].isdecimal():
        raise click.UsageError("Expected JOB [GROUP] COUNT, with a COUNT of 0 or more.")
    stub = find.job(app, job_id)
    group = words[0] if len(words) == 2 else _only_group(app, stub["ID"])
    reply = app.client().jobs.scale(
        stub["ID"], group, int(words[-1]), message="submitted with the rove command", check_index=check_index
    )  # fmt: skip
    eval_id = str(reply.get("EvalID") or "")
    if detach or not eval_id:
        click.echo(f"Evaluation ID: {eval_id}" if eval_id else "The count was changed")
        return
    from rove.cli.monitor_eval import follow

    sys.exit(follow(app, eval_id, verbose))


def _only_group(app: App, job_id: str) -> str:
    groups = [group["Name"] for group in app.client().jobs.read(job_id).get("TaskGroups") or []]
    if len(groups) != 1:
        raise BadRequestError(
            "job.which_group", f'job "{job_id}" has {len(groups)} groups', ", ".join(groups),
            f"name one: `rove job scale {job_id} GROUP COUNT`",
        )  # fmt: skip
    return str(groups[0])


@command("scaling-events")
@argument("job_id", metavar="JOB")
@forms
@switch("--verbose", "Print whole ids.")
def scaling_events(job_id: str, as_json: bool, template: str | None, verbose: bool) -> None:
    """List the scaling events of a job."""
    app = current()
    stub = find.job(app, job_id)
    found = app.client().jobs.scale_status(stub["ID"])
    groups: dict[str, Json] = found.get("TaskGroups") or {}
    if emit({name: group.get("Events") for name, group in groups.items()}, as_json, template):
        return
    events = [(name, event) for name, group in groups.items() for event in group.get("Events") or []]
    events.sort(key=lambda pair: -int(pair[1].get("Time") or 0))
    rows = [
        [name, event.get("Count"), event.get("PreviousCount"), bool(event.get("Error")), event.get("Message"),
         short(event.get("EvalID"), verbose), ago(event.get("Time"), app.now())]
        for name, event in events
    ]  # fmt: skip
    header = ["Task Group", "Count", "PrevCount", "Error", "Message", "Eval ID", "Date"]
    click.echo(table(header, rows) if rows else "No scaling events")


@command()
@argument("job_id", metavar="JOB")
@option("--group", "groups", multiple=True, help="This group only; repeatable.")
@option("--task", "task", default="", help="This task only.")
@switch("--all-tasks", "Restart every task, finished ones too.")
@option("--batch-size", default="1", help="How many at once, a number or a share such as 25%.")
@option("--batch-wait", default="0s", help="How long to wait between two batches.")
@switch("--reschedule", "Stop the allocations and have them placed anew, instead of restarting in place.")
@option("--on-error", type=click.Choice(["ask", "fail"]), default="fail", help="What to do when one fails.")
@option("--yes", "-y", "yes", is_flag=True, help="Do not ask.")
@switch("--verbose", "Print whole ids.")
def restart(
    job_id: str, groups: tuple[str, ...], task: str, all_tasks: bool, batch_size: str, batch_wait: str,
    reschedule: bool, on_error: str, yes: bool, verbose: bool,
) -> None:  # fmt: skip
    """Restart a job's running allocations, one batch after another."""
    app = current()
    stub = find.job(app, job_id)
    found = app.client().jobs.allocations(stub["ID"]) or []
    chosen = [
        alloc
        for alloc in found
        if alloc.get("ClientStatus") == "running" and (not groups or alloc.get("TaskGroup") in groups)
    ]
    if not chosen:
        click.echo("No running allocations")
        return
    from rove.agent.config_decode import seconds_of

    pause_s = 0.0 if batch_wait == "ask" else seconds_of(batch_wait)
    many = _batch(batch_size, len(chosen))
    for start in range(0, len(chosen), many):
        if start and pause_s:
            app.sleep(pause_s)
        for alloc in chosen[start : start + many]:
            if reschedule:
                app.client().allocations.stop(alloc["ID"])
            else:
                app.client().allocations.restart(alloc["ID"], task=task, every_task=all_tasks)
            click.echo(f'Allocation "{short(alloc["ID"], verbose)}" {"moves" if reschedule else "restarts"}')


def _batch(text: str, total: int) -> int:
    share = text.endswith("%")
    digits = text.removesuffix("%")
    if not digits.isdecimal() or int(digits) < 1 or (share and int(digits) > 100):
        raise click.UsageError(f"-batch-size {text!r} is neither a number nor a share such as 25%.")
    return max(1, total * int(digits) // 100) if share else int(digits)
