"""One consistent, immutable state. Satisfies `rove.server.scheduler.view.View`.

Reads never block and never change, from any thread. Allocations are made from columns when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import (
    Job,
    JobChildrenSummary,
    JobScalingEvents,
    JobStatus,
    JobSubmission,
    JobSummary,
    PeriodicLaunch,
    TaskGroup,
)
from rove.structs.node import Namespace, Node, NodePool, SchedulerConfiguration
from rove.structs.service import ServiceRegistration

from .blocks import Block, id_bytes, split
from .copies import Scores, copy_of, shared_of
from .counting import base_spec, deployment_at, spec_at
from .fleet import FleetView
from .jobs import summary_of
from .postings import EMPTY
from .settings import BUILT_IN_NAMESPACE, BUILT_IN_POOLS
from .tables import NO_TALLY, Document, Tables, WatchKey

TABLE_OF = {
    "job": "jobs", "job.summary": "jobs", "scaling": "jobs",
    "alloc": "allocs", "allocs.job": "allocs", "allocs.node": "allocs", "allocs.eval": "allocs",
    "eval": "evals", "evals.job": "evals", "node": "nodes",
    "deployment": "deployments", "deployments.job": "deployments",
    "node_pool": "node_pools", "namespace": "namespaces", "service": "services",
}  # fmt: skip
"""The table whose index stands in where a finer one is not known."""


class Snapshot:
    """The state at one revision."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @property
    def index(self) -> int:
        """The revision."""
        return self._tables.index

    # Jobs

    def job(self, namespace: str, job_id: str) -> Job | None:
        """The newest version."""
        return self._tables.jobs.get((namespace, job_id))

    def jobs(self, namespace: str | None = None, prefix: str = "") -> Iterator[Job]:
        """Jobs in order of namespace and id; namespace None: all."""
        jobs = self._tables.jobs
        keys = [key for key in jobs if namespace in (None, key[0]) and key[1].startswith(prefix)]
        for key in sorted(keys):
            yield jobs[key]

    def job_versions(self, namespace: str, job_id: str) -> tuple[Job, ...]:
        """The kept versions, newest first."""
        versions = self._tables.versions.get((namespace, job_id), ())
        job = self._tables.jobs.get((namespace, job_id))
        if job is None:
            return ()
        return tuple(job if version.version == job.version else version for version in versions)

    def job_version(self, namespace: str, job_id: str, version: int) -> Job | None:
        """A version of the job as it exists now, if it is still kept."""
        job = self._tables.jobs.get((namespace, job_id))
        if job is None or job.version == version:
            return job
        return self._tables.specs.get((namespace, job_id, job.create_index, version))

    def job_summary(self, namespace: str, job_id: str) -> JobSummary | None:
        """Counts of the job's allocations by group, and of its children by status."""
        tables = self._tables
        key = (namespace, job_id)
        job = tables.jobs.get(key)
        if job is None:
            return None
        children = self._children_summary(job)
        summary = summary_of(job, tables.tallies.get(key, NO_TALLY), children)
        marked = tables.marks.get(("job.summary", namespace, job_id), 0)
        return msgspec.structs.replace(summary, modify_index=max(summary.modify_index, marked))

    def _children_summary(self, job: Job) -> JobChildrenSummary | None:
        children = self._tables.children.get(job.key)
        if children is None:
            is_parent = job.is_periodic or job.is_parameterized
            return JobChildrenSummary() if is_parent else None
        counts = dict.fromkeys(JobStatus, 0)
        for key in children:
            if (child := self._tables.jobs.get(key)) is not None:
                counts[child.status] += 1
        return JobChildrenSummary(
            pending=counts[JobStatus.PENDING], running=counts[JobStatus.RUNNING], dead=counts[JobStatus.DEAD],
        )  # fmt: skip

    def children_of_job(self, namespace: str, job_id: str) -> Iterator[Job]:
        """Jobs dispatched or launched by this one, in order of id."""
        for key in sorted(self._tables.children.get((namespace, job_id), ())):
            if (child := self._tables.jobs.get(key)) is not None:
                yield child

    def submission(self, namespace: str, job_id: str, version: int) -> JobSubmission | None:
        """The source that a kept version was made from."""
        job = self._tables.jobs.get((namespace, job_id))
        return None if job is None else self._tables.submissions.get((*job.key, job.create_index, version))

    def scaling_events(self, namespace: str, job_id: str) -> JobScalingEvents | None:
        """Changes of the job's counts."""
        return self._tables.scaling.get((namespace, job_id))

    def periodic_launch(self, namespace: str, job_id: str) -> PeriodicLaunch | None:
        """The last launch of a periodic job."""
        return self._tables.launches.get((namespace, job_id))

    # Services

    def services(self, namespace: str | None = None) -> Iterator[ServiceRegistration]:
        """Every instance, in order of namespace, name and id; namespace None: all."""
        found = self._tables.services
        for key in sorted(key for key in found if namespace in (None, key[0])):
            yield from self.service(*key)

    def service(self, namespace: str, name: str) -> tuple[ServiceRegistration, ...]:
        """The instances of a service, in order of id."""
        instances = self._tables.services.get((namespace, name))
        return () if instances is None else tuple(instances[key] for key in sorted(instances))

    def service_instance(self, namespace: str, name: str, service_id: str) -> ServiceRegistration | None:
        """One instance."""
        instances = self._tables.services.get((namespace, name))
        return None if instances is None else instances.get(service_id)

    def services_of_node(self, node_id: str) -> Iterator[ServiceRegistration]:
        """What a node offers."""
        held = self._tables.services_of_node.get(node_id)
        for key in sorted(held.values()) if held is not None else ():
            if (found := self.service_instance(key.namespace, key.name, key.id)) is not None:
                yield found

    def services_of_job(self, namespace: str, job_id: str) -> list[ServiceRegistration]:
        """What a job's allocations offer, in order of name and id."""
        nodes = {alloc.node_id for alloc in self.allocs_of_job(namespace, job_id)}
        found = [each for node_id in nodes for each in self.services_of_node(node_id)]
        mine = [each for each in found if (each.namespace, each.job_id) == (namespace, job_id)]
        return sorted(mine, key=lambda each: (each.service_name, each.id))

    # Nodes

    def nodes(self, prefix: str = "") -> Iterator[Node]:
        """Nodes in order of id."""
        nodes = self._tables.nodes
        for node_id in sorted(node_id for node_id in nodes if node_id.startswith(prefix)):
            yield nodes[node_id]

    def node(self, node_id: str) -> Node | None:
        """A node."""
        return self._tables.nodes.get(node_id)

    def fleet(self) -> FleetView:
        """All nodes as columns. What a scheduler proposes into is the caller's own copy; the rest is shared."""
        return self._tables.fleet.view()

    def ports_of_node(self, node_id: str) -> frozenset[int]:
        """Host ports held by allocations that are not client-terminal, and those reserved for the host."""
        node = self._tables.nodes.get(node_id)
        reserved = node.reserved_ports if node else frozenset()
        held = self._tables.ports.get(node_id)
        return reserved.union(held) if held else reserved

    # Allocations

    def alloc(self, alloc_id: str) -> Allocation | None:
        """An allocation by its full id."""
        found = self._find(alloc_id)
        return None if found is None else self._make(*found)

    def group_of(self, alloc_id: str) -> TaskGroup | None:
        """The group that an allocation is a copy of, in the version it runs; None if it is unknown. Makes no struct."""
        found = self._find(alloc_id)
        if found is None:
            return None
        block, change = found[0], self._tables.change_at(*found)
        job = self._tables.specs.get(base_spec(block) if change is None else spec_at(block, change))
        return None if job is None else job.group(block.placement.group)

    def client_status(self, alloc_id: str) -> AllocStatus | None:
        """What its node last said of an allocation; None if it is unknown. Makes no struct."""
        found = self._find(alloc_id)
        if found is None:
            return None
        change = self._tables.change_at(*found)
        return AllocStatus.PENDING if change is None else change.client_status

    def allocs(self, prefix: str = "", namespace: str | None = None) -> Iterator[Allocation]:
        """Allocations, oldest first. prefix: the beginning of an id, with or without dashes."""
        blocks = self._tables.blocks
        bounds = _prefix_bounds(prefix)
        if bounds is None:
            return
        for number in sorted(blocks):
            block = blocks[number]
            if namespace is not None and block.placement.namespace != namespace:
                continue
            if not prefix:
                yield from self._of_block(block)
                continue
            for position in _positions_with(block, prefix, bounds):
                change = self._tables.change_at(block, position)
                if change is None or not change.gone:
                    yield self._make(block, position)

    def allocs_of_job(self, namespace: str, job_id: str) -> Sequence[Allocation]:
        """Every allocation of the job id, any incarnation, version, status or node; oldest first."""
        numbers = self._tables.blocks_of_job.get((namespace, job_id), EMPTY).numbers()
        return [allocation for number in numbers for allocation in self._of_block(self._tables.blocks[number])]

    def allocs_changed_since(self, namespace: str, job_id: str, index: int) -> bool:
        """Whether an allocation of the job may have come or changed after revision `index`."""
        return self._last(("allocs.job", namespace, job_id)) > index

    def allocs_of_node(self, node_id: str) -> Sequence[Allocation]:
        """Every allocation on the node that is not client-terminal."""
        entry = self._tables.on_node.get(node_id)
        if entry is None:
            return []
        live = self._on_node(node_id, entry.live.numbers())
        return [self._make(*found) for found in live if not self._is_over(*found)]

    def all_allocs_of_node(self, node_id: str) -> Sequence[Allocation]:
        """Every allocation on the node, whatever its status; oldest first."""
        entry = self._tables.on_node.get(node_id)
        if entry is None:
            return []
        numbers = sorted(entry.live.numbers() + entry.ended.numbers())
        return [self._make(*found) for found in self._on_node(node_id, numbers)]

    def allocs_of_evaluation(self, evaluation_id: str) -> Sequence[Allocation]:
        """Allocations that an evaluation placed, or took over in place and still has."""
        tables = self._tables
        found: list[Allocation] = []
        for number in tables.block_of_evaluation.get(evaluation_id, ()):
            found += self._of_block(tables.blocks[number])
        for reference in tables.moved_of_evaluation.get(evaluation_id, ()):
            number, position = split(reference)
            if (block := tables.blocks.get(number)) is None:
                continue
            change = tables.change_at(block, position)
            if change is not None and not change.gone:
                found.append(self._make(block, position))
        unique = {allocation.id: allocation for allocation in found if allocation.eval_id == evaluation_id}
        return list(unique.values())

    def allocs_of_deployment(self, deployment_id: str) -> Sequence[Allocation]:
        """Allocations that belong to a deployment now."""
        deployment = self._tables.deployments.get(deployment_id)
        if deployment is None:
            return []
        tables, found = self._tables, []
        for number in tables.blocks_of_job.get(deployment.job_key, EMPTY).numbers():
            block = tables.blocks[number]
            shared: Allocation | None = None
            for position in range(len(block)):
                change = tables.change_at(block, position)
                if (change is not None and change.gone) or deployment_at(block, change) != deployment_id:
                    continue
                shared = shared or shared_of(tables, block)
                found.append(copy_of(tables, shared, block, position, change))
        return found

    def alloc_count(self) -> int:
        """How many allocations are kept."""
        return sum(len(block) - block.gone for block in self._tables.blocks.values())

    def report_sequence(self, alloc_id: str) -> int:
        """The sequence of the newest report that is stored; 0 if there is none."""
        found = self._find(alloc_id)
        change = None if found is None else self._tables.change_at(*found)
        return 0 if change is None else change.sequence

    def _find(self, alloc_id: str) -> tuple[Block, int] | None:
        raw = id_bytes(alloc_id)
        if raw is None:
            return None
        number, position = split(int.from_bytes(raw[8:], "big"))
        block = self._tables.blocks.get(number)
        if block is None or block.row.ids[position * 16 : position * 16 + 16] != raw:
            return None
        change = self._tables.change_at(block, position)
        return None if change is not None and change.gone else (block, position)

    def _on_node(self, node_id: str, numbers: Sequence[int]) -> Iterator[tuple[Block, int]]:
        tables, blocks = self._tables, self._tables.blocks
        for number in numbers:
            block = blocks[number]
            for position in block.positions_on(node_id):
                change = tables.change_at(block, position)
                if change is None or not change.gone:
                    yield block, position

    def _is_over(self, block: Block, position: int) -> bool:
        change = self._tables.change_at(block, position)
        return change is not None and change.is_client_terminal

    def _of_block(self, block: Block) -> Iterator[Allocation]:
        tables = self._tables
        shared = shared_of(tables, block)
        scores = Scores(block) if len(block) > 1 else None
        for position in range(len(block)):
            change = tables.change_at(block, position)
            if change is None or not change.gone:
                yield copy_of(tables, shared, block, position, change, scores)

    def _make(self, block: Block, position: int) -> Allocation:
        """The struct of one allocation."""
        change = self._tables.change_at(block, position)
        return copy_of(self._tables, shared_of(self._tables, block), block, position, change)

    # Evaluations and deployments

    def evaluations(self, prefix: str = "", namespace: str | None = None) -> Iterator[Evaluation]:
        """Evaluations, oldest first."""
        found = [
            evaluation
            for evaluation_id, evaluation in self._tables.evaluations.items()
            if evaluation_id.startswith(prefix) and namespace in (None, evaluation.namespace)
        ]
        yield from sorted(found, key=lambda evaluation: (evaluation.create_index, evaluation.id))

    def evaluation(self, evaluation_id: str) -> Evaluation | None:
        """An evaluation."""
        return self._tables.evaluations.get(evaluation_id)

    def evaluations_of_job(self, namespace: str, job_id: str) -> Sequence[Evaluation]:
        """The job's evaluations, oldest first."""
        ids = self._tables.evaluations_of_job.get((namespace, job_id), ())
        return [self._tables.evaluations[evaluation_id] for evaluation_id in ids]

    def deployments(self, prefix: str = "", namespace: str | None = None) -> Iterator[Deployment]:
        """Deployments, oldest first."""
        found = [
            deployment
            for deployment_id, deployment in self._tables.deployments.items()
            if deployment_id.startswith(prefix) and namespace in (None, deployment.namespace)
        ]
        yield from sorted(found, key=lambda deployment: (deployment.create_index, deployment.id))

    def deployment(self, deployment_id: str) -> Deployment | None:
        """A deployment."""
        return self._tables.deployments.get(deployment_id)

    def deployments_of_job(self, namespace: str, job_id: str) -> Sequence[Deployment]:
        """The job's deployments, oldest first."""
        ids = self._tables.deployments_of_job.get((namespace, job_id), ())
        return [self._tables.deployments[deployment_id] for deployment_id in ids]

    def latest_deployment(self, namespace: str, job_id: str) -> Deployment | None:
        """The newest deployment of the job."""
        ids = self._tables.deployments_of_job.get((namespace, job_id), ())
        return self._tables.deployments[ids[-1]] if ids else None

    # Settings

    def scheduler_configuration(self) -> SchedulerConfiguration:
        """The scheduler's settings."""
        return self._tables.configuration

    def node_pools(self) -> Sequence[NodePool]:
        """Node pools in order of name, the built-in ones included."""
        names = sorted({*BUILT_IN_POOLS, *self._tables.pools})
        return [pool for name in names if (pool := self.node_pool(name)) is not None]

    def node_pool(self, name: str) -> NodePool | None:
        """A node pool."""
        if (pool := self._tables.pools.get(name)) is not None:
            return pool
        if name in BUILT_IN_POOLS:
            return NodePool(name=name, description=BUILT_IN_POOLS[name], create_index=1, modify_index=1)
        return None

    def namespaces(self) -> Sequence[Namespace]:
        """Namespaces in order of name, `default` included."""
        names = sorted({BUILT_IN_NAMESPACE.name, *self._tables.namespaces})
        return [namespace for name in names if (namespace := self.namespace(name)) is not None]

    def namespace(self, name: str) -> Namespace | None:
        """A namespace."""
        if (namespace := self._tables.namespaces.get(name)) is not None:
            return namespace
        return BUILT_IN_NAMESPACE if name == BUILT_IN_NAMESPACE.name else None

    def document(self, table: str, key: str) -> Document | None:
        """Another room's value."""
        return self._tables.documents.get((table, key))

    def documents(self, table: str) -> Iterator[Document]:
        """Another room's values of one table, in order of key."""
        for key in sorted(key for key in self._tables.documents if key[0] == table):
            yield self._tables.documents[key]

    # Indexes for blocking queries

    def last_index(self, *keys: WatchKey) -> int:
        """The newest revision at which something under one of `keys` changed; never 0 once anything is stored."""
        return max((self._last(key) for key in keys), default=0)

    def _last(self, key: WatchKey) -> int:
        tables = self._tables
        own: int | None = None
        match key:
            case ("job", namespace, job_id):
                job = tables.jobs.get((namespace, job_id))
                own = None if job is None else job.modify_index
            case ("alloc", alloc_id):
                if (found := self._find(alloc_id)) is not None:
                    own = self._modified(*found)
            case ("allocs.node", node_id):
                entry = tables.on_node.get(node_id)
                own = None if entry is None else entry.index
            case ("allocs.eval", evaluation_id):
                own = max((a.modify_index for a in self.allocs_of_evaluation(evaluation_id)), default=None)
            case ("node", node_id):
                node = tables.nodes.get(node_id)
                own = None if node is None else node.modify_index
            case ("eval", evaluation_id):
                evaluation = tables.evaluations.get(evaluation_id)
                own = None if evaluation is None else evaluation.modify_index
            case ("deployment", deployment_id):
                deployment = tables.deployments.get(deployment_id)
                own = None if deployment is None else deployment.modify_index
            case _:
                own = tables.marks.get(key)
        if own is not None:
            return own
        table: int = tables.marks.get((TABLE_OF.get(key[0], key[0]),), 0)
        return table

    def _modified(self, block: Block, position: int) -> int:
        change = self._tables.change_at(block, position)
        return block.row.create_index if change is None else change.modify_index


def _prefix_bounds(prefix: str) -> tuple[int, int] | None:
    """The range of the first 8 bytes of ids that begin with `prefix`; None if none can."""
    digits = prefix.replace("-", "").lower()
    if len(digits) > 32 or any(digit not in "0123456789abcdef" for digit in digits):
        return None
    return int(digits[:16].ljust(16, "0"), 16), int(digits[:16].ljust(16, "f"), 16)


def _positions_with(block: Block, prefix: str, bounds: tuple[int, int]) -> list[int]:
    low, high = bounds
    heads = np.frombuffer(block.row.ids, dtype=">u8")[::2]
    found: list[int] = np.flatnonzero((heads >= np.uint64(low)) & (heads <= np.uint64(high))).tolist()
    digits = prefix.replace("-", "").lower()
    return [position for position in found if block.id_of(position).replace("-", "").startswith(digits)]
