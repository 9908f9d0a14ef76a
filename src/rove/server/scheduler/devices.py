"""Devices: which of a node's device groups answers a request, and which instances are free."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rove.structs.alloc import Allocation
from rove.structs.job import RequestedDevice
from rove.structs.node import Node, NodeDeviceResource
from rove.structs.resources import AllocatedDevice

from .conditions import Condition, compare

Instance = tuple[str, str, str, str]
"""(vendor, type, name, id)."""

_UNITS = {
    "": 1.0, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40, "kb": 1e3, "mb": 1e6, "gb": 1e9,
    "tb": 1e12, "hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9, "mw": 1e-3, "w": 1.0, "kw": 1e3,
    "kib/s": 2.0**10, "mib/s": 2.0**20, "gib/s": 2.0**30, "kb/s": 1e3, "mb/s": 1e6, "gb/s": 1e9,
}  # fmt: skip
_COMPARING = frozenset({"=", "==", "is", "!=", "not", "<", "<=", ">", ">="})
_QUANTITY = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*([A-Za-z/]*)\s*\Z")


def name_matches(wanted: str, device: NodeDeviceResource) -> bool:
    """True if `type`, `vendor/type`, `type/name` or `vendor/type/name` names the device group."""
    parts = wanted.split("/", 2)
    if len(parts) == 1:
        return parts[0] == device.type
    if len(parts) == 2:
        return tuple(parts) in ((device.vendor, device.type), (device.type, device.name))
    return tuple(parts) == (device.vendor, device.type, device.name)


def attribute(target: str, device: NodeDeviceResource) -> str | None:
    """The value of a `${device.…}` target; other text is itself; None if the device lacks it."""
    if not (target.startswith("${") and target.endswith("}")):
        return target
    match target[2:-1]:
        case "device.vendor":
            return device.vendor
        case "device.type":
            return device.type
        case "device.model":
            return device.name
        case "device.ids":
            return ",".join(instance.id for instance in device.instances)
    if target.startswith("${device.attr."):
        return _text(device.attributes.get(target[len("${device.attr.") : -1]))
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, dict):  # Nomad's form: {"Int": 11264, "Unit": "MiB"}
        for key in ("Int", "Float", "String", "Bool"):
            if value.get(key) is not None:
                unit = value.get("Unit") or ""
                return f"{_text(value[key])} {unit}".strip()
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def condition_holds(condition: Condition, device: NodeDeviceResource) -> bool:
    """True if the device group meets the condition; quantities are compared with their units."""
    left, right = attribute(condition.l_target, device), attribute(condition.r_target, device)
    if left is not None and right is not None and condition.operand in _COMPARING:
        a, b = _quantity(left), _quantity(right)
        if a is not None and b is not None:
            return compare(condition.operand, repr(a), repr(b))
    return compare(condition.operand, left, right)


def _quantity(text: str) -> float | None:
    found = _QUANTITY.match(text)
    scale = _UNITS.get(found[2].lower()) if found else None
    return float(found[1]) * scale if found and scale is not None else None


def device_answers(request: RequestedDevice, device: NodeDeviceResource) -> bool:
    """True if the device group is what the request asks for, whatever is free."""
    return name_matches(request.name, device) and all(
        condition_holds(condition, device) for condition in request.constraints
    )


def device_fits(request: RequestedDevice, node: Node) -> bool:
    """True if the node has a device group of the kind asked for."""
    return any(device_answers(request, device) for device in node.node_resources.devices)


def affinity_score(request: RequestedDevice, device: NodeDeviceResource) -> float:
    """Matched weights over all weights, -1 to 1; 0 without affinities."""
    total = sum(abs(affinity.weight) for affinity in request.affinities)
    if not total:
        return 0.0
    return sum(a.weight for a in request.affinities if condition_holds(a, device)) / total


def device_named(given: AllocatedDevice, node: Node) -> NodeDeviceResource:
    """The group of devices that the instances are of."""
    wanted = (given.vendor, given.type, given.name)
    return next(d for d in node.node_resources.devices if (d.vendor, d.type, d.name) == wanted)


def instances_of(given: AllocatedDevice) -> set[Instance]:
    """The instances, as `devices_in_use` names them."""
    return {(given.vendor, given.type, given.name, one) for one in given.device_ids}


def devices_in_use(allocs: Iterable[Allocation]) -> set[Instance]:
    """(vendor, type, name, id) of every device instance that `allocs` hold."""
    return {
        instance
        for alloc in allocs
        for task in alloc.allocated_resources.tasks.values()
        for device in task.devices
        for instance in instances_of(device)
    }


def assign_device(request: RequestedDevice, node: Node, used: set[Instance]) -> AllocatedDevice | None:
    """Free, healthy instances of the best matching device group, or None. Does not change `used`."""
    best: tuple[float, AllocatedDevice] | None = None
    for device in node.node_resources.devices:
        if not device_answers(request, device):
            continue
        free = [
            instance.id
            for instance in device.instances
            if instance.healthy and (device.vendor, device.type, device.name, instance.id) not in used
        ]
        if len(free) < request.count:
            continue
        score = affinity_score(request, device)
        if best is None or score > best[0]:
            given = AllocatedDevice(
                vendor=device.vendor, type=device.type, name=device.name,
                device_ids=tuple(free[: request.count]),
            )  # fmt: skip
            best = (score, given)
    return best[1] if best else None
