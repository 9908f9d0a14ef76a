"""What becomes of a deployment: reschedule, promote, fail, revert. Pure. The rules are in docs/rollouts.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from rove.server.scheduler.reschedule import due, policy_of
from rove.server.scheduler.rollout import IN_PROGRESS, PROMOTES_ITSELF, WAITS_FOR_PROMOTION
from rove.server.state.jobs import spec_changed
from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import ZERO_TIME
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus
from rove.structs.evaluation import Evaluation, Trigger, evaluation_of
from rove.structs.job import Job

from . import gates
from .gates import Question

PAUSED = "the roll-out is paused"
FAILED_BY_PERSON = "the roll-out was ended as failed by a person"


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one deployment now.

    status: the end it comes to, with `description`. reschedule: ids of allocations that the scheduler may
    replace. promote: groups whose canaries take over. revert: the job to register instead. wake_at: seconds
    since the epoch at which to look again even if nothing changes. ask: gates to be asked now.
    """

    status: DeploymentStatus | None = None
    description: str = ""
    reschedule: tuple[str, ...] = ()
    promote: tuple[str, ...] = ()
    revert: Job | None = None
    reverted_version: int | None = None
    wake_at: float | None = None
    ask: tuple[Question, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to store."""
        return self.status is None and not self.reschedule and not self.promote


def decide(
    deployment: Deployment, job: Job | None, allocs: Iterable[Allocation], stable: Job | None, now: float
) -> Decision:
    """Say what becomes of a deployment.

    job: its job's newest version. allocs: allocations of the deployment, at least those that failed, are
    unhealthy or are canaries. stable: the version to go back to, see `newest_stable`. now: seconds since the
    epoch. Equal inputs give an equal decision. Raises nothing.
    """
    if not rolls_out(deployment, job):
        return Decision()  # about to be cancelled by the evaluation of what the job became
    mine = [alloc for alloc in allocs if alloc.deployment_id == deployment.id]
    trouble = [alloc for alloc in mine if is_in_trouble(alloc)]
    if deployment.status is DeploymentStatus.PAUSED:  # what fails meanwhile is replaced all the same
        able = (alloc for alloc in trouble if may_be_replaced(deployment, alloc, now))
        return Decision(reschedule=tuple(alloc.id for alloc in able if not alloc.desired_transition.reschedule))
    if deployment.status is not DeploymentStatus.RUNNING:
        return Decision()
    hopeless = next((alloc for alloc in trouble if not may_be_replaced(deployment, alloc, now)), None)
    if hopeless is not None:
        return failed(deployment, job, stable, because_unhealthy(deployment, hopeless))
    late = next((name for name, group in deployment.task_groups.items() if is_late(group, mine, name, now)), None)
    if late is not None:
        return failed(deployment, job, stable, f'group "{late}" made no progress within its progress deadline')
    refusals = (gates.refused(job, name, group) for name, group in unpromoted(deployment).items())
    refusal = next(filter(None, refusals), "")
    if refusal:
        return failed(deployment, job, stable, refusal)
    ask, ask_at = questions(deployment, job, mine, now)
    times = [at for at in (next_deadline(deployment, mine), ask_at) if at is not None]
    return Decision(
        reschedule=tuple(alloc.id for alloc in trouble if not alloc.desired_transition.reschedule),
        promote=promotes_itself(deployment, job, mine),
        wake_at=min(times, default=None),
        ask=ask,
    )


def rolls_out(deployment: Deployment, job: Job | None) -> bool:
    """True if the deployment is of this version of this job, and the job is wanted."""
    return (
        job is not None
        and not job.stop
        and deployment.job_version == job.version
        and deployment.job_create_index in (0, job.create_index)
    )


# Allocations in trouble


def is_in_trouble(alloc: Allocation) -> bool:
    """True if an allocation that is wanted has failed or was found unhealthy, and has no successor yet."""
    if alloc.is_server_terminal or alloc.next_allocation:
        return False
    return alloc.is_unhealthy or alloc.client_status is AllocStatus.FAILED


def may_be_replaced(deployment: Deployment, alloc: Allocation, now: float) -> bool:
    """True if another attempt at this allocation is allowed.

    A group without a progress deadline has one attempt: its first unhealthy allocation ends the roll-out.
    """
    group = deployment.task_groups.get(alloc.task_group)
    if group is None or alloc.desired_transition.reschedule:
        return True  # not part of the roll-out, or already granted
    if group.progress_deadline <= 0:
        return False
    return due(alloc, policy_of(alloc), now) is not None


def because_unhealthy(deployment: Deployment, alloc: Allocation) -> str:
    """Why an allocation ends its deployment."""
    group = deployment.task_groups.get(alloc.task_group)
    rule = "no attempt to reschedule it is left"
    if group is not None and group.progress_deadline <= 0:
        rule = "its group has no progress deadline"
    state = "failed" if alloc.client_status is AllocStatus.FAILED else "is unhealthy"
    return f"allocation {alloc.name} ({alloc.id[:8]}) {state} and {rule}"


# Canaries


def healthy_canaries(group: DeploymentGroup, allocs: Iterable[Allocation], name: str) -> list[Allocation]:
    """The group's canaries that are healthy and still there."""
    placed = set(group.placed_canaries)
    return [
        alloc
        for alloc in allocs
        if alloc.task_group == name and alloc.id in placed and alloc.is_healthy and not alloc.is_terminal
    ]


def promotes_itself(deployment: Deployment, job: Job | None, allocs: Sequence[Allocation]) -> tuple[str, ...]:
    """The groups to promote without being asked: all with canaries, once each of them may and is ready.

    Groups without canaries have no say. If one group with canaries waits for a person, all do: the groups of
    a job are promoted together.
    """
    waiting = unpromoted(deployment)
    if not waiting or not all(group.auto_promote for group in waiting.values()):
        return ()
    for name, group in waiting.items():
        if not is_ready(group, allocs, name) or gates.closed(job, name, group):
            return ()
    return tuple(waiting)


def is_ready(group: DeploymentGroup, allocs: Iterable[Allocation], name: str) -> bool:
    """True if as many canaries as asked for are healthy and run."""
    found = [a for a in healthy_canaries(group, allocs, name) if a.client_status is AllocStatus.RUNNING]
    return len(found) >= group.desired_canaries


def questions(
    deployment: Deployment, job: Job | None, allocs: Sequence[Allocation], now: float
) -> tuple[tuple[Question, ...], float | None]:
    """The gates to ask now, of groups whose canaries are ready, and when the next one is due."""
    found: list[Question] = []
    times: list[float] = []
    for name, group in unpromoted(deployment).items():
        if not is_ready(group, allocs, name):
            continue
        asked, later = gates.due(job, name, group, now)
        found += [Question(deployment.id, name, gate) for gate in asked]
        times += [] if later is None else [later]
    return tuple(found), min(times, default=None)


def unpromoted(deployment: Deployment) -> dict[str, DeploymentGroup]:
    """The groups whose canaries have not been promoted."""
    return {
        name: group
        for name, group in deployment.task_groups.items()
        if group.desired_canaries > 0 and not group.promoted
    }


def description_of(deployment: Deployment) -> str:
    """What a running deployment says of itself."""
    waiting = unpromoted(deployment)
    if not waiting:
        return IN_PROGRESS
    return PROMOTES_ITSELF if all(group.auto_promote for group in waiting.values()) else WAITS_FOR_PROMOTION


# The progress deadline


def is_complete(group: DeploymentGroup, allocs: Iterable[Allocation], name: str) -> bool:
    """True if nothing more is expected of the group by itself: all healthy, or canaries ready for promotion."""
    if group.desired_canaries > 0 and not group.promoted:
        return len(healthy_canaries(group, allocs, name)) >= group.desired_canaries
    return group.healthy_allocs >= group.desired_total


def deadline_of(group: DeploymentGroup) -> float | None:
    """When the group must have made progress, in seconds since the epoch; None for never."""
    if group.progress_deadline <= 0 or group.require_progress_by == ZERO_TIME:
        return None
    return group.require_progress_by.timestamp()


def is_late(group: DeploymentGroup, allocs: Sequence[Allocation], name: str, now: float) -> bool:
    """True if the group's progress deadline has passed and something is still expected of it."""
    deadline = deadline_of(group)
    return deadline is not None and now >= deadline and not is_complete(group, allocs, name)


def next_deadline(deployment: Deployment, allocs: Sequence[Allocation]) -> float | None:
    """The earliest deadline that can still be missed."""
    deadlines = [
        deadline
        for name, group in deployment.task_groups.items()
        if (deadline := deadline_of(group)) is not None and not is_complete(group, allocs, name)
    ]
    return min(deadlines, default=None)


# Failing and going back


def newest_stable(versions: Iterable[Job]) -> Job | None:
    """The newest version known to work. versions: those kept, newest first."""
    return next((version for version in versions if version.stable and not version.stop), None)


def failed(deployment: Deployment, job: Job | None, stable: Job | None, why: str) -> Decision:
    """The deployment fails; with `auto_revert` in any group, its job goes back to the stable version.

    Going back to a version that asks for the same would fail the same way, so that is not done: a failed
    way back is left to a person.
    """
    if not any(group.auto_revert for group in deployment.task_groups.values()):
        return Decision(status=DeploymentStatus.FAILED, description=why)
    target = stable if job is not None and stable is not None and spec_changed(job, stable) else None
    if stable is None:
        after = "there is no stable version to go back to"
    elif target is None:
        after = f"stable version {stable.version} asks for the same, so the job does not go back to it"
    else:
        after = f"the job goes back to stable version {stable.version}"
    return Decision(
        status=DeploymentStatus.FAILED,
        description=f"{why}; {after}",
        revert=None if target is None else as_new(target, job),
        reverted_version=None if target is None else target.version,
    )


def as_new(version: Job, current: Job | None) -> Job:
    """An older version as a registration."""
    return msgspec.structs.replace(
        version, stable=False, version_tag=None, submit_time=0, stop=False if current is None else current.stop
    )


def evaluation_for(deployment: Deployment, job: Job, evaluation_id: str, now: float) -> Evaluation:
    """The evaluation that lets the scheduler go on with a deployment."""
    return evaluation_of(
        job,
        Trigger.DEPLOYMENT_WATCHER,
        evaluation_id=evaluation_id,
        now=now,
        priority=deployment.eval_priority,
        deployment_id=deployment.id,
    )
