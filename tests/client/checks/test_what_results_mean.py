"""When a check passes, warns or fails, and when its task is restarted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rove.client.checks.core import (
    OUTPUT_MAX,
    CheckSpec,
    CheckState,
    Result,
    Status,
    begin,
    describe,
    health_of,
    observe,
    pause,
    shown,
    verdict,
)

GOOD, WARN, BAD = (Result(status, str(status)) for status in (Status.PASSING, Status.WARNING, Status.CRITICAL))


def a_check(**fields: Any) -> CheckSpec:
    defaults: dict[str, Any] = {
        "id": "1", "name": "ping", "service": "web", "service_id": "s1", "group": "api", "interval_s": 10.0,
    }  # fmt: skip
    return CheckSpec(**{**defaults, **fields})


def after(spec: CheckSpec, *results: Result, every_s: float = 10.0) -> tuple[CheckState, list[int]]:
    """The state after results, one an interval, and after which of them a restart was asked for."""
    state, restarts = begin(spec, 0.0), []
    for number, result in enumerate(results, 1):
        state, restart = observe(state, spec, result, number * every_s)
        if restart:
            restarts.append(number)
    return state, restarts


def test_a_check_is_pending_until_its_first_result() -> None:
    state, _ = after(a_check())
    assert state.status is Status.PENDING
    assert state.good_since is None


def test_one_success_passes_and_one_failure_fails() -> None:
    assert after(a_check(), GOOD)[0].status is Status.PASSING
    assert after(a_check(), GOOD, BAD)[0].status is Status.CRITICAL
    assert after(a_check(), BAD, GOOD)[0].status is Status.PASSING


def test_passing_takes_as_many_successes_as_asked_for() -> None:
    spec = a_check(success_before_passing=3)
    assert after(spec, GOOD, GOOD)[0].status is Status.PENDING
    assert after(spec, GOOD, GOOD, GOOD)[0].status is Status.PASSING
    assert after(spec, GOOD, GOOD, BAD, GOOD, GOOD)[0].status is Status.CRITICAL


def test_failing_takes_as_many_failures_as_asked_for() -> None:
    spec = a_check(failures_before_critical=3)
    assert after(spec, GOOD, BAD, BAD)[0].status is Status.PASSING
    assert after(spec, GOOD, BAD, BAD, BAD)[0].status is Status.CRITICAL
    assert after(spec, GOOD, BAD, BAD, GOOD, BAD, BAD)[0].status is Status.PASSING


def test_a_warning_may_come_before_the_failure() -> None:
    spec = a_check(failures_before_warning=1, failures_before_critical=3)
    assert after(spec, GOOD, BAD)[0].status is Status.WARNING
    assert after(spec, GOOD, BAD, BAD, BAD)[0].status is Status.CRITICAL


@pytest.mark.parametrize(("text", "status"), [("passing", Status.PASSING), ("critical", Status.CRITICAL)])
def test_it_starts_as_it_is_told_to(text: str, status: Status) -> None:
    state = begin(a_check(initial=status), 5.0)
    assert (state.status, state.good_since) == (status, 5.0 if status is Status.PASSING else None)


def test_failures_before_the_first_success_do_not_count_within_an_interval() -> None:
    spec = a_check(restart_limit=1, restart_grace_s=0.0)
    state = begin(spec, 0.0)
    for now in (0.0, 0.25, 0.75, 9.9):
        state, restart = observe(state, spec, BAD, now)
        assert (state.status, restart) == (Status.PENDING, False)
    state, restart = observe(state, spec, BAD, 10.0)
    assert (state.status, restart) == (Status.CRITICAL, True)


def test_it_is_asked_soon_and_then_ever_less_often_until_it_succeeds() -> None:
    spec = a_check()
    state = begin(spec, 0.0)
    pauses = []
    for _ in range(8):
        pauses.append(pause(state, spec, 0.5))
        state, _ = observe(state, spec, BAD, 0.0)
    assert pauses == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    state, _ = observe(state, spec, GOOD, 0.0)
    assert [pause(state, spec, jitter) for jitter in (0.0, 1.0)] == pytest.approx([9.5, 10.5])


def test_the_task_is_restarted_after_so_many_failures_in_a_row() -> None:
    spec = a_check(restart_limit=3, restart_grace_s=1.0)
    assert after(spec, GOOD, BAD, BAD)[1] == []
    assert after(spec, GOOD, BAD, BAD, BAD)[1] == [4]
    assert after(spec, GOOD, BAD, BAD, GOOD, BAD, BAD)[1] == []


def test_no_failure_counts_towards_a_restart_within_the_grace_time() -> None:
    spec = a_check(restart_limit=2, restart_grace_s=35.0)
    assert after(spec, BAD, BAD, BAD, BAD)[1] == []
    assert after(spec, BAD, BAD, BAD, BAD, BAD)[1] == [5]


def test_after_a_restart_the_grace_time_begins_anew() -> None:
    spec = a_check(restart_limit=1, restart_grace_s=25.0)
    assert after(spec, GOOD, GOOD, BAD, BAD, BAD, BAD)[1] == [3, 6]


def test_warnings_count_towards_a_restart_unless_they_are_ignored() -> None:
    assert after(a_check(restart_limit=2), WARN, WARN)[1] == [2]
    assert after(a_check(restart_limit=2, restart_ignores_warnings=True), WARN, WARN)[1] == []


def test_a_warning_is_not_healthy_unless_the_check_says_so() -> None:
    strict, lenient = a_check(), a_check(on_update="ignore_warnings")
    assert verdict([(strict, after(strict, WARN)[0])]).passing_since is None
    assert verdict([(lenient, after(lenient, WARN)[0])]).passing_since == 10.0


def test_health_counts_from_when_the_last_check_began_to_pass() -> None:
    spec, other = a_check(), a_check(id="2")
    first, second = after(spec, GOOD, GOOD)[0], after(other, BAD, GOOD, GOOD)[0]
    assert verdict([(spec, first), (other, second)]).passing_since == 20.0


def test_checks_that_are_ignored_by_updates_hold_nobody_up() -> None:
    spec = a_check(on_update="ignore")
    assert verdict([(spec, after(spec, BAD)[0])]).passing_since == 0.0
    assert shown(spec, begin(spec, 0.0))["Mode"] == "readiness"


def test_the_verdict_names_the_failing_check_and_what_it_said() -> None:
    spec, fresh = a_check(), a_check(id="2", name="other")
    state = after(spec, Result(Status.CRITICAL, "HTTP 503 no\n\tdatabase", 503))[0]
    text = verdict([(fresh, begin(fresh, 0.0)), (spec, state)]).text
    assert text == 'check "ping" of service "web" is failing: HTTP 503 no database (and 1 more)'
    assert describe(fresh, begin(fresh, 0.0)).endswith("has not been run yet")


def test_what_a_check_says_is_cut() -> None:
    assert len(after(a_check(), Result(Status.CRITICAL, "x" * 100_000))[0].output) == OUTPUT_MAX


def test_a_service_is_passing_once_all_its_checks_are() -> None:
    spec = a_check()
    passing, failing, pending = after(spec, GOOD)[0], after(spec, BAD)[0], begin(spec, 0.0)
    assert health_of([], restored=False) == "passing"
    assert health_of([(spec, passing), (spec, passing)], restored=False) == "passing"
    assert health_of([(spec, passing), (spec, pending)], restored=False) == "pending"
    assert health_of([(spec, failing), (spec, pending)], restored=False) == "critical"


def test_what_is_known_of_a_service_stands_when_its_agent_has_come_back() -> None:
    spec = a_check()
    assert health_of([(spec, begin(spec, 0.0))], restored=True) == ""
    assert health_of([(spec, after(spec, GOOD)[0])], restored=True) == "passing"
    assert health_of([(spec, after(spec, BAD)[0])], restored=True) == "critical"


@given(
    st.lists(st.sampled_from([GOOD, WARN, BAD]), max_size=40),
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 3),
)  # fmt: skip
def test_any_course_of_results_keeps_the_rules(
    results: list[Result], passing: int, critical: int, warning: int, limit: int
) -> None:
    spec = a_check(
        success_before_passing=passing, failures_before_critical=critical, failures_before_warning=warning,
        restart_limit=limit,
    )  # fmt: skip
    state = begin(spec, 0.0)
    for number, result in enumerate(results, 1):
        before = state
        state, restart = observe(state, spec, result, number * 10.0)
        assert (state.good_since is not None) == (state.status is Status.PASSING)
        assert state.status is not Status.PASSING or before.status is Status.PASSING or result.status is Status.PASSING
        assert not restart or limit
        assert pause(state, spec, 1.0) <= 10.5
