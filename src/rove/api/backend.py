"""What the HTTP API stands on: the server, the local node and the agent, as protocols.

`rove.bootstrap` builds one `Backend` per agent. `server` mirrors docs of `rove.server.server.Server`; a node-only
agent has none, and its API forwards to the servers in `server_addresses`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from rove.ports import Clock
from rove.ports.real import RealClock
from rove.structs.alloc import Allocation
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobScalingEvents, JobSubmission, JobSummary
from rove.structs.messages import Kind
from rove.structs.node import Eligibility, Namespace, Node, NodePool, SchedulerConfiguration
from rove.structs.plan import SchedulerResult
from rove.structs.service import ServiceRegistration

T = TypeVar("T")
WatchKey = tuple[str, ...]
MIB = 1024 * 1024


class Snapshot(Protocol):
    """An immutable view of the state; the reads that the API makes."""

    @property
    def index(self) -> int: ...
    def last_index(self, *keys: WatchKey) -> int: ...
    def jobs(self, namespace: str | None = None, prefix: str = "") -> Iterable[Job]: ...
    def job(self, namespace: str, job_id: str) -> Job | None: ...
    def job_version(self, namespace: str, job_id: str, version: int) -> Job | None: ...
    def job_versions(self, namespace: str, job_id: str) -> Sequence[Job]: ...
    def job_summary(self, namespace: str, job_id: str) -> JobSummary | None: ...
    def submission(self, namespace: str, job_id: str, version: int) -> JobSubmission | None: ...
    def nodes(self, prefix: str = "") -> Iterable[Node]: ...
    def node(self, node_id: str) -> Node | None: ...
    def allocs(self, prefix: str = "", namespace: str | None = None) -> Iterable[Allocation]: ...
    def alloc_count(self) -> int: ...
    def alloc(self, alloc_id: str) -> Allocation | None: ...
    def allocs_of_job(self, namespace: str, job_id: str) -> Iterable[Allocation]: ...
    def allocs_of_node(self, node_id: str) -> Iterable[Allocation]: ...
    def all_allocs_of_node(self, node_id: str) -> Iterable[Allocation]: ...
    def allocs_of_evaluation(self, eval_id: str) -> Iterable[Allocation]: ...
    def allocs_of_deployment(self, deployment_id: str) -> Iterable[Allocation]: ...
    def evaluations(self, prefix: str = "", namespace: str | None = None) -> Iterable[Evaluation]: ...
    def evaluation(self, eval_id: str) -> Evaluation | None: ...
    def evaluations_of_job(self, namespace: str, job_id: str) -> Iterable[Evaluation]: ...
    def services(self, namespace: str | None = None) -> Iterable[ServiceRegistration]: ...
    def service(self, namespace: str, name: str) -> Sequence[ServiceRegistration]: ...
    def deployments(self, prefix: str = "", namespace: str | None = None) -> Iterable[Deployment]: ...
    def deployment(self, deployment_id: str) -> Deployment | None: ...
    def deployments_of_job(self, namespace: str, job_id: str) -> Iterable[Deployment]: ...
    def latest_deployment(self, namespace: str, job_id: str) -> Deployment | None: ...
    def node_pools(self) -> Iterable[NodePool]: ...
    def namespaces(self) -> Iterable[Namespace]: ...
    def scaling_events(self, namespace: str, job_id: str) -> JobScalingEvents | None: ...
    def scheduler_configuration(self) -> SchedulerConfiguration: ...


class Store(Protocol):
    """The server's state."""

    @property
    def index(self) -> int: ...
    @property
    def events(self) -> Any: ...
    def snapshot(self) -> Any: ...
    async def commit(self, txn: Any) -> int: ...
    async def wait(self, keys: Collection[WatchKey], after: int, timeout_s: float) -> int: ...


