"""Names, tags and addresses of services, and what their checks ask."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rove.client.checks.core import Status
from rove.client.services.core import Offer, Where, offers
from rove.structs.alloc import Allocation, AllocDeploymentStatus
from rove.structs.job import CheckRestart, Service, ServiceCheck, Task, TaskGroup
from rove.structs.resources import AllocatedPort, AllocatedResources, AllocatedShared

SECOND = 1_000_000_000
ALLOC = Allocation(
    id="a1",
    job_id="web",
    task_group="api",
    allocated_resources=AllocatedResources(
        shared=AllocatedShared(ports=(AllocatedPort(label="http", value=25_000, to=8080, host_ip="10.0.0.5"),))
    ),
)
WHERE = Where(node="10.0.0.1", driver={"main": "172.17.0.2"}, alloc="172.26.0.9", alloc_ipv6="fd00::9")
CHECK = ServiceCheck(name="ping", type="http", path="/", interval=10 * SECOND, timeout=2 * SECOND)


def replaced(task: str) -> Any:
    return lambda text: text.replace("${NOMAD_TASK_NAME}", task or "-").replace("${X}", "x")


def offered(*services: Service, tasks: tuple[Task, ...] = (), alloc: Allocation = ALLOC, where: Where = WHERE) -> Any:
    group = TaskGroup(name="api", services=services, tasks=tasks or (Task(name="main"),))
    return offers(alloc, group, where, replaced)


def one(*, where: Where = WHERE, alloc: Allocation = ALLOC, **fields: Any) -> Offer:
    found: Offer = offered(Service(**{"name": "web", "port_label": "http", **fields}), where=where, alloc=alloc)[0]
    return found


def test_ids_are_those_that_clients_of_nomad_know() -> None:
    tasks = (Task(name="main", services=(Service(name="db", port_label="http"),)),)
    found = offered(Service(name="web", port_label="http"), tasks=tasks)
    assert [offer.registration.id for offer in found] == [
        "_nomad-task-a1-group-api-web-http", "_nomad-task-a1-main-db-http",
    ]  # fmt: skip
    assert [offer.task for offer in found] == ["", "main"]


@pytest.mark.parametrize(
    ("mode", "label", "host", "port"),
    [
        ("auto", "http", "10.0.0.5", 25_000),
        ("host", "http", "10.0.0.5", 25_000),
        ("host", "9090", "10.0.0.1", 9090),
        ("auto", "", "10.0.0.1", 0),
        ("alloc", "http", "172.26.0.9", 8080),
        ("alloc", "9090", "172.26.0.9", 9090),
        ("alloc_ipv6", "http", "fd00::9", 8080),
        ("driver", "http", "172.17.0.2", 8080),
        ("driver", "9090", "172.17.0.2", 9090),
        ("host", "99999999", "10.0.0.1", 0),
    ],
)
def test_addresses_go_by_the_mode(mode: str, label: str, host: str, port: int) -> None:
    registration = one(address_mode=mode, port_label=label, task_name="main").registration
    assert (registration.address, registration.port) == (host, port)


def test_an_address_of_its_own_is_taken_as_it_is() -> None:
    registration = one(address="example.test").registration
    assert (registration.address, registration.port) == ("example.test", 25_000)


def test_an_allocation_without_a_network_of_its_own_has_the_nodes_address() -> None:
    registration = one(address_mode="alloc", where=Where(node="10.0.0.1", driver={})).registration
    assert (registration.address, registration.port) == ("10.0.0.5", 25_000)
    nowhere = one(port_label="", where=Where(node="", driver={})).registration
    assert nowhere.address == "127.0.0.1"


def test_canaries_have_their_own_tags_and_meta() -> None:
    fields = {"tags": ("live",), "canary_tags": ("canary",), "meta": {"a": "1"}, "canary_meta": {"b": "2"}}
    canary = msgspec.structs.replace(ALLOC, deployment_status=AllocDeploymentStatus(canary=True))
    assert one(**fields).registration.tags == ("live",)
    assert one(**fields, alloc=canary).registration.tags == ("canary",)
    assert one(**fields, alloc=canary).registration.meta == {"a": "1", "b": "2"}
    assert one(tags=("live",), alloc=canary).registration.tags == ("live",)


def test_strings_are_replaced_for_the_task_they_belong_to() -> None:
    offer = one(name="s-${X}", tags=("t-${NOMAD_TASK_NAME}",), task_name="main", meta={"k": "${X}"})
    assert offer.registration.service_name == "s-x"
    assert offer.registration.tags == ("t-main",)
    assert offer.registration.meta == {"k": "x"}


def test_a_name_that_is_none_is_not_registered() -> None:
    assert "not a name" in one(name="a b").trouble
    assert "not a name" in one(name="a" * 64).trouble
    assert one(name="a" * 63).trouble == ""


def test_too_many_tags_are_cut() -> None:
    assert len(one(tags=tuple(str(n) for n in range(1000))).registration.tags) == 64


def test_checks_ask_the_node_unless_told_otherwise() -> None:
    def asked(**fields: Any) -> tuple[str, int]:
        check = msgspec.structs.replace(CHECK, **fields)
        spec = one(address_mode="driver", task_name="main", checks=(check,)).checks[0]
        return spec.host, spec.port

    assert asked() == ("172.17.0.2", 8080)  # as its service
    assert asked(port_label="http") == ("10.0.0.5", 25_000)
    assert asked(address_mode="host") == ("10.0.0.5", 25_000)
    assert asked(address_mode="alloc", port_label="9000") == ("172.26.0.9", 9000)


def test_a_check_carries_all_that_its_block_says() -> None:
    check = msgspec.structs.replace(
        CHECK, header={"Host": ["a", "b"]}, method="post", body="${X}", protocol="https", tls_skip_verify=True,
        initial_status="passing", success_before_passing=2, failures_before_critical=3, on_update="ignore",
        check_restart=CheckRestart(limit=3, grace=5 * SECOND, ignore_warnings=True),
    )  # fmt: skip
    spec = one(checks=(check,)).checks[0]
    assert (spec.interval_s, spec.timeout_s, spec.method, spec.body) == (10.0, 2.0, "POST", "x")
    assert (spec.headers, spec.protocol, spec.tls_skip_verify) == ((("Host", "a"), ("Host", "b")), "https", True)
    assert (spec.initial, spec.success_before_passing, spec.failures_before_critical) == (Status.PASSING, 2, 3)
    assert (spec.restart_limit, spec.restart_grace_s, spec.restart_ignores_warnings) == (3, 5.0, True)
    assert not spec.decides


def test_checks_of_one_service_have_ids_of_their_own_that_stay() -> None:
    first, second = one(checks=(CHECK, CHECK)).checks
    assert first.id != second.id
    assert one(checks=(CHECK,)).checks[0].id == first.id


def test_a_check_without_a_port_says_so() -> None:
    assert "nope" in one(port_label="nope", checks=(CHECK,)).checks[0].trouble
    script = msgspec.structs.replace(CHECK, type="script", command="/bin/true")
    assert one(port_label="", checks=(script,)).checks[0].trouble == ""
