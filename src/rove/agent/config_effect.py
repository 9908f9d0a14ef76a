"""Options that are read and kept but do nothing yet: whoever sets one is told so. Pure."""

from __future__ import annotations

from typing import Any

from rove.agent.config import AgentConfig

WITHOUT_EFFECT: dict[str, tuple[str, ...]] = {
    "": (
        "plugin_dir", "log_rotate_duration_s", "log_include_location", "enable_debug", "enable_syslog",
        "syslog_facility",
    ),
    "server": (
        "authoritative_region", "job_gc_interval_s", "acl_token_gc_threshold_s", "root_key_gc_interval_s",
        "root_key_gc_threshold_s", "root_key_rotation_threshold_s", "max_heartbeats_per_second",
        "rejoin_after_leave", "retry_interval_s", "retry_max", "plan_rejection_tracker", "enable_event_broker",
        "event_buffer_size", "search", "job_max_count", "job_max_source_size_bytes",
        "job_tracked_versions", "oidc_issuer", "deploy_query_rate_limit",
    ),
    "client": (
        "alloc_mounts_dir", "host_volumes_dir", "chroot_env", "bridge_network_subnet_ipv6",
        "bridge_network_hairpin_mode", "bind_wildcard_default_host_network", "nomad_service_discovery", "users",
        "template",
    ),
    "client.artifact": ("s3_timeout_s", "disable_filesystem_isolation", "set_environment_variables"),
    "telemetry": (
        "statsd_address", "prefix_filter", "filter_default", "include_alloc_metadata_in_metrics",
        "allowed_metadata_keys_in_metrics", "disable_dispatched_job_summary_metrics", "use_node_name",
        "publish_allocation_metrics", "publish_node_metrics",
    ),
    "limits": ("https_handshake_timeout_s", "rpc_handshake_timeout_s", "rpc_max_conns_per_client"),
    "consul_api": ("enabled",),
}  # fmt: skip
"""Stanza -> fields. Take a field out as soon as something reads it."""

SET_BY_DEV = frozenset({"enable_debug", "publish_allocation_metrics", "publish_node_metrics"})


def without_effect(config: AgentConfig) -> list[str]:
    """A sentence for every option that differs from its default and does nothing."""
    default = AgentConfig()
    found = []
    for stanza, names in WITHOUT_EFFECT.items():
        said, usual = _stanza(config, stanza), _stanza(default, stanza)
        for name in names:
            if getattr(said, name) != getattr(usual, name) and not (config.dev and name in SET_BY_DEV):
                option = name.removesuffix("_s").removesuffix("_bytes")
                where = f"{stanza}.{option}" if stanza else option
                found.append(f"{where} has no effect in this version of Rove")
    return found


def unsafe_to_ignore(config: AgentConfig) -> str:
    """What the configuration wants for safety's sake and this version does not have; "" if nothing.

    An agent that is told to ask for tokens or to encrypt must not run without either, and one that is told of other
    servers must not become a cluster of its own beside theirs.
    """
    if config.acl.enabled:
        return "acl { enabled = true }: access control is planned and not built yet, so everybody could do everything"
    tls = config.tls
    if tls.http or tls.rpc or tls.verify_https_client or tls.verify_server_hostname:
        return "tls: encryption is planned and not built yet, so connections would be open"
    if config.server.encrypt:
        return "server.encrypt: encryption is planned and not built yet, so what agents say would be in the clear"
    if config.server.enabled:
        alone = "several servers are planned and not built yet, so each would be a cluster of its own"
        if config.server.bootstrap_expect > 1:
            return f"server.bootstrap_expect = {config.server.bootstrap_expect}: {alone}"
        if config.join_addresses():
            return f"retry_join or start_join of a server ({', '.join(config.join_addresses())}): {alone}"
    return ""


def _stanza(config: AgentConfig, path: str) -> Any:
    found: Any = config
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    return found
