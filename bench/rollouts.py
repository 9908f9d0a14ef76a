"""The figures of roll-outs: requests that fail meanwhile, what the controller costs, deadlines that are missed.

``python -m bench.rollouts`` prints a table and writes bench/out/rollouts.json. The web servers, the agent and the
load generator are real; the thousand copies and the hundred deployments run on simulated nodes, with the real
server, the real scheduler and the real store (SQLite, every commit flushed) by the real clock.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.first_light import Agent, folder, free_ports, wait_ready
from bench.table import Table, is_quick

from rove.engine.sqlite import SqliteEngine
from rove.server.state import Committed
from rove.structs.base import SECOND
from rove.testing.builders import a_job, a_node, a_restarting_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.traffic import Traffic
from rove.testing.webserver import a_web_job, make_image

OUT = Path(__file__).parent / "out"
RATE = 260
"""Requests a second that are sent."""

# -- nobody notices


class Shop:
    """The web job on a real agent, version after version."""

    def __init__(self, agent: Agent, place: Path, driver: str) -> None:
        self.agent, self.place, self.driver = agent, place, driver
        self.release = 0

    def register(self, **options: Any) -> int:
        """Register the next release; its job version."""
        self.release += 1
        job = a_web_job(str(self.release), self.place, driver=self.driver, **options)
        self.agent.call("PUT", "/v1/jobs", {"Job": job})
        return int(self.agent.call("GET", "/v1/job/web")["Version"])

    def deployment(self, version: int) -> Any:
        """The newest deployment of a version; an empty one if there is none yet."""
        every = self.agent.call("GET", "/v1/job/web/deployments") or []
        return next((each for each in every if each["JobVersion"] == version), {"Status": "", "TaskGroups": {}})

    def wait(self, version: int, status: str = "successful") -> None:
        """Wait for a deployment's end, and until the copies before it have ended."""
        self.agent.wait(lambda: self.deployment(version)["Status"] == status, 180)

    def settle(self, release: int, traffic: Traffic) -> None:
        """Wait until only this release runs, is registered, and has answered for a while."""
        self.agent.wait(lambda: len(self.live()) == 3, 60)
        self.agent.wait(lambda: [i["Tags"] for i in traffic.instances] == [["live", f"v{release}"]] * 3, 60)
        so_far = traffic.answers[str(release)]
        self.agent.wait(lambda: traffic.answers[str(release)] > so_far + 300, 60)

    def live(self) -> list[Any]:
        """Allocations that have not ended."""
        allocs = self.agent.call("GET", "/v1/job/web/allocations")
        return [each for each in allocs if each["ClientStatus"] in ("pending", "running")]


def rolling(shop: Shop) -> int:
    """One at a time."""
    shop.wait(shop.register())
    return shop.release


def canary(shop: Shop, count: int = 1) -> int:
    """Canaries first, promoted by a request once they are healthy."""
    version = shop.register(Canary=count)
    shop.agent.wait(lambda: shop.deployment(version)["TaskGroups"].get("web", {}).get("HealthyAllocs", 0) >= count, 120)
    deployment = shop.deployment(version)
    shop.agent.call(
        "PUT", f"/v1/deployment/promote/{deployment['ID']}", {"DeploymentID": deployment["ID"], "All": True}
    )
    shop.wait(version)
    return shop.release


def blue_green(shop: Shop) -> int:
    """All of the new version beside all of the old one."""
    return canary(shop, 3)


def auto_revert(shop: Shop) -> int:
    """A version that never becomes healthy is taken back; the release before goes on."""
    good = shop.release
    rules = {"AutoRevert": True, "HealthyDeadline": 4 * SECOND, "ProgressDeadline": 8 * SECOND}
    version = shop.register(warm_after_s=3600, **rules)
    shop.wait(version, "failed")
    shop.wait(version + 1)
    return good


# The way back comes before canaries: going back to a version with canaries waits for their promotion too.
KINDS: dict[str, Callable[[Shop], int]] = {
    "rolling": rolling, "auto-revert": auto_revert, "canary and promotion": canary, "blue and green": blue_green,
}  # fmt: skip


