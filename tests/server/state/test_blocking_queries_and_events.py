"""Waiting for keys, indexes of keys, and the event stream."""

from __future__ import annotations

import asyncio

import pytest

from rove.errors import UnavailableError
from rove.server.state import (
    ApplyPlan,
    Batch,
    PutDeployment,
    PutEvaluations,
    PutJob,
    PutNode,
    PutNodePool,
    SetNodeStatus,
    StopJob,
    Store,
    UpdateAllocs,
    WatchKey,
)
from rove.server.state.events import BUFFER
from rove.structs.alloc import AllocStatus
from rove.structs.node import NodePool, NodeStatus
from rove.structs.plan import Plan
from rove.testing.nouns import a_deployment, a_job, a_node, a_placement, a_report, an_evaluation, an_id

N1, N2 = an_id("n1"), an_id("n2")


async def place(store: Store, *nodes: str, evaluation: str = "e1", job: str = "web") -> list[str]:
    """Place copies of a job; returns their ids."""
    plan = Plan(eval_id=an_id(evaluation), placements=(a_placement(nodes, job, evaluation),))
    await store.commit(ApplyPlan(plan=plan))
    return [alloc.id for alloc in store.snapshot().allocs_of_evaluation(an_id(evaluation))]


async def a_cluster(store: Store) -> list[str]:
    await store.commit(Batch(parts=(PutNode(node=a_node("n1")), PutNode(node=a_node("n2")))))
    await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation("e1")))
    return await place(store, N1, N2)


async def woken_by(store: Store, keys: list[WatchKey], transaction: object) -> dict[WatchKey, bool]:
    """Which of `keys` a commit wakes."""
    after = {key: store.snapshot().last_index(key) for key in keys}
    waits = {key: asyncio.create_task(store.wait([key], after[key], 30)) for key in keys}
    await asyncio.sleep(0)
    await store.commit(transaction)  # type: ignore[arg-type]
    for _ in range(5):
        await asyncio.sleep(0)
    woken = {key: wait.done() for key, wait in waits.items()}
    for key, wait in waits.items():
        if woken[key]:
            assert wait.result() > after[key]
        wait.cancel()
    return woken


async def test_a_report_wakes_only_those_who_look_at_that_allocation(store: Store) -> None:
    first, second = await a_cluster(store)
    await store.commit(PutJob(job=a_job("db")))
    keys: list[WatchKey] = [
        ("alloc", first), ("alloc", second), ("allocs",), ("allocs.job", "default", "web"),
        ("allocs.job", "default", "db"), ("allocs.node", N1), ("allocs.node", N2), ("allocs.eval", an_id("e1")),
        ("jobs",), ("job", "default", "web"), ("job.summary", "default", "web"), ("evals",), ("nodes",), ("node", N1),
    ]  # fmt: skip
    woken = await woken_by(store, keys, UpdateAllocs(updates=(a_report(first),), node_id=N1))
    assert [key for key in keys if woken[key]] == [
        ("alloc", first), ("allocs",), ("allocs.job", "default", "web"), ("allocs.node", N1),
        ("allocs.eval", an_id("e1")), ("job.summary", "default", "web"),
    ]  # fmt: skip


async def test_what_happens_elsewhere_leaves_the_index_of_a_key_alone(store: Store) -> None:
    first, second = await a_cluster(store)
    await store.commit(PutJob(job=a_job("db"), evaluation=an_evaluation("e2", "db")))
    await place(store, N2, evaluation="e2", job="db")
    keys: list[WatchKey] = [
        ("alloc", second), ("allocs.job", "default", "db"), ("allocs.node", N2), ("allocs.eval", an_id("e2")),
        ("job", "default", "db"), ("job.summary", "default", "db"), ("evals.job", "default", "db"), ("node", N2),
    ]  # fmt: skip
    before = [store.snapshot().last_index(key) for key in keys]
    await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.FAILED),), node_id=N1))
    await store.commit(SetNodeStatus(node_id=N1, status=NodeStatus.DOWN))
    await store.commit(StopJob(namespace="default", job_id="web", evaluation=an_evaluation("e3")))
    assert [store.snapshot().last_index(key) for key in keys] == before


