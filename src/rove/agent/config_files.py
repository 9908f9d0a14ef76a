"""Reading configuration: files and folders in order, flags over them, templates of addresses, last checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rove.agent.config import AgentConfig, is_address
from rove.agent.config_decode import decode_config, problems_error
from rove.agent.config_tree import Setting, Table, from_dict
from rove.errors import BadRequestError

MAX_BYTES = 4 * 2**20
LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF")
DEV_DEFAULTS: dict[str, Any] = {
    "bind_addr": "127.0.0.1",
    "log_level": "DEBUG",
    "enable_debug": True,
    "server": {"enabled": True, "bootstrap_expect": 1},
    "client": {"enabled": True, "network_interface": "lo", "gc_interval": "10m"},
    "plugin": {
        "raw_exec": {"config": {"enabled": True}},
        "docker": {"config": {"volumes": {"enabled": True}}},
    },
    "telemetry": {
        "prometheus_metrics": True,
        "publish_allocation_metrics": True,
        "publish_node_metrics": True,
    },
}
"""What `-dev` means. Files and flags win over it."""


def load_config(
    paths: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    *,
    dev: bool = False,
    lookup: Callable[[str], str] | None = None,
    complete: bool = True,
) -> AgentConfig:
    """Read an agent's configuration.

    paths: files and folders, later over earlier; a folder's ``.hcl`` and ``.json`` files in order of their
    names. flags: options as nested dicts, over the files. lookup: turns an address template without its
    braces into an address; the machine's interfaces by default. complete: whether to check that an agent
    could run with it. Raises BadRequestError that names every problem with its file and line.
    """
    table = Table()
    if dev:
        table.merge(from_dict(DEV_DEFAULTS, lambda name: "-dev"))
    files = [file for path in paths for file in config_files(path)]
    for file in files:
        table.merge(read_config(file))
    if flags:
        table.merge(from_dict(dict(flags), lambda name: f"-{name.replace('_', '-')}"))
    _resolve_addresses(table, lookup or _machine_lookup)
    config = decode_config(table)
    config = msgspec.structs.replace(config, dev=dev, sources=tuple(str(file) for file in files))
    problems = check_config(config, complete=complete)
    if problems:
        raise problems_error(problems)
    return config


def config_files(path: str) -> list[Path]:
    """The files that a -config path names. Raises BadRequestError when there are none."""
    place = Path(path)
    if place.is_dir():
        found = sorted(file for file in place.iterdir() if file.suffix in (".hcl", ".json") and file.is_file())
        if not found:
            raise BadRequestError(
                "agent.empty_config_dir", f"the folder {path} holds no configuration",
                "no file in it ends with .hcl or .json", "name another folder, or put a file into it",
            )  # fmt: skip
        return found
    if not place.exists():
        raise BadRequestError(
            "agent.no_config", f"there is no configuration at {path}", fix="check the path after -config"
        )
    return [place]


def read_config(path: Path) -> Table:
    """One file as a table. Raises BadRequestError."""
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, (error.strerror or str(error)).lower()) from None
    if len(data) > MAX_BYTES:
        raise _unreadable(path, f"it is larger than {MAX_BYTES // 2**20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _unreadable(path, f"line {line} holds bytes that are not UTF-8") from None
    return parse_config(text, str(path))


def parse_config(text: str, filename: str) -> Table:
    """A file's text as a table: JSON where it begins with a brace, else HCL. Raises BadRequestError."""
    if text.lstrip().startswith("{") or filename.endswith(".json"):
        return _parse_json(text, filename)
    from rove.agent.config_hcl import parse_hcl

    return parse_hcl(text, filename)


def _parse_json(text: str, filename: str) -> Table:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise problems_error([f"{filename}: this is not JSON: {error}"]) from None
    except RecursionError:
        raise problems_error([f"{filename}: nested too deeply"]) from None
    if not isinstance(value, dict):
        raise problems_error([f"{filename}: expected an object with options"])

    def where(name: str) -> str:
        at = text.find(f'"{name}"') if name else -1
        return filename if at < 0 else f"{filename}:{text.count(chr(10), 0, at) + 1}"

    return from_dict(value, where)


def _unreadable(path: Path, why: str) -> BadRequestError:
    return BadRequestError("agent.unreadable_config", f"the configuration {path} was not read", why)


def _resolve_addresses(table: Table, lookup: Callable[[str], str]) -> None:
    """Replace ``{{ ... }}`` in the options that hold addresses."""
    places = [(table, "bind_addr")]
    for stanza in ("addresses", "advertise"):
        inner = table.items.get(stanza)
        if isinstance(inner, Table):
            places += [(inner, name) for name in inner.items]
    problems = []
    for holder, name in places:
        item = holder.items.get(name)
        if isinstance(item, Setting) and isinstance(item.value, str) and "{{" in item.value:
            try:
                holder.items[name] = Setting(_filled(item.value, lookup), item.where)
            except ValueError as error:
                problems.append(f"{item.where}: {name}: {error}")
    if problems:
        raise problems_error(problems)


