"""What becomes of an evaluation after a scheduler looked at it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec

from rove.structs.base import from_unix, unix_ns
from rove.structs.evaluation import EvalStatus, Evaluation, Trigger
from rove.structs.plan import Plan, SchedulerResult

SERVICE_ATTEMPTS = 5
BATCH_ATTEMPTS = 2
CHANGES_PER_COMMIT = 1_000
"""Stops or updates in place of one transaction; ten thousand at once would block the event loop."""
FOLLOW_UP_WAIT_S = 60.0
FOLLOW_UP_SPREAD_S = 300.0

BLOCKED_TEXT = "waits for room: not every allocation could be placed"
CONFLICT_TEXT = "waits for another try: plans conflicted with others too often"
SUPERSEDED_TEXT = "a newer evaluation of the job was carried out"


def attempts_of(job_type: str) -> int:
    """How often a plan may conflict without progress before the evaluation fails."""
    return BATCH_ATTEMPTS if job_type in ("batch", "sysbatch") else SERVICE_ATTEMPTS


def settled(
    evaluation: Evaluation,
    result: SchedulerResult,
    *,
    snapshot_index: int,
    now: float,
    new_id: Callable[[], str],
) -> list[Evaluation]:
    """The evaluation after its plan was stored in full, the blocked one for what found no room, and follow-ups.

    A blocked evaluation that ran again and still finds no room stays itself and blocked.
    """
    outcome = {
        "queued_allocations": result.queued,
        "failed_tg_allocs": result.failed,
        "modify_time": unix_ns(now),
        "deployment_id": result.deployment_id or evaluation.deployment_id,
    }
    if not result.failed:
        done = msgspec.structs.replace(evaluation, status=EvalStatus.COMPLETE, status_description="", **outcome)
        return [done, *result.evaluations]
    wake = {
        "class_eligibility": result.class_eligibility,
        "escaped_computed_class": result.escaped,
        "snapshot_index": snapshot_index,
    }
    if evaluation.status is EvalStatus.BLOCKED:
        return [msgspec.structs.replace(evaluation, **outcome, **wake), *result.evaluations]
    blocked = msgspec.structs.replace(
        successor(evaluation, now, new_id()),
        status=EvalStatus.BLOCKED,
        status_description=BLOCKED_TEXT,
        triggered_by=Trigger.QUEUED_ALLOCS,
        queued_allocations=result.queued,
        failed_tg_allocs=result.failed,
        **wake,
    )
    done = msgspec.structs.replace(
        evaluation, status=EvalStatus.COMPLETE, blocked_eval=blocked.id, status_description="", **outcome
    )
    return [done, blocked, *result.evaluations]


def pieces(plan: Plan) -> list[Plan]:
    """The plan as one, or as several that are stored one after another, so that none holds up the server.

    A plan that places anything is kept whole: nobody else may get the room that its own stops leave.
    """
    most = max(len(plan.stops), len(plan.in_place))
    if plan.placements or most <= CHANGES_PER_COMMIT:
        return [plan]
    rest = msgspec.structs.replace(plan, deployment=None, deployment_updates=(), annotations=())
    return [
        msgspec.structs.replace(
            plan if first == 0 else rest,
            stops=plan.stops[first : first + CHANGES_PER_COMMIT],
            in_place=plan.in_place[first : first + CHANGES_PER_COMMIT],
        )
        for first in range(0, most, CHANGES_PER_COMMIT)
    ]


def gave_up(
    evaluation: Evaluation,
    result: SchedulerResult,
    *,
    attempts: int,
    snapshot_index: int,
    now: float,
    new_id: Callable[[], str],
) -> list[Evaluation]:
    """The evaluation after its plans conflicted too often: failed, with a blocked one that tries later."""
    blocked = msgspec.structs.replace(
        successor(evaluation, now, new_id()),
        status=EvalStatus.BLOCKED,
        status_description=CONFLICT_TEXT,
        triggered_by=Trigger.MAX_PLAN_ATTEMPTS,
        queued_allocations=result.queued,
        failed_tg_allocs=result.failed,
        snapshot_index=snapshot_index,
        class_eligibility=result.class_eligibility,
        escaped_computed_class=True,
    )
    failed = msgspec.structs.replace(
        evaluation,
        status=EvalStatus.FAILED,
        blocked_eval=blocked.id,
        modify_time=unix_ns(now),
        status_description=f"scheduler retry limit reached: {attempts} plans in a row were out of date",
        queued_allocations=result.queued,
        failed_tg_allocs=result.failed,
    )
    return [failed, blocked]


def undeliverable(
    evaluation: Evaluation, *, deliveries: int, now: float, jitter: float, new_id: Callable[[], str]
) -> list[Evaluation]:
    """The evaluation after workers failed on it too often: failed, with a follow-up after some minutes.

    jitter: 0 up to 1, spreads the follow-ups.
    """
    follow_up = msgspec.structs.replace(
        successor(evaluation, now, new_id()),
        triggered_by=Trigger.FAILED_FOLLOW_UP,
        wait_until=from_unix(now) + timedelta(seconds=FOLLOW_UP_WAIT_S + jitter * FOLLOW_UP_SPREAD_S),
        status_description="tries again after an internal failure",
    )
    failed = msgspec.structs.replace(
        evaluation,
        status=EvalStatus.FAILED,
        next_eval=follow_up.id,
        modify_time=unix_ns(now),
        status_description=f"evaluation reached its delivery limit ({deliveries})",
    )
    return [failed, follow_up]


def superseded(evaluation: Evaluation, now: float) -> Evaluation:
    """The evaluation, cancelled because a newer one did its work."""
    return msgspec.structs.replace(
        evaluation, status=EvalStatus.CANCELED, status_description=SUPERSEDED_TEXT, modify_time=unix_ns(now)
    )


def successor(evaluation: Evaluation, now: float, new_id: str) -> Evaluation:
    """A new pending evaluation of the same job that refers to this one."""
    return Evaluation(
        id=new_id,
        namespace=evaluation.namespace,
        priority=evaluation.priority,
        type=evaluation.type,
        job_id=evaluation.job_id,
        job_modify_index=evaluation.job_modify_index,
        previous_eval=evaluation.id,
        deployment_id=evaluation.deployment_id,
        triggered_by=evaluation.triggered_by,
        create_time=unix_ns(now),
        modify_time=unix_ns(now),
    )
