"""What an agent is told: frozen structs with Nomad's stanza and option names and our defaults.

The option of a field is its name without the unit: ``heartbeat_grace_s`` is written ``heartbeat_grace = "10s"``
and ``job_max_source_size_bytes`` is written ``job_max_source_size = "1M"``. Read files with
`rove.agent.config_files.load_config`; this module holds values and touches nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

import msgspec

Seconds = Annotated[float, msgspec.Meta(extra={"unit": "s"})]
"""A duration; written as text with units, as in "1h30m"."""

Bytes = Annotated[int, msgspec.Meta(extra={"unit": "bytes"})]
"""A size; written as text with a unit, as in "1M", or as a plain number of bytes."""

HOUR = 3600.0
DAY = 86400.0


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all parts."""


class Ports(Section, frozen=True, kw_only=True):
    """serf is accepted and not needed: servers talk to each other over rpc."""

    http: int = 4646
    rpc: int = 4647
    serf: int = 4648


class Addresses(Section, frozen=True, kw_only=True):
    """Addresses per listener; empty means `bind_addr`. http may be several, separated by spaces."""

    http: str = ""
    rpc: str = ""
    serf: str = ""


class Advertise(Section, frozen=True, kw_only=True):
    """Addresses that others are told, with or without a port; empty means the one listened on."""

    http: str = ""
    rpc: str = ""
    serf: str = ""


class ServerJoin(Section, frozen=True, kw_only=True):
    """Which servers to look for at start, and how stubbornly."""

    start_join: tuple[str, ...] = ()
    retry_join: tuple[str, ...] = ()
    retry_interval_s: Seconds = 30.0
    retry_max: int = 0


class PreemptionConfig(Section, frozen=True, kw_only=True):
    """Which job types may push others aside."""

    system_scheduler_enabled: bool = True
    sysbatch_scheduler_enabled: bool = False
    batch_scheduler_enabled: bool = False
    service_scheduler_enabled: bool = False


class SchedulerDefaults(Section, frozen=True, kw_only=True):
    """The scheduler's settings of a new cluster; later they are changed through the API."""

    scheduler_algorithm: str = "binpack"
    memory_oversubscription_enabled: bool = False
    reject_job_registration: bool = False
    pause_eval_broker: bool = False
    node_limit_for_feasibility_checks: int = 100
    preemption_config: PreemptionConfig = PreemptionConfig()


class PlanRejectionTracker(Section, frozen=True, kw_only=True):
    """When a node whose plans are refused again and again is put aside."""

    enabled: bool = False
    node_threshold: int = 100
    node_window_s: Seconds = 300.0


class SearchConfig(Section, frozen=True, kw_only=True):
    """Limits of the search endpoints."""

    fuzzy_enabled: bool = True
    limit_query: int = 20
    limit_results: int = 100
    min_term_length: int = 2


class EtcdStore(Section, frozen=True, kw_only=True):
    """Where the etcd engine keeps the state."""

    endpoints: tuple[str, ...] = ()
    prefix: str = "/rove"
    username: str = ""
    password: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    managed: bool = False
    """Whether the agent starts and looks after an etcd member itself."""
    client_port: int = 2379
    peer_port: int = 2380

    def __repr__(self) -> str:
        return f"EtcdStore(endpoints={self.endpoints!r}, prefix={self.prefix!r}, managed={self.managed!r})"


class StoreConfig(Section, frozen=True, kw_only=True):
    """Which engine keeps the state: ``sqlite``, ``etcd`` or ``memory``. A stanza of Rove's own."""

    engine: str = "sqlite"
    etcd: EtcdStore = EtcdStore()


