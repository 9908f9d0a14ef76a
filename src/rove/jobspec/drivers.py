"""What the `config` of each known driver may hold. One table: hints, type checks and a uniform shape come from it.

A driver that is not listed (a plugin) keeps its config as written and is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from .problem import Problem, did_you_mean, join

PROBLEMS_MAX = 20
"""Of one config; after so many, more would help nobody."""


class Holds(Enum):
    """What a config value may be."""

    TEXT = auto()
    WHOLE = auto()
    FLAG = auto()
    TEXTS = auto()
    MAP = auto()
    """Text by text: `labels { a = "b" }`."""
    BLOCK = auto()
    """One block of named values."""
    BLOCKS = auto()
    """Blocks that may be repeated."""


_T, _W, _F, _L, _M, _B, _BB = (
    Holds.TEXT, Holds.WHOLE, Holds.FLAG, Holds.TEXTS, Holds.MAP, Holds.BLOCK, Holds.BLOCKS,
)  # fmt: skip


class DriverConfig:
    """The table of one driver. required: each entry is a choice, of which at least one must be given."""

    __slots__ = ("fields", "required")

    def __init__(self, fields: dict[str, Holds], required: tuple[tuple[str, ...], ...] = ()) -> None:
        self.fields = fields
        self.required = required


_CAPABILITIES = {"pid_mode": _T, "ipc_mode": _T, "cap_add": _L, "cap_drop": _L, "work_dir": _T}
_CGROUPS = {"cgroup_v2_override": _T, "cgroup_v1_override": _M, "oom_score_adj": _W, "denied_envvars": _L}

_CONTAINER: dict[str, Holds] = {
    "image": _T, "args": _L, "command": _T, "entrypoint": _L, "auth": _B, "auth_soft_fail": _F,
    "cap_add": _L, "cap_drop": _L, "cgroupns": _T, "container_exists_attempts": _W, "cpuset_cpus": _T,
    "cpu_hard_limit": _F, "cpu_cfs_period": _W, "devices": _BB, "dns_servers": _L, "dns_search_domains": _L,
    "dns_options": _L, "extra_hosts": _L, "force_pull": _F, "group_add": _L, "healthchecks": _B,
    "hostname": _T, "init": _F, "interactive": _F, "ipc_mode": _T, "ipv4_address": _T, "ipv6_address": _T,
    "advertise_ipv6_address": _F, "isolation": _T, "labels": _M, "load": _T, "logging": _B,
    "mac_address": _T, "memory_hard_limit": _W, "mount": _BB, "mounts": _BB, "network_aliases": _L,
    "network_mode": _T, "oom_score_adj": _W, "pids_limit": _W, "pid_mode": _T, "ports": _L, "port_map": _M,
    "privileged": _F, "image_pull_timeout": _T, "readonly_rootfs": _F, "runtime": _T, "security_opt": _L,
    "shm_size": _W, "storage_opt": _M, "sysctl": _M, "tty": _F, "ulimit": _M, "uts_mode": _T,
    "userns_mode": _T, "volumes": _L, "volume_driver": _T, "work_dir": _T,
}  # fmt: skip

DRIVERS: dict[str, DriverConfig] = {
    "raw_exec": DriverConfig({"command": _T, "args": _L, "work_dir": _T, **_CGROUPS}, (("command",),)),
    "exec": DriverConfig({"command": _T, "args": _L, **_CAPABILITIES, **_CGROUPS}, (("command",),)),
    "docker": DriverConfig(_CONTAINER, (("image",),)),
    "podman": DriverConfig(
        {
            **_CONTAINER, "image_pull_timeout": _T, "socket": _T, "selinux_opts": _L, "tmpfs": _L, "userns": _T,
            "memory_reservation": _T, "memory_swap": _T, "memory_swappiness": _W, "apparmor_profile": _T,
            "always_pull": _F, "clear_env": _F, "working_dir": _T, "devices": _L,
        },
        (("image",),),
    ),
    "java": DriverConfig(
        {
            "jar_path": _T, "class": _T, "class_path": _T, "jvm_options": _L, "args": _L, **_CAPABILITIES,
        },
        (("jar_path", "class"),),
    ),
    "qemu": DriverConfig(
        {
            "image_path": _T, "emulator": _T, "machine_type": _T, "drive_interface": _T, "accelerator": _T,
            "graceful_shutdown": _F, "guest_agent": _F, "args": _L, "port_map": _M,
        },
        (("image_path",),),
    ),
    "mock_driver": DriverConfig(
        {
            "run_for": _T, "exit_code": _W, "exit_signal": _W, "exit_err_msg": _T, "start_error": _T,
            "start_error_recoverable": _F, "start_block_for": _T, "kill_after": _T, "signal_error": _T,
            "stdout_string": _T, "stdout_repeat": _W, "stdout_repeat_duration": _T, "stderr_string": _T,
            "stderr_repeat": _W, "stderr_repeat_duration": _T, "exec_command": _B, "driver_ip": _T,
            "driver_advertise": _F, "driver_port_map": _T, "plugin_exit_after": _T,
            "fs_isolation": _T, "shutdown_periodic_after": _F, "shutdown_periodic_duration": _T,
        },
    ),
}  # fmt: skip
DRIVERS["mock"] = DRIVERS["mock_driver"]

_WANTED = {
    Holds.TEXT: "text",
    Holds.WHOLE: "a whole number",
    Holds.FLAG: "true or false",
    Holds.TEXTS: "a list of texts",
    Holds.MAP: "a map of texts",
    Holds.BLOCK: "a block",
    Holds.BLOCKS: "a block, or a list of them",
}


def settle_config(driver: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config in its uniform shape: repeatable blocks are lists, single blocks and maps are maps."""
    table = DRIVERS.get(driver)
    out = dict(config)
    if table is None:
        return out
    for key, value in config.items():
        holds = table.fields.get(key)
        if holds is Holds.BLOCKS and type(value) is dict:
            out[key] = [value]
        elif (
            (holds is Holds.MAP or holds is Holds.BLOCK)
            and type(value) is list
            and value
            and all(type(each) is dict for each in value)
        ):
            merged: dict[str, Any] = {}
            for each in value:
                merged.update(each)
            out[key] = merged
    return out


