"""`schedule`: one evaluation, one snapshot, one plan."""

from __future__ import annotations

import random
from collections.abc import Callable

from rove.structs.evaluation import Evaluation
from rove.structs.plan import Plan, SchedulerResult

from .view import View


def schedule(
    evaluation: Evaluation, view: View, *, now: float, rng: random.Random, new_id: Callable[[], str]
) -> SchedulerResult:
    """Say what must change for the evaluation's job, on this snapshot.

    now: seconds since the epoch. rng: seeded; only breaks ties and picks ports. new_id: makes ids of
    new deployments and evaluations. Works for service, batch, system and sysbatch jobs (the job's own
    type counts, not the evaluation's). Raises nothing for any stored job: what cannot be placed is
    in `failed` with its reasons.
    """
    return SchedulerResult(plan=Plan(eval_id=evaluation.id))
