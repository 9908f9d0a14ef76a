"""The node: keeps a connection to a server, runs what the server wants here, reports what becomes of it.

Nothing here needs the server to go on: a node without a connection keeps its tasks running and restarts
them by their policy. What the agent knows is on disk, so the next agent goes on where this one stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rove.client.allocrunner import directory
from rove.client.allocrunner.core import shares_port
from rove.client.allocrunner.loop import AllocRecord, AllocRunner
from rove.client.allocrunner.offering import Discovery
from rove.client.checks.probes import Prober
from rove.client.collect import Collect, Ended, Limits, Room, to_collect
from rove.client.drivers.base import Driver
from rove.client.link import ServerLink
from rove.client.meta import Changes, merged_changes, with_changes
from rove.client.orphans import end_orphans
from rove.client.reports import Reporter
from rove.client.services.loop import Registrar
from rove.client.serving import Serving
from rove.client.settings import ClientSettings
from rove.client.state import LocalState
from rove.client.taskrunner import events as ev
from rove.client.taskrunner.loop import Offload, Surroundings
from rove.errors import NotFoundError, RoveError, UnavailableError
from rove.ports import Clock, Ids
from rove.ports.transport import Pipe, Router
from rove.structs.alloc import Allocation, AllocStatus, AllocUpdate
from rove.structs.base import from_unix
from rove.structs.messages import (
    AllocsChanged,
    Empty,
    Kind,
    NodeEventsRequest,
    NodeMeta,
    RegisterReply,
    RegisterRequest,
    ServicesUpdate,
    job_ref,
)
from rove.structs.node import Eligibility, Node, NodeEvent, NodeStatus, computed_class

SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "ACCESS_KEY", "PRIVATE_KEY")
"""Variables of the agent whose name holds one of these are not handed to tasks."""
OWN_PREFIXES = ("ROVE_", "NOMAD_", "VAULT_", "CONSUL_")

LAUNCH_GRACE_S = 10.0
"""How long an agent that stops waits for starts under way: one that is cut short is undone."""
STOP_GRACE_S = 30.0
"""How much longer than the longest kill_timeout an agent that ends its tasks waits for them."""

log = logging.getLogger(__name__)

Fingerprint = Callable[[ClientSettings, Mapping[str, Driver]], Awaitable[Node]]


class Client:
    """One node agent."""

    def __init__(
        self,
        settings: ClientSettings,
        *,
        clock: Clock,
        ids: Ids,
        drivers: Mapping[str, Driver],
        fingerprint: Fingerprint,
        connect: Callable[[], Awaitable[Pipe]],
        on_servers: Callable[[Sequence[str]], None] = lambda _: None,
        offload: Offload = asyncio.to_thread,
    ) -> None:
        """connect: a new pipe to some server; called again after each loss, with a growing delay.

        on_servers: told the servers' addresses whenever a server names them.
        offload: runs blocking calls; a simulation runs them in place.
        """
        self.settings = settings
        self.clock = clock
        self.drivers = drivers
        self.node = Node()
        """As last fingerprinted; empty before `start`."""
        self.runners: dict[str, AllocRunner] = {}
        """Every allocation on the node, also those that have ended."""
        self.state = LocalState(settings.state_path, offload)
        self._ids = ids
        self._fingerprint = fingerprint
        self._on_servers = on_servers
        self._random = random.Random(ids.random_bytes(8))
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._down_timer: asyncio.Task[None] | None = None
        self._was_down = False
        self._events: list[NodeEvent] = []
        self._static_meta: dict[str, str] = {}
        self._meta_changes: dict[str, str | None] = {}
        self._around = Surroundings(
            clock=clock, settings=settings, drivers=drivers, node=lambda: self.node,
            jitter=self._random.random, host_env=task_host_env(os.environ),
            offload=offload,
        )  # fmt: skip
        router = Router()
        router.on(Kind.ALLOCS_CHANGED, AllocsChanged, self._allocs_changed)
        Serving(self).register(router)
        self.link = ServerLink(
            connect=connect, handler=router, clock=clock, jitter=self._random.random,
            register=self._registration, on_up=self._connected, on_down=self._disconnected,
            reconnect_min_s=settings.reconnect_min_s, reconnect_max_s=settings.reconnect_max_s,
        )  # fmt: skip
        self.reporter = Reporter(self.link, clock, settings.update_batch_s)
        self.registrar = Registrar(self._send_services, clock, self.link.up.is_set)
        self._discovery = Discovery(self.registrar, Prober())

    # --- life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the state directory, fingerprint, restore, and begin to dial. Raises `RoveError`."""
        self.state.open()
        node_id, secret = self.state.identity(self._ids)
        self._around.first_sequence = self.state.first_sequence(self.clock.now())
        self._prepare_alloc_dir()
        found = await self._fingerprint(self.settings, self.drivers)
        self.node = self._complete(found, node_id, secret)
        self._static_meta = self.node.meta
        self._meta_changes = self.state.load_meta()
        self._use_meta()
        self._restore()
        for work in (
            self.link.run(), self.reporter.run(), self._collect_loop(), self._probe_loop(), self._offer_services(),
        ):  # fmt: skip
            self._spawn(work)

    async def stop(self, *, drain: bool = False) -> None:
        """End the agent. Tasks run on, unless told to `drain` or the settings say that nothing outlives it."""
        if drain or self.settings.destroy_on_shutdown:
            for runner in self.runners.values():
                runner.stop(skip_delay=not drain)
            try:
                async with asyncio.timeout(self.settings.max_kill_timeout_s + STOP_GRACE_S):
                    await asyncio.gather(*(runner.ended.wait() for runner in self.runners.values()))
                    await self.reporter.flush()
            except TimeoutError:
                running = sorted(alloc_id for alloc_id, runner in self.runners.items() if not runner.ended.is_set())
                log.error("these allocations did not end in time: %s", ", ".join(running) or "none, but not reported")
        if self.settings.destroy_on_shutdown:
            await asyncio.gather(*(self.remove(alloc_id) for alloc_id in list(self.runners)))
        self._leaving = True
        await asyncio.gather(*(runner.detach(LAUNCH_GRACE_S) for runner in self.runners.values()))
        loops = [*self._tasks, *self._removals.values()] + ([self._down_timer] if self._down_timer else [])
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        for runner in self.runners.values():
            await self.state.save_record(runner.alloc.id, runner.record)
        for driver in self.drivers.values():
            await driver.close()
        await self._discovery.prober.close()
        await self.state.close()

    def runner(self, alloc_id: str) -> AllocRunner:
        """The runner of an allocation. Raises `NotFoundError`, with the text that clients look for."""
        if alloc_id not in self.runners:
            raise NotFoundError("alloc.unknown", f'unknown allocation "{alloc_id}" on this node')
        return self.runners[alloc_id]

    async def remove(self, alloc_id: str) -> None:
        """End an allocation if it still runs, remove its directory and forget it. Idempotent."""
        if alloc_id not in self._removals:
            work = asyncio.get_running_loop().create_task(self._remove(alloc_id))
            self._removals[alloc_id] = work
            work.add_done_callback(lambda _: self._removals.pop(alloc_id, None))
        await asyncio.shield(self._removals[alloc_id])

    async def _remove(self, alloc_id: str) -> None:
        runner = self.runners.get(alloc_id)
        if runner is not None:
            await runner.destroy()
            self.runners.pop(alloc_id, None)
            self.reporter.forget(alloc_id)
        else:
            alloc_dir = self.settings.alloc_path / alloc_id
            record = self.state.record_of(alloc_id)
            await end_orphans(self.drivers, alloc_id, self._traces(alloc_id), alloc_dir, record.tasks if record else {})
            await self._around.offload(directory.remove, alloc_dir)
        await self.state.forget(alloc_id)

    def _traces(self, alloc_id: str) -> Path:
        """Where drivers keep what they need to find an allocation's tasks."""
        return self.settings.state_path / "tasks" / alloc_id

    def _prepare_alloc_dir(self) -> None:
        path = self.settings.alloc_path
        try:
            path.mkdir(mode=0o711, parents=True, exist_ok=True)
            (path / directory.STAGING).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise RoveError(
                "client.alloc_dir", "the node agent was not started", f"{path}: {error.strerror or error}",
                "name a writable alloc_dir or data_dir",
            ) from None  # fmt: skip

    def _complete(self, found: Node, node_id: str, secret: str) -> Node:
        """The fingerprint with what only the settings know."""
        settings = self.settings
        node = msgspec.structs.replace(
            found,
            id=settings.node_id or node_id,
            secret_id=settings.secret_id or secret,
            name=settings.name or found.name or node_id,
            datacenter=settings.datacenter,
            node_class=settings.node_class,
            node_pool=settings.node_pool,
            meta={**found.meta, **settings.meta},
            http_addr=settings.http_addr or found.http_addr,
            status=NodeStatus.READY,
            host_volumes=found.host_volumes or settings.host_volumes,
            host_networks=found.host_networks or settings.host_networks,
            node_max_allocs=settings.node_max_allocs,
        )
        if settings.default_ineligible:
            node = msgspec.structs.replace(node, scheduling_eligibility=Eligibility.INELIGIBLE)
        return msgspec.structs.replace(node, computed_class=computed_class(node))

    # --- allocations --------------------------------------------------------------------------------

    def _restore(self) -> None:
        found = [self._add(kept.alloc, kept.record or AllocRecord()) for kept in self.state.load()]
        for runner in found:  # all are known before the first begins: some wait for others
            if runner is not None:
                self._begin(runner)
        for damage in self.state.damage:
            self._events.append(
                NodeEvent(
                    message=f"A state file could not be used and was set aside: {damage.path}",
                    subsystem="Client",
                    details={"reason": damage.why, "moved_to": damage.moved_to},
                    timestamp=from_unix(self.clock.now()),
                )
            )

    async def _allocs_changed(self, _: object, message: AllocsChanged) -> Empty:
        """Take over what the server wants. Decided in one go, before the next message is looked at."""
        fresh: list[Allocation] = []
        for bare in message.allocations:
            runner = self.runners.get(bare.id)
            job = message.jobs.get(job_ref(bare.namespace, bare.job_id, bare.job_version)) or bare.job
            if job is None and runner is not None and runner.job.version == bare.job_version:
                job = runner.job
            if job is None:
                log.error("allocation %s came without its job and is ignored", bare.id)
                continue
            alloc = msgspec.structs.replace(bare, job=job)
            if runner is None:
                fresh.append(alloc)
            elif alloc.modify_index >= runner.alloc.modify_index:
                self._update(runner, alloc)
        for alloc in fresh:
            self._meet(alloc)
        if fresh:
            self._spawn(self._collect())
        if message.full:
            newer = {alloc_id for alloc_id, runner in self.runners.items() if runner.alloc.modify_index > message.index}
            known = {alloc.id for alloc in message.allocations}
            self._remove_orphans(known | newer if message.index else known)
        for alloc_id in message.gone:
            self._spawn_removal(alloc_id)
        return Empty()

    def _update(self, runner: AllocRunner, alloc: Allocation) -> None:
        if runner.is_over:
            if not alloc.is_client_terminal:
                self.reporter.add(runner, urgent=True)  # our last report was lost
            runner.alloc = alloc
            return
        runner.update(alloc)
        if alloc.client_status in (AllocStatus.UNKNOWN, AllocStatus.LOST):
            self.reporter.add(runner, urgent=True)

    def _meet(self, alloc: Allocation) -> None:
        """An allocation that this agent does not know."""
        if alloc.is_client_terminal:
            return
        has_traces = self._traces(alloc.id).is_dir()
        if alloc.is_server_terminal and not has_traces:
            self.reporter.add_bare(
                AllocUpdate(
                    id=alloc.id,
                    client_status=AllocStatus.COMPLETE,
                    sequence=self._around.first_sequence + 1,
                    client_description="It was stopped before it ran here",
                    task_states=dict(alloc.task_states or {}),
                )
            )
            return
        record = (self.state.record_of(alloc.id) or AllocRecord()) if has_traces else None
        if (runner := self._add(alloc, record)) is not None:
            self._begin(runner)

    def _add(self, alloc: Allocation, record: AllocRecord | None) -> AllocRunner | None:
        """A runner for it; None, and the server is told, if the allocation makes no sense."""
        try:
            runner = AllocRunner(
                self._around, alloc, record=record, on_update=self.reporter.add,
                save_alloc=self.state.save_alloc, save_record=self.state.save_record, discovery=self._discovery,
            )  # fmt: skip
        except RoveError as error:
            self.reporter.add_bare(
                AllocUpdate(
                    id=alloc.id,
                    client_status=AllocStatus.FAILED,
                    client_description=error.text(),
                    sequence=self._around.first_sequence + 1,
                )
            )
            return None
        self.runners[alloc.id] = runner
        return runner

    def _begin(self, runner: AllocRunner) -> None:
        alloc = runner.alloc
        before = [alloc.previous_allocation, *alloc.preempted_allocations]
        ending = [
            other for alloc_id, other in self.runners.items()
            if other.alloc.is_terminal and not other.ended.is_set()
            and (alloc_id in before or shares_port(alloc, other.alloc))
        ]  # fmt: skip
        previous = self.runners.get(alloc.previous_allocation)
        if not alloc.is_terminal:  # what is to end waits for nobody, or two might wait for each other
            runner.follow(ending, previous.dir if previous else None)
        self.reporter.add(runner, False)
        if alloc.is_server_terminal:
            runner.stop()
        runner.start()

    def _remove_orphans(self, wanted: set[str]) -> None:
        """Nothing lives here that nobody owns: runners, directories and tasks that the full list lacks."""
        found = set(self.runners) | self.state.alloc_ids()
        for folder in (self.settings.alloc_path, self.settings.state_path / "tasks"):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                found.update(entry.name for entry in entries if not entry.name.startswith("."))
        for alloc_id in sorted(found - wanted):
            log.warning("allocation %s is not known to the server: it is ended and removed", alloc_id)
            self._spawn_removal(alloc_id)

    def _spawn_removal(self, alloc_id: str) -> None:
        self._spawn(self.remove(alloc_id))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the connection -----------------------------------------------------------------------------

    def _registration(self) -> RegisterRequest:
        return RegisterRequest(node=self.node, alloc_ids=tuple(self.runners), version=self.settings.version)

    def _connected(self, reply: RegisterReply) -> None:
        if self._down_timer is not None:
            self._down_timer.cancel()
            self._down_timer = None
        if reply.servers:
            self._on_servers(reply.servers)
        if self._was_down:
            for runner in self.runners.values():
                if not runner.is_over:
                    runner.note_all(ev.RECONNECTED, "The node has found its server again")
        self._was_down = False
        for runner in self.runners.values():
            if not runner.end_acknowledged:
                self.reporter.add(runner, urgent=True)
        self._spawn(self._send_events())
        self.registrar.start_over()

    def _disconnected(self) -> None:
        self._was_down = True
        if self._down_timer is None and not self._leaving:
            self._down_timer = asyncio.get_running_loop().create_task(self._stop_while_down())

    async def _stop_while_down(self) -> None:
        """Stop what must not run without a server (``disconnect { stop_on_client_after }``), each at its time."""
        waited_s = 0.0
        while True:
            waits = {
                runner.alloc.id: disconnect.stop_on_client_after / 1e9
                for runner in self.runners.values()
                if not runner.stopping and not runner.is_over
                and (disconnect := runner.group.disconnect) is not None
                and disconnect.stop_on_client_after is not None
            }  # fmt: skip
            if not waits:
                return
            next_s = max(min(waits.values()), waited_s)
            await self.clock.sleep(next_s - waited_s)
            waited_s = next_s
            for alloc_id, after_s in waits.items():
                if after_s <= waited_s and alloc_id in self.runners:
                    self.runners[alloc_id].stop(description="Stopped since the node had lost its server")

    async def _send_services(self, update: ServicesUpdate) -> None:
        session = self.link.session
        if session is None:
            raise UnavailableError("client.no_server", "there is no connection to a server")
        await session.call(Kind.SERVICES_UPDATE, update, Empty)

    async def _offer_services(self) -> None:
        """Say what runs here, once what an earlier agent started has been found: silence would unregister it."""
        for runner in list(self.runners.values()):
            await runner.wait_opened()
        await asyncio.gather(self.registrar.run(), self.registrar.repeat())

    async def _send_events(self) -> None:
        events, self._events = self._events, []
        session = self.link.session
        if not events or session is None:
            self._events = events
            return
        try:
            await session.call(Kind.NODE_EVENTS, NodeEventsRequest(events=tuple(events)), Empty)
        except RoveError as error:
            log.warning("node events were not delivered: %s", error)
            self._events = events + self._events

    # --- meta ---------------------------------------------------------------------------------------

    @property
    def meta(self) -> NodeMeta:
        """The node's meta, and where each part of it is from."""
        return NodeMeta(meta=self.node.meta, dynamic=self._meta_changes, static=self._static_meta)

    async def change_meta(self, changes: Changes) -> NodeMeta:
        """Change the node's meta, for good, and tell the server. Raises `RoveError`."""
        merged = merged_changes(self._static_meta, self._meta_changes, changes)
        if merged != self._meta_changes:
            await self.state.save_meta(merged)
            self._meta_changes = merged
            self._use_meta()
            await self.link.register()
        return self.meta

    def _use_meta(self) -> None:
        node = msgspec.structs.replace(self.node, meta=with_changes(self._static_meta, self._meta_changes))
        self.node = msgspec.structs.replace(node, computed_class=computed_class(node))

    # --- background ---------------------------------------------------------------------------------

    async def _probe_loop(self) -> None:
        """Look at the drivers again; a change is told to the server."""
        while True:
            await self.clock.sleep(self.settings.driver_probe_interval_s)
            try:
                await self.probe_drivers()
            except RoveError as error:
                log.warning("the node was not registered again: %s", error)

    async def probe_drivers(self) -> None:
        """Fingerprint the drivers now, and register anew if any has changed. Raises `RoveError`."""
        found = {name: await driver.fingerprint() for name, driver in self.drivers.items()}
        before = self.node.drivers
        changed = [
            name for name, info in found.items()
            if name not in before
            or msgspec.structs.replace(info, update_time=before[name].update_time) != before[name]
        ]  # fmt: skip
        if not changed:
            return
        attributes = dict(self.node.attributes)
        for name in changed:
            for key in before[name].attributes if name in before else ():
                attributes.pop(key, None)
            attributes.update(found[name].attributes)
        node = msgspec.structs.replace(self.node, drivers={**before, **found}, attributes=attributes)
        self.node = msgspec.structs.replace(node, computed_class=computed_class(node))
        await self.link.register()

    async def _collect_loop(self) -> None:
        while True:
            await self.clock.sleep(self.settings.gc_interval_s)
            await self._collect()

    async def _collect(self) -> None:
        """Remove ended allocations for as long as a limit is passed."""
        again = True
        while again:
            decision = self.collect_decision()
            if decision.alloc_ids:
                log.info("removing %d ended allocations: %s", len(decision.alloc_ids), decision.reason)
                await asyncio.gather(*(self.remove(alloc_id) for alloc_id in decision.alloc_ids))
            again = decision.again and bool(decision.alloc_ids)

    def collect_decision(self) -> Collect:
        """Which ended allocations have to go now."""
        settings = self.settings
        ended = [
            Ended(alloc_id, runner.finished_at)
            for alloc_id, runner in self.runners.items()
            if runner.ended.is_set() and alloc_id not in self._removals and not self.reporter.owes(alloc_id)
        ]
        limits = Limits(settings.gc_disk_usage_threshold, settings.gc_inode_usage_threshold, settings.gc_max_allocs)
        room = disk_room(settings) if ended else Room(0, 0)
        return to_collect(ended, len(self.runners), room, limits, settings.gc_parallel_destroys)

    async def collect_all(self) -> None:
        """Remove every allocation that has ended."""
        ended = [alloc_id for alloc_id, runner in self.runners.items() if runner.ended.is_set()]
        await asyncio.gather(*(self.remove(alloc_id) for alloc_id in ended))


def disk_room(settings: ClientSettings) -> Room:
    """How full the file system of the allocation directories is."""
    try:
        found = os.statvfs(settings.alloc_path)
    except OSError:
        return Room(0.0, 0.0)
    disk = 100.0 * (1 - found.f_bavail / found.f_blocks) if found.f_blocks else 0.0
    inodes = 100.0 * (1 - found.f_favail / found.f_files) if found.f_files else 0.0
    return Room(disk, inodes)


def task_host_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The agent's own environment as tasks may see it: without what looks like a secret or belongs to us."""
    return {
        name: value for name, value in environ.items()
        if not name.startswith(OWN_PREFIXES) and not any(word in name.upper() for word in SECRET_WORDS)
    }  # fmt: skip
