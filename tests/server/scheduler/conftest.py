"""Fixtures of the scheduler's tests."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from rove.server.scheduler import schedule
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job
from rove.structs.plan import SchedulerResult
from rove.testing.builders import an_evaluation
from rove.testing.fleet import FakeView

NOW = 1_700_000_000.0


@pytest.fixture()
def run() -> Callable[..., SchedulerResult]:
    """`run(view, job)`: schedule one evaluation of the job. Ids are id-0, id-1, ..."""
    ids = itertools.count()

    def call(
        view: FakeView, job: Job | str, *, now: float = NOW, seed: int = 1, evaluation: Evaluation | None = None,
        **fields: Any,
    ) -> SchedulerResult:  # fmt: skip
        return schedule(
            evaluation or an_evaluation(job, **fields), view, now=now, rng=random.Random(seed),
            new_id=lambda: f"id-{next(ids)}",
        )  # fmt: skip

    return call
