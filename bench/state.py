"""How fast the store is: registrations, plan blocks, reports, loading; and what an allocation costs in memory.

    python -m bench.state [--quick]

Every figure is the median of several runs on a real file (SQLite, synchronous=FULL). Prints a table and
writes ``bench/out/state.json``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import psutil

from rove.engine.sqlite import SqliteEngine
from rove.ports.real import RealClock, RealIds
from rove.server.state import ApplyPlan, PutJob, PutNode, Store, UpdateAllocs
from rove.structs.alloc import AllocStatus, AllocUpdate, TaskState, TaskStatus
from rove.structs.plan import Placement, Plan
from rove.testing.nouns import a_job, a_node, an_evaluation, an_id, resources_of

QUICK = "--quick" in sys.argv
RUNS = 1 if QUICK else 3
SCALE = 10 if QUICK else 1
OUT = Path(__file__).parent / "out" / "state.json"


async def opened(path: Path) -> tuple[SqliteEngine, Store]:
    """A store on a file."""
    engine = SqliteEngine(path)
    store = Store(engine, RealClock(), RealIds())
    await store.open((await engine.campaign("bench")).token)
    return engine, store


async def registrations(folder: Path) -> dict[str, float]:
    """Jobs a second, each with its evaluation, each durable before the next of its writer; 64 writers."""
    engine, store = await opened(folder / "registrations.db")
    each = 200 // SCALE
    jobs = [[a_job(f"w{writer}-{n}") for n in range(each)] for writer in range(64)]
    evaluations = [[an_evaluation(job.id, job.id) for job in mine] for mine in jobs]

    async def write(writer: int) -> None:
        for job, evaluation in zip(jobs[writer], evaluations[writer], strict=True):
            await store.commit(PutJob(job=job, evaluation=evaluation))

    start = time.perf_counter()
    await asyncio.gather(*(write(writer) for writer in range(64)))
    took = time.perf_counter() - start
    lone = [a_job(f"lone-{n}") for n in range(200)]
    start = time.perf_counter()
    for job in lone:
        await store.commit(PutJob(job=job))
    one = time.perf_counter() - start
    await store.close()
    await engine.close()
    return {"registrations/s, 64 writers": 64 * each / took, "registrations/s, 1 writer": 200 / one}


def a_block(job_id: str, count: int, nodes: list[str], rng: np.random.Generator) -> Placement:
    """A placement of `count` copies packed onto a run of nodes, as best fit does."""
    used = nodes[: max(1, count // 5)]
    start = int(rng.integers(0, len(nodes) - len(used) + 1))
    used = nodes[start : start + len(used)]
    return Placement(
        namespace="default", job_id=job_id, job_version=0, group="api", eval_id=an_id(job_id), node_ids=tuple(used),
        nodes=(np.arange(count, dtype="<i4") % len(used)).astype("<i4").tobytes(),
        indexes=np.arange(count, dtype="<i4").tobytes(), scores=rng.random(count, dtype=np.float32).tobytes(),
        resources=resources_of(50, 30, 10),
    )  # fmt: skip


async def a_million(folder: Path) -> dict[str, float]:
    """1,000 jobs of 1,000 on 5,000 nodes, each plan durable before the next; then loading all of it."""
    path = folder / "million.db"
    engine, store = await opened(path)
    nodes = [an_id(f"n{n}") for n in range(5000 // SCALE)]
    start = time.perf_counter()
    await asyncio.gather(*(store.commit(PutNode(node=a_node(f"n{n}"))) for n in range(len(nodes))))
    registering = time.perf_counter() - start
    rng = np.random.default_rng(1)
    count, jobs = 1000, 1000 // SCALE
    blocks = [a_block(f"j{n}", count, nodes, rng) for n in range(jobs)]
    for n in range(jobs):
        await store.commit(PutJob(job=a_job(f"j{n}", count=count)))
    gc.collect()
    process = psutil.Process()
    before = process.memory_info().rss
    start = time.perf_counter()
    slowest = 0.0
    for block in blocks:
        one = time.perf_counter()
        await store.commit(ApplyPlan(plan=Plan(eval_id=block.eval_id, placements=(block,))))
        slowest = max(slowest, time.perf_counter() - one)
    took = time.perf_counter() - start
    gc.collect()
    held = process.memory_info().rss - before + sum(len(b.nodes) + len(b.indexes) + len(b.scores) for b in blocks)
    total = count * jobs
    index, used = store.index, float(store.snapshot().fleet().used_cpu.sum())
    reports = await some_reports(store, 20_000 // SCALE)
    await store.close()
    await engine.close()
    del store, engine, blocks
    gc.collect()
    start = time.perf_counter()
    engine, store = await opened(path)
    loading = time.perf_counter() - start
    assert store.index >= index
    assert store.snapshot().alloc_count() == total
    assert float(store.snapshot().fleet().used_cpu.sum()) == used
    start = time.perf_counter()
    found = store.snapshot().allocs_of_job("default", "j1")
    of_job = time.perf_counter() - start
    start = time.perf_counter()
    on_node = store.snapshot().allocs_of_node(nodes[10])
    of_node = time.perf_counter() - start
    start = time.perf_counter()
    list(store.snapshot().allocs(prefix=found[0].id[:8]))
    by_prefix = time.perf_counter() - start
    await store.close()
    await engine.close()
    return {
        "node registrations/s": len(nodes) / registering,
        "allocations placed and stored/s": total / took,
        "plans of 1,000/s": jobs / took,
        "slowest plan, ms": slowest * 1e3,
        "seconds for all": took,
        "bytes in memory an allocation": held / total,
        "bytes on disk an allocation": path.stat().st_size / total,
        "reports stored/s": reports,
        "seconds to load all": loading,
        "allocs of a job of 1,000, ms": of_job * 1e3,
        f"allocs of a node ({len(on_node)}), ms": of_node * 1e3,
        "find by prefix, ms": by_prefix * 1e3,
    }


async def some_reports(store: Store, count: int) -> float:
    """Reports a second: "running", in commits of 100 as a busy server batches them."""
    ids = []
    for alloc in store.snapshot().allocs():
        ids.append(alloc.id)
        if len(ids) == count:
            break
    states = {"main": TaskState(state=TaskStatus.RUNNING)}
    start = time.perf_counter()
    waiting = []
    for first in range(0, len(ids), 100):
        updates = tuple(
            AllocUpdate(id=alloc_id, client_status=AllocStatus.RUNNING, task_states=states, sequence=1)
            for alloc_id in ids[first : first + 100]
        )
        waiting.append(store.commit(UpdateAllocs(updates=updates)))
        if len(waiting) == 8:
            await asyncio.gather(*waiting)
            waiting = []
    await asyncio.gather(*waiting)
    return len(ids) / (time.perf_counter() - start)


async def main() -> None:
    """Run everything."""
    results: dict[str, list[float]] = {}
    parts: list[Callable[[Path], Awaitable[dict[str, float]]]] = [registrations, a_million]
    for _ in range(RUNS):
        for part in parts:
            with tempfile.TemporaryDirectory(prefix="rove-bench-state-") as folder:
                for name, value in (await part(Path(folder))).items():
                    results.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in results.items()}
    for name, value in medians.items():
        print(f"{name:<40} {value:>14,.1f}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(medians, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
