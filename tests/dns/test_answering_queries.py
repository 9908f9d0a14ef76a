"""Names below the service domain, as asked over the wire."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rove.dns.core import Zone
from rove.dns.loop import Responder
from rove.dns.wire import Code, Type
from rove.errors import UnavailableError
from rove.structs.service import ServiceRegistration

ZONE = Zone(("rove",), ttl_s=7)


def an_instance(number: int, address: str = "", **fields: Any) -> ServiceRegistration:
    return ServiceRegistration(
        id=str(number), service_name="web", address=address or f"10.0.0.{number}", port=8000 + number, **fields
    )


SERVICES: dict[tuple[str, str], Sequence[ServiceRegistration]] = {
    ("default", "web"): [an_instance(1, tags=("blue",)), an_instance(2, tags=("green",)), an_instance(6, "fd00::6")],
    ("other", "web"): [an_instance(9)],
    ("default", "far"): [ServiceRegistration(id="f", service_name="far", address="far.example.test", port=443)],
    ("default", "many"): [an_instance(n) for n in range(1, 251)],
}


async def look_up(namespace: str, name: str) -> Sequence[ServiceRegistration]:
    if name == "broken":
        raise UnavailableError("test.down", "nobody can be asked")
    return SERVICES.get((namespace, name), ())


def a_query(name: str, kind: int = Type.A, *, flags: int = 0x0100, klass: int = 1, edns: int = 0) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label) + b"\0"
    extra = b"\0" + struct.pack(">HHIH", 41, edns, 0, 0) if edns else b""
    header = struct.pack(">HHHHHH", 77, flags, 1, 0, 0, 1 if edns else 0)
    return header + labels + struct.pack(">HH", kind, klass) + extra


class Reply:
    """A decoded answer, by a reader of the tests' own."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.id, flags, questions, *counts = struct.unpack_from(">HHHHHH", data)
        self.code, self.cut, self.is_answer = flags & 15, bool(flags & 0x0200), bool(flags & 0x8000)
        at = 12
        for _ in range(questions):
            at = self._name(data, at)[1] + 4
        self.sections: list[list[tuple[str, int, int, Any]]] = []
        for count in counts:
            section = []
            for _ in range(count):
                name, at = self._name(data, at)
                kind, _, ttl, length = struct.unpack_from(">HHIH", data, at)
                section.append((name, kind, ttl, self._data(data, kind, at + 10, length)))
                at += 10 + length
            self.sections.append(section)
        assert at == len(data)

    def _name(self, data: bytes, at: int) -> tuple[str, int]:
        labels, end = [], 0
        while data[at]:
            if data[at] >= 0xC0:
                end = end or at + 2
                at = struct.unpack_from(">H", data, at)[0] & 0x3FFF
                continue
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        return ".".join(labels), end or at + 1

    def _data(self, data: bytes, kind: int, at: int, length: int) -> Any:
        raw = data[at : at + length]
        match kind:
            case Type.A:
                return str(IPv4Address(raw))
            case Type.AAAA:
                return str(IPv6Address(raw))
            case Type.SRV:
                return struct.unpack_from(">H", raw, 4)[0], self._name(data, at + 6)[0]
            case Type.CNAME | Type.NS:
                return self._name(data, at)[0]
        return raw

    @property
    def answers(self) -> list[Any]:
        return sorted(data for _, _, _, data in self.sections[0])


async def ask(name: str, kind: int = Type.A, **fields: Any) -> Reply:
    reply = await Responder(look_up, ZONE).reply(a_query(name, kind, **fields), None)
    assert reply is not None
    return Reply(reply)


async def test_a_service_has_the_addresses_of_its_instances() -> None:
    assert (await ask("web.service.rove")).answers == ["10.0.0.1", "10.0.0.2"]
    assert (await ask("web.service.rove", Type.AAAA)).answers == ["fd00::6"]
    assert (await ask("web.service.rove", Type.ANY)).answers == ["10.0.0.1", "10.0.0.2", "fd00::6"]
    assert (await ask("web.service.rove")).sections[0][0][2] == 7


async def test_ports_are_in_srv_records_whose_targets_can_be_looked_up() -> None:
    reply = await ask("web.service.rove", Type.SRV, edns=1232)
    assert [port for port, _ in reply.answers] == [8001, 8002, 8006]
    for _, target in reply.answers:
        kind = Type.AAAA if len(target) > 20 else Type.A
        assert (await ask(target, kind)).answers[0] in ("10.0.0.1", "10.0.0.2", "fd00::6")
    assert {data for _, kind, _, data in reply.sections[2] if kind != 41} == {"10.0.0.1", "10.0.0.2", "fd00::6"}


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("WEB.Service.ROVE", []),
        ("web.SERVICE.Rove", ["10.0.0.1", "10.0.0.2"]),
        ("blue.web.service.rove", ["10.0.0.1"]),
        ("_web._green.service.rove", ["10.0.0.2"]),
        ("_web._tcp.service.rove", ["10.0.0.1", "10.0.0.2"]),
        ("web.service.other.ns.rove", ["10.0.0.9"]),
        ("0a000005.addr.rove", ["10.0.0.5"]),
    ],
)
async def test_the_forms_of_a_name(name: str, addresses: list[str]) -> None:
    assert (await ask(name)).answers == addresses


