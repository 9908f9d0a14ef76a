"""A job as a job file again, and job files in canonical layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rove.structs.job import Job

from .api import job_to_api
from .durations import format_duration
from .schema import JOB, Attr, Body, Kind, Nest
from .slim import slim_job

Api = Mapping[str, Any]

_NAME = re.compile(r"(?!(?:for|null|true|false)\Z)[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
"""What may stand before "=" without quotes, in a block as well as in an object."""

_INDENT = "  "


def job_to_hcl(job: Job | Api) -> str:
    """The job as an HCL job file that reads back as the same job. Values that say nothing are left out."""
    api: Api = job_to_api(job) if isinstance(job, Job) else job
    identifier = api.get("ID") or api.get("Name") or ""
    lines = [f"job {quote(identifier)} {{"]
    lines += _inside(JOB, slim_job(api), 1)
    lines.append("}")
    from .hcl.format import lay_out

    return lay_out("\n".join(lines) + "\n")


def format_hcl(text: str) -> str:
    """The text in canonical layout: indentation, aligned "=", one blank line at most. Comments stay.

    Raises HclError if it is not HCL, with ``input.hcl`` as the name of the file.
    """
    from .hcl.format import format_source

    return format_source(text)


def quote(text: str) -> str:
    """A text as an HCL string. What the node fills in (``${attr.x}``) stays as it is."""
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    out = out.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    out = _templates_kept(out)
    return '"' + "".join(char if char.isprintable() or char == " " else f"\\U{ord(char):08x}" for char in out) + '"'


def _templates_kept(text: str) -> str:
    """The text with template marks escaped, but for plain names that the node fills in."""
    out = text.replace("%{", "%%{")
    return _RAW.sub(_guarded, out) if "${" in out else out


_HEREDOC = re.compile(r"(?:[^\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ufeff\ud800-\udfff]*\n)")
_RAW = re.compile(r"(\$?)\$\{([^{}$]*)(\}?)")
_TRAVERSAL = re.compile(
    r"(?!(?:var|local|true|false|null|for|if)\b)[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*|\.\d+|\[\d+\])*", re.ASCII
)


def _guarded(match: re.Match[str]) -> str:
    """A name for the node is written as it is; anything else that looks like a template is escaped.

    After another "$" even a name must be escaped, or the two would be read as one mark.
    """
    before, inside, end = match.groups()
    if end and not before and _TRAVERSAL.fullmatch(inside):
        return match[0]
    return f"{before}$${{{inside}{end}"


# -- bodies ------------------------------------------------------------------------------------------


def _inside(body: Body, value: Api, depth: int) -> list[str]:
    """The lines between a block's braces: attributes first, then maps and blocks."""
    value = _UNFINISH.get(body.name, dict)(value)
    pad = _INDENT * depth
    plain: list[tuple[str, str]] = []
    blocks: list[list[str]] = []
    for word, attr in body.attrs.items():
        item = value.get(attr.key) if attr.key else None
        if item is None:
            continue
        if attr.kind in (Kind.MAP, Kind.ANY, Kind.LISTS):
            blocks.append(_map_lines(word, item, depth))
        else:
            plain.append((word, _value(attr, item, depth)))
    lines = [f"{pad}{word} = {text}" for word, text in plain]
    for word, nest in body.blocks.items():
        if nest.key and value.get(nest.key) is not None:
            blocks += _nested(word, nest, value[nest.key], depth)
    for block in blocks:
        if lines:
            lines.append("")
        lines += block
    return lines


def _nested(word: str, nest: Nest, item: Any, depth: int) -> Iterable[list[str]]:
    if nest.keyed:
        for label, value in item.items():
            yield _block(word, nest, value, label, depth)
    elif nest.many:
        for value in item:
            yield _block(word, nest, value, value.get(nest.label) if nest.label else None, depth)
    else:
        yield _block(word, nest, item, None, depth)


def _block(word: str, nest: Nest, value: Api, label: str | None, depth: int) -> list[str]:
    pad = _INDENT * depth
    if nest.body.name == "scaling" and label is not None:
        label = {"vertical_cpu": "cpu", "vertical_mem": "mem"}.get(label, label)
        value = {key: item for key, item in value.items() if key != "Type"}
    head = f"{pad}{word} {quote(label)}" if label is not None else f"{pad}{word}"
    inside = _inside(nest.body, value, depth + 1)
    return [f"{head} {{", *inside, f"{pad}}}"] if inside else [f"{head} {{}}"]


def _map_lines(word: str, value: Mapping[str, Any], depth: int) -> list[str]:
    """`word { ... }` when every key can be a name, else `word = { ... }`."""
    pad = _INDENT * depth
    if not value:
        return [f"{pad}{word} {{}}"]
    named = all(_NAME.fullmatch(key) for key in value)
    head = f"{pad}{word} {{" if named else f"{pad}{word} = {{"
    return [head, *_pairs(value, depth + 1), f"{pad}}}"]


def _pairs(value: Mapping[str, Any], depth: int) -> list[str]:
    pad = _INDENT * depth
    return [f"{pad}{key if _NAME.fullmatch(key) else quote(key)} = {_free(item, depth)}" for key, item in value.items()]


def _value(attr: Attr, item: Any, depth: int) -> str:
    if attr.kind is Kind.DURATION:
        return f'"{format_duration(item)}"'
    if attr.kind is Kind.STR and _HEREDOC.fullmatch(item) and "\nEOT\n" not in f"\n{item}":
        return f"<<EOT\n{_templates_kept(item)}EOT"
    return _free(item, depth)


def _free(item: Any, depth: int) -> str:
    """A plain value as an HCL expression."""
    if isinstance(item, str):
        return quote(item)
    if isinstance(item, bool):
        return "true" if item else "false"
    if item is None:
        return "null"
    if isinstance(item, list | tuple):
        parts = [_free(each, depth + 1) for each in item]
        if not any("\n" in part for part in parts):
            return f"[{', '.join(parts)}]"
        inner = _INDENT * (depth + 1)
        return "\n".join(["[", *(f"{inner}{part}," for part in parts), f"{_INDENT * depth}]"])
    if isinstance(item, Mapping):
        if not item:
            return "{}"
        return "\n".join(["{", *_pairs(item, depth + 1), f"{_INDENT * depth}}}"])
    return msgspec.json.encode(item).decode()


# -- what the API form says differently --------------------------------------------------------------


def _network(value: Api) -> dict[str, Any]:
    out = dict(value)
    ports = [*(value.get("ReservedPorts") or ()), *(value.get("DynamicPorts") or ())]
    out["DynamicPorts"] = [_port(port) for port in ports] or None
    return out


def _port(port: Api) -> dict[str, Any]:
    return {
        key: item
        for key, item in port.items()
        if item not in (0, False, None) and not (key == "HostNetwork" and item == "default")
    }


def _task(value: Api) -> dict[str, Any]:
    out = dict(value)
    own = value.get("Identity")
    identities = [*([own] if own else []), *(value.get("Identities") or ())]
    out["Identities"] = identities or None
    return out


def _constraint(value: Api) -> dict[str, Any]:
    return {key: item for key, item in value.items() if not (key == "Operand" and item == "=")}


_UNFINISH: dict[str, Any] = {
    "network": _network,
    "task": _task,
    "constraint": _constraint,
    "affinity": _constraint,
}
