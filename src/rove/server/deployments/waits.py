"""What a deployment waits for, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rove.server.scheduler.reschedule import due, policy_of
from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import unix_ns
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus, DeploymentWaits, Waiting
from rove.structs.evaluation import EvalStatus, Evaluation
from rove.structs.job import Job

from . import core

NAMED_MAX = 10
"""Allocations that are named one by one."""


def waits_of(
    deployment: Deployment,
    job: Job | None,
    allocs: Sequence[Allocation],
    evaluations: Iterable[Evaluation],
    now: float,
) -> DeploymentWaits:
    """Explain a deployment. allocs: all of the deployment. evaluations: the job's. now: seconds since the epoch."""
    waits = tuple(_waits(deployment, job, allocs, list(evaluations), now))
    fails_at = core.next_deadline(deployment, allocs) if deployment.status is DeploymentStatus.RUNNING else None
    return DeploymentWaits(
        id=deployment.id,
        status=deployment.status,
        status_description=deployment.status_description,
        waiting_for=waits,
        fails_at=0 if fails_at is None else unix_ns(fails_at),
    )


def _waits(
    deployment: Deployment, job: Job | None, allocs: Sequence[Allocation], evaluations: list[Evaluation], now: float
) -> Iterator[Waiting]:
    if not deployment.is_active:
        return
    if job is None or not core.rolls_out(deployment, job):
        yield Waiting(kind="version", text="its job has changed or was stopped: it is about to be cancelled")
        return
    if deployment.status is DeploymentStatus.PAUSED:
        yield Waiting(kind="resume", text=f"it is paused: rove deployment resume {deployment.id[:8]}")
        return
    blocked = [evaluation for evaluation in evaluations if evaluation.status is EvalStatus.BLOCKED]
    for name, group in deployment.task_groups.items():
        mine = [alloc for alloc in allocs if alloc.task_group == name and not alloc.is_server_terminal]
        found = [
            *_troubled(mine, now),
            *_undecided(job, name, mine),
            *_lacking_room(name, blocked),
            *_unpromoted(deployment, name, group, mine),
        ]
        if not found and not core.is_complete(group, allocs, name):
            healthy, wanted = group.healthy_allocs, max(group.desired_total, group.desired_canaries)
            found = [
                Waiting(
                    kind="placement",
                    group=name,
                    text=f'group "{name}": {healthy} of {wanted} are healthy, the next ones are about to be placed',
                )
            ]
        yield from found


def _troubled(allocs: Iterable[Allocation], now: float) -> Iterator[Waiting]:
    for alloc in allocs:
        if not core.is_in_trouble(alloc):
            continue
        at = due(alloc, policy_of(alloc), now)
        state = "failed" if alloc.client_status is AllocStatus.FAILED else "is unhealthy"
        yield Waiting(
            kind="reschedule",
            group=alloc.task_group,
            alloc_ids=(alloc.id,),
            text=f"{named(alloc)} {state} and is to be replaced{_because(alloc)}",
            until=at.at if at is not None else 0,
        )


def _undecided(job: Job, name: str, allocs: Sequence[Allocation]) -> Iterator[Waiting]:
    waiting = [
        alloc
        for alloc in allocs
        if not alloc.is_client_terminal and not alloc.is_healthy and not core.is_in_trouble(alloc)
    ]
    group = job.group(name)
    rules = group.update if group is not None else None
    by_hand = rules is not None and rules.health_check == "manual"
    for alloc in waiting[:NAMED_MAX]:
        start = _started_at(alloc)
        until = unix_ns(start) + rules.healthy_deadline if rules is not None and start is not None else 0
        doing = f"is {alloc.client_status}"
        what = "waits to be called healthy by hand" if by_hand else "is not healthy yet"
        yield Waiting(
            kind="health",
            group=name,
            alloc_ids=(alloc.id,),
            text=f"{named(alloc)} {doing} and {what}{_because(alloc)}",
            until=0 if by_hand else until,
        )
    if len(waiting) > NAMED_MAX:
        rest = waiting[NAMED_MAX:]
        yield Waiting(
            kind="health",
            group=name,
            alloc_ids=tuple(alloc.id for alloc in rest),
            text=f'{len(rest)} more allocations of group "{name}" are not healthy yet',
        )


def _lacking_room(name: str, blocked: Iterable[Evaluation]) -> Iterator[Waiting]:
    for evaluation in blocked:
        metric = evaluation.failed_tg_allocs.get(name)
        if metric is None:
            continue
        count = metric.coalesced_failures + 1
        reasons = [f"{what} on {nodes} nodes" for what, nodes in metric.dimension_exhausted.items()]
        reasons += [f'constraint "{what}" on {nodes} nodes' for what, nodes in metric.constraint_filtered.items()]
        lacking = "; ".join(reasons) or f"{metric.nodes_evaluated} nodes were looked at"
        yield Waiting(
            kind="capacity",
            group=name,
            text=f'{count} allocations of group "{name}" have no node to run on: {lacking}',
        )


def _unpromoted(
    deployment: Deployment, name: str, group: DeploymentGroup, allocs: Sequence[Allocation]
) -> Iterator[Waiting]:
    if group.desired_canaries == 0 or group.promoted:
        return
    ready = core.healthy_canaries(group, allocs, name)
    if len(ready) < group.desired_canaries:
        return  # told by what its canaries wait for
    so_far = f'{len(ready)} of {group.desired_canaries} canaries of group "{name}" are healthy'
    ids = tuple(alloc.id for alloc in ready)
    by_person = sorted(other for other, state in core.unpromoted(deployment).items() if not state.auto_promote)
    if by_person:
        text = f"{so_far}: promote them with rove deployment promote {deployment.id[:8]}"
        if name not in by_person:
            text += f" (groups are promoted together, and {', '.join(by_person)} has no auto_promote)"
    else:
        text = f"{so_far}, and they are promoted once those of the other groups are too"
    yield Waiting(kind="promotion", group=name, alloc_ids=ids, text=text)


def named(alloc: Allocation) -> str:
    """An allocation for people."""
    return f"allocation {alloc.name} ({alloc.id[:8]})"


def _because(alloc: Allocation) -> str:
    """The check that holds it up, else the newest thing that happened to one of its tasks."""
    _, _, check = alloc.client_description.partition("; ")
    if check and not alloc.is_client_terminal:
        return f": {check}"
    events = [
        (event.time, name, event.display_message or event.message or event.type)
        for name, state in (alloc.task_states or {}).items()
        for event in state.events
    ]
    if not events:
        return f": {alloc.client_description}" if alloc.client_description else ""
    _, task, text = max(events)
    return f': task "{task}": {text}'


def _started_at(alloc: Allocation) -> float | None:
    starts = [state.started_at for state in (alloc.task_states or {}).values() if state.started_at]
    return max(starts).timestamp() if starts else None
