"""The node with raw_exec: real processes that outlive the agent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rove.client.client import Client
from rove.client.drivers.registry import load_drivers
from rove.client.settings import ClientSettings
from rove.ports.real import RealClock, RealIds
from rove.structs.job import JobType
from rove.testing.node_agent import FakeServer, a_job, a_task, an_alloc, fake_fingerprint, fast_restarts, until


class Node:
    """Agents with raw_exec that come and go on one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.server = FakeServer()
        self.client: Client | None = None

    async def start(self) -> Client:
        drivers = load_drivers(
            data_dir=self.data_dir, clock=RealClock(), configs={"raw_exec": {"enabled": True}}, allow=["raw_exec"]
        )
        self.client = Client(
            ClientSettings(data_dir=self.data_dir, reconnect_min_s=0.01), clock=RealClock(), ids=RealIds(),
            drivers=drivers, fingerprint=fake_fingerprint, connect=self.server.connect,
        )  # fmt: skip
        await self.client.start()
        await until(self.client.link.up.is_set)
        return self.client

    async def stop(self, *, drain: bool = False) -> None:
        if self.client is not None:
            await self.client.stop(drain=drain)
            self.client = None


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    yield node
    if node.client is None:
        await node.start()
    await node.stop(drain=True)
    await node.server.close()


def raw(*argv: str, **fields: Any) -> Any:
    return a_task(driver="raw_exec", config={"command": argv[0], "args": list(argv[1:])}, **fields)


def pid_of(client: Client, alloc: Any) -> int:
    return int(client.runners[alloc.id].tasks["main"].handle.pid)  # type: ignore[union-attr]


async def test_the_same_process_runs_on_under_the_next_agent(node: Node) -> None:
    client = await node.start()
    alloc = an_alloc(a_job(raw("/bin/sleep", "600")))
    await node.server.send(alloc)
    await node.server.until_status(alloc, "running")
    pid = pid_of(client, alloc)
    await node.stop()
    os.kill(pid, 0)

    again = await node.start()
    await until(lambda: again.runners[alloc.id].tasks["main"].handle is not None)
    assert pid_of(again, alloc) == pid
    assert again.runners[alloc.id].states["main"].restarts == 0
    await node.server.stop(alloc)
    await node.server.until_status(alloc, "complete")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_sees_its_environment_and_its_directories(node: Node) -> None:
    await node.start()
    script = 'echo "$NOMAD_ALLOC_ID $NOMAD_TASK_NAME"; echo data > "$NOMAD_TASK_DIR/out"; pwd'
    alloc = an_alloc(a_job(raw("/bin/sh", "-c", script), job_type=JobType.BATCH))
    await node.server.send(alloc)
    await node.server.until_status(alloc, "complete")
    root = node.data_dir / "alloc" / alloc.id
    lines = (root / "alloc/logs/main.stdout.0").read_text().splitlines()
    assert lines == [f"{alloc.id} main", str(root / "main")]
    assert (root / "main/local/out").read_text() == "data\n"


async def test_an_exit_code_is_reported(node: Node) -> None:
    await node.start()
    alloc = an_alloc(a_job(raw("/bin/sh", "-c", "exit 7", restart_policy=fast_restarts(0)), job_type=JobType.BATCH))
    await node.server.send(alloc)
    update = await node.server.until_status(alloc, "failed")
    codes = [event.details["exit_code"] for event in update.task_states["main"].events if event.type == "Terminated"]
    assert codes == ["7"]


async def test_a_program_that_does_not_exist_fails_with_its_name(node: Node) -> None:
    await node.start()
    alloc = an_alloc(a_job(raw("/no/such/program", restart_policy=fast_restarts(0))))
    await node.server.send(alloc)
    update = await node.server.until_status(alloc, "failed")
    assert any("/no/such/program" in event.display_message for event in update.task_states["main"].events)
