"""Gates: questions that must be answered well before canaries are promoted. Pure; `asking` puts them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from rove.structs.base import SECOND, unix_ns
from rove.structs.deployment import Deployment, DeploymentGroup, GateAnswer
from rove.structs.job import Gate, Job

TEXT_MAX = 300
"""Characters of an answer that are kept."""
TYPES = ("http", "prometheus", "script")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_EXPECTATION = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*(-?[0-9]+(?:\.[0-9]+)?(?:[eE]-?[0-9]+)?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer: good or bad, and why."""

    is_good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A gate that is to be asked now."""

    deployment_id: str
    group: str
    gate: Gate


def gates_of(job: Job | None, group: str) -> tuple[Gate, ...]:
    """The gates of a group."""
    found = job.group(group) if job is not None else None
    if found is None or found.update is None or found.update.gates is msgspec.UNSET:
        return ()
    return found.update.gates or ()


def answers_of(group: DeploymentGroup) -> dict[str, GateAnswer]:
    """What the gates of a group have said so far."""
    answers = group.gate_answers
    return {} if answers is msgspec.UNSET else {answer.name: answer for answer in answers}


def closed(job: Job | None, name: str, group: DeploymentGroup) -> list[Gate]:
    """The gates of a group that are not open yet."""
    answers = answers_of(group)
    return [gate for gate in gates_of(job, name) if not answers.get(gate.name, GateAnswer()).is_open]


def due(job: Job | None, name: str, group: DeploymentGroup, now: float) -> tuple[list[Gate], float | None]:
    """The gates of a group to ask now, and when the next one is due (seconds since the epoch)."""
    answers = answers_of(group)
    asked, later = [], []
    for gate in closed(job, name, group):
        answer = answers.get(gate.name)
        at = 0.0 if answer is None else (answer.time + max(gate.interval, SECOND)) / SECOND
        if at <= now:
            asked.append(gate)
        else:
            later.append(at)
    return asked, min(later, default=None)


def refused(job: Job | None, name: str, group: DeploymentGroup) -> str:
    """Why a gate ends the roll-out, "" if none does."""
    answers = answers_of(group)
    for gate in closed(job, name, group):
        answer = answers.get(gate.name, GateAnswer())
        if answer.failures >= max(gate.failures, 1):
            return f'gate "{gate.name}" of group "{name}" said no {answer.failures} times in a row: {answer.text}'
    return ""


def with_verdict(deployment: Deployment, name: str, gate: Gate, verdict: Verdict, now: float) -> Deployment:
    """The deployment that remembers another answer of a gate."""
    group = deployment.task_groups[name]
    answers = answers_of(group)
    before = answers.get(gate.name, GateAnswer(name=gate.name))
    passes = before.passes + 1 if verdict.is_good else 0
    answers[gate.name] = msgspec.structs.replace(
        before,
        passes=passes,
        failures=0 if verdict.is_good else before.failures + 1,
        is_open=before.is_open or passes >= max(gate.passes, 1),
        text=verdict.text[:TEXT_MAX],
        time=unix_ns(now),
    )
    group = msgspec.structs.replace(group, gate_answers=tuple(answers.values()))
    return msgspec.structs.replace(deployment, task_groups={**deployment.task_groups, name: group})


# Judging answers


def judge_http(gate: Gate, status: int) -> Verdict:
    """Good if the status is the one expected, or any of 2xx."""
    wanted = gate.expect.strip()
    is_good = str(status) == wanted if wanted else 200 <= status < 300
    return Verdict(is_good, f"status {status}" if is_good else f"status {status}, expected {wanted or '2xx'}")


def judge_prometheus(gate: Gate, body: bytes) -> Verdict:
    """Good if the query gives one value and it meets the expectation."""
    expectation = _EXPECTATION.fullmatch(gate.expect)
    if expectation is None:
        return Verdict(False, f'the expectation "{gate.expect}" is none like "< 0.05"')
    try:
        value = _one_value(msgspec.json.decode(body))
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError) as error:
        return Verdict(False, f"the answer was not understood: {error}")
    if value is None:
        return Verdict(False, "the query gave no single value")
    sign, bound = expectation.groups()
    is_good = COMPARISONS[sign](value, float(bound))
    return Verdict(is_good, f"{value:g}, expected {sign} {bound}")


def _one_value(answer: Any) -> float | None:
    if answer["status"] != "success":
        raise ValueError(str(answer.get("error", "it failed"))[:TEXT_MAX])
    data = answer["data"]
    if data["resultType"] == "scalar":
        return float(data["result"][1])
    if data["resultType"] == "vector" and len(data["result"]) == 1:
        return float(data["result"][0]["value"][1])
    return None


def judge_script(exit_code: int, output: str) -> Verdict:
    """Good if it exited with 0; the last line says why."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = f": {lines[-1]}" if lines else ""
    return Verdict(exit_code == 0, f"exit code {exit_code}{last}")