class ServerConfig(Section, frozen=True, kw_only=True):
    """The server part."""

    enabled: bool = False
    bootstrap_expect: int = 1
    encrypt: str = ""
    """A key for what agents say to each other. Not built: an agent that is given one does not start."""
    authoritative_region: str = ""
    data_dir: str = ""
    num_schedulers: int = 0
    """Scheduler workers; 0 means as many as there are CPUs."""
    enabled_schedulers: tuple[str, ...] = ("service", "batch", "system", "sysbatch")
    node_gc_threshold_s: Seconds = DAY
    job_gc_interval_s: Seconds = 300.0
    job_gc_threshold_s: Seconds = 4 * HOUR
    eval_gc_threshold_s: Seconds = HOUR
    batch_eval_gc_threshold_s: Seconds = DAY
    deployment_gc_threshold_s: Seconds = HOUR
    acl_token_gc_threshold_s: Seconds = HOUR
    root_key_gc_interval_s: Seconds = 600.0
    root_key_gc_threshold_s: Seconds = HOUR
    root_key_rotation_threshold_s: Seconds = 30 * DAY
    heartbeat_grace_s: Seconds = 10.0
    min_heartbeat_ttl_s: Seconds = 3.0
    max_heartbeats_per_second: float = 50.0
    failover_heartbeat_ttl_s: Seconds = 20.0
    rejoin_after_leave: bool = False
    retry_join: tuple[str, ...] = ()
    start_join: tuple[str, ...] = ()
    retry_interval_s: Seconds = 30.0
    retry_max: int = 0
    server_join: ServerJoin = ServerJoin()
    default_scheduler_config: SchedulerDefaults = SchedulerDefaults()
    plan_rejection_tracker: PlanRejectionTracker = PlanRejectionTracker()
    enable_event_broker: bool = True
    event_buffer_size: int = 100
    search: SearchConfig = SearchConfig()
    job_default_priority: int = 50
    job_max_priority: int = 100
    job_max_count: int = 50_000
    job_max_source_size_bytes: Bytes = 1_000_000
    job_tracked_versions: int = 6
    oidc_issuer: str = ""
    deploy_query_rate_limit: float = 100.0
    store: StoreConfig = StoreConfig()

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "encrypt")
        return f"ServerConfig({', '.join(shown)})"


class Reserved(Section, frozen=True, kw_only=True):
    """What tasks are not given. cpu: MHz. memory, disk: MiB. reserved_ports: ``22,80,8500-8600``."""

    cpu: int = 0
    memory: int = 0
    disk: int = 0
    reserved_ports: str = ""
    cores: str = ""


class HostVolume(Section, frozen=True, kw_only=True):
    """A folder of the machine that jobs may mount by name."""

    path: str = ""
    read_only: bool = False


class HostNetwork(Section, frozen=True, kw_only=True):
    """Addresses of the machine that jobs may ask for by name."""

    cidr: str = ""
    interface: str = ""
    reserved_ports: str = ""


class Wait(Section, frozen=True, kw_only=True):
    """How long a template waits for its data to settle."""

    min_s: Seconds = 5.0
    max_s: Seconds = 240.0


class TemplateConfig(Section, frozen=True, kw_only=True):
    """Limits of templates."""

    function_denylist: tuple[str, ...] = ("plugin", "writeToFile")
    disable_file_sandbox: bool = False
    max_stale_s: Seconds = 87600 * HOUR
    block_query_wait_s: Seconds = 300.0
    wait: Wait | None = None


class ArtifactConfig(Section, frozen=True, kw_only=True):
    """Limits of artifact downloads."""

    http_read_timeout_s: Seconds = 1800.0
    http_max_size_bytes: Bytes = 100 * 10**9
    git_timeout_s: Seconds = 1800.0
    s3_timeout_s: Seconds = 1800.0
    decompression_file_count_limit: int = 4096
    decompression_size_limit_bytes: Bytes = 100 * 10**9
    disable_filesystem_isolation: bool = False
    set_environment_variables: str = ""


class DrainOnShutdown(Section, frozen=True, kw_only=True):
    """How a node leaves: with its allocations moved away first."""

    deadline_s: Seconds = HOUR
    force: bool = False
    ignore_system_jobs: bool = False


class Users(Section, frozen=True, kw_only=True):
    """Numbers of users made up for tasks."""

    dynamic_user_min: int = 80_000
    dynamic_user_max: int = 89_999


