"""Which nodes may run a group at all, decided once per node class.

A class's name is a hash over all that these checks look at (`rove.structs.node.computed_class`), so an
answer for (checks, class) never changes and is kept between evaluations. Only conditions on `unique.`
names and room on the node are looked at node by node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from rove.structs.job import Constraint, NetworkResource, RequestedDevice, VolumeRequest
from rove.structs.node import Node

from .asks import Ask
from .conditions import holds, is_unique
from .devices import device_fits
from .view import Bools, Fleet, Ints, View

MISSING_DRIVERS = "missing drivers"
MISSING_DEVICES = "missing devices"
MISSING_NETWORK = "missing network"
MISSING_VOLUMES = "missing compatible host volumes"
CSI_UNSUPPORTED = "CSI volumes are not supported"

MEMO_MAX = 2048

Key = tuple[
    str, tuple[Constraint, ...], tuple[str, ...], tuple[RequestedDevice, ...],
    tuple[NetworkResource, ...], tuple[VolumeRequest, ...], str,
]  # fmt: skip
_memo: dict[Key, dict[str, str]] = {}


def class_obstacle(ask: Ask, node: Node, index: int = 0) -> str:
    """The first reason why no node like `node` may run the group, '' if there is none."""
    return next(iter(class_obstacles(ask, node, index)), "")


def class_obstacles(ask: Ask, node: Node, index: int = 0, *, drivers: bool = True) -> list[str]:
    """Every reason why no node like `node` may run the group, in the order of checking.

    drivers: whether their health counts; for a copy that runs it does not.
    """
    region = ask.job.region
    found = [
        condition.text()
        for condition in ask.job.constraints
        if not is_unique(condition) and not holds(condition, node, region)
    ]
    if drivers and any(not driver_is_healthy(node, driver) for driver in ask.drivers):
        found.append(MISSING_DRIVERS)
    found += [
        condition.text()
        for condition in ask.constraints[_job_constraints(ask) :]
        if not is_unique(condition) and not holds(condition, node, region)
    ]
    if any(not device_fits(request, node) for _, request in ask.devices):
        found.append(MISSING_DEVICES)
    if network_obstacles(ask, node):
        found.append(MISSING_NETWORK)
    if any(volume.type == "csi" for volume in ask.volumes):
        found.append(CSI_UNSUPPORTED)
    elif any(not volume_fits(volume, node, index) for volume in ask.volumes):
        found.append(MISSING_VOLUMES)
    return found


def suits(ask: Ask, node: Node, index: int = 0, *, drivers: bool = True) -> bool:
    """True if the node passes every check of the ask; room, and whether it takes new work, are not looked at."""
    job = ask.job
    if not datacenter_matches(job.datacenters, node.datacenter):
        return False
    if job.node_pool not in ("", "all", node.node_pool):
        return False
    if class_obstacles(ask, node, max(index, 0), drivers=drivers):
        return False
    return all(holds(condition, node, job.region) for condition in ask.constraints if is_unique(condition))


def _job_constraints(ask: Ask) -> int:
    """How many of the ask's constraints are the job's own."""
    return sum(1 for condition in ask.job.constraints if condition in ask.constraints)


def driver_is_healthy(node: Node, driver: str) -> bool:
    """True if the node has found the driver and it works."""
    info = node.drivers.get(driver)
    return info is not None and info.detected and info.healthy


def network_obstacles(ask: Ask, node: Node) -> list[str]:
    """Why the node cannot give the group its networks; none if it can."""
    modes = {network.mode for network in node.node_resources.node_networks}
    found = [
        f'network mode "{network.mode}" is not available'
        for network in ask.networks
        if (network.mode == "bridge" or network.mode.startswith("cni/")) and network.mode not in modes
    ]
    names = host_networks_of(node)
    found += [
        f'host network "{port.host_network}" of port "{port.label}" does not exist'
        for port in (*ask.static_ports, *ask.dynamic_ports)
        if port.host_network not in ("", "default") and port.host_network not in names
    ]
    return found


def host_networks_of(node: Node) -> set[str]:
    """Names of the node's host networks."""
    aliases = {address.alias for network in node.node_resources.node_networks for address in network.addresses}
    return aliases | set(node.host_networks)


def volume_fits(volume: VolumeRequest, node: Node, index: int) -> bool:
    """True if the node offers the host volume; a read-only one only to readers."""
    offered = node.host_volumes.get(volume_source(volume, index))
    return offered is not None and (volume.read_only or not offered.read_only)


