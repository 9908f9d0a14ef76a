"""Values of a job file in the type the schema wants, converted as HCL converts: numbers to text and so on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .durations import INT64_MAX, parse_duration
from .schema import Kind

REFUSED: Any = object()
"""In place of a value that does not fit."""
DEPTH_MAX = 64


def read_value(kind: Kind, value: Any) -> Any:
    """The value in the wanted type, REFUSED if it cannot be had."""
    return _READERS[kind](value)


def wanted(kind: Kind) -> str:
    """What a kind of value is, in words."""
    return _WANTED[kind]


def to_text(value: Any) -> Any:
    """Text as HCL converts it: numbers and booleans too."""
    kind = type(value)
    if kind is str:
        return value
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is float:
        return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)
    return REFUSED


def _to_int(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return value if -INT64_MAX <= value <= INT64_MAX else REFUSED
    if kind is float and value.is_integer():
        return _to_int(int(value))
    if kind is str and len(value) < 40:
        try:
            return _to_int(int(value))
        except ValueError:
            return REFUSED
    return REFUSED


def _to_bool(value: Any) -> Any:
    if type(value) is bool:
        return value
    return {"true": True, "false": False, "1": True, "0": False}.get(value, REFUSED) if type(value) is str else REFUSED


def _to_duration(value: Any) -> Any:
    if type(value) is str:
        ns = parse_duration(value)
        return REFUSED if ns is None else ns
    return _to_int(value)


def _to_list(value: Any, each: Callable[[Any], Any]) -> Any:
    if type(value) is not list:
        return REFUSED
    out = [each(item) for item in value]
    return REFUSED if any(item is REFUSED for item in out) else out


def _to_texts(value: Any) -> Any:
    return _to_list(value, to_text)


def _to_map(value: Any) -> Any:
    if type(value) is not dict:
        return REFUSED
    out = {}
    for key, item in value.items():
        text = to_text(item)
        if text is REFUSED:
            # an empty value in a map of texts is the empty text; nested values cannot be told apart later
            if item is not None:
                return REFUSED
            text = ""
        out[key] = text
    return out


def _to_lists(value: Any) -> Any:
    if type(value) is not dict:
        return REFUSED
    out = {key: _to_texts(item if type(item) is list else [item]) for key, item in value.items()}
    return REFUSED if any(item is REFUSED for item in out.values()) else out


def _to_any(value: Any) -> Any:
    return value if type(value) is dict and _fits(value, 0) else REFUSED


def _fits(value: Any, depth: int) -> bool:
    """Whether a free-form value can be stored: numbers in 64 bits, not too deep."""
    if depth > DEPTH_MAX:
        return False
    kind = type(value)
    if kind is dict:
        return all(_fits(item, depth + 1) for item in value.values())
    if kind is list:
        return all(_fits(item, depth + 1) for item in value)
    return kind is not int or -INT64_MAX - 1 <= value <= INT64_MAX


_READERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.STR: to_text,
    Kind.INT: _to_int,
    Kind.BOOL: _to_bool,
    Kind.DURATION: _to_duration,
    Kind.STRS: _to_texts,
    Kind.INTS: lambda value: _to_list(value, _to_int),
    Kind.MAP: _to_map,
    Kind.LISTS: _to_lists,
    Kind.ANY: _to_any,
}
_WANTED = {
    Kind.STR: "text",
    Kind.INT: "a whole number",
    Kind.BOOL: "true or false",
    Kind.DURATION: 'a duration such as "30s" or "1h15m"',
    Kind.STRS: 'a list of texts, as in ["a", "b"]',
    Kind.INTS: "a list of whole numbers",
    Kind.MAP: "a map of texts",
    Kind.LISTS: "a map of lists of texts",
    Kind.ANY: "a map (with numbers that fit 64 bits)",
}


def shown(value: Any) -> str:
    """A value in short, for a message."""
    kind = type(value)
    if kind is str:
        return f'"{value[:40]}{"…" if len(value) > 40 else ""}"'
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value) if abs(value) <= INT64_MAX else "a number beyond 64 bits"
    if kind is list:
        return "a list"
    if kind is dict:
        return "a map"
    return str(value)[:40]
