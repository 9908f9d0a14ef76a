"""Which tasks of a group start and stop, and what the allocation's status is."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rove.client.allocrunner.core import Orders, Role, TaskView, Why, client_status, decide, role_of
from rove.structs.alloc import AllocStatus, TaskState, TaskStatus
from rove.structs.base import from_unix
from rove.structs.job import Lifecycle

PENDING = TaskState()
RUNNING = TaskState(state=TaskStatus.RUNNING, started_at=from_unix(10))
DONE = TaskState(state=TaskStatus.DEAD, started_at=from_unix(10), finished_at=from_unix(20))
FAILED = TaskState(state=TaskStatus.DEAD, failed=True, finished_at=from_unix(20))


def view(role: Role, state: TaskState = PENDING, **fields: Any) -> TaskView:
    return TaskView(role, state, begun=fields.pop("begun", state is not PENDING), **fields)


def stops(orders: Orders) -> dict[str, Why]:
    return {order.task: order.why for order in orders.stop}


def test_prestart_tasks_go_first() -> None:
    tasks = {
        "pre": view(Role.PRESTART), "side": view(Role.PRESTART_SIDECAR), "main": view(Role.MAIN),
        "post": view(Role.POSTSTART), "stop": view(Role.POSTSTOP),
    }  # fmt: skip
    assert decide(tasks, stopping=False) == Orders(start=("pre", "side"))


def test_main_tasks_wait_for_prestart_to_end_and_sidecars_to_start() -> None:
    tasks = {"pre": view(Role.PRESTART, RUNNING), "side": view(Role.PRESTART_SIDECAR, RUNNING), "main": view(Role.MAIN)}
    assert decide(tasks, stopping=False) == Orders()
    tasks["pre"] = view(Role.PRESTART, DONE)
    assert decide(tasks, stopping=False) == Orders(start=("main",))
    tasks["side"] = view(Role.PRESTART_SIDECAR)
    assert "main" not in decide(tasks, stopping=False).start


def test_poststart_waits_for_every_main_task() -> None:
    tasks = {"a": view(Role.MAIN, RUNNING), "b": view(Role.MAIN, PENDING, begun=True), "post": view(Role.POSTSTART)}
    assert decide(tasks, stopping=False) == Orders()
    tasks["b"] = view(Role.MAIN, RUNNING)
    assert decide(tasks, stopping=False) == Orders(start=("post",))


def test_a_failed_prestart_task_ends_the_others_before_they_start() -> None:
    tasks = {"pre": view(Role.PRESTART, FAILED), "main": view(Role.MAIN)}
    assert stops(decide(tasks, stopping=False)) == {"main": Why.SIBLING_FAILED}


def test_a_failed_task_takes_its_siblings_with_it() -> None:
    tasks = {"a": view(Role.MAIN, FAILED), "b": view(Role.MAIN, RUNNING), "c": view(Role.MAIN, RUNNING)}
    orders = decide(tasks, stopping=False)
    assert stops(orders) == {"b": Why.SIBLING_FAILED, "c": Why.SIBLING_FAILED}
    assert {order.sibling for order in orders.stop} == {"a"}


def test_the_leaders_end_ends_the_rest() -> None:
    tasks = {"lead": view(Role.MAIN, DONE, leader=True), "log": view(Role.MAIN, RUNNING)}
    assert stops(decide(tasks, stopping=False)) == {"log": Why.LEADER_DEAD}


def test_sidecars_end_when_the_main_tasks_have_ended() -> None:
    tasks = {"main": view(Role.MAIN, DONE), "side": view(Role.PRESTART_SIDECAR, RUNNING)}
    assert stops(decide(tasks, stopping=False)) == {"side": Why.MAIN_DEAD}


def test_a_stop_goes_leader_then_mains_then_sidecars_then_poststop() -> None:
    tasks = {
        "lead": view(Role.MAIN, RUNNING, leader=True), "b": view(Role.MAIN, RUNNING),
        "side": view(Role.PRESTART_SIDECAR, RUNNING), "clean": view(Role.POSTSTOP),
    }  # fmt: skip
    waves = []
    while orders := decide(tasks, stopping=True):
        if not orders.stop and not orders.start:
            break
        waves.append([*stops(orders), *orders.start])
        for name in [*stops(orders), *orders.start]:
            tasks[name] = tasks[name]._replace(state=DONE, begun=True)
    assert waves == [["lead"], ["b"], ["side"], ["clean"]]


def test_poststop_runs_also_after_a_failure() -> None:
    crashed = TaskState(state=TaskStatus.DEAD, failed=True, started_at=from_unix(10))
    tasks = {"main": view(Role.MAIN, crashed), "clean": view(Role.POSTSTOP)}
    assert decide(tasks, stopping=False) == Orders(start=("clean",))


def test_poststop_does_not_run_where_nothing_ran() -> None:
    tasks = {"main": view(Role.MAIN, FAILED), "clean": view(Role.POSTSTOP)}
    assert stops(decide(tasks, stopping=False)) == {"clean": Why.SIBLING_FAILED}


@pytest.mark.parametrize("seed", range(100))
def test_orders_carried_out_lead_to_an_end(seed: int) -> None:
    """Whatever tasks do, orders that are carried out never repeat and a stop ends in nothing left to decide."""
    rng = random.Random(seed)
    tasks = {f"t{number}": view(rng.choice(list(Role))) for number in range(rng.randrange(1, 7))}
    tasks["main"] = view(Role.MAIN)
    stopping = False
    for turn in range(60):
        orders = decide(tasks, stopping=stopping)
        for name in orders.start:
            assert not tasks[name].begun
            tasks[name] = tasks[name]._replace(state=RUNNING, begun=True)
        for order in orders.stop:
            assert not tasks[order.task].is_dead
            tasks[order.task] = tasks[order.task]._replace(state=DONE, begun=True)
        alive = [name for name, task in tasks.items() if task.begun and not task.is_dead]
        if alive and rng.random() < 0.4:
            name = rng.choice(alive)
            tasks[name] = tasks[name]._replace(state=rng.choice([DONE, FAILED]))
        stopping = stopping or turn > 30
    for name, task in tasks.items():
        if task.role is Role.POSTSTOP and not task.is_dead:
            tasks[name] = task._replace(state=DONE)
    assert decide(tasks, stopping=True) == Orders()
    assert all(task.is_dead for task in tasks.values())


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([PENDING], AllocStatus.PENDING),
        ([RUNNING, PENDING], AllocStatus.RUNNING),
        ([DONE, PENDING], AllocStatus.PENDING),
        ([DONE, RUNNING], AllocStatus.RUNNING),
        ([DONE, DONE], AllocStatus.COMPLETE),
        ([DONE, FAILED], AllocStatus.FAILED),
        ([], AllocStatus.PENDING),
    ],
)
def test_the_status_follows_from_the_tasks(states: list[TaskState], status: AllocStatus) -> None:
    assert client_status(states).status is status


def test_an_end_is_not_reported_while_a_task_still_holds_its_ports() -> None:
    assert client_status([FAILED, RUNNING]).status is AllocStatus.RUNNING


def test_roles_come_from_the_lifecycle_block() -> None:
    assert role_of(None) is Role.MAIN
    assert role_of(Lifecycle(hook="prestart", sidecar=True)) is Role.PRESTART_SIDECAR
    assert role_of(Lifecycle(hook="poststop", sidecar=True)) is Role.POSTSTOP
