"""Preemption: the least victim makes room, and only where the configuration says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rove.server.scheduler import verify
from rove.structs.alloc import Desired
from rove.structs.job import RequestedDevice, Resources
from rove.structs.node import NodeDevice, NodeDeviceResource, PreemptionConfig, SchedulerConfiguration
from rove.structs.plan import SchedulerResult
from rove.structs.resources import AllocatedPort, AllocatedResources, AllocatedShared
from rove.testing.builders import a_group, a_job, a_node, a_task, an_alloc
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]
ON = SchedulerConfiguration(
    preemption_config=PreemptionConfig(
        service_scheduler_enabled=True, batch_scheduler_enabled=True, sysbatch_scheduler_enabled=True
    )
)


def victims(result: SchedulerResult) -> list[str]:
    return sorted(stop.alloc_id for stop in result.plan.stops if stop.desired is Desired.EVICT)


def a_full_node(*priorities: int, cpu: int = 1000) -> tuple[Any, list[Any], list[Any]]:
    """A node full of equal copies of jobs with these priorities."""
    share = cpu // len(priorities)
    jobs = [a_job(f"low{n}", priority=p, cpu=share, memory=10) for n, p in enumerate(priorities)]
    allocs = [an_alloc(job, 0, id=f"low{n}") for n, job in enumerate(jobs)]
    return a_node(cpu=cpu), jobs, allocs


@pytest.mark.parametrize("kind", ["service", "batch", "sysbatch"])
def test_nothing_is_pushed_out_by_default(kind: str, run: Run) -> None:
    node, jobs, allocs = a_full_node(10, 20)
    job = a_job("high", type=kind, priority=90, cpu=400, memory=10)
    result = run(FakeView([node], [job, *jobs], allocs), job)
    assert victims(result) == []
    assert result.queued == {"api": 1}


def test_system_jobs_push_out_by_default_and_by_their_configuration(run: Run) -> None:
    node, jobs, allocs = a_full_node(10, 20)
    job = a_job("high", type="system", priority=90, cpu=400, memory=10)
    assert victims(run(FakeView([node], [job, *jobs], allocs), job)) == ["low0"]
    off = SchedulerConfiguration(preemption_config=PreemptionConfig(system_scheduler_enabled=False))
    assert victims(run(FakeView([node], [job, *jobs], allocs, configuration=off), job)) == []


def test_the_lowest_priority_goes_and_no_more_than_needed(run: Run) -> None:
    node, jobs, allocs = a_full_node(30, 10, 20, 10)
    job = a_job("high", priority=90, cpu=450, memory=10)
    view = FakeView([node], [job, *jobs], allocs, configuration=ON)
    result = run(view, job)
    assert victims(result) == ["low1", "low3"]
    assert result.plan.placements[0].preempted == {0: ("low1", "low3")} or result.plan.placements[0].preempted == {
        0: ("low3", "low1")
    }
    assert {stop.preempted_by_index for stop in result.plan.stops} == {(0, 0)}
    assert result.plan.desired_updates["api"].preemptions == 2
    plan, everything = verify(result.plan, view)
    assert everything
    assert plan is result.plan


def test_jobs_of_nearly_the_same_priority_are_safe(run: Run) -> None:
    node, jobs, allocs = a_full_node(81, 85)
    job = a_job("high", priority=90, cpu=400, memory=10)
    assert victims(run(FakeView([node], [job, *jobs], allocs, configuration=ON), job)) == []
    node, jobs, allocs = a_full_node(80, 85)
    assert victims(run(FakeView([node], [job, *jobs], allocs, configuration=ON), job)) == ["low0"]


def test_one_that_frees_enough_is_chosen_over_several(run: Run) -> None:
    small = [a_job(f"small{n}", priority=10, cpu=100, memory=10) for n in range(5)]
    large = a_job("large", priority=10, cpu=500, memory=10)
    allocs = [an_alloc(job, 0, id=job.id) for job in (*small, large)]
    job = a_job("high", priority=90, cpu=450, memory=10)
    view = FakeView([a_node(cpu=1000)], [job, *small, large], allocs, configuration=ON)
    assert victims(run(view, job)) == ["large"]


def test_the_node_with_the_lower_priorities_is_chosen(run: Run) -> None:
    cheap, dear = a_job("cheap", priority=10, cpu=1000, memory=10), a_job("dear", priority=60, cpu=1000, memory=10)
    allocs = [an_alloc(dear, 0, node="n1", id="dear"), an_alloc(cheap, 0, node="n2", id="cheap")]
    job = a_job("high", priority=90, cpu=500, memory=10)
    nodes = [a_node("n1", cpu=1000), a_node("n2", cpu=1000)]
    result = run(FakeView(nodes, [job, cheap, dear], allocs, configuration=ON), job)
    assert victims(result) == ["cheap"]


def test_the_holder_of_a_static_port_goes(run: Run) -> None:
    low = a_job("low", priority=10, cpu=10, memory=10)
    held = AllocatedResources(shared=AllocatedShared(ports=(AllocatedPort(label="http", value=8080),)))
    alloc = an_alloc(low, 0, allocated_resources=held, id="low")
    job = a_job("high", priority=90, static_ports={"http": 8080})
    result = run(FakeView([a_node()], [job, low], [alloc], configuration=ON), job)
    assert victims(result) == ["low"]
    assert result.plan.placements[0].ports[0][0].value == 8080


def test_room_that_is_there_is_used_before_anybody_is_pushed_out(run: Run) -> None:
    node, jobs, allocs = a_full_node(10, 20)
    job = a_job("high", priority=90, cpu=400, memory=10, count=2)
    view = FakeView([node, a_node("free", cpu=500)], [job, *jobs], allocs, configuration=ON)
    result = run(view, job)
    assert victims(result) == ["low0"]
    assert len(result.plan.placements[0]) == 2


def test_a_dropped_copy_spares_its_victims(run: Run) -> None:
    node, jobs, allocs = a_full_node(10, 20)
    job = a_job("high", priority=90, cpu=400, memory=10)
    view = FakeView([node], [job, *jobs], allocs, configuration=ON)
    plan = run(view, job).plan
    kept, everything = verify(plan, view.changed(nodes=[a_node(cpu=1000, status="down")]))
    assert not everything
    assert not kept.placements
    assert not kept.stops


def test_a_victim_that_the_others_make_unnecessary_is_spared(run: Run) -> None:
    small = a_job("small", priority=10, cpu=100, memory=10)
    large = a_job("large", priority=20, cpu=900, memory=10)
    allocs = [an_alloc(job, 0, id=job.id) for job in (small, large)]
    job = a_job("high", priority=90, cpu=850, memory=10)
    view = FakeView([a_node(cpu=1000)], [job, small, large], allocs, configuration=ON)
    assert victims(run(view, job)) == ["large"]


def test_many_copies_push_out_one_node_after_another_and_nobody_twice(run: Run) -> None:
    low = [a_job(f"low{n}", priority=10 + n % 3, cpu=1000, memory=10) for n in range(30)]
    nodes = [a_node(f"n{n}", cpu=1000) for n in range(30)]
    allocs = [an_alloc(job, 0, node=f"n{n}", id=job.id) for n, job in enumerate(low)]
    job = a_job("high", priority=90, count=25, cpu=600, memory=10)
    view = FakeView(nodes, [job, *low], allocs, configuration=ON)
    result = run(view, job)
    out = victims(result)
    assert len(out) == len(set(out)) == 25
    assert result.queued == {"api": 0}
    cheapest = {j.id for j in low if j.priority in (10, 11)}
    assert cheapest <= set(out)
    assert verify(result.plan, view)[1]


def _with_gpus(*names: str) -> Any:
    return tuple(
        NodeDeviceResource(vendor="nvidia", type="gpu", name=name, instances=(NodeDevice(id=f"{name}-0"),))
        for name in names
    )


def _gpu_task(name: str = "t", wanted: str = "gpu", count: int = 1) -> Any:
    device = RequestedDevice(name=wanted, count=count)
    return a_task(name, resources=Resources(cpu=10, memory_mb=10, devices=(device,)))


def test_one_device_asked_for_pushes_out_one_holder(run: Run) -> None:
    low = [a_job(f"low-{name}", priority=10, groups=(a_group(tasks=(_gpu_task(wanted=f"nvidia/gpu/{name}"),)),))
           for name in ("a100", "t4")]  # fmt: skip
    view = FakeView([a_node(devices=_with_gpus("a100", "t4"))], low, configuration=ON)
    for job in low:
        view = view.carry_out(run(view, job).plan)
    high = a_job("high", priority=90, groups=(a_group(tasks=(_gpu_task(),)),))
    assert len(victims(run(view.changed(jobs=[high]), high))) == 1


def test_one_holder_of_two_devices_makes_room_for_two_requests(run: Run) -> None:
    two = NodeDeviceResource(vendor="nvidia", type="gpu", name="t4", instances=(NodeDevice(id="a"), NodeDevice(id="b")))
    low = a_job("low", priority=10, groups=(a_group(tasks=(_gpu_task(count=2),)),))
    view = FakeView([a_node(devices=(two,))], [low], configuration=ON)
    view = view.carry_out(run(view, low).plan)
    high = a_job("high", priority=90, groups=(a_group(tasks=(_gpu_task("one"), _gpu_task("two"))),))
    result = run(view.changed(jobs=[high]), high)
    assert len(victims(result)) == 1
    assert len(result.plan.placements) == 1
