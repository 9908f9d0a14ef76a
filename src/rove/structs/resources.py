"""What an allocation was given."""

from __future__ import annotations

from msgspec import field

from .base import Noun, SparseNoun
from .job import Lifecycle, NetworkResource


class AllocatedCpu(Noun, frozen=True, kw_only=True):
    """MHz, and the ids of cores held alone."""

    cpu_shares: int = field(name="CpuShares", default=0)
    reserved_cores: tuple[int, ...] = ()


class AllocatedMemory(Noun, frozen=True, kw_only=True):
    """MB asked for, and the limit above it (0: none)."""

    memory_mb: int = 0
    memory_max_mb: int = 0


class AllocatedDevice(Noun, frozen=True, kw_only=True):
    """Instances of one device given to a task."""

    vendor: str = ""
    type: str = ""
    name: str = ""
    device_ids: tuple[str, ...] = ()


class AllocatedPort(SparseNoun, frozen=True, kw_only=True):
    """A port given: `value` on the host, `to` inside (0: the same)."""

    label: str = ""
    value: int = 0
    to: int = 0
    host_ip: str = ""
    ignore_collision: bool = False


class AllocatedTask(Noun, frozen=True, kw_only=True):
    """Resources of one task."""

    cpu: AllocatedCpu = field(name="Cpu", default=AllocatedCpu())
    memory: AllocatedMemory = AllocatedMemory()
    networks: tuple[NetworkResource, ...] = ()
    devices: tuple[AllocatedDevice, ...] = ()


class AllocatedShared(Noun, frozen=True, kw_only=True):
    """Resources shared by a group's tasks."""

    networks: tuple[NetworkResource, ...] = ()
    disk_mb: int = 0
    ports: tuple[AllocatedPort, ...] = ()


class AllocatedResources(Noun, frozen=True, kw_only=True):
    """All that one allocation holds on its node."""

    tasks: dict[str, AllocatedTask] = {}
    task_lifecycles: dict[str, Lifecycle | None] = {}
    shared: AllocatedShared = AllocatedShared()


class Usage(Noun, frozen=True, kw_only=True):
    """The comparable sum of an allocation's resources: MHz, MB, MB.

    Rule (Nomad, concepts/scheduling): per dimension the maximum of (main + poststart + prestart
    sidecars), prestart tasks, poststop tasks; reserved cores are already MHz here.
    """

    cpu: int = 0
    memory_mb: int = 0
    disk_mb: int = 0


def usage_of(resources: AllocatedResources) -> Usage:
    """What `resources` take from a node."""
    running, prestart, poststop = [0, 0], [0, 0], [0, 0]
    for name, task in resources.tasks.items():
        lifecycle = resources.task_lifecycles.get(name)
        hook, sidecar = (lifecycle.hook, lifecycle.sidecar) if lifecycle else ("", False)
        phases = [running]
        if hook == "prestart":
            phases = [running, prestart] if sidecar else [prestart]
        elif hook == "poststop":
            phases = [poststop]
        for phase in phases:
            phase[0] += task.cpu.cpu_shares
            phase[1] += task.memory.memory_mb
    cpu, memory = (max(a, b, c) for a, b, c in zip(running, prestart, poststop, strict=True))
    return Usage(cpu=cpu, memory_mb=memory, disk_mb=resources.shared.disk_mb)


def same_address(one: str, other: str) -> bool:
    """True if a port on one address is also one on the other; '' stands for every address."""
    return not one or not other or one == other


def ports_of(resources: AllocatedResources) -> tuple[AllocatedPort, ...]:
    """Every host port that `resources` hold, group and legacy task networks together."""
    legacy = [
        AllocatedPort(label=port.label, value=port.value, to=port.to, host_ip=network.ip)
        for task in resources.tasks.values()
        for network in task.networks
        for port in (*network.reserved_ports, *network.dynamic_ports)
    ]
    return (*resources.shared.ports, *legacy)
