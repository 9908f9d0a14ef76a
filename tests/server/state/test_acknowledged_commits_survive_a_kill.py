"""kill -9 of a server that registers jobs: every acknowledged one is there afterwards, none is half there."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rove.engine.memory import MemoryEngine
from rove.engine.sqlite import SqliteEngine
from rove.errors import BadRequestError
from rove.ports.real import RealClock, RealIds
from rove.server.state import PutDocument, PutJob, Store
from rove.testing.nouns import a_job

WRITER = """
import asyncio, sys
from pathlib import Path
from rove.engine.sqlite import SqliteEngine
from rove.ports.real import RealClock, RealIds
from rove.server.state import ApplyPlan, Batch, PutJob, PutNode, Store
from rove.structs.plan import Plan
from rove.testing.nouns import a_job, a_node, a_placement, an_evaluation, an_id

async def write(store, writer, start):
    for n in range(start, 1_000_000):
        name = f"w{writer}-{n}"
        job = a_job(name)
        await store.commit(Batch(parts=(
            PutJob(job=job, evaluation=an_evaluation(name, name)),
            ApplyPlan(plan=Plan(eval_id=an_id(name), placements=(a_placement([an_id("n1")] * 2, name, name),))),
        )))
        print(f"ok {writer} {n}", flush=True)

async def main(path, start):
    engine = SqliteEngine(Path(path))
    store = Store(engine, RealClock(), RealIds())
    await store.open((await engine.campaign("writer")).token)
    await store.commit(PutNode(node=a_node("n1")))
    await asyncio.gather(*(write(store, writer, start) for writer in range(8)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize("seed", range(3))
async def test_every_acknowledged_transaction_is_whole_after_kill_9(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "state.db"
    rng = random.Random(seed)
    acknowledged: set[str] = set()
    for life in range(3):
        command = [sys.executable, "-c", WRITER, str(path), str(life * 100_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(rng.randrange(20, 400)):
                line = writer.stdout.readline().split()
                acknowledged.add(f"w{line[1]}-{line[2]}")
            writer.kill()
            for rest in writer.stdout.read().splitlines():
                if len(line := rest.split()) == 3 and line[0] == "ok":
                    acknowledged.add(f"w{line[1]}-{line[2]}")
    # The last line before a kill may be cut short; a cut number names a job that was acknowledged before it.
    engine = SqliteEngine(path)
    store = Store(engine, RealClock(), RealIds())
    await store.open((await engine.campaign("reader")).token)
    assert store.damage == ()
    snapshot = store.snapshot()
    stored = {job.id for job in snapshot.jobs()}
    assert acknowledged <= stored
    for job_id in stored:
        assert len(snapshot.evaluations_of_job("default", job_id)) == 1
        assert len(snapshot.allocs_of_job("default", job_id)) == 2
        assert len(snapshot.job_versions("default", job_id)) == 1
    assert len(list(snapshot.allocs())) == 2 * len(stored) == snapshot.fleet().alloc_count[0]
    assert store.index == len(stored) + 3, "a revision is missing or was used twice"
    await store.close()
    await engine.close()


async def test_a_row_nested_too_deeply_to_be_read_is_named_and_the_rest_is_served() -> None:
    engine = MemoryEngine()
    store = Store(engine, RealClock(), RealIds())
    await store.open((await engine.campaign("writer")).token)
    await store.commit(PutJob(job=a_job("web")))
    await store.close()
    deep = b"\x82\xa4Name\xa4deep\xacCapabilities\x81\xa1x" + b"\x91" * 5000 + b"\xc0"
    engine.rows["namespaces", b"deep"] = deep
    store = Store(engine, RealClock(), RealIds())
    await store.open((await engine.campaign("reader")).token)
    (damage,) = store.damage
    assert damage.where == f"table namespaces, row {b'deep'.hex()}"
    assert store.snapshot().job("default", "web") is not None
    assert await store.commit(PutJob(job=a_job("again"))) > 0
    await store.close()


@pytest.mark.parametrize("levels", [5000, 0])
async def test_what_cannot_be_a_row_is_refused_and_stores_nothing(levels: int) -> None:
    engine = MemoryEngine()
    store = Store(engine, RealClock(), RealIds())
    await store.open((await engine.campaign("writer")).token)
    value: Any = 2**64
    for _ in range(levels):
        value = [value]
    with pytest.raises(BadRequestError, match="nothing was stored"):
        await store.commit(PutDocument(table="t", key="k", value=value))
    assert (store.index, store.head().index) == (0, 0)
    await store.close()


async def test_a_damaged_job_is_named_and_the_others_are_served(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    command = [sys.executable, "-c", WRITER, str(path), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        while writer.stdout.readline() != "ok 0 9\n":
            pass
        writer.kill()
    engine = SqliteEngine(path)
    engine._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await engine.close()
    content = bytearray(path.read_bytes())
    place = content.find(b"w0-5")
    while place >= 0:  # every row that names the job
        content[place + 3] ^= 0x01
        place = content.find(b"w0-5", place + 1)
    path.write_bytes(content)
    engine = SqliteEngine(path)
    store = Store(engine, RealClock(), RealIds())
    await store.open((await engine.campaign("reader")).token)
    snapshot = store.snapshot()
    assert store.damage
    assert snapshot.job("default", "w0-5") is None
    for name in ("w0-4", "w0-6", "w1-5"):
        assert len(snapshot.allocs_of_job("default", name)) == 2
    assert {alloc.job_id for alloc in snapshot.allocs()} == {job.id for job in snapshot.jobs()}
    assert await store.commit(PutJob(job=a_job("again"))) > 0
    await store.close()
    await engine.close()
