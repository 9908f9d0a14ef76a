"""What a person should know about a job that is accepted all the same."""

from __future__ import annotations

from rove.structs.job import Job, JobType, TaskGroup

from .places import nth
from .problem import clean, join

_DEPRECATED = ("stop_after_client_disconnect", "max_client_disconnect", "prevent_reschedule_on_lost")


def warnings(job: Job) -> list[str]:
    """Advice about a canonical job, one line each, beginning with the place in the job file."""
    found: list[str] = []
    if job.multiregion is not None:
        found.append("multiregion: kept, but each region is registered on its own")
    if job.type is JobType.SYSBATCH and (job.spreads or any(group.spreads for group in job.task_groups)):
        found.append("spread: has no effect on a sysbatch job, which runs on every node")
    for group in job.task_groups:
        path = f'group "{group.name}"'
        _update_advice(job, group, path, found)
        _deprecated(group, path, found)
        _tasks(group, path, found)
    return [clean(line) for line in found]


def _update_advice(job: Job, group: TaskGroup, path: str, found: list[str]) -> None:
    update = group.update
    if update is None:
        return
    place = join(path, "update")
    if update.max_parallel > group.count > 0 and job.type is JobType.SERVICE:
        found.append(f"{place} > max_parallel: {update.max_parallel} is more than the count of {group.count}")
    if update.max_parallel == 0:
        found.append(f"{place} > max_parallel: 0 replaces everything at once and makes no deployment")
        return
    if job.type is not JobType.SERVICE or group.count == 0:
        return
    services = [*group.services, *(service for task in group.tasks for service in task.services)]
    if update.health_check == "checks" and not any(service.checks for service in services):
        found.append(
            f"{place}: without a health check a new version counts as healthy as soon as it runs for"
            " min_healthy_time, so this update cannot be sure to be free of downtime"
        )
    if group.count == 1 and update.canary == 0:
        found.append(f"{place}: with a count of 1 and no canary there is a gap while a new version starts")
    if update.canary > group.count:
        found.append(f"{place} > canary: {update.canary} is more than the count of {group.count}")
    if services and group.shutdown_delay is None and all(task.shutdown_delay == 0 for task in group.tasks):
        found.append(f"{path} > shutdown_delay: not set, so clients may still be sent to a service that is stopping")


def _deprecated(group: TaskGroup, path: str, found: list[str]) -> None:
    found += [f"{join(path, name)}: is ignored; use a disconnect block" for name in _DEPRECATED if getattr(group, name)]
    if any(network.mbits for network in group.networks):
        found.append(f"{join(path, 'network > mbits')}: is ignored")
    policy = group.reschedule_policy
    if policy is not None and policy.unlimited and policy.attempts > 0:
        found.append(f"{join(path, 'reschedule')}: attempts has no effect while unlimited is true")
    for task in group.tasks:
        if task.resources.networks:
            found.append(f'{path} > task "{task.name}" > resources > network: belongs in the group')
        numa = task.resources.numa
        if numa is not None and numa.affinity not in ("", "none"):
            found.append(f'{path} > task "{task.name}" > resources > numa: has no effect, cores are given without it')
        if task.resources.iops or task.resources.disk_mb:
            found.append(f'{path} > task "{task.name}" > resources: disk and iops have no effect')


def _tasks(group: TaskGroup, path: str, found: list[str]) -> None:
    for task in group.tasks:
        place = join(path, f'task "{task.name}"')
        for at, template in enumerate(task.templates):
            if template.vault_grace:
                found.append(f"{place} > {nth('template', at)} > vault_grace: has no effect")
        if task.driver == "docker" and not _is_pinned(str(task.config.get("image", "x:1"))):
            found.append(f'{place} > config > image: the tag is "latest" or missing; versions cannot be told apart')
        for at, artifact in enumerate(task.artifacts):
            source = artifact.getter_source
            if source.startswith("http://") and not artifact.getter_options.get("checksum"):
                found.append(f"{place} > {nth('artifact', at)}: fetched over plain http without a checksum")
        if task.resources.memory_max_mb == -1:
            found.append(f"{place} > resources > memory_max: without a limit one task can starve its node")


def _is_pinned(image: str) -> bool:
    if "${" in image or "{{" in image or "@" in image:
        return True
    name = image.rpartition("/")[2]
    return ":" in name and not name.endswith(":latest")
