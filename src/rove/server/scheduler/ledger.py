"""What is free on a node in detail (ports, devices, cores), with what this plan has given and freed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from rove.structs.alloc import Allocation
from rove.structs.job import Port
from rove.structs.node import Node
from rove.structs.plan import Plan
from rove.structs.resources import (
    AllocatedCpu,
    AllocatedDevice,
    AllocatedPort,
    AllocatedResources,
    Usage,
    ports_of,
    same_address,
    usage_of,
)

from .asks import Ask
from .devices import Instance, assign_device, devices_in_use, instances_of
from .randomness import Rng
from .view import Fleet, View

MAX_ALLOCS = "node_max_allocs"
"""The dimension that is exhausted on a node that may hold no more allocations."""

PROBES = 8
"""Random ports tried before the range is searched."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one copy gets of a node beyond CPU, memory and disk. resources: None if as every copy's."""

    ports: tuple[AllocatedPort, ...] = ()
    resources: AllocatedResources | None = None


@dataclass(slots=True)
class Detail:
    """One node's ports (on whatever address), devices and cores. given_ports: those that this plan gives."""

    node: Node
    ports: set[int]
    given_ports: list[AllocatedPort] = field(default_factory=list)
    devices: set[Instance] = field(default_factory=set)
    cores: set[int] = field(default_factory=set)

    def give(self, ports: Iterable[AllocatedPort]) -> None:
        """A copy gets these ports."""
        self.ports.update(port.value for port in ports)
        self.given_ports.extend(ports)


def collides(port: AllocatedPort, others: Iterable[AllocatedPort]) -> bool:
    """True if one of the others is the same port on the same address."""
    return any(other.value == port.value and same_address(other.host_ip, port.host_ip) for other in others)


def is_taken(port: AllocatedPort, held: Iterable[AllocatedPort], node: Node) -> bool:
    """True if the port is one of those held, or kept for the host, on its address of the node."""
    return collides(port, held) or port.value in node.reserved_ports_on(port.host_ip)


def cores_of(allocs: Iterable[Allocation]) -> set[int]:
    """Core ids that `allocs` hold alone."""
    return {
        core
        for alloc in allocs
        for task in alloc.allocated_resources.tasks.values()
        for core in task.cpu.reserved_cores
    }


def mhz_of_cores(ask: Ask, node: Node) -> int:
    """What the whole cores of one copy count for on the node, in MHz."""
    return sum(int(node.mhz_per_core * task.resources.cores) for task in ask.group.tasks)


def free_cores(node: Node, used: set[int]) -> list[int]:
    """Cores that can still be held alone, lowest first."""
    cpu = node.node_resources.cpu
    host = set(node.reserved_resources.cpu.reserved_cpu_cores)
    every = cpu.reservable_cpu_cores or tuple(range(cpu.total_cpu_cores))
    return sorted(core for core in every if core not in used and core not in host)


