"""What an allocation offers: names, addresses and checks of its services with everything replaced. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from rove.client.checks.core import CheckSpec, Status
from rove.structs.alloc import Allocation
from rove.structs.base import SECOND
from rove.structs.job import Service, ServiceCheck, TaskGroup
from rove.structs.resources import AllocatedPort, ports_of
from rove.structs.service import ServiceRegistration

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
TAGS_MAX = 64
TEXT_MAX = 512
INITIAL = {"passing": Status.PASSING, "warning": Status.WARNING, "critical": Status.CRITICAL}
PORT_MAX = 65_535

Text = Callable[[str], str]
"""Replaces ``${...}`` in a string."""


class Place(NamedTuple):
    """Where a service can be reached from."""

    host: str
    port: int


class Where(NamedTuple):
    """Addresses of an allocation. driver: by task, what its driver gave it; alloc, alloc_ipv6: its own network's."""

    node: str
    driver: Mapping[str, str]
    alloc: str = ""
    alloc_ipv6: str = ""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A service of an allocation. task: the one it belongs to, "" for the group's."""

    registration: ServiceRegistration
    task: str
    checks: tuple[CheckSpec, ...] = ()
    trouble: str = ""
    """Why it cannot be registered."""

    def with_health(self, health: str) -> ServiceRegistration:
        """The registration of an instance that stands like this."""
        return msgspec.structs.replace(self.registration, health=health)


def offers(alloc: Allocation, group: TaskGroup, where: Where, text: Callable[[str], Text]) -> tuple[Offer, ...]:
    """Every service of the allocation's group and tasks. text: gives the replacement for a task ("": the group)."""
    found = [_offer(alloc, group, "", service, where, text) for service in group.services]
    for task in group.tasks:
        found += [_offer(alloc, group, task.name, service, where, text) for service in task.services]
    return tuple({offer.registration.id: offer for offer in found}.values())


def _offer(
    alloc: Allocation, group: TaskGroup, owner: str, service: Service, where: Where, text: Callable[[str], Text]
) -> Offer:
    task = owner or service.task_name
    replace = text(task)
    name, label = replace(service.name), replace(service.port_label)
    part = owner or f"group-{group.name}"
    service_id = f"_nomad-task-{alloc.id}-{part}-{name}-{label}"
    canary = alloc.is_canary
    tags = service.canary_tags if canary and service.canary_tags else service.tags
    meta = {**service.meta, **(service.canary_meta if canary else {})}
    place = place_of(service.address_mode, label, alloc, task, where, replace(service.address))
    checks = tuple(
        _check(alloc, group, task, service, check, service_id, name, label, place, where, replace, at)
        for at, check in enumerate(service.checks)
    )
    trouble = "" if NAME.fullmatch(name) else f'"{name[:80]}" is not a name for a service'
    return Offer(
        registration=ServiceRegistration(
            id=service_id, service_name=name, alloc_id=alloc.id,
            tags=tuple(replace(tag)[:TEXT_MAX] for tag in tags[:TAGS_MAX]),
            address=place.host, port=place.port,
            meta={replace(key)[:TEXT_MAX]: replace(value)[:TEXT_MAX] for key, value in meta.items()},
        ),
        task=task,
        checks=checks,
        trouble=trouble,
    )  # fmt: skip


def place_of(mode: str, label: str, alloc: Allocation, task: str, where: Where, address: str = "") -> Place:
    """The address and port that a mode gives. label: a port's label, a number, or "" for no port.

    auto and host: the node's. driver: what the task's driver gave it. alloc, alloc_ipv6: the allocation's own
    network; where it has none, the node's, since that is the one it uses.
    """
    port = next((port for port in ports_of(alloc.allocated_resources) if port.label == label), None)
    number = int(label) if label.isdecimal() and int(label) <= PORT_MAX else 0
    if address:
        return Place(address, port.value if port else number)
    inside = {"driver": where.driver.get(task, ""), "alloc": where.alloc, "alloc_ipv6": where.alloc_ipv6}.get(mode, "")
    if inside:
        return Place(inside, _inner(port) if port else number)
    host = (port.host_ip if port else "") or where.node
    return Place("127.0.0.1" if host in ("0.0.0.0", "") else host, port.value if port else number)


def _inner(port: AllocatedPort) -> int:
    return port.to if port.to > 0 else port.value


def _check(
    alloc: Allocation, group: TaskGroup, task: str, service: Service, check: ServiceCheck, service_id: str,
    service_name: str, service_label: str, service_place: Place, where: Where, replace: Text, at: int,
) -> CheckSpec:  # fmt: skip
    label = replace(check.port_label)
    task = check.task_name or task
    place = service_place
    if label or check.address_mode:
        place = place_of(check.address_mode or "host", label or service_label, alloc, task, where)
    elif service.address:  # others reach it there, the node does not have to
        place = place_of("host", service_label, alloc, task, where)
    restart = check.check_restart
    name = replace(check.name)
    mark = f"{service_id}\0{name}\0{at}"
    needs_port = check.type in ("http", "tcp", "grpc")
    return CheckSpec(
        id=hashlib.sha256(mark.encode()).hexdigest()[:32],
        name=name, service=service_name, service_id=service_id, group=group.name, task=task, kind=check.type,
        interval_s=max(check.interval / SECOND, 1.0), timeout_s=max(check.timeout / SECOND, 1.0),
        on_update=check.on_update or service.on_update, initial=INITIAL.get(check.initial_status, Status.PENDING),
        success_before_passing=check.success_before_passing,
        failures_before_critical=check.failures_before_critical,
        failures_before_warning=check.failures_before_warning,
        restart_limit=restart.limit if restart else 0, restart_grace_s=restart.grace / SECOND if restart else 0.0,
        restart_ignores_warnings=restart.ignore_warnings if restart else False,
        host=place.host, port=place.port, path=replace(check.path), method=(check.method or "GET").upper(),
        protocol="https" if check.protocol == "https" else "http",
        headers=tuple((replace(key), replace(value)) for key, values in check.header.items() for value in values),
        body=replace(check.body), tls_server_name=replace(check.tls_server_name), tls_skip_verify=check.tls_skip_verify,
        grpc_service=replace(check.grpc_service), grpc_use_tls=check.grpc_use_tls,
        command=(replace(check.command), *(replace(arg) for arg in check.args)) if check.command else (),
        trouble="" if place.port or not needs_port else f'its port "{label or service_label}" is not known',
    )  # fmt: skip
