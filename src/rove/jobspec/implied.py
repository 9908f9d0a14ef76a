"""Constraints that follow from what a job uses, added when it is registered so that the scheduler needs no lore."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rove.structs.job import Constraint, Job, Service, TaskGroup

_BRIDGE_PLUGINS = ("bridge", "firewall", "host-local", "loopback", "portmap")


def add_implied_constraints(job: Job, *, consul: bool = True, vault: bool = True) -> Job:
    """The job with the constraints that its blocks imply, on its groups; adding them again changes nothing.

    consul, vault: whether services of the consul provider and vault blocks restrict a group to nodes that have the
    agent; leave out where Rove itself stands in for them.
    """
    groups = tuple(_with_implied(group, consul, vault) for group in job.task_groups)
    if groups == job.task_groups:
        return job
    return msgspec.structs.replace(job, task_groups=groups)


def _with_implied(group: TaskGroup, consul: bool, vault: bool) -> TaskGroup:
    have = set(_keys(group.constraints))
    new = [each for each in _implied(group, consul, vault) if _key(each) not in have]
    if not new:
        return group
    return msgspec.structs.replace(group, constraints=(*group.constraints, *new))


def _key(each: Constraint) -> tuple[str, str, str]:
    return (each.l_target, each.operand, each.r_target)


def _keys(constraints: Iterable[Constraint]) -> list[tuple[str, str, str]]:
    return [_key(each) for each in constraints]


def _implied(group: TaskGroup, consul: bool, vault: bool) -> list[Constraint]:
    out = []
    if vault:
        for cluster in sorted({task.vault.cluster for task in group.tasks if task.vault is not None}):
            name = "vault" if cluster == "default" else f"vault.{cluster}"
            least = ">= 0.6.1" if cluster == "default" else ">= 1.11.0"
            out.append(_semver(f"${{attr.{name}.version}}", least))
    services = [*group.services, *(service for task in group.tasks for service in task.services)]
    out += _for_services(services, consul)
    if any(network.mode == "bridge" for network in group.networks):
        out += [_semver(f"${{attr.plugins.cni.version.{name}}}", ">= 0.4.0") for name in _BRIDGE_PLUGINS]
    if any(_is_transparent(service) for service in services):
        out.append(_semver("${attr.plugins.cni.version.consul-cni}", ">= 1.4.2"))
    providers = {secret.provider for task in group.tasks for secret in task.secrets} - {"", "nomad", "vault"}
    out += [
        Constraint(l_target=f"${{attr.plugins.secrets.{name}.version}}", operand="is_set") for name in sorted(providers)
    ]
    signals = _signals(group)
    if signals:
        out.append(Constraint(l_target="${attr.os.signals}", operand="set_contains", r_target=",".join(signals)))
    return out


def _for_services(services: list[Service], consul: bool) -> list[Constraint]:
    out = []
    nomad = [service for service in services if service.provider == "nomad"]
    if nomad:
        out.append(Constraint(l_target="${attr.nomad.service_discovery}", operand="=", r_target="true"))
    if any(service.checks for service in nomad):
        out.append(_semver("${attr.nomad.version}", ">= 1.4.0"))
    if consul and len(nomad) < len(services):
        out.append(_semver("${attr.consul.version}", ">= 1.8.0"))
    return out


def _is_transparent(service: Service) -> bool:
    proxy: Any = service.connect
    for key in ("SidecarService", "Proxy", "TransparentProxy"):
        proxy = proxy.get(key) if isinstance(proxy, dict) else None
    return proxy is not None


def _signals(group: TaskGroup) -> list[str]:
    """Signals that tasks want to receive, sorted: kill signals and change signals."""
    wanted: set[str] = set()
    for task in group.tasks:
        if task.kill_signal:
            wanted.add(task.kill_signal.upper())
        wanted |= {each.change_signal for each in task.templates if each.change_mode == "signal"}
        if task.vault is not None and task.vault.change_mode == "signal":
            wanted.add(task.vault.change_signal)
    return sorted(signal for signal in wanted if signal and "${" not in signal and signal.startswith("SIG"))


def _semver(target: str, version: str) -> Constraint:
    return Constraint(l_target=target, operand="semver", r_target=version)
