"""What a deployment waits for, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rove.server.scheduler.reschedule import due, policy_of
from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import unix_ns
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus, DeploymentWaits, Waiting
from rove.structs.evaluation import EvalStatus, Evaluation
from rove.structs.job import Gate, Job

from . import core, gates

Checks = Mapping[str, Mapping[str, Any]]
"""By allocation: its checks by id, as the HTTP API shows them."""

OUTPUT_MAX = 200
"""Characters of a check's output that are told."""
NAMED_MAX = 10
"""Allocations that are named one by one."""


def waits_of(
    deployment: Deployment,
    job: Job | None,
    allocs: Sequence[Allocation],
    evaluations: Iterable[Evaluation],
    now: float,
    checks: Checks | None = None,
) -> DeploymentWaits:
    """Explain a deployment.

    allocs: all of the deployment. evaluations: the job's. now: seconds since the epoch. checks: what their nodes
    say of the checks of those that `to_ask` names.
    """
    waits = tuple(_waits(deployment, job, allocs, list(evaluations), now, checks or {}))
    fails_at = core.next_deadline(deployment, allocs) if deployment.status is DeploymentStatus.RUNNING else None
    return DeploymentWaits(
        id=deployment.id,
        status=deployment.status,
        status_description=deployment.status_description,
        waiting_for=waits,
        fails_at=0 if fails_at is None else unix_ns(fails_at),
    )


def _waits(
    deployment: Deployment,
    job: Job | None,
    allocs: Sequence[Allocation],
    evaluations: list[Evaluation],
    now: float,
    checks: Checks,
) -> Iterator[Waiting]:
    if not deployment.is_active:
        return
    if job is None or not core.rolls_out(deployment, job):
        yield Waiting(kind="version", text="its job has changed or was stopped: it is about to be cancelled")
        return
    if deployment.status is DeploymentStatus.PAUSED:
        yield Waiting(kind="resume", text=f"it is paused: rove deployment resume {deployment.id[:8]}")
        yield from _troubled((alloc for alloc in allocs if not alloc.is_server_terminal), now)
        return
    blocked = [evaluation for evaluation in evaluations if evaluation.status is EvalStatus.BLOCKED]
    for name, group in deployment.task_groups.items():
        mine = [alloc for alloc in allocs if alloc.task_group == name and not alloc.is_server_terminal]
        found = [
            *_troubled(mine, now),
            *_undecided(deployment, job, name, mine, checks),
            *_lacking_room(name, blocked),
            *_unpromoted(deployment, job, name, group, mine),
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


def is_undecided(alloc: Allocation) -> bool:
    """True while nobody knows whether an allocation is healthy."""
    return not alloc.is_terminal and not alloc.is_healthy and not core.is_in_trouble(alloc)


def to_ask(job: Job | None, allocs: Iterable[Allocation]) -> list[Allocation]:
    """The allocations whose checks say why they are not healthy."""
    found = [alloc for alloc in allocs if is_undecided(alloc) and alloc.client_status is AllocStatus.RUNNING]
    return [alloc for alloc in found if _has_checks(job, alloc.task_group)][:NAMED_MAX]


def _has_checks(job: Job | None, name: str) -> bool:
    group = job.group(name) if job is not None else None
    if group is None:
        return False
    services = [*group.services, *(service for task in group.tasks for service in task.services)]
    return any(service.checks for service in services)


def _failing(checks: Mapping[str, Any]) -> str:
    """Checks that do not pass, with the last thing they said."""
    told = [
        f'check "{check.get("Check", "")}" of service "{check.get("Service", "")}" is {check.get("Status", "unknown")}'
        + (f": {' '.join(str(check['Output']).split())[:OUTPUT_MAX]}" if check.get("Output") else "")
        for check in checks.values()
        if isinstance(check, dict) and check.get("Status") != "success"
    ]
    return "".join(f"; {text}" for text in told)


def _undecided(
    deployment: Deployment, job: Job, name: str, allocs: Sequence[Allocation], checks: Checks
) -> Iterator[Waiting]:
    waiting = [alloc for alloc in allocs if is_undecided(alloc)]
    group = job.group(name)
    rules = group.update if group is not None else None
    by_hand = rules is not None and rules.health_check == "manual"
    for alloc in waiting[:NAMED_MAX]:
        start = _started_at(alloc)
        since = 0 if start is None else max(unix_ns(start), deployment.create_time)  # a copy may have run before
        until = since + rules.healthy_deadline if rules is not None and since else 0
        told = _failing(checks.get(alloc.id, {}))
        doing = f"is {alloc.client_status}"
        what = "waits to be called healthy by hand" if by_hand else "is not healthy yet"
        yield Waiting(
            kind="health",
            group=name,
            alloc_ids=(alloc.id,),
            text=f"{named(alloc)} {doing} and {what}{_because(alloc, told)}{told}",
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
    deployment: Deployment, job: Job, name: str, group: DeploymentGroup, allocs: Sequence[Allocation]
) -> Iterator[Waiting]:
    if group.desired_canaries == 0 or group.promoted:
        return
    ready = core.healthy_canaries(group, allocs, name)
    if len(ready) < group.desired_canaries:
        return  # told by what its canaries wait for
    if waiting := [_gate(name, group, gate) for gate in gates.closed(job, name, group)]:
        yield from waiting
        return
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


def _gate(name: str, group: DeploymentGroup, gate: Gate) -> Waiting:
    answer = gates.answers_of(group).get(gate.name)
    if answer is None:
        return Waiting(kind="gate", group=name, text=f'gate "{gate.name}" of group "{name}" is being asked')
    said = f"{answer.passes} of {max(gate.passes, 1)} good answers" if answer.passes else "said no"
    return Waiting(
        kind="gate",
        group=name,
        text=f'gate "{gate.name}" of group "{name}": {said} ({answer.text})',
        until=answer.time + gate.interval,
    )


def named(alloc: Allocation) -> str:
    """An allocation for people."""
    return f"allocation {alloc.name} ({alloc.id[:8]})"


def _because(alloc: Allocation, told: str = "") -> str:
    """The check that its node named last, unless it is told already; else what happened last to one of its tasks."""
    _, _, check = alloc.client_description.partition("; ")
    if check and not told and not alloc.is_client_terminal:
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
