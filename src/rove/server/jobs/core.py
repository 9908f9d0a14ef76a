"""Rules about what people do to jobs, without I/O: children, scaling, what a registration keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rove.errors import BadRequestError, ConflictError, ForbiddenError, InvalidJobError, NotFoundError
from rove.jobspec.validate_job import COUNT_MAX, count_problems
from rove.structs.evaluation import EvalStatus, Evaluation
from rove.structs.job import Job, JobStatus, JobType, TaskGroup
from rove.structs.node import Namespace, SchedulerConfiguration

PAYLOAD_MAX = 16 * 1024
"""Bytes of a dispatch payload."""
ID_PREFIX_MAX = 128
PRIORITY_MAX = 100
DISPATCH_MARK = "/dispatch-"
PERIODIC_MARK = "/periodic-"
DISPATCH_META_MAX = 64 * 1024
"""Bytes of a dispatch's meta, keys and values. It becomes environment variables, which the kernel limits to 128 KiB
each."""


def needs_evaluation(job: Job) -> bool:
    """Periodic and parameterized parents run nothing themselves."""
    return not job.is_periodic and not job.is_parameterized


def newest_outcome(evaluations: Iterable[Evaluation]) -> Evaluation | None:
    """The evaluation that a scheduler worked on last: its failed placements are what holds now."""
    worked_on = (EvalStatus.COMPLETE, EvalStatus.BLOCKED, EvalStatus.FAILED)
    outcomes = [evaluation for evaluation in evaluations if evaluation.status in worked_on]
    return max(outcomes, key=lambda evaluation: (evaluation.modify_index, evaluation.create_index), default=None)


def check_open(configuration: SchedulerConfiguration) -> None:
    """Refuse registrations, dispatches and scaling while an operator has shut the door."""
    if configuration.reject_job_registration:
        raise ForbiddenError(
            "job.registration_rejected",
            "job registration, dispatch and scaling are rejected at present",
            "the scheduler configuration has reject_job_registration set",
            "an operator opens it again: rove operator scheduler set-config -reject-job-registration=false",
        )


def oversubscription_warnings(job: Job, configuration: SchedulerConfiguration) -> list[str]:
    """A warning for each task whose `memory_max` is without effect."""
    if configuration.memory_oversubscription_enabled:
        return []
    return [
        f'group "{group.name}" task "{task.name}": memory_max has no effect, since memory oversubscription is off; '
        "switch it on in the scheduler configuration"
        for group in job.task_groups
        for task in group.tasks
        if task.resources.memory_max_mb
    ]


def check_index(current: Job | None, modify_index: int) -> None:
    """Refuse a registration made against another state of the job. 0: the job must not exist."""
    if modify_index == 0 and current is not None:
        raise ConflictError(
            "job.exists",
            f"Enforcing job modify index {modify_index}: it is there already",
            status=500,
            why=f'job "{current.id}" has modify index {current.job_modify_index}',
            fix=f"submit again with -check-index {current.job_modify_index}",
        )
    if modify_index != 0 and current is None:
        raise ConflictError(
            "job.missing",
            f"Enforcing job modify index {modify_index}: there is no such job",
            status=500,
            fix="submit again with -check-index 0",
        )
    if current is not None and modify_index != current.job_modify_index:
        raise ConflictError(
            "job.moved_on",
            f"Enforcing job modify index {modify_index}: the job has moved on to {current.job_modify_index}",
            status=500,
            fix="look at the job's plan, then submit with the index that it shows",
        )


def keep_from(current: Job | None, job: Job, *, counts: bool, resources: bool) -> Job:
    """The job with counts and task resources of the registered one, where it has the same groups and tasks.

    Raises `InvalidJobError` if the job does not allow the counts that are kept.
    """
    if current is None or current.stop or not (counts or resources):
        return job
    groups = []
    for group in job.task_groups:
        earlier = current.group(group.name)
        if earlier is not None:
            group = _keep_group(earlier, group, counts=counts, resources=resources)
        groups.append(group)
    kept = msgspec.structs.replace(job, task_groups=tuple(groups))
    if counts and (problems := count_problems(kept)):
        raise InvalidJobError(job.id, [f"{problem} (with the present counts preserved)" for problem in problems])
    return kept


def _keep_group(earlier: TaskGroup, group: TaskGroup, *, counts: bool, resources: bool) -> TaskGroup:
    if counts:
        group = msgspec.structs.replace(group, count=earlier.count)
    if resources:
        tasks = []
        for task in group.tasks:
            before = earlier.task(task.name)
            tasks.append(task if before is None else msgspec.structs.replace(task, resources=before.resources))
        group = msgspec.structs.replace(group, tasks=tuple(tasks))
    return group


def with_count(job: Job, group_name: str, count: int) -> Job:
    """The job with another count for one group. Raises for unknown groups, and for counts that a registration of
    the whole job would not be allowed."""
    group = job.group(group_name)
    if group is None:
        known = ", ".join(g.name for g in job.task_groups)
        raise BadRequestError("job.unknown_group", f'job "{job.id}" has no group "{group_name}"', f"it has: {known}")
    if job.type is JobType.SYSTEM:
        raise BadRequestError(
            "job.scale_system", f'job "{job.id}" cannot be scaled', "a system job runs once on every node that fits"
        )
    if not 0 <= count <= COUNT_MAX:
        raise BadRequestError("job.count", f"count {count} is not between 0 and {COUNT_MAX}")
    if group.scaling is not None:
        low, high = group.scaling.min, group.scaling.max
        if count < low:
            raise BadRequestError(
                "job.count",
                f'count {count} of group "{group_name}" is below the least that its scaling block allows: {low}',
            )
        if count > high:
            raise BadRequestError(
                "job.count",
                f'count {count} of group "{group_name}" is above the most that its scaling block allows: {high}',
            )
    groups = tuple(msgspec.structs.replace(g, count=count) if g.name == group_name else g for g in job.task_groups)
    scaled = msgspec.structs.replace(job, task_groups=groups)
    if problems := count_problems(scaled):
        raise BadRequestError(
            "job.count", f'count {count} of group "{group_name}" is refused', "; ".join(map(str, problems))
        )
    return scaled


def check_capabilities(job: Job, namespace: Namespace) -> None:
    """Refuse a job with a driver or network mode that its namespace does not allow."""
    drivers = {task.driver for group in job.task_groups for task in group.tasks}
    modes = {network.mode for group in job.task_groups for network in group.networks}
    for noun, keys, used in (
        ("driver", ("EnabledTaskDrivers", "DisabledTaskDrivers"), drivers),
        ("network mode", ("EnabledNetworkModes", "DisabledNetworkModes"), modes),
    ):
        enabled, disabled = (_names(namespace.capabilities, key) for key in keys)
        refused = sorted(name for name in used if name in disabled or (enabled and name not in enabled))
        if refused:
            raise BadRequestError(
                "job.not_in_namespace",
                f'job "{job.id}" was not accepted: namespace "{namespace.name}" does not allow the {noun} '
                f'"{refused[0]}"',
                f"allowed: {', '.join(sorted(enabled))}" if enabled else f"not allowed: {', '.join(sorted(disabled))}",
                "use another, or have an operator change the namespace's capabilities: rove namespace apply",
                status=500,
            )


def _names(capabilities: Mapping[str, Any] | None, wanted: str) -> set[str]:
    """One of a namespace's lists. Their keys are matched without regard to case, as in every body."""
    found = next((value for key, value in (capabilities or {}).items() if key.lower() == wanted.lower()), None)
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


