"""A small server on the other end of a memory pipe, and a node agent with the mock driver."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rove.client.client import Client
from rove.client.drivers.base import Driver
from rove.client.drivers.mock import Machine, MockDriver
from rove.client.settings import ClientSettings
from rove.client.taskrunner.loop import Offload
from rove.ports import Clock
from rove.ports.real import RealClock, RealIds
from rove.ports.transport import Pipe, Router, Session, Stream, memory_pipes
from rove.structs.alloc import Allocation, AllocUpdate, Desired
from rove.structs.job import EphemeralDisk, Job, JobType, Lifecycle, RestartPolicy, Task, TaskGroup
from rove.structs.messages import (
    AllocsChanged,
    AllocUpdates,
    Empty,
    Heartbeat,
    HeartbeatReply,
    Kind,
    NodeEventsRequest,
    RegisterReply,
    RegisterRequest,
    ServicesUpdate,
    job_ref,
)
from rove.structs.node import Node
from rove.structs.resources import AllocatedCpu, AllocatedMemory, AllocatedResources, AllocatedTask
from rove.structs.service import ServiceRegistration

DEADLINE_S = 20.0
SECOND = 1_000_000_000


def a_task(name: str = "main", hook: str = "", sidecar: bool = False, **fields: Any) -> Task:
    """A mock task that runs until it is killed."""
    lifecycle = Lifecycle(hook=hook, sidecar=sidecar) if hook else None
    defaults: dict[str, Any] = {"driver": "mock_driver", "config": {}, "lifecycle": lifecycle}
    return Task(name=name, **{**defaults, **fields})


def fast_restarts(attempts: int = 2, mode: str = "fail", delay: int = 1_000_000) -> RestartPolicy:
    """A policy with a delay of a millisecond."""
    return RestartPolicy(attempts=attempts, interval=600 * SECOND, delay=delay, mode=mode)


def a_job(*tasks: Task, job_type: JobType = JobType.SERVICE, version: int = 0, **group: Any) -> Job:
    """A job "web" with one group "api"."""
    groups = (TaskGroup(name="api", tasks=tasks or (a_task(),), ephemeral_disk=EphemeralDisk(), **group),)
    return Job(id="web", name="web", type=job_type, task_groups=groups, version=version)


def an_alloc(job: Job, number: int = 0, **fields: Any) -> Allocation:
    """Allocation number `number` of that job."""
    group = job.task_groups[0]
    tasks = {
        task.name: AllocatedTask(cpu=AllocatedCpu(cpu_shares=100), memory=AllocatedMemory(memory_mb=64))
        for task in group.tasks
    }
    defaults: dict[str, Any] = {
        "id": f"{number:08x}-0000-4000-8000-000000000000", "namespace": "default", "job_id": job.id, "job": job,
        "job_version": job.version, "task_group": group.name, "name": f"web.api[{number}]", "modify_index": 10,
        "allocated_resources": AllocatedResources(tasks=tasks),
    }  # fmt: skip
    return Allocation(**{**defaults, **fields})


async def until(condition: Callable[[], Any], deadline_s: float = DEADLINE_S, every_s: float = 0.002) -> None:
    """Wait until the condition holds; the deadline is generous, since machines are slow."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(every_s)


