"""Repeats the checks of one allocation and tells what becomes of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from rove.ports import Clock

from .core import CheckSpec, CheckState, Status, Verdict, begin, health_of, observe, pause, shown, verdict
from .probes import Execute, Prober

log = logging.getLogger(__name__)

Run = tuple[CheckSpec, int]
"""A check, and the start of its task that it belongs to: another start begins it anew."""


class Checker:
    """The checks of one allocation. `follow` says which there are now."""

    def __init__(
        self,
        prober: Prober,
        clock: Clock,
        jitter: Callable[[], float],
        *,
        execute: Execute,
        on_change: Callable[[], None],
        on_restart: Callable[[CheckSpec, CheckState], None],
    ) -> None:
        """on_change: a status or what a failing check says has changed. on_restart: its task has to be restarted."""
        self._prober = prober
        self._clock = clock
        self._jitter = jitter
        self._execute = execute
        self._on_change = on_change
        self._on_restart = on_restart
        self._runs: dict[str, Run] = {}
        self._states: dict[str, CheckState] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(self, runs: Iterable[Run]) -> None:
        """Run exactly these: others end, changed ones begin anew."""
        wanted = {spec.id: (spec, start) for spec, start in runs}
        for check_id in [known for known, run in self._runs.items() if wanted.get(known) != run]:
            self._tasks.pop(check_id).cancel()
            del self._runs[check_id], self._states[check_id]
        for check_id, run in wanted.items():
            if check_id not in self._runs:
                self._runs[check_id] = run
                self._states[check_id] = begin(run[0], self._clock.now())
                self._tasks[check_id] = asyncio.get_running_loop().create_task(self._repeat(run[0]))

    async def close(self) -> None:
        """End all checks."""
        tasks = [task for task in self._tasks.values() if task is not asyncio.current_task()]
        self._tasks.clear()
        self._runs.clear()
        self._states.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def verdict(self, specs: Iterable[CheckSpec]) -> Verdict:
        """What these checks say together; those that do not run yet have not passed."""
        return verdict([(spec, self._states.get(spec.id, CheckState())) for spec in specs])

    def health(self, service_id: str, *, restored: bool) -> str:
        """How a service stands by its checks."""
        mine = [(spec, self._states[spec.id]) for spec, _ in self._runs.values() if spec.service_id == service_id]
        return health_of(mine, restored=restored)

    def with_status(self, status: Status) -> list[tuple[CheckSpec, CheckState]]:
        """The checks that stand like this."""
        found = [(spec, self._states[check_id]) for check_id, (spec, _) in self._runs.items()]
        return [check for check in found if check[1].status is status]

    def results(self) -> dict[str, object]:
        """All checks by id, as the HTTP API shows them."""
        return {check_id: shown(spec, self._states[check_id]) for check_id, (spec, _) in self._runs.items()}

    async def _repeat(self, spec: CheckSpec) -> None:
        while True:
            await self._clock.sleep(pause(self._states[spec.id], spec, self._jitter()))
            result = await self._prober.ask(spec, self._execute)
            before = self._states[spec.id]
            state, restart = observe(before, spec, result, self._clock.now())
            self._states[spec.id] = state
            if restart:
                log.info("check %s of %s asks for a restart", spec.name, spec.service)
                self._on_restart(spec, state)
                if self._tasks.get(spec.id) is not asyncio.current_task():
                    return  # the restart has begun this check anew
            if (state.status, state.good_since is None, state.code, _line(state)) != (
                before.status, before.good_since is None, before.code, _line(before),
            ):  # fmt: skip
                self._on_change()
                if self._tasks.get(spec.id) is not asyncio.current_task():
                    return


def _line(state: CheckState) -> str:
    """What counts as news of a check that is not good: its first line."""
    return "" if state.good_since is not None else state.output.partition("\n")[0]
