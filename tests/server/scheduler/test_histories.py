"""Promises that hold after every step of random histories of nodes, jobs, failures and roll-outs."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from rove.server.scheduler import schedule, verify
from rove.structs.alloc import (
    Allocation,
    AllocDeploymentStatus,
    AllocStateChange,
    AllocStatus,
    DesiredTransition,
)
from rove.structs.base import from_unix
from rove.structs.deployment import DeploymentStatus
from rove.structs.evaluation import Evaluation
from rove.structs.job import DisconnectStrategy, Job
from rove.structs.node import Eligibility, NodeStatus
from rove.structs.plan import Plan, SchedulerResult
from rove.structs.resources import ports_of, usage_of
from rove.testing.builders import (
    a_group,
    a_job,
    a_node,
    a_restarting_version,
    a_version,
    an_evaluation,
    an_update,
)
from rove.testing.fleet import FakeView

replace = msgspec.structs.replace


@dataclass
class World:
    """A view and a clock, and the ways in which the world may change."""

    rng: random.Random
    view: FakeView
    now: float = 1_700_000_000.0
    ids: Any = field(default_factory=itertools.count)
    followups: list[Evaluation] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def jobs(self) -> list[Job]:
        return list(self.view._newest.values())

    def evaluate(self, job: Job, evaluation: Evaluation | None = None) -> SchedulerResult:
        return schedule(
            evaluation or an_evaluation(job, id=f"e{next(self.ids)}"),
            self.view,
            now=self.now,
            rng=random.Random(self.rng.random()),
            new_id=lambda: f"id-{next(self.ids)}",
        )

    def some_live(self) -> Allocation | None:
        live = [a for a in self.view.allocs.values() if not a.is_terminal]
        return self.rng.choice(live) if live else None

    def put(self, **changes: Any) -> None:
        self.view = self.view.changed(**changes)

    # What may happen

    def node_joins(self) -> None:
        self.put(nodes=[a_random_node(self.rng, f"m{next(self.ids)}")])

    def node_changes(self) -> None:
        node = self.rng.choice(list(self.view.nodes.values()))
        status = self.rng.choice(list(NodeStatus))
        eligible = self.rng.choice((Eligibility.ELIGIBLE, Eligibility.ELIGIBLE, Eligibility.INELIGIBLE))
        self.put(nodes=[replace(node, status=status, scheduling_eligibility=eligible)])

    def node_goes(self) -> None:
        if len(self.view.nodes) > 1:
            self.put(gone_nodes=[self.rng.choice(list(self.view.nodes))])

    def node_heals(self) -> None:
        nodes = [
            replace(n, status=NodeStatus.READY, scheduling_eligibility=Eligibility.ELIGIBLE)
            for n in self.view.nodes.values()
        ]
        self.put(nodes=nodes)

    def alloc_fails(self) -> None:
        alloc = self.some_live()
        if alloc and alloc.client_status is not AllocStatus.UNKNOWN:
            self.put(allocs=[replace(alloc, client_status=AllocStatus.FAILED, modify_time=int(self.now * 1e9))])

    def alloc_completes(self) -> None:
        alloc = self.some_live()
        if alloc and alloc.job and alloc.job.type.value in ("batch", "sysbatch"):
            self.put(allocs=[replace(alloc, client_status=AllocStatus.COMPLETE)])

    def alloc_moves(self) -> None:
        alloc = self.some_live()
        if alloc:
            self.put(allocs=[replace(alloc, desired_transition=DesiredTransition(migrate=True))])

    def silent_ones_return(self) -> None:
        back_again = AllocStateChange(field=0, value="running", time=from_unix(self.now))
        back = [
            replace(a, client_status=AllocStatus.RUNNING, alloc_states=(*a.alloc_states, back_again))
            for a in self.view.allocs.values()
            if a.client_status is AllocStatus.UNKNOWN
            and not a.is_terminal
            and (node := self.view.node(a.node_id))
            and node.is_ready
        ]
        self.put(allocs=back)

    def job_changes(self) -> None:
        job = self.rng.choice(self.jobs())
        if job.stop:
            self.put(jobs=[a_version(job, stop=False)])
            return
        kind = self.rng.randint(0, 4)
        if kind == 0:
            self.put(jobs=[a_restarting_version(job)])
        elif kind == 1:
            self.put(jobs=[a_version(job, count=self.rng.randint(0, 8))])
        elif kind == 2:
            self.put(jobs=[a_restarting_version(job, count=self.rng.randint(1, 8))])
        elif kind == 3 and job.type.value == "service":
            update = an_update(max_parallel=self.rng.randint(0, 3), canary=self.rng.randint(0, 3))
            self.put(jobs=[a_version(job, update=update)])
        elif kind == 4 and self.rng.random() < 0.3:
            self.put(jobs=[a_version(job, stop=True)])

    def all_run_and_are_healthy(self) -> None:
        changed, deployments = [], dict(self.view.deployments)
        for alloc in self.view.allocs.values():
            if alloc.is_server_terminal and not alloc.is_client_terminal:
                changed.append(replace(alloc, client_status=AllocStatus.COMPLETE))
            elif (not alloc.is_terminal and alloc.client_status is AllocStatus.PENDING) or needs_health(alloc):
                canary = alloc.is_canary
                health = AllocDeploymentStatus(healthy=True, canary=canary) if alloc.deployment_id else None
                changed.append(replace(alloc, client_status=AllocStatus.RUNNING, deployment_status=health))
                if alloc.deployment_id in deployments and not alloc.is_healthy:
                    deployment = deployments[alloc.deployment_id]
                    group = deployment.task_groups.get(alloc.task_group)
                    if group:
                        group = replace(group, healthy_allocs=group.healthy_allocs + 1)
                        groups = {**deployment.task_groups, alloc.task_group: group}
                        deployments[alloc.deployment_id] = replace(deployment, task_groups=groups)
        self.put(allocs=changed, deployments=deployments.values())

    def deployment_changes(self) -> None:
        active = [d for d in self.view.deployments.values() if d.is_active]
        if not active:
            return
        deployment = self.rng.choice(active)
        kind = self.rng.randint(0, 3)
        if kind == 0:
            groups = {name: replace(g, promoted=True) for name, g in deployment.task_groups.items()}
            canaries = [
                replace(a, deployment_status=replace(a.deployment_status, canary=False))
                for a in self.view.allocs.values()
                if a.deployment_id == deployment.id and a.deployment_status is not None
            ]
            self.put(deployments=[replace(deployment, task_groups=groups)], allocs=canaries)
        else:
            status = (DeploymentStatus.PAUSED, DeploymentStatus.RUNNING, DeploymentStatus.FAILED)[kind - 1]
            self.put(deployments=[replace(deployment, status=status)])

    def time_passes(self) -> None:
        self.now += self.rng.choice((1, 40, 4000))

    def step(self) -> None:
        """Something happens."""
        happening = self.rng.choice(
            (
                self.node_joins, self.node_changes, self.node_goes, self.node_heals, self.alloc_fails,
                self.alloc_fails, self.alloc_completes, self.alloc_moves, self.silent_ones_return,
                self.job_changes, self.job_changes, self.all_run_and_are_healthy,
                self.all_run_and_are_healthy, self.deployment_changes, self.time_passes,
            )
        )  # fmt: skip
        self.log.append(happening.__name__)
        happening()


def needs_health(alloc: Allocation) -> bool:
    return (
        not alloc.is_terminal
        and bool(alloc.deployment_id)
        and alloc.client_status is AllocStatus.RUNNING
        and not alloc.is_healthy
    )


def a_random_node(rng: random.Random, name: str) -> Any:
    return a_node(
        name, cpu=rng.choice((300, 1000)), memory=rng.choice((512, 2048)), meta={"rack": f"r{rng.randint(0, 2)}"},
        min_dynamic_port=20_000, max_dynamic_port=20_005,
    )  # fmt: skip


def a_world(seed: int, kind: str) -> World:
    rng = random.Random(seed)
    nodes = [a_random_node(rng, f"n{n}") for n in range(rng.randint(1, 6))]
    fields: dict[str, Any] = {}
    if kind == "service":
        fields["update"] = an_update(max_parallel=rng.randint(0, 3), canary=rng.choice((0, 0, 1, 3)))
        if rng.random() < 0.4:
            strategy = rng.choice(("best_score", "keep_original", "keep_replacement", "longest_running"))
            fields["disconnect"] = DisconnectStrategy(
                lost_after=60 * 10**9, replace=rng.random() < 0.7, reconcile=strategy
            )
        if rng.random() < 0.4:
            fields["ports"] = ("http",)
        elif rng.random() < 0.3:
            fields["static_ports"] = {"http": 8080}
    group = a_group(count=rng.randint(1, 6), cpu=100, memory=100, disk=5, **fields)
    return World(rng, FakeView(nodes, [a_job("web", type=kind, groups=(group,))]))


def check(world: World, plan: Plan, result: SchedulerResult) -> None:
    """Every promise, on the view in which the plan has been carried out."""
    view = world.view
    for node in view.nodes.values():
        here = [a for a in view.allocs.values() if a.node_id == node.id and not a.is_terminal]
        used = [usage_of(a.allocated_resources) for a in here]
        assert sum(u.cpu for u in used) <= node.node_resources.cpu.cpu_shares
        assert sum(u.memory_mb for u in used) <= node.node_resources.memory.memory_mb
        assert sum(u.disk_mb for u in used) <= node.node_resources.disk.disk_mb
        ports = Counter(p.value for a in here for p in ports_of(a.allocated_resources))
        assert not ports or max(ports.values()) == 1, "a port was given twice"
    for job in world.jobs():
        live = [a for a in view.allocs_of_job(job.namespace, job.id) if not a.is_terminal]
        steady = [a for a in live if not a.is_canary and a.client_status is not AllocStatus.UNKNOWN]
        if job.type.value in ("service", "batch"):
            names = Counter(a.name for a in steady)
            assert not names or max(names.values()) == 1, f"duplicate names {names}"
        else:
            places = Counter((a.node_id, a.task_group) for a in steady)
            assert not places or max(places.values()) == 1


@pytest.mark.parametrize("kind", ["service", "batch", "system", "sysbatch"])
@pytest.mark.parametrize("seed", range(80))
def test_promises_hold_after_every_step(kind: str, seed: int) -> None:
    world = a_world(seed, kind)
    for _ in range(25):
        job = world.jobs()[0]
        due = [e for e in world.followups if e.wait_until and e.wait_until.timestamp() <= world.now]
        world.followups = [e for e in world.followups if e not in due]
        result = world.evaluate(job, due[0] if due else None)
        world.followups += result.evaluations
        plan, everything = verify(result.plan, world.view)
        assert everything, "a plan does not hold on the snapshot it was made on"
        world.view = world.view.carry_out(plan, world.now)
        check(world, plan, result)
        again = world.evaluate(job)
        assert not again.plan.placements, f"places again: {world.log}"
        assert not again.plan.stops, f"stops again: {world.log} {again.plan.stops}"
        assert not again.plan.in_place, world.log
        assert not again.plan.deployment, world.log
        assert not again.plan.annotations, f"notes again: {world.log} {again.plan.annotations}"
        assert not again.evaluations, f"waits again: {world.log}"
        check_reason(world, job, again)
        world.step()


def check_reason(world: World, job: Job, result: SchedulerResult) -> None:
    """A count that is not met has a reason."""
    if job.stop or job.type.value not in ("service", "batch"):
        return
    group = job.task_groups[0]
    own = list(world.view.allocs_of_job(job.namespace, job.id))
    held = [
        a for a in own if not a.is_server_terminal and (not a.is_canary) and a.client_status is not AllocStatus.LOST
    ]
    if job.type.value == "service":
        held = [a for a in held if a.client_status is not AllocStatus.COMPLETE]
    deployment = world.view.latest_deployment(job.namespace, job.id)
    held_back = (
        deployment is not None
        and deployment.job_version == job.version
        and (
            deployment.status in (DeploymentStatus.PAUSED, DeploymentStatus.FAILED)
            or (deployment.is_active and deployment.requires_promotion)
        )
    )
    if len({a.name for a in held}) < group.count and not held_back:
        assert result.queued[group.name] > 0, world.log
        metric = result.failed[group.name]
        assert metric.nodes_evaluated == 0 or metric.constraint_filtered or metric.dimension_exhausted