class FakeServer:
    """Remembers what nodes say; the node dials `connect`."""

    def __init__(self) -> None:
        self.registrations: list[RegisterRequest] = []
        self.heartbeats = 0
        self.updates: list[AllocUpdate] = []
        self.messages = 0
        self.newest: dict[str, AllocUpdate] = {}
        self.events: list[Any] = []
        self.services: dict[str, ServiceRegistration] = {}
        self.service_messages: list[ServicesUpdate] = []
        self.answers_services = asyncio.Event()
        self.answers_services.set()
        self.allocs: dict[str, Allocation] = {}
        self.ttl_s = 60.0
        self.forgets_node = False
        self.refuses = False
        self.hello = True
        self.session: Session | None = None
        self._runs: set[asyncio.Task[None]] = set()
        self._router = Router()
        self._router.on(Kind.NODE_REGISTER, RegisterRequest, self._register)
        self._router.on(Kind.NODE_HEARTBEAT, Heartbeat, self._heartbeat)
        self._router.on(Kind.ALLOC_UPDATE, AllocUpdates, self._updated)
        self._router.on(Kind.NODE_EVENTS, NodeEventsRequest, self._node_events)
        self._router.on(Kind.SERVICES_UPDATE, ServicesUpdate, self._services_update)

    async def connect(self) -> Pipe:
        if self.refuses:
            raise ConnectionRefusedError("refused")
        ours, theirs = memory_pipes()
        session = Session(ours, self._router, dialled=False, peer="node")
        self._spawn(session.run())
        return theirs

    async def _register(self, session: Session, request: RegisterRequest) -> RegisterReply:
        self.registrations.append(request)
        self.session = session
        self.forgets_node = False
        if self.hello:
            self._spawn(self.send(*self.allocs.values(), full=True))
        return RegisterReply(heartbeat_ttl_s=self.ttl_s)

    async def _heartbeat(self, session: Session, beat: Heartbeat) -> HeartbeatReply:
        self.heartbeats += 1
        return HeartbeatReply(registered=not self.forgets_node)

    async def _updated(self, session: Session, message: AllocUpdates) -> Empty:
        self.messages += 1
        for update in message.updates:
            self.updates.append(update)
            known = self.newest.get(update.id)
            if known is None or update.sequence > known.sequence:
                self.newest[update.id] = update
                if alloc := self.allocs.get(update.id):
                    self.allocs[update.id] = msgspec.structs.replace(alloc, client_status=update.client_status)
        return Empty()

    async def _node_events(self, session: Session, message: NodeEventsRequest) -> Empty:
        self.events.extend(message.events)
        return Empty()

    async def _services_update(self, session: Session, message: ServicesUpdate) -> Empty:
        self.service_messages.append(message)
        if message.full:
            self.services.clear()
        for service_id in message.gone:
            self.services.pop(service_id, None)
        self.services.update({registration.id: registration for registration in message.put})
        await self.answers_services.wait()
        return Empty()

    async def send(self, *allocs: Allocation, full: bool = False, gone: tuple[str, ...] = ()) -> None:
        """Tell the node what to run."""
        jobs = {job_ref(alloc.namespace, alloc.job_id, alloc.job_version): alloc.job for alloc in allocs if alloc.job}
        self.allocs.update({alloc.id: alloc for alloc in allocs})
        bare = tuple(msgspec.structs.replace(alloc, job=None) for alloc in allocs)
        await self.call(Kind.ALLOCS_CHANGED, AllocsChanged(full=full, allocations=bare, jobs=jobs, gone=gone), Empty)

    async def stop(self, alloc: Allocation, **fields: Any) -> None:
        """Tell the node to stop an allocation."""
        alloc = msgspec.structs.replace(
            alloc, desired_status=Desired.STOP, modify_index=alloc.modify_index + 1, **fields
        )
        await self.send(alloc)

    async def call(self, kind: str, body: Any, reply: type[Any]) -> Any:
        assert self.session is not None
        return await self.session.call(kind, body, reply, DEADLINE_S)

    async def open(self, kind: str, body: Any) -> Stream:
        assert self.session is not None
        return await self.session.open(kind, body)

    async def disconnect(self) -> None:
        """Lose the connection."""
        assert self.session is not None
        await self.session.close()

    def status(self, alloc: Allocation) -> str:
        """The newest reported status."""
        update = self.newest.get(alloc.id)
        return str(update.client_status) if update else ""

    def event_types(self, alloc: Allocation, task: str = "main") -> list[str]:
        return [event.type for event in self.newest[alloc.id].task_states[task].events]

    async def until_status(self, alloc: Allocation, status: str) -> AllocUpdate:
        await until(lambda: self.status(alloc) == status)
        return self.newest[alloc.id]

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def close(self) -> None:
        for task in list(self._runs):
            task.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)


async def fake_fingerprint(settings: ClientSettings, drivers: Mapping[str, Driver]) -> Node:
    """A node with its drivers and one attribute."""
    found = {name: await driver.fingerprint() for name, driver in drivers.items()}
    return Node(name="node-1", attributes={"kernel.name": "linux"}, drivers=found)


class World:
    """A server, a machine, and agents that come and go on it."""

    def __init__(self, data_dir: Path, clock: Clock | None = None, offload: Offload = asyncio.to_thread) -> None:
        self.server = FakeServer()
        self.clock = clock or RealClock()
        self._offload = offload
        self.machine = Machine()
        self.data_dir = data_dir
        self.agents: list[Client] = []

    async def agent(self, **settings: Any) -> Client:
        """Start an agent and wait until it is registered."""
        defaults: dict[str, Any] = {
            "data_dir": self.data_dir, "reconnect_min_s": 0.01, "reconnect_max_s": 0.05, "gc_interval_s": 3600.0,
            "update_batch_s": 0.01,
        }  # fmt: skip
        driver = MockDriver(self.clock, self.machine)
        client = Client(
            ClientSettings(**{**defaults, **settings}), clock=self.clock, ids=RealIds(), offload=self._offload,
            drivers={"mock_driver": driver}, fingerprint=fake_fingerprint, connect=self.server.connect,
        )  # fmt: skip
        self.agents.append(client)
        await client.start()
        if not self.server.refuses:
            await until(client.link.up.is_set)
        return client

    async def kill(self, client: Client) -> None:
        """The agent dies: nothing more is saved or said, tasks of the machine live on."""
        for runner in client.runners.values():
            await runner.detach()
        for task in client._tasks:
            task.cancel()
        await asyncio.gather(*client._tasks, return_exceptions=True)
        await client.state.close()
        self.agents.remove(client)

    async def close(self) -> None:
        for client in self.agents:
            with contextlib.suppress(Exception):
                await client.stop()
        await self.server.close()
