"""What reconciling decides, as data: which copies to place, stop, keep or note something on."""

from __future__ import annotations

from dataclasses import dataclass, field

from rove.structs.alloc import Allocation, AllocStatus, RescheduleTracker
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job
from rove.structs.plan import AllocAnnotation, AllocStop, DeploymentUpdate, DesiredUpdates

NOT_NEEDED = "no longer needed: the job asks for fewer copies or none here"
JOB_STOPPED = "the job was stopped"
MIGRATING = "moved away from its node"
UPDATING = "replaced by a newer version of its job"
LOST = "its node is down or gone"
DISCONNECTED = "its node is disconnected"
RESCHEDULED = "failed and was replaced"
RECONNECTED = "another copy was kept when its node came back"
CANARY_OVER = "a canary whose roll-out has ended"
NODE_UNSUITABLE = "its node no longer meets the job's constraints"
PREEMPTED = "made room for a job of higher priority"


@dataclass(frozen=True, slots=True)
class Request:
    """One copy wanted that is more than a plain new one.

    job: the version to place (an older one while canaries are out). stop: the stop of `previous` that
    happens if, and only if, this copy finds a place. penalised: nodes where it failed before.
    node_id: the only node allowed (system jobs), or ''. preferred: a node tried first (sticky disk).
    """

    index: int
    job: Job
    previous: Allocation | None = None
    canary: bool = False
    stop: AllocStop | None = None
    tracker: RescheduleTracker | None = None
    penalised: frozenset[str] = frozenset()
    node_id: str = ""
    preferred: str = ""


@dataclass(slots=True)
class GroupDecision:
    """What must change for one group. plain: name indexes of new copies of the newest version."""

    plain: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    stops: list[AllocStop] = field(default_factory=list)
    in_place: list[Allocation] = field(default_factory=list)
    annotations: list[AllocAnnotation] = field(default_factory=list)
    updates: DesiredUpdates = field(default_factory=DesiredUpdates)
    join_deployment: bool = True
    """False for copies that belong to no deployment."""
    unsuited: bool = False
    """A system job for which there is no node, and never was: nothing is queued, but it has to be told."""

    @property
    def wanted(self) -> int:
        """How many copies this places."""
        return len(self.plain) + len(self.requests)

    def stop(self, alloc: Allocation, description: str, status: AllocStatus | None = None) -> None:
        """Stop `alloc`."""
        self.stops.append(AllocStop(alloc_id=alloc.id, description=description, client_status=status))


@dataclass(slots=True)
class Decision:
    """What must change for one job."""

    groups: dict[str, GroupDecision] = field(default_factory=dict)
    deployment: Deployment | None = None
    deployment_id: str = ""
    """The deployment that new copies belong to, '' for none."""
    deployment_updates: list[DeploymentUpdate] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    buried: list[AllocStop] = field(default_factory=list)
    """Allocations stopped before whose node is gone: they are lost."""
