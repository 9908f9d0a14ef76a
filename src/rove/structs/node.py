"""Nodes: machines whose agent runs allocations."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import field

from .base import ZERO_TIME, Noun, Ns


class NodeStatus(StrEnum):
    """Whether a node is reachable."""

    INITIALIZING = "initializing"
    READY = "ready"
    DOWN = "down"
    DISCONNECTED = "disconnected"


class Eligibility(StrEnum):
    """Whether new allocations may be placed."""

    ELIGIBLE = "eligible"
    INELIGIBLE = "ineligible"


class NodeCpu(Noun, frozen=True, kw_only=True):
    """CPU of a node: MHz in all, cores, and core ids that can be held alone."""

    cpu_shares: int = field(name="CpuShares", default=0)
    total_cpu_cores: int = field(name="TotalCpuCores", default=0)
    reservable_cpu_cores: tuple[int, ...] = field(name="ReservableCpuCores", default=())


class NodeMemory(Noun, frozen=True, kw_only=True):
    memory_mb: int = 0


class NodeDisk(Noun, frozen=True, kw_only=True):
    disk_mb: int = 0


class NodeDevice(Noun, frozen=True, kw_only=True):
    """One instance of a device."""

    id: str = ""
    healthy: bool = True
    health_description: str = ""
    locality: dict[str, Any] | None = None


class NodeDeviceResource(Noun, frozen=True, kw_only=True):
    """A group of equal devices."""

    vendor: str = ""
    type: str = ""
    name: str = ""
    instances: tuple[NodeDevice, ...] = ()
    attributes: dict[str, Any] = {}


class NodeNetworkAddress(Noun, frozen=True, kw_only=True):
    """An address; `alias` is the host network's name."""

    family: str = "ipv4"
    alias: str = "default"
    address: str = ""
    reserved_ports: str = ""
    gateway: str = ""


class NodeNetwork(Noun, frozen=True, kw_only=True):
    """A network interface or mode that a node offers."""

    mode: str = "host"
    device: str = ""
    mac_address: str = ""
    speed: int = 0
    addresses: tuple[NodeNetworkAddress, ...] = ()


class NodeResources(Noun, frozen=True, kw_only=True):
    """All that a node has."""

    cpu: NodeCpu = field(name="Cpu", default=NodeCpu())
    memory: NodeMemory = NodeMemory()
    disk: NodeDisk = NodeDisk()
    devices: tuple[NodeDeviceResource, ...] = ()
    node_networks: tuple[NodeNetwork, ...] = ()
    min_dynamic_port: int = 20_000
    max_dynamic_port: int = 32_000


class ReservedNetworks(Noun, frozen=True, kw_only=True):
    """Ports kept for the host: "22,80,8500-8600"."""

    reserved_host_ports: str = ""


class ReservedCpu(Noun, frozen=True, kw_only=True):
    cpu_shares: int = field(name="CpuShares", default=0)
    reserved_cpu_cores: tuple[int, ...] = field(name="ReservedCpuCores", default=())


class NodeReserved(Noun, frozen=True, kw_only=True):
    """What is kept for the host itself."""

    cpu: ReservedCpu = field(name="Cpu", default=ReservedCpu())
    memory: NodeMemory = NodeMemory()
    disk: NodeDisk = NodeDisk()
    networks: ReservedNetworks = ReservedNetworks()


class DriverInfo(Noun, frozen=True, kw_only=True):
    """A driver as the node found it."""

    attributes: dict[str, str] = {}
    detected: bool = False
    healthy: bool = False
    health_description: str = ""
    update_time: datetime = ZERO_TIME


class HostVolume(Noun, frozen=True, kw_only=True):
    """A directory that a node offers to groups."""

    name: str = ""
    path: str = ""
    read_only: bool = False
    id: str = ""


class HostNetwork(Noun, frozen=True, kw_only=True):
    """A named network of a node."""

    name: str = ""
    cidr: str = ""
    interface: str = ""
    reserved_ports: str = ""


class DrainSpec(Noun, frozen=True, kw_only=True):
    """deadline in ns: -1 now, 0 none."""

    deadline: Ns = 0
    ignore_system_jobs: bool = False


class DrainStrategy(Noun, frozen=True, kw_only=True):
    """A drain under way."""

    deadline: Ns = 0
    ignore_system_jobs: bool = False
    force_deadline: datetime = ZERO_TIME
    started_at: datetime = ZERO_TIME


class DrainMetadata(Noun, frozen=True, kw_only=True):
    """The last drain. status: draining, complete, canceled."""

    started_at: datetime = ZERO_TIME
    updated_at: datetime = ZERO_TIME
    status: str = ""
    accessor_id: str = ""
    meta: dict[str, str] = {}


class NodeEvent(Noun, frozen=True, kw_only=True):
    """Something that happened to a node. At most 10 are kept."""

    message: str = ""
    subsystem: str = ""
    details: dict[str, str] = {}
    timestamp: datetime = ZERO_TIME
    create_index: int = 0


