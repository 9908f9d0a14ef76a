"""The server's own parts on virtual time: store, evaluations, roll-outs, drains; and nodes that obey at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from rove.engine.memory import MemoryEngine
from rove.server.deployments import Asking, Deployments
from rove.server.deployments.gates import Verdict
from rove.server.drain import Drains
from rove.server.evaluations.loop import Evaluations
from rove.server.jobs import Jobs
from rove.server.nodes.loop import Nodes
from rove.server.state import (
    Batch,
    Committed,
    DeleteNodes,
    PutEvaluations,
    PutNode,
    SetNodeStatus,
    Snapshot,
    Store,
    UpdateAllocs,
)
from rove.structs.alloc import Allocation, AllocStatus, AllocUpdate, TaskState, TaskStatus
from rove.structs.base import from_unix, unix_ns
from rove.structs.evaluation import Trigger
from rove.structs.job import Gate, Job
from rove.structs.node import DrainSpec, Node, NodeEvent, NodeStatus

from .snapshot import ClusterDump, fill
from .virtual import START, SeededIds, SimulatedClock, SimulatedLoop

T = TypeVar("T")

QUIET_S = 5.0
"""A step is over when nothing has changed for so long, in virtual seconds."""
LIMIT_S = 24 * 3600.0
"""A step that goes on changing things for so long is cut off."""


class OpenGates(Asking):
    """Every gate of a roll-out says yes: nobody outside is asked."""

    def __init__(self) -> None:
        pass

    async def ask(self, gate: Gate, canaries: Sequence[Allocation]) -> Verdict:
        """Yes."""
        return Verdict(True, "not asked: this is a simulation")


class World:
    """A region without sockets, threads and time. Its methods are called from outside of its loop."""

    def __init__(self, dump: ClusterDump, seed: int) -> None:
        self.loop = SimulatedLoop()
        self.clock = SimulatedClock(self.loop, max(dump.taken_at, START))
        ids = SeededIds(seed)
        self._engine = MemoryEngine()
        fill(self._engine, dump)
        self.store = Store(self._engine, self.clock, ids)
        self._executor = ThreadPoolExecutor(1)  # asked for, never used: the loop works on the spot
        self.nodes = Nodes(self.store, self.clock, ids)
        self.evaluations = Evaluations(self.store, self.clock, ids, self._executor, workers=1)
        self.deployments = Deployments(self.store, self.clock, ids, OpenGates())
        self.drains = Drains(self.store, self.nodes, self.clock, ids)
        self.jobs = Jobs(self.store, self.clock, ids, self._executor)
        self.assigned: set[str] = set()
        """Allocations that the server has placed or changed since this was last cleared."""
        self._told: set[str] = set()
        self._wake = asyncio.Event()
        self._changed_at = 0.0
        self._sequence = 0
        self._agents: asyncio.Task[None] | None = None
        self.loop.finish(self._start())
        self.settle()

    async def _start(self) -> None:
        term = await self._engine.campaign("simulation")
        await self.store.open(term.token)
        self.store.on_commit(self._observe)
        self._tell(alloc.id for alloc in self.store.snapshot().allocs() if not alloc.is_client_terminal)
        self.evaluations.start()
        self.deployments.start()
        self.drains.start()
        self._agents = asyncio.get_running_loop().create_task(self._obey())

    def close(self) -> None:
        """Let go of everything."""
        if not self.loop.is_closed():
            self.loop.finish(self._stop())
            self.loop.close()
            self._executor.shutdown(wait=False)

    async def _stop(self) -> None:
        if self._agents is not None:
            self._agents.cancel()
            await asyncio.gather(self._agents, return_exceptions=True)
        await self.drains.stop()
        await self.deployments.stop()
        await self.evaluations.stop()
        await self.store.close()
        await self._engine.close()

    def snapshot(self) -> Snapshot:
        """The state as it is."""
        return self.store.snapshot()

    def settle(self) -> bool:
        """Let everything that follows from what was done happen. False if it did not come to rest."""
        return self.loop.settle(QUIET_S, LIMIT_S, lambda: self._changed_at)

    def do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do one thing, and let everything that follows from it happen."""
        self.assigned.clear()
        done = self.loop.finish(work())
        self.settle()
        return done

    def _observe(self, committed: Committed) -> None:
        self._changed_at = self.loop.time()
        self.nodes.observe(committed)
        self.evaluations.observe(committed)
        self.deployments.observe(committed)
        self.drains.observe(committed)
        for alloc_ids in committed.assigned().values():
            self.assigned.update(alloc_ids)
            self._tell(alloc_ids)

    # -- the nodes' side

    def _tell(self, alloc_ids: Iterable[str]) -> None:
        self._told.update(alloc_ids)
        self._wake.set()

    async def _obey(self) -> None:
        """Every node does at once as it is told, and every copy is healthy."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            told, self._told = sorted(self._told), set()
            head = self.store.head()
            found = (head.alloc(alloc_id) for alloc_id in told)
            updates = [
                update for alloc in found if alloc is not None and (update := self._report(head, alloc)) is not None
            ]
            if updates:
                await self.store.commit(UpdateAllocs(updates=tuple(updates)))

    def _report(self, head: Snapshot, alloc: Allocation) -> AllocUpdate | None:
        node = head.node(alloc.node_id)
        if node is None or node.status is not NodeStatus.READY or alloc.is_client_terminal:
            return None
        if alloc.is_server_terminal:
            status, healthy = AllocStatus.COMPLETE, None
        elif alloc.client_status is not AllocStatus.RUNNING or not alloc.is_healthy:
            status, healthy = AllocStatus.RUNNING, True
        else:
            return None
        self._sequence += 1
        now = self.clock.now()
        running = status is AllocStatus.RUNNING
        group = alloc.job.group(alloc.task_group) if alloc.job is not None else None
        state = TaskState(state=TaskStatus.RUNNING if running else TaskStatus.DEAD, started_at=from_unix(now))
        return AllocUpdate(
            id=alloc.id, client_status=status, healthy=healthy, healthy_time=unix_ns(now),
            task_states={task.name: state for task in group.tasks} if group is not None else {},
            sequence=unix_ns(now) + self._sequence,
        )  # fmt: skip

    # -- what a person does

    async def register(self, job: Job) -> None:
        """Submit a job."""
        await self.jobs.register(job)

    async def deregister(self, namespace: str, job_id: str) -> None:
        """Stop a job."""
        await self.jobs.deregister(namespace, job_id)

    async def put_nodes(self, nodes: Iterable[Node]) -> None:
        """Nodes appear, or are back."""
        for node in nodes:
            ready = msgspec.structs.replace(
                node, status=NodeStatus.READY, status_updated_at=int(self.clock.now())
            )  # fmt: skip
            await self.store.commit(PutNode(node=ready))
            evaluations = self.nodes.evaluations_for([node.id], Trigger.NODE_UPDATE)
            if evaluations:
                await self.store.commit(PutEvaluations(evaluations=evaluations))

    async def fail(self, node_ids: list[str]) -> None:
        """Nodes are found to be down."""
        event = NodeEvent(message="node is down", subsystem="Cluster", timestamp=from_unix(self.clock.now()))
        down = [SetNodeStatus(node_id=node_id, status=NodeStatus.DOWN, event=event) for node_id in node_ids]
        evaluations = self.nodes.evaluations_for(node_ids, Trigger.NODE_UPDATE)
        await self.store.commit(Batch(parts=(*down, PutEvaluations(evaluations=evaluations))))

    async def forget(self, node_ids: list[str]) -> None:
        """Nodes are gone for good."""
        evaluations = self.nodes.evaluations_for(node_ids, Trigger.NODE_UPDATE)
        await self.store.commit(DeleteNodes(node_ids=tuple(node_ids), evaluations=evaluations))

    async def drain(self, node_id: str, spec: DrainSpec) -> None:
        """A node is drained."""
        await self.drains.set_drain(node_id, spec)
