"""`rove namespace`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rove.cli.app import current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.output import block, emit, listing, table
from rove.errors import BadRequestError, NotFoundError

Json = dict[str, Any]
CAPABILITIES = {
    "enabled_task_drivers": "EnabledTaskDrivers",
    "disabled_task_drivers": "DisabledTaskDrivers",
    "enabled_network_modes": "EnabledNetworkModes",
    "disabled_network_modes": "DisabledNetworkModes",
}
"""What a file says of a namespace's jobs, and the API's word for it."""


@command("list")
@forms
def list_(as_json: bool, template: str | None) -> None:
    """List namespaces."""
    found = current().client().namespaces.list() or []
    if not emit(found, as_json, template):
        rows = [[each["Name"], each.get("Description")] for each in found]
        click.echo(table(["Name", "Description"], rows) if rows else "No namespaces")


@command()
@argument("name", metavar="NAMESPACE")
@forms
def status(name: str, as_json: bool, template: str | None) -> None:
    """Show a namespace."""
    found = current().client().namespaces.read(name)
    if emit(found, as_json, template):
        return
    capabilities: Json = found.get("Capabilities") or {}
    pairs: list[tuple[str, Any]] = [
        ("Name", found["Name"]),
        ("Description", found.get("Description")),
        ("Enabled Drivers", listing(capabilities.get("EnabledTaskDrivers")) or "*"),
        ("Disabled Drivers", listing(capabilities.get("DisabledTaskDrivers")) or None),
        ("Enabled Network Modes", listing(capabilities.get("EnabledNetworkModes")) or "*"),
        ("Disabled Network Modes", listing(capabilities.get("DisabledNetworkModes")) or None),
    ]
    click.echo(block(pairs))
    if found.get("Meta"):
        click.echo("\nMetadata\n" + block(sorted(found["Meta"].items())))


@command()
@argument("name", metavar="NAMESPACE")
@option("-t", "template", metavar="TEMPLATE", help="Print through a Go template.")
def inspect(name: str, template: str | None) -> None:
    """Print a namespace as JSON."""
    emit(current().client().namespaces.read(name), not template, template)


@command()
@argument("name", metavar="NAMESPACE|FILE")
@option("--description", default=None, help="What it is for.")
@switch("--json", "The argument is a JSON file.", "as_json")
def apply(name: str, description: str | None, as_json: bool) -> None:
    """Make or change a namespace, by name or from a file."""
    app = current()
    if as_json or Path(name).is_file():
        wanted = _from_file(Path(name))
    else:
        try:
            wanted = app.client().namespaces.read(name)
        except NotFoundError:
            wanted = {"Name": name}
    if description is not None:
        wanted["Description"] = description
    app.client().namespaces.apply(wanted)
    click.echo(f'Namespace "{wanted["Name"]}" is set')


def _from_file(path: Path) -> Json:
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        found = json.loads(text)
    else:
        from rove.agent.config_files import parse_config

        values = parse_config(text, str(path)).plain()
        found = {"Name": values.get("name"), "Description": values.get("description", ""), "Meta": values.get("meta")}
        given = values.get("capabilities") or {}
        found["Capabilities"] = {key: given.get(name) for name, key in CAPABILITIES.items()}
    if not isinstance(found, dict) or not found.get("Name"):
        raise BadRequestError("namespace.no_name", f"{path} describes no namespace", "it has no name")
    return found


@command()
@argument("name", metavar="NAMESPACE")
def delete(name: str) -> None:
    """Remove a namespace that is empty."""
    current().client().namespaces.delete(name)
    click.echo(f'Namespace "{name}" is removed')
