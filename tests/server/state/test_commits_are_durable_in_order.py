"""The head runs ahead, a snapshot shows what is durable, a failed flush takes everything under way back."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rove.engine import FencedError
from rove.engine.memory import MemoryEngine
from rove.server.state import (
    ApplyPlan,
    Batch,
    Collect,
    Committed,
    PutJob,
    PutNode,
    StopJob,
    Store,
    UpdateAllocs,
)
from rove.structs.alloc import AllocStatus
from rove.structs.plan import AllocStop, Plan
from rove.testing.nouns import a_job, a_node, a_placement, a_report, an_evaluation, an_id


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_commit_returns_its_revision_and_is_visible_then(store: Store) -> None:
    assert await store.commit(PutJob(job=a_job("web"))) == 1
    assert store.index == 1
    assert store.snapshot().job("default", "web") is not None


async def test_the_head_has_what_is_applied_and_a_snapshot_only_what_is_durable(
    store: Store, engine: MemoryEngine
) -> None:
    engine.pause()
    commit = asyncio.create_task(store.commit(PutJob(job=a_job("web"))))
    await settle()
    assert store.head().job("default", "web") is not None
    assert store.snapshot().job("default", "web") is None
    assert store.index == 0
    engine.resume()
    assert await commit == 1
    assert store.snapshot().job("default", "web") is not None


async def test_a_snapshot_never_changes(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation()))
    await store.commit(PutNode(node=a_node("n1")))
    snapshot = store.snapshot()
    fleet = snapshot.fleet()
    await store.commit(ApplyPlan(plan=Plan(eval_id=an_id("e1"), placements=(a_placement([an_id("n1")] * 3),))))
    await store.commit(StopJob(namespace="default", job_id="web", purge=True))
    assert list(snapshot.allocs()) == []
    assert snapshot.allocs_of_node(an_id("n1")) == []
    assert snapshot.job("default", "web") is not None
    assert snapshot.fleet().used_cpu.tolist() == fleet.used_cpu.tolist() == [0.0]
    assert snapshot.index == 2


async def test_what_a_scheduler_writes_into_its_fleet_is_its_own(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1")))
    fleet = store.snapshot().fleet()
    fleet.used_cpu[0] = 999
    fleet.ready[0] = False
    again = store.snapshot().fleet()
    assert again.used_cpu[0] == 0
    assert again.ready[0]


async def test_a_failed_flush_fails_every_commit_under_way_and_rolls_the_head_back(
    store: Store, engine: MemoryEngine
) -> None:
    await store.commit(PutJob(job=a_job("before")))
    engine.pause()
    commits = [asyncio.create_task(store.commit(PutJob(job=a_job(f"j{n}")))) for n in range(5)]
    await settle()
    engine.fail_with = OSError(28, "disk full")
    engine.resume()
    results = await asyncio.gather(*commits, return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results)
    assert [job.id for job in store.head().jobs()] == ["before"]
    engine.fail_with = None
    assert await store.commit(PutJob(job=a_job("after"))) == 2
    assert [job.id for job in store.snapshot().jobs()] == ["after", "before"]


async def test_a_commit_made_while_an_earlier_one_fails_is_not_built_on_it(store: Store, engine: MemoryEngine) -> None:
    engine.pause()
    first = asyncio.create_task(store.commit(PutJob(job=a_job("lost"))))
    await settle()
    engine.fail_with = OSError(5, "no")
    engine.resume()
    with pytest.raises(OSError):
        await first
    engine.fail_with = None
    assert await store.commit(PutJob(job=a_job("web"))) == 1
    job = store.snapshot().job("default", "web")
    assert job is not None
    assert job.create_index == 1
    assert [key for _, key in engine.rows if b"lost" in key] == []


async def test_a_store_that_is_no_longer_leader_stores_nothing(store: Store, engine: MemoryEngine) -> None:
    await engine.campaign("another")
    with pytest.raises(FencedError):
        await store.commit(PutJob(job=a_job("web")))
    assert engine.rows == {}
    assert list(store.head().jobs()) == []


async def test_a_cancelled_caller_does_not_undo_its_commit(store: Store, engine: MemoryEngine) -> None:
    engine.pause()
    commit = asyncio.create_task(store.commit(PutJob(job=a_job("web"))))
    await settle()
    commit.cancel()
    await settle()
    engine.resume()
    assert await store.commit(PutJob(job=a_job("db"))) == 2
    assert store.snapshot().job("default", "web") is not None


async def test_a_transaction_that_cannot_be_applied_leaves_no_trace(store: Store, engine: MemoryEngine) -> None:
    await store.commit(PutNode(node=a_node("n1")))
    broken = a_placement([an_id("n1")] * 2, nodes=b"\x00\x00\x00\x00\x07\x00\x00\x00")
    with pytest.raises(IndexError):
        await store.commit(
            Batch(parts=(PutJob(job=a_job("web")), ApplyPlan(plan=Plan(eval_id="x", placements=(broken,)))))
        )
    assert list(store.head().jobs()) == []
    await store.commit(PutJob(job=a_job("web")))
    good = a_placement([an_id("n1")] * 2)
    await store.commit(ApplyPlan(plan=Plan(eval_id="x", placements=(good,))))
    assert len(store.snapshot().allocs_of_job("default", "web")) == 2
    assert store.snapshot().fleet().used_cpu.tolist() == [200.0]


async def test_listeners_are_called_in_order_once_each_commit_is_durable(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    store.on_commit(lambda committed: seen.append((committed.revision, store.index)))
    await asyncio.gather(*(store.commit(PutJob(job=a_job(f"j{n}"))) for n in range(50)))
    assert seen == [(n, n) for n in range(1, 51)]


async def test_a_listener_that_fails_does_not_stop_the_others(store: Store) -> None:
    seen: list[int] = []

    def broken(committed: Committed) -> None:
        raise ValueError("a bug of a listener")

    store.on_commit(broken)
    store.on_commit(lambda committed: seen.append(committed.revision))
    assert await store.commit(PutJob(job=a_job("web"))) == 1
    assert seen == [1]


async def test_a_commit_says_what_it_changed(store: Store) -> None:
    commits: list[Committed] = []
    store.on_commit(commits.append)
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation()))
    await store.commit(ApplyPlan(plan=Plan(eval_id=an_id("e1"), placements=(a_placement([an_id("n1")]),))))
    await store.commit(StopJob(namespace="default", job_id="web", purge=True))
    node, job, plan, purge = commits
    assert [n.id for n in node.nodes] == [an_id("n1")]
    assert [j.id for j in job.jobs] == ["web"]
    assert [e.id for e in job.evaluations] == [an_id("e1")]
    assert plan.alloc_nodes == {an_id("n1")}
    assert [alloc.name for alloc in plan.allocs()] == ["web.api[0]"]
    assert purge.deleted_jobs == (("default", "web"),)


async def test_a_commit_says_which_nodes_have_something_new_to_do_and_which_have_room(store: Store) -> None:
    commits: list[Committed] = []
    for name in ("n1", "n2"):
        await store.commit(PutNode(node=a_node(name)))
    await store.commit(PutJob(job=a_job("web")))
    store.on_commit(commits.append)
    n1, n2 = an_id("n1"), an_id("n2")
    await store.commit(ApplyPlan(plan=Plan(eval_id="e", placements=(a_placement([n1, n2, n1]),))))
    first, second, third = (alloc.id for alloc in store.snapshot().allocs())
    await store.commit(UpdateAllocs(updates=(a_report(first), a_report(second, AllocStatus.FAILED))))
    await store.commit(ApplyPlan(plan=Plan(eval_id="e", stops=(AllocStop(alloc_id=third),))))
    await store.commit(Collect(alloc_ids=(second,)))
    assert [commit.assigned() for commit in commits] == [{n1: [first, third], n2: [second]}, {}, {n1: [third]}, {}]
    assert [set(commit.ended_nodes()) for commit in commits] == [set(), {n2}, set(), set()]
    assert [dict(commit.gone_allocs) for commit in commits] == [{}, {}, {}, {second: n2}]


async def test_snapshots_may_be_read_from_threads_while_commits_go_on(store: Store) -> None:
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(PutJob(job=a_job("web")))
    failures: list[str] = []
    stop = threading.Event()

    def reader() -> None:
        while not stop.is_set():
            snapshot = store.snapshot()
            count = len(snapshot.allocs_of_job("default", "web"))
            on_node = len(snapshot.allocs_of_node(an_id("n1")))
            used = float(snapshot.fleet().used_cpu[0])
            if not count == on_node == used / 100:
                failures.append(f"{count} {on_node} {used}")

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(150):
        placement = a_placement([an_id("n1")] * (n % 3 + 1), evaluation=f"e{n}")
        await store.commit(ApplyPlan(plan=Plan(eval_id=f"e{n}", placements=(placement,))))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
