"""What happens next to a task: a table of phases and signals, and the restart policy. Pure.

`step` takes a machine and an input and returns the next machine with the actions the loop has to perform.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from rove.errors import InvariantError
from rove.structs.alloc import TaskEvent, TaskState, TaskStatus
from rove.structs.base import SECOND, from_unix
from rove.structs.job import JobType, Lifecycle, RestartPolicy

from . import events as ev

EVENTS_MAX = 10
JITTER = 0.25


class Phase(StrEnum):
    """Where a task stands on its node."""

    WAITING = "waiting"
    """Its turn in the group's order has not come."""
    PREPARING = "preparing"
    LAUNCHING = "launching"
    RUNNING = "running"
    BACKOFF = "backoff"
    RESTARTING = "restarting"
    """Being ended, to be started anew."""
    STOPPING = "stopping"
    DEAD = "dead"


class Signal(StrEnum):
    """What an input means for the table, once the policy has judged it."""

    BEGIN = "begin"
    ADOPT = "adopt"
    """A task of an earlier agent was found."""
    PREPARED = "prepared"
    LAUNCHED = "launched"
    RETRY = "retry"
    GIVE_UP = "give up"
    FINISH = "finish"
    WAKE = "wake"
    RESTART = "restart"
    STOP = "stop"
    ENDED = "ended"


TRANSITIONS: dict[tuple[Phase, Signal], Phase] = {
    (Phase.WAITING, Signal.BEGIN): Phase.PREPARING,
    (Phase.WAITING, Signal.STOP): Phase.DEAD,
    (Phase.WAITING, Signal.GIVE_UP): Phase.DEAD,
    (Phase.WAITING, Signal.ADOPT): Phase.RUNNING,
    (Phase.PREPARING, Signal.PREPARED): Phase.LAUNCHING,
    (Phase.PREPARING, Signal.RETRY): Phase.BACKOFF,
    (Phase.PREPARING, Signal.GIVE_UP): Phase.DEAD,
    (Phase.PREPARING, Signal.STOP): Phase.STOPPING,
    (Phase.PREPARING, Signal.RESTART): Phase.PREPARING,
    (Phase.LAUNCHING, Signal.LAUNCHED): Phase.RUNNING,
    (Phase.LAUNCHING, Signal.RETRY): Phase.BACKOFF,
    (Phase.LAUNCHING, Signal.GIVE_UP): Phase.DEAD,
    (Phase.LAUNCHING, Signal.STOP): Phase.STOPPING,
    (Phase.LAUNCHING, Signal.RESTART): Phase.LAUNCHING,
    (Phase.RUNNING, Signal.RETRY): Phase.BACKOFF,
    (Phase.RUNNING, Signal.GIVE_UP): Phase.DEAD,
    (Phase.RUNNING, Signal.FINISH): Phase.DEAD,
    (Phase.RUNNING, Signal.RESTART): Phase.RESTARTING,
    (Phase.RUNNING, Signal.STOP): Phase.STOPPING,
    (Phase.BACKOFF, Signal.WAKE): Phase.PREPARING,
    (Phase.BACKOFF, Signal.RESTART): Phase.PREPARING,
    (Phase.BACKOFF, Signal.STOP): Phase.DEAD,
    (Phase.RESTARTING, Signal.ENDED): Phase.PREPARING,
    (Phase.RESTARTING, Signal.RETRY): Phase.BACKOFF,
    (Phase.RESTARTING, Signal.RESTART): Phase.RESTARTING,
    (Phase.RESTARTING, Signal.STOP): Phase.STOPPING,
    (Phase.STOPPING, Signal.LAUNCHED): Phase.STOPPING,
    (Phase.STOPPING, Signal.RESTART): Phase.STOPPING,
    (Phase.STOPPING, Signal.STOP): Phase.STOPPING,
    (Phase.STOPPING, Signal.ENDED): Phase.DEAD,
    (Phase.DEAD, Signal.RESTART): Phase.PREPARING,
    (Phase.DEAD, Signal.STOP): Phase.DEAD,
}
"""Where each signal leads. A pair that is missing cannot happen: `step` raises `InvariantError`."""


