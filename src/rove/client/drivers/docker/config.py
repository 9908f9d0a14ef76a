"""From a job's docker config to the engine's create request. Pure.

Source of the request's shape: the Docker Engine API, version 1.41.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rove.client.drivers.base import DriverError, TaskSpec
from rove.structs.resources import AllocatedPort

MIB = 1024 * 1024
SHARES_MIN = 2
LABEL_ALLOC = "com.hashicorp.nomad.alloc_id"
LABEL_TASK = "io.rove.task"
LABEL_NODE = "io.rove.node_id"
EXTRA_LABELS = ("job_name", "job_id", "task_group_name", "task_name", "namespace", "node_name", "node_id")

KEYS = frozenset(
    [
        "image",
        "args",
        "command",
        "entrypoint",
        "auth",
        "auth_soft_fail",
        "cap_add",
        "cap_drop",
        "cgroupns",
        "container_exists_attempts",
        "cpuset_cpus",
        "cpu_hard_limit",
        "cpu_cfs_period",
        "devices",
        "dns_servers",
        "dns_search_domains",
        "dns_options",
        "extra_hosts",
        "force_pull",
        "group_add",
        "healthchecks",
        "hostname",
        "init",
        "interactive",
        "ipc_mode",
        "ipv4_address",
        "ipv6_address",
        "advertise_ipv6_address",
        "isolation",
        "labels",
        "load",
        "logging",
        "mac_address",
        "memory_hard_limit",
        "mount",
        "mounts",
        "network_aliases",
        "network_mode",
        "oom_score_adj",
        "pids_limit",
        "pid_mode",
        "ports",
        "port_map",
        "privileged",
        "image_pull_timeout",
        "readonly_rootfs",
        "runtime",
        "security_opt",
        "shm_size",
        "storage_opt",
        "sysctl",
        "tty",
        "ulimit",
        "uts_mode",
        "userns_mode",
        "volumes",
        "volume_driver",
        "work_dir",
    ]
)
"""Every option of a task's config."""
NOT_HERE = {"load": "images are pulled, not loaded", "isolation": "it exists on Windows only"}

PLUGIN_KEYS = frozenset(
    [
        "endpoint",
        "auth",
        "tls",
        "extra_labels",
        "logging",
        "gc",
        "volumes",
        "allow_privileged",
        "allow_caps",
        "nvidia_runtime",
        "allow_runtimes",
        "infra_image",
        "infra_image_pull_timeout",
        "image_pull_timeout",
        "container_exists_attempts",
        "oom_score_adj",
        "pull_activity_timeout",
        "pids_limit",
        "disable_log_collection",
        "windows_allow_insecure_container_admin",
        "allowed_modes",
    ]
)

WITHOUT_EFFECT = frozenset(
    ["disable_log_collection", "logging", "oom_score_adj", "infra_image", "infra_image_pull_timeout"]
)
"""Plugin options that are read, so that a node's file can be kept, and do nothing here."""
REFUSED = {
    "allowed_modes": "jobs could use the modes that it does not list",
    "tls": "the engine would be reached without it",
}
"""Plugin options that would protect something, and what it would mean to pass over them."""

