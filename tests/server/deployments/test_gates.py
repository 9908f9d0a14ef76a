"""Gates: canaries are promoted only once questions about them were answered well."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rove.errors import BadRequestError
from rove.server.deployments.gates import answers_of, judge_http, judge_prometheus, judge_script
from rove.structs.base import MINUTE, SECOND
from rove.structs.deployment import Deployment, GateAnswer
from rove.structs.job import Gate, Job
from rove.testing.builders import a_job, a_restarting_version, an_update
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually

URL = "http://gate.test/ready"


async def _with_canary(cluster: Cluster, *gates: Gate, **update: bool) -> Job:
    """Version 0 is rolled out, version 1 has a healthy canary behind gates."""
    job = a_job(count=3, update=an_update(canary=1, gates=gates, **update))
    await cluster.register(job)
    await cluster.until_status("successful")
    second = a_restarting_version(job)
    await cluster.register(second)
    await cluster.until(lambda: any(a.is_canary and a.is_healthy for a in cluster.allocs(version=1)))
    return second


def _answers(deployment: Deployment) -> list[GateAnswer]:
    return list(answers_of(deployment.task_groups["api"]).values())


class Outside:
    """Answers with the statuses given, the last one for ever; remembers when it was asked."""

    def __init__(self, cluster: Cluster, *statuses: int, body: bytes = b"") -> None:
        self.asked: list[tuple[float, str]] = []
        self._cluster = cluster
        self._statuses = list(statuses)
        self._body = body
        cluster.outside = self.answer

    async def answer(self, url: str) -> tuple[int, bytes]:
        self.asked.append((self._cluster.clock.now(), url))
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return status, self._body


@virtually
async def test_a_good_answer_lets_canaries_promote_themselves() -> None:
    async with Cluster() as cluster:
        outside = Outside(cluster, 200)
        await _with_canary(cluster, Gate(name="ready", address=URL), auto_promote=True)
        deployment = await cluster.until_status("successful", version=1)
        assert [url for _, url in outside.asked] == [URL]
        (answer,) = _answers(deployment)
        assert (answer.name, answer.is_open, answer.text) == ("ready", True, "status 200")


@virtually
async def test_a_gate_is_asked_only_once_the_canaries_are_healthy() -> None:
    async with Cluster() as cluster:
        outside = Outside(cluster, 200)
        cluster.behave(lambda alloc: Script(healthy_after=None if alloc.job_version else 1.0))
        job = a_job(count=3, update=an_update(canary=1, gates=(Gate(name="ready", address=URL),)))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.settle(300)
        assert outside.asked == []


@virtually
async def test_a_first_version_has_no_canaries_and_asks_no_gate() -> None:
    async with Cluster() as cluster:
        outside = Outside(cluster, 500)
        await cluster.register(a_job(count=3, update=an_update(canary=1, gates=(Gate(name="ready", address=URL),))))
        await cluster.until_status("successful")
        assert outside.asked == []


@virtually
async def test_several_good_answers_in_a_row_can_be_asked_for() -> None:
    async with Cluster() as cluster:
        outside = Outside(cluster, 200, 503, 200, 200)
        gate = Gate(name="ready", address=URL, passes=2, interval=MINUTE)
        await _with_canary(cluster, gate, auto_promote=True)
        await cluster.until_status("successful", version=1)
        times = [time for time, _ in outside.asked]
        assert len(times) == 4
        assert all(59 < later - earlier < 62 for earlier, later in pairwise(times))


@virtually
async def test_bad_answers_in_a_row_fail_the_deployment_and_take_it_back() -> None:
    async with Cluster() as cluster:
        outside = Outside(cluster, 503)
        gate = Gate(name="ready", address=URL, failures=2)
        await _with_canary(cluster, gate, auto_promote=True, auto_revert=True)
        await cluster.until(lambda: cluster.deployments()[1].status == "failed")
        failed = cluster.deployments()[1]
        assert 'gate "ready" of group "api" said no 2 times in a row: status 503' in failed.status_description
        assert len(outside.asked) == 2
        await cluster.until(lambda: cluster.job().version == 2)
        await cluster.until(lambda: {a.job_version for a in cluster.allocs(running=True)} == {2})


@virtually
async def test_an_address_that_does_not_answer_is_a_bad_answer() -> None:
    async with Cluster() as cluster:
        await _with_canary(cluster, Gate(name="ready", address=URL, failures=1), auto_promote=True)
        await cluster.until_status("failed", version=1)
        assert "nobody answers" in cluster.deployment().status_description


@virtually
async def test_an_answer_that_never_comes_ends_with_the_time_out() -> None:
    import asyncio

    async with Cluster() as cluster:

        async def for_ever(url: str) -> tuple[int, bytes]:
            await asyncio.Event().wait()
            return 200, b""

        cluster.outside = for_ever
        gate = Gate(name="ready", address=URL, failures=1, timeout=5 * SECOND)
        await _with_canary(cluster, gate, auto_promote=True)
        await cluster.until_status("failed", version=1)
        assert "no answer within 5 s" in cluster.deployment().status_description


@virtually
async def test_all_gates_have_to_be_open() -> None:
    async with Cluster() as cluster:

        async def answer(url: str) -> tuple[int, bytes]:
            return (200 if "good" in url else 503), b""

        cluster.outside = answer
        gates = (
            Gate(name="good", address="http://good.test/"),
            Gate(name="bad", address="http://bad.test/", failures=100),
        )
        await _with_canary(cluster, *gates, auto_promote=True)
        await cluster.settle(300)
        assert not cluster.deployment().task_groups["api"].promoted
        (wait,) = (await cluster.server.explain_deployment(cluster.deployment().id)).waiting_for
        assert wait.kind == "gate"
        assert 'gate "bad"' in wait.text
        assert "status 503" in wait.text
        assert wait.until > 0


@virtually
async def test_a_person_cannot_promote_past_a_closed_gate() -> None:
    async with Cluster() as cluster:
        Outside(cluster, 503)
        await _with_canary(cluster, Gate(name="ready", address=URL, failures=100))
        with pytest.raises(BadRequestError, match='gate "ready" of group "api"'):
            await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        Outside(cluster, 200)
        await cluster.until(lambda: any(a.is_open for a in _answers(cluster.deployment())))
        await cluster.server.promote_deployment(cluster.deployment().id, all=True)
        await cluster.until_status("successful", version=1)


@virtually
async def test_an_open_gate_is_not_asked_again() -> None:
    async with Cluster() as cluster:
        outside = Outside(cluster, 200)
        await _with_canary(cluster, Gate(name="ready", address=URL))
        await cluster.settle(3600)
        assert len(outside.asked) == 1


@virtually
async def test_answers_outlive_a_restart_of_the_server() -> None:
    async with Cluster() as cluster:
        outside = Outside(cluster, 200)
        await _with_canary(cluster, Gate(name="ready", address=URL, passes=2, interval=5 * MINUTE))
        await cluster.until(lambda: len(outside.asked) == 1)
        await cluster.settle(5)
        await cluster.restart_server(after_s=10)
        await cluster.until(lambda: any(a.is_open for a in _answers(cluster.deployment())))
        assert len(outside.asked) == 2
        assert outside.asked[1][0] - outside.asked[0][0] >= 300


@virtually
async def test_a_paused_deployment_asks_nothing() -> None:
    async with Cluster() as cluster:
        outside = Outside(cluster, 503)
        await _with_canary(cluster, Gate(name="ready", address=URL, failures=100, interval=MINUTE))
        await cluster.settle(5)
        await cluster.server.pause_deployment(cluster.deployment().id, True)
        await cluster.settle(1800)
        assert len(outside.asked) == 1
        await cluster.server.pause_deployment(cluster.deployment().id, False)
        await cluster.until(lambda: len(outside.asked) > 1)


@virtually
async def test_a_prometheus_query_opens_a_gate() -> None:
    async with Cluster() as cluster:
        body = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.01"]}]}}'
        outside = Outside(cluster, 200, body=body)
        gate = Gate(
            name="errors", type="prometheus", address="http://p.test:9090/", query='rate(e{a="b"}[1m])', expect="< 0.05"
        )
        await _with_canary(cluster, gate, auto_promote=True)
        deployment = await cluster.until_status("successful", version=1)
        assert outside.asked[0][1] == "http://p.test:9090/api/v1/query?query=rate%28e%7Ba%3D%22b%22%7D%5B1m%5D%29"
        (answer,) = _answers(deployment)
        assert answer.text == "0.01, expected < 0.05"


@virtually
async def test_a_script_runs_beside_each_canary() -> None:
    async with Cluster() as cluster:
        cluster.commands = lambda alloc, request: (0, "all good") if request.command == ("smoke", "-q") else (1, "")
        gate = Gate(name="smoke", type="script", task="main", command="smoke", args=("-q",))
        await _with_canary(cluster, gate, auto_promote=True)
        deployment = await cluster.until_status("successful", version=1)
        (answer,) = _answers(deployment)
        assert answer.text == "exit code 0: all good"


@virtually
async def test_a_script_that_fails_in_one_canary_closes_the_gate() -> None:
    async with Cluster() as cluster:
        cluster.commands = lambda alloc, request: (3 if alloc.index == 1 else 0, "said something\nbroken pipe\n")
        gate = Gate(name="smoke", type="script", task="main", command="smoke", failures=1)
        job = a_job(count=3, update=an_update(canary=2, auto_promote=True, gates=(gate,)))
        await cluster.register(job)
        await cluster.until_status("successful")
        await cluster.register(a_restarting_version(job))
        await cluster.until_status("failed", version=1)
        assert "web.api[1]: exit code 3: broken pipe" in cluster.deployment().status_description


@pytest.mark.parametrize(
    ("expect", "value", "is_good"),
    [
        ("< 0.05", "0.01", True), ("< 0.05", "0.05", False), ("<= 0.05", "0.05", True), (">= 3", "2", False),
        ("> 1e-3", "0.5", True), ("== 0", "0", True), ("!= 0", "0", False), ("< 1", "NaN", False),
        ("about 3", "3", False), ("", "3", False),
    ],
)  # fmt: skip
def test_a_value_is_held_against_the_expectation(expect: str, value: str, is_good: bool) -> None:
    body = f'{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}'.encode()
    assert judge_prometheus(Gate(expect=expect), body).is_good is is_good


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"null", b'{"status":"error","error":"bad query"}', b'{"status":"success"}',
        b'{"status":"success","data":{"resultType":"vector","result":[]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"1"]}]}}',
        b'{"status":"success","data":{"resultType":"scalar","result":[1]}}',
        b'{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}',
    ],
)  # fmt: skip
def test_an_answer_without_one_value_is_a_bad_one(body: bytes) -> None:
    assert not judge_prometheus(Gate(expect="< 5"), body).is_good


def test_any_2xx_is_good_unless_one_status_is_expected() -> None:
    assert judge_http(Gate(), 204).is_good
    assert not judge_http(Gate(), 302).is_good
    assert judge_http(Gate(expect="418"), 418).is_good
    assert not judge_http(Gate(expect="418"), 200).is_good


def test_a_script_says_why_by_its_last_line() -> None:
    assert judge_script(1, "a\n b \n\n").text == "exit code 1: b"
    assert judge_script(0, "").text == "exit code 0"


@virtually
async def test_a_gate_is_not_asked_again_while_its_answer_is_awaited() -> None:
    async with Cluster() as cluster:
        asked: list[float] = []

        async def slow(url: str) -> tuple[int, bytes]:
            asked.append(cluster.clock.now())
            await cluster.clock.sleep(50)
            return 200, b""

        cluster.outside = slow
        cluster.behave(lambda alloc: Script(restarts_after=5.0, restart_takes=5.0) if alloc.job_version else Script())
        await _with_canary(cluster, Gate(name="ready", address=URL, timeout=MINUTE), auto_promote=True)
        await cluster.settle(40)
        assert len(asked) == 1
        await cluster.until_status("successful", version=1)


@virtually
async def test_an_answer_that_comes_while_the_deployment_is_paused_does_not_count() -> None:
    async with Cluster() as cluster:

        async def slow(url: str) -> tuple[int, bytes]:
            await cluster.clock.sleep(5)
            return 200, b""

        cluster.outside = slow
        await _with_canary(cluster, Gate(name="ready", address=URL), auto_promote=True)
        await cluster.server.pause_deployment(cluster.deployment().id, True)
        await cluster.settle(60)
        assert _answers(cluster.deployment()) == []
        await cluster.server.pause_deployment(cluster.deployment().id, False)
        await cluster.until_status("successful", version=1)
