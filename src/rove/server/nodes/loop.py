"""Connections of nodes: registration, heartbeats, pushing assignments, storing reports, noticing loss."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from rove.errors import ForbiddenError, NotFoundError, RoveError, UnavailableError
from rove.ports import Clock, Ids
from rove.ports.transport import Pipe, Router, Session, Stream
from rove.server.state import (
    AddNodeEvents,
    Batch,
    Committed,
    PutEvaluations,
    PutNode,
    SetNodeStatus,
    Snapshot,
    Store,
    Transaction,
    UpdateAllocs,
)
from rove.structs.alloc import Allocation, AllocStatus, AllocUpdate
from rove.structs.base import from_unix
from rove.structs.evaluation import Evaluation, Trigger, evaluation_of
from rove.structs.job import Job, JobType
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
    ServiceInstances,
    ServiceLookup,
    ServicesUpdate,
)
from rove.structs.node import Node, NodeEvent, NodeStatus, computed_class

from . import core, services
from .pace import Pace

log = logging.getLogger(__name__)

T = TypeVar("T")
TICK_S = 0.5
PUSHES_PER_SLICE = 30
"""Assignments sent in 10 ms: few changes go out at once. In a burst all nodes together get no more than 3,000 messages
a second, as each costs the server more than what it carries, and what changes while a node waits goes into one."""
REPORT_COMMITS_AT_ONCE = 4
REPORTS_PER_COMMIT = 500
"""More would hold the event loop too long at once."""
KNOCK_GRACE_S = 20.0
"""A node whose registration could not be stored is alive; longer than agents wait before they try again."""
NODES_PER_TTL_SECOND = 2000
"""A bigger fleet sends heartbeats less often."""


class HeartbeatPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long nodes may be silent, in seconds."""

    ttl_s: float = core.HEARTBEAT_TTL_S
    silence_grace_s: float = core.SILENCE_GRACE_S
    closed_grace_s: float = core.CLOSED_GRACE_S
    takeover_grace_s: float = core.TAKEOVER_GRACE_S


class _Link:
    """One connected node."""

    def __init__(self, session: Session, node_id: str, held: frozenset[str]) -> None:
        self.session = session
        self.node_id = node_id
        self.held = held
        self.dirty: set[str] = set()
        self.gone: set[str] = set()
        self.wake = asyncio.Event()
        self.frames_seen = -1
        self.pusher: asyncio.Task[None] | None = None


