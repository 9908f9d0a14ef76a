"""Allocations: one copy of a task group on one node. The server writes `desired_*`, the node `client_*`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import field

from .base import ZERO_TIME, Noun, Ns, SparseNoun, UnixNs
from .job import DNSConfig, Job
from .resources import AllocatedResources


class Desired(StrEnum):
    """What the server wants of an allocation."""

    RUN = "run"
    STOP = "stop"
    EVICT = "evict"


class AllocStatus(StrEnum):
    """What the node says of an allocation."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    LOST = "lost"
    UNKNOWN = "unknown"


CLIENT_TERMINAL = frozenset({AllocStatus.COMPLETE, AllocStatus.FAILED, AllocStatus.LOST})


class TaskStatus(StrEnum):
    """State of one task."""

    PENDING = "pending"
    RUNNING = "running"
    DEAD = "dead"


class TaskEvent(Noun, frozen=True, kw_only=True):
    """Something that happened to a task. `type` is one of Nomad's event types, `details` string values."""

    type: str
    time: UnixNs
    message: str = ""
    display_message: str = ""
    details: dict[str, str] = {}


class TaskState(Noun, frozen=True, kw_only=True):
    """What a task does now, with its last events (at most 10)."""

    state: TaskStatus = TaskStatus.PENDING
    failed: bool = False
    restarts: int = 0
    last_restart: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    events: tuple[TaskEvent, ...] = ()
    paused: str = ""


class AllocStateChange(Noun, frozen=True, kw_only=True):
    """A recorded change of an allocation's own fields, used for disconnects."""

    field: int = 0
    value: str = ""
    time: datetime = ZERO_TIME


class AllocDeploymentStatus(Noun, frozen=True, kw_only=True):
    """Health of an allocation within its deployment. `healthy` None: not decided yet."""

    healthy: bool | None = None
    timestamp: datetime = ZERO_TIME
    canary: bool = False
    modify_index: int = 0


class NetworkStatus(Noun, frozen=True, kw_only=True):
    """The network that the node gave to an allocation."""

    interface_name: str = ""
    address: str = ""
    address_ipv6: str = field(name="AddressIPv6", default="")
    dns: DNSConfig | None = None


class DesiredTransition(Noun, frozen=True, kw_only=True):
    """Wishes about an allocation that the next evaluation carries out."""

    migrate: bool | None = None
    reschedule: bool | None = None
    force_reschedule: bool | None = None
    no_shutdown_delay: bool | None = None
    migrate_disable_placement: bool | None = None


class RescheduleEvent(Noun, frozen=True, kw_only=True):
    """One earlier attempt."""

    reschedule_time: UnixNs = 0
    prev_alloc_id: str = ""
    prev_node_id: str = ""
    delay: Ns = 0


class RescheduleTracker(Noun, frozen=True, kw_only=True):
    """Earlier attempts, oldest first."""

    events: tuple[RescheduleEvent, ...] = ()
    last_reschedule: str = ""


class NodeScore(Noun, frozen=True, kw_only=True):
    """Scores of one node, by scorer name."""

    node_id: str = ""
    scores: dict[str, float] = {}
    norm_score: float = 0.0


class AllocMetric(Noun, frozen=True, kw_only=True):
    """Why a placement went where it went, or nowhere."""

    nodes_evaluated: int = 0
    nodes_filtered: int = 0
    nodes_in_pool: int = 0
    node_pool: str = ""
    nodes_available: dict[str, int] = {}
    class_filtered: dict[str, int] = {}
    constraint_filtered: dict[str, int] = {}
    nodes_exhausted: int = 0
    class_exhausted: dict[str, int] = {}
    dimension_exhausted: dict[str, int] = {}
    quota_exhausted: tuple[str, ...] = ()
    resources_exhausted: dict[str, dict[str, int]] = {}
    scores: dict[str, float] | None = None
    score_meta_data: tuple[NodeScore, ...] = ()
    allocation_time: Ns = 0
    coalesced_failures: int = 0


class Allocation(SparseNoun, frozen=True, kw_only=True):
    """One copy of a task group on one node."""

    id: str = ""
    namespace: str = ""
    eval_id: str = ""
    name: str = ""
    node_id: str = ""
    node_name: str = ""
    job_id: str = ""
    job: Job | None = None
    job_version: int = 0
    task_group: str = ""
    allocated_resources: AllocatedResources = AllocatedResources()
    metrics: AllocMetric | None = None
    desired_status: Desired = Desired.RUN
    desired_description: str = ""
    desired_transition: DesiredTransition = DesiredTransition()
    client_status: AllocStatus = AllocStatus.PENDING
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

    @property
    def job_key(self) -> tuple[str, str]:
        """(namespace, job id)."""
        return (self.namespace, self.job_id)

    @property
    def index(self) -> int:
        """The name index: ``web.api[3]`` gives 3."""
        return alloc_index(self.name)

    @property
    def is_client_terminal(self) -> bool:
        """True once the node has said that it is over (or the node is lost)."""
        return self.client_status in CLIENT_TERMINAL

    @property
    def is_server_terminal(self) -> bool:
        """True once the server wants it gone."""
        return self.desired_status is not Desired.RUN

    @property
    def is_terminal(self) -> bool:
        return self.is_server_terminal or self.is_client_terminal

    @property
    def is_canary(self) -> bool:
        return self.deployment_status is not None and self.deployment_status.canary

    @property
    def is_healthy(self) -> bool:
        return self.deployment_status is not None and self.deployment_status.healthy is True

    @property
    def is_unhealthy(self) -> bool:
        return self.deployment_status is not None and self.deployment_status.healthy is False


def alloc_name(job_id: str, group: str, index: int) -> str:
    """The name of a copy: ``web.api[3]``."""
    return f"{job_id}.{group}[{index}]"


def alloc_index(name: str) -> int:
    """The index within an allocation's name, or -1 if there is none."""
    start, end = name.rfind("["), name.rfind("]")
    return int(name[start + 1 : end]) if 0 <= start < end and name[start + 1 : end].isdigit() else -1


class AllocStub(Noun, frozen=True, kw_only=True):
    """An allocation in lists."""

    id: str
    eval_id: str
    name: str
    namespace: str
    node_id: str
    node_name: str
    job_id: str
    job_type: str
    job_version: int
    task_group: str
    allocated_resources: AllocatedResources | None
    desired_status: Desired
    desired_description: str
    client_status: AllocStatus
    client_description: str
    desired_transition: DesiredTransition
    task_states: dict[str, TaskState] | None
    deployment_status: AllocDeploymentStatus | None
    followup_eval_id: str
    next_allocation: str
    reschedule_tracker: RescheduleTracker | None
    preempted_allocations: tuple[str, ...]
    preempted_by_allocation: str
    create_index: int
    modify_index: int
    create_time: UnixNs
    modify_time: UnixNs


class AllocUpdate(Noun, frozen=True, kw_only=True):
    """What a node reports of one allocation. `sequence` rises per allocation: older reports are dropped."""

    id: str
    client_status: AllocStatus
    client_description: str = ""
    task_states: dict[str, TaskState] = {}
    network_status: NetworkStatus | None = None
    healthy: bool | None = None
    healthy_time: UnixNs = 0
    sequence: int = 0
