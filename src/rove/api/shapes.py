"""Answers whose shape is not a noun's own: stubs in lists, and nouns with what Nomad adds or leaves out.

Zero values of `Allocation` and `Evaluation` are absent from Nomad's JSON. The nouns leave out *defaults*,
which are not all zero (a pending evaluation's status), so these two have views of their own here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import field
from msgspec.structs import asdict

from rove.structs.alloc import (
    Allocation,
    AllocDeploymentStatus,
    AllocMetric,
    AllocStateChange,
    AllocStub,
    DesiredTransition,
    NetworkStatus,
    RescheduleTracker,
    TaskState,
)
from rove.structs.base import Noun, Ns, UnixNs
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobSummary, Multiregion, NetworkResource
from rove.structs.node import (
    DrainMetadata,
    DriverInfo,
    HostVolume,
    Node,
    NodeReserved,
    NodeResources,
)
from rove.structs.resources import AllocatedResources


class JobStub(Noun, frozen=True, kw_only=True):
    """A job in lists."""

    id: str
    parent_id: str
    name: str
    namespace: str
    datacenters: tuple[str, ...]
    node_pool: str
    multiregion: Multiregion | None
    type: str
    priority: int
    periodic: bool
    parameterized_job: bool
    stop: bool
    status: str
    status_description: str
    job_summary: JobSummary
    create_index: int
    modify_index: int
    job_modify_index: int
    submit_time: UnixNs
    meta: dict[str, str] | None = None


def job_stub(job: Job, summary: JobSummary | None, with_meta: bool = False) -> JobStub:
    """The stub of a job. Clients need the summary's namespace, so there is always a summary."""
    return JobStub(
        id=job.id,
        parent_id=job.parent_id,
        name=job.name,
        namespace=job.namespace,
        datacenters=job.datacenters,
        node_pool=job.node_pool,
        multiregion=job.multiregion,
        type=job.type,
        priority=job.priority,
        periodic=job.is_periodic,
        parameterized_job=job.is_parameterized,
        stop=job.stop,
        status=job.status,
        status_description=job.status_description,
        job_summary=summary_or_empty(job, summary),
        create_index=job.create_index,
        modify_index=job.modify_index,
        job_modify_index=job.job_modify_index,
        submit_time=job.submit_time,
        meta=job.meta if with_meta else None,
    )


def summary_or_empty(job: Job, summary: JobSummary | None) -> JobSummary:
    """The job's summary, or one that counts nothing."""
    return summary or JobSummary(
        job_id=job.id, namespace=job.namespace, create_index=job.create_index, modify_index=job.modify_index
    )


class NodeStub(Noun, frozen=True, kw_only=True):
    """A node in lists."""

    address: str
    id: str
    datacenter: str
    name: str
    node_pool: str
    node_class: str
    version: str
    drain: bool
    scheduling_eligibility: str
    status: str
    status_description: str
    drivers: dict[str, DriverInfo]
    host_volumes: dict[str, HostVolume]
    last_drain: DrainMetadata | None
    attributes: dict[str, str] | None = None
    node_resources: NodeResources | None = None
    reserved_resources: NodeReserved | None = None
    create_index: int
    modify_index: int


def node_stub(node: Node, with_resources: bool = False, with_os: bool = False) -> NodeStub:
    """The stub of a node."""
    address = node.http_addr.rpartition(":")[0] or node.attributes.get("unique.network.ip-address", "")
    return NodeStub(
        address=address.strip("[]"),
        id=node.id,
        datacenter=node.datacenter,
        name=node.name,
        node_pool=node.node_pool,
        node_class=node.node_class,
        version=node.attributes.get("nomad.version", ""),
        drain=node.drain_strategy is not None,
        scheduling_eligibility=node.scheduling_eligibility,
        status=node.status,
        status_description=node.status_description,
        drivers=node.drivers,
        host_volumes=node.host_volumes,
        last_drain=node.last_drain,
        attributes={"os.name": node.attributes.get("os.name", "")} if with_os else None,
        node_resources=node.node_resources if with_resources else None,
        reserved_resources=node.reserved_resources if with_resources else None,
        create_index=node.create_index,
        modify_index=node.modify_index,
    )


class NodeDetail(Node, frozen=True, kw_only=True):
    """A node, without its secret and with what clients derive from it."""

    drain: bool = False
    csi_controller_plugins: dict[str, Any] = field(name="CSIControllerPlugins", default={})
    csi_node_plugins: dict[str, Any] = field(name="CSINodePlugins", default={})


def node_detail(node: Node) -> NodeDetail:
    """The node as the API shows it."""
    fields = {**shallow(node), "secret_id": "", "drain": node.drain_strategy is not None}
    return NodeDetail(**fields)


class LegacyResources(Noun, frozen=True, kw_only=True):
    """An allocation's resources in the older, flat form that the command line still reads."""

    cpu: int = 0
    memory_mb: int = 0
    disk_mb: int = 0
    networks: tuple[NetworkResource, ...] = ()


