"""/v1/operator/*: settings of the whole cluster."""

from __future__ import annotations

from typing import Any

import msgspec

from rove.errors import BadRequestError
from rove.structs.base import Noun
from rove.structs.node import SchedulerConfiguration

from .backend import Snapshot
from .call import Call, Reply
from .govalues import shown
from .reading import read
from .routes import BLOCKING, READ, WRITE, Route
from .shapes import WriteReply

ALGORITHMS = ("binpack", "spread")


class SchedulerReply(WriteReply, frozen=True, kw_only=True):
    """The scheduler's settings."""

    scheduler_config: SchedulerConfiguration


class Updated(WriteReply, frozen=True, kw_only=True):
    """Whether a check-and-set took place."""

    updated: bool


class Peer(Noun, frozen=True, kw_only=True):
    """A server among those that hold the state."""

    id: str
    node: str
    address: str
    leader: bool
    voter: bool
    raft_protocol: str = "3"


class Peers(Noun, frozen=True, kw_only=True):
    """The servers that hold the state."""

    servers: list[Peer]
    index: int = 0


async def read_scheduler(call: Call) -> Reply:
    """The scheduler's settings."""

    def build(snapshot: Snapshot) -> SchedulerReply:
        configuration = snapshot.scheduler_configuration()
        return SchedulerReply(scheduler_config=configuration, index=configuration.modify_index, known_leader=True)

    return await read(call, [("scheduler",)], build)


async def write_scheduler(call: Call) -> Reply:
    """Change the scheduler's settings; cas: only if they have not changed since that index."""
    configuration = await call.body(SchedulerConfiguration)
    if not configuration.scheduler_algorithm:
        configuration = msgspec.structs.replace(configuration, scheduler_algorithm=ALGORITHMS[0])
    if configuration.scheduler_algorithm not in ALGORITHMS:
        raise BadRequestError(
            "scheduler.algorithm",
            f"{shown(configuration.scheduler_algorithm)} is no scheduler algorithm",
            fix="use " + " or ".join(ALGORITHMS),
        )
    if configuration.node_limit_for_feasibility_checks < 0:
        raise BadRequestError(
            "scheduler.node_limit",
            f"NodeLimitForFeasibilityChecks {configuration.node_limit_for_feasibility_checks} is below zero",
            fix="use a number of nodes, or 0 for the usual limit",
        )
    cas = call.uint("cas") if "cas" in call.query else None
    is_updated, index = await call.server.set_scheduler_configuration(configuration, cas=cas)
    return Reply(Updated(updated=is_updated, index=index), index, is_read=False)


async def peers(call: Call) -> Reply:
    """The servers, in the shape of Nomad's raft configuration."""
    leader = call.server.leader_address
    found = []
    for member in call.server.members():
        address = f"{member.get('Addr', '')}:{member.get('Tags', {}).get('port', '')}"
        name = str(member.get("Name", ""))
        found.append(Peer(id=name, node=name, address=address, leader=address == leader, voter=True))
    return Reply(Peers(servers=found), call.store.index)


async def health(call: Call) -> Reply:
    """Health of the servers, in the shape of Nomad's autopilot."""
    leader = call.server.leader_address
    servers: list[dict[str, Any]] = []
    for member in call.server.members():
        address = f"{member.get('Addr', '')}:{member.get('Tags', {}).get('port', '')}"
        is_alive = member.get("Status") == "alive"
        servers.append(
            {
                "ID": member.get("Name", ""),
                "Name": member.get("Name", ""),
                "Address": address,
                "SerfStatus": member.get("Status", ""),
                "Version": member.get("Tags", {}).get("build", ""),
                "Leader": address == leader,
                "Voter": True,
                "Healthy": is_alive,
                "LastContact": "0s",
                "LastTerm": 0,
                "LastIndex": call.store.index,
            }
        )
    is_healthy = bool(leader) and all(server["Healthy"] for server in servers)
    tolerance = max(0, (len(servers) - 1) // 2)
    body = {"Healthy": is_healthy, "FailureTolerance": tolerance, "Servers": servers}
    return Reply(body, status=200 if is_healthy else 429)


ROUTES = (
    Route(
        methods=READ,
        path="/v1/operator/scheduler/configuration",
        handler=read_scheduler,
        summary="The scheduler's settings",
        capability="operator:read",
        query=BLOCKING,
        answer=SchedulerReply,
        blocks_on=("scheduler",),
    ),
    Route(
        methods=WRITE,
        path="/v1/operator/scheduler/configuration",
        handler=write_scheduler,
        summary="Change the scheduler's settings",
        capability="operator:write",
        query=("cas",),
        body=SchedulerConfiguration,
        answer=Updated,
    ),
    Route(
        methods=READ,
        path="/v1/operator/raft/configuration",
        handler=peers,
        summary="The servers that hold the state",
        capability="operator:read",
        answer=Peers,
    ),
    Route(
        methods=READ,
        path="/v1/operator/autopilot/health",
        handler=health,
        summary="Health of the servers",
        capability="operator:read",
        answer=dict[str, Any],
    ),
)
