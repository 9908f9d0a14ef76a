"""What becomes of an evaluation after a scheduler looked at it."""

from __future__ import annotations

from itertools import count

from rove.server.evaluations import settle
from rove.structs.alloc import AllocMetric
from rove.structs.deployment import Deployment
from rove.structs.evaluation import EvalStatus, Evaluation, Trigger
from rove.structs.plan import AllocStop, InPlaceUpdate, Placement, Plan, SchedulerResult

PENDING = Evaluation(id="e", namespace="default", job_id="web", triggered_by=Trigger.JOB_REGISTER)
FAILED = SchedulerResult(
    plan=Plan(eval_id="e"), failed={"g": AllocMetric(nodes_evaluated=3)}, queued={"g": 2}, class_eligibility={"c": True}
)


def settled(evaluation: Evaluation, result: SchedulerResult) -> list[Evaluation]:
    numbers = count(1)
    return settle.settled(evaluation, result, snapshot_index=7, now=100.0, new_id=lambda: f"new-{next(numbers)}")


def test_everything_placed_is_complete() -> None:
    [done] = settled(PENDING, SchedulerResult(plan=Plan(eval_id="e"), queued={"g": 0}))
    assert done.status is EvalStatus.COMPLETE
    assert done.blocked_eval == ""
    assert done.queued_allocations == {"g": 0}


def test_what_found_no_room_waits_in_a_blocked_evaluation() -> None:
    done, blocked = settled(PENDING, FAILED)
    assert done.status is EvalStatus.COMPLETE
    assert done.blocked_eval == blocked.id == "new-1"
    assert done.failed_tg_allocs == FAILED.failed
    assert blocked.status is EvalStatus.BLOCKED
    assert blocked.triggered_by is Trigger.QUEUED_ALLOCS
    assert blocked.previous_eval == "e"
    assert blocked.class_eligibility == {"c": True}
    assert blocked.snapshot_index == 7


def test_a_blocked_one_that_still_finds_no_room_stays_itself() -> None:
    _, blocked = settled(PENDING, FAILED)
    [again] = settled(blocked, FAILED)
    assert again.id == blocked.id
    assert again.status is EvalStatus.BLOCKED


def test_a_blocked_one_that_finds_room_is_complete() -> None:
    _, blocked = settled(PENDING, FAILED)
    [done] = settled(blocked, SchedulerResult(plan=Plan(eval_id="e")))
    assert (done.id, done.status) == (blocked.id, EvalStatus.COMPLETE)
    assert done.failed_tg_allocs == {}


def test_too_many_conflicts_fail_it_and_leave_one_that_tries_later() -> None:
    failed, blocked = settle.gave_up(PENDING, FAILED, attempts=5, snapshot_index=7, now=100.0, new_id=lambda: "new")
    assert failed.status is EvalStatus.FAILED
    assert "5" in failed.status_description
    assert blocked.triggered_by is Trigger.MAX_PLAN_ATTEMPTS


def test_an_evaluation_that_breaks_the_scheduler_is_followed_up_later() -> None:
    failed, follow_up = settle.undeliverable(PENDING, deliveries=3, now=100.0, jitter=0.5, new_id=lambda: "new")
    assert failed.status is EvalStatus.FAILED
    assert failed.next_eval == follow_up.id
    assert follow_up.triggered_by is Trigger.FAILED_FOLLOW_UP
    assert follow_up.wait_until is not None
    assert follow_up.wait_until.timestamp() == 100 + 60 + 150


def test_a_plan_that_only_changes_what_runs_is_stored_in_pieces_that_add_up() -> None:
    stops = tuple(AllocStop(alloc_id=f"a{k}") for k in range(2_500))
    moves = tuple(InPlaceUpdate(alloc_id=f"b{k}", job_version=1, eval_id="e") for k in range(1_200))
    deployment = Deployment(id="d", job_id="web")
    plan = Plan(eval_id="e", stops=stops, in_place=moves, deployment=deployment)
    parts = settle.pieces(plan)
    assert len(parts) == 3
    assert tuple(stop for part in parts for stop in part.stops) == stops
    assert tuple(move for part in parts for move in part.in_place) == moves
    assert [part.deployment for part in parts] == [deployment, None, None]


def test_a_plan_that_places_anything_is_stored_whole_since_its_stops_make_its_room() -> None:
    stops = tuple(AllocStop(alloc_id=f"a{k}") for k in range(5_000))
    plan = Plan(
        eval_id="e",
        stops=stops,
        placements=(Placement(namespace="default", job_id="web", job_version=0, group="g", eval_id="e"),),
    )
    assert settle.pieces(plan) == [plan]
