"""Which periodic jobs are launched now, and when the next one is due. Pure.

A launch that was missed (nobody led, the clock was moved) is made up for once, whatever number was missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

import msgspec

from rove.errors import BadRequestError
from rove.jobspec.cron import CronError
from rove.jobspec.launch_times import next_launch
from rove.structs.job import Job, JobStatus, Periodic, PeriodicLaunch

CLOCK_STEP_S = 60.0
"""A last launch further ahead than this was made under a wrong clock."""
RECENT_S = 120
"""Launches by the clock that are further back than this are over, or are made up for under another second."""
UNFINISHED = frozenset({JobStatus.PENDING, JobStatus.RUNNING})


class Reason(StrEnum):
    """Why a time that came was (not) used."""

    DUE = "its time has come"
    MISSED = "launches were missed; one makes up for them"
    OVERLAP = "an earlier launch has not finished and overlap is prohibited"
    REPEATED = "it was launched for this time already"


class View(Protocol):
    """What is read of the state."""

    def job(self, namespace: str, job_id: str) -> Job | None: ...
    def children_of_job(self, namespace: str, job_id: str) -> Iterable[Job]: ...


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about one job. launch_s: the time it counts as launched for; `is_launched` False: pass over."""

    launch_s: int
    is_launched: bool
    reason: Reason


def is_tracked(job: Job) -> bool:
    """True if the job is launched by the clock. A parameterized one is not: its dispatched children are."""
    periodic = job.periodic
    return periodic is not None and periodic.enabled and not job.stop and not job.is_parameterized


def next_due(job: Job, last: PeriodicLaunch | None, now: float) -> float | None:
    """When a tracked job is due, in the past if a launch was missed; None if never again.

    Counted from its last launch or its registration, whichever is later: a changed schedule has nothing to
    make up for. Raises `CronError` or `LookupError` for a schedule that cannot be read here.
    """
    if job.periodic is None:
        return None
    launched = last.launch.timestamp() if last is not None and last.launch is not None else 0.0
    since = max(launched, job.submit_time / 1e9)
    if since > now + CLOCK_STEP_S:
        since = now
    return next_launch(job.periodic, since)


def judge(job: Job, due: float, view: View, now: float) -> Verdict:
    """Decide about a job whose time `due` has come (`due` <= `now`)."""
    following = next_launch(job.periodic, due) if job.periodic is not None else None
    missed = following is not None and following <= now
    launch_s = int(now) if missed else int(due)
    reason = Reason.MISSED if missed else Reason.DUE
    if view.job(job.namespace, child_id(job, launch_s)) is not None:
        return Verdict(launch_s=launch_s, is_launched=False, reason=Reason.REPEATED)
    if job.periodic is not None and job.periodic.prohibit_overlap and _has_unfinished(job, view):
        return Verdict(launch_s=launch_s, is_launched=False, reason=Reason.OVERLAP)
    return Verdict(launch_s=launch_s, is_launched=True, reason=reason)


def _has_unfinished(job: Job, view: View) -> bool:
    return any(child.status in UNFINISHED for child in view.children_of_job(*job.key))


def child_id(job: Job, launch_s: int) -> str:
    """The id of the child that is launched for a time."""
    return f"{job.id}/periodic-{launch_s}"


def forced_launch(job: Job, view: View, now: float) -> int:
    """The second that a launch by hand is named after: now, or the newest before that is free.

    Never one to come, and none at which the job is launched by the clock: that launch would be passed over.
    Raises `BadRequestError` for jobs that are not launched by the clock.
    """
    if job.periodic is None:
        raise BadRequestError(
            "job.not_periodic",
            "can't force launch non-periodic job",
            f'job "{job.id}" has no periodic block',
            status=500,
        )
    if not is_tracked(job):
        why = "is stopped" if job.stop else "is parameterized" if job.is_parameterized else "is not enabled"
        raise BadRequestError(
            "job.not_launched",
            f'periodic job "{job.id}" was not launched',
            f"it {why}",
            "register it again, with periodic > enabled set to true",
            status=500,
        )
    launch_s = newest = int(now)
    while view.job(job.namespace, child_id(job, launch_s)) is not None or (
        newest - launch_s < RECENT_S and _is_launch_time(job.periodic, launch_s)
    ):
        launch_s -= 1
    return launch_s


def _is_launch_time(periodic: Periodic, second: int) -> bool:
    try:
        return next_launch(periodic, second - 1) == second
    except (CronError, LookupError):
        return False
