"""The environment of a task and the replacement of ``${...}`` in its strings. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rove.structs.alloc import Allocation
from rove.structs.base import SECOND
from rove.structs.job import Job, Task, TaskGroup
from rove.structs.node import Node
from rove.structs.resources import AllocatedPort, AllocatedTask

_REFERENCE = re.compile(r"\$\{\s*([^${}\s][^${}]*?)\s*\}")
_INDEXED = re.compile(r'^env\[\s*"([^"]*)"\s*\]$')
_BAD_NAME = re.compile(r"[^A-Za-z0-9_]")
_CLEANED = ("NOMAD_ADDR_", "NOMAD_IP_", "NOMAD_PORT_", "NOMAD_HOST_", "NOMAD_META_")


class Paths(NamedTuple):
    """Directories as the task sees them."""

    alloc: str
    local: str
    secrets: str


class Scope:
    """What ``${...}`` may mention on this node for this task."""

    def __init__(self, env: Mapping[str, str], node: Node, secrets: Mapping[str, str] | None = None) -> None:
        self.env = dict(env)
        self._node = node
        self._secrets = secrets or {}

    def text(self, text: str) -> str:
        """Replace what is known; unknown references stay as they are."""
        return self._replace(text, lambda match: match.group(0)) if "${" in text else text

    def value(self, value: Any, missing: Callable[[str], None]) -> Any:
        """Replace within nested lists and maps; each unknown reference is told to `missing`."""

        def unknown(match: re.Match[str]) -> str:
            missing(match.group(1))
            return match.group(0)

        if isinstance(value, str):
            return self._replace(value, unknown)
        if isinstance(value, list | tuple):
            return [self.value(item, missing) for item in value]
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item, missing) for key, item in value.items()}
        return value

    def _replace(self, text: str, unknown: Callable[[re.Match[str]], str]) -> str:
        def one(match: re.Match[str]) -> str:
            known = self.lookup(match.group(1))
            return unknown(match) if known is None else known

        return _REFERENCE.sub(one, text)

    def lookup(self, name: str) -> str | None:
        """The value of one reference, None if it is not known."""
        if name in self.env:
            return self.env[name]
        if indexed := _INDEXED.match(name):
            return self.env.get(indexed.group(1))
        node = self._node
        if name.startswith("node.attr."):
            return node.attributes.get(name[len("node.attr.") :])
        if name.startswith("node.meta."):
            return node.meta.get(name[len("node.meta.") :])
        if name.startswith("attr."):
            return node.attributes.get(name[len("attr.") :])
        if name.startswith("meta."):
            return node.meta.get(name[len("meta.") :])
        if name.startswith("secret."):
            return self._secrets.get(name[len("secret.") :])
        return {
            "node.unique.id": node.id, "node.unique.name": node.name, "node.datacenter": node.datacenter,
            "node.class": node.node_class, "node.pool": node.node_pool,
            "node.region": self.env.get("NOMAD_REGION"),
        }.get(name)  # fmt: skip


def task_env(
    alloc: Allocation,
    job: Job,
    group: TaskGroup,
    task: Task,
    node: Node,
    paths: Paths,
    host_env: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The whole environment of a task. host_env fills gaps only; the task's own `env` wins."""
    builtin = _builtin(alloc, job, group, task, node, paths)
    builtin |= _ports(alloc, task.name)
    builtin |= _meta(job, group, task, Scope(builtin, node))
    env = {**(host_env or {}), **builtin}
    scope = Scope(env, node)
    for key, value in task.env.items():
        name = scope.text(key)
        if name and "=" not in name and "\0" not in name:
            env[_clean(name) if name.startswith(_CLEANED) else name] = scope.text(value)
    return env


