"""Evaluations for later: delayed reschedules and ends of disconnect windows."""

from __future__ import annotations

from collections.abc import Callable

from rove.structs.base import SECOND, UnixNs, from_unix, unix_ns
from rove.structs.evaluation import EvalStatus, Evaluation, Trigger
from rove.structs.job import Job

WINDOW_NS = 5 * SECOND

DESCRIPTIONS = {
    Trigger.ALLOC_FAILURE: "looks again when failed copies may be replaced",
    Trigger.MAX_DISCONNECT_TIMEOUT: "looks again when the time of a disconnected node is over",
}


class Followups:
    """Makes one evaluation for all allocations of the same kind that are due within a few seconds."""

    def __init__(self, cause: Evaluation, job: Job, now: float, new_id: Callable[[], str]) -> None:
        self.evaluations: list[Evaluation] = []
        self._cause = cause
        self._job = job
        self._now = now
        self._new_id = new_id
        self._windows: dict[Trigger, list[tuple[UnixNs, str]]] = {}

    def at(self, when: UnixNs, trigger: Trigger) -> str:
        """The id of an evaluation at `when` or within the window after it."""
        for start, evaluation_id in self._windows.get(trigger, ()):
            if start - WINDOW_NS <= when <= start:
                return evaluation_id
        evaluation = Evaluation(
            id=self._new_id(), namespace=self._job.namespace, priority=self._job.priority,
            type=self._job.type.value, triggered_by=trigger, job_id=self._job.id,
            job_modify_index=self._job.job_modify_index, status=EvalStatus.PENDING,
            status_description=DESCRIPTIONS[trigger], wait_until=from_unix(when / 1e9),
            previous_eval=self._cause.id, create_time=unix_ns(self._now), modify_time=unix_ns(self._now),
        )  # fmt: skip
        self.evaluations.append(evaluation)
        self._windows.setdefault(trigger, []).append((when, evaluation.id))
        return evaluation.id
