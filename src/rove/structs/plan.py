"""Plans: what a scheduler proposes. Checked again against the newest state before it is stored.

New allocations travel and are stored as *columns*, not as a struct each: a placement block holds what
the copies share once, and arrays for what differs. `rove.server.state` makes `Allocation` structs from
a block when somebody looks.
"""

from __future__ import annotations

from .alloc import AllocMetric, AllocStatus, Desired, NodeScore, RescheduleTracker
from .base import Noun, UnixNs
from .deployment import Deployment, DeploymentStatus
from .evaluation import Evaluation
from .job import Job
from .resources import AllocatedPort, AllocatedResources


class Placement(Noun, frozen=True, kw_only=True):
    """New allocations of one group and one job version, n of them, as columns.

    node_ids: the distinct nodes used. nodes: int32 little-endian, n indexes into `node_ids`.
    indexes: int32 little-endian, n name indexes. scores: float32, n normalised scores (may be empty).
    resources: what every copy holds, except where `own_resources` (by position) says otherwise;
    ports: by position, the ports of that copy (replaces `resources.shared.ports`).
    previous: by position, the id of the allocation replaced. trackers: by position, its earlier attempts.
    preempted: by position, ids of the allocations pushed out for it. scored: by position, every scorer's part on the
    chosen node, for copies that were placed one at a time.
    """

    namespace: str
    job_id: str
    job_version: int
    group: str
    eval_id: str
    deployment_id: str = ""
    canary: bool = False
    node_ids: tuple[str, ...] = ()
    nodes: bytes = b""
    indexes: bytes = b""
    scores: bytes = b""
    resources: AllocatedResources = AllocatedResources()
    own_resources: dict[int, AllocatedResources] = {}
    ports: dict[int, tuple[AllocatedPort, ...]] = {}
    previous: dict[int, str] = {}
    trackers: dict[int, RescheduleTracker] = {}
    preempted: dict[int, tuple[str, ...]] = {}
    scored: dict[int, NodeScore] = {}
    metrics: AllocMetric | None = None

    def __len__(self) -> int:
        return len(self.nodes) // 4


class AllocBlock(Noun, frozen=True, kw_only=True):
    """A stored placement: the columns plus ids and indexes.

    ids: 16 bytes each. An id's last 8 bytes hold the block's number and the position in it, so that
    an allocation is found by id without an index; the first 8 are random. job_create_index tells
    incarnations of a job id apart.
    """

    number: int
    placement: Placement
    ids: bytes
    create_index: int = 0
    create_time: UnixNs = 0
    job_create_index: int = 0

    def __len__(self) -> int:
        return len(self.ids) // 16


class AllocStop(Noun, frozen=True, kw_only=True):
    """Stop (or evict) a stored allocation, or note something on it.

    client_status: set where the server speaks for a lost or disconnected node.
    """

    alloc_id: str
    desired: Desired = Desired.STOP
    description: str = ""
    client_status: AllocStatus | None = None
    followup_eval_id: str = ""
    rescheduled: bool = False
    preempted_by_index: tuple[int, int] | None = None
    """(placement, position) of the copy that pushes this one out; the plan applier turns it into an id."""


class AllocAnnotation(Noun, frozen=True, kw_only=True):
    """A change of a living allocation that keeps it running (delayed reschedule, disconnect, reconnect)."""

    alloc_id: str
    followup_eval_id: str | None = None
    client_status: AllocStatus | None = None
    clear_transition: bool = False


class InPlaceUpdate(Noun, frozen=True, kw_only=True):
    """A living allocation taken over by a new job version without a restart."""

    alloc_id: str
    job_version: int
    eval_id: str
    deployment_id: str = ""
    resources: AllocatedResources | None = None


class DeploymentUpdate(Noun, frozen=True, kw_only=True):
    """A change of a deployment's status."""

    deployment_id: str
    status: DeploymentStatus
    description: str = ""


class DesiredUpdates(Noun, frozen=True, kw_only=True):
    """What a plan does to one group, in numbers."""

    ignore: int = 0
    place: int = 0
    migrate: int = 0
    stop: int = 0
    in_place_update: int = 0
    destructive_update: int = 0
    canary: int = 0
    preemptions: int = 0
    disconnect: int = 0
    reconnect: int = 0
    reschedule_now: int = 0
    reschedule_later: int = 0


class Plan(Noun, frozen=True, kw_only=True):
    """Everything one evaluation wants to change, made against revision `snapshot_index`."""

    eval_id: str
    priority: int = 50
    job: Job | None = None
    all_at_once: bool = False
    snapshot_index: int = 0
    placements: tuple[Placement, ...] = ()
    stops: tuple[AllocStop, ...] = ()
    annotations: tuple[AllocAnnotation, ...] = ()
    in_place: tuple[InPlaceUpdate, ...] = ()
    deployment: Deployment | None = None
    deployment_updates: tuple[DeploymentUpdate, ...] = ()
    desired_updates: dict[str, DesiredUpdates] = {}

    @property
    def is_empty(self) -> bool:
        return not (
            self.placements
            or self.stops
            or self.annotations
            or self.in_place
            or self.deployment
            or self.deployment_updates
        )


class SchedulerResult(Noun, frozen=True, kw_only=True):
    """What a scheduler answers for one evaluation.

    failed: per group, why copies could not be placed. queued: per group, how many are still wanted.
    evaluations: new evaluations to store (delayed reschedules, disconnect timeouts).
    class_eligibility and escaped: what a blocked evaluation is woken by. deployment_id: the running roll-out
    that the evaluation works for, or begins; clients follow it from the evaluation.
    """

    plan: Plan
    failed: dict[str, AllocMetric] = {}
    queued: dict[str, int] = {}
    evaluations: tuple[Evaluation, ...] = ()
    class_eligibility: dict[str, bool] = {}
    escaped: bool = False
    deployment_id: str = ""
