"""NOMAD_* variables and the replacement of references."""

from __future__ import annotations

from typing import Any

import msgspec

from rove.client.taskrunner.env import Paths, Scope, core_ranges, task_env
from rove.structs.alloc import NetworkStatus
from rove.structs.job import NetworkResource, ParameterizedJob, Port
from rove.structs.node import Node
from rove.structs.resources import AllocatedPort, AllocatedResources, AllocatedShared, AllocatedTask
from rove.testing.node_agent import a_job, a_task, an_alloc

NODE = Node(
    id="n-1", name="alpha", datacenter="dc9", node_class="big", node_pool="gpu",
    attributes={"kernel.name": "linux"}, meta={"rack": "r7"},
)  # fmt: skip
PATHS = Paths("/alloc", "/local", "/secrets")


def env_of(task: Any = None, ports: tuple[AllocatedPort, ...] = (), **job: Any) -> dict[str, str]:
    made = msgspec.structs.replace(a_job(task or a_task()), **job)
    alloc = an_alloc(made, 3)
    resources = msgspec.structs.replace(alloc.allocated_resources, shared=AllocatedShared(ports=ports))
    alloc = msgspec.structs.replace(alloc, allocated_resources=resources)
    group = made.task_groups[0]
    return task_env(alloc, made, group, group.tasks[0], NODE, PATHS)


def test_a_task_learns_who_and_where_it_is() -> None:
    env = env_of(region="eu")
    expected = {
        "NOMAD_ALLOC_DIR": "/alloc", "NOMAD_TASK_DIR": "/local", "NOMAD_SECRETS_DIR": "/secrets",
        "NOMAD_ALLOC_ID": "00000003-0000-4000-8000-000000000000", "NOMAD_SHORT_ALLOC_ID": "00000003",
        "NOMAD_ALLOC_NAME": "web.api[3]", "NOMAD_ALLOC_INDEX": "3", "NOMAD_TASK_NAME": "main",
        "NOMAD_GROUP_NAME": "api", "NOMAD_JOB_ID": "web", "NOMAD_JOB_NAME": "web", "NOMAD_DC": "dc9",
        "NOMAD_NAMESPACE": "default", "NOMAD_REGION": "eu", "NOMAD_CPU_LIMIT": "100", "NOMAD_MEMORY_LIMIT": "64",
    }  # fmt: skip
    assert expected.items() <= env.items()


def test_ports_are_told_inside_and_outside() -> None:
    env = env_of(ports=(AllocatedPort(label="web-ui", value=23000, to=8080, host_ip="10.0.0.5"),))
    assert env["NOMAD_PORT_web_ui"] == "8080"
    assert env["NOMAD_HOST_PORT_web_ui"] == "23000"
    assert env["NOMAD_ADDR_web_ui"] == "10.0.0.5:23000"
    assert env["NOMAD_ALLOC_PORT_web_ui"] == "8080"
    assert env["NOMAD_IP_web_ui"] == "10.0.0.5"


def test_a_port_without_mapping_is_the_same_inside() -> None:
    env = env_of(ports=(AllocatedPort(label="db", value=23000, to=-1, host_ip="::1"),))
    assert env["NOMAD_PORT_db"] == "23000"
    assert env["NOMAD_ADDR_db"] == "[::1]:23000"


def test_an_own_network_adds_its_addresses() -> None:
    job = a_job()
    resources = AllocatedResources(shared=AllocatedShared(ports=(AllocatedPort(label="db", value=23000, to=5432),)))
    status = NetworkStatus(interface_name="eth0", address="172.26.64.9")
    alloc = an_alloc(job, allocated_resources=resources, network_status=status)
    env = task_env(alloc, job, job.task_groups[0], job.task_groups[0].tasks[0], NODE, PATHS)
    assert env["NOMAD_ALLOC_ADDR_db"] == "172.26.64.9:5432"
    assert env["NOMAD_ALLOC_INTERFACE_db"] == "eth0"


def test_ports_of_the_other_tasks_carry_the_task_name() -> None:
    job = a_job(a_task("main"), a_task("other"))
    network = NetworkResource(ip="10.0.0.5", dynamic_ports=(Port(label="rpc", value=24000),))
    resources = AllocatedResources(tasks={"main": AllocatedTask(), "other": AllocatedTask(networks=(network,))})
    group = job.task_groups[0]
    env = task_env(an_alloc(job, allocated_resources=resources), job, group, group.tasks[0], NODE, PATHS)
    assert env["NOMAD_ADDR_other_rpc"] == "10.0.0.5:24000"


def test_meta_is_merged_from_job_to_task_in_both_spellings() -> None:
    env = env_of(a_task(meta={"tier": "task", "a-b": "x"}), meta={"tier": "job", "team": "blue"})
    assert env["NOMAD_META_tier"] == env["NOMAD_META_TIER"] == "task"
    assert env["NOMAD_META_TEAM"] == "blue"
    assert env["NOMAD_META_a_b"] == "x"


def test_an_optional_dispatch_key_that_was_not_given_is_empty() -> None:
    assert env_of(parameterized_job=ParameterizedJob(meta_optional=("input",)))["NOMAD_META_input"] == ""


def test_the_tasks_own_values_win_and_may_mention_the_others() -> None:
    env = env_of(
        a_task(env={"WHO": "${node.unique.name}/${NOMAD_TASK_NAME}", "NOMAD_DC": "mine", "K": "${attr.kernel.name}"})
    )
    assert env["WHO"] == "alpha/main"
    assert env["NOMAD_DC"] == "mine"
    assert env["K"] == "linux"


def test_unknown_references_stay_as_they_are() -> None:
    env = env_of(a_task(env={"X": "${nobody.knows} and ${HOME}"}))
    assert env["X"] == "${nobody.knows} and ${HOME}"


def test_names_that_no_environment_can_hold_are_dropped() -> None:
    env = env_of(a_task(env={"": "1", "A=B": "2", "fine.name": "3"}))
    assert "A=B" not in env
    assert "" not in env
    assert env["fine.name"] == "3"


def test_references_are_replaced_within_nested_config() -> None:
    missing: list[str] = []
    scope = Scope({"NOMAD_PORT_http": "8080", "odd name": "v"}, NODE)
    config = {
        "args": ["-p", "${NOMAD_PORT_http}"], "labels": [{"rack": "${meta.rack}", "n": 3}],
        "x": '${env["odd name"]}', "y": "${what.is.this}",
    }  # fmt: skip
    assert scope.value(config, missing.append) == {
        "args": ["-p", "8080"], "labels": [{"rack": "r7", "n": 3}], "x": "v", "y": "${what.is.this}",
    }  # fmt: skip
    assert missing == ["what.is.this"]


def test_node_values_have_their_names() -> None:
    scope = Scope({"NOMAD_REGION": "eu"}, NODE)
    text = "${node.unique.id} ${node.datacenter} ${node.class} ${node.pool} ${node.region} ${node.meta.rack}"
    assert scope.text(text) == "n-1 dc9 big gpu eu r7"


def test_a_value_that_looks_like_a_reference_is_not_replaced_twice() -> None:
    scope = Scope({"A": "${B}", "B": "secret"}, NODE)
    assert scope.text("${A}") == "${B}"


def test_cores_are_written_as_ranges() -> None:
    assert core_ranges((0, 1, 3, 5, 6, 7)) == "0-1,3,5-7"
