"""A plan is checked again on a newer snapshot: what holds is kept, the rest is dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from rove.server.scheduler import verify
from rove.structs.deployment import DeploymentStatus
from rove.structs.plan import Placement, SchedulerResult
from rove.structs.resources import AllocatedPort, AllocatedResources, AllocatedShared
from rove.testing.builders import a_job, a_node, a_restarting_version, a_version, an_alloc, an_update
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]


def nodes_of(placement: Placement) -> list[str]:
    return [placement.node_ids[i] for i in np.frombuffer(placement.nodes, "<i4").tolist()]


def a_plan(run: Run, count: int = 4, **fields: Any) -> tuple[FakeView, Any, Any]:
    job = a_job(count=count, cpu=1000, memory=100, **fields)
    view = FakeView([a_node("n0", cpu=2000), a_node("n1", cpu=2000)], [job])
    return view, job, run(view, job).plan


def test_a_plan_holds_on_its_own_snapshot_and_on_one_where_nothing_changed(run: Run) -> None:
    view, _, plan = a_plan(run)
    assert verify(plan, view) == (plan, True)
    assert verify(plan, view.changed()) == (plan, True)


def test_a_node_that_filled_up_loses_its_copies_and_only_it(run: Run) -> None:
    view, _, plan = a_plan(run)
    other = a_job("other", cpu=500)
    kept, everything = verify(plan, view.changed(allocs=[an_alloc(other, node="n0")]))
    assert not everything
    (placement,) = kept.placements
    assert nodes_of(placement) == ["n1", "n1"]
    (whole,) = plan.placements
    names = dict(zip(np.frombuffer(whole.indexes, "<i4").tolist(), nodes_of(whole), strict=True))
    assert np.frombuffer(placement.indexes, "<i4").tolist() == [i for i, n in names.items() if n == "n1"]
    assert len(np.frombuffer(placement.scores, "<f4")) == 2


def test_nodes_that_are_gone_or_not_ready_lose_their_copies(run: Run) -> None:
    view, _, plan = a_plan(run)
    down = view.changed(nodes=[a_node("n0", cpu=2000, status="down")])
    assert nodes_of(verify(plan, down)[0].placements[0]) == ["n1", "n1"]
    gone = view.changed(gone_nodes=["n0"])
    assert nodes_of(verify(plan, gone)[0].placements[0]) == ["n1", "n1"]
    nothing = view.changed(gone_nodes=["n0", "n1"])
    assert verify(plan, nothing) == (replace(plan, placements=()), False)


def test_all_at_once_is_all_or_nothing(run: Run) -> None:
    view, _, plan = a_plan(run, all_at_once=True)
    kept, everything = verify(plan, view.changed(gone_nodes=["n0"]))
    assert (kept.placements, everything) == ((), False)


def test_two_plans_for_the_same_room_cannot_both_be_kept(run: Run) -> None:
    job, rival = a_job("a", count=1, cpu=1500), a_job("b", count=1, cpu=1500)
    view = FakeView([a_node("n0", cpu=2000)], [job, rival])
    first, second = run(view, job).plan, run(view, rival).plan
    assert verify(first, view)[1]
    after = view.carry_out(first)
    kept, everything = verify(second, after)
    assert not everything
    assert not kept.placements


def test_a_port_taken_meanwhile_drops_the_copy(run: Run) -> None:
    job = a_job(count=1, static_ports={"http": 8080})
    view = FakeView([a_node()], [job])
    plan = run(view, job).plan
    assert verify(plan, view)[1]
    held = AllocatedResources(shared=AllocatedShared(ports=(AllocatedPort(label="x", value=8080),)))
    kept, everything = verify(plan, view.changed(allocs=[an_alloc(a_job("other"), allocated_resources=held)]))
    assert not everything
    assert not kept.placements


def test_room_that_the_plan_itself_frees_counts(run: Run) -> None:
    job = a_job(count=1, cpu=1500, update=an_update(max_parallel=0), static_ports={"http": 80})
    new = a_restarting_version(job)
    held = an_alloc(job, 0, node="n0")
    ports = AllocatedShared(ports=(AllocatedPort(label="http", value=80),), disk_mb=10)
    held = replace(held, allocated_resources=replace(held.allocated_resources, shared=ports))
    view = FakeView([a_node("n0", cpu=2000)], [job, new], [held])
    plan = run(view, new).plan
    assert len(plan.stops) == 1
    assert verify(plan, view) == (plan, True)


def test_copies_of_a_job_that_was_stopped_purged_or_made_anew_are_dropped_and_so_is_the_end_of_what_they_replace(
    run: Run,
) -> None:
    job = a_job(count=2, cpu=100, update=an_update(max_parallel=0))
    new = a_restarting_version(job)
    view = FakeView([a_node("n0")], [job, new], [an_alloc(job, i, node="n0") for i in range(2)])
    plan = run(view, new).plan
    for changed in (
        view.changed(jobs=[a_version(new, stop=True)]),
        view.changed(gone_jobs=["web"]),
        view.changed(gone_jobs=["web"]).changed(jobs=[replace(new, create_index=99)]),
    ):
        kept, everything = verify(plan, changed)
        assert not everything
        assert not kept.placements
        assert not kept.stops


def test_copies_of_a_roll_out_that_was_cancelled_or_failed_are_dropped(run: Run) -> None:
    job = a_job(count=2, update=an_update(max_parallel=1))
    new = a_restarting_version(job)
    view = FakeView([a_node("node-1")], [job, new], [an_alloc(job, i) for i in range(2)])
    first = run(view, new).plan
    view = view.carry_out(first)
    assert first.deployment is not None
    fresh = next(a for a in view.allocs.values() if a.job_version == 1)
    view = view.changed(gone_nodes=["node-1"], nodes=[a_node("node-2")])
    plan = run(view, new).plan
    assert {p.deployment_id for p in plan.placements} == {first.deployment.id}
    assert fresh.id in {stop.alloc_id for stop in plan.stops}
    failed = replace(view.deployments[first.deployment.id], status=DeploymentStatus.FAILED)
    kept, everything = verify(plan, view.changed(deployments=[failed]))
    assert not everything
    assert not kept.placements
    assert kept.stops == plan.stops


def test_in_place_updates_of_a_purged_job_are_dropped(run: Run) -> None:
    job = a_job(count=1)
    new = a_version(job, priority=80)
    view = FakeView([a_node("node-1")], [job, new], [an_alloc(job, 0)])
    plan = run(view, new).plan
    assert plan.in_place
    assert verify(plan, view)[1]
    assert verify(plan, view.changed(gone_jobs=["web"]))[0].in_place == ()


def test_a_name_that_somebody_has_got_meanwhile_is_not_given_again(run: Run) -> None:
    nodes = [a_node("n1"), a_node("n2")]
    job = a_job("web", count=3)
    view = FakeView(nodes, [job])
    plan = run(view, job).plan
    taken = view.changed(allocs=[an_alloc(job, 1, node="n2")])
    kept, whole = verify(plan, taken)
    assert not whole
    assert sorted(i for p in kept.placements for i in np.frombuffer(p.indexes, "<i4").tolist()) == [0, 2]
    ended = view.changed(allocs=[an_alloc(job, 1, node="n2", client_status="failed")])
    assert verify(plan, ended)[1], "an ended copy holds no name"
    silent = view.changed(allocs=[an_alloc(job, 1, node="n2", client_status="unknown")])
    assert verify(plan, silent)[1], "a stand-in has the name of the copy that it stands in for"


def test_a_system_job_gets_no_second_copy_on_a_node(run: Run) -> None:
    nodes = [a_node("n1"), a_node("n2")]
    job = a_job("all", type="system")
    view = FakeView(nodes, [job])
    plan = run(view, job).plan
    taken = view.changed(allocs=[an_alloc(job, 0, node="n2")])
    kept, whole = verify(plan, taken)
    assert not whole
    assert [p.node_ids for p in kept.placements] == [("n1",)]


def test_a_node_that_has_reached_its_number_of_allocations_takes_no_more(run: Run) -> None:
    nodes = [a_node("n1", node_max_allocs=2)]
    job, other = a_job("web", count=2), a_job("other")
    view = FakeView(nodes, [job, other])
    plan = run(view, job).plan
    assert verify(plan, view)[1]
    kept, whole = verify(plan, view.changed(allocs=[an_alloc(other, 0, node="n1")]))
    assert not whole and not kept.placements
