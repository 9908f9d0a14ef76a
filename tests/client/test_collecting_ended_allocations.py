"""Ended allocations keep their files until room is needed."""

from __future__ import annotations

from rove.client.collect import Collect, Ended, Limits, Room, to_collect
from rove.structs.job import JobType
from rove.testing.node_agent import World, a_job, a_task, an_alloc, until

LIMITS = Limits(disk=80, inodes=70, max_allocs=3)
ENDED = [Ended("new", 30.0), Ended("old", 10.0), Ended("middle", 20.0)]


def test_nothing_goes_while_there_is_room() -> None:
    assert to_collect(ENDED, 3, Room(10, 10), LIMITS, 2) == Collect()


def test_the_oldest_go_when_there_are_too_many() -> None:
    assert to_collect(ENDED, 5, Room(10, 10), LIMITS, 2).alloc_ids == ("old", "middle")


def test_the_oldest_go_when_the_disk_or_the_inodes_run_out() -> None:
    assert to_collect(ENDED, 3, Room(81, 10), LIMITS, 1).alloc_ids == ("old",)
    assert to_collect(ENDED, 3, Room(10, 71), LIMITS, 2).alloc_ids == ("old", "middle")


def test_running_allocations_are_never_collected() -> None:
    assert to_collect([], 100, Room(99, 99), LIMITS, 2) == Collect()


async def test_a_node_keeps_no_more_allocations_than_it_is_told(world: World) -> None:
    client = await world.agent(gc_max_allocs=2, gc_interval_s=0.01, gc_disk_usage_threshold=101.0,
                               gc_inode_usage_threshold=101.0)  # fmt: skip
    job = a_job(a_task(config={"run_for": "1ms"}), job_type=JobType.BATCH)
    allocs = [an_alloc(job, number) for number in range(5)]
    for alloc in allocs:
        await world.server.send(alloc)
        await until(lambda alloc=alloc: world.server.status(alloc) == "complete")
    await until(lambda: len(client.runners) <= 2)
    assert allocs[-1].id in client.runners
    await until(lambda: not (world.data_dir / "alloc" / allocs[0].id).exists())


async def test_what_the_server_has_forgotten_is_removed(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await world.server.send(gone=(alloc.id,))
    await until(lambda: alloc.id not in client.runners)
    assert not (world.data_dir / "alloc" / alloc.id).exists()
    assert not world.machine.running
