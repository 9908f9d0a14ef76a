"""The whole state at one revision: persistent maps, so that a snapshot is one reference.

Stored: nodes, jobs, versions, blocks and so on. Derived, and built again at load: everything under
"derived" below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from immutables import Map

from rove.structs.base import Noun
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import (
    Job,
    JobScalingEvents,
    JobStatus,
    JobSubmission,
    PeriodicLaunch,
    TaskGroupSummary,
)
from rove.structs.node import Namespace, Node, NodePool, SchedulerConfiguration
from rove.structs.service import ServiceRegistration

from .blocks import POSITION_BITS, AllocChange, Block
from .fleet import no_fleet
from .postings import Postings

WatchKey = tuple[str, ...]
"""What a blocking query waits for: ("jobs",), ("job", namespace, id), ("allocs.node", id), ..."""

JobKey = tuple[str, str]
"""(namespace, job id)."""

SpecKey = tuple[str, str, int, int]
"""(namespace, job id, the job's create index, version): a specification, whichever incarnation it is of."""


class JobHead(Noun, frozen=True, kw_only=True):
    """What changes of a job without a new version; its row is small, the version's row holds the rest."""

    namespace: str
    id: str
    create_index: int
    version: int
    status: JobStatus
    status_description: str = ""
    modify_index: int = 0
    versions: tuple[int, ...] = ()
    """Those that people see, newest first."""


class KeptCounts(Noun, frozen=True, kw_only=True):
    """The part of a job's summary that allocations do not tell: those collected, and copies not placed yet."""

    namespace: str
    job_id: str
    create_index: int = 0
    groups: dict[str, TaskGroupSummary] = {}


class ServiceKey(NamedTuple):
    """Where a registration is found."""

    namespace: str
    name: str
    id: str
    alloc_id: str


class Document(Noun, frozen=True, kw_only=True):
    """A plain value that another room keeps here."""

    table: str
    key: str
    value: Any = None
    create_index: int = 0
    modify_index: int = 0


class Tally(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Derived counts of one job; they give its status and summary.

    live: allocations that are not terminal. allocs, evals: all that are kept. groups: the summary, of the
    job's present incarnation only. modify_index: the summary's last change.
    """

    live: int = 0
    allocs: int = 0
    open_evals: int = 0
    evals: int = 0
    active_deployments: int = 0
    groups: dict[str, TaskGroupSummary] = {}
    modify_index: int = 0


NO_TALLY = Tally()

BlockChanges = tuple[AllocChange | None, ...]
"""Changes of up to `CHUNK` copies, by position. Plain tuples of structs that the garbage collector need not
look at: a map with an entry for each of a million allocations would cost it most of a second."""
CHUNK_BITS = 8
CHUNK = 1 << CHUNK_BITS
CHUNK_MASK = CHUNK - 1


def chunk_of(number: int, position: int) -> int:
    """The key of the chunk that a copy's changes are in."""
    return (number << POSITION_BITS | position) >> CHUNK_BITS


class OnNode(msgspec.Struct, frozen=True, gc=False):
    """Blocks with copies on a node: those with a copy that has not ended there, and the others.

    index: when one of the copies last changed.
    """

    live: Postings
    ended: Postings
    index: int


class Tables:
    """Every table. Never changed once a snapshot holds it."""

    __slots__ = (
        "block_of_evaluation",
        "blocks",
        "blocks_of_job",
        "changes",
        "children",
        "configuration",
        "deployments",
        "deployments_of_job",
        "documents",
        "evaluations",
        "evaluations_of_job",
        "fleet",
        "index",
        "jobs",
        "kept_counts",
        "launches",
        "marks",
        "moved_of_evaluation",
        "namespaces",
        "next_block",
        "nodes",
        "on_node",
        "pools",
        "ports",
        "scaling",
        "services",
        "services_of_node",
        "specs",
        "submissions",
        "tallies",
        "uses",
        "versions",
    )

    def __init__(self) -> None:
        self.index = 0
        self.next_block = 1
        self.nodes: Map[str, Node] = Map()
        self.jobs: Map[JobKey, Job] = Map()
        self.versions: Map[JobKey, tuple[Job, ...]] = Map()
        """Versions that people see, newest first."""
        self.specs: Map[SpecKey, Job] = Map()
        """Those, and versions that some allocation still uses."""
        self.submissions: Map[SpecKey, JobSubmission] = Map()
        self.kept_counts: Map[JobKey, KeptCounts] = Map()
        self.evaluations: Map[str, Evaluation] = Map()
        self.deployments: Map[str, Deployment] = Map()
        self.blocks: Map[int, Block] = Map()
        self.changes: Map[int, BlockChanges] = Map()
        """What has changed of copies since they were placed, a chunk of positions an entry; see `chunk_of`."""
        self.pools: Map[str, NodePool] = Map()
        self.namespaces: Map[str, Namespace] = Map()
        self.scaling: Map[JobKey, JobScalingEvents] = Map()
        self.launches: Map[JobKey, PeriodicLaunch] = Map()
        self.documents: Map[tuple[str, str], Document] = Map()
        self.services: Map[tuple[str, str], Map[str, ServiceRegistration]] = Map()
        """(namespace, name) -> id -> instance."""
        self.configuration = SchedulerConfiguration()
        # derived
        self.fleet = no_fleet()
        self.tallies: Map[JobKey, Tally] = Map()
        self.services_of_node: Map[str, Map[str, ServiceKey]] = Map()
        """Node id -> registration id -> where it is."""
        self.uses: Map[SpecKey, int] = Map()
        """How many kept allocations each specification has."""
        self.children: Map[JobKey, Map[JobKey, bool]] = Map()
        self.blocks_of_job: Map[JobKey, Postings] = Map()
        self.on_node: Map[str, OnNode] = Map()
        self.block_of_evaluation: Map[str, tuple[int, ...]] = Map()
        self.moved_of_evaluation: Map[str, tuple[int, ...]] = Map()
        self.evaluations_of_job: Map[JobKey, tuple[str, ...]] = Map()
        self.deployments_of_job: Map[JobKey, tuple[str, ...]] = Map()
        self.ports: Map[str, dict[int, int]] = Map()
        """Node id -> host port -> how many allocations hold it."""
        self.marks: Map[WatchKey, int] = Map()
        """Newest index of what has no noun of its own that would tell."""

    def change_at(self, block: Block, position: int) -> AllocChange | None:
        """What has changed of a copy since it was placed, or None."""
        chunk = self.changes.get(chunk_of(block.number, position))
        return None if chunk is None else chunk[position & CHUNK_MASK]

    def share(self) -> Tables:
        """The same tables as a new object."""
        other = Tables.__new__(Tables)
        for name in Tables.__slots__:
            setattr(other, name, getattr(self, name))
        return other


Key = TypeVar("Key")
Value = TypeVar("Value")


class Column:
    """A map within a draft: reads see the writes; nothing is copied until the first write."""

    __slots__ = ("_base", "_mutation")

    def __init__(self, base: Map[Any, Any]) -> None:
        self._base = base
        self._mutation: Any = None

    def get(self, key: Any, default: Any = None) -> Any:
        source = self._base if self._mutation is None else self._mutation
        return source.get(key, default)

    def __contains__(self, key: Any) -> bool:
        return key in (self._base if self._mutation is None else self._mutation)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._mutation is None:
            self._mutation = self._base.mutate()
        self._mutation[key] = value

    def pop(self, key: Any) -> Any:
        """Remove and return the value, or None."""
        if self._mutation is None:
            self._mutation = self._base.mutate()
        return self._mutation.pop(key, None)

    def finish(self) -> Map[Any, Any]:
        """The map with the writes."""
        return self._base if self._mutation is None else self._mutation.finish()


class Changes:
    """The changes of allocations within a draft: a chunk is copied when the first of it is written."""

    __slots__ = ("_base", "_written")

    def __init__(self, base: Map[int, BlockChanges]) -> None:
        self._base = base
        self._written: dict[int, list[AllocChange | None] | None] = {}

    def at(self, block: Block, position: int) -> AllocChange | None:
        """What has changed of a copy, or None."""
        key = chunk_of(block.number, position)
        chunk = self._written[key] if key in self._written else self._base.get(key)
        return None if chunk is None else chunk[position & CHUNK_MASK]

    def put(self, block: Block, position: int, change: AllocChange) -> None:
        """Replace what has changed of a copy."""
        key = chunk_of(block.number, position)
        chunk = self._written.get(key)
        if chunk is None:
            base = self._base.get(key)
            size = min(CHUNK, len(block) - (position & ~CHUNK_MASK))
            chunk = self._written[key] = [None] * size if base is None else list(base)
        chunk[position & CHUNK_MASK] = change

    def put_all(self, block: Block, changes: Mapping[int, AllocChange]) -> None:
        """Set what has changed of a block's copies, by position, as when loading."""
        for start in range(0, len(block), CHUNK):
            chunk = [changes.get(position) for position in range(start, min(start + CHUNK, len(block)))]
            if any(chunk):
                self._written[chunk_of(block.number, start)] = chunk

    def drop(self, block: Block) -> None:
        """Forget those of a whole block."""
        for position in range(0, len(block), CHUNK):
            self._written[chunk_of(block.number, position)] = None

    def finish(self) -> Map[int, BlockChanges]:
        """The map with the writes."""
        if not self._written:
            return self._base
        mutation = self._base.mutate()
        for key, chunk in self._written.items():
            if chunk is not None:
                mutation[key] = tuple(chunk)
            else:
                mutation.pop(key, None)
        return mutation.finish()
