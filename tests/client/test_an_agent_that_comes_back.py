"""Tasks outlive the agent: the next one finds them, and restarts nothing."""

from __future__ import annotations

import asyncio

import msgspec

from rove.client.client import Client
from rove.client.drivers.base import Exit
from rove.client.state import LocalState
from rove.client.taskrunner.core import Phase
from rove.structs.alloc import Allocation
from rove.structs.job import EphemeralDisk, JobType, UpdateStrategy
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until


async def saved(world: World, *allocs: object) -> None:
    """Wait until the newest agent has the handles of all running tasks on disk."""
    client = world.agents[-1]
    await until(lambda: all(task.record.handle for runner in client.runners.values() for task in runner.tasks.values()))
    await client.state.save_record("flush", next(iter(client.runners.values())).record)
    await client.state.forget("flush")


async def test_running_tasks_are_found_again_without_a_restart(world: World) -> None:
    client = await world.agent()
    allocs = [an_alloc(a_job(), number) for number in range(5)]
    await world.server.send(*allocs)
    for alloc in allocs:
        await world.server.until_status(alloc, "running")
    await saved(world)
    started = {alloc.id: world.server.newest[alloc.id].task_states["main"].started_at for alloc in allocs}
    last = {alloc.id: world.server.newest[alloc.id].sequence for alloc in allocs}
    await world.kill(client)

    again = await world.agent()
    assert again.node.id == client.node.id
    assert set(world.server.registrations[-1].alloc_ids) == {alloc.id for alloc in allocs}
    await until(lambda: all(world.server.newest[alloc.id].sequence > last[alloc.id] for alloc in allocs))
    assert len(world.machine.starts) == 5
    for alloc in allocs:
        state = (await world.server.until_status(alloc, "running")).task_states["main"]
        assert state.restarts == 0
        assert state.started_at == started[alloc.id]


async def test_an_exit_that_happened_meanwhile_is_reported_with_its_code(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(restart_policy=fast_restarts(attempts=0)), job_type=JobType.BATCH))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await saved(world)
    await world.kill(client)
    world.machine.tasks[f"{alloc.id}/main"].end(Exit(code=42))

    await world.agent()
    update = await world.server.until_status(alloc, "failed")
    terminated = [event for event in update.task_states["main"].events if event.type == "Terminated"]
    assert [event.details["exit_code"] for event in terminated] == ["42"]
    assert len(world.machine.starts) == 1


async def test_a_task_that_is_gone_without_a_trace_is_restarted_by_its_policy(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(restart_policy=fast_restarts())))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await saved(world)
    await world.kill(client)
    world.machine.tasks.clear()

    await world.agent()
    await until(lambda: len(world.machine.starts) == 2)
    await until(lambda: "Failed Restoring Task" in world.server.event_types(alloc))
    assert (await world.server.until_status(alloc, "running")).task_states["main"].restarts == 1


