"""Periodic jobs on the real server, in virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from rove.errors import BadRequestError, NotFoundError
from rove.structs.evaluation import Trigger
from rove.structs.job import Job, JobStatus, ParameterizedJob, Periodic
from rove.testing.builders import a_job
from rove.testing.cluster import Cluster, Script
from rove.testing.virtual_time import virtually

HOUR = 3600.0


def every(line: str, **fields: Any) -> Job:
    periodic = Periodic(
        spec=line, prohibit_overlap=fields.pop("prohibit_overlap", False), enabled=fields.pop("enabled", True),
        time_zone=fields.pop("time_zone", "UTC"),
    )  # fmt: skip
    return a_job("tick", type="batch", periodic=periodic, **fields)


def children(cluster: Cluster, job_id: str = "tick") -> list[Job]:
    return list(cluster.server.store.snapshot().children_of_job("default", job_id))


def times(cluster: Cluster, job_id: str = "tick") -> list[int]:
    return [int(child.id.rpartition("-")[2]) for child in children(cluster, job_id)]


@virtually
async def test_a_child_is_launched_at_each_time_and_runs() -> None:
    async with Cluster(1) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=5.0))
        answer = await cluster.register(every("*/10 * * * *"))
        assert answer.eval_id == ""
        began = cluster.clock.now()
        await cluster.until(lambda: len(children(cluster)) == 4)
        found = times(cluster)
        assert [b - a for a, b in pairwise(found)] == [600, 600, 600]
        assert all(moment % 600 == 0 for moment in found)
        assert found[0] - began <= 600
        child = children(cluster)[0]
        assert (child.parent_id, child.name, child.periodic) == ("tick", child.id, None)
        await cluster.until(lambda: all(c.status is JobStatus.DEAD for c in children(cluster)))
        [evaluation] = cluster.server.store.snapshot().evaluations_of_job("default", child.id)
        assert evaluation.triggered_by is Trigger.PERIODIC_JOB
        assert cluster.job("tick").status is JobStatus.RUNNING


@virtually
async def test_launches_are_on_time() -> None:
    async with Cluster(0) as cluster:
        await cluster.register(every("* * * * * * *"))
        late: list[float] = []

        def watched() -> bool:
            late.extend(cluster.clock.now() - moment for moment in times(cluster)[len(late) :])
            return len(late) >= 20

        await cluster.until(watched)
        assert max(late) < 0.1
        found = times(cluster)
        assert found == list(range(found[0], found[0] + len(found)))


@virtually
async def test_prohibited_overlap_waits_for_the_earlier_launch() -> None:
    async with Cluster(1) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=1500.0))
        await cluster.register(every("*/10 * * * *", prohibit_overlap=True))
        await cluster.settle(2 * HOUR)
        found = times(cluster)
        assert [b - a for a, b in pairwise(found)] == [1800] * (len(found) - 1)
        assert len(found) >= 3


@virtually
async def test_a_time_passed_over_is_not_made_up_for_after_a_restart() -> None:
    async with Cluster(1) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=700.0))
        await cluster.register(every("*/10 * * * *", prohibit_overlap=True))
        await cluster.until(lambda: len(children(cluster)) == 1)
        await cluster.settle(800)  # one time was passed over, and the child has ended
        await cluster.restart_server(after_s=1)
        await cluster.settle(30)
        assert len(children(cluster)) == 1


@virtually
async def test_launches_missed_while_nobody_led_are_made_up_for_once() -> None:
    async with Cluster(1) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=5.0))
        await cluster.register(every("*/10 * * * *"))
        await cluster.until(lambda: len(children(cluster)) == 2)
        await cluster.restart_server(after_s=2 * HOUR)
        back = cluster.clock.now()
        await cluster.until(lambda: len(children(cluster)) == 3, within_s=30)
        assert times(cluster)[-1] == pytest.approx(back, abs=2)
        await cluster.settle(30)
        assert len(children(cluster)) == 3
        await cluster.settle(600)
        assert len(children(cluster)) == 4


@virtually
async def test_a_restart_launches_nothing_that_was_not_missed() -> None:
    async with Cluster(1) as cluster:
        await cluster.register(every("0 * * * *"))
        await cluster.settle(30)
        for _ in range(3):
            await cluster.restart_server(after_s=5)
        await cluster.settle(30)
        assert children(cluster) == []


@virtually
async def test_a_changed_schedule_counts_from_its_registration() -> None:
    async with Cluster(1) as cluster:
        await cluster.register(every("0 0 1 1 *"))
        await cluster.settle(2 * HOUR)
        await cluster.register(every("*/10 * * * *"))
        await cluster.settle(1)
        assert children(cluster) == []
        await cluster.settle(600)
        assert len(children(cluster)) == 1


@pytest.mark.parametrize("way", ["stop", "purge", "disable"])
def test_a_job_that_is_stopped_purged_or_disabled_is_launched_no_more(way: str) -> None:
    @virtually
    async def story() -> None:
        async with Cluster(1) as cluster:
            cluster.behave(lambda alloc: Script(completes_after=5.0))
            await cluster.register(every("*/10 * * * *"))
            await cluster.until(lambda: len(children(cluster)) == 1)
            if way == "disable":
                await cluster.register(every("*/10 * * * *", enabled=False))
            else:
                await cluster.server.deregister_job("default", "tick", purge=way == "purge")
            before = [job.id for job in cluster.server.store.snapshot().jobs("default", "tick/")]
            await cluster.settle(HOUR)
            assert [job.id for job in cluster.server.store.snapshot().jobs("default", "tick/")] == before

    story()


@virtually
async def test_a_wall_clock_that_jumps_ahead_and_back_launches_once_and_goes_on() -> None:
    async with Cluster(1) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=5.0))
        await cluster.register(every("0 * * * *"))
        await cluster.until(lambda: len(children(cluster)) == 1, within_s=2 * HOUR)
        cluster.clock.offset = 10 * 365 * 86_400.0
        await cluster.settle(60)
        assert len(children(cluster)) == 2
        cluster.clock.offset = 0.0
        await cluster.settle(2 * HOUR)
        assert len(children(cluster)) == 4


@virtually
async def test_a_wall_clock_set_back_an_hour_repeats_nothing() -> None:
    async with Cluster(1) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=5.0))
        await cluster.register(every("*/10 * * * *"))
        await cluster.until(lambda: len(children(cluster)) == 6, within_s=2 * HOUR)
        cluster.clock.offset = -HOUR
        await cluster.settle(HOUR - 30)
        assert len(children(cluster)) == len(set(times(cluster))) == 6
        await cluster.settle(700)
        assert len(children(cluster)) == 7


@virtually
async def test_forcing_launches_now_also_while_overlap_is_prohibited() -> None:
    async with Cluster(1) as cluster:
        await cluster.register(every("0 0 1 1 *", prohibit_overlap=True))
        first = await cluster.server.force_periodic("default", "tick")
        second = await cluster.server.force_periodic("default", "tick")
        assert first.eval_id
        assert first.eval_id != second.eval_id
        assert len(children(cluster)) == 2
        await cluster.until(lambda: all(c.status is JobStatus.RUNNING for c in children(cluster)))


@virtually
async def test_launches_by_hand_take_none_of_the_clock_away() -> None:
    async with Cluster(1) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=5.0))
        await cluster.register(every("*/10 * * * *"))
        coming = int(cluster.clock.now() // 600 + 1) * 600
        await cluster.settle(coming - cluster.clock.now() - 1.5)
        for _ in range(4):
            await cluster.server.force_periodic("default", "tick")
        assert len(children(cluster)) == 4
        assert max(times(cluster)) < coming
        await cluster.settle(60)
        assert max(times(cluster)) == coming
        assert len(children(cluster)) == 5
        await cluster.server.force_periodic("default", "tick")
        await cluster.restart_server(after_s=1)
        await cluster.settle(30)
        assert len(children(cluster)) == 6


@virtually
async def test_forcing_anything_else_is_refused() -> None:
    async with Cluster(1) as cluster:
        with pytest.raises(NotFoundError):
            await cluster.server.force_periodic("default", "nothing")
        await cluster.register(a_job("web"))
        with pytest.raises(BadRequestError, match="non-periodic"):
            await cluster.server.force_periodic("default", "web")
        await cluster.register(every("0 * * * *", enabled=False))
        with pytest.raises(BadRequestError, match="was not launched"):
            await cluster.server.force_periodic("default", "tick")


@virtually
async def test_a_dispatched_child_of_a_job_that_is_both_is_launched_by_the_clock() -> None:
    async with Cluster(1) as cluster:
        cluster.behave(lambda alloc: Script(completes_after=5.0))
        await cluster.register(every("*/10 * * * *", parameterized_job=ParameterizedJob(payload="optional")))
        await cluster.settle(1300)
        assert children(cluster) == []
        done = await cluster.server.dispatch_job("default", "tick", payload=b"x")
        assert done.eval_id == ""
        await cluster.until(lambda: len(children(cluster, done.dispatched_job_id)) == 2)
        assert children(cluster, done.dispatched_job_id)[0].payload == b"x"


@virtually
async def test_the_night_of_the_clock_change_in_new_york_has_every_hour() -> None:
    async with Cluster(0) as cluster:
        # 2024-11-03 06:00 UTC is 02:00 EDT, which becomes 01:00 EST.
        cluster.clock.offset = 1_730_606_400.0 - 1_700_000_000.0
        await cluster.register(every("0 * * * *", time_zone="America/New_York"))
        await cluster.until(lambda: len(children(cluster)) == 6, within_s=8 * HOUR)
        found = times(cluster)
        assert [b - a for a, b in pairwise(found)] == [3600] * 5


@virtually
async def test_many_jobs_due_at_once_are_all_launched() -> None:
    async with Cluster(0) as cluster:
        for number in range(600):
            await cluster.register(msgspec.structs.replace(every("0 * * * *"), id=f"t{number}"))
        await cluster.settle(HOUR)
        assert all(len(children(cluster, f"t{number}")) == 1 for number in range(600))
