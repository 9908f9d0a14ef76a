"""System and sysbatch jobs: one copy a node, with roll-outs for system jobs."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from rove.structs.alloc import AllocDeploymentStatus, AllocStatus, DesiredTransition
from rove.structs.deployment import DeploymentStatus
from rove.structs.node import Eligibility, NodeStatus
from rove.structs.plan import SchedulerResult
from rove.testing.builders import (
    a_constraint,
    a_job,
    a_node,
    a_restarting_version,
    an_alloc,
    an_update,
)
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]


def test_every_suitable_node_gets_one_copy(run: Run) -> None:
    nodes = [a_node(f"n{i}", meta={"ok": str(i % 2)}) for i in range(6)]
    job = a_job(type="system", constraints=(a_constraint("${meta.ok}", "=", "1"),))
    view = FakeView(nodes, [job])
    result = run(view, job)
    assert sorted(result.plan.placements[0].node_ids) == ["n1", "n3", "n5"]
    assert result.queued == {"api": 0}
    after = view.carry_out(result.plan)
    assert {a.name for a in after.allocs.values()} == {"web.api[0]"}
    assert run(after, job).plan.is_empty
    more = after.changed(nodes=[a_node("n7", meta={"ok": "1"})])
    assert run(more, job).plan.placements[0].node_ids == ("n7",)


def test_a_full_node_is_reported_and_the_others_are_served(run: Run) -> None:
    nodes = [a_node("n0", cpu=50), a_node("n1")]
    job = a_job(type="system", cpu=100)
    result = run(FakeView(nodes, [job]), job)
    assert result.plan.placements[0].node_ids == ("n1",)
    assert result.queued == {"api": 1}
    assert result.failed["api"].dimension_exhausted["cpu"] == 1


def test_a_node_that_takes_nothing_new_keeps_its_copy_until_the_job_changes(run: Run) -> None:
    job = a_job(type="system")
    node = a_node("n0", scheduling_eligibility=Eligibility.INELIGIBLE)
    alloc = an_alloc(job, 0, node=node, id="c0")
    assert run(FakeView([node], [job], [alloc]), job).plan.is_empty
    new = a_restarting_version(job)
    result = run(FakeView([node], [job, new], [alloc]), new)
    assert [stop.alloc_id for stop in result.plan.stops] == ["c0"]
    assert not result.plan.placements


def test_a_copy_on_a_dead_node_is_lost_and_not_placed_elsewhere(run: Run) -> None:
    job = a_job(type="system")
    nodes = [a_node("n0", status=NodeStatus.DOWN), a_node("n1")]
    allocs = [an_alloc(job, 0, node=n, id=f"c-{n.id}") for n in nodes]
    result = run(FakeView(nodes, [job], allocs), job)
    assert [(s.alloc_id, s.client_status) for s in result.plan.stops] == [("c-n0", AllocStatus.LOST)]
    assert not result.plan.placements


def test_a_drained_copy_stops(run: Run) -> None:
    job = a_job(type="system")
    node = a_node("n0", scheduling_eligibility=Eligibility.INELIGIBLE)
    alloc = an_alloc(job, 0, node=node, id="c0", desired_transition=DesiredTransition(migrate=True))
    result = run(FakeView([node], [job], [alloc]), job)
    assert [stop.alloc_id for stop in result.plan.stops] == ["c0"]
    assert not result.plan.placements


def test_a_sysbatch_copy_that_ran_is_not_run_again_until_the_job_changes(run: Run) -> None:
    job = a_job(type="sysbatch")
    nodes = [a_node("n0"), a_node("n1"), a_node("n2")]
    done = an_alloc(job, 0, node="n0", id="d", client_status=AllocStatus.COMPLETE)
    failed = an_alloc(job, 0, node="n1", id="f", client_status=AllocStatus.FAILED)
    view = FakeView(nodes, [job], [done, failed])
    assert run(view, job).plan.placements[0].node_ids == ("n2",)
    new = a_restarting_version(job)
    again = run(view.changed(jobs=[new]), new)
    assert sorted(again.plan.placements[0].node_ids) == ["n0", "n1", "n2"]
    assert again.plan.deployment is None


def test_a_failed_system_copy_is_started_again_where_it_was(run: Run) -> None:
    job = a_job(type="system")
    failed = an_alloc(job, 0, node="n0", id="f", client_status=AllocStatus.FAILED)
    result = run(FakeView([a_node("n0")], [job], [failed]), job)
    assert result.plan.placements[0].node_ids == ("n0",)
    assert result.plan.placements[0].previous == {0: "f"}


def test_a_system_roll_out_goes_max_parallel_nodes_at_a_time(run: Run) -> None:
    nodes = [a_node(f"n{i}") for i in range(5)]
    job = a_job(type="system", update=an_update(max_parallel=2))
    view = FakeView(nodes, [job], [an_alloc(job, 0, node=n, id=f"c-{n.id}") for n in nodes])
    new = a_restarting_version(job)
    view = view.changed(jobs=[new])
    result = run(view, new)
    assert len(result.plan.placements[0]) == len(result.plan.stops) == 2
    deployment = result.plan.deployment
    assert deployment is not None
    assert deployment.task_groups["api"].desired_total == 5
    view = view.carry_out(result.plan)
    assert run(view, new).plan.is_empty
    for _ in range(3):
        fresh = [a for a in view.allocs.values() if a.job_version == 1 and not a.is_healthy]
        healthy = [
            replace(a, client_status=AllocStatus.RUNNING, deployment_status=AllocDeploymentStatus(healthy=True))
            for a in fresh
        ]
        current = view.deployments[deployment.id]
        group = current.task_groups["api"]
        groups = {"api": replace(group, healthy_allocs=group.healthy_allocs + len(fresh))}
        view = view.changed(allocs=healthy, deployments=[replace(current, task_groups=groups)])
        view = view.carry_out(run(view, new).plan)
    assert view.deployments[deployment.id].status is DeploymentStatus.SUCCESSFUL
    assert {a.job_version for a in view.allocs.values() if not a.is_terminal} == {1}


def test_system_canaries_are_a_share_of_the_nodes(run: Run) -> None:
    nodes = [a_node(f"n{i}") for i in range(10)]
    job = a_job(type="system", update=an_update(max_parallel=5, canary=25))
    new = a_restarting_version(job)
    view = FakeView(nodes, [job, new], [an_alloc(job, 0, node=n, id=f"c-{n.id}") for n in nodes])
    result = run(view, new)
    (placement,) = result.plan.placements
    assert placement.canary
    assert len(placement) == 3
    assert result.plan.deployment is not None
    assert result.plan.deployment.task_groups["api"].desired_canaries == 3
    assert run(view.carry_out(result.plan), new).plan.is_empty
