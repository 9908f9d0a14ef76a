"""What the results of a service check mean: its status, whether its task is restarted, when to ask again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

OUTPUT_MAX = 3 * 1024
"""Characters that are kept of what a check said."""
TEXT_MAX = 200
"""Characters of it that go into a sentence."""
RAMP_S = 0.25
"""The pause after the first failure of a check that has never succeeded; doubled up to the interval."""


class Status(StrEnum):
    """How a check stands."""

    PENDING = "pending"
    """No result that counts yet."""
    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"


WIRE = {
    Status.PENDING: "pending", Status.PASSING: "success", Status.WARNING: "warning", Status.CRITICAL: "failure",
}  # fmt: skip
"""Statuses as the HTTP API says them."""


class CheckSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One check with everything replaced and resolved, so that equal specs ask the same thing.

    id: the same as long as allocation, service and name are. kind: http, tcp, grpc or script. task: whose check
    it is, "" for the group's. on_update: require_healthy, ignore_warnings or ignore.
    restart_limit: failures in a row after which the task is restarted, 0: never.
    """

    id: str
    name: str
    service: str
    service_id: str
    group: str
    task: str = ""
    kind: str = "tcp"
    interval_s: float = 10.0
    timeout_s: float = 5.0
    on_update: str = "require_healthy"
    initial: Status = Status.PENDING
    success_before_passing: int = 0
    failures_before_warning: int = 0
    failures_before_critical: int = 0
    restart_limit: int = 0
    restart_grace_s: float = 1.0
    restart_ignores_warnings: bool = False
    host: str = ""
    port: int = 0
    path: str = ""
    method: str = "GET"
    protocol: str = "http"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    tls_server_name: str = ""
    tls_skip_verify: bool = False
    grpc_service: str = ""
    grpc_use_tls: bool = False
    command: tuple[str, ...] = ()
    trouble: str = ""
    """Why it cannot be asked at all; then every result is this."""

    @property
    def decides(self) -> bool:
        """True if the health of its allocation depends on it."""
        return self.on_update != "ignore"


class Result(NamedTuple):
    """What one probe found. code: HTTP status or exit code, 0 if there is none."""

    status: Status
    output: str
    code: int = 0


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """A check over time. Times are seconds since the epoch, 0: never.

    good_since: since when its status is one that the allocation's health allows, None while it is not.
    counted_at: the last result that counted; before its first success a check is asked more often than its
    interval says, and failures in between do not count.
    """

    status: Status = Status.PENDING
    output: str = ""
    code: int = 0
    at: float = 0.0
    started_at: float = 0.0
    counted_at: float = 0.0
    good_since: float | None = None
    tries: int = 0
    succeeded: bool = False
    successes: int = 0
    failures: int = 0
    bad: int = 0
    """Results in a row that count towards a restart."""


class Outcome(NamedTuple):
    """A check after a result. restart: its task has to be restarted now."""

    state: CheckState
    restart: bool = False


def begin(spec: CheckSpec, now: float) -> CheckState:
    """A check whose task has just started."""
    return CheckState(
        status=spec.initial, started_at=now, good_since=now if _is_good(spec, spec.initial) else None
    )  # fmt: skip


def observe(state: CheckState, spec: CheckSpec, result: Result, now: float) -> Outcome:
    """Take in a result."""
    output = result.output[:OUTPUT_MAX]
    seen = msgspec.structs.replace(state, output=output, code=result.code, at=now, tries=state.tries + 1)
    if result.status is Status.CRITICAL:
        if _is_warming_up(state, spec) and now - (state.counted_at or state.started_at) < spec.interval_s:
            return Outcome(seen)
        return _fail(seen, spec, now)
    return _succeed(seen, spec, result.status, now)


def _succeed(state: CheckState, spec: CheckSpec, status: Status, now: float) -> Outcome:
    successes = state.successes + 1
    reached = successes >= spec.success_before_passing
    state = msgspec.structs.replace(state, succeeded=True, successes=successes, failures=0, counted_at=now)
    return _restart(_become(state, spec, status if reached else state.status, now), spec, now)


def _fail(state: CheckState, spec: CheckSpec, now: float) -> Outcome:
    failures = state.failures + 1
    status = state.status
    if failures >= spec.failures_before_critical:
        status = Status.CRITICAL
    elif spec.failures_before_warning and failures >= spec.failures_before_warning:
        status = Status.WARNING
    state = msgspec.structs.replace(state, successes=0, failures=failures, counted_at=now)
    return _restart(_become(state, spec, status, now), spec, now)


