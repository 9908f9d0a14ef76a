"""The asynchronous client, on aiohttp."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

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
from rove.sdk.settings import Settings, parse_address


class AsyncClient(Resources[Awaitable[Any], AsyncIterator[bytes]]):
    """Rove's API for asyncio programs: the resources of `Client`, each method to be awaited.

    Use it as an asynchronous context manager, or call `aclose` at the end.
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
        chosen = settings or Settings.from_env(os.environ)
        given = {"address": address, "token": token, "namespace": namespace, "region": region}
        self.settings = replace(chosen, **{name: value for name, value in given.items() if value})  # type: ignore[arg-type]
        self._endpoint = parse_address(self.settings.address)
        self._session: aiohttp.ClientSession | None = None
        super().__init__(self.value, self.stream)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def value(self, req: Request) -> Any:
        """Make a call and return the decoded body."""
        return (await self.call(req)).value

    async def get(
        self, *segments: str, params: Mapping[str, Any] | None = None, options: Options | None = None
    ) -> Reply:
        """Read ``/v1/<segments>`` and keep what the headers said."""
        return await self.call(request("GET", *segments, params=params, options=options))

    async def call(self, req: Request) -> Reply:
        """Make a call."""
        timeout_s = self.settings.timeout_s + req.wait_s * 1.1
        try:
            async with self.session().request(
                req.method, self.url(req), data=req.payload(), headers=headers_of(self.settings, req),
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False, server_hostname=self.settings.tls_server_name or None,
            ) as response:  # fmt: skip
                return reply_of(req, response.status, response.headers, await response.read())
        except TimeoutError:
            raise too_slow(self.settings, req, timeout_s) from None
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self.settings, str(error)) from None

    async def stream(self, req: Request) -> AsyncIterator[bytes]:
        """Make a call and yield the body as it comes."""
        try:
            async with self.session().request(
                req.method, self.url(req), headers=headers_of(self.settings, req),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=90),
                allow_redirects=False, server_hostname=self.settings.tls_server_name or None,
            ) as response:  # fmt: skip
                if response.status >= 300:
                    raise error_of(response.status, await response.text(errors="replace"))
                async for piece in response.content.iter_any():
                    yield piece
        except TimeoutError:
            raise too_slow(self.settings, req, 90) from None
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self.settings, str(error)) from None

    def url(self, req: Request) -> URL:
        """The whole address of a call, percent-encoded already."""
        scheme = "https" if self._endpoint.secure else "http"
        host = f"[{self._endpoint.host}]" if ":" in self._endpoint.host else self._endpoint.host
        port = f":{self._endpoint.port}" if self._endpoint.port else ""
        target = self._endpoint.base_path + req.target(self.settings)
        return URL(f"{scheme}://{host}{port}{target}", encoded=True)

    def session(self) -> aiohttp.ClientSession:
        """The session, opened on first use inside the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=self._connector(), auto_decompress=True)
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        if self._endpoint.socket_path:
            return aiohttp.UnixConnector(self._endpoint.socket_path)
        if not self._endpoint.secure:
            return aiohttp.TCPConnector()
        from rove.sdk.client import tls_context

        return aiohttp.TCPConnector(ssl=tls_context(self.settings))
