"""`rove node pool`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rove.cli.app import current
from rove.cli.command import argument, command, forms, switch
from rove.cli.output import block, emit, short, table
from rove.errors import BadRequestError

Json = dict[str, Any]


@command("list")
@forms
def list_(as_json: bool, template: str | None) -> None:
    """List node pools."""
    found = current().client().pools.list() or []
    if not emit(found, as_json, template):
        click.echo(table(["Name", "Description"], [[pool["Name"], pool.get("Description")] for pool in found]))


@command()
@argument("name", metavar="POOL")
@forms
def info(name: str, as_json: bool, template: str | None) -> None:
    """Show a node pool."""
    pool = current().client().pools.read(name)
    if emit(pool, as_json, template):
        return
    click.echo(block([("Name", pool["Name"]), ("Description", pool.get("Description"))]))
    for key, value in sorted((pool.get("Meta") or {}).items()):
        click.echo(f"Meta {key} = {value}")


@command()
@argument("path", metavar="FILE")
@switch("--json", "The file is JSON.", "as_json")
def apply(path: str, as_json: bool) -> None:
    """Make or change a node pool from a FILE with `node_pool "NAME" { description = ... meta { ... } }`."""
    text = Path(path).read_text(encoding="utf-8")
    pool = json.loads(text) if as_json or text.lstrip().startswith("{") else _from_hcl(text, path)
    if not isinstance(pool, dict) or not pool.get("Name"):
        raise BadRequestError("pool.no_name", f"{path} describes no node pool", "it has no name")
    current().client().pools.apply(pool)
    click.echo(f'Node pool "{pool["Name"]}" is set')


def _from_hcl(text: str, path: str) -> Json:
    from rove.agent.config_files import parse_config

    pools = parse_config(text, path).plain().get("node_pool")
    if not isinstance(pools, dict) or len(pools) != 1:
        raise BadRequestError("pool.bad_file", f"{path} describes no node pool", fix='write `node_pool "NAME" { ... }`')
    ((name, values),) = pools.items()
    meta = {key: str(value) for key, value in (values.get("meta") or {}).items()}
    return {"Name": name, "Description": values.get("description", ""), "Meta": meta}


@command()
@argument("name", metavar="POOL")
def delete(name: str) -> None:
    """Remove a node pool that is empty."""
    current().client().pools.delete(name)
    click.echo(f'Node pool "{name}" is removed')


@command()
@argument("name", metavar="POOL")
@forms
@switch("--verbose", "Print whole ids.")
def nodes(name: str, as_json: bool, template: str | None, verbose: bool) -> None:
    """List the nodes of a pool."""
    found = current().client().pools.nodes(name) or []
    if emit(found, as_json, template):
        return
    rows = [
        [short(node["ID"], verbose), node.get("Datacenter"), node.get("Name"), node.get("NodeClass"),
         bool(node.get("Drain")), node.get("SchedulingEligibility"), node.get("Status")]
        for node in found
    ]  # fmt: skip
    header = ["ID", "DC", "Name", "Class", "Drain", "Eligibility", "Status"]
    click.echo(table(header, rows) if rows else "No nodes")


@command()
@argument("name", metavar="POOL")
@forms
def jobs(name: str, as_json: bool, template: str | None) -> None:
    """List the jobs that ask for a pool."""
    found = current().client().pools.jobs(name) or []
    if emit(found, as_json, template):
        return
    rows = [[job["ID"], job.get("Type"), job.get("Priority"), job.get("Status")] for job in found]
    click.echo(table(["ID", "Type", "Priority", "Status"], rows) if rows else "No jobs")
