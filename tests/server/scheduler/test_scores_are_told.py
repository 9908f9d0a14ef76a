"""Each copy carries the scores that it was placed with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rove.server.state.blocks import own_metrics
from rove.structs.alloc import NodeScore
from rove.structs.job import ReschedulePolicy
from rove.structs.node import PreemptionConfig, SchedulerConfiguration
from rove.structs.plan import Placement, SchedulerResult
from rove.testing.builders import a_job, a_node, an_alloc
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]


def told(placement: Placement, position: int) -> NodeScore:
    """The score of one copy's own node, as its metrics show it."""
    number = np.frombuffer(placement.nodes, "<i4").tolist()[position]
    score = np.frombuffer(placement.scores, "<f4").tolist()[position]
    node_id = placement.node_ids[number]
    metrics = own_metrics(placement, position, node_id, score)
    assert [one.node_id for one in metrics.score_meta_data].count(node_id) == 1
    first = metrics.score_meta_data[0]
    assert (first.node_id, first.norm_score) == (node_id, pytest.approx(score, abs=1e-6))
    return first


def test_copies_that_follow_each_other_onto_a_node_show_what_that_costs(run: Run) -> None:
    job = a_job(count=3)
    (placement,) = run(FakeView([a_node()], [job]), job).plan.placements
    parts = [told(placement, position).scores for position in range(3)]
    assert [part.get("job-anti-affinity") for part in parts] == [None, pytest.approx(-2 / 3), pytest.approx(-1.0)]
    assert parts[0]["binpack"] < parts[1]["binpack"] < parts[2]["binpack"]


def test_many_copies_show_their_sum(run: Run) -> None:
    job = a_job(count=30, cpu=10, memory=10)
    (placement,) = run(FakeView([a_node()], [job]), job).plan.placements
    assert "binpack" in told(placement, 0).scores
    assert list(told(placement, 29).scores) == ["normalized-score"]


def test_a_copy_back_on_the_node_where_it_failed_shows_the_penalty(run: Run) -> None:
    again = ReschedulePolicy(unlimited=True, delay=0, delay_function="constant")
    job = a_job(reschedule_policy=again)
    failed = an_alloc(job, 0, client_status="failed")
    (placement,) = run(FakeView([a_node()], [job], [failed]), job).plan.placements
    assert told(placement, 0).scores["node-reschedule-penalty"] == -1.0


def test_a_copy_that_pushes_out_others_shows_what_that_counts_for(run: Run) -> None:
    low, high = a_job("low", priority=10, cpu=1000), a_job("high", priority=90, cpu=1000)
    rules = SchedulerConfiguration(preemption_config=PreemptionConfig(service_scheduler_enabled=True))
    view = FakeView([a_node(cpu=1000)], [low, high], [an_alloc(low)], configuration=rules)
    (placement,) = run(view, high).plan.placements
    assert 0.9 < told(placement, 0).scores["preemption"] <= 1.0
