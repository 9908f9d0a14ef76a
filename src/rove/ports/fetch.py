"""One GET over HTTP, for the few questions that a server asks of the outside."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

BODY_MAX = 1 << 20
"""Bytes of a body that are read."""
TIMEOUT_S = 300.0


def is_allowed(address: str) -> bool:
    """False for link-local addresses: there cloud providers hand out a machine's credentials."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True  # a name: it is looked at once it is resolved
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return not found.is_link_local


class _Resolver(AbstractResolver):
    """Resolves names, but not to addresses that are not allowed."""

    def __init__(self) -> None:
        self._real = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._real.resolve(host, port, family)
        allowed = [each for each in found if is_allowed(each["host"])]
        if not allowed:
            raise OSError(f"{host} is not an address that may be asked")
        return allowed

    async def close(self) -> None:
        await self._real.close()


async def fetch(url: str) -> tuple[int, bytes]:
    """GET a URL without following redirects: (status, the first bytes of the body).

    Raises `ValueError` for what is no http or https address, `OSError` if there is no answer.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address is not one of http or https")
    if not is_allowed(parts.hostname):
        raise ValueError(f"{parts.hostname} is not an address that may be asked")
    options: dict[str, Any] = {"resolver": _Resolver(), "force_close": True}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(**options), timeout=timeout) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            body = bytearray()
            while len(body) < BODY_MAX and (chunk := await answer.content.read(BODY_MAX - len(body))):
                body += chunk
            return answer.status, bytes(body)
    except aiohttp.ClientError as error:
        raise OSError(str(error) or type(error).__name__) from error