def _become(state: CheckState, spec: CheckSpec, status: Status, now: float) -> CheckState:
    good = _is_good(spec, status)
    since = (state.good_since if state.good_since is not None else now) if good else None
    return msgspec.structs.replace(state, status=status, good_since=since)


def _restart(state: CheckState, spec: CheckSpec, now: float) -> Outcome:
    is_bad = state.status is Status.CRITICAL or (
        state.status is Status.WARNING and not spec.restart_ignores_warnings
    )  # fmt: skip
    if not spec.restart_limit or not is_bad:
        return Outcome(msgspec.structs.replace(state, bad=0))
    if now < state.started_at + spec.restart_grace_s:
        return Outcome(state)
    bad = state.bad + 1
    if bad < spec.restart_limit:
        return Outcome(msgspec.structs.replace(state, bad=bad))
    return Outcome(msgspec.structs.replace(state, bad=0, started_at=now, succeeded=False, tries=1), restart=True)


def _is_good(spec: CheckSpec, status: Status) -> bool:
    return status is Status.PASSING or (status is Status.WARNING and spec.on_update == "ignore_warnings")


def _is_warming_up(state: CheckState, spec: CheckSpec) -> bool:
    return not state.succeeded and spec.initial is not Status.PASSING


def pause(state: CheckState, spec: CheckSpec, jitter: float) -> float:
    """Seconds until the check is asked again. jitter: 0..1, spreads checks by up to 10 % of the interval."""
    if state.tries == 0:
        return 0.0 if _is_warming_up(state, spec) else spec.interval_s * jitter
    if _is_warming_up(state, spec):
        return min(RAMP_S * 2.0 ** min(state.tries - 1, 30), spec.interval_s)
    return spec.interval_s * (0.95 + 0.1 * jitter)


class Verdict(NamedTuple):
    """All checks of an allocation together. passing_since None: not all pass; `text` says which one."""

    passing_since: float | None
    text: str = ""


def verdict(checks: Sequence[tuple[CheckSpec, CheckState]]) -> Verdict:
    """Whether all checks that decide about health are good, and since when."""
    waiting = [(spec, state) for spec, state in checks if spec.decides and state.good_since is None]
    if not waiting:
        times = [state.good_since or 0.0 for spec, state in checks if spec.decides]
        return Verdict(max(times, default=0.0))
    spec, state = max(waiting, key=lambda check: (check[1].status is Status.CRITICAL, check[1].tries > 0))
    more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    return Verdict(None, f"{describe(spec, state)}{more}")


def describe(spec: CheckSpec, state: CheckState) -> str:
    """A check that is not good, in words."""
    name = f'check "{spec.name}" of service "{spec.service}"'
    if state.tries == 0:
        return f"{name} has not been run yet"
    says = " ".join(state.output.split())[:TEXT_MAX]
    match state.status:
        case Status.CRITICAL:
            return f"{name} is failing: {says}"
        case Status.WARNING:
            return f"{name} warns: {says}"
    return f"{name} has not passed yet: {says}"


def health_of(checks: Sequence[tuple[CheckSpec, CheckState]], *, restored: bool) -> str:
    """How a service stands in discovery: passing, pending or critical; "" for "as before".

    restored: its task was started by an earlier agent, so that until a first result what is known stands.
    """
    statuses = {state.status for _, state in checks}
    if Status.CRITICAL in statuses:
        return "critical"
    if Status.PENDING not in statuses:
        return "passing"
    waits_for_first = all(
        state.tries == 0 for _, state in checks if state.status is Status.PENDING
    )  # fmt: skip
    return "" if restored and waits_for_first else "pending"


def shown(spec: CheckSpec, state: CheckState) -> dict[str, object]:
    """A check as `GET /v1/client/allocation/:id/checks` has it."""
    body: dict[str, object] = {
        "ID": spec.id, "Mode": "healthiness" if spec.decides else "readiness", "Status": WIRE[state.status],
        "Output": state.output or "no result yet", "Timestamp": int(state.at or state.started_at),
        "Group": spec.group, "Service": spec.service, "Check": spec.name,
    }  # fmt: skip
    if spec.task:
        body["Task"] = spec.task
    if state.code and spec.kind == "http":
        body["StatusCode"] = state.code
    return body
