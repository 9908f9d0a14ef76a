"""Rules of jobs: versions, status, summaries. Functions over a `Draft`."""

from __future__ import annotations

import msgspec
from immutables import Map

from rove.structs.base import from_unix
from rove.structs.job import (
    Job,
    JobChildrenSummary,
    JobScalingEvents,
    JobStatus,
    JobSubmission,
    JobSummary,
    JobType,
    PeriodicLaunch,
    ScalingPolicy,
    TaskGroup,
    TaskGroupSummary,
)

from . import rows
from .draft import Draft
from .tables import NO_TALLY, JobHead, JobKey, KeptCounts, SpecKey, Tally
from .transactions import (
    PutJob,
    PutPeriodicLaunch,
    PutScalingEvent,
    SetJobStability,
    TagJobVersion,
)

VERSIONS_KEPT = 6
POLICIES = ("scaling.policies",)
"""What is waited for by those who read the scaling policies of all jobs."""
SCALING_EVENTS_KEPT = 20
NO_COUNTS = TaskGroupSummary()
replace = msgspec.structs.replace

_NOT_SPECIFIED = {
    "status": JobStatus.PENDING, "status_description": "", "stable": False, "version": 0, "submit_time": 0,
    "create_index": 0, "modify_index": 0, "job_modify_index": 0, "version_tag": None, "nomad_token_id": "",
}  # fmt: skip


def spec_changed(old: Job, new: Job) -> bool:
    """True if what a person asked for differs; indexes, status, version and the like are not compared."""
    return _specified(old) != _specified(new)


def _specified(job: Job) -> Job:
    groups = tuple(
        group
        if group.scaling is None
        else replace(group, scaling=replace(group.scaling, id="", create_index=0, modify_index=0))
        for group in job.task_groups
    )
    return replace(job, task_groups=groups, **_NOT_SPECIFIED)


def status_of(job: Job, tally: Tally) -> JobStatus:
    """A job's status from what it has."""
    if job.type is JobType.SYSTEM or job.is_periodic or job.is_parameterized:
        return JobStatus.DEAD if job.stop else JobStatus.RUNNING
    if tally.live or tally.active_deployments:
        return JobStatus.RUNNING
    if tally.open_evals and not job.stop:  # of a stopped job nothing is to come, whatever waits for its time
        return JobStatus.PENDING
    if job.stop or tally.allocs or tally.evals:
        return JobStatus.DEAD
    return job.status if job.status is JobStatus.DEAD else JobStatus.PENDING


def summary_of(job: Job, tally: Tally, children: JobChildrenSummary | None) -> JobSummary:
    """The summary as the API shows it: every group of the job is there."""
    groups = {group.name: tally.groups.get(group.name, NO_COUNTS) for group in job.task_groups}
    return JobSummary(
        job_id=job.id, namespace=job.namespace, summary={**tally.groups, **groups}, children=children,
        create_index=job.create_index, modify_index=max(tally.modify_index, job.create_index),
    )  # fmt: skip


def put_job(draft: Draft, transaction: PutJob) -> Job:
    """Store a registration; returns the job as it is now."""
    asked = transaction.job
    if not asked.node_pool:
        asked = replace(asked, node_pool="default")
    current: Job | None = draft.jobs.get(asked.key)
    if current is not None and not spec_changed(current, asked):
        return current
    if current is None:
        version, create_index, status = 0, draft.index, JobStatus.PENDING
    else:
        version, create_index, status = current.version + 1, current.create_index, current.status
        if current.status is JobStatus.DEAD:
            status = JobStatus.PENDING
    job = replace(
        asked, version=version, create_index=create_index, modify_index=draft.index,
        job_modify_index=draft.index, status=status, status_description="", stable=False, version_tag=None,
        submit_time=asked.submit_time or draft.now,
    )  # fmt: skip
    job = _with_policy_indexes(draft, current, job)
    if _policies(current) != _policies(job):
        draft.mark(POLICIES)
    _put_version(draft, job)
    if transaction.submission is not None:
        _put_submission(draft, job, transaction.submission)
    if current is not None and current.parent_id and current.parent_id != job.parent_id:
        _unlink_parent(draft, current)
    _link_parent(draft, job)
    return job


def _policies(job: Job | None) -> list[tuple[str, ScalingPolicy]]:
    """The scaling policies that autoscalers are told of, by group: those of jobs that are not stopped."""
    if job is None or job.stop:
        return []
    return [(group.name, group.scaling) for group in job.task_groups if group.scaling is not None]


