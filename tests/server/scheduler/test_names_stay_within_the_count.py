"""A smaller count takes the highest names away, whatever else goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from rove.structs.alloc import Allocation, AllocDeploymentStatus, AllocStatus, DesiredTransition
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus
from rove.structs.job import Job, ReschedulePolicy
from rove.structs.plan import SchedulerResult
from rove.testing.builders import a_job, a_node, a_restarting_version, a_version, an_alloc, an_update
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]


def _failing(alloc: Allocation) -> Allocation:
    """A copy of the roll-out that failed, and that its watcher wants replaced."""
    return replace(
        alloc,
        client_status=AllocStatus.FAILED,
        deployment_id="roll",
        deployment_status=AllocDeploymentStatus(healthy=False),
        desired_transition=DesiredTransition(reschedule=True),
    )


def _moving(alloc: Allocation) -> Allocation:
    return replace(alloc, desired_transition=DesiredTransition(migrate=True))


def _after(run: Run, smaller: Job, allocs: list[Allocation], deployment: Deployment | None = None) -> list[int]:
    """The indexes of what is wanted after one pass."""
    view = FakeView(
        [a_node(f"n{i}") for i in range(6)], [smaller], allocs, deployments=[deployment] if deployment else []
    )
    after = view.carry_out(run(view, smaller).plan, 1_700_000_000.0)
    return sorted(alloc.index for alloc in after.allocs.values() if not alloc.is_server_terminal)


def _roll(job: Job, status: DeploymentStatus) -> Deployment:
    groups = {"api": DeploymentGroup(desired_total=4, placed_allocs=1, unhealthy_allocs=1)}
    return Deployment(
        id="roll", namespace="default", job_id="web", job_version=job.version, job_create_index=job.create_index,
        status=status, task_groups=groups,
    )  # fmt: skip


@pytest.mark.parametrize("status", [DeploymentStatus.RUNNING, DeploymentStatus.FAILED])
@pytest.mark.parametrize("troubled", [0, 1, 2])
def test_a_scale_down_during_a_roll_out_that_fails(run: Run, status: DeploymentStatus, troubled: int) -> None:
    at_once = ReschedulePolicy(unlimited=True, delay=0, delay_function="constant")
    old = a_job(count=4, update=an_update(), reschedule_policy=at_once)
    second = a_restarting_version(old)
    allocs = [an_alloc(old, i, node=f"n{i}") for i in range(4)]
    allocs[troubled] = _failing(an_alloc(second, troubled, node=f"n{troubled}"))
    smaller = a_version(second, count=3)
    assert _after(run, smaller, allocs, _roll(second, status)) == [0, 1, 2]


@pytest.mark.parametrize("moving", [0, 1, 2, 3])
def test_a_scale_down_while_a_copy_moves(run: Run, moving: int) -> None:
    job = a_job(count=4)
    allocs = [an_alloc(job, i, node=f"n{i}") for i in range(4)]
    allocs[moving] = _moving(allocs[moving])
    assert _after(run, a_version(job, count=3), allocs) == [0, 1, 2]