def _filled(text: str, lookup: Callable[[str], str]) -> str:
    found, rest = "", text
    while "{{" in rest:
        before, _, rest = rest.partition("{{")
        inside, closed, rest = rest.partition("}}")
        if not closed:
            raise ValueError(f'"{text}" has a {{{{ that is never closed')
        found += before + lookup(inside.strip())
    return found + rest


def _machine_lookup(template: str) -> str:
    from rove.agent.sockaddr import address_of

    return address_of(template)


def check_config(config: AgentConfig, *, complete: bool) -> list[str]:
    """What is wrong with a configuration whose types are right, a line each."""
    return [
        *_check_names(config),
        *_check_numbers(config),
        *_check_addresses(config),
        *(_check_complete(config) if complete else ()),
    ]


def _check_names(config: AgentConfig) -> Iterable[str]:
    if config.log_level.upper() not in LOG_LEVELS:
        yield f'log_level: "{config.log_level}" is none of {", ".join(LOG_LEVELS)}'
    for label, name in (("region", config.region), ("datacenter", config.datacenter)):
        if not name or not name.isprintable() or any(ch in name for ch in " /*"):
            yield f"{label}: {name!r} cannot be a name: no spaces, slashes or stars, and not empty"
    if config.server.store.engine not in ("sqlite", "etcd", "memory"):
        yield f'server.store.engine: "{config.server.store.engine}" is none of sqlite, etcd, memory'
    algorithm = config.server.default_scheduler_config.scheduler_algorithm
    if algorithm not in ("binpack", "spread"):
        yield f'server.default_scheduler_config.scheduler_algorithm: "{algorithm}" is neither binpack nor spread'
    for kind in config.server.enabled_schedulers:
        if kind not in ("service", "batch", "system", "sysbatch", "_core"):
            yield f'server.enabled_schedulers: "{kind}" is none of service, batch, system, sysbatch'


def _check_numbers(config: AgentConfig) -> Iterable[str]:
    for name in ("http", "rpc", "serf"):
        port = getattr(config.ports, name)
        if not 0 <= port <= 65535:
            yield f"ports.{name}: {port} is no port: 1 to 65535"
    if config.ports.http and config.ports.http == config.ports.rpc:
        yield f"ports: http and rpc are both {config.ports.http}"
    client = config.client
    if not 0 < client.min_dynamic_port <= client.max_dynamic_port <= 65535:
        yield (
            f"client.min_dynamic_port, client.max_dynamic_port: {client.min_dynamic_port} to "
            f"{client.max_dynamic_port} is no range of ports"
        )
    if config.server.bootstrap_expect < 0:
        yield f"server.bootstrap_expect: {config.server.bootstrap_expect} is not a number of servers"
    if not 0 < config.server.job_default_priority <= config.server.job_max_priority <= 32766:
        yield "server.job_default_priority, server.job_max_priority: expected 0 < default <= max <= 32766"
    for label, amount in (
        ("client.cpu_total_compute", client.cpu_total_compute),
        ("client.memory_total_mb", client.memory_total_mb),
        ("client.disk_total_mb", client.disk_total_mb),
        ("client.reserved.cpu", client.reserved.cpu),
        ("client.reserved.memory", client.reserved.memory),
        ("client.reserved.disk", client.reserved.disk),
    ):
        if amount < 0:
            yield f"{label}: {amount} is negative"


def _check_addresses(config: AgentConfig) -> Iterable[str]:
    """Nobody would notice: an agent dials an address that cannot be one for ever."""
    client, server = config.client, config.server
    for label, addresses in (
        ("client.servers", client.servers),
        ("client.server_join.retry_join", client.server_join.retry_join),
        ("client.server_join.start_join", client.server_join.start_join),
        ("server.server_join.retry_join", server.server_join.retry_join),
        ("server.server_join.start_join", server.server_join.start_join),
        ("server.retry_join", server.retry_join),
        ("server.start_join", server.start_join),
    ):
        for address in addresses:
            if not is_address(address):
                yield f'{label}: "{address}" is no address: write host or host:port, as in "192.0.2.10:4647"'


def _check_complete(config: AgentConfig) -> Iterable[str]:
    if not config.server.enabled and not config.client.enabled:
        yield "neither server nor client is enabled: write `server { enabled = true }`, or start with -dev"
    if not config.dev and not config.data_dir:
        yield 'data_dir: where to keep the state is not said: write `data_dir = "/var/lib/rove"` or -data-dir'
    if config.data_dir and not Path(config.data_dir).is_absolute():
        yield f'data_dir: "{config.data_dir}" must be an absolute path'
    if config.client.enabled and not config.server.enabled and not config.server_addresses():
        yield 'client.servers: the node has no server to connect to: write `servers = ["host"]` or -servers'
