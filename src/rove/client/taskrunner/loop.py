"""Performs what `core` decides for one task: prepares, starts, watches, waits, kills, saves.

Everything is driven by inputs; nothing polls. A runner has at most one piece of work (preparation, start or
wait) and one watch under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rove.client.drivers.base import Driver, DriverError, Exit, TaskHandle, TaskSpec
from rove.client.settings import ClientSettings
from rove.errors import NotFoundError, RoveError
from rove.ports import Clock
from rove.structs.alloc import Allocation, TaskEvent
from rove.structs.job import Job, Task, TaskGroup
from rove.structs.node import Node
from rove.structs.resources import AllocatedPort, AllocatedTask

from . import events as ev
from .core import (
    Aborted,
    Action,
    Adopted,
    Begin,
    Do,
    Exited,
    Failed,
    Input,
    Launched,
    Machine,
    Phase,
    Prepared,
    Restart,
    Stop,
    TaskRecord,
    Wake,
    rules_for,
    step,
    with_events,
)
from .env import Paths, Scope, seconds, task_env
from .hooks import PRESTART, HookContext, HookError, host_mounts
from .hooks.dirs import owner_of

KILL_RETRY_S = 5.0
RESTORE_RETRIES = 3
RESTORE_RETRY_S = 2.0
CHATTER = frozenset({ev.DRIVER, ev.DOWNLOADING})
"""Events of which only the first and the newest of a run are kept, so that progress pushes nothing out."""

log = logging.getLogger(__name__)


Offload = Callable[..., Coroutine[Any, Any, Any]]
"""Runs a blocking call elsewhere: `asyncio.to_thread`, or in place where a simulation must stay in step."""


class Surroundings(msgspec.Struct, kw_only=True):
    """What every runner of a node shares. node: as last fingerprinted; jitter: 0..1; host_env: for exec drivers."""

    clock: Clock
    settings: ClientSettings
    drivers: Mapping[str, Driver]
    node: Callable[[], Node]
    jitter: Callable[[], float]
    host_env: Mapping[str, str] = {}
    offload: Offload = asyncio.to_thread
    first_sequence: int = 0
    """Reports of this agent are numbered from here: above all numbers of the agents before it."""


class TaskDirs(msgspec.Struct, frozen=True, kw_only=True):
    """Where one task lives. state: the driver's private directory; staging: for downloads."""

    alloc: Path
    task: Path
    state: Path
    staging: Path


