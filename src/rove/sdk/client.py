"""The blocking client. Standard library only, so that the command line starts fast."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from rove.sdk.request import (
    Options,
    Reply,
    Request,
    error_of,
    headers_of,
    reply_of,
    request,
    too_slow,
    unreachable,
)
from rove.sdk.resources import Resources
from rove.sdk.settings import Endpoint, Settings, parse_address

if TYPE_CHECKING:
    import ssl

CHUNK_BYTES = 64 * 1024


class Client(Resources[Any, Iterator[bytes]]):
    """Rove's API, blocking. One connection is kept open; use one client per thread.

    Without arguments the settings come from ``ROVE_*`` and ``NOMAD_*`` environment variables; arguments
    win over them. Every method raises RoveError when the call does not succeed.
    """

    def __init__(
        self,
        address: str = "",
        *,
        token: str = "",
        namespace: str = "",
        region: str = "",
        settings: Settings | None = None,
    ) -> None:
        self.settings = _chosen(settings or Settings.from_env(os.environ), address, token, namespace, region)
        self._endpoint = parse_address(self.settings.address)
        self._connection: HTTPConnection | None = None
        super().__init__(self.value, self.stream)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection that was kept open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def value(self, req: Request) -> Any:
        """Make a call and return the decoded body."""
        return self.call(req).value

    def get(self, *segments: str, params: Mapping[str, Any] | None = None, options: Options | None = None) -> Reply:
        """Read ``/v1/<segments>`` and keep what the headers said, the index above all."""
        return self.call(request("GET", *segments, params=params, options=options))

    def call(self, req: Request) -> Reply:
        """Make a call. A kept connection that the agent has closed meanwhile is opened again once."""
        if req.method != "GET":
            # A change is never sent twice, so it does not go over a connection that may be stale.
            self.close()
        reused = self._connection is not None
        try:
            return self._exchange(req)
        except (ConnectionResetError, BrokenPipeError, HTTPException) as error:
            self.close()
            # Nothing of the answer had come: the agent closed an idle connection before it saw the request.
            if not reused:
                raise unreachable(self.settings, _cause(error)) from None
        return self._exchange_once(req)

    def _exchange_once(self, req: Request) -> Reply:
        try:
            return self._exchange(req)
        except (ConnectionError, HTTPException) as error:
            self.close()
            raise unreachable(self.settings, _cause(error)) from None

    def _exchange(self, req: Request) -> Reply:
        timeout_s = self.settings.timeout_s + req.wait_s * 1.1
        connection = self._opened(timeout_s)
        try:
            _send(connection, self._endpoint, self.settings, req)
            response = connection.getresponse()
            body = response.read()
        except TimeoutError:
            self.close()
            raise too_slow(self.settings, req, timeout_s) from None
        except (ConnectionResetError, BrokenPipeError):
            raise
        except OSError as error:
            self.close()
            raise unreachable(self.settings, _cause(error)) from None
        if response.will_close:
            self.close()
        return reply_of(req, response.status, dict(response.headers.items()), body)

    def _opened(self, timeout_s: float) -> HTTPConnection:
        if self._connection is None:
            self._connection = _connect(self._endpoint, self.settings, timeout_s)
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)
        return self._connection

    def stream(self, req: Request) -> Iterator[bytes]:
        """Make a call and yield the body as it comes. Closing the iterator closes the connection.

        The call is made at once, so that a refusal is raised here and not at the first item.
        """
        # A stream that follows may be silent for long; heartbeats come each second or 30 s.
        timeout_s = max(self.settings.timeout_s, 90.0)
        connection = _connect(self._endpoint, self.settings, timeout_s)
        try:
            _send(connection, self._endpoint, self.settings, req)
            response = connection.getresponse()
            if response.status >= 300:
                raise error_of(response.status, response.read().decode("utf-8", "replace"))
        except TimeoutError:
            connection.close()
            raise too_slow(self.settings, req, timeout_s) from None
        except (OSError, HTTPException) as error:
            connection.close()
            raise unreachable(self.settings, _cause(error)) from None
        except BaseException:
            connection.close()
            raise
        return self._pieces(req, connection, response, timeout_s)

    def _pieces(
        self, req: Request, connection: HTTPConnection, response: HTTPResponse, timeout_s: float
    ) -> Iterator[bytes]:
        try:
            while piece := response.read1(CHUNK_BYTES):
                yield piece
        except TimeoutError:
            raise too_slow(self.settings, req, timeout_s) from None
        except (OSError, HTTPException) as error:
            raise unreachable(self.settings, f"the stream broke off: {_cause(error)}") from None
        finally:
            connection.close()


def _chosen(settings: Settings, address: str, token: str, namespace: str, region: str) -> Settings:
    given = {"address": address, "token": token, "namespace": namespace, "region": region}
    return replace(settings, **{name: value for name, value in given.items() if value})  # type: ignore[arg-type]


def _send(connection: HTTPConnection, endpoint: Endpoint, settings: Settings, req: Request) -> None:
    target = endpoint.base_path + req.target(settings)
    connection.request(req.method, target, body=req.payload(), headers=headers_of(settings, req))


def _connect(endpoint: Endpoint, settings: Settings, timeout_s: float) -> HTTPConnection:
    if endpoint.socket_path:
        return _UnixConnection(endpoint.socket_path, timeout_s)
    if not endpoint.secure:
        return HTTPConnection(endpoint.host, endpoint.port, timeout=timeout_s)
    return _TlsConnection(endpoint, settings, timeout_s)


def tls_context(settings: Settings) -> ssl.SSLContext:
    """The TLS settings of a call: authorities, own certificate, whether to verify."""
    import ssl

    from rove.errors import BadRequestError

    try:
        context = ssl.create_default_context(cafile=settings.ca_cert or None, capath=settings.ca_path or None)
    except (OSError, ssl.SSLError) as error:
        raise BadRequestError(
            "client.bad_authority", f'the authorities in "{settings.ca_cert or settings.ca_path}" cannot be used',
            str(error), "name a PEM file with -ca-cert, or a folder of them with -ca-path",
        ) from None  # fmt: skip
    if settings.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.client_cert:
        try:
            context.load_cert_chain(settings.client_cert, settings.client_key or None)
        except (OSError, ssl.SSLError) as error:
            raise BadRequestError(
                "client.bad_certificate", f'the client certificate "{settings.client_cert}" cannot be used',
                str(error), "name a PEM file with -client-cert and its key with -client-key",
            ) from None  # fmt: skip
    return context


class _TlsConnection(HTTPConnection):
    """HTTP over TLS, where the certificate may bear another name than the address."""

    def __init__(self, endpoint: Endpoint, settings: Settings, timeout_s: float) -> None:
        super().__init__(endpoint.host, endpoint.port, timeout=timeout_s)
        self._context = tls_context(settings)
        self._name = settings.tls_server_name or endpoint.host

    def connect(self) -> None:
        """Open the connection and shake hands."""
        super().connect()
        try:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)
        except BaseException:
            self.close()
            raise


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _cause(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
