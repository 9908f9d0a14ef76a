"""Durations as Go writes them: ``"1h15m"`` in, nanoseconds out, and back."""

from __future__ import annotations

import re
from functools import lru_cache

from rove.structs.base import HOUR, MILLISECOND, MINUTE, SECOND, Ns

INT64_MAX = 2**63 - 1
_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR,
}  # fmt: skip
_PART = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_TEXT_MAX = 64


@lru_cache(maxsize=512)
def parse_duration(text: str) -> Ns | None:
    """Nanoseconds of a text like ``30s``, ``1h15m`` or ``-1.5h``; None if it is not a duration or too long."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest == "0":
        return 0
    if not rest or len(rest) > _TEXT_MAX:
        return None
    total = at = 0
    while at < len(rest):
        match = _PART.match(rest, at)
        if match is None:
            return None
        whole, fraction, unit = match.group(1), match.group(2), match.group(3)
        if not whole and not fraction:
            return None
        scale = _UNITS[unit]
        total += int(whole or 0) * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
        at = match.end()
    return sign * total if total <= INT64_MAX else None


def format_duration(ns: Ns) -> str:
    """The shortest text people would write: ``90000000000`` gives ``1m30s``, ``300000000000`` gives ``5m``."""
    if ns == 0:
        return "0s"
    sign, rest = ("-", -ns) if ns < 0 else ("", ns)
    parts = []
    for unit, scale in (("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", MILLISECOND), ("us", 1_000), ("ns", 1)):
        amount, rest = divmod(rest, scale)
        if amount:
            parts.append(f"{amount}{unit}")
    return sign + "".join(parts)
