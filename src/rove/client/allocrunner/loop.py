"""Performs what `core` decides for one allocation, and reports what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from rove.client.taskrunner import events as ev
from rove.client.taskrunner.core import Phase, TaskRecord
from rove.client.taskrunner.env import seconds
from rove.client.taskrunner.loop import Surroundings, TaskDirs, TaskRunner
from rove.errors import NotFoundError, RoveError, invariant
from rove.structs.alloc import CLIENT_TERMINAL, Allocation, AllocStatus, AllocUpdate, NetworkStatus, TaskState
from rove.structs.base import UnixNs, unix_ns
from rove.structs.job import Job, Task, TaskGroup

from . import directory, network
from .core import (
    HealthView,
    Status,
    StopTask,
    TaskView,
    Why,
    client_status,
    clock_start,
    decide,
    judge_health,
    needs_health,
    role_of,
)
from .offering import Discovery, Offering

log = logging.getLogger(__name__)


class AllocRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of an allocation's life on disk, beside the allocation itself."""

    tasks: dict[str, TaskRecord] = {}
    healthy: bool | None = None
    healthy_time: UnixNs = 0
    health_of: str = ""
    health_since: float = 0.0
    """When an allocation that was running already became part of its deployment; its deadline begins then."""
    stopping: bool = False
    description: str = ""


