"""Networks: the interface that reaches the world, its address, and host networks by name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from rove.structs.node import HostNetwork, NodeNetwork, NodeNetworkAddress

DEFAULT_SPEED_MBITS = 1000


def probe(
    interface: str, speed_mbits: int, host_networks: Mapping[str, HostNetwork], family: str = ""
) -> tuple[dict[str, str], tuple[NodeNetwork, ...]]:
    """(attributes, networks). interface '': the one with the default route, else the loopback."""
    interfaces = _addresses()
    device = interface or _default_interface() or "lo"
    own = interfaces.get(device) or interfaces.get("lo") or [("ipv4", "127.0.0.1")]
    if family:
        own = [item for item in own if item[0] == family] or own
    stats = psutil.net_if_stats().get(device)
    speed = speed_mbits or (stats.speed if stats and stats.speed > 0 else DEFAULT_SPEED_MBITS)
    found = [NodeNetworkAddress(family=family, alias="default", address=address) for family, address in own[:1]]
    for name, network in host_networks.items():
        found += _of_host_network(name, network, interfaces)
    networks = (NodeNetwork(mode="host", device=device, speed=speed, addresses=tuple(found)),)
    return {"unique.network.ip-address": own[0][1]}, networks


def _of_host_network(
    name: str, network: HostNetwork, interfaces: Mapping[str, list[tuple[str, str]]]
) -> list[NodeNetworkAddress]:
    wanted = ipaddress.ip_network(network.cidr, strict=False) if network.cidr else None
    found = []
    for device, addresses in interfaces.items():
        if network.interface and device != network.interface:
            continue
        for family, address in addresses:
            if wanted is None or ipaddress.ip_address(address) in wanted:
                found.append(
                    NodeNetworkAddress(
                        family=family, alias=name, address=address, reserved_ports=network.reserved_ports
                    )
                )
    return found


def _addresses() -> dict[str, list[tuple[str, str]]]:
    """(family, address) by interface, IPv4 first, without link-local ones."""
    families = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
    found: dict[str, list[tuple[str, str]]] = {}
    for device, addresses in psutil.net_if_addrs().items():
        usable = []
        for item in addresses:
            family = families.get(item.family)
            address = item.address.partition("%")[0]
            if family and not ipaddress.ip_address(address).is_link_local:
                usable.append((family, address))
        if usable:
            found[device] = sorted(usable)
    return found


def _default_interface() -> str:
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return ""
    routes = [line.split() for line in lines]
    usable = [(int(route[6]), route[0]) for route in routes if len(route) > 7 and route[1] == "00000000"]
    return min(usable)[1] if usable else ""