class Node(Noun, frozen=True, kw_only=True):
    """A machine whose agent runs allocations."""

    id: str = ""
    secret_id: str = ""
    datacenter: str = "dc1"
    name: str = ""
    http_addr: str = ""
    tls_enabled: bool = False
    attributes: dict[str, str] = {}
    node_resources: NodeResources = NodeResources()
    reserved_resources: NodeReserved = NodeReserved()
    links: dict[str, str] = {}
    meta: dict[str, str] = {}
    node_class: str = ""
    node_pool: str = "default"
    computed_class: str = ""
    drain_strategy: DrainStrategy | None = None
    scheduling_eligibility: Eligibility = Eligibility.ELIGIBLE
    status: NodeStatus = NodeStatus.INITIALIZING
    status_description: str = ""
    status_updated_at: int = 0
    events: tuple[NodeEvent, ...] = ()
    drivers: dict[str, DriverInfo] = {}
    host_volumes: dict[str, HostVolume] = {}
    host_networks: dict[str, HostNetwork] = {}
    last_drain: DrainMetadata | None = None
    node_max_allocs: int = 0
    cgroup_parent: str = ""
    create_index: int = 0
    modify_index: int = 0

    @property
    def is_ready(self) -> bool:
        """True if new allocations may go here."""
        return (
            self.status is NodeStatus.READY
            and self.drain_strategy is None
            and self.scheduling_eligibility is Eligibility.ELIGIBLE
        )

    @property
    def mhz_per_core(self) -> float:
        """What one whole core counts for, in MHz."""
        cpu = self.node_resources.cpu
        return cpu.cpu_shares / cpu.total_cpu_cores if cpu.total_cpu_cores else 0.0

    @property
    def usable_mhz(self) -> int:
        """CPU that allocations may take, in MHz: all but what is kept for the host, as MHz or as cores."""
        kept = self.reserved_resources.cpu
        cores = int(len(kept.reserved_cpu_cores) * self.mhz_per_core)
        return max(0, self.node_resources.cpu.cpu_shares - kept.cpu_shares - cores)

    @property
    def addresses(self) -> tuple[NodeNetworkAddress, ...]:
        """The addresses of all its networks."""
        return tuple(address for network in self.node_resources.node_networks for address in network.addresses)

    @property
    def reserved_ports(self) -> frozenset[int]:
        """Ports that no allocation gets on some address or other."""
        return self.reserved_ports_on("")

    def reserved_ports_on(self, address: str) -> frozenset[int]:
        """Ports that no allocation gets on an address ('': on any): those kept for the host and for its network."""
        found = port_numbers(self.reserved_resources.networks.reserved_host_ports)
        for other in self.addresses:
            if other.reserved_ports and (not address or other.address == address):
                found |= port_numbers(other.reserved_ports)
        return found


@lru_cache(maxsize=1024)
def port_numbers(text: str) -> frozenset[int]:
    """ "22,80,8500-8600" as numbers; parts that are no ports are passed over."""
    ports: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last.isdigit() or not last):
            ports.update(range(int(first), min(int(last or first), 65_535) + 1))
    return frozenset(ports)


def computed_class(node: Node) -> str:
    """A hash over everything that makes nodes interchangeable for constraints.

    Covers datacenter, class, pool, attributes, meta, drivers' health, host networks, host volumes
    and devices, except keys that start with ``unique.``. Form: ``v1:<uint64>``.
    """
    shared = {
        "dc": node.datacenter,
        "class": node.node_class,
        "pool": node.node_pool,
        "attributes": _shared_items(node.attributes),
        "meta": _shared_items(node.meta),
        "drivers": sorted((name, info.detected and info.healthy) for name, info in node.drivers.items()),
        "host_networks": sorted(node.host_networks),
        "host_volumes": sorted((name, volume.read_only) for name, volume in node.host_volumes.items()),
        "modes": sorted({network.mode for network in node.node_resources.node_networks}),
        "aliases": sorted(
            {address.alias for network in node.node_resources.node_networks for address in network.addresses}
        ),
        "devices": sorted(
            (device.vendor, device.type, device.name, sorted(map(str, device.attributes.items())))
            for device in node.node_resources.devices
        ),
    }
    digest = hashlib.blake2b(msgspec.msgpack.encode(shared), digest_size=8).digest()
    return f"v1:{int.from_bytes(digest, 'big')}"


def _shared_items(items: dict[str, str]) -> list[tuple[str, str]]:
    return sorted((key, value) for key, value in items.items() if not key.startswith("unique."))


class NodePool(Noun, frozen=True, kw_only=True):
    """A named set of nodes. `all` and `default` are built in."""

    name: str = ""
    description: str = ""
    meta: dict[str, str] = {}
    scheduler_configuration: dict[str, Any] | None = None
    create_index: int = 0
    modify_index: int = 0


class Namespace(Noun, frozen=True, kw_only=True):
    """A name that keeps jobs apart."""

    name: str = ""
    description: str = ""
    quota: str = ""
    capabilities: dict[str, Any] | None = None
    meta: dict[str, str] = {}
    create_index: int = 0
    modify_index: int = 0


class PreemptionConfig(Noun, frozen=True, kw_only=True):
    """Which job types may push others out."""

    system_scheduler_enabled: bool = True
    sysbatch_scheduler_enabled: bool = field(name="SysBatchSchedulerEnabled", default=False)
    batch_scheduler_enabled: bool = False
    service_scheduler_enabled: bool = False


class SchedulerConfiguration(Noun, frozen=True, kw_only=True):
    """Cluster-wide settings of the scheduler. algorithm: binpack or spread."""

    scheduler_algorithm: str = "binpack"
    preemption_config: PreemptionConfig = PreemptionConfig()
    memory_oversubscription_enabled: bool = False
    reject_job_registration: bool = False
    pause_eval_broker: bool = False
    node_limit_for_feasibility_checks: int = 0
    create_index: int = 0
    modify_index: int = 0
