"""Delays and deadlines, exactly, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rove.structs.alloc import AllocUpdate
from rove.structs.job import DisconnectStrategy, JobType, RestartPolicy, UpdateStrategy
from rove.testing import virtual_time
from rove.testing.node_agent import World, a_job, a_task, an_alloc, until

S = 1_000_000_000
HOUR = 3600.0


def in_virtual_time(tmp_path: Path, course: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(tmp_path, virtual_time.VirtualClock(), virtual_time.in_place)
        await course(world)
        await world.close()

    virtual_time.run(run())


async def seconds_until(world: World, condition: Callable[[], Any]) -> float:
    start = world.clock.monotonic()
    await until(condition, 100 * HOUR, every_s=0.01)
    return world.clock.monotonic() - start


def newest(world: World, alloc: Any) -> AllocUpdate | None:
    return world.server.newest.get(alloc.id)


def test_restarts_wait_for_their_delay_and_no_more_than_a_quarter_longer(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        await world.agent()
        policy = RestartPolicy(attempts=2, interval=1800 * S, delay=15 * S, mode="fail")
        alloc = an_alloc(a_job(a_task(config={"run_for": "1s", "exit_code": 1}, restart_policy=policy)))
        await world.server.send(alloc)
        took = await seconds_until(world, lambda: world.server.status(alloc) == "failed")
        assert 3 * 1 + 2 * 15 <= took <= 3 * 1 + 2 * 15 * 1.25 + 1

    in_virtual_time(tmp_path, course)


def test_mode_delay_never_gives_up(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        await world.agent()
        policy = RestartPolicy(attempts=1, interval=600 * S, delay=5 * S, mode="delay")
        alloc = an_alloc(a_job(a_task(config={"run_for": "1s", "exit_code": 1}, restart_policy=policy)))
        await world.server.send(alloc)
        await world.clock.sleep(10 * HOUR)
        assert world.server.status(alloc) in ("running", "pending")
        assert 2 * 50 <= len(world.machine.starts) <= 2 * 62

    in_virtual_time(tmp_path, course)


def test_an_allocation_is_healthy_after_its_minimum_time(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        await world.agent()
        update = UpdateStrategy(health_check="checks", min_healthy_time=10 * S, healthy_deadline=300 * S)
        alloc = an_alloc(a_job(update=update), deployment_id="d")
        await world.server.send(alloc)
        took = await seconds_until(world, lambda: (report := newest(world, alloc)) and report.healthy)
        assert took == pytest.approx(10, abs=0.1)

    in_virtual_time(tmp_path, course)


def test_failing_checks_make_it_unhealthy_at_the_deadline_and_a_pull_is_not_charged(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        client = await world.agent()
        update = UpdateStrategy(health_check="checks", min_healthy_time=10 * S, healthy_deadline=300 * S)
        alloc = an_alloc(a_job(a_task(config={"start_block_for": "400s"}), update=update), deployment_id="d")
        await world.server.send(alloc)
        client.runners[alloc.id].set_checks(None, 'check "ping" fails')
        took = await seconds_until(
            world, lambda: (report := newest(world, alloc)) is not None and report.healthy is False
        )
        assert took == pytest.approx(700, abs=0.2)
        assert world.server.event_types(alloc)[-1] == "Alloc Unhealthy"

    in_virtual_time(tmp_path, course)


def test_heartbeats_come_at_a_third_of_the_time_allowed(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        world.server.ttl_s = 30.0
        await world.agent()
        await world.clock.sleep(HOUR)
        assert 360 <= world.server.heartbeats <= 400

    in_virtual_time(tmp_path, course)


def test_dialling_backs_off_to_its_limit(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        world.server.refuses = True
        client = await world.agent(reconnect_min_s=0.25, reconnect_max_s=15.0)
        await world.clock.sleep(HOUR)
        assert HOUR / 15 <= client.link.attempts <= HOUR / 7

    in_virtual_time(tmp_path, course)


def test_an_idle_node_sends_no_reports(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        await world.agent()
        alloc = an_alloc(a_job())
        await world.server.send(alloc)
        await world.server.until_status(alloc, "running")
        await world.clock.sleep(1)
        told = world.server.messages
        await world.clock.sleep(24 * HOUR)
        assert world.server.messages == told

    in_virtual_time(tmp_path, course)


def test_what_must_not_run_alone_stops_exactly_when_its_time_is_up(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        await world.agent()
        early = an_alloc(a_job(disconnect=DisconnectStrategy(stop_on_client_after=60 * S), version=1), 1)
        late = an_alloc(a_job(disconnect=DisconnectStrategy(stop_on_client_after=300 * S), version=2), 2)
        await world.server.send(early, late)
        await until(lambda: len(world.machine.running) == 2)
        world.server.refuses = True
        await world.server.disconnect()
        assert await seconds_until(world, lambda: len(world.machine.running) == 1) == pytest.approx(60, abs=0.2)
        assert await seconds_until(world, lambda: not world.machine.running) == pytest.approx(240, abs=0.2)

    in_virtual_time(tmp_path, course)


def test_a_short_loss_stops_nothing(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        await world.agent()
        alloc = an_alloc(a_job(disconnect=DisconnectStrategy(stop_on_client_after=60 * S)))
        await world.server.send(alloc)
        await world.server.until_status(alloc, "running")
        for _ in range(10):
            world.server.refuses = True
            await world.server.disconnect()
            await world.clock.sleep(50)
            world.server.refuses = False
            await until(lambda: world.agents[0].link.up.is_set())
        assert world.machine.running

    in_virtual_time(tmp_path, course)


def test_a_wall_clock_that_jumps_by_years_ends_nothing(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        await world.agent()
        alloc = an_alloc(a_job())
        await world.server.send(alloc)
        await world.server.until_status(alloc, "running")
        assert isinstance(world.clock, virtual_time.VirtualClock)
        for offset in (3600.0, 10 * 365 * 86400.0, -3600.0):
            world.clock.offset = offset
            await world.clock.sleep(60)
        assert world.machine.starts == [f"{alloc.id}/main"]
        assert len(world.server.registrations) == 1

    in_virtual_time(tmp_path, course)


def test_a_batch_run_is_limited(tmp_path: Path) -> None:
    async def course(world: World) -> None:
        await world.agent()
        alloc = an_alloc(a_job(job_type=JobType.BATCH, max_run_duration=7200 * S))
        await world.server.send(alloc)
        took = await seconds_until(world, lambda: world.server.status(alloc) == "complete")
        assert took == pytest.approx(7200, abs=0.2)

    in_virtual_time(tmp_path, course)
