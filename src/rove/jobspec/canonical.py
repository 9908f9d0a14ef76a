"""Defaults: from what a file or a client says to the job that is stored, with nothing left open.

Plain defaults stand in `rove.structs.job`; here are those that depend on something else: the job's type, an outer
block, a name. `canonicalize` of its own output changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rove.errors import BadRequestError, InvalidJobError
from rove.structs.base import HOUR, MINUTE, SECOND
from rove.structs.job import Job, JobStatus, JobType

from .drivers import settle_config
from .problem import clean, did_you_mean, quoted

Api = dict[str, Any]

UPDATE: Api = {
    "Stagger": 30 * SECOND, "MaxParallel": 1, "HealthCheck": "checks", "MinHealthyTime": 10 * SECOND,
    "HealthyDeadline": 5 * MINUTE, "ProgressDeadline": 10 * MINUTE, "AutoRevert": False, "AutoPromote": False,
    "Canary": 0,
}  # fmt: skip
_RESTART_LONG: Api = {
    "Attempts": 2, "Interval": 30 * MINUTE, "Delay": 15 * SECOND, "Mode": "fail", "RenderTemplates": False,
}  # fmt: skip
_RESTART_SHORT: Api = {**_RESTART_LONG, "Attempts": 3, "Interval": 24 * HOUR}
RESTART: dict[str, Api] = {
    "service": _RESTART_LONG, "system": _RESTART_LONG, "batch": _RESTART_SHORT, "sysbatch": _RESTART_SHORT,
}  # fmt: skip
RESCHEDULE: dict[str, Api] = {
    "service": {
        "Attempts": 0, "Interval": 0, "Delay": 30 * SECOND, "DelayFunction": "exponential",
        "MaxDelay": HOUR, "Unlimited": True,
    },
    "batch": {
        "Attempts": 1, "Interval": 24 * HOUR, "Delay": 5 * SECOND, "DelayFunction": "constant",
        "MaxDelay": 0, "Unlimited": False,
    },
}  # fmt: skip
_JOB_UPDATE_KEYS = ("Stagger", "MaxParallel")
_DEFAULT_AUDIENCE = ["nomadproject.io"]
_STATUSES = frozenset(each.value for each in JobStatus)
_TYPES = frozenset(each.value for each in JobType)
ROLLING = ("service", "system")


def canonicalize(api: Mapping[str, Any]) -> Job:
    """The job with every default filled in. `api`: exact keys, as `decode_api_job` and `parse_job` give them.

    Raises BadRequestError for a value of a wrong type, InvalidJobError (with every other problem too) for a type of
    job that does not exist, since no Job can hold it.
    """
    job: Api = prune(api)
    kind = job.get("Type") or "service"
    job["Type"] = kind
    if kind not in _TYPES:
        _refuse_type(job, kind)
    _settle_job(job, kind)
    try:
        return msgspec.convert(job, Job)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadRequestError("job.type", "the job has a value of the wrong type", why=str(error)) from None


def prune(value: Any) -> Any:
    """A copy without keys that are null. Free-form maps keep theirs."""
    out = {}
    for key, item in value.items():
        kind = type(item)
        if item is None:
            continue
        if kind is dict:
            out[key] = item.copy() if key in ("Config", "Policy", "Meta", "Env") else prune(item)
        elif kind is list or kind is tuple:
            out[key] = [prune(each) if type(each) is dict else each for each in item if each is not None]
        else:
            out[key] = item
    return out


def _refuse_type(job: Api, kind: Any) -> None:
    from .validate_job import validate

    known = [each.value for each in JobType]
    text = f'type: "{kind}" is not a type of job; these are {quoted(known)}{did_you_mean(str(kind), known)}'
    others = validate(canonicalize({**job, "Type": "service"}))
    raise InvalidJobError(str(job.get("ID") or ""), [clean(text), *(str(each) for each in others)])


def _settle_job(job: Api, kind: str) -> None:
    job.setdefault("ID", "")
    if not job.get("Name"):
        job["Name"] = job["ID"]
    _drop_empty(job, "Region", "Namespace", "NodePool")
    _drop_empty(job.get("Periodic"), "TimeZone", "SpecType")
    _drop_empty(job.get("ParameterizedJob"), "Payload")
    if not job.get("Datacenters"):
        job["Datacenters"] = ["*"]
    if job.get("Status") not in _STATUSES:
        # the server's own word; clients send back what they like
        job.pop("Status", None)
    if job.get("Priority") == 0:
        del job["Priority"]
    for each in job.get("Constraints", ()):
        _settle_operand(each)
    for each in job.get("Affinities", ()):
        _settle_operand(each)
    outer = {
        "Update": _outer_update(job.get("Update")),
        "ReschedulePolicy": job.pop("Reschedule", None),
        "Migrate": job.pop("Migrate", None),
    }
    for group in job.setdefault("TaskGroups", []):
        _settle_group(group, job, kind, outer)
    if kind in ROLLING:
        update = job.get("Update") or {}
        job["Update"] = {key: update.get(key, UPDATE[key]) for key in _JOB_UPDATE_KEYS}
    elif "Update" in job and not any(job["Update"].values()):
        del job["Update"]


def _outer_update(update: Api | None) -> Api | None:
    """What the groups inherit. A stored job carries zeros here that mean "see the groups"."""
    if update is None:
        return None
    if update.get("HealthCheck") == "":
        return {key: update[key] for key in _JOB_UPDATE_KEYS if key in update}
    return update


def _drop_empty(block: Api | None, *keys: str) -> None:
    """An empty text where a word is wanted means that nothing was said."""
    for key in keys:
        if block and block.get(key) == "":
            del block[key]


def _settle_operand(each: Api) -> None:
    if not each.get("Operand"):
        each["Operand"] = "="


def _merged(outer: Api | None, inner: Api | None, defaults: Api | None) -> Api | None:
    """Inner over outer over the defaults; None if there is nothing at all."""
    if outer is None and inner is None and defaults is None:
        return None
    return {**(defaults or {}), **(outer or {}), **(inner or {})}


def _settle_group(group: Api, job: Api, kind: str, outer: Mapping[str, Api | None]) -> None:
    _settle_count(group, job)
    rolling = kind in ROLLING
    given = group.get("Update")
    policies = {
        "Update": _merged(outer["Update"], group.get("Update"), UPDATE if rolling else None),
        "ReschedulePolicy": _merged(outer["ReschedulePolicy"], group.get("ReschedulePolicy"), RESCHEDULE.get(kind)),
        "Migrate": _merged(outer["Migrate"], group.get("Migrate"), {} if kind == "service" else None),
    }
    for key, value in policies.items():
        if value is None or (key == "Update" and not rolling and not any(value.values())):
            group.pop(key, None)
        else:
            group[key] = value
    if rolling:
        _settle_deadline(group["Update"], outer["Update"], given)
    _drop_empty(group.get("Disconnect"), "Reconcile")
    _drop_empty(group.get("RestartPolicy"), "Mode")
    group["RestartPolicy"] = {**RESTART[kind], **group.get("RestartPolicy", {})}
    for each in (*group.get("Constraints", ()), *group.get("Affinities", ())):
        _settle_operand(each)
    tasks = group.setdefault("Tasks", [])
    for task in tasks:
        _settle_task(task, group, job)
    _lift_networks(group, tasks)
    for network in group.get("Networks", ()):
        _settle_network(network, "host")
    for service in group.get("Services", ()):
        _settle_service(service, f"{job['Name']}-{group.get('Name', '')}", job, group, "")
    for name, volume in group.get("Volumes", {}).items():
        if not volume.get("Name"):
            volume["Name"] = name


def _settle_deadline(update: Api, outer: Api | None, inner: Api | None) -> None:
    """A long healthy_deadline moves the progress_deadline that nobody set, instead of contradicting it."""
    if "ProgressDeadline" in (outer or {}) or "ProgressDeadline" in (inner or {}):
        return
    if update["HealthyDeadline"] >= update["ProgressDeadline"]:
        update["ProgressDeadline"] = update["HealthyDeadline"] + 5 * MINUTE


def _settle_count(group: Api, job: Api) -> None:
    scaling = group.get("Scaling")
    if "Count" not in group:
        group["Count"] = scaling.get("Min", 1) if scaling else 1
    if not scaling:
        return
    scaling.setdefault("Min", group["Count"])
    if not scaling.get("Type"):
        scaling["Type"] = "horizontal"
    if not scaling.get("Target"):
        scaling["Target"] = {
            "Namespace": job.get("Namespace", "default"), "Job": job["ID"], "Group": group.get("Name", ""),
        }  # fmt: skip


def _settle_network(network: Api, mode: str) -> None:
    if not network.get("Mode"):
        network["Mode"] = mode
    for port in (*network.get("ReservedPorts", ()), *network.get("DynamicPorts", ())):
        if not port.get("HostNetwork"):
            port["HostNetwork"] = "default"
    # a client that does not sort ports by kind, as Nomad's own command line does, is understood all the same
    loose = [port for port in network.get("DynamicPorts", ()) if port.get("Value")]
    if loose:
        network["DynamicPorts"] = [port for port in network["DynamicPorts"] if not port.get("Value")]
        network["ReservedPorts"] = [*network.get("ReservedPorts", ()), *loose]


def _lift_networks(group: Api, tasks: list[Api]) -> None:
    """Ports in a task's resources, the old place, are ports of the group when it has no network of its own."""
    if group.get("Networks"):
        return
    old = [network for task in tasks for network in task["Resources"].get("Networks", ())]
    if not old:
        return
    lifted: Api = {"Mode": old[0].get("Mode") or "host"}
    for key in ("ReservedPorts", "DynamicPorts"):
        ports = [port for network in old for port in network.get(key, ())]
        if ports:
            lifted[key] = ports
    group["Networks"] = [lifted]
    for task in tasks:
        task["Resources"].pop("Networks", None)


