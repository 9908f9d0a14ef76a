"""What every task driver must keep, as one suite: subclass it, give it a `case`, and pytest runs it.

    class TestMyDriver(DriverContract):
        @pytest.fixture
        def case(self, tmp_path):
            return MyCase(tmp_path)

Needs pytest and pytest-asyncio (auto mode), which only those who test drivers have installed.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import pytest

from rove.client.drivers.base import Driver, DriverError, TaskHandle, TaskSpec
from rove.structs.job import LogConfig
from rove.structs.resources import AllocatedTask

DEADLINE_S = 60.0


class Behaviour(StrEnum):
    """What a task of the suite does. A case turns it into its driver's config."""

    SUCCEED = "exits with code 0 at once"
    FAIL = "exits with code 7 at once"
    RUN = "runs until it is asked to end, and then ends"
    STUBBORN = "runs and ignores every signal that can be ignored"
    PRINT = "writes `to stdout` and `to stderr`, a line each, and exits with code 0"
    END_LATER = "runs until `case.let_end` is called, then exits with code 9"
    IMPOSSIBLE = "cannot be started, now or ever"


class DriverCase(Protocol):
    """How the suite gets hold of one driver."""

    base: Path
    """A folder of this test's own."""

    def driver(self) -> Driver:
        """A new driver over the same machine, as a new agent would make it."""
        ...

    def config(self, behaviour: Behaviour) -> dict[str, Any] | None:
        """The task config for a behaviour; None if this driver cannot show it."""
        ...

    async def let_end(self, handle: TaskHandle) -> None:
        """Let a task of `Behaviour.END_LATER` go on to its end."""
        ...


async def quiet(message: str, details: Mapping[str, str]) -> None:
    """An `EmitEvent` that nobody listens to."""


def task_spec(base: Path, config: dict[str, Any], *, name: str = "web", attempt: int = 0, **fields: Any) -> TaskSpec:
    """A task with the folders of an allocation below `base`, made if they are missing."""
    alloc_dir = base / "alloc"
    task_dir, shared = alloc_dir / name, alloc_dir / "alloc"
    for folder in (task_dir / "local", task_dir / "secrets", shared / "logs", base / "state"):
        folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "id": f"5f1c0ffe-0000-4000-8000-{zlib.crc32(str(base).encode()):012}/{name}",
        "alloc_id": f"5f1c0ffe-0000-4000-8000-{zlib.crc32(str(base).encode()):012}",
        "job_id": "suite",
        "job_name": "suite",
        "namespace": "default",
        "group": "group",
        "name": name,
        "node_id": "node",
        "node_name": "node",
        "attempt": attempt,
        "config": config,
        "env": {"PATH": "/usr/local/bin:/usr/bin:/bin", "MARK": "marked"},
        "user": "",
        "resources": AllocatedTask(),
        "ports": (),
        "kill_signal": "SIGTERM",
        "kill_timeout_s": 5.0,
        "log_config": LogConfig(),
        "alloc_dir": alloc_dir,
        "task_dir": task_dir,
        "shared_dir": shared,
        "log_dir": shared / "logs",
        "state_dir": base / "state",
    }
    return TaskSpec(**{**values, **fields})


async def within(work: Any) -> Any:
    """The result, or a failure after a generous deadline."""
    return await asyncio.wait_for(work, DEADLINE_S)


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fails after a generous deadline."""
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, "this never came true"
        await asyncio.sleep(0.02)


async def until_written(path: Path) -> None:
    """Return when the file has content."""
    await until(lambda: path.exists() and path.stat().st_size)


def through_json(state: Mapping[str, Any]) -> dict[str, Any]:
    """A reattach state as it comes back from the agent's disk."""
    loaded: dict[str, Any] = json.loads(json.dumps(state))
    return loaded


