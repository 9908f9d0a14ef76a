"""Why not here? Every failing check on a node, with the nearest miss; and a job in one paragraph."""

from __future__ import annotations

from dataclasses import dataclass

from rove.structs.alloc import AllocMetric
from rove.structs.job import Job

from .view import View


@dataclass(frozen=True)
class Obstacle:
    """One failing check. kind: state, datacenter, node_pool, driver, constraint, device, volume,
    network, port, cpu, memory, disk, cores, distinct_hosts, distinct_property. text: for people.
    short_by: what is missing, in the kind's unit (MHz, MB, cores, ports), 0 where that has no meaning.
    """

    kind: str
    text: str
    short_by: float = 0.0


@dataclass(frozen=True)
class NodeVerdict:
    """What stands against a group on one node; no obstacles: it would fit."""

    node_id: str
    node_name: str
    obstacles: tuple[Obstacle, ...] = ()


def explain(job: Job, group: str, view: View, node_id: str | None = None) -> tuple[NodeVerdict, ...]:
    """Every failing check of `group` on `node_id` (id or name), or on all nodes, nearest miss first."""
    return ()


def why(job: Job, view: View, failed: dict[str, AllocMetric]) -> str:
    """One paragraph: why the job's count is not met, from the metrics of its last evaluation."""
    return ""
