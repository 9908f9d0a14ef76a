"""Everything that is counted and listed about allocations: indexes, columns, ports, tallies, uses of versions.

A copy is counted once when it is placed (or loaded), moved from one count to another when it changes, and
taken out when it is collected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from rove.structs.alloc import (
    AllocStatus,
)
from rove.structs.job import Job, TaskGroupSummary
from rove.structs.resources import AllocatedResources, Usage, usage_of

from . import jobs
from .blocks import AllocChange, Block
from .draft import Draft
from .jobs import NO_COUNTS, set_tally, use_spec
from .postings import EMPTY
from .tables import OnNode, SpecKey

replace = msgspec.structs.replace

NOTHING_ON_NODE = OnNode(EMPTY, EMPTY, 0)

COUNTED_AS = {
    AllocStatus.PENDING: "starting", AllocStatus.RUNNING: "running", AllocStatus.COMPLETE: "complete",
    AllocStatus.FAILED: "failed", AllocStatus.LOST: "lost", AllocStatus.UNKNOWN: "unknown",
}  # fmt: skip
"""Field of a group's summary by client status."""


def index_block(draft: Draft, block: Block, index: int = 0) -> None:
    """Add a block to the indexes of jobs, nodes and evaluations, and its copies to columns and ports."""
    placement, number = block.placement, block.number
    index = index or draft.index
    key = block.job_key
    draft.blocks_of_job[key] = draft.blocks_of_job.get(key, EMPTY).add(number)
    of_evaluation = draft.block_of_evaluation.get(placement.eval_id, ())
    draft.block_of_evaluation[placement.eval_id] = (*of_evaluation, number)
    on_node = draft.on_node
    for node_id in placement.node_ids:
        entry: OnNode = on_node.get(node_id) or NOTHING_ON_NODE
        on_node[node_id] = OnNode(entry.live.add(number), entry.ended, index)


def sort_on_node(draft: Draft, block: Block, node_id: str) -> None:
    """List a block among those that live on a node, or among those that have ended there."""
    entry: OnNode | None = draft.on_node.get(node_id)
    if entry is None:
        return
    number = block.number
    lives = any(not draft.change_of(block, position).is_client_terminal for position in block.positions_on(node_id))
    if lives != (number in entry.live):
        live = entry.live.insert(number) if lives else entry.live.without((number,))
        ended = entry.ended.without((number,)) if lives else entry.ended.insert(number)
        draft.on_node[node_id] = OnNode(live, ended, entry.index)


def count_untouched(draft: Draft, block: Block, positions: npt.NDArray[np.int64]) -> None:
    """Count copies that are just as they were placed."""
    count = len(positions)
    if count:
        _count(draft, block, positions, {AllocStatus.PENDING: count}, live=count)


def count_changed(draft: Draft, block: Block, changes: Mapping[int, AllocChange]) -> None:
    """Count copies, by position, that have changed but still have the specification they were placed with."""
    if not changes:
        return
    held = [position for position, change in changes.items() if not change.is_client_terminal]
    live = sum(1 for change in changes.values() if not change.is_terminal)
    statuses = Counter(change.client_status for change in changes.values())
    _count(draft, block, np.array(held, dtype=np.int64), statuses, live=live)


def _count(
    draft: Draft, block: Block, held: npt.NDArray[np.int64], statuses: Mapping[AllocStatus, int], live: int
) -> None:
    """Count copies: columns and ports of those that hold something, tally, spec uses."""
    if len(held):
        _take_room(draft, block, held)
    count, name = sum(statuses.values()), block.placement.group
    use_spec(draft, base_spec(block), count)
    tally = draft.tally(block.job_key)
    groups = tally.groups
    if is_counted(draft, base_spec(block)):
        counts = groups.get(name, NO_COUNTS)
        more = {COUNTED_AS[status]: number for status, number in statuses.items()}
        counts = replace(counts, **{field: getattr(counts, field) + number for field, number in more.items()})
        groups = {**groups, name: counts}
    set_tally(draft, block.job_key, replace(
        tally, live=tally.live + live, allocs=tally.allocs + count, groups=groups, modify_index=draft.index,
    ))  # fmt: skip