def check_dispatch(parent: Job, payload: bytes, meta: Mapping[str, str]) -> None:
    """Refuse a dispatch that the job's `parameterized` block does not allow."""
    rules = parent.parameterized_job
    if rules is None or parent.dispatched:
        raise BadRequestError("job.not_parameterized", f'job "{parent.id}" is not a parameterized job')
    if parent.stop:
        raise BadRequestError("job.stopped", f'job "{parent.id}" is stopped', fix="register it again, then dispatch")
    if len(payload) > PAYLOAD_MAX:
        raise BadRequestError(
            "job.payload",
            f"the payload is too large: {len(payload)} bytes, and {PAYLOAD_MAX} are allowed",
            fix="put the data where the task can fetch it, and pass its address",
        )
    if rules.payload == "required" and not payload:
        raise BadRequestError("job.payload", f'job "{parent.id}" has to be given a payload, and there is none')
    if rules.payload == "forbidden" and payload:
        raise BadRequestError("job.payload", f'job "{parent.id}" takes no payload, and one was given')
    allowed = {*rules.meta_required, *rules.meta_optional}
    unknown = sorted(set(meta) - allowed)
    if unknown:
        raise BadRequestError(
            "job.meta",
            f'job "{parent.id}" does not know these meta keys: {", ".join(unknown)}',
            f"it takes: {', '.join(sorted(allowed)) or 'none'}",
        )
    if any("\0" in key or "\0" in value for key, value in meta.items()):
        raise BadRequestError(
            "job.meta", "the job was not dispatched", "meta may not hold a NUL byte: it becomes environment variables"
        )
    size = sum(len(text.encode("utf-8", "replace")) for pair in meta.items() for text in pair)
    if size > DISPATCH_META_MAX:
        raise BadRequestError(
            "job.meta",
            f"the meta is too large: {size} bytes, and {DISPATCH_META_MAX} are allowed",
            "it becomes environment variables, whose size is limited",
            "put the data into the payload, or where the task can fetch it",
        )
    missing = sorted(set(rules.meta_required) - set(meta))
    if missing:
        raise BadRequestError("job.meta", f'job "{parent.id}" needs these meta keys as well: {", ".join(missing)}')


