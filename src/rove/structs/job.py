"""A job and its parts in canonical form: every default filled in, field for field Nomad's API.

Durations are nanoseconds. What a person may leave out (null in the API) is filled by
`rove.jobspec.canonical`; `None` stays only where absence means something.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import field

from .base import MINUTE, SECOND, Noun, Ns, SparseNoun, UnixNs


class JobType(StrEnum):
    """How a job is scheduled."""

    SERVICE = "service"
    BATCH = "batch"
    SYSTEM = "system"
    SYSBATCH = "sysbatch"


class JobStatus(StrEnum):
    """What a job is doing, derived from its allocations and evaluations."""

    PENDING = "pending"
    RUNNING = "running"
    DEAD = "dead"


class Constraint(Noun, frozen=True, kw_only=True):
    """A condition that a node must meet."""

    l_target: str = ""
    r_target: str = ""
    operand: str = "="

    def text(self) -> str:
        """The constraint as people read it, also its key in placement metrics."""
        return " ".join(part for part in (self.l_target, self.operand, self.r_target) if part)


class Affinity(Noun, frozen=True, kw_only=True):
    """A wish: nodes that match score higher (weight -100..100, not 0)."""

    l_target: str = ""
    r_target: str = ""
    operand: str = "="
    weight: int = 50


class SpreadTarget(Noun, frozen=True, kw_only=True):
    """The share of allocations wanted on nodes whose attribute has this value."""

    value: str = ""
    percent: int = 0


class Spread(Noun, frozen=True, kw_only=True):
    """Spread allocations over the values of an attribute."""

    attribute: str = ""
    weight: int = 50
    spread_target: tuple[SpreadTarget, ...] = ()


class Gate(Noun, frozen=True, kw_only=True):
    """A question whose answer must be good before canaries are promoted. Rove's own; plain job files have none.

    type: "http" (GET `address`, good if the status is `expect`, or any of 2xx), "prometheus" (`query` asked of the
    server at `address`, good if the one value meets `expect`, such as ``< 0.05``) or "script" (`command` with `args`
    run beside `task` in each canary, good if it exits with 0). passes: good answers in a row that open the gate.
    failures: bad answers in a row that fail the deployment.
    """

    name: str = ""
    type: str = "http"
    address: str = ""
    query: str = ""
    expect: str = ""
    task: str = ""
    command: str = ""
    args: tuple[str, ...] = ()
    interval: Ns = 30 * SECOND
    timeout: Ns = 10 * SECOND
    passes: int = 1
    failures: int = 3


class UpdateStrategy(Noun, frozen=True, kw_only=True):
    """How a new version replaces an old one. `max_parallel` 0: all at once, no deployment."""

    stagger: Ns = 0
    max_parallel: int = 0
    health_check: str = ""
    min_healthy_time: Ns = 0
    healthy_deadline: Ns = 0
    progress_deadline: Ns = 0
    auto_revert: bool = False
    auto_promote: bool = False
    canary: int = 0
    gates: tuple[Gate, ...] | msgspec.UnsetType = msgspec.UNSET
    """Absent from JSON where a job has none, so that such jobs look as they do elsewhere."""


class MigrateStrategy(Noun, frozen=True, kw_only=True):
    """How allocations leave a draining node."""

    max_parallel: int = 1
    health_check: str = "checks"
    min_healthy_time: Ns = 10 * SECOND
    healthy_deadline: Ns = 5 * MINUTE


class RestartPolicy(Noun, frozen=True, kw_only=True):
    """How often a task is restarted on its node, and what happens after that (`mode`: fail, delay)."""

    attempts: int = 2
    interval: Ns = 30 * MINUTE
    delay: Ns = 15 * SECOND
    mode: str = "fail"
    render_templates: bool = False


class ReschedulePolicy(Noun, frozen=True, kw_only=True):
    """How a failed allocation is replaced on another node."""

    attempts: int = 0
    interval: Ns = 0
    delay: Ns = 30 * SECOND
    delay_function: str = "exponential"
    max_delay: Ns = 0
    unlimited: bool = False


class DisconnectStrategy(Noun, frozen=True, kw_only=True):
    """What happens to allocations whose node is unreachable for a while."""

    lost_after: Ns = 0
    stop_on_client_after: Ns | None = None
    replace: bool = True
    reconcile: str = "best_score"


class EphemeralDisk(Noun, frozen=True, kw_only=True):
    """Disk of the allocation directory in MB."""

    sticky: bool = False
    size_mb: int = 300
    migrate: bool = False


class Port(SparseNoun, frozen=True, kw_only=True):
    """A port asked for. `value` is the static port or 0; `to` the port inside (-1: the same)."""

    label: str = ""
    value: int = 0
    to: int = 0
    host_network: str = ""
    ignore_collision: bool = False


class DNSConfig(Noun, frozen=True, kw_only=True):
    """Name servers of a group's network."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class CNIConfig(Noun, frozen=True, kw_only=True):
    """Arguments for a CNI network."""

    args: dict[str, str] = {}


