"""Forgets what is over, from time to time and on demand."""

from __future__ import annotations

import asyncio
import logging

from rove.ports import Clock
from rove.server.nodes.loop import Nodes
from rove.server.state import Collect, Store

from . import core

log = logging.getLogger(__name__)

INTERVAL_S = 300.0


class Collection:
    """The garbage collection loop. Runs on the leader only."""

    def __init__(self, store: Store, nodes: Nodes, clock: Clock, thresholds: core.Thresholds | None = None) -> None:
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._thresholds = thresholds or core.Thresholds()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def collect(self, thresholds: core.Thresholds) -> core.Rubbish:
        """Forget what is older than the thresholds; tells nodes to remove the directories. Returns what was found.

        What came back to life while it was looked for is left alone.
        """
        view, now = self._store.snapshot(), self._clock.now()
        found = await asyncio.to_thread(core.rubbish, view, now, thresholds)
        if not found.is_empty:
            await self._store.commit(
                Collect(
                    evaluation_ids=found.evaluation_ids,
                    alloc_ids=tuple(a.id for a in found.allocations),
                    jobs=found.jobs,
                    deployment_ids=found.deployment_ids,
                    node_ids=found.node_ids,
                    decided_at=view.index,
                )
            )
            left = self._store.snapshot()
            self._nodes.forget(each for each in found.allocations if left.client_status(each.id) is None)
        return found

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(INTERVAL_S)
            try:
                found = await self.collect(self._thresholds)
            except Exception:  # also our own bugs: this loop must not end
                log.exception("garbage collection failed; it tries again in %d s", INTERVAL_S)
                continue
            log.debug("collected %d evaluations, %d allocations", len(found.evaluation_ids), len(found.allocations))
