"""Rules for tasks: driver and config, resources, files that come to it, and what it offers."""

from __future__ import annotations

import re
from collections.abc import Collection

from rove.structs.job import Artifact, Job, Resources, Task, TaskGroup, Template, WorkloadIdentity

from .drivers import config_problems
from .places import nth
from .problem import Problem, did_you_mean, join
from .rules import (
    Problems,
    affinity_problems,
    at_least,
    bad_character,
    constraint_problems,
    escapes,
    is_late,
    is_unfit_below,
    nul_problems,
    repeated,
    word,
)
from .validate_service import services_problems

CPU_MAX = 10_000_000
"""MHz; a thousand cores of 10 GHz."""
MEMORY_MAX = 64 * 1024 * 1024
"""MB; 64 TiB."""
MEMORY_MIN = 10
CORES_MAX = 4096
DIGESTS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}

_PERMS = re.compile(r"[0-7]{3,4}", re.ASCII)
_DEVICE = re.compile(r"[^/\s]+(/[^/\s]+){0,2}")
_SIGNAL = re.compile(r"SIG[A-Z0-9+-]+|[0-9]{1,2}", re.ASCII)
_SECRET_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)


def task_problems(job: Job, group: TaskGroup, task: Task, path: str, drivers: Collection[str], found: Problems) -> None:
    """Everything about one task."""
    _name(task, path, found)
    _driver(task, path, drivers, found)
    _resources(task.resources, join(path, "resources"), found)
    _policies(group, task, path, found)
    constraint_problems(task.constraints, path, found, in_task=True)
    affinity_problems(task.affinities, path, found)
    _templates(task, path, found)
    for at, artifact in enumerate(task.artifacts):
        _artifact(artifact, join(path, nth("artifact", at)), found)
    services_problems(group, task, task.services, path, found)
    _mounts(group, task, path, found)
    _identities(task, path, found)
    _extras(job, task, path, found)


def _name(task: Task, path: str, found: Problems) -> None:
    name = task.name
    if not name:
        found.append(Problem(path, "a task needs a name"))
    elif name == "alloc":
        found.append(Problem(path, 'a task cannot be called "alloc": that is the shared directory\'s name'))
    elif name in (".", "..") or "/" in name or "\\" in name or bad_character(name):
        text = bad_character(name) or "slashes, or be a directory of its own"
        found.append(Problem(path, f"a task's name becomes a directory and may not hold {text}"))
    elif len(name.encode("utf-8", "replace")) > 128:
        found.append(Problem(path, "a task's name has at most 128 bytes"))


def _driver(task: Task, path: str, drivers: Collection[str], found: Problems) -> None:
    if not task.driver:
        found.append(Problem(path, 'a task needs a "driver"'))
    elif task.driver not in drivers:
        hint = did_you_mean(task.driver, drivers)
        found.append(Problem(join(path, "driver"), f'there is no driver "{task.driver[:80]}"{hint}'))
    else:
        found.extend(config_problems(task.driver, task.config, path))


def _resources(resources: Resources, path: str, found: Problems) -> None:
    cpu, cores = resources.cpu, resources.cores
    if cores < 0 or cores > CORES_MAX:
        found.append(Problem(join(path, "cores"), f"cores are 0 to {CORES_MAX}; this is {cores}"))
    if cores > 0 and cpu > 0:
        found.append(Problem(path, "cpu and cores exclude each other"))
    elif cores == 0 and cpu < 1:
        found.append(Problem(join(path, "cpu"), f"cpu is at least 1 MHz; this is {cpu}"))
    if cpu > CPU_MAX:
        found.append(Problem(join(path, "cpu"), f"no machine has {cpu} MHz; {CPU_MAX} is the limit"))
    _memory(resources, path, found)
    for name, value in (("disk", resources.disk_mb), ("iops", resources.iops), ("secrets", resources.secrets_mb)):
        at_least(value, 0, join(path, name), f"{name} cannot be negative", found)
    for device in resources.devices:
        place = join(path, f'device "{device.name}"')
        if not _DEVICE.fullmatch(device.name):
            found.append(Problem(place, "a device is called type, vendor/type or vendor/type/name"))
        if not 1 <= device.count <= 1024:
            found.append(Problem(join(place, "count"), f"a count of devices is 1 to 1024; this is {device.count}"))
        constraint_problems(device.constraints, place, found, in_task=True)
        affinity_problems(device.affinities, place, found)
    if resources.numa is not None:
        word(resources.numa.affinity, ("none", "prefer", "require"), join(path, "numa > affinity"), found)


