"""The mock driver: tasks that only pretend, for tests, simulation and trying out job files.

It follows the config keys of Nomad's mock driver. No process is made; a task is one timer, so thousands
are cheap. Tasks live in a table that belongs to the *machine*, not to the driver object: a second driver
made over the same `Machine` finds them, as a new agent finds real processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rove.jobspec.durations import parse_duration
from rove.ports import Clock
from rove.structs.base import SECOND, from_unix
from rove.structs.node import DriverInfo

from .base import Capabilities, DriverError, EmitEvent, Exit, TaskSpec, TaskUsage
from .registry import DriverContext

FOREVER_S = 10 * 365 * 86_400.0
KEYS = frozenset({
    "run_for", "exit_code", "exit_signal", "exit_err_msg", "start_error", "start_error_recoverable",
    "start_block_for", "kill_after", "signal_error", "stdout_string", "stdout_repeat",
    "stdout_repeat_duration", "stderr_string", "stderr_repeat", "stderr_repeat_duration", "exec_command",
    "driver_ip", "driver_advertise", "driver_port_map", "plugin_exit_after",
})  # fmt: skip


class MockConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The task config, durations in seconds. run_for_s 0: until it is killed."""

    run_for_s: float = 0.0
    exit_code: int = 0
    exit_signal: int = 0
    exit_err_msg: str = ""
    start_error: str = ""
    start_error_recoverable: bool = False
    start_block_for_s: float = 0.0
    kill_after_s: float = 0.0
    signal_error: str = ""
    stdout_string: str = ""
    stdout_repeat: int = 0
    stdout_repeat_s: float = 0.0
    stderr_string: str = ""
    stderr_repeat: int = 0
    stderr_repeat_s: float = 0.0
    driver_ip: str = ""


def seconds(value: object) -> float:
    """A Go duration ("1m30s", "250ms") or a number of nanoseconds, in seconds. Raises ValueError."""
    if isinstance(value, bool) or value is None:
        raise ValueError("not a duration")
    if isinstance(value, int | float):
        return float(value) * 1e-9
    text = str(value).strip()
    nanoseconds = parse_duration(text) if text else 0
    if nanoseconds is None:
        raise ValueError("not a duration")
    return nanoseconds / SECOND


def read_config(config: Mapping[str, Any]) -> tuple[MockConfig, list[str]]:
    """The config and everything wrong with it, one line each."""
    problems = [f'the mock driver knows no "{key}"' for key in sorted(set(config) - KEYS)]
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(MockConfig):
        key = {"stdout_repeat_s": "stdout_repeat_duration", "stderr_repeat_s": "stderr_repeat_duration"}.get(
            field.name, field.name.removesuffix("_s")
        )
        if key not in config:
            continue
        try:
            if field.name.endswith("_s"):
                values[field.name] = seconds(config[key])
            else:
                values[field.name] = msgspec.convert(config[key], _type_of(field.name), strict=False)
        except (ValueError, msgspec.ValidationError):
            problems.append(f"{key}: {config[key]!r} is not usable here")
    return MockConfig(**values), problems


def _type_of(name: str) -> Any:
    return type(getattr(MockConfig(), name))


class MockTask:
    """One pretended task on the pretended machine. Shared by every driver object of that machine."""

    def __init__(self, config: MockConfig, clock: Clock, spec: TaskSpec) -> None:
        self.config = config
        self.attempt = spec.attempt
        self.signals: list[str] = []
        self.exit: Exit | None = None
        self.ended = asyncio.Event()
        self._clock = clock
        self._life = asyncio.get_running_loop().create_task(self._live(spec.log_dir, spec.name))

    async def _live(self, log_dir: Path, name: str) -> None:
        config = self.config
        for kind, text, repeat, every in (
            ("stdout", config.stdout_string, config.stdout_repeat, config.stdout_repeat_s),
            ("stderr", config.stderr_string, config.stderr_repeat, config.stderr_repeat_s),
        ):
            for count in range(repeat + 1 if text else 0):
                if count:
                    await self._clock.sleep(every)
                with (log_dir / f"{name}.{kind}.0").open("a") as file:
                    file.write(text)
        await self._clock.sleep(config.run_for_s or FOREVER_S)
        self.end(Exit(code=config.exit_code, signal=config.exit_signal, error=config.exit_err_msg))

    def end(self, exit_: Exit) -> None:
        """The task is over, once."""
        if self.exit is None:
            self.exit = msgspec.structs.replace(exit_, finished_at=self._clock.now())
            self.ended.set()
            if self._life is not asyncio.current_task():
                self._life.cancel()