def config_problems(driver: str, config: Mapping[str, Any], path: str) -> list[Problem]:
    """What is wrong with a task's config: unknown names, wrong types, what is missing."""
    table = DRIVERS.get(driver)
    if table is None:
        return []
    found = []
    for choice in table.required:
        if not any(_is_given(config.get(key)) for key in choice):
            names = " or ".join(f'"{key}"' for key in choice)
            found.append(Problem(join(path, "config"), f"the {driver} driver needs {names}"))
    for key, value in config.items():
        if len(found) >= PROBLEMS_MAX:
            break
        holds = table.fields.get(key)
        where = f"{path} > config > {key}"
        if holds is None:
            hint = did_you_mean(key, table.fields)
            found.append(Problem(where, f'the {driver} driver has no option "{key[:80]}"{hint}'))
        elif value is not None and not _holds(holds, value):
            found.append(Problem(where, f'"{key}" must be {_WANTED[holds]}'))
    return found


def _is_given(value: Any) -> bool:
    return value is not None and not (type(value) is str and not value.strip())


def _holds(holds: Holds, value: Any) -> bool:
    """Whether a value fits. Text may hold what the node fills in, so numbers and flags may come as text."""
    kind = type(value)
    if holds is Holds.TEXT:
        return kind in (str, int, float, bool)
    if holds is Holds.WHOLE:
        return kind is int or (kind is str and _is_late(value, str.lstrip(value, "-").isdecimal()))
    if holds is Holds.FLAG:
        return kind is bool or (kind is str and _is_late(value, value in ("true", "false", "0", "1")))
    if holds is Holds.TEXTS:
        return kind is list and all(type(each) in (str, int, float, bool) for each in value)
    if holds is Holds.MAP:
        return kind is dict and all(type(each) in (str, int, float, bool) for each in value.values())
    if holds is Holds.BLOCK:
        return kind is dict
    return kind is list and all(type(each) is dict for each in value)


def _is_late(value: str, plain: bool) -> bool:
    return plain or "${" in value or "{{" in value
