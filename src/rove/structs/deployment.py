"""Deployments: the roll-out of one job version."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from .base import ZERO_TIME, Noun, Ns, UnixNs


class DeploymentStatus(StrEnum):
    """Where a deployment stands."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    SUCCESSFUL = "successful"
    CANCELLED = "cancelled"
    INITIALIZING = "initializing"
    PENDING = "pending"
    BLOCKED = "blocked"
    UNBLOCKING = "unblocking"


DEPLOYMENT_TERMINAL = frozenset({DeploymentStatus.FAILED, DeploymentStatus.SUCCESSFUL, DeploymentStatus.CANCELLED})


class GateAnswer(Noun, frozen=True, kw_only=True):
    """What a gate said last. passes, failures: in a row. is_open: enough good answers have come."""

    name: str = ""
    is_open: bool = False
    passes: int = 0
    failures: int = 0
    text: str = ""
    time: UnixNs = 0


class DeploymentGroup(Noun, frozen=True, kw_only=True):
    """Progress of one task group."""

    auto_revert: bool = False
    auto_promote: bool = False
    progress_deadline: Ns = 0
    require_progress_by: datetime = ZERO_TIME
    promoted: bool = False
    placed_canaries: tuple[str, ...] = ()
    desired_canaries: int = 0
    desired_total: int = 0
    placed_allocs: int = 0
    healthy_allocs: int = 0
    unhealthy_allocs: int = 0
    gate_answers: tuple[GateAnswer, ...] | msgspec.UnsetType = msgspec.UNSET
    """Of a group with gates; absent from JSON for others."""


class Deployment(Noun, frozen=True, kw_only=True):
    """The roll-out of one job version."""

    id: str = ""
    namespace: str = ""
    job_id: str = ""
    job_version: int = 0
    job_modify_index: int = 0
    job_spec_modify_index: int = 0
    job_create_index: int = 0
    is_multiregion: bool = False
    task_groups: dict[str, DeploymentGroup] = {}
    status: DeploymentStatus = DeploymentStatus.RUNNING
    status_description: str = ""
    eval_priority: int = 50
    create_index: int = 0
    modify_index: int = 0
    create_time: UnixNs = 0
    modify_time: UnixNs = 0

    @property
    def job_key(self) -> tuple[str, str]:
        """(namespace, job id)."""
        return (self.namespace, self.job_id)

    @property
    def is_active(self) -> bool:
        return self.status not in DEPLOYMENT_TERMINAL

    @property
    def requires_promotion(self) -> bool:
        """True while a group waits for its canaries to be promoted."""
        return any(group.desired_canaries > 0 and not group.promoted for group in self.task_groups.values())


class Waiting(Noun, frozen=True, kw_only=True):
    """One thing that a deployment waits for.

    kind: "health", "reschedule", "capacity", "promotion", "resume", "gate", "placement" or "version". text: for people.
    until: when it is decided at the latest, 0 if nobody knows.
    """

    kind: str
    text: str
    group: str = ""
    alloc_ids: tuple[str, ...] = ()
    until: UnixNs = 0


class DeploymentWaits(Noun, frozen=True, kw_only=True):
    """Why a deployment has not ended. fails_at: when it fails if nothing moves, 0 for never."""

    id: str
    status: DeploymentStatus
    status_description: str = ""
    waiting_for: tuple[Waiting, ...] = ()
    fails_at: UnixNs = 0