def under_load(driver: str, place: Path) -> list[tuple[str, Traffic]]:
    """Each kind of roll-out under requests."""
    agent = Agent(place, driver, "server client", free_ports(1)[0], docker=driver == "docker")
    try:
        wait_ready(agent)
        shop = Shop(agent, place, driver)
        shop.wait(shop.register())
        done = []
        for name, kind in KINDS.items():
            with Traffic(f"http://127.0.0.1:{agent.http}", "web", rate=RATE) as traffic:
                agent.wait(lambda traffic=traffic: traffic.answers.total() > 300, 60)
                shop.settle(kind(shop), traffic)
            if traffic.answers.total() + len(traffic.failures) != traffic.sent:
                raise SystemExit("requests are missing in the count")
            for failure in traffic.failures[:5]:
                print(f"  failed: {failure}")
            done.append((name, traffic))
        return done
    finally:
        agent.call("DELETE", "/v1/job/web?purge=true")
        agent.wait(lambda: not [a for a in agent.call("GET", "/v1/allocations") if a["ClientStatus"] == "running"])
        agent.end()


# -- what the controller costs


def a_cluster(place: Path, nodes: int) -> Cluster:
    """The real server on a real store, with simulated nodes."""
    given = [a_node(f"node-{n:02}", cpu=60_000, memory=256_000) for n in range(nodes)]
    return Cluster(nodes=given, engine=SqliteEngine(place / "state.db"))


async def batches(place: Path, copies: int, at_once: int) -> list[float]:
    """Seconds between a batch's last healthy report stored and the next batch's placement stored."""
    async with a_cluster(place, 20) as cluster:
        cluster.behave(lambda alloc: Script(starts_after=0.1, healthy_after=0.1, stops_after=0.0))
        job = a_job(count=copies, cpu=100, memory=64, update=an_update(max_parallel=at_once, min_healthy_time=0))
        await cluster.register(job)
        await cluster.until_status("successful")
        added: list[float] = []
        placed = healthy = 0
        healthy_at = 0.0

        def note(committed: Committed) -> None:
            nonlocal placed, healthy, healthy_at
            for deployment in committed.deployments:
                if deployment.job_version != 1:
                    continue
                group, now = deployment.task_groups["api"], time.perf_counter()
                if group.placed_allocs > placed and placed and healthy == placed:
                    added.append(now - healthy_at)
                if group.healthy_allocs > healthy and group.healthy_allocs == group.placed_allocs:
                    healthy_at = now
                placed, healthy = group.placed_allocs, group.healthy_allocs

        cluster.server.store.on_commit(note)
        await cluster.register(a_restarting_version(job))
        await cluster.until_status("successful", version=1)
        return added


async def lateness(place: Path, jobs: int) -> list[float]:
    """Seconds that deployments in which nothing becomes healthy fail after their deadlines."""
    async with a_cluster(place, 4) as cluster:
        cluster.behave(lambda alloc: Script(healthy_after=None))
        late: dict[str, float] = {}

        def note(committed: Committed) -> None:
            for deployment in committed.deployments:
                if deployment.status == "failed":
                    deadline = deployment.task_groups["api"].require_progress_by.timestamp()
                    late.setdefault(deployment.id, cluster.clock.now() - deadline)

        cluster.server.store.on_commit(note)
        for number in range(jobs):
            await cluster.register(a_job(f"job-{number}", update=an_update(progress_deadline=5 * SECOND)))
        await cluster.until(lambda: len(late) == jobs)
        return sorted(late.values())


# -- the table


def has_docker() -> bool:
    """True if containers can be run here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def run(quick: bool = False) -> list[dict[str, Any]]:
    """All figures as rows: name, unit, measured, asked."""
    table = Table()
    row = table.row

    drivers = ["raw_exec"]
    if has_docker():
        make_image()
        drivers.append("docker")
    else:
        print("no Docker engine answers: containers are left out")
    for driver in drivers:
        with folder() as place:
            for name, traffic in under_load(driver, place):
                note = f"  (of {traffic.sent})"
                row(f"{name}, {driver}: failed requests", "", len(traffic.failures), "0", note)
                row(f"{name}, {driver}: requests sent", "/s", traffic.achieved, ">= 200")
    with folder() as place:
        added = asyncio.run(batches(place, 1000, 50))
        print(f"  {len(added)} batches: {', '.join(f'{each * 1000:.0f}' for each in added)} ms")
        row("1,000 copies, 50 at once: added to a batch, median", "ms", statistics.median(added) * 1000, "<= 50")
        row("1,000 copies, 50 at once: added to a batch, longest", "ms", max(added) * 1000, "<= 50")
    with folder() as place:
        late = asyncio.run(lateness(place, 100))
        row("100 deployments at once: the latest failed after its time", "s", late[-1], "<= 1")
        row("100 deployments at once: the earliest", "s", late[0], ">= 0")
    return table.rows


def main() -> None:
    """Print the table and write it."""
    rows = run(is_quick(__doc__))
    OUT.mkdir(exist_ok=True)
    (OUT / "rollouts.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
