"""Is this job one that can be run? Every reason why not, at once, each with its place in the job file."""

from __future__ import annotations

import re
from collections.abc import Collection

from rove.structs.base import SECOND
from rove.structs.job import (
    Job,
    JobType,
    MigrateStrategy,
    Periodic,
    ReschedulePolicy,
    RestartPolicy,
    TaskGroup,
    UpdateStrategy,
)

from .cron import CronError, parse_cron
from .drivers import DRIVERS
from .problem import Problem, clean, join
from .rules import (
    Problems,
    affinity_problems,
    at_least,
    bad_character,
    constraint_problems,
    nul_problems,
    repeated,
    spread_problems,
    word,
)
from .validate_gates import gate_problems
from .validate_network import network_problems, volume_problems
from .validate_service import services_problems
from .validate_task import task_problems

PROBLEMS_MAX = 200
"""After so many, more would help nobody."""
COUNT_MAX = 50_000
ID_MAX = 1024
META_MAX = 1 << 20
PAYLOAD_MAX = 16 * 1024
UI_TEXT_MAX = 1000
RESCHEDULE_DELAY_MIN = 5 * SECOND
RESCHEDULE_INTERVAL_MIN = 15 * SECOND
RESTART_INTERVAL_MIN = 5 * SECOND

_POOL = re.compile(r"[a-zA-Z0-9_-]{1,128}", re.ASCII)
_NAMESPACE = re.compile(r"[a-zA-Z0-9-]{1,128}", re.ASCII)
_BATCH = (JobType.BATCH, JobType.SYSBATCH)
HEALTH_CHECKS = ("checks", "task_states", "manual")


def validate(job: Job, *, drivers: Collection[str] | None = None) -> list[Problem]:
    """Everything that is wrong with a canonical job; empty if nothing is. Raises nothing.

    drivers: names of the drivers that exist, for the check of `driver`; None for those Rove knows.
    """
    return [Problem(clean(each.path), clean(each.text)) for each in _problems(job, drivers)]


def count_problems(job: Job) -> list[Problem]:
    """What is wrong with how many copies a canonical job asks for: the part of `validate` that scaling can break."""
    found: Problems = []
    _total(job, found)
    for group in job.task_groups:
        path = f'group "{group.name}"'
        _count(job, group, path, found)
        _scaling(job, group, join(path, "scaling"), found)
    return [Problem(clean(each.path), clean(each.text)) for each in found]


def _problems(job: Job, drivers: Collection[str] | None) -> Problems:
    found: Problems = []
    _identity(job, found)
    if not 1 <= job.priority <= 100:
        found.append(Problem("priority", f"a priority is 1 to 100; this is {job.priority}"))
    _shape(job, found)
    _conditions(job, found)
    _launching(job, found)
    known = DRIVERS.keys() if drivers is None else drivers
    for group in job.task_groups:
        path = f'group "{group.name}"'
        _group(job, group, path, found)
        for task in group.tasks:
            if len(found) > PROBLEMS_MAX:
                break
            task_problems(job, group, task, join(path, f'task "{task.name}"'), known, found)
        if len(found) > PROBLEMS_MAX:
            break
    if len(found) > PROBLEMS_MAX:
        return [*found[:PROBLEMS_MAX], Problem("", f"there are more problems than these {PROBLEMS_MAX}")]
    return found


def _identity(job: Job, found: Problems) -> None:
    if not job.id:
        found.append(Problem("", "a job needs an id"))
    elif " " in job.id or bad_character(job.id):
        found.append(Problem("id", f"an id may not hold {bad_character(job.id) or 'a space'}"))
    elif len(job.id) > ID_MAX:
        found.append(Problem("id", f"an id has at most {ID_MAX} characters; this one has {len(job.id)}"))
    if "\0" in job.name:
        found.append(Problem("name", "a name may not hold a NUL byte"))
    if not _NAMESPACE.fullmatch(job.namespace):
        found.append(Problem("namespace", "a namespace has 1 to 128 letters, digits or dashes"))
    if not _POOL.fullmatch(job.node_pool):
        found.append(Problem("node_pool", "a node pool has 1 to 128 letters, digits, dashes or underscores"))
    if not all(job.datacenters):
        found.append(Problem("datacenters", "a datacenter's name is empty"))


