"""Lifecycle hooks, leaders, delays and predecessors, with a running node."""

from __future__ import annotations

import msgspec

from rove.client.drivers.base import Exit
from rove.structs.job import EphemeralDisk, JobType, NetworkResource, UpdateStrategy
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until

MS = 1_000_000
SECOND = 1000 * MS


def order(world: World, alloc: object) -> list[str]:
    return [task_id.rpartition("/")[2] for task_id in world.machine.starts]


async def test_tasks_start_in_the_order_of_their_lifecycle(world: World) -> None:
    await world.agent()
    job = a_job(
        a_task("clean", hook="poststop", config={"run_for": "1ms"}),
        a_task("after", hook="poststart", config={"run_for": "1ms"}),
        a_task("main"),
        a_task("init", hook="prestart", config={"run_for": "1ms"}),
    )
    alloc = an_alloc(job)
    await world.server.send(alloc)
    await until(lambda: len(world.machine.starts) == 3)
    assert order(world, alloc) == ["init", "main", "after"]
    await world.server.stop(alloc)
    await world.server.until_status(alloc, "complete")
    assert order(world, alloc)[-1] == "clean"


async def test_a_failed_prestart_task_fails_the_allocation_before_main_starts(world: World) -> None:
    await world.agent()
    init = a_task("init", hook="prestart", config={"run_for": "1ms", "exit_code": 1}, restart_policy=fast_restarts(0))
    alloc = an_alloc(a_job(a_task("main"), init))
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "failed")
    assert order(world, alloc) == ["init"]
    assert [event.type for event in update.task_states["main"].events] == ["Received", "Sibling Task Failed"]
    assert not update.task_states["main"].failed


async def test_the_leaders_end_ends_the_allocation(world: World) -> None:
    await world.agent()
    lead = a_task("lead", leader=True, config={"run_for": "20ms"})
    alloc = an_alloc(a_job(lead, a_task("log"), job_type=JobType.BATCH))
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "complete")
    assert "Leader Task Dead" in [event.type for event in update.task_states["log"].events]


async def test_a_sidecar_ends_when_main_has_ended(world: World) -> None:
    await world.agent()
    job = a_job(a_task(config={"run_for": "10ms"}), a_task("side", hook="prestart", sidecar=True),
                job_type=JobType.BATCH)  # fmt: skip
    alloc = an_alloc(job)
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "complete")
    assert "Main Tasks Dead" in [event.type for event in update.task_states["side"].events]


async def test_a_shutdown_delay_comes_before_the_kill(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(a_task(shutdown_delay=10 * MS)))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await world.server.stop(alloc)
    await world.server.until_status(alloc, "complete")
    assert world.server.event_types(alloc)[-4:] == ["Killing", "Waiting for shutdown delay", "Terminated", "Killed"]


async def test_a_shutdown_delay_can_be_skipped(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(a_task(shutdown_delay=3600 * SECOND), shutdown_delay=3600 * SECOND))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    skip = msgspec.structs.replace(alloc.desired_transition, no_shutdown_delay=True)
    await world.server.stop(alloc, desired_transition=skip)
    await world.server.until_status(alloc, "complete")
    assert "Skipping shutdown delay" in world.server.event_types(alloc)


async def test_the_groups_delay_holds_every_task_back(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(shutdown_delay=20 * MS))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await world.server.stop(alloc)
    await world.server.until_status(alloc, "complete")
    types = world.server.event_types(alloc)
    assert types.index("Waiting for shutdown delay") < types.index("Killing")


async def test_the_kill_timeout_is_within_the_nodes_limit(world: World) -> None:
    client = await world.agent(max_kill_timeout_s=0.02)
    alloc = an_alloc(a_job(a_task(config={"kill_after": "1h"}, kill_timeout=3600 * SECOND)))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await world.server.stop(alloc)
    update = await world.server.until_status(alloc, "complete")
    terminated = next(event for event in update.task_states["main"].events if event.type == "Terminated")
    assert terminated.details["signal"] == "9"
    assert client.runners[alloc.id].tasks["main"].kill_timeout_s == 0.02


async def test_a_replacement_waits_until_its_predecessor_has_let_go(world: World) -> None:
    await world.agent()
    slow = a_task(config={"kill_after": "50ms"}, kill_timeout=10 * SECOND)
    old = an_alloc(a_job(slow), 1)
    await world.server.send(old)
    await world.server.until_status(old, "running")
    new = an_alloc(a_job(version=1), 2, previous_allocation=old.id)
    stopped = msgspec.structs.replace(old, desired_status="stop", modify_index=20)
    await world.server.send(new, stopped)
    assert world.machine.starts == [f"{old.id}/main"]
    await world.server.until_status(new, "running")
    assert world.server.status(old) == "complete"


