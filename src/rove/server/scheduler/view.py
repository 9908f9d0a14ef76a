"""What a scheduler sees of the state: one consistent snapshot. `rove.server.state` provides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rove.structs.alloc import Allocation
from rove.structs.deployment import Deployment
from rove.structs.job import Job
from rove.structs.node import Node, SchedulerConfiguration

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Fleet(Protocol):
    """All nodes as columns: row i of every array is one node. Rows of removed nodes are never ready.

    The arrays are a private copy of this snapshot: a scheduler may write its own proposals into them.
    """

    ids: Sequence[str]
    """Node id by row ('' for a removed node)."""
    ready: Bools
    """Ready, eligible, not draining."""
    cpu: Floats
    """Capacity less what is reserved for the host: MHz, MB, MB."""
    memory: Floats
    disk: Floats
    used_cpu: Floats
    """Taken by allocations that are not terminal on the node."""
    used_memory: Floats
    used_disk: Floats
    alloc_count: Ints
    """How many allocations that are not client-terminal each node holds."""
    max_allocs: Ints
    """How many allocations a node may hold at most; 0: as many as have room."""
    class_of: Ints
    """Computed class as a small number; an index into `classes`."""
    classes: Sequence[str]
    """Computed class by number."""
    class_example: Mapping[int, int]
    """A row that has the class, for every class that any node has."""
    datacenter_of: Ints
    """Datacenter as an index into `datacenters`."""
    datacenters: Sequence[str]
    pool_of: Ints
    """Node pool as an index into `pools`."""
    pools: Sequence[str]

    def row_of(self, node_id: str) -> int | None:
        """The row of a node, or None."""
        ...


class View(Protocol):
    """A consistent snapshot of the state at `index`."""

    @property
    def index(self) -> int: ...

    def job(self, namespace: str, job_id: str) -> Job | None:
        """The newest version."""
        ...

    def job_version(self, namespace: str, job_id: str, version: int) -> Job | None:
        """A version that is still kept."""
        ...

    def allocs_of_job(self, namespace: str, job_id: str) -> Iterable[Allocation]:
        """Every allocation of the job, any version, status or node. `Allocation.job` is filled in."""
        ...

    def alloc(self, alloc_id: str) -> Allocation | None:
        """An allocation by its full id."""
        ...

    def allocs_of_node(self, node_id: str) -> Iterable[Allocation]:
        """Every allocation on the node that is not client-terminal."""
        ...

    def ports_of_node(self, node_id: str) -> frozenset[int]:
        """Host ports held by allocations that are not client-terminal, and those reserved for the host."""
        ...

    def allocs_changed_since(self, namespace: str, job_id: str, index: int) -> bool:
        """Whether an allocation of the job may have come or changed after revision `index`."""
        ...

    def latest_deployment(self, namespace: str, job_id: str) -> Deployment | None:
        """The newest deployment of the job."""
        ...

    def node(self, node_id: str) -> Node | None: ...

    def fleet(self) -> Fleet:
        """All nodes as columns; a fresh copy that the caller owns."""
        ...

    def scheduler_configuration(self) -> SchedulerConfiguration: ...
