"""What a registration, a stop, a purge and the life of allocations do to a job."""

from __future__ import annotations

import msgspec
import pytest

from rove.server.state import (
    ApplyPlan,
    Batch,
    Collect,
    PutDeployment,
    PutEvaluations,
    PutJob,
    PutNode,
    PutPeriodicLaunch,
    PutScalingEvent,
    ReconcileSummaries,
    SetJobStability,
    StopJob,
    Store,
    TagJobVersion,
    UpdateAllocs,
    UpdateDeployments,
    spec_changed,
)
from rove.structs.alloc import AllocMetric, AllocStatus, Desired
from rove.structs.deployment import DeploymentStatus
from rove.structs.evaluation import EvalStatus
from rove.structs.job import (
    Job,
    JobStatus,
    JobSubmission,
    JobType,
    JobVersionTag,
    ParameterizedJob,
    Periodic,
    ScalingEvent,
)
from rove.structs.plan import AllocStop, DeploymentUpdate, Plan
from rove.testing.nouns import a_deployment, a_job, a_node, a_placement, a_report, an_evaluation, an_id

KEY = ("default", "web")
N1 = an_id("n1")
replace = msgspec.structs.replace


def job_of(store: Store, job_id: str = "web") -> Job:
    job = store.snapshot().job("default", job_id)
    assert job is not None
    return job


async def run_job(store: Store, count: int = 2, **more: object) -> list[str]:
    """Register a job, place it; returns the ids of its allocations."""
    await store.commit(PutNode(node=a_node("n1")))
    await store.commit(PutJob(job=a_job("web", count=count, **more), evaluation=an_evaluation("e1")))
    done = an_evaluation("e1", status=EvalStatus.COMPLETE)
    plan = Plan(eval_id=an_id("e1"), placements=(a_placement([N1] * count),))
    await store.commit(ApplyPlan(plan=plan, evaluations=(done,)))
    return [alloc.id for alloc in store.snapshot().allocs_of_job(*KEY)]


def counts(store: Store) -> dict[str, int]:
    """The summary's numbers of group api that are not 0."""
    summary = store.snapshot().job_summary(*KEY)
    assert summary is not None
    group = summary.summary["api"]
    return {name: value for name in group.__struct_fields__ if (value := getattr(group, name))}


# Versions


async def test_a_new_job_is_version_0_and_pending(store: Store) -> None:
    index = await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation("e1")))
    job = job_of(store)
    assert (job.version, job.status, job.stable) == (0, JobStatus.PENDING, False)
    assert job.create_index == job.modify_index == job.job_modify_index == index
    evaluation = store.snapshot().evaluation(an_id("e1"))
    assert evaluation is not None
    assert evaluation.job_modify_index == evaluation.create_index == index


async def test_an_unchanged_job_gets_no_new_version_but_its_evaluation_is_stored(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web")))
    before = job_of(store)
    again = replace(before, version=9, modify_index=77, submit_time=5, status=JobStatus.DEAD, stable=True)
    await store.commit(PutJob(job=again, evaluation=an_evaluation("e2")))
    assert replace(job_of(store), modify_index=0) == replace(before, modify_index=0)
    assert store.snapshot().evaluation(an_id("e2")) is not None


async def test_a_changed_job_gets_the_next_version(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web", count=1)))
    index = await store.commit(PutJob(job=a_job("web", count=2)))
    job = job_of(store)
    assert (job.version, job.create_index, job.job_modify_index) == (1, 1, index)
    assert [version.version for version in store.snapshot().job_versions(*KEY)] == [1, 0]
    old = store.snapshot().job_version(*KEY, 0)
    assert old is not None
    assert old.task_groups[0].count == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"stop": True},
        {"priority": 51},
        {"meta": {"a": "b"}},
        {"datacenters": ("dc2",)},
        {"type": JobType.BATCH},
        {"task_groups": ()},
    ],
)
def test_what_people_ask_for_counts_as_a_change(changed: dict[str, object]) -> None:
    assert spec_changed(a_job("web"), replace(a_job("web"), **changed))