class NetworkResource(SparseNoun, frozen=True, kw_only=True):
    """A network asked for or given."""

    mode: str = ""
    device: str = ""
    cidr: str = ""
    ip: str = ""
    hostname: str = ""
    mbits: int = 0
    dns: DNSConfig | None = None
    reserved_ports: tuple[Port, ...] = ()
    dynamic_ports: tuple[Port, ...] = ()
    cni: CNIConfig | None = None


class RequestedDevice(Noun, frozen=True, kw_only=True):
    """A device asked for: `name` is type, vendor/type or vendor/type/model."""

    name: str = ""
    count: int = 1
    constraints: tuple[Constraint, ...] = ()
    affinities: tuple[Affinity, ...] = ()


class NUMA(Noun, frozen=True, kw_only=True):
    """Wishes about memory and core locality."""

    affinity: str = "none"
    devices: tuple[str, ...] = ()


class Resources(Noun, frozen=True, kw_only=True):
    """What one task asks for. cpu in MHz, memory and disk in MB; `memory_max_mb` -1: no limit."""

    cpu: int = 100
    cores: int = 0
    memory_mb: int = 300
    memory_max_mb: int = 0
    disk_mb: int = 0
    iops: int = 0
    networks: tuple[NetworkResource, ...] = ()
    devices: tuple[RequestedDevice, ...] = ()
    numa: NUMA | None = None
    secrets_mb: int = 0


class LogConfig(Noun, frozen=True, kw_only=True):
    """How a task's output is kept."""

    max_files: int = 10
    max_file_size_mb: int = 10
    disabled: bool = False


class CheckRestart(Noun, frozen=True, kw_only=True):
    """Restart a task whose check fails `limit` times in a row."""

    limit: int = 0
    grace: Ns = SECOND
    ignore_warnings: bool = False


class ServiceCheck(Noun, frozen=True, kw_only=True):
    """One health check of a service."""

    name: str = ""
    type: str = ""
    command: str = ""
    args: tuple[str, ...] = ()
    path: str = ""
    protocol: str = ""
    port_label: str = ""
    expose: bool = False
    address_mode: str = ""
    interval: Ns = 0
    timeout: Ns = 0
    initial_status: str = ""
    notes: str = ""
    tls_server_name: str = ""
    tls_skip_verify: bool = False
    header: dict[str, list[str]] = {}
    method: str = ""
    check_restart: CheckRestart | None = None
    grpc_service: str = field(name="GRPCService", default="")
    grpc_use_tls: bool = field(name="GRPCUseTLS", default=False)
    task_name: str = ""
    success_before_passing: int = 0
    failures_before_critical: int = 0
    failures_before_warning: int = 0
    body: str = ""
    on_update: str = ""


class ServiceWeights(Noun, frozen=True, kw_only=True):
    """Weights a catalogue may use."""

    passing: int = 1
    warning: int = 1


class Service(Noun, frozen=True, kw_only=True):
    """A service offered by a group or task."""

    name: str = ""
    tags: tuple[str, ...] = ()
    canary_tags: tuple[str, ...] = ()
    enable_tag_override: bool = False
    port_label: str = ""
    address_mode: str = "auto"
    address: str = ""
    checks: tuple[ServiceCheck, ...] = ()
    check_restart: CheckRestart | None = None
    connect: dict[str, Any] | None = None
    meta: dict[str, str] = {}
    canary_meta: dict[str, str] = {}
    tagged_addresses: dict[str, str] = {}
    task_name: str = ""
    on_update: str = "require_healthy"
    identity: WorkloadIdentity | None = None
    weights: ServiceWeights | None = None
    provider: str = "consul"
    cluster: str = "default"
    kind: str = ""


