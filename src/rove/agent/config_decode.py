"""From a table of settings to `AgentConfig`: types, units, unknown names. Pure."""

from __future__ import annotations

import difflib
import types
import typing
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec

from rove.agent.config import AgentConfig, Section
from rove.agent.config_tree import Setting, Table
from rove.errors import BadRequestError
from rove.jobspec.durations import parse_duration
from rove.structs.base import SECOND

IGNORED: dict[str, frozenset[str]] = {
    "": frozenset({
        "autopilot", "consul", "vault", "sentinel", "audit", "reporting", "eventlog", "keyring", "rpc",
        "disable_update_check", "disable_anonymous_signature", "atlas", "log_rotate_bytes",
    }),
    "server": frozenset({
        "raft_protocol", "raft_multiplier", "raft_snapshot_threshold", "raft_snapshot_interval",
        "raft_trailing_logs", "raft_logstore", "raft_boltdb", "license_path", "license_env",
        "non_voting_server", "redundancy_zone", "upgrade_version", "protocol_version",
        "plan_apply_pipeline", "client_introduction", "start_timeout", "csi_volume_claim_gc_interval",
        "csi_volume_claim_gc_threshold", "csi_plugin_gc_threshold", "acl_token_gc_interval",
    }),
    "client": frozenset({
        "host_volume_plugin_dir", "common_plugin_dir", "client_min_port", "client_max_port",
        "gc_volumes_on_node_gc", "bridge_network_no_routes", "cpu_disable_dmidecode", "intro_token",
    }),
    "client.template": frozenset({"wait_bounds", "consul_retry", "vault_retry", "nomad_retry", "vault_grace"}),
    "client.artifact": frozenset({
        "gcs_timeout", "hg_timeout", "disable_artifact_inspection", "filesystem_isolation_extra_paths",
    }),
    "ui": frozenset({"content_security_policy", "consul", "vault"}),
}  # fmt: skip
"""Options that Nomad has and that do nothing here: accepted with a warning."""

IGNORED_PREFIXES = {"telemetry": ("circonus_", "datadog_", "statsite_")}

NOT_OPTIONS = frozenset({"dev", "sources", "warnings"})
"""Fields of `AgentConfig` that are no options."""


@dataclass
class Findings:
    """What is wrong, and what does nothing; a line each."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def decode_config(table: Table) -> AgentConfig:
    """The configuration of a table. Raises BadRequestError that lists every problem with its place."""
    findings = Findings()
    config = _section(AgentConfig, table, "", findings)
    if findings.problems:
        raise problems_error(findings.problems)
    return msgspec.structs.replace(config, warnings=tuple(findings.warnings))


def problems_error(problems: list[str]) -> BadRequestError:
    """One failure for all problems of a configuration."""
    plural = "problem" if len(problems) == 1 else "problems"
    return BadRequestError(
        "agent.bad_config", f"the configuration was not accepted: {len(problems)} {plural}", "\n".join(problems)
    )


@lru_cache(maxsize=64)
def _options(cls: type[Section]) -> dict[str, tuple[str, Any]]:
    """Option name -> (field name, type) of a section."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {}
    for each in msgspec.structs.fields(cls):
        kind = hints[each.name]
        unit = _unit(kind)
        name = each.name.removesuffix(f"_{unit}") if unit else each.name
        if not (cls is AgentConfig and name in NOT_OPTIONS):
            found[name] = (each.name, kind)
    return found


def _unit(kind: Any) -> str:
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.extra:
            return str(meta.extra.get("unit", ""))
    return ""


T = typing.TypeVar("T", bound=Section)


