"""What the file form and the API form of a block say differently, put right after the block was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rove.structs.base import SECOND

from .places import nth
from .reading import Place
from .schema import GROUP
from .values import to_text

Api = dict[str, Any]

HANDED_DOWN_MAX = 2_000
"""Secrets that one group, or the job, may hand down to its tasks: each task gets its own copy of each."""

_SUGAR = ("version", "semver", "regexp", "set_contains")


def _finish_constraint(out: Api, extra: Api, place: Place) -> None:
    for name in _SUGAR:
        if name in extra:
            out["Operand"], out["RTarget"] = name, extra[name]
    if "distinct_property" in extra:
        out["Operand"], out["LTarget"] = "distinct_property", extra["distinct_property"]
    if "distinct_hosts" in extra:
        out["Operand"], out["RTarget"] = "distinct_hosts", to_text(extra["distinct_hosts"])
    if out["Operand"] is None:
        out["Operand"] = "="


def _finish_affinity(out: Api, extra: Api, place: Place) -> None:
    for name in (*_SUGAR, "set_contains_any", "set_contains_all"):
        if name in extra:
            out["Operand"], out["RTarget"] = name, extra[name]
    if out["Operand"] is None:
        out["Operand"] = "="


def _finish_network(out: Api, extra: Api, place: Place) -> None:
    """Ports with a static value are reserved ports, the others dynamic ones."""
    ports = out["DynamicPorts"]
    if not ports:
        return
    seen: set[str] = set()
    for port in ports:
        if port["Label"] in seen:
            place.error(f'two ports are called "{port["Label"]}"', f'port "{port["Label"]}"')
        seen.add(port["Label"])
    out["ReservedPorts"] = [port for port in ports if port["Value"]] or None
    out["DynamicPorts"] = [port for port in ports if not port["Value"]] or None


def _finish_logs(out: Api, extra: Api, place: Place) -> None:
    if "enabled" in extra and out["Disabled"] is None:
        out["Disabled"] = not extra["enabled"]


def _finish_template(out: Api, extra: Api, place: Place) -> None:
    defaults = {"ChangeMode": "restart", "Perms": "0644", "Splay": 5 * SECOND, "ErrMissingKey": False}
    for key, value in defaults.items():
        if out[key] is None:
            out[key] = value


def _finish_change_script(out: Api, extra: Api, place: Place) -> None:
    defaults = {"Args": [], "Timeout": 5 * SECOND, "FailOnError": False, "RunOnFirstRender": False}
    for key, value in defaults.items():
        if out[key] is None:
            out[key] = value


def _finish_vault(out: Api, extra: Api, place: Place) -> None:
    defaults = {"Env": True, "DisableFile": False, "ChangeMode": "restart"}
    for key, value in defaults.items():
        if out[key] is None:
            out[key] = value


def _finish_periodic(out: Api, extra: Api, place: Place) -> None:
    out["SpecType"] = "cron"


def _finish_task(out: Api, extra: Api, place: Place) -> None:
    """The first identity without a name, or called "default", is the task's own."""
    identities = out["Identities"]
    if identities:
        for at, each in enumerate(identities):
            name = each["Name"] or "default"
            place.reading.alias(f"{place.path} > {nth('identity', at)}", f'{place.path} > identity "{name}"')
        own = next((each for each in identities if each["Name"] in (None, "", "default")), None)
        if own is not None:
            out["Identity"] = own
            out["Identities"] = [each for each in identities if each is not own] or None
    for policy in out["ScalingPolicies"] or ():
        kind = policy.get("Type")
        policy["Type"] = {"cpu": "vertical_cpu", "mem": "vertical_mem"}.get(kind, kind)


def _finish_group(out: Api, extra: Api, place: Place) -> None:
    """Vault and secrets of a group are those of each of its tasks that has none."""
    _hand_down(out["Tasks"], extra, place)
    if out["Scaling"] is not None and out["Scaling"]["Type"] is None:
        out["Scaling"]["Type"] = "horizontal"


def _hand_down(tasks: list[Api] | None, extra: Api, place: Place) -> None:
    if len(tasks or ()) * len(extra.get("secret") or ()) > HANDED_DOWN_MAX:
        place.error(f"handing these secrets to each task makes more than {HANDED_DOWN_MAX} of them")
        return
    for task in tasks or ():
        if task["Vault"] is None and "vault" in extra:
            task["Vault"] = dict(extra["vault"][0])
        if "secret" in extra:
            own = {secret["Name"] for secret in task["Secrets"] or ()}
            given = [dict(secret) for secret in extra["secret"] if secret["Name"] not in own]
            task["Secrets"] = [*(task["Secrets"] or ()), *given] or None


def _finish_job_extra(out: Api, extra: Api, place: Place) -> None:
    """A task directly below the job is a group of its own, placed before the others."""
    groups = []
    for task in extra.get("task", ()):
        group = GROUP.blank.copy()
        group["Name"], group["Tasks"] = task["Name"], [task]
        place.reading.alias(f'task "{task["Name"]}"', f'group "{task["Name"]}" > task "{task["Name"]}"')
        groups.append(group)
    if groups:
        out["TaskGroups"] = [*groups, *(out["TaskGroups"] or ())]
    _hand_down([task for group in out["TaskGroups"] or () for task in group["Tasks"] or ()], extra, place)


FINISHERS: dict[str, Callable[[Api, Api, Place], None]] = {
    "constraint": _finish_constraint,
    "affinity": _finish_affinity,
    "network": _finish_network,
    "logs": _finish_logs,
    "template": _finish_template,
    "change_script": _finish_change_script,
    "vault": _finish_vault,
    "periodic": _finish_periodic,
    "task": _finish_task,
    "group": _finish_group,
    "job": _finish_job_extra,
}
