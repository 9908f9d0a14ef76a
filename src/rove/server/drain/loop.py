"""Carries drains out: marks allocations, waits for their replacements, ends drains. Runs on the leader only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from rove.errors import NotFoundError, RoveError
from rove.ports import Clock, Ids
from rove.server.nodes.loop import Nodes
from rove.server.state import Batch, Committed, SetNodeDrain, SetTransitions, Snapshot, Store, Transaction
from rove.structs.alloc import DesiredTransition
from rove.structs.base import from_unix
from rove.structs.evaluation import Evaluation, Trigger, evaluation_of
from rove.structs.node import DrainSpec, DrainStrategy, Eligibility, Node, NodeEvent

from . import core

log = logging.getLogger(__name__)

RETRY_S = 1.0
GATHER_S = 0.05
"""Reports of allocations arrive in swarms: this long they are gathered before the next look."""
REST = 4
"""A look that takes long, since a job is large, is followed by a rest this many times as long."""
SUBSYSTEM = "Drain"
PASSED = float("-inf")
"""The deadline has come and everything was told to leave."""


class Drains:
    """All drains of this region. `observe` is called with every stored change."""

    def __init__(self, store: Store, nodes: Nodes, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._ids = ids
        self._draining: dict[str, DrainStrategy] = {}
        self._deadlines: dict[str, float] = {}
        """Monotonic, so that a moved clock ends no drain."""
        self._jobs: frozenset[tuple[str, str]] = frozenset()
        self._took_s = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take up the drains under way, and begin."""
        for node in self._store.snapshot().nodes():
            self._note(node)
        self._wake.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._draining.clear()
        self._deadlines.clear()

    def observe(self, committed: Committed) -> None:
        """Note drains that begin, change or end, and changes that may let the next allocations go."""
        for key in committed.named:
            if key[0] == "Node":
                node = committed.snapshot.node(key[1])
                self._forget(key[1]) if node is None else self._note(node)
                if key[1] in self._draining:
                    self._wake.set()
        if self._draining and not self._wake.is_set() and self._concerns(committed):
            self._wake.set()

    def _concerns(self, committed: Committed) -> bool:
        """True if what is on draining nodes, or a job of theirs, has changed."""
        if committed.alloc_nodes & self._draining.keys():
            return True
        kinds = ("job", "allocs.job")
        return any(key[0] in kinds and (key[1], key[2]) in self._jobs for key in committed.touched)

    def _note(self, node: Node) -> None:
        strategy = node.drain_strategy
        if strategy is None:
            self._forget(node.id)
            return
        if self._draining.get(node.id) == strategy:
            return
        self._draining[node.id] = strategy
        self._deadlines.pop(node.id, None)
        left = core.seconds_left(strategy, self._clock.now())
        if left is not None:
            self._deadlines[node.id] = self._clock.monotonic() + left

    def _forget(self, node_id: str) -> None:
        self._draining.pop(node_id, None)
        self._deadlines.pop(node_id, None)

    # -- what people ask for

    async def set_drain(
        self,
        node_id: str,
        spec: DrainSpec | None,
        *,
        mark_eligible: bool = False,
        meta: Mapping[str, str] | None = None,
    ) -> tuple[list[str], int]:
        """Start or change a drain, or end it (no spec). Returns the evaluations' ids and the index.

        Raises `NotFoundError` for unknown nodes, `BadRequestError` for deadlines out of range.
        """
        node = self._store.head().node(node_id)
        if node is None:
            raise NotFoundError("node.unknown", "node not found", f'there is no node "{node_id}"')
        now = self._clock.now()
        strategy = None if spec is None else core.strategy_for(spec, node.drain_strategy, now)
        becomes_eligible = (
            strategy is None and mark_eligible and node.scheduling_eligibility is not Eligibility.ELIGIBLE
        )
        evaluations = self._nodes.evaluations_for([node_id], Trigger.NODE_UPDATE) if becomes_eligible else ()
        message = (
            ("Node drain disabled" if spec is None else "Node drain changed")
            if node.drain_strategy is not None
            else ("Node eligibility changed" if spec is None else "Node drain started")
        )
        index = await self._store.commit(
            SetNodeDrain(
                node_id=node_id,
                strategy=strategy,
                mark_eligible=mark_eligible,
                meta=dict(meta or {}),
                event=self._event(message, now),
                evaluations=evaluations,
            )
        )
        return [evaluation.id for evaluation in evaluations], index

    async def waits(self, node_id: str) -> dict[str, core.Reason]:
        """Why each allocation that is still on a draining node is there, by id."""
        snapshot = self._store.snapshot()
        decision = await asyncio.to_thread(core.decide, self._drains(snapshot), snapshot)
        reasons = {**decision.staying, **decision.leaving}
        return {a.id: reasons[a.id] for a in snapshot.allocs_of_node(node_id) if a.id in reasons}

    def _drains(self, snapshot: Snapshot) -> list[core.Drain]:
        now = self._clock.monotonic()
        return [
            core.Drain(node=node, is_due=self._deadlines.get(node.id, now + 1) <= now)
            for node in core.oldest_first(filter(None, map(snapshot.node, list(self._draining))))
        ]

    def _event(self, message: str, now: float, **details: str) -> NodeEvent:
        return NodeEvent(message=message, subsystem=SUBSYSTEM, details=details, timestamp=from_unix(now))

    # -- the loop

    async def _run(self) -> None:
        while True:
            await self._pause()
            self._wake.clear()
            try:
                await self._step()
            except (OSError, RoveError) as error:
                log.error("a step of a drain could not be stored, trying again: %s", error)
                self._wake.set()
                await self._clock.sleep(RETRY_S)
            except Exception:
                log.exception("a step of a drain failed, trying again")
                self._wake.set()
                await self._clock.sleep(RETRY_S)

    async def _pause(self) -> None:
        """Until something changes or a deadline comes."""
        if not self._wake.is_set():
            due = min((at for at in self._deadlines.values() if at != PASSED), default=None)
            waiting: set[asyncio.Future[object]] = {asyncio.ensure_future(self._wake.wait())}
            if due is not None:
                waiting.add(asyncio.ensure_future(self._clock.sleep(max(due - self._clock.monotonic(), 0.0))))
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for future in waiting:
                    future.cancel()
        await self._clock.sleep(max(GATHER_S, self._took_s * REST))

    async def _step(self) -> None:
        """One look: what leaves now, which drains are over."""
        snapshot = self._store.snapshot()
        drains = self._drains(snapshot)
        if not drains:
            self._jobs = frozenset()
            return
        self._jobs = _jobs_on(snapshot, drains)
        began = self._clock.monotonic()
        decision = await asyncio.to_thread(core.decide, drains, snapshot)
        self._took_s = self._clock.monotonic() - began
        for drain in drains:
            if drain.is_due:
                # Everything is marked now; what is left to do follows from changes.
                self._deadlines[drain.node.id] = PASSED
        writes = [*self._marks(snapshot, decision), *self._endings(snapshot, decision)]
        if writes:
            await self._store.commit(Batch(parts=tuple(writes)))

    def _marks(self, snapshot: Snapshot, decision: core.Decision) -> list[Transaction]:
        if not decision.leaving:
            return []
        now = self._clock.now()
        evaluations: list[Evaluation] = []
        for key in sorted(decision.jobs):
            job = snapshot.job(*key)
            if job is not None:
                evaluations.append(evaluation_of(job, Trigger.NODE_DRAIN, evaluation_id=self._ids.uuid(), now=now))
        wish = DesiredTransition(migrate=True)
        transitions = dict.fromkeys(decision.leaving, wish)
        return [SetTransitions(transitions=transitions, evaluations=tuple(evaluations))]

    def _endings(self, snapshot: Snapshot, decision: core.Decision) -> list[Transaction]:
        now = self._clock.now()
        writes: list[Transaction] = []
        for done in decision.done:
            node = self._store.head().node(done.node_id)
            asked = snapshot.node(done.node_id)
            if node is None or asked is None or node.drain_strategy != asked.drain_strategy:
                continue  # somebody has changed or ended it meanwhile
            details = {"deadline_reached": "true"} if done.is_forced else {}
            log.info("node %s is drained%s", done.node_id[:8], ", by its deadline" if done.is_forced else "")
            event = self._event("Node drain complete", now, **details)
            writes.append(SetNodeDrain(node_id=done.node_id, strategy=None, completed=True, event=event))
        return writes


def _jobs_on(snapshot: Snapshot, drains: list[core.Drain]) -> frozenset[tuple[str, str]]:
    return frozenset(alloc.job_key for drain in drains for alloc in snapshot.allocs_of_node(drain.node.id))