class Registered(Protocol):
    """The outcome of a write about a job."""

    @property
    def eval_id(self) -> str: ...
    @property
    def eval_create_index(self) -> int: ...
    @property
    def job_modify_index(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def warnings(self) -> Any: ...


class Dispatched(Protocol):
    """The outcome of a dispatch."""

    @property
    def dispatched_job_id(self) -> str: ...
    @property
    def eval_id(self) -> str: ...
    @property
    def eval_create_index(self) -> int: ...
    @property
    def job_create_index(self) -> int: ...
    @property
    def index(self) -> int: ...


class Planned(Protocol):
    """The outcome of a dry run."""

    @property
    def result(self) -> SchedulerResult: ...
    @property
    def current(self) -> Job | None: ...
    @property
    def index(self) -> int: ...


class NodeStream(Protocol):
    """A stream of msgpack messages to and from a node (`rove.ports.transport.Stream`)."""

    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> bytes | None: ...
    async def close(self, error: Any = None) -> None: ...


class Server(Protocol):
    """What the API asks of a server; `rove.server.server.Server` is one. For verbs of later rooms see `Call.verb`."""

    @property
    def store(self) -> Any: ...
    @property
    def region(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def is_leader(self) -> bool: ...
    @property
    def leader_address(self) -> str: ...

    async def register_job(
        self,
        job: Job,
        *,
        submission: JobSubmission | None = None,
        enforce_index: bool = False,
        modify_index: int = 0,
        preserve_counts: bool = False,
        preserve_resources: bool = False,
        eval_priority: int = 0,
    ) -> Registered: ...
    async def deregister_job(
        self,
        namespace: str,
        job_id: str,
        *,
        purge: bool = False,
        eval_priority: int = 0,
        no_shutdown_delay: bool = False,
    ) -> Registered: ...
    async def evaluate_job(self, namespace: str, job_id: str, *, force_reschedule: bool = False) -> Registered: ...
    async def plan_job(self, job: Job) -> Planned: ...
    async def why_not(self, job: Job, node: str) -> Sequence[Any]: ...
    async def why_job(self, namespace: str, job_id: str) -> str: ...
    async def revert_job(
        self, namespace: str, job_id: str, version: int, *, enforce_prior_version: int | None = None
    ) -> Registered: ...
    async def set_stability(self, namespace: str, job_id: str, version: int, stable: bool) -> int: ...
    async def scale_job(
        self,
        namespace: str,
        job_id: str,
        group: str,
        count: int | None,
        *,
        message: str,
        error: bool,
        meta: dict[str, Any],
        enforce_index: bool,
        modify_index: int,
    ) -> Registered: ...
    async def dispatch_job(
        self,
        namespace: str,
        job_id: str,
        *,
        payload: bytes,
        meta: dict[str, str],
        id_prefix: str,
        idempotency_token: str,
        priority: int = 0,
    ) -> Dispatched: ...
    async def stop_alloc(
        self, alloc_id: str, *, no_shutdown_delay: bool = False, reschedule: bool = False
    ) -> Registered: ...
    async def evaluate_node(self, node_id: str) -> tuple[list[str], int]: ...
    async def set_eligibility(self, node_id: str, eligibility: Eligibility) -> tuple[list[str], int]: ...
    async def purge_node(self, node_id: str) -> tuple[list[str], int]: ...
    async def set_scheduler_configuration(
        self, configuration: SchedulerConfiguration, *, cas: int | None
    ) -> tuple[bool, int]: ...
    async def collect_garbage(self) -> None: ...
    async def reconcile_summaries(self) -> None: ...
    async def call_node(self, node_id: str, kind: Kind, body: Any, reply: type[T], timeout_s: float = 10.0) -> T: ...
    async def open_node(self, node_id: str, kind: Kind, body: Any) -> Any: ...
    def members(self) -> list[dict[str, Any]]: ...


class Client(Protocol):
    """The node agent in this process: answers what a server would ask it over the connection."""

    @property
    def node_id(self) -> str: ...
    def has_alloc(self, alloc_id: str) -> bool: ...
    async def call(self, kind: Kind, body: Any, reply: type[T], timeout_s: float = 10.0) -> T: ...
    async def open(self, kind: Kind, body: Any) -> Any: ...


class Authorizer(Protocol):
    """Decides whether a token may do something."""

    def check(self, token: str, capability: str, namespace: str) -> None:
        """Raise `ForbiddenError` unless allowed."""
        ...


def _nothing() -> dict[str, Any]:
    return {}


def _no_stats() -> dict[str, dict[str, str]]:
    return {}


@dataclasses.dataclass(kw_only=True)
class AgentInfo:
    """The agent itself.

    config: as `agent/self` shows it, secrets redacted. stats: section -> name -> text. member: this server's own
    entry, `{}` on a node. monitor: `monitor(level, as_json)` gives the agent's log as an async iterator of bytes.
    join/force_leave and the schedulers are the servers' business and not here.
    """

    name: str = ""
    version: str = ""
    datacenter: str = "dc1"
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    stats: Callable[[], dict[str, dict[str, str]]] = _no_stats
    monitor: Callable[[str, bool], AsyncIterator[bytes]] | None = None
    server_addresses: Callable[[], Sequence[str]] = tuple
    """rpc addresses (host:port) of known servers; where a node-only agent forwards to."""
    gauges: Callable[[], Mapping[str, float]] = _nothing
    """Numbers of the moment for /v1/metrics, by dotted name (`rove.` is prefixed)."""


@dataclasses.dataclass(kw_only=True)
class Backend:
    """Everything the API needs. response_headers: sent with every answer (Nomad's http_api_response_headers)."""

    region: str = "global"
    server: Server | None = None
    client: Client | None = None
    agent: AgentInfo = dataclasses.field(default_factory=AgentInfo)
    authorizer: Authorizer | None = None
    response_headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body_limit: int = 16 * MIB
    body_timeout_s: float = 60.0
    clock: Clock = dataclasses.field(default_factory=RealClock)
    region_addresses: Callable[[str], Sequence[str]] | None = None
    """HTTP addresses (host:port) of servers in another region."""
    regions: Callable[[], Sequence[str]] | None = None
    long_lists: set[tuple[WatchKey, ...]] = dataclasses.field(default_factory=set)
    """Lists that were long when they were last asked for; the API's own note."""
    on_shutdown: list[Callable[[], Awaitable[None]]] = dataclasses.field(default_factory=list)
