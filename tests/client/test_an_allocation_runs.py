"""From the server's message to the report of its end."""

from __future__ import annotations

from rove.structs.job import JobType
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until


async def test_a_node_registers_with_what_was_found(world: World) -> None:
    client = await world.agent(datacenter="dc7", meta={"rack": "r1"})
    node = world.server.registrations[0].node
    assert node.id == client.node.id
    assert node.datacenter == "dc7"
    assert node.meta == {"rack": "r1"}
    assert node.drivers["mock_driver"].healthy
    assert node.computed_class.startswith("v1:")


async def test_an_allocation_runs_and_is_reported(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "running")
    assert world.machine.running == [f"{alloc.id}/main"]
    assert update.task_states["main"].started_at is not None
    assert world.server.event_types(alloc) == ["Received", "Task Setup", "Started"]
    assert (world.data_dir / "alloc" / alloc.id / "main" / "local").is_dir()


async def test_a_stop_ends_the_task_and_is_reported_complete(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await world.server.stop(alloc)
    update = await world.server.until_status(alloc, "complete")
    assert not world.machine.running
    assert not update.task_states["main"].failed
    assert world.server.event_types(alloc)[-3:] == ["Killing", "Terminated", "Killed"]


async def test_a_batch_task_that_exits_zero_is_complete(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(a_task(config={"run_for": "1ms"}), job_type=JobType.BATCH))
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "complete")
    assert update.task_states["main"].restarts == 0


async def test_a_failing_task_is_restarted_until_its_policy_is_used_up(world: World) -> None:
    await world.agent()
    task = a_task(config={"run_for": "1ms", "exit_code": 3}, restart_policy=fast_restarts(attempts=2))
    alloc = an_alloc(a_job(task))
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "failed")
    assert len(world.machine.starts) == 3
    assert update.task_states["main"].restarts == 2
    assert update.task_states["main"].failed
    assert world.server.event_types(alloc)[-2:] == ["Terminated", "Not Restarting"]


async def test_a_driver_that_refuses_fails_the_task_at_once(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(a_task(config={"start_error": "no such image"}, restart_policy=fast_restarts(5))))
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "failed")
    failure = [event for event in update.task_states["main"].events if event.type == "Driver Failure"]
    assert len(failure) == 1
    assert "no such image" in failure[0].display_message


async def test_reports_carry_rising_sequence_numbers(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await world.server.stop(alloc)
    await world.server.until_status(alloc, "complete")
    sequences = [update.sequence for update in world.server.updates if update.id == alloc.id]
    assert sequences == sorted(set(sequences))


async def test_a_hundred_allocations_start_together(world: World) -> None:
    client = await world.agent()
    allocs = [an_alloc(a_job(), number) for number in range(100)]
    await world.server.send(*allocs)
    await until(lambda: all(world.server.status(alloc) == "running" for alloc in allocs))
    await until(lambda: all(runner.tasks["main"].record.handle for runner in client.runners.values()))
    assert client.state.writes < 100  # fsyncs of many tasks are shared
