"""Rules of allocations: placing, changing, collecting."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from rove.structs.alloc import (
    AllocDeploymentStatus,
    AllocStateChange,
    AllocStatus,
    AllocUpdate,
    Desired,
    DesiredTransition,
)
from rove.structs.base import SECOND, from_unix
from rove.structs.job import Job
from rove.structs.plan import AllocAnnotation, AllocStop, InPlaceUpdate, Placement

from . import deployments, jobs
from .blocks import ENCODER, AllocChange, Block, Moved, Reported, make_block, reference_key
from .counting import base_spec, count_untouched, deployment_at, index_block, recount, sort_on_node, uncount
from .draft import Draft
from .postings import EMPTY
from .tables import Column, JobKey, OnNode

replace = msgspec.structs.replace


def place(draft: Draft, placement: Placement, planned: Job | None = None) -> Block:
    """Store a placement as a block. planned: the job as the plan saw it, which may be gone by now."""
    job: Job | None = draft.jobs.get((placement.namespace, placement.job_id))
    made_for = planned if planned is not None and planned.create_index else job
    number = draft.next_block
    draft.next_block = number + 1
    block = make_block(
        number, placement, draft.random(8 * len(placement)), draft.index, draft.now,
        made_for.create_index if made_for is not None else 0,
    )  # fmt: skip
    if made_for is not None:
        jobs.ensure_spec(draft, base_spec(block), made_for)
    draft.blocks[number] = block
    draft.put_row("blocks", number.to_bytes(8, "big"), block.row)
    draft.new_blocks.append(block)
    index_block(draft, block)
    _count_new(draft, block, job)
    if placement.deployment_id:
        canaries = [block.id_of(position) for position in range(len(block))] if placement.canary else []
        deployments.count_placed(draft, placement.deployment_id, placement.group, len(block), canaries)
    for position, previous_id in placement.previous.items():
        _link(draft, previous_id, block.id_of(position))
    draft.mark(("allocs",), ("allocs.job", *block.job_key))
    draft.touched.add(("allocs.eval", placement.eval_id))
    draft.alloc_nodes.update(placement.node_ids)
    return block


def _count_new(draft: Draft, block: Block, job: Job | None) -> None:
    """Columns, ports, tally and spec uses of a block whose copies are all new."""
    count_untouched(draft, block, np.arange(len(block)))
    if job is not None:
        draft.mark(("job.summary", *block.job_key))


def set_change(draft: Draft, block: Block, position: int, old: AllocChange, new: AllocChange) -> None:
    """Store an allocation's new state, and let everything that depends on it follow."""
    new = replace(new, modify_index=draft.index, modify_time=draft.now)
    reference = block.reference(position)
    draft.changes.put(block, position, new)
    draft.put_row("allocs", reference_key(reference), new)
    node_id = block.node_of(position)
    draft.alloc_nodes.add(node_id)
    entry: OnNode | None = draft.on_node.get(node_id)
    if entry is not None and entry.index != draft.index:
        draft.on_node[node_id] = OnNode(entry.live, entry.ended, draft.index)
    if old.is_client_terminal != new.is_client_terminal:
        sort_on_node(draft, block, node_id)
    draft.changed_allocs[reference] = draft.event_type
    key = block.job_key
    draft.mark(("allocs",), ("allocs.job", *key))
    draft.touched.add(("alloc", block.id_of(position)))
    draft.touched.add(("allocs.eval", block.placement.eval_id))
    recount(draft, block, position, old, new)
    before, after = _health_that_counts(old), _health_that_counts(new)
    deployment_id = deployment_at(block, new)
    if deployment_id and deployment_id == deployment_at(block, old) and before is not after:
        deployments.count_health(draft, deployment_id, block.placement.group, before, after)


def _health_that_counts(change: AllocChange) -> bool | None:
    """What an allocation is in its deployment's counts: a healthy one only for as long as it lives."""
    healthy = None if change.health is None else change.health.healthy
    return None if healthy and change.is_terminal else healthy


def _link(draft: Draft, previous_id: str, next_id: str) -> None:
    """The allocation `previous_id` was replaced by `next_id`."""
    if (found := draft.find_alloc(previous_id)) is None:
        return
    old = draft.change_of(*found)
    set_change(draft, *found, old, replace(old, next_allocation=next_id, alloc_modify_index=draft.index))