class AllocView(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """An allocation as the API shows it; zero values are absent."""

    id: str = ""
    namespace: str = ""
    eval_id: str = ""
    name: str = ""
    node_id: str = ""
    node_name: str = ""
    job_id: str = ""
    job: Job | None = None
    task_group: str = ""
    resources: LegacyResources | None = None
    shared_resources: LegacyResources | None = None
    task_resources: dict[str, LegacyResources] = {}
    allocated_resources: AllocatedResources | None = None
    metrics: AllocMetric | None = None
    desired_status: str = ""
    desired_description: str = ""
    desired_transition: DesiredTransition | None = None
    client_status: str = ""
    client_description: str = ""
    task_states: dict[str, TaskState] | None = None
    alloc_states: tuple[AllocStateChange, ...] = ()
    previous_allocation: str = ""
    next_allocation: str = ""
    deployment_id: str = ""
    deployment_status: AllocDeploymentStatus | None = None
    reschedule_tracker: RescheduleTracker | None = None
    network_status: NetworkStatus | None = None
    followup_eval_id: str = ""
    preempted_allocations: tuple[str, ...] = ()
    preempted_by_allocation: str = ""
    create_index: int = 0
    modify_index: int = 0
    alloc_modify_index: int = 0
    create_time: UnixNs = 0
    modify_time: UnixNs = 0


def alloc_view(alloc: Allocation, job: Job | None) -> AllocView:
    """The allocation with its job and the older forms of its resources."""
    fields = shallow(alloc)
    del fields["job_version"]
    given = alloc.allocated_resources
    tasks = {
        name: LegacyResources(cpu=task.cpu.cpu_shares, memory_mb=task.memory.memory_mb, networks=task.networks)
        for name, task in given.tasks.items()
    }
    shared = LegacyResources(disk_mb=given.shared.disk_mb, networks=given.shared.networks)
    fields["job"] = job
    fields["task_resources"] = tasks
    fields["shared_resources"] = shared
    fields["resources"] = LegacyResources(
        cpu=sum(task.cpu for task in tasks.values()),
        memory_mb=sum(task.memory_mb for task in tasks.values()),
        disk_mb=shared.disk_mb,
        networks=shared.networks,
    )
    return AllocView(**fields)


def alloc_stub(alloc: Allocation, with_resources: bool = False, with_states: bool = True) -> AllocStub:
    """The allocation in lists."""
    return AllocStub(
        id=alloc.id,
        eval_id=alloc.eval_id,
        name=alloc.name,
        namespace=alloc.namespace,
        node_id=alloc.node_id,
        node_name=alloc.node_name,
        job_id=alloc.job_id,
        job_type=alloc.job.type if alloc.job else "",
        job_version=alloc.job_version,
        task_group=alloc.task_group,
        allocated_resources=alloc.allocated_resources if with_resources else None,
        desired_status=alloc.desired_status,
        desired_description=alloc.desired_description,
        client_status=alloc.client_status,
        client_description=alloc.client_description,
        desired_transition=alloc.desired_transition,
        task_states=alloc.task_states if with_states else None,
        deployment_status=alloc.deployment_status,
        followup_eval_id=alloc.followup_eval_id,
        next_allocation=alloc.next_allocation,
        reschedule_tracker=alloc.reschedule_tracker,
        preempted_allocations=alloc.preempted_allocations,
        preempted_by_allocation=alloc.preempted_by_allocation,
        create_index=alloc.create_index,
        modify_index=alloc.modify_index,
        create_time=alloc.create_time,
        modify_time=alloc.modify_time,
    )


class EvalStubView(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """A related evaluation in short."""

    id: str = ""
    priority: int = 0
    type: str = ""
    triggered_by: str = ""
    namespace: str = ""
    job_id: str = ""
    node_id: str = ""
    deployment_id: str = ""
    status: str = ""
    status_description: str = ""
    wait_until: datetime | None = None
    next_eval: str = ""
    previous_eval: str = ""
    blocked_eval: str = ""
    create_index: int = 0
    modify_index: int = 0
    create_time: UnixNs = 0
    modify_time: UnixNs = 0


class EvalView(EvalStubView, frozen=True, kw_only=True, omit_defaults=True):
    """An evaluation as the API shows it; zero values are absent."""

    job_modify_index: int = 0
    node_modify_index: int = 0
    wait: Ns = 0
    related_evals: tuple[EvalStubView, ...] = ()
    failed_tg_allocs: dict[str, AllocMetric] = {}
    plan_annotations: dict[str, Any] | None = None
    class_eligibility: dict[str, bool] = {}
    quota_limit_reached: str = ""
    escaped_computed_class: bool = False
    annotate_plan: bool = False
    queued_allocations: dict[str, int] = {}
    snapshot_index: int = 0


def eval_view(evaluation: Evaluation, related: tuple[EvalStubView, ...] = ()) -> EvalView:
    """The evaluation as the API shows it."""
    return EvalView(**{**shallow(evaluation), "related_evals": related})


def eval_stub(evaluation: Evaluation) -> EvalStubView:
    """The evaluation in short."""
    return EvalStubView(**{name: getattr(evaluation, name) for name in EvalStubView.__struct_fields__})


class WriteReply(Noun, frozen=True, kw_only=True):
    """What every write answers at least."""

    index: int = 0
    last_contact: int = 0
    known_leader: bool = False
    next_token: str = ""


class EvalReply(WriteReply, frozen=True, kw_only=True):
    """A write about a job that made an evaluation."""

    eval_id: str = ""
    eval_create_index: int = 0
    job_modify_index: int = 0
    warnings: str = ""


class NodeReply(WriteReply, frozen=True, kw_only=True):
    """A write about a node that made evaluations."""

    eval_ids: list[str] = []
    eval_create_index: int = 0
    node_modify_index: int = 0


class DeploymentReply(WriteReply, frozen=True, kw_only=True):
    """A write about a deployment."""

    eval_id: str = ""
    eval_create_index: int = 0
    deployment_modify_index: int = 0
    reverted_job_version: int | None = None


class Indexed(WriteReply, frozen=True, kw_only=True):
    """A write that answers only with its index."""


def shallow(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields of a struct by Python name, values untouched."""
    return asdict(struct)


def deployment_order(deployment: Deployment) -> tuple[int, str]:
    """Creation order."""
    return (deployment.create_index, deployment.id)