class Nodes:
    """All connections of this server. `observe` is called with every stored change."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        *,
        region: str = "global",
        policy: HeartbeatPolicy | None = None,
        servers: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._region = region
        self._policy = policy or HeartbeatPolicy()
        self._servers = servers
        self._links: dict[str, _Link] = {}
        self._sessions: set[Session] = set()
        self._deadlines = core.Deadlines()
        self._reports: list[tuple[str, tuple[AllocUpdate, ...], asyncio.Future[int]]] = []
        self._report_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._system_jobs: tuple[int, list[Job]] = (-1, [])
        self._pace = Pace(clock, PUSHES_PER_SLICE)
        self._router = Router()
        self._router.on(Kind.NODE_REGISTER, RegisterRequest, self._register)
        self._router.on(Kind.NODE_HEARTBEAT, Heartbeat, self._heartbeat)
        self._router.on(Kind.NODE_EVENTS, NodeEventsRequest, self._node_events)
        self._router.on(Kind.ALLOC_UPDATE, AllocUpdates, self._alloc_updates)
        self._router.on(Kind.SERVICES_UPDATE, ServicesUpdate, self._services_update)
        self._router.on(Kind.SERVICE_LOOKUP, ServiceLookup, self._service_lookup)

    def start(self) -> None:
        """Give every known node some time to show up, and begin."""
        until = self._clock.monotonic() + self._policy.takeover_grace_s
        for node in self._store.snapshot().nodes():
            if node.status is not NodeStatus.DOWN:
                self._deadlines.extend(node.id, until)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch_deadlines()), loop.create_task(self._store_reports())]

    async def stop(self) -> None:
        """Close every connection."""
        ending = (*self._tasks, *self._closing)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._tasks.clear()
        await self._pace.stop()
        await asyncio.gather(*(session.close() for session in list(self._sessions)), return_exceptions=True)
        self._deadlines.clear()

    @property
    def connected(self) -> int:
        """How many nodes are connected now."""
        return len(self._links)

    # -- towards nodes

    async def call(self, node_id: str, kind: Kind, body: Any, reply: type[T], timeout_s: float = 10.0) -> T:
        """Ask a node. Raises `UnavailableError` if it is not connected, or the node's own error."""
        return await self._session(node_id).call(kind, body, reply, timeout_s)

    async def open(self, node_id: str, kind: Kind, body: Any) -> Stream:
        """Open a stream to a node."""
        return await self._session(node_id).open(kind, body)

    def _session(self, node_id: str) -> Session:
        link = self._links.get(node_id)
        if link is not None:
            return link.session
        node = self._store.snapshot().node(node_id)
        if node is None:
            raise NotFoundError("node.unknown", f'Unknown node "{node_id}"', fix="list nodes with: rove node status")
        raise UnavailableError(
            "node.no_path",
            "the node cannot be reached from here",
            f'node "{node.name}" ({node_id[:8]}) is not connected to this server',
            "see that its agent runs and reaches this server's rpc port",
        )

    def observe(self, committed: Committed) -> None:
        """Tell connected nodes what concerns them."""
        if not (committed.alloc_nodes & self._links.keys()):
            return
        # What the nodes reported themselves is not echoed to them.
        for node_id, alloc_ids in committed.assigned().items():
            link = self._links.get(node_id)
            if link is not None:
                link.dirty.update(alloc_ids)
                link.wake.set()

    def forget(self, allocations: Iterable[Allocation]) -> None:
        """Tell nodes that the server has forgotten these allocations: their directories can go."""
        for allocation in allocations:
            link = self._links.get(allocation.node_id)
            if link is not None:
                link.dirty.discard(allocation.id)
                link.gone.add(allocation.id)
                link.wake.set()

    async def _push(self, link: _Link) -> None:
        """Send the whole assignment, then every change of it, one message at a time."""
        full = True
        while True:
            await self._pace.turn()
            try:
                await link.session.call(Kind.ALLOCS_CHANGED, self._message(link, full), Empty, timeout_s=30.0)
                full = False
            except RoveError as error:
                if link.session.closed.is_set():
                    return
                log.warning("node %s did not take its assignment: %s", link.node_id[:8], error.what)
                full = True
                await self._clock.sleep(1.0)
                continue
            await link.wake.wait()

    def _message(self, link: _Link, full: bool) -> AllocsChanged:
        """The whole assignment, or what changed since the last message. Made here, so that who waits holds no state."""
        dirty, gone = link.dirty, link.gone
        link.dirty, link.gone = set(), set()
        link.wake.clear()
        snapshot = self._store.snapshot()
        allocations = self._all_of(snapshot, link) if full else _known(snapshot, dirty)
        return core.assignment(allocations, index=snapshot.index, full=full, gone=gone)

    def _all_of(self, snapshot: Snapshot, link: _Link) -> list[Allocation]:
        allocations = {allocation.id: allocation for allocation in snapshot.allocs_of_node(link.node_id)}
        for alloc_id in link.held:
            held = snapshot.alloc(alloc_id)
            if held is not None and held.node_id == link.node_id:
                allocations[held.id] = held
        return list(allocations.values())

    async def drop(self, node_id: str) -> None:
        """The node was deleted: close its connection and stop watching it."""
        self._deadlines.forget(node_id)
        link = self._links.pop(node_id, None)
        if link is not None:
            await link.session.close()

    # -- from nodes

    async def serve(self, pipe: Pipe, peer: str = "") -> None:
        """Serve one connection until it closes."""
        session = Session(pipe, self._router, dialled=False, peer=peer or "a node")
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            self._gone(session)

    def _gone(self, session: Session) -> None:
        link = session.identity
        if not isinstance(link, _Link):
            return
        if link.pusher is not None:
            link.pusher.cancel()
        session.identity = link.pusher = None  # no cycles: they would wait long for the garbage collector
        if self._links.get(link.node_id) is link:
            del self._links[link.node_id]
            node = self._store.snapshot().node(link.node_id)
            if link.node_id in self._deadlines and (node is None or node.status is not NodeStatus.DISCONNECTED):
                self._deadlines.extend(link.node_id, self._clock.monotonic() + self._policy.closed_grace_s)

    async def _register(self, session: Session, request: RegisterRequest) -> RegisterReply:
        node = request.node
        if not node.id or not node.secret_id:
            raise RoveError("node.incomplete", "the node was not registered", "its id or secret is missing", status=400)
        known = self._store.snapshot().node(node.id)
        if known is not None and not hmac.compare_digest(known.secret_id, node.secret_id):
            raise ForbiddenError(
                "node.wrong_secret",
                "the node was not registered",
                f"node id {node.id} belongs to a node with another secret",
                "give the agent back its old data_dir, or remove that folder's node id",
            )
        evaluations: tuple[Evaluation, ...] = ()
        now = self._clock.now()
        if known is None or known.status is not NodeStatus.READY or _looks_different(known, node):
            evaluations = self.evaluations_for([node.id], Trigger.NODE_UPDATE)
        ready = msgspec.structs.replace(node, status=NodeStatus.READY, status_updated_at=int(now))
        try:
            registration = Batch(parts=(PutNode(node=ready), PutEvaluations(evaluations=evaluations)))
            index = await self._store.commit(registration)
        except OSError:
            if node.id in self._deadlines and known is not None and known.status is NodeStatus.READY:
                self._deadlines.extend(node.id, self._clock.monotonic() + KNOCK_GRACE_S)
            raise
        self._connect(session, node.id, frozenset(request.alloc_ids))
        return RegisterReply(heartbeat_ttl_s=self.ttl_s, index=index, servers=self._servers(), region=self._region)

    def _connect(self, session: Session, node_id: str, held: frozenset[str]) -> None:
        earlier = self._links.get(node_id)
        if earlier is not None and earlier.pusher is not None:
            earlier.pusher.cancel()
        loop = asyncio.get_running_loop()
        if earlier is not None and earlier.session is not session:
            closing = loop.create_task(earlier.session.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        link = _Link(session, node_id, held)
        session.identity = link
        session.peer = f"node {node_id[:8]}"
        self._links[node_id] = link
        self._deadlines.extend(node_id, self._clock.monotonic() + self.ttl_s + self._policy.silence_grace_s)
        link.pusher = loop.create_task(self._push(link))

    @property
    def ttl_s(self) -> float:
        """How long a connected node may be silent, with the fleet as it is."""
        return max(self._policy.ttl_s, len(self._links) / NODES_PER_TTL_SECOND)

    async def _heartbeat(self, session: Session, request: Heartbeat) -> HeartbeatReply:
        link = session.identity
        registered = isinstance(link, _Link) and self._links.get(link.node_id) is link
        if registered:
            node = self._store.snapshot().node(link.node_id)
            registered = link.node_id in self._deadlines and node is not None and node.status is NodeStatus.READY
            # Otherwise it was taken for lost: it has to register again.
        return HeartbeatReply(registered=registered, heartbeat_ttl_s=self.ttl_s, servers=self._servers())

    async def _node_events(self, session: Session, request: NodeEventsRequest) -> Empty:
        link = _link_of(session)
        await self._store.commit(AddNodeEvents(node_id=link.node_id, events=request.events))
        return Empty()

    async def _alloc_updates(self, session: Session, request: AllocUpdates) -> Empty:
        link = _link_of(session)
        stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reports.append((link.node_id, request.updates, stored))
        self._report_wake.set()
        await stored
        return Empty()

    async def _services_update(self, session: Session, request: ServicesUpdate) -> Empty:
        return await services.take(self._store, _link_of(session).node_id, request)

    async def _service_lookup(self, session: Session, request: ServiceLookup) -> ServiceInstances:
        _link_of(session)
        return await services.look_up(self._store, request)

    async def _store_reports(self) -> None:
        """Store reports of all nodes together: while some batches are flushed the next one is worked out."""
        room = asyncio.Semaphore(REPORT_COMMITS_AT_ONCE)
        flushing: set[asyncio.Task[None]] = set()
        try:
            while True:
                await self._report_wake.wait()
                await room.acquire()
                self._report_wake.clear()
                task = asyncio.get_running_loop().create_task(self._store_and_answer(self._take_reports()))
                flushing.add(task)
                task.add_done_callback(flushing.discard)
                task.add_done_callback(lambda _: room.release())
                await asyncio.sleep(0)  # the batch is applied to the head before the next is taken
        finally:
            for task in flushing:
                task.cancel()

    async def _store_and_answer(self, batch: list[tuple[str, tuple[AllocUpdate, ...], asyncio.Future[int]]]) -> None:
        try:
            index = await self._store_batch([(node_id, updates) for node_id, updates, _ in batch])
        except Exception as error:  # also our own bugs: the nodes must hear of it
            log.exception("reports of %d nodes could not be stored", len(batch))
            for *_, future in batch:
                if not future.done():
                    future.set_exception(UnavailableError("state.not_stored", "the report was not stored", str(error)))
            return
        for *_, future in batch:
            if not future.done():
                future.set_result(index)

    def _take_reports(self) -> list[tuple[str, tuple[AllocUpdate, ...], asyncio.Future[int]]]:
        """The oldest messages, as many as one commit should hold; the rest comes next."""
        count = taken = 0
        while taken < len(self._reports) and count < REPORTS_PER_COMMIT:
            count += len(self._reports[taken][1])
            taken += 1
        batch, self._reports = self._reports[:taken], self._reports[taken:]
        if self._reports:
            self._report_wake.set()
        return batch

    async def _store_batch(self, batch: Sequence[tuple[str, Sequence[AllocUpdate]]]) -> int:
        """Store reports; the state drops those about allocations that are not the reporting node's."""
        head = self._store.head()
        reported = [
            (update, allocation)
            for node_id, updates in batch
            for update in updates
            if self._matters(head, update)
            and (allocation := head.alloc(update.id)) is not None
            and allocation.node_id == node_id
        ]
        evaluations = tuple(
            evaluation
            for trigger, jobs in core.jobs_to_look_at(reported).items()
            for key, allocation in jobs.items()
            if (evaluation := self._evaluation(head, key, trigger, deployment_id=allocation.deployment_id))
        )
        parts = [UpdateAllocs(updates=tuple(updates), node_id=node_id) for node_id, updates in batch]
        return await self._store.commit(Batch(parts=(*parts, PutEvaluations(evaluations=evaluations))))

    @staticmethod
    def _matters(head: Snapshot, update: AllocUpdate) -> bool:
        """True if a report may make its job be looked at. Most do not, so this is quick."""
        if update.client_status is AllocStatus.FAILED or head.client_status(update.id) is AllocStatus.UNKNOWN:
            return True
        if update.client_status is not AllocStatus.COMPLETE:
            return False
        group = head.group_of(update.id)
        return group is not None and core.stops_by_itself(group)

    # -- loss

    async def _watch_deadlines(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            now = self._clock.monotonic()
            until = now + self.ttl_s + self._policy.silence_grace_s
            for link in self._links.values():
                if link.session.frames_received != link.frames_seen:
                    link.frames_seen = link.session.frames_received
                    if link.node_id in self._deadlines:
                        self._deadlines.extend(link.node_id, until)
            lost = self._deadlines.expired(now)
            if lost:
                try:
                    await self._mark_away(lost)
                except Exception:  # also our own bugs: this loop must not end
                    log.exception("%d lost nodes could not be marked", len(lost))
                    for node_id in lost:
                        self._deadlines.extend(node_id, now + TICK_S)

    async def _mark_away(self, node_ids: list[str]) -> None:
        """Nodes without a sign of life: disconnected while a job waits for one to come back, else down."""
        head, now = self._store.head(), self._clock.now()
        parts: list[Transaction] = []
        away: list[str] = []
        for node_id in node_ids:
            node = head.node(node_id)
            if node is None:
                continue
            ends = core.return_deadline(head.allocs_of_node(node_id), now)
            status = NodeStatus.DOWN if ends is None else NodeStatus.DISCONNECTED
            if ends is not None:
                self._deadlines.extend(node_id, self._clock.monotonic() + max(ends - now, TICK_S))
            if status is not node.status:
                away.append(node_id)
                event = NodeEvent(message=core.AWAY_TEXT[status], subsystem="Cluster", timestamp=from_unix(now))
                parts.append(SetNodeStatus(node_id=node_id, status=status, event=event))
        if not parts:
            return
        log.warning("no sign of life: %s", ", ".join(node_id[:8] for node_id in away))
        parts.append(PutEvaluations(evaluations=self.evaluations_for(away, Trigger.NODE_UPDATE)))
        await self._store.commit(Batch(parts=tuple(parts)))
        for node_id in away:
            link = self._links.get(node_id)
            if link is not None:  # silent but connected: let it dial again
                await link.session.close()

    # -- evaluations that nodes cause

    def evaluations_for(self, node_ids: Iterable[str], trigger: Trigger) -> tuple[Evaluation, ...]:
        """One evaluation for each job with allocations on these nodes, and each system job."""
        snapshot = self._store.head()
        wanted: dict[tuple[str, str], str] = {}
        for node_id in node_ids:
            for job in self._jobs_everywhere(snapshot):
                wanted.setdefault(job.key, node_id)
            for allocation in snapshot.allocs_of_node(node_id):
                wanted.setdefault(allocation.job_key, node_id)
        made = (self._evaluation(snapshot, key, trigger, node_id=node_id) for key, node_id in wanted.items())
        return tuple(evaluation for evaluation in made if evaluation is not None)

    def _jobs_everywhere(self, snapshot: Snapshot) -> list[Job]:
        index = snapshot.last_index(("jobs",))
        if self._system_jobs[0] != index:
            everywhere = (JobType.SYSTEM, JobType.SYSBATCH)
            jobs = [
                job
                for job in snapshot.jobs(None)
                if job.type in everywhere and not job.stop and not job.is_periodic and not job.is_parameterized
            ]
            self._system_jobs = (index, jobs)
        return self._system_jobs[1]

    def _evaluation(
        self,
        snapshot: Snapshot,
        key: tuple[str, str],
        trigger: Trigger,
        *,
        node_id: str = "",
        deployment_id: str = "",
    ) -> Evaluation | None:
        job = snapshot.job(*key)
        if job is None:
            return None
        return evaluation_of(
            job,
            trigger,
            evaluation_id=self._ids.uuid(),
            now=self._clock.now(),
            node_id=node_id,
            deployment_id=deployment_id,
        )


def _looks_different(known: Node, node: Node) -> bool:
    """True if jobs may see the node with other eyes: its class, or what only it has."""
    return known.computed_class != computed_class(node) or (known.meta, known.name) != (node.meta, node.name)


def _link_of(session: Session) -> _Link:
    if not isinstance(session.identity, _Link):
        raise ForbiddenError("node.not_registered", "the node has not registered on this connection")
    return session.identity


def _known(snapshot: Snapshot, alloc_ids: Iterable[str]) -> list[Allocation]:
    found = (snapshot.alloc(alloc_id) for alloc_id in alloc_ids)
    return [allocation for allocation in found if allocation is not None]
