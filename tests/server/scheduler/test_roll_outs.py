"""Deployments as the scheduler makes, paces, holds and ends them; canaries before anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace

from rove.server.scheduler.decision import UPDATING
from rove.server.scheduler.rollout import Progress, finished
from rove.structs.alloc import Allocation, AllocDeploymentStatus, AllocStatus, DesiredTransition
from rove.structs.base import ZERO_TIME
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus
from rove.structs.job import Job
from rove.structs.node import NodeStatus
from rove.structs.plan import Plan, SchedulerResult
from rove.testing.builders import (
    a_group,
    a_job,
    a_node,
    a_restarting_version,
    a_version,
    an_update,
)
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]
NOW = 1_700_000_000.0


def placed(plan: Plan) -> list[tuple[int, int, bool]]:
    """(version, name index, canary) of every new copy."""
    return sorted(
        (p.job_version, index, p.canary) for p in plan.placements for index in np.frombuffer(p.indexes, "<i4").tolist()
    )


@dataclass
class Story:
    """A cluster in which plans are carried out and copies are made healthy or not."""

    run: Run
    view: FakeView
    last: SchedulerResult = field(init=False)

    def evaluate(self, job: Job) -> Plan:
        self.last = self.run(self.view, job)
        self.view = self.view.carry_out(self.last.plan, NOW)
        return self.last.plan

    @property
    def deployment(self) -> Deployment:
        found = self.view.latest_deployment("default", "web")
        assert found is not None
        return found

    def live(self, version: int | None = None) -> list[Allocation]:
        return [
            a
            for a in self.view.allocs.values()
            if not a.is_server_terminal
            and a.client_status in (AllocStatus.PENDING, AllocStatus.RUNNING)
            and version in (None, a.job_version)
        ]

    def put(self, **changes: Any) -> None:
        self.view = self.view.changed(**changes)

    def heal(self, allocs: Iterable[Allocation] | None = None, healthy: bool = True) -> None:
        """The copies run and are healthy (or not); the deployment counts them."""
        chosen = list(self.live() if allocs is None else allocs)
        counts: dict[str, int] = {}
        changed = []
        for alloc in chosen:
            if alloc.deployment_id == self.deployment.id and not alloc.is_healthy:
                counts[alloc.task_group] = counts.get(alloc.task_group, 0) + 1
            status = AllocDeploymentStatus(healthy=healthy, canary=alloc.is_canary)
            changed.append(replace(alloc, client_status=AllocStatus.RUNNING, deployment_status=status))
        groups = {
            name: replace(g, healthy_allocs=g.healthy_allocs + (counts.get(name, 0) if healthy else 0))
            for name, g in self.deployment.task_groups.items()
        }
        self.put(allocs=changed, deployments=[replace(self.deployment, task_groups=groups)])

    def promote(self, *names: str) -> None:
        deployment = self.deployment
        chosen = names or tuple(deployment.task_groups)
        groups = {n: replace(g, promoted=True) if n in chosen else g for n, g in deployment.task_groups.items()}
        allocs = [
            replace(a, deployment_status=replace(a.deployment_status, canary=False))
            for a in self.view.allocs.values()
            if a.deployment_id == deployment.id and a.deployment_status is not None and a.task_group in chosen
        ]
        self.put(deployments=[replace(deployment, task_groups=groups)], allocs=allocs)

    def set_status(self, status: DeploymentStatus) -> None:
        self.put(deployments=[replace(self.deployment, status=status)])


def a_story(run: Run, nodes: int = 6, **job_fields: Any) -> tuple[Story, Job]:
    """Version 0 of a job, rolled out and healthy."""
    job = a_job(**job_fields)
    story = Story(run, FakeView([a_node(f"n{i}") for i in range(nodes)], [job]))
    story.evaluate(job)
    story.heal()
    story.evaluate(job)
    return story, job


def test_a_first_deployment_places_everything_and_ends_when_all_are_healthy(run: Run) -> None:
    job = a_job(count=3, update=an_update(canary=2))
    story = Story(run, FakeView([a_node()], [job]))
    plan = story.evaluate(job)
    assert placed(plan) == [(0, 0, False), (0, 1, False), (0, 2, False)]
    group = story.deployment.task_groups["api"]
    assert (group.desired_total, group.desired_canaries) == (3, 0)
    assert {p.deployment_id for p in plan.placements} == {story.deployment.id}
    assert group.require_progress_by == ZERO_TIME, "the time runs from the first copy that is stored"
    story.heal(story.live()[:2])
    assert story.evaluate(job).is_empty
    story.heal()
    story.evaluate(job)
    assert story.deployment.status is DeploymentStatus.SUCCESSFUL


def test_rolling_replaces_max_parallel_at_a_time_and_waits_for_health(run: Run) -> None:
    story, job = a_story(run, count=5, update=an_update(max_parallel=2))
    new = a_restarting_version(job)
    story.put(jobs=[new])
    assert placed(story.evaluate(new)) == [(1, 0, False), (1, 1, False)]
    assert story.evaluate(new).is_empty
    one, _ = story.live(1)
    story.heal([one])
    assert placed(story.evaluate(new)) == [(1, 2, False)]
    story.heal()
    assert placed(story.evaluate(new)) == [(1, 3, False), (1, 4, False)]
    assert story.deployment.status is DeploymentStatus.RUNNING
    story.heal()
    story.evaluate(new)
    assert story.deployment.status is DeploymentStatus.SUCCESSFUL
    assert len(story.live(1)) == 5
    assert not story.live(0)


def test_an_unhealthy_copy_stops_the_rolling(run: Run) -> None:
    story, job = a_story(run, count=4, update=an_update(max_parallel=2))
    new = a_restarting_version(job)
    story.put(jobs=[new])
    story.evaluate(new)
    first, second = story.live(1)
    story.heal([first], healthy=False)
    story.heal([second])
    assert story.evaluate(new).is_empty


def test_registering_an_identical_job_makes_no_deployment(run: Run) -> None:
    story, job = a_story(run, count=2)
    before = story.deployment.id
    assert story.evaluate(job).is_empty
    assert story.deployment.id == before


def test_a_failed_copy_of_a_finished_version_is_replaced_without_a_deployment(run: Run) -> None:
    story, job = a_story(run, count=2)
    failed = replace(story.live()[0], client_status=AllocStatus.FAILED, modify_time=1)
    story.put(allocs=[failed])
    plan = story.evaluate(job)
    assert len(plan.placements[0]) == 1
    assert plan.deployment is None


def test_canaries_come_first_and_nothing_else_moves_until_promotion(run: Run) -> None:
    story, job = a_story(run, count=4, update=an_update(max_parallel=2, canary=2))
    new = a_restarting_version(job)
    story.put(jobs=[new])
    plan = story.evaluate(new)
    assert placed(plan) == [(1, 0, True), (1, 1, True)]
    assert not plan.stops
    group = story.deployment.task_groups["api"]
    assert (group.desired_canaries, group.desired_total, group.promoted) == (2, 4, False)
    assert len(group.placed_canaries) == 2
    assert "promoted" in story.deployment.status_description
    story.heal()
    assert story.evaluate(new).is_empty
    story.promote()
    plan = story.evaluate(new)
    assert sorted(stop.alloc_id for stop in plan.stops) == sorted(
        a.id for a in story.view.allocs.values() if a.job_version == 0
    )
    assert placed(plan) == [(1, 2, False), (1, 3, False)]
    story.heal()
    story.evaluate(new)
    assert story.deployment.status is DeploymentStatus.SUCCESSFUL
    assert sorted(a.index for a in story.live()) == [0, 1, 2, 3]


def test_blue_green_stands_beside_and_promotion_removes_the_old(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(max_parallel=3, canary=3))
    new = a_restarting_version(job)
    story.put(jobs=[new])
    story.evaluate(new)
    assert len(story.live()) == 6
    story.heal()
    story.promote()
    plan = story.evaluate(new)
    assert [stop.description for stop in plan.stops] == [UPDATING] * 3
    assert not plan.placements
    assert {a.job_version for a in story.live()} == {1}
    story.evaluate(new)
    assert story.deployment.status is DeploymentStatus.SUCCESSFUL


def test_a_canary_waits_for_room_and_then_arrives(run: Run) -> None:
    story, job = a_story(run, nodes=1, count=2, update=an_update(canary=1))
    new = a_restarting_version(job)
    full = replace(story.view.nodes["n0"], scheduling_eligibility="ineligible")
    story.put(jobs=[new], nodes=[full])
    story.evaluate(new)
    assert story.last.queued == {"api": 1}
    assert story.deployment.requires_promotion
    story.put(nodes=[a_node("n9")])
    plan = story.evaluate(new)
    assert placed(plan) == [(1, 0, True)]
    assert plan.placements[0].deployment_id == story.deployment.id


def test_a_canary_whose_node_dies_is_replaced_by_a_canary(run: Run) -> None:
    story, job = a_story(run, count=2, update=an_update(canary=1))
    new = a_restarting_version(job)
    story.put(jobs=[new])
    story.evaluate(new)
    (canary,) = story.live(1)
    story.put(nodes=[replace(story.view.nodes[canary.node_id], status=NodeStatus.DOWN)])
    plan = story.evaluate(new)
    assert (1, 0, True) in placed(plan)
    assert sum(canary for _, _, canary in placed(plan)) == 1


def test_a_stable_copy_lost_while_canaries_are_out_comes_back_in_the_old_version(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(canary=1))
    new = a_restarting_version(job)
    story.put(jobs=[new])
    story.evaluate(new)
    canary_node = story.live(1)[0].node_id
    victim = next(a for a in story.live(0) if a.node_id != canary_node)
    gone = [a for a in story.live(0) if a.node_id == victim.node_id]
    story.put(nodes=[replace(story.view.nodes[victim.node_id], status=NodeStatus.DOWN)])
    plan = story.evaluate(new)
    assert placed(plan) == sorted((0, a.index, False) for a in gone)
    assert {p.deployment_id for p in plan.placements} == {""}


def test_a_stable_copy_that_moves_while_canaries_are_out_keeps_the_old_version(run: Run) -> None:
    story, job = a_story(run, count=2, update=an_update(canary=1))
    new = a_restarting_version(job)
    story.put(jobs=[new])
    story.evaluate(new)
    moving = replace(story.live(0)[0], desired_transition=DesiredTransition(migrate=True))
    story.put(allocs=[moving])
    assert placed(story.evaluate(new)) == [(0, moving.index, False)]


def test_a_newer_version_cancels_the_roll_out_and_its_canaries(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(canary=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    (canary,) = story.live(1)
    first_id = story.deployment.id
    third = a_restarting_version(second)
    story.put(jobs=[third])
    plan = story.evaluate(third)
    assert [(u.deployment_id, u.status) for u in plan.deployment_updates] == [(first_id, DeploymentStatus.CANCELLED)]
    assert [stop.alloc_id for stop in plan.stops] == [canary.id]
    assert placed(plan) == [(2, 0, True)]
    assert story.deployment.id != first_id


def test_a_newer_version_in_the_middle_of_rolling_takes_over(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(max_parallel=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    third = a_restarting_version(second)
    story.put(jobs=[third])
    plan = story.evaluate(third)
    assert placed(plan) == [(2, 0, False)]
    for _ in range(4):
        story.heal()
        story.evaluate(third)
    assert {a.job_version for a in story.live()} == {2}
    assert story.deployment.status is DeploymentStatus.SUCCESSFUL


def test_a_count_changed_in_the_middle_is_met(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(max_parallel=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    story.heal()
    third = a_version(second, count=5)
    story.put(jobs=[third])
    for _ in range(6):
        story.evaluate(third)
        story.heal()
    assert sorted((a.job_version, a.index) for a in story.live()) == [(2, i) for i in range(5)]
    story.evaluate(third)
    assert story.deployment.status is DeploymentStatus.SUCCESSFUL


def test_a_job_stopped_in_the_middle_cancels_its_deployment(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(canary=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    stopped = a_version(second, stop=True)
    story.put(jobs=[stopped])
    plan = story.evaluate(stopped)
    assert len(plan.stops) == 4
    assert story.deployment.status is DeploymentStatus.CANCELLED
    assert not story.live()


def test_a_paused_roll_out_moves_nothing_and_goes_on_when_resumed(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(max_parallel=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    story.heal()
    story.set_status(DeploymentStatus.PAUSED)
    assert story.evaluate(second).is_empty
    story.set_status(DeploymentStatus.RUNNING)
    assert placed(story.evaluate(second)) == [(1, 1, False)]


def test_a_failed_canary_roll_out_leaves_the_old_version_alone_and_removes_the_canary(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(canary=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    (canary,) = story.live(1)
    story.set_status(DeploymentStatus.FAILED)
    plan = story.evaluate(second)
    assert [stop.alloc_id for stop in plan.stops] == [canary.id]
    assert not plan.placements
    assert len(story.live(0)) == 3
    assert story.evaluate(second).is_empty


def test_a_failed_rolling_update_holds_until_the_next_version(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(max_parallel=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    story.set_status(DeploymentStatus.FAILED)
    assert story.evaluate(second).is_empty
    third = a_version(job, 2)
    story.put(jobs=[third])
    plan = story.evaluate(third)
    assert len(plan.in_place) == 2
    assert placed(plan) == [(2, 0, False)]


def test_a_failed_canary_is_replaced_only_when_the_roll_out_says_so(run: Run) -> None:
    story, job = a_story(run, count=2, update=an_update(canary=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    (canary,) = story.live(1)
    failed = replace(canary, client_status=AllocStatus.FAILED, modify_time=1)
    story.put(allocs=[failed])
    assert story.evaluate(second).is_empty
    story.put(allocs=[replace(failed, desired_transition=DesiredTransition(reschedule=True))])
    plan = story.evaluate(second)
    assert placed(plan) == [(1, 0, True)]
    assert [stop.alloc_id for stop in plan.stops] == [canary.id]


def test_groups_are_promoted_one_by_one(run: Run) -> None:
    groups = (
        a_group("a", count=2, update=an_update(canary=1, auto_promote=True)),
        a_group("b", count=2, update=an_update(canary=1)),
        a_group("c", count=2, update=an_update(max_parallel=0)),
    )
    story, job = a_story(run, groups=groups)
    second = a_restarting_version(job)
    story.put(jobs=[second])
    plan = story.evaluate(second)
    assert {(p.group, p.canary, len(p)) for p in plan.placements} == {
        ("a", True, 1), ("b", True, 1), ("c", False, 2),
    }  # fmt: skip
    assert set(story.deployment.task_groups) == {"a", "b"}
    story.heal()
    story.promote("a")
    plan = story.evaluate(second)
    assert {(p.group, p.canary) for p in plan.placements} == {("a", False)}
    story.heal()
    story.evaluate(second)
    assert story.deployment.status is DeploymentStatus.RUNNING
    story.promote("b")
    story.evaluate(second)
    story.heal()
    story.evaluate(second)
    assert story.deployment.status is DeploymentStatus.SUCCESSFUL


def test_a_drain_in_the_middle_moves_new_copies_in_the_new_version(run: Run) -> None:
    story, job = a_story(run, count=3, update=an_update(max_parallel=1))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    story.evaluate(second)
    (fresh,) = story.live(1)
    story.put(allocs=[replace(fresh, desired_transition=DesiredTransition(migrate=True))])
    plan = story.evaluate(second)
    assert (1, fresh.index, False) in placed(plan)
    assert plan.placements[0].deployment_id == story.deployment.id


def test_batch_jobs_have_no_deployments(run: Run) -> None:
    job = a_job(type="batch", count=2, update=an_update(canary=1))
    view = FakeView([a_node()], [job])
    assert run(view, job).plan.deployment is None


def test_never_fewer_healthy_copies_than_count_less_max_parallel(run: Run) -> None:
    story, job = a_story(run, count=6, update=an_update(max_parallel=2))
    second = a_restarting_version(job)
    story.put(jobs=[second])
    for _ in range(12):
        story.evaluate(second)
        healthy = [a for a in story.live() if a.is_healthy or a.job_version == 0]
        assert len(healthy) >= 4
        waiting = [a for a in story.live(1) if not a.is_healthy]
        story.heal(waiting[:1])
    assert {a.job_version for a in story.live()} == {1}


def test_a_deployment_never_ends_well_without_its_promotion() -> None:
    group = DeploymentGroup(desired_canaries=1, desired_total=1, healthy_allocs=1)
    deployment = Deployment(id="d", task_groups={"api": group})
    progress = {"api": Progress(strategy=an_update(), settled=True)}
    assert finished(deployment, progress) == []
    promoted = replace(deployment, task_groups={"api": replace(group, promoted=True)})
    assert [update.status for update in finished(promoted, progress)] == [DeploymentStatus.SUCCESSFUL]


def test_a_job_without_update_rules_rolls_without_a_deployment(run: Run) -> None:
    job = a_job(count=2, update=an_update(max_parallel=0))
    view = FakeView([a_node()], [job])
    first = run(view, job)
    assert first.plan.deployment is None
    new = a_restarting_version(job)
    view = view.carry_out(first.plan).changed(jobs=[new])
    result = run(view, new)
    assert placed(result.plan) == [(1, 0, False), (1, 1, False)]
    assert result.plan.deployment is None


def test_a_thousand_copies_roll_fifty_at_a_time_to_the_end(run: Run) -> None:
    job = a_job(count=1000, cpu=1, memory=1, disk=1, update=an_update(max_parallel=50))
    story = Story(run, FakeView([a_node(f"n{i}") for i in range(50)], [job]))
    story.evaluate(job)
    story.heal()
    story.evaluate(job)
    new = a_restarting_version(job)
    story.put(jobs=[new])
    for _ in range(20):
        assert len(placed(story.evaluate(new))) == 50
        story.heal([a for a in story.live(1) if not a.is_healthy])
    story.evaluate(new)
    assert story.deployment.status is DeploymentStatus.SUCCESSFUL
    assert len(story.live(1)) == len(story.live()) == 1000