class AllocRunner:
    """Runs one allocation. `alloc` always carries its job."""

    def __init__(
        self,
        around: Surroundings,
        alloc: Allocation,
        *,
        record: AllocRecord | None,
        on_update: Callable[[AllocRunner, bool], None],
        save_alloc: Callable[[Allocation], Awaitable[None]],
        save_record: Callable[[str, AllocRecord], Awaitable[None]],
        discovery: Discovery,
    ) -> None:
        """on_update: called with (runner, urgent) whenever there is something to report."""
        self.alloc = alloc
        self.stopping = False
        self.ended = asyncio.Event()
        """Set once every task is dead and cleaned up."""
        self.end_acknowledged = False
        """True once the server has answered a report that every task is dead."""
        self.checks_passing_since: float | None = 0.0
        self.checks_text = ""
        self._around = around
        self._on_update = on_update
        self._save_alloc = save_alloc
        self._save_record = save_record
        self._predecessors: Sequence[AllocRunner] = ()
        self._previous_dir: Path | None = None
        self._restored = record is not None
        self._winding_down = False
        """True once a stop is past the group's shutdown delay."""
        self._ready = False
        self._awaiting = False
        """True while predecessors hold up the start."""
        self._opened = asyncio.Event()
        self._found = asyncio.Event()
        """Set once it is opened, or waits for predecessors: nothing of it runs yet."""
        self._opening: asyncio.Task[None] | None = None
        self._deferred = 0
        self._dirty = False
        self._work: set[asyncio.Task[None]] = set()
        self._health_timer: asyncio.Task[None] | None = None
        self._run_timer: asyncio.Task[None] | None = None
        self._description = record.description if record else ""
        self._reported: AllocUpdate | None = None
        self._sequence = around.first_sequence
        if record is not None:
            self.stopping = self._winding_down = record.stopping
        judged = record if record is not None and record.health_of == alloc.deployment_id else AllocRecord()
        self._health_of, self._health_since = alloc.deployment_id, judged.health_since
        self.healthy, self._healthy_time = judged.healthy, judged.healthy_time
        self._dir = around.settings.alloc_path / alloc.id
        self.job, self.group = _parts(alloc)
        records = record.tasks if record else {}
        self._deferred += 1
        self.tasks: dict[str, TaskRunner] = {}
        self._offering = Offering(around, discovery, self.tasks, self._changed)
        self.tasks |= {task.name: self._task_runner(task, records.get(task.name)) for task in self.group.tasks}
        self._deferred -= 1

    def _task_runner(self, task: Task, record: TaskRecord | None) -> TaskRunner:
        state = self._around.settings.state_path / "tasks" / self.alloc.id / quote(task.name, safe="")
        return TaskRunner(
            self._around, self.alloc, self.job, self.group, task,
            TaskDirs(
                alloc=self._dir, task=self._dir / task.name, state=state,
                staging=directory.staging(self._dir, task.name),
            ),
            record=record, on_change=self._changed, save=self._save, before_kill=self._offering.settle,
        )  # fmt: skip

    # --- orders -------------------------------------------------------------------------------------

    def follow(self, predecessors: Sequence[AllocRunner], previous_dir: Path | None) -> None:
        """What comes before it; to be said before `start`.

        predecessors: allocations on this node that have to let go of their ports and disk first.
        previous_dir: directory of the predecessor for sticky disks.
        """
        self._predecessors, self._previous_dir = predecessors, previous_dir

    def start(self) -> None:
        """Set the allocation up and run it, or take over what an earlier agent started."""
        self._opening = asyncio.get_running_loop().create_task(self._open())

    def update(self, alloc: Allocation) -> None:
        """Take over what the server wants now. `alloc` carries its job."""
        self.alloc = alloc
        self.job, self.group = _parts(alloc)
        for task in self.group.tasks:
            if runner := self.tasks.get(task.name):
                runner.update(alloc, self.job, self.group, task)
        if alloc.deployment_id != self._health_of:
            self._health_of, self.healthy, self._healthy_time = alloc.deployment_id, None, 0
            self._health_since = self._around.clock.now()
        elif alloc.deployment_status is not None and alloc.deployment_status.healthy is not None:
            self.healthy = alloc.deployment_status.healthy
        if alloc.is_server_terminal:
            self.stop(skip_delay=alloc.desired_transition.no_shutdown_delay or False)
        self._spawn(self._save_alloc(alloc))
        self._changed()

    def stop(self, *, skip_delay: bool = False, description: str = "") -> None:
        """End every task, in order. Idempotent."""
        if skip_delay:
            for runner in self.tasks.values():
                runner.skip_shutdown_delay = True
        if self.stopping:
            return
        self.stopping = True
        self._description = description
        if not self.is_over:  # else the next agent has nothing to end, and it may be about to be forgotten
            self._spawn(self._save())
        self._spawn(self._stop(skip_delay))

    async def _stop(self, skip_delay: bool) -> None:
        if self._awaiting and self._opening is not None:
            self._opening.cancel()
        await self._opened.wait()  # what runs has to be found, and what is being made finished, before it is ended
        self._changed()
        await self._offering.settle()
        delay_s = seconds(self.group.shutdown_delay)
        started = any(runner.machine.state.started_at for runner in self.tasks.values())
        if delay_s and not skip_delay and started and not self.is_over:
            text = f"Waiting {ev.duration(delay_s)} before the group's tasks are asked to end"
            for runner in self.tasks.values():
                if not runner.machine.is_dead:
                    runner.note(ev.event(ev.SHUTDOWN_DELAY, self._around.clock.now(), text))
            await self._around.clock.sleep(delay_s)
        self._winding_down = True
        self._changed()

    def restart(self, task: str, *, all_tasks: bool, reason: str) -> None:
        """Restart one task, all running ones, or (`all_tasks`) also those that have ended. Raises `RoveError`."""
        if self.stopping or self.is_over or not self._ready:
            raise NotFoundError(
                "alloc.not_running", f"allocation {self.alloc.id[:8]} is not running", "it has ended or is stopping"
            )
        if task:
            runner = self.task(task)
            runner.running_handle()
            runner.restart(reason)
            return
        self._deferred += 1
        for runner in self.tasks.values():
            if runner.machine.state.state == "running" or (all_tasks and runner.machine.is_dead):
                runner.restart(reason)
        self._deferred -= 1
        self._changed()

    async def signal(self, task: str, signal: str) -> None:
        """Signal one task, or all running ones. Raises `RoveError`."""
        if task:
            await self.task(task).signal(signal)
            return
        running = [runner for runner in self.tasks.values() if runner.machine.phase is Phase.RUNNING]
        if not running:
            raise NotFoundError("task.not_running", f"allocation {self.alloc.id[:8]} has no running task")
        for runner in running:
            await runner.signal(signal)

    def task(self, name: str) -> TaskRunner:
        """The runner of that task. Raises `NotFoundError`."""
        if name not in self.tasks:
            raise NotFoundError(
                "task.unknown", f'allocation {self.alloc.id[:8]} has no task "{name}"',
                f"it has: {', '.join(self.tasks)}",
            )  # fmt: skip
        return self.tasks[name]

    def set_checks(self, passing_since: float | None, text: str = "") -> None:
        """What the service checks say: passing since when (seconds since the epoch), or None and which fails."""
        self.checks_passing_since, self.checks_text = passing_since, text
        self._changed()

    def note_all(self, kind: str, text: str) -> None:
        """Add an event to every task that is not dead."""
        for runner in self.tasks.values():
            if not runner.machine.is_dead:
                runner.note(ev.event(kind, self._around.clock.now(), text))

    async def destroy(self) -> None:
        """End everything at once, then remove directories and the drivers' state."""
        self.stop(skip_delay=True)
        await self.ended.wait()
        await self._cancel_timers()
        if self._opening is not None:
            self._opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._opening
        await self._around.offload(directory.remove, self._dir)
        for runner in self.tasks.values():
            await runner.remove_state()
        state = self._around.settings.state_path / "tasks" / self.alloc.id
        with contextlib.suppress(OSError):
            state.rmdir()

    async def detach(self, grace_s: float = 0.0) -> None:
        """Let go of everything without touching it: the agent is about to stop.

        grace_s: how long starts under way may take to be finished.
        """
        self._deferred += 1
        await self._cancel_timers()
        for work in (*self._work, self._opening):
            if work is not None:
                work.cancel()
        await asyncio.gather(*(runner.detach(grace_s) for runner in self.tasks.values()))

    def check_results(self) -> dict[str, object]:
        """The newest results of the checks, as the HTTP API shows them."""
        return self._offering.results()

    async def wait_opened(self) -> None:
        """Wait until what an earlier agent started has been found, or it is known that nothing was."""
        await self._found.wait()

    # --- what others ask ----------------------------------------------------------------------------

    @property
    def dir(self) -> Path:
        """The allocation's directory."""
        return self._dir

    @property
    def is_over(self) -> bool:
        """True once every task is dead."""
        return all(runner.machine.is_dead for runner in self.tasks.values())

    @property
    def finished_at(self) -> float:
        """When the last task ended, seconds since the epoch; 0 while any lives."""
        ends = [runner.machine.state.finished_at for runner in self.tasks.values()]
        return max((end.timestamp() for end in ends if end), default=0.0) if self.is_over else 0.0

    @property
    def states(self) -> dict[str, TaskState]:
        """Task states by name."""
        return {name: runner.machine.state for name, runner in self.tasks.items()}

    def status(self) -> Status:
        """Client status and description."""
        status = client_status([runner.machine.state for runner in self.tasks.values()])
        if status.status in CLIENT_TERMINAL:
            return Status(status.status, self._description) if self._description else status
        if self.checks_text and status.status is AllocStatus.RUNNING and not self.stopping:
            return Status(status.status, f"{status.description}; {self.checks_text}")
        return status

    def report(self) -> AllocUpdate:
        """The newest report, under a fresh sequence number."""
        self._sequence += 1
        return msgspec.structs.replace(self._snapshot(), sequence=self._sequence)

    def _snapshot(self) -> AllocUpdate:
        status, description = self.status()
        return AllocUpdate(
            id=self.alloc.id, client_status=status, client_description=description, task_states=self.states,
            network_status=self._network_status(), healthy=self.healthy, healthy_time=self._healthy_time,
        )  # fmt: skip

    def _network_status(self) -> NetworkStatus | None:
        addresses = {name: task.handle.network_address for name, task in self.tasks.items() if task.handle}
        return network.status_of(self.group, addresses)

    @property
    def record(self) -> AllocRecord:
        """What has to be kept on disk."""
        return AllocRecord(
            tasks={name: runner.record for name, runner in self.tasks.items()},
            healthy=self.healthy,
            healthy_time=self._healthy_time,
            health_of=self._health_of,
            health_since=self._health_since,
            stopping=self.stopping,
            description=self._description,
        )

    # --- the loop -----------------------------------------------------------------------------------

    async def _open(self) -> None:
        try:
            if self._restored and any(runner.has_begun for runner in self.tasks.values()):
                await self._restore()
            else:
                await self._set_up()
        except asyncio.CancelledError:
            if not self._awaiting:
                raise
        except RoveError as error:
            self._doom(error.text())
        except OSError as error:
            self._doom(f"the allocation directory could not be made: {error.strerror or error}")
        self._ready = True
        self._opened.set()
        self._found.set()
        self._changed()

    async def _set_up(self) -> None:
        await self._save_alloc(self.alloc)  # durable first: no process without an owner on record
        self._awaiting = True
        self._found.set()
        for predecessor in self._predecessors:
            await predecessor.ended.wait()
        self._predecessors, self._awaiting = (), False
        if why := network.refusal(self.group, self._around.drivers):
            raise RoveError("alloc.network", "the group's network could not be set up", why)
        await self._around.offload(self._build)

    def _build(self) -> None:
        names = [task.name for task in self.group.tasks]
        if self._previous_dir is not None and self.group.ephemeral_disk.sticky:
            directory.build(self._dir, names)
            directory.inherit(self._previous_dir, self._dir, names)
        directory.build(self._dir, names)

    async def _restore(self) -> None:
        if any(not runner.machine.is_dead for runner in self.tasks.values()):
            await self._around.offload(self._build)
        self._deferred += 1
        await asyncio.gather(*(runner.restore() for runner in self.tasks.values()))
        self._offering.adopt()
        self._deferred -= 1

    def _doom(self, text: str) -> None:
        log.warning("allocation %s was not set up: %s", self.alloc.id, text)
        for runner in self.tasks.values():
            runner.doom(ev.setup_failure(self._around.clock.now(), text))

    def _changed(self) -> None:
        """Decide anew. Changes that this causes are decided in the same call, not by recursion."""
        self._dirty = True
        if self._deferred:
            return
        self._deferred += 1
        try:
            while self._dirty:
                self._dirty = False
                self._order()
                self._refresh_services()
        finally:
            self._deferred -= 1
        self._judge_health()
        self._limit_run_time()
        self._report()
        if self.is_over and all(runner.closed.is_set() for runner in self.tasks.values()):
            self.ended.set()

    def _order(self) -> None:
        if not self._ready:
            return
        views = {name: self._view(runner) for name, runner in self.tasks.items()}
        orders = decide(views, stopping=self._winding_down)
        for order in orders.stop:
            self._stop_task(order)
        if self.stopping and not self._winding_down:
            return  # it waits to be ended: nothing more begins
        for name in orders.start:
            self.tasks[name].begin()

    def _refresh_services(self) -> None:
        if not self._ready:
            return
        said = self._offering.refresh(
            self.alloc, self.job, self.group, self._network_status(), stopping=self.stopping
        )  # fmt: skip
        if said is not None:
            self.checks_passing_since, self.checks_text = said

    def _view(self, runner: TaskRunner) -> TaskView:
        machine = runner.machine
        return TaskView(
            role_of(runner.task.lifecycle), machine.state, machine.phase is not Phase.WAITING, runner.task.leader
        )

    def _stop_task(self, order: StopTask) -> None:
        runner, now = self.tasks[order.task], self._around.clock.now()
        if runner.machine.phase is Phase.STOPPING:
            return
        match order.why:
            case Why.SIBLING_FAILED:
                runner.stop(ev.sibling_failed(now, order.sibling))
            case Why.LEADER_DEAD:
                runner.stop(ev.leader_dead(now))
            case Why.MAIN_DEAD:
                runner.stop(ev.main_dead(now))
            case Why.ASKED:
                runner.stop(runner.kill_event())

    def _judge_health(self) -> None:
        rules = needs_health(
            self.group, deployment_id=self.alloc.deployment_id, decided=self.healthy is not None,
            stopping=self.stopping,
        )  # fmt: skip
        if rules is None or not self._ready:
            return
        views = [
            HealthView(name, role_of(task.task.lifecycle), task.machine.state, task.machine.settled_at)
            for name, task in self.tasks.items()
        ]
        now = self._around.clock.now()
        health = judge_health(
            views, rules, now=now, clock_started=clock_start(views, self._health_since),
            checks_passing_since=self.checks_passing_since, checks=self.checks_text,
        )  # fmt: skip
        if health.healthy is not None:
            self.healthy, self._healthy_time = health.healthy, unix_ns(now)
            if not health.healthy:
                self._deferred += 1
                self.note_all(ev.UNHEALTHY, f"The allocation is unhealthy: {health.reason}")
                self._deferred -= 1
        elif health.look_at is not None:
            self._set_health_timer(max(health.look_at - now, 0.001))

    def _set_health_timer(self, delay_s: float) -> None:
        async def look_again() -> None:
            await self._around.clock.sleep(delay_s)
            self._health_timer = None
            self._changed()

        if self._health_timer is not None:
            self._health_timer.cancel()
        self._health_timer = asyncio.get_running_loop().create_task(look_again())

    def _limit_run_time(self) -> None:
        limit_s = seconds(self.group.max_run_duration)
        if not limit_s or self._run_timer is not None or self.stopping:
            return
        starts = [state.started_at for state in self.states.values() if state.started_at]
        if not starts:
            return
        remaining_s = min(start.timestamp() for start in starts) + limit_s - self._around.clock.now()

        async def end() -> None:
            await self._around.clock.sleep(max(remaining_s, 0.0))
            if not self.is_over:
                self.stop(description=f"Ended after its max_run_duration of {ev.duration(limit_s)}")

        self._run_timer = asyncio.get_running_loop().create_task(end())

    def _report(self) -> None:
        now, before = self._snapshot(), self._reported
        if now == before:
            return
        self._reported = now
        urgent = before is None or (
            (now.client_status, now.healthy) != (before.client_status, before.healthy)
            or _outcomes(now.task_states) != _outcomes(before.task_states)
        )
        quiet = before is None and now.client_status is AllocStatus.PENDING
        self._on_update(self, urgent and not quiet)

    async def _save(self) -> None:
        await self._save_record(self.alloc.id, self.record)

    def _spawn(self, work: Coroutine[Any, Any, None] | Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.get_running_loop().create_task(run())
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _cancel_timers(self) -> None:
        for timer in (self._health_timer, self._run_timer):
            if timer is not None and timer is not asyncio.current_task():
                timer.cancel()
        await self._offering.close()


def _outcomes(states: Mapping[str, TaskState]) -> dict[str, tuple[str, bool, int]]:
    return {name: (state.state, state.failed, state.restarts) for name, state in states.items()}


def _parts(alloc: Allocation) -> tuple[Job, TaskGroup]:
    job = alloc.job
    invariant(job is not None, f"allocation {alloc.id} came without its job")
    assert job is not None
    group = job.group(alloc.task_group)
    if group is None:
        raise RoveError(
            "alloc.no_group", f"allocation {alloc.id[:8]} was not started",
            f'its job has no group "{alloc.task_group}"',
        )  # fmt: skip
    return job, group
