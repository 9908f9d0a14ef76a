"""Builders of nouns for tests: everything has a sensible default, so that a test names only what matters."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from rove.structs.alloc import AllocStatus, AllocUpdate
from rove.structs.deployment import Deployment, DeploymentGroup
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobType, Resources, Task, TaskGroup
from rove.structs.node import Node, NodeCpu, NodeDisk, NodeMemory, NodeResources, NodeStatus
from rove.structs.plan import Placement
from rove.structs.resources import (
    AllocatedCpu,
    AllocatedMemory,
    AllocatedPort,
    AllocatedResources,
    AllocatedShared,
    AllocatedTask,
)


def an_id(name: str) -> str:
    """A UUID that is the same for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def a_node(name: str = "n1", cpu: int = 4000, memory_mb: int = 8000, disk_mb: int = 50_000, **more: Any) -> Node:
    """A ready node."""
    has = NodeResources(
        cpu=NodeCpu(cpu_shares=cpu), memory=NodeMemory(memory_mb=memory_mb), disk=NodeDisk(disk_mb=disk_mb)
    )
    fields: dict[str, Any] = {"id": an_id(name), "name": name, "status": NodeStatus.READY, "node_resources": has}
    return Node(**{**fields, **more})


def a_job(
    job_id: str = "web",
    count: int = 1,
    groups: Sequence[str] = ("api",),
    cpu: int = 100,
    memory_mb: int = 128,
    **more: Any,
) -> Job:
    """A service job with one task a group."""
    task = Task(name="main", driver="mock", resources=Resources(cpu=cpu, memory_mb=memory_mb))
    made = tuple(TaskGroup(name=name, count=count, tasks=(task,)) for name in groups)
    fields: dict[str, Any] = {"id": job_id, "name": job_id, "type": JobType.SERVICE, "task_groups": made}
    return Job(**{**fields, **more})


def an_evaluation(name: str = "e1", job_id: str = "web", **more: Any) -> Evaluation:
    """A pending evaluation of a job."""
    fields: dict[str, Any] = {"id": an_id(name), "namespace": "default", "job_id": job_id}
    return Evaluation(**{**fields, **more})


def resources_of(
    cpu: int = 100, memory_mb: int = 128, disk_mb: int = 300, ports: Sequence[int] = ()
) -> AllocatedResources:
    """What an allocation with one task holds."""
    task = AllocatedTask(cpu=AllocatedCpu(cpu_shares=cpu), memory=AllocatedMemory(memory_mb=memory_mb))
    given = tuple(AllocatedPort(label=f"p{port}", value=port) for port in ports)
    return AllocatedResources(
        tasks={"main": task}, task_lifecycles={"main": None}, shared=AllocatedShared(disk_mb=disk_mb, ports=given)
    )


def a_placement(on: Sequence[str], job_id: str = "web", evaluation: str = "e1", **more: Any) -> Placement:
    """A copy on each of the nodes named (ids; one may be named more than once), with name indexes from 0."""
    distinct = tuple(dict.fromkeys(on))
    columns = np.array([distinct.index(node_id) for node_id in on], dtype="<i4")
    fields: dict[str, Any] = {
        "namespace": "default",
        "job_id": job_id,
        "job_version": 0,
        "group": "api",
        "eval_id": an_id(evaluation),
        "node_ids": distinct,
        "nodes": columns.tobytes(),
        "indexes": np.arange(len(on), dtype="<i4").tobytes(),
        "resources": resources_of(),
    }
    return Placement(**{**fields, **more})


def a_deployment(name: str = "d1", job_id: str = "web", total: int = 1, **more: Any) -> Deployment:
    """A running deployment of one group."""
    group = DeploymentGroup(desired_total=total, progress_deadline=600_000_000_000)
    fields: dict[str, Any] = {
        "id": an_id(name),
        "namespace": "default",
        "job_id": job_id,
        "task_groups": {"api": group},
    }
    return Deployment(**{**fields, **more})


def a_report(alloc_id: str, status: AllocStatus = AllocStatus.RUNNING, **more: Any) -> AllocUpdate:
    """A node's report of an allocation."""
    return AllocUpdate(id=alloc_id, client_status=status, **more)
