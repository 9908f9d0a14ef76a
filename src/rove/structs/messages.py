"""What server and node say to each other over their one connection (docs/decisions/0004).

Requests carry a kind (a `Kind`) and a msgpack body. Unknown fields are ignored on both sides, so that
versions can differ during an upgrade.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from .alloc import Allocation, AllocUpdate
from .base import Noun
from .job import Job
from .node import Node, NodeEvent
from .service import ServiceRegistration


class Kind(StrEnum):
    """Kinds of requests and streams."""

    # node -> server
    NODE_REGISTER = "node.register"
    NODE_HEARTBEAT = "node.heartbeat"
    NODE_EVENTS = "node.events"
    ALLOC_UPDATE = "alloc.update"
    SERVICES_UPDATE = "services.update"
    SERVICE_LOOKUP = "services.lookup"
    # server -> node: requests
    ALLOCS_CHANGED = "allocs.changed"
    ALLOC_RESTART = "alloc.restart"
    ALLOC_SIGNAL = "alloc.signal"
    ALLOC_STATS = "alloc.stats"
    ALLOC_GC = "alloc.gc"
    ALLOC_CHECKS = "alloc.checks"
    NODE_STATS = "node.stats"
    NODE_GC = "node.gc"
    NODE_META = "node.meta"
    FS_LIST = "fs.list"
    FS_STAT = "fs.stat"
    # server -> node: streams
    FS_READ = "fs.read"
    FS_STREAM = "fs.stream"
    FS_LOGS = "fs.logs"
    ALLOC_EXEC = "alloc.exec"
    NODE_MONITOR = "node.monitor"


class RegisterRequest(Noun, frozen=True, kw_only=True):
    """A node says what it is and which allocations it still holds."""

    node: Node
    alloc_ids: tuple[str, ...] = ()
    version: str = ""


class RegisterReply(Noun, frozen=True, kw_only=True):
    """heartbeat_ttl_s: silence after which the node is taken for lost."""

    heartbeat_ttl_s: float
    index: int = 0
    servers: tuple[str, ...] = ()
    region: str = "global"


class Heartbeat(Noun, frozen=True, kw_only=True):
    """A sign of life; empty on purpose."""


class HeartbeatReply(Noun, frozen=True, kw_only=True):
    """registered False: the server does not know the node (any more); register again."""

    registered: bool = True
    heartbeat_ttl_s: float = 0.0
    servers: tuple[str, ...] = ()


class NodeEventsRequest(Noun, frozen=True, kw_only=True):
    """Events for the node's own record."""

    events: tuple[NodeEvent, ...] = ()


class AllocUpdates(Noun, frozen=True, kw_only=True):
    """Reports of a node. The reply comes once they are stored."""

    updates: tuple[AllocUpdate, ...] = ()


class ServicesUpdate(Noun, frozen=True, kw_only=True):
    """What a node offers. full: everything; what else the server has of this node is gone. gone: ids."""

    full: bool = False
    put: tuple[ServiceRegistration, ...] = ()
    gone: tuple[str, ...] = ()


class ServiceLookup(Noun, frozen=True, kw_only=True):
    """A node asks for the instances of a service that are handed out, for its DNS responder."""

    namespace: str
    name: str


class ServiceInstances(Noun, frozen=True, kw_only=True):
    """The answer."""

    instances: tuple[ServiceRegistration, ...] = ()


class AllocsChanged(Noun, frozen=True, kw_only=True):
    """What a node should run.

    full: the list holds *all* of the node's allocations that matter; anything else on the node is an
    orphan and is stopped and removed. Otherwise only what changed since the last message.
    allocations come without their job; `jobs` holds each (namespace, id, version) once, under `job_ref`.
    gone: ids that the server has forgotten (collected): remove their directories.
    """

    index: int = 0
    full: bool = False
    allocations: tuple[Allocation, ...] = ()
    jobs: dict[str, Job] = {}
    gone: tuple[str, ...] = ()


def job_ref(namespace: str, job_id: str, version: int) -> str:
    """The key of a job version in `AllocsChanged.jobs`."""
    return f"{namespace}\n{job_id}\n{version}"


class AllocRequest(Noun, frozen=True, kw_only=True):
    """A request about one allocation, and maybe one task."""

    alloc_id: str = ""
    task: str = ""


class RestartRequest(Noun, frozen=True, kw_only=True):
    """Restart a task, or all running ones (`all_tasks`: also those that have ended)."""

    alloc_id: str
    task: str = ""
    all_tasks: bool = False


class SignalRequest(Noun, frozen=True, kw_only=True):
    """Send a signal to a task, or to all."""

    alloc_id: str
    signal: str
    task: str = ""


class FileRequest(Noun, frozen=True, kw_only=True):
    """Read below an allocation directory. origin: start or end; limit 0: no limit."""

    alloc_id: str
    path: str = "/"
    offset: int = 0
    limit: int = 0
    origin: str = "start"
    follow: bool = False


class LogsRequest(Noun, frozen=True, kw_only=True):
    """Read a task's output. kind: stdout or stderr."""

    alloc_id: str
    task: str
    kind: str = "stdout"
    offset: int = 0
    origin: str = "start"
    follow: bool = False


class FileInfo(Noun, frozen=True, kw_only=True):
    """One entry of a directory, field for field Nomad's AllocFileInfo."""

    name: str = ""
    is_dir: bool = False
    size: int = 0
    file_mode: str = ""
    mod_time: str = ""
    content_type: str = ""


class FileInfos(Noun, frozen=True, kw_only=True):
    """Entries of a directory."""

    entries: tuple[FileInfo, ...] = ()


class StreamChunk(Noun, frozen=True, kw_only=True):
    """One frame of a file or log stream. `event`: "file deleted", "file truncated" or ""."""

    offset: int = 0
    data: bytes = b""
    file: str = ""
    event: str = ""


class ExecRequest(Noun, frozen=True, kw_only=True):
    """Run a command beside a task. Frames on the stream are `ExecInput` there and `ExecOutput` back."""

    alloc_id: str
    task: str
    command: tuple[str, ...]
    tty: bool = False


class ExecInput(Noun, frozen=True, kw_only=True):
    """stdin bytes, its end, or a new terminal size."""

    stdin: bytes = b""
    close: bool = False
    height: int = 0
    width: int = 0


class ExecOutput(Noun, frozen=True, kw_only=True):
    """Output, or the end with an exit code, or an error before the start."""

    stdout: bytes = b""
    stderr: bytes = b""
    exited: bool = False
    exit_code: int = 0
    error: str = ""


class MonitorRequest(Noun, frozen=True, kw_only=True):
    """Follow an agent's own log."""

    log_level: str = "info"
    log_json: bool = False


class NodeMetaRequest(Noun, frozen=True, kw_only=True):
    """Change a node's meta; None takes a key away. Empty: only tell it."""

    changes: dict[str, str | None] = {}


class NodeMeta(Noun, frozen=True, kw_only=True):
    """A node's meta: as jobs see it, what was changed while it runs, what its configuration says."""

    meta: dict[str, str] = {}
    dynamic: dict[str, str | None] = {}
    static: dict[str, str] = {}


class Stats(Noun, frozen=True, kw_only=True):
    """Statistics in the shape that the HTTP API answers (plain JSON values)."""

    body: dict[str, Any] = {}


class Empty(Noun, frozen=True, kw_only=True):
    """Nothing to say."""
