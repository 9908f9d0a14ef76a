"""What a node agent is told at its start. Plain values: files and flags are read by `rove.agent`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rove.structs.node import HostNetwork, HostVolume, NodeReserved


class DrainOnShutdown(msgspec.Struct, frozen=True, kw_only=True):
    """Move allocations away when the agent is told to stop. deadline_s -1: no deadline."""

    deadline_s: float = 3600.0
    force: bool = False
    ignore_system_jobs: bool = False


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one node agent; units are in the names, 0 or None means "find out"."""

    data_dir: Path
    state_dir: Path | None = None
    """Where the agent remembers its allocations; default ``<data_dir>/client``."""
    alloc_dir: Path | None = None
    """Where allocations have their directories; default ``<data_dir>/alloc``."""

    node_id: str = ""
    """Empty: kept in the state directory, made at the first start."""
    secret_id: str = ""
    name: str = ""
    """Empty: the host name, which the fingerprint finds."""
    region: str = "global"
    datacenter: str = "dc1"
    node_class: str = ""
    node_pool: str = "default"
    meta: dict[str, str] = {}
    options: dict[str, str] = {}
    servers: tuple[str, ...] = ()
    """``host:port`` of the servers' rpc port."""
    http_addr: str = ""
    """``host:port`` of this agent's own HTTP API, told to the servers."""
    version: str = ""

    network_interface: str = ""
    network_speed_mbits: int = 0
    preferred_address_family: str = ""
    cpu_total_compute_mhz: int = 0
    memory_total_mb: int = 0
    disk_total_mb: int = 0
    disk_free_mb: int = 0
    reservable_cores: tuple[int, ...] | None = None
    reserved: NodeReserved = NodeReserved()
    min_dynamic_port: int = 20_000
    max_dynamic_port: int = 32_000
    host_volumes: dict[str, HostVolume] = {}
    host_networks: dict[str, HostNetwork] = {}
    node_max_allocs: int = 0
    default_ineligible: bool = False
    no_host_uuid: bool = True
    cgroup_parent: str = "rove"
    bridge_network_name: str = "rove"
    bridge_network_subnet: str = "172.26.64.0/20"
    cni_path: str = "/opt/cni/bin"
    cni_config_dir: str = "/opt/cni/config"

    max_kill_timeout_s: float = 30.0
    disable_remote_exec: bool = False
    drain_on_shutdown: DrainOnShutdown | None = None
    destroy_on_shutdown: bool = False
    """True in -dev: nothing outlives the agent."""

    gc_interval_s: float = 60.0
    gc_parallel_destroys: int = 2
    gc_disk_usage_threshold: float = 80.0
    gc_inode_usage_threshold: float = 70.0
    gc_max_allocs: int = 50

    drivers: dict[str, dict[str, Any]] = {}
    """Plugin configuration by driver name, as in ``plugin "docker" { config { ... } }``."""
    driver_allowlist: tuple[str, ...] = ()
    """Empty: every driver."""
    driver_denylist: tuple[str, ...] = ()
    artifact: dict[str, Any] = {}
    template: dict[str, Any] = {}

    update_batch_s: float = 0.2
    """How long reports that are not urgent wait for company."""
    driver_probe_interval_s: float = 30.0
    reconnect_min_s: float = 0.25
    reconnect_max_s: float = 5.0
    """Well below what a server waits for known nodes after it started (`failover_heartbeat_ttl`, 20 s)."""

    @property
    def state_path(self) -> Path:
        """The state directory in use."""
        return self.state_dir or self.data_dir / "client"

    @property
    def alloc_path(self) -> Path:
        """The directory that holds allocation directories."""
        return self.alloc_dir or self.data_dir / "alloc"
