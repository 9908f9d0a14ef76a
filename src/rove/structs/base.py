"""The base of every noun: frozen msgspec structs whose JSON keys are those of Nomad's API."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

Ns = int
"""A duration in nanoseconds, as Nomad's API carries durations."""

UnixNs = int
"""A point in time: nanoseconds since the epoch."""

ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""Go's zero time; "never" on the wire."""

SECOND: Ns = 1_000_000_000
MINUTE: Ns = 60 * SECOND
HOUR: Ns = 60 * MINUTE
MILLISECOND: Ns = 1_000_000

ACRONYMS = {
    "id": "ID", "ids": "IDs", "ip": "IP", "cpu": "CPU", "mb": "MB", "url": "URL", "acl": "ACL", "dns": "DNS",
    "csi": "CSI", "ttl": "TTL", "mbits": "MBits", "tg": "TG", "numa": "NUMA", "ui": "UI", "cidr": "CIDR",
    "iops": "IOPS", "cni": "CNI", "tls": "TLS", "http": "HTTP", "dc": "DC", "hcl": "HCL", "rpc": "RPC",
}  # fmt: skip


def nomad_name(field: str) -> str:
    """The JSON key of a Python field name: ``job_id`` gives ``JobID``, ``memory_mb`` gives ``MemoryMB``.

    The few irregular names are given at their field.
    """
    return "".join(ACRONYMS.get(part, part.capitalize()) for part in field.split("_"))


class Noun(msgspec.Struct, frozen=True, kw_only=True, rename=nomad_name, gc=False):
    """Base of the nouns: immutable, keyword only. Unknown keys are ignored between agents."""


class SparseNoun(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """A noun whose zero-valued fields are absent from JSON, as Nomad encodes a few of its types."""


def from_unix(seconds: float) -> datetime:
    """Seconds since the epoch as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def unix_ns(seconds: float) -> UnixNs:
    """Seconds since the epoch in nanoseconds."""
    return int(seconds * 1e9)