class ChangeScript(Noun, frozen=True, kw_only=True):
    """A command run when a template changed."""

    command: str = ""
    args: tuple[str, ...] = ()
    timeout: Ns = 5 * SECOND
    fail_on_error: bool = False
    run_on_first_render: bool = False


class WaitConfig(Noun, frozen=True, kw_only=True):
    """How long rendering waits for values to settle."""

    min: Ns | None = None
    max: Ns | None = None


class Template(Noun, frozen=True, kw_only=True):
    """A file rendered into the task's directory."""

    source_path: str = ""
    dest_path: str = ""
    embedded_tmpl: str = ""
    change_mode: str = "restart"
    change_signal: str = ""
    change_script: ChangeScript | None = None
    splay: Ns = 5 * SECOND
    perms: str = "0644"
    uid: int | None = field(name="Uid", default=None)
    gid: int | None = field(name="Gid", default=None)
    left_delim: str = "{{"
    right_delim: str = "}}"
    envvars: bool = False
    vault_grace: Ns = 0
    wait: WaitConfig | None = None
    err_missing_key: bool = False
    once: bool = False


class Artifact(Noun, frozen=True, kw_only=True):
    """A file or archive fetched before the task starts."""

    getter_source: str = ""
    getter_options: dict[str, str] = {}
    getter_headers: dict[str, str] = {}
    getter_mode: str = "any"
    getter_insecure: bool = False
    relative_dest: str = "local/"
    chown: bool = False


class VolumeMountOptions(Noun, frozen=True, kw_only=True):
    """Options of a CSI mount."""

    fs_type: str = field(name="FSType", default="")
    mount_flags: tuple[str, ...] = ()


class VolumeRequest(Noun, frozen=True, kw_only=True):
    """A volume a group wants."""

    name: str = ""
    type: str = ""
    source: str = ""
    read_only: bool = False
    sticky: bool = False
    access_mode: str = ""
    attachment_mode: str = ""
    mount_options: VolumeMountOptions | None = None
    per_alloc: bool = False


class VolumeMount(Noun, frozen=True, kw_only=True):
    """Where a task sees a volume."""

    volume: str = ""
    destination: str = ""
    read_only: bool = False
    propagation_mode: str = "private"
    selinux_label: str = field(name="SELinuxLabel", default="")


class Lifecycle(Noun, frozen=True, kw_only=True):
    """When a task runs relative to the main tasks. hook: prestart, poststart, poststop."""

    hook: str = ""
    sidecar: bool = False


class DispatchPayload(Noun, frozen=True, kw_only=True):
    """Where a dispatched job's payload is written, below the task's local/."""

    file: str = ""


class Vault(Noun, frozen=True, kw_only=True):
    """Kept for Vault-compatible secrets; see the documentation for what is honoured."""

    role: str = ""
    policies: tuple[str, ...] = ()
    namespace: str = ""
    cluster: str = "default"
    env: bool = True
    disable_file: bool = False
    change_mode: str = "restart"
    change_signal: str = ""
    allow_token_expiration: bool = False


class Consul(Noun, frozen=True, kw_only=True):
    """Kept for files that name a Consul cluster."""

    namespace: str = ""
    cluster: str = "default"
    partition: str = ""


class WorkloadIdentity(Noun, frozen=True, kw_only=True):
    """A signed identity for a task or service."""

    name: str = ""
    audience: tuple[str, ...] = ()
    change_mode: str = ""
    change_signal: str = ""
    env: bool = False
    file: bool = False
    filepath: str = ""
    service_name: str = ""
    ttl: Ns = 0
    extra_claims: dict[str, str] = {}


class Secret(Noun, frozen=True, kw_only=True):
    """A secret looked up from a provider."""

    name: str = ""
    provider: str = ""
    path: str = ""
    config: dict[str, Any] = {}
    env: dict[str, str] = {}


class Action(Noun, frozen=True, kw_only=True):
    """A named command people may run in a task."""

    name: str = ""
    command: str = ""
    args: tuple[str, ...] = ()


class ScheduleCron(Noun, frozen=True, kw_only=True):
    """Cron window of a task schedule."""

    start: str = ""
    end: str = ""
    timezone: str = ""


class TaskSchedule(Noun, frozen=True, kw_only=True):
    """When a task runs and pauses."""

    cron: ScheduleCron | None = None


