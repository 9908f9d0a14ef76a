"""Roll-outs that nobody notices: a real web server under steady requests, as a process and in a container."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rove.testing.traffic import Traffic
from rove.testing.webserver import SECOND, a_web_job, make_image

from .conftest import AgentProcess, Agents, until

RATE = 250


class Shop:
    """The web job on an agent."""

    def __init__(self, agent: AgentProcess, folder: Path, driver: str) -> None:
        self.agent, self.folder, self.driver = agent, folder, driver

    def register(self, release: str, **options: Any) -> None:
        self.agent.register(a_web_job(release, self.folder, driver=self.driver, **options))

    def deployment(self, version: int) -> dict[str, Any]:
        every = self.agent.get("/v1/job/web/deployments")
        found: dict[str, Any] = next(each for each in every if each["JobVersion"] == version)
        return found

    def ends(self, version: int, status: str = "successful") -> None:
        def ended() -> bool:
            try:
                return bool(self.deployment(version)["Status"] == status)
            except StopIteration:
                return False

        until(ended, f"version {version} is {status}", 120)

    def tags(self) -> list[list[str]]:
        return [each["Tags"] for each in self.agent.get("/v1/service/web")]

    def live(self) -> int:
        return sum(each["ClientStatus"] in ("pending", "running") for each in self.agent.allocs("web"))


def roll(shop: Shop) -> str:
    shop.register("2")
    shop.ends(1)
    return "2"


def canary(shop: Shop, count: int = 1) -> str:
    shop.register("2", Canary=count)

    def healthy() -> bool:
        try:
            return bool(shop.deployment(1)["TaskGroups"]["web"]["HealthyAllocs"] == count)
        except StopIteration:
            return False

    until(healthy, "the canaries are healthy", 120)
    until(lambda: shop.tags().count(["canary"]) == count, "they have the tags of canaries")
    shop.agent.put(f"/v1/deployment/promote/{shop.deployment(1)['ID']}", {"All": True})
    shop.ends(1)
    return "2"


def blue_green(shop: Shop) -> str:
    return canary(shop, 3)


def auto_revert(shop: Shop) -> str:
    rules = {"AutoRevert": True, "HealthyDeadline": 3 * SECOND, "ProgressDeadline": 6 * SECOND}
    shop.register("2", warm_after_s=3600, **rules)
    shop.ends(1, "failed")
    shop.ends(2)
    return "1"


@pytest.fixture(params=["raw_exec", "docker"])
def shop(request: pytest.FixtureRequest, agents: Agents, tmp_path: Path) -> Shop:
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
        make_image()
    agent = agents.dev().start()
    agent.wait_nodes()
    made = Shop(agent, tmp_path, request.param)
    made.register("1")
    made.ends(0)
    until(lambda: len(made.tags()) == 3, "three instances")
    return made


@pytest.mark.timeout(400)
@pytest.mark.parametrize("change", [roll, canary, blue_green, auto_revert])
def test_no_request_fails(shop: Shop, change: Callable[[Shop], str]) -> None:
    with Traffic(shop.agent.address, "web", rate=RATE) as traffic:
        until(lambda: traffic.answers["1"] > 100, "the old version answers")
        release = change(shop)
        until(lambda: shop.live() == 3, "the other version has ended")
        until(lambda: shop.tags() == [["live", f"v{release}"]] * 3, "this one is registered, without tags of canaries")
        so_far = traffic.answers[release]
        until(lambda: traffic.answers[release] > so_far + 300, "it answers")
    assert traffic.failures == []
    assert traffic.answers.total() == traffic.sent
    assert set(traffic.answers) == {"1", release}
    assert traffic.sent > 500