def _memory(resources: Resources, path: str, found: Problems) -> None:
    memory, most = resources.memory_mb, resources.memory_max_mb
    if memory < MEMORY_MIN:
        found.append(Problem(join(path, "memory"), f"memory is at least {MEMORY_MIN} MB; this is {memory}"))
    elif memory > MEMORY_MAX:
        found.append(Problem(join(path, "memory"), f"no machine has {memory} MB; {MEMORY_MAX} is the limit"))
    if most not in (0, -1) and most < memory:
        found.append(Problem(join(path, "memory_max"), f"memory_max ({most}) is below memory ({memory})"))
    elif most > MEMORY_MAX:
        found.append(Problem(join(path, "memory_max"), f"no machine has {most} MB; {MEMORY_MAX} is the limit"))


def _policies(group: TaskGroup, task: Task, path: str, found: Problems) -> None:
    from .validate_job import restart_problems

    if task.restart_policy != group.restart_policy:
        restart_problems(task.restart_policy, join(path, "restart"), found)
    at_least(task.kill_timeout, 0, join(path, "kill_timeout"), "kill_timeout cannot be negative", found)
    at_least(task.shutdown_delay, 0, join(path, "shutdown_delay"), "shutdown_delay cannot be negative", found)
    if task.kill_signal:
        _signal(task.kill_signal, join(path, "kill_signal"), found)
    logs = task.log_config
    place = join(path, "logs")
    at_least(logs.max_files, 1, join(place, "max_files"), "at least one file is kept", found)
    at_least(logs.max_file_size_mb, 1, join(place, "max_file_size"), "the smallest file is 1 MB", found)
    if not logs.disabled and logs.max_files * logs.max_file_size_mb >= group.ephemeral_disk.size_mb:
        kept = logs.max_files * logs.max_file_size_mb
        text = f"{kept} MB of logs do not fit the group's ephemeral_disk of {group.ephemeral_disk.size_mb} MB"
        found.append(Problem(place, text))
    if task.lifecycle is not None:
        hooks = ("prestart", "poststart", "poststop")
        if not task.lifecycle.hook:
            found.append(Problem(join(path, "lifecycle"), 'a lifecycle needs a "hook"'))
        else:
            word(task.lifecycle.hook, hooks, join(path, "lifecycle > hook"), found)


def _signal(name: str, path: str, found: Problems) -> None:
    if not is_late(name) and not _SIGNAL.fullmatch(name.upper()):
        found.append(Problem(path, f'"{name[:40]}" is not a signal; examples are "SIGTERM" and "SIGHUP"'))


def _templates(task: Task, path: str, found: Problems) -> None:
    for at, template in enumerate(task.templates):
        _template(template, join(path, nth("template", at)), found)
    seen: set[str] = set()
    for at, template in enumerate(task.templates):
        if template.dest_path and template.dest_path in seen:
            place = join(path, f"{nth('template', at)} > destination")
            found.append(Problem(place, f'another template already writes "{template.dest_path[:80]}"'))
        seen.add(template.dest_path)


def _template(template: Template, path: str, found: Problems) -> None:
    if bool(template.source_path) == bool(template.embedded_tmpl):
        found.append(Problem(path, 'give either "data" or "source", one of the two'))
    if not template.dest_path:
        found.append(Problem(path, 'a template needs a "destination"'))
    elif escapes(template.dest_path):
        found.append(Problem(join(path, "destination"), "the destination is outside of the task's directory"))
    modes = ("noop", "restart", "signal", "script")
    word(template.change_mode, modes, join(path, "change_mode"), found)
    if template.change_mode == "signal":
        if template.envvars:
            found.append(Problem(path, "variables cannot change in a running process: env needs another mode"))
        _signal(template.change_signal, join(path, "change_signal"), found)
    if template.change_mode == "script" and (template.change_script is None or not template.change_script.command):
        found.append(Problem(path, 'change_mode "script" needs a change_script with a "command"'))
    if not _PERMS.fullmatch(template.perms):
        found.append(Problem(join(path, "perms"), f'"{template.perms[:20]}" are not permissions such as "0644"'))
    at_least(template.splay, 0, join(path, "splay"), "splay cannot be negative", found)
    wait = template.wait
    if wait is not None and wait.min is not None and wait.max is not None and wait.min > wait.max:
        found.append(Problem(join(path, "wait"), "min is longer than max"))


