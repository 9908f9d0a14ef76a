"""Describing nodes: in Python, and as text for the command line."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rove import SPOKEN_VERSION
from rove.errors import BadRequestError
from rove.structs.node import (
    DriverInfo,
    HostNetwork,
    HostVolume,
    Node,
    NodeCpu,
    NodeDevice,
    NodeDeviceResource,
    NodeDisk,
    NodeMemory,
    NodeNetwork,
    NodeNetworkAddress,
    NodeResources,
    NodeStatus,
    computed_class,
)

DRIVERS = ("docker", "exec", "raw_exec", "java", "mock_driver")
SIGNALS = "SIGABRT,SIGALRM,SIGCONT,SIGHUP,SIGINT,SIGKILL,SIGQUIT,SIGSTOP,SIGTERM,SIGTRAP,SIGUSR1,SIGUSR2,SIGWINCH"
ATTRIBUTES = {
    "kernel.name": "linux", "os.name": "linux", "os.signals": SIGNALS, "cpu.arch": "amd64",
    "nomad.version": SPOKEN_VERSION, "nomad.service_discovery": "true",
}  # fmt: skip
MODES = ("host", "bridge", "none")
CNI_PLUGINS = ("bridge", "firewall", "host-local", "loopback", "portmap")
"""What a node that offers bridge mode has installed; jobs in bridge mode ask for it."""
CNI_VERSION = "1.4.0"
COUNT_MAX = 100_000
MOST = {"cpu": 10**9, "memory": 10**9, "disk": 10**12, "cores": 4096, "count": COUNT_MAX}
DEVICES_MAX = 1000
"""Instances of one kind of device."""
NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
"""Ids of nodes that are only described follow from their names (RFC 9562, version 5)."""

WORDS = {"class": "node_class", "datacenter": "datacenter", "dc": "datacenter", "pool": "node_pool"}
LISTS = ("drivers", "networks", "host_networks", "host_volumes")

SPEC = (
    "name=n9,cpu=8000,memory=16384,disk=100000,cores=8,class=big,dc=dc1,pool=default,meta.rack=r2,attr.cpu.arch=arm64,"
    "drivers=docker+exec,networks=host+bridge,host_networks=public,host_volumes=data,devices=nvidia/gpu/t4:2,count=5"
)
CALL = (
    'node("n9", cpu=8000, memory=16384, disk=100000, cores=8, node_class="big", meta={"rack": "r2"}, '
    'drivers=["docker"], networks=["host", "bridge"], host_networks=["public"], host_volumes=["data"], '
    'devices={"nvidia/gpu/t4": 2})'
)


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
    networks: Iterable[str] = ("host",),
    host_networks: Iterable[str] = (),
    host_volumes: Iterable[str] = (),
    devices: Mapping[str, int] | None = None,
    id: str = "",
) -> Node:
    """A ready node. cpu in MHz, memory and disk in MiB. Its id follows from its name unless it is given.

    networks: modes that it offers: host, bridge, none, cni/NAME. host_networks, host_volumes: their names.
    devices: how many it has, by ``vendor/type/name``. Raises `BadRequestError` that says what is wrong with it.
    """
    _check_words(name, {"name": name, "datacenter": datacenter, "node_pool": node_pool})
    _check_words(name, {"node_class": node_class, "id": id}, may_be_empty=True)
    if node_pool == "all":
        raise _wrong(name, 'no node is in pool "all": it stands for every pool')
    for key, number in (("cpu", cpu), ("memory", memory), ("disk", disk), ("cores", cores)):
        _check_number(name, key, number, MOST[key])
    drivers = _words(name, "drivers", drivers)
    volumes = _words(name, "host_volumes", host_volumes)
    offered = _networks(name, _words(name, "networks", networks), _words(name, "host_networks", host_networks))
    modes = {network.mode for network in offered}
    cni = {f"plugins.cni.version.{plugin}": CNI_VERSION for plugin in CNI_PLUGINS} if "bridge" in modes else {}
    given = {f"driver.{driver}": "1" for driver in drivers}
    own = _texts(name, "attributes", attributes)
    made = Node(
        id=id or str(uuid.uuid5(NAMESPACE, name)), name=name, datacenter=datacenter, node_class=node_class,
        node_pool=node_pool, status=NodeStatus.READY, meta=_texts(name, "meta", meta),
        attributes={**ATTRIBUTES, "unique.hostname": name, **given, **cni, **own},
        drivers={driver: DriverInfo(detected=True, healthy=True) for driver in drivers},
        host_volumes={volume: HostVolume(name=volume, path=f"/srv/{volume}") for volume in volumes},
        host_networks={
            address.alias: HostNetwork(name=address.alias)
            for network in offered for address in network.addresses if address.alias != "default"
        },
        node_resources=NodeResources(
            cpu=NodeCpu(cpu_shares=cpu, total_cpu_cores=cores, reservable_cpu_cores=tuple(range(cores))),
            memory=NodeMemory(memory_mb=memory), disk=NodeDisk(disk_mb=disk), node_networks=offered,
            devices=_devices(name, devices),
        ),
    )  # fmt: skip
    return msgspec.structs.replace(made, computed_class=computed_class(made))


def distinct(nodes: Iterable[object], present: Iterable[Node] = ()) -> tuple[Node, ...]:
    """The nodes, if they are nodes and each has a name and an id of its own. present: those that are there already.

    Raises `BadRequestError`.
    """
    if isinstance(nodes, str) or not isinstance(nodes, Iterable):
        raise _no_node(nodes)
    taken = {word: "there already" for each in present for word in (each.name, each.id)}
    found = []
    for each in nodes:
        if not isinstance(each, Node):
            raise _no_node(each)
        known = taken.get(each.name) or taken.get(each.id)
        if known:
            raise BadRequestError(
                "simulate.node_known", f'node "{each.name}" was not added', f"a node of that name or id is {known}",
                "give each node a name of its own; a node that changes is removed first",
            )  # fmt: skip
        taken |= {each.name: "given twice", each.id: "given twice"}
        found.append(each)
    return tuple(found)


def nodes_from_text(text: str) -> list[Node]:
    """Nodes as ``name=n9,cpu=8000,memory=16384,class=big,dc=dc1,pool=gpu,meta.rack=r2,attr.arch=arm64,count=5``.

    Lists are joined with a plus: ``networks=host+bridge``, ``devices=nvidia/gpu/t4:2+intel/fpga/f1``. With a count the
    names get a number: n9-1, n9-2. Raises `BadRequestError` that says what is wrong with it.
    """
    fields: dict[str, Any] = {"meta": {}, "attributes": {}}
    for part in filter(None, (each.strip() for each in text.split(","))):
        key, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not value:
            raise _wrong(text, f'"{part}" is not KEY=VALUE', SPEC)
        if key == "name":
            fields["name"] = value
        elif key in MOST:
            fields[key] = _number(text, key, value)
        elif key in WORDS:
            fields[WORDS[key]] = value
        elif key in LISTS:
            fields[key] = value.split("+")
        elif key == "devices":
            fields[key] = dict(_device(text, each) for each in value.split("+"))
        elif key.startswith("meta.") and key != "meta.":
            fields["meta"][key[5:]] = value
        elif key.startswith("attr.") and key != "attr.":
            fields["attributes"][key[5:]] = value
        else:
            raise _wrong(text, f'"{key}" is nothing a node has', SPEC)
    name, count = fields.pop("name", ""), fields.pop("count", None)
    if not name:
        raise _wrong(text, "it has no name", SPEC)
    try:
        if count is None:
            return [node(name, **fields)]
        _check_number(text, "count", count, COUNT_MAX, least=1)
        return [node(f"{name}-{number}", **fields) for number in range(1, count + 1)]
    except BadRequestError as error:
        raise _wrong(text, error.why, SPEC) from None


def _number(text: str, key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 40):
        raise _wrong(text, f'{key} is "{value[:100]}", not a whole number', SPEC)
    return int(value)


def _device(text: str, value: str) -> tuple[str, int]:
    kind, colon, count = value.partition(":")
    return kind, _number(text, kind, count) if colon else 1


def _networks(name: str, modes: tuple[str, ...], aliases: tuple[str, ...]) -> tuple[NodeNetwork, ...]:
    for mode in modes:
        if mode not in MODES and not (mode.startswith("cni/") and mode != "cni/"):
            raise _wrong(name, f'"{mode[:100]}" is no network mode; those are {", ".join(MODES)}, cni/NAME')
    if aliases and "host" not in modes:
        raise _wrong(name, 'it has host_networks, but not "host" among its networks')
    addresses = [NodeNetworkAddress(address="192.0.2.1")]
    addresses += [
        NodeNetworkAddress(alias=alias, address=f"198.51.100.{number % 254 + 1}")
        for number, alias in enumerate(aliases) if alias != "default"
    ]  # fmt: skip
    host = NodeNetwork(mode="host", device="eth0", addresses=tuple(addresses))
    return tuple(host if mode == "host" else NodeNetwork(mode=mode) for mode in modes)


def _devices(name: str, devices: Mapping[str, int] | None) -> tuple[NodeDeviceResource, ...]:
    if not isinstance(devices, Mapping | None):
        raise _wrong(name, f"devices is {devices!r:.100}, not a mapping of kinds to counts")
    found = []
    for kind, count in (devices or {}).items():
        parts = kind.split("/") if isinstance(kind, str) else []
        if len(parts) != 3 or not all(parts):
            raise _wrong(name, f"device {kind!r:.100} is not vendor/type/name")
        _check_number(name, f"device {kind}", count, DEVICES_MAX)
        instances = tuple(NodeDevice(id=f"{parts[2]}-{number}") for number in range(count))
        found.append(NodeDeviceResource(vendor=parts[0], type=parts[1], name=parts[2], instances=instances))
    return tuple(found)


def _check_words(name: object, words: Mapping[str, object], *, may_be_empty: bool = False) -> None:
    for key, word in words.items():
        if not _is_word(word) and not (may_be_empty and word == ""):
            raise _wrong(name, f"{key} is {word!r:.100}, not a word")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable() and value == value.strip()


def _check_number(name: str, key: str, value: object, most: int, *, least: int = 0) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, f"{key} is {value!r:.100}, not a whole number")
    if not least <= value <= most:
        raise _wrong(name, f"{key} is {value}, not between {least} and {most}")


def _words(name: str, key: str, values: Iterable[str]) -> tuple[str, ...]:
    listed = None if isinstance(values, str) or not isinstance(values, Iterable) else tuple(values)
    if listed is None or not all(_is_word(each) for each in listed):
        raise _wrong(name, f"{key} is {values!r:.100}, not a list of words")
    return tuple(dict.fromkeys(listed))


def _texts(name: str, key: str, values: Mapping[str, str] | None) -> dict[str, str]:
    if not isinstance(values, Mapping | None):
        raise _wrong(name, f"{key} is {values!r:.100}, not a mapping of words to texts")
    for word, text in (values or {}).items():
        if not _is_word(word) or not isinstance(text, str):
            raise _wrong(name, f"{key} has {word!r:.50}: {text!r:.50}; both have to be texts")
    return dict(values or {})


def _no_node(value: object) -> BadRequestError:
    return BadRequestError("simulate.node", "no node was added", f"{value!r:.100} is no node", CALL)


def _wrong(name: object, why: str, example: str = CALL) -> BadRequestError:
    return BadRequestError("simulate.node", f'no node was made of "{name!s:.200}"', why, example)
