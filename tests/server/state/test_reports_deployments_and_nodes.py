"""Nodes' reports, deployment counters, registrations of nodes."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from rove.server.state import (
    ApplyPlan,
    DeleteNodes,
    PromoteDeployment,
    PutDeployment,
    PutDocument,
    PutJob,
    PutNamespace,
    PutNode,
    PutNodePool,
    PutSchedulerConfiguration,
    SetAllocHealth,
    SetNodeDrain,
    SetNodeEligibility,
    SetNodeMeta,
    SetNodeStatus,
    SetTransitions,
    Store,
    UpdateAllocs,
    UpdateDeployments,
)
from rove.server.state.transactions import DeleteNamespace, DeleteNodePool
from rove.structs.alloc import Allocation, AllocStatus, DesiredTransition, NetworkStatus, TaskState
from rove.structs.base import from_unix
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus
from rove.structs.node import (
    DrainStrategy,
    Eligibility,
    Namespace,
    Node,
    NodeEvent,
    NodePool,
    NodeReserved,
    NodeStatus,
    ReservedNetworks,
    SchedulerConfiguration,
)
from rove.structs.plan import AllocAnnotation, DeploymentUpdate, InPlaceUpdate, Plan
from rove.testing.nouns import a_deployment, a_job, a_node, a_placement, a_report, an_evaluation, an_id, resources_of

N1, N2, D1 = an_id("n1"), an_id("n2"), an_id("d1")
replace = msgspec.structs.replace


async def a_rollout(store: Store, *, canary: bool = False, count: int = 2) -> list[str]:
    """A job whose copies belong to deployment d1; returns their ids."""
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(PutNode(node=a_node("n2")))
    await store.commit(PutJob(job=a_job("web", count=count), evaluation=an_evaluation("e1")))
    group = DeploymentGroup(
        desired_total=count, desired_canaries=count if canary else 0, progress_deadline=600_000_000_000
    )
    deployment = replace(a_deployment("d1"), task_groups={"api": group})
    placement = a_placement([N1] * count, deployment_id=D1, canary=canary)
    await store.commit(ApplyPlan(plan=Plan(eval_id=an_id("e1"), placements=(placement,), deployment=deployment)))
    return [alloc.id for alloc in store.snapshot().allocs()]


def group_of(store: Store) -> DeploymentGroup:
    return deployment_of(store).task_groups["api"]


def deployment_of(store: Store) -> Deployment:
    deployment = store.snapshot().deployment(D1)
    assert deployment is not None
    return deployment


def alloc_of(store: Store, alloc_id: str) -> Allocation:
    alloc = store.snapshot().alloc(alloc_id)
    assert alloc is not None
    return alloc


def node_of(store: Store, node_id: str = N1) -> Node:
    node = store.snapshot().node(node_id)
    assert node is not None
    return node


# Reports


async def test_a_report_is_stored_with_all_that_it_says(store: Store) -> None:
    first, _ = await a_rollout(store)
    states = {"main": TaskState(restarts=3)}
    network = NetworkStatus(address="10.0.0.1")
    report = a_report(first, client_description="up", task_states=states, network_status=network, sequence=1)
    index = await store.commit(UpdateAllocs(updates=(report,), node_id=N1))
    alloc = alloc_of(store, first)
    assert (alloc.client_status, alloc.client_description) == (AllocStatus.RUNNING, "up")
    assert (alloc.task_states, alloc.network_status) == (states, network)
    assert alloc.modify_index == index
    assert alloc.alloc_modify_index == alloc.create_index < index


async def test_an_older_report_never_overwrites_a_newer_one(store: Store) -> None:
    first, _ = await a_rollout(store)
    await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.FAILED, sequence=5),)))
    for sequence in (4, 5):
        await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.RUNNING, sequence=sequence),)))
        assert alloc_of(store, first).client_status is AllocStatus.FAILED
    assert store.snapshot().report_sequence(first) == 5


async def test_reports_of_strangers_and_of_unknown_allocations_are_dropped(store: Store) -> None:
    first, _ = await a_rollout(store)
    await store.commit(UpdateAllocs(updates=(a_report(first),), node_id=N2))
    for alloc_id in ("", "nonsense", an_id("unknown"), first[:-1] + "7", first.upper() + "0"):
        await store.commit(UpdateAllocs(updates=(a_report(alloc_id),), node_id=N1))
    assert alloc_of(store, first).client_status is AllocStatus.PENDING


async def test_room_and_ports_are_free_once_an_allocation_has_ended_and_not_before(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(PutJob(job=a_job("web")))
    placement = a_placement([N1], resources=resources_of(cpu=500, memory_mb=64, disk_mb=9, ports=(8080, 9090)))
    await store.commit(ApplyPlan(plan=Plan(eval_id="e", placements=(placement,))))
    (alloc,) = store.snapshot().allocs()
    await store.commit(SetTransitions(transitions={alloc.id: DesiredTransition(migrate=True)}))
    fleet = store.snapshot().fleet()
    assert (fleet.used_cpu[0], fleet.used_memory[0], fleet.used_disk[0], fleet.alloc_count[0]) == (500, 64, 9, 1)
    assert store.snapshot().ports_of_node(N1) == {8080, 9090}
    await store.commit(UpdateAllocs(updates=(a_report(alloc.id, AllocStatus.COMPLETE),)))
    fleet = store.snapshot().fleet()
    assert (fleet.used_cpu[0], fleet.used_memory[0], fleet.used_disk[0], fleet.alloc_count[0]) == (0, 0, 0, 0)
    assert store.snapshot().ports_of_node(N1) == frozenset()


async def test_ports_reserved_for_the_host_are_held(store: Store) -> None:
    reserved = NodeReserved(networks=ReservedNetworks(reserved_host_ports="22,80, 8500-8502,x,"))
    await store.commit(PutNode(node=a_node("n1", reserved_resources=reserved)))
    assert store.snapshot().ports_of_node(N1) == {22, 80, 8500, 8501, 8502}


async def test_a_disconnect_and_its_end_are_noted_on_the_allocation(store: Store) -> None:
    first, _ = await a_rollout(store)
    note = AllocAnnotation(alloc_id=first, client_status=AllocStatus.UNKNOWN, followup_eval_id="later")
    await store.commit(ApplyPlan(plan=Plan(eval_id="e", annotations=(note,))))
    assert alloc_of(store, first).client_status is AllocStatus.UNKNOWN
    assert alloc_of(store, first).followup_eval_id == "later"
    await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.RUNNING),)))
    assert [state.value for state in alloc_of(store, first).alloc_states] == ["unknown", "running"]


async def test_wishes_add_up(store: Store) -> None:
    first, _ = await a_rollout(store)
    await store.commit(SetTransitions(transitions={first: DesiredTransition(migrate=True)}))
    await store.commit(SetTransitions(transitions={first: DesiredTransition(reschedule=True)}))
    assert alloc_of(store, first).desired_transition == DesiredTransition(migrate=True, reschedule=True)


async def test_allocations_are_found_by_the_beginning_of_their_id(store: Store) -> None:
    ids = await a_rollout(store, count=20)
    for alloc_id in ids:
        for length in (36, 20, 13, 8):
            assert alloc_id in [alloc.id for alloc in store.snapshot().allocs(prefix=alloc_id[:length])]
        assert [alloc.id for alloc in store.snapshot().allocs(prefix=alloc_id[:20])] == [alloc_id]
    assert {alloc.id for alloc in store.snapshot().allocs(prefix=ids[0][:1])} == {
        one for one in ids if one[0] == ids[0][0]
    }
    assert list(store.snapshot().allocs(prefix="not hex")) == []
    assert list(store.snapshot().allocs(prefix="0" * 40)) == []


# Deployments


async def test_placing_counts_in_the_deployment_and_starts_its_deadline(store: Store) -> None:
    await a_rollout(store)
    group = group_of(store)
    assert (group.placed_allocs, group.healthy_allocs, group.unhealthy_allocs) == (2, 0, 0)
    assert group.require_progress_by == from_unix(1_700_000_000) + timedelta(minutes=10)


async def test_health_is_counted_once_and_moves_the_deadline_forward(store: Store, clock: object) -> None:
    first, second = await a_rollout(store)
    clock.time += 60  # type: ignore[attr-defined]
    for _ in range(2):
        await store.commit(UpdateAllocs(updates=(a_report(first, healthy=True),)))
    assert group_of(store).healthy_allocs == 1
    assert group_of(store).require_progress_by == from_unix(1_700_000_060) + timedelta(minutes=10)
    assert alloc_of(store, first).is_healthy
    clock.time += 60  # type: ignore[attr-defined]
    await store.commit(UpdateAllocs(updates=(a_report(second, AllocStatus.FAILED, healthy=False),)))
    assert (group_of(store).healthy_allocs, group_of(store).unhealthy_allocs) == (1, 1)
    assert group_of(store).require_progress_by == from_unix(1_700_000_060) + timedelta(minutes=10)
    await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.FAILED, healthy=False),)))
    assert (group_of(store).healthy_allocs, group_of(store).unhealthy_allocs) == (0, 2)


async def test_health_may_be_set_by_hand_but_only_within_the_deployment(store: Store) -> None:
    first, second = await a_rollout(store)
    await store.commit(PutDeployment(deployment=a_deployment("d2")))
    await store.commit(SetAllocHealth(deployment_id=an_id("d2"), healthy_ids=(first,)))
    assert not alloc_of(store, first).is_healthy
    await store.commit(SetAllocHealth(deployment_id=D1, healthy_ids=(first,), unhealthy_ids=(second,)))
    assert alloc_of(store, first).is_healthy
    assert alloc_of(store, second).is_unhealthy
    assert (group_of(store).healthy_allocs, group_of(store).unhealthy_allocs) == (1, 1)


async def test_canaries_are_listed_until_they_are_promoted(store: Store) -> None:
    ids = await a_rollout(store, canary=True)
    assert group_of(store).placed_canaries == tuple(ids)
    assert all(alloc.is_canary for alloc in store.snapshot().allocs())
    assert deployment_of(store).requires_promotion
    await store.commit(PromoteDeployment(deployment_id=D1))
    assert group_of(store).promoted
    assert not deployment_of(store).requires_promotion
    assert not any(alloc.is_canary for alloc in store.snapshot().allocs())


async def test_a_deployment_ends_once(store: Store) -> None:
    await a_rollout(store)
    for status in (DeploymentStatus.SUCCESSFUL, DeploymentStatus.FAILED, DeploymentStatus.RUNNING):
        update = DeploymentUpdate(deployment_id=D1, status=status, description=status.value)
        await store.commit(UpdateDeployments(updates=(update,)))
    assert deployment_of(store).status is DeploymentStatus.SUCCESSFUL
    assert deployment_of(store).status_description == "successful"


async def test_a_resumed_deployment_has_its_whole_deadline_again(store: Store, clock: object) -> None:
    await a_rollout(store)
    for status in (DeploymentStatus.PAUSED, DeploymentStatus.RUNNING):
        clock.time += 1000  # type: ignore[attr-defined]
        await store.commit(UpdateDeployments(updates=(DeploymentUpdate(deployment_id=D1, status=status),)))
    assert group_of(store).require_progress_by == from_unix(1_700_002_000) + timedelta(minutes=10)


async def test_an_allocation_taken_over_in_place_joins_the_new_deployment_with_its_health_open(
    store: Store,
) -> None:
    first, _ = await a_rollout(store)
    await store.commit(UpdateAllocs(updates=(a_report(first, healthy=True),)))
    await store.commit(PutJob(job=a_job("web", count=3)))
    move = InPlaceUpdate(alloc_id=first, job_version=1, eval_id=an_id("e2"), deployment_id=an_id("d2"))
    plan = Plan(eval_id=an_id("e2"), deployment=a_deployment("d2"), in_place=(move,))
    await store.commit(ApplyPlan(plan=plan))
    alloc = alloc_of(store, first)
    assert (alloc.job_version, alloc.deployment_id, alloc.eval_id) == (1, an_id("d2"), an_id("e2"))
    assert alloc.deployment_status is None
    assert alloc.client_status is AllocStatus.RUNNING
    new = store.snapshot().deployment(an_id("d2"))
    assert new is not None
    assert new.task_groups["api"].placed_allocs == 1
    assert [one.id for one in store.snapshot().allocs_of_deployment(an_id("d2"))] == [first]
    assert [one.id for one in store.snapshot().allocs_of_evaluation(an_id("e2"))] == [first]


# Nodes


async def test_registering_again_keeps_what_operators_have_set(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(SetNodeEligibility(node_id=N1, eligibility=Eligibility.INELIGIBLE))
    created = node_of(store).create_index
    await store.commit(PutNode(node=a_node("n1", node_class="new", attributes={"kernel.name": "linux"})))
    node = node_of(store)
    assert node.scheduling_eligibility is Eligibility.INELIGIBLE
    assert (node.node_class, node.create_index) == ("new", created)
    assert not store.snapshot().fleet().ready[0]


async def test_a_drain_makes_a_node_ineligible_until_told_otherwise(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(SetNodeDrain(node_id=N1, strategy=DrainStrategy(deadline=5)))
    node = node_of(store)
    assert not node.is_ready
    assert node.last_drain is not None
    assert node.last_drain.status == "draining"
    await store.commit(SetNodeDrain(node_id=N1, strategy=None, completed=True))
    node = node_of(store)
    assert (node.drain_strategy, node.scheduling_eligibility) == (None, Eligibility.INELIGIBLE)
    assert node.last_drain is not None
    assert node.last_drain.status == "complete"
    await store.commit(SetNodeDrain(node_id=N1, strategy=None, mark_eligible=True))
    assert node_of(store).is_ready
    assert store.snapshot().fleet().ready[0]


async def test_ten_events_are_kept(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1")))
    for n in range(12):
        event = NodeEvent(message=f"event {n}")
        await store.commit(SetNodeStatus(node_id=N1, status=NodeStatus.DOWN, event=event))
    assert [event.message for event in node_of(store).events] == [f"event {n}" for n in range(2, 12)]


async def test_the_computed_class_follows_what_constraints_may_ask_for(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(PutNode(node=a_node("n2")))
    assert node_of(store).computed_class == node_of(store, N2).computed_class
    await store.commit(SetNodeMeta(node_id=N1, meta={"rack": "r1"}))
    assert node_of(store).computed_class != node_of(store, N2).computed_class
    fleet = store.snapshot().fleet()
    assert len({int(number) for number in fleet.class_of}) == len(fleet.class_example) == 2


async def test_a_node_that_comes_back_after_a_purge_still_holds_its_allocations(store: Store) -> None:
    await a_rollout(store)
    await store.commit(DeleteNodes(node_ids=(N1,)))
    assert store.snapshot().fleet().row_of(N1) is None
    await store.commit(PutNode(node=a_node("n1")))
    fleet = store.snapshot().fleet()
    row = fleet.row_of(N1)
    assert row is not None
    assert (fleet.used_cpu[row], fleet.alloc_count[row]) == (200, 2)


async def test_a_node_brings_its_pool_with_it(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1", node_pool="gpu")))
    assert [pool.name for pool in store.snapshot().node_pools()] == ["all", "default", "gpu"]


# Settings


async def test_built_in_pools_and_namespaces_cannot_go(store: Store) -> None:
    for name in ("all", "default"):
        await store.commit(DeleteNodePool(name=name))
    await store.commit(DeleteNamespace(name="default"))
    assert [pool.name for pool in store.snapshot().node_pools()] == ["all", "default"]
    assert [namespace.name for namespace in store.snapshot().namespaces()] == ["default"]


async def test_settings_are_kept_with_their_indexes(store: Store) -> None:
    await store.commit(PutSchedulerConfiguration(configuration=SchedulerConfiguration(scheduler_algorithm="spread")))
    index = await store.commit(PutSchedulerConfiguration(configuration=SchedulerConfiguration(pause_eval_broker=True)))
    configuration = store.snapshot().scheduler_configuration()
    assert (configuration.create_index, configuration.modify_index) == (index - 1, index)
    await store.commit(PutNodePool(pool=NodePool(name="gpu", description="first")))
    await store.commit(PutNodePool(pool=NodePool(name="gpu", description="second")))
    pool = store.snapshot().node_pool("gpu")
    assert pool is not None
    assert (pool.description, pool.modify_index - pool.create_index) == ("second", 1)
    await store.commit(PutNamespace(namespace=Namespace(name="prod")))
    assert store.snapshot().namespace("prod") is not None


@pytest.mark.parametrize("value", [{"a": [1, "x"]}, "text", 5])
async def test_other_rooms_may_keep_documents(store: Store, value: object) -> None:
    await store.commit(PutDocument(table="kv", key="k", value=value))
    document = store.snapshot().document("kv", "k")
    assert document is not None
    assert document.value == value
    assert store.snapshot().last_index(("document", "kv")) == store.index
    await store.commit(PutDocument(table="kv", key="k"))
    assert store.snapshot().document("kv", "k") is None
