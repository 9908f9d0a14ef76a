"""Waits for the times of periodic jobs and launches their children. Runs on the leader only."""

from __future__ import annotations

import asyncio
import heapq
import logging

import msgspec

from rove.errors import NotFoundError, RoveError
from rove.jobspec.cron import CronError
from rove.ports import Clock, Ids
from rove.server.jobs import JobRegistered
from rove.server.jobs import core as jobs
from rove.server.state import Batch, Committed, PutJob, PutPeriodicLaunch, Snapshot, Store, Transaction
from rove.structs.base import unix_ns
from rove.structs.evaluation import Evaluation, Trigger, evaluation_of
from rove.structs.job import Job

from . import core

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""At least this often the clock is looked at, in case somebody has moved it."""
DRIFT_S = 2.0
"""The wall clock was moved if it differs by more from what has passed."""
RETRY_S = 1.0
LAUNCHES_AT_ONCE = 128
"""Launches made between two looks at anything else."""

Key = tuple[str, str]


class Periodics:
    """All periodic jobs of this server. `observe` is called with every stored change."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._changed: set[Key] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen = (0.0, 0.0)

    def start(self) -> None:
        """Take up every periodic job, make up for what was missed, and begin."""
        self._take_all()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._due.clear()
        self._heap.clear()

    def observe(self, committed: Committed) -> None:
        """Note jobs that are, or were, launched by the clock."""
        keys = [(key[1], key[2]) for key in committed.touched if key[0] == "job"]
        for key in keys:
            job = committed.snapshot.job(*key)
            before = committed.before.job(*key)
            same = job is not None and before is not None and job.job_modify_index == before.job_modify_index
            if not same and (key in self._due or (job is not None and core.is_tracked(job))):
                self._changed.add(key)
                self._wake.set()

    async def force(self, namespace: str, job_id: str) -> JobRegistered:
        """Launch a job now, whatever its times are and whether an earlier launch still runs."""
        head = self._store.head()
        job = head.job(namespace, job_id)
        if job is None:
            raise NotFoundError(
                "job.unknown", "job not found", f'there is no job "{job_id}" in namespace "{namespace}"'
            )
        launch_s = core.forced_launch(job, head, self._clock.now())
        # Not remembered as the job's last launch: that tells which launches by the clock are still to come.
        launch, evaluation = self._child(job, launch_s)
        index = await self._store.commit(launch)
        return JobRegistered(
            eval_id=evaluation.id if evaluation else "",
            eval_create_index=index if evaluation else 0,
            job_modify_index=job.job_modify_index,
            index=index,
        )

    # -- the loop

    async def _run(self) -> None:
        while True:
            try:
                self._look_at_clock()
                self._take_changed()
                await self._launch_due()
            except (OSError, RoveError) as error:
                log.error("periodic jobs could not be launched, trying again: %s", error)
                await self._clock.sleep(RETRY_S)
                continue
            except Exception:
                log.exception("periodic jobs could not be launched, trying again")
                await self._clock.sleep(RETRY_S)
                continue
            await self._pause()

    def _look_at_clock(self) -> None:
        """Reckon every job's time anew if the wall clock was moved."""
        now = (self._clock.now(), self._clock.monotonic())
        drift = (now[0] - self._seen[0]) - (now[1] - self._seen[1])
        self._seen = now
        if abs(drift) > DRIFT_S:
            log.warning("the clock was moved by %.0f s: the times of periodic jobs are reckoned anew", drift)
            self._take_all()

    def _take_all(self) -> None:
        self._seen = (self._clock.now(), self._clock.monotonic())
        self._due.clear()
        self._heap.clear()
        self._changed.clear()
        snapshot = self._store.snapshot()
        for job in snapshot.jobs(None):
            if core.is_tracked(job):
                self._arm(snapshot, job)

    def _take_changed(self) -> None:
        snapshot = self._store.snapshot()
        while self._changed:
            key = self._changed.pop()
            self._due.pop(key, None)
            job = snapshot.job(*key)
            if job is not None and core.is_tracked(job):
                self._arm(snapshot, job)

    def _arm(self, snapshot: Snapshot, job: Job) -> None:
        try:
            due = core.next_due(job, snapshot.periodic_launch(*job.key), self._clock.now())
        except (CronError, LookupError) as error:
            log.error('job "%s" is not launched: %s', job.id, error)
            return
        if due is None:
            log.info('job "%s" is never launched again', job.id)
            return
        self._due[job.key] = due
        heapq.heappush(self._heap, (due, job.key))

    async def _launch_due(self) -> None:
        """Launch what is due; launches share a flush, and one after another stays in order."""
        now = self._clock.now()
        writes: list[Transaction] = []
        head = self._store.head()
        again: list[Job] = []
        try:
            while self._heap and self._heap[0][0] <= now and len(writes) < LAUNCHES_AT_ONCE:
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) != due:
                    continue  # it changed since
                job = head.job(*key)
                del self._due[key]
                if job is not None and core.is_tracked(job):
                    again.append(job)
                    writes += self._judged(head, job, due, now)
            if writes:
                await self._store.commit(Batch(parts=tuple(writes)))
        finally:
            snapshot = self._store.snapshot()
            for job in again:
                self._rearm(snapshot, job.key)

    def _rearm(self, snapshot: Snapshot, key: Key) -> None:
        job = snapshot.job(*key)
        if job is not None and core.is_tracked(job) and key not in self._due:
            self._arm(snapshot, job)

    def _judged(self, head: Snapshot, job: Job, due: float, now: float) -> list[Transaction]:
        try:
            verdict = core.judge(job, due, head, now)
        except (CronError, LookupError) as error:
            log.error('job "%s" is not launched: %s', job.id, error)
            return []
        remembered = PutPeriodicLaunch(namespace=job.namespace, job_id=job.id, launch_s=verdict.launch_s)
        if verdict.is_launched:
            log.debug('job "%s" is launched: %s', job.id, verdict.reason)
            return [Batch(parts=(self._child(job, verdict.launch_s)[0], remembered))]
        log.info('job "%s" is not launched for %d: %s', job.id, verdict.launch_s, verdict.reason)
        # Remembered as well, so that a restart does not take it for missed.
        return [remembered]

    def _child(self, job: Job, launch_s: int) -> tuple[PutJob, Evaluation | None]:
        now = self._clock.now()
        child = msgspec.structs.replace(jobs.launched(job, launch_s), submit_time=unix_ns(now))
        evaluation = None
        if jobs.needs_evaluation(child):
            evaluation = evaluation_of(child, Trigger.PERIODIC_JOB, evaluation_id=self._ids.uuid(), now=now)
        return PutJob(job=child, evaluation=evaluation), evaluation

    async def _pause(self) -> None:
        """Until the next time, the next change, or the next look at the clock."""
        delay = min(self._heap[0][0] - self._clock.now(), LOOK_S) if self._heap else LOOK_S
        if delay <= 0 or self._changed:
            await asyncio.sleep(0)
            return
        sleeping = asyncio.ensure_future(self._clock.sleep(delay))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
        self._wake.clear()
