"""`rove agent`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rove.cli.command import command, option, switch
from rove.errors import BadRequestError

if TYPE_CHECKING:
    from rove.agent.config import AgentConfig


@command()
@switch("--dev", "Server and node in one throw-away agent on loopback, with raw_exec.")
@option("--config", "paths", multiple=True, metavar="PATH", help="File or folder of configuration; repeatable.")
@switch("--server", "Run a server.")
@switch("--client", "Run a node.")
@option("--node-name", "-node", "--node", "node", help="Name of this agent; the host's name unless given.")
@option("--bind", help="Address to listen on; loopback unless given.")
@option("--data-dir", help="Where the state is kept.")
@option("--state-dir", help="Where the node keeps its state.")
@option("--alloc-dir", help="Where the node keeps the allocations' files.")
@option("--dc", help="Datacenter; dc1 unless given.")
@option("--region", help="Region; global unless given.")
@option("--node-class", help="Class of this node.")
@option("--node-pool", help="Pool of this node.")
@option("--servers", multiple=True, metavar="HOST[:PORT]", help="Servers to connect to; repeatable, or commas.")
@option("--meta", multiple=True, metavar="KEY=VALUE", help="Meta of this node; repeatable.")
@option("--network-interface", help="Interface that tasks' ports are on.")
@option("--bootstrap-expect", type=int, help="How many servers the cluster begins with.")
@option("--join", multiple=True, metavar="HOST", help="Server to join at start; repeatable.")
@option("--retry-join", multiple=True, metavar="HOST", help="Server to join, tried until it works; repeatable.")
@option("--retry-interval", help="Time between tries.")
@option("--retry-max", type=int, help="How many tries; 0 means no limit.")
@option("--rejoin/--no-rejoin", default=None, help="Rejoin after having left.")
@option("--encrypt", help="Not built yet: the agent does not start.")
@option("--plugin-dir", help="Where drivers from outside are found.")
@option("--log-level", help="TRACE, DEBUG, INFO, WARN, ERROR or OFF.")
@switch("--log-json", "Write the log as JSON lines.")
@switch("--log-include-location", "Write file and line with each entry.")
@switch("--acl-enabled", "Ask for tokens.")
@option("--http-port", type=int, help="Port of the API; 4646 unless given.")
@option("--rpc-port", type=int, help="Port among agents; 4647 unless given.")
@option("--cpu-total-compute", type=int, help="CPU of this node in MHz, instead of what is found.")
@option(
    "--node-ineligible",
    "--default-ineligible",
    "default_ineligible",
    is_flag=True,
    help="Give this node no allocations until it is made eligible.",
)
def agent(dev: bool, paths: tuple[str, ...], **given: Any) -> None:
    """Run an agent until it is told to stop.

    `rove agent -dev` is a whole cluster to try things out with. SIGHUP reads the configuration again,
    SIGTERM leaves cleanly.
    """
    from rove.agent.config_files import load_config

    flags = agent_flags(given)

    def read() -> AgentConfig:
        return load_config(paths, flags, dev=dev)

    config = read()
    from rove.agent.agent import run_agent

    sys.exit(run_agent(config, read))


def agent_flags(given: dict[str, Any]) -> dict[str, Any]:
    """The options, nested as in a configuration file, that the flags stand for."""
    top = {
        "name": given.get("node"),
        "bind_addr": given.get("bind"),
        "data_dir": given.get("data_dir"),
        "datacenter": given.get("dc"),
        "region": given.get("region"),
        "plugin_dir": given.get("plugin_dir"),
        "log_level": (given.get("log_level") or "").upper() or None,
        "log_json": given.get("log_json") or None,
        "log_include_location": given.get("log_include_location") or None,
        "ports": {"http": given.get("http_port"), "rpc": given.get("rpc_port")},
        "acl": {"enabled": given.get("acl_enabled") or None},
        "server": {
            "enabled": given.get("server") or None,
            "bootstrap_expect": given.get("bootstrap_expect"),
            "rejoin_after_leave": given.get("rejoin"),
            "encrypt": given.get("encrypt"),
            "server_join": {
                "start_join": _listed(given.get("join")),
                "retry_join": _listed(given.get("retry_join")),
                "retry_interval": given.get("retry_interval"),
                "retry_max": given.get("retry_max"),
            },
        },
        "client": {
            "enabled": given.get("client") or None,
            "state_dir": given.get("state_dir"),
            "alloc_dir": given.get("alloc_dir"),
            "node_class": given.get("node_class"),
            "node_pool": given.get("node_pool"),
            "servers": _listed(given.get("servers")),
            "meta": _meta(given.get("meta") or ()),
            "network_interface": given.get("network_interface"),
            "cpu_total_compute": given.get("cpu_total_compute"),
            "default_ineligible": given.get("default_ineligible") or None,
        },
    }
    return _without_none(top)


def _listed(values: Any) -> list[str] | None:
    found = [part.strip() for value in values or () for part in value.split(",") if part.strip()]
    return found or None


def _meta(pairs: tuple[str, ...]) -> dict[str, str] | None:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise BadRequestError("cli.bad_meta", f'-meta "{pair}" was not understood', fix="write -meta key=value")
        found[name] = value
    return found or None


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = _without_none(value) if value else None
        if value is not None and value != {}:
            found[name] = value
    return found
