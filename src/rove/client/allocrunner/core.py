"""Which tasks of a group start or stop now, what the allocation's status is, whether it is healthy. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from rove.structs.alloc import Allocation, AllocStatus, TaskState, TaskStatus
from rove.structs.job import Lifecycle, TaskGroup
from rove.structs.resources import ports_of


class Role(StrEnum):
    """A task's place in the order."""

    PRESTART = "prestart"
    PRESTART_SIDECAR = "prestart sidecar"
    MAIN = "main"
    POSTSTART = "poststart"
    POSTSTART_SIDECAR = "poststart sidecar"
    POSTSTOP = "poststop"


SIDECARS = frozenset({Role.PRESTART_SIDECAR, Role.POSTSTART_SIDECAR})


class Why(StrEnum):
    """Why a task is stopped."""

    ASKED = "asked"
    SIBLING_FAILED = "sibling failed"
    LEADER_DEAD = "leader dead"
    MAIN_DEAD = "main dead"


class TaskView(NamedTuple):
    """What the order needs to know of a task. begun: its turn has come at some time; closed: cleaned up."""

    role: Role
    state: TaskState
    begun: bool
    leader: bool = False

    @property
    def is_dead(self) -> bool:
        return self.state.state is TaskStatus.DEAD

    @property
    def is_failed(self) -> bool:
        return self.is_dead and self.state.failed

    @property
    def has_started(self) -> bool:
        return self.state.started_at is not None


class StopTask(NamedTuple):
    """Stop this task. sibling: the one that failed, for `Why.SIBLING_FAILED`."""

    task: str
    why: Why
    sibling: str = ""


class Orders(NamedTuple):
    """What to do now."""

    start: tuple[str, ...] = ()
    stop: tuple[StopTask, ...] = ()


def role_of(lifecycle: Lifecycle | None) -> Role:
    """The place of a task with that lifecycle block."""
    match (lifecycle.hook, lifecycle.sidecar) if lifecycle else ("", False):
        case ("prestart", sidecar):
            return Role.PRESTART_SIDECAR if sidecar else Role.PRESTART
        case ("poststart", sidecar):
            return Role.POSTSTART_SIDECAR if sidecar else Role.POSTSTART
        case ("poststop", _):
            return Role.POSTSTOP
    return Role.MAIN


def decide(tasks: Mapping[str, TaskView], *, stopping: bool) -> Orders:
    """Say which tasks start and which stop now. Carried out, it leaves nothing to decide."""
    poststop = {name: task for name, task in tasks.items() if task.role is Role.POSTSTOP}
    others = {name: task for name, task in tasks.items() if task.role is not Role.POSTSTOP}
    failed = next((name for name, task in others.items() if task.is_failed), "")
    leader_dead = any(task.leader and task.is_dead for task in others.values())
    mains = [task for task in others.values() if task.role is Role.MAIN]
    mains_dead = bool(mains) and all(task.is_dead for task in mains)
    if stopping or failed or leader_dead or mains_dead:
        reason = Why.ASKED if stopping else _reason(failed, leader_dead)
        if not all(task.is_dead for task in others.values()):
            return _wind_down(others, reason, failed)
        return _clean_up(poststop, reason, failed, something_ran=any(task.has_started for task in others.values()))
    return Orders(start=tuple(name for name, task in others.items() if not task.begun and _may_start(task, others)))


def _reason(failed: str, leader_dead: bool) -> Why:
    if failed:
        return Why.SIBLING_FAILED
    return Why.LEADER_DEAD if leader_dead else Why.MAIN_DEAD


def _wind_down(tasks: Mapping[str, TaskView], why: Why, failed: str) -> Orders:
    """Leader first, alone; then everything that is no sidecar; then the sidecars."""
    alive = {name: task for name, task in tasks.items() if not task.is_dead}
    wave = [name for name, task in alive.items() if task.leader]
    wave = wave or [name for name, task in alive.items() if task.role not in SIDECARS]
    wave = wave or list(alive)
    return Orders(stop=tuple(StopTask(name, why, failed) for name in wave))


def _clean_up(poststop: Mapping[str, TaskView], why: Why, failed: str, *, something_ran: bool) -> Orders:
    """Poststop tasks run once everything else is dead; where nothing ever ran there is nothing to clean up."""
    waiting = tuple(name for name, task in poststop.items() if not task.begun)
    if something_ran:
        return Orders(start=waiting)
    return Orders(stop=tuple(StopTask(name, why, failed) for name in waiting))


def _may_start(task: TaskView, tasks: Mapping[str, TaskView]) -> bool:
    if task.role in (Role.PRESTART, Role.PRESTART_SIDECAR):
        return True
    before = tasks.values()
    if task.role is Role.MAIN:
        return all(
            (other.is_dead and not other.is_failed) if other.role is Role.PRESTART else other.has_started
            for other in before
            if other.role in (Role.PRESTART, Role.PRESTART_SIDECAR)
        )
    return all(other.has_started for other in before if other.role is Role.MAIN)


