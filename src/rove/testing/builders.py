"""Short ways to make jobs, nodes and allocations: `a_job("web", count=4)`.

Every builder fills in what the code under test needs, and takes any field by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rove.structs.alloc import Allocation, AllocStatus, alloc_name
from rove.structs.base import HOUR, MINUTE, SECOND
from rove.structs.evaluation import Evaluation, Trigger
from rove.structs.job import (
    Constraint,
    EphemeralDisk,
    Job,
    JobType,
    MigrateStrategy,
    NetworkResource,
    Port,
    ReschedulePolicy,
    Resources,
    RestartPolicy,
    Spread,
    SpreadTarget,
    Task,
    TaskGroup,
    UpdateStrategy,
)
from rove.structs.node import (
    DriverInfo,
    Node,
    NodeCpu,
    NodeDisk,
    NodeMemory,
    NodeNetwork,
    NodeNetworkAddress,
    NodeResources,
    NodeStatus,
    computed_class,
)
from rove.structs.resources import (
    AllocatedCpu,
    AllocatedMemory,
    AllocatedResources,
    AllocatedShared,
    AllocatedTask,
)

_GROUP_ONLY = set(TaskGroup.__struct_fields__) - {"constraints", "spreads", "affinities", "meta", "name"}
SERVICE_RESCHEDULE = ReschedulePolicy(delay=30 * SECOND, delay_function="exponential", max_delay=HOUR, unlimited=True)
BATCH_RESCHEDULE = ReschedulePolicy(attempts=1, interval=24 * HOUR, delay=5 * SECOND, delay_function="constant")


def an_update(**fields: Any) -> UpdateStrategy:
    """The update rules that a plain service job has."""
    defaults: dict[str, Any] = {
        "stagger": 30 * SECOND, "max_parallel": 1, "health_check": "checks", "min_healthy_time": 10 * SECOND,
        "healthy_deadline": 5 * MINUTE, "progress_deadline": 10 * MINUTE,
    }  # fmt: skip
    return UpdateStrategy(**(defaults | fields))


def a_task(
    name: str = "main", *, driver: str = "mock_driver", cpu: int = 100, memory: int = 128, **fields: Any
) -> Task:
    """A task. cpu in MHz, memory in MB."""
    resources = fields.pop("resources", None) or Resources(cpu=cpu, memory_mb=memory)
    return Task(name=name, driver=driver, resources=resources, **fields)


def a_group(
    name: str = "api",
    *,
    count: int = 1,
    tasks: Sequence[Task] | None = None,
    cpu: int = 100,
    memory: int = 128,
    disk: int = 10,
    ports: Iterable[str] = (),
    static_ports: dict[str, int] | None = None,
    **fields: Any,
) -> TaskGroup:
    """A group of one mock task. ports: labels of dynamic ports; static_ports: label to number."""
    labels = tuple(Port(label=label) for label in ports)
    static = tuple(Port(label=label, value=value) for label, value in (static_ports or {}).items())
    if labels or static:
        fields.setdefault("networks", (NetworkResource(mode="host", dynamic_ports=labels, reserved_ports=static),))
    return TaskGroup(
        name=name,
        count=count,
        tasks=tuple(tasks) if tasks is not None else (a_task(cpu=cpu, memory=memory),),
        ephemeral_disk=fields.pop("ephemeral_disk", EphemeralDisk(size_mb=disk)),
        restart_policy=fields.pop("restart_policy", RestartPolicy()),
        **fields,
    )


def a_job(
    id: str = "web",
    *,
    type: str | JobType = JobType.SERVICE,
    groups: Sequence[TaskGroup] | None = None,
    count: int = 1,
    version: int = 0,
    **fields: Any,
) -> Job:
    """A job of one group `api` with Nomad's defaults for its type.

    Fields of the group may be given too when `groups` is not: cpu, memory, disk, ports, static_ports,
    update, spreads of the group as `group_spreads`, and so on.
    """
    kind = JobType(type)
    job_fields = {name: fields.pop(name) for name in list(fields) if name in Job.__struct_fields__ and name != "update"}
    if groups is None:
        groups = (a_group(count=count, **fields),)
    elif fields:
        raise TypeError(f"unknown fields: {', '.join(fields)}")
    index = 10 + version
    defaults: dict[str, Any] = {
        "name": id, "create_index": 10, "modify_index": index, "job_modify_index": index,
    }  # fmt: skip
    return Job(
        id=id, type=kind, version=version, task_groups=tuple(_with_defaults(group, kind) for group in groups),
        **(defaults | job_fields),
    )  # fmt: skip


def _with_defaults(group: TaskGroup, kind: JobType) -> TaskGroup:
    changes: dict[str, Any] = {}
    if kind is JobType.SERVICE:
        if group.reschedule_policy is None:
            changes["reschedule_policy"] = SERVICE_RESCHEDULE
        if group.migrate is None:
            changes["migrate"] = MigrateStrategy()
    if kind is JobType.BATCH and group.reschedule_policy is None:
        changes["reschedule_policy"] = BATCH_RESCHEDULE
    if kind in (JobType.SERVICE, JobType.SYSTEM) and group.update is None:
        changes["update"] = an_update()
    return msgspec.structs.replace(group, **changes) if changes else group


def a_version(job: Job, version: int | None = None, **fields: Any) -> Job:
    """The next version of `job`. Fields of its groups (count, tasks, update, ...) change in every group."""
    number = job.version + 1 if version is None else version
    group_fields = {name: fields.pop(name) for name in list(fields) if name in _GROUP_ONLY}
    groups = tuple(msgspec.structs.replace(group, **group_fields) for group in job.task_groups)
    fields.setdefault("task_groups", groups)
    index = 10 + number
    return msgspec.structs.replace(job, version=number, modify_index=index, job_modify_index=index, **fields)


def a_restarting_version(job: Job, **fields: Any) -> Job:
    """The next version of `job` with a changed environment, so that every copy must be replaced."""
    groups = tuple(
        msgspec.structs.replace(
            group,
            tasks=tuple(
                msgspec.structs.replace(task, env={**task.env, "VERSION": str(job.version + 1)}) for task in group.tasks
            ),
        )
        for group in job.task_groups
    )
    return a_version(msgspec.structs.replace(job, task_groups=groups), job.version + 1, **fields)


def a_node(
    id: str = "node-1",
    *,
    cpu: int = 4000,
    memory: int = 8192,
    disk: int = 100_000,
    drivers: Iterable[str] = ("mock_driver", "raw_exec", "docker"),
    **fields: Any,
) -> Node:
    """A ready node. Its computed class is filled in."""
    resources = fields.pop("node_resources", None) or NodeResources(
        cpu=NodeCpu(cpu_shares=cpu, total_cpu_cores=4, reservable_cpu_cores=(0, 1, 2, 3)),
        memory=NodeMemory(memory_mb=memory),
        disk=NodeDisk(disk_mb=disk),
        devices=fields.pop("devices", ()),
        node_networks=fields.pop(
            "node_networks",
            (NodeNetwork(mode="host", addresses=(NodeNetworkAddress(address="10.0.0.1"),)),),
        ),
        min_dynamic_port=fields.pop("min_dynamic_port", 20_000),
        max_dynamic_port=fields.pop("max_dynamic_port", 32_000),
    )
    attributes = {"kernel.name": "linux", "cpu.arch": "amd64", **fields.pop("attributes", {})}
    defaults: dict[str, Any] = {
        "name": id, "status": NodeStatus.READY,
        "drivers": {driver: DriverInfo(detected=True, healthy=True) for driver in drivers},
    }  # fmt: skip
    node = Node(id=id, node_resources=resources, attributes=attributes, **(defaults | fields))
    return msgspec.structs.replace(node, computed_class=computed_class(node))


def an_evaluation(job: Job | str = "web", **fields: Any) -> Evaluation:
    """An evaluation of a job."""
    if isinstance(job, Job):
        fields = {
            "namespace": job.namespace, "job_id": job.id, "priority": job.priority, "type": job.type.value,
        } | fields  # fmt: skip
    else:
        fields = {"namespace": "default", "job_id": job} | fields
    return Evaluation(**({"id": "eval-1", "triggered_by": Trigger.JOB_REGISTER} | fields))


def an_alloc(
    job: Job, index: int = 0, *, node: Node | str = "node-1", group: str = "", id: str = "", **fields: Any
) -> Allocation:
    """A running copy of a job's (first) group."""
    found = job.group(group) if group else job.task_groups[0]
    if found is None:
        raise ValueError(f"no group {group}")
    node_id = node if isinstance(node, str) else node.id
    defaults: dict[str, Any] = {
        "namespace": job.namespace, "name": alloc_name(job.id, found.name, index), "job_id": job.id,
        "job": job, "job_version": job.version, "task_group": found.name, "node_id": node_id,
        "client_status": AllocStatus.RUNNING, "allocated_resources": resources_of_group(found),
        "create_index": 20, "modify_index": 20,
    }  # fmt: skip
    if "client_status" in fields:
        fields["client_status"] = AllocStatus(fields["client_status"])
    return Allocation(id=id or f"{job.id}-{found.name}-{index}-v{job.version}", **(defaults | fields))


def resources_of_group(group: TaskGroup) -> AllocatedResources:
    """What a copy of the group holds."""
    return AllocatedResources(
        tasks={
            task.name: AllocatedTask(
                cpu=AllocatedCpu(cpu_shares=task.resources.cpu),
                memory=AllocatedMemory(memory_mb=task.resources.memory_mb, memory_max_mb=task.resources.memory_max_mb),
            )
            for task in group.tasks
        },
        task_lifecycles={task.name: task.lifecycle for task in group.tasks},
        shared=AllocatedShared(networks=group.networks, disk_mb=group.ephemeral_disk.size_mb),
    )


def a_constraint(left: str, operand: str = "=", right: str = "") -> Constraint:
    """A constraint."""
    return Constraint(l_target=left, operand=operand, r_target=right)


def a_spread(attribute: str, weight: int = 100, **percent: int) -> Spread:
    """A spread; keyword arguments are its targets."""
    targets = tuple(SpreadTarget(value=value, percent=share) for value, share in percent.items())
    return Spread(attribute=attribute, weight=weight, spread_target=targets)
