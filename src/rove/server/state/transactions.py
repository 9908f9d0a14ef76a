"""Every way in which the state changes: one frozen struct per intent, applied by `rove.server.state.apply`.

A transaction is one revision. `Batch` puts several into one. Ids of new nouns are made by the caller;
create, modify and version numbers, statuses of jobs, summaries and deployment counters are worked out when
the transaction is applied. Ids of new allocations come from the store, since they name their block.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rove.structs.alloc import AllocUpdate, DesiredTransition
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobSubmission, JobVersionTag, ScalingEvent
from rove.structs.node import (
    DrainStrategy,
    Eligibility,
    Namespace,
    Node,
    NodeEvent,
    NodePool,
    NodeStatus,
    SchedulerConfiguration,
)
from rove.structs.plan import DeploymentUpdate, Plan
from rove.structs.service import ServiceRegistration


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all transactions."""


class Batch(Transaction, frozen=True, kw_only=True):
    """Several transactions as one revision, applied in order."""

    parts: tuple[Transaction, ...]


# Nodes


class PutNode(Transaction, frozen=True, kw_only=True):
    """A node registers (again). A known node keeps eligibility, drain, events and create index.

    status: taken from the node given; the computed class is worked out here.
    """

    node: Node


class SetNodeStatus(Transaction, frozen=True, kw_only=True):
    """A node's reachability changes. `event` is added to its events. Unknown nodes are ignored."""

    node_id: str
    status: NodeStatus
    description: str = ""
    event: NodeEvent | None = None
    evaluations: tuple[Evaluation, ...] = ()


class SetNodeEligibility(Transaction, frozen=True, kw_only=True):
    """Allow or forbid new allocations on a node."""

    node_id: str
    eligibility: Eligibility
    event: NodeEvent | None = None
    evaluations: tuple[Evaluation, ...] = ()


class SetNodeDrain(Transaction, frozen=True, kw_only=True):
    """Start a drain (`strategy`), or end it (None; `mark_eligible` says whether it takes work again).

    completed: the drain ended by itself (last_drain becomes complete, not canceled).
    """

    node_id: str
    strategy: DrainStrategy | None
    mark_eligible: bool = False
    completed: bool = False
    meta: dict[str, str] = {}
    event: NodeEvent | None = None
    evaluations: tuple[Evaluation, ...] = ()


class AddNodeEvents(Transaction, frozen=True, kw_only=True):
    """Events for a node's record; the newest 10 are kept."""

    node_id: str
    events: tuple[NodeEvent, ...]


class SetNodeMeta(Transaction, frozen=True, kw_only=True):
    """Replace a node's meta (the caller has merged it); the computed class follows."""

    node_id: str
    meta: dict[str, str]


class DeleteNodes(Transaction, frozen=True, kw_only=True):
    """Forget nodes. Their allocations stay until they are collected."""

    node_ids: tuple[str, ...]
    evaluations: tuple[Evaluation, ...] = ()


# Jobs


class PutJob(Transaction, frozen=True, kw_only=True):
    """Register a job in canonical form.

    A changed specification (see `jobs.spec_changed`) becomes a new version; an equal one changes nothing.
    The submission, if given, is kept with the version. `evaluation.job_modify_index` is filled in.
    """

    job: Job
    submission: JobSubmission | None = None
    evaluation: Evaluation | None = None


class StopJob(Transaction, frozen=True, kw_only=True):
    """Stop a job (a new version whose `stop` is true), or with `purge` forget it. Unknown jobs are ignored.

    evaluation: stored in the same revision. no_shutdown_delay: noted on each of its live allocations.
    """

    namespace: str
    job_id: str
    purge: bool = False
    evaluation: Evaluation | None = None
    no_shutdown_delay: bool = False


class SetJobStability(Transaction, frozen=True, kw_only=True):
    """Mark a version as (not) known to work."""

    namespace: str
    job_id: str
    version: int
    stable: bool


class TagJobVersion(Transaction, frozen=True, kw_only=True):
    """Give a version a name, which keeps it; with tag None, take the name `name` away."""

    namespace: str
    job_id: str
    version: int = 0
    tag: JobVersionTag | None = None
    name: str = ""


class PutPeriodicLaunch(Transaction, frozen=True, kw_only=True):
    """A periodic job was launched at `launch_s` (seconds since the epoch)."""

    namespace: str
    job_id: str
    launch_s: float


class PutScalingEvent(Transaction, frozen=True, kw_only=True):
    """Note a change of a group's count, or an autoscaler's remark. The newest 20 a group are kept."""

    namespace: str
    job_id: str
    group: str
    event: ScalingEvent


