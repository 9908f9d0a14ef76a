"""Which waiting evaluations a change of the fleet wakes."""

from __future__ import annotations

from rove.server.evaluations.core import Blocked
from rove.structs.evaluation import EvalStatus, Evaluation, Trigger


def blocked_evaluation(name: str, job: str = "web", index: int = 5, **fields: object) -> Evaluation:
    return Evaluation(
        id=name,
        namespace="default",
        job_id=job,
        status=EvalStatus.BLOCKED,
        snapshot_index=index,
        create_index=index,
        **fields,
    )


def test_room_on_a_class_that_cannot_help_wakes_nobody() -> None:
    blocked = Blocked()
    blocked.block(blocked_evaluation("e", class_eligibility={"small": False, "big": True}))
    assert blocked.room("small", 6) == []
    assert [e.id for e in blocked.room("big", 7)] == ["e"]
    assert len(blocked) == 0


def test_a_class_never_seen_may_help() -> None:
    blocked = Blocked()
    blocked.block(blocked_evaluation("e", class_eligibility={"small": False}))
    assert [e.id for e in blocked.room("new", 6)] == ["e"]


def test_constraints_on_single_nodes_are_tried_always() -> None:
    blocked = Blocked()
    blocked.block(blocked_evaluation("e", class_eligibility={"small": False}, escaped_computed_class=True))
    assert [e.id for e in blocked.room("small", 6)] == ["e"]


def test_room_that_appeared_after_the_snapshot_is_not_missed() -> None:
    blocked = Blocked()
    blocked.room("big", 9)
    replaced, missed = blocked.block(blocked_evaluation("e", index=5))
    assert (replaced, missed) == (None, True)
    assert len(blocked) == 0
    replaced, missed = blocked.block(blocked_evaluation("later", index=10))
    assert (replaced, missed) == (None, False)


def test_a_newer_evaluation_of_the_job_replaces_the_older() -> None:
    blocked = Blocked()
    blocked.block(blocked_evaluation("old", index=5))
    replaced, _ = blocked.block(blocked_evaluation("new", index=6))
    assert replaced is not None
    assert replaced.id == "old"
    assert [e.id for e in blocked.all()] == ["new"]


def test_an_older_one_does_not_replace_the_newer() -> None:
    blocked = Blocked()
    blocked.block(blocked_evaluation("new", index=6))
    replaced, _ = blocked.block(blocked_evaluation("old", index=5))
    assert replaced is not None
    assert replaced.id == "old"
    assert [e.id for e in blocked.all()] == ["new"]


def test_those_blocked_by_conflicts_are_found() -> None:
    blocked = Blocked()
    blocked.block(blocked_evaluation("a", job="a"))
    blocked.block(blocked_evaluation("b", job="b", triggered_by=Trigger.MAX_PLAN_ATTEMPTS))
    assert [e.id for e in blocked.conflicted()] == ["b"]
    assert len(blocked) == 1
