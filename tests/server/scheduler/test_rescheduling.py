"""Failed copies: replaced now or later, elsewhere, and only as often as the policy allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from rove.server.scheduler.reschedule import due, next_delay, next_tracker
from rove.structs.alloc import (
    AllocStatus,
    DesiredTransition,
    RescheduleEvent,
    RescheduleTracker,
)
from rove.structs.base import HOUR, MINUTE, SECOND, unix_ns
from rove.structs.evaluation import Trigger
from rove.structs.job import ReschedulePolicy
from rove.structs.plan import SchedulerResult
from rove.testing.builders import a_job, a_node, an_alloc, an_evaluation
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]
NOW = 1_700_000_000.0
NODES = [a_node(f"n{i}") for i in range(3)]


def events(*delays: int, at: int = 0) -> tuple[RescheduleEvent, ...]:
    return tuple(RescheduleEvent(reschedule_time=at + i, prev_node_id=f"n{i}", delay=d) for i, d in enumerate(delays))


@pytest.mark.parametrize(
    ("function", "delays", "expected"),
    [
        ("constant", (), 30), ("constant", (30, 30), 30),
        ("exponential", (), 30), ("exponential", (30,), 60), ("exponential", (30, 60), 120),
        ("exponential", (1800,), 3600), ("exponential", (3600,), 3600),
        ("fibonacci", (30,), 30), ("fibonacci", (30, 30), 60), ("fibonacci", (30, 60), 90),
    ],
)  # fmt: skip
def test_the_pause_grows_as_its_function_says(function: str, delays: tuple[int, ...], expected: int) -> None:
    policy = ReschedulePolicy(delay=30 * SECOND, delay_function=function, max_delay=HOUR, unlimited=True)
    past = events(*(d * SECOND for d in delays), at=unix_ns(NOW))
    assert next_delay(policy, past, unix_ns(NOW) + 100) == expected * SECOND


def test_a_copy_that_ran_long_after_the_longest_pause_starts_at_the_base_again() -> None:
    policy = ReschedulePolicy(delay=30 * SECOND, max_delay=HOUR, unlimited=True)
    past = events(HOUR, at=unix_ns(NOW))
    assert next_delay(policy, past, unix_ns(NOW) + 2 * HOUR) == 30 * SECOND


def test_a_copy_that_ran_long_after_a_shorter_pause_starts_at_the_base_again() -> None:
    policy = ReschedulePolicy(delay=30 * SECOND, max_delay=HOUR, unlimited=True)
    past = events(8 * MINUTE, at=unix_ns(NOW))
    assert next_delay(policy, past, unix_ns(NOW) + 24 * HOUR) == 30 * SECOND
    assert next_delay(policy, past, unix_ns(NOW) + MINUTE) == 16 * MINUTE


def test_attempts_within_the_interval_are_counted() -> None:
    policy = ReschedulePolicy(attempts=2, interval=10 * MINUTE, delay=5 * SECOND, delay_function="constant")
    job = a_job(reschedule_policy=policy)
    at = unix_ns(NOW)
    recent = an_alloc(
        job,
        client_status="failed",
        modify_time=at,
        reschedule_tracker=RescheduleTracker(events=events(5, 5, at=at - MINUTE)),
    )
    assert due(recent, policy, NOW) is None
    old = replace(recent, reschedule_tracker=RescheduleTracker(events=events(5, 5, at=at - 20 * MINUTE)))
    assert due(old, policy, NOW) is not None
    assert due(old, None, NOW) is None
    assert due(old, ReschedulePolicy(), NOW) is None


def a_failed(job, index=0, *, ago=0.0, **fields):  # type: ignore[no-untyped-def]
    return an_alloc(
        job, index, node="n0", id=f"f{index}", client_status="failed", modify_time=unix_ns(NOW - ago), **fields
    )


def test_a_fresh_failure_is_replaced_later_by_one_evaluation_for_all_due_together(run: Run) -> None:
    job = a_job(count=3)
    failed = [a_failed(job, i, ago=i) for i in range(3)]
    view = FakeView(NODES, [job], failed)
    result = run(view, job)
    assert not result.plan.placements
    (later,) = result.evaluations
    assert later.triggered_by is Trigger.ALLOC_FAILURE
    assert later.wait_until is not None
    assert 28 <= later.wait_until.timestamp() - NOW <= 30
    assert {note.followup_eval_id for note in result.plan.annotations} == {later.id}
    assert result.plan.desired_updates["api"].reschedule_later == 3
    after = view.carry_out(result.plan, NOW)
    assert run(after, job).plan.is_empty
    due_now = run(after, job, now=NOW + 30, evaluation=an_evaluation(job, id=later.id))
    assert len(due_now.plan.placements[0]) == 3
    assert {stop.rescheduled for stop in due_now.plan.stops} == {True}


def test_a_replacement_avoids_the_node_and_remembers_its_past(run: Run) -> None:
    job = a_job(count=1)
    result = run(FakeView(NODES, [job], [a_failed(job, ago=60)]), job)
    (placement,) = result.plan.placements
    assert "n0" not in placement.node_ids
    tracker = placement.trackers[0]
    assert [event.prev_alloc_id for event in tracker.events] == ["f0"]
    assert tracker.events[0].delay == 30 * SECOND
    assert placement.previous == {0: "f0"}
    alone = run(FakeView([a_node("n0")], [job], [a_failed(job, ago=60)]), job)
    assert alone.plan.placements[0].node_ids == ("n0",)


def test_a_failed_copy_without_room_waits_and_is_not_stopped(run: Run) -> None:
    job = a_job(count=1, cpu=9000)
    result = run(FakeView(NODES, [job], [a_failed(job, ago=60)]), job)
    assert result.plan.is_empty
    assert result.queued == {"api": 1}


def test_a_copy_whose_attempts_are_used_up_stays_failed_and_is_not_replaced(run: Run) -> None:
    job = a_job(type="batch", count=1)
    tracker = RescheduleTracker(events=events(5, at=unix_ns(NOW - 10)))
    result = run(FakeView(NODES, [job], [a_failed(job, ago=60, reschedule_tracker=tracker)]), job)
    assert result.plan.is_empty
    assert result.queued == {"api": 0}


def test_a_person_may_force_it(run: Run) -> None:
    job = a_job(type="batch", count=1)
    tracker = RescheduleTracker(events=events(5, at=unix_ns(NOW - 10)))
    forced = a_failed(
        job, ago=1, reschedule_tracker=tracker, desired_transition=DesiredTransition(force_reschedule=True)
    )
    assert len(run(FakeView(NODES, [job], [forced]), job).plan.placements[0]) == 1


def test_trackers_keep_the_interval_or_the_last_five() -> None:
    at = unix_ns(NOW)
    limited = ReschedulePolicy(attempts=3, interval=10 * MINUTE, delay=SECOND)
    past = (*events(1, at=at - HOUR), *events(1, at=at - MINUTE))
    alloc = an_alloc(a_job(), client_status="failed", reschedule_tracker=RescheduleTracker(events=past))
    assert len(next_tracker(alloc, limited, NOW).events) == 2
    unlimited = ReschedulePolicy(unlimited=True, delay=SECOND)
    alloc = replace(alloc, reschedule_tracker=RescheduleTracker(events=events(*range(9))))
    assert len(next_tracker(alloc, unlimited, NOW).events) == 5


def test_scaling_down_lets_failed_copies_go_instead_of_replacing_them(run: Run) -> None:
    job = a_job(count=1)
    allocs = [an_alloc(job, 0, node="n1", id="good"), a_failed(job, 1, ago=60)]
    result = run(FakeView(NODES, [job], allocs), job)
    assert [stop.alloc_id for stop in result.plan.stops] == ["f1"]
    assert not result.plan.placements


def test_lost_is_not_failed(run: Run) -> None:
    job = a_job(count=1)
    lost = an_alloc(job, 0, node="n0", id="l0", client_status=AllocStatus.LOST, desired_status="stop")
    assert len(run(FakeView(NODES, [job], [lost]), job).plan.placements[0]) == 1


def test_a_running_copy_forgets_its_old_appointment_so_that_a_later_failure_makes_its_own(run: Run) -> None:
    job = a_job(count=1)
    running = an_alloc(job, 0, node="n0", id="r0", followup_eval_id="long-ago")
    view = FakeView(NODES, [job], [running])
    view = view.carry_out(run(view, job).plan, NOW)
    assert run(view, job).plan.is_empty
    failed = replace(view.allocs["r0"], client_status=AllocStatus.FAILED, modify_time=unix_ns(NOW))
    result = run(view.changed(allocs=[failed]), job)
    assert [note.followup_eval_id for note in result.plan.annotations] == [result.evaluations[0].id]
