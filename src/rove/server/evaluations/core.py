"""Queue order and wake-up rules of evaluations, without clock or I/O.

`Broker` hands out evaluations: highest priority first, then oldest first, at most one in flight a job,
with delays and a limited number of deliveries. `Blocked` keeps evaluations that wait for room and says
which ones a change of the fleet may help. Sources: Nomad's documented evaluation life cycle; the rules
are restated in docs/scheduling.md.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rove.structs.evaluation import Evaluation, Trigger

DELIVERIES_MAX = 3
NACK_FIRST_DELAY_S = 1.0
NACK_DELAY_STEP_S = 20.0
POSTPONED_S = 5.0
"""Pause of an evaluation whose outcome the store did not take."""

JobKey = tuple[str, str]


@dataclass
class _Job:
    """Evaluations of one job: the one that is ready or in flight, and those that wait behind it."""

    current: str = ""
    waiting: list[tuple[int, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Delivery:
    """An evaluation given to a worker. `token` has to be shown again to finish it."""

    evaluation: Evaluation
    token: int


class Broker:
    """A priority queue of evaluations, one in flight per job.

    Evaluations without a job (none at present) are told apart by their id.
    """

    def __init__(self) -> None:
        self._evaluations: dict[str, Evaluation] = {}
        self._jobs: dict[JobKey, _Job] = {}
        self._ready: list[tuple[int, int, int, str]] = []
        self._delayed: list[tuple[float, int, str]] = []
        self._in_flight: dict[str, int] = {}
        self._deliveries: dict[str, int] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._evaluations)

    @property
    def in_flight(self) -> int:
        """How many are being worked on."""
        return len(self._in_flight)

    @property
    def ready(self) -> int:
        """How many could be handed out now."""
        return sum(1 for *_, evaluation_id in self._ready if self._is_ready(evaluation_id))

    @property
    def delayed(self) -> int:
        """How many wait for a point in time."""
        return sum(1 for *_, evaluation_id in self._delayed if evaluation_id in self._evaluations)

    def is_in_flight(self, evaluation_id: str) -> bool:
        """True while a worker has it."""
        return evaluation_id in self._in_flight

    def enqueue(self, evaluation: Evaluation, now: float) -> None:
        """Take an evaluation in, after its `wait_until` if that lies ahead. Known ids are left alone."""
        if evaluation.id in self._evaluations:
            return
        self._evaluations[evaluation.id] = evaluation
        due = due_time(evaluation, now)
        if due > now:
            self._delay(evaluation.id, due)
        else:
            self._admit(evaluation)

    def dequeue(self, now: float) -> Delivery | None:
        """The next evaluation to work on, or None."""
        self._release_due(now)
        while self._ready:
            *_, evaluation_id = heapq.heappop(self._ready)
            if not self._is_ready(evaluation_id):
                continue
            self._sequence += 1
            self._in_flight[evaluation_id] = self._sequence
            self._deliveries[evaluation_id] = self._deliveries.get(evaluation_id, 0) + 1
            return Delivery(self._evaluations[evaluation_id], self._sequence)
        return None

    def next_due(self) -> float | None:
        """When the next delayed evaluation becomes ready."""
        while self._delayed and self._delayed[0][2] not in self._evaluations:
            heapq.heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def ack(self, delivery: Delivery) -> list[Evaluation]:
        """Finish an evaluation. Returns waiting ones of the same job that are superseded: cancel them.

        Of the evaluations that waited behind it only the newest goes on.
        """
        if self._in_flight.get(delivery.evaluation.id) != delivery.token:
            return []
        self._forget(delivery.evaluation.id)
        job = self._jobs.get(key_of(delivery.evaluation))
        if job is None:
            return []
        job.current = ""
        return self._promote(key_of(delivery.evaluation), job)

    def nack(self, delivery: Delivery, now: float) -> bool:
        """Give an evaluation back. False: its deliveries are used up; the caller marks it failed and acks."""
        evaluation = delivery.evaluation
        if self._in_flight.get(evaluation.id) != delivery.token:
            return True
        count = self._deliveries[evaluation.id]
        if count >= DELIVERIES_MAX:
            return False
        del self._in_flight[evaluation.id]
        delay = NACK_FIRST_DELAY_S if count == 1 else (count - 1) * NACK_DELAY_STEP_S
        self._delay(evaluation.id, now + delay)
        return True

    def postpone(self, delivery: Delivery, now: float) -> None:
        """Give an evaluation back through no fault of its own: it comes again, and this delivery does not count."""
        evaluation_id = delivery.evaluation.id
        if self._in_flight.get(evaluation_id) != delivery.token:
            return
        del self._in_flight[evaluation_id]
        self._deliveries[evaluation_id] -= 1
        self._delay(evaluation_id, now + POSTPONED_S)

    def remove(self, evaluation_ids: Iterable[str]) -> None:
        """Forget evaluations that were cancelled or deleted elsewhere; those in flight finish by themselves."""
        for evaluation_id in evaluation_ids:
            evaluation = self._evaluations.get(evaluation_id)
            if evaluation is None or evaluation_id in self._in_flight:
                continue
            self._forget(evaluation_id)
            job = self._jobs.get(key_of(evaluation))
            if job is not None and job.current == evaluation_id:
                job.current = ""
                self._promote(key_of(evaluation), job)

    def clear(self) -> None:
        """Forget everything (leadership was lost)."""
        self.__init__()  # type: ignore[misc]

    def _is_ready(self, evaluation_id: str) -> bool:
        return evaluation_id in self._evaluations and evaluation_id not in self._in_flight

    def _delay(self, evaluation_id: str, due: float) -> None:
        self._sequence += 1
        heapq.heappush(self._delayed, (due, self._sequence, evaluation_id))

    def _release_due(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            *_, evaluation_id = heapq.heappop(self._delayed)
            if self._is_ready(evaluation_id):
                self._admit(self._evaluations[evaluation_id])

    def _admit(self, evaluation: Evaluation) -> None:
        job = self._jobs.setdefault(key_of(evaluation), _Job())
        if job.current in ("", evaluation.id):
            job.current = evaluation.id
            self._push(evaluation)
        else:
            heapq.heappush(job.waiting, (-evaluation.create_index, self._next(), evaluation.id))

    def _push(self, evaluation: Evaluation) -> None:
        entry = (-evaluation.priority, evaluation.create_index, self._next(), evaluation.id)
        heapq.heappush(self._ready, entry)

    def _promote(self, key: JobKey, job: _Job) -> list[Evaluation]:
        """Make the newest waiting evaluation current; the rest is superseded."""
        alive = [self._evaluations[i] for *_, i in sorted(job.waiting) if i in self._evaluations]
        job.waiting.clear()
        if not alive:
            del self._jobs[key]
            return []
        newest, *superseded = alive
        job.current = newest.id
        self._push(newest)
        for evaluation in superseded:
            self._forget(evaluation.id)
        return superseded

    def _forget(self, evaluation_id: str) -> None:
        self._evaluations.pop(evaluation_id, None)
        self._in_flight.pop(evaluation_id, None)
        self._deliveries.pop(evaluation_id, None)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def key_of(evaluation: Evaluation) -> JobKey:
    """What must not be worked on twice at once."""
    return evaluation.job_key if evaluation.job_id else ("", evaluation.id)


def due_time(evaluation: Evaluation, now: float) -> float:
    """When an evaluation may run, in seconds since the epoch."""
    if evaluation.wait_until is not None and evaluation.wait_until.year > 1:
        return evaluation.wait_until.timestamp()
    return now + evaluation.wait / 1e9 if evaluation.wait else now


class Blocked:
    """Evaluations that wait for room, one a job.

    An evaluation is woken by a node class that it has not seen or that could hold it, by anything if its
    constraints look at single nodes (`escaped_computed_class`), and by time if its plans conflicted.
    """

    def __init__(self) -> None:
        self._by_job: dict[JobKey, Evaluation] = {}
        self._changed_at: dict[str, int] = {}
        """Last revision at which room appeared, by node class."""
        self._rules_changed_at = 0

    def __len__(self) -> int:
        return len(self._by_job)

    def __contains__(self, evaluation_id: str) -> bool:
        return any(evaluation.id == evaluation_id for evaluation in self._by_job.values())

    def all(self) -> list[Evaluation]:
        """Every blocked evaluation."""
        return list(self._by_job.values())

    def block(self, evaluation: Evaluation) -> tuple[Evaluation | None, bool]:
        """Keep an evaluation.

        Returns (the older one of the same job that it replaces: cancel it, or None; True if room
        appeared after the snapshot that it was made from, so that it must run again at once).
        """
        replaced = self._by_job.get(evaluation.job_key)
        if replaced is not None and replaced.id == evaluation.id:
            replaced = None
        if replaced is not None and replaced.create_index > evaluation.create_index:
            return evaluation, False
        if self._missed(evaluation):
            if replaced is not None:
                del self._by_job[evaluation.job_key]
            return replaced, True
        self._by_job[evaluation.job_key] = evaluation
        return replaced, False

    def room(self, node_class: str, index: int) -> list[Evaluation]:
        """Room appeared on nodes of a class at revision `index`: the evaluations to run again."""
        self._changed_at[node_class] = max(index, self._changed_at.get(node_class, 0))
        woken = [e for e in self._by_job.values() if may_help(e, node_class)]
        for evaluation in woken:
            del self._by_job[evaluation.job_key]
        return woken

    def any_change(self, index: int) -> list[Evaluation]:
        """The scheduler's rules changed at revision `index`, so anything may fit now: every evaluation."""
        woken = self.all()
        self._by_job.clear()
        self._rules_changed_at = max(index, self._rules_changed_at)
        return woken

    def conflicted(self) -> list[Evaluation]:
        """Those that were blocked by plan conflicts; they run again from time to time."""
        woken = [e for e in self._by_job.values() if e.triggered_by is Trigger.MAX_PLAN_ATTEMPTS]
        for evaluation in woken:
            del self._by_job[evaluation.job_key]
        return woken

    def of_job(self, key: JobKey) -> Evaluation | None:
        """The blocked evaluation of a job."""
        return self._by_job.get(key)

    def remove(self, evaluation_ids: Iterable[str]) -> None:
        """Forget evaluations that ended elsewhere."""
        gone = set(evaluation_ids)
        for key in [key for key, evaluation in self._by_job.items() if evaluation.id in gone]:
            del self._by_job[key]

    def clear(self) -> None:
        """Forget everything (leadership was lost)."""
        self.__init__()  # type: ignore[misc]

    def _missed(self, evaluation: Evaluation) -> bool:
        return self._rules_changed_at > evaluation.snapshot_index or any(
            index > evaluation.snapshot_index and may_help(evaluation, node_class)
            for node_class, index in self._changed_at.items()
        )


def may_help(evaluation: Evaluation, node_class: str) -> bool:
    """Could new room on a node of this class let the evaluation place something?"""
    if evaluation.escaped_computed_class:
        return True
    eligible: Mapping[str, bool] = evaluation.class_eligibility
    return eligible.get(node_class, True)
