"""Probes against real sockets: what counts as an answer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rove.client.checks import grpc
from rove.client.checks.core import CheckSpec, Result, Status
from rove.client.checks.probes import Prober
from rove.client.drivers.base import DriverError


def a_check(port: int, kind: str = "http", **fields: Any) -> CheckSpec:
    defaults: dict[str, Any] = {
        "id": "1", "name": "ping", "service": "web", "service_id": "s1", "group": "api", "kind": kind,
        "host": "127.0.0.1", "port": port, "path": "/health", "timeout_s": 20.0,
    }  # fmt: skip
    return CheckSpec(**{**defaults, **fields})


class Script:
    """A command that says something and ends."""

    def __init__(self, text: bytes = b"", code: int = 0, hangs: bool = False) -> None:
        self.text, self.code, self.hangs = text, code, hangs
        self.killed = False
        self.asked: tuple[str, list[str]] | None = None

    async def __call__(self, task: str, command: list[str]) -> Any:
        self.asked = (task, command)
        return self

    async def close_stdin(self) -> None:
        pass

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        yield ("stdout", self.text)
        if self.hangs:
            await asyncio.Event().wait()

    async def wait(self) -> int:
        return self.code

    async def kill(self) -> None:
        self.killed = True


async def no_task(task: str, command: list[str]) -> Any:
    raise DriverError("the task is not running")


@pytest.fixture
async def prober() -> AsyncIterator[Prober]:
    made = Prober()
    yield made
    await made.close()


class Site:
    """A web server that remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.status = 200
        self.text = "fine"
        self.location = ""
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path_qs, dict(request.headers), await request.text()))
        headers = {"Location": self.location} if self.location else {}
        return web.Response(status=self.status, text=self.text, headers=headers)


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await listener.start()
    site.port = runner.addresses[0][1]
    yield site
    await runner.cleanup()


async def closed_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.mark.parametrize(
    ("code", "status"),
    [(200, Status.PASSING), (204, Status.PASSING), (302, Status.PASSING), (429, Status.WARNING),
     (404, Status.CRITICAL), (503, Status.CRITICAL)],
)  # fmt: skip
async def test_http_goes_by_the_status(prober: Prober, code: int, status: Status) -> None:
    async with serving() as site:
        site.status = code
        result = await prober.ask(a_check(site.port), no_task)
    assert (result.status, result.code) == (status, code)


async def test_http_asks_as_it_is_told_to(prober: Prober) -> None:
    async with serving() as site:
        spec = a_check(
            site.port, path="/health?deep=%2Fyes", method="POST", body="hello",
            headers=(("Host", "example.test"), ("X-Twice", "1")),
        )  # fmt: skip
        await prober.ask(spec, no_task)
    method, path, headers, body = site.requests[0]
    assert (method, path, body) == ("POST", "/health?deep=%2Fyes", "hello")
    assert (headers["Host"], headers["X-Twice"]) == ("example.test", "1")


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/ HTTP/1.1\r\nX-Evil: 1\r\n\r\nGET /"},
        {"method": "GET / HTTP/1.1\r\nX-Evil: 1\r\n\r\nGET"},
        {"headers": (("X-A", "1\r\nX-Evil: 1"),)},
        {"headers": (("X-A: 1\r\nX-Evil", "1"),)},
        {"host": "127.0.0.1/\r\nX-Evil: 1"},
    ],
)
async def test_nothing_in_a_check_becomes_another_request(prober: Prober, fields: dict[str, Any]) -> None:
    async with serving() as site:
        await prober.ask(a_check(site.port, **fields), no_task)
    assert len(site.requests) <= 1
    assert all("X-Evil" not in headers for _, _, headers, _ in site.requests)


async def test_http_does_not_follow_where_a_task_points(prober: Prober) -> None:
    async with serving() as site, serving() as elsewhere:
        site.status, site.location = 302, f"http://127.0.0.1:{elsewhere.port}/secret"
        await prober.ask(a_check(site.port), no_task)
        assert elsewhere.requests == []


async def test_http_says_what_was_answered_and_no_more_than_a_little(prober: Prober) -> None:
    async with serving() as site:
        site.status, site.text = 500, "no database" + "x" * 100_000
        result = await prober.ask(a_check(site.port), no_task)
    assert result.output.startswith("HTTP 500 Internal Server Error: no database")
    assert len(result.output) <= 3 * 1024


@pytest.mark.parametrize("kind", ["http", "tcp", "grpc"])
async def test_nobody_there_is_a_failure_with_a_reason(prober: Prober, kind: str) -> None:
    result = await prober.ask(a_check(await closed_port(), kind), no_task)
    assert result.status is Status.CRITICAL
    assert "onnect" in result.output