def _with_policy_indexes(draft: Draft, current: Job | None, job: Job) -> Job:
    """The job with the indexes of its scaling policies. They stand still while the policy does, whatever else of
    the job changes: an autoscaler waits for them, and its own scaling may not wake it."""
    if all(group.scaling is None for group in job.task_groups):
        return job
    groups = []
    for group in job.task_groups:
        earlier = None if current is None else current.group(group.name)
        if group.scaling is not None:
            group = replace(group, scaling=_indexed_policy(draft, current, earlier, group.scaling))
        groups.append(group)
    return replace(job, task_groups=tuple(groups))


def _indexed_policy(
    draft: Draft, current: Job | None, earlier: TaskGroup | None, policy: ScalingPolicy
) -> ScalingPolicy:
    old = None if earlier is None else earlier.scaling
    if current is None or old is None:
        return replace(policy, create_index=draft.index, modify_index=draft.index)
    # stored before policies had indexes of their own: the job's were shown
    created, modified = old.create_index or current.create_index, old.modify_index or current.job_modify_index
    kept = replace(policy, create_index=old.create_index, modify_index=old.modify_index)
    return replace(policy, create_index=created, modify_index=modified if kept == old else draft.index)


def _put_version(draft: Draft, job: Job) -> None:
    """Make `job` the newest version of its id."""
    spec = spec_of(job)
    draft.jobs[job.key] = job
    draft.specs[spec] = job
    draft.put_row("specs", rows.spec_key(*spec), job)
    draft.heads.add(job.key)
    _keep_versions(draft, job.key, (job, *draft.versions.get(job.key, ())))
    touch_job(draft, job.key)
    draft.mark(("job.summary", *job.key))


def spec_of(job: Job) -> SpecKey:
    """The key of a job's specification."""
    return (job.namespace, job.id, job.create_index, job.version)


def _put_head(draft: Draft, job: Job) -> None:
    """Write the small row that says which versions there are, which is the newest and how it does."""
    head = JobHead(
        namespace=job.namespace, id=job.id, create_index=job.create_index, version=job.version,
        status=job.status, status_description=job.status_description, modify_index=job.modify_index,
        versions=tuple(version.version for version in draft.versions.get(job.key, ())),
    )  # fmt: skip
    draft.put_row("jobs", rows.key(job.create_index, job.namespace, job.id), head)


def touch_job(draft: Draft, key: JobKey) -> None:
    """Note that a job changed."""
    draft.mark(("jobs",))
    draft.touched.add(("job", *key))
    draft.dirty_jobs.add(key)
    draft.events["Job", *key] = draft.event_type


def _keep_versions(draft: Draft, key: JobKey, versions: tuple[Job, ...]) -> None:
    """Keep the newest versions, those with a tag, and the newest stable one."""
    plain = [job for job in versions if job.version_tag is None]
    kept = plain[:VERSIONS_KEPT]
    if not any(job.stable for job in kept):
        stable = next((job for job in plain[VERSIONS_KEPT:] if job.stable), None)
        if stable is not None:
            kept[-1] = stable
    names = {job.version for job in kept} | {job.version for job in versions if job.version_tag is not None}
    draft.versions[key] = tuple(job for job in versions if job.version in names)
    for job in versions:
        if job.version not in names:
            _forget_submission(draft, spec_of(job))
            release_spec(draft, spec_of(job))


def release_spec(draft: Draft, spec: SpecKey) -> None:
    """Forget a specification that is neither listed as a version nor used by an allocation."""
    listed = any(spec_of(job) == spec for job in draft.versions.get(spec[:2], ()))
    if not listed and not draft.uses.get(spec, 0) and draft.specs.pop(spec) is not None:
        draft.delete_row("specs", rows.spec_key(*spec))


def ensure_spec(draft: Draft, spec: SpecKey, job: Job) -> None:
    """Store a specification again that was forgotten while a plan for it was on its way."""
    if spec not in draft.specs and spec_of(job) == spec:
        draft.specs[spec] = job
        draft.put_row("specs", rows.spec_key(*spec), job)


def use_spec(draft: Draft, spec: SpecKey, count: int) -> None:
    """`count` more allocations (fewer if negative) have this specification."""
    uses = draft.uses.get(spec, 0) + count
    if uses > 0:
        draft.uses[spec] = uses
        return
    if spec in draft.uses:
        draft.uses.pop(spec)
    release_spec(draft, spec)