def _shape(job: Job, found: Problems) -> None:
    if not job.task_groups:
        found.append(Problem("", "a job needs at least one group with a task"))
    repeated((group.name for group in job.task_groups), "", "group", found)
    _total(job, found)
    if job.payload is not None and len(job.payload) > PAYLOAD_MAX:
        found.append(Problem("", f"the payload has {len(job.payload)} bytes; {PAYLOAD_MAX} is the limit"))
    if sum(len(key) + len(value) for key, value in job.meta.items()) > META_MAX:
        found.append(Problem("meta", f"meta is larger than {META_MAX} bytes"))
    nul_problems(job.meta, "meta", "meta", found)
    if job.ui is not None and len(job.ui.description) > UI_TEXT_MAX:
        found.append(Problem("ui > description", f"a description has at most {UI_TEXT_MAX} characters"))


def _total(job: Job, found: Problems) -> None:
    total = sum(max(0, group.count) for group in job.task_groups)
    if total > COUNT_MAX and all(group.count <= COUNT_MAX for group in job.task_groups):
        found.append(Problem("", f"the counts of all groups add up to {total}; {COUNT_MAX} is the limit"))


def _conditions(job: Job, found: Problems) -> None:
    constraint_problems(job.constraints, "", found)
    if job.type is JobType.SYSTEM:
        if job.affinities:
            found.append(Problem("affinity", "a system job runs on every node: affinities have no meaning"))
        if job.spreads:
            found.append(Problem("spread", "a system job runs on every node: spreads have no meaning"))
    affinity_problems(job.affinities, "", found)
    spread_problems(job.spreads, "", found)


# -- periodic and parameterized ----------------------------------------------------------------------


def _launching(job: Job, found: Problems) -> None:
    if job.periodic is not None:
        if job.type not in _BATCH:
            found.append(Problem("periodic", f"only batch and sysbatch jobs are periodic; this is a {job.type} job"))
        _periodic(job.periodic, found)
    wanted = job.parameterized_job
    if wanted is None:
        return
    if job.type not in _BATCH:
        text = f"only batch and sysbatch jobs are parameterized; this is a {job.type} job"
        found.append(Problem("parameterized", text))
    word(wanted.payload, ("optional", "required", "forbidden"), "parameterized > payload", found)
    both = sorted(set(wanted.meta_required) & set(wanted.meta_optional))
    if both:
        found.append(Problem("parameterized", f'meta "{both[0]}" is both required and optional'))


def _periodic(periodic: Periodic, found: Problems) -> None:
    word(periodic.spec_type, ("cron", "_internal_test"), "periodic", found)
    if bool(periodic.spec) == bool(periodic.specs):
        found.append(Problem("periodic", 'give either "cron" or "crons", one of the two'))
    lines = [(periodic.spec, "periodic > cron")] if periodic.spec else []
    lines += [(line, "periodic > crons") for line in periodic.specs]
    if periodic.spec_type == "cron":
        for line, path in lines:
            _cron_line(line, path, found)
    if not _is_zone(periodic.time_zone):
        text = f'"{periodic.time_zone[:60]}" is not a time zone; examples are "UTC" and "Europe/Berlin"'
        found.append(Problem("periodic > time_zone", text))


def _cron_line(line: str, path: str, found: Problems) -> None:
    from datetime import datetime

    try:
        schedule = parse_cron(line)
    except CronError as error:
        found.append(Problem(path, f'"{line[:80]}" is not a cron line: {error}'))
        return
    # the earliest year a line still allows is where it must launch, if it launches at all
    if schedule.next_after(datetime(max(1970, min(schedule.years)), 1, 1)) is None:
        found.append(Problem(path, f'"{line[:80]}" never comes: there is no such day'))


def _is_zone(name: str) -> bool:
    if name in ("UTC", "Local", ""):
        return True
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


# -- groups ------------------------------------------------------------------------------------------


def _group(job: Job, group: TaskGroup, path: str, found: Problems) -> None:
    if not group.name:
        found.append(Problem(path, "a group needs a name"))
    elif bad_character(group.name):
        found.append(Problem(path, f"a name may not hold {bad_character(group.name)}"))
    _count(job, group, path, found)
    nul_problems(group.meta, "meta", join(path, "meta"), found)
    _members(group, path, found)
    constraint_problems(group.constraints, path, found)
    if job.type is JobType.SYSTEM:
        for name, given in (("affinity", group.affinities), ("spread", group.spreads)):
            if given:
                found.append(Problem(join(path, name), "a system job runs on every node: this has no meaning"))
    affinity_problems(group.affinities, path, found)
    spread_problems(group.spreads, path, found)
    restart_problems(group.restart_policy, join(path, "restart"), found)
    _reschedule(job, group.reschedule_policy, join(path, "reschedule"), found)
    _update(job, group, join(path, "update"), found)
    _migrate(job, group.migrate, join(path, "migrate"), found)
    _disconnect(job, group, join(path, "disconnect"), found)
    _times(job, group, path, found)
    if group.ephemeral_disk.size_mb < 10:
        place = join(path, "ephemeral_disk > size")
        found.append(Problem(place, f"the smallest disk is 10 MB; this is {group.ephemeral_disk.size_mb}"))
    elif group.ephemeral_disk.size_mb > 1 << 30:
        found.append(Problem(join(path, "ephemeral_disk > size"), "no machine has a disk of that size"))
    network_problems(group, path, found)
    volume_problems(group, path, found)
    services_problems(group, None, group.services, path, found)
    _scaling(job, group, join(path, "scaling"), found)