async def test_a_job_stopped_while_the_agent_was_away_is_stopped_when_it_is_back(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await saved(world)
    await world.kill(client)
    world.server.allocs[alloc.id] = msgspec.structs.replace(alloc, desired_status="stop", modify_index=20)

    await world.agent()
    await world.server.until_status(alloc, "complete")
    assert not world.machine.running


async def test_what_the_server_no_longer_knows_is_ended_and_removed(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await saved(world)
    await world.kill(client)
    world.server.allocs.clear()

    again = await world.agent()
    await until(lambda: not again.runners and not world.machine.running)
    await until(lambda: not (world.data_dir / "alloc" / alloc.id).exists())
    await until(lambda: not list((world.data_dir / "client" / "allocs").iterdir()))


async def test_a_directory_that_nobody_owns_is_removed(world: World) -> None:
    stray = world.data_dir / "alloc" / "11111111-0000-4000-8000-000000000000"
    (stray / "alloc").mkdir(parents=True)
    await world.agent()
    await until(lambda: not stray.exists())


async def test_sequence_numbers_rise_over_a_restart(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    last = (await world.server.until_status(alloc, "running")).sequence
    for _ in range(3):  # also when no agent lives long enough to save anything
        await world.kill(client)
        client = await world.agent()
        await until(lambda: world.server.newest[alloc.id].sequence >> 20 > last >> 20)  # noqa: B023
        last = world.server.newest[alloc.id].sequence


async def test_an_end_is_not_repeated_after_a_restart(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(config={"run_for": "1ms"}), job_type=JobType.BATCH))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "complete")
    await until(client.runners[alloc.id].ended.is_set)
    await world.kill(client)
    again = await world.agent()
    await until(again.runners[alloc.id].ended.is_set)
    assert len(world.machine.starts) == 1


async def test_a_graceful_stop_leaves_tasks_running(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await client.stop()
    world.agents.remove(client)
    assert world.machine.running == [f"{alloc.id}/main"]
    await world.agent()
    await until(lambda: world.server.status(alloc) == "running")
    assert len(world.machine.starts) == 1


async def test_a_draining_stop_ends_tasks_and_reports_it(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await client.stop(drain=True)
    world.agents.remove(client)
    assert world.server.status(alloc) == "complete"
    assert not world.machine.running


async def test_in_dev_mode_nothing_outlives_the_agent(world: World) -> None:
    client = await world.agent(destroy_on_shutdown=True)
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await client.stop()
    world.agents.remove(client)
    assert not world.machine.running
    assert not (world.data_dir / "alloc" / alloc.id).exists()


async def test_a_wait_before_a_restart_goes_on_after_the_agent_is_back(world: World) -> None:
    client = await world.agent()
    policy = fast_restarts(attempts=5, delay=3600 * 1_000_000_000)
    alloc = an_alloc(a_job(a_task(config={"run_for": "1ms", "exit_code": 1}, restart_policy=policy)))
    await world.server.send(alloc)
    await until(lambda: world.server.newest.get(alloc.id) and "Restarting" in world.server.event_types(alloc))
    await client.stop()
    world.agents.remove(client)
    await world.agent()
    await until(lambda: len(world.machine.starts) == 2)


async def test_a_kill_at_any_moment_of_a_start_leaves_one_task_or_none_to_find(world: World) -> None:
    for number in range(30):
        client = await world.agent()
        alloc = an_alloc(a_job(), number)
        await world.server.send(alloc)
        for _ in range(number):
            await asyncio.sleep(0)
        await world.kill(client)
        again = await world.agent()
        await world.server.until_status(alloc, "running")
        assert world.machine.starts.count(f"{alloc.id}/main") == 1
        await saved(world)
        await world.kill(again)


async def test_a_task_whose_allocation_nobody_knows_any_more_is_ended(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await saved(world)
    await world.kill(client)
    world.server.allocs.clear()
    for path in (world.data_dir / "client" / "allocs").iterdir():
        path.unlink()

    await world.agent()
    await until(lambda: not world.machine.running)
    await until(lambda: not (world.data_dir / "client" / "tasks" / alloc.id).exists())


async def test_an_end_that_the_server_has_heard_is_not_told_at_every_reconnect(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(config={"run_for": "1ms"}), job_type=JobType.BATCH))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "complete")
    await until(lambda: client.runners[alloc.id].end_acknowledged and client.runners[alloc.id].ended.is_set())
    await until(lambda: not client.reporter.owes(alloc.id))
    told = len(world.server.updates)
    other = an_alloc(a_job(version=1), 1)
    await world.server.disconnect()
    await until(lambda: len(world.server.registrations) == 2)
    await world.server.send(other)
    await world.server.until_status(other, "running")
    assert [update.id for update in world.server.updates[told:] if update.id == alloc.id] == []


async def test_a_deployment_that_began_just_before_the_agent_died_still_hears_of_health(world: World) -> None:
    client = await world.agent()
    update = UpdateStrategy(health_check="task_states", min_healthy_time=1_000_000, healthy_deadline=60_000_000_000)
    alloc = an_alloc(a_job(update=update), deployment_id="d-1")
    await world.server.send(alloc)
    await until(lambda: world.server.newest.get(alloc.id) and world.server.newest[alloc.id].healthy)
    record = client.runners[alloc.id].record
    await world.kill(client)
    state = LocalState(world.data_dir / "client")
    state.open()
    await state.save_alloc(msgspec.structs.replace(alloc, deployment_id="d-2", modify_index=20))
    await state.save_record(alloc.id, record)
    await state.close()
    world.server.allocs[alloc.id] = msgspec.structs.replace(alloc, deployment_id="d-2", modify_index=20)
    before = world.server.newest[alloc.id].healthy_time
    await world.agent()
    await until(lambda: world.server.newest[alloc.id].healthy and world.server.newest[alloc.id].healthy_time > before)
    assert len(world.machine.starts) == 1


async def test_a_start_under_way_is_finished_before_the_agent_stops(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(config={"start_block_for": "300ms"}, restart_policy=fast_restarts(attempts=0))))
    await world.server.send(alloc)
    await until(lambda: client.runners[alloc.id].tasks["main"].machine.phase in (Phase.LAUNCHING, Phase.RUNNING))
    await client.stop()
    world.agents.remove(client)
    assert world.machine.running == [f"{alloc.id}/main"]
    await world.agent()
    assert (await world.server.until_status(alloc, "running")).task_states["main"].restarts == 0
    assert len(world.machine.starts) == 1


SLOW = {"config": {"kill_after": "1h"}, "kill_timeout": 3600 * 1_000_000_000}


async def ending(world: World, alloc: Allocation) -> None:
    """Wait until the task has been told to end, which it takes its time for."""
    await until(lambda: world.machine.tasks[f"{alloc.id}/main"].signals)


async def test_a_replacement_still_waits_for_its_predecessor_after_the_agent_is_back(world: World) -> None:
    client = await world.agent()
    job = a_job(a_task(**SLOW))
    group = msgspec.structs.replace(job.task_groups[0], ephemeral_disk=EphemeralDisk(sticky=True))
    job = msgspec.structs.replace(job, task_groups=(group,))
    old = an_alloc(job, 2)
    new = an_alloc(job, 1, previous_allocation=old.id)  # found on disk before its predecessor
    await world.server.send(old)
    await world.server.until_status(old, "running")
    await saved(world)
    (world.data_dir / "alloc" / old.id / "alloc/data/kept").write_text("precious")
    await world.server.send(new, msgspec.structs.replace(old, desired_status="stop", modify_index=20))
    await ending(world, old)
    await until(lambda: (world.data_dir / "client/allocs" / f"{new.id}.alloc").exists())
    await world.kill(client)

    again = await world.agent()
    await again.runners[old.id].wait_opened()
    await again.runners[new.id].wait_opened()
    await until(lambda: len(world.machine.tasks[f"{old.id}/main"].signals) > 1)
    assert world.machine.starts == [f"{old.id}/main"]
    world.machine.tasks[f"{old.id}/main"].end(Exit())
    await world.server.until_status(new, "running")
    assert (world.data_dir / "alloc" / new.id / "alloc/data/kept").read_text() == "precious"


async def test_a_stop_that_only_the_node_knows_of_is_not_forgotten(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(**SLOW, restart_policy=fast_restarts())))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    client.runners[alloc.id].stop(description="it has run long enough")
    await ending(world, alloc)
    await world.kill(client)
    world.machine.tasks[f"{alloc.id}/main"].end(Exit(code=1))

    await world.agent()
    update = await world.server.until_status(alloc, "complete")
    assert update.client_description == "it has run long enough"
    assert len(world.machine.starts) == 1
    assert "Restarting" not in world.server.event_types(alloc)


async def test_a_stop_ordered_before_the_task_was_told_is_not_forgotten(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(shutdown_delay=3600 * 1_000_000_000))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    client.runners[alloc.id].stop(description="it has run long enough")
    await until(lambda: "Waiting for shutdown delay" in event_types(client, alloc))
    await world.kill(client)

    await world.agent()
    assert (await world.server.until_status(alloc, "complete")).client_description == "it has run long enough"


def event_types(client: Client, alloc: Allocation) -> list[str]:
    return [str(event.type) for event in client.runners[alloc.id].tasks["main"].machine.state.events]


async def test_a_restart_under_way_is_carried_on_and_not_counted(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(**SLOW, restart_policy=fast_restarts(attempts=0))))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    client.runners[alloc.id].restart("main", all_tasks=False, reason="asked for by a person")
    await ending(world, alloc)
    await world.kill(client)
    world.machine.tasks[f"{alloc.id}/main"].end(Exit(code=1))

    await world.agent()
    await until(lambda: len(world.machine.starts) == 2)
    await until(lambda: world.server.newest[alloc.id].task_states["main"].restarts == 1)
    assert (await world.server.until_status(alloc, "running")).task_states["main"].failed is False
