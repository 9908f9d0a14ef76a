"""Rules for networks, ports and volumes of a group."""

from __future__ import annotations

import re

from rove.structs.job import NetworkResource, Port, TaskGroup

from .places import nth
from .problem import Problem, join
from .rules import Problems, is_late, word

PORT_LABEL = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
PORT_MAX = 65_535
ACCESS_MODES = (
    "single-node-reader-only", "single-node-writer", "single-node-single-writer", "single-node-multi-writer",
    "multi-node-reader-only", "multi-node-single-writer", "multi-node-multi-writer",
)  # fmt: skip
ATTACHMENT_MODES = ("file-system", "block-device")
_MODES = ("none", "bridge", "host")


def port_labels(group: TaskGroup) -> set[str]:
    """Every port label a service of the group may name."""
    networks = [*group.networks, *(network for task in group.tasks for network in task.resources.networks)]
    return {port.label for network in networks for port in (*network.reserved_ports, *network.dynamic_ports)}


def network_problems(group: TaskGroup, path: str, found: Problems) -> None:
    """Networks of a group, and those in the resources of its tasks."""
    if len(group.networks) > 1:
        found.append(Problem(join(path, "network"), "a group has at most one network"))
    taken: dict[tuple[str, int], str] = {}
    labels: set[str] = set()
    for at, network in enumerate(group.networks):
        _network(network, join(path, nth("network", at)), taken, labels, found)
    for task in group.tasks:
        place = join(path, f'task "{task.name}" > resources > network')
        for network in task.resources.networks:
            _network(network, place, taken, set(), found)


def _network(
    network: NetworkResource, path: str, taken: dict[tuple[str, int], str], labels: set[str], found: Problems
) -> None:
    mode = network.mode
    if mode and mode not in _MODES and not (mode.startswith("cni/") and len(mode) > 4):
        word(mode, (*_MODES, "cni/<name>"), join(path, "mode"), found)
    if network.mbits < 0:
        found.append(Problem(join(path, "mbits"), "mbits cannot be negative"))
    for port in (*network.reserved_ports, *network.dynamic_ports):
        place = join(path, f'port "{port.label}"')
        if port.label in labels:
            found.append(Problem(place, f'there is more than one port "{port.label}"'))
        labels.add(port.label)
        _port(network, port, place, taken, found)


def _port(network: NetworkResource, port: Port, path: str, taken: dict[tuple[str, int], str], found: Problems) -> None:
    if not PORT_LABEL.fullmatch(port.label):
        found.append(Problem(path, "a port's label has letters, digits, dashes and underscores"))
    if not 0 <= port.value <= PORT_MAX:
        found.append(Problem(join(path, "static"), f"a port is 1 to {PORT_MAX}; this is {port.value}"))
    if not -1 <= port.to <= PORT_MAX:
        found.append(Problem(join(path, "to"), f"a port is 1 to {PORT_MAX}, or -1; this is {port.to}"))
    if port.ignore_collision and network.mode not in ("", "host"):
        found.append(Problem(join(path, "ignore_collision"), "this is for networks of mode host only"))
    if not port.value or port.ignore_collision:
        return
    key = (port.host_network, port.value)
    if key in taken:
        text = f'port {port.value} is already asked for by "{taken[key]}" of this group'
        found.append(Problem(join(path, "static"), text))
    taken.setdefault(key, port.label)


def volume_problems(group: TaskGroup, path: str, found: Problems) -> None:
    """Volumes that a group asks for."""
    for name, volume in group.volumes.items():
        place = join(path, f'volume "{name}"')
        word(volume.type, ("host", "csi"), join(place, "type"), found)
        if not volume.source:
            found.append(Problem(place, 'a volume needs a "source"'))
        if volume.access_mode:
            word(volume.access_mode, ACCESS_MODES, join(place, "access_mode"), found)
        if volume.attachment_mode:
            word(volume.attachment_mode, ATTACHMENT_MODES, join(place, "attachment_mode"), found)
        if volume.type == "csi":
            if not volume.access_mode:
                found.append(Problem(place, 'a csi volume needs an "access_mode"'))
            if not volume.attachment_mode:
                found.append(Problem(place, 'a csi volume needs an "attachment_mode"'))
            if volume.sticky:
                found.append(Problem(join(place, "sticky"), "only host volumes can be sticky"))
        if volume.per_alloc and volume.sticky:
            found.append(Problem(place, "per_alloc and sticky exclude each other"))
        if volume.per_alloc and is_late(volume.source):
            found.append(Problem(join(place, "source"), "per_alloc adds the index itself: give a plain source"))
    wanted = {name for name, volume in group.volumes.items() if volume.per_alloc}
    if wanted and group.update is not None and group.update.canary:
        found.append(Problem(join(path, "update > canary"), "canaries cannot share volumes that are per_alloc"))
