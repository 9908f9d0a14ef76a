"""The blocking and the asynchronous client over TLS, with certificates made for the test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rove import AsyncClient, Client
from rove.errors import BadRequestError, UnavailableError
from rove.sdk import Settings


@dataclass
class Tls:
    """A server that asks for certificates if told so, and the files to talk to it."""

    address: str
    cert: str
    key: str


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=server.global.rove", "-addext", "subjectAltName=DNS:server.global.rove"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def _serve(files: tuple[str, str], *, mutual: bool) -> Iterator[Tls]:
    cert, key = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if mutual:
        context.load_verify_locations(cert)
        context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield Tls(f"https://127.0.0.1:{server.server_address[1]}", cert, key)
    server.shutdown()
    server.server_close()


@pytest.fixture
def tls(files: tuple[str, str]) -> Iterator[Tls]:
    yield from _serve(files, mutual=False)


@pytest.fixture
def mutual(files: tuple[str, str]) -> Iterator[Tls]:
    yield from _serve(files, mutual=True)


def _settings(tls: Tls, **more: Any) -> Settings:
    return Settings(address=tls.address, ca_cert=tls.cert, tls_server_name="server.global.rove", **more)


async def _both(settings: Settings) -> list[Any]:
    async with AsyncClient(settings=settings) as client:
        found = [await client.jobs.list()]
    with Client(settings=settings) as blocking:
        return [*found, blocking.jobs.list()]


async def test_a_known_authority_and_name_are_trusted(tls: Tls) -> None:
    assert await _both(_settings(tls)) == [[], []]


async def test_verification_can_be_left_out(tls: Tls) -> None:
    assert await _both(Settings(address=tls.address, tls_skip_verify=True)) == [[], []]


@pytest.mark.parametrize("what", ["authority", "name"])
async def test_a_stranger_is_not_trusted(what: str, tls: Tls) -> None:
    if what == "authority":
        settings = Settings(address=tls.address, tls_server_name="server.global.rove")
    else:
        settings = Settings(address=tls.address, ca_cert=tls.cert)
    with pytest.raises(UnavailableError, match="no agent answered"):
        Client(settings=settings).jobs.list()
    async with AsyncClient(settings=settings) as client:
        with pytest.raises(UnavailableError):
            await client.jobs.list()


async def test_the_own_certificate_is_shown(mutual: Tls) -> None:
    settings = _settings(mutual, client_cert=mutual.cert, client_key=mutual.key)
    assert await _both(settings) == [[], []]
    with pytest.raises(UnavailableError):
        Client(settings=_settings(mutual)).jobs.list()


def test_files_that_are_no_certificates_are_refused(tls: Tls, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nonsense")
    for settings in (Settings(address=tls.address, ca_cert=str(wrong)), _settings(tls, client_cert=str(wrong))):
        with pytest.raises(BadRequestError, match="cannot be used"):
            Client(settings=settings).jobs.list()
