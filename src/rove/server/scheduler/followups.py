"""Evaluations for later: delayed reschedules and ends of disconnect windows."""

from __future__ import annotations

from collections.abc import Callable

from rove.structs.base import SECOND, UnixNs, from_unix
from rove.structs.evaluation import Evaluation, Trigger, evaluation_of
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
        evaluation = evaluation_of(
            self._job,
            trigger,
            evaluation_id=self._new_id(),
            now=self._now,
            status_description=DESCRIPTIONS[trigger],
            wait_until=from_unix(when / 1e9),
            previous_eval=self._cause.id,
        )
        self.evaluations.append(evaluation)
        self._windows.setdefault(trigger, []).append((when, evaluation.id))
        return evaluation.id
