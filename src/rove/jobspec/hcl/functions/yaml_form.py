"""YAML for `yamldecode` and `yamlencode`: the part of YAML 1.2 that maps onto values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rove.jobspec.hcl import limits, numbers
from rove.jobspec.hcl.convert import ConvertError, to_text
from rove.jobspec.hcl.functions import FunctionError
from rove.jobspec.hcl.functions.encoding import DEPTH_MAX, to_json
from rove.jobspec.hcl.nodes import normal
from rove.jobspec.hcl.types import Value, sorted_names, weigh

SIZE_MAX = 1 << 20  # characters, with the parser in C
SIZE_MAX_SLOW = 1 << 16  # characters, with the parser in Python

_TAG = "tag:yaml.org,2002:"
_NUMBER = re.compile(r"[-+]?(?:0o[0-7_]+|[0-9_]+|0x[0-9a-fA-F_]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)")
_STAMP = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:([Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d*)?(Z|[-+]\d\d:\d\d)?)?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
}
_MERGE = object()


def decode(text: str) -> Value:
    """Read one YAML document. Raises FunctionError."""
    yaml = _library()
    loader = getattr(yaml, "CSafeLoader", None)
    size = SIZE_MAX if loader else SIZE_MAX_SLOW
    if len(text) > size:
        raise FunctionError(f"at most {size} characters of YAML are read", 0)
    try:
        # Only the events come from the library; it never makes objects.
        return _Decoder(yaml.parse(text, Loader=loader or yaml.SafeLoader)).document()
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None)
        where = f" on line {mark.line + 1}" if mark is not None else ""
        problem = getattr(failure, "problem", "") or "unreadable"
        raise FunctionError(f"the text is not YAML{where}: {problem}", 0) from None
    except RecursionError:
        raise FunctionError("the YAML is nested too deeply", 0) from None


def _library() -> Any:
    try:
        import yaml
    except ImportError:
        raise FunctionError("YAML support is not installed: the Python package PyYAML is missing") from None
    return yaml


class _Decoder:
    def __init__(self, events: Iterator[Any]) -> None:
        self.events = events
        self.anchors: dict[str, Value] = {}
        self.room = limits.ITEMS_MAX

    def document(self) -> Value:
        kinds = []
        for event in self.events:
            kinds.append(type(event).__name__)
            if kinds[-1] == "DocumentStartEvent":
                value = self.value(next(self.events), 0)
                rest = [type(each).__name__ for each in self.events]
                if rest != ["DocumentEndEvent", "StreamEndEvent"]:
                    raise FunctionError("there is more than one document", 0)
                return None if value is _MERGE else value
        raise FunctionError("there is no document", 0)

    def value(self, event: Any, depth: int) -> Value:
        self.room -= 1
        if self.room < 0 or depth > DEPTH_MAX:
            raise FunctionError("the YAML is too large or nested too deeply", 0)
        kind = type(event).__name__
        if kind == "AliasEvent":
            if event.anchor not in self.anchors:
                raise FunctionError(f'the alias "{event.anchor}" refers to nothing complete', 0)
            found = self.anchors[event.anchor]
            self.room -= weigh(found, limits.ITEMS_MAX)
            return found
        made: Value
        if kind == "ScalarEvent":
            made = _scalar(event)
        else:
            self._check_tag(event.tag, "seq" if kind == "SequenceStartEvent" else "map")
            made = self._sequence(depth) if kind == "SequenceStartEvent" else self._mapping(depth)
        if event.anchor:
            self.anchors[event.anchor] = made
        return made

    def _check_tag(self, tag: str | None, wanted: str) -> None:
        if tag not in (None, "!", _TAG + wanted):
            raise FunctionError(f'the tag "{tag}" is not supported', 0)

    def _sequence(self, depth: int) -> Value:
        items = []
        for event in self.events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            items.append(self.value(event, depth + 1))
        return tuple(items)

    def _mapping(self, depth: int) -> dict[str, Value]:
        made: dict[str, Value] = {}
        for event in self.events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self.value(event, depth + 1)
            value = self.value(next(self.events), depth + 1)
            if key is _MERGE:
                for each in value if isinstance(value, tuple) else (value,):
                    if not isinstance(each, dict):
                        raise FunctionError("only mappings can be merged", 0)
                    made.update(each)
                continue
            try:
                made[to_text(key)] = value
            except ConvertError:
                raise FunctionError("a key must be a text", 0) from None
        return made


def _scalar(event: Any) -> Value:
    """The value of a scalar by its explicit tag, or by how it looks."""
    text, tag = event.value, event.tag
    if tag == "!":
        tag = _TAG + "str"
    kind = "" if tag is None else tag.removeprefix(_TAG)
    if tag is not None and kind not in ("str", "binary", "bool", "int", "float", "null", "timestamp"):
        raise FunctionError(f'the tag "{tag}" is not supported', 0)
    if kind in ("str", "binary"):
        return normal(text)
    quoted = event.style in ("'", '"')
    if quoted and (not text or text[0] in "+-0123456789yYnNtTfFoO~."):
        return normal(text)
    if not quoted:
        found = _by_looks(text, kind)
        if found is not _MERGE or text == "<<":
            return found
    if kind == "null":
        return None
    if kind:
        raise FunctionError(f'"{text[:40]}" is no {kind}', 0)
    return normal(text)


def _by_looks(text: str, kind: str) -> Value:
    """Gives `_MERGE` for a text that looks like nothing special, too."""
    if text in _WORDS:
        return _WORDS[text]
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        raise FunctionError("infinities and NaN have no value here", 0)
    if kind in ("", "timestamp") and (stamp := _timestamp(text)):
        return stamp
    if _NUMBER.fullmatch(text):
        return _number(text)
    return normal(text) if not kind and text != "<<" else _MERGE


def _number(text: str) -> Value:
    plain = text.replace("_", "")
    try:
        return numbers.parse(plain)
    except numbers.NumberError:
        sign, digits = (-1, plain[1:]) if plain[:1] == "-" else (1, plain.lstrip("+"))
        base = {"0x": 16, "0o": 8}.get(digits[:2])
        if base is None or len(digits) > 18:
            raise FunctionError(f'"{text[:40]}" is no number', 0) from None
        return sign * int(digits[2:], base)


def _timestamp(text: str) -> str:
    """A date in RFC 3339, empty if the text is none."""
    found = _STAMP.fullmatch(text)
    if found is None or (found[4] and (found[4] == " ") == bool(found[8])):
        return ""
    year, month, day = (int(found[at]) for at in (1, 2, 3))
    hour, minute, second = (int(found[at] or 0) for at in (5, 6, 7))
    days = [31, 29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if not (1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second < 60):
        return ""
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{found[8] or 'Z'}"


def encode(value: Value) -> str:
    """A value as block-style YAML with quoted texts. Raises FunctionError."""
    lines = _lines(value, 0)
    if isinstance(value, str) and lines[0][0] == "|":
        lines = [lines[0], *(f"  {line}" if line else "" for line in lines[1:])]
    open_ended = not isinstance(value, str | list | tuple | dict)
    return "\n".join(lines) + ("\n...\n" if open_ended else "\n")


def _lines(value: Value, depth: int) -> list[str]:
    if depth > DEPTH_MAX:
        raise FunctionError("the value is nested too deeply")
    if isinstance(value, dict) and value:
        made: list[str] = []
        for name in sorted_names(value):
            made.extend(_entry(f"{_text(name)}:", value[name], depth))
        return made
    if isinstance(value, list | tuple) and value:
        made = []
        for each in value:
            inner = _lines(each, depth + 1)
            made.append(f"- {inner[0]}")
            made.extend(f"  {line}" for line in inner[1:])
        return made
    return _flow(value)


def _entry(head: str, value: Value, depth: int) -> list[str]:
    inner = _lines(value, depth + 1)
    if isinstance(value, dict) and value:
        return [head, *(f"  {line}" for line in inner)]
    if isinstance(value, list | tuple) and value:
        return [head, *inner]
    return [f"{head} {inner[0]}", *(f"  {line}" for line in inner[1:])]


def _flow(value: Value) -> list[str]:
    if isinstance(value, dict):
        return ["{}"]
    if isinstance(value, list | tuple):
        return ["[]"]
    if isinstance(value, str):
        if "\n" in value and _fits_block(value):
            mark = (
                "|" if value.endswith("\n") and not value.endswith("\n\n") else "|+" if value.endswith("\n") else "|-"
            )
            body = value[:-1] if value.endswith("\n") else value
            return [mark, *body.split("\n")]
        return [_text(value)]
    if value is None:
        return ["null"]
    return [to_json(value)]


def _fits_block(text: str) -> bool:
    return not text.startswith((" ", "\n", "\t")) and all(char.isprintable() or char == "\n" for char in text)


def _text(text: str) -> str:
    made = ['"']
    for char in text:
        code = ord(char)
        if char in '"\\':
            made.append("\\" + char)
        elif char in "\n\r\t\0":
            made.append({"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}[char])
        elif char.isprintable():
            made.append(char)
        else:
            made.append(f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}")
    made.append('"')
    return "".join(made)
