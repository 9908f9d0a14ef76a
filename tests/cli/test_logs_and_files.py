from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from rove.cli.alloc_files import start_of_last_lines

ALLOC_ID = "a1b2c3d4-0000-4000-8000-000000000001"
LINES = b"".join(b"line %d\n" % number for number in range(1, 31))


def _frames(data: bytes, size: int = 50) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    frames = [
        {"Offset": 0, "Data": base64.b64encode(piece).decode(), "File": "alloc/logs/t.stdout.0"} for piece in pieces
    ]
    return b"{}" + b"{}".join(json.dumps(frame).encode() for frame in frames)


@pytest.fixture
def logging_agent(cluster: Any, answers: Any) -> Any:
    def logs(call: Any) -> Any:
        data = LINES if call.params["type"] == "stdout" else b"oops\n"
        if call.params["origin"] == "end":
            data = data[-int(call.params["offset"]) :] if int(call.params["offset"]) else b""
        return answers.Answer(_frames(data))

    cluster.on(f"GET /v1/client/fs/logs/{ALLOC_ID}", logs)
    return cluster


def test_the_output_of_a_task_is_printed_byte_for_byte(logging_agent: Any, rove: Any) -> None:
    assert rove("alloc", "logs", "a1b2c3d4", "server").out.encode() == LINES
    assert rove("logs", "-stderr", "-task", "server", "a1b2c3d4").out == "oops\n"


def test_a_tail_is_ten_lines_unless_told_otherwise(logging_agent: Any, rove: Any) -> None:
    assert rove("alloc", "logs", "-tail", "a1b2c3d4", "server").out.splitlines() == [f"line {n}" for n in range(21, 31)]
    assert rove("alloc", "logs", "-tail", "-n", "2", "a1b2c3d4", "server").out == "line 29\nline 30\n"
    assert rove("alloc", "logs", "-tail", "-n=500", "a1b2c3d4", "server").out.encode() == LINES
    assert rove("alloc", "logs", "-tail", "-c", "8", "a1b2c3d4", "server").out == "line 30\n"


def test_following_without_a_choice_shows_output_and_error_each_on_its_own(logging_agent: Any, rove: Any) -> None:
    result = rove("alloc", "logs", "-f", "a1b2c3d4", "server")
    assert result.out.encode() == LINES
    assert result.err == "oops\n"


def test_the_log_of_a_job_is_that_of_a_running_allocation(logging_agent: Any, rove: Any) -> None:
    assert rove("alloc", "logs", "-job", "web", "server").out.encode() == LINES


@pytest.mark.parametrize(
    ("data", "wanted", "start"),
    [
        (b"a\nb\nc\n", 1, 4),
        (b"a\nb\nc", 1, 4),
        (b"a\nb\nc\n", 2, 2),
        (b"a\nb\n", 2, None),
        (b"", 1, None),
        (b"a\n\n", 1, 2),
    ],
)
def test_the_last_lines_are_found(data: bytes, wanted: int, start: int | None) -> None:
    assert start_of_last_lines(data, wanted) == start


@pytest.fixture
def files(cluster: Any, answers: Any) -> Any:
    entry = {"Name": "t.txt", "IsDir": False, "Size": len(LINES), "FileMode": "-rw-r--r--"}
    entry["ModTime"] = "2023-11-14T22:13:20.5Z"
    folder = {"Name": "local", "IsDir": True, "Size": 4096, "FileMode": "drwxr-xr-x", "ModTime": entry["ModTime"]}

    def stat(call: Any) -> Any:
        if call.params["path"] == "/gone":
            return answers.Answer("no such file", status=404)
        return entry if call.params["path"].endswith(".txt") else folder

    def read_at(call: Any) -> Any:
        start = int(call.params["offset"])
        return answers.Answer(LINES[start : start + int(call.params["limit"])])

    cluster.on(f"GET /v1/client/fs/stat/{ALLOC_ID}", stat)
    cluster.on(f"GET /v1/client/fs/ls/{ALLOC_ID}", [folder, entry])
    cluster.on(f"GET /v1/client/fs/cat/{ALLOC_ID}", answers.Answer(LINES))
    cluster.on(f"GET /v1/client/fs/readat/{ALLOC_ID}", read_at)
    return cluster


def test_a_folder_is_listed(files: Any, transcript: Any) -> None:
    assert transcript("alloc-fs", "alloc", "fs", "a1b2c3d4").code == 0
    assert transcript("alloc-fs-stat", "alloc", "fs", "-stat", "-H", "a1b2c3d4", "server/local/t.txt").code == 0


def test_a_file_is_printed_whole_or_from_the_end(files: Any, rove: Any) -> None:
    assert rove("alloc", "fs", "a1b2c3d4", "t.txt").out.encode() == LINES
    assert rove("alloc", "fs", "-tail", "-n", "1", "a1b2c3d4", "t.txt").out == "line 30\n"
    assert rove("alloc", "fs", "-c", "3", "a1b2c3d4", "t.txt").out == "30\n"


def test_a_file_that_is_not_there_is_an_error(files: Any, rove: Any) -> None:
    result = rove("alloc", "fs", "a1b2c3d4", "/gone")
    assert result.code == 1
    assert "no such file" in result.err


def test_a_stream_that_is_no_stream_says_so(cluster: Any, answers: Any, rove: Any) -> None:
    cluster.on(f"GET /v1/client/fs/logs/{ALLOC_ID}", answers.Answer(b"<html>a proxy</html>"))
    result = rove("alloc", "logs", "a1b2c3d4", "server")
    assert result.code == 1
    assert "the stream broke off" in result.err


def test_the_agents_log_is_followed(agent: Any, answers: Any, rove: Any) -> None:
    agent.on("GET /v1/agent/monitor", answers.Answer(_frames(b"2023 [INFO] hello\n")))
    assert rove("monitor", "-log-level", "DEBUG").out == "2023 [INFO] hello\n"
    assert agent.sent("GET", "/v1/agent/monitor").params["log_level"] == "debug"
