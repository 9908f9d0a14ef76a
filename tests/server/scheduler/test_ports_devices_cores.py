"""Ports, devices and cores: given once, described where they run out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from rove.server.scheduler import verify
from rove.structs.job import Affinity, Constraint, NetworkResource, Port, RequestedDevice, Resources
from rove.structs.node import (
    NodeDevice,
    NodeDeviceResource,
    NodeNetwork,
    NodeNetworkAddress,
    NodeReserved,
    ReservedCpu,
    ReservedNetworks,
)
from rove.structs.plan import SchedulerResult
from rove.structs.resources import AllocatedPort, AllocatedResources, AllocatedShared
from rove.testing.builders import a_group, a_job, a_node, a_restarting_version, a_task, an_alloc, an_update
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]


def ports_by_node(view: FakeView) -> Counter[tuple[str, int]]:
    return Counter((a.node_id, p.value) for a in view.allocs.values() for p in a.allocated_resources.shared.ports)


def test_dynamic_ports_never_collide_and_end_with_a_reason(run: Run) -> None:
    nodes = [a_node(f"n{i}", min_dynamic_port=20_000, max_dynamic_port=20_006) for i in range(3)]
    job = a_job(count=20, cpu=1, memory=1, disk=1, ports=("http", "admin"))
    view = FakeView(nodes, [job])
    result = run(view, job)
    after = view.carry_out(result.plan)
    assert len(after.allocs) == 9
    assert max(ports_by_node(after).values()) == 1
    assert all(20_000 <= port <= 20_006 for _, port in ports_by_node(after))
    assert result.queued == {"api": 11}
    assert result.failed["api"].dimension_exhausted == {"network: no dynamic port is free": 3}


def test_a_static_port_is_given_once_a_node(run: Run) -> None:
    nodes = [a_node(f"n{i}") for i in range(3)]
    job = a_job(count=5, static_ports={"http": 8080})
    view = FakeView(nodes, [job])
    result = run(view, job)
    assert sorted(result.plan.placements[0].node_ids) == ["n0", "n1", "n2"]
    assert result.failed["api"].dimension_exhausted == {"network: port 8080 is taken": 3}


def test_ports_reserved_for_the_host_are_not_given(run: Run) -> None:
    reserved = NodeReserved(networks=ReservedNetworks(reserved_host_ports="22,8000-8100"))
    job = a_job(static_ports={"http": 8080})
    view = FakeView([a_node(reserved_resources=reserved)], [job])
    assert run(view, job).queued == {"api": 1}


def test_a_port_that_ignores_collisions_may_be_shared(run: Run) -> None:
    port = Port(label="http", value=8080, ignore_collision=True)
    job = a_job(groups=(a_group(count=2, networks=(NetworkResource(mode="host", reserved_ports=(port,)),)),))
    view = FakeView([a_node()], [job])
    assert run(view, job).queued == {"api": 0}


def test_an_update_in_the_same_place_takes_over_its_static_port_but_not_a_strangers(run: Run) -> None:
    job = a_job(static_ports={"http": 8080}, update=an_update())
    held = AllocatedResources(tasks={}, shared=AllocatedShared(ports=(AllocatedPort(label="http", value=8080),)))
    old = an_alloc(job, 0, allocated_resources=held)
    new = a_restarting_version(job)
    result = run(FakeView([a_node()], [job, new], [old]), new)
    assert [stop.alloc_id for stop in result.plan.stops] == [old.id]
    assert result.plan.placements[0].previous == {0: old.id}
    stranger = an_alloc(a_job("other"), 0, allocated_resources=held)
    result = run(FakeView([a_node()], [job], [stranger]), job)
    assert result.queued == {"api": 1}


def test_dynamic_ports_of_a_stopping_copy_are_not_given_away(run: Run) -> None:
    job = a_job(ports=("http",), update=an_update())
    held = AllocatedResources(shared=AllocatedShared(ports=(AllocatedPort(label="http", value=20_000),)))
    old = an_alloc(job, 0, allocated_resources=held)
    new = a_restarting_version(job)
    node = a_node(min_dynamic_port=20_000, max_dynamic_port=20_001)
    for seed in range(10):
        result = run(FakeView([node], [job, new], [old]), new, seed=seed)
        assert result.plan.placements[0].ports[0][0].value == 20_001


def test_to_minus_one_maps_the_same_number_and_the_address_is_of_the_host_network(run: Run) -> None:
    networks = (
        NodeNetwork(
            mode="host",
            addresses=(
                NodeNetworkAddress(alias="default", address="10.0.0.9"),
                NodeNetworkAddress(alias="public", address="192.0.2.7"),
            ),
        ),
    )
    ports = (Port(label="a", to=-1), Port(label="b", to=80, host_network="public"))
    job = a_job(groups=(a_group(networks=(NetworkResource(mode="host", dynamic_ports=ports),)),))
    given = run(FakeView([a_node(node_networks=networks)], [job]), job).plan.placements[0].ports[0]
    a, b = given
    assert a.to == a.value
    assert a.host_ip == "10.0.0.9"
    assert (b.to, b.host_ip) == (80, "192.0.2.7")
    missing = FakeView([a_node()], [job])
    assert run(missing, job).failed["api"].constraint_filtered == {"missing network": 1}


def gpus(count: int, model: str = "t4", memory: int = 16, healthy: bool = True) -> NodeDeviceResource:
    return NodeDeviceResource(
        vendor="nvidia", type="gpu", name=model, attributes={"memory": {"Int": memory, "Unit": "GiB"}},
        instances=tuple(NodeDevice(id=f"{model}-{i}", healthy=healthy) for i in range(count)),
    )  # fmt: skip


def a_gpu_job(count: int = 1, **request: Any) -> Any:
    device = RequestedDevice(**({"name": "gpu"} | request))
    task = a_task(resources=Resources(cpu=10, memory_mb=10, devices=(device,)))
    return a_job(groups=(a_group(count=count, tasks=(task,)),))


def test_device_instances_are_given_once_and_sick_ones_never(run: Run) -> None:
    job = a_gpu_job(5)
    nodes = [a_node("n1", devices=(gpus(2),)), a_node("n2", devices=(gpus(3, healthy=False),)), a_node("n3")]
    view = FakeView(nodes, [job])
    result = run(view, job)
    after = view.carry_out(result.plan)
    held = [
        d.device_ids for a in after.allocs.values() for t in a.allocated_resources.tasks.values() for d in t.devices
    ]
    assert sorted(held) == [("t4-0",), ("t4-1",)]
    metric = result.failed["api"]
    assert metric.constraint_filtered == {"missing devices": 1}
    assert metric.dimension_exhausted == {"devices: no free gpu": 2}


def test_devices_are_chosen_by_name_constraint_and_affinity(run: Run) -> None:
    nodes = [a_node("small", devices=(gpus(4, "t4", 16),)), a_node("large", devices=(gpus(4, "a100", 80),))]
    big = Constraint(l_target="${device.attr.memory}", operand=">=", r_target="40 GiB")
    job = a_gpu_job(name="nvidia/gpu", constraints=(big,))
    assert run(FakeView(nodes, [job]), job).plan.placements[0].node_ids == ("large",)
    wish = Affinity(l_target="${device.model}", operand="=", r_target="t4", weight=100)
    job = a_gpu_job(name="gpu", affinities=(wish,))
    placement = run(FakeView(nodes, [job]), job).plan.placements[0]
    assert placement.node_ids == ("small",)
    assert placement.metrics is not None
    assert placement.metrics.score_meta_data[0].scores["devices"] == 1.0
    job = a_gpu_job(name="gpu/a100")
    assert run(FakeView(nodes, [job]), job).plan.placements[0].node_ids == ("large",)


def test_cores_are_held_alone_and_count_as_their_mhz(run: Run) -> None:
    task = a_task(resources=Resources(cpu=0, cores=3, memory_mb=10))
    job = a_job(count=2, groups=(a_group(count=2, tasks=(task,)),))
    view = FakeView([a_node("n1", cpu=4000)], [job])
    result = run(view, job)
    placement = result.plan.placements[0]
    given = placement.own_resources[0].tasks["main"].cpu
    assert given.reserved_cores == (0, 1, 2)
    assert given.cpu_shares == 3000
    assert result.queued == {"api": 1}
    two = a_job(groups=(a_group(count=3, tasks=(a_task(resources=Resources(cpu=0, cores=2, memory_mb=1)),)),))
    view = FakeView([a_node("n1", cpu=4000)], [two])
    after = view.carry_out(run(view, two).plan)
    cores = [c for a in after.allocs.values() for c in a.allocated_resources.tasks["main"].cpu.reserved_cores]
    assert sorted(cores) == [0, 1, 2, 3]


def test_columns_of_a_placement_agree_with_each_other(run: Run) -> None:
    job = a_job(count=7, ports=("http",))
    placement = run(FakeView([a_node(f"n{i}") for i in range(3)], [job]), job).plan.placements[0]
    assert len(placement) == 7
    assert np.frombuffer(placement.indexes, "<i4").tolist() == list(range(7))
    assert len(np.frombuffer(placement.scores, "<f4")) == 7
    assert set(placement.ports) == set(range(7))


def test_ports_reserved_on_a_host_network_are_not_given(run: Run) -> None:
    private = NodeNetworkAddress(alias="private", address="10.1.0.1", reserved_ports="9000-9100")
    networks = (NodeNetwork(mode="host", addresses=(NodeNetworkAddress(address="10.0.0.1"), private)),)
    job = a_job(networks=(NetworkResource(reserved_ports=(Port(label="p", value=9001, host_network="private"),)),))
    view = FakeView([a_node(node_networks=networks, host_networks={})], [job])
    assert run(view, job).queued == {"api": 1}


def test_whole_cores_count_the_same_when_asked_for_and_when_given(run: Run) -> None:
    small = a_job("small", groups=(a_group(tasks=(a_task(resources=Resources(cpu=2, memory_mb=10)),)),))
    task = a_task(resources=Resources(cores=4, memory_mb=10))
    job = a_job("whole", groups=(a_group(tasks=(task,)),))
    node = a_node(cpu=8383)
    view = FakeView([node], [job, small], [an_alloc(small, 0, node=node)])
    result = run(view, job)
    assert result.failed["api"].dimension_exhausted == {"cpu": 1}
    free = FakeView([node], [job])
    plan = run(free, job).plan
    assert verify(plan, free) == (plan, True)


def test_cores_kept_for_the_host_leave_less_cpu(run: Run) -> None:
    kept = NodeReserved(cpu=ReservedCpu(reserved_cpu_cores=(0, 1)))
    job = a_job(cpu=2001)
    assert run(FakeView([a_node(cpu=4000, reserved_resources=kept)], [job]), job).queued == {"api": 1}
    smaller = a_job(cpu=2000)
    assert run(FakeView([a_node(cpu=4000, reserved_resources=kept)], [smaller]), smaller).queued == {"api": 0}


def test_device_affinity_looks_at_what_is_free(run: Run) -> None:
    wish = Affinity(l_target="${device.model}", operand="=", r_target="a100", weight=100)
    holder = replace(a_gpu_job(constraints=(Constraint(l_target="${device.model}", r_target="a100"),)), id="holder")
    both = a_node("n1", devices=(gpus(1, model="a100"), gpus(1, model="t4")))
    view = FakeView([both], [holder])
    view = view.carry_out(run(view, holder).plan)
    job = a_gpu_job(affinities=(wish,))
    view = view.changed(nodes=[a_node("n2", devices=(gpus(1, model="a100"),))], jobs=[job])
    assert run(view, job).plan.placements[0].node_ids == ("n2",)


def _two_addresses(reserved: str = "") -> Any:
    private = NodeNetworkAddress(alias="private", address="10.1.0.1", reserved_ports=reserved)
    public = NodeNetworkAddress(address="10.0.0.1")
    return a_node(node_networks=(NodeNetwork(mode="host", addresses=(public, private)),))


def _ingress(name: str, *networks: str) -> Any:
    ports = tuple(Port(label=f"p{n}", value=443, host_network=network) for n, network in enumerate(networks))
    return a_job(name, networks=(NetworkResource(reserved_ports=ports),))


def test_a_static_port_is_taken_on_its_own_address_only(run: Run) -> None:
    both, public, private = _ingress("both", "", "private"), _ingress("public", ""), _ingress("private", "private")
    view = FakeView([_two_addresses()], [both, public, private])
    plan = run(view, both).plan
    assert {(port.host_ip, port.value) for port in plan.placements[0].ports[0]} == {
        ("10.0.0.1", 443),
        ("10.1.0.1", 443),
    }
    assert verify(plan, view) == (plan, True)
    view = view.carry_out(run(view, public).plan)
    plan = run(view, private).plan
    assert len(plan.placements) == 1
    assert verify(plan, view) == (plan, True)
    view = view.carry_out(plan)
    for job in (both, replace(public, id="other")):
        assert run(view.changed(jobs=[job]), job).failed["api"].dimension_exhausted == {"network: port 443 is taken": 1}


def test_a_plan_that_lost_the_race_for_a_port_on_an_address_is_cut(run: Run) -> None:
    one, other = _ingress("one", "private"), _ingress("other", "private")
    view = FakeView([_two_addresses()], [one, other])
    plan = run(view, one).plan
    after = view.carry_out(run(view, other).plan)
    kept, whole = verify(plan, after)
    assert not whole
    assert not kept.placements


def test_a_port_reserved_on_one_address_is_free_on_the_other(run: Run) -> None:
    private, public = _ingress("private", "private"), _ingress("public", "")
    view = FakeView([_two_addresses(reserved="443")], [private, public])
    assert run(view, private).queued == {"api": 1}
    plan = run(view, public).plan
    assert len(plan.placements) == 1
    assert verify(plan, view) == (plan, True)
