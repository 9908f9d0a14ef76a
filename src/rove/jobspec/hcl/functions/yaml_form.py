"""YAML for `yamldecode` and `yamlencode`: the part of YAML 1.2 that maps onto values."""

from __future__ import annotations

import re
from typing import Any

from rove.jobspec.hcl import limits, numbers
from rove.jobspec.hcl.functions import FunctionError
from rove.jobspec.hcl.functions.encoding import DEPTH_MAX, to_json
from rove.jobspec.hcl.nodes import normal
from rove.jobspec.hcl.types import Value, sorted_names

_INT = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUES = ("true", "True", "TRUE")
_FALSES = ("false", "False", "FALSE")


def decode(text: str) -> Value:
    """Read one YAML document. Raises FunctionError."""
    yaml = _library()
    try:
        # Never `load`: only the tree is taken from the library, values are made here.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None)
        where = f" on line {mark.line + 1}" if mark is not None else ""
        raise FunctionError(
            f"the text is not YAML{where}: {getattr(failure, 'problem', '') or 'unreadable'}", 0
        ) from None
    except RecursionError:
        raise FunctionError("the YAML is nested too deeply", 0) from None
    if root is None:
        return None
    return _Decoder().value(root, 0)


def _library() -> Any:
    try:
        import yaml
    except ImportError:
        raise FunctionError("YAML support is not installed: the Python package PyYAML is missing") from None
    return yaml


class _Decoder:
    def __init__(self) -> None:
        self.room = limits.ITEMS_MAX
        self.open: set[int] = set()

    def value(self, node: Any, depth: int) -> Value:
        self.room -= 1
        if self.room < 0 or depth > DEPTH_MAX:
            raise FunctionError("the YAML is too large or nested too deeply", 0)
        if node.id == "scalar":
            return _scalar(node)
        if id(node) in self.open:
            raise FunctionError("the YAML refers to itself", 0)
        self.open.add(id(node))
        made: Value
        if node.id == "sequence":
            made = tuple([self.value(each, depth + 1) for each in node.value])
        else:
            made = self._mapping(node, depth)
        self.open.discard(id(node))
        return made

    def _mapping(self, node: Any, depth: int) -> dict[str, Value]:
        made: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                found = self.value(value_node, depth + 1)
                for each in found if isinstance(found, tuple) else (found,):
                    if not isinstance(each, dict):
                        raise FunctionError("only mappings can be merged", 0)
                    merged = {**each, **merged}
                continue
            key = self.value(key_node, depth + 1)
            if isinstance(key, tuple | dict) or key is None:
                raise FunctionError("a key must be a text", 0)
            made[key if isinstance(key, str) else key_node.value] = self.value(value_node, depth + 1)
        return {**merged, **made}


def _scalar(node: Any) -> Value:
    text = node.value
    tag = node.tag
    if node.style in ("'", '"', "|", ">") and not tag.startswith("!"):
        return normal(text) if tag.endswith((":str", ":binary")) else _plain(text)
    if tag.endswith(":str") and node.style is None:
        return _plain(text) if _resolves(text) else normal(text)
    return _plain(text)


def _resolves(text: str) -> bool:
    return not isinstance(_plain(text), str)


def _plain(text: str) -> Value:
    if text in _NULLS:
        return None
    if text in _TRUES:
        return True
    if text in _FALSES:
        return False
    try:
        if _INT.fullmatch(text):
            return _whole(text.replace("_", ""))
        if _FLOAT.fullmatch(text):
            return numbers.parse(text)
    except (ValueError, numbers.NumberError):
        return normal(text)
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        raise FunctionError("infinities and NaN have no value here", 0)
    return normal(text)


def _whole(text: str) -> int:
    if len(text) > 1000:
        raise ValueError(text)
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    for prefix, base in (("0b", 2), ("0x", 16), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    if len(digits) > 1 and digits[0] == "0":
        return sign * int(digits, 8)
    return sign * int(digits)


def encode(value: Value) -> str:
    """A value as block-style YAML with quoted texts. Raises FunctionError."""
    lines = _lines(value, 0)
    return "\n".join(lines) + "\n"


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
