"""/v1/status/* and /v1/regions."""

from __future__ import annotations

from rove.errors import UnavailableError

from .call import Call, Reply
from .routes import READ, Route


async def leader(call: Call) -> Reply:
    """The leader's rpc address."""
    address = call.server.leader_address
    if not address:
        raise UnavailableError("server.no_leader", "No cluster leader")
    return Reply(address)


async def peers(call: Call) -> Reply:
    """rpc addresses of the servers."""
    found = {f"{member.get('Addr', '')}:{member.get('Tags', {}).get('port', '')}" for member in call.server.members()}
    return Reply(sorted(address for address in found if address != ":") or [call.server.leader_address])


async def regions(call: Call) -> Reply:
    """Regions that are known here."""
    known = call.backend.regions() if call.backend.regions else ()
    return Reply(sorted({call.backend.region, *known}))


ROUTES = (
    Route(methods=READ, path="/v1/status/leader", handler=leader, summary="Address of the leader", answer=str),
    Route(
        methods=READ,
        path="/v1/status/peers",
        handler=peers,
        summary="Addresses of the servers",
        answer=list[str],
    ),
    Route(methods=READ, path="/v1/regions", handler=regions, summary="Known regions", answer=list[str]),
)
