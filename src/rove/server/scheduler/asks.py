"""What one copy of a group asks of a node, gathered once per group and job version."""

from __future__ import annotations

from dataclasses import dataclass

from rove.structs.job import (
    Affinity,
    Constraint,
    Job,
    NetworkResource,
    Port,
    RequestedDevice,
    Spread,
    Task,
    TaskGroup,
    VolumeRequest,
)
from rove.structs.resources import (
    AllocatedCpu,
    AllocatedMemory,
    AllocatedResources,
    AllocatedShared,
    AllocatedTask,
    usage_of,
)

from .conditions import DISTINCT_HOSTS, DISTINCT_PROPERTY, is_distinct


@dataclass(frozen=True)
class Ask:
    """One copy of a group.

    cpu, memory, disk: MHz, MB, MB, with cores not counted yet. cores: whole cores wanted.
    constraints: of job, group and tasks, those that look at one node only. distinct_hosts: '' (no),
    'group' or 'job'. distinct_properties: (attribute, most copies a value, 'job' or 'group').
    """

    job: Job
    group: TaskGroup
    cpu: int
    memory: int
    disk: int
    cores: int
    resources: AllocatedResources
    constraints: tuple[Constraint, ...]
    affinities: tuple[Affinity, ...]
    spreads: tuple[Spread, ...]
    distinct_hosts: str
    distinct_properties: tuple[tuple[str, int, str], ...]
    drivers: tuple[str, ...]
    devices: tuple[tuple[str, RequestedDevice], ...]
    networks: tuple[NetworkResource, ...]
    static_ports: tuple[Port, ...]
    dynamic_ports: tuple[Port, ...]
    volumes: tuple[VolumeRequest, ...]

    @property
    def has_ports(self) -> bool:
        return bool(self.static_ports or self.dynamic_ports)

    @property
    def needs_detail(self) -> bool:
        """True if a node has to be looked at closely (ports, devices, cores) before a copy goes there."""
        return bool(self.static_ports or self.dynamic_ports or self.devices or self.cores)


def ask_of(job: Job, group: TaskGroup, *, oversubscribes: bool = True) -> Ask:
    """Gather what a copy of `group` asks for.

    oversubscribes: tasks may use memory up to `memory_max` where the node has it.
    """
    resources = resources_of(group, oversubscribes=oversubscribes)
    usage = usage_of(resources)
    conditions = [*job.constraints, *group.constraints]
    affinities = [*job.affinities, *group.affinities]
    for task in group.tasks:
        conditions += task.constraints
        affinities += task.affinities
    networks = [*group.networks, *(net for task in group.tasks for net in task.resources.networks)]
    return Ask(
        job=job, group=group, cpu=usage.cpu, memory=usage.memory_mb, disk=usage.disk_mb,
        cores=sum(task.resources.cores for task in group.tasks), resources=resources,
        constraints=tuple(condition for condition in conditions if not is_distinct(condition)),
        affinities=tuple(affinities),
        spreads=(*group.spreads, *job.spreads),
        distinct_hosts=_distinct_hosts(job, group),
        distinct_properties=_distinct_properties(job, group),
        drivers=tuple(sorted({task.driver for task in group.tasks if task.driver})),
        devices=tuple((task.name, device) for task in group.tasks for device in task.resources.devices),
        networks=tuple(networks),
        static_ports=tuple(port for network in networks for port in network.reserved_ports),
        dynamic_ports=tuple(port for network in networks for port in network.dynamic_ports),
        volumes=tuple(group.volumes[name] for name in sorted(group.volumes)),
    )  # fmt: skip


def _distinct_hosts(job: Job, group: TaskGroup) -> str:
    if any(_asks_distinct_hosts(condition) for condition in job.constraints):
        return "job"
    of_tasks = (condition for task in group.tasks for condition in task.constraints)
    return "group" if any(map(_asks_distinct_hosts, (*group.constraints, *of_tasks))) else ""


def _asks_distinct_hosts(condition: Constraint) -> bool:
    return condition.operand == DISTINCT_HOSTS and condition.r_target.lower() not in ("false", "0")


def _distinct_properties(job: Job, group: TaskGroup) -> tuple[tuple[str, int, str], ...]:
    of_tasks = [condition for task in group.tasks for condition in task.constraints]
    return tuple(
        (condition.l_target, int(condition.r_target) if condition.r_target.isdigit() else 1, scope)
        for scope, conditions in (("job", job.constraints), ("group", (*group.constraints, *of_tasks)))
        for condition in conditions
        if condition.operand == DISTINCT_PROPERTY
    )


def resources_of(group: TaskGroup, *, oversubscribes: bool = True) -> AllocatedResources:
    """What every copy is given, ports, devices and cores aside."""
    return AllocatedResources(
        tasks={task.name: _task_resources(task, oversubscribes) for task in group.tasks},
        task_lifecycles={task.name: task.lifecycle for task in group.tasks},
        shared=AllocatedShared(networks=group.networks, disk_mb=group.ephemeral_disk.size_mb),
    )


def _task_resources(task: Task, oversubscribes: bool) -> AllocatedTask:
    resources = task.resources
    most = resources.memory_max_mb if oversubscribes else 0
    return AllocatedTask(
        cpu=AllocatedCpu(cpu_shares=0 if resources.cores else resources.cpu),
        memory=AllocatedMemory(memory_mb=resources.memory_mb, memory_max_mb=most),
    )
