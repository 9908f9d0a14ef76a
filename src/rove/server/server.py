"""The server: owns the state, answers the API, and runs the loops while it leads."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from rove import SPOKEN_VERSION
from rove.engine import Engine, Leadership
from rove.errors import BadRequestError, NotFoundError
from rove.ports import Clock, Ids
from rove.ports.fetch import fetch as http_fetch
from rove.server.collection import core as collection
from rove.server.collection.loop import Collection
from rove.server.deployments import Asking, Deployments, DeploymentVerbs, Fetch
from rove.server.drain import Drains
from rove.server.evaluations.loop import Evaluations
from rove.server.jobs import JobRegistered, Jobs
from rove.server.nodes.loop import HeartbeatPolicy, Nodes
from rove.server.periodic import Periodics
from rove.server.state import (
    Committed,
    DeleteNodes,
    PutSchedulerConfiguration,
    ReconcileSummaries,
    SetNodeEligibility,
    Store,
)
from rove.structs.alloc import DesiredTransition
from rove.structs.base import from_unix
from rove.structs.evaluation import Trigger
from rove.structs.node import Eligibility, Node, NodeEvent, SchedulerConfiguration

log = logging.getLogger(__name__)

T = TypeVar("T")


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a server has to know of its configuration. Addresses are host:port."""

    name: str = "server"
    region: str = "global"
    datacenter: str = "dc1"
    rpc_address: str = "127.0.0.1:4647"
    workers: int = 0
    """Evaluations scheduled at a time; 0: one per processor."""
    heartbeat: HeartbeatPolicy = HeartbeatPolicy()
    thresholds: collection.Thresholds = collection.Thresholds()
    scheduler: SchedulerConfiguration = SchedulerConfiguration()
    """The scheduler's settings of a new cluster."""


