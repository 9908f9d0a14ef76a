"""Children of jobs, scaling, reverting: what is allowed, and what comes out."""

from __future__ import annotations

import msgspec
import pytest

from rove.errors import BadRequestError, ConflictError, InvalidJobError, NotFoundError, RoveError
from rove.server.jobs import core
from rove.structs.job import Job, JobType, ParameterizedJob, Periodic, ScalingPolicy, TaskGroup

PARENT = Job(
    id="batch",
    name="batch",
    meta={"kept": "1"},
    task_groups=(TaskGroup(name="g", count=3),),
    parameterized_job=ParameterizedJob(payload="optional", meta_required=("who",), meta_optional=("why",)),
)


def test_a_dispatched_child_has_its_meta_and_payload() -> None:
    child = core.dispatched(
        PARENT, payload=b"x", meta={"who": "me"}, id_prefix="", token="t", now=100.5, suffix="0a1b2c3d"
    )
    assert child.id == "batch/dispatch-100-0a1b2c3d"
    assert child.parent_id == "batch"
    assert child.dispatched
    assert not child.is_parameterized
    assert child.meta == {"kept": "1", "who": "me"}
    assert child.payload == b"x"
    assert core.needs_evaluation(child)
    assert not core.needs_evaluation(PARENT)


@pytest.mark.parametrize(
    ("payload", "meta", "words"),
    [
        (b"", {}, "who"),
        (b"", {"who": "x", "else": "y"}, "else"),
        (b"x" * (16 * 1024 + 1), {"who": "x"}, "too large"),
        (b"", {"who": "\u00e9" * 33_000}, "meta is too large: 66003 bytes"),
        (b"", {"who": "a\0b"}, "NUL byte"),
    ],
)
def test_a_dispatch_outside_of_the_rules_is_refused(payload: bytes, meta: dict[str, str], words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        core.check_dispatch(PARENT, payload, meta)


def test_payload_rules() -> None:
    required = msgspec.structs.replace(PARENT, parameterized_job=ParameterizedJob(payload="required"))
    forbidden = msgspec.structs.replace(PARENT, parameterized_job=ParameterizedJob(payload="forbidden"))
    with pytest.raises(BadRequestError, match="has to be given a payload"):
        core.check_dispatch(required, b"", {})
    with pytest.raises(BadRequestError, match="takes no payload"):
        core.check_dispatch(forbidden, b"x", {})
    with pytest.raises(BadRequestError, match="not a parameterized"):
        core.check_dispatch(Job(id="plain"), b"", {})


def test_a_periodic_child_runs_once() -> None:
    child = core.launched(Job(id="nightly", periodic=Periodic()), 1000.9)
    assert child.id == "nightly/periodic-1000"
    assert child.parent_id == "nightly"
    assert not child.is_periodic


def test_scaling_changes_one_group() -> None:
    job = Job(id="web", task_groups=(TaskGroup(name="a", count=1), TaskGroup(name="b", count=2)))
    assert [group.count for group in core.with_count(job, "b", 5).task_groups] == [1, 5]
    with pytest.raises(BadRequestError, match="has no group"):
        core.with_count(job, "c", 1)
    for count in (-1, 50_001):
        with pytest.raises(BadRequestError):
            core.with_count(job, "a", count)


def test_scaling_stays_within_its_policy() -> None:
    job = Job(id="web", task_groups=(TaskGroup(name="a", count=3, scaling=ScalingPolicy(min=2, max=4)),))
    assert core.with_count(job, "a", 4).task_groups[0].count == 4
    with pytest.raises(BadRequestError, match="below the least"):
        core.with_count(job, "a", 1)
    with pytest.raises(BadRequestError, match="above the most"):
        core.with_count(job, "a", 5)


def test_scaling_is_held_to_what_a_registration_is_held_to() -> None:
    job = Job(id="web", task_groups=(TaskGroup(name="a", count=30_000), TaskGroup(name="b", count=1)))
    with pytest.raises(BadRequestError, match="is refused"):
        core.with_count(job, "b", 30_000)
    off = ScalingPolicy(min=2, max=4, enabled=False)
    with pytest.raises(BadRequestError, match="above the most"):
        core.with_count(Job(id="web", task_groups=(TaskGroup(name="a", count=3, scaling=off),)), "a", 5)
    everywhere = Job(id="web", type=JobType.SYSTEM, task_groups=(TaskGroup(name="a", count=1),))
    with pytest.raises(BadRequestError, match="cannot be scaled"):
        core.with_count(everywhere, "a", 1)


def test_enforced_indexes() -> None:
    current = Job(id="web", job_modify_index=7)
    core.check_index(current, 7)
    core.check_index(None, 0)
    for job, index in ((current, 0), (None, 3), (current, 6)):
        with pytest.raises(ConflictError, match="Enforcing job modify index"):
            core.check_index(job, index)


def test_counts_are_kept_where_wanted() -> None:
    current = Job(id="web", task_groups=(TaskGroup(name="a", count=9),))
    fresh = Job(id="web", task_groups=(TaskGroup(name="a", count=1), TaskGroup(name="new", count=2)))
    assert [g.count for g in core.keep_from(current, fresh, counts=True, resources=False).task_groups] == [9, 2]
    assert core.keep_from(current, fresh, counts=False, resources=False) is fresh
    assert core.keep_from(None, fresh, counts=True, resources=True) is fresh


def test_a_preserved_count_that_the_new_job_does_not_allow_is_refused() -> None:
    current = Job(id="web", task_groups=(TaskGroup(name="a", count=9),))
    policy = ScalingPolicy(min=1, max=3)
    fresh = Job(id="web", task_groups=(TaskGroup(name="a", count=2, scaling=policy),))
    with pytest.raises(InvalidJobError, match="1 problem") as caught:
        core.keep_from(current, fresh, counts=True, resources=False)
    assert "preserved" in caught.value.problems[0]
    assert core.keep_from(current, fresh, counts=False, resources=True).task_groups[0].count == 2


def test_children_and_older_versions_are_not_stopped() -> None:
    stopped = msgspec.structs.replace(PARENT, stop=True, version=1)
    assert not core.launched(stopped, 1000).stop
    assert not core.version_to_revert_to(PARENT, stopped, 1, None).stop


def test_reverting_to_nonsense_is_refused() -> None:
    current, older = Job(id="web", version=3), Job(id="web", version=1, stable=True)
    assert core.version_to_revert_to(current, older, 1, None).stable is False
    cases: list[tuple[type[RoveError], tuple[object, ...]]] = [
        (NotFoundError, (None, None, 1, None)),
        (BadRequestError, (current, current, 3, None)),
        (NotFoundError, (current, None, 2, None)),
        (ConflictError, (current, older, 1, 2)),
    ]
    for error, arguments in cases:
        with pytest.raises(error):
            core.version_to_revert_to(*arguments)
