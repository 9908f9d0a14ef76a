"""Random histories: every derived index, count and column equals a recount from the allocations themselves,
and a state loaded again from its rows equals the one that was kept in memory."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rove.engine import Change
from rove.server.state import (
    ApplyPlan,
    Batch,
    Collect,
    DeleteNodes,
    DeleteService,
    PromoteDeployment,
    PutDeployment,
    PutEvaluations,
    PutJob,
    PutNode,
    PutServices,
    ReconcileSummaries,
    SetAllocHealth,
    SetJobStability,
    SetNodeDrain,
    SetNodeEligibility,
    SetNodeStatus,
    SetTransitions,
    Snapshot,
    StopJob,
    TagJobVersion,
    Transaction,
    UpdateAllocs,
    UpdateDeployments,
)
from rove.server.state.apply import apply
from rove.server.state.draft import Draft
from rove.server.state.jobs import status_of
from rove.server.state.load import load
from rove.server.state.tables import NO_TALLY, Tables, Tally
from rove.structs.alloc import Allocation, AllocStatus, Desired, DesiredTransition
from rove.structs.deployment import DeploymentStatus
from rove.structs.evaluation import EvalStatus
from rove.structs.job import JobVersionTag, TaskGroupSummary
from rove.structs.node import DrainStrategy, Eligibility, NodeStatus
from rove.structs.plan import AllocAnnotation, AllocStop, DeploymentUpdate, InPlaceUpdate, Plan
from rove.structs.resources import ports_of, usage_of
from rove.structs.service import ServiceRegistration
from rove.testing.nouns import a_deployment, a_job, a_node, a_placement, a_report, an_evaluation, an_id, resources_of

JOBS = ("web", "db", "batch")
NODES = ("n1", "n2", "n3", "n4")
STATUSES = list(AllocStatus)


class History:
    """A state, its rows, and random transactions for it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tables = Tables()
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.count = 0

    def commit(self, transaction: Transaction) -> None:
        draft = Draft(self.tables, self.tables.index + 1, 1_700_000_000_000_000_000 + self.count, self.rng.randbytes)
        apply(draft, transaction)
        self.tables, changes = draft.finish()
        for change in changes:
            if change.value is None:
                self.rows.pop((change.table, change.key), None)
            else:
                self.rows[change.table, change.key] = change.value

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self.tables)

    def loaded(self) -> Tables:
        rows = [Change(table, key, value) for (table, key), value in sorted(self.rows.items())]
        tables, damage = load(self.tables.index, rows)
        assert damage == []
        return tables

    def pick(self, items: Any) -> Any:
        items = list(items)
        return self.rng.choice(items) if items else None

    def step(self) -> None:
        self.count += 1
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("do_")]
        made = [made for kind in self.rng.choices(kinds, k=self.rng.choice([1, 1, 1, 2])) if (made := kind())]
        self.commit(made[0] if len(made) == 1 else Batch(parts=tuple(made)))

    def new_id(self, kind: str) -> str:
        return f"{kind}{self.count}-{self.rng.randrange(1 << 30)}"

    # Transactions

    def do_node(self) -> Transaction:
        node = a_node(self.pick(NODES), cpu=self.rng.choice([1000, 4000]), node_class=self.rng.choice("ab"))
        return PutNode(node=node)

    def do_node_status(self) -> Transaction:
        return SetNodeStatus(node_id=an_id(self.pick(NODES)), status=self.pick(NodeStatus))

    def do_node_eligibility(self) -> Transaction:
        return SetNodeEligibility(node_id=an_id(self.pick(NODES)), eligibility=self.pick(Eligibility))

    def do_drain(self) -> Transaction:
        strategy = DrainStrategy() if self.rng.random() < 0.5 else None
        return SetNodeDrain(node_id=an_id(self.pick(NODES)), strategy=strategy, mark_eligible=True)

    def do_delete_node(self) -> Transaction | None:
        return DeleteNodes(node_ids=(an_id(self.pick(NODES)),)) if self.rng.random() < 0.3 else None

    def do_job(self) -> Transaction:
        parent = {"parent_id": "web"} if self.rng.random() < 0.2 else {}
        job = a_job(self.pick(JOBS), count=self.rng.randrange(4), **parent)
        evaluation = an_evaluation(self.new_id("e"), job.id) if self.rng.random() < 0.7 else None
        return PutJob(job=job, evaluation=evaluation)

    def do_stop_job(self) -> Transaction | None:
        if self.rng.random() < 0.6:
            return None
        return StopJob(
            namespace="default", job_id=self.pick(JOBS), purge=self.rng.random() < 0.4,
            no_shutdown_delay=self.rng.random() < 0.3,
        )  # fmt: skip

    def do_stable(self) -> Transaction | None:
        job = self.pick(self.snapshot.jobs())
        if job is None:
            return None
        version = self.pick(self.snapshot.job_versions(*job.key)).version
        return SetJobStability(namespace="default", job_id=job.id, version=version, stable=self.rng.random() < 0.7)

    def do_tag(self) -> Transaction | None:
        job = self.pick(self.snapshot.jobs())
        if job is None:
            return None
        version = self.pick(self.snapshot.job_versions(*job.key)).version
        tag = JobVersionTag(name=self.rng.choice("xy")) if self.rng.random() < 0.7 else None
        return TagJobVersion(namespace="default", job_id=job.id, version=version, tag=tag, name="x")

    def do_evaluations(self) -> Transaction:
        old = self.pick(self.snapshot.evaluations())
        if old is None or self.rng.random() < 0.3:
            old = an_evaluation(self.new_id("e"), self.pick(JOBS))
        queued = {"api": self.rng.randrange(3)} if self.rng.random() < 0.5 else {}
        changed = msgspec.structs.replace(old, status=self.pick(EvalStatus), queued_allocations=queued)
        return PutEvaluations(evaluations=(changed,))

    def do_plan(self) -> Transaction | None:
        job = self.pick(self.snapshot.jobs())
        if job is None:
            return None
        placements = tuple(self.a_placement(job) for _ in range(self.rng.choice([0, 1, 1, 2])))
        allocs = list(self.snapshot.allocs())
        stops = tuple(
            AllocStop(
                alloc_id=self.pick(allocs).id, desired=self.rng.choice([Desired.STOP, Desired.EVICT]),
                client_status=self.rng.choice([None, None, AllocStatus.LOST, AllocStatus.UNKNOWN]),
                preempted_by_index=(0, 0) if placements and self.rng.random() < 0.3 else None,
            )
            for _ in range(self.rng.choice([0, 0, 1, 2]))
            if allocs
        )  # fmt: skip
        own = [alloc for alloc in allocs if alloc.job_key == job.key and not alloc.is_terminal]
        in_place = tuple(self.in_place(alloc, job) for alloc in own[:2]) if self.rng.random() < 0.4 else ()
        annotations = tuple(
            AllocAnnotation(alloc_id=alloc.id, client_status=AllocStatus.UNKNOWN, clear_transition=True)
            for alloc in own[2:3]
        )
        plan = Plan(
            eval_id=an_id("plan"), job=job, placements=placements, stops=stops, in_place=in_place,
            annotations=annotations,
        )  # fmt: skip
        return ApplyPlan(plan=plan)

    def a_placement(self, job: Any) -> Any:
        count = self.rng.randrange(1, 5)
        nodes = [an_id(self.pick(NODES)) for _ in range(count)]
        more: dict[str, Any] = {"job_version": job.version}
        if (deployment := self.snapshot.latest_deployment(*job.key)) and self.rng.random() < 0.7:
            more |= {"deployment_id": deployment.id, "canary": self.rng.random() < 0.3}
        if self.rng.random() < 0.3:
            more["ports"] = {self.rng.randrange(count): ports_of(resources_of(ports=[20_000 + self.rng.randrange(5)]))}
        if self.rng.random() < 0.3:
            more["own_resources"] = {0: resources_of(cpu=333, ports=[8080])}
        if self.rng.random() < 0.2:
            more["resources"] = resources_of(ports=[9090])
        if previous := self.pick(self.snapshot.allocs_of_job(*job.key)):
            more["previous"] = {0: previous.id}
        return a_placement(nodes, job.id, self.new_id("e"), **more)

    def in_place(self, alloc: Allocation, job: Any) -> InPlaceUpdate:
        deployment = self.snapshot.latest_deployment(*job.key)
        resources = resources_of(cpu=55, ports=[7070]) if self.rng.random() < 0.5 else None
        return InPlaceUpdate(
            alloc_id=alloc.id, job_version=job.version, eval_id=an_id(self.new_id("e")), resources=resources,
            deployment_id=deployment.id if deployment else "",
        )  # fmt: skip

    def do_reports(self) -> Transaction | None:
        allocs = list(self.snapshot.allocs())
        if not allocs:
            return None
        updates = tuple(
            a_report(
                self.pick(allocs).id, self.pick(STATUSES), healthy=self.rng.choice([None, True, False]),
                sequence=self.rng.choice([0, self.rng.randrange(50)]),
            )
            for _ in range(self.rng.randrange(1, 6))
        )  # fmt: skip
        return UpdateAllocs(updates=updates)

    def do_services(self) -> Transaction | None:
        node_id = an_id(self.pick(NODES))
        mine = [alloc for alloc in self.snapshot.all_allocs_of_node(node_id) if self.rng.random() < 0.7]
        held = [each.id for each in self.snapshot.services_of_node(node_id)]
        put = tuple(
            ServiceRegistration(
                id=f"{alloc.id}-{name}", service_name=name, alloc_id=alloc.id, port=self.rng.randrange(3),
                health=self.rng.choice(["", "passing", "critical"]),
            )
            for alloc in mine[:4]
            for name in self.rng.sample(["web", "db", "api"], 2)
        )  # fmt: skip
        gone = tuple(name for name in held if self.rng.random() < 0.2)
        return PutServices(node_id=node_id, put=put, gone=gone, full=self.rng.random() < 0.3)

    def do_delete_service(self) -> Transaction | None:
        each = self.pick(self.snapshot.services())
        return each and DeleteService(namespace=each.namespace, name=each.service_name, id=each.id)

    def do_transitions(self) -> Transaction | None:
        alloc = self.pick(self.snapshot.allocs())
        return alloc and SetTransitions(transitions={alloc.id: DesiredTransition(migrate=True)})

    def do_deployment(self) -> Transaction:
        return PutDeployment(deployment=a_deployment(self.new_id("d"), self.pick(JOBS)))

    def do_deployment_status(self) -> Transaction | None:
        deployment = self.pick(self.snapshot.deployments())
        if deployment is None:
            return None
        update = DeploymentUpdate(deployment_id=deployment.id, status=self.pick(DeploymentStatus))
        return UpdateDeployments(updates=(update,))

    def do_promote(self) -> Transaction | None:
        deployment = self.pick(self.snapshot.deployments())
        return deployment and PromoteDeployment(deployment_id=deployment.id)

    def do_health(self) -> Transaction | None:
        deployment = self.pick(self.snapshot.deployments())
        alloc = self.pick(self.snapshot.allocs_of_deployment(deployment.id)) if deployment else None
        return alloc and SetAllocHealth(deployment_id=deployment.id, unhealthy_ids=(alloc.id,))

    def do_reconcile(self) -> Transaction:
        return ReconcileSummaries()

    def do_collect(self) -> Transaction | None:
        allocs = [alloc.id for alloc in self.snapshot.allocs() if alloc.is_terminal or self.rng.random() < 0.1]
        evals = [e.id for e in self.snapshot.evaluations() if e.is_terminal]
        if self.rng.random() < 0.4:
            return None
        return Collect(
            alloc_ids=tuple(self.rng.sample(allocs, len(allocs) // 2)),
            evaluation_ids=tuple(self.rng.sample(evals, len(evals) // 2)),
            deployment_ids=tuple(d.id for d in self.snapshot.deployments() if self.rng.random() < 0.2),
            jobs=tuple(j.key for j in self.snapshot.jobs() if self.rng.random() < 0.05),
        )  # fmt: skip


def check_recount(tables: Tables) -> None:
    """Compare everything derived with a recount."""
    snapshot = Snapshot(tables)
    allocs = list(snapshot.allocs())
    check_fleet(snapshot, allocs)
    by_job, by_node, by_deployment = defaultdict(list), defaultdict(list), defaultdict(list)
    by_evaluation = defaultdict(set)
    for alloc in allocs:
        assert snapshot.alloc(alloc.id) == alloc
        assert alloc.job is not None
        assert alloc.job.version == alloc.job_version
        by_job[alloc.job_key].append(alloc)
        by_node[alloc.node_id].append(alloc)
        by_deployment[alloc.deployment_id].append(alloc)
        by_evaluation[alloc.eval_id].add(alloc.id)
    for key in {*by_job, *((("default", name)) for name in JOBS)}:
        assert snapshot.allocs_of_job(*key) == by_job[key]
        check_tally(snapshot, tables.tallies.get(key, NO_TALLY), key, by_job[key])
    for name in NODES:
        assert snapshot.all_allocs_of_node(an_id(name)) == by_node[an_id(name)]
        live = [alloc for alloc in by_node[an_id(name)] if not alloc.is_client_terminal]
        check_on_node(tables, an_id(name))
        assert snapshot.allocs_of_node(an_id(name)) == live
    for deployment in snapshot.deployments():
        found = snapshot.allocs_of_deployment(deployment.id)
        assert found == [a for a in by_deployment[deployment.id] if a.job_key == deployment.job_key]
    for evaluation_id, ids in by_evaluation.items():
        assert {alloc.id for alloc in snapshot.allocs_of_evaluation(evaluation_id)} == ids
    check_services(snapshot, allocs)
    uses = Counter((*alloc.job_key, alloc.job.create_index, alloc.job.version) for alloc in allocs if alloc.job)
    assert dict(tables.uses) == uses
    listed = {(*job.key, job.create_index, job.version) for versions in tables.versions.values() for job in versions}
    assert set(tables.specs) == listed | set(uses)


def check_services(snapshot: Snapshot, allocs: list[Allocation]) -> None:
    """Services belong to allocations that have not ended, on nodes that are there."""
    live = {alloc.id: alloc for alloc in allocs if not alloc.is_client_terminal}
    every = list(snapshot.services())
    of_nodes = [each for node in snapshot.nodes() for each in snapshot.services_of_node(node.id)]
    assert sorted(each.id for each in of_nodes) == sorted(each.id for each in every)
    for each in every:
        alloc = live[each.alloc_id]
        node = snapshot.node(each.node_id)
        assert node is not None
        assert node.status not in (NodeStatus.DOWN, NodeStatus.DISCONNECTED)
        assert (each.namespace, each.job_id, each.node_id) == (*alloc.job_key, alloc.node_id)
        assert each in snapshot.service(each.namespace, each.service_name)
        assert each in snapshot.services_of_job(*alloc.job_key)


def check_on_node(tables: Tables, node_id: str) -> None:
    """Ended blocks are set apart, so that a node's past does not slow its present down."""
    entry = tables.on_node.get(node_id)
    for number in [] if entry is None else entry.live.numbers():
        block = tables.blocks[number]
        changes = [tables.change_at(block, position) for position in block.positions_on(node_id)]
        assert any(change is None or not change.is_client_terminal for change in changes)


def check_fleet(snapshot: Snapshot, allocs: list[Allocation]) -> None:
    fleet = snapshot.fleet()
    nodes = list(snapshot.nodes())
    assert sorted(node_id for node_id in fleet.ids if node_id) == [node.id for node in nodes]
    for node in nodes:
        row = fleet.row_of(node.id)
        assert row is not None
        live = [alloc for alloc in allocs if alloc.node_id == node.id and not alloc.is_client_terminal]
        usage = [usage_of(alloc.allocated_resources) for alloc in live]
        assert fleet.used_cpu[row] == sum(one.cpu for one in usage)
        assert fleet.used_memory[row] == sum(one.memory_mb for one in usage)
        assert fleet.used_disk[row] == sum(one.disk_mb for one in usage)
        assert fleet.alloc_count[row] == len(live)
        assert fleet.ready[row] == node.is_ready
        assert fleet.cpu[row] == node.node_resources.cpu.cpu_shares
        assert fleet.classes[fleet.class_of[row]] == node.computed_class
        example = fleet.class_example[int(fleet.class_of[row])]
        assert fleet.class_of[example] == fleet.class_of[row]
        assert fleet.ids[example]
        held = {port.value for alloc in live for port in ports_of(alloc.allocated_resources)}
        assert snapshot.ports_of_node(node.id) == held
    assert len(fleet.ids) == len(fleet.ready) == len(fleet.used_cpu) == len(fleet.pool_of)
    removed = np.array([not node_id for node_id in fleet.ids], dtype=bool)
    assert not fleet.ready[removed].any()


def check_tally(snapshot: Snapshot, tally: Tally, key: tuple[str, str], allocs: list[Allocation]) -> None:
    evaluations = [e for e in snapshot.evaluations() if e.job_key == key]
    assert list(snapshot.evaluations_of_job(*key)) == evaluations
    assert tally.live == sum(1 for alloc in allocs if not alloc.is_terminal)
    assert tally.allocs == len(allocs)
    assert tally.evals == len(evaluations)
    assert tally.open_evals == sum(1 for e in evaluations if not e.is_terminal)
    active = [d for d in snapshot.deployments() if d.job_key == key and d.is_active]
    assert tally.active_deployments == len(active)
    job = snapshot.job(*key)
    if job is None:
        return
    assert job.status is status_of(job, tally)
    kept = snapshot._tables.kept_counts.get(key)
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for alloc in allocs:
        assert alloc.job is not None
        if alloc.job.create_index == job.create_index:
            field = "starting" if alloc.client_status is AllocStatus.PENDING else alloc.client_status.value
            groups[alloc.task_group][field] += 1
    for name, counts in (kept.groups if kept else {}).items():
        for field in TaskGroupSummary.__struct_fields__:
            groups[name][field] += getattr(counts, field)
    summary = snapshot.job_summary(*key)
    assert summary is not None
    for name, counts in summary.summary.items():
        for field in TaskGroupSummary.__struct_fields__:
            assert getattr(counts, field) == groups[name][field], (name, field)


def what_people_see(tables: Tables) -> dict[str, Any]:
    """Everything that a snapshot can tell, for comparing two."""
    snapshot = Snapshot(tables)
    jobs = list(snapshot.jobs())
    fleet = snapshot.fleet()
    used = {}
    for node in snapshot.nodes():
        row = fleet.row_of(node.id)
        used[node.id] = (fleet.used_cpu[row], fleet.used_memory[row], fleet.used_disk[row], fleet.alloc_count[row])
    return {
        "jobs": jobs,
        "versions": [snapshot.job_versions(*job.key) for job in jobs],
        "summaries": [
            (summary.summary, summary.children)
            for job in jobs
            if (summary := snapshot.job_summary(*job.key)) is not None
        ],
        "children": [list(snapshot.children_of_job(*job.key)) for job in jobs],
        "allocs": list(snapshot.allocs()),
        "nodes": list(snapshot.nodes()),
        "evaluations": list(snapshot.evaluations()),
        "deployments": list(snapshot.deployments()),
        "specs": dict(tables.specs),
        "uses": dict(tables.uses),
        "ports": {name: dict(ports) for name, ports in tables.ports.items()},
        "kept": dict(tables.kept_counts),
        "latest": [snapshot.latest_deployment(*job.key) for job in jobs],
        "used": used,
        "count": snapshot.alloc_count(),
        "gone": {number: block.gone for number, block in tables.blocks.items()},
        "moved": {name: set(refs) for name, refs in tables.moved_of_evaluation.items()},
        "tallies": {
            key: msgspec.structs.replace(tally, modify_index=0, groups={})
            for key, tally in tables.tallies.items()
            if tally.allocs or tally.evals or tally.active_deployments
        },
    }


@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_after_every_step_of_a_random_history_a_recount_gives_the_same(seed: int) -> None:
    history = History(seed)
    for _ in range(40):
        history.step()
        check_recount(history.tables)
    assert what_people_see(history.loaded()) == what_people_see(history.tables)
    check_recount(history.loaded())


@pytest.mark.parametrize("seed", range(4))
def test_a_long_history_equals_a_recount_and_a_reload(seed: int) -> None:
    history = History(seed)
    for step in range(400):
        history.step()
        if step % 40 == 0:
            check_recount(history.tables)
    check_recount(history.tables)
    assert what_people_see(history.loaded()) == what_people_see(history.tables)


@pytest.mark.parametrize("seed", range(4))
def test_a_history_goes_on_after_a_reload_as_if_there_had_been_none(seed: int) -> None:
    one, other = History(seed), History(seed)
    for _ in range(60):
        one.step()
        other.step()
    other.tables = other.loaded()
    for _ in range(40):
        one.step()
        other.step()
    assert one.rows == other.rows
    assert what_people_see(one.tables) == what_people_see(other.tables)
