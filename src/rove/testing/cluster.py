"""A small cluster within the process: the real server on a memory engine, and nodes that play scripts.

Runs in virtual time (`simulation.virtually`), so an hour of a roll-out takes milliseconds:

    @virtually
    async def test_a_copy_that_fails_is_replaced() -> None:
        async with Cluster(nodes=2) as cluster:
            cluster.behave(lambda alloc: Script(fails_after=1.0) if alloc.index == 0 else Script())
            await cluster.register(a_job("web", count=2))
            await cluster.until(lambda: cluster.deployment("web").status == "failed")
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec

from rove.engine import Engine
from rove.engine.memory import MemoryEngine
from rove.ports.transport import Router, Session, Stream, memory_pipes
from rove.server.jobs import JobRegistered
from rove.server.server import Server, ServerSettings
from rove.simulate.virtual import SeededIds
from rove.structs.alloc import Allocation, AllocStatus, AllocUpdate, Desired, TaskState, TaskStatus
from rove.structs.base import from_unix, unix_ns
from rove.structs.deployment import Deployment
from rove.structs.job import Job
from rove.structs.messages import (
    AllocRequest,
    AllocsChanged,
    AllocUpdates,
    Empty,
    ExecOutput,
    ExecRequest,
    Heartbeat,
    HeartbeatReply,
    Kind,
    RegisterReply,
    RegisterRequest,
    Stats,
    job_ref,
)
from rove.structs.node import Node

from .builders import a_node
from .virtual_time import VirtualClock

PATIENCE_S = 3600.0
"""Virtual seconds that `until` waits."""


@dataclass(frozen=True, slots=True)
class Script:
    """How an allocation behaves on its node, in seconds.

    starts_after: it runs that long after the node heard of it. healthy_after, fails_after,
    completes_after: counted from its start; None for never. stops_after: how long it takes to end once it
    is told to. restarts_after: it shows as pending for `restart_takes`, then runs again.
    unhealthy_after: it misses its health deadline while it goes on running.
    """

    starts_after: float = 0.2
    healthy_after: float | None = 1.0
    unhealthy_after: float | None = None
    fails_after: float | None = None
    completes_after: float | None = None
    restarts_after: float | None = None
    restart_takes: float = 5.0
    stops_after: float = 0.1


Behaviour = Callable[[Allocation], Script]
Commands = Callable[[Allocation, ExecRequest], tuple[int, str]]
Outside = Callable[[str], Awaitable[tuple[int, bytes]]]


async def nobody(url: str) -> tuple[int, bytes]:
    """There is nothing outside."""
    raise OSError(f"nobody answers at {url}")


class Cluster:
    """The server and its nodes. `nodes`: how many, or the nodes themselves; engine: where the state is kept."""

    def __init__(
        self, nodes: int | list[Node] = 3, *, seed: int = 0, engine: Engine | None = None, **settings: Any
    ) -> None:
        self.clock = VirtualClock()
        self.engine = engine or MemoryEngine()
        self.ids = SeededIds(seed)
        self.settings = ServerSettings(**{"workers": 2, **settings})
        self.commands: Commands = lambda alloc, request: (127, "there is no such command")
        """What commands beside a task do: exit code and output."""
        self.checks: Callable[[Allocation], dict[str, Any]] = lambda alloc: {}
        """What nodes say of an allocation's checks, as the HTTP API shows it."""
        self.outside: Outside = nobody
        """Answers what the server asks of the outside (gates): URL -> (status, body)."""
        self.server = self._new_server()
        self.nodes: dict[str, SimulatedNode] = {}
        self.behaviour: Behaviour = lambda alloc: Script()
        given = [a_node(f"node-{number}") for number in range(nodes)] if isinstance(nodes, int) else nodes
        self._given = given
        self._news = asyncio.Event()

    def _new_server(self) -> Server:
        return Server(self.settings, self.engine, self.clock, self.ids, fetch=self._fetch)

    async def _fetch(self, url: str) -> tuple[int, bytes]:
        return await self.outside(url)

    async def __aenter__(self) -> Self:
        await self._start_server()
        for node in self._given:
            await self.add_node(node)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes.values():
            await node.die()
        await self.server.stop()

    async def _start_server(self) -> None:
        await self.server.start()
        self.server.store.on_commit(lambda committed: self._news.set())

    async def restart_server(self, after_s: float = 0.0) -> None:
        """The server ends; another one on the same state follows `after_s` seconds later."""
        for node in self.nodes.values():
            await node.hang_up()
        await self.server.stop()
        await asyncio.sleep(after_s)
        self.server = self._new_server()
        await self._start_server()
        for node in self.nodes.values():
            if not node.is_dead:
                await node.connect()

    def behave(self, behaviour: Behaviour) -> None:
        """How allocations behave that start from now on."""
        self.behaviour = behaviour

    async def add_node(self, node: Node) -> SimulatedNode:
        """Another node joins."""
        node = msgspec.structs.replace(node, secret_id=node.secret_id or f"secret of {node.id}")
        joined = self.nodes[node.id] = SimulatedNode(self, node)
        await joined.connect()
        return joined

    async def register(self, job: Job) -> JobRegistered:
        """Submit a job."""
        return await self.server.register_job(job)

    # What there is

    def job(self, job_id: str = "web") -> Job:
        """The job's newest version."""
        job = self.server.store.snapshot().job("default", job_id)
        if job is None:
            raise LookupError(f"no job {job_id}")
        return job

    def allocs(self, job_id: str = "web", *, running: bool = False, version: int | None = None) -> list[Allocation]:
        """The job's allocations by name; running: those that are wanted and run."""
        found = self.server.store.snapshot().allocs_of_job("default", job_id)
        kept = [
            alloc
            for alloc in found
            if (not running or (alloc.client_status is AllocStatus.RUNNING and not alloc.is_server_terminal))
            and (version is None or alloc.job_version == version)
        ]
        return sorted(kept, key=lambda alloc: (alloc.index, alloc.create_index))

    def deployments(self, job_id: str = "web") -> list[Deployment]:
        """The job's deployments, oldest first."""
        return list(self.server.store.snapshot().deployments_of_job("default", job_id))

    def deployment(self, job_id: str = "web") -> Deployment:
        """The job's newest deployment."""
        found = self.server.store.snapshot().latest_deployment("default", job_id)
        if found is None:
            raise LookupError(f"no deployment of {job_id}")
        return found

    async def until(self, condition: Callable[[], Any], what: str = "", within_s: float = PATIENCE_S) -> float:
        """Wait until the condition holds; looks after every commit. Returns the virtual time."""
        deadline = self.clock.now() + within_s
        while True:
            self._news.clear()
            with contextlib.suppress(LookupError):
                if condition():
                    return self.clock.now()
            left = deadline - self.clock.now()
            if left <= 0:
                raise AssertionError(f"not within {within_s:g} s: {what or 'the condition'}\n{self.picture()}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()

    async def until_status(
        self, status: str, job_id: str = "web", *, version: int | None = None, within_s: float = PATIENCE_S
    ) -> Deployment:
        """Wait until the newest deployment (of that version) has a status."""

        def reached() -> bool:
            found = self.deployment(job_id)
            return found.status == status and version in (None, found.job_version)

        await self.until(reached, f"deployment of {job_id} {status}", within_s)
        return self.deployment(job_id)

    async def settle(self, seconds: float = 30.0) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)

    def picture(self) -> str:
        """Deployments and allocations as text, for failures of tests."""
        snapshot = self.server.store.snapshot()
        lines = [
            f"{d.job_id} v{d.job_version} {d.status}: {d.status_description} {d.task_groups}"
            for d in snapshot.deployments()
        ]
        for a in snapshot.allocs():
            health = a.deployment_status.healthy if a.deployment_status else None
            lines.append(
                f"{a.name} v{a.job_version} {a.desired_status}/{a.client_status} healthy={health}"
                f" canary={a.is_canary} on {a.node_id}: {a.desired_description}"
            )
        return "\n".join(lines)