def _put_submission(draft: Draft, job: Job, submission: JobSubmission) -> None:
    kept = replace(
        submission, namespace=job.namespace, job_id=job.id, version=job.version,
        job_modify_index=job.job_modify_index,
    )  # fmt: skip
    draft.submissions[spec_of(job)] = kept
    draft.put_row("submissions", rows.spec_key(*spec_of(job)), kept)


def _forget_submission(draft: Draft, spec: SpecKey) -> None:
    if draft.submissions.pop(spec) is not None:
        draft.delete_row("submissions", rows.spec_key(*spec))


def _link_parent(draft: Draft, job: Job) -> None:
    if not job.parent_id:
        return
    parent = (job.namespace, job.parent_id)
    draft.children[parent] = draft.children.get(parent, Map()).set(job.key, True)
    draft.mark(("job.summary", *parent))


def stop_job(draft: Draft, key: JobKey) -> Job | None:
    """A new version that is stopped; an already stopped job stays as it is."""
    current: Job | None = draft.jobs.get(key)
    if current is None or current.stop:
        return current
    return put_job(draft, PutJob(job=replace(current, stop=True, submit_time=0)))


def purge_job(draft: Draft, key: JobKey) -> None:
    """Forget a job with its versions, submissions, launches and scaling events; allocations stay."""
    job: Job | None = draft.jobs.pop(key)
    if job is None:
        return
    if _policies(job):
        draft.mark(POLICIES)
    draft.gone_jobs.append(job)
    draft.heads.discard(key)
    draft.delete_row("jobs", rows.key(job.create_index, *key))
    versions: tuple[Job, ...] = draft.versions.pop(key) or ()
    for version in versions:
        _forget_submission(draft, spec_of(version))
        release_spec(draft, spec_of(version))
    if (counts := draft.kept_counts.pop(key)) is not None:
        draft.delete_row("counts", rows.key(counts.create_index, *key))
    if (launch := draft.launches.pop(key)) is not None:
        draft.delete_row("launches", rows.key(launch.create_index, *key))
    if draft.scaling.pop(key) is not None:
        draft.delete_row("scaling", rows.key(job.create_index, *key))
    if key in draft.tallies:
        set_tally(draft, key, replace(draft.tally(key), groups={}, modify_index=draft.index))
    if job.parent_id:
        _unlink_parent(draft, job)
    touch_job(draft, key)
    draft.mark(("job.summary", *key), ("scaling", *key))


def _unlink_parent(draft: Draft, job: Job) -> None:
    parent = (job.namespace, job.parent_id)
    siblings: Map[JobKey, bool] = draft.children.get(parent, Map())
    if job.key in siblings:
        siblings = siblings.delete(job.key)
    if siblings:
        draft.children[parent] = siblings
    elif parent in draft.children:
        draft.children.pop(parent)
    draft.mark(("job.summary", *parent))


def set_tally(draft: Draft, key: JobKey, tally: Tally) -> None:
    """Store a job's counts; a tally without anything goes away with the job."""
    empty = not (tally.allocs or tally.evals or tally.active_deployments or tally.groups)
    if empty and key not in draft.jobs:
        if key in draft.tallies:
            draft.tallies.pop(key)
    else:
        draft.tallies[key] = tally
    draft.dirty_jobs.add(key)


def set_queued(draft: Draft, key: JobKey, queued: dict[str, int]) -> None:
    """Set how many copies an evaluation could not place, for each group that it names."""
    job: Job | None = draft.jobs.get(key)
    tally = draft.tally(key)
    changed = {name: n for name, n in queued.items() if tally.groups.get(name, NO_COUNTS).queued != n}
    if job is None or not changed:
        return
    groups = dict(tally.groups)
    for name, count in changed.items():
        groups[name] = replace(groups.get(name, NO_COUNTS), queued=count)
    set_tally(draft, key, replace(tally, groups=groups, modify_index=draft.index))
    keep_counts(draft, job, {name: replace(NO_COUNTS, queued=groups[name].queued) for name in changed}, True)
    draft.mark(("job.summary", *key))


