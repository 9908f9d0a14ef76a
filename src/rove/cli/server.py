"""`rove server` and `rove agent-info`."""

from __future__ import annotations

from typing import Any

import click

from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, switch
from rove.cli.output import emit, listing, table
from rove.errors import RoveError

Json = dict[str, Any]


@command()
@forms
@switch("--detailed", "Print the members' tags.")
@switch("--verbose", "Print protocol versions too.")
def members(as_json: bool, template: str | None, detailed: bool, verbose: bool) -> None:
    """List the servers and which one leads."""
    app = current()
    found: list[Json] = (app.client().agent.members() or {}).get("Members") or []
    if emit(found, as_json, template):
        return
    if not found:
        click.echo("No servers are known to this agent")
        return
    found.sort(key=lambda member: str(member.get("Name")))
    click.echo(_detailed(found) if detailed else _standard(found, _leaders(app, found), verbose))


def _leaders(app: App, found: list[Json]) -> set[str]:
    """``host:port`` of each region's leader; nothing for a region that cannot be asked."""
    leaders = set()
    for region in sorted({str((member.get("Tags") or {}).get("region", "")) for member in found}):
        try:
            leaders.add(str(app.client().agent.leader(region=region) or ""))
        except RoveError as error:
            click.echo(f"warning: region {region or 'global'}: {error.what}", err=True)
    return leaders


def _standard(found: list[Json], leaders: set[str], verbose: bool) -> str:
    header = ["Name", "Address", "Port", "Status", "Leader", "Raft Version", "Build", "Datacenter", "Region"]
    header += ["Protocol"] if verbose else []
    rows = []
    for member in found:
        tags: Json = member.get("Tags") or {}
        host = str(member.get("Addr", ""))
        host_port = f"[{host}]:{tags.get('port')}" if ":" in host else f"{host}:{tags.get('port')}"
        row = [member.get("Name"), host, member.get("Port"), member.get("Status"), host_port in leaders]
        row += [tags.get("raft_vsn"), tags.get("build"), tags.get("dc"), tags.get("region")]
        row += [member.get("ProtocolCur")] if verbose else []
        rows.append(row)
    return table(header, rows)


def _detailed(found: list[Json]) -> str:
    rows = [[m.get("Name"), m.get("Addr"), m.get("Port"), listing(m.get("Tags"))] for m in found]
    return table(["Name", "Address", "Port", "Tags"], rows)


@command()
@argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
def join(addresses: tuple[str, ...]) -> None:
    """Have the server at the address join others."""
    reply = current().client().agent.join(addresses)
    if reply.get("error"):
        raise RoveError("server.join_failed", "the servers were not joined", str(reply["error"]))
    count = reply.get("num_joined", 0)
    click.echo(f"Joined {count} server{'' if count == 1 else 's'}")


@command("force-leave")
@argument("name", metavar="NAME")
@switch("--prune", "Forget it at once.")
def force_leave(name: str, prune: bool) -> None:
    """Take a server out that has failed and will not come back."""
    current().client().agent.force_leave(name, prune=prune)


@command("agent-info")
@forms
def agent_info(as_json: bool, template: str | None) -> None:
    """Show the figures of the agent at the address."""
    found = current().client().agent.self()
    if emit(found, as_json, template):
        return
    for part, figures in sorted((found.get("stats") or {}).items()):
        click.echo(part)
        for name, value in sorted((figures or {}).items()):
            click.echo(f"  {name} = {value}")