class Ledger:
    """The fleet as this plan leaves it: columns of what is used, and details of nodes looked at."""

    def __init__(self, view: View, fleet: Fleet, rng: Rng) -> None:
        self.view = view
        self.fleet = fleet
        self.rng = rng
        self.freed: set[str] = set()
        self.has_caps = bool(fleet.max_allocs.any())
        self._details: dict[int, Detail] = {}
        self._usages: dict[int, tuple[AllocatedResources, Usage]] = {}

    def usage(self, alloc: Allocation) -> Usage:
        """What the allocation takes from its node."""
        resources = alloc.allocated_resources
        known = self._usages.get(id(resources))
        if known is None:
            known = self._usages[id(resources)] = (resources, usage_of(resources))
        return known[1]

    def node(self, row: int) -> Node | None:
        return self.view.node(self.fleet.ids[row])

    def use(self, row: int, cpu: float, memory: float, disk: float, sign: int = 1) -> None:
        """Count one allocation more (sign 1) or less (-1) on a node, with what it takes."""
        fleet = self.fleet
        fleet.used_cpu[row] += sign * cpu
        fleet.used_memory[row] += sign * memory
        fleet.used_disk[row] += sign * disk
        fleet.alloc_count[row] += sign

    def is_capped(self, row: int) -> bool:
        """True if the node may hold no more allocations, whatever room it has."""
        fleet = self.fleet
        return bool(0 < fleet.max_allocs[row] <= fleet.alloc_count[row])

    def free(self, alloc: Allocation) -> int | None:
        """This plan stops `alloc`: what it holds may be given again. Returns its row if it held something."""
        if alloc.id in self.freed or alloc.is_client_terminal:
            return None
        row = self.fleet.row_of(alloc.node_id)
        if row is None:
            return None
        self.freed.add(alloc.id)
        usage = self.usage(alloc)
        self.use(row, usage.cpu, usage.memory_mb, usage.disk_mb, -1)
        if row in self._details:
            self._details[row].devices -= devices_in_use((alloc,))
            self._details[row].cores -= cores_of((alloc,))
        return row

    def unfree(self, alloc: Allocation, row: int) -> None:
        """Take `free` back."""
        self.freed.discard(alloc.id)
        usage = self.usage(alloc)
        self.use(row, usage.cpu, usage.memory_mb, usage.disk_mb)
        if row in self._details:
            self._details[row].devices |= devices_in_use((alloc,))
            self._details[row].cores |= cores_of((alloc,))

    def detail(self, row: int) -> Detail | None:
        """The node's details, gathered when first asked for."""
        found = self._details.get(row)
        if found is None:
            node = self.node(row)
            if node is None:
                return None
            found = Detail(node, set(self.view.ports_of_node(node.id)))
            self._details[row] = found
            live = [alloc for alloc in self.view.allocs_of_node(node.id) if alloc.id not in self.freed]
            found.devices = devices_in_use(live)
            found.cores = cores_of(live)
        return found

    def assign(self, ask: Ask, row: int) -> Given | str:
        """Ports, devices and cores for one copy on this node, or the dimension that is exhausted.

        Nothing is kept unless everything is found.
        """
        detail = self.detail(row)
        if detail is None:
            return "node"
        ports = self.try_ports(ask, detail)
        if isinstance(ports, str):
            return ports
        devices: dict[str, list[AllocatedDevice]] = {}
        used = set(detail.devices)
        for task, request in ask.devices:
            device = assign_device(request, detail.node, used)
            if device is None:
                return f"devices: no free {request.name}"
            used |= instances_of(device)
            devices.setdefault(task, []).append(device)
        cores = free_cores(detail.node, detail.cores)[: ask.cores] if ask.cores else []
        if len(cores) < ask.cores:
            return "cores"
        detail.devices = used
        detail.cores |= set(cores)
        detail.give(ports)
        if not devices and not cores:
            return Given(ports)
        return Given(ports, own_resources(ask, detail.node, devices, cores))

    def taken_ports(self, ask: Ask, detail: Detail) -> list[AllocatedPort]:
        """The static ports asked for that somebody else holds."""
        wanted = (self._given(port, port.value, detail.node) for port in ask.static_ports)
        return [port for port in wanted if not port.ignore_collision and self._is_held(port, detail)]

    def carry_out(self, plan: Plan) -> None:
        """Count what the plan stops and places."""
        for stop in plan.stops:
            alloc = self.view.alloc(stop.alloc_id)
            if alloc is not None:
                self.free(alloc)
        for placement in plan.placements:
            usage = usage_of(placement.resources)
            for position, number in enumerate(np.frombuffer(placement.nodes, "<i4").tolist()):
                row = self.fleet.row_of(placement.node_ids[number])
                if row is None:
                    continue
                own = placement.own_resources.get(position)
                taken = usage_of(own) if own is not None else usage
                self.use(row, taken.cpu, taken.memory_mb, taken.disk_mb)
                ports = placement.ports.get(position, ())
                if (ports or own is not None) and (detail := self.detail(row)) is not None:
                    detail.give(ports)
                    tasks = own.tasks.values() if own is not None else ()
                    for task in tasks:
                        detail.cores |= set(task.cpu.reserved_cores)
                        for device in task.devices:
                            detail.devices |= instances_of(device)

    def try_ports(self, ask: Ask, detail: Detail) -> tuple[AllocatedPort, ...] | str:
        """Ports for one copy, or why there are none. Keeps nothing."""
        found: list[AllocatedPort] = []
        for port in ask.static_ports:
            given = self._given(port, port.value, detail.node)
            if not port.ignore_collision and (collides(given, found) or self._is_held(given, detail)):
                return f"network: port {port.value} is taken"
            found.append(given)
        taken = {port.value for port in found}
        for port in ask.dynamic_ports:
            value = self._dynamic(detail, taken)
            if value is None:
                return "network: no dynamic port is free"
            taken.add(value)
            found.append(self._given(port, value, detail.node))
        return tuple(found)

    def _is_held(self, port: AllocatedPort, detail: Detail) -> bool:
        """True if the port is not to be had on its address.

        Held only by allocations that this plan stops, it is to be had: their successor waits for it. Who holds it is
        looked at only where that can make a difference, since it takes time.
        """
        if port.value not in detail.ports:
            return False
        if not self.freed and len(detail.node.addresses) < 2:
            return True
        return self.is_held_by_others((port,), detail, ())

    def is_held_by_others(self, ports: Iterable[AllocatedPort], detail: Detail, leaving: Collection[str]) -> bool:
        """True if one of the ports would not be to be had though these allocations left."""
        held = list(detail.given_ports)
        for alloc in self.view.allocs_of_node(detail.node.id):
            if alloc.id not in self.freed and alloc.id not in leaving:
                held += ports_of(alloc.allocated_resources)
        return any(is_taken(port, held, detail.node) for port in ports)

    def _dynamic(self, detail: Detail, taken: set[int]) -> int | None:
        resources = detail.node.node_resources
        low, high = resources.min_dynamic_port, resources.max_dynamic_port
        size = high - low + 1
        if size <= 0:
            return None
        used = detail.ports
        for _ in range(PROBES):
            value = low + int(self.rng.random() * size)
            if value not in used and value not in taken:
                return value
        start = int(self.rng.random() * size)
        for step in range(size):
            value = low + (start + step) % size
            if value not in used and value not in taken:
                return value
        return None

    def _given(self, port: Port, value: int, node: Node) -> AllocatedPort:
        return AllocatedPort(
            label=port.label,
            value=value,
            to=value if port.to == -1 else port.to,
            host_ip=host_address(node, port.host_network),
            ignore_collision=port.ignore_collision,
        )


def host_address(node: Node, host_network: str) -> str:
    """The address of the node on a host network ('' or "default": its usual one)."""
    wanted = host_network or "default"
    for network in node.node_resources.node_networks:
        for address in network.addresses:
            if address.alias == wanted:
                return address.address
    return node.attributes.get("unique.network.ip-address", "") if wanted == "default" else ""


def own_resources(
    ask: Ask, node: Node, devices: dict[str, list[AllocatedDevice]], cores: Sequence[int]
) -> AllocatedResources:
    """The resources of a copy that holds devices or cores."""
    left = list(cores)
    tasks = {}
    for task in ask.group.tasks:
        given = ask.resources.tasks[task.name]
        wanted = task.resources.cores
        if wanted:
            own, left = left[:wanted], left[wanted:]
            shares = int(node.mhz_per_core * wanted)
            given = msgspec.structs.replace(given, cpu=AllocatedCpu(cpu_shares=shares, reserved_cores=tuple(own)))
        if task.name in devices:
            given = msgspec.structs.replace(given, devices=tuple(devices[task.name]))
        tasks[task.name] = given
    return msgspec.structs.replace(ask.resources, tasks=tasks)