class Do(StrEnum):
    """What the loop has to perform."""

    PREPARE = "prepare"
    LAUNCH = "launch"
    WATCH = "watch"
    WAIT = "wait"
    KILL = "kill"
    ABORT = "abort"
    """Cancel the preparation or the start that is under way."""
    CLOSE = "close"
    """The task is over: save, then remove what is left of it."""


class Action(NamedTuple):
    """One thing to perform. seconds: for WAIT."""

    do: Do
    seconds: float = 0.0


class Rules(NamedTuple):
    """What decides about a task's restarts."""

    policy: RestartPolicy
    restart_on_success: bool


def rules_for(job_type: JobType, lifecycle: Lifecycle | None, policy: RestartPolicy) -> Rules:
    """Service and system tasks that are meant to stay are restarted also after a clean exit."""
    stays = lifecycle is None or (lifecycle.sidecar and lifecycle.hook != "poststop")
    return Rules(policy, stays and job_type in (JobType.SERVICE, JobType.SYSTEM))


class Begin(NamedTuple):
    """The task's turn has come."""


class Adopted(NamedTuple):
    """A task of an earlier agent was found; it was not restarted."""

    started_at: float = 0.0


class Prepared(NamedTuple):
    """Directories, artifacts and all else are in place."""


class Launched(NamedTuple):
    """The driver has started the task."""


class Failed(NamedTuple):
    """Preparation or start failed, as `event` tells."""

    event: TaskEvent
    recoverable: bool


class Exited(NamedTuple):
    """The task has ended."""

    code: int = 0
    signal: int = 0
    oom_killed: bool = False
    error: str = ""

    @property
    def is_success(self) -> bool:
        return not (self.code or self.signal or self.oom_killed or self.error)


class Aborted(NamedTuple):
    """The preparation or start that was cancelled is over, and nothing of it is left."""


class Wake(NamedTuple):
    """The wait before a restart is over."""


class Stop(NamedTuple):
    """End the task for good, for the reason in `event`."""

    event: TaskEvent


class Restart(NamedTuple):
    """End the task and start it anew. counted: as a failure, by the restart policy."""

    event: TaskEvent
    counted: bool = False


Input = Begin | Adopted | Prepared | Launched | Failed | Exited | Aborted | Wake | Stop | Restart


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A task on its node; saved whole, so every field has a default.

    attempt: counts starts. window_*: restarts counted by the policy since `window_started`.
    """

    phase: Phase = Phase.WAITING
    attempt: int = 0
    window_started: float = 0.0
    window_count: int = 0
    settled_at: float = 0.0
    """When the first start succeeded or failed; downloads lie before it. 0: not yet."""
    restart_delay_s: float = 0.0
    """How long a task that is being restarted has to wait once it has ended."""
    state: TaskState = TaskState()

    @property
    def is_dead(self) -> bool:
        return self.phase is Phase.DEAD


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a task on disk. handle: the driver's reattach state, None if nothing was started."""

    machine: Machine
    handle: dict[str, Any] | None = None
    hooks_done: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """The restart policy's answer. delay_s None: no restart."""

    delay_s: float | None
    reason: str
    window_started: float
    window_count: int


def judge(machine: Machine, rules: Rules, *, recoverable: bool, now: float, jitter: float) -> Verdict:
    """Say whether a task that has ended is started again, and when.

    jitter: 0..1, stretches the delay by up to 25 % so that a crowd does not restart in step.
    """
    policy = rules.policy
    interval_s = policy.interval / SECOND
    started, count = machine.window_started, machine.window_count
    if count == 0 or now - started >= interval_s or now < started:
        started, count = now, 0
    if not recoverable:
        return Verdict(None, "the failure cannot be mended by trying again", started, count)
    if policy.attempts == 0 and policy.mode == "fail":
        return Verdict(None, "the restart policy allows no restarts", started, count)
    count += 1
    if count <= policy.attempts:
        delay = policy.delay / SECOND * (1 + JITTER * jitter)
        return Verdict(delay, "within the restart policy", started, count)
    if policy.mode == "delay":
        return Verdict(
            max(started + interval_s - now, 0.0) + policy.delay / SECOND * JITTER * jitter,
            "all attempts of this interval are used: waiting for the next one", started, count,
        )  # fmt: skip
    reason = f'{policy.attempts} restarts within {ev.duration(interval_s)} are used up and the mode is "{policy.mode}"'
    return Verdict(None, reason, started, count)