class TaskRunner:
    """Runs one task of an allocation on this node."""

    def __init__(
        self,
        around: Surroundings,
        alloc: Allocation,
        job: Job,
        group: TaskGroup,
        task: Task,
        dirs: TaskDirs,
        *,
        record: TaskRecord | None,
        on_change: Callable[[], None],
        save: Callable[[], Awaitable[None]],
        before_kill: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """before_kill: waits until nobody is sent to the task any more; then its shutdown delay begins."""
        self.name = task.name
        self.handle: TaskHandle | None = None
        self.skip_shutdown_delay = False
        self.closed = asyncio.Event()
        """Set once the task is dead, saved and cleaned up."""
        self._around = around
        self._dirs = dirs
        self._on_change = on_change
        self._save = save
        self._before_kill = before_kill
        self._work: asyncio.Task[None] | None = None
        self._aborting: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._detached = False
        self._saved_handle: dict[str, Any] | None = record.handle if record else None
        self._hooks_done: set[str] = set(record.hooks_done) if record else set()
        self.update(alloc, job, group, task)
        if record is not None:
            self.machine = record.machine
        else:
            self.machine = Machine()
            self.note(ev.received(around.clock.now()))

    def update(self, alloc: Allocation, job: Job, group: TaskGroup, task: Task) -> None:
        """Take over a new version of the allocation that leaves the task running; used from the next start on."""
        self._alloc, self._job, self._group, self.task = alloc, job, group, task
        self._rules = rules_for(job.type, task.lifecycle, task.restart_policy)

    @property
    def record(self) -> TaskRecord:
        """What has to be kept on disk."""
        return TaskRecord(machine=self.machine, handle=self._saved_handle, hooks_done=tuple(sorted(self._hooks_done)))

    # --- orders -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The task's turn has come."""
        if self.machine.phase is Phase.WAITING:
            self._post(Begin())

    def stop(self, event: TaskEvent) -> None:
        """End the task for good."""
        self._post(Stop(event))

    def doom(self, event: TaskEvent) -> None:
        """Fail a task whose turn never came, since its allocation could not be set up."""
        if self.machine.phase is Phase.WAITING:
            self._post(Failed(event, recoverable=False))

    def kill_event(self, reason: str = "") -> TaskEvent:
        """The event for an ordinary stop."""
        return ev.killing(self._around.clock.now(), self.kill_timeout_s, reason)

    def restart(self, reason: str, *, counted: bool = False) -> None:
        """Start the task anew. counted: the restart policy judges it as a failure (failing checks)."""
        if self.machine.phase is Phase.WAITING:
            return
        self._post(Restart(ev.restart_signaled(self._around.clock.now(), reason), counted))

    async def signal(self, name: str, reason: str = "asked for by a person") -> None:
        """Send a signal to the running task. Raises `NotFoundError`, `RoveError`."""
        handle = self.running_handle()
        try:
            await handle.signal(name)
        except DriverError as error:
            raise RoveError("task.signal", f'task "{self.name}" did not get {name}', error.what) from error
        self.note(ev.signaling(self._around.clock.now(), name, reason))

    def running_handle(self) -> TaskHandle:
        """The handle of the running task. Raises `NotFoundError` if it is not running."""
        if self.handle is None or self.machine.phase not in (Phase.RUNNING, Phase.STOPPING, Phase.RESTARTING):
            raise NotFoundError("task.not_running", f'task "{self.name}" is not running', f"it is {self.machine.phase}")
        return self.handle

    def note(self, event: TaskEvent) -> None:
        """Add an event to the task's log."""
        state = self.machine.state
        last = [past.type for past in state.events[-2:]]
        if event.type in CHATTER and last == [event.type, event.type]:
            state = msgspec.structs.replace(state, events=state.events[:-1])
        self.machine = msgspec.structs.replace(self.machine, state=with_events(state, [event]))
        self._on_change()

    async def restore(self) -> None:
        """Find the task that an earlier agent started, or go on where it left off. Counts no restart."""
        before = self.machine.phase
        if before is Phase.DEAD:
            self.closed.set()
            return
        if before is Phase.BACKOFF:
            self._post(Wake())
            return
        handle = await self._recover()
        if self._detached:
            return
        if before in (Phase.STOPPING, Phase.RESTARTING):
            self._go_on_ending(handle)
            return
        self.machine = msgspec.structs.replace(self.machine, phase=Phase.WAITING)
        if handle is not None:
            self.handle = handle
            started = self.machine.state.started_at
            self._post(Adopted(started.timestamp() if started else 0.0))
        elif before is Phase.RUNNING:
            self._lost()
        elif before is not Phase.WAITING:
            self._post(Begin())

    def _go_on_ending(self, handle: TaskHandle | None) -> None:
        """The earlier agent died while it ended the task: the order stands, whatever came of the task since."""
        self.handle = handle
        if handle is not None:
            self._perform(Action(Do.WATCH))
            self._perform(Action(Do.KILL))
            self._on_change()
        elif self._saved_handle is None and self.machine.phase is Phase.STOPPING:
            self._post(Aborted())  # it was stopped before it had started
        else:
            self._lost()

    def _lost(self) -> None:
        text = "the task of the earlier agent could not be found"
        self.note(ev.event(ev.RESTORE_FAILED, self._around.clock.now(), text))
        if self.machine.phase is Phase.WAITING:
            self.machine = msgspec.structs.replace(self.machine, phase=Phase.RUNNING)
        self._post(Exited(error=text))

    @property
    def has_begun(self) -> bool:
        """Whether its turn has come; an agent that died early left only the driver's directory to tell."""
        return self.machine.phase is not Phase.WAITING or self._dirs.state.exists()

    async def _recover(self) -> TaskHandle | None:
        if not self.has_begun:
            return None
        for attempt in range(RESTORE_RETRIES):
            try:
                return await self._driver().recover(self._spec(), self._saved_handle or {})
            except (DriverError, HookError) as error:
                log.warning("task %s of %s was not found again: %s", self.name, self._alloc.id, error)
                if not getattr(error, "recoverable", False):
                    return None
            if attempt < RESTORE_RETRIES - 1:
                await self._around.clock.sleep(RESTORE_RETRY_S)
        return None

    async def detach(self, grace_s: float = 0.0) -> None:
        """Let go of the task without touching it: the agent is about to stop.

        grace_s: how long a start under way may take to be finished; a start that is cut short is undone.
        """
        self._detached = True
        if grace_s and self._work is not None and self.machine.phase is Phase.LAUNCHING:
            await asyncio.wait({self._work}, timeout=grace_s)
        for work in (self._work, *self._others):
            if work is not None and work is not asyncio.current_task():
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await work

    # --- the machine --------------------------------------------------------------------------------

    def _post(self, what: Input) -> None:
        if self._detached:
            return
        now = self._around.clock.now()
        before = self.machine
        self.machine, actions = step(before, what, self._rules, now=now, jitter=self._around.jitter())
        if self.machine is before:
            return
        for action in actions:
            self._perform(action)
        self._on_change()

    def _perform(self, action: Action) -> None:
        match action.do:
            case Do.PREPARE:
                self._start_work(self._prepare())
            case Do.LAUNCH:
                self._start_work(self._launch())
            case Do.WAIT:
                self._start_work(self._wait(action.seconds))
            case Do.ABORT:
                if self._work is not None:
                    self._aborting = self._work
                    self._work.cancel()
            case Do.WATCH:
                self._spawn(self._watch())
            case Do.KILL:
                self._spawn(self._kill())
            case Do.CLOSE:
                self._cancel_work()
                self._spawn(self._close())

    def _start_work(self, work: Coroutine[Any, Any, None]) -> None:
        self._cancel_work()
        self._work = asyncio.get_running_loop().create_task(work)
        self._work.add_done_callback(self._work_done)

    def _work_done(self, work: asyncio.Task[None]) -> None:
        """Only the callback hears of work that was cancelled before its first step."""
        if work.cancelled() and work is self._aborting and self.machine.phase is Phase.STOPPING:
            self._post(Aborted())

    def _cancel_work(self) -> None:
        if self._work is not None and self._work is not asyncio.current_task():
            self._work.cancel()
        self._work = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    # --- work ---------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        try:
            self.closed.clear()
            await self._let_go()
            if self.machine.attempt:
                await self._save()  # or a crash now would adopt the start before as this one
            context = self._hook_context()
            for hook in PRESTART:
                if hook.name not in self._hooks_done:
                    await hook.run(context)
                    if hook.once:
                        self._hooks_done.add(hook.name)
        except HookError as error:
            self._post(Failed(error.event(self._around.clock.now()), error.recoverable))
        except DriverError as error:
            self._post(Failed(ev.driver_failure(self._around.clock.now(), error.what), error.recoverable))
        except Exception as error:
            self._bug(error)
        else:
            self._post(Prepared())

    async def _launch(self) -> None:
        try:
            driver = self._driver()
            self._dirs.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._ended.clear()
            self.handle = await driver.start(self._spec(), self._emit_driver)
            self._saved_handle = self.handle.reattach_state()
        except HookError as error:
            self._post(Failed(error.event(self._around.clock.now()), error.recoverable))
        except DriverError as error:
            self._post(Failed(ev.driver_failure(self._around.clock.now(), error.what), error.recoverable))
        except OSError as error:
            text = f"the state directory could not be made: {error.strerror}"
            self._post(Failed(ev.setup_failure(self._around.clock.now(), text), recoverable=True))
        except Exception as error:
            self._bug(error)
        else:
            self._post(Launched())
            await self._save()

    def _bug(self, error: Exception) -> None:
        """A driver or hook broke its contract: the task fails, the node goes on."""
        log.exception("task %s of %s", self.name, self._alloc.id, exc_info=error)
        text = f"an unexpected {type(error).__name__} occurred; the agent's log has more"
        self._post(Failed(ev.setup_failure(self._around.clock.now(), text), recoverable=False))

    async def _wait(self, delay_s: float) -> None:
        await self._around.clock.sleep(delay_s)
        self._post(Wake())

    async def _watch(self) -> None:
        handle = self.handle
        if handle is None:
            return
        try:
            end = await handle.wait()
        except DriverError as error:
            end = Exit(error=error.what)
        self._ended.set()
        self._post(Exited(end.code, end.signal, end.oom_killed, end.error))

    async def _kill(self) -> None:
        await self._save()  # first: the next agent must not take the end that is ordered here for a failure
        if self._before_kill is not None:
            await self._before_kill()
        if self.machine.phase is Phase.STOPPING:
            await self._delay_shutdown()
        while not self._ended.is_set() and self.handle is not None:
            try:
                await self.handle.kill(self.task.kill_signal, self.kill_timeout_s)
                return
            except DriverError as error:
                text = f"The task could not be ended, trying again: {error.what}"
                self.note(ev.event(ev.KILLING, self._around.clock.now(), text, kill_error=error.what))
            await self._around.clock.sleep(KILL_RETRY_S)

    async def _delay_shutdown(self) -> None:
        delay_s = seconds(self.task.shutdown_delay)
        if not delay_s:
            return
        now = self._around.clock.now()
        if self.skip_shutdown_delay:
            self.note(ev.event(ev.SHUTDOWN_DELAY_SKIPPED, now, "The shutdown delay is skipped"))
            return
        text = f"Waiting {ev.duration(delay_s)} before the task is asked to end"
        self.note(ev.event(ev.SHUTDOWN_DELAY, now, text))
        pause = asyncio.ensure_future(self._around.clock.sleep(delay_s))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({pause, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            ended.cancel()

    async def _close(self) -> None:
        await self._save()
        await self._let_go()
        self.closed.set()
        self._on_change()

    async def _let_go(self) -> None:
        """Remove what is left of the start before."""
        handle, self.handle = self.handle, None
        if handle is None:
            return
        try:
            await handle.destroy()
        except DriverError as error:
            log.warning("task %s of %s left something behind: %s", self.name, self._alloc.id, error)

    # --- what drivers and hooks need ----------------------------------------------------------------

    @property
    def kill_timeout_s(self) -> float:
        """Seconds between the kill signal and force, within the node's limit."""
        return min(seconds(self.task.kill_timeout), self._around.settings.max_kill_timeout_s)

    async def _emit_driver(self, message: str, details: Mapping[str, str]) -> None:
        self.note(ev.event(ev.DRIVER, self._around.clock.now(), message, **details))

    async def _emit(self, kind: str, text: str, details: dict[str, str]) -> None:
        self.note(ev.event(kind, self._around.clock.now(), text, **details))

    def _driver(self) -> Driver:
        driver = self._around.drivers.get(self.task.driver)
        if driver is None:
            raise DriverError(f'this node has no driver "{self.task.driver}"')
        return driver

    def scope(self) -> Scope:
        """What ``${...}`` may mention. Raises `DriverError` without its driver."""
        isolation = self._driver().capabilities.fs_isolation
        if isolation == "none":
            paths = Paths(
                str(self._dirs.alloc / "alloc"), str(self._dirs.task / "local"), str(self._dirs.task / "secrets")
            )
        else:
            paths = Paths("/alloc", "/local", "/secrets")
        host_env = self._around.host_env if isolation != "image" else {}
        node = self._around.node()
        env = task_env(self._alloc, self._job, self._group, self.task, node, paths, host_env)
        return Scope(env, node)

    def _hook_context(self) -> HookContext:
        return HookContext(
            alloc=self._alloc, job=self._job, group=self._group, task=self.task, scope=self.scope(),
            alloc_dir=self._dirs.alloc, task_dir=self._dirs.task, staging=self._dirs.staging,
            owner=owner_of(self.task.user), emit=self._emit, artifact=self._around.settings.artifact,
        )  # fmt: skip

    def _spec(self) -> TaskSpec:
        """What the driver gets. Raises `HookError` if the job asks for what this node cannot give."""
        scope, unknown = self.scope(), list[str]()
        config = scope.value(self.task.config, unknown.append)
        if unknown:
            names = ", ".join(f"${{{name}}}" for name in sorted(set(unknown)))
            raise HookError(f"the driver config mentions {names}, which this node does not know")
        resources = self._alloc.allocated_resources
        held = resources.tasks.get(self.name, AllocatedTask())
        legacy = tuple(
            AllocatedPort(label=port.label, value=port.value, to=port.to, host_ip=network.ip)
            for network in held.networks
            for port in (*network.reserved_ports, *network.dynamic_ports)
        )
        network = self._group.networks[0] if self._group.networks else None
        driver, node = self._driver(), self._around.node()
        return TaskSpec(
            id=f"{self._alloc.id}/{self.name}", alloc_id=self._alloc.id, job_id=self._job.id,
            job_name=self._job.name or self._job.id, namespace=self._alloc.namespace, group=self._group.name,
            name=self.name, node_id=node.id, node_name=node.name, attempt=self.machine.attempt, config=config,
            env=scope.env, user=self.task.user, resources=held, ports=(*resources.shared.ports, *legacy),
            kill_signal=self.task.kill_signal, kill_timeout_s=self.kill_timeout_s,
            log_config=self.task.log_config, alloc_dir=self._dirs.alloc, task_dir=self._dirs.task,
            shared_dir=self._dirs.alloc / "alloc", log_dir=self._dirs.alloc / "alloc" / "logs",
            state_dir=self._dirs.state, network_mode=network.mode if network else "",
            hostname=scope.text(network.hostname) if network else "", dns=network.dns if network else None,
            mounts=host_mounts(
                self._group, self.task, self._around.settings.host_volumes, driver.capabilities, scope
            ),
        )  # fmt: skip

    async def remove_state(self) -> None:
        """Delete the driver's private directory, once the task is closed."""
        await self._around.offload(shutil.rmtree, self._dirs.state, ignore_errors=True)