def _count(job: Job, group: TaskGroup, path: str, found: Problems) -> None:
    place = join(path, "count")
    if group.count < 0:
        found.append(Problem(place, f"a count cannot be negative; this is {group.count}"))
    elif group.count > COUNT_MAX:
        found.append(Problem(place, f"{group.count} is above the limit of {COUNT_MAX}"))
    elif job.type is JobType.SYSTEM and group.count > 1:
        found.append(Problem(place, "a system job runs once on every node: a count above 1 has no meaning"))


def _members(group: TaskGroup, path: str, found: Problems) -> None:
    if not group.tasks:
        found.append(Problem(path, "a group needs at least one task"))
        return
    repeated((task.name for task in group.tasks), path, "task", found)
    if all(task.lifecycle is not None for task in group.tasks):
        found.append(Problem(path, "every task has a lifecycle; one main task without is needed"))
    leaders = [task for task in group.tasks if task.leader]
    if len(leaders) > 1:
        found.append(Problem(path, f"{len(leaders)} tasks are leaders; a group has at most one"))


def restart_problems(policy: RestartPolicy, path: str, found: Problems) -> None:
    """A restart policy that cannot be followed."""
    word(policy.mode, ("fail", "delay"), join(path, "mode"), found)
    at_least(policy.attempts, 0, join(path, "attempts"), "attempts cannot be negative", found)
    at_least(policy.delay, 0, join(path, "delay"), "a delay cannot be negative", found)
    at_least(policy.interval, RESTART_INTERVAL_MIN, join(path, "interval"), "the shortest interval is 5s", found)
    if policy.mode == "delay" and policy.attempts == 0:
        found.append(Problem(path, 'mode "delay" with 0 attempts would never start the task again'))
    if policy.attempts * policy.delay > policy.interval:
        text = f"{policy.attempts} attempts with that delay take longer than the interval"
        found.append(Problem(path, text))


def _reschedule(job: Job, policy: ReschedulePolicy | None, path: str, found: Problems) -> None:
    if policy is None:
        return
    if job.type in (JobType.SYSTEM, JobType.SYSBATCH):
        found.append(Problem(path, f"a {job.type} job belongs to its nodes and is not rescheduled"))
        return
    if not policy.unlimited and policy.attempts == 0:
        return
    word(policy.delay_function, ("constant", "exponential", "fibonacci"), join(path, "delay_function"), found)
    at_least(policy.delay, RESCHEDULE_DELAY_MIN, join(path, "delay"), "the shortest delay is 5s", found)
    if policy.delay_function != "constant" and policy.max_delay < policy.delay:
        found.append(Problem(join(path, "max_delay"), "the longest delay is shorter than the delay"))
    if policy.unlimited:
        return
    at_least(policy.attempts, 0, join(path, "attempts"), "attempts cannot be negative", found)
    if policy.interval < RESCHEDULE_INTERVAL_MIN:
        found.append(Problem(join(path, "interval"), "the shortest interval is 15s"))
    elif _time_of(policy) > policy.interval:
        text = f"{policy.attempts} attempts with these delays take longer than the interval"
        found.append(Problem(join(path, "interval"), text))


def _time_of(policy: ReschedulePolicy) -> int:
    """How long all attempts take at least, in ns."""
    if policy.delay_function == "constant":
        return policy.attempts * policy.delay
    total, last, now = 0, 0, policy.delay
    for _ in range(min(policy.attempts, 10_000)):
        total += now
        after = now * 2 if policy.delay_function == "exponential" else now + (last or now)
        last, now = now, min(after, policy.max_delay)
    return total


