"""`rove service`."""

from __future__ import annotations

from typing import Any

import click

from rove.cli.app import current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.output import emit, listing, short, table

Json = dict[str, Any]


@command("list")
@forms
def list_(as_json: bool, template: str | None) -> None:
    """List registered services."""
    app = current()
    found = app.client().services.list() or []
    if emit(found, as_json, template):
        return
    everywhere = app.settings().namespace == "*"
    rows = [
        [each["ServiceName"], *([group["Namespace"]] if everywhere else []), "[" + listing(each.get("Tags")) + "]"]
        for group in found
        for each in group.get("Services") or []
    ]
    header = ["Service Name", *(["Namespace"] if everywhere else []), "Tags"]
    click.echo(table(header, sorted(rows)) if rows else "No services")


@command()
@argument("name", metavar="SERVICE")
@forms
@option("--filter", "filter_text", default="", help="Filter expression.")
@option("--per-page", type=int, default=0, help="Instances a page.")
@option("--page-token", default="", help="Where the page begins.")
@switch("--all", "Show also those whose checks do not pass.")
@switch("--verbose", "Print whole ids.")
def info(
    name: str,
    as_json: bool,
    template: str | None,
    filter_text: str,
    per_page: int,
    page_token: str,
    all: bool,
    verbose: bool,
) -> None:
    """Show the instances of a service: those that are handed out, which are the ones whose checks pass."""
    params = {"filter": filter_text, "per_page": per_page or None, "next_token": page_token}
    if all:
        params["health"] = "any"
    reply = current().client().get("service", name, params=params)
    found: list[Json] = reply.value or []
    if emit(found, as_json, template):
        return
    rows = [[*_row(each, verbose), *([each.get("Health")] if all else [])] for each in found]
    header = ["Job ID", "Address", "Tags", "Node ID", "Alloc ID", *(["Health"] if all else [])]
    header = ["ID", *header] if verbose else header
    click.echo(table(header, rows) if rows else f'No instances of "{name}"')
    if reply.next_token:
        click.echo(f"\nMore follow: -page-token {reply.next_token}")


def _row(each: Json, verbose: bool) -> list[Any]:
    host = str(each.get("Address", ""))
    host = f"[{host}]" if ":" in host else host
    address = f"{host}:{each['Port']}" if each.get("Port") else host
    row = [each.get("JobID"), address, "[" + listing(each.get("Tags")) + "]"]
    row += [short(each.get("NodeID"), verbose), short(each.get("AllocID"), verbose)]
    return [each.get("ID"), *row] if verbose else row


@command()
@argument("name", metavar="SERVICE")
@argument("instance_id", metavar="INSTANCE")
def delete(name: str, instance_id: str) -> None:
    """Remove an instance of a service."""
    current().client().services.delete(name, instance_id)
    click.echo(f'Instance "{instance_id}" of "{name}" is removed')