async def test_a_sticky_disk_moves_to_the_replacement(world: World) -> None:
    await world.agent()
    job = a_job()
    group = msgspec.structs.replace(job.task_groups[0], ephemeral_disk=EphemeralDisk(sticky=True))
    job = msgspec.structs.replace(job, task_groups=(group,))
    old, new = an_alloc(job, 1), an_alloc(job, 2, previous_allocation=an_alloc(job, 1).id)
    await world.server.send(old)
    await world.server.until_status(old, "running")
    root = world.data_dir / "alloc"
    (root / old.id / "alloc" / "data" / "db").write_text("rows")
    (root / old.id / "main" / "local" / "notes").write_text("mine")
    await world.server.send(new, msgspec.structs.replace(old, desired_status="stop", modify_index=20))
    await world.server.until_status(new, "running")
    assert (root / new.id / "alloc" / "data" / "db").read_text() == "rows"
    assert (root / new.id / "main" / "local" / "notes").read_text() == "mine"


async def test_a_run_that_is_too_long_is_ended_as_complete(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(job_type=JobType.BATCH, max_run_duration=30 * MS))
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "complete")
    assert "max_run_duration" in update.client_description


async def test_a_deployment_hears_when_an_allocation_is_healthy(world: World) -> None:
    await world.agent()
    update = UpdateStrategy(health_check="task_states", min_healthy_time=20 * MS, healthy_deadline=60 * SECOND)
    alloc = an_alloc(a_job(update=update), deployment_id="d-1")
    await world.server.send(alloc)
    await until(lambda: world.server.newest.get(alloc.id) and world.server.newest[alloc.id].healthy)
    assert world.server.newest[alloc.id].healthy_time > 0


async def test_a_deployment_hears_when_an_allocation_fails(world: World) -> None:
    await world.agent()
    update = UpdateStrategy(min_healthy_time=60 * SECOND, healthy_deadline=600 * SECOND)
    failing = a_task(config={"run_for": "5ms", "exit_code": 1}, restart_policy=fast_restarts(0))
    alloc = an_alloc(a_job(failing, update=update), deployment_id="d-1")
    await world.server.send(alloc)
    await until(lambda: world.server.newest.get(alloc.id) and world.server.newest[alloc.id].healthy is False)


async def test_a_slow_start_is_not_charged_to_the_healthy_deadline(world: World) -> None:
    await world.agent()
    update = UpdateStrategy(health_check="task_states", min_healthy_time=5 * MS, healthy_deadline=5000 * MS)
    alloc = an_alloc(a_job(a_task(config={"start_block_for": "40ms"}), update=update), deployment_id="d-1")
    await world.server.send(alloc)
    await until(lambda: world.server.newest.get(alloc.id) and world.server.newest[alloc.id].healthy)


async def test_a_new_deployment_of_a_running_allocation_is_judged_anew(world: World) -> None:
    client = await world.agent()
    update = UpdateStrategy(health_check="task_states", min_healthy_time=MS, healthy_deadline=60 * SECOND)
    alloc = an_alloc(a_job(update=update), deployment_id="d-1")
    await world.server.send(alloc)
    await until(lambda: world.server.newest.get(alloc.id) and world.server.newest[alloc.id].healthy)
    first = world.server.newest[alloc.id].healthy_time
    job = msgspec.structs.replace(a_job(update=update), version=1)
    await world.server.send(
        msgspec.structs.replace(alloc, job=job, job_version=1, deployment_id="d-2", modify_index=20)
    )
    await until(lambda: world.server.newest[alloc.id].healthy and world.server.newest[alloc.id].healthy_time > first)
    assert len(world.machine.starts) == 1
    assert client.runners[alloc.id].job.version == 1


async def test_a_network_that_this_node_cannot_make_fails_the_allocation(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(networks=(NetworkResource(mode="bridge"),)))
    await world.server.send(alloc)
    update = await world.server.until_status(alloc, "failed")
    assert "bridge" in update.task_states["main"].events[-2].display_message
    assert world.machine.starts == []


async def test_a_stop_during_a_slow_start_leaves_nothing_behind(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(config={"start_block_for": "1h"})))
    await world.server.send(alloc)
    await until(lambda: client.runners[alloc.id].tasks["main"].machine.phase == "launching")
    await world.server.stop(alloc)
    await world.server.until_status(alloc, "complete")
    assert world.machine.tasks == {}


async def test_an_exit_during_the_shutdown_delay_ends_the_wait(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(a_task(shutdown_delay=3600 * SECOND)))
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await world.server.stop(alloc)
    await until(lambda: "Waiting for shutdown delay" in
                [event.type for event in client.runners[alloc.id].states["main"].events])  # fmt: skip
    world.machine.tasks[f"{alloc.id}/main"].end(Exit())
    await world.server.until_status(alloc, "complete")
