"""Allocations as columns: stored blocks, what has changed since, and structs made from both when asked for.

An allocation's *reference* is an integer: block number (40 bits) and position (24 bits). It is the last
8 bytes of its id, its key in the table of changes, and what the indexes hold.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from rove.structs.alloc import (
    CLIENT_TERMINAL,
    AllocDeploymentStatus,
    AllocMetric,
    AllocStateChange,
    AllocStatus,
    Desired,
    DesiredTransition,
    NetworkStatus,
    NodeScore,
    TaskState,
    alloc_name,
)
from rove.structs.base import UnixNs
from rove.structs.plan import AllocBlock, Placement
from rove.structs.resources import AllocatedPort, AllocatedResources, Usage, ports_of, usage_of

POSITION_BITS = 24
POSITIONS = (1 << POSITION_BITS) - 1
replace = msgspec.structs.replace


class Moved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The job version that took an allocation over in place."""

    job_create_index: int
    job_version: int
    eval_id: str
    deployment_id: str = ""
    resources: AllocatedResources | None = None


class Reported(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The bulky part of a node's report, kept encoded until somebody looks."""

    task_states: dict[str, TaskState] = {}
    network_status: NetworkStatus | None = None


class AllocChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What differs from the block it was placed with. `gone`: collected, while its block lives on."""

    client_status: AllocStatus = AllocStatus.PENDING
    client_description: str = ""
    reported: bytes = b""
    desired_status: Desired = Desired.RUN
    desired_description: str = ""
    transition: DesiredTransition | None = None
    alloc_states: tuple[AllocStateChange, ...] = ()
    health: AllocDeploymentStatus | None = None
    next_allocation: str = ""
    followup_eval_id: str = ""
    preempted_by: str = ""
    moved: Moved | None = None
    sequence: int = 0
    gone: bool = False
    modify_index: int = 0
    alloc_modify_index: int = 0
    modify_time: UnixNs = 0

    @property
    def is_client_terminal(self) -> bool:
        return self.client_status in CLIENT_TERMINAL

    @property
    def is_terminal(self) -> bool:
        return self.desired_status is not Desired.RUN or self.client_status in CLIENT_TERMINAL


SAME_SCORE = 1e-6
"""Stored scores are 32-bit floats."""

ENCODER = msgspec.msgpack.Encoder()
REPORTED = msgspec.msgpack.Decoder(Reported)
NOTHING_REPORTED = Reported()


def reported_of(change: AllocChange) -> Reported:
    """The report, decoded."""
    return REPORTED.decode(change.reported) if change.reported else NOTHING_REPORTED


class Block:
    """A stored block with what is worked out from it once. Immutable; `gone` counts collected positions."""

    __slots__ = ("gone", "nodes", "own_usage", "row", "usage")

    def __init__(self, row: AllocBlock, gone: int = 0) -> None:
        placement = row.placement
        self.row = row
        self.gone = gone
        self.nodes: npt.NDArray[np.int32] = np.frombuffer(placement.nodes, dtype="<i4")
        self.usage = usage_of(placement.resources)
        self.own_usage: dict[int, Usage] = {
            position: usage_of(resources) for position, resources in placement.own_resources.items()
        }

    def __len__(self) -> int:
        return len(self.row.ids) // 16

    @property
    def number(self) -> int:
        return self.row.number

    @property
    def placement(self) -> Placement:
        return self.row.placement

    @property
    def job_key(self) -> tuple[str, str]:
        return (self.row.placement.namespace, self.row.placement.job_id)

    def first(self) -> AllocChange:
        """The state of every copy right after placement."""
        index = self.row.create_index
        health = AllocDeploymentStatus(canary=True) if self.row.placement.canary else None
        return AllocChange(
            health=health, modify_index=index, alloc_modify_index=index, modify_time=self.row.create_time,
        )  # fmt: skip

    def reference(self, position: int) -> int:
        return self.row.number << POSITION_BITS | position

    def id_of(self, position: int) -> str:
        return id_text(self.row.ids[position * 16 : position * 16 + 16])

    def node_of(self, position: int) -> str:
        node_id: str = self.row.placement.node_ids[self.nodes[position]]
        return node_id

    def positions_on(self, node_id: str) -> list[int]:
        """Positions of the copies on a node."""
        ids = self.row.placement.node_ids
        if len(ids) == 1:
            return list(range(len(self))) if ids[0] == node_id else []
        try:
            column = ids.index(node_id)
        except ValueError:
            return []
        if len(self) == 1:
            return [0] if self.nodes[0] == column else []
        found: list[int] = np.flatnonzero(self.nodes == column).tolist()
        return found

    def usage_at(self, position: int) -> Usage:
        return self.own_usage.get(position, self.usage) if self.own_usage else self.usage

    def resources_at(self, position: int, change: AllocChange | None) -> AllocatedResources:
        """What a copy holds, ports included."""
        placement = self.row.placement
        if change is not None and change.moved is not None and change.moved.resources is not None:
            return change.moved.resources
        resources = placement.own_resources.get(position, placement.resources)
        if (ports := placement.ports.get(position)) is not None:
            resources = replace(resources, shared=replace(resources.shared, ports=ports))
        return resources

    def ports_at(self, position: int, change: AllocChange | None) -> tuple[AllocatedPort, ...]:
        """Host ports that a copy holds."""
        return ports_of(self.resources_at(position, change))

    @property
    def may_hold_ports(self) -> bool:
        """False if no copy holds any host port, which is quickly seen."""
        placement = self.row.placement
        return bool(placement.ports or placement.own_resources or ports_of(placement.resources))

    def name_index(self, position: int) -> int:
        return int.from_bytes(self.row.placement.indexes[position * 4 : position * 4 + 4], "little", signed=True)

    def name_of(self, position: int) -> str:
        placement = self.row.placement
        return alloc_name(placement.job_id, placement.group, self.name_index(position))

    def metrics_at(self, position: int) -> AllocMetric | None:
        """The shared metrics, with this copy's own node and score first among the scored nodes."""
        placement = self.row.placement
        if placement.metrics is None or not placement.scores:
            return placement.metrics
        score = float(np.frombuffer(placement.scores, dtype="<f4", count=1, offset=position * 4)[0])
        return own_metrics(placement, position, self.node_of(position), score)


def own_metrics(placement: Placement, position: int, node_id: str, score: float) -> AllocMetric:
    """The metrics of one copy: those of all, with its own node and score first among the scored nodes."""
    metrics = placement.metrics
    assert metrics is not None
    own = placement.scored.get(position)
    if own is None:
        own = next((one for one in metrics.score_meta_data if one.node_id == node_id), None)
        if own is None or abs(own.norm_score - score) > SAME_SCORE:
            own = NodeScore(node_id=node_id, scores={"normalized-score": score}, norm_score=score)
    others = (one for one in metrics.score_meta_data if one.node_id != node_id)
    return replace(metrics, score_meta_data=(own, *others))


def make_block(
    number: int, placement: Placement, random: bytes, index: int, now: UnixNs, job_create_index: int
) -> Block:
    """A new block. random: 8 bytes for each copy."""
    count = len(placement)
    ids = np.empty((count, 2), dtype=">u8")
    ids[:, 0] = np.frombuffer(random, dtype=">u8", count=count)
    ids[:, 1] = (number << POSITION_BITS) + np.arange(count, dtype=np.uint64)
    row = AllocBlock(
        number=number, placement=placement, ids=ids.tobytes(), create_index=index, create_time=now,
        job_create_index=job_create_index,
    )  # fmt: skip
    return Block(row)


def id_text(raw: bytes) -> str:
    """16 bytes in the text form of a UUID."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_bytes(alloc_id: str) -> bytes | None:
    """The 16 bytes of an id, or None if it is not one."""
    try:
        raw = bytes.fromhex(alloc_id.replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == 16 and len(alloc_id) == 36 else None


def split(reference: int) -> tuple[int, int]:
    """(block number, position) of a reference."""
    return reference >> POSITION_BITS, reference & POSITIONS


def reference_key(reference: int) -> bytes:
    """The row key of an allocation's changes."""
    return reference.to_bytes(8, "big")