class ReconcileSummaries(Transaction, frozen=True, kw_only=True):
    """Count every job's summary anew from its allocations."""


# Evaluations and plans


class PutEvaluations(Transaction, frozen=True, kw_only=True):
    """Store evaluations, new or changed. Queued counts of the jobs' summaries follow."""

    evaluations: tuple[Evaluation, ...]


class ApplyPlan(Transaction, frozen=True, kw_only=True):
    """Store a verified plan: placements become blocks, stops and the rest become changes of allocations.

    evaluations: stored in the same revision. `AllocStop.preempted_by_index` is turned into an id here.
    """

    plan: Plan
    evaluations: tuple[Evaluation, ...] = ()


class UpdateAllocs(Transaction, frozen=True, kw_only=True):
    """A node's reports. Unknown allocations, those of other nodes, and older sequences are dropped."""

    updates: tuple[AllocUpdate, ...]
    node_id: str = ""
    evaluations: tuple[Evaluation, ...] = ()


class SetTransitions(Transaction, frozen=True, kw_only=True):
    """Wishes about allocations that the next evaluation carries out. Fields that are None stay as they are."""

    transitions: dict[str, DesiredTransition]
    evaluations: tuple[Evaluation, ...] = ()


# Services


class PutServices(Transaction, frozen=True, kw_only=True):
    """What a node offers; it fills in what is the server's. full: what else the node has here is gone. gone: ids."""

    node_id: str
    put: tuple[ServiceRegistration, ...] = ()
    gone: tuple[str, ...] = ()
    full: bool = False


class DeleteService(Transaction, frozen=True, kw_only=True):
    """Forget one instance of a service. Unknown ones are ignored."""

    namespace: str
    name: str
    id: str


# Deployments


class PutDeployment(Transaction, frozen=True, kw_only=True):
    """Store a deployment as given (counters included)."""

    deployment: Deployment


class UpdateDeployments(Transaction, frozen=True, kw_only=True):
    """Change deployments' statuses; `evaluations` and a reverted `job` go with it. Ended ones stay as they are."""

    updates: tuple[DeploymentUpdate, ...]
    job: Job | None = None
    evaluations: tuple[Evaluation, ...] = ()


class PromoteDeployment(Transaction, frozen=True, kw_only=True):
    """Promote the canaries of `groups` (empty: all groups)."""

    deployment_id: str
    groups: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()


class SetAllocHealth(Transaction, frozen=True, kw_only=True):
    """Say by hand which allocations of a deployment are healthy or not."""

    deployment_id: str
    healthy_ids: tuple[str, ...] = ()
    unhealthy_ids: tuple[str, ...] = ()
    update: DeploymentUpdate | None = None
    job: Job | None = None
    evaluations: tuple[Evaluation, ...] = ()


class SetProgressDeadline(Transaction, frozen=True, kw_only=True):
    """Set every unfinished group's `require_progress_by` to `now` + its deadline (a resumed deployment)."""

    deployment_id: str


# Settings


class PutSchedulerConfiguration(Transaction, frozen=True, kw_only=True):
    """Replace the scheduler's settings."""

    configuration: SchedulerConfiguration


class PutNodePool(Transaction, frozen=True, kw_only=True):
    """Create or change a node pool."""

    pool: NodePool


class DeleteNodePool(Transaction, frozen=True, kw_only=True):
    """Forget a node pool. The built-in ones stay."""

    name: str


class PutNamespace(Transaction, frozen=True, kw_only=True):
    """Create or change a namespace."""

    namespace: Namespace


class DeleteNamespace(Transaction, frozen=True, kw_only=True):
    """Forget a namespace. `default` stays."""

    name: str


class PutDocument(Transaction, frozen=True, kw_only=True):
    """Store a plain value under (table, key) for a room that keeps its own small nouns. None deletes it.

    table: one that is not used by the state itself. Watch key: ("document", table) and with the key.
    """

    table: str
    key: str
    value: Any = None


# Cleaning up


class Collect(Transaction, frozen=True, kw_only=True):
    """Forget what is over.

    jobs: (namespace, id), with versions, summary and submissions. alloc_ids: their block shrinks or goes.
    decided_at: index of the state that the caller has looked at; what is no longer over, or is of a job that was
    registered since, stays. 0: nothing is checked except that it exists.
    """

    evaluation_ids: tuple[str, ...] = ()
    alloc_ids: tuple[str, ...] = ()
    jobs: tuple[tuple[str, str], ...] = ()
    deployment_ids: tuple[str, ...] = ()
    node_ids: tuple[str, ...] = ()
    decided_at: int = 0