class Machine:
    """Where mock tasks live on while agents come and go. starts: task ids in the order they were started."""

    def __init__(self) -> None:
        self.tasks: dict[str, MockTask] = {}
        self.starts: list[str] = []

    @property
    def running(self) -> list[str]:
        """Ids of tasks that have not ended."""
        return [task_id for task_id, task in self.tasks.items() if task.exit is None]


class MockHandle:
    """A started mock task."""

    def __init__(self, task_id: str, task: MockTask, machine: Machine, clock: Clock) -> None:
        self.network_address = task.config.driver_ip
        self._id = task_id
        self._task = task
        self._machine = machine
        self._clock = clock

    def reattach_state(self) -> dict[str, Any]:
        """Plain values for `recover`."""
        return {"attempt": self._task.attempt}

    async def wait(self) -> Exit:
        """Return when the task has ended."""
        await self._task.ended.wait()
        return self._task.exit or Exit()

    async def signal(self, name: str) -> None:
        """Remember the signal, or fail as configured."""
        if self._task.config.signal_error:
            raise DriverError(self._task.config.signal_error)
        self._task.signals.append(name)

    async def kill(self, signal: str, timeout_s: float) -> None:
        """End the task: after ``kill_after`` by itself, else by force at `timeout_s`."""
        self._task.signals.append(signal or "SIGINT")
        after = self._task.config.kill_after_s
        if after:
            await self._clock.sleep(min(after, timeout_s))
        self._task.end(Exit(signal=9) if after > timeout_s else Exit())

    async def usage(self) -> TaskUsage:
        """Nothing is used."""
        return TaskUsage(measured_cpu=("Percent",), measured_memory=("RSS",))

    async def execute(self, command: list[str], *, tty: bool) -> MockExec:
        """A session that prints its command and exits 0."""
        return MockExec(command)

    async def destroy(self) -> None:
        """Forget the ended task."""
        if self._machine.tasks.get(self._id) is self._task:
            del self._machine.tasks[self._id]


class MockExec:
    """An exec session that echoes its command, then whatever it is fed, until stdin ends."""

    def __init__(self, command: list[str]) -> None:
        self.sizes: list[tuple[int, int]] = []
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._out.put_nowait((" ".join(command) + "\n").encode())
        self._ended = asyncio.Event()

    async def write(self, data: bytes) -> None:
        """Echo it."""
        self._out.put_nowait(data)

    async def close_stdin(self) -> None:
        """The end."""
        self._out.put_nowait(None)

    async def resize(self, height: int, width: int) -> None:
        """Remember it."""
        self.sizes.append((height, width))

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """What was echoed."""
        while (data := await self._out.get()) is not None:
            yield "stdout", data
        self._ended.set()

    async def wait(self) -> int:
        """0, once the output has ended."""
        await self._ended.wait()
        return 0

    async def kill(self) -> None:
        """End it."""
        self._out.put_nowait(None)
        self._ended.set()


class MockDriver:
    """Starts tasks that only pretend."""

    name = "mock_driver"
    capabilities = Capabilities(mounts=True)

    def __init__(self, clock: Clock, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self.healthy = True
        self._clock = clock

    async def fingerprint(self) -> DriverInfo:
        """Always there."""
        return DriverInfo(
            attributes={"driver.mock_driver": "1"}, detected=True, healthy=self.healthy,
            health_description="Healthy" if self.healthy else "made unhealthy",
            update_time=from_unix(self._clock.now()),
        )  # fmt: skip

    def validate(self, config: Mapping[str, Any]) -> list[str]:
        """Unknown keys and values that cannot be read."""
        return read_config(config)[1]

    async def start(self, spec: TaskSpec, emit: EmitEvent) -> MockHandle:
        """Start, or fail as configured."""
        config, problems = read_config(spec.config)
        if problems:
            raise DriverError("; ".join(problems))
        if config.start_block_for_s:
            await self._clock.sleep(config.start_block_for_s)
        if config.start_error:
            raise DriverError(config.start_error, recoverable=config.start_error_recoverable)
        task = MockTask(config, self._clock, spec)
        self.machine.tasks[spec.id] = task
        self.machine.starts.append(spec.id)
        return MockHandle(spec.id, task, self.machine, self._clock)

    async def recover(self, spec: TaskSpec, state: Mapping[str, Any]) -> MockHandle | None:
        """Find the task in the machine's table."""
        task = self.machine.tasks.get(spec.id)
        if task is None or task.attempt != state.get("attempt", task.attempt):
            return None
        return MockHandle(spec.id, task, self.machine, self._clock)

    async def close(self) -> None:
        """Tasks run on."""


def create(context: DriverContext) -> MockDriver:
    """The driver for a node."""
    return MockDriver(context.clock)