def _take_room(draft: Draft, block: Block, positions: npt.NDArray[np.int64]) -> None:
    node_ids, row_of = block.placement.node_ids, draft.fleet.row_of
    rows_of = np.array([-1 if (row := row_of(n)) is None else row for n in node_ids], dtype=np.int64)
    taken = rows_of[block.nodes[positions]]
    if block.own_usage:
        for position, row in zip(positions.tolist(), taken.tolist(), strict=True):
            if row >= 0:
                draft.fleet.add(row, block.usage_at(position), 1)
    else:
        known = taken[taken >= 0]
        if len(known):
            draft.fleet.take(known, block.usage)
    if block.may_hold_ports:
        for position in positions.tolist():
            _hold_ports(draft, block, position, None, 1)


def count_moved(draft: Draft, block: Block, position: int, change: AllocChange) -> None:
    """Count a copy that a later version of its job took over."""
    if not change.is_client_terminal:
        row = draft.fleet.row_of(block.node_of(position))
        if row is not None:
            draft.fleet.add(row, usage_at(block, position, change), 1)
        _hold_ports(draft, block, position, change, 1)
    use_spec(draft, spec_at(block, change), 1)
    if change.moved is not None:
        draft.note_move(change.moved.eval_id, block.reference(position), True)
    tally = draft.tally(block.job_key)
    groups = tally.groups
    if is_counted(draft, spec_at(block, change)):
        name = block.placement.group
        groups = {**groups, name: _counted(groups.get(name, NO_COUNTS), change, 1)}
    set_tally(draft, block.job_key, replace(
        tally, live=tally.live + (not change.is_terminal), allocs=tally.allocs + 1, groups=groups,
    ))  # fmt: skip


def base_spec(block: Block) -> SpecKey:
    """The specification that a block was placed with."""
    placement = block.placement
    return (placement.namespace, placement.job_id, block.row.job_create_index, placement.job_version)


def spec_at(block: Block, change: AllocChange) -> SpecKey:
    """The specification that an allocation has now."""
    if (moved := change.moved) is None:
        return base_spec(block)
    return (*block.job_key, moved.job_create_index, moved.job_version)


def deployment_at(block: Block, change: AllocChange | None) -> str:
    """The deployment that an allocation belongs to now, or ''."""
    if change is not None and change.moved is not None:
        return change.moved.deployment_id
    return block.placement.deployment_id


def usage_at(block: Block, position: int, change: AllocChange) -> Usage:
    """What an allocation takes now."""
    if change.moved is not None and change.moved.resources is not None:
        return usage_of(change.moved.resources)
    return block.usage_at(position)


def _hold_ports(draft: Draft, block: Block, position: int, change: AllocChange | None, sign: int) -> None:
    held = block.ports_at(position, change)
    if not held:
        return
    node_id = block.node_of(position)
    ports: dict[int, int] = dict(draft.ports.get(node_id, {}))
    for port in held:
        if port.value:
            ports[port.value] = ports.get(port.value, 0) + sign
            if ports[port.value] <= 0:
                del ports[port.value]
    if ports:
        draft.ports[node_id] = ports
    elif node_id in draft.ports:
        draft.ports.pop(node_id)