class ClientConfig(Section, frozen=True, kw_only=True):
    """The node part. memory_total_mb, disk_*_mb: MiB, 0 means found out. cpu_total_compute: MHz likewise."""

    enabled: bool = False
    state_dir: str = ""
    alloc_dir: str = ""
    alloc_mounts_dir: str = ""
    host_volumes_dir: str = ""
    servers: tuple[str, ...] = ()
    server_join: ServerJoin = ServerJoin()
    node_class: str = ""
    node_pool: str = "default"
    options: dict[str, str] = {}
    meta: dict[str, str] = {}
    chroot_env: dict[str, str] = {}
    network_interface: str = ""
    preferred_address_family: str = ""
    network_speed: int = 0
    cpu_total_compute: int = 0
    memory_total_mb: int = 0
    disk_total_mb: int = 0
    disk_free_mb: int = 0
    reservable_cores: str = ""
    max_kill_timeout_s: Seconds = 30.0
    min_dynamic_port: int = 20_000
    max_dynamic_port: int = 32_000
    reserved: Reserved = Reserved()
    gc_interval_s: Seconds = 60.0
    gc_parallel_destroys: int = 2
    gc_disk_usage_threshold: float = 80.0
    gc_inode_usage_threshold: float = 70.0
    gc_max_allocs: int = 50
    no_host_uuid: bool = True
    disable_remote_exec: bool = False
    template: TemplateConfig = TemplateConfig()
    host_volume: dict[str, HostVolume] = {}
    host_network: dict[str, HostNetwork] = {}
    cni_path: str = "/opt/cni/bin"
    cni_config_dir: str = "/opt/cni/config"
    bridge_network_name: str = "rove"
    bridge_network_subnet: str = "172.26.64.0/20"
    bridge_network_subnet_ipv6: str = ""
    bridge_network_hairpin_mode: bool = False
    bind_wildcard_default_host_network: bool = True
    cgroup_parent: str = "rove.slice"
    nomad_service_discovery: bool = True
    artifact: ArtifactConfig = ArtifactConfig()
    drain_on_shutdown: DrainOnShutdown | None = None
    users: Users = Users()
    node_max_allocs: int = 0
    fingerprint: dict[str, Any] = {}
    default_ineligible: bool = False


class PluginConfig(Section, frozen=True, kw_only=True):
    """A driver's own settings, checked by the driver."""

    args: tuple[str, ...] = ()
    config: dict[str, Any] = {}


class AclConfig(Section, frozen=True, kw_only=True):
    """Access control."""

    enabled: bool = False
    token_ttl_s: Seconds = 30.0
    policy_ttl_s: Seconds = 30.0
    role_ttl_s: Seconds = 30.0
    replication_token: str = ""
    token_min_expiration_ttl_s: Seconds = 60.0
    token_max_expiration_ttl_s: Seconds = DAY

    def __repr__(self) -> str:
        return f"AclConfig(enabled={self.enabled!r})"


class TelemetryConfig(Section, frozen=True, kw_only=True):
    """Which figures are published, and where."""

    collection_interval_s: Seconds = 1.0
    in_memory_collection_interval_s: Seconds = 10.0
    in_memory_retention_period_s: Seconds = 60.0
    prometheus_metrics: bool = False
    publish_allocation_metrics: bool = False
    publish_node_metrics: bool = False
    disable_hostname: bool = False
    use_node_name: bool = False
    statsd_address: str = ""
    prefix_filter: tuple[str, ...] = ()
    filter_default: bool = True
    include_alloc_metadata_in_metrics: bool = False
    allowed_metadata_keys_in_metrics: tuple[str, ...] = ()
    disable_dispatched_job_summary_metrics: bool = False


class TlsConfig(Section, frozen=True, kw_only=True):
    """Certificates: of the API (http) and among agents (rpc)."""

    http: bool = False
    rpc: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify_server_hostname: bool = False
    verify_https_client: bool = False
    rpc_upgrade_mode: bool = False
    tls_min_version: str = "tls12"
    tls_cipher_suites: str = ""


class LimitsConfig(Section, frozen=True, kw_only=True):
    """What one peer may take."""

    https_handshake_timeout_s: Seconds = 5.0
    http_max_conns_per_client: int = 100
    rpc_handshake_timeout_s: Seconds = 5.0
    rpc_max_conns_per_client: int = 100
    max_body_size_bytes: Bytes = 16 * 2**20
    """Largest body of an API call. An option of Rove's own."""


class UiLabel(Section, frozen=True, kw_only=True):
    """A coloured word at the top of every page."""

    text: str = ""
    background_color: str = ""
    text_color: str = ""


