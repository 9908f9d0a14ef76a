"""Whatever is sent to whichever route: a clear answer, no fault of our own, nothing stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rove.api import Backend
from rove.api.call import decode_body
from rove.api.filter import parse_filter
from rove.api.table import ROUTES
from rove.errors import RoveError
from rove.structs.job import Job

IDS = ["x", "a%2F..%2Fb", "..%2f..%2fetc", "%00", "a%0Ab", "%E2%80%AE", "~", "'%22%3Cscript%3E", "n" * 3000]
BODIES: list[bytes] = [
    b"", b"null", b"[]", b"{}", b'"text"', b"7", b"{", b"\xff\xfe\x00", b"[" * 3000, b'{"a":' * 3000,
    b'{"Job": {"ID": "\\u0000\\n", "TaskGroups": [null]}}', b'{"Job": {"ID": "x", "TaskGroups": [{"Count": -1}]}}',
    b'{"Job": {"ID": "x", "TaskGroups": [{"Count": 9223372036854775808}]}}', b'{"Job": {"ID": "x", "Priority": 1e400}}',
    b'{"Job": {"id": 1, "Id": 2, "iD": {}}}', b'{"Name": "' + b"x" * 5000 + b'"}', b'{"Name": "..\\u0000/"}',
    b'{"Target": {"Group": {"a": 1}}, "Count": 99999999999999999999}', b'{"Eligibility": ["eligible"]}',
    b'{"DrainSpec": {"Deadline": "soon"}}', b'{"Prefix": {"x": 1}}', b'{"Text": "\\ud800"}',
    b'{"JobHCL": "\\u0000{{{{"}',
    b'{"SchedulerAlgorithm": 7}', b'{"EvalIDs": [1, null]}', b'{"Filter": "((((("}', b'{"JobVersion": -1}',
]  # fmt: skip
VALUES = ["", "-1", "x", "99999999999999999999999", "%00", "%0d%0aX-Evil: 1", "true", "*", "a" * 2000]
STREAMS = {"/v1/event/stream"}


def _paths() -> list[tuple[str, str]]:
    found = []
    for route in ROUTES:
        if route.path not in STREAMS:
            found += [(method, route.path) for method in route.methods]
    return found


async def _checked(http: Any, method: str, path: str, body: bytes | None) -> None:
    from yarl import URL

    url = URL(str(http.make_url("/")).rstrip("/") + path, encoded=True)
    async with http.session.request(method, url, data=body, allow_redirects=False) as response:
        text = (await response.read()).decode("utf-8", "replace")
        assert "[internal]" not in text, (method, path, body)
        assert "X-Evil" not in response.headers
        assert response.status in {200, 204, 400, 404, 405, 409, 413, 429, 500, 501}, (method, path, text)
        if response.status >= 400 and "health" not in path:
            assert response.headers["Content-Type"].startswith("text/plain"), (method, path)


async def test_odd_ids_in_every_path(http: Any) -> None:
    for method, template in _paths():
        for odd in IDS if "{" in template else ["x"]:
            path = template
            while "{" in path:
                path = path[: path.index("{")] + odd + path[path.index("}") + 1 :]
            await _checked(http, method, path, b"{}" if method in {"PUT", "POST"} else None)


async def test_odd_bodies_to_every_writing_route(http: Any, server: Any) -> None:
    for method, template in _paths():
        if method not in {"PUT", "POST", "DELETE"}:
            continue
        path = template
        while "{" in path:
            path = path[: path.index("{")] + "x" + path[path.index("}") + 1 :]
        for body in BODIES:
            await _checked(http, method, path, body)
    snapshot = server.store.snapshot()
    assert list(snapshot.jobs()) == []
    assert {pool.name for pool in snapshot.node_pools()} == {"all", "default"}
    assert [namespace.name for namespace in snapshot.namespaces()] == ["default"]


async def test_odd_values_for_every_parameter(http: Any) -> None:
    for route in ROUTES:
        if route.path in STREAMS or "GET" not in route.methods:
            continue
        path = route.path
        while "{" in path:
            path = path[: path.index("{")] + "x" + path[path.index("}") + 1 :]
        for name in (*route.query, "namespace", "pretty"):
            for value in VALUES:
                if name in {"index", "wait"}:
                    await _checked(http, "GET", f"{path}?{name}={value}&wait=1ms", None)
                else:
                    await _checked(http, "GET", f"{path}?{name}={value}", None)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(st.text(alphabet="ab.\"'`[]{}(),=!<> \\/01-_\n\x00isnotemptyandorcontainsmatchesanyallas", max_size=200))
def test_no_filter_text_makes_the_parser_fault(text: str) -> None:
    try:
        parse_filter(text)(Job(id="a"))
    except RoveError as error:
        assert error.status == 400


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_fault(raw: bytes) -> None:
    from rove.api.scale import ScaleBody

    try:
        decode_body(raw, ScaleBody)
    except RoveError as error:
        assert error.status == 400


async def test_a_body_that_does_not_come_is_given_up(serve: Any, node: Any) -> None:
    client = await serve(Backend(client=node, body_timeout_s=0.05))
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"PUT /v1/client/allocation/a1/restart HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    async with asyncio.timeout(20):
        assert b" 408 " in await reader.readline()
    writer.close()
    assert node.asked == []


async def test_a_full_disk_is_said_to_be_one(http: Any, server: Any, job: Any) -> None:
    import errno

    server._engine.fail_with = OSError(errno.ENOSPC, "No space left on device")
    response = await http.put("/v1/jobs", json={"Job": job()})
    assert response.status == 500
    assert "No space left on device" in await response.text()
    server._engine.fail_with = None
    assert await (await http.get("/v1/jobs")).json() == []
    assert (await http.put("/v1/jobs", json={"Job": job()})).status == 200


async def test_a_write_is_carried_through_when_the_client_hangs_up(http: Any, server: Any, job: Any) -> None:
    import json

    body = json.dumps({"Job": job()}).encode()
    server._engine.pause()
    _, writer = await asyncio.open_connection(http.host, http.port)
    writer.write(b"PUT /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with asyncio.timeout(20):
        while server.store.head().job("default", "web") is None:
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        server._engine.resume()
        while server.store.snapshot().job("default", "web") is None:
            await asyncio.sleep(0)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "file://"])
async def test_a_foreign_page_cannot_register(http: Any, job: Any, origin: str) -> None:
    response = await http.post("/v1/jobs", json={"Job": job()}, headers={"Origin": origin})
    assert response.status == 403
    assert await (await http.get("/v1/jobs", headers={"Origin": origin})).json() == []


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_whose_compression_is_damaged_is_refused(
    http: Any, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    async with http.session.put(http.make_url("/v1/jobs"), data=b"\x1f\x8b no such thing", headers=headers) as response:
        assert response.status == 400
        assert "the request body cannot be read" in await response.text()
    assert (await http.get("/v1/jobs")).status == 200
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("query", ["wait=abc", "wait=-1s", "index=0&wait=abc"])
async def test_a_wait_that_is_no_duration_is_refused_without_an_index_too(http: Any, query: str) -> None:
    assert (await http.get(f"/v1/jobs?{query}")).status == 400