async def test_six_versions_are_kept_besides_tagged_ones_and_the_newest_stable_one(store: Store) -> None:
    for count in range(4):
        await store.commit(PutJob(job=a_job("web", count=count)))
    await store.commit(SetJobStability(namespace="default", job_id="web", version=0, stable=True))
    await store.commit(SetJobStability(namespace="default", job_id="web", version=1, stable=True))
    tag = JobVersionTag(name="golden")
    await store.commit(TagJobVersion(namespace="default", job_id="web", version=2, tag=tag))
    for count in range(4, 12):
        await store.commit(PutJob(job=a_job("web", count=count)))
    assert [job.version for job in store.snapshot().job_versions(*KEY)] == [11, 10, 9, 8, 7, 2, 1]
    await store.commit(TagJobVersion(namespace="default", job_id="web", name="golden"))
    assert [job.version for job in store.snapshot().job_versions(*KEY)] == [11, 10, 9, 8, 7, 1]


async def test_a_tag_names_one_version_at_a_time(store: Store) -> None:
    for count in range(3):
        await store.commit(PutJob(job=a_job("web", count=count)))
    for version in (0, 2):
        tag = JobVersionTag(name="x", description=f"v{version}")
        await store.commit(TagJobVersion(namespace="default", job_id="web", version=version, tag=tag))
    tags = [job.version_tag for job in store.snapshot().job_versions(*KEY)]
    assert tags == [JobVersionTag(name="x", description="v2"), None, None]
    assert job_of(store).version_tag is not None


async def test_an_allocation_keeps_its_version_though_it_is_no_longer_listed(store: Store) -> None:
    (alloc_id,) = await run_job(store, count=1)
    for count in range(2, 12):
        await store.commit(PutJob(job=a_job("web", count=count)))
    assert 0 not in [job.version for job in store.snapshot().job_versions(*KEY)]
    alloc = store.snapshot().alloc(alloc_id)
    assert alloc is not None
    assert alloc.job is not None
    assert alloc.job.version == 0
    await store.commit(Collect(alloc_ids=(alloc_id,)))
    assert store.snapshot().job_version(*KEY, 0) is None


async def test_a_submission_lives_as_long_as_its_version(store: Store) -> None:
    for count in range(8):
        source = JobSubmission(source=f"count = {count}", format="hcl2")
        await store.commit(PutJob(job=a_job("web", count=count), submission=source))
    newest = store.snapshot().submission(*KEY, 7)
    assert newest is not None
    assert (newest.source, newest.version, newest.job_id) == ("count = 7", 7, "web")
    assert store.snapshot().submission(*KEY, 0) is None


# Stop and purge


async def test_a_stopped_job_is_a_new_version_and_stopping_again_changes_nothing(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web")))
    await store.commit(StopJob(namespace="default", job_id="web", evaluation=an_evaluation("e2")))
    assert (job_of(store).stop, job_of(store).version) == (True, 1)
    await store.commit(StopJob(namespace="default", job_id="web"))
    assert job_of(store).version == 1
    await store.commit(PutJob(job=a_job("web")))
    assert (job_of(store).stop, job_of(store).version) == (False, 2)


async def test_a_purged_job_is_gone_while_its_allocations_go_on_and_know_it(store: Store) -> None:
    ids = await run_job(store)
    await store.commit(PutPeriodicLaunch(namespace="default", job_id="web", launch_s=5))
    await store.commit(PutScalingEvent(namespace="default", job_id="web", group="api", event=ScalingEvent(count=2)))
    await store.commit(StopJob(namespace="default", job_id="web", purge=True, evaluation=an_evaluation("e2")))
    snapshot = store.snapshot()
    assert snapshot.job(*KEY) is None
    assert snapshot.job_versions(*KEY) == ()
    assert snapshot.job_summary(*KEY) is None
    assert snapshot.scaling_events(*KEY) is None
    assert snapshot.periodic_launch(*KEY) is None
    assert [alloc.job.id for alloc in snapshot.allocs_of_job(*KEY) if alloc.job] == ["web", "web"]
    assert len(ids) == 2
    await store.commit(PutJob(job=a_job("web", count=5)))
    assert job_of(store).version == 0
    assert counts(store) == {}
    old = snapshot.alloc(ids[0])
    assert old is not None
    assert old.job is not None
    assert old.job.task_groups[0].count == 2


async def test_stopping_without_shutdown_delay_is_noted_on_every_live_allocation(store: Store) -> None:
    first, second = await run_job(store)
    await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.COMPLETE),)))
    await store.commit(StopJob(namespace="default", job_id="web", no_shutdown_delay=True))
    noted = {alloc.id: alloc.desired_transition.no_shutdown_delay for alloc in store.snapshot().allocs()}
    assert noted == {first: None, second: True}


# Status


