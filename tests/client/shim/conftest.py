"""Real shims in a private folder; whatever a test leaves running is killed after it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rove.client.shim import cgroup, procfs
from rove.client.shim.contract import CgroupSpec, LaunchSpec, PidRecord, encode, read_pid
from rove.client.shim.host import ShimHost

DEADLINE_S = 30.0

AGENT = """
import asyncio, json, sys
from rove.client.shim.contract import LaunchSpec, _decode, _launch_spec
from rove.client.shim.host import ShimHost

async def main():
    host = ShimHost()
    started = []
    for line in json.loads(sys.argv[1]):
        spec = _decode(line.encode(), _launch_spec)
        assert isinstance(spec, LaunchSpec), spec
        started.append((await host.launch(spec)).pid)
    print(json.dumps({"zygote": host.zygote_pid, "pids": started}), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Place:
    """A folder for tasks, and what a test needs to look at them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.logs = base / "logs"
        self.logs.mkdir()

    def spec(self, name: str, *argv: str, grouped: bool = True, **fields: Any) -> LaunchSpec:
        """A task named `name` that runs `argv`."""
        group = CgroupSpec(name=f"test-{os.getpid()}-{self.base.name}-{name}", parent="rove-test")
        return LaunchSpec(
            **{
                "task": name,
                "argv": list(argv),
                "env": {"PATH": os.environ["PATH"], "MARK": name},
                "cwd": str(self.base),
                "state_dir": str(self.base / "state" / name),
                "log_dir": str(self.logs),
                "stdout_name": f"{name}.stdout",
                "stderr_name": f"{name}.stderr",
                "cgroup": group if grouped else None,
                **fields,
            }
        )

    def state(self, name: str) -> str:
        return str(self.base / "state" / name)

    def log(self, name: str, stream: str = "stdout") -> bytes:
        """All files of a log, oldest first."""
        files = sorted(self.logs.glob(f"{name}.{stream}.*"), key=lambda path: int(path.suffix[1:]))
        return b"".join(path.read_bytes() for path in files)

    def record(self, name: str) -> PidRecord:
        record = read_pid(self.state(name))
        assert isinstance(record, PidRecord), record
        return record

    def end_everything(self) -> None:
        for folder in (self.base / "state").glob("*"):
            record = read_pid(str(folder))
            if not isinstance(record, PidRecord) or record.boot_id != procfs.boot_id():
                continue
            if procfs.is_same(record.shim_pid, record.shim_start_ticks):
                for pid in procfs.hold_descendants(record.shim_pid):
                    procfs.send(pid, signal.SIGKILL)
                procfs.send_to(record.shim_pid, record.shim_start_ticks, signal.SIGKILL)
            procfs.send_to(record.pid, record.start_ticks, signal.SIGKILL)
            own = {name: path for name, path in record.cgroup_dirs.items() if "/rove-test/" in path}
            cgroup.kill_all(own)
            give_up = time.monotonic() + 2
            while not cgroup.try_remove(own.values()) and time.monotonic() < give_up:
                time.sleep(0.01)


class Agent:
    """An agent in a process of its own, so that it can be killed."""

    def __init__(self, specs: list[LaunchSpec]) -> None:
        lines = json.dumps([encode(spec).decode() for spec in specs])
        self.process = subprocess.Popen([sys.executable, "-c", AGENT, lines], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.zygote: int = told["zygote"]
        self.pids: list[int] = told["pids"]

    def kill(self) -> None:
        """kill -9 of the agent."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def kill_with_zygote(self) -> None:
        """kill -9 of the zygote and the agent."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.zygote, signal.SIGKILL)
        self.kill()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.end_everything()


@pytest.fixture
async def host() -> AsyncIterator[ShimHost]:
    made = ShimHost()
    yield made
    await made.close()


@pytest.fixture
def start_agent() -> Iterator[Callable[[list[LaunchSpec]], Agent]]:
    agents: list[Agent] = []

    def start(specs: list[LaunchSpec]) -> Agent:
        agents.append(Agent(specs))
        return agents[-1]

    yield start
    for agent in agents:
        agent.kill()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Any]:
    """Wait until a condition holds; fails after a generous deadline."""

    async def wait(condition: Callable[[], object]) -> None:
        give_up = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < give_up, "this never came true"
            await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    def look(pid: int) -> bool:
        stat = procfs.stat_of(pid)
        return stat is not None and stat.alive

    return look
