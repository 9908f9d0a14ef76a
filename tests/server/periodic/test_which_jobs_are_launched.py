"""Periodic jobs as decisions: when one is due, and whether its time is used."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rove.errors import BadRequestError
from rove.server.periodic.core import Reason, child_id, forced_launch, is_tracked, judge, next_due
from rove.structs.base import from_unix, unix_ns
from rove.structs.job import Job, JobStatus, ParameterizedJob, Periodic, PeriodicLaunch
from rove.testing.builders import a_job

HOUR = 3600
MIDDAY = 1_700_049_600
"""2023-11-15T12:00:00Z."""


def hourly(line: str = "0 * * * *", *, submitted: float = MIDDAY - 86_400, **fields: Any) -> Job:
    usual = Periodic(spec=line, prohibit_overlap=fields.pop("prohibit_overlap", False))
    periodic = fields.pop("periodic", usual)
    return a_job("tick", type="batch", periodic=periodic, submit_time=unix_ns(submitted), **fields)


class Children:
    """The children of the one periodic job there is."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.key: job for job in jobs}

    def job(self, namespace: str, job_id: str) -> Job | None:
        return self.jobs.get((namespace, job_id))

    def children_of_job(self, namespace: str, job_id: str) -> list[Job]:
        return [job for job in self.jobs.values() if (job.namespace, job.parent_id) == (namespace, job_id)]


NONE = Children()


def launched_at(moment: float) -> PeriodicLaunch:
    return PeriodicLaunch(namespace="default", id="tick", launch=from_unix(moment))


def a_child(job: Job, launch_s: int, status: JobStatus = JobStatus.DEAD) -> Job:
    return msgspec.structs.replace(job, id=child_id(job, launch_s), parent_id=job.id, periodic=None, status=status)


def test_only_enabled_running_plain_parents_are_launched_by_the_clock() -> None:
    assert is_tracked(hourly())
    assert not is_tracked(a_job("plain"))
    assert not is_tracked(hourly(stop=True))
    assert not is_tracked(hourly(periodic=Periodic(spec="0 * * * *", enabled=False)))
    both = hourly(parameterized_job=ParameterizedJob())
    assert not is_tracked(both)
    assert is_tracked(msgspec.structs.replace(both, dispatched=True))


def test_the_next_time_counts_from_the_last_launch_or_the_registration() -> None:
    assert next_due(hourly(submitted=MIDDAY + 10), None, MIDDAY + 20) == MIDDAY + HOUR
    assert next_due(hourly(), launched_at(MIDDAY), MIDDAY + 20) == MIDDAY + HOUR
    # Registered anew after the last launch: nothing was missed in between.
    changed = hourly(submitted=MIDDAY + 2 * HOUR + 10)
    assert next_due(changed, launched_at(MIDDAY), MIDDAY + 2 * HOUR + 20) == MIDDAY + 3 * HOUR


def test_a_missed_time_is_in_the_past() -> None:
    assert next_due(hourly(), launched_at(MIDDAY), MIDDAY + 5 * HOUR + 7) == MIDDAY + HOUR


def test_a_last_launch_far_ahead_was_made_under_a_wrong_clock() -> None:
    in_ten_years = launched_at(MIDDAY + 10 * 365 * 86_400)
    assert next_due(hourly(), in_ten_years, MIDDAY + 5) == MIDDAY + HOUR
    # A clock set back by a few seconds launches nothing twice.
    assert next_due(hourly(), launched_at(MIDDAY), MIDDAY - 2) == MIDDAY + HOUR


def test_a_time_that_has_come_is_launched_under_its_own_time() -> None:
    verdict = judge(hourly(), MIDDAY, NONE, MIDDAY + 0.4)
    assert (verdict.launch_s, verdict.is_launched, verdict.reason) == (MIDDAY, True, Reason.DUE)