def keep_counts(draft: Draft, job: Job, more: dict[str, TaskGroupSummary], queued: bool = False) -> None:
    """Add to what is stored beside the allocations; `queued` says that the queued numbers replace the old."""
    kept = draft.kept_counts.get(job.key)
    if kept is None:
        kept = KeptCounts(namespace=job.namespace, job_id=job.id, create_index=job.create_index)
    groups = dict(kept.groups)
    for name, counts in more.items():
        old = groups.get(name, NO_COUNTS)
        groups[name] = TaskGroupSummary(
            queued=counts.queued if queued else old.queued, complete=old.complete + counts.complete,
            failed=old.failed + counts.failed, lost=old.lost + counts.lost,
        )  # fmt: skip
    kept = replace(kept, groups=groups)
    draft.kept_counts[job.key] = kept
    draft.put_row("counts", rows.key(kept.create_index, *job.key), kept)


def refresh_statuses(draft: Draft) -> None:
    """Work out the status of every job that something happened to. Called once at a transaction's end."""
    for key in sorted(draft.dirty_jobs):
        job: Job | None = draft.jobs.get(key)
        if job is None:
            continue
        status = status_of(job, draft.tallies.get(key, NO_TALLY))
        if status is not job.status:
            job = replace(job, status=status, modify_index=draft.index)
            draft.jobs[key] = job
            draft.heads.add(key)
            draft.mark(("jobs",))
            draft.touched.add(("job", *key))
            if job.parent_id:
                draft.mark(("job.summary", job.namespace, job.parent_id))
    for key in sorted(draft.heads):
        if (job := draft.jobs.get(key)) is not None:
            _put_head(draft, job)


def _replace_version(draft: Draft, key: JobKey, changed: Job) -> None:
    """Store a version with another mark on it; if it is the newest, the job shows it."""
    versions = tuple(changed if job.version == changed.version else job for job in draft.versions.get(key, ()))
    draft.versions[key] = versions
    draft.specs[spec_of(changed)] = changed
    draft.put_row("specs", rows.spec_key(*spec_of(changed)), changed)
    job: Job = draft.jobs.get(key)
    if job.version == changed.version:
        job = replace(
            job, stable=changed.stable, version_tag=changed.version_tag, modify_index=draft.index,
        )  # fmt: skip
    else:
        job = replace(job, modify_index=draft.index)
    draft.jobs[key] = job
    draft.heads.add(key)
    _keep_versions(draft, key, versions)
    touch_job(draft, key)


def set_stability(draft: Draft, transaction: SetJobStability) -> None:
    """Mark a version as (not) stable, if it is still kept."""
    key = (transaction.namespace, transaction.job_id)
    for job in draft.versions.get(key, ()):
        if job.version == transaction.version and job.stable != transaction.stable:
            _replace_version(draft, key, replace(job, stable=transaction.stable))


def tag_version(draft: Draft, transaction: TagJobVersion) -> None:
    """Name a version; a name is on one version at a time."""
    key = (transaction.namespace, transaction.job_id)
    tag = transaction.tag
    name = tag.name if tag is not None else transaction.name
    for job in draft.versions.get(key, ()):
        if tag is not None and job.version == transaction.version:
            _replace_version(draft, key, replace(job, version_tag=tag))
        elif job.version_tag is not None and job.version_tag.name == name:
            _replace_version(draft, key, replace(job, version_tag=None))


def put_launch(draft: Draft, transaction: PutPeriodicLaunch) -> None:
    """Remember a launch."""
    key = (transaction.namespace, transaction.job_id)
    old = draft.launches.get(key)
    launch = PeriodicLaunch(
        namespace=key[0], id=key[1], launch=from_unix(transaction.launch_s),
        create_index=old.create_index if old else draft.index, modify_index=draft.index,
    )  # fmt: skip
    draft.launches[key] = launch
    draft.put_row("launches", rows.key(launch.create_index, *key), launch)


def put_scaling_event(draft: Draft, transaction: PutScalingEvent) -> None:
    """Remember a scaling event of a job that exists."""
    key = (transaction.namespace, transaction.job_id)
    job: Job | None = draft.jobs.get(key)
    if job is None:
        return
    old = draft.scaling.get(key) or JobScalingEvents(namespace=key[0], job_id=key[1])
    event = replace(transaction.event, create_index=draft.index, time=transaction.event.time or draft.now)
    groups = dict(old.scaling_events)
    groups[transaction.group] = (event, *groups.get(transaction.group, ()))[:SCALING_EVENTS_KEPT]
    events = replace(old, scaling_events=groups, modify_index=draft.index)
    draft.scaling[key] = events
    draft.put_row("scaling", rows.key(job.create_index, *key), events)
    draft.mark(("scaling", *key))