def _with_status(draft: Draft, change: AllocChange, status: AllocStatus | None) -> AllocChange:
    """A client status set by the server, or by a node after it was unreachable: noted among the state changes."""
    if status is None or status is change.client_status:
        return change
    states = change.alloc_states
    if AllocStatus.UNKNOWN in (status, change.client_status):
        noted = AllocStateChange(field=0, value=status.value, time=from_unix(draft.now / SECOND))
        states = (*states, noted)
    return replace(change, client_status=status, alloc_states=states)


def stop(draft: Draft, wanted: AllocStop, preempted_by: str = "") -> None:
    """Stop, evict or note something. Unknown allocations are ignored."""
    if (found := draft.find_alloc(wanted.alloc_id)) is None:
        return
    old = draft.change_of(*found)
    new = _with_status(draft, old, wanted.client_status)
    new = replace(
        new, desired_status=wanted.desired, alloc_modify_index=draft.index,
        desired_description=wanted.description or old.desired_description,
        followup_eval_id=wanted.followup_eval_id or old.followup_eval_id,
        preempted_by=preempted_by or old.preempted_by,
    )  # fmt: skip
    set_change(draft, *found, old, new)


def annotate(draft: Draft, wanted: AllocAnnotation) -> None:
    """Note a delayed reschedule, a disconnect or a reconnect."""
    if (found := draft.find_alloc(wanted.alloc_id)) is None:
        return
    old = draft.change_of(*found)
    new = _with_status(draft, old, wanted.client_status)
    new = replace(
        new, alloc_modify_index=draft.index,
        followup_eval_id=old.followup_eval_id if wanted.followup_eval_id is None else wanted.followup_eval_id,
        transition=None if wanted.clear_transition else old.transition,
    )  # fmt: skip
    set_change(draft, *found, old, new)


def move(draft: Draft, wanted: InPlaceUpdate) -> None:
    """Let a new job version take a living allocation over."""
    if (found := draft.find_alloc(wanted.alloc_id)) is None:
        return
    block, position = found
    old = draft.change_of(block, position)
    job: Job | None = draft.jobs.get(block.job_key)
    resources = wanted.resources
    if resources is None and old.moved is not None:
        resources = old.moved.resources
    moved = Moved(
        job_create_index=job.create_index if job is not None else block.row.job_create_index,
        job_version=wanted.job_version, eval_id=wanted.eval_id, deployment_id=wanted.deployment_id,
        resources=resources,
    )  # fmt: skip
    joined = bool(wanted.deployment_id) and wanted.deployment_id != deployment_at(block, old)
    health = None if wanted.deployment_id != deployment_at(block, old) else old.health
    new = replace(old, moved=moved, health=health, alloc_modify_index=draft.index)
    set_change(draft, block, position, old, new)
    draft.note_move(wanted.eval_id, block.reference(position), True)
    draft.touched.add(("allocs.eval", wanted.eval_id))
    if joined:
        deployments.count_placed(draft, wanted.deployment_id, block.placement.group, 1, ())


def report(draft: Draft, update: AllocUpdate, node_id: str = "") -> bool:
    """Store a node's report. False if it is unknown, another node's, older than what is stored, or nothing new."""
    if (found := draft.find_alloc(update.id)) is None:
        return False
    block, position = found
    if node_id and block.node_of(position) != node_id:
        return False
    old = draft.change_of(block, position)
    if update.sequence and update.sequence <= old.sequence:
        return False
    reported = b""
    if update.task_states or update.network_status is not None:
        reported = ENCODER.encode(
            Reported(task_states=update.task_states, network_status=update.network_status)
        )  # fmt: skip
    new = replace(
        _with_status(draft, old, update.client_status), client_description=update.client_description,
        reported=reported or old.reported, sequence=max(update.sequence, old.sequence),
        health=_reported_health(draft, block, old, update),
    )  # fmt: skip
    if new == replace(old, sequence=new.sequence):
        return False
    set_change(draft, block, position, old, new)
    return True


def _reported_health(draft: Draft, block: Block, old: AllocChange, update: AllocUpdate) -> AllocDeploymentStatus | None:
    """Health counts outside deployments too: a drain waits for replacements to be healthy."""
    if update.healthy is None:
        return old.health
    if old.health is not None and old.health.healthy is update.healthy:
        return old.health
    at = from_unix((update.healthy_time or draft.now) / SECOND)
    canary = old.health is not None and old.health.canary
    return AllocDeploymentStatus(
        healthy=update.healthy, timestamp=at, canary=canary, modify_index=draft.index
    )  # fmt: skip