async def test_a_registration_wakes_those_who_look_at_jobs_and_evaluations(store: Store) -> None:
    await a_cluster(store)
    keys: list[WatchKey] = [
        ("jobs",), ("job", "default", "db"), ("job", "default", "web"), ("evals",), ("eval", an_id("e9")),
        ("eval", an_id("e1")), ("evals.job", "default", "db"), ("evals.job", "default", "web"), ("nodes",), ("allocs",),
    ]  # fmt: skip
    woken = await woken_by(store, keys, PutJob(job=a_job("db"), evaluation=an_evaluation("e9", "db")))
    assert [key for key in keys if woken[key]] == [
        ("jobs",), ("job", "default", "db"), ("evals",), ("eval", an_id("e9")), ("evals.job", "default", "db"),
    ]  # fmt: skip


async def test_a_purge_wakes_those_who_look_at_the_job(store: Store) -> None:
    await a_cluster(store)
    keys: list[WatchKey] = [("jobs",), ("job", "default", "web"), ("job", "default", "db")]
    woken = await woken_by(store, keys, StopJob(namespace="default", job_id="web", purge=True))
    assert [key for key in keys if woken[key]] == [("jobs",), ("job", "default", "web")]


async def test_a_node_change_wakes_those_who_look_at_it(store: Store) -> None:
    await a_cluster(store)
    keys: list[WatchKey] = [("nodes",), ("node", N1), ("node", N2), ("jobs",)]
    woken = await woken_by(store, keys, SetNodeStatus(node_id=N1, status=NodeStatus.DOWN))
    assert [key for key in keys if woken[key]] == [("nodes",), ("node", N1)]


async def test_deployments_and_pools_have_keys_too(store: Store) -> None:
    await a_cluster(store)
    keys: list[WatchKey] = [
        ("deployments",), ("deployment", an_id("d1")), ("deployments.job", "default", "web"), ("node_pools",),
    ]  # fmt: skip
    woken = await woken_by(store, keys, PutDeployment(deployment=a_deployment("d1")))
    assert [key for key in keys if woken[key]] == keys[:3]
    woken = await woken_by(store, keys, PutNodePool(pool=NodePool(name="gpu")))
    assert [key for key in keys if woken[key]] == keys[3:]


async def test_waiting_for_an_older_index_returns_at_once(store: Store) -> None:
    await a_cluster(store)
    assert await store.wait([("jobs",)], 0, 30) == store.snapshot().last_index(("jobs",))


async def test_a_wait_ends_at_its_time_out_with_the_index_as_it_is(store: Store) -> None:
    await a_cluster(store)
    newest = store.snapshot().last_index(("nodes",))
    assert await store.wait([("nodes",)], newest, 0.01) == newest


async def test_nobody_is_left_waiting_when_the_store_closes(store: Store) -> None:
    await a_cluster(store)
    waiting = asyncio.create_task(store.wait([("jobs",)], 100, 3600))
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.wait_for(waiting, 10) < 100


async def test_the_index_of_a_key_never_falls(store: Store) -> None:
    first, _ = await a_cluster(store)
    keys: list[WatchKey] = [
        ("jobs",), ("job", "default", "web"), ("allocs",), ("alloc", first), ("allocs.job", "default", "web"),
        ("allocs.node", N1), ("evals",), ("nodes",), ("job.summary", "default", "web"),
    ]  # fmt: skip
    seen = {key: store.snapshot().last_index(key) for key in keys}
    for transaction in (
        UpdateAllocs(updates=(a_report(first),)),
        PutEvaluations(evaluations=(an_evaluation("e2"),)),
        SetNodeStatus(node_id=N1, status=NodeStatus.DOWN),
        StopJob(namespace="default", job_id="web", purge=True),
        PutJob(job=a_job("web")),
    ):
        await store.commit(transaction)
        for key in keys:
            index = store.snapshot().last_index(key)
            assert index >= seen[key], key
            seen[key] = index