class UiConfig(Section, frozen=True, kw_only=True):
    """The web page."""

    enabled: bool = True
    label: UiLabel = UiLabel()
    show_cli_hints: bool = True


class ConsulApiConfig(Section, frozen=True, kw_only=True):
    """The listener that speaks Consul's HTTP API. A stanza of Rove's own, off unless enabled."""

    enabled: bool = False
    address: str = ""
    port: int = 8500


class DnsConfig(Section, frozen=True, kw_only=True):
    """The DNS responder for services. A stanza of Rove's own, off unless enabled.

    address: empty means `bind_addr`. domain: what all names end with. ttl: how long answers may be kept.
    """

    enabled: bool = False
    address: str = ""
    port: int = 8600
    domain: str = "rove"
    ttl_s: Seconds = 0.0


class AgentConfig(Section, frozen=True, kw_only=True):
    """Everything an agent is told. `sources`: the files it came from. `warnings`: options that do nothing here."""

    name: str = ""
    region: str = "global"
    datacenter: str = "dc1"
    data_dir: str = ""
    plugin_dir: str = ""
    bind_addr: str = "127.0.0.1"
    log_level: str = "INFO"
    log_json: bool = False
    log_file: str = ""
    log_rotate_bytes: int = 0
    log_rotate_duration_s: Seconds = DAY
    log_rotate_max_files: int = 0
    log_include_location: bool = False
    enable_debug: bool = False
    enable_syslog: bool = False
    syslog_facility: str = "LOCAL0"
    leave_on_interrupt: bool = False
    leave_on_terminate: bool = False
    http_api_response_headers: dict[str, str] = {}
    ports: Ports = Ports()
    addresses: Addresses = Addresses()
    advertise: Advertise = Advertise()
    server: ServerConfig = ServerConfig()
    client: ClientConfig = ClientConfig()
    plugin: dict[str, PluginConfig] = {}
    acl: AclConfig = AclConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    tls: TlsConfig = TlsConfig()
    limits: LimitsConfig = LimitsConfig()
    ui: UiConfig = UiConfig()
    consul_api: ConsulApiConfig = ConsulApiConfig()
    dns: DnsConfig = DnsConfig()
    dev: bool = False
    """A throw-away agent: state in memory, allocations end with it."""
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def http_hosts(self) -> tuple[str, ...]:
        """The addresses that the API listens on."""
        return tuple(self.addresses.http.split()) or (self.bind_addr,)

    def rpc_host(self) -> str:
        """The address that agents are listened to on."""
        return self.addresses.rpc or self.bind_addr

    def advertised_http(self) -> str:
        """``host:port`` of the API as others are told."""
        return _advertised(self.advertise.http, self.http_hosts()[0], self.ports.http)

    def advertised_rpc(self) -> str:
        """``host:port`` for agents as others are told."""
        return _advertised(self.advertise.rpc, self.rpc_host(), self.ports.rpc)

    def server_addresses(self) -> tuple[str, ...]:
        """``host:port`` of the servers that the node part connects to; the default port is added."""
        named = (*self.client.servers, *self.client.server_join.retry_join, *self.client.server_join.start_join)
        return tuple(dict.fromkeys(with_port(address, 4647) for address in named))

    def join_addresses(self) -> tuple[str, ...]:
        """``host:port`` of the other servers that the server part looks for."""
        server = self.server
        named = (*server.server_join.start_join, *server.server_join.retry_join, *server.start_join, *server.retry_join)
        return tuple(dict.fromkeys(with_port(address, 4647) for address in named))


def _advertised(told: str, host: str, port: int) -> str:
    return with_port(told or host, port)


def with_port(address: str, port: int) -> str:
    """``host:port``, with the port added where there is none; IPv6 addresses get brackets."""
    if address.startswith("["):
        return address if "]:" in address else f"{address}:{port}"
    if address.count(":") > 1:
        return f"[{address}]:{port}"
    return address if ":" in address else f"{address}:{port}"


def is_address(address: str) -> bool:
    """True for ``host`` and ``host:port``, with IPv6 addresses bare or in brackets."""
    host, _, port = with_port(address, 1).rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535):
        return False
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host.strip("[]"))
        except ValueError:
            return False
        return True
    return bool(host) and host.isprintable() and not set(host) & set(" /\\@?#[]")
