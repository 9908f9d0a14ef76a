"""The job language as one table: each block, its attributes, their types and their names in the API.

The table drives reading job files (`decode`), hints for unknown names, and printing (`printing`). Defaults live
in `rove.structs.job` and `canonical`; rules in `validate`. To add an attribute, add it here and to its struct.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from rove.structs.base import nomad_name


class Kind(Enum):
    """What an attribute holds. Durations are ``"30s"`` or nanoseconds in files, nanoseconds in the API."""

    STR = auto()
    INT = auto()
    BOOL = auto()
    DURATION = auto()
    STRS = auto()
    """A list of strings."""
    INTS = auto()
    MAP = auto()
    """Text by text, as a block or as an attribute."""
    LISTS = auto()
    """Lists of texts by text, as a block or as an attribute."""
    ANY = auto()
    """A free-form map, as a block or as an attribute; blocks inside become maps."""


class Attr:
    """One attribute. `key` is its API name ("" for sugar that a finisher takes apart); `old` if deprecated."""

    __slots__ = ("key", "kind", "old", "required")

    def __init__(self, kind: Kind, key: str | None, *, required: bool = False, old: bool = False) -> None:
        self.kind = kind
        self.key = key or ""
        self.required = required
        self.old = old


class Nest:
    """A block inside a block.

    many: it may be repeated and its API form is a list. keyed: a map by label. label: API key that takes the
    label ("" for none, then labels are refused); optional: the label may be left out. quiet: Rove's own, so the
    API form does not have the key while the block is not there.
    """

    __slots__ = ("body", "key", "keyed", "label", "many", "optional", "quiet")

    def __init__(
        self, key: str, body: Body, *, many: bool = False, keyed: bool = False, label: str = "",
        optional: bool = False, quiet: bool = False,
    ) -> None:  # fmt: skip
        self.quiet = quiet
        self.key = key
        self.body = body
        self.many = many
        self.keyed = keyed
        self.label = label
        self.optional = optional


class Body:
    """What may stand in a block. blank: the API form with everything unset."""

    __slots__ = ("attrs", "blank", "blocks", "known", "name", "required")

    def __init__(
        self, name: str, attrs: dict[str, Attr], blocks: dict[str, Nest] | None = None,
        *, also: tuple[str, ...] = (), sparse: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.attrs = {word: self._named(word, attr) for word, attr in attrs.items()}
        self.blocks = blocks or {}
        self.required = tuple(word for word, attr in attrs.items() if attr.required)
        self.known = (*self.attrs, *self.blocks)
        keys = [attr.key for attr in self.attrs.values()] + [
            nest.key for nest in self.blocks.values() if not nest.quiet
        ]
        labels = [nest.label for nest in self.blocks.values() if nest.label and nest.key == ""]
        self.blank: dict[str, Any] = {} if sparse else dict.fromkeys(key for key in (*also, *keys, *labels) if key)

    @staticmethod
    def _named(word: str, attr: Attr) -> Attr:
        attr.key = "" if attr.key == SUGAR else attr.key or nomad_name(word)
        return attr


SUGAR = "-"


def _str(key: str | None = None, *, required: bool = False, old: bool = False) -> Attr:
    return Attr(Kind.STR, key, required=required, old=old)


def _int(key: str | None = None, *, required: bool = False, old: bool = False) -> Attr:
    return Attr(Kind.INT, key, required=required, old=old)


def _bool(key: str | None = None, *, old: bool = False) -> Attr:
    return Attr(Kind.BOOL, key, old=old)


def _time(key: str | None = None, *, old: bool = False) -> Attr:
    return Attr(Kind.DURATION, key, old=old)


def _strs(key: str | None = None) -> Attr:
    return Attr(Kind.STRS, key)


def _ints(key: str | None = None) -> Attr:
    return Attr(Kind.INTS, key)


def _map(key: str | None = None) -> Attr:
    return Attr(Kind.MAP, key)


def _lists(key: str | None = None) -> Attr:
    return Attr(Kind.LISTS, key)


def _any(key: str | None = None) -> Attr:
    return Attr(Kind.ANY, key)


CONSTRAINT = Body(
    "constraint",
    {
        "attribute": _str("LTarget"), "operator": _str("Operand"), "value": _str("RTarget"),
        "version": _str(SUGAR), "semver": _str(SUGAR), "regexp": _str(SUGAR), "set_contains": _str(SUGAR),
        "set_contains_all": _str(SUGAR), "set_contains_any": _str(SUGAR), "is_set": _str(SUGAR),
        "is_not_set": _str(SUGAR), "distinct_hosts": _bool(SUGAR), "distinct_property": _str(SUGAR),
    },
)  # fmt: skip

AFFINITY = Body(
    "affinity",
    {
        "attribute": _str("LTarget"), "operator": _str("Operand"), "value": _str("RTarget"), "weight": _int(),
        "version": _str(SUGAR), "semver": _str(SUGAR), "regexp": _str(SUGAR), "set_contains": _str(SUGAR),
        "set_contains_all": _str(SUGAR), "set_contains_any": _str(SUGAR),
    },
)  # fmt: skip

SPREAD_TARGET = Body("target", {"value": _str(), "percent": _int()})
SPREAD = Body(
    "spread",
    {"attribute": _str(), "weight": _int()},
    {"target": Nest("SpreadTarget", SPREAD_TARGET, many=True, label="Value", optional=True)},
)

GATE = Body(
    "gate",
    {
        "type": _str(), "address": _str(), "query": _str(), "expect": _str(), "task": _str(), "command": _str(),
        "args": _strs(), "interval": _time(), "timeout": _time(), "passes": _int(), "failures": _int(),
    },
    also=("Name",),
)  # fmt: skip
UPDATE = Body(
    "update",
    {
        "stagger": _time(), "max_parallel": _int(), "health_check": _str(), "min_healthy_time": _time(),
        "healthy_deadline": _time(), "progress_deadline": _time(), "auto_revert": _bool(),
        "auto_promote": _bool(), "canary": _int(),
    },
    {"gate": Nest("Gates", GATE, many=True, label="Name", quiet=True)},
)  # fmt: skip
MIGRATE = Body(
    "migrate",
    {
        "max_parallel": _int(), "health_check": _str(), "min_healthy_time": _time(),
        "healthy_deadline": _time(),
    },
)  # fmt: skip
RESTART = Body(
    "restart",
    {
        "attempts": _int(), "interval": _time(), "delay": _time(), "mode": _str(),
        "render_templates": _bool(),
    },
)  # fmt: skip
RESCHEDULE = Body(
    "reschedule",
    {
        "attempts": _int(), "interval": _time(), "delay": _time(), "delay_function": _str(),
        "max_delay": _time(), "unlimited": _bool(),
    },
)  # fmt: skip
DISCONNECT = Body(
    "disconnect",
    {
        "lost_after": _time(), "stop_on_client_after": _time(), "replace": _bool(), "reconcile": _str(),
    },
)  # fmt: skip
EPHEMERAL_DISK = Body("ephemeral_disk", {"sticky": _bool(), "size": _int("SizeMB"), "migrate": _bool()})

PORT = Body(
    "port",
    {
        "static": _int("Value"), "to": _int(), "host_network": _str(), "ignore_collision": _bool(),
    },
)  # fmt: skip
DNS = Body("dns", {"servers": _strs(), "searches": _strs(), "options": _strs()})
CNI = Body("cni", {"args": _map()})
NETWORK = Body(
    "network",
    {"mode": _str(), "device": _str(), "hostname": _str(), "mbits": _int(old=True)},
    {
        "port": Nest("DynamicPorts", PORT, many=True, label="Label"),
        "dns": Nest("DNS", DNS),
        "cni": Nest("CNI", CNI),
    },
    also=("CIDR", "IP", "ReservedPorts"),
)

DEVICE = Body(
    "device",
    {"count": _int()},
    {
        "constraint": Nest("Constraints", CONSTRAINT, many=True),
        "affinity": Nest("Affinities", AFFINITY, many=True),
    },
)
NUMA = Body("numa", {"affinity": _str(), "devices": _strs()})
RESOURCES = Body(
    "resources",
    {
        "cpu": _int("CPU"), "cores": _int(), "memory": _int("MemoryMB"), "memory_max": _int("MemoryMaxMB"),
        "disk": _int("DiskMB", old=True), "iops": _int("IOPS", old=True), "secrets": _int("SecretsMB"),
    },
    {
        "network": Nest("Networks", NETWORK, many=True),
        "device": Nest("Devices", DEVICE, many=True, label="Name"),
        "numa": Nest("NUMA", NUMA),
    },
)  # fmt: skip

LOGS = Body(
    "logs",
    {
        "max_files": _int(), "max_file_size": _int("MaxFileSizeMB"), "disabled": _bool(),
        "enabled": _bool(SUGAR, old=True),
    },
)  # fmt: skip

CHECK_RESTART = Body("check_restart", {"limit": _int(), "grace": _time(), "ignore_warnings": _bool()})
CHECK = Body(
    "check",
    {
        "name": _str(), "type": _str(), "command": _str(), "args": _strs(), "path": _str(),
        "protocol": _str(), "port": _str("PortLabel"), "expose": _bool(), "address_mode": _str(),
        "interval": _time(), "timeout": _time(), "initial_status": _str(), "notes": _str(),
        "tls_server_name": _str(), "tls_skip_verify": _bool(), "header": _lists(), "method": _str(),
        "grpc_service": _str("GRPCService"), "grpc_use_tls": _bool("GRPCUseTLS"), "task": _str("TaskName"),
        "success_before_passing": _int(), "failures_before_critical": _int(),
        "failures_before_warning": _int(), "body": _str(), "on_update": _str(),
    },
    {"check_restart": Nest("CheckRestart", CHECK_RESTART)},
)  # fmt: skip

IDENTITY = Body(
    "identity",
    {
        "name": _str(), "aud": _strs("Audience"), "change_mode": _str(), "change_signal": _str(),
        "env": _bool(), "file": _bool(), "filepath": _str(), "ttl": _time("TTL"), "extra_claims": _map(),
    },
    also=("ServiceName",),
)  # fmt: skip

_MESH_GATEWAY = Body("mesh_gateway", {"mode": _str()}, sparse=True)
_UPSTREAM = Body(
    "upstreams",
    {
        "destination_name": _str(), "destination_namespace": _str(), "destination_partition": _str(),
        "destination_peer": _str(), "destination_type": _str(), "local_bind_port": _int(),
        "local_bind_address": _str(), "local_bind_socket_path": _str(), "local_bind_socket_mode": _str(),
        "datacenter": _str(), "config": _any(),
    },
    {"mesh_gateway": Nest("MeshGateway", _MESH_GATEWAY)}, sparse=True,
)  # fmt: skip
_EXPOSE_PATH = Body(
    "path",
    {"path": _str(), "protocol": _str(), "local_path_port": _int(), "listener_port": _str()},
    sparse=True,
)
_TRANSPARENT_PROXY = Body(
    "transparent_proxy",
    {
        "uid": _str("UID"), "outbound_port": _int(), "exclude_inbound_ports": _strs(),
        "exclude_outbound_ports": _ints(), "exclude_outbound_cidrs": _strs("ExcludeOutboundCIDRs"),
        "exclude_uids": _strs("ExcludeUIDs"), "no_dns": _bool("NoDNS"),
    },
    sparse=True,
)  # fmt: skip
_PROXY = Body(
    "proxy",
    {
        "local_service_address": _str(), "local_service_port": _int(), "config": _any(),
    },
    {
        "upstreams": Nest("Upstreams", _UPSTREAM, many=True),
        "expose": Nest(
            "Expose", Body("expose", {}, {"path": Nest("Paths", _EXPOSE_PATH, many=True)}, sparse=True)
        ),
        "transparent_proxy": Nest("TransparentProxy", _TRANSPARENT_PROXY),
    },
    sparse=True,
)  # fmt: skip
_SIDECAR_SERVICE = Body(
    "sidecar_service",
    {
        "tags": _strs(), "port": _str(), "disable_default_tcp_check": _bool("DisableDefaultTCPCheck"),
        "meta": _map(),
    },
    {"proxy": Nest("Proxy", _PROXY)}, sparse=True,
)  # fmt: skip

VOLUME_MOUNT = Body(
    "volume_mount",
    {
        "volume": _str(), "destination": _str(), "read_only": _bool(), "propagation_mode": _str(),
        "selinux_label": _str("SELinuxLabel"),
    },
)  # fmt: skip
_SIDECAR_TASK = Body(
    "sidecar_task",
    {
        "name": _str(), "driver": _str(), "user": _str(), "config": _any(), "env": _map(), "meta": _map(),
        "kill_timeout": _time(), "shutdown_delay": _time(), "kill_signal": _str(),
    },
    {
        "resources": Nest("Resources", RESOURCES),
        "logs": Nest("LogConfig", LOGS),
        "volume_mount": Nest("VolumeMounts", VOLUME_MOUNT, many=True),
    },
    sparse=True,
)  # fmt: skip
_GATEWAY_ADDRESS = Body("envoy_gateway_bind_addresses", {"address": _str(), "port": _int()}, sparse=True)
_GATEWAY_PROXY = Body(
    "proxy",
    {
        "connect_timeout": _time(), "envoy_gateway_bind_tagged_addresses": _bool(),
        "envoy_gateway_no_default_bind": _bool(), "envoy_dns_discovery_type": _str("EnvoyDNSDiscoveryType"),
        "config": _any(),
    },
    {"envoy_gateway_bind_addresses": Nest("EnvoyGatewayBindAddresses", _GATEWAY_ADDRESS, keyed=True, label="-")},
    sparse=True,
)  # fmt: skip
_GATEWAY_TLS = Body(
    "tls",
    {
        "enabled": _bool(), "tls_min_version": _str("TLSMinVersion"), "tls_max_version": _str("TLSMaxVersion"),
        "cipher_suites": _strs(),
    },
    sparse=True,
)  # fmt: skip
_INGRESS_SERVICE = Body(
    "service",
    {
        "name": _str(), "hosts": _strs(), "max_connections": _int(), "max_pending_requests": _int(),
        "max_concurrent_requests": _int(),
    },
    {"tls": Nest("TLS", _GATEWAY_TLS)}, sparse=True,
)  # fmt: skip
_LISTENER = Body(
    "listener",
    {"port": _int(), "protocol": _str()},
    {"service": Nest("Services", _INGRESS_SERVICE, many=True)},
    sparse=True,
)
_LINKED_SERVICE = Body(
    "service",
    {
        "name": _str(), "ca_file": _str("CAFile"), "cert_file": _str(), "key_file": _str(),
        "sni": _str("SNI"),
    },
    sparse=True,
)  # fmt: skip
_GATEWAY = Body(
    "gateway",
    {},
    {
        "proxy": Nest("Proxy", _GATEWAY_PROXY),
        "ingress": Nest(
            "Ingress",
            Body(
                "ingress",
                {},
                {
                    "tls": Nest("TLS", _GATEWAY_TLS),
                    "listener": Nest("Listeners", _LISTENER, many=True),
                },
                sparse=True,
            ),
        ),
        "terminating": Nest(
            "Terminating",
            Body("terminating", {}, {"service": Nest("Services", _LINKED_SERVICE, many=True)}, sparse=True),
        ),
        "mesh": Nest("Mesh", Body("mesh", {}, sparse=True)),
    },
    sparse=True,
)
CONNECT = Body(
    "connect",
    {"native": _bool()},
    {
        "sidecar_service": Nest("SidecarService", _SIDECAR_SERVICE),
        "sidecar_task": Nest("SidecarTask", _SIDECAR_TASK),
        "gateway": Nest("Gateway", _GATEWAY),
    },
)
WEIGHTS = Body("weights", {"passing": _int(), "warning": _int()})
SERVICE = Body(
    "service",
    {
        "name": _str(), "tags": _strs(), "canary_tags": _strs(), "enable_tag_override": _bool(),
        "port": _str("PortLabel"), "address_mode": _str(), "address": _str(), "meta": _map(),
        "canary_meta": _map(), "tagged_addresses": _map(), "task": _str("TaskName"), "on_update": _str(),
        "provider": _str(), "cluster": _str(), "kind": _str(),
    },
    {
        "check": Nest("Checks", CHECK, many=True),
        "check_restart": Nest("CheckRestart", CHECK_RESTART),
        "connect": Nest("Connect", CONNECT),
        "identity": Nest("Identity", IDENTITY),
        "weights": Nest("Weights", WEIGHTS),
    },
)  # fmt: skip

CHANGE_SCRIPT = Body(
    "change_script",
    {
        "command": _str(), "args": _strs(), "timeout": _time(), "fail_on_error": _bool(),
        "run_on_first_render": _bool(),
    },
)  # fmt: skip
WAIT = Body("wait", {"min": _time(), "max": _time()})
TEMPLATE = Body(
    "template",
    {
        "source": _str("SourcePath"), "destination": _str("DestPath"), "data": _str("EmbeddedTmpl"),
        "change_mode": _str(), "change_signal": _str(), "splay": _time(), "perms": _str(),
        "uid": _int("Uid"), "gid": _int("Gid"), "left_delimiter": _str("LeftDelim"),
        "right_delimiter": _str("RightDelim"), "env": _bool("Envvars"), "vault_grace": _time(old=True),
        "error_on_missing_key": _bool("ErrMissingKey"), "once": _bool(),
    },
    {"change_script": Nest("ChangeScript", CHANGE_SCRIPT), "wait": Nest("Wait", WAIT)},
)  # fmt: skip

ARTIFACT = Body(
    "artifact",
    {
        "source": _str("GetterSource"), "options": _map("GetterOptions"), "headers": _map("GetterHeaders"),
        "mode": _str("GetterMode"), "insecure": _bool("GetterInsecure"), "destination": _str("RelativeDest"),
        "chown": _bool(),
    },
)  # fmt: skip
MOUNT_OPTIONS = Body("mount_options", {"fs_type": _str("FSType"), "mount_flags": _strs()})
VOLUME = Body(
    "volume",
    {
        "type": _str(), "source": _str(), "read_only": _bool(), "sticky": _bool(), "access_mode": _str(),
        "attachment_mode": _str(), "per_alloc": _bool(),
    },
    {"mount_options": Nest("MountOptions", MOUNT_OPTIONS)},
    also=("Name",),
)  # fmt: skip
LIFECYCLE = Body("lifecycle", {"hook": _str(), "sidecar": _bool()})
DISPATCH_PAYLOAD = Body("dispatch_payload", {"file": _str()})
VAULT = Body(
    "vault",
    {
        "role": _str(), "policies": _strs(), "namespace": _str(), "cluster": _str(), "env": _bool(),
        "disable_file": _bool(), "change_mode": _str(), "change_signal": _str(),
        "allow_token_expiration": _bool(),
    },
)  # fmt: skip
CONSUL = Body("consul", {"namespace": _str(), "cluster": _str(), "partition": _str()})
SECRET = Body("secret", {"provider": _str(), "path": _str(), "config": _any(), "env": _map()}, also=("Name",))
ACTION = Body("action", {"command": _str(), "args": _strs()}, also=("Name",))
CRON_WINDOW = Body("cron", {"start": _str(), "end": _str(), "timezone": _str()})
SCHEDULE = Body("schedule", {}, {"cron": Nest("Cron", CRON_WINDOW)})
CSI_PLUGIN = Body(
    "csi_plugin",
    {
        "id": _str(), "type": _str(), "mount_dir": _str(), "stage_publish_base_dir": _str(),
        "health_timeout": _time(),
    },
)  # fmt: skip
SCALING = Body(
    "scaling",
    {
        "enabled": _bool(), "min": _int(), "max": _int(), "policy": _any(), "type": _str(),
    },
    also=("ID", "Target"),
)  # fmt: skip

TASK = Body(
    "task",
    {
        "driver": _str(), "user": _str(), "config": _any(), "env": _map(), "meta": _map(),
        "kill_timeout": _time(), "leader": _bool(), "shutdown_delay": _time(), "kill_signal": _str(),
        "kind": _str(),
    },
    {
        "service": Nest("Services", SERVICE, many=True),
        "vault": Nest("Vault", VAULT),
        "secret": Nest("Secrets", SECRET, many=True, label="Name"),
        "consul": Nest("Consul", CONSUL),
        "template": Nest("Templates", TEMPLATE, many=True),
        "constraint": Nest("Constraints", CONSTRAINT, many=True),
        "affinity": Nest("Affinities", AFFINITY, many=True),
        "resources": Nest("Resources", RESOURCES),
        "restart": Nest("RestartPolicy", RESTART),
        "dispatch_payload": Nest("DispatchPayload", DISPATCH_PAYLOAD),
        "lifecycle": Nest("Lifecycle", LIFECYCLE),
        "logs": Nest("LogConfig", LOGS),
        "artifact": Nest("Artifacts", ARTIFACT, many=True),
        "volume_mount": Nest("VolumeMounts", VOLUME_MOUNT, many=True),
        "scaling": Nest("ScalingPolicies", SCALING, many=True, label="Type"),
        "csi_plugin": Nest("CSIPluginConfig", CSI_PLUGIN),
        "identity": Nest("Identities", IDENTITY, many=True),
        "action": Nest("Actions", ACTION, many=True, label="Name"),
        "schedule": Nest("Schedule", SCHEDULE),
    },
    also=("Name", "Identity"),
)  # fmt: skip

GROUP = Body(
    "group",
    {
        "count": _int(), "meta": _map(), "shutdown_delay": _time(), "max_run_duration": _time(),
        "stop_after_client_disconnect": _time(old=True), "max_client_disconnect": _time(old=True),
        "prevent_reschedule_on_lost": _bool(old=True),
    },
    {
        "constraint": Nest("Constraints", CONSTRAINT, many=True),
        "affinity": Nest("Affinities", AFFINITY, many=True),
        "spread": Nest("Spreads", SPREAD, many=True),
        "network": Nest("Networks", NETWORK, many=True),
        "volume": Nest("Volumes", VOLUME, keyed=True, label="Name"),
        "service": Nest("Services", SERVICE, many=True),
        "ephemeral_disk": Nest("EphemeralDisk", EPHEMERAL_DISK),
        "update": Nest("Update", UPDATE),
        "migrate": Nest("Migrate", MIGRATE),
        "restart": Nest("RestartPolicy", RESTART),
        "reschedule": Nest("ReschedulePolicy", RESCHEDULE),
        "disconnect": Nest("Disconnect", DISCONNECT),
        "scaling": Nest("Scaling", SCALING),
        "consul": Nest("Consul", CONSUL),
        "vault": Nest("", VAULT),
        "secret": Nest("", SECRET, many=True, label="Name"),
        "task": Nest("Tasks", TASK, many=True, label="Name"),
    },
    also=("Name",),
)  # fmt: skip

PERIODIC = Body(
    "periodic",
    {
        "enabled": _bool(), "cron": _str("Spec"), "crons": _strs("Specs"), "prohibit_overlap": _bool(),
        "time_zone": _str(),
    },
    also=("SpecType",),
)  # fmt: skip
PARAMETERIZED = Body("parameterized", {"payload": _str(), "meta_required": _strs(), "meta_optional": _strs()})
MULTIREGION = Body(
    "multiregion",
    {},
    {
        "strategy": Nest("Strategy", Body("strategy", {"max_parallel": _int(), "on_failure": _str()})),
        "region": Nest(
            "Regions",
            Body(
                "region",
                {"count": _int(), "datacenters": _strs(), "node_pool": _str(), "meta": _map()},
                also=("Name",),
            ),
            many=True,
            label="Name",
        ),
    },
)
UI = Body(
    "ui",
    {"description": _str()},
    {"link": Nest("Links", Body("link", {"label": _str(), "url": _str("URL")}), many=True)},
)

JOB = Body(
    "job",
    {
        "id": _str(), "name": _str(), "region": _str(), "namespace": _str(), "type": _str(),
        "priority": _int(), "all_at_once": _bool(), "datacenters": _strs(), "node_pool": _str(),
        "meta": _map(),
    },
    {
        "constraint": Nest("Constraints", CONSTRAINT, many=True),
        "affinity": Nest("Affinities", AFFINITY, many=True),
        "spread": Nest("Spreads", SPREAD, many=True),
        "update": Nest("Update", UPDATE),
        "reschedule": Nest("Reschedule", RESCHEDULE),
        "migrate": Nest("Migrate", MIGRATE),
        "multiregion": Nest("Multiregion", MULTIREGION),
        "periodic": Nest("Periodic", PERIODIC),
        "parameterized": Nest("ParameterizedJob", PARAMETERIZED),
        "vault": Nest("", VAULT),
        "secret": Nest("", SECRET, many=True, label="Name"),
        "ui": Nest("UI", UI),
        "task": Nest("", TASK, many=True, label="Name"),
        "group": Nest("TaskGroups", GROUP, many=True, label="Name"),
    },
    also=(
        "Stop", "ParentID", "Dispatched", "DispatchIdempotencyToken", "Payload", "ConsulNamespace",
        "VaultNamespace", "NomadTokenID", "Status", "StatusDescription", "Stable", "Version", "SubmitTime",
        "CreateIndex", "ModifyIndex", "JobModifyIndex", "VersionTag",
    ),
)  # fmt: skip