def step(
    machine: Machine, what: Input, rules: Rules, *, now: float, jitter: float
) -> tuple[Machine, tuple[Action, ...]]:
    """Apply one input. now: seconds since the epoch. Raises `InvariantError` for an impossible pair."""
    match what:
        case Begin():
            return _move(machine, Signal.BEGIN, [ev.task_setup(now)], now)
        case Adopted(started_at):
            return _move(machine, Signal.ADOPT, [], started_at or now)
        case Prepared():
            return _move(machine, Signal.PREPARED, [], now)
        case Launched():
            settled = _settle(machine, now)
            if machine.phase is Phase.STOPPING:
                return _move(settled, Signal.LAUNCHED, [], now)
            return _move(settled, Signal.LAUNCHED, [ev.started(now)], now)
        case Failed(event, recoverable):
            return _failed(machine, event, recoverable, rules, now, jitter)
        case Exited():
            return _exited(machine, what, rules, now, jitter)
        case Aborted():
            return _move(machine, Signal.ENDED, [ev.killed(now)], now)
        case Wake():
            return _move(machine, Signal.WAKE, [], now)
        case Stop(event):
            if machine.phase in (Phase.STOPPING, Phase.DEAD):
                return machine, ()
            return _move(machine, Signal.STOP, [event], now)
        case Restart(event, counted):
            return _restart(machine, event, counted, rules, now, jitter)


def _failed(
    machine: Machine, event: TaskEvent, recoverable: bool, rules: Rules, now: float, jitter: float
) -> tuple[Machine, tuple[Action, ...]]:
    machine = _settle(machine, now)
    if machine.phase in (Phase.STOPPING, Phase.RESTARTING):
        return _move(machine, Signal.ENDED, [event, ev.killed(now)], now)
    verdict = judge(machine, rules, recoverable=recoverable, now=now, jitter=jitter)
    return _sentence(machine, [event], verdict, now)


def _exited(
    machine: Machine, exited: Exited, rules: Rules, now: float, jitter: float
) -> tuple[Machine, tuple[Action, ...]]:
    event = ev.terminated(now, exited.code, exited.signal, exited.oom_killed, exited.error)
    if machine.phase is Phase.STOPPING:
        return _move(machine, Signal.ENDED, [event, ev.killed(now)], now)
    if machine.phase is Phase.RESTARTING:
        if machine.restart_delay_s:
            return _move(machine, Signal.RETRY, [event], now, machine.restart_delay_s)
        return _move(machine, Signal.ENDED, [event], now)
    if exited.is_success and not rules.restart_on_success:
        return _move(machine, Signal.FINISH, [event], now)
    verdict = judge(machine, rules, recoverable=True, now=now, jitter=jitter)
    return _sentence(machine, [event], verdict, now)


def _restart(
    machine: Machine, event: TaskEvent, counted: bool, rules: Rules, now: float, jitter: float
) -> tuple[Machine, tuple[Action, ...]]:
    if not counted or machine.phase is not Phase.RUNNING:
        machine = msgspec.structs.replace(machine, restart_delay_s=0.0)
        return _move(machine, Signal.RESTART, [event], now)
    verdict = judge(machine, rules, recoverable=True, now=now, jitter=jitter)
    machine = msgspec.structs.replace(machine, window_started=verdict.window_started, window_count=verdict.window_count)
    if verdict.delay_s is None:
        machine = _fail(machine)
        return _move(machine, Signal.STOP, [event, ev.not_restarting(now, verdict.reason)], now)
    machine = msgspec.structs.replace(machine, restart_delay_s=verdict.delay_s)
    return _move(machine, Signal.RESTART, [event, ev.restarting(now, verdict.reason, verdict.delay_s)], now)