class DriverContract:
    """The suite."""

    @pytest.fixture
    def case(self) -> DriverCase:
        raise NotImplementedError("a subclass gives the case")

    @pytest.fixture
    async def driver(self, case: DriverCase) -> AsyncIterator[Driver]:
        made = case.driver()
        yield made
        await made.close()

    def spec(self, case: DriverCase, behaviour: Behaviour, **fields: Any) -> TaskSpec:
        config = case.config(behaviour)
        if config is None:
            pytest.skip(f"this driver has no task that {behaviour.value}")
        return task_spec(case.base, config, **fields)

    async def start(self, driver: Driver, spec: TaskSpec) -> TaskHandle:
        return await asyncio.wait_for(driver.start(spec, quiet), DEADLINE_S)

    async def test_it_finds_itself_and_says_so_to_the_scheduler(self, driver: Driver) -> None:
        info = await driver.fingerprint()

        assert info.detected
        assert info.healthy, info.health_description
        assert f"driver.{driver.name}" in info.attributes

    async def test_its_configs_are_valid_and_an_unknown_key_is_named(self, case: DriverCase, driver: Driver) -> None:
        config = self.spec(case, Behaviour.RUN).config

        assert driver.validate(config) == []
        assert any("no_such_key" in problem for problem in driver.validate({**config, "no_such_key": 1}))

    async def test_a_task_that_succeeds_is_a_success_also_when_asked_twice(
        self, case: DriverCase, driver: Driver
    ) -> None:
        handle = await self.start(driver, self.spec(case, Behaviour.SUCCEED))

        assert (await within(handle.wait())).is_success
        assert (await within(handle.wait())).is_success

    async def test_a_task_that_fails_is_reported_with_its_code(self, case: DriverCase, driver: Driver) -> None:
        handle = await self.start(driver, self.spec(case, Behaviour.FAIL))

        end = await within(handle.wait())

        assert (end.code, end.is_success) == (7, False)

    async def test_output_lands_in_the_log_files(self, case: DriverCase, driver: Driver) -> None:
        spec = self.spec(case, Behaviour.PRINT)
        handle = await self.start(driver, spec)
        await within(handle.wait())

        for stream in ("stdout", "stderr"):
            file = spec.log_dir / f"{spec.name}.{stream}.0"
            await until_written(file)
            assert file.read_text().strip() == f"to {stream}"

    async def test_a_task_that_obeys_ends_when_asked(self, case: DriverCase, driver: Driver) -> None:
        handle = await self.start(driver, self.spec(case, Behaviour.RUN))

        await within(handle.kill("SIGTERM", 30))

        await within(handle.wait())

    async def test_a_stubborn_task_is_forced_after_the_timeout(self, case: DriverCase, driver: Driver) -> None:
        handle = await self.start(driver, self.spec(case, Behaviour.STUBBORN))

        await within(handle.kill("SIGTERM", 0.3))

        assert not (await within(handle.wait())).is_success

    async def test_killing_an_ended_task_is_harmless(self, case: DriverCase, driver: Driver) -> None:
        handle = await self.start(driver, self.spec(case, Behaviour.SUCCEED))
        await within(handle.wait())

        await within(handle.kill("SIGTERM", 1))

        assert (await within(handle.wait())).is_success

    async def test_signalling_an_ended_task_is_refused(self, case: DriverCase, driver: Driver) -> None:
        if not driver.capabilities.send_signals:
            pytest.skip("this driver sends no signals")
        handle = await self.start(driver, self.spec(case, Behaviour.SUCCEED))
        await within(handle.wait())

        with pytest.raises(DriverError):
            await within(handle.signal("SIGHUP"))

    async def test_a_task_that_cannot_start_is_an_error_and_leaves_nothing_running(
        self, case: DriverCase, driver: Driver
    ) -> None:
        spec = self.spec(case, Behaviour.IMPOSSIBLE)

        with pytest.raises(DriverError) as caught:
            await self.start(driver, spec)

        assert caught.value.what
        assert not caught.value.recoverable
        left = await within(driver.recover(spec, {}))
        if left is not None:
            assert not (await within(left.wait())).is_success

    async def test_a_new_agent_finds_a_running_task_and_learns_its_true_end(self, case: DriverCase) -> None:
        spec = self.spec(case, Behaviour.END_LATER)
        old = case.driver()
        state = through_json((await self.start(old, spec)).reattach_state())
        await old.close()
        new = case.driver()

        handle = await within(new.recover(spec, state))

        assert handle is not None
        assert through_json(handle.reattach_state()) == state
        await case.let_end(handle)
        assert (await within(handle.wait())).code == 9
        await new.close()

    async def test_a_new_agent_learns_the_end_of_a_task_that_ended_meanwhile(self, case: DriverCase) -> None:
        spec = self.spec(case, Behaviour.END_LATER)
        old = case.driver()
        first = await self.start(old, spec)
        state = through_json(first.reattach_state())
        await case.let_end(first)
        await within(first.wait())
        await old.close()
        new = case.driver()

        handle = await within(new.recover(spec, state))

        assert handle is not None
        assert (await within(handle.wait())).code == 9
        await new.close()

    async def test_a_recovered_task_can_be_ended(self, case: DriverCase) -> None:
        spec = self.spec(case, Behaviour.RUN)
        old = case.driver()
        state = through_json((await self.start(old, spec)).reattach_state())
        await old.close()
        new = case.driver()
        handle = await within(new.recover(spec, state))

        await within(handle.kill("SIGTERM", 5))

        await within(handle.wait())
        await new.close()

    async def test_a_task_that_never_was_is_not_found(self, case: DriverCase, driver: Driver) -> None:
        assert await within(driver.recover(self.spec(case, Behaviour.RUN), {})) is None

    async def test_a_removed_task_is_not_found_again(self, case: DriverCase, driver: Driver) -> None:
        spec = self.spec(case, Behaviour.SUCCEED)
        handle = await self.start(driver, spec)
        state = through_json(handle.reattach_state())
        await within(handle.wait())

        await within(handle.destroy())

        assert await within(driver.recover(spec, state)) is None

    async def test_a_task_starts_again_with_the_next_attempt(self, case: DriverCase, driver: Driver) -> None:
        for attempt in (0, 1):
            handle = await self.start(driver, self.spec(case, Behaviour.FAIL, attempt=attempt))
            assert (await within(handle.wait())).code == 7
            await within(handle.destroy())

    async def test_a_running_task_tells_what_it_uses(self, case: DriverCase, driver: Driver) -> None:
        handle = await self.start(driver, self.spec(case, Behaviour.RUN))

        usage = await within(handle.usage())

        assert usage.rss >= 0
        assert usage.cpu_percent >= 0
        await within(handle.kill("SIGKILL", 0))

    async def test_a_command_beside_the_task_has_input_output_and_a_code(
        self, case: DriverCase, driver: Driver
    ) -> None:
        if not driver.capabilities.can_exec or case.config(Behaviour.STUBBORN) is None:
            pytest.skip("this driver runs no commands beside a task")
        handle = await self.start(driver, self.spec(case, Behaviour.RUN))
        session = await within(handle.execute(["sh", "-c", "cat; echo wrong >&2; exit 12"], tty=False))
        await session.write(b"fed")
        await session.close_stdin()
        said = {"stdout": b"", "stderr": b""}
        async for stream, data in session.output():
            said[stream] += data

        assert said == {"stdout": b"fed", "stderr": b"wrong\n"}
        assert await within(session.wait()) == 12
        await within(handle.kill("SIGKILL", 0))