async def test_events_tell_the_story_of_a_job(store: Store) -> None:
    following = store.events.subscribe(["*"])
    await a_cluster(store)
    (alloc, _) = [alloc.id for alloc in store.snapshot().allocs()]
    await store.commit(UpdateAllocs(updates=(a_report(alloc, AllocStatus.RUNNING),)))
    await store.commit(StopJob(namespace="default", job_id="web", purge=True))
    story = []
    for _ in range(5):
        batch = await asyncio.wait_for(anext(following), 10)
        story.append((batch.index, [(event.topic, event.type, event.key) for event in batch.events]))
    ids = [alloc.id for alloc in store.snapshot().allocs()]
    assert story == [
        (1, [("Node", "NodeRegistration", N1), ("Node", "NodeRegistration", N2)]),
        (2, [("Job", "JobRegistered", "web"), ("Evaluation", "JobRegistered", an_id("e1"))]),
        (3, [("Allocation", "PlanResult", ids[0]), ("Allocation", "PlanResult", ids[1])]),
        (4, [("Allocation", "AllocationUpdated", alloc)]),
        (5, [("Job", "JobDeregistered", "web")]),
    ]


async def test_events_carry_their_noun_and_never_a_secret_or_a_job_within_an_allocation(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1", secret_id="hush")))
    await store.commit(PutJob(job=a_job("web")))
    await place(store, N1)
    following = store.events.subscribe()
    node = (await anext(following)).events[0]
    job = (await anext(following)).events[0]
    alloc = (await anext(following)).events[0]
    assert node.payload["Node"].name == "n1"
    assert node.payload["Node"].secret_id == ""
    assert job.payload["Job"].id == "web"
    assert alloc.payload["Allocation"].name == "web.api[0]"
    assert alloc.payload["Allocation"].job is None
    assert alloc.filter_keys == ("web",)


@pytest.mark.parametrize(
    ("topics", "topics_seen"),
    [
        (["Job"], {"Job"}),
        (["Job:web"], {"Job"}),
        (["Job:other"], set()),
        (["Evaluation:*", "Node"], {"Evaluation", "Node"}),
        (["Allocation:web"], {"Allocation"}),
        (["*:web"], {"Job", "Evaluation", "Allocation"}),
        ([], {"Job", "Evaluation", "Allocation", "Node"}),
    ],
)
async def test_topics_choose_events_by_topic_key_or_filter_key(
    store: Store, topics: list[str], topics_seen: set[str]
) -> None:
    await a_cluster(store)
    following = store.events.subscribe(topics)
    await store.commit(PutNodePool(pool=NodePool(name="end")))
    end = store.events.subscribe(["NodePool"])
    last = (await anext(end)).index
    seen: set[str] = set()

    async def read() -> None:
        async for batch in following:
            seen.update(event.topic for event in batch.events)
            if batch.index >= last:
                break

    reading = asyncio.create_task(read())
    for _ in range(30):
        await asyncio.sleep(0)
    following.close()
    await asyncio.wait_for(reading, 10)
    assert seen - {"NodePool"} == topics_seen


async def test_events_of_other_namespaces_are_left_out(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web", namespace="prod")))
    await store.commit(PutJob(job=a_job("db")))
    assert (await anext(store.events.subscribe(["Job"]))).index == 2
    assert (await anext(store.events.subscribe(["Job"], namespace="prod"))).index == 1
    assert (await anext(store.events.subscribe(["Job"], namespace="*"))).index == 1


async def test_a_stream_starts_at_the_index_asked_for_or_the_next_one_held(store: Store) -> None:
    for n in range(5):
        await store.commit(PutJob(job=a_job(f"j{n}")))
    assert (await anext(store.events.subscribe(index=3))).index == 3
    assert (await anext(store.events.subscribe(index=0))).index == 1


async def test_a_reader_that_is_too_slow_is_dropped_and_told(store: Store) -> None:
    following = store.events.subscribe()
    for n in range(BUFFER + 1):
        await store.commit(PutJob(job=a_job(f"j{n}")))
    with pytest.raises(UnavailableError) as caught:
        await anext(following)
    assert caught.value.code == "events.slow"


async def test_a_stream_has_no_gaps_while_commits_go_on(store: Store) -> None:
    following = store.events.subscribe(["Job"])

    async def read() -> list[int]:
        return [(await anext(following)).index for _ in range(300)]

    reading = asyncio.create_task(read())
    for start in range(0, 300, 30):
        await asyncio.gather(*(store.commit(PutJob(job=a_job(f"j{start + n}"))) for n in range(30)))
    assert await asyncio.wait_for(reading, 30) == list(range(1, 301))
