"""`rove scaling policy`."""

from __future__ import annotations

import json
from typing import Any

import click

from rove.cli import find
from rove.cli.app import current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.output import block, emit, short, table, title

Json = dict[str, Any]


@command("list")
@option("--job", "job_id", default="", help="Only those of this job.")
@option("--type", "kind", default="", help="Only those of this type, for instance horizontal.")
@forms
@switch("--verbose", "Print whole ids.")
def list_(job_id: str, kind: str, as_json: bool, template: str | None, verbose: bool) -> None:
    """List the scaling policies of jobs that are not stopped."""
    found = current().client().scaling.list(job_id=job_id, kind=kind) or []
    if emit(found, as_json, template):
        return
    rows = [
        [short(policy["ID"], verbose), bool(policy.get("Enabled")), policy.get("Type"), _target(policy)]
        for policy in found
    ]
    click.echo(table(["ID", "Enabled", "Type", "Target"], rows) if rows else "No scaling policies")


@command()
@argument("policy_id", metavar="POLICY")
@forms
@switch("--verbose", "Print whole ids.")
def info(policy_id: str, as_json: bool, template: str | None, verbose: bool) -> None:
    """Show a scaling policy. POLICY may be the beginning of an id."""
    app = current()
    policy = app.client().scaling.read(find.scaling_policy(app, policy_id)["ID"])
    if emit(policy, as_json, template):
        return
    pairs: list[tuple[str, Any]] = [
        ("ID", short(policy["ID"], verbose)),
        ("Enabled", bool(policy.get("Enabled"))),
        ("Type", policy.get("Type")),
        ("Target", _target(policy)),
        ("Min", policy.get("Min")),
        ("Max", policy.get("Max")),
        ("Create Index", policy.get("CreateIndex")),
        ("Modify Index", policy.get("ModifyIndex")),
    ]
    click.echo(block(pairs))
    if policy.get("Policy"):
        title("Policy")
        click.echo(json.dumps(policy["Policy"], indent=2, sort_keys=True))


def _target(policy: Json) -> str:
    target: Json = policy.get("Target") or {}
    return ", ".join(f"{key} {target[key]}" for key in ("Namespace", "Job", "Group", "Task") if target.get(key))