def _builtin(alloc: Allocation, job: Job, group: TaskGroup, task: Task, node: Node, paths: Paths) -> dict[str, str]:
    resources = alloc.allocated_resources.tasks.get(task.name, AllocatedTask())
    env = {
        "NOMAD_ALLOC_DIR": paths.alloc,
        "NOMAD_TASK_DIR": paths.local,
        "NOMAD_SECRETS_DIR": paths.secrets,
        "NOMAD_MEMORY_LIMIT": str(resources.memory.memory_mb or task.resources.memory_mb),
        "NOMAD_CPU_LIMIT": str(resources.cpu.cpu_shares or task.resources.cpu),
        "NOMAD_ALLOC_ID": alloc.id,
        "NOMAD_SHORT_ALLOC_ID": alloc.id[:8],
        "NOMAD_ALLOC_NAME": alloc.name,
        "NOMAD_ALLOC_INDEX": str(max(alloc.index, 0)),
        "NOMAD_TASK_NAME": task.name,
        "NOMAD_GROUP_NAME": group.name,
        "NOMAD_JOB_ID": job.id,
        "NOMAD_JOB_NAME": job.name or job.id,
        "NOMAD_DC": node.datacenter,
        "NOMAD_NAMESPACE": alloc.namespace or job.namespace,
        "NOMAD_REGION": job.region,
    }
    if resources.memory.memory_max_mb > 0:
        env["NOMAD_MEMORY_MAX_LIMIT"] = str(resources.memory.memory_max_mb)
    if resources.cpu.reserved_cores:
        env["NOMAD_CPU_CORES"] = core_ranges(resources.cpu.reserved_cores)
    if job.parent_id:
        env["NOMAD_JOB_PARENT_ID"] = job.parent_id
    if node.cgroup_parent:
        env["NOMAD_PARENT_CGROUP"] = node.cgroup_parent
    return env


def core_ranges(cores: tuple[int, ...]) -> str:
    """Core ids as text: (0, 1, 3) gives "0-1,3"."""
    parts: list[list[int]] = []
    for core in sorted(cores):
        if parts and core == parts[-1][1] + 1:
            parts[-1][1] = core
        else:
            parts.append([core, core])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _ports(alloc: Allocation, task: str) -> dict[str, str]:
    env: dict[str, str] = {}
    resources = alloc.allocated_resources
    for name, held in resources.tasks.items():
        for network in held.networks:
            for port in (*network.reserved_ports, *network.dynamic_ports):
                if name == task:
                    env |= _port(AllocatedPort(label=port.label, value=port.value, to=port.to, host_ip=network.ip))
                else:
                    label = _clean(f"{name}_{port.label}")
                    env[f"NOMAD_IP_{label}"] = network.ip
                    env[f"NOMAD_PORT_{label}"] = str(port.value)
                    env[f"NOMAD_ADDR_{label}"] = _address(network.ip, port.value)
    status = alloc.network_status
    for port_given in resources.shared.ports:
        env |= _port(port_given)
        if status is not None and status.address:
            label = _clean(port_given.label)
            env[f"NOMAD_ALLOC_INTERFACE_{label}"] = status.interface_name
            env[f"NOMAD_ALLOC_IP_{label}"] = status.address
            env[f"NOMAD_ALLOC_ADDR_{label}"] = _address(status.address, inner_port(port_given))
    return env


def inner_port(port: AllocatedPort) -> int:
    """The port that the task itself listens on."""
    return port.to if port.to > 0 else port.value


def _port(port: AllocatedPort) -> dict[str, str]:
    label = _clean(port.label)
    inner, outer = str(inner_port(port)), _address(port.host_ip, port.value)
    return {
        f"NOMAD_IP_{label}": port.host_ip,
        f"NOMAD_PORT_{label}": inner,
        f"NOMAD_ADDR_{label}": outer,
        f"NOMAD_HOST_IP_{label}": port.host_ip,
        f"NOMAD_HOST_PORT_{label}": str(port.value),
        f"NOMAD_HOST_ADDR_{label}": outer,
        f"NOMAD_ALLOC_PORT_{label}": inner,
    }


def _address(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _meta(job: Job, group: TaskGroup, task: Task, scope: Scope) -> dict[str, str]:
    merged = {**job.meta, **group.meta, **task.meta}
    if job.parameterized_job is not None:
        for key in job.parameterized_job.meta_optional:
            merged.setdefault(key, "")
    env: dict[str, str] = {}
    for key, value in merged.items():
        text = scope.text(value)
        env[f"NOMAD_META_{_clean(key)}"] = text
        env[f"NOMAD_META_{_clean(key).upper()}"] = text
    return env


def _clean(name: str) -> str:
    """A label or key as it may stand in a variable's name."""
    return _BAD_NAME.sub("_", name)


def seconds(ns: int | None) -> float:
    """Nanoseconds as seconds; None is 0."""
    return (ns or 0) / SECOND