def volume_source(volume: VolumeRequest, index: int) -> str:
    """The volume's name for a copy: with `per_alloc` it carries the copy's index."""
    return f"{volume.source}[{index}]" if volume.per_alloc else volume.source


def datacenter_matches(patterns: Sequence[str], datacenter: str) -> bool:
    """True if a pattern of the job (`dc1`, `eu-*`) names the datacenter."""
    return any(pattern == datacenter or ("*" in pattern and _globs(pattern, datacenter)) for pattern in patterns)


def _globs(pattern: str, text: str) -> bool:
    """`*` stands for any text; every other character for itself."""
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


@dataclass(frozen=True, slots=True)
class Feasible:
    """The nodes for one group.

    base: ready, in one of the job's datacenters and its pool. mask: those of them that pass every check.
    reasons: by class number, why the class fails ('' if it does not). unique: (text, how many nodes)
    that conditions on unique names ruled out.
    """

    base: Bools
    mask: Bools
    reasons: dict[int, str]
    unique: dict[str, int]
    escaped: bool


def base_mask(ask: Ask, fleet: Fleet) -> Bools:
    """Ready nodes in the job's datacenters and pool."""
    job = ask.job
    mask = fleet.ready.copy()
    if job.datacenters != ("*",):
        good = np.array([datacenter_matches(job.datacenters, name) for name in fleet.datacenters], bool)
        mask &= good[fleet.datacenter_of] if len(good) else False
    if job.node_pool not in ("", "all"):
        good = np.array([name == job.node_pool for name in fleet.pools], bool)
        mask &= good[fleet.pool_of] if len(good) else False
    return mask


def feasible(ask: Ask, view: View, fleet: Fleet, base: Bools, index: int = 0) -> Feasible:
    """Check `ask` against every class that occurs in `base`, and unique conditions node by node.

    index: the copy's name index; it matters only to `per_alloc` volumes.
    """
    reasons = class_reasons(ask, view, fleet, index)
    good = np.zeros(max(len(fleet.classes), 1), bool)
    for number, reason in reasons.items():
        good[number] = not reason
    mask = base & good[fleet.class_of] if len(fleet.class_of) else base.copy()
    unique = [condition for condition in ask.constraints if is_unique(condition)]
    ruled_out: dict[str, int] = {}
    for condition in unique:
        passes = unique_mask(condition, view, fleet, mask, ask.job.region)
        ruled_out[condition.text()] = int(np.count_nonzero(mask & ~passes))
        mask &= passes
    return Feasible(base, mask, reasons, {text: n for text, n in ruled_out.items() if n}, bool(unique))


def class_reasons(ask: Ask, view: View, fleet: Fleet, index: int = 0) -> dict[int, str]:
    """By class number, the first reason why the class fails, '' if it does not."""
    shown = index if any(volume.per_alloc for volume in ask.volumes) else 0
    known = _known(ask, shown)
    result = {}
    classes = fleet.classes
    for number, row in fleet.class_example.items():
        name = classes[number]
        reason = known.get(name) if name else None
        if reason is None:
            node = view.node(fleet.ids[row])
            reason = "node is gone" if node is None else class_obstacle(ask, node, shown)
            if name and node is not None:
                known[name] = reason
        result[number] = reason
    return result


def _known(ask: Ask, index: int) -> dict[str, str]:
    requests = tuple(request for _, request in ask.devices)
    own = f"{ask.job.region}/{index}/{_job_constraints(ask)}"
    # Arguments for CNI plugins are the node's business; they are a map, which has no hash.
    networks = tuple(replace(each, cni=None) if each.cni else each for each in ask.networks)
    key: Key = (own, ask.constraints, ask.drivers, requests, networks, ask.volumes, "")
    found = _memo.get(key)
    if found is None:
        if len(_memo) >= MEMO_MAX:
            _memo.clear()
        found = _memo[key] = {}
    return found


def unique_mask(condition: Constraint, view: View, fleet: Fleet, mask: Bools, region: str) -> Bools:
    """Rows within `mask` whose node meets a condition on unique names."""
    passes = np.zeros(len(mask), bool)
    if condition.l_target == "${node.unique.id}" and condition.operand in ("=", "==", "is"):
        row = fleet.row_of(condition.r_target)
        if row is not None:
            passes[row] = True
        return passes
    test: Callable[[Node], bool] = lambda node: holds(condition, node, region)  # noqa: E731
    rows: Ints = np.flatnonzero(mask)
    for row in rows.tolist():
        node = view.node(fleet.ids[row])
        if node is not None and test(node):
            passes[row] = True
    return passes
