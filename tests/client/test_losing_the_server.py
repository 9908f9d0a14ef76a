"""Without a server the node goes on; with it again, it says what happened."""

from __future__ import annotations

import msgspec

from rove.client.drivers.base import Exit
from rove.client.link import Dialer, _has_port
from rove.structs.alloc import AllocStatus
from rove.structs.job import DisconnectStrategy
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until


async def test_the_node_registers_again_after_a_loss(world: World) -> None:
    client = await world.agent()
    await world.server.disconnect()
    await until(lambda: len(world.server.registrations) == 2)
    await until(client.link.up.is_set)


async def test_a_server_that_does_not_answer_is_dialled_until_it_does(world: World) -> None:
    world.server.refuses = True
    client = await world.agent()
    await until(lambda: client.link.attempts >= 3)
    world.server.refuses = False
    await until(client.link.up.is_set)


async def test_a_server_that_has_forgotten_the_node_gets_it_again(world: World) -> None:
    world.server.ttl_s = 0.3
    await world.agent()
    world.server.forgets_node = True
    await until(lambda: len(world.server.registrations) == 2)


async def test_heartbeats_are_sent_while_nothing_else_is(world: World) -> None:
    world.server.ttl_s = 0.3
    await world.agent()
    await until(lambda: world.server.heartbeats >= 3)


async def test_tasks_run_on_and_are_restarted_without_a_server(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(a_task(restart_policy=fast_restarts())))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    world.server.refuses = True
    await world.server.disconnect()
    world.machine.tasks[f"{alloc.id}/main"].end(Exit(code=1))
    await until(lambda: len(world.machine.starts) == 2 and world.machine.running)
    world.server.refuses = False
    await until(lambda: world.server.newest[alloc.id].task_states["main"].restarts == 1)
    await until(lambda: "Reconnected" in world.server.event_types(alloc))


async def test_an_end_without_a_server_is_reported_later(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(a_task(restart_policy=fast_restarts(attempts=0))))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    world.server.refuses = True
    await world.server.disconnect()
    world.machine.tasks[f"{alloc.id}/main"].end(Exit(code=7))
    world.server.refuses = False
    await world.server.until_status(alloc, "failed")


async def test_an_allocation_that_the_server_gave_up_is_reported_running_again(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    seen = len(world.server.updates)
    await world.server.send(
        msgspec.structs.replace(alloc, client_status=AllocStatus.UNKNOWN, modify_index=alloc.modify_index + 1)
    )
    await until(lambda: len(world.server.updates) > seen)
    assert world.server.status(alloc) == "running"


async def test_what_must_not_run_alone_stops_when_its_time_is_up(world: World) -> None:
    client = await world.agent()
    strict = an_alloc(a_job(disconnect=DisconnectStrategy(stop_on_client_after=20_000_000)), 1)
    free = an_alloc(a_job(version=1), 2)
    await world.server.send(strict, free)
    await world.server.until_status(strict, "running")
    await world.server.until_status(free, "running")
    world.server.refuses = True
    await world.server.disconnect()
    await until(client.runners[strict.id].ended.is_set)
    assert world.machine.running == [f"{free.id}/main"]


async def test_an_older_message_about_an_allocation_is_ignored(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(msgspec.structs.replace(alloc, modify_index=30))
    await world.server.until_status(alloc, "running")
    await world.server.send(msgspec.structs.replace(alloc, modify_index=20, desired_status="stop"))
    assert not client.runners[alloc.id].stopping


async def test_an_allocation_stopped_before_it_ran_is_complete(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(), desired_status="stop")
    await world.server.send(alloc)
    await world.server.until_status(alloc, "complete")
    assert world.machine.starts == []


async def test_an_unusable_allocation_fails_alone(world: World) -> None:
    await world.agent()
    bad = an_alloc(a_job(), 1, task_group="nobody")
    good = an_alloc(a_job(), 2)
    await world.server.send(bad, good)
    update = await world.server.until_status(bad, "failed")
    assert 'no group "nobody"' in update.client_description
    await world.server.until_status(good, "running")


def test_addresses_may_carry_a_port() -> None:
    assert _has_port("host:4647")
    assert _has_port("[::1]:4647")
    assert not _has_port("host")
    assert not _has_port("[::1]")


async def test_servers_are_tried_in_turn() -> None:
    dialer = Dialer(("127.0.0.1:1", "127.0.0.1:2"))
    refused = []
    for _ in range(3):
        try:
            await dialer()
        except OSError as error:
            refused.append(str(error))
    await dialer.close()
    assert [":1 " in text.replace(",", " ").replace("]", " ") or "1)" in text for text in refused].count(True) >= 1
    assert len(refused) == 3