DEFAULT_CAPS = frozenset(
    [
        "audit_write",
        "chown",
        "dac_override",
        "fowner",
        "fsetid",
        "kill",
        "mknod",
        "net_bind_service",
        "setfcap",
        "setgid",
        "setpcap",
        "setuid",
        "sys_chroot",
    ]
)
LISTS = frozenset(
    [
        "args",
        "cap_add",
        "cap_drop",
        "dns_servers",
        "dns_search_domains",
        "dns_options",
        "extra_hosts",
        "group_add",
        "network_aliases",
        "ports",
        "security_opt",
        "volumes",
    ]
)
MAPS = frozenset(["labels", "port_map", "storage_opt", "sysctl", "ulimit"])


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the node allows (the plugin's config)."""

    volumes_enabled: bool = False
    allow_privileged: bool = False
    allow_caps: frozenset[str] = DEFAULT_CAPS
    allow_runtimes: tuple[str, ...] = ("runc", "nvidia")
    extra_labels: tuple[str, ...] = ()
    pids_limit: int = 0
    total_mhz: int = 1000
    cores: int = 1


def policy_of(plugin: Mapping[str, Any], *, total_mhz: int, cores: int) -> Policy:
    """The plugin's config as a policy. Raises `DriverError` for options that are unknown or cannot be kept."""
    unknown = sorted(set(plugin) - PLUGIN_KEYS)
    if unknown:
        raise DriverError(f"docker's plugin config has no option {unknown[0]!r}")
    for key, why in REFUSED.items():
        if plugin.get(key):
            raise DriverError(f"docker's plugin option {key} is not supported: {why}")
    caps = plugin.get("allow_caps")
    return Policy(
        volumes_enabled=bool(merged(plugin.get("volumes")).get("enabled", False)),
        allow_privileged=bool(plugin.get("allow_privileged", False)),
        allow_caps=DEFAULT_CAPS if caps is None else frozenset(_cap(name) for name in caps),
        allow_runtimes=tuple(plugin.get("allow_runtimes") or ("runc", "nvidia")),
        extra_labels=tuple(plugin.get("extra_labels") or ()),
        pids_limit=int(plugin.get("pids_limit") or 0),
        total_mhz=total_mhz,
        cores=cores,
    )


def without_effect(plugin: Mapping[str, Any]) -> list[str]:
    """The options of the plugin's config that are set and do nothing."""
    return sorted(key for key in WITHOUT_EFFECT if plugin.get(key))


def problems(config: Mapping[str, Any]) -> list[str]:
    """Everything wrong with a task's config, one line each."""
    found = [f"docker has no option {key!r}" for key in sorted(set(config) - KEYS)]
    found += [f"{key} is not supported: {why}" for key, why in NOT_HERE.items() if config.get(key)]
    image = config.get("image")
    if not isinstance(image, str) or not image.strip():
        found.append("image is missing")
    for key in sorted(LISTS & set(config)):
        value = config[key]
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            found.append(f"{key} is a list of strings")
    for key in ("command", "work_dir", "hostname", "network_mode", "pid_mode", "ipc_mode", "uts_mode", "userns_mode"):
        if key in config and not isinstance(config[key], str):
            found.append(f"{key} is a string")
    for key in sorted(MAPS & set(config)):
        if not _is_map(config[key]):
            found.append(f"{key} is a block or a map")
    return found


def merged(value: Any) -> dict[str, Any]:
    """A block of a config as one map: HCL gives a map, or a list of maps for repeated blocks."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return {key: item for part in value if isinstance(part, Mapping) for key, item in part.items()}
    return {}


def blocks(*values: Any) -> list[dict[str, Any]]:
    """Repeated blocks (and lists of maps) as a list of maps."""
    found: list[dict[str, Any]] = []
    for value in values:
        if isinstance(value, Mapping):
            found.append(dict(value))
        elif isinstance(value, list | tuple):
            found += [dict(item) for item in value if isinstance(item, Mapping)]
    return found


def container_name(spec: TaskSpec) -> str:
    """The container's name, as people know it: ``<task>-<allocation id>``."""
    safe = "".join(char if char.isalnum() or char in "_.-" else "_" for char in spec.name)
    return f"{safe}-{spec.alloc_id}"


def create_request(spec: TaskSpec, policy: Policy, node_id: str) -> dict[str, Any]:
    """The body of the engine's create call. Raises `DriverError` for what the node does not allow."""
    config = spec.config
    exposed, bindings = _ports(spec)
    request: dict[str, Any] = {
        "Image": config["image"],
        "Env": [f"{key}={value}" for key, value in sorted(spec.env.items())],
        "Labels": _labels(spec, policy, node_id),
        "Tty": bool(config.get("tty")),
        "OpenStdin": bool(config.get("interactive")),
        "ExposedPorts": exposed,
        "HostConfig": _host_config(spec, policy, bindings),
        "StopSignal": spec.kill_signal or "SIGTERM",
    }
    command = _command(config)
    if command:
        request["Cmd"] = command
    if config.get("entrypoint") is not None:
        entrypoint = config["entrypoint"]
        request["Entrypoint"] = shlex.split(entrypoint) if isinstance(entrypoint, str) else list(entrypoint)
    if spec.user:
        request["User"] = spec.user
    if config.get("work_dir"):
        request["WorkingDir"] = config["work_dir"]
    hostname = config.get("hostname") or spec.hostname
    if hostname:
        request["Hostname"] = hostname
    if config.get("mac_address"):
        request["MacAddress"] = config["mac_address"]
    if merged(config.get("healthchecks")).get("disable"):
        request["Healthcheck"] = {"Test": ["NONE"]}
    endpoint = _endpoint(config)
    if endpoint:
        request["NetworkingConfig"] = {"EndpointsConfig": {config["network_mode"]: endpoint}}
    return request


def _command(config: Mapping[str, Any]) -> list[str]:
    command = [config["command"]] if config.get("command") else []
    return command + [str(item) for item in config.get("args") or ()]


def _labels(spec: TaskSpec, policy: Policy, node_id: str) -> dict[str, str]:
    labels = {key: str(value) for key, value in merged(spec.config.get("labels")).items()}
    values = {
        "job_name": spec.job_name,
        "job_id": spec.job_id,
        "task_group_name": spec.group,
        "task_name": spec.name,
        "namespace": spec.namespace,
        "node_name": spec.node_name,
        "node_id": spec.node_id,
    }
    for name in EXTRA_LABELS:
        if any(_matches(pattern, name) for pattern in policy.extra_labels):
            labels[f"com.hashicorp.nomad.{name}"] = values[name]
    # Last, so that a job cannot take the place of what a new agent finds containers by.
    return {**labels, LABEL_ALLOC: spec.alloc_id, LABEL_TASK: spec.id, LABEL_NODE: node_id}


def _matches(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == name


def _ports(spec: TaskSpec) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    """(exposed, bindings): what of the allocation's ports is published. Raises for labels it does not have."""
    by_label = {port.label: port for port in spec.ports}
    chosen: list[tuple[AllocatedPort, int]] = []
    for label in spec.config.get("ports") or ():
        if label not in by_label:
            known = ", ".join(sorted(by_label)) or "none"
            raise DriverError(f'port "{label}" is not a port of the group\'s network (it has: {known})')
        port = by_label[label]
        chosen.append((port, port.to if port.to > 0 else port.value))
    for label, inside in merged(spec.config.get("port_map")).items():
        if label not in by_label:
            raise DriverError(f'port_map names the port "{label}", which the network does not have')
        chosen.append((by_label[label], int(inside)))
    if not chosen and spec.network_mode == "bridge":
        chosen = [(port, port.to if port.to > 0 else port.value) for port in spec.ports]
    exposed: dict[str, Any] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for port, inside in chosen:
        for protocol in ("tcp", "udp"):
            key = f"{inside}/{protocol}"
            exposed[key] = {}
            bindings.setdefault(key, []).append({"HostIp": port.host_ip, "HostPort": str(port.value)})
    return exposed, bindings


def _host_config(spec: TaskSpec, policy: Policy, bindings: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    config = spec.config
    binds, mounts = _binds_and_mounts(spec, policy)
    network_mode = config.get("network_mode") or ("none" if spec.network_mode == "none" else "default")
    shares = max(SHARES_MIN, spec.resources.cpu.cpu_shares)
    memory = spec.resources.memory
    hard = int(config.get("memory_hard_limit") or 0) or memory.memory_max_mb or memory.memory_mb
    host: dict[str, Any] = {
        "Binds": binds,
        "Mounts": mounts,
        "PortBindings": {} if network_mode == "host" else bindings,
        "NetworkMode": network_mode,
        "CpuShares": shares,
        "Memory": hard * MIB,
        "MemorySwap": hard * MIB,
        "LogConfig": _logging(spec),
        "RestartPolicy": {"Name": "no"},
        "Privileged": _privileged(config, policy),
        "CapAdd": _caps(config.get("cap_add"), policy),
        "CapDrop": [_cap(c).upper() for c in config.get("cap_drop") or ()],
        "ReadonlyRootfs": bool(config.get("readonly_rootfs")),
        "Init": bool(config.get("init")),
        "Dns": list(config.get("dns_servers") or (spec.dns.servers if spec.dns else ())),
        "DnsSearch": list(config.get("dns_search_domains") or (spec.dns.searches if spec.dns else ())),
        "DnsOptions": list(config.get("dns_options") or (spec.dns.options if spec.dns else ())),
        "ExtraHosts": list(config.get("extra_hosts") or ()),
        "GroupAdd": list(config.get("group_add") or ()),
        "SecurityOpt": list(config.get("security_opt") or ()),
        "Sysctls": _strings(config.get("sysctl")),
        "StorageOpt": _strings(config.get("storage_opt")),
        "Ulimits": _ulimits(config.get("ulimit")),
        "Devices": _devices(config.get("devices")),
        "PidMode": config.get("pid_mode") or "",
        "IpcMode": config.get("ipc_mode") or "",
        "UTSMode": config.get("uts_mode") or "",
        "UsernsMode": config.get("userns_mode") or "",
        "CpusetCpus": ",".join(map(str, spec.resources.cpu.reserved_cores)) or config.get("cpuset_cpus") or "",
        "VolumeDriver": config.get("volume_driver") or "",
    }
    if hard > memory.memory_mb > 0:
        host["MemoryReservation"] = memory.memory_mb * MIB
    pids_limit = int(config.get("pids_limit") or policy.pids_limit)
    if pids_limit:
        host["PidsLimit"] = pids_limit
    if config.get("shm_size"):
        host["ShmSize"] = int(config["shm_size"])
    if config.get("cpu_hard_limit"):
        host["CpuPeriod"] = int(config.get("cpu_cfs_period") or 100_000)
        host["CpuQuota"] = max(1000, int(shares / policy.total_mhz * host["CpuPeriod"] * policy.cores))
    if config.get("oom_score_adj"):
        host["OomScoreAdj"] = int(config["oom_score_adj"])
    if config.get("cgroupns"):
        host["CgroupnsMode"] = config["cgroupns"]
    runtime = config.get("runtime")
    if runtime:
        if runtime not in policy.allow_runtimes:
            raise DriverError(f"the container runtime {runtime!r} is not allowed on this node")
        host["Runtime"] = runtime
    return host


def _logging(spec: TaskSpec) -> dict[str, Any]:
    chosen = merged(spec.config.get("logging"))
    driver = chosen.get("driver") or chosen.get("type")
    if driver:
        return {"Type": driver, "Config": _strings(chosen.get("config"))}
    return {"Type": "json-file", "Config": {"max-file": "2", "max-size": "10m"}}


def _privileged(config: Mapping[str, Any], policy: Policy) -> bool:
    if not config.get("privileged"):
        return False
    if not policy.allow_privileged:
        raise DriverError("privileged containers are not allowed on this node (plugin option allow_privileged)")
    return True


def _cap(name: str) -> str:
    return name.lower().removeprefix("cap_")


def _caps(asked: Sequence[str] | None, policy: Policy) -> list[str]:
    names = [_cap(name) for name in asked or ()]
    if "all" in policy.allow_caps:
        return [name.upper() for name in names]
    refused = sorted(set(names) - policy.allow_caps)
    if refused:
        raise DriverError(f"capabilities not allowed on this node: {', '.join(refused)} (plugin option allow_caps)")
    return [name.upper() for name in names]


def _binds_and_mounts(spec: TaskSpec, policy: Policy) -> tuple[list[str], list[dict[str, Any]]]:
    own = ((spec.shared_dir, "/alloc"), (spec.task_dir / "local", "/local"), (spec.task_dir / "secrets", "/secrets"))
    # A task that may mount the allocation's directory can put links in their place before its next start.
    binds = [f"{_held_inside(path, str(path), spec)}:{target}" for path, target in own]
    for mount in spec.mounts:
        options = ",".join(filter(None, ("ro" if mount.read_only else "", mount.propagation)))
        binds.append(f"{mount.host_path}:{mount.task_path}" + (f":{options}" if options else ""))
    driver = spec.config.get("volume_driver")
    if driver and not policy.volumes_enabled:
        raise DriverError(f"volume_driver {driver!r} is not allowed on this node (plugin option volumes.enabled)")
    for volume in spec.config.get("volumes") or ():
        source, _, rest = volume.partition(":")
        if not rest:
            raise DriverError(f"volume {volume!r} is not of the form source:target")
        binds.append(f"{source if driver else _host_path(source, spec, policy)}:{rest}")
    mounts = [_mount(block, spec, policy) for block in blocks(spec.config.get("mounts"), spec.config.get("mount"))]
    return binds, mounts


def _host_path(source: str, spec: TaskSpec, policy: Policy) -> str:
    """A source on the host. Relative ones are below the task's directory, others need the node's leave."""
    if not source.startswith("/"):
        path = Path(os.path.normpath(spec.task_dir / source))
        if not path.is_relative_to(spec.alloc_dir):
            raise DriverError(f"volume source {source!r} leads out of the allocation's directory")
        return _held_inside(path, source, spec)
    if policy.volumes_enabled:
        return source
    path = Path(os.path.normpath(source))
    if not path.is_relative_to(spec.alloc_dir):
        raise DriverError(f"volume source {source!r} is not allowed on this node (plugin option volumes.enabled)")
    return _held_inside(path, source, spec)


def _held_inside(path: Path, source: str, spec: TaskSpec) -> str:
    """The path, if no link leads out of the allocation's directory: tasks can make links there."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(spec.alloc_dir)):
        raise DriverError(f"volume source {source!r} is a link that leads out of the allocation's directory")
    return str(path)


def _mount(block: Mapping[str, Any], spec: TaskSpec, policy: Policy) -> dict[str, Any]:
    kind = block.get("type") or "volume"
    if kind not in ("bind", "volume", "tmpfs"):
        raise DriverError(f"mount type {kind!r} is not one of bind, volume, tmpfs")
    if not block.get("target"):
        raise DriverError("a mount has no target")
    mount: dict[str, Any] = {"Type": kind, "Target": block["target"], "ReadOnly": bool(block.get("readonly"))}
    if kind == "bind":
        mount["Source"] = _host_path(str(block.get("source") or ""), spec, policy)
        mount["BindOptions"] = {"Propagation": merged(block.get("bind_options")).get("propagation") or "rprivate"}
    elif kind == "tmpfs":
        options = merged(block.get("tmpfs_options"))
        mount["TmpfsOptions"] = {"SizeBytes": int(options.get("size") or 0), "Mode": int(options.get("mode") or 0o1777)}
    else:
        mount["Source"] = block.get("source") or ""
        options = merged(block.get("volume_options"))
        volume: dict[str, Any] = {"NoCopy": bool(options.get("no_copy")), "Labels": _strings(options.get("labels"))}
        driver = merged(options.get("driver_config"))
        if driver and not policy.volumes_enabled:
            raise DriverError(
                f"the driver_config of the mount at {block['target']!r} is not allowed on this node"
                " (plugin option volumes.enabled)"
            )
        if driver:
            volume["DriverConfig"] = {"Name": driver.get("name") or "local", "Options": _strings(driver.get("options"))}
        mount["VolumeOptions"] = volume
    return mount


def _ulimits(value: Any) -> list[dict[str, Any]]:
    limits = []
    for name, text in merged(value).items():
        soft, _, hard = str(text).partition(":")
        try:
            limits.append({"Name": name, "Soft": int(soft), "Hard": int(hard or soft)})
        except ValueError:
            raise DriverError(f"ulimit {name} = {text!r} is not soft:hard") from None
    return limits


def _devices(value: Any) -> list[dict[str, str]]:
    devices = []
    for block in blocks(value):
        host = block.get("host_path")
        if not host:
            raise DriverError("a device has no host_path")
        devices.append(
            {
                "PathOnHost": host,
                "PathInContainer": block.get("container_path") or host,
                "CgroupPermissions": block.get("cgroup_permissions") or "rwm",
            }
        )
    return devices


def _endpoint(config: Mapping[str, Any]) -> dict[str, Any]:
    if not config.get("network_mode") or config["network_mode"] in ("host", "none", "bridge", "default"):
        return {}
    endpoint: dict[str, Any] = {}
    if config.get("network_aliases"):
        endpoint["Aliases"] = list(config["network_aliases"])
    addresses = {"IPv4Address": config.get("ipv4_address"), "IPv6Address": config.get("ipv6_address")}
    given = {key: value for key, value in addresses.items() if value}
    if given:
        endpoint["IPAMConfig"] = given
    return endpoint


def _strings(value: Any) -> dict[str, str]:
    return {key: str(item) for key, item in merged(value).items()}


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value)
    )
