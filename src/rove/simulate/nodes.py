"""Describing nodes: in Python, and as text for the command line."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

import msgspec

from rove.errors import BadRequestError
from rove.structs.node import (
    DriverInfo,
    HostVolume,
    Node,
    NodeCpu,
    NodeDisk,
    NodeMemory,
    NodeNetwork,
    NodeNetworkAddress,
    NodeResources,
    NodeStatus,
    computed_class,
)

DRIVERS = ("docker", "exec", "raw_exec", "java", "mock_driver")
ATTRIBUTES = {"kernel.name": "linux", "os.name": "linux", "cpu.arch": "amd64"}
COUNT_MAX = 100_000
NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
"""Ids of nodes that are only described follow from their names (RFC 9562, version 5)."""

NUMBERS = ("cpu", "memory", "disk", "cores", "count")
WORDS = {"class": "node_class", "datacenter": "datacenter", "dc": "datacenter", "pool": "node_pool"}


def node(
    name: str,
    *,
    cpu: int = 4000,
    memory: int = 8192,
    disk: int = 100_000,
    cores: int = 4,
    datacenter: str = "dc1",
    node_class: str = "",
    node_pool: str = "default",
    meta: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
    drivers: Iterable[str] = DRIVERS,
    host_volumes: Iterable[str] = (),
    id: str = "",
) -> Node:
    """A ready node. cpu in MHz, memory and disk in MiB. Its id follows from its name unless it is given."""
    drivers = tuple(drivers)
    network = NodeNetwork(mode="host", device="eth0", addresses=(NodeNetworkAddress(address="192.0.2.1"),))
    given = {f"driver.{driver}": "1" for driver in drivers}
    made = Node(
        id=id or str(uuid.uuid5(NAMESPACE, name)), name=name, datacenter=datacenter, node_class=node_class,
        node_pool=node_pool, status=NodeStatus.READY, meta=dict(meta or {}),
        attributes={**ATTRIBUTES, "unique.hostname": name, **given, **(attributes or {})},
        drivers={driver: DriverInfo(detected=True, healthy=True) for driver in drivers},
        host_volumes={volume: HostVolume(name=volume, path=f"/srv/{volume}") for volume in host_volumes},
        node_resources=NodeResources(
            cpu=NodeCpu(cpu_shares=cpu, total_cpu_cores=cores, reservable_cpu_cores=tuple(range(cores))),
            memory=NodeMemory(memory_mb=memory), disk=NodeDisk(disk_mb=disk), node_networks=(network,),
        ),
    )  # fmt: skip
    return msgspec.structs.replace(made, computed_class=computed_class(made))


def nodes_from_text(text: str) -> list[Node]:
    """Nodes as ``name=n9,cpu=8000,memory=16384,class=big,dc=dc1,pool=gpu,meta.rack=r2,attr.arch=arm64,count=5``.

    With a count the names get a number: n9-1, n9-2. Raises `BadRequestError` that says what is wrong with it.
    """
    numbers: dict[str, int] = {}
    words: dict[str, str] = {}
    meta: dict[str, str] = {}
    attributes: dict[str, str] = {}
    drivers: tuple[str, ...] = DRIVERS
    name = ""
    for part in filter(None, (each.strip() for each in text.split(","))):
        key, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not value:
            raise _wrong(text, f'"{part}" is not KEY=VALUE')
        if key == "name":
            name = value
        elif key in NUMBERS:
            numbers[key] = _number(text, key, value)
        elif key in WORDS:
            words[WORDS[key]] = value
        elif key == "drivers":
            drivers = tuple(value.split("+"))
        elif key.startswith("meta.") and key != "meta.":
            meta[key[5:]] = value
        elif key.startswith("attr.") and key != "attr.":
            attributes[key[5:]] = value
        else:
            raise _wrong(text, f'"{key}" is nothing a node has')
    if not name:
        raise _wrong(text, "it has no name")
    count = numbers.pop("count", 0)
    names = [f"{name}-{number}" for number in range(1, count + 1)] if count else [name]
    return [
        node(each, **numbers, **words, meta=meta, attributes=attributes, drivers=drivers)  # type: ignore[arg-type]
        for each in names
    ]


def _number(text: str, key: str, value: str) -> int:
    lowest = 1 if key == "count" else 0
    if not (value.isascii() and value.isdigit() and len(value) < 12):
        raise _wrong(text, f'{key} is "{value}", not a whole number')
    number = int(value)
    if number < lowest or (key == "count" and number > COUNT_MAX):
        raise _wrong(text, f"{key} is {number}, not between {lowest} and {COUNT_MAX}")
    if key == "cores" and number > 4096:
        raise _wrong(text, f"{key} is {number}, above 4096")
    return number


def _wrong(text: str, why: str) -> BadRequestError:
    return BadRequestError(
        "simulate.node", f'no node was made of "{text[:200]}"', why,
        "name=n9,cpu=8000,memory=16384,disk=100000,cores=8,class=big,dc=dc1,pool=default,meta.rack=r2,"
        "attr.cpu.arch=arm64,drivers=docker+exec,count=5",
    )  # fmt: skip
