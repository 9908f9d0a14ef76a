"""Registered services: whose they are, when they go, who is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rove.server.state import (
    ApplyPlan,
    Batch,
    Collect,
    DeleteNodes,
    DeleteService,
    PutJob,
    PutNode,
    PutServices,
    SetNodeStatus,
    Store,
    UpdateAllocs,
    has_news,
)
from rove.structs.alloc import AllocStatus
from rove.structs.node import NodeStatus
from rove.structs.plan import Plan
from rove.structs.service import ServiceRegistration
from rove.testing.nouns import a_job, a_node, a_placement, a_report, an_evaluation, an_id

N1, N2 = an_id("n1"), an_id("n2")


def an_instance(alloc_id: str, name: str = "web", **fields: Any) -> ServiceRegistration:
    return ServiceRegistration(id=f"{alloc_id}-{name}", service_name=name, alloc_id=alloc_id, **fields)


@pytest.fixture
async def placed(store: Store) -> tuple[str, str]:
    """An allocation on each of two nodes."""
    await store.commit(Batch(parts=(PutNode(node=a_node("n1", datacenter="east")), PutNode(node=a_node("n2")))))
    await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation("e1")))
    await store.commit(ApplyPlan(plan=Plan(eval_id=an_id("e1"), placements=(a_placement([N1, N2]),))))
    first, second = (alloc.id for alloc in store.snapshot().allocs_of_evaluation(an_id("e1")))
    return first, second


def ids(store: Store, name: str = "web") -> list[str]:
    return [each.id for each in store.snapshot().service("default", name)]


async def test_what_is_the_servers_to_say_is_filled_in(store: Store, placed: tuple[str, str]) -> None:
    liar = an_instance(placed[0], namespace="other", node_id=N2, job_id="else", datacenter="west", create_index=99)
    index = await store.commit(PutServices(node_id=N1, put=(liar,)))
    (found,) = store.snapshot().service("default", "web")
    assert (found.node_id, found.job_id, found.datacenter) == (N1, "web", "east")
    assert (found.create_index, found.modify_index) == (index, index)


async def test_a_node_registers_nothing_for_allocations_that_are_not_its_own(
    store: Store, placed: tuple[str, str]
) -> None:
    await store.commit(PutServices(node_id=N1, put=(an_instance(placed[1]), an_instance(an_id("nobody")))))
    assert ids(store) == []
    await store.commit(PutServices(node_id=an_id("n9"), put=(an_instance(placed[0]),)))
    assert ids(store) == []


async def test_a_full_message_takes_away_what_it_does_not_name(store: Store, placed: tuple[str, str]) -> None:
    first, second = placed
    await store.commit(PutServices(node_id=N1, put=(an_instance(first), an_instance(first, "db"))))
    await store.commit(PutServices(node_id=N2, put=(an_instance(second),)))
    await store.commit(PutServices(node_id=N1, put=(an_instance(first, "db"),), full=True))
    assert ids(store) == [f"{second}-web"]
    assert ids(store, "db") == [f"{first}-db"]


async def test_an_unchanged_registration_keeps_its_index(store: Store, placed: tuple[str, str]) -> None:
    first, _ = placed
    message = PutServices(node_id=N1, put=(an_instance(first, tags=("a",)),))
    index = await store.commit(message)
    assert not has_news(store.snapshot(), message)
    assert has_news(store.snapshot(), PutServices(node_id=N1, put=(an_instance(first),)))
    assert has_news(store.snapshot(), PutServices(node_id=N1, full=True))
    await store.commit(message)
    assert store.snapshot().service("default", "web")[0].modify_index == index


async def test_health_that_is_not_named_stays_as_it_was(store: Store, placed: tuple[str, str]) -> None:
    first, _ = placed
    await store.commit(PutServices(node_id=N1, put=(an_instance(first, health=""),)))
    assert store.snapshot().service("default", "web")[0].health == "pending"
    await store.commit(PutServices(node_id=N1, put=(an_instance(first, health="passing"),)))
    await store.commit(PutServices(node_id=N1, put=(an_instance(first, health="", port=1),), full=True))
    assert store.snapshot().service("default", "web")[0].health == "passing"


@pytest.mark.parametrize("status", [AllocStatus.COMPLETE, AllocStatus.FAILED, AllocStatus.LOST])
async def test_services_go_with_the_end_of_their_allocation(
    store: Store, placed: tuple[str, str], status: AllocStatus
) -> None:
    first, second = placed
    await store.commit(PutServices(node_id=N1, put=(an_instance(first), an_instance(first, "db"))))
    await store.commit(PutServices(node_id=N2, put=(an_instance(second),)))
    await store.commit(UpdateAllocs(updates=(a_report(first, status),), node_id=N1))
    assert ids(store) == [f"{second}-web"]
    assert ids(store, "db") == []
    await store.commit(PutServices(node_id=N1, put=(an_instance(first),)))
    assert ids(store) == [f"{second}-web"]


async def test_services_go_with_a_node_that_is_away(store: Store, placed: tuple[str, str]) -> None:
    first, second = placed
    for status in (NodeStatus.DOWN, NodeStatus.DISCONNECTED):
        await store.commit(PutNode(node=a_node("n1")))
        await store.commit(PutServices(node_id=N1, put=(an_instance(first),)))
        assert ids(store) == [f"{first}-web"]
        await store.commit(SetNodeStatus(node_id=N1, status=status))
        assert ids(store) == []
    await store.commit(PutServices(node_id=N2, put=(an_instance(second),)))
    await store.commit(DeleteNodes(node_ids=(N2,)))
    assert list(store.snapshot().services()) == []


async def test_services_go_when_their_allocation_is_collected(store: Store, placed: tuple[str, str]) -> None:
    first, _ = placed
    await store.commit(PutServices(node_id=N1, put=(an_instance(first),)))
    await store.commit(Collect(alloc_ids=(first,)))
    assert ids(store) == []


async def test_one_instance_can_be_deleted_by_hand(store: Store, placed: tuple[str, str]) -> None:
    first, _ = placed
    await store.commit(PutServices(node_id=N1, put=(an_instance(first), an_instance(first, "db"))))
    await store.commit(DeleteService(namespace="default", name="web", id=f"{first}-web"))
    await store.commit(DeleteService(namespace="default", name="nobody", id="x"))
    assert (ids(store), ids(store, "db")) == ([], [f"{first}-db"])


async def test_those_who_wait_for_a_service_hear_of_it_and_of_no_other(store: Store, placed: tuple[str, str]) -> None:
    first, second = placed
    await store.commit(PutServices(node_id=N1, put=(an_instance(first), an_instance(first, "db"))))
    web, db = ("service", "default", "web"), ("service", "default", "db")
    before = store.snapshot().last_index(db)
    for message in (
        PutServices(node_id=N2, put=(an_instance(second),)),
        PutServices(node_id=N2, gone=(f"{second}-web",)),
        PutServices(node_id=N1, gone=(f"{first}-web",)),
    ):
        known = store.snapshot().last_index(web)
        waiting = asyncio.create_task(store.wait([web], known, 30))
        await asyncio.sleep(0)
        index = await store.commit(message)
        assert await waiting == index
        assert store.snapshot().last_index(("services",)) == index
    assert store.snapshot().last_index(db) == before


async def test_followers_are_told_of_registrations_and_their_end(store: Store, placed: tuple[str, str]) -> None:
    first, _ = placed
    events = store.events.subscribe(["Service"], store.index + 1)
    await store.commit(PutServices(node_id=N1, put=(an_instance(first),)))
    await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.FAILED),), node_id=N1))
    seen = [event for _ in range(2) for event in (await anext(events)).events]
    assert [(event.type, event.key) for event in seen] == [
        ("ServiceRegistration", f"{first}-web"), ("ServiceDeregistration", f"{first}-web"),
    ]  # fmt: skip
    assert seen[0].filter_keys == ("web", "web", first)
    assert seen[0].payload["Service"].service_name == "web"
