"""A collection is decided on an older state: what is no longer over when its turn comes stays."""

from __future__ import annotations

from rove.server.state import (
    ApplyPlan,
    Collect,
    PutEvaluations,
    PutJob,
    PutNode,
    SetNodeStatus,
    StopJob,
    Store,
    UpdateAllocs,
)
from rove.structs.alloc import AllocStatus
from rove.structs.evaluation import EvalStatus
from rove.structs.node import NodeStatus
from rove.structs.plan import AllocAnnotation, Plan
from rove.testing.nouns import a_deployment, a_job, a_node, a_placement, a_report, an_evaluation, an_id

KEY = ("default", "web")
N1 = an_id("n1")


async def a_job_that_is_over(store: Store) -> Collect:
    """Place, end and stop a job on a node that is down; returns the collection of all of it, decided now."""
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation("e1")))
    done = an_evaluation("e1", status=EvalStatus.COMPLETE)
    plan = Plan(
        eval_id=an_id("e1"), deployment=a_deployment("d1", status="successful"),
        placements=(a_placement([N1, N1], deployment_id=an_id("d1")),),
    )  # fmt: skip
    await store.commit(ApplyPlan(plan=plan, evaluations=(done,)))
    ids = tuple(alloc.id for alloc in store.snapshot().allocs())
    await store.commit(UpdateAllocs(updates=tuple(a_report(one, AllocStatus.FAILED) for one in ids)))
    await store.commit(StopJob(namespace="default", job_id="web"))
    await store.commit(SetNodeStatus(node_id=N1, status=NodeStatus.DOWN))
    return Collect(
        evaluation_ids=(an_id("e1"),), alloc_ids=ids, jobs=(KEY,), deployment_ids=(an_id("d1"),), node_ids=(N1,),
        decided_at=store.index,
    )  # fmt: skip


def kept(store: Store) -> dict[str, int]:
    """How much of what the collection names is still there."""
    snapshot = store.snapshot()
    held = {
        "jobs": list(snapshot.jobs()), "allocs": list(snapshot.allocs()), "evals": list(snapshot.evaluations()),
        "deployments": list(snapshot.deployments()), "nodes": list(snapshot.nodes()),
    }  # fmt: skip
    return {name: len(nouns) for name, nouns in held.items() if nouns}


async def test_what_is_still_over_goes(store: Store) -> None:
    await store.commit(await a_job_that_is_over(store))
    assert kept(store) == {}


async def test_a_job_that_was_registered_again_stays_with_all_that_is_its_own(store: Store) -> None:
    collection = await a_job_that_is_over(store)
    await store.commit(PutJob(job=a_job("web", count=3), evaluation=an_evaluation("e2")))
    await store.commit(collection)
    assert kept(store) == {"jobs": 1, "allocs": 2, "evals": 2, "deployments": 1}
    assert store.snapshot().evaluation(an_id("e2")) is not None


async def test_a_job_that_was_registered_and_stopped_again_stays_for_now(store: Store) -> None:
    collection = await a_job_that_is_over(store)
    await store.commit(PutJob(job=a_job("web", count=3)))
    await store.commit(StopJob(namespace="default", job_id="web"))
    await store.commit(collection)
    assert kept(store) == {"jobs": 1, "allocs": 2, "evals": 1, "deployments": 1}


async def test_a_job_that_is_being_looked_at_again_stays(store: Store) -> None:
    collection = await a_job_that_is_over(store)
    await store.commit(PutEvaluations(evaluations=(an_evaluation("e2"),)))
    await store.commit(collection)
    assert kept(store) == {"jobs": 1, "allocs": 2, "evals": 2, "deployments": 1}


async def test_a_job_of_the_same_name_after_a_purge_keeps_what_it_has(store: Store) -> None:
    collection = await a_job_that_is_over(store)
    await store.commit(StopJob(namespace="default", job_id="web", purge=True))
    await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation("e2")))
    await store.commit(collection)
    assert kept(store)["jobs"] == 1
    assert store.snapshot().evaluation(an_id("e2")) is not None


async def test_an_allocation_that_came_back_stays_with_its_evaluation_and_deployment(store: Store) -> None:
    collection = await a_job_that_is_over(store)
    first, _ = collection.alloc_ids
    await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.RUNNING),)))
    await store.commit(Collect(**{**fields(collection), "jobs": ()}))
    assert kept(store) == {"jobs": 1, "allocs": 1, "evals": 1, "deployments": 1, "nodes": 1}
    assert [alloc.id for alloc in store.snapshot().allocs()] == [first]


async def test_an_allocation_that_is_to_be_replaced_after_all_stays(store: Store) -> None:
    collection = await a_job_that_is_over(store)
    first, _ = collection.alloc_ids
    annotation = AllocAnnotation(alloc_id=first, followup_eval_id=an_id("e2"))
    await store.commit(ApplyPlan(plan=Plan(eval_id=an_id("e2"), annotations=(annotation,))))
    await store.commit(Collect(**{**fields(collection), "jobs": (), "node_ids": ()}))
    assert [alloc.id for alloc in store.snapshot().allocs()] == [first]


async def test_an_evaluation_that_is_open_again_and_a_node_that_is_up_again_stay(store: Store) -> None:
    collection = await a_job_that_is_over(store)
    await store.commit(PutEvaluations(evaluations=(an_evaluation("e1"),)))
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(Collect(**{**fields(collection), "jobs": ()}))
    assert kept(store) == {"jobs": 1, "evals": 1, "nodes": 1}


def fields(collection: Collect) -> dict[str, object]:
    return {name: getattr(collection, name) for name in collection.__struct_fields__}