def set_health(draft: Draft, alloc_id: str, deployment_id: str, healthy: bool) -> None:
    """Set by hand whether an allocation of a deployment is healthy."""
    if (found := draft.find_alloc(alloc_id)) is None:
        return
    old = draft.change_of(*found)
    if deployment_at(found[0], old) != deployment_id:
        return
    canary = old.health is not None and old.health.canary
    at = from_unix(draft.now / SECOND)
    health = AllocDeploymentStatus(healthy=healthy, timestamp=at, canary=canary, modify_index=draft.index)
    if old.health is None or old.health.healthy is not healthy:
        set_change(draft, *found, old, replace(old, health=health, alloc_modify_index=draft.index))


def promote_canaries(draft: Draft, alloc_ids: Iterable[str]) -> None:
    """Promoted canaries are canaries no longer."""
    for alloc_id in alloc_ids:
        if (found := draft.find_alloc(alloc_id)) is None:
            continue
        old = draft.change_of(*found)
        if old.health is not None and old.health.canary:
            health = replace(old.health, canary=False, modify_index=draft.index)
            set_change(draft, *found, old, replace(old, health=health, alloc_modify_index=draft.index))


def set_transition(draft: Draft, alloc_id: str, wanted: DesiredTransition) -> None:
    """Merge wishes into an allocation's own; fields that are None stay as they are."""
    if (found := draft.find_alloc(alloc_id)) is None:
        return
    old = draft.change_of(*found)
    given = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not None}
    transition = replace(old.transition or DesiredTransition(), **given)
    if transition != old.transition:
        set_change(draft, *found, old, replace(old, transition=transition, alloc_modify_index=draft.index))


def live_of_job(draft: Draft, key: JobKey) -> Iterable[tuple[Block, int, AllocChange]]:
    """Allocations of a job that are not terminal."""
    for number in draft.blocks_of_job.get(key, EMPTY).numbers():
        block: Block = draft.blocks.get(number)
        for position in range(len(block)):
            change = draft.change_of(block, position)
            if not change.gone and not change.is_terminal:
                yield block, position, change


def collect(draft: Draft, alloc_ids: Iterable[str]) -> None:
    """Forget allocations. A block goes when its last copy does."""
    touched: dict[int, Block] = {}
    for alloc_id in alloc_ids:
        if (found := draft.find_alloc(alloc_id)) is None:
            continue
        block, position = found
        old = draft.change_of(block, position)
        uncount(draft, block, position, old)
        gone = AllocChange(gone=True, client_status=AllocStatus.COMPLETE, desired_status=Desired.STOP,
                           modify_index=draft.index)  # fmt: skip
        draft.changes.put(block, position, gone)
        draft.put_row("allocs", reference_key(block.reference(position)), gone)
        draft.gone_allocs[alloc_id] = block.node_of(position)
        draft.alloc_nodes.add(block.node_of(position))
        draft.touched.add(("alloc", alloc_id))
        draft.mark(("allocs",), ("allocs.job", *block.job_key))
        if not old.is_client_terminal:
            sort_on_node(draft, block, block.node_of(position))
        fewer = Block(block.row, draft.blocks.get(block.number).gone + 1)
        draft.blocks[block.number] = touched[block.number] = fewer
    for block in touched.values():
        if block.gone >= len(block):
            _forget_block(draft, block)


def _forget_block(draft: Draft, block: Block) -> None:
    number, placement = block.number, block.placement
    draft.blocks.pop(number)
    draft.changes.drop(block)
    draft.delete_row("blocks", number.to_bytes(8, "big"))
    for position in range(len(block)):
        reference = block.reference(position)
        draft.delete_row("allocs", reference_key(reference))
    _unlist(draft.blocks_of_job, block.job_key, number)
    for node_id in placement.node_ids:
        entry: OnNode | None = draft.on_node.get(node_id)
        if entry is None:
            continue
        live, ended = entry.live.without((number,)), entry.ended.without((number,))
        if len(live) or len(ended):
            draft.on_node[node_id] = OnNode(live, ended, draft.index)
        else:
            draft.on_node.pop(node_id)
    left = tuple(n for n in draft.block_of_evaluation.get(placement.eval_id, ()) if n != number)
    if left:
        draft.block_of_evaluation[placement.eval_id] = left
    elif placement.eval_id in draft.block_of_evaluation:
        draft.block_of_evaluation.pop(placement.eval_id)


def _unlist(column: Column, key: JobKey, number: int) -> None:
    rest = column.get(key, EMPTY).without((number,))
    if len(rest):
        column[key] = rest
    else:
        column.pop(key)
