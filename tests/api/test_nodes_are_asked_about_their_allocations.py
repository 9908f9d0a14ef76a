"""/v1/client/*: files, logs, statistics, restarts, signals and commands."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import msgspec
import pytest

from rove.errors import NotFoundError
from rove.structs.messages import (
    ExecInput,
    ExecOutput,
    FileRequest,
    Kind,
    LogsRequest,
    RestartRequest,
    SignalRequest,
    StreamChunk,
)


async def test_a_directory_is_a_list_of_entries(node_http: Any, node: Any) -> None:
    response = await node_http.get("/v1/client/fs/ls/a1?path=/alloc")
    assert response.status == 200
    assert (await response.json())[0]["Name"] == "alloc"
    assert node.asked == [(Kind.FS_LIST, FileRequest(alloc_id="a1", path="/alloc"))]


async def test_a_file_is_sent_as_text_that_no_browser_runs(node_http: Any, node: Any) -> None:
    node.chunks = [StreamChunk(data=b"<script>"), StreamChunk(data=b"x</script>")]
    response = await node_http.get("/v1/client/fs/cat/a1?path=x.html")
    assert await response.read() == b"<script>x</script>"
    assert response.headers["Content-Type"].startswith("text/plain")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert node.streams[0].closed


async def test_a_missing_file_is_404_and_not_an_empty_200(node_http: Any, node: Any) -> None:
    node.chunks = []
    for path in ("cat/a1?path=x", "stream/a1?path=x", "logs/a1?task=t&type=stdout"):
        response = await node_http.get(f"/v1/client/fs/{path}")
        assert response.status == 404
        assert "no such file" in await response.text()


async def test_logs_come_as_frames_one_a_line(node_http: Any, node: Any) -> None:
    response = await node_http.get("/v1/client/fs/logs/a1?task=app&type=stderr&origin=end&offset=10&follow=true")
    assert response.headers["Transfer-Encoding"] == "chunked"
    lines = (await response.text()).splitlines()
    assert json.loads(lines[0]) == {"Offset": 5, "Data": "aGVsbG8=", "File": "alloc/logs/app.stdout.0"}
    asked = LogsRequest(alloc_id="a1", task="app", kind="stderr", origin="end", offset=10, follow=True)
    assert node.asked == [(Kind.FS_LOGS, asked)]


async def test_a_big_chunk_is_cut_into_frames_whose_offsets_end_where_the_chunk_does(node_http: Any, node: Any) -> None:
    node.chunks = [StreamChunk(offset=1_000 + 150_000, data=b"x" * 150_000, file="f")]
    lines = (await (await node_http.get("/v1/client/fs/stream/a1?path=f")).text()).splitlines()
    assert [json.loads(line)["Offset"] for line in lines] == [1_000 + 65_536, 1_000 + 131_072, 151_000]


async def test_plain_logs_are_the_bytes_themselves(node_http: Any) -> None:
    response = await node_http.get("/v1/client/fs/logs/a1?task=app&type=stdout&plain=true")
    assert await response.read() == b"hello"


@pytest.mark.parametrize(
    "path",
    [
        "logs/a1?type=stdout",
        "logs/a1?task=app",
        "logs/a1?task=app&type=both",
        "logs/a1?task=app&type=stdout&origin=middle",
        "logs/a1?task=app&type=stdout&offset=-1",
        "logs/a1?task=app&type=stdout&follow=perhaps",
        "stat/a1",
        "cat/a1",
        "readat/a1?path=x",
        "readat/a1?path=x&offset=ten",
        "stream/a1",
    ],
)
async def test_a_missing_or_wrong_parameter_is_400(node_http: Any, path: str) -> None:
    response = await node_http.get(f"/v1/client/fs/{path}")
    assert response.status == 400
    assert response.headers["Content-Type"].startswith("text/plain")


async def test_restart_and_signal_reach_the_node(node_http: Any, node: Any) -> None:
    base = "/v1/client/allocation/a1"
    assert (await node_http.post(f"{base}/restart", data=b"")).status == 200
    assert (await node_http.put(f"{base}/restart", json={"TaskName": "app"})).status == 200
    assert (await node_http.put(f"{base}/signal", json={"Task": "app", "Signal": "SIGHUP"})).status == 200
    assert [body for _, body in node.asked] == [
        RestartRequest(alloc_id="a1"),
        RestartRequest(alloc_id="a1", task="app"),
        SignalRequest(alloc_id="a1", task="app", signal="SIGHUP"),
    ]
    assert (await node_http.put(f"{base}/signal", json={})).status == 400
    assert (await node_http.put(f"{base}/restart", json={"TaskName": "a", "AllTasks": True})).status == 400


async def test_the_nodes_own_error_is_passed_on(node_http: Any, node: Any) -> None:
    node.error = NotFoundError("alloc.task", "no such task")
    response = await node_http.put("/v1/client/allocation/a1/signal", json={"Signal": "SIGHUP"})
    assert response.status == 404
    assert "no such task" in await response.text()


async def test_a_stream_that_breaks_off_is_not_mistaken_for_its_end(node_http: Any, node: Any) -> None:
    node.break_off = True
    for path in ("cat/a1?path=x", "logs/a1?task=t&type=stdout"):
        with pytest.raises(aiohttp.ClientError):
            await (await node_http.get(f"/v1/client/fs/{path}")).read()


async def test_host_statistics(node_http: Any, node: Any) -> None:
    assert await (await node_http.get("/v1/client/stats")).json() == {"Uptime": 1}
    assert await (await node_http.get(f"/v1/client/stats?node_id={node.node_id}")).json() == {"Uptime": 1}


async def test_a_command_runs_over_a_websocket(node_http: Any, node: Any) -> None:
    node.chunks = [ExecOutput(stdout=b"out"), ExecOutput(stderr=b"err"), ExecOutput(exited=True, exit_code=3)]
    path = '/v1/client/allocation/a1/exec?task=app&tty=true&command=["sh","-c","x"]'
    async with node_http.ws_connect(path) as socket:
        frames = [json.loads(message.data) async for message in socket]
    assert frames[0] == {"stdout": {"data": "b3V0"}}
    assert frames[1] == {"stderr": {"data": "ZXJy"}}
    assert frames[-1] == {"exited": True, "result": {"exit_code": 3}}
    assert node.asked[0][1].command == ("sh", "-c", "x")
    assert node.asked[0][1].tty is True
    assert node.streams[0].closed


def test_what_a_client_types_becomes_messages_for_the_node() -> None:
    from rove.api.exec import InFrame, input_of

    def read(text: str) -> Any:
        return input_of(msgspec.json.decode(text, type=InFrame))

    assert read('{"stdin":{"data":"aGk="}}') == ExecInput(stdin=b"hi")
    assert read('{"stdin":{"close":true}}') == ExecInput(close=True)
    assert read('{"tty_size":{"height":24,"width":80}}') == ExecInput(height=24, width=80)
    assert read("{}") is None


async def test_a_refused_command_closes_the_socket_with_the_reason(node_http: Any, node: Any) -> None:
    node.error = NotFoundError("alloc.task", "no such task")
    async with node_http.ws_connect('/v1/client/allocation/a1/exec?task=app&command=["ls"]') as socket:
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1008
        assert "no such task" in message.extra


@pytest.mark.parametrize("query", ["", "task=a", "task=a&command=ls", "task=a&command=[]", "task=a&command=[1]"])
async def test_a_command_that_cannot_be_read_is_400(node_http: Any, query: str) -> None:
    response = await node_http.get(f"/v1/client/allocation/a1/exec?{query}")
    assert response.status == 400


async def test_a_web_page_of_another_origin_gets_no_shell_and_cannot_write(node_http: Any) -> None:
    headers = {"Origin": "http://evil.example"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await node_http.ws_connect('/v1/client/allocation/a1/exec?task=a&command=["ls"]', headers=headers)
    assert caught.value.status == 403
    response = await node_http.post("/v1/client/allocation/a1/restart", headers=headers)
    assert response.status == 403


async def test_the_page_of_this_agent_may_write(node_http: Any) -> None:
    origin = f"http://{node_http.host}:{node_http.port}"
    response = await node_http.post("/v1/client/allocation/a1/restart", headers={"Origin": origin})
    assert response.status == 200