async def test_a_job_runs_while_an_allocation_does_and_is_dead_after(store: Store) -> None:
    first, second = await run_job(store)
    assert job_of(store).status is JobStatus.RUNNING
    await store.commit(UpdateAllocs(updates=(a_report(first, AllocStatus.COMPLETE),)))
    assert job_of(store).status is JobStatus.RUNNING
    await store.commit(UpdateAllocs(updates=(a_report(second, AllocStatus.FAILED),)))
    assert job_of(store).status is JobStatus.DEAD
    assert job_of(store).version == 0


async def test_a_job_with_an_open_evaluation_is_pending_and_dead_once_it_ended_without_allocations(
    store: Store,
) -> None:
    await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation("e1")))
    blocked = an_evaluation("e1", status=EvalStatus.BLOCKED)
    await store.commit(PutEvaluations(evaluations=(blocked,)))
    assert job_of(store).status is JobStatus.PENDING
    await store.commit(PutEvaluations(evaluations=(replace(blocked, status=EvalStatus.FAILED),)))
    assert job_of(store).status is JobStatus.DEAD
    await store.commit(Collect(evaluation_ids=(an_id("e1"),)))
    assert job_of(store).status is JobStatus.DEAD


async def test_a_stopped_job_is_dead_whatever_evaluation_still_waits_for_its_time(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web"), evaluation=an_evaluation("e1")))
    await store.commit(StopJob(namespace="default", job_id="web"))
    assert job_of(store).status is JobStatus.DEAD


async def test_an_active_deployment_keeps_a_job_running(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web")))
    await store.commit(PutDeployment(deployment=a_deployment("d1")))
    assert job_of(store).status is JobStatus.RUNNING
    ended = DeploymentUpdate(deployment_id=an_id("d1"), status=DeploymentStatus.FAILED)
    await store.commit(UpdateDeployments(updates=(ended,)))
    assert job_of(store).status is JobStatus.PENDING


@pytest.mark.parametrize(
    "kind",
    [
        {"type": JobType.SYSTEM},
        {"periodic": Periodic(spec="* * * * *")},
        {"parameterized_job": ParameterizedJob()},
    ],
)
async def test_system_periodic_and_parameterized_jobs_run_until_they_are_stopped(
    store: Store, kind: dict[str, object]
) -> None:
    await store.commit(PutJob(job=a_job("web", **kind)))
    assert job_of(store).status is JobStatus.RUNNING
    await store.commit(StopJob(namespace="default", job_id="web"))
    assert job_of(store).status is JobStatus.DEAD


async def test_a_stopped_job_is_dead_once_its_allocations_are_to_stop(store: Store) -> None:
    ids = await run_job(store)
    await store.commit(StopJob(namespace="default", job_id="web"))
    assert job_of(store).status is JobStatus.RUNNING
    stops = tuple(AllocStop(alloc_id=alloc_id) for alloc_id in ids)
    await store.commit(ApplyPlan(plan=Plan(eval_id=an_id("e2"), stops=stops)))
    assert job_of(store).status is JobStatus.DEAD


async def test_a_blocked_evaluation_does_not_outlive_what_it_waits_for(store: Store) -> None:
    await run_job(store)
    blocked = an_evaluation("e2", status=EvalStatus.BLOCKED)
    await store.commit(PutEvaluations(evaluations=(blocked,)))
    await store.commit(StopJob(namespace="default", job_id="web", evaluation=an_evaluation("e3")))
    await store.commit(PutEvaluations(evaluations=(an_evaluation("e3", status=EvalStatus.COMPLETE),)))
    after = store.snapshot().evaluation(an_id("e2"))
    assert after is not None
    assert after.status is EvalStatus.CANCELED


async def test_an_evaluation_that_left_something_unplaced_does_not_cancel_the_blocked_one(store: Store) -> None:
    await run_job(store)
    await store.commit(PutEvaluations(evaluations=(an_evaluation("e2", status=EvalStatus.BLOCKED),)))
    failed = an_evaluation("e3", status=EvalStatus.COMPLETE, failed_tg_allocs={"api": AllocMetric()})
    await store.commit(PutEvaluations(evaluations=(failed,)))
    after = store.snapshot().evaluation(an_id("e2"))
    assert after is not None
    assert after.status is EvalStatus.BLOCKED


# Summary


async def test_the_summary_follows_allocations_through_their_lives(store: Store) -> None:
    first, second = await run_job(store)
    assert counts(store) == {"starting": 2}
    await store.commit(UpdateAllocs(updates=(a_report(first), a_report(second))))
    assert counts(store) == {"running": 2}
    await store.commit(
        UpdateAllocs(updates=(a_report(first, AllocStatus.FAILED), a_report(second, AllocStatus.COMPLETE)))
    )
    assert counts(store) == {"failed": 1, "complete": 1}


async def test_what_was_collected_stays_in_the_summary(store: Store) -> None:
    ids = await run_job(store)
    await store.commit(UpdateAllocs(updates=tuple(a_report(one, AllocStatus.COMPLETE) for one in ids)))
    await store.commit(Collect(alloc_ids=tuple(ids)))
    assert list(store.snapshot().allocs()) == []
    assert counts(store) == {"complete": 2}
    await store.commit(ReconcileSummaries())
    assert counts(store) == {"complete": 2}


async def test_queued_copies_come_from_the_newest_evaluation(store: Store) -> None:
    await run_job(store)
    waiting = an_evaluation("e2", status=EvalStatus.COMPLETE, queued_allocations={"api": 3},
                            failed_tg_allocs={"api": AllocMetric()})  # fmt: skip
    await store.commit(PutEvaluations(evaluations=(waiting,)))
    assert counts(store) == {"starting": 2, "queued": 3}
    done = an_evaluation("e3", status=EvalStatus.COMPLETE, queued_allocations={"api": 0})
    await store.commit(PutEvaluations(evaluations=(done,)))
    assert counts(store) == {"starting": 2}


async def test_the_end_of_an_evaluation_that_waited_leaves_the_queued_copies_as_they_are(store: Store) -> None:
    await run_job(store)
    waiting = an_evaluation("e2", status=EvalStatus.BLOCKED, queued_allocations={"api": 3})
    await store.commit(PutEvaluations(evaluations=(waiting,)))
    assert counts(store) == {"starting": 2, "queued": 3}
    done = an_evaluation("e3", status=EvalStatus.COMPLETE, queued_allocations={"api": 0})
    cancelled = replace(waiting, status=EvalStatus.CANCELED)
    await store.commit(PutEvaluations(evaluations=(done, cancelled)))
    assert counts(store) == {"starting": 2}


async def test_a_parent_counts_its_children_by_status(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web", parameterized_job=ParameterizedJob())))
    children = [a_job(f"web/dispatch-{n}", parent_id="web", dispatched=True) for n in range(3)]
    await store.commit(Batch(parts=tuple(PutJob(job=child) for child in children)))
    summary = store.snapshot().job_summary(*KEY)
    assert summary is not None
    assert summary.children is not None
    assert (summary.children.pending, summary.children.running, summary.children.dead) == (3, 0, 0)
    await store.commit(StopJob(namespace="default", job_id="web/dispatch-0"))
    await store.commit(StopJob(namespace="default", job_id="web/dispatch-1", purge=True))
    summary = store.snapshot().job_summary(*KEY)
    assert summary is not None
    assert summary.children is not None
    assert (summary.children.pending, summary.children.running, summary.children.dead) == (1, 0, 1)
    assert [job.id for job in store.snapshot().children_of_job(*KEY)] == ["web/dispatch-0", "web/dispatch-2"]


async def test_twenty_scaling_events_are_kept_newest_first(store: Store) -> None:
    await store.commit(PutJob(job=a_job("web")))
    for count in range(25):
        event = ScalingEvent(count=count)
        await store.commit(PutScalingEvent(namespace="default", job_id="web", group="api", event=event))
    events = store.snapshot().scaling_events(*KEY)
    assert events is not None
    assert [event.count for event in events.scaling_events["api"]] == list(range(24, 4, -1))


async def test_an_evicted_allocation_knows_who_pushed_it_out_and_a_replaced_one_its_heir(store: Store) -> None:
    first, second = await run_job(store)
    stops = (AllocStop(alloc_id=first, desired=Desired.EVICT, preempted_by_index=(0, 1)),)
    placement = a_placement([N1, N1], evaluation="e2", previous={0: second}, preempted={1: (first,)})
    await store.commit(ApplyPlan(plan=Plan(eval_id=an_id("e2"), placements=(placement,), stops=stops)))
    heir, pusher = store.snapshot().allocs_of_evaluation(an_id("e2"))
    evicted, replaced = store.snapshot().alloc(first), store.snapshot().alloc(second)
    assert evicted is not None
    assert replaced is not None
    assert (evicted.desired_status, evicted.preempted_by_allocation) == (Desired.EVICT, pusher.id)
    assert pusher.preempted_allocations == (first,)
    assert (replaced.next_allocation, heir.previous_allocation) == (heir.id, second)
