"""A fleet on one machine: thousands of simulated node agents over real sockets.

Each one dials the server's rpc port with the real transport, registers, sends heartbeats, takes its
assignment and reports every allocation running (or failed, or complete), as a node with the mock driver would; it
starts no process. ``python -m bench.nodesim --server 127.0.0.1:4647 --nodes 1000`` runs until Ctrl-C and says what it does
once a second. `Fleet` is the same as a library, for tests and other benchmarks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections.abc import Callable, Sequence

import aiohttp
import msgspec

from rove.errors import RoveError
from rove.ports.transport import Router, Session
from rove.ports.websocket import dial
from rove.structs.alloc import Allocation, AllocStatus, AllocUpdate, TaskState, TaskStatus
from rove.structs.messages import (
    AllocsChanged,
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

Describe = Callable[[int], Node]


def describe(number: int, *, racks: int = 25, cpu_mhz: int = 40_000, memory_mb: int = 65_536) -> Node:
    """Simulated node `number`: its rack is in its meta, so that spreads and classes have something to do."""
    node = Node(
        id=str(uuid.UUID(int=0x51D0 << 112 | number)), secret_id=str(uuid.UUID(int=number)), name=f"sim-{number}",
        datacenter="dc1", attributes={"kernel.name": "linux", "cpu.arch": "amd64", "driver.mock_driver": "1"},
        meta={"rack": f"r{number % racks}"},
        drivers={
            "mock_driver": DriverInfo(detected=True, healthy=True), "raw_exec": DriverInfo(detected=True, healthy=True),
            "docker": DriverInfo(detected=True, healthy=True),
        },
        node_resources=NodeResources(
            cpu=NodeCpu(cpu_shares=cpu_mhz, total_cpu_cores=16), memory=NodeMemory(memory_mb=memory_mb),
            disk=NodeDisk(disk_mb=1_000_000),
            node_networks=(NodeNetwork(device="eth0", addresses=(NodeNetworkAddress(address=f"10.0.{number >> 8 & 255}.{number & 255}"),)),),
        ),
    )
    return msgspec.structs.replace(node, computed_class=computed_class(node))


class SimNode:
    """One simulated agent."""

    def __init__(self, fleet: Fleet, node: Node) -> None:
        self.fleet = fleet
        self.node = node
        self.allocs: dict[str, AllocStatus] = {}
        self.session: Session | None = None
        self._reports: list[AllocUpdate] = []
        self._wake = asyncio.Event()
        self._stopped = False

    async def run(self) -> None:
        """Dial, register, serve, again after a loss."""
        while not self._stopped:
            try:
                async with self.fleet.dials:
                    pipe = await dial(self.fleet.http, self.fleet.server)
                await self._serve(pipe)
            except (RoveError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.debug("%s: %s", self.node.name, error)
            await asyncio.sleep(0.2 + random.random())

    async def _serve(self, pipe: object) -> None:
        router = Router()
        router.on(Kind.ALLOCS_CHANGED, AllocsChanged, self._changed)
        session = Session(pipe, router, dialled=True, peer=self.fleet.server)  # type: ignore[arg-type]
        reading = asyncio.create_task(session.run())
        reporting = beating = None
        try:
            request = RegisterRequest(node=self.node, alloc_ids=tuple(self.allocs))
            reply = await session.call(Kind.NODE_REGISTER, request, RegisterReply, 60.0)
            self.session = session
            self.fleet.registered += 1
            reporting = asyncio.create_task(self._report(session))
            beating = asyncio.create_task(self._beat(session, reply.heartbeat_ttl_s))
            await reading
        finally:
            self.session = None
            for task in (reading, reporting, beating):
                if task is not None:
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

    async def _changed(self, _: Session, message: AllocsChanged) -> Empty:
        now = time.time_ns()
        for alloc in message.allocations:
            known = self.allocs.get(alloc.id)
            if alloc.is_server_terminal:
                if known is not AllocStatus.COMPLETE:
                    self._tell(alloc, AllocStatus.COMPLETE, now)
            elif known is None:
                self._tell(alloc, AllocStatus.RUNNING, now)
        for alloc_id in message.gone:
            self.allocs.pop(alloc_id, None)
        return Empty()

    def _tell(self, alloc: Allocation, status: AllocStatus, now: int) -> None:
        self.allocs[alloc.id] = status
        state = TaskStatus.RUNNING if status is AllocStatus.RUNNING else TaskStatus.DEAD
        self._reports.append(
            AllocUpdate(
                id=alloc.id, client_status=status, task_states={"t": TaskState(state=state)}, sequence=now,
                healthy=True if status is AllocStatus.RUNNING and alloc.deployment_id else None,
            )
        )
        self._wake.set()

    async def _report(self, session: Session) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(REPORT_BATCH_S)
            self._wake.clear()
            updates, self._reports = self._reports, []
            try:
                await session.call(Kind.ALLOC_UPDATE, AllocUpdates(updates=tuple(updates)), Empty, 60.0)
            except RoveError:
                self._reports = updates + self._reports
                return
            self.fleet.reported += len(updates)

    async def stop(self) -> None:
        """Vanish without a word."""
        self._stopped = True
        if self.session is not None:
            await self.session.close()


class Fleet:
    """Many simulated nodes in this process."""

    def __init__(self, server: str, nodes: Sequence[Node]) -> None:
        self.server = server
        self.dials = asyncio.Semaphore(DIALS_AT_ONCE)
        self.registered = 0
        self.reported = 0
        self.nodes = [SimNode(self, node) for node in nodes]
        self.http: aiohttp.ClientSession
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Fleet:
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._tasks = [asyncio.create_task(node.run()) for node in self.nodes]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.http.close()

    async def connected(self, count: int | None = None) -> None:
        """Return when so many (all) nodes are registered."""
        wanted = len(self.nodes) if count is None else count
        while sum(1 for node in self.nodes if node.session is not None) < wanted:
            await asyncio.sleep(0.05)


async def simulate(server: str, count: int, racks: int) -> None:
    """Run until cancelled; a line a second."""
    async with Fleet(server, [describe(number, racks=racks) for number in range(count)]) as fleet:
        while True:
            await asyncio.sleep(1)
            connected = sum(1 for node in fleet.nodes if node.session is not None)
            running = sum(1 for node in fleet.nodes for status in node.allocs.values() if status is AllocStatus.RUNNING)
            print(f"connected {connected} of {count}, running {running}, reports {fleet.reported}", flush=True)


def main() -> None:
    """The program."""
    import uvloop

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", default="127.0.0.1:4647", help="host:port of a server's rpc listener")
    options.add_argument("--nodes", type=int, default=1000)
    options.add_argument("--racks", type=int, default=25)
    arguments = options.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(simulate(arguments.server, arguments.nodes, arguments.racks))


if __name__ == "__main__":
    main()