class CSIPluginConfig(Noun, frozen=True, kw_only=True):
    """A task that is a CSI plugin; kept."""

    id: str = ""
    type: str = ""
    mount_dir: str = ""
    stage_publish_base_dir: str = ""
    health_timeout: Ns = 30 * SECOND


class ScalingPolicy(Noun, frozen=True, kw_only=True):
    """Bounds and policy for an autoscaler."""

    id: str = ""
    type: str = "horizontal"
    target: dict[str, str] = {}
    policy: dict[str, Any] | None = None
    min: int = 0
    max: int = 0
    enabled: bool = True
    create_index: int = 0
    modify_index: int = 0


class Task(Noun, frozen=True, kw_only=True):
    """One process, container or VM of a group."""

    name: str = ""
    driver: str = ""
    user: str = ""
    config: dict[str, Any] = {}
    env: dict[str, str] = {}
    services: tuple[Service, ...] = ()
    vault: Vault | None = None
    secrets: tuple[Secret, ...] = ()
    consul: Consul | None = None
    templates: tuple[Template, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    resources: Resources = Resources()
    restart_policy: RestartPolicy = RestartPolicy()
    dispatch_payload: DispatchPayload | None = None
    lifecycle: Lifecycle | None = None
    meta: dict[str, str] = {}
    kill_timeout: Ns = 5 * SECOND
    log_config: LogConfig = LogConfig()
    artifacts: tuple[Artifact, ...] = ()
    leader: bool = False
    shutdown_delay: Ns = 0
    volume_mounts: tuple[VolumeMount, ...] = ()
    scaling_policies: tuple[ScalingPolicy, ...] = ()
    kill_signal: str = ""
    kind: str = ""
    csi_plugin_config: CSIPluginConfig | None = None
    identity: WorkloadIdentity | None = None
    identities: tuple[WorkloadIdentity, ...] = ()
    actions: tuple[Action, ...] = ()
    schedule: TaskSchedule | None = None


class TaskGroup(Noun, frozen=True, kw_only=True):
    """Tasks that always run together on one node."""

    name: str = ""
    count: int = 1
    update: UpdateStrategy | None = None
    migrate: MigrateStrategy | None = None
    constraints: tuple[Constraint, ...] = ()
    scaling: ScalingPolicy | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    disconnect: DisconnectStrategy | None = None
    tasks: tuple[Task, ...] = ()
    ephemeral_disk: EphemeralDisk = EphemeralDisk()
    meta: dict[str, str] = {}
    reschedule_policy: ReschedulePolicy | None = None
    affinities: tuple[Affinity, ...] = ()
    spreads: tuple[Spread, ...] = ()
    networks: tuple[NetworkResource, ...] = ()
    consul: Consul | None = None
    services: tuple[Service, ...] = ()
    volumes: dict[str, VolumeRequest] = {}
    shutdown_delay: Ns | None = None
    max_run_duration: Ns | None = None
    stop_after_client_disconnect: Ns | None = None
    max_client_disconnect: Ns | None = None
    prevent_reschedule_on_lost: bool = False

    def task(self, name: str) -> Task | None:
        """The task of that name, or None."""
        return next((task for task in self.tasks if task.name == name), None)


class Periodic(Noun, frozen=True, kw_only=True):
    """Launch times of a periodic job."""

    enabled: bool = True
    spec: str = ""
    specs: tuple[str, ...] = ()
    spec_type: str = "cron"
    prohibit_overlap: bool = False
    time_zone: str = "UTC"


class ParameterizedJob(Noun, frozen=True, kw_only=True):
    """What a dispatch may or must bring. payload: optional, required, forbidden."""

    payload: str = "optional"
    meta_required: tuple[str, ...] = ()
    meta_optional: tuple[str, ...] = ()


class MultiregionStrategy(Noun, frozen=True, kw_only=True):
    """Order of a multi-region roll-out."""

    max_parallel: int = 0
    on_failure: str = ""


class MultiregionRegion(Noun, frozen=True, kw_only=True):
    """One region of a multi-region job."""

    name: str = ""
    count: int = 1
    datacenters: tuple[str, ...] = ()
    node_pool: str = ""
    meta: dict[str, str] = {}


class Multiregion(Noun, frozen=True, kw_only=True):
    """A job spanning regions."""

    strategy: MultiregionStrategy | None = None
    regions: tuple[MultiregionRegion, ...] = ()


class UILink(Noun, frozen=True, kw_only=True):
    """A link shown beside a job."""

    label: str = ""
    url: str = field(name="URL", default="")


class JobUI(Noun, frozen=True, kw_only=True):
    """Text and links for people."""

    description: str = ""
    links: tuple[UILink, ...] = ()


class JobVersionTag(Noun, frozen=True, kw_only=True):
    """A name given to a version, which keeps it from being collected."""

    name: str = ""
    description: str = ""
    tagged_time: UnixNs = 0


class Job(Noun, frozen=True, kw_only=True):
    """What should run. Identified by (namespace, id); `version` rises with every change of it."""

    stop: bool = False
    region: str = "global"
    namespace: str = "default"
    id: str = ""
    parent_id: str = ""
    name: str = ""
    type: JobType = JobType.SERVICE
    priority: int = 50
    all_at_once: bool = False
    datacenters: tuple[str, ...] = ("*",)
    node_pool: str = "default"
    constraints: tuple[Constraint, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    spreads: tuple[Spread, ...] = ()
    task_groups: tuple[TaskGroup, ...] = ()
    update: UpdateStrategy = UpdateStrategy()
    multiregion: Multiregion | None = None
    periodic: Periodic | None = None
    parameterized_job: ParameterizedJob | None = None
    dispatched: bool = False
    dispatch_idempotency_token: str = ""
    payload: bytes | None = None
    meta: dict[str, str] = {}
    consul_namespace: str = ""
    vault_namespace: str = ""
    nomad_token_id: str = ""
    status: JobStatus = JobStatus.PENDING
    status_description: str = ""
    stable: bool = False
    version: int = 0
    submit_time: UnixNs = 0
    create_index: int = 0
    modify_index: int = 0
    job_modify_index: int = 0
    ui: JobUI | None = None
    version_tag: JobVersionTag | None = None

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, id)."""
        return (self.namespace, self.id)

    def group(self, name: str) -> TaskGroup | None:
        """The task group of that name, or None."""
        return next((group for group in self.task_groups if group.name == name), None)

    @property
    def is_periodic(self) -> bool:
        return self.periodic is not None

    @property
    def is_parameterized(self) -> bool:
        """True for a parameterized parent; a dispatched child runs like a plain job."""
        return self.parameterized_job is not None and not self.dispatched


class JobSubmission(Noun, frozen=True, kw_only=True):
    """The source a version was made from. format: hcl2 or json."""

    source: str = ""
    format: str = ""
    variable_flags: dict[str, str] = {}
    variables: str = ""
    namespace: str = ""
    job_id: str = ""
    version: int = 0
    job_modify_index: int = 0


class TaskGroupSummary(Noun, frozen=True, kw_only=True):
    """Allocations of a group by what they are doing."""

    queued: int = 0
    complete: int = 0
    failed: int = 0
    running: int = 0
    starting: int = 0
    lost: int = 0
    unknown: int = 0


class JobChildrenSummary(Noun, frozen=True, kw_only=True):
    """Children of a periodic or parameterized job by status."""

    pending: int = 0
    running: int = 0
    dead: int = 0


class JobSummary(Noun, frozen=True, kw_only=True):
    """Counts per group, and children where there are any."""

    job_id: str = ""
    namespace: str = ""
    summary: dict[str, TaskGroupSummary] = {}
    children: JobChildrenSummary | None = None
    create_index: int = 0
    modify_index: int = 0


class ScalingEvent(Noun, frozen=True, kw_only=True):
    """One change of a group's count, or a note by an autoscaler."""

    time: UnixNs = 0
    count: int | None = None
    previous_count: int = 0
    message: str = ""
    error: bool = False
    meta: dict[str, Any] = {}
    eval_id: str | None = None
    create_index: int = 0


class JobScalingEvents(Noun, frozen=True, kw_only=True):
    """Scaling events of a job by group, newest first, at most 20 each."""

    namespace: str = ""
    job_id: str = ""
    scaling_events: dict[str, tuple[ScalingEvent, ...]] = {}
    modify_index: int = 0


class PeriodicLaunch(Noun, frozen=True, kw_only=True):
    """When a periodic job was last launched."""

    namespace: str = ""
    id: str = ""
    launch: datetime | None = None
    create_index: int = 0
    modify_index: int = 0
