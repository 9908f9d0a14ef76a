"""The server's state: tables, versions, snapshots, indexes, events.

`Store` commits transactions (`rove.server.state.transactions`) and hands out `Snapshot`s. Everything between
is pure: `apply` turns tables and a transaction into new tables and engine rows.
"""

from __future__ import annotations

from .committed import Committed
from .events import Event, EventBatch, EventBroker, Subscription
from .jobs import spec_changed
from .services import has_news
from .snapshot import Snapshot
from .store import Store
from .tables import Document, JobKey, WatchKey
from .transactions import (
    AddNodeEvents,
    ApplyPlan,
    Batch,
    Collect,
    DeleteNamespace,
    DeleteNodePool,
    DeleteNodes,
    DeleteService,
    PromoteDeployment,
    PutDeployment,
    PutDocument,
    PutEvaluations,
    PutJob,
    PutNamespace,
    PutNode,
    PutNodePool,
    PutPeriodicLaunch,
    PutScalingEvent,
    PutSchedulerConfiguration,
    PutServices,
    ReconcileSummaries,
    SetAllocHealth,
    SetJobStability,
    SetNodeDrain,
    SetNodeEligibility,
    SetNodeMeta,
    SetNodeStatus,
    SetProgressDeadline,
    SetTransitions,
    StopJob,
    TagJobVersion,
    Transaction,
    UpdateAllocs,
    UpdateDeployments,
)

__all__ = [
    "AddNodeEvents",
    "ApplyPlan",
    "Batch",
    "Collect",
    "Committed",
    "DeleteNamespace",
    "DeleteNodePool",
    "DeleteNodes",
    "DeleteService",
    "Document",
    "Event",
    "EventBatch",
    "EventBroker",
    "JobKey",
    "PromoteDeployment",
    "PutDeployment",
    "PutDocument",
    "PutEvaluations",
    "PutJob",
    "PutNamespace",
    "PutNode",
    "PutNodePool",
    "PutPeriodicLaunch",
    "PutScalingEvent",
    "PutSchedulerConfiguration",
    "PutServices",
    "ReconcileSummaries",
    "SetAllocHealth",
    "SetJobStability",
    "SetNodeDrain",
    "SetNodeEligibility",
    "SetNodeMeta",
    "SetNodeStatus",
    "SetProgressDeadline",
    "SetTransitions",
    "Snapshot",
    "StopJob",
    "Store",
    "Subscription",
    "TagJobVersion",
    "Transaction",
    "UpdateAllocs",
    "UpdateDeployments",
    "WatchKey",
    "has_news",
    "spec_changed",
]