def _section(cls: type[T], table: Table, path: str, findings: Findings) -> T:
    options = _options(cls)
    values: dict[str, Any] = {}
    for name, item in table.items.items():
        if name in options:
            target, kind = options[name]
            try:
                values[target] = _value(kind, item, _join(path, name), findings)
            except ValueError as error:
                findings.problems.append(f"{item.where}: {_join(path, name)}: {error}")
        elif _is_ignored(path, name):
            findings.warnings.append(f"{item.where}: {_join(path, name)} has no effect in Rove")
        else:
            findings.problems.append(_unknown(item.where, path, name, options))
    return cls(**values)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_ignored(path: str, name: str) -> bool:
    return name in IGNORED.get(path, ()) or name.startswith(IGNORED_PREFIXES.get(path, ("\0",)))


def _unknown(where: str, path: str, name: str, options: dict[str, Any]) -> str:
    known = [*options, *IGNORED.get(path, ())]
    close = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.6)
    inside = f'in "{path}"' if path else "at the top level"
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f'{where}: there is no option "{name}" {inside}{hint}'


def _value(kind: Any, item: Setting | Table, path: str, findings: Findings) -> Any:
    unit = _unit(kind)
    if unit:
        return (seconds_of if unit == "s" else bytes_of)(_plain(item))
    kind = _without_none(kind)
    origin = typing.get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, Section):
        return _section(kind, _as_table(item), path, findings)
    if origin is dict:
        return _mapping(typing.get_args(kind)[1], item, path, findings)
    if origin is tuple:
        return _texts(_plain(item))
    return _SCALARS[kind](_plain(item))


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) is types.UnionType:
        return next(each for each in typing.get_args(kind) if each is not type(None))
    return kind


def _mapping(kind: Any, item: Setting | Table, path: str, findings: Findings) -> dict[str, Any]:
    table = _as_table(item)
    if kind is Any:
        return table.plain()
    if kind is str:
        return {name: _map_text(_plain(each)) for name, each in table.items.items()}
    found = {}
    for label, each in table.items.items():
        found[label] = _section(kind, _as_table(each), f"{path}.{label}", findings)
    return found


def _as_table(item: Setting | Table) -> Table:
    if isinstance(item, Table):
        return item
    if isinstance(item.value, dict):
        from rove.agent.config_tree import from_dict

        return from_dict(item.value, lambda _: item.where)
    raise ValueError("this is a stanza: write it with braces")


def _plain(item: Setting | Table) -> Any:
    if isinstance(item, Table):
        raise ValueError("this is a single value, not a stanza")
    return item.value


def _map_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError(f"expected a text, not {_shown(value)}")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a text in quotes, not {_shown(value)}")


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise ValueError(f"expected a list of texts, not {_shown(value)}")


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError(f"expected a whole number, not {_shown(value)}")
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    raise ValueError(f"expected a whole number, not {_shown(value)}")


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"expected a number, not {_shown(value)}")


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise ValueError(f"expected true or false, not {_shown(value)}")


_SCALARS: dict[Any, Any] = {str: _text, int: _whole, float: _number, bool: _truth}


def seconds_of(value: Any) -> float:
    """The seconds of a duration text such as "1h30m" or "250ms". Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f'expected a duration such as "30s", not {_shown(value)}')
    text = value.strip()
    if not text:
        raise ValueError('expected a duration such as "30s", not an empty text')
    nanoseconds = parse_duration(text)
    if nanoseconds is None:
        raise ValueError(f'expected a duration such as "30s" or "1h30m", not {_shown(value)}')
    return nanoseconds / SECOND


_SIZE_UNITS = {
    "": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12,
    "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip


def bytes_of(value: Any) -> int:
    """The bytes of a size such as "1M", "100GB", "16MiB" or a number. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).strip() if isinstance(value, str) else ""
    digits = len(text) - len(text.lstrip("0123456789."))
    unit = text[digits:].strip().lower()
    number = text[:digits]
    if not number or number.count(".") > 1 or number == "." or unit not in _SIZE_UNITS:
        raise ValueError(f'expected a size such as "1M" or "16MiB", not {_shown(value)}')
    return int(float(number) * _SIZE_UNITS[unit])


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else text[:57] + "..."
