"""Constraints: every operator, missing attributes, versions, and what metrics call a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rove.server.scheduler.conditions import compare, holds, resolve
from rove.server.scheduler.versions import parse_version, satisfies
from rove.structs.job import Constraint, NetworkResource, VolumeRequest
from rove.structs.node import DriverInfo, HostVolume, NodeNetwork, NodeNetworkAddress, NodeStatus
from rove.structs.plan import SchedulerResult
from rove.testing.builders import a_constraint, a_group, a_job, a_node, a_task
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]


@pytest.mark.parametrize(
    ("left", "operand", "right", "expected"),
    [
        ("linux", "=", "linux", True), ("linux", "==", "linux", True), ("linux", "is", "mac", False),
        ("linux", "!=", "mac", True), ("linux", "not", "linux", False),
        (None, "=", "linux", False), (None, "!=", "linux", True), (None, "not", "x", True),
        ("9", "<", "10", True), ("9", ">", "10", False), ("1.5", ">=", "1.5", True), ("a", "<", "b", True),
        ("10", "<=", "9.5", False), (None, ">", "1", False),
        ("web-12", "regexp", r"^web-\d+$", True), ("db-1", "regexp", "web", False), ("x", "regexp", "(", False),
        ("1.4.2", "version", ">= 1.2, < 2.0", True), ("2.0.0", "version", "~> 1.4", False),
        ("1.9", "version", "~> 1.4", True), ("1.4.9", "version", "~> 1.4.2", True),
        ("1.5.0", "version", "~> 1.4.2", False), ("v1.2", "version", "= 1.2.0", True),
        ("nonsense", "version", ">= 1", False), ("1.0", "version", "nonsense >", False),
        ("1.2.3", "semver", ">= 1.2.0", True), ("1.2", "semver", ">= 1.0.0", True),
        ("v1.3.0", "semver", ">= 0.4.0", True),
        ("1.3.0beta", "semver", ">= 0.4.0", False),
        ("1.3.0-beta1", "semver", ">= 1.3.0", False), ("1.3.0", "semver", "> 1.3.0-beta1", True),
        ("a, b,c", "set_contains", "c,a", True), ("a,b", "set_contains_all", "a,c", False),
        ("a,b", "set_contains_any", "c,b", True), (None, "set_contains_any", "a", False),
        ("", "is_set", "", True), (None, "is_set", "", False), (None, "is_not_set", "", True),
        ("x", "is_not_set", "", False), ("x", "no_such_operator", "x", False),
    ],
)  # fmt: skip
def test_each_operator_compares_as_documented(left: str | None, operand: str, right: str, expected: bool) -> None:
    assert compare(operand, left, right) is expected


def test_versions_are_ordered_numerically_and_prereleases_come_first() -> None:
    order = ["0.9", "1.0.0-alpha", "1.0.0-alpha.2", "1.0.0-beta", "1.0.0", "1.0.1", "1.10.0"]
    keys = [version.key for text in order if (version := parse_version(text))]
    assert keys == sorted(keys)
    assert len(keys) == len(order)
    assert not satisfies("x" * 1000, ">= 1")


def test_a_regex_that_explodes_elsewhere_ends_quickly() -> None:
    assert not compare("regexp", "a" * 5000 + "!", r"(a+)+$")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("${node.unique.id}", "n1"), ("${node.unique.name}", "first"), ("${node.datacenter}", "dc1"),
        ("${node.class}", "big"), ("${node.pool}", "default"), ("${node.region}", "global"),
        ("${attr.kernel.name}", "linux"), ("${node.attr.kernel.name}", "linux"), ("${meta.rack}", "r1"),
        ("${node.meta.rack}", "r1"), ("${meta.nothing}", None), ("${weird}", None), ("plain", "plain"),
    ],
)  # fmt: skip
def test_targets_name_fields_attributes_and_meta(target: str, expected: str | None) -> None:
    node = a_node("n1", name="first", node_class="big", meta={"rack": "r1"})
    assert resolve(target, node) == expected


def test_a_literal_on_both_sides_is_compared_as_it_stands() -> None:
    assert holds(a_constraint("a", "=", "a"), a_node())
    assert not holds(a_constraint("${meta.gone}", "=", "${meta.gone}"), a_node())


def failing(run: Run, node: Any, **fields: Any) -> Any:
    """The metric of a job that the one node refuses."""
    job = a_job(**fields)
    result = run(FakeView([node], [job]), job)
    assert not result.plan.placements
    assert result.queued == {"api": 1}
    return result.failed["api"]


def test_a_constraint_that_fails_is_counted_under_its_text(run: Run) -> None:
    metric = failing(run, a_node(node_class="c1"), constraints=(a_constraint("${attr.cpu.arch}", "=", "arm64"),))
    assert metric.constraint_filtered == {"${attr.cpu.arch} = arm64": 1}
    assert metric.nodes_evaluated == metric.nodes_filtered == 1
    assert metric.class_filtered == {"c1": 1}


def test_a_missing_or_sick_driver_rules_a_node_out(run: Run) -> None:
    assert failing(run, a_node(drivers=())).constraint_filtered == {"missing drivers": 1}
    sick = a_node(drivers=(), id="n2")
    sick = msgspec.structs.replace(
        sick, computed_class="v1:other", drivers={"mock_driver": DriverInfo(detected=True, healthy=False)}
    )
    assert failing(run, sick).constraint_filtered == {"missing drivers": 1}


def test_datacenters_are_matched_by_glob_and_pools_by_name(run: Run) -> None:
    nodes = [
        a_node("n1", datacenter="eu-1"),
        a_node("n2", datacenter="us-1"),
        a_node("n3", datacenter="eu-2", node_pool="gpu"),
    ]
    job = a_job(count=3, datacenters=("eu-*",))
    result = run(FakeView(nodes, [job]), job)
    assert result.plan.placements[0].node_ids == ("n1",)
    everywhere = a_job(count=1, datacenters=("eu-*",), node_pool="gpu")
    assert run(FakeView(nodes, [everywhere]), everywhere).plan.placements[0].node_ids == ("n3",)
    nowhere = a_job(datacenters=("mars",))
    metric = run(FakeView(nodes, [nowhere]), nowhere).failed["api"]
    assert metric.nodes_evaluated == 0
    assert metric.nodes_in_pool == 2


def test_host_volumes_must_exist_and_be_writable_for_writers(run: Run) -> None:
    def job(read_only: bool, source: str = "data") -> Any:
        volume = VolumeRequest(name="v", type="host", source=source, read_only=read_only)
        return a_job(groups=(a_group(volumes={"v": volume}),))

    node = a_node(host_volumes={"data": HostVolume(name="data", path="/srv", read_only=True)})
    assert run(FakeView([node], [job(True)]), job(True)).queued == {"api": 0}
    assert run(FakeView([node], [job(False)]), job(False)).failed["api"].constraint_filtered == {
        "missing compatible host volumes": 1
    }
    assert run(FakeView([node], [job(True, "x")]), job(True, "x")).queued == {"api": 1}


def test_a_per_alloc_volume_puts_each_copy_where_its_own_volume_is(run: Run) -> None:
    nodes = [a_node(f"n{i}", host_volumes={f"data[{i}]": HostVolume(name=f"data[{i}]", path="/srv")}) for i in range(3)]
    volume = VolumeRequest(name="v", type="host", source="data", per_alloc=True)
    job = a_job(groups=(a_group(count=3, volumes={"v": volume}),))
    view = FakeView(nodes, [job])
    after = view.carry_out(run(view, job).plan)
    assert {a.index: a.node_id for a in after.allocs.values()} == {0: "n0", 1: "n1", 2: "n2"}


def test_network_modes_and_host_networks_must_be_there(run: Run) -> None:
    job = a_job(groups=(a_group(networks=(NetworkResource(mode="bridge"),)),))
    plain = a_node("n1")
    bridged = a_node(
        "n2", node_networks=(
            NodeNetwork(mode="host", addresses=(NodeNetworkAddress(address="10.0.0.2"),)), NodeNetwork(mode="bridge"),
        ),
    )  # fmt: skip
    assert run(FakeView([plain], [job]), job).failed["api"].constraint_filtered == {"missing network": 1}
    assert run(FakeView([plain, bridged], [job]), job).plan.placements[0].node_ids == ("n2",)


def test_a_unique_constraint_finds_its_one_node_and_is_never_trusted_to_classes(run: Run) -> None:
    nodes = [a_node(f"n{i}") for i in range(5)]
    job = a_job(constraints=(a_constraint("${node.unique.id}", "=", "n3"),))
    result = run(FakeView(nodes, [job]), job)
    assert result.plan.placements[0].node_ids == ("n3",)
    by_name = a_job(count=9, cpu=1000, constraints=(a_constraint("${node.unique.name}", "=", "n1"),))
    result = run(FakeView(nodes, [by_name]), by_name)
    assert result.escaped
    assert result.failed["api"].constraint_filtered == {"${node.unique.name} = n1": 4}


def test_the_class_answers_for_all_its_nodes_and_says_what_would_wake_the_job(run: Run) -> None:
    nodes = [a_node(f"n{i}", meta={"tier": "gold" if i % 2 else "iron"}, cpu=150) for i in range(10)]
    job = a_job(count=50, constraints=(a_constraint("${meta.tier}", "=", "gold"),))
    result = run(FakeView(nodes, [job]), job)
    assert result.queued == {"api": 45}
    assert sorted(result.class_eligibility.values()) == [False, True]
    assert not result.escaped


def test_nodes_that_are_not_ready_are_not_looked_at(run: Run) -> None:
    nodes = [a_node("n1", status=NodeStatus.DOWN), a_node("n2", scheduling_eligibility="ineligible")]
    job = a_job()
    assert run(FakeView(nodes, [job]), job).failed["api"].nodes_evaluated == 0


def test_task_constraints_count_too(run: Run) -> None:
    task = a_task(constraints=(Constraint(l_target="${meta.x}", operand="is_set"),))
    job = a_job(groups=(a_group(tasks=(task,)),))
    assert run(FakeView([a_node()], [job]), job).queued == {"api": 1}
    assert run(FakeView([a_node(meta={"x": "1"})], [job]), job).queued == {"api": 0}