@pytest.mark.parametrize(
    "name",
    ["nobody.service.rove", "red.web.service.rove", "web.rove", "a.b.c.service.rove", "xyz.addr.rove", "00.addr.rove",
     "service.rove", "web.service.nowhere.ns.rove"],
)  # fmt: skip
async def test_what_does_not_exist_is_denied_with_a_time(name: str) -> None:
    reply = await ask(name)
    assert (reply.code, reply.answers, reply.sections[1][0][1]) == (Code.NO_SUCH_NAME, [], Type.SOA)


async def test_a_name_without_records_of_a_type_is_there_all_the_same() -> None:
    reply = await ask("web.service.other.ns.rove", Type.AAAA)
    assert (reply.code, reply.answers) == (Code.OK, [])


async def test_an_address_that_is_a_name_becomes_an_alias() -> None:
    assert (await ask("far.service.rove")).answers == ["far.example.test"]
    assert (await ask("far.service.rove", Type.SRV)).answers == [(443, "far.example.test")]


async def test_the_domain_itself_is_known() -> None:
    assert (await ask("rove", Type.SOA)).sections[0][0][1] == Type.SOA
    assert (await ask("rove", Type.NS)).answers == ["ns.rove"]


@pytest.mark.parametrize("name", ["example.test", "", "service.consul", "roved"])
async def test_other_domains_are_refused(name: str) -> None:
    assert (await ask(name)).code == Code.REFUSED


async def test_other_classes_and_operations_are_refused() -> None:
    assert (await ask("web.service.rove", klass=3)).code == Code.REFUSED
    assert (await ask("web.service.rove", flags=0x2800)).code == Code.NOT_IMPLEMENTED


async def test_when_nobody_can_be_asked_the_answer_is_a_failure_and_not_a_denial() -> None:
    assert (await ask("broken.service.rove")).code == Code.FAILED


async def test_the_first_of_the_addresses_changes() -> None:
    responder = Responder(look_up, ZONE)
    firsts = set()
    for _ in range(4):
        reply = await responder.reply(a_query("web.service.rove"), None)
        assert reply is not None
        firsts.add(Reply(reply).sections[0][0][3])
    assert firsts == {"10.0.0.1", "10.0.0.2"}


async def test_an_answer_that_is_too_long_is_cut_and_says_so() -> None:
    small, wide = await ask("many.service.rove"), await ask("many.service.rove", edns=4096)
    assert (small.cut, small.size <= 512) == (True, True)
    assert (wide.cut, wide.size <= 1232) == (True, True)
    assert 0 < len(small.answers) < len(wide.answers) < 250


async def test_an_answer_is_never_answered() -> None:
    assert await Responder(look_up, ZONE).reply(a_query("web.service.rove", flags=0x8000), None) is None


@given(st.binary(max_size=600))
@example(b"\0" * 12)
@example(struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1")
@example(struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 1) + b"\0\0\1\0\1" + b"\0" * 3)
def test_any_bytes_are_answered_or_dropped(data: bytes) -> None:
    reply = asyncio.run(Responder(look_up, ZONE).reply(data, None))
    assert reply is None or reply[:2] == data[:2]


@given(st.lists(st.sampled_from(["web", "service", "rove", "ns", "addr", "_tcp", "_web", "x" * 63]), max_size=6),
       st.integers(0, 65535), st.integers(0, 65535))  # fmt: skip
def test_any_question_gets_an_answer_that_can_be_read(labels: list[str], kind: int, edns: int) -> None:
    if sum(len(label) + 1 for label in labels) > 240:
        return
    reply = asyncio.run(Responder(look_up, ZONE).reply(a_query(".".join(labels), kind, edns=edns), None))
    assert reply is not None
    assert Reply(reply).is_answer


@pytest.fixture
async def responder() -> AsyncIterator[Responder]:
    made = Responder(look_up, ZONE)
    await made.start("127.0.0.1", 0)
    yield made
    await made.stop()


async def test_it_answers_over_udp(responder: Responder) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_sendto(sock, b"rubbish", responder.address)
        await loop.sock_sendto(sock, a_query("web.service.rove"), responder.address)
        async with asyncio.timeout(20):
            data = await loop.sock_recv(sock, 4096)
    assert Reply(data).answers == ["10.0.0.1", "10.0.0.2"]


async def test_it_answers_over_tcp_in_full_and_more_than_once(responder: Responder) -> None:
    reader, writer = await asyncio.open_connection(*responder.address)
    for _ in range(2):
        query = a_query("many.service.rove")
        writer.write(len(query).to_bytes(2, "big") + query)
        async with asyncio.timeout(20):
            size = int.from_bytes(await reader.readexactly(2), "big")
            reply = Reply(await reader.readexactly(size))
        assert (len(reply.answers), reply.cut) == (250, False)
    writer.close()
    await writer.wait_closed()


async def test_a_tcp_message_that_is_too_long_ends_the_connection(responder: Responder) -> None:
    reader, writer = await asyncio.open_connection(*responder.address)
    writer.write(b"\xff\xff" + b"x" * 100)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()
