"""What a server with a large fleet does: replays of a million allocations, end-to-end rate, lost nodes, blocked loop.

    python -m bench.fleet [--quick] [--only replay,rate,loss]

Every part runs in processes of its own. Prints a table and writes ``bench/out/fleet.json``. The job of the replays is
that of the public million- and two-million-container challenges (cpu 50 MHz, memory 30 MiB, disk 10 MiB, no
deployments), on simulated nodes: there is no Docker and no wide area network in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rove.testing.nodesim import describe
from rove.testing.server_process import ServerProcess, until

OUT = Path(__file__).parent / "out" / "fleet.json"
PATIENCE_S = 600.0


def a_job(job_id: str, count: int, *, job_type: str = "service") -> dict[str, Any]:
    """The challenge's job, in API form."""
    task: dict[str, Any] = {
        "Name": "t",
        "Driver": "mock_driver",
        "Config": {},
        "Resources": {"CPU": 50, "MemoryMB": 30},
    }
    task["LogConfig"] = {"MaxFiles": 1, "MaxFileSizeMB": 5}
    group: dict[str, Any] = {"Name": "g", "Count": count, "Tasks": [task], "EphemeralDisk": {"SizeMB": 10}}
    if job_type == "service":
        group["Update"] = {"MaxParallel": 0}
    return {"ID": job_id, "Type": job_type, "Datacenters": ["*"], "TaskGroups": [group]}


# -- replay: submitted, scheduled, checked, stored durably


async def replay(jobs: int, count: int, nodes: int, folder: Path) -> dict[str, float]:
    """`jobs` jobs of `count` on `nodes` nodes through the server's own loops on a real file."""
    import msgspec
    import psutil

    from rove import jobspec
    from rove.agent.lag import LoopLag
    from rove.engine.sqlite import SqliteEngine
    from rove.ports.real import RealClock, RealIds
    from rove.server.evaluations.loop import Evaluations
    from rove.server.jobs import Jobs
    from rove.server.state import PutNode, Store
    from rove.structs.node import NodeStatus

    path, clock, ids = folder / "state.db", RealClock(), RealIds()
    engine = SqliteEngine(path)
    store = Store(engine, clock, ids)
    await store.open((await engine.campaign("bench")).token)
    threads = ThreadPoolExecutor(3)
    evaluations = Evaluations(store, clock, ids, threads, workers=os.cpu_count() or 1)
    registrar = Jobs(store, clock, ids, threads)
    store.on_commit(evaluations.observe)
    evaluations.start()
    for at in range(0, nodes, 500):
        batch = (describe(number) for number in range(at, min(at + 500, nodes)))
        ready = (msgspec.structs.replace(node, status=NodeStatus.READY) for node in batch)
        await asyncio.gather(*(store.commit(PutNode(node=node)) for node in ready))
    made = [jobspec.canonicalize(jobspec.decode_api_job(a_job(f"job-{n}", count))) for n in range(jobs)]
    gc.collect()
    before = psutil.Process().memory_info().rss
    lag = LoopLag(clock)
    lag.start()
    worst = 0.0
    started, cpu = time.perf_counter(), time.process_time()
    turn = asyncio.Semaphore(64)

    async def submit(job: Any) -> None:
        async with turn:
            await registrar.register(job)

    await asyncio.gather(*(submit(job) for job in made))
    while store.snapshot().alloc_count() < jobs * count:
        worst = max(worst, lag.worst_ms)
        await asyncio.sleep(0.02)
        if time.perf_counter() - started > PATIENCE_S:
            raise TimeoutError(f"{store.snapshot().alloc_count()} of {jobs * count} placed")
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    worst = max(worst, lag.worst_ms)
    await lag.stop()
    gc.collect()
    held = psutil.Process().memory_info().rss - before
    ends = Counter(each.status.value for each in store.snapshot().evaluations())
    fleet = store.snapshot().fleet()
    if (
        ends.keys() - {"complete", "canceled", "failed"}
        or (fleet.used_cpu > fleet.cpu).any()
        or (fleet.used_memory > fleet.memory).any()
    ):
        raise AssertionError(f"evaluations ended {dict(ends)}, or a node is over-committed")
    await evaluations.stop()
    await store.close()
    await engine.close()
    engine = SqliteEngine(path)
    store = Store(engine, clock, ids)
    began = time.perf_counter()
    await store.open((await engine.campaign("bench")).token)
    loading = time.perf_counter() - began
    if store.snapshot().alloc_count() != jobs * count:
        raise AssertionError("allocations were lost")
    await store.close()
    await engine.close()
    threads.shutdown()
    total = jobs * count
    return {
        "allocations": total, "seconds": took, "placed and stored/s": total / took, "CPU seconds": cpu,
        "bytes of memory an allocation": held / total, "bytes of disk an allocation": path.stat().st_size / total,
        "longest block of the loop, ms": worst, "loading it all again, s": loading,
    }  # fmt: skip


