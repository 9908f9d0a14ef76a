"""One consistent, immutable state. Satisfies `rove.server.scheduler.view.View`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from rove.structs.alloc import Allocation
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobScalingEvents, JobSubmission, JobSummary, PeriodicLaunch
from rove.structs.node import Namespace, Node, NodePool, SchedulerConfiguration

WatchKey = tuple[str, ...]


class Snapshot:
    """Reads never block and never change. Allocations are made from columns when asked for."""

    index: int

    def job(self, namespace: str, job_id: str) -> Job | None: raise NotImplementedError
    def job_version(self, namespace: str, job_id: str, version: int) -> Job | None: raise NotImplementedError
    def jobs(self, namespace: str | None = None, prefix: str = "") -> Iterator[Job]: raise NotImplementedError
    def job_versions(self, namespace: str, job_id: str) -> tuple[Job, ...]: raise NotImplementedError
    def job_summary(self, namespace: str, job_id: str) -> JobSummary | None: raise NotImplementedError
    def submission(self, namespace: str, job_id: str, version: int) -> JobSubmission | None: raise NotImplementedError
    def children_of_job(self, namespace: str, job_id: str) -> Iterator[Job]: raise NotImplementedError
    def nodes(self, prefix: str = "") -> Iterator[Node]: raise NotImplementedError
    def node(self, node_id: str) -> Node | None: raise NotImplementedError
    def allocs(self, prefix: str = "", namespace: str | None = None) -> Iterator[Allocation]: raise NotImplementedError
    def alloc(self, alloc_id: str) -> Allocation | None: raise NotImplementedError
    def allocs_of_job(self, namespace: str, job_id: str) -> Sequence[Allocation]: raise NotImplementedError
    def allocs_of_node(self, node_id: str) -> Sequence[Allocation]: raise NotImplementedError
    def all_allocs_of_node(self, node_id: str) -> Sequence[Allocation]: raise NotImplementedError
    def allocs_of_evaluation(self, evaluation_id: str) -> Sequence[Allocation]: raise NotImplementedError
    def allocs_of_deployment(self, deployment_id: str) -> Sequence[Allocation]: raise NotImplementedError
    def ports_of_node(self, node_id: str) -> frozenset[int]: raise NotImplementedError
    def evaluations(self, prefix: str = "", namespace: str | None = None) -> Iterator[Evaluation]: raise NotImplementedError
    def evaluation(self, evaluation_id: str) -> Evaluation | None: raise NotImplementedError
    def evaluations_of_job(self, namespace: str, job_id: str) -> Sequence[Evaluation]: raise NotImplementedError
    def deployments(self, prefix: str = "", namespace: str | None = None) -> Iterator[Deployment]: raise NotImplementedError
    def deployment(self, deployment_id: str) -> Deployment | None: raise NotImplementedError
    def deployments_of_job(self, namespace: str, job_id: str) -> Sequence[Deployment]: raise NotImplementedError
    def latest_deployment(self, namespace: str, job_id: str) -> Deployment | None: raise NotImplementedError
    def node_pools(self) -> Sequence[NodePool]: raise NotImplementedError
    def node_pool(self, name: str) -> NodePool | None: raise NotImplementedError
    def namespaces(self) -> Sequence[Namespace]: raise NotImplementedError
    def namespace(self, name: str) -> Namespace | None: raise NotImplementedError
    def scaling_events(self, namespace: str, job_id: str) -> JobScalingEvents | None: raise NotImplementedError
    def periodic_launch(self, namespace: str, job_id: str) -> PeriodicLaunch | None: raise NotImplementedError
    def scheduler_configuration(self) -> SchedulerConfiguration: raise NotImplementedError
    def last_index(self, *keys: WatchKey) -> int: raise NotImplementedError


class Committed:
    """A commit that is durable: which nouns it changed, in the state right after it."""

    revision: int
    snapshot: Snapshot
    evaluations: tuple[Evaluation, ...]
    jobs: tuple[Job, ...]
    nodes: tuple[Node, ...]
    deployments: tuple[Deployment, ...]
    deleted_jobs: tuple[tuple[str, str], ...]
    deleted_nodes: tuple[str, ...]
    alloc_nodes: frozenset[str]
    """Ids of nodes whose allocations changed."""

    def allocs(self) -> Iterator[Allocation]:
        """The allocations that were created or changed, made on the spot."""
        raise NotImplementedError
