"""A fleet on one machine: thousands of simulated node agents over real sockets.

Each one dials the server's rpc port with the real transport, registers, sends heartbeats, takes its assignment and
reports every allocation running, as a node with the mock driver would; it starts no process. `Fleet` is for tests and
benchmarks; ``python -m bench.nodesim`` is the same as a program.

    async with Fleet("127.0.0.1:4647", [describe(number) for number in range(200)]) as fleet:
        await fleet.connected()
        fleet.nodes[3].vanish()
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from rove.errors import RoveError
from rove.ports import Clock
from rove.ports.real import RealClock
from rove.ports.transport import Router, Session
from rove.ports.websocket import dial
from rove.structs.alloc import AllocStatus, AllocUpdate, Desired, TaskState, TaskStatus
from rove.structs.base import Noun, unix_ns
from rove.structs.messages import (
    AllocUpdates,
    Empty,
    Heartbeat,
    HeartbeatReply,
    Kind,
    RegisterReply,
    RegisterRequest,
)
from rove.structs.node import (
    DriverInfo,
    Node,
    NodeCpu,
    NodeDisk,
    NodeMemory,
    NodeNetwork,
    NodeNetworkAddress,
    NodeResources,
    computed_class,
)

log = logging.getLogger("rove.nodesim")

REPORT_BATCH_S = 0.02
DIALS_AT_ONCE = 64
RETRY_S = 0.2
"""A node that lost its server dials again after this and up to a second more."""


class Assigned(Noun, frozen=True, kw_only=True):
    """What a simulated node looks at of an allocation."""

    id: str = ""
    desired_status: Desired = Desired.RUN
    deployment_id: str = ""


class Assignment(Noun, frozen=True, kw_only=True):
    """What a simulated node looks at of `AllocsChanged`."""

    full: bool = False
    allocations: tuple[Assigned, ...] = ()
    gone: tuple[str, ...] = ()


def describe(
    number: int, *, racks: int = 25, cpu_mhz: int = 40_000, memory_mb: int = 65_536, datacenter: str = "dc1"
) -> Node:
    """Simulated node `number`. Its rack is in its meta, so that spreads and classes have something to do."""
    address = NodeNetworkAddress(address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    drivers = ("mock_driver", "raw_exec", "docker")
    node = Node(
        id=str(uuid.UUID(int=0x51D0 << 112 | number)),
        secret_id=str(uuid.UUID(int=number + 1)),
        name=f"sim-{number}",
        datacenter=datacenter,
        attributes={"kernel.name": "linux", "cpu.arch": "amd64", **{f"driver.{name}": "1" for name in drivers}},
        meta={"rack": f"r{number % racks}"},
        drivers={name: DriverInfo(detected=True, healthy=True) for name in drivers},
        node_resources=NodeResources(
            cpu=NodeCpu(cpu_shares=cpu_mhz, total_cpu_cores=16),
            memory=NodeMemory(memory_mb=memory_mb),
            disk=NodeDisk(disk_mb=1_000_000),
            node_networks=(NodeNetwork(device="eth0", addresses=(address,)),),
        ),
    )
    return msgspec.structs.replace(node, computed_class=computed_class(node))


class SimNode:
    """One simulated agent. `allocs`: what it runs or ran, by id."""

    def __init__(self, fleet: Fleet, node: Node) -> None:
        self.fleet = fleet
        self.node = node
        self.allocs: dict[str, AllocStatus] = {}
        self.session: Session | None = None
        self._reports: list[AllocUpdate] = []
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._talking: list[asyncio.Task[None]] = []
        self._is_silent = False
        self._sequence = 0
        self._changes = 0
        self._counted = (-1, 0)

    def start(self) -> None:
        """Come to life (again)."""
        if self._is_silent and self._running is not None:
            self._running.cancel()
            self._running = None
        self._is_silent = False
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._run())
            self.fleet.tasks.add(self._running)
            self._running.add_done_callback(self.fleet.tasks.discard)

    def vanish(self, *, close: bool = False) -> None:
        """Fall silent like a machine that lost its power: nothing more is said, what ran is gone.

        close: the connection is closed as well, as when only the agent dies.
        """
        self._is_silent = True
        for task in self._talking:
            task.cancel()
        self.session = None
        if close and self._running is not None:
            self._running.cancel()
            self._running = None
        self.allocs.clear()
        self._changes += 1
        self._reports.clear()

    @property
    def is_connected(self) -> bool:
        """Registered, and the connection is open."""
        return self.session is not None

    @property
    def running(self) -> int:
        """How many allocations it runs."""
        counted_at, count = self._counted
        if counted_at != self._changes:
            count = sum(1 for status in self.allocs.values() if status is AllocStatus.RUNNING)
            self._counted = (self._changes, count)
        return count

    async def _run(self) -> None:
        while not self._is_silent:
            try:
                async with self.fleet.dials:
                    pipe = await dial(self.fleet.http, self.fleet.server)
                await self._serve(pipe)
            except (RoveError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                said = " ".join(str(error).split())
                self.fleet.problem = said if isinstance(error, RoveError) else f"{type(error).__name__}: {said}"
                log.debug("%s: %s", self.node.name, self.fleet.problem)
            await asyncio.sleep(RETRY_S + random.random())

    async def _serve(self, pipe: Any) -> None:
        router = Router()
        router.on(Kind.ALLOCS_CHANGED, Assignment, self._changed)
        session = Session(pipe, router, dialled=True, peer=self.fleet.server)
        loop = asyncio.get_running_loop()
        reading = loop.create_task(session.run())
        try:
            request = RegisterRequest(node=self.node, alloc_ids=tuple(self.allocs))
            reply = await session.call(Kind.NODE_REGISTER, request, RegisterReply, 60.0)
            self.session = session
            self.fleet.registered += 1
            self._talking = [
                loop.create_task(self._report(session)),
                loop.create_task(self._beat(session, reply.heartbeat_ttl_s)),
            ]
            await reading
        finally:
            self.session = None
            for task in (reading, *self._talking):
                task.cancel()
            await session.close()

    async def _beat(self, session: Session, ttl_s: float) -> None:
        await asyncio.sleep(random.random() * ttl_s / 3)
        while True:
            reply = await session.call(Kind.NODE_HEARTBEAT, Heartbeat(), HeartbeatReply, 30.0)
            if not reply.registered:
                await session.close()
                return
            await asyncio.sleep((reply.heartbeat_ttl_s or ttl_s) / 3)

    async def _changed(self, _: Session, message: Assignment) -> Empty:
        if self._is_silent:
            await asyncio.Event().wait()
        self._changes += 1
        for alloc in message.allocations:
            known = self.allocs.get(alloc.id)
            if alloc.desired_status is not Desired.RUN:
                if known is not AllocStatus.COMPLETE:
                    self._tell(alloc, AllocStatus.COMPLETE)
            elif known is None:
                self._tell(alloc, AllocStatus.RUNNING)
        if message.full:
            assigned = {alloc.id for alloc in message.allocations}
            for orphan in [alloc_id for alloc_id in self.allocs if alloc_id not in assigned]:
                del self.allocs[orphan]
        for alloc_id in message.gone:
            self.allocs.pop(alloc_id, None)
        return Empty()

    def _tell(self, alloc: Assigned, status: AllocStatus) -> None:
        self.allocs[alloc.id] = status
        self._sequence = max(self._sequence + 1, unix_ns(self.fleet.clock.now()))
        is_running = status is AllocStatus.RUNNING
        state = TaskState(state=TaskStatus.RUNNING if is_running else TaskStatus.DEAD)
        self._reports.append(
            AllocUpdate(
                id=alloc.id,
                client_status=status,
                task_states={"t": state},
                sequence=self._sequence,
                healthy=True if is_running and alloc.deployment_id else None,
            )
        )
        self._wake.set()

    async def _report(self, session: Session) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(REPORT_BATCH_S)
            self._wake.clear()
            updates, self._reports = self._reports, []
            if not updates:
                continue
            try:
                await session.call(Kind.ALLOC_UPDATE, AllocUpdates(updates=tuple(updates)), Empty, 60.0)
            except RoveError:
                self._reports = updates + self._reports
                self._wake.set()
                if session.closed.is_set():
                    return
                await asyncio.sleep(RETRY_S)
                continue
            self.fleet.reported += len(updates)


class Fleet:
    """Many simulated nodes in this process. server: host:port of its rpc listener."""

    def __init__(self, server: str, nodes: Sequence[Node], clock: Clock | None = None) -> None:
        self.server = server
        self.clock = clock or RealClock()
        self.dials = asyncio.Semaphore(DIALS_AT_ONCE)
        self.registered = 0
        """Registrations, again after each loss."""
        self.reported = 0
        """Reports that the server has stored."""
        self.problem = ""
        """Why a node was last not connected, or no longer."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.nodes = [SimNode(self, node) for node in nodes]
        self.http: aiohttp.ClientSession

    async def __aenter__(self) -> Fleet:
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        for node in self.nodes:
            node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.http.close()

    @property
    def running(self) -> int:
        """Allocations that run on all nodes."""
        return sum(node.running for node in self.nodes)

    async def connected(self, count: int | None = None) -> None:
        """Return when so many (all) nodes are registered."""
        wanted = len(self.nodes) if count is None else count
        while sum(1 for node in self.nodes if node.is_connected) < wanted:
            await asyncio.sleep(0.05)
