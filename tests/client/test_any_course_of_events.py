"""Random courses: orders, failures, lost connections, killed agents. The promises hold at the end of each."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from rove.client.drivers.base import Exit
from rove.errors import RoveError
from rove.structs.alloc import Desired
from rove.structs.messages import Empty, Kind, RestartRequest
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until

VERSIONS = 6


def a_random_job(rng: random.Random, version: int) -> object:
    tasks = [a_task("main", restart_policy=fast_restarts(rng.randrange(4)), leader=rng.random() < 0.3)]
    if rng.random() < 0.5:
        tasks.append(a_task("init", hook="prestart", config={"run_for": "1ms"}, restart_policy=fast_restarts(1)))
    if rng.random() < 0.5:
        tasks.append(a_task("side", hook="prestart", sidecar=True, restart_policy=fast_restarts(1)))
    if rng.random() < 0.5:
        tasks.append(a_task("clean", hook="poststop", config={"run_for": "1ms"}, restart_policy=fast_restarts(1)))
    return a_job(*tasks, version=version)


@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_left_and_nothing_runs_twice(world: World, seed: int) -> None:
    rng = random.Random(seed)
    jobs = [a_random_job(rng, version) for version in range(VERSIONS)]
    wanted: dict[str, object] = {}
    client = await world.agent()
    for turn in range(60):
        match rng.randrange(8):
            case 0 | 1:
                alloc = an_alloc(rng.choice(jobs), turn)  # type: ignore[arg-type]
                wanted[alloc.id] = alloc
                await tell(world, alloc)
            case 2 if wanted:
                old = rng.choice(list(wanted.values()))
                fresh = msgspec.structs.replace(old, desired_status=Desired.STOP, modify_index=old.modify_index + 1)
                wanted[old.id] = fresh
                await tell(world, fresh)
            case 3 if world.machine.running:
                world.machine.tasks[rng.choice(world.machine.running)].end(Exit(code=rng.randrange(2)))
            case 4:
                await world.server.disconnect()
                await until(client.link.up.is_set)
            case 5:
                await world.kill(client)
                client = await world.agent()
            case 6 if wanted:
                try:
                    request = RestartRequest(alloc_id=rng.choice(list(wanted)), all_tasks=rng.random() < 0.5)
                    await world.server.call(Kind.ALLOC_RESTART, request, Empty)
                except RoveError:
                    pass
        for _ in range(rng.randrange(5)):
            await asyncio.sleep(0)
        assert len(set(world.machine.running)) == len(world.machine.running)
    await until(client.link.up.is_set)
    for alloc in list(wanted.values()):
        await tell(world, msgspec.structs.replace(alloc, desired_status=Desired.STOP, modify_index=1000))
    await until(lambda: all(world.server.status(alloc) in ("complete", "failed") for alloc in wanted.values()))
    assert not world.machine.running
    await world.server.send(full=True)
    await until(lambda: not client.runners)
    await until(lambda: [entry.name for entry in (world.data_dir / "alloc").iterdir()] == [".staging"])
    await until(lambda: not list((world.data_dir / "client" / "allocs").iterdir()))
    await until(lambda: not list((world.data_dir / "client" / "tasks").iterdir()))


async def tell(world: World, alloc: object) -> None:
    """A server tells again after a reconnect, so a message that is lost with a connection does no harm."""
    while True:
        try:
            await world.server.send(alloc)  # type: ignore[arg-type]
            return
        except RoveError:
            await asyncio.sleep(0.005)
