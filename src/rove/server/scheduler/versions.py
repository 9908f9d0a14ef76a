"""Versions and version constraints, as job files write them: ">= 1.2, < 2.0", "~> 1.4"."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_LOOSE = re.compile(r"v?(\d+(?:\.\d+)*)(?:[-~]?([0-9A-Za-z][0-9A-Za-z.-]*))?(?:\+[0-9A-Za-z.-]+)?\Z")
_STRICT = re.compile(r"v?(\d+(?:\.\d+)*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z")
_PART = re.compile(r"\s*(=|!=|>=|<=|>|<|~>)?\s*(\S+)\s*\Z")
_TEXT_MAX = 256


@dataclass(frozen=True, slots=True)
class Version:
    """numbers: at least three. pre: the pre-release part, '' for a release. written: how many were given."""

    numbers: tuple[int, ...]
    pre: str
    written: int

    @property
    def key(self) -> tuple[tuple[int, ...], tuple[int, tuple[tuple[int, int, str], ...]]]:
        """Orders versions; a pre-release comes before its release."""
        numbers = self.numbers
        while len(numbers) > 3 and numbers[-1] == 0:
            numbers = numbers[:-1]
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre.split(".") if p)
        return numbers, (0, parts) if parts else (1, ())


@functools.lru_cache(maxsize=4096)
def parse_version(text: str, strict: bool = False) -> Version | None:
    """A version, or None if the text is none.

    strict: a pre-release has to follow a hyphen, as semver.org says; a leading ``v`` and fewer than three numbers are
    taken all the same, since that is what plugins and kernels report.
    """
    text = text.strip()
    if len(text) > _TEXT_MAX:
        return None
    found = (_STRICT if strict else _LOOSE).match(text)
    if not found:
        return None
    numbers = tuple(int(part) for part in found[1].split("."))
    return Version(numbers + (0,) * (3 - len(numbers)), found[2] or "", len(numbers))


@functools.lru_cache(maxsize=4096)
def parse_constraint(text: str, strict: bool = False) -> tuple[tuple[str, Version], ...] | None:
    """The comma-separated conditions of a constraint, or None if it does not parse."""
    conditions = []
    for part in text.split(","):
        found = _PART.match(part)
        version = parse_version(found[2], strict) if found else None
        if found is None or version is None:
            return None
        conditions.append((found[1] or "=", version))
    return tuple(conditions)


def satisfies(version: str, constraint: str, strict: bool = False) -> bool:
    """True if `version` meets every condition. False if either does not parse."""
    parsed, conditions = parse_version(version, strict), parse_constraint(constraint, strict)
    if parsed is None or conditions is None:
        return False
    return all(_meets(parsed, operator, wanted) for operator, wanted in conditions)


def _meets(version: Version, operator: str, wanted: Version) -> bool:
    a, b = version.key, wanted.key
    match operator:
        case "=":
            return a == b
        case "!=":
            return a != b
        case ">":
            return a > b
        case ">=":
            return a >= b
        case "<":
            return a < b
        case "<=":
            return a <= b
        case _:  # ~>: the last number given may rise, those before it not
            fixed = max(wanted.written - 1, 1)
            return a >= b and version.numbers[:fixed] == wanted.numbers[:fixed]
