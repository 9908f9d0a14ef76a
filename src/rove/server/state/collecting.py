"""What of a collection is still over when its turn comes: it was decided on an older state, beside the event loop."""

from __future__ import annotations

import msgspec

from rove.structs.alloc import Desired
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobStatus
from rove.structs.node import Node, NodeStatus

from .blocks import AllocChange
from .counting import deployment_at
from .draft import Draft
from .tables import JobKey, OnNode
from .transactions import Collect


def still_over(draft: Draft, asked: Collect) -> Collect:
    """`asked` without what came back to life since it was decided, and without all that is such a job's."""
    back = {key for key in asked.jobs if not _job_is_over(draft, key, asked.decided_at)}
    spared: dict[JobKey, bool] = {}

    def is_spared(key: JobKey) -> bool:
        if key not in spared:
            job: Job | None = draft.jobs.get(key)
            spared[key] = key in back or (job is not None and job.job_modify_index > asked.decided_at)
        return spared[key]

    alloc_ids: list[str] = []
    owners: set[str] = set()
    """Evaluations and deployments of allocations that stay."""
    for alloc_id in asked.alloc_ids:
        if (found := draft.find_alloc(alloc_id)) is None:
            continue
        block, position = found
        change = draft.change_of(block, position)
        if _alloc_is_over(change) and not is_spared(block.job_key):
            alloc_ids.append(alloc_id)
        else:
            owners.add(block.placement.eval_id if change.moved is None else change.moved.eval_id)
            owners.add(deployment_at(block, change))

    def evaluation_is_over(evaluation_id: str) -> bool:
        found: Evaluation | None = draft.evaluations.get(evaluation_id)
        return (
            found is not None
            and found.is_terminal
            and found.modify_index <= asked.decided_at
            and evaluation_id not in owners
            and not is_spared(found.job_key)
        )

    def deployment_is_over(deployment_id: str) -> bool:
        found = draft.deployments.get(deployment_id)
        return found is not None and deployment_id not in owners and not is_spared(found.job_key)

    return msgspec.structs.replace(
        asked,
        alloc_ids=tuple(alloc_ids),
        evaluation_ids=tuple(filter(evaluation_is_over, asked.evaluation_ids)),
        deployment_ids=tuple(filter(deployment_is_over, asked.deployment_ids)),
        jobs=tuple(key for key in asked.jobs if key not in back),
        node_ids=tuple(node_id for node_id in asked.node_ids if _node_is_over(draft, node_id)),
    )


def _job_is_over(draft: Draft, key: JobKey, decided_at: int) -> bool:
    job: Job | None = draft.jobs.get(key)
    tally = draft.tally(key)
    return (
        job is not None
        and job.status is JobStatus.DEAD
        and job.job_modify_index <= decided_at
        and not tally.live
        and not tally.open_evals
    )


def _alloc_is_over(change: AllocChange) -> bool:
    """Over on its node, and nothing still wants to replace it."""
    return change.is_client_terminal and (change.desired_status is not Desired.RUN or not change.followup_eval_id)


def _node_is_over(draft: Draft, node_id: str) -> bool:
    node: Node | None = draft.nodes.get(node_id)
    holds: OnNode | None = draft.on_node.get(node_id)
    return node is not None and node.status is NodeStatus.DOWN and (holds is None or not len(holds.live))
