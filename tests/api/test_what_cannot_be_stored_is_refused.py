"""Bodies that could be decoded, but not stored, or not read again at the next start."""

from __future__ import annotations

from typing import Any

import pytest

from rove.api import Backend
from rove.engine.memory import MemoryEngine
from rove.ports.real import RealClock, RealIds
from rove.server.server import Server, ServerSettings


def nested(levels: int) -> Any:
    """Lists inside one another."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def bodies(value: Any) -> dict[str, dict[str, Any]]:
    """Bodies by path, with something free-form in them."""
    return {
        "/v1/namespace": {"Name": "n", "Capabilities": {"x": value}},
        "/v1/job/web/scale": {"Target": {"Group": "api"}, "Count": 3, "Meta": {"x": value}},
        "/v1/node/pools": {"Name": "p", "SchedulerConfiguration": {"x": value}},
    }


@pytest.mark.parametrize("path", list(bodies(0)))
@pytest.mark.parametrize("levels", [70, 970, 5000])
async def test_a_body_that_is_nested_too_deeply_is_refused(http: Any, job: Any, path: str, levels: int) -> None:
    assert (await http.put("/v1/jobs", json={"Job": job()})).status == 200
    text = '{"Name":"n","Target":{"Group":"api"},"Count":3,%s:{"x":' + "[" * levels + "]" * levels + "}}"
    key = {"/v1/namespace": '"Capabilities"', "/v1/job/web/scale": '"Meta"'}.get(path, '"SchedulerConfiguration"')
    answer = await http.put(path, data=text % key)
    assert answer.status == 400
    assert "nested too deeply [request.depth]" in await answer.text()


@pytest.mark.parametrize("path", list(bodies(0)))
async def test_a_body_that_is_nested_some_levels_is_taken(http: Any, job: Any, path: str) -> None:
    assert (await http.put("/v1/jobs", json={"Job": job(Type="batch")})).status == 200
    answer = await http.put(path, json=bodies(nested(50))[path])
    assert answer.status == 200, await answer.text()


async def test_a_job_may_be_nested_as_deeply_as_job_files_may(http: Any, job: Any) -> None:
    body = job()
    body["TaskGroups"][0]["Scaling"] = {"Min": 1, "Max": 9, "Policy": {"x": nested(150)}}
    assert (await http.put("/v1/jobs", json={"Job": body})).status == 200


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1])
async def test_a_number_that_does_not_fit_64_bits_is_refused(http: Any, job: Any, number: int) -> None:
    assert (await http.put("/v1/jobs", json={"Job": job()})).status == 200
    limit = {"/v1/operator/scheduler/configuration": {"NodeLimitForFeasibilityChecks": number}}
    priority = {"/v1/jobs": {"Job": job(), "EvalPriority": number}}
    for path, body in {**bodies([number]), **limit, **priority}.items():
        answer = await http.put(path, json=body)
        assert answer.status == 400, path
        assert "[request.number]" in await answer.text()


async def test_what_was_taken_is_there_after_a_restart(serve: Any) -> None:
    engine = MemoryEngine()
    first = Server(ServerSettings(name="s1", workers=1), engine, RealClock(), RealIds())
    await first.start()
    http = await serve(Backend(server=first))
    for levels in (60, 61, 62, 63, 970):
        text = f'{{"Name": "n{levels}", "Capabilities": {{"x": {"[" * levels}{"]" * levels}}}}}'
        await http.put("/v1/namespace", data=text)
    kept = {namespace.name for namespace in first.store.snapshot().namespaces()}
    assert "n60" in kept
    assert "n970" not in kept
    await first.stop()
    second = Server(ServerSettings(name="s1", workers=1), engine, RealClock(), RealIds())
    await second.start()
    assert {namespace.name for namespace in second.store.snapshot().namespaces()} == kept
    assert second.store.damage == ()
    await second.stop()