def _settle_task(task: Api, group: Api, job: Api) -> None:
    task["RestartPolicy"] = {**group["RestartPolicy"], **task.get("RestartPolicy", {})}
    resources = task.setdefault("Resources", {})
    if resources.get("Cores"):
        resources.setdefault("CPU", 0)
    for network in resources.get("Networks", ()):
        _settle_network(network, "host")
    for device in resources.get("Devices", ()):
        for each in (*device.get("Constraints", ()), *device.get("Affinities", ())):
            _settle_operand(each)
    for each in (*task.get("Constraints", ()), *task.get("Affinities", ())):
        _settle_operand(each)
    if "Config" in task:
        task["Config"] = settle_config(task.get("Driver", ""), task["Config"])
    for template in task.get("Templates", ()):
        _settle_template(template)
    for artifact in task.get("Artifacts", ()):
        _settle_artifact(artifact)
    for service in task.get("Services", ()):
        name = f"{job['Name']}-{group.get('Name', '')}-{task.get('Name', '')}"
        _settle_service(service, name, job, group, task.get("Name", ""))
    if "Vault" in task:
        _drop_empty(task["Vault"], "Cluster", "ChangeMode")
        _settle_signal(task["Vault"])
    for mount in task.get("VolumeMounts", ()):
        _drop_empty(mount, "PropagationMode")
    _settle_identities(task)
    for policy in task.get("ScalingPolicies", ()):
        if not policy.get("Target"):
            policy["Target"] = {
                "Namespace": job.get("Namespace", "default"), "Job": job["ID"], "Group": group.get("Name", ""),
                "Task": task.get("Name", ""),
            }  # fmt: skip


