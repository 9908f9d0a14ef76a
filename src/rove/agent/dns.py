"""The DNS responder of an agent: asks its own server, or the one its node is connected to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rove.agent.config import DnsConfig
from rove.client.client import Client
from rove.dns.core import Zone
from rove.dns.loop import LookUp, Responder
from rove.errors import RoveError, UnavailableError
from rove.ports import Clock
from rove.structs.messages import Kind, ServiceInstances, ServiceLookup
from rove.structs.service import ServiceRegistration

KEEP_S = 1.0
KEPT_MAX = 1000
SERVICE_NAME_MAX = 63


async def start_dns(config: DnsConfig, bind_addr: str, look_up: LookUp) -> Responder:
    """Start the responder that the configuration asks for. Raises `RoveError`."""
    domain = tuple(label for label in config.domain.lower().strip(".").split(".") if label)
    if not domain:
        raise RoveError("dns.domain", "the DNS responder was not started", "dns { domain } is empty", 'write "rove"')
    responder = Responder(look_up, Zone(domain, max(0, int(config.ttl_s))))
    await responder.start(config.address or bind_addr, config.port)
    return responder


def from_store(store: Any) -> LookUp:
    """Answers of this agent's own server."""

    async def look_up(namespace: str, name: str) -> Sequence[ServiceRegistration]:
        snapshot = store.snapshot()
        found = snapshot.service(namespace, name) or snapshot.service(namespace, name.lower())
        return [each for each in found if each.is_offered]

    return look_up


class FromServer:
    """Answers of the server that the node is connected to, kept for a moment."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[float, tuple[ServiceRegistration, ...]]] = {}

    async def __call__(self, namespace: str, name: str) -> Sequence[ServiceRegistration]:
        """Raises `UnavailableError` without a server."""
        key, now = (namespace, name), self._clock.monotonic()
        kept = self._kept.get(key)
        if kept is not None and now - kept[0] < KEEP_S:
            return kept[1]
        found = await self._ask(namespace, name)
        if not found and name != name.lower():
            found = await self._ask(namespace, name.lower())
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        self._kept[key] = (now, found)
        return found

    async def _ask(self, namespace: str, name: str) -> tuple[ServiceRegistration, ...]:
        if len(name) > SERVICE_NAME_MAX:
            return ()
        session = self._client.link.session
        if session is None:
            raise UnavailableError("dns.no_server", "there is no connection to a server")
        request = ServiceLookup(namespace=namespace, name=name)
        return (await session.call(Kind.SERVICE_LOOKUP, request, ServiceInstances)).instances