def _artifact(artifact: Artifact, path: str, found: Problems) -> None:
    if not artifact.getter_source:
        found.append(Problem(path, 'an artifact needs a "source"'))
    if escapes(artifact.relative_dest) and not is_late(artifact.relative_dest):
        found.append(Problem(join(path, "destination"), "the destination is outside of the task's directory"))
    word(artifact.getter_mode, ("any", "file", "dir"), join(path, "mode"), found)
    checksum = artifact.getter_options.get("checksum", "")
    if checksum and not is_late(checksum) and not checksum.startswith("file:"):
        _checksum(checksum, join(path, "options > checksum"), found)


def _checksum(text: str, path: str, found: Problems) -> None:
    kind, colon, digits = text.partition(":")
    length = DIGESTS.get(kind)
    if not colon:
        found.append(Problem(path, 'a checksum is written "sha256:<digits>"'))
    elif length is None:
        found.append(Problem(path, f'"{kind[:40]}" is not a kind of checksum{did_you_mean(kind, DIGESTS)}'))
    elif len(digits) != length or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        found.append(Problem(path, f"a {kind} checksum has {length} hexadecimal digits; this has {len(digits)}"))


def _mounts(group: TaskGroup, task: Task, path: str, found: Problems) -> None:
    for at, mount in enumerate(task.volume_mounts):
        place = join(path, nth("volume_mount", at))
        if mount.volume not in group.volumes and not is_late(mount.volume):
            hint = did_you_mean(mount.volume, group.volumes)
            found.append(Problem(place, f'the group has no volume "{mount.volume[:80]}"{hint}'))
        if not mount.destination:
            found.append(Problem(place, 'a volume_mount needs a "destination"'))
        modes = ("private", "host-to-task", "bidirectional")
        word(mount.propagation_mode, modes, join(place, "propagation_mode"), found)


def _identities(task: Task, path: str, found: Problems) -> None:
    own = [task.identity] if task.identity is not None else []
    repeated((each.name for each in (*own, *task.identities)), path, "identity", found)
    for identity in (*own, *task.identities):
        _identity(identity, join(path, f'identity "{identity.name}"'), found)
    if task.identity is not None and task.identity.ttl:
        found.append(Problem(join(path, f'identity "{task.identity.name}" > ttl'), "the default identity has no ttl"))


def _identity(identity: WorkloadIdentity, path: str, found: Problems) -> None:
    word(identity.change_mode, ("", "noop", "restart", "signal"), join(path, "change_mode"), found)
    if identity.filepath and not identity.file:
        found.append(Problem(join(path, "filepath"), 'a "filepath" needs file = true'))
    if escapes(identity.filepath):
        found.append(Problem(join(path, "filepath"), "the file is outside of the task's directory"))
    at_least(identity.ttl, 0, join(path, "ttl"), "a ttl cannot be negative", found)
    if identity.change_mode == "signal":
        _signal(identity.change_signal or "SIGHUP", join(path, "change_signal"), found)


def _extras(job: Job, task: Task, path: str, found: Problems) -> None:
    payload = task.dispatch_payload
    if payload is not None:
        place = join(path, "dispatch_payload")
        if job.parameterized_job is None:
            found.append(Problem(place, "only parameterized jobs have a payload"))
        if is_unfit_below(payload.file):
            text = 'the "file" for the payload is a path below the task\'s local/: not absolute, and without ".."'
            found.append(Problem(place, text))
    repeated((action.name for action in task.actions), path, "action", found)
    for action in task.actions:
        place = join(path, f'action "{action.name}"')
        if not action.name or len(action.name) > 128 or any(char.isspace() for char in action.name):
            found.append(Problem(place, "an action's name has 1 to 128 characters and no blanks"))
        if not action.command:
            found.append(Problem(place, 'an action needs a "command"'))
    repeated((secret.name for secret in task.secrets), path, "secret", found)
    for secret in task.secrets:
        place = join(path, f'secret "{secret.name}"')
        if not _SECRET_NAME.fullmatch(secret.name):
            found.append(Problem(place, "a secret's name has letters, digits and underscores"))
        if not secret.provider:
            found.append(Problem(place, 'a secret needs a "provider"'))
        if not secret.path:
            found.append(Problem(place, 'a secret needs a "path"'))
    for policy in task.scaling_policies:
        word(policy.type, ("vertical_cpu", "vertical_mem"), join(path, "scaling > type"), found)
    nul_problems(task.meta, "meta", join(path, "meta"), found)
    nul_problems(task.env, "variable", join(path, "env"), found)
    for name in task.env:
        if not name or "=" in name:
            found.append(Problem(join(path, "env"), f'"{name[:40]!s}" cannot be the name of a variable'))