def _settle_signal(block: Api, mode: str = "restart") -> None:
    if block.get("ChangeMode", mode) == "signal":
        block["ChangeSignal"] = (block.get("ChangeSignal") or "SIGHUP").upper()


def _settle_template(template: Api) -> None:
    _drop_empty(template, "ChangeMode", "Perms", "LeftDelim", "RightDelim")
    _settle_signal(template)


def _settle_artifact(artifact: Api) -> None:
    _drop_empty(artifact, "GetterMode")
    if artifact.get("RelativeDest"):
        return
    artifact["RelativeDest"] = "local/"
    if artifact.get("GetterMode") == "file":
        path = artifact.get("GetterSource", "").partition("?")[0].rstrip("/")
        artifact["RelativeDest"] = f"local/{path.rpartition('/')[2]}"


def _settle_identities(task: Api) -> None:
    own = task.setdefault("Identity", {})
    if not own.get("Name"):
        own["Name"] = "default"
    if not own.get("Audience"):
        own["Audience"] = list(_DEFAULT_AUDIENCE)


def _settle_service(service: Api, name: str, job: Api, group: Api, task: str) -> None:
    base = name
    words = {"${JOB}": job["Name"], "${TASKGROUP}": group.get("Name", ""), "${TASK}": task, "${BASE}": base}
    name = service.get("Name") or base
    if "${" in name:
        for word, value in words.items():
            name = name.replace(word, value)
    service["Name"] = name
    _drop_empty(service, "Provider", "AddressMode", "Cluster", "OnUpdate")
    shared = service.get("CheckRestart")
    for check in service.get("Checks", ()):
        if not check.get("Name"):
            check["Name"] = f"{name} {check.get('Type', '')} check".replace("  ", " ")
        if not check.get("OnUpdate"):
            check["OnUpdate"] = service.get("OnUpdate", "require_healthy")
        if shared:
            check["CheckRestart"] = {**shared, **check.get("CheckRestart", {})}
