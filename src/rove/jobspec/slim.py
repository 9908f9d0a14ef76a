"""The opposite of `canonical`: a job without what goes without saying, for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from rove.structs import job as nouns

from .canonical import RESCHEDULE, RESTART, ROLLING, UPDATE
from .schema import JOB, Body, Nest

Api = dict[str, Any]

_KEPT_BY_SERVER = {
    "ID", "Stop", "ParentID", "Dispatched", "DispatchIdempotencyToken", "Payload", "Status",
    "StatusDescription", "Stable", "Version", "SubmitTime", "CreateIndex", "ModifyIndex", "JobModifyIndex",
    "VersionTag", "NomadTokenID", "ConsulNamespace", "VaultNamespace",
}  # fmt: skip
_STRUCTS: dict[str, type] = {
    "job": nouns.Job, "group": nouns.TaskGroup, "task": nouns.Task, "service": nouns.Service,
    "check": nouns.ServiceCheck, "check_restart": nouns.CheckRestart, "template": nouns.Template,
    "change_script": nouns.ChangeScript, "artifact": nouns.Artifact, "volume": nouns.VolumeRequest,
    "volume_mount": nouns.VolumeMount, "mount_options": nouns.VolumeMountOptions,
    "resources": nouns.Resources, "network": nouns.NetworkResource, "port": nouns.Port,
    "device": nouns.RequestedDevice, "logs": nouns.LogConfig, "ephemeral_disk": nouns.EphemeralDisk,
    "lifecycle": nouns.Lifecycle, "vault": nouns.Vault, "consul": nouns.Consul,
    "identity": nouns.WorkloadIdentity, "disconnect": nouns.DisconnectStrategy,
    "periodic": nouns.Periodic, "parameterized": nouns.ParameterizedJob,
    "constraint": nouns.Constraint, "affinity": nouns.Affinity, "csi_plugin": nouns.CSIPluginConfig,
    "weights": nouns.ServiceWeights, "numa": nouns.NUMA, "dns": nouns.DNSConfig, "secret": nouns.Secret,
    "action": nouns.Action, "scaling": nouns.ScalingPolicy, "gate": nouns.Gate,
}  # fmt: skip
_ALWAYS = {"Type", "Count", "Driver", "CPU", "MemoryMB", "Name", "Label", "Weight", "Min", "Max"}
"""Said even when it is the default: people look for it."""
_MIGRATE: Api = msgspec.to_builtins(nouns.MigrateStrategy())
_STORED = ("Stagger", "MaxParallel")
_ALWAYS_THERE = ("EphemeralDisk", "Update", "Migrate", "RestartPolicy", "ReschedulePolicy", "LogConfig", "Identity")
"""Blocks that the canonical form has anyway, so that an empty one says nothing."""


@cache
def _defaults(name: str) -> dict[str, Any]:
    """The plain defaults of a block, by API name."""
    struct = _STRUCTS.get(name)
    if struct is None:
        return {}
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(struct()))
    # fields that a sparse struct leaves out of JSON are zero
    for field in msgspec.structs.fields(struct):
        if field.encode_name not in values and field.default is not msgspec.NODEFAULT:
            values[field.encode_name] = field.default
    return values


def slim_job(api: Mapping[str, Any]) -> Api:
    """The job's API form without defaults, nulls and what only the server writes."""
    job = {key: value for key, value in api.items() if key not in _KEPT_BY_SERVER}
    kind = api.get("Type") or "service"
    update = _given(job.get("Update"))
    if update.get("HealthCheck") == "":
        # a stored job says here only what its groups do not say themselves
        update = {key: update[key] for key in _STORED if update.get("Stagger")}
    job["Update"] = _differing(update, UPDATE) if kind in ROLLING else update or None
    outer = {
        "Update": {**UPDATE, **update} if kind in ROLLING else {},
        "ReschedulePolicy": {**RESCHEDULE.get(kind, {}), **_given(job.get("Reschedule"))},
        "Migrate": {**_MIGRATE, **_given(job.get("Migrate"))},
    }
    job["TaskGroups"] = [_group(group, kind, outer) for group in api.get("TaskGroups") or ()]
    if job.get("Name") == (api.get("ID") or api.get("Name")):
        del job["Name"]
    return _slim(JOB, job)


_SERVERS_OWN = ("Target", "ID", "CreateIndex", "ModifyIndex")
"""What a scaling policy has from the server."""


def _group(group: Mapping[str, Any], kind: str, outer: Mapping[str, Api]) -> Api:
    out = dict(group)
    restart = {**RESTART[kind], **_given(group.get("RestartPolicy"))} if kind in RESTART else {}
    out["RestartPolicy"] = _differing(group.get("RestartPolicy"), RESTART.get(kind, {}))
    for key, defaults in outer.items():
        out[key] = _differing(group.get(key), defaults)
    scaling = group.get("Scaling")
    if scaling:
        out["Scaling"] = {key: value for key, value in scaling.items() if key not in _SERVERS_OWN}
        if scaling.get("Type") == "horizontal":
            del out["Scaling"]["Type"]
    out["Tasks"] = [_task(task, restart) for task in group.get("Tasks") or ()]
    return out


def _task(task: Mapping[str, Any], restart: Api) -> Api:
    out = dict(task)
    out["RestartPolicy"] = _differing(task.get("RestartPolicy"), restart)
    identity = _given(task.get("Identity"))
    if identity:
        if identity.get("Audience") == ["nomadproject.io"]:
            del identity["Audience"]
        quiet = _slim_plain(identity, _defaults("identity"))
        out["Identity"] = identity if quiet not in ({}, {"Name": "default"}) else None
    resources = task.get("Resources")
    if resources and resources.get("Cores"):
        out["Resources"] = {key: value for key, value in resources.items() if key != "CPU"}
    return out


def _given(value: Mapping[str, Any] | None) -> Api:
    return {key: item for key, item in (value or {}).items() if item is not None}


def _differing(value: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> Api | None:
    if value is None:
        return None
    return {
        key: item for key, item in value.items() if item is not None and (key not in defaults or defaults[key] != item)
    } or None


def _slim_plain(value: Mapping[str, Any], defaults: Mapping[str, Any]) -> Api:
    return {
        key: item
        for key, item in value.items()
        if item is not None and (key in _ALWAYS or key not in defaults or defaults[key] != item)
    }


def _slim(body: Body, value: Mapping[str, Any]) -> Api:
    """A block's API form without defaults, all the way down."""
    out = _slim_plain(value, _defaults(body.name))
    for key in ("Name", "Type"):
        if key in out and out[key] == "":
            del out[key]
    for nest in _nests(body):
        item = out.get(nest.key)
        if item is None:
            continue
        slim = _slim_nested(nest, item)
        if not slim and nest.key in _ALWAYS_THERE:
            del out[nest.key]
        else:
            out[nest.key] = slim
    for key in [key for key, item in out.items() if item in ([], "") and key not in _ALWAYS]:
        del out[key]
    return out


@cache
def _nests(body: Body) -> tuple[Nest, ...]:
    extra: tuple[Nest, ...] = ()
    if body.name == "network":
        extra = (Nest("ReservedPorts", body.blocks["port"].body, many=True, label="Label"),)
    if body.name == "task":
        extra = (Nest("Identity", body.blocks["identity"].body),)
    return (*(nest for nest in body.blocks.values() if nest.key), *extra)


def _slim_nested(nest: Nest, item: Any) -> Any:
    if nest.keyed:
        return {key: _slim(nest.body, each) for key, each in item.items()}
    if nest.many:
        return [_slim(nest.body, each) for each in item]
    return _slim(nest.body, item)