def check_child(id_prefix: str, priority: int) -> None:
    """Refuse a dispatch whose child could not be named or ranked. priority 0: the parent's own."""
    if len(id_prefix) > ID_PREFIX_MAX or not id_prefix.isprintable() or " " in id_prefix:
        raise BadRequestError(
            "job.id_prefix",
            "the job was not dispatched",
            f"an id prefix has at most {ID_PREFIX_MAX} printable characters and no spaces",
        )
    if not 0 <= priority <= PRIORITY_MAX:
        raise BadRequestError(
            "job.priority", "the job was not dispatched", f"a priority is 1 to {PRIORITY_MAX}; this is {priority}"
        )


def dispatched(
    parent: Job,
    *,
    payload: bytes,
    meta: Mapping[str, str],
    id_prefix: str,
    token: str,
    now: float,
    suffix: str,
    priority: int = 0,
) -> Job:
    """The child job of one dispatch. suffix: eight hexadecimal digits. priority 0: the parent's own."""
    prefix = f"{id_prefix}-" if id_prefix else ""
    child_id = f"{parent.id}{DISPATCH_MARK}{prefix}{int(now)}-{suffix}"
    return msgspec.structs.replace(
        _child(parent, child_id),
        dispatched=True,
        priority=priority or parent.priority,
        payload=payload or None,
        meta={**parent.meta, **meta},
        dispatch_idempotency_token=token,
    )


def launched(parent: Job, launch_s: float) -> Job:
    """The child job of one launch of a periodic job."""
    return msgspec.structs.replace(_child(parent, f"{parent.id}{PERIODIC_MARK}{int(launch_s)}"), periodic=None)


def _child(parent: Job, child_id: str) -> Job:
    return msgspec.structs.replace(
        parent,
        id=child_id,
        name=child_id,
        parent_id=parent.id,
        status=JobStatus.PENDING,
        status_description="",
        stable=False,
        stop=False,
        version=0,
        version_tag=None,
        create_index=0,
        modify_index=0,
        job_modify_index=0,
    )


def version_to_revert_to(
    current: Job | None, target: Job | None, version: int, enforce_prior_version: int | None
) -> Job:
    """The stored version as a new registration. Raises if that makes no sense."""
    if current is None:
        raise NotFoundError("job.unknown", "job not found")
    if enforce_prior_version is not None and current.version != enforce_prior_version:
        raise ConflictError(
            "job.moved_on",
            f'job "{current.id}" is at version {current.version}, not at {enforce_prior_version} as was expected',
            status=500,
        )
    if version == current.version:
        raise BadRequestError(
            "job.revert",
            f'job "{current.id}" is at version {version} already',
            fix=f"name an older version; see them: rove job history {current.id}",
            status=500,
        )
    if target is None:
        raise NotFoundError(
            "job.unknown_version",
            f'job "{current.id}" in namespace "{current.namespace}" at version {version} not found',
            fix=f"see the kept versions: rove job history {current.id}",
        )
    return msgspec.structs.replace(target, stable=False, stop=False, version_tag=None)
