"""Functions on IP networks."""

from __future__ import annotations

from rove.jobspec.hcl.functions import FunctionError, function
from rove.jobspec.hcl.functions.arithmetic import whole
from rove.jobspec.hcl.numbers import Number
from rove.jobspec.hcl.types import NUMBER, STRING, ListOf, Value


class _Network:
    """address: the network's first address as a number. bits: 32 or 128."""

    __slots__ = ("address", "bits", "length")

    def __init__(self, text: str) -> None:
        import ipaddress

        try:
            if "/" not in text or not text.rpartition("/")[2].isdecimal():
                raise ValueError
            found = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise FunctionError("a network looks like 10.0.0.0/8 or fd00::/8", 0) from None
        self.address = int(found.network_address)
        self.bits = found.max_prefixlen
        self.length = found.prefixlen


def _address(number: int, bits: int) -> str:
    import ipaddress

    return str(ipaddress.IPv4Address(number) if bits == 32 else ipaddress.IPv6Address(number))


@function("cidrhost", STRING, NUMBER)
def cidr_host(prefix: str, number: Number) -> str:
    network = _Network(prefix)
    host = whole(number, 1)
    size = 1 << (network.bits - network.length)
    if host < 0:
        host += size
    if not 0 <= host < size:
        raise FunctionError(f"the network has only {size} addresses", 1)
    return _address(network.address + host, network.bits)


@function("cidrnetmask", STRING)
def cidr_netmask(prefix: str) -> str:
    network = _Network(prefix)
    full = (1 << network.bits) - 1
    return _address(full ^ (full >> network.length), network.bits)


@function("cidrsubnet", STRING, NUMBER, NUMBER)
def cidr_subnet(prefix: str, new_bits: Number, number: Number) -> str:
    network = _Network(prefix)
    added, which = whole(new_bits, 1), whole(number, 2)
    length = network.length + added
    if added < 0 or length > network.bits:
        raise FunctionError(f"a prefix of {network.length} bits cannot be made {added} bits longer", 1)
    if not 0 <= which < 1 << added:
        raise FunctionError(f"{added} bits make only {1 << added} subnets", 2)
    return f"{_address(network.address + (which << (network.bits - length)), network.bits)}/{length}"


@function("cidrsubnets", STRING, rest=NUMBER)
def cidr_subnets(prefix: str, *new_bits: Number) -> Value:
    """Subnets one after the other, each with that many bits more than the network."""
    network = _Network(prefix)
    made = []
    place = network.address
    end = network.address + (1 << (network.bits - network.length))
    for at, each in enumerate(new_bits, start=1):
        added = whole(each, at)
        length = network.length + added
        if added < 1 or length > network.bits:
            raise FunctionError(f"a prefix of {network.length} bits cannot be made {added} bits longer", at)
        size = 1 << (network.bits - length)
        place = -(-place // size) * size
        if place + size > end:
            raise FunctionError("the network has no room for this subnet", at)
        made.append(f"{_address(place, network.bits)}/{length}")
        place += size
    return ListOf(made, STRING)