class Server:
    """One server of a region."""

    def __init__(
        self, settings: ServerSettings, engine: Engine, clock: Clock, ids: Ids, *, fetch: Fetch = http_fetch
    ) -> None:
        self.settings = settings
        self.region = settings.region
        self.name = settings.name
        self.store = Store(engine, clock, ids)
        self._engine = engine
        self._clock = clock
        self._ids = ids
        self._leadership: Leadership | None = None
        workers = settings.workers or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(workers + 1, thread_name_prefix="scheduler")
        self.nodes = Nodes(
            self.store,
            clock,
            ids,
            region=settings.region,
            policy=settings.heartbeat,
            servers=lambda: (settings.rpc_address,),
        )
        self.evaluations = Evaluations(self.store, clock, ids, self._threads, workers=workers)
        self.jobs = Jobs(self.store, clock, ids, self._threads)
        self.deployments = Deployments(self.store, clock, ids, Asking(fetch, self.nodes.open))
        self.drains = Drains(self.store, self.nodes, clock, ids)
        self.periodics = Periodics(self.store, clock, ids)
        self.collection = Collection(self.store, self.nodes, clock, settings.thresholds)
        # What a room answers by itself. The API calls every verb on the server (`rove.api.backend.Server`).
        self.register_job = self.jobs.register
        self.deregister_job = self.jobs.deregister
        self.evaluate_job = self.jobs.evaluate
        self.plan_job = self.jobs.plan
        self.why_not = self.jobs.why_not
        self.why_job = self.jobs.why
        self.revert_job = self.jobs.revert
        self.set_stability = self.jobs.set_stability
        self.scale_job = self.jobs.scale
        self.dispatch_job = self.jobs.dispatch
        self.force_periodic = self.periodics.force
        roll_outs = DeploymentVerbs(self.store, clock, ids, self.nodes)
        self.promote_deployment = roll_outs.promote
        self.fail_deployment = roll_outs.fail
        self.pause_deployment = roll_outs.pause
        self.unblock_deployment = roll_outs.unblock
        self.set_alloc_health = roll_outs.set_health
        self.explain_deployment = roll_outs.explain
        self.drain_node = self.drains.set_drain
        self.serve_node = self.nodes.serve
        self.call_node = self.nodes.call
        self.open_node = self.nodes.open

    async def start(self) -> None:
        """Lead, load the state, and start the loops. Raises `RoveError` if the state cannot be used."""
        self._leadership = await self._engine.campaign(self.name)
        await self.store.open(self._leadership.token)
        for damage in self.store.damage:
            log.error("a part of the state could not be read and is left out: %s: %s", damage.where, damage.why)
        self.store.on_commit(self._observe)
        is_new = self.store.snapshot().scheduler_configuration().modify_index == 0
        if is_new and self.settings.scheduler != SchedulerConfiguration():
            await self.store.commit(PutSchedulerConfiguration(configuration=self.settings.scheduler))
        self.nodes.start()
        self.evaluations.start()
        self.deployments.start()
        self.drains.start()
        self.periodics.start()
        self.collection.start()

    async def stop(self) -> None:
        """Stop the loops and close the state."""
        await self.collection.stop()
        await self.periodics.stop()
        await self.drains.stop()
        await self.deployments.stop()
        await self.evaluations.stop()
        await self.nodes.stop()
        await self.store.close()
        await self._engine.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _observe(self, committed: Committed) -> None:
        self.nodes.observe(committed)
        self.evaluations.observe(committed)
        self.deployments.observe(committed)
        self.drains.observe(committed)
        self.periodics.observe(committed)

    @property
    def is_leader(self) -> bool:
        """True while this server leads its region."""
        return self._leadership is not None

    @property
    def leader_address(self) -> str:
        """The leader's rpc address, '' if nobody leads."""
        return self.settings.rpc_address if self.is_leader else ""

    # -- jobs

    async def stop_alloc(
        self, alloc_id: str, *, no_shutdown_delay: bool = False, reschedule: bool = False
    ) -> JobRegistered:
        """Stop an allocation; its job places another."""
        wish = DesiredTransition(
            migrate=True, no_shutdown_delay=no_shutdown_delay or None, reschedule=reschedule or None
        )
        evaluations, index = await self.jobs.set_transitions([alloc_id], wish, Trigger.ALLOC_STOP)
        return JobRegistered(eval_id=evaluations[0].id if evaluations else "", eval_create_index=index, index=index)

    # -- nodes

    async def evaluate_node(self, node_id: str) -> tuple[list[str], int]:
        """Look again at every job on a node. Returns the evaluations' ids and the index."""
        node = self._node(node_id)
        evaluations = self.nodes.evaluations_for([node.id], Trigger.NODE_UPDATE)
        index = await self.jobs.store_evaluations(evaluations)
        return [evaluation.id for evaluation in evaluations], index

    async def set_eligibility(self, node_id: str, eligibility: Eligibility) -> tuple[list[str], int]:
        """Allow or forbid new allocations on a node."""
        node = self._node(node_id)
        if node.drain_strategy is not None and eligibility is Eligibility.ELIGIBLE:
            raise BadRequestError(
                "node.draining",
                "a node that is being drained cannot take new work",
                status=500,
                fix="end the drain first: rove node drain -disable",
            )
        becomes_eligible = eligibility is Eligibility.ELIGIBLE and node.scheduling_eligibility is not eligibility
        evaluations = self.nodes.evaluations_for([node.id], Trigger.NODE_UPDATE) if becomes_eligible else ()
        event = NodeEvent(
            message=f"node marked as {eligibility} for scheduling",
            subsystem="Cluster",
            timestamp=from_unix(self._clock.now()),
        )
        index = await self.store.commit(
            SetNodeEligibility(node_id=node.id, eligibility=eligibility, event=event, evaluations=evaluations)
        )
        return [evaluation.id for evaluation in evaluations], index

    async def drain_waits(self, node_id: str) -> dict[str, str]:
        """Why each allocation that is still on a draining node is there, by id."""
        return {alloc_id: str(reason) for alloc_id, reason in (await self.drains.waits(node_id)).items()}

    async def purge_node(self, node_id: str) -> tuple[list[str], int]:
        """Forget a node; what ran there is lost and replaced."""
        node = self._node(node_id)
        evaluations = self.nodes.evaluations_for([node.id], Trigger.NODE_UPDATE)
        index = await self.store.commit(DeleteNodes(node_ids=(node.id,), evaluations=evaluations))
        await self.nodes.drop(node.id)
        return [evaluation.id for evaluation in evaluations], index

    def _node(self, node_id: str) -> Node:
        node = self.store.head().node(node_id)
        if node is None:
            raise NotFoundError("node.unknown", "node not found", f'there is no node "{node_id}"')
        return node

    # -- operation

    async def set_scheduler_configuration(
        self, configuration: SchedulerConfiguration, *, cas: int | None = None
    ) -> tuple[bool, int]:
        """Replace the scheduler's settings; with `cas`, only if they were last modified at that index."""
        head = self.store.head()
        if cas is not None and head.scheduler_configuration().modify_index != cas:
            return False, head.index
        return True, await self.store.commit(PutSchedulerConfiguration(configuration=configuration))

    async def collect_garbage(self) -> None:
        """Forget everything that is over, now."""
        await self.collection.collect(collection.AT_ONCE)

    async def reconcile_summaries(self) -> None:
        """Count every job's summary anew."""
        await self.store.commit(ReconcileSummaries())

    def members(self) -> list[dict[str, Any]]:
        """The servers, in the shape of Nomad's member list."""
        host, _, port = self.settings.rpc_address.rpartition(":")
        return [
            {
                "Name": f"{self.name}.{self.region}",
                "Addr": host,
                "Port": int(port),
                "Status": "alive",
                "Tags": {
                    "role": "nomad",
                    "region": self.region,
                    "dc": self.settings.datacenter,
                    "build": SPOKEN_VERSION,
                    "port": port,
                    "bootstrap": "1",
                    "raft_vsn": "3",
                    "id": self.name,
                },
                "ProtocolMin": 1,
                "ProtocolMax": 5,
                "ProtocolCur": 2,
                "DelegateMin": 2,
                "DelegateMax": 5,
                "DelegateCur": 4,
            }
        ]
