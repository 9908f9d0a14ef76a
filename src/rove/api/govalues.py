"""Values in query strings, written the way Go programs write them."""

from __future__ import annotations

from rove.errors import BadRequestError
from rove.jobspec import durations

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def parse_bool(name: str, text: str) -> bool:
    """A boolean as Go's strconv reads it. Raises `BadRequestError`."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise bad_value(name, text, "true or false")


def parse_uint(name: str, text: str, limit: int = 2**64 - 1) -> int:
    """An unsigned number up to `limit`. Raises `BadRequestError`."""
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= limit:
        return int(text)
    raise bad_value(name, text, f"a whole number from 0 to {limit}")


def parse_int(name: str, text: str) -> int:
    """A signed 64-bit number. Raises `BadRequestError`."""
    digits = text[1:] if text[:1] in {"-", "+"} else text
    if digits.isascii() and digits.isdigit() and len(digits) <= 19 and -(2**63) <= int(text) < 2**63:
        return int(text)
    raise bad_value(name, text, "a whole number")


def parse_duration(name: str, text: str) -> int:
    """A duration such as ``1m30s`` or ``250ms`` in nanoseconds. Raises `BadRequestError`."""
    nanoseconds = durations.parse_duration(text)
    if nanoseconds is None:
        raise bad_value(name, text, 'a duration such as "30s", "250ms" or "5m"')
    return nanoseconds


def bad_value(name: str, text: str, wanted: str) -> BadRequestError:
    """The error for a query parameter that cannot be read."""
    return BadRequestError("request.query", f"query parameter {name}={shown(text)} is not {wanted}")


def shown(text: str, limit: int = 128) -> str:
    """Foreign text made safe for an error: quoted, control characters escaped, cut."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    return '"' + "".join(c if c.isprintable() and c != '"' else c.encode("unicode_escape").decode() for c in cut) + '"'
