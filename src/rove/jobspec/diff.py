"""What changed between two versions of a job, in the shape of Nomad's diff objects.

A diff is plain data: ``{"Type", "ID", "Fields", "Objects", "TaskGroups"}``; types are None, Added, Deleted and
Edited. It is made by walking the structs, so that a new field needs nothing here unless it wants another name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from rove.structs.job import Job

NONE, ADDED, DELETED, EDITED = "None", "Added", "Deleted", "Edited"

CREATES, DESTROYS = "forces create", "forces destroy"
IN_PLACE, DESTRUCTIVE = "forces in-place update", "forces create/destroy update"

Diff = dict[str, Any]

_JOB_IGNORED = frozenset(
    (
        "ID", "Status", "StatusDescription", "Version", "Stable", "CreateIndex", "ModifyIndex", "JobModifyIndex",
        "SubmitTime", "NomadTokenID", "Update", "VersionTag", "Payload", "DispatchIdempotencyToken",
    )
)  # fmt: skip
_SPEC_IGNORED = (
    "status", "status_description", "version", "stable", "create_index", "modify_index", "job_modify_index",
    "submit_time", "nomad_token_id", "version_tag",
)  # fmt: skip
"""What may differ between two registrations of one and the same job."""

_OBJECT_NAMES = {
    "Constraints": "Constraint", "Affinities": "Affinity", "Spreads": "Spread", "Networks": "Network",
    "Services": "Service", "Checks": "Check", "Templates": "Template", "Artifacts": "Artifact",
    "VolumeMounts": "VolumeMount", "Volumes": "Volume", "ReservedPorts": "Static Port",
    "DynamicPorts": "Dynamic Port", "Devices": "Device", "Identities": "Identity", "Actions": "Action",
    "Secrets": "Secret", "ScalingPolicies": "Scaling", "Connect": "ConsulConnect", "Regions": "Region",
    "Links": "Link",
}  # fmt: skip
_KEYS: dict[str, Callable[[Any], str]] = {
    "Service": lambda each: str(each.name),
    "ServiceCheck": lambda each: str(each.name),
    "Template": lambda each: str(each.dest_path),
    "Port": lambda each: str(each.label),
    "RequestedDevice": lambda each: str(each.name),
    "WorkloadIdentity": lambda each: str(each.name),
    "Action": lambda each: str(each.name),
    "Secret": lambda each: str(each.name),
    "SpreadTarget": lambda each: str(each.value),
    "MultiregionRegion": lambda each: str(each.name),
    "NetworkResource": lambda each: "",
    "Spread": lambda each: str(each.attribute),
    "VolumeMount": lambda each: f"{each.volume} {each.destination}",
    "Artifact": lambda each: str(each.relative_dest),
}
"""How an item of a list is found again in the other version; without an entry only an equal item is the same."""

_IN_PLACE_FIELDS = ("KillTimeout", "Leader", "ShutdownDelay", "KillSignal")
_IN_PLACE_OBJECTS = frozenset(
    (
        "Service", "Constraint", "Affinity", "RestartPolicy", "Action", "Scaling", "Lifecycle", "LogConfig",
        "DispatchPayload", "Schedule",
    )
)  # fmt: skip


def diff_jobs(old: Job | None, new: Job | None, contextual: bool = False) -> Diff:
    """The difference as Nomad's JobDiff. old None: the job is new; new None: it goes away.

    contextual: fields that did not change are listed too, inside of objects that did. Groups and tasks are always
    listed, so that they can be annotated. Both jobs are canonical.
    """
    old, new = (None if job is None else _plain_policies(job) for job in (old, new))
    fields, objects = _parts(old, new, contextual, _JOB_IGNORED | {"TaskGroups"})
    groups = _by_name(
        old.task_groups if old else (), new.task_groups if new else (),
        lambda was, now: _group_diff(was, now, contextual),
    )  # fmt: skip
    changed = _is_changed(fields, objects, groups)
    either = new or old
    return {
        "Type": _type(old, new, changed),
        "ID": either.id if either else "",
        "Fields": fields,
        "Objects": objects,
        "TaskGroups": groups,
    }


def spec_changed(old: Job, new: Job) -> bool:
    """Whether what should run differs; status, versions, indexes and times do not count."""
    same = {name: getattr(old, name) for name in _SPEC_IGNORED}
    return bool(msgspec.structs.replace(_plain_policies(new), **same) != _plain_policies(old))


def _plain_policies(job: Job) -> Job:
    """The job without what the server adds to scaling policies."""
    if all(group.scaling is None for group in job.task_groups):
        return job
    groups = []
    for group in job.task_groups:
        if group.scaling is not None:
            plain = msgspec.structs.replace(group.scaling, id="", create_index=0, modify_index=0)
            group = msgspec.structs.replace(group, scaling=plain)
        groups.append(group)
    return msgspec.structs.replace(job, task_groups=tuple(groups))


def annotate(diff: Diff, desired_updates: Mapping[str, Any]) -> Diff:
    """The diff with what the scheduler would do: counts for each group, and what forces them.

    desired_updates: by group, a mapping or a struct with Nomad's names (Place, Stop, Ignore, ...). The diff given is
    left alone.
    """
    out = dict(diff)
    out["TaskGroups"] = [
        _annotated_group(group, _counts(desired_updates.get(group["Name"]))) for group in diff["TaskGroups"]
    ]
    return out


# -- groups and tasks --------------------------------------------------------------------------------


def _by_name(old: Iterable[Any], new: Iterable[Any], compare: Callable[[Any, Any], Diff]) -> list[Diff]:
    was = {each.name: each for each in old}
    now = {each.name: each for each in new}
    return [compare(was.get(name), now.get(name)) for name in sorted({*was, *now})]


def _group_diff(old: Any, new: Any, contextual: bool) -> Diff:
    fields, objects = _parts(
        old, new, contextual, frozenset(("Name", "Tasks")) if old and new else frozenset(("Tasks",))
    )
    tasks = _by_name(
        old.tasks if old else (), new.tasks if new else (), lambda was, now: _task_diff(was, now, contextual)
    )
    return {
        "Type": _type(old, new, _is_changed(fields, objects, tasks)),
        "Name": (new or old).name,
        "Fields": fields,
        "Objects": objects,
        "Tasks": tasks,
        "Updates": None,
    }


def _task_diff(old: Any, new: Any, contextual: bool) -> Diff:
    fields, objects = _parts(old, new, contextual, frozenset(("Name",)) if old and new else frozenset())
    return {
        "Type": _type(old, new, _is_changed(fields, objects, ())),
        "Name": (new or old).name,
        "Fields": fields,
        "Objects": objects,
        "Annotations": None,
    }


def _type(old: Any, new: Any, changed: bool) -> str:
    if old is None:
        return ADDED
    if new is None:
        return DELETED
    return EDITED if changed else NONE


def _is_changed(*parts: Iterable[Diff]) -> bool:
    return any(each["Type"] != NONE for part in parts for each in part)


# -- fields and objects ------------------------------------------------------------------------------


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, field.encode_name) for field in msgspec.structs.fields(kind))


def _parts(old: Any, new: Any, contextual: bool, ignored: frozenset[str]) -> tuple[list[Diff], list[Diff]]:
    """The fields and objects of two structs of one type, either of which may be None."""
    was: dict[str, str] = {}
    now: dict[str, str] = {}
    objects: list[Diff] = []
    kind: type[msgspec.Struct] = type(new if new is not None else old)
    for name, key in _fields_of(kind):
        if key in ignored:
            continue
        before = getattr(old, name) if old is not None else None
        after = getattr(new, name) if new is not None else None
        if before == after and not contextual:
            continue
        if not _is_plain(before) or not _is_plain(after):
            objects += _objects(key, before, after, contextual, was, now)
            continue
        if before is not None:
            was[key] = _text(before)
        if after is not None:
            now[key] = _text(after)
    objects.sort(key=lambda each: each["Name"])
    return _field_diffs(was, now, contextual), objects


def _is_plain(value: Any) -> bool:
    return not isinstance(value, msgspec.Struct | tuple | dict | list)


def _objects(
    key: str, before: Any, after: Any, contextual: bool, was: dict[str, str], now: dict[str, str]
) -> list[Diff]:
    """Diffs of a value that is not plain; maps of texts go into `was` and `now` instead."""
    sample = after if after else before
    name = _OBJECT_NAMES.get(key, key)
    if isinstance(sample, msgspec.Struct):
        return _kept(_object(name, before, after, contextual))
    if isinstance(sample, tuple):
        if sample and isinstance(sample[0], msgspec.Struct):
            return _list_objects(name, before or (), after or (), contextual)
        return _kept(_set_object(name, before or (), after or (), contextual))
    if isinstance(sample, dict) and sample:
        if all(isinstance(item, msgspec.Struct) for item in sample.values()):
            pairs = sorted({*(before or {}), *(after or {})})
            return [
                diff
                for each in pairs
                for diff in _kept(_object(name, (before or {}).get(each), (after or {}).get(each), contextual))
            ]
        if key in ("Config", "Connect", "Policy"):
            return _kept(_free_object(name, before or {}, after or {}, contextual))
        was.update(_flat(key, before or {}))
        now.update(_flat(key, after or {}))
    return []


def _kept(diff: Diff | None) -> list[Diff]:
    return [diff] if diff is not None else []


def _object(name: str, old: Any, new: Any, contextual: bool) -> Diff | None:
    if old == new:
        return None
    fields, objects = _parts(old, new, contextual, frozenset())
    return {"Type": _type(old, new, True), "Name": name, "Fields": fields, "Objects": objects or None}


def _list_objects(name: str, old: Iterable[Any], new: Iterable[Any], contextual: bool) -> list[Diff]:
    was, now = _keyed(old), _keyed(new)
    found = []
    for key in (*(key for key in was if key not in now), *now):
        found += _kept(_object(name, was.get(key), now.get(key), contextual))
    return found


def _keyed(items: Iterable[Any]) -> dict[Any, Any]:
    """Items by what makes them the same; a second one of a kind is counted on, so that none is lost."""
    out: dict[Any, Any] = {}
    counts: dict[Any, int] = {}
    for item in items:
        name = type(item).__name__
        key: Any = _KEYS[name](item) if name in _KEYS else repr(item)
        count = counts[key] = counts.get(key, -1) + 1
        out[(key, count)] = item
    return out


def _set_object(name: str, old: Iterable[str], new: Iterable[str], contextual: bool) -> Diff | None:
    """A list of texts as Nomad shows it: an object whose fields all carry its name."""
    was, now = [_text(each) for each in old], [_text(each) for each in new]
    if was == now:
        return None
    before, after = frozenset(was), frozenset(now)
    fields = [_field(DELETED, name, each, "") for each in was if each not in after]
    fields += [_field(ADDED, name, "", each) for each in now if each not in before]
    if not fields or contextual:
        fields += [_field(NONE, name, each, each) for each in now if each in before]
    kind = ADDED if not was else DELETED if not now else EDITED
    return {"Type": kind, "Name": name, "Fields": fields, "Objects": None}


def _free_object(name: str, old: Any, new: Any, contextual: bool) -> Diff | None:
    if old == new:
        return None
    fields = _field_diffs(_flat("", old), _flat("", new), contextual)
    kind = ADDED if not old else DELETED if not new else EDITED
    return {"Type": kind, "Name": name, "Fields": fields, "Objects": None}


def _flat(prefix: str, value: Any) -> dict[str, str]:
    """Nested values by path: ``args[0]``, ``labels[team]``, ``mount[0][target]``."""
    if isinstance(value, Mapping):
        out: dict[str, str] = {}
        for key, item in value.items():
            out.update(_flat(f"{prefix}[{key}]" if prefix else str(key), item))
        return out
    if isinstance(value, list | tuple):
        out = {}
        for at, item in enumerate(value):
            out.update(_flat(f"{prefix}[{at}]", item))
        return out
    return {prefix: _text(value)}


def _text(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return "" if value is None else str(value)


def _field(kind: str, name: str, old: str, new: str) -> Diff:
    return {"Type": kind, "Name": name, "Old": old, "New": new, "Annotations": None}


def _field_diffs(was: Mapping[str, str], now: Mapping[str, str], contextual: bool) -> list[Diff]:
    out = []
    for name in sorted({*was, *now}):
        old, new = was.get(name, ""), now.get(name, "")
        if old == new:
            if "[" in name and (name in was) != (name in now):
                # an entry without a value came or went: that matters to what reads it
                out.append(_field(ADDED if name in now else DELETED, name, old, new))
            elif contextual:
                out.append(_field(NONE, name, old, new))
        elif not old:
            out.append(_field(ADDED, name, old, new))
        elif not new:
            out.append(_field(DELETED, name, old, new))
        else:
            out.append(_field(EDITED, name, old, new))
    return out


# -- annotations -------------------------------------------------------------------------------------

_LABELS = (
    ("Ignore", "ignore"), ("Place", "create"), ("Migrate", "migrate"), ("Stop", "destroy"),
    ("InPlaceUpdate", "in-place update"), ("DestructiveUpdate", "create/destroy update"), ("Canary", "canary"),
)  # fmt: skip


def _counts(desired: Any) -> dict[str, int]:
    if desired is None:
        return {}
    values = desired if isinstance(desired, Mapping) else msgspec.to_builtins(desired)
    return {label: values[key] for key, label in _LABELS if values.get(key)}


def _annotated_group(group: Diff, updates: dict[str, int]) -> Diff:
    out = dict(group)
    out["Updates"] = updates or None
    out["Fields"] = [_annotated_count(field) if field["Name"] == "Count" else field for field in group["Fields"]]
    out["Tasks"] = [_annotated_task(group, task) for task in group["Tasks"]]
    return out


def _annotated_count(field: Diff) -> Diff:
    if field["Type"] == NONE:
        return field
    old, new = int(field["Old"] or 0), int(field["New"] or 0)
    return {**field, "Annotations": [CREATES if new > old else DESTROYS]}


def _annotated_task(group: Diff, task: Diff) -> Diff:
    kind = task["Type"]
    if kind == NONE:
        return task
    if kind == ADDED:
        mark = CREATES if group["Type"] == ADDED else DESTRUCTIVE
    elif kind == DELETED:
        mark = DESTROYS if group["Type"] == DELETED else DESTRUCTIVE
    else:
        mark = IN_PLACE if _is_gentle(task) else DESTRUCTIVE
    return {**task, "Annotations": [mark]}


def _is_gentle(task: Diff) -> bool:
    """Whether a running task can take the change: nothing that its process was started with differs."""
    for field in task["Fields"]:
        if field["Type"] != NONE and field["Name"] not in _IN_PLACE_FIELDS:
            return False
    for each in task["Objects"]:
        if each["Name"] not in _IN_PLACE_OBJECTS:
            return False
        fields = {field["Name"] for field in each["Fields"] if field["Type"] != NONE}
        if fields & {"Disabled", "RenderTemplates"}:
            return False
        if each["Name"] == "Service" and any(inner["Name"] == "ConsulConnect" for inner in each["Objects"] or ()):
            return False
    return True
