"""A View over plain lists, for tests of the scheduler and for what-if questions.

`FakeView.carry_out(result)` gives the view in which a plan has been stored, so that histories can be
played through without a store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from rove.server.scheduler.view import Floats, Ints
from rove.server.state.fleet import FleetView
from rove.structs.alloc import (
    Allocation,
    AllocDeploymentStatus,
    AllocMetric,
    AllocStateChange,
    AllocStatus,
    Desired,
    DesiredTransition,
    NodeScore,
    alloc_name,
)
from rove.structs.base import from_unix, unix_ns
from rove.structs.deployment import Deployment, DeploymentGroup
from rove.structs.job import Job
from rove.structs.node import Node, SchedulerConfiguration
from rove.structs.plan import Placement, Plan
from rove.structs.resources import AllocatedResources, ports_of, usage_of


def _numbered(values: Iterable[str]) -> tuple[Ints, list[str]]:
    known: dict[str, int] = {}
    numbers = [known.setdefault(value, len(known)) for value in values]
    return np.array(numbers, dtype=np.int64), list(known)


def build_fleet(nodes: Sequence[Node], allocs_of_node: Mapping[str, Sequence[Allocation]]) -> FleetView:
    """Columns from nodes and what runs on them."""
    used = np.zeros((3, len(nodes)))
    counts = np.zeros(len(nodes), dtype=np.int64)
    for row, node in enumerate(nodes):
        for alloc in allocs_of_node.get(node.id, ()):
            usage = usage_of(alloc.allocated_resources)
            used[0, row] += usage.cpu
            used[1, row] += usage.memory_mb
            used[2, row] += usage.disk_mb
            counts[row] += 1
    class_of, classes = _numbered(node.computed_class for node in nodes)
    datacenter_of, datacenters = _numbered(node.datacenter for node in nodes)
    pool_of, pools = _numbered(node.node_pool for node in nodes)
    example: dict[int, int] = {}
    for row, number in enumerate(class_of.tolist()):
        example.setdefault(number, row)

    def column(values: Iterable[int]) -> Floats:
        return np.array(list(values), dtype=np.float64)

    return FleetView(
        ids=tuple(node.id for node in nodes),
        ready=np.array([node.is_ready for node in nodes], dtype=bool),
        cpu=column(n.usable_mhz for n in nodes),
        memory=column(
            n.node_resources.memory.memory_mb - n.reserved_resources.memory.memory_mb for n in nodes
        ),
        disk=column(n.node_resources.disk.disk_mb - n.reserved_resources.disk.disk_mb for n in nodes),
        used_cpu=used[0], used_memory=used[1], used_disk=used[2], alloc_count=counts,
        max_allocs=np.array([n.node_max_allocs for n in nodes], dtype=np.int64), class_of=class_of,
        classes=tuple(classes), class_example=example, datacenter_of=datacenter_of,
        datacenters=tuple(datacenters), pool_of=pool_of, pools=tuple(pools),
        rows={node.id: row for row, node in enumerate(nodes)},
    )  # fmt: skip


class FakeView:
    """A snapshot made of plain lists. jobs: every version that is kept, any order."""

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        jobs: Iterable[Job] = (),
        allocs: Iterable[Allocation] = (),
        deployments: Iterable[Deployment] = (),
        configuration: SchedulerConfiguration | None = None,
        index: int = 100,
    ) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.jobs = {(job.namespace, job.id, job.version): job for job in jobs}
        self.allocs = {alloc.id: alloc for alloc in allocs}
        self.deployments = {deployment.id: deployment for deployment in deployments}
        self.configuration = configuration or SchedulerConfiguration()
        self._index = index
        self._of_node: dict[str, list[Allocation]] = defaultdict(list)
        self._of_job: dict[tuple[str, str], list[Allocation]] = defaultdict(list)
        for alloc in self.allocs.values():
            self._of_job[alloc.job_key].append(alloc)
            if not alloc.is_client_terminal:
                self._of_node[alloc.node_id].append(alloc)
        self._newest: dict[tuple[str, str], Job] = {}
        for job in self.jobs.values():
            if job.key not in self._newest or self._newest[job.key].version < job.version:
                self._newest[job.key] = job
        self._fleet: FleetView | None = None

    @property
    def index(self) -> int:
        return self._index

    def job(self, namespace: str, job_id: str) -> Job | None:
        """The newest version."""
        return self._newest.get((namespace, job_id))

    def job_version(self, namespace: str, job_id: str, version: int) -> Job | None:
        """A version that is still kept."""
        return self.jobs.get((namespace, job_id, version))

    def allocs_of_job(self, namespace: str, job_id: str) -> Iterable[Allocation]:
        """Every allocation of the job."""
        return tuple(self._of_job.get((namespace, job_id), ()))

    def alloc(self, alloc_id: str) -> Allocation | None:
        """An allocation by id."""
        return self.allocs.get(alloc_id)

    def allocs_of_node(self, node_id: str) -> Iterable[Allocation]:
        """Every allocation on the node that is not client-terminal."""
        return tuple(self._of_node.get(node_id, ()))

    def ports_of_node(self, node_id: str) -> frozenset[int]:
        """Host ports in use, and those reserved."""
        node = self.nodes.get(node_id)
        held = {p.value for a in self._of_node.get(node_id, ()) for p in ports_of(a.allocated_resources)}
        if node is not None:
            held |= node.reserved_ports
        return frozenset(held)

    def allocs_changed_since(self, namespace: str, job_id: str, index: int) -> bool:
        """Says yes always, so that everything is checked."""
        return True

    def latest_deployment(self, namespace: str, job_id: str) -> Deployment | None:
        """The newest deployment of the job."""
        own = [deployment for deployment in self.deployments.values() if deployment.job_key == (namespace, job_id)]
        return max(own, key=lambda deployment: (deployment.create_index, deployment.job_version), default=None)

    def node(self, node_id: str) -> Node | None:
        """A node by id."""
        return self.nodes.get(node_id)

    def fleet(self) -> FleetView:
        """All nodes as columns; a fresh copy."""
        if self._fleet is None:
            self._fleet = build_fleet(list(self.nodes.values()), self._of_node)
        return replace(
            self._fleet,
            ready=self._fleet.ready.copy(),
            used_cpu=self._fleet.used_cpu.copy(),
            used_memory=self._fleet.used_memory.copy(),
            used_disk=self._fleet.used_disk.copy(),
            alloc_count=self._fleet.alloc_count.copy(),
        )

    def scheduler_configuration(self) -> SchedulerConfiguration:
        """The cluster's settings."""
        return self.configuration

    # Playing histories

    def changed(
        self,
        *,
        nodes: Iterable[Node] = (),
        jobs: Iterable[Job] = (),
        allocs: Iterable[Allocation] = (),
        deployments: Iterable[Deployment] = (),
        gone_nodes: Iterable[str] = (),
        gone_jobs: Iterable[str] = (),
    ) -> FakeView:
        """The view with these nouns put in (by id) and those nodes and jobs (by id) taken out."""
        left, purged = set(gone_nodes), set(gone_jobs)
        kept = [node for node in {**self.nodes, **{n.id: n for n in nodes}}.values() if node.id not in left]
        every_job = {**self.jobs, **{(j.namespace, j.id, j.version): j for j in jobs}}
        return FakeView(
            kept,
            [job for job in every_job.values() if job.id not in purged],
            {**self.allocs, **{alloc.id: alloc for alloc in allocs}}.values(),
            {**self.deployments, **{deployment.id: deployment for deployment in deployments}}.values(),
            self.configuration,
            self._index + 1,
        )

    def carry_out(self, plan: Plan, now: float = 0.0) -> FakeView:
        """The view in which `plan` has been stored, as `rove.server.state` would store it."""
        allocs = dict(self.allocs)
        deployments = dict(self.deployments)
        if plan.deployment is not None:
            deployments[plan.deployment.id] = msgspec.structs.replace(plan.deployment, create_index=self._index + 1)
        for update in plan.deployment_updates:
            deployments[update.deployment_id] = msgspec.structs.replace(
                deployments[update.deployment_id], status=update.status, status_description=update.description
            )
        for placement in plan.placements:
            for alloc in allocs_of_placement(placement, self, now, len(allocs)):
                allocs[alloc.id] = alloc
                if alloc.previous_allocation in allocs:
                    allocs[alloc.previous_allocation] = msgspec.structs.replace(
                        allocs[alloc.previous_allocation], next_allocation=alloc.id
                    )
                if alloc.is_canary:
                    deployments[alloc.deployment_id] = _with_canary(deployments[alloc.deployment_id], alloc)
        for stop in plan.stops:
            changes = {"desired_status": stop.desired, "desired_description": stop.description}
            if stop.client_status is not None:
                changes["client_status"] = stop.client_status
            allocs[stop.alloc_id] = msgspec.structs.replace(allocs[stop.alloc_id], **changes)
        for note in plan.annotations:
            allocs[note.alloc_id] = _annotated(allocs[note.alloc_id], note, now)
        for taken in plan.in_place:
            alloc = allocs[taken.alloc_id]
            allocs[taken.alloc_id] = msgspec.structs.replace(
                alloc,
                job=plan.job,
                job_version=taken.job_version,
                deployment_id=taken.deployment_id,
                deployment_status=None,
                desired_transition=DesiredTransition(),
            )
        return FakeView(
            self.nodes.values(), self.jobs.values(), allocs.values(), deployments.values(),
            self.configuration, self._index + 1,
        )  # fmt: skip


