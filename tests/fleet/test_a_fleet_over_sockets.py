"""A real server process and hundreds of simulated nodes over real sockets: spread, lose nodes, lose the server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from rove.testing.nodesim import Fleet, SimNode, describe
from rove.testing.promises import broken_over_http
from rove.testing.server_process import ServerProcess

NODES = 200
PATIENCE_S = 90.0

pytestmark = pytest.mark.timeout(240)


def a_job(job_id: str, count: int, *, spread: bool = False, cpu: int = 100) -> dict[str, Any]:
    group: dict[str, Any] = {
        "Name": "g",
        "Count": count,
        "Tasks": [{"Name": "t", "Driver": "mock_driver", "Config": {}, "Resources": {"CPU": cpu, "MemoryMB": 64}}],
        "Update": {"MaxParallel": count or 1, "MinHealthyTime": 0, "HealthCheck": "task_states"},
    }
    if spread:
        group["Spreads"] = [{"Attribute": "${meta.rack}", "Weight": 100}]
    return {"ID": job_id, "Type": "service", "Datacenters": ["*"], "TaskGroups": [group]}


class Site:
    """The server, its fleet, and a memory of the indexes that were seen."""

    def __init__(self, server: ServerProcess, fleet: Fleet) -> None:
        self.server = server
        self.fleet = fleet
        self.indexes: list[int] = []

    async def get(self, path: str) -> Any:
        value, index = await asyncio.to_thread(self.server.request, "GET", path)
        self.indexes.append(index)
        return value

    async def submit(self, job: dict[str, Any]) -> None:
        await asyncio.to_thread(self.server.put, "/v1/jobs", {"Job": job})

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    if await condition():
                        return
                except OSError:
                    pass  # the server is not back yet
                await asyncio.sleep(0.1)
        raise AssertionError(what)

    async def running(self, job_id: str) -> int:
        summary = await self.get(f"/v1/job/{job_id}/summary")
        return int((summary["Summary"].get("g") or {}).get("Running") or 0)

    async def until_running(self, job_id: str, count: int) -> None:
        async def reached() -> bool:
            return await self.running(job_id) == count

        await self.until(reached, f"{count} of {job_id} run")

    async def node_of(self, stub: dict[str, Any]) -> SimNode:
        return next(node for node in self.fleet.nodes if node.node.id == stub["NodeID"])

    async def check_promises(self) -> None:
        """Promises 2, 3, 5 and 6, from what the API says."""
        stubs = await self.get("/v1/nodes")
        nodes = [await self.get(f"/v1/node/{stub['ID']}") for stub in stubs]
        allocs = await self.get("/v1/allocations?resources=true")
        jobs = [await self.get(f"/v1/job/{stub['ID']}") for stub in await self.get("/v1/jobs")]
        evals = await self.get("/v1/evaluations")
        assert broken_over_http(nodes, allocs, jobs, evals) == []

    async def check_index(self) -> None:
        """The newest index never falls."""
        seen = []
        for _ in range(5):
            await self.get("/v1/jobs")
            seen.append(self.indexes[-1])
        assert seen == sorted(seen)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    server = ServerProcess(tmp_path)
    await asyncio.to_thread(server.start)
    try:
        async with Fleet(server.rpc_address, [describe(number) for number in range(NODES)]) as fleet:
            async with asyncio.timeout(PATIENCE_S):
                await fleet.connected()
            yield Site(server, fleet)
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_job_spreads_over_racks_and_runs_on_every_node_that_it_was_given(site: Site) -> None:
    await site.submit(a_job("spread", 500, spread=True))
    await site.until_running("spread", 500)
    stubs = await site.get("/v1/job/spread/allocations")
    rack_of = {node.node.id: node.node.meta["rack"] for node in site.fleet.nodes}
    racks = Counter(rack_of[stub["NodeID"]] for stub in stubs)
    assert set(racks.values()) == {20}  # 500 over 25 racks
    assert site.fleet.running == 500
    await site.check_promises()
    await site.check_index()


async def test_nodes_that_vanish_are_noticed_and_what_they_ran_is_replaced(site: Site) -> None:
    await site.submit(a_job("web", 300))
    await site.until_running("web", 300)
    stubs = await site.get("/v1/job/web/allocations")
    victims = {stub["NodeID"] for stub in stubs[:40]}
    for node in site.fleet.nodes:
        if node.node.id in victims:
            node.vanish()

    async def noticed() -> bool:
        down = {stub["ID"] for stub in await site.get("/v1/nodes") if stub["Status"] == "down"}
        return down == victims

    await site.until(noticed, "the nodes are down")

    async def replaced() -> bool:
        allocs = await site.get("/v1/job/web/allocations")
        live = [a for a in allocs if a["ClientStatus"] == "running" and a["DesiredStatus"] == "run"]
        return len(live) == 300 and not victims & {a["NodeID"] for a in live}

    await site.until(replaced, "everything runs elsewhere")
    await site.check_promises()
    for node in site.fleet.nodes:
        node.start()  # those that are alive go on
    await site.fleet.connected()

    async def all_back() -> bool:
        return all(stub["Status"] == "ready" for stub in await site.get("/v1/nodes"))

    await site.until(all_back, "the nodes are back")
    await site.check_promises()


async def test_a_killed_server_finds_its_fleet_again_and_replaces_nothing(site: Site) -> None:
    await site.submit(a_job("web", 300))
    await site.until_running("web", 300)
    before = {stub["ID"] for stub in await site.get("/v1/job/web/allocations")}
    index = site.indexes[-1]
    await asyncio.to_thread(site.server.kill)
    await asyncio.to_thread(site.server.start)
    async with asyncio.timeout(PATIENCE_S):
        await site.fleet.connected()

    async def all_ready() -> bool:
        return all(stub["Status"] == "ready" for stub in await site.get("/v1/nodes"))

    await site.until(all_ready, "all nodes are ready")
    await site.submit(a_job("after", 100))
    await site.until_running("after", 100)
    assert {stub["ID"] for stub in await site.get("/v1/job/web/allocations")} == before
    assert await site.running("web") == 300
    assert min(site.indexes[-3:]) >= index
    await site.check_promises()
    await site.check_index()


async def test_what_a_cluster_would_do_is_asked_without_touching_it(site: Site, tmp_path: Path) -> None:
    await site.submit(a_job("web", 40))
    await site.until_running("web", 40)
    before = (await site.get("/v1/allocations"), site.indexes[-1])
    job = tmp_path / "big.json"
    job.write_text(json.dumps({"Job": a_job("big", 10, cpu=39_000)}))
    words = ["operator", "simulate", "-json-output", "-add-node", "name=x,cpu=80000,count=2", str(job)]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "rove", *words],
        env={**os.environ, "ROVE_ADDR": site.server.address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert sum(held.get("web", 0) for held in answer["Before"].values()) == 40
    assert len(answer["Before"]) == NODES
    assert len(answer["After"]) == NODES + 2
    assert sum(held.get("big", 0) for held in answer["After"].values()) == 10
    assert (await site.get("/v1/allocations"), site.indexes[-1]) == before