class Status(NamedTuple):
    """An allocation's status with a sentence for people."""

    status: AllocStatus
    description: str


def client_status(states: Sequence[TaskState]) -> Status:
    """The allocation's status from those of its tasks.

    An end is only reported when every task has ended: until then its ports and memory are in use.
    """
    if not states:
        return Status(AllocStatus.PENDING, "Nothing has been started yet")
    if all(state.state is TaskStatus.DEAD for state in states):
        if any(state.failed for state in states):
            return Status(AllocStatus.FAILED, "A task has failed")
        return Status(AllocStatus.COMPLETE, "All tasks have ended")
    if any(state.state is TaskStatus.RUNNING for state in states) or any(state.failed for state in states):
        return Status(AllocStatus.RUNNING, "Tasks are running")
    return Status(AllocStatus.PENDING, "Waiting for tasks to start")


class HealthRules(NamedTuple):
    """What makes an allocation healthy. check: "checks", "task_states" or "manual". Seconds."""

    check: str
    min_healthy_s: float
    deadline_s: float


class Health(NamedTuple):
    """The judgement. healthy None: wait, and look again at `look_at` (None: at the next change)."""

    healthy: bool | None
    reason: str
    look_at: float | None = None


class HealthView(NamedTuple):
    """One task for the judgement. settled_at: first start done or failed, downloads lie before; 0: not yet."""

    name: str
    role: Role
    state: TaskState
    settled_at: float


def judge_health(
    tasks: Sequence[HealthView],
    rules: HealthRules,
    *,
    now: float,
    clock_started: float,
    checks_passing_since: float | None,
    checks: str = "",
) -> Health:
    """Say whether an allocation is healthy.

    clock_started: when the last task that counts had its first start behind it, 0 if not yet: time
    before that (image and artifact downloads) is not charged to the deadline. checks_passing_since: None
    while a check fails; `checks` says which. All times in seconds since the epoch.
    """
    if rules.check == "manual":
        return Health(None, "waiting for somebody to set the health by hand")
    needed = [task for task in tasks if task.role in (Role.MAIN, *SIDECARS)]
    for task in tasks:
        if task.state.state is TaskStatus.DEAD and task.role is not Role.POSTSTOP:
            if task.state.failed:
                return Health(False, f'task "{task.name}" has failed')
            if task in needed:
                return Health(False, f'task "{task.name}" has ended')
    deadline = clock_started + rules.deadline_s if clock_started else None
    since: float | None = 0.0
    waiting_for = ""
    for task in needed:
        started = task.state.started_at
        if task.state.state is not TaskStatus.RUNNING or started is None:
            since, waiting_for = None, f'task "{task.name}" is not running'
            break
        since = max(since or 0.0, started.timestamp())
    if since is not None and rules.check == "checks":
        if checks_passing_since is None:
            since, waiting_for = None, checks or "checks are not passing"
        else:
            since = max(since, checks_passing_since)
    ripe = None if since is None else since + rules.min_healthy_s
    if ripe is not None and now >= ripe and (deadline is None or ripe <= deadline or now < deadline):
        return Health(True, "healthy")
    if deadline is not None and now >= deadline:
        return Health(False, f"not healthy within the deadline: {waiting_for or 'not stable for long enough'}")
    reason = waiting_for or "running, not yet for the minimum time"
    return Health(None, reason, min((at for at in (ripe, deadline) if at is not None), default=None))


def clock_start(tasks: Sequence[HealthView], since: float = 0.0) -> float:
    """When the health deadline starts to count: once every needed task's first start is behind it.

    since: when an allocation that was running already became part of its deployment.
    """
    settled = [task.settled_at for task in tasks if task.role in (Role.MAIN, *SIDECARS)]
    return max(*settled, since) if settled and all(settled) else 0.0


def needs_health(group: TaskGroup, *, deployment_id: str, decided: bool, stopping: bool) -> HealthRules | None:
    """The rules by which health is watched, None if nobody waits for it.

    Within a deployment those of `update`, else those of `migrate`, so that a drain knows a replacement is up.
    """
    if decided or stopping:
        return None
    if deployment_id and group.update is not None:
        update = group.update
        return HealthRules(
            update.health_check or "checks", update.min_healthy_time / 1e9, update.healthy_deadline / 1e9
        )
    if not deployment_id and group.migrate is not None:
        migrate = group.migrate
        return HealthRules(
            migrate.health_check or "checks", migrate.min_healthy_time / 1e9, migrate.healthy_deadline / 1e9
        )
    return None


def shares_port(alloc: Allocation, other: Allocation) -> bool:
    """True if both hold the same host port, so that one can only start when the other has let go of it."""
    mine = {port.value for port in ports_of(alloc.allocated_resources) if not port.ignore_collision}
    return any(port.value in mine for port in ports_of(other.allocated_resources) if not port.ignore_collision)
