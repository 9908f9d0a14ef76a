"""The fast engine gives the greedy plan of the naive reference, score by score."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rove.server.scheduler import place
from rove.structs.job import Affinity, Constraint, Job, Spread, SpreadTarget
from rove.structs.node import SchedulerConfiguration
from rove.structs.plan import Placement, SchedulerResult
from rove.testing.builders import a_group, a_job, a_node, an_alloc
from rove.testing.fleet import FakeView

_spec = importlib.util.spec_from_file_location("reference", Path(__file__).with_name("reference.py"))
assert _spec is not None
assert _spec.loader is not None
reference: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

Run = Callable[..., SchedulerResult]


def copies_of(placement: Placement) -> Iterator[tuple[str, float]]:
    """(node id, score) of each copy in order."""
    nodes = np.frombuffer(placement.nodes, "<i4").tolist()
    scores = np.frombuffer(placement.scores, "<f4").tolist()
    for number, score in zip(nodes, scores, strict=True):
        yield placement.node_ids[number], score


def a_cluster(rng: random.Random) -> list[Any]:
    nodes = []
    for number in range(rng.randint(1, 40)):
        meta = {"rack": f"r{rng.randint(0, 4)}", "tier": rng.choice(("gold", "iron"))}
        if rng.random() < 0.1:
            del meta["rack"]
        nodes.append(
            a_node(
                f"n{number}", cpu=rng.choice((500, 1000, 4000)), memory=rng.choice((1024, 4096)),
                disk=rng.choice((200, 10_000)), datacenter=rng.choice(("dc1", "dc2")), meta=meta,
                drivers=("mock_driver",) if rng.random() < 0.9 else (),
            )
        )  # fmt: skip
    return nodes


def a_random_job(rng: random.Random) -> Job:
    fields: dict[str, Any] = {}
    if rng.random() < 0.3:
        fields["constraints"] = (Constraint(l_target="${meta.tier}", operand="!=", r_target="iron"),)
    if rng.random() < 0.3:
        fields["affinities"] = tuple(
            Affinity(l_target="${meta.rack}", operand="=", r_target=f"r{n}", weight=rng.choice((-50, 30, 100)))
            for n in range(rng.randint(1, 3))
        )
    if rng.random() < 0.2:
        fields["datacenters"] = ("dc1",)
    group: dict[str, Any] = {}
    kind = rng.randint(0, 5)
    if kind == 1:
        group["spreads"] = (Spread(attribute="${meta.rack}", weight=60),)
    elif kind == 2:
        targets = (SpreadTarget(value="dc1", percent=rng.choice((0, 30, 70))),)
        group["spreads"] = (Spread(attribute="${node.datacenter}", weight=100, spread_target=targets),)
    elif kind == 3:
        group["spreads"] = (Spread(attribute="${meta.rack}", weight=60),)
        fields["spreads"] = (Spread(attribute="${node.unique.id}", weight=20),)
    elif kind == 4:
        group["constraints"] = (Constraint(operand="distinct_hosts", r_target="true"),)
    elif kind == 5:
        group["constraints"] = (
            Constraint(l_target="${meta.rack}", operand="distinct_property", r_target=str(rng.randint(1, 3))),
        )
    groups = [
        a_group(
            f"g{n}", count=rng.randint(1, 30), cpu=rng.choice((50, 100, 300)), memory=rng.choice((32, 256)),
            disk=rng.choice((10, 50)), **group,
        )
        for n in range(rng.randint(1, 2))
    ]  # fmt: skip
    return a_job("web", groups=groups, type=rng.choice(("service", "batch")), **fields)


def some_allocs(rng: random.Random, nodes: list[Any], job: Job) -> list[Any]:
    other = a_job("other", cpu=100, memory=100)
    allocs = [an_alloc(other, n, node=rng.choice(nodes), id=f"o{n}") for n in range(rng.randint(0, 2 * len(nodes)))]
    group = job.task_groups[0]
    allocs += [
        an_alloc(job, index, node=rng.choice(nodes), group=group.name)
        for index in range(rng.randint(0, group.count // 2))
    ]
    return allocs


@pytest.mark.parametrize("one_by_one", [0, 10])
@pytest.mark.parametrize("seed", range(150))
def test_every_placement_is_the_greedy_best_of_all_nodes(
    seed: int, one_by_one: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "SCORED_MAX", one_by_one)
    rng = random.Random(seed)
    nodes, job = a_cluster(rng), a_random_job(rng)
    configuration = SchedulerConfiguration(scheduler_algorithm=rng.choice(("binpack", "binpack", "spread")))
    view = FakeView(nodes, [job], some_allocs(rng, nodes, job), configuration=configuration)
    result = run(view, job, seed=seed)
    placed: list[tuple[str, str]] = []
    kept = {alloc.id for alloc in view.allocs.values()} - {stop.alloc_id for stop in result.plan.stops}
    view = FakeView(nodes, [job], [view.allocs[i] for i in kept], configuration=configuration)
    for group in job.task_groups:
        for placement in result.plan.placements:
            if placement.group != group.name:
                continue
            assert one_by_one or not placement.scored
            for position, (node_id, score) in enumerate(copies_of(placement)):
                own = placement.scored.get(position)
                assert own is None or (own.node_id, own.norm_score) == (node_id, pytest.approx(score, abs=1e-6))
                naive = reference.scores(job, group, view, placed)
                assert node_id in naive, f"{node_id} cannot take a copy of {group.name}"
                assert score == pytest.approx(naive[node_id], abs=1e-6)
                assert naive[node_id] >= max(naive.values()) - 1e-9
                placed.append((group.name, node_id))
        if result.queued[group.name]:
            assert reference.scores(job, group, view, placed) == {}
            assert group.name in result.failed


def test_the_best_node_of_the_first_copy_is_described_with_every_scorer(run: Run) -> None:
    nodes = [a_node(f"n{i}", cpu=1000 * (i + 1), memory=2048, meta={"rack": f"r{i % 3}"}) for i in range(6)]
    job = a_job(
        count=3, cpu=500, memory=128,
        affinities=(Affinity(l_target="${meta.rack}", operand="=", r_target="r1", weight=50),),
    )  # fmt: skip
    view = FakeView(nodes, [job])
    placement = run(view, job).plan.placements[0]
    metrics = placement.metrics
    assert metrics is not None
    top = metrics.score_meta_data
    naive = reference.scores(job, job.task_groups[0], view, [])
    assert [entry.norm_score for entry in top] == pytest.approx(sorted(naive.values(), reverse=True)[:5])
    assert set(top[0].scores) == {"binpack", "node-affinity"}
    assert next(copies_of(placement))[0] == top[0].node_id


def test_equal_seeds_give_equal_plans_and_others_break_ties_elsewhere(run: Run) -> None:
    nodes = [a_node(f"n{i:03}") for i in range(100)]
    job = a_job(count=1)
    view = FakeView(nodes, [job])
    chosen = [run(view, job, seed=seed).plan.placements[0].node_ids for seed in (1, 1, 2, 3, 4)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 2


@pytest.mark.parametrize("seed", range(30))
def test_a_copy_that_failed_avoids_its_earlier_nodes_as_the_reference_does(seed: int, run: Run) -> None:
    rng = random.Random(seed)
    nodes = a_cluster(rng)
    job = a_job(count=2, cpu=100, memory=64)
    failed = an_alloc(job, 0, node=rng.choice(nodes), client_status="failed", modify_time=1)
    alive = an_alloc(job, 1, node=rng.choice(nodes))
    view = FakeView(nodes, [job], [failed, alive])
    result = run(view, job)
    naive = reference.scores(job, job.task_groups[0], view, [], [failed.node_id])
    if not naive:
        assert result.queued["api"] == 1
        return
    (node_id, score) = next(copies_of(result.plan.placements[0]))
    assert score == pytest.approx(naive[node_id], abs=1e-6)
    assert naive[node_id] >= max(naive.values()) - 1e-9