# -- with a server process and a fleet over sockets


class Simulated:
    """`bench.nodesim` as a process; its newest line of figures."""

    def __init__(self, server: ServerProcess, nodes: int, first: int = 0) -> None:
        command = [
            sys.executable, "-m", "bench.nodesim", "--server", server.rpc_address, "--nodes", str(nodes), "--first",
            str(first), "--json", "--listen", "--every", "0.05",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.newest: dict[str, int] = {"connected": 0, "running": 0, "reported": 0}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.newest = json.loads(line)

    def vanish(self, number: int) -> None:
        """Let node `number` fall silent."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"vanish {number}\n".encode())
        self.process.stdin.flush()

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def site(nodes: int) -> Iterator[tuple[ServerProcess, Simulated]]:
    """A server and a connected fleet."""
    with tempfile.TemporaryDirectory(prefix="rove-bench-") as folder:
        server = ServerProcess(Path(folder))
        server.start()
        try:
            fleet = Simulated(server, nodes)
            try:
                until(lambda: fleet.newest["connected"] == nodes, f"{nodes} nodes connected", PATIENCE_S)
                yield server, fleet
            finally:
                fleet.stop()
        finally:
            server.stop()


def submit(server: ServerProcess, jobs: list[dict[str, Any]], connections: int = 8) -> None:
    """Register jobs over several connections."""

    def some(mine: list[dict[str, Any]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=120)
        for job in mine:
            connection.request("PUT", "/v1/jobs", json.dumps({"Job": job}))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise OSError(f"{answer.status}: {body[:300]!r}")

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(some, [jobs[at::connections] for at in range(connections)]))


class LagWatch:
    """Reads the server's lag gauge while something goes on, and keeps the worst."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.worst = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> LagWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(2.0):
            self._look()
        self._look()

    def _look(self) -> None:
        try:
            self.worst = max(self.worst, self.server.gauge("runtime.loop_lag_max_ms"))
        except (OSError, LookupError):
            pass


def settled_lag(server: ServerProcess) -> None:
    """Wait until the gauge has forgotten the start of the fleet."""
    time.sleep(21.0)


def rate(jobs: int, count: int, nodes: int) -> dict[str, float]:
    """Submitted, stored, delivered, seen running: allocations a second end to end."""
    total = jobs * count
    with site(nodes) as (server, fleet):
        settled_lag(server)
        made = [a_job(f"job-{n}", count) for n in range(jobs)]
        cpu = cpu_of(server)
        with LagWatch(server) as lag:
            started = time.perf_counter()
            submit(server, made)
            submitted = time.perf_counter() - started
            until(lambda: fleet.newest["reported"] >= total, f"{total} reported", PATIENCE_S, every_s=0.01)
            took = time.perf_counter() - started
        cpu = cpu_of(server) - cpu
        seen = sum(
            int((server.get(f"/v1/job/job-{n}/summary")["Summary"].get("g") or {}).get("Running") or 0)
            for n in range(jobs)
        )
        if seen != total:
            raise AssertionError(f"the server says that {seen} of {total} run")
    return {
        "allocations": total, "nodes": nodes, "seconds": took, "submitting, s": submitted,
        "submitted to running/s": total / took, "CPU seconds of the server": cpu,
        "longest block of the loop, ms": lag.worst,
    }  # fmt: skip


def cpu_of(server: ServerProcess) -> float:
    """CPU seconds that the server has used."""
    import psutil

    assert server.process is not None
    times = psutil.Process(server.process.pid).cpu_times()
    return float(times.user + times.system)


def loss(nodes: int, count: int, runs: int) -> dict[str, float]:
    """A node falls silent: how long until it is down, and until what it ran runs elsewhere."""
    noticed: list[float] = []
    replaced: list[float] = []
    jobs, each = 20, count // 20
    with site(nodes) as (server, fleet):
        submit(server, [a_job(f"job-{n}", each) for n in range(jobs)])
        until(lambda: fleet.newest["running"] >= jobs * each, "the jobs run", PATIENCE_S)
        settled_lag(server)
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)

        def ask(path: str) -> Any:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

        def counts() -> dict[str, int]:
            found: dict[str, int] = ask("/v1/job/job-0/summary")["Summary"]["g"]
            return found

        with LagWatch(server) as lag:
            for _ in range(runs):
                live = [a for a in ask("/v1/job/job-0/allocations") if a["DesiredStatus"] == "run"]
                victim = next(a["NodeID"] for a in live if a["ClientStatus"] == "running")
                lost = counts()["Lost"]
                fleet.vanish(int(victim[-12:], 16))
                started = time.perf_counter()
                until(lambda v=victim: ask(f"/v1/node/{v}")["Status"] == "down", "it is down", 60, every_s=0.02)
                down = time.perf_counter()
                until(
                    lambda lost=lost: (now := counts())["Lost"] > lost and now["Running"] == each,
                    "it is replaced", 60, every_s=0.02,
                )  # fmt: skip
                noticed.append(down - started)
                replaced.append(time.perf_counter() - down)
    return {
        "nodes": nodes, "allocations": jobs * each, "runs": runs, "noticed after, s (worst)": max(noticed),
        "replaced after that, s (worst)": max(replaced), "longest block of the loop, ms": lag.worst,
    }  # fmt: skip


