"""What must change so that what runs becomes what a service or batch job asks for. Pure.

The rules are restated in docs/scheduling.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain

import msgspec

from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.deployment import Deployment, DeploymentStatus
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, TaskGroup
from rove.structs.node import Node, NodeStatus
from rove.structs.plan import AllocStop, DesiredUpdates

from . import decision as reasons
from .decision import Decision, GroupDecision
from .followups import Followups
from .group import Context, FitsInPlace, Group
from .rollout import Progress, current, finished, new_deployment, with_fewer_canaries
from .taint import NodeOf

DecideGroup = Callable[[Context, TaskGroup, list[Allocation]], tuple[GroupDecision, Progress]]
"""Decides one group from all its allocations."""


def reconcile(
    job: Job | None,
    allocs: Iterable[Allocation],
    deployment: Deployment | None,
    evaluation: Evaluation,
    *,
    now: float,
    node_of: NodeOf,
    fits_in_place: FitsInPlace,
    new_id: Callable[[], str],
) -> Decision:
    """Say what must change for a service or batch job.

    allocs: every allocation of the job, any version, status or node. deployment: its newest one.
    fits_in_place: whether a living allocation's node still meets the group's constraints.
    Equal inputs give an equal decision. Raises nothing.
    """
    by_group = allocs_by_group(allocs)
    if job is None or job.stop:
        result = stop_all(by_group, node_of)
        result.deployment_updates = current(deployment, job)[1]
        result.buried = bury(chain.from_iterable(by_group.values()), node_of)
        return result
    result, governing = decide_groups(
        job, by_group, deployment, evaluation, lambda context, group, own: Group(context, group, own).decide(),
        now=now, node_of=node_of, fits_in_place=fits_in_place, new_id=new_id,
    )  # fmt: skip
    if governing is not None and any(u.status is DeploymentStatus.SUCCESSFUL for u in result.deployment_updates):
        # Copies that failed during the roll-out were its concern; now they are rescheduled like any other.
        over = msgspec.structs.replace(governing, status=DeploymentStatus.SUCCESSFUL)
        after = reconcile(
            job,
            [alloc for own in by_group.values() for alloc in own],
            over,
            evaluation,
            now=now,
            node_of=node_of,
            fits_in_place=fits_in_place,
            new_id=new_id,
        )
        after.deployment_updates = result.deployment_updates
        return after
    return result


def allocs_by_group(allocs: Iterable[Allocation]) -> dict[str, list[Allocation]]:
    """Allocations by the name of their group."""
    by_group: dict[str, list[Allocation]] = defaultdict(list)
    for alloc in allocs:
        by_group[alloc.task_group].append(alloc)
    return by_group


def decide_groups(
    job: Job,
    by_group: dict[str, list[Allocation]],
    deployment: Deployment | None,
    evaluation: Evaluation,
    decide: DecideGroup,
    *,
    now: float,
    node_of: NodeOf,
    fits_in_place: FitsInPlace,
    new_id: Callable[[], str],
) -> tuple[Decision, Deployment | None]:
    """Decide every group of a job that is not stopped, and what follows for its deployment, which is returned too."""
    governing, cancellations = current(deployment, job)
    followups = Followups(evaluation, job, now, new_id)
    context = Context(
        job, evaluation, governing, deployment if governing is None else None, now, node_of,
        fits_in_place, followups,
    )  # fmt: skip
    result = Decision(deployment_updates=cancellations, buried=bury(chain.from_iterable(by_group.values()), node_of))
    progress: dict[str, Progress] = {}
    for group in job.task_groups:
        result.groups[group.name], progress[group.name] = decide(context, group, by_group.get(group.name, []))
    for name, left in by_group.items():
        if name not in result.groups:
            result.groups[name] = stop_group(left, node_of, reasons.NOT_NEEDED)
    result.evaluations = followups.evaluations
    settle_deployment(result, job, governing, progress, now, evaluation.priority, new_id)
    return result, governing


def settle_deployment(
    result: Decision,
    job: Job,
    governing: Deployment | None,
    progress: dict[str, Progress],
    now: float,
    priority: int,
    new_id: Callable[[], str],
) -> None:
    """Make the deployment these changes need, or finish the present one."""
    if governing is None:
        result.deployment = new_deployment(job, progress, now, priority, new_id)
        result.deployment_id = result.deployment.id if result.deployment else ""
        return
    if governing.is_active:
        result.deployment_id = governing.id
        result.deployment = with_fewer_canaries(governing, progress)
        result.deployment_updates += finished(governing, progress)


def stop_all(by_group: dict[str, list[Allocation]], node_of: NodeOf) -> Decision:
    """Stop everything that has not been stopped."""
    return Decision(
        groups={name: stop_group(allocs, node_of, reasons.JOB_STOPPED) for name, allocs in by_group.items()}
    )


def stop_group(allocs: Iterable[Allocation], node_of: NodeOf, description: str) -> GroupDecision:
    """Stop every allocation that the server still wants; those on lost nodes become lost."""
    result = GroupDecision()
    for alloc in allocs:
        if not alloc.is_terminal:
            lost = is_lost(node_of(alloc.node_id))
            result.stop(alloc, description, AllocStatus.LOST if lost else None)
    result.updates = DesiredUpdates(stop=len(result.stops))
    return result


def is_lost(node: Node | None) -> bool:
    """True if nothing will be heard of the node's allocations for now."""
    return node is None or node.status is NodeStatus.DOWN


def bury(allocs: Iterable[Allocation], node_of: NodeOf) -> list[AllocStop]:
    """Stopped allocations whose node can no longer say that they have ended are lost."""
    return [
        AllocStop(
            alloc_id=alloc.id,
            desired=alloc.desired_status,
            description=alloc.desired_description,
            client_status=AllocStatus.LOST,
        )
        for alloc in allocs
        if alloc.is_server_terminal and not alloc.is_client_terminal and is_lost(node_of(alloc.node_id))
    ]
