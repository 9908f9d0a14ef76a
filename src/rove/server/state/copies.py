"""Making `Allocation` structs from a block: what its copies share once, then what differs for each."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from rove.structs.alloc import Allocation, AllocMetric, DesiredTransition

from .blocks import AllocChange, Block, own_metrics, reported_of
from .counting import base_spec, spec_at
from .tables import Tables

NO_TRANSITION = DesiredTransition()
replace = msgspec.structs.replace


def shared_of(tables: Tables, block: Block) -> Allocation:
    """What every copy of a block has in common right after placement."""
    placement, first = block.placement, block.first()
    return Allocation(
        namespace=placement.namespace,
        eval_id=placement.eval_id,
        job_id=placement.job_id,
        job=tables.specs.get(base_spec(block)),
        job_version=placement.job_version,
        task_group=placement.group,
        allocated_resources=placement.resources,
        metrics=placement.metrics,
        deployment_id=placement.deployment_id,
        deployment_status=first.health,
        create_index=block.row.create_index,
        modify_index=first.modify_index,
        alloc_modify_index=first.alloc_modify_index,
        create_time=block.row.create_time,
        modify_time=first.modify_time,
    )


class Scores:
    """The metrics of a block's copies, for when many of them are looked at."""

    def __init__(self, block: Block) -> None:
        self._placement = block.placement
        self._scores: list[float] = np.frombuffer(block.placement.scores, dtype="<f4").tolist()
        self._made: dict[tuple[str, float], AllocMetric] = {}

    def of(self, position: int, node_id: str) -> AllocMetric | None:
        """The shared metrics, with this copy's own node and score first among the scored nodes."""
        placement = self._placement
        if placement.metrics is None or not self._scores:
            return placement.metrics
        score = self._scores[position]
        if position in placement.scored:
            return own_metrics(placement, position, node_id, score)
        found = self._made.get((node_id, score))
        if found is None:
            found = self._made[node_id, score] = own_metrics(placement, position, node_id, score)
        return found


def copy_of(
    tables: Tables,
    shared: Allocation,
    block: Block,
    position: int,
    change: AllocChange | None,
    scores: Scores | None = None,
) -> Allocation:
    """One copy, in its present state. scores: given where many copies of the block are made."""
    placement = block.placement
    node_id = block.node_of(position)
    node = tables.nodes.get(node_id)
    fields: dict[str, Any] = {
        "id": block.id_of(position),
        "name": block.name_of(position),
        "node_id": node_id,
        "node_name": "" if node is None else node.name,
    }
    if placement.own_resources or placement.ports:
        fields["allocated_resources"] = block.resources_at(position, change)
    if placement.scores and placement.metrics is not None:
        fields["metrics"] = block.metrics_at(position) if scores is None else scores.of(position, node_id)
    if placement.previous:
        fields["previous_allocation"] = placement.previous.get(position, "")
    if placement.trackers:
        fields["reschedule_tracker"] = placement.trackers.get(position)
    if placement.preempted:
        fields["preempted_allocations"] = placement.preempted.get(position, ())
    if change is not None:
        _add_changed(fields, tables, block, position, change)
    return replace(shared, **fields)


def _add_changed(fields: dict[str, Any], tables: Tables, block: Block, position: int, change: AllocChange) -> None:
    """The fields that an allocation's life has changed."""
    reported = reported_of(change)
    fields |= {
        "desired_status": change.desired_status,
        "desired_description": change.desired_description,
        "desired_transition": change.transition or NO_TRANSITION,
        "client_status": change.client_status,
        "client_description": change.client_description,
        "task_states": reported.task_states or None,
        "alloc_states": change.alloc_states,
        "next_allocation": change.next_allocation,
        "deployment_status": change.health,
        "network_status": reported.network_status,
        "followup_eval_id": change.followup_eval_id,
        "preempted_by_allocation": change.preempted_by,
        "modify_index": change.modify_index,
        "alloc_modify_index": change.alloc_modify_index,
        "modify_time": change.modify_time,
    }
    if (moved := change.moved) is not None:
        fields |= {
            "eval_id": moved.eval_id,
            "job": tables.specs.get(spec_at(block, change)),
            "job_version": moved.job_version,
            "deployment_id": moved.deployment_id,
            "allocated_resources": block.resources_at(position, change),
        }
