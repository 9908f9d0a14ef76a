"""Job texts and bodies are hostile: the answer is an error with a place, and nobody else waits meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

HOSTILE = {
    "5,000 brackets": "a = " + "[" * 5000,
    "5 MB": 'job "x" {\n}\n' + "#\n" * 2_500_000,
    "4 MB in one line": 'job "x" {\n meta = {' + "é= file(1)," * 300_000,
    "a NUL": 'job "x" {\n  name = "a\0b"\n}\n',
    "an open heredoc": 'job "x" {\n  name = <<EOT\n',
    "locals in a circle": 'locals {\n  a = local.b\n  b = local.a\n}\njob "x" {\n}\n',
    "a wide format": 'job "x" {\n  name = format("%1000000000d", 1)\n}\n',
    "a wide range": 'job "x" {\n  name = range(1000000000)\n}\n',
    "a thousand hashes": "locals {\n" + "".join(f'a{at} = bcrypt("x", 4)\n' for at in range(1000)) + "}\n",
    "200,000 groups": 'job "x" {\n' + "".join(f'group "g{at}" {{\n}}\n' for at in range(200_000)) + "}\n",
    "JSON with 300,000 names": '{"job": {"x": {"meta": {' + ",".join(f'"{at}":1' for at in range(300_000)) + "}}}}",
    "a lone surrogate": 'job "x" {\n  name = "\ud800"\n}\n',
}
GROUP = {"Name": "g", "Tasks": [{"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}]}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_text_is_refused_with_its_place(name: str, http: Any) -> None:
    body = json.dumps({"JobHCL": HOSTILE[name], "Canonicalize": True})
    response = await http.put("/v1/jobs/parse", data=body)
    assert response.status == 400
    if "surrogate" not in name:  # that one is no JSON text in the first place
        assert "input.hcl:" in await response.text()


async def test_hostile_variables_are_refused_with_their_place(http: Any) -> None:
    text = 'variable "n" {\n  type = number\n}\njob "x" {\n}\n'
    response = await http.put("/v1/jobs/parse", json={"JobHCL": text, "Variables": "n = " + "[" * 5000})
    assert response.status == 400
    assert "input.vars:1:" in await response.text()


def bodies() -> dict[str, bytes]:
    def whole(job: str) -> bytes:
        return f'{{"Job":{{"ID":"x",{job}}}}}'.encode()

    return {
        "nested objects": b'{"Job":' + b'{"a":' * 100_000,
        "a million groups": whole('"TaskGroups":[' + ",".join(["{}"] * 1_000_000) + "]"),
        "20,000 groups": whole('"TaskGroups":[' + ",".join(["{}"] * 20_000) + "]"),
        "a million tasks": whole('"TaskGroups":[{"Tasks":[' + ",".join(["{}"] * 1_000_000) + "]}]"),
        "a million constraints": whole('"Constraints":[' + ",".join(["{}"] * 1_000_000) + "]"),
        "lists in a driver's config": whole(
            '"TaskGroups":[{"Tasks":[{"Config":{"a":[' + ",".join(["[]"] * 2_000_000) + "]}}]}]"
        ),
        "four million texts": whole('"Datacenters":[' + ",".join(['""'] * 4_000_000) + "]"),
        "broken UTF-8": b'{"Job":{"ID":"\xff"}}',
        "a lone surrogate": b'{"Job":{"ID":"\\ud800"}}',
    }


BODIES = bodies()


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["jobs", "job/x/plan", "validate/job"])
async def test_a_hostile_body_is_refused(path: str, name: str, http: Any) -> None:
    response = await http.put(f"/v1/{path}", data=BODIES[name])
    assert response.status in (400, 413), await response.text()
    assert await (await http.get("/v1/jobs")).json() == []


class Ticker:
    """Counts how often the event loop gets round to it."""

    def __init__(self) -> None:
        self.ticks = 0

    async def __aenter__(self) -> Ticker:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            self.ticks += 1


TICKS_MIN = 15
"""Sending and answering take a few rounds of the loop; working in a thread leaves it many more."""


async def test_the_loop_goes_on_while_a_big_text_is_read(http: Any) -> None:
    text = 'job "x" {\n' + "".join(f'group "g{at}" {{\n}}\n' for at in range(20_000)) + "}\n"
    async with Ticker() as ticker:
        response = await http.put("/v1/jobs/parse", json={"JobHCL": text, "Canonicalize": True})
    assert response.status == 200
    assert ticker.ticks >= TICKS_MIN


@pytest.mark.parametrize("path", ["validate/job", "job/x/plan"])
async def test_the_loop_goes_on_while_a_big_body_is_read(path: str, http: Any) -> None:
    groups = [{**GROUP, "Name": f"g{at}", "Count": 0} for at in range(9_500)]
    body = json.dumps({"Job": {"ID": "x", "Datacenters": ["dc1"], "TaskGroups": groups}})
    async with Ticker() as ticker:
        response = await http.put(f"/v1/{path}", data=body)
    assert response.status == 200, await response.text()
    assert ticker.ticks >= TICKS_MIN
