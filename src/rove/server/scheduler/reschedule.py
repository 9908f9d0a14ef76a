"""When may a failed allocation be replaced, and what its replacement remembers."""

from __future__ import annotations

from dataclasses import dataclass

from rove.structs.alloc import Allocation, RescheduleEvent, RescheduleTracker
from rove.structs.base import UnixNs, unix_ns
from rove.structs.job import ReschedulePolicy

KEPT_EVENTS_UNLIMITED = 5


@dataclass(frozen=True, slots=True)
class Due:
    """A replacement is allowed at `at` (ns since the epoch); `delay` is the pause that led to it (ns)."""

    at: UnixNs
    delay: int


def policy_of(alloc: Allocation) -> ReschedulePolicy | None:
    """The policy of the version that the allocation runs."""
    group = alloc.job.group(alloc.task_group) if alloc.job else None
    return group.reschedule_policy if group else None


def failed_at(alloc: Allocation, now: float) -> UnixNs:
    """When the allocation failed: its last task's end, else its last change, else now."""
    ends = [state.finished_at for state in (alloc.task_states or {}).values() if state.finished_at]
    if ends:
        return int(max(ends).timestamp() * 1e9)
    return alloc.modify_time or unix_ns(now)


def due(alloc: Allocation, policy: ReschedulePolicy | None, now: float) -> Due | None:
    """When `alloc` may be replaced, or None if its attempts are used up or its job asks for none."""
    if policy is None or not (policy.unlimited or policy.attempts):
        return None
    ended = failed_at(alloc, now)
    events = alloc.reschedule_tracker.events if alloc.reschedule_tracker else ()
    if not policy.unlimited:
        recent = sum(1 for event in events if ended - event.reschedule_time < policy.interval)
        if recent >= policy.attempts:
            return None
    delay = next_delay(policy, events, ended)
    return Due(ended + delay, delay)


def next_delay(policy: ReschedulePolicy, events: tuple[RescheduleEvent, ...], ended: UnixNs) -> int:
    """The pause before the next attempt, in ns.

    exponential doubles the last pause, fibonacci adds the last two. A copy that then ran for longer
    than `max_delay` starts again at the base delay.
    """
    if policy.delay_function == "constant" or not events:
        return policy.delay
    last = events[-1]
    cap = policy.max_delay
    if cap and ended - last.reschedule_time > cap:
        return policy.delay
    if policy.delay_function == "fibonacci":
        before = events[-2].delay if len(events) > 1 else 0
        delay = last.delay + before if len(events) > 1 else last.delay
    else:
        delay = last.delay * 2
    delay = max(delay, policy.delay)
    return min(delay, cap) if cap else delay


def next_tracker(alloc: Allocation, policy: ReschedulePolicy | None, now: float) -> RescheduleTracker:
    """What the replacement of `alloc` remembers of earlier attempts."""
    at = unix_ns(now)
    events = alloc.reschedule_tracker.events if alloc.reschedule_tracker else ()
    if policy is not None and policy.attempts and not policy.unlimited:
        events = tuple(event for event in events if at - event.reschedule_time < policy.interval)
    else:
        events = events[-(KEPT_EVENTS_UNLIMITED - 1) :]
    found = due(alloc, policy, now)
    delay = found.delay if found else (policy.delay if policy else 0)
    event = RescheduleEvent(reschedule_time=at, prev_alloc_id=alloc.id, prev_node_id=alloc.node_id, delay=delay)
    return RescheduleTracker(events=(*events, event), last_reschedule="ok")


def penalised_nodes(alloc: Allocation) -> frozenset[str]:
    """Nodes on which this copy has failed before."""
    events = alloc.reschedule_tracker.events if alloc.reschedule_tracker else ()
    return frozenset({alloc.node_id, *(event.prev_node_id for event in events)})
