"""`rove node status`."""

from __future__ import annotations

from typing import Any

import click

from rove.cli import find
from rove.cli.app import App, current
from rove.cli.command import argument, command, forms, option, switch
from rove.cli.job import alloc_table
from rove.cli.output import block, duration, emit, listing, short, size, stamp, table, title
from rove.errors import RoveError

Json = dict[str, Any]


@command()
@argument("node_id", metavar="[NODE]", required=False, default="")
@forms
@switch("--self", "The node of the agent at the address.", "own")
@switch("--allocs", "Add the number of running allocations to the list.", "count_allocs")
@switch("--short", "Leave resources and events out.", "brief")
@switch("--stats", "Show what the machine uses, part by part.")
@switch("--os", "Add the operating system to the list.", "show_os")
@option("--quiet", "-q", "quiet", is_flag=True, help="Print ids only.")
@option("--filter", "filter_text", default="", help="Filter expression.")
@option("--per-page", type=int, default=0, help="Nodes a page.")
@option("--page-token", default="", help="Where the page begins.")
@switch("--verbose", "Print whole ids, attributes and meta.")
def status(
    node_id: str, as_json: bool, template: str | None, own: bool, count_allocs: bool, brief: bool, stats: bool,
    show_os: bool, quiet: bool, filter_text: str, per_page: int, page_token: str, verbose: bool,
) -> None:  # fmt: skip
    """List nodes, or show one. NODE may be the beginning of an id, or a name."""
    app = current()
    if not node_id and not own:
        options: Json = {"filter": filter_text, "per_page": per_page or None, "next_token": page_token}
        params = {**options, "os": show_os}
        reply = app.client().get("nodes", params=params)
        nodes = reply.value or []
        if emit(nodes, as_json, template):
            return
        _list(app, nodes, count_allocs, show_os, quiet, verbose)
        if reply.next_token:
            click.echo(f"\nMore follow: -page-token {reply.next_token}")
        return
    chosen = find.own_node(app) if own else find.node(app, node_id)["ID"]
    node = app.client().nodes.read(chosen)
    if emit(node, as_json, template):
        return
    _show(app, node, brief, stats, verbose)


def _list(app: App, nodes: list[Json], count_allocs: bool, show_os: bool, quiet: bool, verbose: bool) -> None:
    if quiet:
        for node in nodes:
            click.echo(node["ID"] if verbose else short(node["ID"]))
        return
    if not nodes:
        click.echo("No nodes")
        return
    header = ["ID", "Node Pool", "DC", "Name", "Class"]
    header += ["Address", "Version"] if verbose else []
    header += ["OS"] if show_os else []
    header += ["Drain", "Eligibility", "Status"]
    header += ["Running Allocs"] if count_allocs else []
    rows = []
    for node in nodes:
        row = [short(node["ID"], verbose), node.get("NodePool"), node.get("Datacenter"), node.get("Name")]
        row += [node.get("NodeClass")]
        row += [node.get("Address"), node.get("Version")] if verbose else []
        row += [(node.get("Attributes") or {}).get("os.name")] if show_os else []
        row += [bool(node.get("Drain")), node.get("SchedulingEligibility"), node.get("Status")]
        row += [len(_running(app, node["ID"]))] if count_allocs else []
        rows.append(row)
    click.echo(table(header, rows))


def _running(app: App, node_id: str) -> list[Json]:
    found = app.client().nodes.allocations(node_id) or []
    return [alloc for alloc in found if alloc.get("ClientStatus") == "running"]


def _show(app: App, node: Json, brief: bool, stats: bool, verbose: bool) -> None:
    usage = _stats(app, node)
    drivers: dict[str, Json] = node.get("Drivers") or {}
    healthy = sorted(name for name, driver in drivers.items() if driver.get("Healthy"))
    click.echo(block([*_head(node, usage), *([("Drivers", ",".join(healthy))] if brief else [])]))
    if not brief:
        title("Driver Status")
        rows = [
            [name, bool(driver.get("Detected")), bool(driver.get("Healthy")), driver.get("HealthDescription") or "-"]
            for name, driver in sorted(drivers.items())
            if driver.get("Detected") or verbose
        ]
        click.echo(table(["Driver", "Detected", "Healthy", "Message"], rows) if rows else "none")
        _show_events(node)
        allocs = app.client().nodes.allocations(node["ID"]) or []
        _show_resources(node, allocs, usage)
        if stats:
            _show_stats(usage)
        title("Allocations")
        click.echo(alloc_table(app, allocs, verbose) if allocs else "none")
    if verbose:
        title("Attributes")
        click.echo(block(sorted((node.get("Attributes") or {}).items())))
        title("Meta")
        click.echo(block(sorted((node.get("Meta") or {}).items())))


