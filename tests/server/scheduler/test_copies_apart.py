"""Copies that have to be apart stay apart through every kind of update; what nobody names is one value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from rove.server.scheduler.feasible import datacenter_matches
from rove.structs.alloc import AllocStateChange
from rove.structs.base import SECOND, from_unix
from rove.structs.deployment import DeploymentStatus
from rove.structs.job import Affinity, DisconnectStrategy
from rove.structs.node import computed_class
from rove.structs.plan import SchedulerResult
from rove.testing.builders import (
    a_constraint,
    a_job,
    a_node,
    a_restarting_version,
    a_spread,
    a_version,
    an_alloc,
    an_update,
)
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]

APART = a_constraint("", "distinct_hosts", "true")
ONE_A_RACK = a_constraint("${meta.rack}", "distinct_property")


def nodes_of(result: SchedulerResult) -> list[str]:
    """The node of each new copy."""
    return [
        placement.node_ids[number]
        for placement in result.plan.placements
        for number in np.frombuffer(placement.nodes, "<i4").tolist()
    ]


def test_values_that_no_target_names_share_what_the_targets_leave(run: Run) -> None:
    nodes = [a_node(f"n{dc}{i}", datacenter=f"dc{dc}") for dc in range(1, 5) for i in range(12)]
    for targets in ({"dc1": 50}, {"dc1": 50, "*": 50}):
        job = a_job(
            count=20, cpu=10, memory=10, datacenters=("*",), spreads=(a_spread("${node.datacenter}", **targets),)
        )
        view = FakeView(nodes, [job])
        after = view.carry_out(run(view, job).plan)
        placed = Counter(after.nodes[alloc.node_id].datacenter for alloc in after.allocs.values())
        assert placed["dc1"] == 10


def test_a_copy_that_leaves_a_node_where_none_may_go_now_frees_its_value(run: Run) -> None:
    kinds = (("a", "r0"), ("a", "r1"), ("b", "r0"), ("b", "r1"))
    nodes = [a_node(f"{kind}-{rack}", node_class=kind, meta={"rack": rack}) for kind, rack in kinds]
    job = a_job(
        count=2, constraints=(ONE_A_RACK, a_constraint("${node.class}", "=", "a")), update=an_update(max_parallel=0)
    )
    old = [an_alloc(job, i, node=f"a-r{i}", id=f"c{i}") for i in range(2)]
    new = a_restarting_version(job, constraints=(ONE_A_RACK, a_constraint("${node.class}", "=", "b")))
    result = run(FakeView(nodes, [job, new], old), new)
    assert sorted(nodes_of(result)) == ["b-r0", "b-r1"]
    assert not result.failed


def test_an_in_place_update_does_not_leave_copies_together_that_are_to_be_apart(run: Run) -> None:
    nodes = [a_node("n1", meta={"rack": "r1"}), a_node("n2", meta={"rack": "r2"})]
    job = a_job(count=2, update=an_update(max_parallel=0))
    old = [an_alloc(job, i, node="n1", id=f"c{i}") for i in range(2)]
    for constraint in (APART, ONE_A_RACK):
        new = a_version(job, constraints=(constraint,))
        result = run(FakeView(nodes, [job, new], old), new)
        assert len(result.plan.in_place) == 1
        assert nodes_of(result) == ["n2"]


def test_a_host_is_free_again_only_when_its_last_copy_leaves(run: Run) -> None:
    nodes = [a_node("n1", meta={"best": "yes"}), a_node("n2")]
    job = a_job(count=2, update=an_update(max_parallel=2))
    old = [an_alloc(job, i, node="n1", id=f"c{i}") for i in range(2)]
    wish = Affinity(l_target="${meta.best}", operand="=", r_target="yes", weight=100)
    new = a_restarting_version(job, constraints=(APART,), affinities=(wish,))
    result = run(FakeView(nodes, [job, new], old), new)
    assert len(set(nodes_of(result))) == len(nodes_of(result)) > 0


def test_a_star_stands_for_any_text_in_a_datacenter_and_nothing_else_does() -> None:
    assert datacenter_matches(("eu-*",), "eu-west")
    assert datacenter_matches(("*a*b*",), "xaxbx")
    assert datacenter_matches(("*",), "dc1")
    assert not datacenter_matches(("dc?",), "dc1")
    assert not datacenter_matches(("dc[1]",), "dc1")
    assert not datacenter_matches(("a*a",), "a")
    assert not datacenter_matches(("*b*a",), "ab")


def test_doubles_go_before_others_are_counted_as_too_many(run: Run) -> None:
    nodes = [a_node(f"n{i}") for i in range(12)]
    job = a_job(count=6)
    good = [an_alloc(job, i, node=f"n{i}", id=f"good{i}") for i in range(6)]
    bad = [an_alloc(job, i, node=f"n{6 + i}", id=f"bad{i}", client_status="failed", create_index=10) for i in range(6)]
    result = run(FakeView(nodes, [job], [*good, *bad]), job)
    assert {stop.alloc_id for stop in result.plan.stops} <= {alloc.id for alloc in bad}
    assert not result.plan.placements


def test_distinct_property_leaves_a_system_job_complete_with_one_copy_a_value(run: Run) -> None:
    nodes = [a_node(f"n{i}", meta={"rack": f"r{i % 2}"}) for i in range(4)]
    job = a_job(type="system", constraints=(ONE_A_RACK,), update=an_update(max_parallel=4))
    view = FakeView(nodes, [job])
    result = run(view, job)
    assert len(nodes_of(result)) == 2
    assert result.queued == {"api": 0}
    assert result.plan.deployment is not None
    assert result.plan.deployment.task_groups["api"].desired_total == 2
    assert run(view.carry_out(result.plan), job).plan.is_empty


def test_the_reason_is_told_if_no_node_suits_a_system_job(run: Run) -> None:
    job = a_job(type="system", constraints=(a_constraint("${meta.gpu}", "=", "yes"),))
    result = run(FakeView([a_node("n1")], [job]), job)
    assert result.failed["api"].constraint_filtered == {"${meta.gpu} = yes": 1}
    assert result.queued == {"api": 0}
    there = an_alloc(job, 0, node="n2", id="c0")
    other = a_node("n2", meta={"gpu": "yes"})
    assert not run(FakeView([a_node("n1"), other], [job], [there]), job).failed


def test_a_system_copy_outlives_a_weak_moment_of_its_driver(run: Run) -> None:
    job = a_job(type="system")
    weak = a_node("n1")
    weak = replace(weak, drivers={name: replace(info, healthy=False) for name, info in weak.drivers.items()})
    weak = replace(weak, computed_class=computed_class(weak))
    alloc = an_alloc(job, 0, node=weak, id="c0")
    assert run(FakeView([weak], [job], [alloc]), job).plan.is_empty


def test_a_returning_system_copy_is_no_rival_of_those_on_other_nodes(run: Run) -> None:
    job = a_job(type="system", disconnect=DisconnectStrategy(lost_after=60 * SECOND))
    silent = AllocStateChange(field=0, value="unknown", time=from_unix(1_699_999_990))
    nodes = [a_node(f"n{i}") for i in range(3)]
    allocs = [an_alloc(job, 0, node=f"n{i}", id=f"c{i}") for i in range(3)]
    allocs[0] = replace(allocs[0], alloc_states=(silent,))
    assert not run(FakeView(nodes, [job], allocs), job).plan.stops


def test_a_node_gets_its_system_copy_although_the_roll_out_failed_elsewhere(run: Run) -> None:
    job = a_job(type="system", update=an_update(max_parallel=1))
    nodes = [a_node("n1"), a_node("n2")]
    view = FakeView(nodes, [job])
    first = run(view, job).plan
    assert first.deployment is not None
    failed = replace(first.deployment, status=DeploymentStatus.FAILED)
    bad = an_alloc(job, 0, node="n1", id="c1", client_status="failed", deployment_id=failed.id)
    result = run(FakeView(nodes, [job], [bad], [failed]), job)
    assert nodes_of(result) == ["n2"]
    assert not result.plan.stops


def test_evaluations_that_follow_an_in_place_update_add_nothing_to_what_is_full(run: Run) -> None:
    nodes = [a_node(f"n{i}", meta={"rack": f"r{i % 2}"}) for i in range(4)]
    job = a_job(count=6, update=an_update(max_parallel=0))
    old = [an_alloc(job, i, node=f"n{i % 4}", id=f"c{i}") for i in range(6)]
    for constraint in (APART, ONE_A_RACK):
        new = a_version(job, constraints=(constraint,))
        view = FakeView(nodes, [job, new], old)
        for _ in range(4):
            view = view.carry_out(run(view, new).plan)
        kept = [alloc for alloc in view.allocs.values() if not alloc.is_terminal and alloc.job_version == new.version]
        where = [alloc.node_id if constraint is APART else view.nodes[alloc.node_id].meta["rack"] for alloc in kept]
        assert len(where) == len(set(where)) > 0


def test_a_system_job_keeps_only_as_many_copies_in_place_as_may_be_together(run: Run) -> None:
    nodes = [a_node(f"n{i}", meta={"rack": f"r{i % 2}"}) for i in range(4)]
    job = a_job(type="system", update=an_update(max_parallel=4))
    old = [an_alloc(job, 0, node=f"n{i}", id=f"c{i}") for i in range(4)]
    new = a_version(job, constraints=(ONE_A_RACK,))
    result = run(FakeView(nodes, [job, new], old), new)
    assert len(result.plan.in_place) == 2
    assert len(result.plan.stops) == 2
