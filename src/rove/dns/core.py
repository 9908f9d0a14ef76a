"""What a name below the service domain stands for. Pure.

``[TAG.]NAME.service[.NAMESPACE.ns].rove`` and ``_NAME._tcp.service.rove`` name a service, ``HEX.addr.rove`` one address
(the targets of SRV records). Everything else in the domain does not exist, and other domains are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from rove.structs.service import ServiceRegistration

from .wire import CLASS_IN, Answer, Code, Query, Record, Type, address_record, plain_name

RECORDS_MAX = 500
NEGATIVE_TTL_S = 1
KNOWN_PROTOCOLS = frozenset({"tcp", "udp"})


class Zone(NamedTuple):
    """The domain as labels in lower case, and how long answers may be kept, in seconds."""

    domain: tuple[str, ...] = ("rove",)
    ttl_s: int = 0


class Wanted(NamedTuple):
    """A service that is asked for."""

    namespace: str
    name: str
    tag: str = ""


Address = IPv4Address | IPv6Address


def what_is_asked(query: Query, zone: Zone) -> Answer | Wanted:
    """The service to look up, or an answer that needs none."""
    inside = labels_inside(query.labels, zone)
    if query.klass != CLASS_IN or inside is None:
        return Answer(Code.REFUSED)
    lower = tuple(label.lower() for label in inside)
    if not lower:
        return _of_zone(query, zone)
    if lower[-1:] == ("addr",) and len(lower) == 2:
        return _of_address(query, lower[0], zone)
    namespace = "default"
    if len(lower) > 2 and lower[-1] == "ns":
        namespace, inside, lower = inside[-2], inside[:-2], lower[:-2]
    if lower[-1:] != ("service",) or not 2 <= len(lower) <= 3:
        return nothing(zone, Code.NO_SUCH_NAME)
    return _service(inside[:-1], namespace)


def labels_inside(labels: tuple[str, ...], zone: Zone) -> tuple[str, ...] | None:
    """The labels below the domain, None outside of it."""
    count = len(zone.domain)
    if tuple(label.lower() for label in labels[-count:]) != zone.domain:
        return None
    return labels[:-count]


def _service(labels: tuple[str, ...], namespace: str) -> Wanted:
    if len(labels) == 1:
        return Wanted(namespace, labels[0])
    first, second = labels
    if first.startswith("_") and second.startswith("_"):
        tag = "" if second[1:].lower() in KNOWN_PROTOCOLS else second[1:]
        return Wanted(namespace, first[1:], tag)
    return Wanted(namespace, second, first)


def answer(query: Query, wanted: Wanted, found: Sequence[ServiceRegistration], zone: Zone, turn: int) -> Answer:
    """The answer from a service's instances. turn: any number; another one begins with another instance."""
    instances = [each for each in found if not wanted.tag or wanted.tag.lower() in {tag.lower() for tag in each.tags}]
    if not instances:
        return nothing(zone, Code.NO_SUCH_NAME)
    start = turn % len(instances)
    instances = [*instances[start:], *instances[:start]][:RECORDS_MAX]
    records: list[Record] = []
    extras: list[Record] = []
    for each in instances:
        address = _ip(each.address)
        if query.type == Type.SRV:
            name = _target(each.address, address, zone)
            records.append(Record(Type.SRV, zone.ttl_s, (each.port, name)))
            if address is not None:
                extras.append(address_record(address, zone.ttl_s, name))
        elif address is None:
            if not records:  # an alias stands alone
                return Answer(records=(Record(Type.CNAME, zone.ttl_s, (0, _target(each.address, None, zone))),))
        elif query.type == Type.ANY or query.type == (Type.A if address.version == 4 else Type.AAAA):
            records.append(address_record(address, zone.ttl_s))
    if not records:
        return nothing(zone, Code.OK)
    return Answer(records=tuple(dict.fromkeys(records)), additional=tuple(dict.fromkeys(extras)))


def nothing(zone: Zone, code: Code) -> Answer:
    """No such name, or no such record under it; the zone's own record says for how long that holds."""
    return Answer(code, authority=(_soa(zone),))


def _of_zone(query: Query, zone: Zone) -> Answer:
    if query.type in (Type.SOA, Type.ANY):
        return Answer(records=(_soa(zone),))
    if query.type == Type.NS:
        return Answer(records=(Record(Type.NS, zone.ttl_s, (0, ("ns", *zone.domain))),))
    return nothing(zone, Code.OK)


def _of_address(query: Query, text: str, zone: Zone) -> Answer:
    address: Address
    try:
        raw = bytes.fromhex(text)
        address = IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)
    except ValueError:
        return nothing(zone, Code.NO_SUCH_NAME)
    record = address_record(address, zone.ttl_s)
    return Answer(records=(record,)) if query.type in (record.type, Type.ANY) else nothing(zone, Code.OK)


def _soa(zone: Zone) -> Record:
    names = plain_name(("ns", *zone.domain)) + plain_name(("hostmaster", *zone.domain))
    numbers = struct.pack(">IIIII", 1, 3600, 600, 86_400, NEGATIVE_TTL_S)
    return Record(Type.SOA, NEGATIVE_TTL_S, names + numbers, zone.domain)


def _ip(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _target(text: str, address: Address | None, zone: Zone) -> tuple[str, ...]:
    if address is not None:
        return (address.packed.hex(), "addr", *zone.domain)
    return tuple(label for label in text.rstrip(".").split(".") if label)[:32] or zone.domain
