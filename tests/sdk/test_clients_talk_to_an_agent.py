"""Both clients against a small HTTP server on a real socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rove import AsyncClient, Client
from rove.errors import NotFoundError, UnavailableError
from rove.sdk import Settings
from rove.sdk.frames import data_of
from rove.sdk.request import request


class Server(ThreadingHTTPServer):
    """Remembers requests and connections; answers with what the path says."""

    daemon_threads = True

    def __init__(self, address: Any, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.address_family = family
        self.connections = 0
        self.requests: list[tuple[str, str, bytes]] = []
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_UNIX:
            self.socket.bind(self.server_address)
            self.server_name, self.server_port = "unix", 0
        else:
            super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        self.connections += 1
        found, address = super().get_request()
        return found, address or ("unix", 0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, body))
        if "hang-up" in self.path:
            # As an agent does that closes an idle connection just now.
            self.close_connection = True
            return
        if "stream" in self.path or "/fs/" in self.path:
            self._stream()
            return
        status = 404 if "missing" in self.path else 200
        data = b"no such thing" if status == 404 else json.dumps({"Path": self.path}).encode()
        self.send_response(status)
        self.send_header("X-Nomad-Index", "42")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b'{"Data":"aGVs', b'bG8="}{}', b'{"Data":"IQ=="}'):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_PUT = do_DELETE = _answer

    def log_message(self, *args: Any) -> None:
        pass


def _serving(server: Server) -> Iterator[Server]:
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    yield from _serving(Server(("127.0.0.1", 0)))


@pytest.fixture
def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_one_connection_serves_many_reads(server: Server, address: str) -> None:
    with Client(address) as client:
        for _ in range(3):
            assert client.jobs.read("a/b") == {"Path": "/v1/job/a%2Fb"}
        assert client.get("jobs").index == 42
    assert server.connections == 1


def test_a_read_on_a_connection_that_was_closed_meanwhile_is_repeated(server: Server, address: str) -> None:
    with Client(address) as client:
        client.jobs.list()
        with pytest.raises(UnavailableError):
            client.call(request("GET", "hang-up"))
        assert [path for _, path, _ in server.requests].count("/v1/hang-up") == 2


def test_a_change_is_never_sent_twice(server: Server, address: str) -> None:
    with Client(address) as client:
        client.jobs.list()
        with pytest.raises(UnavailableError):
            client.call(request("PUT", "hang-up", body={}))
    assert [method for method, path, _ in server.requests if "hang-up" in path] == ["PUT"]


def test_a_refusal_leaves_the_connection_usable(server: Server, address: str) -> None:
    with Client(address) as client:
        with pytest.raises(NotFoundError, match="no such thing"):
            client.jobs.read("missing")
        client.jobs.list()
    assert server.connections == 1


def test_nobody_listening_is_told_with_the_address() -> None:
    with pytest.raises(UnavailableError) as caught:
        Client("http://127.0.0.1:1").jobs.list()
    assert "http://127.0.0.1:1" in caught.value.what
    assert "rove agent -dev" in caught.value.fix


def test_an_agent_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = Settings(address=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
        with pytest.raises(UnavailableError, match="did not answer"):
            Client(settings=settings).jobs.list()


def test_a_unix_socket_is_an_address(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    for _server in _serving(Server(str(path), socket.AF_UNIX)):
        with Client(f"unix://{path}") as client:
            assert client.jobs.list() == {"Path": "/v1/jobs"}


def test_a_stream_gives_its_bytes(address: str) -> None:
    with Client(address) as client:
        assert b"".join(data_of(client.allocations.logs("a", "t"))) == b"hello!"


def test_a_stream_that_is_refused_raises_at_once(address: str) -> None:
    with Client(address) as client:
        with pytest.raises(NotFoundError):
            client.stream(request("GET", "missing"))


async def test_the_asynchronous_client_does_the_same(server: Server, address: str) -> None:
    async with AsyncClient(address, namespace="prod") as client:
        assert await client.jobs.read("a/b") == {"Path": "/v1/job/a%2Fb?namespace=prod"}
        assert (await client.get("jobs")).index == 42
        with pytest.raises(NotFoundError, match="no such thing"):
            await client.jobs.read("missing")
        pieces = [piece async for piece in client.allocations.logs("a", "t")]
        assert b"".join(data_of(pieces)) == b"hello!"
        await client.jobs.register({"ID": "web", "Namespace": "own"}, check_index=0)
    method, path, body = server.requests[-1]
    assert (method, path) == ("PUT", "/v1/jobs?namespace=own")
    assert json.loads(body)["EnforceIndex"] is True


async def test_the_asynchronous_client_tells_that_nobody_listens() -> None:
    async with AsyncClient("http://127.0.0.1:1") as client:
        with pytest.raises(UnavailableError):
            await client.jobs.list()
