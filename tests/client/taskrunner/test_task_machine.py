"""The table of a task's phases, and the restart policy."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from rove.client.taskrunner import events as ev
from rove.client.taskrunner.core import (
    EVENTS_MAX,
    TRANSITIONS,
    Aborted,
    Adopted,
    Begin,
    Do,
    Exited,
    Failed,
    Input,
    Launched,
    Machine,
    Phase,
    Prepared,
    Restart,
    Rules,
    Signal,
    Stop,
    Wake,
    judge,
    rules_for,
    step,
)
from rove.errors import InvariantError
from rove.structs.alloc import TaskState, TaskStatus
from rove.structs.job import JobType, Lifecycle, RestartPolicy

S = 1_000_000_000
POLICY = RestartPolicy(attempts=2, interval=60 * S, delay=10 * S, mode="fail")
SERVICE = Rules(POLICY, restart_on_success=True)
BATCH = Rules(POLICY, restart_on_success=False)


def run(*inputs: Input, rules: Rules = SERVICE, now: float = 100.0, jitter: float = 0.0) -> Machine:
    machine = Machine()
    for what in inputs:
        machine, _ = step(machine, what, rules, now=now, jitter=jitter)
    return machine


def running() -> Machine:
    return run(Begin(), Prepared(), Launched())


def test_a_task_is_prepared_then_launched_then_watched() -> None:
    machine, actions = step(Machine(), Begin(), SERVICE, now=1, jitter=0)
    assert [action.do for action in actions] == [Do.PREPARE]
    machine, actions = step(machine, Prepared(), SERVICE, now=2, jitter=0)
    assert [action.do for action in actions] == [Do.LAUNCH]
    machine, actions = step(machine, Launched(), SERVICE, now=3, jitter=0)
    assert [action.do for action in actions] == [Do.WATCH]
    assert machine.state.state is TaskStatus.RUNNING
    assert machine.settled_at == 3


def test_a_failure_waits_for_the_delay_stretched_by_at_most_a_quarter() -> None:
    for jitter, expected in ((0.0, 10.0), (1.0, 12.5)):
        _, actions = step(running(), Exited(code=1), SERVICE, now=100, jitter=jitter)
        assert [(action.do, action.seconds) for action in actions] == [(Do.WAIT, expected)]


def test_a_task_fails_for_good_when_attempts_are_used_up() -> None:
    machine = running()
    for _ in range(2):
        for what in (Exited(code=1), Wake(), Prepared(), Launched()):
            machine, _ = step(machine, what, SERVICE, now=100, jitter=0)
    machine, actions = step(machine, Exited(code=1), SERVICE, now=100, jitter=0)
    assert machine.phase is Phase.DEAD
    assert machine.state.failed
    assert machine.state.restarts == 2
    assert machine.attempt == 2
    assert [action.do for action in actions] == [Do.CLOSE]


def test_attempts_count_anew_after_the_interval() -> None:
    machine = Machine(window_started=100, window_count=2)
    assert judge(machine, SERVICE, recoverable=True, now=159, jitter=0).delay_s is None
    fresh = judge(machine, SERVICE, recoverable=True, now=160, jitter=0)
    assert (fresh.delay_s, fresh.window_count, fresh.window_started) == (10.0, 1, 160)


def test_a_clock_that_was_set_back_does_not_use_attempts_up() -> None:
    verdict = judge(Machine(window_started=1_000_000, window_count=2), SERVICE, recoverable=True, now=5, jitter=0)
    assert verdict.delay_s == 10.0


def test_mode_delay_waits_for_the_next_interval() -> None:
    rules = Rules(RestartPolicy(attempts=1, interval=60 * S, delay=S, mode="delay"), restart_on_success=True)
    verdict = judge(Machine(window_started=100, window_count=1), rules, recoverable=True, now=120, jitter=0)
    assert verdict.delay_s == 40.0


def test_a_start_that_cannot_succeed_is_not_tried_again() -> None:
    machine = run(Begin(), Prepared(), Failed(ev.driver_failure(1, "no such image"), recoverable=False))
    assert machine.phase is Phase.DEAD
    assert machine.state.failed


@pytest.mark.parametrize(
    ("job_type", "lifecycle", "expected"),
    [
        (JobType.SERVICE, None, True),
        (JobType.SYSTEM, None, True),
        (JobType.BATCH, None, False),
        (JobType.SYSBATCH, None, False),
        (JobType.SERVICE, Lifecycle(hook="prestart"), False),
        (JobType.SERVICE, Lifecycle(hook="prestart", sidecar=True), True),
        (JobType.SERVICE, Lifecycle(hook="poststart"), False),
        (JobType.SERVICE, Lifecycle(hook="poststop"), False),
    ],
)
def test_who_is_restarted_after_a_clean_exit(job_type: JobType, lifecycle: Lifecycle | None, expected: bool) -> None:
    assert rules_for(job_type, lifecycle, POLICY).restart_on_success is expected


def test_a_clean_exit_of_a_batch_task_is_the_end_without_failure() -> None:
    machine, _ = step(running(), Exited(), BATCH, now=200, jitter=0)
    assert machine.phase is Phase.DEAD
    assert not machine.state.failed


def test_an_oom_kill_is_a_failure_and_says_so() -> None:
    machine, _ = step(running(), Exited(oom_killed=True, signal=9), BATCH, now=200, jitter=0)
    assert machine.phase is Phase.BACKOFF
    terminated = next(event for event in machine.state.events if event.type == "Terminated")
    assert terminated.details["oom_killed"] == "true"
    assert "memory" in terminated.display_message


def test_a_restart_by_a_person_is_not_counted_by_the_policy() -> None:
    machine = running()
    machine, actions = step(machine, Restart(ev.restart_signaled(1, "asked")), SERVICE, now=100, jitter=0)
    assert [action.do for action in actions] == [Do.KILL]
    machine, actions = step(machine, Exited(signal=15), SERVICE, now=100, jitter=0)
    assert [action.do for action in actions] == [Do.PREPARE]
    assert machine.window_count == 0
    assert machine.state.restarts == 1


def test_a_restart_for_failing_checks_is_counted() -> None:
    machine = msgspec.structs.replace(running(), window_started=100, window_count=2)
    machine, actions = step(machine, Restart(ev.restart_signaled(1, "check"), counted=True), SERVICE, now=101, jitter=0)
    assert machine.phase is Phase.STOPPING
    assert machine.state.failed
    assert [action.do for action in actions] == [Do.KILL]


@pytest.mark.parametrize(("mode", "used", "delay_s"), [("fail", 0, 10.0), ("delay", 2, 59.0)])
def test_a_restart_for_failing_checks_waits_as_the_policy_says(mode: str, used: int, delay_s: float) -> None:
    rules = Rules(msgspec.structs.replace(POLICY, mode=mode), restart_on_success=True)
    machine = msgspec.structs.replace(running(), window_started=100, window_count=used)
    machine, actions = step(machine, Restart(ev.restart_signaled(1, "check"), counted=True), rules, now=101, jitter=0)
    assert [action.do for action in actions] == [Do.KILL]
    assert machine.state.events[-1].details["start_delay"] == str(int(delay_s * S))
    machine, actions = step(machine, Exited(signal=15), rules, now=102, jitter=0)
    assert machine.phase is Phase.BACKOFF
    assert [(action.do, action.seconds) for action in actions] == [(Do.WAIT, delay_s)]


def test_a_restart_by_a_person_does_not_wait_for_an_earlier_restarts_delay() -> None:
    machine = msgspec.structs.replace(running(), restart_delay_s=10.0)
    machine, _ = step(machine, Restart(ev.restart_signaled(1, "asked")), SERVICE, now=100, jitter=0)
    machine, actions = step(machine, Exited(signal=15), SERVICE, now=100, jitter=0)
    assert [action.do for action in actions] == [Do.PREPARE]


def test_a_stop_during_the_start_aborts_it() -> None:
    machine = run(Begin(), Prepared())
    machine, actions = step(machine, Stop(ev.killing(1, 5)), SERVICE, now=1, jitter=0)
    assert [action.do for action in actions] == [Do.ABORT]
    machine, actions = step(machine, Aborted(), SERVICE, now=1, jitter=0)
    assert machine.phase is Phase.DEAD
    assert not machine.state.failed


def test_a_start_that_wins_against_its_abort_is_killed() -> None:
    machine = run(Begin(), Prepared(), Stop(ev.killing(1, 5)))
    machine, actions = step(machine, Launched(), SERVICE, now=1, jitter=0)
    assert machine.phase is Phase.STOPPING
    assert [action.do for action in actions] == [Do.WATCH, Do.KILL]


def test_a_second_stop_changes_nothing() -> None:
    stopping, _ = step(running(), Stop(ev.killing(1, 5)), SERVICE, now=1, jitter=0)
    again, actions = step(stopping, Stop(ev.killing(2, 5)), SERVICE, now=2, jitter=0)
    assert again is stopping
    assert actions == ()


def test_adopting_a_task_counts_no_restart_and_keeps_its_start_time() -> None:
    before = running()
    waiting = msgspec.structs.replace(before, phase=Phase.WAITING)
    machine, actions = step(waiting, Adopted(100.0), SERVICE, now=5000, jitter=0)
    assert machine.state.restarts == 0
    assert machine.state.started_at == before.state.started_at
    assert [action.do for action in actions] == [Do.WATCH]


def test_an_impossible_pair_is_a_bug_that_tells_the_history() -> None:
    with pytest.raises(InvariantError, match="Task Setup"):
        run(Begin(), Wake())


def test_stop_and_restart_have_an_answer_in_every_phase_after_the_first() -> None:
    for phase, signal in itertools.product(Phase, (Signal.STOP, Signal.RESTART)):
        if (phase, signal) != (Phase.WAITING, Signal.RESTART):
            assert (phase, signal) in TRANSITIONS


def test_every_phase_can_be_reached_and_left() -> None:
    reached = set(TRANSITIONS.values())
    assert reached == set(Phase) - {Phase.WAITING}
    assert {phase for phase, _ in TRANSITIONS} == set(Phase)


@pytest.mark.parametrize("seed", range(200))
def test_any_course_of_events_can_be_ended(seed: int) -> None:
    """A random walk through possible inputs never breaks the table, and a stop always leads to the end."""
    rng = random.Random(seed)
    rules = rng.choice([SERVICE, BATCH])
    machine, now = Machine(), 0.0
    possible: dict[Phase, list[Input]] = {
        Phase.WAITING: [Begin(), Adopted(1.0)],
        Phase.PREPARING: [Prepared(), Failed(ev.setup_failure(0, "x"), rng.random() < 0.5)],
        Phase.LAUNCHING: [Launched(), Failed(ev.driver_failure(0, "x"), rng.random() < 0.5)],
        Phase.RUNNING: [Exited(), Exited(code=1), Restart(ev.restart_signaled(0, "x"), rng.random() < 0.5)],
        Phase.BACKOFF: [Wake(), Restart(ev.restart_signaled(0, "x"))],
        Phase.RESTARTING: [Exited(signal=9), Restart(ev.restart_signaled(0, "x"))],
        Phase.STOPPING: [Exited(signal=9), Launched()],
        Phase.DEAD: [Restart(ev.restart_signaled(0, "x"))],
    }
    for _ in range(rng.randrange(1, 40)):
        now += rng.random() * 20
        machine, _ = step(machine, rng.choice(possible[machine.phase]), rules, now=now, jitter=rng.random())
        assert len(machine.state.events) <= EVENTS_MAX
        assert (machine.phase is Phase.DEAD) == (machine.state.state is TaskStatus.DEAD)
    machine, _ = step(machine, Stop(ev.killing(now, 5)), rules, now=now, jitter=0)
    if machine.phase is Phase.STOPPING:
        machine, _ = step(machine, Exited(signal=9), rules, now=now, jitter=0)
    assert machine.phase is Phase.DEAD


def test_a_machine_survives_being_saved() -> None:
    machine = running()
    assert msgspec.json.decode(msgspec.json.encode(machine), type=Machine) == machine


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (5, "5s"), (12.5, "12.5s"), (90, "1m30s"), (3600, "1h"), (1800, "30m")],
)
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert ev.duration(seconds) == text


def test_a_fresh_task_is_pending() -> None:
    assert Machine().state == TaskState()