@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_no_answer_in_time_is_a_failure(prober: Prober, kind: str) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    result = await prober.ask(a_check(server.sockets[0].getsockname()[1], kind, timeout_s=0.05), no_task)
    server.close()
    assert result == Result(Status.CRITICAL, "no answer within 0.05 s")


async def test_tcp_takes_a_connection_for_an_answer(prober: Prober) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    result = await prober.ask(a_check(server.sockets[0].getsockname()[1], "tcp"), no_task)
    server.close()
    assert result.status is Status.PASSING


async def test_hostile_answers_are_failures_and_nothing_else(prober: Prober) -> None:
    for text in (b"\0\xff" * 5000, b"HTTP/1.1 999999999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n"):

        async def answer(_: Any, writer: asyncio.StreamWriter, text: bytes = text) -> None:
            writer.write(text)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for kind in ("http", "grpc"):
            assert (await prober.ask(a_check(port, kind), no_task)).status is Status.CRITICAL
        server.close()


@pytest.mark.parametrize(("code", "status"), [(0, Status.PASSING), (1, Status.WARNING), (2, Status.CRITICAL)])
async def test_a_script_goes_by_its_exit_code(prober: Prober, code: int, status: Status) -> None:
    script = Script(b"all said", code)
    result = await prober.ask(a_check(0, "script", task="main", command=("/bin/check", "-v")), script)
    assert result == Result(status, "all said", code)
    assert script.asked == ("main", ["/bin/check", "-v"])
    assert script.killed


async def test_a_script_that_hangs_is_ended(prober: Prober) -> None:
    script = Script(hangs=True)
    result = await prober.ask(a_check(0, "script", command=("x",), timeout_s=0.05), script)
    assert result.status is Status.CRITICAL
    assert script.killed


async def test_a_script_of_a_task_that_does_not_run_fails(prober: Prober) -> None:
    result = await prober.ask(a_check(0, "script", command=("x",)), no_task)
    assert result == Result(Status.CRITICAL, "the task is not running")


async def test_never_more_than_so_many_ask_at_once() -> None:
    prober, busy, most = Prober(scripts_at_once=2), 0, 0

    class Counting(Script):
        async def wait(self) -> int:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            for _ in range(5):
                await asyncio.sleep(0)
            busy -= 1
            return 0

    await asyncio.gather(*(prober.ask(a_check(0, "script", command=("x",)), Counting()) for _ in range(20)))
    await prober.close()
    assert most == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
         "-days", "2", "-subj", "/CN=localhost"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_https_wants_a_certificate_it_knows_unless_told_otherwise(
    prober: Prober, certificate: ssl.SSLContext
) -> None:
    async with serving(certificate) as site:
        strict = await prober.ask(a_check(site.port, protocol="https"), no_task)
        lenient = await prober.ask(a_check(site.port, protocol="https", tls_skip_verify=True), no_task)
    assert strict.status is Status.CRITICAL
    assert "certificate" in strict.output
    assert lenient.status is Status.PASSING


class Health:
    """Just enough of a gRPC server; remembers what it was sent."""

    def __init__(self, message: bytes | None) -> None:
        self.message = message
        self.received = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while grpc.frame(grpc.SETTINGS, grpc.ACK, 0) not in self.received:
            if not self.received:
                writer.write(grpc.frame(grpc.SETTINGS, 0, 0) + grpc.frame(grpc.PING, 0, 0, b"12345678"))
            data = await reader.read(65536)
            if not data:
                return
            self.received += data
        writer.write(grpc.frame(grpc.HEADERS, 4, 1, b"\x88"))
        if self.message is not None:
            body = b"\0" + struct.pack(">I", len(self.message)) + self.message
            writer.write(grpc.frame(grpc.DATA, 0, 1, body[:3]) + grpc.frame(grpc.DATA, 0, 1, body[3:]))
        writer.write(grpc.frame(grpc.HEADERS, 4 | grpc.END_STREAM, 1, b"\x88"))
        await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    ("message", "status", "words"),
    [(b"\x08\x01", Status.PASSING, "serving"), (b"\x08\x02", Status.CRITICAL, "not serving"),
     (b"", Status.CRITICAL, "unknown"), (None, Status.CRITICAL, "without a health state")],
)  # fmt: skip
async def test_grpc_goes_by_the_health_service(
    prober: Prober, message: bytes | None, status: Status, words: str
) -> None:
    health = Health(message)
    server = await asyncio.start_server(health, "127.0.0.1", 0)
    result = await prober.ask(a_check(server.sockets[0].getsockname()[1], "grpc", grpc_service="my.Service"), no_task)
    server.close()
    assert result.status is status
    assert words in result.output
    assert b"\0\0\0\0\x0c\x0a\x0amy.Service" in health.received
