"""`alloc exec` as a process of its own against a WebSocket that speaks the exec frames."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from rove.cli.alloc_exec import Escape
from rove.errors import RoveError
from rove.sdk import AsyncClient
from rove.sdk.exec import Input, Resize, execute

ALLOC_ID = "a1b2c3d4-0000-4000-8000-000000000001"
Serve = Callable[[web.Request, web.WebSocketResponse], Awaitable[None]]


class Task:
    """A task in which commands run: `serve` decides what happens to a connection."""

    def __init__(self) -> None:
        self.serve: Serve = echo
        self.queries: list[dict[str, str]] = []
        self.frames: list[dict[str, Any]] = []
        self.address = ""

    async def connected(self, request: web.Request) -> web.WebSocketResponse:
        self.queries.append(dict(request.query))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.serve(request, socket)
        await socket.close()
        return socket

    async def stubs(self, request: web.Request) -> web.Response:
        return web.json_response([{"ID": ALLOC_ID, "TaskStates": {"server": {}}, "Namespace": "default"}])

    async def alloc(self, request: web.Request) -> web.Response:
        job = {"TaskGroups": [{"Name": "api", "Tasks": [{"Name": "server"}]}]}
        return web.json_response({"ID": ALLOC_ID, "TaskGroup": "api", "Job": job})


async def echo(request: web.Request, socket: web.WebSocketResponse) -> None:
    """Sends input back until it is closed, then exits with 7."""
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            break
        stdin = json.loads(message.data).get("stdin") or {}
        if stdin.get("data"):
            await socket.send_str(json.dumps({"stdout": {"data": stdin["data"]}}))
        if stdin.get("close"):
            break
    await socket.send_str("{}")
    await socket.send_str(json.dumps({"stderr": {"data": b64encode(b"bye").decode()}}))
    await socket.send_str(json.dumps({"exited": True, "result": {"exit_code": 7}}))


@pytest.fixture
async def task() -> AsyncIterator[Task]:
    made = Task()
    app = web.Application()
    app.router.add_get("/v1/allocations", made.stubs)
    app.router.add_get(f"/v1/allocation/{ALLOC_ID}", made.alloc)
    app.router.add_get(f"/v1/client/allocation/{ALLOC_ID}/exec", made.connected)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def _inputs(*items: Input) -> AsyncIterator[Input]:
    for item in items:
        yield item
    await asyncio.Event().wait()


async def _run(task: Task, *items: Input, tty: bool = False) -> tuple[int, dict[str, bytes]]:
    found = {"stdout": b"", "stderr": b""}

    def output(kind: str, data: bytes) -> None:
        found[kind] += data

    async with AsyncClient(task.address) as client:
        code = await execute(
            client, ALLOC_ID, ["cat", "-n"], task="server", tty=tty, inputs=_inputs(*items), output=output
        )
    return code, found


async def test_input_output_and_exit_code_pass(task: Task) -> None:
    code, found = await _run(task, b"hello", b"\x00\xff", b"")
    assert code == 7
    assert found == {"stdout": b"hello\x00\xff", "stderr": b"bye"}
    assert json.loads(task.queries[0]["command"]) == ["cat", "-n"]
    assert task.queries[0]["task"] == "server"


async def test_the_window_size_is_told(task: Task) -> None:
    sizes = []

    async def serve(request: web.Request, socket: web.WebSocketResponse) -> None:
        sizes.append(json.loads((await socket.receive()).data))
        await socket.send_str(json.dumps({"exited": True, "result": {"exit_code": 0}}))

    task.serve = serve
    code, _ = await _run(task, Resize(height=24, width=80), tty=True)
    assert code == 0
    assert sizes == [{"tty_size": {"height": 24, "width": 80}}]
    assert task.queries[0]["tty"] == "true"


async def test_a_refusal_is_an_error_with_the_agents_words(task: Task) -> None:
    async def serve(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.close(code=1008, message=b"the task is not running")

    task.serve = serve
    with pytest.raises(RoveError, match="the task is not running"):
        await _run(task)


async def test_a_connection_that_breaks_off_is_an_error(task: Task) -> None:
    async def serve(request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        request.transport.abort()

    task.serve = serve
    with pytest.raises(RoveError, match="ended before the command"):
        await _run(task)


async def test_an_unknown_allocation_is_an_error(task: Task) -> None:
    async with AsyncClient(task.address) as client:
        with pytest.raises(RoveError) as caught:
            await execute(
                client, "nope", ["ls"], task="t", tty=False, inputs=_inputs(), output=lambda kind, data: None
            )  # fmt: skip
    assert caught.value.status == 404


async def _process(task: Task, command: list[str], *args: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    env = {**os.environ, "ROVE_ADDR": task.address}
    process = await asyncio.create_subprocess_exec(
        *command, "alloc", "exec", *args, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=env,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    assert process.returncode is not None
    return process.returncode, out, err


async def test_the_program_ends_with_the_commands_code(task: Task, rove_command: list[str]) -> None:
    large = bytes(range(256)) * 2000
    code, out, err = await _process(task, rove_command, "-i", "-task", "server", "a1b2c3d4", "cat", "-n", stdin=large)
    assert (code, err) == (7, b"bye")
    assert out == large


async def test_without_input_standard_input_is_closed_at_once(task: Task, rove_command: list[str]) -> None:
    code, out, _ = await _process(task, rove_command, "-i=false", "a1b2c3d4", "cat", stdin=b"unread")
    assert (code, out) == (7, b"")


async def test_the_flags_of_the_command_are_its_own(task: Task, rove_command: list[str]) -> None:
    await _process(task, rove_command, "a1b2c3d4", "sh", "-c", "-task", "--", "x")
    assert json.loads(task.queries[0]["command"]) == ["sh", "-c", "-task", "--", "x"]


async def test_on_a_terminal_keys_go_through_as_they_are_typed(task: Task, rove_command: list[str]) -> None:
    received = bytearray()
    seen = asyncio.Event()

    async def serve(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"stdout": {"data": b64encode(b"ready").decode()}}))
        async for message in socket:
            stdin = json.loads(message.data).get("stdin") or {}
            received.extend(b64decode(stdin.get("data", "")))
            if b"\x03" in received:
                break
        seen.set()
        await socket.send_str(json.dumps({"exited": True, "result": {"exit_code": 5}}))

    task.serve = serve
    main, side = pty.openpty()
    env = {**os.environ, "ROVE_ADDR": task.address}
    command = [*rove_command, "alloc", "exec", "a1b2c3d4", "sh"]
    process = await asyncio.create_subprocess_exec(*command, stdin=side, stdout=side, stderr=side, env=env)
    os.close(side)
    try:
        loop = asyncio.get_running_loop()
        shown = b""
        while b"ready" not in shown:
            shown += await asyncio.wait_for(loop.run_in_executor(None, os.read, main, 1024), 60)
        # Ctrl-C is a byte for the command here, not an interrupt of ours.
        os.write(main, b"ls\x03")
        await asyncio.wait_for(seen.wait(), 60)
        assert await asyncio.wait_for(process.wait(), 60) == 5
        assert bytes(received) == b"ls\x03"
        assert task.queries[0]["tty"] == "true"
    finally:
        os.close(main)


async def test_ctrl_c_ends_it_without_a_word_of_python(task: Task, rove_command: list[str]) -> None:
    connected = asyncio.Event()

    async def serve(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"stdout": {"data": b64encode(b"ready").decode()}}))
        connected.set()
        await socket.receive()

    task.serve = serve
    process = await asyncio.create_subprocess_exec(
        *rove_command, "alloc", "exec", "-i=false", "a1b2c3d4", "cat", stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={**os.environ, "ROVE_ADDR": task.address},
    )  # fmt: skip
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readexactly(5), 60) == b"ready"
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode != 0
    assert b"Traceback" not in err
    assert b"never retrieved" not in err


ESCAPES = [
    (b"ls\n", b"ls\n", False),
    (b"~.", b"", True),
    (b"ls\r~.more", b"ls\r", True),
    (b"a~.", b"a~.", False),
    (b"~~.", b"~.", False),
    (b"~x", b"~x", False),
]


@pytest.mark.parametrize(("typed", "passed", "hung_up"), ESCAPES)
def test_a_tilde_and_a_dot_at_the_start_of_a_line_hang_up(typed: bytes, passed: bytes, hung_up: bool) -> None:
    assert Escape("~").feed(typed) == (passed, hung_up)
    watch = Escape("~")
    pieces = [watch.feed(bytes([code])) for code in typed[: len(typed) if not hung_up else typed.index(b".") + 1]]
    assert (b"".join(data for data, _ in pieces), pieces[-1][1]) == (passed, hung_up)


def test_without_an_escape_character_nothing_hangs_up() -> None:
    assert Escape("").feed(b"~.") == (b"~.", False)
