"""What holds for every route: methods, unknown paths, errors as text, headers, sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from rove.api import AgentInfo, Backend
from rove.api.metrics import Gauge, prometheus_text
from rove.api.openapi import build
from rove.api.replies import accepts_gzip
from rove.api.table import ROUTES


async def test_a_wrong_method_is_405_and_names_the_right_ones(node_http: Any) -> None:
    response = await node_http.delete("/v1/jobs")
    assert response.status == 405
    assert response.headers["Allow"] == "GET, POST, PUT"
    assert response.headers["Content-Type"].startswith("text/plain")


async def test_an_unknown_path_is_404_with_an_empty_body(node_http: Any) -> None:
    response = await node_http.get("/v1/nothing")
    assert response.status == 404
    assert await response.read() == b""


async def test_the_root_leads_to_the_page(node_http: Any) -> None:
    response = await node_http.get("/?a=1", allow_redirects=False)
    assert response.status == 307
    assert response.headers["Location"] == "/ui/?a=1"


async def test_the_description_covers_every_route_and_its_references_resolve(node_http: Any) -> None:
    response = await node_http.get("/v1/openapi.json")
    assert response.headers["Content-Encoding"] == "gzip"
    said = await response.json()
    assert said["openapi"] == "3.1.0"
    for route in ROUTES:
        for method in route.methods:
            assert method.lower() in said["paths"][route.path]
    names = set(said["components"]["schemas"])

    def check(value: Any) -> None:
        if isinstance(value, dict):
            if (ref := value.get("$ref", "")).startswith("#/components/schemas/"):
                assert ref.rpartition("/")[2] in names
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)

    check(said)
    ids = [op["operationId"] for path in said["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids))
    assert "JobID" in said["components"]["schemas"]["AllocView"]["properties"]


def test_path_parameters_are_declared() -> None:
    for path, operations in build(ROUTES)["paths"].items():
        for operation in operations.values():
            declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}


async def test_pretty_indents(node_http: Any) -> None:
    text = await (await node_http.get("/v1/regions?pretty", headers={})).text()
    assert "no server is known" in text or "\n" in text
    text = await (await node_http.get("/v1/client/stats?pretty")).text()
    assert text == '{\n    "Uptime": 1\n}'
    assert "\n" not in await (await node_http.get("/v1/client/stats?pretty=0")).text()


async def test_a_body_above_the_limit_is_413(serve: Any, node: Any) -> None:
    client = await serve(Backend(client=node, body_limit=1000))
    path = "/v1/client/allocation/a1/restart"
    response = await client.put(path, data=b'{"TaskName": "' + b"x" * 2000 + b'"}')
    assert response.status == 413
    assert "larger than 1000 bytes" in await response.text()

    async def chunks() -> Any:
        for _ in range(10):
            yield b" " * 500

    assert (await client.put(path, data=chunks())).status == 413
    assert node.asked == []


async def test_a_fault_of_our_own_shows_no_inside(serve: Any) -> None:
    class Broken:
        node_id = "n"

        def has_alloc(self, alloc_id: str) -> bool:
            raise RuntimeError("secret detail")

    client = await serve(Backend(client=Broken()))  # type: ignore[arg-type]
    response = await client.get("/v1/client/fs/ls/a1")
    assert response.status == 500
    assert "secret detail" not in await response.text()


@pytest.mark.parametrize("kind", ["client", "server", ""])
async def test_health_is_500_where_the_part_asked_for_is_missing(node_http: Any, kind: str) -> None:
    response = await node_http.get(f"/v1/agent/health?type={kind}")
    assert response.status == (500 if kind == "server" else 200)
    assert (await node_http.get("/v1/agent/health?type=x")).status == 400


async def test_the_log_is_followed_in_frames_and_a_bad_level_is_400(serve: Any, node: Any) -> None:
    async def lines(level: str, as_json: bool) -> Any:
        yield f"one {level} {as_json}\n".encode()
        yield b"two\n"

    client = await serve(Backend(client=node, agent=AgentInfo(monitor=lines)))
    text = await (await client.get("/v1/agent/monitor?log_level=DEBUG&plain=true")).text()
    assert text == "one debug False\ntwo\n"
    text = await (await client.get("/v1/agent/monitor")).text()
    assert text.splitlines()[1] == '{"Data":"dHdvCg=="}'
    assert (await client.get("/v1/agent/monitor?log_level=loud")).status == 400


async def test_configured_headers_are_sent_with_every_answer(serve: Any, node: Any) -> None:
    client = await serve(Backend(client=node, response_headers={"Access-Control-Allow-Origin": "https://ui.example"}))
    response = await client.get("/v1/client/stats")
    assert response.headers["Access-Control-Allow-Origin"] == "https://ui.example"
    assert (
        "Access-Control-Allow-Origin" not in (await (await serve(Backend(client=node))).get("/v1/client/stats")).headers
    )


def test_prometheus_is_told_every_digit() -> None:
    gauges = [Gauge("a", 1_234_567), Gauge("b", 12345678.5), Gauge("c", 0.1), Gauge("d", 2**60), Gauge("e", 3.0)]
    values = [line for line in prometheus_text(gauges).splitlines() if not line.startswith("#")]
    assert values == ["a 1234567", "b 12345678.5", "c 0.1", "d 1152921504606846976", "e 3"]


@pytest.mark.parametrize(
    ("offer", "is_taken"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5, br", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, identity", False),
        ("identity", False),
        ("", False),
    ],
)
def test_gzip_is_for_those_who_take_it(offer: str, is_taken: bool) -> None:
    assert accepts_gzip(make_mocked_request("GET", "/", {"Accept-Encoding": offer})) is is_taken


async def test_the_log_of_a_server_that_is_not_this_one_is_not_found(serve: Any, server: Any) -> None:
    async def lines(level: str, as_json: bool) -> AsyncIterator[bytes]:
        yield b"one\n"

    client = await serve(Backend(server=server, agent=AgentInfo(monitor=lines)))
    for name in ("leader", "s1", "s1.global", ""):
        response = await client.get(f"/v1/agent/monitor?plain=true&server_id={name}")
        assert (response.status, await response.text()) == (200, "one\n")
    assert (await client.get("/v1/agent/monitor?server_id=nope")).status == 404
