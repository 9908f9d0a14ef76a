"""Rules for services and their health checks."""

from __future__ import annotations

from collections.abc import Set

from rove.structs.base import SECOND
from rove.structs.job import Service, ServiceCheck, Task, TaskGroup

from .places import nth
from .problem import Problem, join
from .rules import DNS_NAME, Problems, at_least, is_late, word
from .validate_network import port_labels

ON_UPDATE = ("require_healthy", "ignore_warnings", "ignore")
NAMES_SHOWN = 10
Labels = Set[str]
CHECK_TYPES = ("http", "tcp", "script", "grpc")
NOMAD_CHECK_TYPES = ("http", "tcp")


def services_problems(
    group: TaskGroup, task: Task | None, services: tuple[Service, ...], path: str, found: Problems
) -> None:
    """The services of a group, or of a task when `task` is given."""
    if not services:
        return
    labels = port_labels(group)
    for at, service in enumerate(services):
        _service(group, task, service, labels, join(path, nth("service", at)), found)


def _service(group: TaskGroup, task: Task | None, service: Service, labels: Labels, path: str, found: Problems) -> None:
    if not is_late(service.name) and not DNS_NAME.fullmatch(service.name):
        text = f'"{service.name[:80]}" is not a service name: 1 to 63 letters, digits and dashes'
        found.append(Problem(join(path, "name"), text))
    word(service.provider, ("consul", "nomad"), join(path, "provider"), found)
    modes = ("auto", "host", "driver", "alloc", "alloc_ipv6")
    word(service.address_mode, modes, join(path, "address_mode"), found)
    word(service.on_update, ON_UPDATE, join(path, "on_update"), found)
    _port(labels, service.port_label, join(path, "port"), found)
    if service.connect is not None and service.provider == "nomad":
        found.append(Problem(join(path, "connect"), "connect works with the consul provider only"))
    if service.address and service.address_mode not in ("auto",):
        found.append(Problem(join(path, "address"), 'an "address" needs address_mode "auto"'))
    if service.task_name and group.task(service.task_name) is None:
        found.append(Problem(join(path, "task"), f'the group has no task "{service.task_name}"'))
    if service.check_restart is not None:
        at_least(service.check_restart.limit, 0, join(path, "check_restart > limit"), "this cannot be negative", found)
    for at, check in enumerate(service.checks):
        _check(group, task, service, check, labels, join(path, nth("check", at)), found)


def _port(labels: Labels, label: str, path: str, found: Problems) -> None:
    if not label or is_late(label) or label in labels:
        return
    if label.isdecimal():
        if not 1 <= int(label[:10]) <= 65_535:
            found.append(Problem(path, f"a port is 1 to 65535; this is {label[:20]}"))
        return
    known = sorted(labels)
    names = f"its ports are {', '.join(known[:NAMES_SHOWN])}" if known else "it has no ports"
    found.append(Problem(path, f'the group has no port "{label[:80]}"; {names}'))


def _check(
    group: TaskGroup, task: Task | None, service: Service, check: ServiceCheck, labels: Labels, path: str,
    found: Problems,
) -> None:  # fmt: skip
    types = NOMAD_CHECK_TYPES if service.provider == "nomad" else CHECK_TYPES
    if not check.type:
        found.append(Problem(path, f"a check needs a type: {', '.join(types)}"))
    else:
        word(check.type, types, join(path, "type"), found)
    if check.interval < SECOND:
        text = "a check needs an interval of at least 1s" if check.interval else "a check needs an interval"
        found.append(Problem(join(path, "interval") if check.interval else path, text))
    if check.timeout < SECOND:
        text = "a check needs a timeout of at least 1s" if check.timeout else "a check needs a timeout"
        found.append(Problem(join(path, "timeout") if check.timeout else path, text))
    if check.type == "http" and not check.path:
        found.append(Problem(path, 'an http check needs a "path"'))
    if check.type == "script":
        _script(group, task, service, check, path, found)
    elif check.type in CHECK_TYPES and not check.port_label and not service.port_label and not check.expose:
        found.append(Problem(path, f"a {check.type} check needs a port, its own or its service's"))
    _port(labels, check.port_label, join(path, "port"), found)
    if check.protocol:
        word(check.protocol, ("http", "https"), join(path, "protocol"), found)
    if check.initial_status:
        word(check.initial_status, ("passing", "warning", "critical"), join(path, "initial_status"), found)
    word(check.on_update, ON_UPDATE, join(path, "on_update"), found)
    if check.check_restart is not None:
        at_least(check.check_restart.limit, 0, join(path, "check_restart > limit"), "this cannot be negative", found)
        at_least(check.check_restart.grace, 0, join(path, "check_restart > grace"), "this cannot be negative", found)
    if service.provider == "nomad":
        _nomad_check(check, path, found)


def _script(
    group: TaskGroup, task: Task | None, service: Service, check: ServiceCheck, path: str, found: Problems
) -> None:
    if not check.command:
        found.append(Problem(path, 'a script check needs a "command"'))
    name = check.task_name or service.task_name
    if task is None and not name:
        found.append(Problem(path, 'a script check of a group needs the "task" it runs in'))
    elif name and group.task(name) is None:
        found.append(Problem(join(path, "task"), f'the group has no task "{name}"'))


def _nomad_check(check: ServiceCheck, path: str, found: Problems) -> None:
    unfit = {
        "expose": check.expose,
        "success_before_passing": check.success_before_passing,
        "failures_before_critical": check.failures_before_critical,
        "failures_before_warning": check.failures_before_warning,
        "tls_server_name": check.tls_server_name,
        "grpc_service": check.grpc_service,
    }
    for name, value in unfit.items():
        if value:
            found.append(Problem(join(path, name), f'checks of the nomad provider have no "{name}"'))
    if check.address_mode == "driver":
        found.append(Problem(join(path, "address_mode"), "checks of the nomad provider cannot use driver addresses"))
    if check.check_restart is not None and check.check_restart.ignore_warnings:
        place = join(path, "check_restart > ignore_warnings")
        found.append(Problem(place, "checks of the nomad provider have no warnings to ignore"))
    if check.on_update == "ignore_warnings":
        found.append(Problem(join(path, "on_update"), "checks of the nomad provider have no warnings to ignore"))