def _annotated(alloc: Allocation, note: object, now: float) -> Allocation:
    followup = getattr(note, "followup_eval_id", None)
    status: AllocStatus | None = getattr(note, "client_status", None)
    if followup is not None:
        alloc = msgspec.structs.replace(alloc, followup_eval_id=followup)
    if status is not None:
        change = AllocStateChange(field=0, value=status.value, time=from_unix(now))
        alloc = msgspec.structs.replace(alloc, client_status=status, alloc_states=(*alloc.alloc_states, change))
    return alloc


def _with_canary(deployment: Deployment, alloc: Allocation) -> Deployment:
    group = deployment.task_groups[alloc.task_group]
    changed: DeploymentGroup = msgspec.structs.replace(group, placed_canaries=(*group.placed_canaries, alloc.id))
    return msgspec.structs.replace(deployment, task_groups={**deployment.task_groups, alloc.task_group: changed})


def allocs_of_placement(placement: Placement, view: FakeView, now: float, start: int) -> list[Allocation]:
    """The allocations that a placement's columns describe."""
    job = view.job_version(placement.namespace, placement.job_id, placement.job_version)
    nodes = np.frombuffer(placement.nodes, "<i4").tolist()
    indexes = np.frombuffer(placement.indexes, "<i4").tolist()
    scores = np.frombuffer(placement.scores, "<f4").tolist()
    found = []
    for position, (number, index) in enumerate(zip(nodes, indexes, strict=True)):
        node_id = placement.node_ids[number]
        score = NodeScore(node_id=node_id, norm_score=scores[position] if scores else 0.0)
        found.append(
            Allocation(
                id=f"a{view.index}-{start + position}-{placement.group}",
                namespace=placement.namespace,
                eval_id=placement.eval_id,
                name=alloc_name(placement.job_id, placement.group, index),
                node_id=node_id,
                job_id=placement.job_id,
                job=job,
                job_version=placement.job_version,
                task_group=placement.group,
                allocated_resources=resources_at(placement, position),
                metrics=AllocMetric(score_meta_data=(score,)),
                desired_status=Desired.RUN,
                client_status=AllocStatus.PENDING,
                previous_allocation=placement.previous.get(position, ""),
                deployment_id=placement.deployment_id,
                deployment_status=AllocDeploymentStatus(canary=True) if placement.canary else None,
                reschedule_tracker=placement.trackers.get(position),
                preempted_allocations=placement.preempted.get(position, ()),
                create_index=view.index + 1,
                modify_index=view.index + 1,
                create_time=unix_ns(now),
                modify_time=unix_ns(now),
            )
        )
    return found


def resources_at(placement: Placement, position: int) -> AllocatedResources:
    """What the copy at `position` holds."""
    resources = placement.own_resources.get(position, placement.resources)
    ports = placement.ports.get(position)
    if ports is None:
        return resources
    return msgspec.structs.replace(resources, shared=msgspec.structs.replace(resources.shared, ports=ports))
