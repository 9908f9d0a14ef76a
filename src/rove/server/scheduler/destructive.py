"""Does a new job version need new processes, or can living allocations take it over?"""

from __future__ import annotations

from typing import Any

import msgspec

from rove.structs.job import Job, NetworkResource, Service, Task, TaskGroup


def needs_restart(old: Job, new: Job, group_name: str) -> bool:
    """True if an allocation of `old` must be replaced to become one of `new`.

    Count, plain services and checks, constraints, affinities, spreads, update, restart, reschedule,
    kill_timeout, priority, actions and log sizes can change in place; everything a process is started
    with cannot.
    """
    a, b = old.group(group_name), new.group(group_name)
    if a is None or b is None:
        return True
    if a == b and old.meta == new.meta:
        return False
    return _group_essence(old, a) != _group_essence(new, b)


def _group_essence(job: Job, group: TaskGroup) -> tuple[Any, ...]:
    return (
        group.ephemeral_disk,
        tuple(_network(network) for network in group.networks),
        group.volumes,
        group.consul,
        tuple(_connect(service) for service in group.services if service.connect),
        {task.name: _task_essence(job, group, task) for task in group.tasks},
    )


def _network(network: NetworkResource) -> tuple[Any, ...]:
    return (
        network.mode, network.device, network.hostname, network.dns, network.cni,
        tuple(sorted(map(msgspec.structs.astuple, network.reserved_ports))),
        tuple(sorted(map(msgspec.structs.astuple, network.dynamic_ports))),
    )  # fmt: skip


def _connect(service: Service) -> tuple[Any, ...]:
    return (service.name, service.connect, service.port_label)


def _task_essence(job: Job, group: TaskGroup, task: Task) -> tuple[Any, ...]:
    return (
        task.driver, task.user, task.config, task.env, task.artifacts, task.vault, task.secrets,
        task.templates, task.csi_plugin_config, task.volume_mounts, task.consul,
        {**job.meta, **group.meta, **task.meta},
        msgspec.structs.replace(task.resources, networks=(), iops=0),
        tuple(_network(network) for network in task.resources.networks),
        task.identity, task.identities, task.log_config.disabled, task.restart_policy.render_templates,
    )  # fmt: skip
