"""`rove operator`: metrics, scheduler, snapshot, servers as voters, their health."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rove.cli.app import current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.output import block, emit, table
from rove.errors import BadRequestError

Json = dict[str, Any]

YES_NO = click.BOOL


@command()
@switch("--pretty", "Indent the JSON.")
@option("--format", "form", type=click.Choice(["json", "prometheus"]), default="json", help="json or prometheus.")
@switch("--json", "JSON (the default).", "as_json")
@option("-t", "template", metavar="TEMPLATE", help="Print through a Go template.")
def metrics(pretty: bool, form: str, as_json: bool, template: str | None) -> None:
    """Print the metrics of the agent at the address."""
    found = current().client().agent.metrics(prometheus=form == "prometheus")
    if form == "prometheus":
        click.echo(found, nl=not str(found).endswith("\n"))
    elif not emit(found, False, template):
        click.echo(json.dumps(found, indent=4 if pretty else None))


@command("get-config")
@forms
def get_config(as_json: bool, template: str | None) -> None:
    """Show how the scheduler is set."""
    found = current().client().operator.scheduler()
    if emit(found, as_json, template):
        return
    config: Json = found.get("SchedulerConfig") or {}
    preemption: Json = config.get("PreemptionConfig") or {}
    click.echo(
        block(
            [
                ("Scheduler Algorithm", config.get("SchedulerAlgorithm")),
                ("Memory Oversubscription", bool(config.get("MemoryOversubscriptionEnabled"))),
                ("Reject Job Registration", bool(config.get("RejectJobRegistration"))),
                ("Pause Eval Broker", bool(config.get("PauseEvalBroker"))),
                ("Preemption System Scheduler", bool(preemption.get("SystemSchedulerEnabled"))),
                ("Preemption Service Scheduler", bool(preemption.get("ServiceSchedulerEnabled"))),
                ("Preemption Batch Scheduler", bool(preemption.get("BatchSchedulerEnabled"))),
                ("Preemption SysBatch Scheduler", bool(preemption.get("SysBatchSchedulerEnabled"))),
                ("Modify Index", config.get("ModifyIndex")),
            ]
        )
    )


@command("set-config")
@option("--check-index", type=int, help="Only if the settings' modify index is this.")
@option("--scheduler-algorithm", type=click.Choice(["binpack", "spread"]), help="How nodes are filled.")
@option("--memory-oversubscription", type=YES_NO, help="Whether memory_max counts.")
@option("--reject-job-registration", type=YES_NO, help="Whether jobs are refused.")
@option("--pause-eval-broker", type=YES_NO, help="Whether scheduling stands still.")
@option("--preempt-system-scheduler", type=YES_NO, help="Whether system jobs may push others aside.")
@option("--preempt-service-scheduler", type=YES_NO, help="Whether service jobs may.")
@option("--preempt-batch-scheduler", type=YES_NO, help="Whether batch jobs may.")
@option("--preempt-sysbatch-scheduler", type=YES_NO, help="Whether sysbatch jobs may.")
@option("--node-limit-for-feasibility-checks", type=click.IntRange(0), help="Accepted for Nomad's sake.")
def set_config(check_index: int | None, **given: Any) -> None:
    """Set the scheduler. What is not named stays as it is."""
    app = current()
    found = app.client().operator.scheduler().get("SchedulerConfig") or {}
    wanted = changed_config(found, given)
    # The settings are read and written back: without an index of the user's own, ours guards against a race.
    index = check_index if check_index is not None else found.get("ModifyIndex")
    reply = app.client().operator.set_scheduler(wanted, check_index=index)
    if not reply.get("Updated"):
        raise BadRequestError(
            "operator.config_moved", "the scheduler was not set", "somebody has changed its settings meanwhile",
            "look at them with `rove operator scheduler get-config`, and try again",
        )  # fmt: skip
    click.echo("The scheduler is set")


_SET_KEYS = {
    "scheduler_algorithm": "SchedulerAlgorithm",
    "memory_oversubscription": "MemoryOversubscriptionEnabled",
    "reject_job_registration": "RejectJobRegistration",
    "pause_eval_broker": "PauseEvalBroker",
    "node_limit_for_feasibility_checks": "NodeLimitForFeasibilityChecks",
}
_PREEMPTION_KEYS = {
    "preempt_system_scheduler": "SystemSchedulerEnabled",
    "preempt_service_scheduler": "ServiceSchedulerEnabled",
    "preempt_batch_scheduler": "BatchSchedulerEnabled",
    "preempt_sysbatch_scheduler": "SysBatchSchedulerEnabled",
}


def changed_config(found: Json, given: Json) -> Json:
    """The settings with the flags that were given laid over them."""
    top = {key: given[flag] for flag, key in _SET_KEYS.items() if given.get(flag) is not None}
    preemption = {key: given[flag] for flag, key in _PREEMPTION_KEYS.items() if given.get(flag) is not None}
    return {**found, **top, "PreemptionConfig": {**(found.get("PreemptionConfig") or {}), **preemption}}


@command("save")
@argument("path", metavar="[FILE]", required=False, default="")
@switch("--stale", "Accepted for Nomad's sake.")
def snapshot_save(path: str, stale: bool) -> None:
    """Write the whole state to a FILE."""
    app = current()
    if not path:
        from datetime import UTC, datetime

        path = f"rove-state-{datetime.fromtimestamp(app.now(), UTC):%Y%m%d-%H%M%SZ}.snap"
    target = Path(path)
    if target.exists():
        raise BadRequestError("cli.file_exists", f"{path} was not written", "there is such a file already")
    part = target.with_name(f"{target.name}.part")
    total = 0
    with part.open("xb") as out:
        try:
            part.chmod(0o600)
            for piece in app.client().operator.snapshot():
                total += out.write(piece)
        except BaseException:  # also Ctrl-C: half a state is of no use, and the next try wants the name
            part.unlink()
            raise
    part.rename(target)
    click.echo(f"Wrote {path}, {total} bytes")


@command("list-peers")
@forms
def list_peers(as_json: bool, template: str | None) -> None:
    """List the servers that vote."""
    found = current().client().operator.raft_configuration()
    if emit(found, as_json, template):
        return
    rows = [
        [each.get("Node"), each.get("ID"), each.get("Address"), "leader" if each.get("Leader") else "follower",
         bool(each.get("Voter"))]
        for each in found.get("Servers") or []
    ]  # fmt: skip
    click.echo(table(["Node", "ID", "Address", "State", "Voter"], rows))


@command("health")
@forms
def autopilot_health(as_json: bool, template: str | None) -> None:
    """Show whether the servers are well."""
    found = current().client().operator.autopilot_health()
    if emit(found, as_json, template):
        return
    click.echo(block([("Healthy", bool(found.get("Healthy"))), ("Failure Tolerance", found.get("FailureTolerance"))]))
    rows = [
        [each.get("Name"), each.get("Address"), each.get("SerfStatus"), bool(each.get("Healthy")),
         bool(each.get("Leader")), bool(each.get("Voter"))]
        for each in found.get("Servers") or []
    ]  # fmt: skip
    if rows:
        click.echo("\n" + table(["Name", "Address", "Status", "Healthy", "Leader", "Voter"], rows))
