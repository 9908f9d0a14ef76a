"""A node has come back: which of two copies of one name stays?"""

from __future__ import annotations

from dataclasses import dataclass, field

from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.job import Job, JobType, TaskGroup

from . import decision as reasons
from .taint import Sorted, disconnect_of, last_client_status, start_time


@dataclass(slots=True)
class Reconnected:
    """kept: copies back in service. stops: the others, with the reason."""

    kept: list[Allocation] = field(default_factory=list)
    stops: list[tuple[Allocation, str]] = field(default_factory=list)


def resolve_reconnects(found: Sorted, job: Job, group: TaskGroup) -> Reconnected:
    """Choose between each copy that is back and its stand-in, and put the winner among the kept.

    Copies of a system job have one name on all nodes: there a stand-in is one on the same node.
    """
    is_system = job.type in (JobType.SYSTEM, JobType.SYSBATCH)
    result = Reconnected()
    for alloc in found.reconnecting:
        rivals = [
            other
            for other in found.kept
            if other.index == alloc.index
            and other.id != alloc.id
            and not other.is_canary
            and (not is_system or other.node_id == alloc.node_id)
        ]
        rival = next((other for other in rivals if other.client_status is AllocStatus.RUNNING), None)
        rival = rival or (rivals[0] if rivals else None)
        if rival is None or original_stays(alloc, rival, job, group):
            (found.migrate if alloc.desired_transition.migrate else found.kept).append(alloc)
            if rival is not None or last_client_status(alloc)[0] == AllocStatus.UNKNOWN:
                result.kept.append(alloc)
            result.stops += [(other, reasons.RECONNECTED) for other in rivals]
            beaten = {other.id for other in rivals}
            found.kept = [other for other in found.kept if other.id not in beaten]
        else:
            result.stops.append((alloc, reasons.RECONNECTED))
    found.reconnecting = []
    return result


def original_stays(original: Allocation, rival: Allocation, job: Job, group: TaskGroup) -> bool:
    """True if the copy that came back is kept instead of its stand-in.

    The newer job version wins; then the strategy decides. best_score compares stored scores,
    longest_running the start of the main task; a stand-in that does not run yet never wins.
    """
    if original.desired_transition.migrate:
        return False
    if original.job_version != rival.job_version:
        return original.job_version > rival.job_version
    rules = disconnect_of(original) or group.disconnect
    strategy = rules.reconcile if rules else "best_score"
    if strategy == "keep_original":
        return True
    if strategy == "keep_replacement":
        return False
    if rival.client_status is not AllocStatus.RUNNING:
        return True
    if strategy == "longest_running":
        return start_time(original, group) <= start_time(rival, group)
    return norm_score(original) >= norm_score(rival)


def norm_score(alloc: Allocation) -> float:
    """The score that the allocation's node had when it was placed."""
    if alloc.metrics is None:
        return 0.0
    for score in alloc.metrics.score_meta_data:
        if score.node_id == alloc.node_id:
            return score.norm_score
    return 0.0