def recount(draft: Draft, block: Block, position: int, old: AllocChange, new: AllocChange) -> None:
    """Move columns, ports, tally and spec uses from an allocation's old state to its new one."""
    moved = old.moved is not new.moved and old.moved != new.moved
    holds_else = moved and _own_resources(old) is not _own_resources(new)
    if holds_else or old.is_client_terminal != new.is_client_terminal:
        _recount_usage(draft, block, position, old, new)
    if moved:
        use_spec(draft, spec_at(block, new), 1)
        use_spec(draft, spec_at(block, old), -1)
        _unlist_moved(draft, block, position, old)
    is_over = (old.is_terminal, new.is_terminal)
    if not moved and old.client_status is new.client_status:
        if is_over[0] == is_over[1]:
            return
        counted = (False, False)
    else:
        after = is_counted(draft, spec_at(block, new))
        counted = (is_counted(draft, spec_at(block, old)) if moved else after, after)
    regroup = counted[0] != counted[1] or (counted[1] and old.client_status is not new.client_status)
    if is_over[0] == is_over[1] and not regroup:
        return
    key, name = block.job_key, block.placement.group
    tally = draft.tally(key)
    groups = tally.groups
    if regroup:
        counts = groups.get(name, NO_COUNTS)
        if counted[0]:
            counts = _counted(counts, old, -1)
        if counted[1]:
            counts = _counted(counts, new, 1)
        groups = {**groups, name: counts}
        draft.mark(("job.summary", *key))
    set_tally(draft, key, replace(
        tally, live=tally.live + is_over[0] - is_over[1], groups=groups, modify_index=draft.index,
    ))  # fmt: skip


def _own_resources(change: AllocChange) -> AllocatedResources | None:
    """What an allocation was given when it was taken over; None: as its block says."""
    return None if change.moved is None else change.moved.resources


def is_counted(draft: Draft, spec: SpecKey) -> bool:
    """True if a specification is of its job's present incarnation, so that the summary counts its copies."""
    job: Job | None = draft.jobs.get(spec[:2])
    return job is not None and job.create_index == spec[2]


def _counted(counts: TaskGroupSummary, change: AllocChange, sign: int) -> TaskGroupSummary:
    field = COUNTED_AS[change.client_status]
    return replace(counts, **{field: getattr(counts, field) + sign})


def _recount_usage(draft: Draft, block: Block, position: int, old: AllocChange, new: AllocChange) -> None:
    row = draft.fleet.row_of(block.node_of(position))
    if not old.is_client_terminal:
        if row is not None:
            draft.fleet.add(row, usage_at(block, position, old), -1)
        _hold_ports(draft, block, position, old, -1)
    if not new.is_client_terminal:
        if row is not None:
            draft.fleet.add(row, usage_at(block, position, new), 1)
        _hold_ports(draft, block, position, new, 1)


def uncount(draft: Draft, block: Block, position: int, old: AllocChange) -> None:
    """Take an allocation out of columns, ports, tally and spec uses; what it came to stays in the summary."""
    if not old.is_client_terminal:
        row = draft.fleet.row_of(block.node_of(position))
        if row is not None:
            draft.fleet.add(row, usage_at(block, position, old), -1)
        _hold_ports(draft, block, position, old, -1)
    _unlist_moved(draft, block, position, old)
    key, name = block.job_key, block.placement.group
    tally = draft.tally(key)
    groups = tally.groups
    if is_counted(draft, spec_at(block, old)):
        counted = COUNTED_AS[old.client_status]
        if old.is_client_terminal:
            jobs.keep_counts(draft, draft.jobs.get(key), {name: replace(NO_COUNTS, **{counted: 1})})
        else:
            groups = {**groups, name: _counted(groups.get(name, NO_COUNTS), old, -1)}
    set_tally(draft, key, replace(
        tally, live=tally.live - (not old.is_terminal), allocs=tally.allocs - 1, groups=groups,
        modify_index=draft.index,
    ))  # fmt: skip
    use_spec(draft, spec_at(block, old), -1)


def _unlist_moved(draft: Draft, block: Block, position: int, old: AllocChange) -> None:
    """An allocation no longer belongs to the evaluation that took it over."""
    if old.moved is None:
        return
    draft.note_move(old.moved.eval_id, block.reference(position), False)