def _update(job: Job, group: TaskGroup, path: str, found: Problems) -> None:
    update = group.update
    if update is None:
        return
    if job.type in _BATCH:
        found.append(Problem(path, f"a {job.type} job has no deployments: leave update out"))
        return
    word(update.health_check, HEALTH_CHECKS, join(path, "health_check"), found)
    at_least(update.max_parallel, 0, join(path, "max_parallel"), "max_parallel cannot be negative", found)
    at_least(update.canary, 0, join(path, "canary"), "canary cannot be negative", found)
    if job.type is JobType.SYSTEM and update.canary > 100:
        found.append(Problem(join(path, "canary"), "for a system job canary is a percentage, at most 100"))
    if update.auto_promote and update.canary == 0:
        found.append(Problem(join(path, "auto_promote"), "there is nothing to promote while canary is 0"))
    if update.stagger <= 0:
        found.append(Problem(join(path, "stagger"), "stagger must be above 0"))
    _update_times(update, path, found)
    gate_problems(group, update, path, found)


def _update_times(update: UpdateStrategy, path: str, found: Problems) -> None:
    at_least(update.min_healthy_time, 0, join(path, "min_healthy_time"), "this cannot be negative", found)
    at_least(update.progress_deadline, 0, join(path, "progress_deadline"), "this cannot be negative", found)
    if update.healthy_deadline <= 0:
        found.append(Problem(join(path, "healthy_deadline"), "healthy_deadline must be above 0"))
    elif update.min_healthy_time >= update.healthy_deadline:
        text = "min_healthy_time is not shorter than healthy_deadline: nothing could become healthy in time"
        found.append(Problem(join(path, "min_healthy_time"), text))
    if 0 < update.progress_deadline <= update.healthy_deadline:
        text = "healthy_deadline must be shorter than progress_deadline (or progress_deadline 0)"
        found.append(Problem(join(path, "healthy_deadline"), text))


def _migrate(job: Job, migrate: MigrateStrategy | None, path: str, found: Problems) -> None:
    if migrate is None:
        return
    if job.type is not JobType.SERVICE:
        found.append(Problem(path, f"only service jobs migrate; this is a {job.type} job"))
        return
    word(migrate.health_check, ("checks", "task_states"), join(path, "health_check"), found)
    at_least(migrate.max_parallel, 0, join(path, "max_parallel"), "max_parallel cannot be negative", found)
    at_least(migrate.min_healthy_time, 0, join(path, "min_healthy_time"), "this cannot be negative", found)
    if migrate.min_healthy_time > migrate.healthy_deadline:
        found.append(Problem(join(path, "min_healthy_time"), "min_healthy_time is longer than healthy_deadline"))


def _disconnect(job: Job, group: TaskGroup, path: str, found: Problems) -> None:
    strategy = group.disconnect
    if strategy is None:
        return
    modes = ("best_score", "keep_original", "keep_replacement", "longest_running")
    word(strategy.reconcile, modes, join(path, "reconcile"), found)
    at_least(strategy.lost_after, 0, join(path, "lost_after"), "lost_after cannot be negative", found)
    stop = strategy.stop_on_client_after
    if stop is None:
        return
    at_least(stop, 0, join(path, "stop_on_client_after"), "stop_on_client_after cannot be negative", found)
    if strategy.lost_after:
        found.append(Problem(path, "lost_after and stop_on_client_after exclude each other"))
    if job.type not in (JobType.SERVICE, JobType.BATCH):
        place = join(path, "stop_on_client_after")
        found.append(Problem(place, f"only service and batch jobs can have this; this is a {job.type} job"))


def _times(job: Job, group: TaskGroup, path: str, found: Problems) -> None:
    if group.shutdown_delay is not None:
        at_least(group.shutdown_delay, 0, join(path, "shutdown_delay"), "a delay cannot be negative", found)
    if group.max_run_duration is None:
        return
    place = join(path, "max_run_duration")
    if job.type not in _BATCH:
        found.append(Problem(place, f"only batch and sysbatch jobs can have this; this is a {job.type} job"))
    elif group.max_run_duration <= 0:
        found.append(Problem(place, "max_run_duration must be above 0"))


def _scaling(job: Job, group: TaskGroup, path: str, found: Problems) -> None:
    policy = group.scaling
    if policy is None:
        return
    if job.type is JobType.SYSTEM:
        found.append(Problem(path, "a system job runs on every node and cannot be scaled"))
    word(policy.type, ("horizontal",), join(path, "type"), found)
    at_least(policy.min, 0, join(path, "min"), "min cannot be negative", found)
    if policy.max < policy.min:
        found.append(Problem(join(path, "max"), f"max ({policy.max}) is below min ({policy.min})"))
    elif not policy.min <= group.count <= policy.max:
        text = f"the count ({group.count}) is outside of min ({policy.min}) and max ({policy.max})"
        found.append(Problem(path, text))
