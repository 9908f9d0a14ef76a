"""Asks a service how it is: http, tcp, grpc, script. Every failure is a result, never an exception."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from rove.client.drivers.base import DriverError, ExecSession
from rove.errors import RoveError

from . import grpc
from .core import OUTPUT_MAX, CheckSpec, Result, Status

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

TOO_MANY_REQUESTS = 429
PROBES_AT_ONCE = 64
SCRIPTS_AT_ONCE = 8
"""Scripts are whole processes."""
BODY_READ_MAX = 16 * 1024
PATH_SAFE = "/%?&=+,;:@!$'()*~[]|"
"""What stays as it is written; control characters and spaces would end the request line."""

Execute = Callable[[str, list[str]], Awaitable[ExecSession]]
"""Run a command beside a task: (task, command). Raises `RoveError` or `DriverError`."""


class Prober:
    """What the checks of a node share: one HTTP session, and how many of them ask at the same time."""

    def __init__(self, at_once: int = PROBES_AT_ONCE, scripts_at_once: int = SCRIPTS_AT_ONCE) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._script_slots = asyncio.Semaphore(scripts_at_once)
        self._http: aiohttp.ClientSession | None = None

    async def ask(self, spec: CheckSpec, execute: Execute) -> Result:
        """One probe, within the check's timeout once it has its turn."""
        if spec.trouble:
            return Result(Status.CRITICAL, spec.trouble)
        async with self._script_slots if spec.kind == "script" else self._slots:
            try:
                async with asyncio.timeout(spec.timeout_s):
                    return await self._ask(spec, execute)
            except TimeoutError:
                return Result(Status.CRITICAL, f"no answer within {spec.timeout_s:g} s")
            except (DriverError, RoveError) as error:
                return Result(Status.CRITICAL, error.what)
            except (OSError, ValueError) as error:
                return Result(Status.CRITICAL, _reason(error))
            except Exception as error:  # a bug of ours must not end the check for good
                log.exception("check %s of %s", spec.name, spec.service)
                return Result(Status.CRITICAL, f"an unexpected {type(error).__name__}; the agent's log has more")

    async def _ask(self, spec: CheckSpec, execute: Execute) -> Result:
        match spec.kind:
            case "http":
                return await self._http_probe(spec)
            case "tcp":
                return await _tcp_probe(spec)
            case "grpc":
                return await _grpc_probe(spec)
            case "script":
                return await _script_probe(spec, execute)
        return Result(Status.CRITICAL, f'checks of type "{spec.kind}" are not known to this node')

    async def _http_probe(self, spec: CheckSpec) -> Result:
        import aiohttp
        from multidict import CIMultiDict
        from yarl import URL

        host = f"[{spec.host}]" if ":" in spec.host else spec.host
        path = quote(spec.path if spec.path.startswith("/") else "/" + spec.path, safe=PATH_SAFE)
        url = URL(f"{spec.protocol}://{host}:{spec.port}{path}", encoded=True)
        headers = CIMultiDict(spec.headers)
        headers.setdefault("User-Agent", "Rove-Check")
        verify: bool | ssl.SSLContext = not spec.tls_skip_verify
        try:
            # Redirects are answers: following them would let a task send the agent anywhere.
            async with self._session().request(
                spec.method or "GET", url, headers=headers, data=spec.body.encode() if spec.body else None,
                allow_redirects=False, ssl=verify, server_hostname=spec.tls_server_name or None,
            ) as answer:  # fmt: skip
                body = await answer.content.read(BODY_READ_MAX)
                return _http_result(answer.status, answer.reason or "", body)
        except (aiohttp.ClientError, aiohttp.InvalidURL) as error:
            return Result(Status.CRITICAL, _reason(error))

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True, ttl_dns_cache=5),
                cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )  # fmt: skip
        return self._http

    async def close(self) -> None:
        """Let go of the HTTP session."""
        if self._http is not None:
            await self._http.close()
            self._http = None


def _http_result(code: int, reason: str, body: bytes) -> Result:
    text = body.decode(errors="replace").replace("\0", "")
    output = f"HTTP {code} {reason}".strip() + (f": {text}" if text.strip() else "")
    if code == TOO_MANY_REQUESTS:
        return Result(Status.WARNING, output[:OUTPUT_MAX], code)
    if 200 <= code < 400:
        return Result(Status.PASSING, f"HTTP {code} {reason}".strip(), code)
    return Result(Status.CRITICAL, output[:OUTPUT_MAX], code)


async def _tcp_probe(spec: CheckSpec) -> Result:
    _, writer = await asyncio.open_connection(spec.host, spec.port)
    writer.close()
    return Result(Status.PASSING, f"connected to {spec.host} port {spec.port}")


async def _grpc_probe(spec: CheckSpec) -> Result:
    context: ssl.SSLContext | None = None
    if spec.grpc_use_tls:
        context = ssl.create_default_context()
        if spec.tls_skip_verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
    state = await grpc.health(spec.host, spec.port, spec.grpc_service, context, spec.tls_server_name)
    name = f' of "{spec.grpc_service}"' if spec.grpc_service else ""
    return Result(Status.PASSING if state == grpc.SERVING else Status.CRITICAL, f"the health{name} is {state}")


async def _script_probe(spec: CheckSpec, execute: Execute) -> Result:
    session = await execute(spec.task, list(spec.command))
    try:
        await session.close_stdin()
        kept = bytearray()
        async for _, data in session.output():
            kept += data[: max(OUTPUT_MAX - len(kept), 0)]
        code = await session.wait()
    finally:
        await session.kill()
    text = kept.decode(errors="replace").replace("\0", "").strip() or f"exit code {code}"
    status = {0: Status.PASSING, 1: Status.WARNING}.get(code, Status.CRITICAL)
    return Result(status, text, code)


def _reason(error: BaseException) -> str:
    """A failed connection in one line."""
    inner = getattr(error, "certificate_error", error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {getattr(inner, 'verify_message', '')}"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:OUTPUT_MAX]