def _stats(app: App, node: Json) -> Json:
    """What the machine uses; empty where it cannot be asked."""
    if node.get("Status") != "ready":
        return {}
    try:
        return app.client().nodes.stats(node["ID"]) or {}
    except RoveError:
        return {}


def _head(node: Json, usage: Json) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = [
        ("ID", node["ID"]),
        ("Name", node.get("Name")),
        ("Node Pool", node.get("NodePool")),
        ("Class", node.get("NodeClass")),
        ("DC", node.get("Datacenter")),
        ("Drain", _drain(node)),
        ("Eligibility", node.get("SchedulingEligibility")),
        ("Status", node.get("Status")),
    ]
    if node.get("StatusDescription"):
        pairs.append(("Status Description", node["StatusDescription"]))
    pairs += [
        ("Host Volumes", listing(sorted(node.get("HostVolumes") or {})) or None),
        ("Host Networks", listing(sorted(node.get("HostNetworks") or {})) or None),
    ]
    if usage.get("Uptime"):
        pairs.append(("Uptime", duration(float(usage["Uptime"]))))
    return pairs


def _drain(node: Json) -> str:
    strategy = node.get("DrainStrategy")
    if not strategy:
        return "false"
    deadline = stamp(strategy.get("ForceDeadline"))
    return "true; no deadline" if deadline == "-" else f"true; ends by {deadline}"


def _show_events(node: Json) -> None:
    title("Node Events")
    rows = [
        [stamp(event.get("Timestamp")), event.get("Subsystem"), event.get("Message")]
        for event in (node.get("Events") or [])[::-1]
    ]
    click.echo(table(["Time", "Subsystem", "Message"], rows) if rows else "none")


def _show_resources(node: Json, allocs: list[Json], usage: Json) -> None:
    total, reserved = node.get("NodeResources") or {}, node.get("ReservedResources") or {}
    live = [alloc for alloc in allocs if alloc.get("ClientStatus") in ("pending", "running", "unknown")]
    cpu = _amount(total, "Cpu", "CpuShares") - _amount(reserved, "Cpu", "CpuShares")
    memory = _amount(total, "Memory", "MemoryMB") - _amount(reserved, "Memory", "MemoryMB")
    disk = _amount(total, "Disk", "DiskMB") - _amount(reserved, "Disk", "DiskMB")
    used = [sum(parts) for parts in zip(*(_asked(alloc) for alloc in live), strict=True)] or [0, 0, 0]
    title("Allocated Resources")
    row = [f"{used[0]}/{cpu} MHz", f"{_mib(used[1])}/{_mib(memory)}", f"{_mib(used[2])}/{_mib(disk)}"]
    click.echo(table(["CPU", "Memory", "Disk"], [row]))
    if usage:
        host_memory: Json = usage.get("Memory") or {}
        title("Host Resource Utilization")
        row = [
            f"{float(usage.get('CPUTicksConsumed') or 0):.0f}/{_amount(total, 'Cpu', 'CpuShares')} MHz",
            f"{size(host_memory.get('Used'))}/{size(host_memory.get('Total'))}",
        ]
        click.echo(table(["CPU", "Memory"], [row]))


def _amount(resources: Json, part: str, key: str) -> int:
    return int((resources.get(part) or {}).get(key) or 0)


def _mib(count: int) -> str:
    return size(count * 2**20)


def _asked(alloc: Json) -> tuple[int, int, int]:
    """CPU in MHz, memory and disk in MiB that an allocation was given."""
    allocated: Json = alloc.get("AllocatedResources") or {}
    tasks: list[Json] = list((allocated.get("Tasks") or {}).values())
    cpu = sum(_amount(task, "Cpu", "CpuShares") for task in tasks)
    memory = sum(_amount(task, "Memory", "MemoryMB") for task in tasks)
    return cpu, memory, _amount(allocated, "Shared", "DiskMB")


def _show_stats(usage: Json) -> None:
    title("CPU Stats")
    rows = [
        [cpu.get("CPU"), f"{float(cpu.get('User') or 0):.1f}%", f"{float(cpu.get('System') or 0):.1f}%",
         f"{float(cpu.get('Idle') or 0):.1f}%"]
        for cpu in usage.get("CPU") or []
    ]  # fmt: skip
    click.echo(table(["CPU", "User", "System", "Idle"], rows) if rows else "none")
    memory: Json = usage.get("Memory") or {}
    title("Memory Stats")
    keys = ("Total", "Available", "Used", "Free")
    click.echo(block([(key, size(memory.get(key))) for key in keys]))
    title("Disk Stats")
    rows = [
        [disk.get("Device"), disk.get("Mountpoint"), size(disk.get("Size")), size(disk.get("Used")),
         size(disk.get("Available"))]
        for disk in usage.get("DiskStats") or []
    ]  # fmt: skip
    click.echo(table(["Device", "MountPoint", "Size", "Used", "Available"], rows) if rows else "none")