def _sentence(
    machine: Machine, events: list[TaskEvent], verdict: Verdict, now: float
) -> tuple[Machine, tuple[Action, ...]]:
    machine = msgspec.structs.replace(machine, window_started=verdict.window_started, window_count=verdict.window_count)
    if verdict.delay_s is None:
        events.append(ev.not_restarting(now, verdict.reason))
        return _move(_fail(machine), Signal.GIVE_UP, events, now)
    events.append(ev.restarting(now, verdict.reason, verdict.delay_s))
    return _move(machine, Signal.RETRY, events, now, verdict.delay_s)


def _move(
    machine: Machine, signal: Signal, events: list[TaskEvent], now: float, delay_s: float = 0.0
) -> tuple[Machine, tuple[Action, ...]]:
    before = machine.phase
    after = TRANSITIONS.get((before, signal))
    if after is None:
        history = ", ".join(event.type for event in machine.state.events)
        raise InvariantError(f'a task in phase "{before}" met "{signal}"; its events: {history}')
    attempt, state = machine.attempt, _state_after(machine.state, before, after, now)
    if after is Phase.PREPARING and before not in (Phase.WAITING, Phase.PREPARING):
        attempt += 1
        state = msgspec.structs.replace(
            state, restarts=state.restarts + 1, last_restart=from_unix(now), failed=False, finished_at=None
        )
    state = with_events(state, events)
    machine = msgspec.structs.replace(machine, phase=after, attempt=attempt, state=state)
    return machine, _actions(before, after, signal, delay_s)


def _actions(before: Phase, after: Phase, signal: Signal, delay_s: float) -> tuple[Action, ...]:
    if before is after and signal is not Signal.LAUNCHED:
        return ()
    match after:
        case Phase.PREPARING:
            return (Action(Do.PREPARE),)
        case Phase.LAUNCHING:
            return (Action(Do.LAUNCH),)
        case Phase.RUNNING:
            return (Action(Do.WATCH),)
        case Phase.BACKOFF:
            return (Action(Do.WAIT, delay_s),)
        case Phase.RESTARTING:
            return (Action(Do.KILL),)
        case Phase.STOPPING if before in (Phase.PREPARING, Phase.LAUNCHING):
            return (Action(Do.ABORT),)
        case Phase.STOPPING if signal is Signal.LAUNCHED:
            return (Action(Do.WATCH), Action(Do.KILL))
        case Phase.STOPPING if before is Phase.RUNNING:
            return (Action(Do.KILL),)
        case Phase.DEAD:
            return (Action(Do.CLOSE),)
    return ()


def _state_after(state: TaskState, before: Phase, after: Phase, now: float) -> TaskState:
    match after:
        case Phase.RUNNING:
            started = state.started_at if before is Phase.WAITING and state.started_at else from_unix(now)
            return msgspec.structs.replace(state, state=TaskStatus.RUNNING, started_at=started)
        case Phase.DEAD:
            return msgspec.structs.replace(state, state=TaskStatus.DEAD, finished_at=from_unix(now))
        case Phase.PREPARING | Phase.LAUNCHING | Phase.BACKOFF | Phase.WAITING:
            return msgspec.structs.replace(state, state=TaskStatus.PENDING)
    return state


def with_events(state: TaskState, events: list[TaskEvent]) -> TaskState:
    """The state with more events, the oldest dropped beyond the limit."""
    if not events:
        return state
    return msgspec.structs.replace(state, events=(*state.events, *events)[-EVENTS_MAX:])


def _settle(machine: Machine, now: float) -> Machine:
    return msgspec.structs.replace(machine, settled_at=machine.settled_at or now)


def _fail(machine: Machine) -> Machine:
    return msgspec.structs.replace(machine, state=msgspec.structs.replace(machine.state, failed=True))