class SimulatedNode:
    """A node that plays `Cluster.behaviour` for its allocations."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.node = node
        self.is_dead = False
        self._cluster = cluster
        self._plays: dict[str, _Play] = {}
        self._session: Session | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._router = Router()
        self._router.on(Kind.ALLOCS_CHANGED, AllocsChanged, self._changed)
        self._router.on(Kind.ALLOC_CHECKS, AllocRequest, self._checks)
        self._router.on_stream(Kind.ALLOC_EXEC, ExecRequest, self._exec)

    async def connect(self) -> None:
        """Connect and register."""
        near, far = memory_pipes()
        session = self._session = Session(near, self._router, dialled=True, peer="server")
        self._spawn(self._cluster.server.serve_node(far, peer=self.node.id))
        self._spawn(session.run())
        held = tuple(self._plays)
        reply = await session.call(
            Kind.NODE_REGISTER, RegisterRequest(node=self.node, alloc_ids=held), RegisterReply, timeout_s=30
        )
        self._spawn(self._beat(session, reply.heartbeat_ttl_s / 2))
        for play in self._plays.values():
            play.tell_again()

    async def hang_up(self) -> None:
        """Lose the connection; the allocations run on."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def die(self) -> None:
        """The machine is gone, and all that ran on it."""
        self.is_dead = True
        await self.hang_up()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._plays.clear()

    async def _beat(self, session: Session, every_s: float) -> None:
        while not session.closed.is_set():
            await asyncio.sleep(every_s)
            with contextlib.suppress(Exception):
                await session.call(Kind.NODE_HEARTBEAT, Heartbeat(), HeartbeatReply)

    async def _changed(self, session: Session, message: AllocsChanged) -> Empty:
        for lean in message.allocations:
            job = message.jobs.get(job_ref(lean.namespace, lean.job_id, lean.job_version))
            alloc = msgspec.structs.replace(lean, job=job)
            play = self._plays.get(alloc.id)
            if play is None:
                if alloc.is_terminal:
                    continue
                play = self._plays[alloc.id] = _Play(self, alloc)
                self._spawn(play.run())
            play.learn(alloc)
        for alloc_id in message.gone:
            self._plays.pop(alloc_id, None)
        return Empty()

    async def _checks(self, session: Session, request: AllocRequest) -> Stats:
        return Stats(body=self._cluster.checks(self._plays[request.alloc_id].alloc))

    async def _exec(self, session: Session, request: ExecRequest, stream: Stream) -> None:
        code, output = self._cluster.commands(self._plays[request.alloc_id].alloc, request)
        await stream.send(msgspec.msgpack.encode(ExecOutput(stdout=output.encode())))
        await stream.send(msgspec.msgpack.encode(ExecOutput(exited=True, exit_code=code)))

    def script_of(self, alloc: Allocation) -> Script:
        """How an allocation behaves here."""
        return self._cluster.behaviour(alloc)

    async def report(self, update: AllocUpdate) -> None:
        """Tell the server, if it is there; else it hears of it at the next connection."""
        if self._session is not None:
            with contextlib.suppress(Exception):
                await self._session.call(Kind.ALLOC_UPDATE, AllocUpdates(updates=(update,)), Empty, timeout_s=30)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._cluster.clock.now()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Play:
    """One allocation on its node."""

    def __init__(self, node: SimulatedNode, alloc: Allocation) -> None:
        self.alloc = alloc
        self._node = node
        self._script = node.script_of(alloc)
        self._deployment_id = alloc.deployment_id
        self._status = AllocStatus.PENDING
        self._healthy: bool | None = None
        self._sequence = 0
        self._started: float | None = None
        self._ended: float | None = None
        self._stop = asyncio.Event()

    def learn(self, alloc: Allocation) -> None:
        """The server says something new about it."""
        self.alloc = alloc
        if alloc.desired_status is not Desired.RUN:
            self._stop.set()
        if alloc.deployment_id != self._deployment_id:
            self._deployment_id = alloc.deployment_id
            self._healthy = None
            if self._status is AllocStatus.RUNNING and self._script.healthy_after is not None:
                self._node._spawn(self._healthy_again(alloc.deployment_id, self._script.healthy_after))

    async def _healthy_again(self, deployment_id: str, after_s: float) -> None:
        """Taken over by another version in place: its health is found out anew."""
        await asyncio.sleep(after_s)
        if self._deployment_id == deployment_id and self._status is AllocStatus.RUNNING:
            self._say(AllocStatus.RUNNING, True)

    async def run(self) -> None:
        """Play the script until it ends or is stopped."""
        player = asyncio.get_running_loop().create_task(self._perform())
        stopper = asyncio.get_running_loop().create_task(self._stop.wait())
        try:
            await asyncio.wait({player, stopper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            player.cancel()
            stopper.cancel()
        if self._status not in (AllocStatus.FAILED, AllocStatus.COMPLETE):
            await asyncio.sleep(self._script.stops_after)
            self._ended = self._node.now()
            self._say(AllocStatus.COMPLETE, self._healthy)

    async def _perform(self) -> None:
        script = self._script
        await asyncio.sleep(script.starts_after)
        self._started = self._node.now()
        self._say(AllocStatus.RUNNING, None)
        acts: list[tuple[float, AllocStatus, bool | None]] = []
        if script.healthy_after is not None:
            acts.append((script.healthy_after, AllocStatus.RUNNING, True))
        if script.unhealthy_after is not None:
            acts.append((script.unhealthy_after, AllocStatus.RUNNING, False))
        if script.restarts_after is not None:
            acts.append((script.restarts_after, AllocStatus.PENDING, None))
            acts.append((script.restarts_after + script.restart_takes, AllocStatus.RUNNING, None))
        if script.completes_after is not None:
            acts.append((script.completes_after, AllocStatus.COMPLETE, None))
        if script.fails_after is not None:
            acts.append((script.fails_after, AllocStatus.FAILED, False))
        elapsed = 0.0
        for at, status, healthy in sorted(acts, key=lambda act: act[0]):
            await asyncio.sleep(at - elapsed)
            elapsed = at
            if status in (AllocStatus.FAILED, AllocStatus.COMPLETE):
                self._ended = self._node.now()
            # A node decides about health once: what was found healthy stays so in its reports.
            self._say(status, self._healthy if self._healthy is not None or healthy is None else healthy)
            if self._ended is not None:
                return
        await asyncio.Event().wait()

    def _say(self, status: AllocStatus, healthy: bool | None) -> None:
        self._status, self._healthy = status, healthy
        self._sequence += 1
        self.tell()

    def _has_migrate(self) -> bool:
        """True if health is watched outside deployments too, for drains."""
        group = self.alloc.job.group(self.alloc.task_group) if self.alloc.job else None
        return group is not None and group.migrate is not None

    def tell_again(self) -> None:
        """After a time without connection: the same report, as a newer one."""
        self._sequence += 1
        self.tell()

    def tell(self) -> None:
        """Report how it is."""
        state = TaskState(
            state=TaskStatus.PENDING if self._started is None else TaskStatus.RUNNING,
            started_at=None if self._started is None else from_unix(self._started),
        )
        if self._ended is not None:
            state = msgspec.structs.replace(
                state, state=TaskStatus.DEAD, failed=self._status is AllocStatus.FAILED,
                finished_at=from_unix(self._ended),
            )  # fmt: skip
        update = AllocUpdate(
            id=self.alloc.id,
            client_status=self._status,
            task_states={"main": state},
            healthy=self._healthy if self._deployment_id or self._has_migrate() else None,
            healthy_time=unix_ns(self._node.now()) if self._healthy is not None else 0,
            sequence=self._sequence,
        )
        self._node._spawn(self._node.report(update))
