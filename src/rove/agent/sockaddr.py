"""Address templates such as ``GetPrivateIP``: the few that agent files use."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path


def address_of(template: str) -> str:
    """The address that a template without its braces stands for. Raises ValueError."""
    words = template.split()
    if words == ["GetPrivateIP"]:
        return _first(_addresses(), private=True)
    if words == ["GetPublicIP"]:
        return _first(_addresses(), private=False)
    if len(words) == 2 and words[0] == "GetInterfaceIP":
        return _of_interface(words[1].strip('"`'))
    raise ValueError(
        f'the template "{template}" is not understood; these are: GetPrivateIP, GetPublicIP, GetInterfaceIP "NAME"'
    )


def _of_interface(name: str) -> str:
    found = [address for interface, address in _addresses() if interface == name]
    if not found:
        raise ValueError(f'there is no interface "{name}" with an IPv4 address')
    return found[0]


def _first(addresses: list[tuple[str, str]], *, private: bool) -> str:
    gateway = _default_interface()
    for _, text in sorted(addresses, key=lambda each: each[0] != gateway):
        address = ipaddress.ip_address(text)
        if not address.is_loopback and not address.is_link_local and address.is_private == private:
            return text
    raise ValueError(f"this machine has no {'private' if private else 'public'} IPv4 address")


def _addresses() -> list[tuple[str, str]]:
    import psutil

    return [
        (interface, entry.address)
        for interface, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family == socket.AF_INET
    ]


def _default_interface() -> str:
    """The interface of the default route, "" if there is none."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return ""
    rows = [line.split() for line in lines]
    return next((row[0] for row in rows if len(row) > 2 and row[1] == "00000000"), "")
