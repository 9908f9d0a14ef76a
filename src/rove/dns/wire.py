"""DNS messages, as far as a responder needs them (RFC 1035, RFC 2782, RFC 6891). Pure.

Queries come from anybody: everything read has a limit, and compressed names in them are refused, since a query's only
name has nothing to point back to.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

QUERY_MAX = 1024
UDP_PLAIN = 512
UDP_MOST = 1232
"""What passes networks without being cut in pieces."""
TCP_MOST = 65_535
LABEL_MAX, NAME_MAX = 63, 255
HEADER = struct.Struct(">HHHHHH")
CLASS_IN = 1
OPT = 41
POINTER = 0xC000
POINTER_REACH = 0x4000


class Type(IntEnum):
    """Record types that are answered."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    AAAA = 28
    SRV = 33
    ANY = 255


class Code(IntEnum):
    """How a query ended."""

    OK = 0
    MALFORMED = 1
    FAILED = 2
    NO_SUCH_NAME = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


class Query(NamedTuple):
    """A question. labels: as written, their case kept. size: the largest answer that the asker takes over UDP."""

    id: int
    labels: tuple[str, ...]
    type: int
    klass: int
    recursive: bool
    size: int
    edns: bool


class Bad(Exception):
    """Not a query that can be answered. id: to answer with `code`, None to say nothing."""

    def __init__(self, message_id: int | None, code: Code) -> None:
        super().__init__(code.name)
        self.id = message_id
        self.code = code


class Record(NamedTuple):
    """A record to answer with. name: labels, the question's own if empty."""

    type: Type
    ttl: int
    data: bytes | tuple[int, tuple[str, ...]]
    """Bytes; for SRV (port, target); for CNAME (0, target)."""
    name: tuple[str, ...] = ()


class Answer(NamedTuple):
    """What to say: records, the zone's own record where there are none, extras that may be left out."""

    code: Code = Code.OK
    records: Sequence[Record] = ()
    authority: Sequence[Record] = ()
    additional: Sequence[Record] = ()


def parse(data: bytes) -> Query:
    """Read a query. Raises `Bad`."""
    if len(data) < HEADER.size or len(data) > QUERY_MAX:
        raise Bad(None, Code.MALFORMED)
    message_id, flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    if flags & 0x8000:
        raise Bad(None, Code.MALFORMED)  # an answer: answering it would make a loop
    if flags & 0x7800:
        raise Bad(message_id, Code.NOT_IMPLEMENTED)
    if questions != 1 or answers or authorities or additionals > 2:
        raise Bad(message_id, Code.MALFORMED)
    try:
        labels, at = _labels(data, HEADER.size)
        kind, klass = struct.unpack_from(">HH", data, at)
        size, edns = _edns(data, at + 4, additionals)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise Bad(message_id, Code.MALFORMED) from None
    return Query(message_id, labels, kind, klass, bool(flags & 0x0100), size, edns)


def _labels(data: bytes, at: int) -> tuple[tuple[str, ...], int]:
    labels: list[str] = []
    total = 1
    while (length := data[at]) != 0:
        if length > LABEL_MAX:
            raise IndexError
        label = data[at + 1 : at + 1 + length]
        if len(label) != length:
            raise IndexError
        labels.append(label.decode("ascii"))
        at += 1 + length
        total += 1 + length
        if total > NAME_MAX:
            raise IndexError
    return tuple(labels), at + 1


def _edns(data: bytes, at: int, records: int) -> tuple[int, bool]:
    for _ in range(records):
        _, at = _labels(data, at)
        kind, size, _, length = struct.unpack_from(">HHIH", data, at)
        at += 10 + length
        if at > len(data):
            raise IndexError
        if kind == OPT:
            return max(UDP_PLAIN, min(size, UDP_MOST)), True
    return UDP_PLAIN, False


def refusal(bad: Bad) -> bytes | None:
    """The answer to something that is no query; None: none at all."""
    return None if bad.id is None else HEADER.pack(bad.id, 0x8000 | bad.code, 0, 0, 0, 0)


def build(query: Query, answer: Answer, size: int) -> bytes:
    """The answer as bytes, at most `size` long: extras go first, then records, and the asker is told of that."""
    writer = _Writer(query)
    reserve = 11 if query.edns else 0
    counts = [0, 0, 0]
    cut = False
    for section, records in enumerate((answer.records, answer.authority, answer.additional)):
        for record in records:
            mark, names = len(writer.out), dict(writer.names)
            writer.record(record)
            if len(writer.out) + reserve > size:
                del writer.out[mark:]
                writer.names = names
                cut = cut or section == 0
                break
            counts[section] += 1
    if query.edns:
        writer.out += b"\0" + struct.pack(">HHIH", OPT, UDP_MOST, 0, 0)
        counts[2] += 1
    flags = 0x8400 | (0x0200 if cut else 0) | (0x0100 if query.recursive else 0) | answer.code
    HEADER.pack_into(writer.out, 0, query.id, flags, 1, *counts)
    return bytes(writer.out)


class _Writer:
    """Puts records behind the question; names seen before become pointers."""

    def __init__(self, query: Query) -> None:
        self.out = bytearray(HEADER.size)
        self.names: dict[tuple[str, ...], int] = {}
        self._question = query.labels
        self.name(query.labels)
        self.out += struct.pack(">HH", query.type, query.klass)

    def name(self, labels: tuple[str, ...]) -> None:
        """A name, its known tail as a pointer."""
        for start in range(len(labels)):
            tail = labels[start:]
            if (known := self.names.get(tail)) is not None:
                self.out += struct.pack(">H", POINTER | known)
                return
            if len(self.out) < POINTER_REACH:
                self.names[tail] = len(self.out)
            label = labels[start].encode("ascii", "replace")[:LABEL_MAX]
            self.out += bytes((len(label),)) + label
        self.out += b"\0"

    def record(self, record: Record) -> None:
        """One record."""
        self.name(record.name or self._question)
        self.out += struct.pack(">HHIH", record.type, CLASS_IN, record.ttl, 0)
        start = len(self.out)
        if isinstance(record.data, bytes):
            self.out += record.data
        else:
            port, target = record.data
            if record.type is Type.SRV:
                self.out += struct.pack(">HHH", 1, 1, port)
                self.out += plain_name(target)  # never compressed (RFC 2782)
            else:
                self.name(target)
        struct.pack_into(">H", self.out, start - 2, len(self.out) - start)


def plain_name(labels: Sequence[str]) -> bytes:
    """A name without pointers."""
    parts = (label.encode("ascii", "replace")[:LABEL_MAX] for label in labels)
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


def address_record(address: IPv4Address | IPv6Address, ttl: int, name: tuple[str, ...] = ()) -> Record:
    """An A or AAAA record."""
    return Record(Type.A if address.version == 4 else Type.AAAA, ttl, address.packed, name)