# -- the program


def child(part: str, *arguments: object) -> dict[str, float]:
    """Run a replay in a process of its own, for clean memory figures."""
    command = [sys.executable, "-m", "bench.fleet", "--part", part, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def show(name: str, figures: dict[str, float]) -> None:
    """A few lines of the table."""
    print(name)
    for key, value in figures.items():
        print(f"  {key:<34} {value:>14,.2f}" if isinstance(value, float) else f"  {key:<34} {value:>14,}", flush=True)


def main() -> None:
    """Measure and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="smaller, within three minutes")
    options.add_argument("--only", default="replay,rate,loss", help="parts, separated by commas")
    options.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = options.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    if given.part:
        import uvloop

        from rove.agent import garbage

        garbage.set_up()
        with tempfile.TemporaryDirectory(prefix="rove-bench-") as folder:
            jobs, count, nodes = map(int, given.part[1:])
            print(json.dumps(uvloop.run(replay(jobs, count, nodes, Path(folder)))))
        return
    only, quick = given.only.split(","), given.quick
    figures: dict[str, dict[str, float]] = {}

    def note(name: str, found: dict[str, float]) -> None:
        figures[name] = found
        show(name, found)

    print(f"load before: {os.getloadavg()[0]:.1f}")
    if "replay" in only:
        if quick:
            note("replay, 100,000 on 500", child("replay", 100, 1000, 500))
        else:
            note("replay, 1,000,000 on 5,000", child("replay", 1000, 1000, 5000))
            note("replay, 2,000,000 on 6,100", child("replay", 2000, 1000, 6100))
    if "rate" in only:
        note("end to end", rate(20, 1000, 250) if quick else rate(100, 1000, 1000))
    if "loss" in only:
        note("lost node", loss(500, 1000, 1) if quick else loss(5000, 10_000, 3))
    OUT.parent.mkdir(exist_ok=True)
    machine = {"cores": len(os.sched_getaffinity(0)), "load_after": os.getloadavg()[0]}
    OUT.write_text(json.dumps({"quick": quick, "machine": machine, "figures": figures}, indent=2))
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
