"""When an allocation counts as healthy for its deployment."""

from __future__ import annotations

from rove.client.allocrunner.core import (
    HealthRules,
    HealthView,
    Role,
    clock_start,
    judge_health,
    needs_health,
)
from rove.structs.alloc import TaskState, TaskStatus
from rove.structs.base import from_unix
from rove.structs.job import MigrateStrategy, TaskGroup, UpdateStrategy

RULES = HealthRules("checks", min_healthy_s=10, deadline_s=60)
S = 1_000_000_000


def running(since: float, role: Role = Role.MAIN) -> HealthView:
    return HealthView("main", role, TaskState(state=TaskStatus.RUNNING, started_at=from_unix(since)), since)


def dead(failed: bool, role: Role = Role.MAIN) -> HealthView:
    return HealthView("task", role, TaskState(state=TaskStatus.DEAD, failed=failed), 1.0)


def judge(*tasks: HealthView, now: float, checks: float | None = 0.0, rules: HealthRules = RULES) -> object:
    return judge_health(tasks, rules, now=now, clock_started=clock_start(tasks), checks_passing_since=checks).healthy


def test_it_has_to_run_for_the_minimum_time() -> None:
    early = judge_health([running(100)], RULES, now=105, clock_started=100, checks_passing_since=0)
    assert early.healthy is None
    assert early.look_at == 110
    assert judge(running(100), now=110) is True


def test_the_minimum_time_counts_from_the_task_that_started_last() -> None:
    assert judge(running(100), running(107), now=112) is None
    assert judge(running(100), running(107), now=117) is True


def test_checks_have_to_pass_for_the_minimum_time_as_well() -> None:
    assert judge(running(100), now=130, checks=None) is None
    assert judge(running(100), now=130, checks=125.0) is None
    assert judge(running(100), now=135, checks=125.0) is True


def test_checks_are_not_asked_for_when_task_states_decide() -> None:
    assert judge(running(100), now=110, checks=None, rules=RULES._replace(check="task_states")) is True


def test_the_deadline_makes_it_unhealthy_and_says_what_was_missing() -> None:
    health = judge_health(
        [running(100)], RULES, now=160, clock_started=100, checks_passing_since=None, checks='check "ping" fails'
    )
    assert health.healthy is False
    assert 'check "ping" fails' in health.reason


def test_downloads_are_not_charged_to_the_deadline() -> None:
    pulling = HealthView("main", Role.MAIN, TaskState(), 0.0)
    assert clock_start([pulling]) == 0.0
    assert judge(pulling, now=1_000_000) is None


def test_a_failed_task_is_unhealthy_at_once() -> None:
    assert judge(running(100), dead(failed=True), now=101) is False
    assert judge(dead(failed=True, role=Role.PRESTART), now=101) is False


def test_a_main_task_that_has_ended_is_unhealthy_but_a_prestart_task_is_not() -> None:
    assert judge(running(100), dead(failed=False), now=120) is False
    assert judge(running(100), dead(failed=False, role=Role.PRESTART), now=120) is True


def test_by_hand_means_by_hand() -> None:
    assert judge(running(100), now=10_000, rules=RULES._replace(check="manual")) is None


def test_rules_come_from_update_within_a_deployment_and_from_migrate_without() -> None:
    group = TaskGroup(
        update=UpdateStrategy(health_check="task_states", min_healthy_time=3 * S, healthy_deadline=30 * S),
        migrate=MigrateStrategy(),
    )
    within = needs_health(group, deployment_id="d", decided=False, stopping=False)
    assert within == HealthRules("task_states", 3.0, 30.0)
    assert needs_health(group, deployment_id="", decided=False, stopping=False) == HealthRules("checks", 10.0, 300.0)
    assert needs_health(group, deployment_id="d", decided=True, stopping=False) is None
    assert needs_health(group, deployment_id="d", decided=False, stopping=True) is None
    assert needs_health(TaskGroup(), deployment_id="", decided=False, stopping=False) is None
