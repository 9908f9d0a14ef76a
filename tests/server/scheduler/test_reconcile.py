"""Reconciling service and batch jobs: place, stop, in place, destructive, migrate, lost, batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rove.structs.alloc import AllocStateChange, AllocStatus, Desired, DesiredTransition
from rove.structs.base import SECOND
from rove.structs.job import DisconnectStrategy, EphemeralDisk, Periodic
from rove.structs.node import NodeStatus
from rove.structs.plan import Plan, SchedulerResult
from rove.testing.builders import (
    a_constraint,
    a_group,
    a_job,
    a_node,
    a_restarting_version,
    a_version,
    an_alloc,
    an_evaluation,
    an_update,
)
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]
NODES = [a_node(f"n{i}") for i in range(4)]


def placed(plan: Plan) -> list[tuple[int, int]]:
    """(version, name index) of every new copy."""
    return sorted((p.job_version, index) for p in plan.placements for index in np.frombuffer(p.indexes, "<i4").tolist())


def stopped(plan: Plan) -> list[str]:
    return sorted(stop.alloc_id for stop in plan.stops)


def copies(job, count, **fields):  # type: ignore[no-untyped-def]
    return [an_alloc(job, i, node=f"n{i % 4}", id=f"c{i}", **fields) for i in range(count)]


def test_a_new_job_is_placed_up_to_its_count_with_names_from_zero(run: Run) -> None:
    job = a_job(count=3)
    result = run(FakeView(NODES, [job]), job)
    assert placed(result.plan) == [(0, 0), (0, 1), (0, 2)]
    assert result.queued == {"api": 0}
    assert result.plan.desired_updates["api"].place == 3


def test_missing_names_are_used_again_lowest_first(run: Run) -> None:
    job = a_job(count=5)
    allocs = [a for a in copies(job, 5) if a.index in (1, 4)]
    result = run(FakeView(NODES, [job], allocs), job)
    assert placed(result.plan) == [(0, 0), (0, 2), (0, 3)]


def test_scaling_down_stops_the_highest_indexes(run: Run) -> None:
    job = a_job(count=5)
    smaller = a_version(job, count=2)
    result = run(FakeView(NODES, [job, smaller], copies(job, 5)), smaller)
    assert stopped(result.plan) == ["c2", "c3", "c4"]
    assert len(result.plan.in_place) == 2
    assert result.plan.desired_updates["api"].stop == 3


@pytest.mark.parametrize("how", ["stopped", "purged", "group removed", "count 0"])
def test_a_job_that_ends_stops_everything(how: str, run: Run) -> None:
    job = a_job(count=2)
    jobs = {
        "stopped": [job, a_version(job, stop=True)],
        "purged": [],
        "group removed": [job, a_version(job, task_groups=(a_group("other", count=0),))],
        "count 0": [job, a_version(job, count=0)],
    }[how]
    result = run(FakeView(NODES, jobs, copies(job, 2)), "web")
    assert stopped(result.plan) == ["c0", "c1"]
    assert not result.plan.placements
    assert all(stop.desired is Desired.STOP and stop.description for stop in result.plan.stops)


def test_parents_of_periodic_and_parameterized_jobs_run_nothing_themselves(run: Run) -> None:
    job = a_job(periodic=Periodic(spec="@daily"))
    assert run(FakeView(NODES, [job]), job).plan.is_empty


def test_a_change_that_processes_do_not_see_is_taken_over_in_place(run: Run) -> None:
    job = a_job(count=3)
    new = a_version(job, priority=70)
    result = run(FakeView(NODES, [job, new], copies(job, 3)), new)
    assert sorted(update.alloc_id for update in result.plan.in_place) == ["c0", "c1", "c2"]
    assert {update.job_version for update in result.plan.in_place} == {1}
    assert not result.plan.placements
    assert not result.plan.stops
    assert result.plan.deployment is not None


def test_an_in_place_change_whose_constraints_fail_on_the_node_moves_the_copy(run: Run) -> None:
    job = a_job(count=2)
    new = a_version(job, constraints=(a_constraint("${meta.ok}", "=", "1"),))
    nodes = [*NODES, a_node("good", meta={"ok": "1"})]
    result = run(FakeView(nodes, [job, new], copies(job, 2)), new)
    assert placed(result.plan) == [(1, 0)]
    assert stopped(result.plan) == ["c0"]


def test_a_job_without_update_rules_is_replaced_at_once(run: Run) -> None:
    job = a_job(count=4, update=an_update(max_parallel=0))
    new = a_restarting_version(job)
    result = run(FakeView(NODES, [job, new], copies(job, 4)), new)
    assert placed(result.plan) == [(1, 0), (1, 1), (1, 2), (1, 3)]
    assert stopped(result.plan) == ["c0", "c1", "c2", "c3"]
    assert result.plan.deployment is None
    assert sorted(result.plan.placements[0].previous.values()) == ["c0", "c1", "c2", "c3"]


def test_an_old_copy_is_not_stopped_when_its_successor_finds_no_room(run: Run) -> None:
    job = a_job(count=1, cpu=100, update=an_update(max_parallel=0))
    new = a_version(job, tasks=(a_job(cpu=9000).task_groups[0].tasks[0],))
    result = run(FakeView([a_node("n0", cpu=1000)], [job, new], copies(job, 1)), new)
    assert not result.plan.stops
    assert result.queued == {"api": 1}
    assert result.failed["api"].dimension_exhausted == {"cpu": 1}
    assert result.failed["api"].nodes_exhausted == 1


def test_a_successor_may_use_the_room_that_its_predecessor_leaves(run: Run) -> None:
    job = a_job(count=1, cpu=600, update=an_update(max_parallel=0))
    new = a_restarting_version(job)
    result = run(FakeView([a_node("n0", cpu=1000)], [job, new], copies(job, 1)), new)
    assert placed(result.plan) == [(1, 0)]
    assert stopped(result.plan) == ["c0"]


def test_copies_on_nodes_that_are_down_or_gone_are_lost_and_replaced(run: Run) -> None:
    job = a_job(count=3)
    nodes = [a_node("n0", status=NodeStatus.DOWN), a_node("n1")]
    result = run(FakeView(nodes, [job], copies(job, 3)), job)
    assert stopped(result.plan) == ["c0", "c2"]
    assert {stop.client_status for stop in result.plan.stops} == {AllocStatus.LOST}
    assert placed(result.plan) == [(0, 0), (0, 2)]
    assert set(result.plan.placements[0].previous.values()) == {"c0", "c2"}
    assert result.plan.placements[0].node_ids == ("n1",)


def test_a_copy_asked_to_move_is_stopped_and_replaced_under_its_name(run: Run) -> None:
    job = a_job(count=2)
    moving, staying = copies(job, 2)
    moving = an_alloc(job, 0, node="n0", id="c0", desired_transition=DesiredTransition(migrate=True))
    result = run(FakeView(NODES, [job], [moving, staying]), job)
    assert stopped(result.plan) == ["c0"]
    assert placed(result.plan) == [(0, 0)]
    assert result.plan.desired_updates["api"].migrate == 1
    assert result.plan.desired_updates["api"].place == 0


def test_batch_copies_that_completed_stay_done_until_the_job_changes(run: Run) -> None:
    job = a_job(type="batch", count=3)
    done = copies(job, 2, client_status=AllocStatus.COMPLETE)
    view = FakeView(NODES, [job], done)
    assert placed(run(view, job).plan) == [(0, 2)]
    gone = FakeView([a_node("n9")], [job], done)
    assert placed(run(gone, job).plan) == [(0, 2)]
    new = a_restarting_version(job)
    assert placed(run(FakeView(NODES, [job, new], done), new).plan) == [(1, 0), (1, 1), (1, 2)]


def test_all_at_once_holds_nothing_back_for_lack_of_room(run: Run) -> None:
    job = a_job(count=5, cpu=500, all_at_once=True)
    small = FakeView([a_node("n0", cpu=1000)], [job])
    result = run(small, job)
    assert len(placed(result.plan)) == 2
    assert result.plan.all_at_once
    assert result.queued == {"api": 3}
    assert result.failed["api"].dimension_exhausted == {"cpu": 1}


def test_a_sticky_disk_prefers_the_node_it_was_on(run: Run) -> None:
    job = a_job(count=1, update=an_update(max_parallel=0), ephemeral_disk=EphemeralDisk(sticky=True, size_mb=10))
    new = a_restarting_version(job)
    for node in ("n0", "n1", "n2"):
        old = an_alloc(job, 0, node=node, id="c0")
        result = run(FakeView(NODES, [job, new], [old]), new)
        assert result.plan.placements[0].node_ids == (node,)


def test_jobs_of_one_name_in_two_namespaces_do_not_touch_each_other(run: Run) -> None:
    mine, theirs = a_job(count=2), a_job(count=2, namespace="other")
    allocs = [an_alloc(theirs, i, id=f"t{i}") for i in range(2)]
    result = run(FakeView(NODES, [mine, theirs], allocs), mine)
    assert placed(result.plan) == [(0, 0), (0, 1)]
    assert not result.plan.stops


def test_a_job_registered_again_after_a_purge_takes_equal_copies_over(run: Run) -> None:
    old = a_job(count=1)
    new = a_job(count=1, create_index=50)
    result = run(FakeView(NODES, [new], [an_alloc(old, 0, node="n0", id="c0")]), new)
    assert [update.alloc_id for update in result.plan.in_place] == ["c0"]


# Disconnected nodes


def a_silent_world(run: Run, reconcile: str = "best_score", replace: bool = True):  # type: ignore[no-untyped-def]
    rules = DisconnectStrategy(lost_after=60 * SECOND, replace=replace, reconcile=reconcile)
    job = a_job(count=1, disconnect=rules)
    view = FakeView([a_node("n0", status=NodeStatus.DISCONNECTED), a_node("n1")], [job], copies(job, 1))
    result = run(view, job, now=1000.0)
    return job, view, result


def test_a_silent_copy_becomes_unknown_gets_a_stand_in_and_a_deadline(run: Run) -> None:
    _, _, result = a_silent_world(run)
    (note,) = result.plan.annotations
    assert (note.alloc_id, note.client_status) == ("c0", AllocStatus.UNKNOWN)
    (later,) = result.evaluations
    assert later.id == note.followup_eval_id
    assert later.wait_until is not None
    assert later.wait_until.timestamp() == 1060.0
    assert placed(result.plan) == [(0, 0)]
    assert not result.plan.stops


def test_without_replace_a_silent_copy_keeps_its_slot(run: Run) -> None:
    _, _, result = a_silent_world(run, replace=False)
    assert not result.plan.placements
    assert len(result.plan.annotations) == 1


def test_a_copy_that_stays_silent_is_lost_when_its_time_is_over(run: Run) -> None:
    job, view, result = a_silent_world(run, replace=False)
    after = view.carry_out(result.plan, now=1000.0)
    assert run(after, job, now=1030.0).plan.is_empty
    late = run(after, job, now=1061.0)
    assert stopped(late.plan) == ["c0"]
    assert placed(late.plan) == [(0, 0)]


def test_a_follow_up_that_comes_a_moment_too_early_makes_another(run: Run) -> None:
    job, view, result = a_silent_world(run, replace=False)
    after = view.carry_out(result.plan, now=1000.0)
    (follow_up,) = result.evaluations
    early = run(after, job, now=1059.99, id=follow_up.id)
    assert [later.wait_until.timestamp() for later in early.evaluations if later.wait_until] == [1060.0]


@pytest.mark.parametrize(
    ("strategy", "stays"),
    [("keep_original", "original"), ("keep_replacement", "replacement"), ("best_score", "original")],
)
@pytest.mark.parametrize("noted_by_the_store", [True, False])
def test_when_a_node_returns_one_of_the_two_stays(
    strategy: str, stays: str, noted_by_the_store: bool, run: Run
) -> None:
    job, view, result = a_silent_world(run, strategy)
    after = view.carry_out(result.plan, now=1000.0)
    (stand_in,) = [a for a in after.allocs.values() if a.id != "c0"]
    from msgspec.structs import replace

    noted = AllocStateChange(field=0, value="running")
    before = after.allocs["c0"]
    states = (*before.alloc_states, noted) if noted_by_the_store else before.alloc_states
    back = replace(before, client_status=AllocStatus.RUNNING, alloc_states=states)
    stand_in = replace(stand_in, client_status=AllocStatus.RUNNING, metrics=None)
    after = after.changed(nodes=[a_node("n0")], allocs=[back, stand_in])
    again = run(after, job, now=1030.0)
    assert stopped(again.plan) == [stand_in.id if stays == "original" else "c0"]
    final = after.carry_out(again.plan, now=1030.0)
    assert run(final, job, now=1031.0).plan.is_empty


def test_a_newer_stand_in_wins_whatever_the_strategy(run: Run) -> None:
    rules = DisconnectStrategy(lost_after=60 * SECOND, reconcile="keep_original")
    job = a_job(count=1, disconnect=rules)
    new = a_restarting_version(job)
    silence = AllocStateChange(field=0, value="unknown")
    back = an_alloc(job, 0, node="n0", id="old", alloc_states=(silence,))
    stand_in = an_alloc(new, 0, node="n1", id="new")
    result = run(FakeView(NODES, [job, new], [back, stand_in]), new)
    assert stopped(result.plan) == ["old"]
    assert not result.plan.placements


def test_stop_on_client_after_delays_the_replacement(run: Run) -> None:
    job = a_job(count=1, disconnect=DisconnectStrategy(stop_on_client_after=60 * SECOND))
    down = a_node("n0", status=NodeStatus.DOWN, status_updated_at=1000)
    view = FakeView([down, a_node("n1")], [job], copies(job, 1))
    result = run(view, job, now=1010.0)
    assert not result.plan.placements
    (later,) = result.evaluations
    assert later.wait_until is not None
    assert later.wait_until.timestamp() == 1060.0
    after = view.carry_out(result.plan, now=1010.0)
    late = run(after, job, now=1060.0, evaluation=an_evaluation(job, id=later.id))
    assert placed(late.plan) == [(0, 0)]
    assert stopped(late.plan) == ["c0"]


def test_a_stopped_copy_on_a_dead_node_is_lost_once(run: Run) -> None:
    job = a_job(count=0)
    ending = an_alloc(job, 0, node="n0", id="e", desired_status=Desired.STOP, desired_description="moved")
    view = FakeView([a_node("n0", status=NodeStatus.DOWN)], [job], [ending])
    result = run(view, job)
    (stop,) = result.plan.stops
    assert (stop.alloc_id, stop.client_status, stop.description) == ("e", AllocStatus.LOST, "moved")
    assert run(view.carry_out(result.plan), job).plan.is_empty


def test_two_thousand_failures_at_once_are_all_replaced(run: Run) -> None:
    job = a_job(count=2000, cpu=1, memory=1, disk=1)
    failed = [an_alloc(job, i, node="n0", id=f"c{i}", client_status="failed", modify_time=1) for i in range(2000)]
    result = run(FakeView([a_node("n0"), a_node("n1", cpu=5000)], [job], failed), job)
    assert sum(len(p) for p in result.plan.placements) == 2000
    assert len(result.plan.stops) == 2000


def test_distinct_hosts_gives_each_node_one_copy_and_says_so(run: Run) -> None:
    for scope in ("job", "group"):
        rule = (a_constraint("", "distinct_hosts", "true"),)
        groups = tuple(a_group(n, count=2, constraints=rule if scope == "group" else ()) for n in ("a", "b"))
        job = a_job(groups=groups, constraints=rule if scope == "job" else ())
        result = run(FakeView(NODES[:3], [job]), job)
        used = [node for p in result.plan.placements for node in p.node_ids]
        if scope == "job":
            assert len(used) == len(set(used)) == 3
            assert result.failed["b"].constraint_filtered == {"distinct_hosts": 3}
        else:
            assert result.queued == {"a": 0, "b": 0}


def test_distinct_property_limits_copies_a_value_and_says_so(run: Run) -> None:
    nodes = [a_node(f"n{i}", meta={"rack": f"r{i % 2}"}) for i in range(6)]
    job = a_job(count=6, constraints=(a_constraint("${meta.rack}", "distinct_property", "2"),))
    result = run(FakeView(nodes, [job]), job)
    assert len(result.plan.placements[0]) == 4
    assert result.failed["api"].constraint_filtered == {"distinct_property": 6}
