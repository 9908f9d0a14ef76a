"""What a task driver is: starts one kind of task, and finds it again after the agent was restarted.

A driver is one file with one class, found by the entry point group ``rove.drivers``. The task runner
above it knows nothing of how a task runs. Every driver passes `tests/client/drivers/contract.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from rove.structs.job import DNSConfig, LogConfig
from rove.structs.node import DriverInfo
from rove.structs.resources import AllocatedPort, AllocatedTask


class DriverError(Exception):
    """A task could not be started or reached.

    what: one line for people, no secrets. recoverable: True if trying again may help, so that the
    restart policy applies; False fails the task at once.
    """

    def __init__(self, what: str, *, recoverable: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.recoverable = recoverable


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A host directory that the task sees."""

    host_path: str
    task_path: str
    read_only: bool = False
    propagation: str = "private"


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a driver needs to start a task; all strings are already interpolated.

    id: "<alloc id>/<task name>", stable over restarts of the task and of the agent.
    attempt: counts starts of this task, from 0; a driver that keeps per-start state names it so.
    config: the job's driver config, interpolated. env: the full environment. dirs are host paths.
    state_dir: a private directory of this task where the driver keeps what it needs to find it again.
    """

    id: str
    alloc_id: str
    job_id: str
    job_name: str
    namespace: str
    group: str
    name: str
    node_id: str
    node_name: str
    attempt: int
    config: dict[str, Any]
    env: dict[str, str]
    user: str
    resources: AllocatedTask
    ports: tuple[AllocatedPort, ...]
    kill_signal: str
    kill_timeout_s: float
    log_config: LogConfig
    alloc_dir: Path
    task_dir: Path
    shared_dir: Path
    """The group's shared ``alloc/`` directory."""
    log_dir: Path
    state_dir: Path
    mounts: tuple[Mount, ...] = ()
    network_mode: str = ""
    hostname: str = ""
    dns: DNSConfig | None = None


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended. signal 0: it exited by itself. error: the driver lost sight of it."""

    code: int = 0
    signal: int = 0
    oom_killed: bool = False
    error: str = ""
    finished_at: float = 0.0

    @property
    def is_success(self) -> bool:
        return self.code == 0 and self.signal == 0 and not self.error and not self.oom_killed


class TaskUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a task uses now. cpu times in ns since its start, memory in bytes."""

    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    cpu_percent: float = 0.0
    total_ticks_mhz: float = 0.0
    throttled_periods: int = 0
    throttled_ns: int = 0
    rss: int = 0
    cache: int = 0
    swap: int = 0
    usage: int = 0
    max_usage: int = 0
    pids: tuple[int, ...] = ()
    measured_cpu: tuple[str, ...] = ()
    measured_memory: tuple[str, ...] = ()


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """fs_isolation: none, chroot, image (decides where the task sees its directories).

    creates_network: the driver publishes ports itself (docker), the runner makes no network.
    """

    fs_isolation: str = "none"
    send_signals: bool = True
    can_exec: bool = True
    mounts: bool = False
    creates_network: bool = False


class ExecSession(Protocol):
    """A command running beside a task."""

    async def write(self, data: bytes) -> None:
        """Feed its stdin."""
        ...

    async def close_stdin(self) -> None: ...

    async def resize(self, height: int, width: int) -> None: ...

    def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """("stdout" | "stderr", bytes) as it comes, until both end."""
        ...

    async def wait(self) -> int:
        """The exit code (128 + n after signal n)."""
        ...

    async def kill(self) -> None:
        """End it; safe to call twice."""
        ...


class TaskHandle(Protocol):
    """A started task."""

    network_address: str
    """The task's own address if the driver gave it one, else ''."""

    def reattach_state(self) -> dict[str, Any]:
        """Plain values from which `Driver.recover` finds the task again; JSON-encodable."""
        ...

    async def wait(self) -> Exit:
        """Return when the task has ended. May be awaited more than once."""
        ...

    async def signal(self, name: str) -> None:
        """Send a signal, "SIGHUP" style. Raises `DriverError`."""
        ...

    async def kill(self, signal: str, timeout_s: float) -> None:
        """Ask the task to end, and force it after `timeout_s`. Returns when it is gone, with all its children."""
        ...

    async def usage(self) -> TaskUsage: ...

    async def execute(self, command: list[str], *, tty: bool) -> ExecSession:
        """Run a command beside the task. Raises `DriverError`."""
        ...

    async def destroy(self) -> None:
        """Remove what is left of an ended task (container, state files)."""
        ...


EmitEvent = Callable[[str, Mapping[str, str]], Awaitable[None]]
"""Tell the task's event log: (message, details); for progress such as an image pull."""


class Driver(Protocol):
    """Starts one kind of task."""

    name: str
    capabilities: Capabilities

    async def fingerprint(self) -> DriverInfo:
        """What the node tells the scheduler: detected, healthy, why not, ``driver.<name>.*`` attributes."""
        ...

    def validate(self, config: Mapping[str, Any]) -> list[str]:
        """Everything wrong with a driver config, one line each; unknown keys included."""
        ...

    async def start(self, spec: TaskSpec, emit: EmitEvent) -> TaskHandle:
        """Start the task. Raises `DriverError`; then nothing of it is left behind."""
        ...

    async def recover(self, spec: TaskSpec, state: Mapping[str, Any]) -> TaskHandle | None:
        """Find a task that an earlier agent started; None if it cannot be found.

        A task that ended meanwhile is found too: its `wait` returns at once with the true exit.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and helpers; tasks run on."""
        ...
