"""The network of an allocation: what this node can give, and what it has to refuse. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from rove.client.drivers.base import Driver
from rove.structs.alloc import NetworkStatus
from rove.structs.job import TaskGroup


def refusal(group: TaskGroup, drivers: Mapping[str, Driver]) -> str:
    """Why the group's network cannot be had here, empty if it can."""
    for network in group.networks:
        mode = network.mode or "host"
        if mode in ("host", "none"):
            continue
        if mode != "bridge":
            return f'network mode "{mode}" is not offered by this node'
        for task in group.tasks:
            driver = drivers.get(task.driver)
            if driver is not None and not driver.capabilities.creates_network:
                return (
                    f'network mode "bridge" needs a driver that makes its own network; '
                    f'task "{task.name}" uses "{task.driver}"'
                )
    return ""


def status_of(group: TaskGroup, addresses: Mapping[str, str]) -> NetworkStatus | None:
    """The network to report, from the addresses that drivers gave to tasks."""
    address = next((address for address in addresses.values() if address), "")
    if not address:
        return None
    dns = group.networks[0].dns if group.networks else None
    return NetworkStatus(interface_name="eth0", address=address, dns=dns)