def test_missed_times_are_made_up_for_by_one_launch_now() -> None:
    verdict = judge(hourly(), MIDDAY, NONE, MIDDAY + 5 * HOUR + 7.5)
    assert (verdict.launch_s, verdict.is_launched, verdict.reason) == (MIDDAY + 5 * HOUR + 7, True, Reason.MISSED)


def test_a_single_missed_time_keeps_its_own_time() -> None:
    assert judge(hourly(), MIDDAY, NONE, MIDDAY + 600).launch_s == MIDDAY


def test_a_time_that_was_launched_already_is_not_launched_again() -> None:
    job = hourly()
    verdict = judge(job, MIDDAY, Children(a_child(job, MIDDAY)), MIDDAY + 0.1)
    assert (verdict.is_launched, verdict.reason) == (False, Reason.REPEATED)


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RUNNING])
def test_prohibited_overlap_passes_a_time_over_while_a_child_is_unfinished(status: JobStatus) -> None:
    job = hourly(prohibit_overlap=True)
    busy = judge(job, MIDDAY, Children(a_child(job, MIDDAY - HOUR, status)), MIDDAY)
    assert (busy.is_launched, busy.reason) == (False, Reason.OVERLAP)
    assert judge(job, MIDDAY, Children(a_child(job, MIDDAY - HOUR, JobStatus.DEAD)), MIDDAY).is_launched
    assert judge(hourly(), MIDDAY, Children(a_child(job, MIDDAY - HOUR, status)), MIDDAY).is_launched


def test_a_launch_by_hand_takes_the_newest_second_without_a_child() -> None:
    job = hourly()
    now = MIDDAY + 30
    assert forced_launch(job, NONE, now + 0.9) == now
    assert forced_launch(job, Children(a_child(job, now), a_child(job, now - 1)), now) == now - 2


@pytest.mark.parametrize("line", ["0 * * * *", "* * * * * * *"])
def test_a_launch_by_hand_takes_no_second_of_the_clock(line: str) -> None:
    job = hourly(line)
    children: list[Job] = []
    for _ in range(4):
        children.append(a_child(job, forced_launch(job, Children(*children), MIDDAY + 0.3)))
    assert len({child.id for child in children}) == 4
    for due in range(MIDDAY, MIDDAY + 5):
        verdict = judge(job, due, Children(*children), due + 0.4)
        assert (verdict.is_launched, verdict.launch_s) == (True, due)


def test_a_leap_day_of_a_year_far_ahead_is_waited_for() -> None:
    assert next_due(hourly("0 0 29 2 * 2096"), None, MIDDAY) == 3_981_312_000


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (a_job("plain"), "non-periodic"),
        (hourly(stop=True), "was not launched"),
        (hourly(periodic=Periodic(spec="0 * * * *", enabled=False)), "was not launched"),
        (hourly(parameterized_job=ParameterizedJob()), "was not launched"),
    ],
)
def test_a_launch_by_hand_of_anything_else_is_refused(job: Job, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        forced_launch(job, NONE, MIDDAY)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["0 * * * *", "*/10 * * * * * *", "30 2 * * *", "*/7 */3 * * *"]),
    st.lists(st.floats(0.1, 20_000), min_size=1, max_size=12),
    st.booleans(),
)
def test_however_late_it_is_looked_at_no_time_is_launched_twice_and_none_is_forgotten(
    line: str, pauses: list[float], prohibit_overlap: bool
) -> None:
    job = hourly(line, submitted=MIDDAY, prohibit_overlap=prohibit_overlap)
    children: list[Job] = []
    last: PeriodicLaunch | None = None
    now = float(MIDDAY)
    for pause in pauses:
        now += pause
        due = next_due(job, last, now)
        assert due is not None
        if due > now:
            continue
        verdict = judge(job, due, Children(*children), now)
        assert due <= verdict.launch_s <= now
        assert verdict.is_launched
        children.append(a_child(job, verdict.launch_s))
        last = launched_at(verdict.launch_s)
        # One launch makes up for everything that was missed.
        following = next_due(job, last, now)
        assert following is not None
        assert following > now
    assert len({child.id for child in children}) == len(children)
