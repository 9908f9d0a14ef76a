"""The services of one allocation: which are registered now, which checks run, what they mean for its tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from rove.client.checks.core import CheckSpec, CheckState, Status, Verdict, describe
from rove.client.checks.loop import Checker
from rove.client.checks.probes import Prober
from rove.client.drivers.base import DriverError, ExecSession
from rove.client.services.core import Offer, Text, Where, offers
from rove.client.services.loop import Registrar
from rove.client.taskrunner import events as ev
from rove.client.taskrunner.core import Phase
from rove.client.taskrunner.env import Paths, Scope, task_env
from rove.client.taskrunner.loop import Surroundings, TaskRunner
from rove.structs.alloc import Allocation, NetworkStatus
from rove.structs.job import Job, Task, TaskGroup
from rove.structs.service import ServiceRegistration

from .core import SIDECARS, Role, role_of

INSIDE = Paths("/alloc", "/local", "/secrets")


class Discovery(NamedTuple):
    """What all allocations of a node share for their services."""

    registrar: Registrar
    prober: Prober


class Offering:
    """Keeps registrations and checks in step with the allocation's tasks."""

    def __init__(
        self, around: Surroundings, discovery: Discovery, tasks: Mapping[str, TaskRunner], on_change: Callable[[], None]
    ) -> None:
        """tasks: the allocation's runners, may still be filled. on_change: a check has news; ends in `refresh`."""
        self._around = around
        self._registrar = discovery.registrar
        self._tasks = tasks
        self._checker = Checker(
            discovery.prober, around.clock, around.jitter, execute=self._execute, on_change=on_change,
            on_restart=self._restart,
        )  # fmt: skip
        self._offers: tuple[Offer, ...] = ()
        self._made_from: Allocation | None = None
        self._made_for: tuple[object, ...] = ()
        self._adopted: dict[str, int] = {}
        self._failing: frozenset[str] = frozenset()
        self._told_off: set[str] = set()
        self._alloc_id = ""

    def adopt(self) -> None:
        """Remember which tasks were started by an earlier agent: what is known of their services still stands."""
        self._adopted = {
            name: runner.machine.attempt
            for name, runner in self._tasks.items()
            if runner.machine.phase is Phase.RUNNING
        }

    def refresh(
        self, alloc: Allocation, job: Job, group: TaskGroup, network: NetworkStatus | None, *, stopping: bool
    ) -> Verdict | None:
        """Bring everything in step; what the checks say, None if there are none that decide about health."""
        self._alloc_id = alloc.id
        if not group.services and not any(task.services for task in group.tasks):
            if self._offers:
                self._offers, self._made_from = (), None
                self._checker.follow(())
                self._registrar.offer(alloc.id, ())
            return None
        self._make_offers(alloc, job, group, network)
        active = [] if stopping else [offer for offer in self._offers if not offer.trouble and self._is_active(offer)]
        self._checker.follow((spec, self._start_of(spec)) for offer in active for spec in offer.checks)
        self._registrar.offer(alloc.id, [self._registration(offer) for offer in active])
        self._note_failures()
        decisive = [spec for offer in self._offers if self._counts(offer) for spec in offer.checks if spec.decides]
        return self._checker.verdict(decisive) if decisive else None

    async def settle(self) -> None:
        """Wait until what is no longer offered has left discovery."""
        await self._registrar.settle(self._alloc_id)

    async def close(self) -> None:
        """End the checks; registrations stay as they are."""
        await self._checker.close()

    def results(self) -> dict[str, object]:
        """The checks for the HTTP API."""
        return self._checker.results()

    # --- which ----------------------------------------------------------------------------------------

    def _make_offers(self, alloc: Allocation, job: Job, group: TaskGroup, network: NetworkStatus | None) -> None:
        addresses = {name: task.handle.network_address for name, task in self._tasks.items() if task.handle}
        if self._made_for == (id(alloc), addresses, network) and self._made_from is alloc:
            return
        node = self._around.node()
        where = Where(
            node=node.attributes.get("unique.network.ip-address", ""), driver=addresses,
            alloc=network.address if network else "", alloc_ipv6=network.address_ipv6 if network else "",
        )  # fmt: skip

        def text(task: str) -> Text:
            if task in self._tasks:
                try:
                    return self._tasks[task].scope().text
                except DriverError:
                    pass
            plain = group.task(task) or Task(name="")
            return Scope(task_env(alloc, job, group, plain, node, INSIDE), node).text

        self._offers = offers(alloc, group, where, text)
        self._made_from, self._made_for = alloc, (id(alloc), addresses, network)
        for offer in self._offers:
            if offer.trouble and offer.registration.id not in self._told_off:
                self._told_off.add(offer.registration.id)
                self._note(offer.task, f"A service was not registered: {offer.trouble}")

    def _counts(self, offer: Offer) -> bool:
        """Tasks that are over before the allocation is healthy do not make it wait for their services."""
        runner = self._tasks.get(offer.task)
        return runner is None or role_of(runner.task.lifecycle) in (Role.MAIN, *SIDECARS)

    def _is_active(self, offer: Offer) -> bool:
        if offer.task:
            runner = self._tasks.get(offer.task)
            return runner is not None and runner.machine.phase is Phase.RUNNING
        mains = self._mains()
        return all(runner.machine.state.started_at for runner in mains) and any(
            runner.machine.phase is Phase.RUNNING for runner in mains
        )

    def _mains(self) -> list[TaskRunner]:
        mains = [runner for runner in self._tasks.values() if role_of(runner.task.lifecycle) is Role.MAIN]
        return mains or list(self._tasks.values())

    def _start_of(self, spec: CheckSpec) -> int:
        runner = self._tasks.get(spec.task)
        return runner.machine.attempt if runner is not None else 0

    def _registration(self, offer: Offer) -> ServiceRegistration:
        if not offer.checks:
            return offer.registration
        health = self._checker.health(offer.registration.id, restored=self._is_adopted(offer.task))
        return offer.with_health(health)

    def _is_adopted(self, task: str) -> bool:
        runners = [self._tasks[task]] if task in self._tasks else self._mains()
        return all(self._adopted.get(runner.name) == runner.machine.attempt for runner in runners)

    # --- what checks cause ----------------------------------------------------------------------------

    def _note_failures(self) -> None:
        """Tell the tasks' event logs once when a check begins to fail."""
        failing = self._checker.with_status(Status.CRITICAL)
        fresh = [check for check in failing if check[0].id not in self._failing]
        self._failing = frozenset(spec.id for spec, _ in failing)
        for spec, state in fresh:
            self._note(spec.task, f"The {describe(spec, state)}")

    def _note(self, task: str, text: str) -> None:
        runners = [self._tasks[task]] if task in self._tasks else self._mains()
        for runner in runners:
            if not runner.machine.is_dead:
                runner.note(ev.event(ev.HOOK_MESSAGE, self._around.clock.now(), text, message=text))

    def _restart(self, spec: CheckSpec, state: CheckState) -> None:
        reason = describe(spec, state)
        runners = [self._tasks[spec.task]] if spec.task in self._tasks else self._mains()
        for runner in runners:
            if runner.machine.phase is Phase.RUNNING:
                runner.restart(reason, counted=True)

    async def _execute(self, task: str, command: list[str]) -> ExecSession:
        runner = self._tasks.get(task) or (next(iter(self._tasks.values())) if len(self._tasks) == 1 else None)
        if runner is None:
            raise DriverError("a script check of a group has to name the task that it runs in")
        if not command:
            raise DriverError("the check has no command")
        if not self._around.drivers[runner.task.driver].capabilities.can_exec:
            raise DriverError(f'driver "{runner.task.driver}" cannot run commands beside a task')
        return await runner.running_handle().execute(command, tty=False)
