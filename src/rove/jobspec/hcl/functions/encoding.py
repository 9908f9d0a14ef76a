"""Functions between values and text formats: Base64, JSON, CSV, YAML, URLs."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from rove.jobspec.hcl import limits, numbers
from rove.jobspec.hcl.functions import FunctionError, function
from rove.jobspec.hcl.nodes import normal
from rove.jobspec.hcl.types import ANY, STRING, ListOf, Value, object_type, sorted_names

DEPTH_MAX = 100
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@function("base64decode", STRING)
def base64_decode(text: str) -> str:
    try:
        raw = base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        raise FunctionError("the text is not Base64", 0) from None
    try:
        return normal(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise FunctionError("the decoded bytes are not UTF-8 text", 0) from None


@function("base64encode", STRING)
def base64_encode(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


@function("urlencode", STRING)
def url_encode(text: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(text, safe="-_.~")


@function("jsonencode", ANY, nulls=(0,))
def json_encode(value: Value) -> str:
    return to_json(value)


def to_json(value: Value) -> str:
    """A value as compact JSON, object keys sorted. Raises FunctionError if it is nested too deeply."""
    made: list[str] = []
    _write_json(value, made, 0)
    return "".join(made)


def _write_json(value: Value, made: list[str], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise FunctionError("the value is nested too deeply")
    if isinstance(value, str):
        made.append(_json_text(value))
    elif value is None:
        made.append("null")
    elif value is True or value is False:
        made.append("true" if value else "false")
    elif isinstance(value, int | numbers.Big):
        made.append(numbers.text(value))
    elif isinstance(value, dict):
        made.append("{")
        for at, name in enumerate(sorted_names(value)):
            made.append(f",{_json_text(name)}:" if at else f"{_json_text(name)}:")
            _write_json(value[name], made, depth + 1)
        made.append("}")
    else:
        made.append("[")
        for at, each in enumerate(value):
            if at:
                made.append(",")
            _write_json(each, made, depth + 1)
        made.append("]")


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\\b", "\\u0008").replace("\\f", "\\u000c").translate(_ESCAPES)


@function("jsondecode", STRING)
def json_decode(text: str) -> Value:
    try:
        return from_json(text)
    except (ValueError, RecursionError) as failure:
        detail = (
            failure.msg if isinstance(failure, json.JSONDecodeError) else "it is nested too deeply or has a bad number"
        )
        raise FunctionError(f"the text is not JSON: {detail}", 0) from None


def from_json(text: str) -> Value:
    """Read JSON into values. Raises ValueError."""

    def number(digits: str) -> Any:
        return numbers.parse(digits)

    def constant(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    found = json.loads(text, parse_float=number, parse_int=number, parse_constant=constant)
    return _from_plain(found, 0)


def _from_plain(value: Any, depth: int) -> Value:
    if depth > DEPTH_MAX:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        if max(value, default="") >= "\ud800" and any("\ud800" <= char <= "\udfff" for char in value):
            value = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
        return normal(value)
    if isinstance(value, list):
        return tuple([_from_plain(each, depth + 1) for each in value])
    if isinstance(value, dict):
        return {normal(name): _from_plain(each, depth + 1) for name, each in value.items()}
    return value


@function("csvdecode", STRING)
def csv_decode(text: str) -> Value:
    rows = _csv_rows(text)
    if not rows:
        raise FunctionError("the header line is missing", 0)
    header = rows[0]
    for at, name in enumerate(header):
        if name in header[:at]:
            raise FunctionError(f'the column "{name[:80]}" occurs twice', 0)
    element = object_type(dict.fromkeys(header, STRING))
    made = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise FunctionError(f"record {number} has {len(row)} fields, not {len(header)}", 0)
        made.append({name: normal(field) for name, field in zip(header, row, strict=True)})
    return ListOf(made, element)


def _csv_rows(text: str) -> list[list[str]]:
    """Records by RFC 4180, with Go's strictness about quotes. Empty lines are skipped."""
    rows: list[list[str]] = []
    text = text.replace("\r\n", "\n")
    at, end = 0, len(text)
    while at < end:
        if text[at] == "\n":
            at += 1
            continue
        row: list[str] = []
        while True:
            field, at = _csv_field(text, at)
            row.append(field)
            if at >= end or text[at] == "\n":
                at += 1
                break
            at += 1
        rows.append(row)
        if len(rows) * len(row) > limits.ITEMS_MAX:
            raise FunctionError(f"the table has more than {limits.ITEMS_MAX} fields", 0)
    return rows


def _csv_field(text: str, at: int) -> tuple[str, int]:
    end = len(text)
    if at < end and text[at] == '"':
        made: list[str] = []
        at += 1
        while True:
            quote = text.find('"', at)
            if quote < 0:
                raise FunctionError("a quoted field is never closed", 0)
            made.append(text[at:quote])
            at = quote + 1
            if at < end and text[at] == '"':
                made.append('"')
                at += 1
                continue
            if at < end and text[at] not in ",\n":
                raise FunctionError("a quoted field has text after its closing quote", 0)
            return "".join(made), at
    stop = at
    while stop < end and text[stop] not in ",\n":
        if text[stop] == '"':
            raise FunctionError("a field without quotes has a quote in it", 0)
        stop += 1
    return text[at:stop], stop


@function("yamldecode", STRING)
def yaml_decode(text: str) -> Value:
    from rove.jobspec.hcl.functions.yaml_form import decode

    return decode(text)


@function("yamlencode", ANY, nulls=(0,))
def yaml_encode(value: Value) -> str:
    from rove.jobspec.hcl.functions.yaml_form import encode

    return encode(value)
