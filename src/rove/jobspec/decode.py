"""The tree of a job file, with every value worked out, becomes the API form of a job; the schema leads.

Nothing here knows defaults other than those that Nomad's own parser sets; nothing here judges a job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rove.structs.base import SECOND

from .places import nth
from .durations import INT64_MAX, parse_duration
from .hcl import Diagnostic, Range
from .hcl.module import EvalAttribute, EvalBlock, EvalBody
from .problem import did_you_mean, join, quoted
from .schema import JOB, Attr, Body, Kind, Nest

Api = dict[str, Any]
_REFUSED: Any = object()
DEPTH_MAX = 64


class Reading:
    """What is gathered on the way: findings, and where each part of the job stands in the file."""

    __slots__ = ("diagnostics", "is_json", "sources")

    def __init__(self, *, is_json: bool = False) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.sources: dict[str, Range] = {}
        self.is_json = is_json

    def error(self, text: str, where: Range) -> None:
        self.diagnostics.append(Diagnostic("error", text, "", where))

    def warn(self, text: str, where: Range) -> None:
        self.diagnostics.append(Diagnostic("warning", text, "", where))


def decode_root(root: EvalBody, reading: Reading) -> Api | None:
    """The API form of the one job in a file, None (and findings) if there is none."""
    if reading.is_json:
        root = json_body(root, {"job": Nest("", JOB, many=True, label="ID")}, reading)
    for attribute in root.attributes.values():
        reading.error(f'"{attribute.name}" cannot stand at the top of a job file', attribute.name_range)
    jobs = [block for block in root.blocks if block.type == "job"]
    for block in root.blocks:
        if block.type != "job":
            known = ("job", "variable", "variables", "locals")
            hint = did_you_mean(block.type, known)
            text = f'"{block.type}" is not a block of a job file (these are {quoted(known)}){hint}'
            reading.error(text, block.type_range)
    for extra in jobs[1:]:
        reading.error("a job file holds one job; this is the second", extra.range)
    if not jobs:
        reading.error('there is no job block; a job file holds one: job "name" { ... }', root.range)
        return None
    block = jobs[0]
    if len(block.labels) != 1:
        reading.error('a job needs one label, its id: job "name" { ... }', block.range)
        return None
    reading.sources[""] = block.range
    return _finish_job(decode_body(JOB, block.body, "", reading, block), block.labels[0])


def decode_body(body: Body, node: EvalBody, path: str, reading: Reading, block: EvalBlock) -> Api:
    """A block's API form. `block` is its header, for messages about what is missing."""
    if reading.is_json:
        node = json_body(node, body.blocks, reading)
    out = body.blank.copy()
    extra: Api = {}
    attrs = body.attrs
    sources = reading.sources
    for name, attribute in node.attributes.items():
        attr = attrs.get(name)
        if attr is None:
            _unknown(body, name, attribute.name_range, reading, is_block=False)
            continue
        value = attribute.value
        if value is None:
            continue
        where = f"{path} > {name}" if path else name
        sources[where] = attribute.value_range
        value = read_value(attr, name, value, attribute.value_range, reading)
        if value is not _REFUSED:
            if attr.key:
                out[attr.key] = value
            else:
                extra[name] = value
    if node.blocks:
        _decode_blocks(body, node, path, reading, out, extra)
    finish = FINISHERS.get(body.name)
    if finish is not None:
        finish(out, extra, _Place(path, block.range, reading, node))
    return out


class _Place:
    """Where a finisher works, for its messages."""

    __slots__ = ("node", "path", "range", "reading")

    def __init__(self, path: str, range_: Range, reading: Reading, node: EvalBody) -> None:
        self.path = path
        self.range = range_
        self.reading = reading
        self.node = node

    def error(self, text: str, name: str = "") -> None:
        self.reading.error(text, self.reading.sources.get(join(self.path, name), self.range))


def _decode_blocks(body: Body, node: EvalBody, path: str, reading: Reading, out: Api, extra: Api) -> None:
    seen: dict[str, int] = {}
    for block in node.blocks:
        name = block.type
        nest = body.blocks.get(name)
        if nest is None:
            _free_block(body, block, node, path, reading, out, seen)
            continue
        count = seen.get(name, 0)
        seen[name] = count + 1
        if count and not nest.many and not nest.keyed:
            reading.error(f'"{name}" may stand here only once', block.type_range)
            continue
        label = _label(nest, block, reading)
        if label is _REFUSED:
            continue
        part = f'{name} "{label}"' if label is not None else nth(name, count)
        where = f"{path} > {part}" if path else part
        if label is not None and nest.label != "Label" and where in reading.sources and nest.keyed:
            reading.error(f'there is already a {name} "{label}"', block.range)
            continue
        reading.sources[where] = block.range
        value = decode_body(nest.body, block.body, where, reading, block)
        if label is not None and nest.label != "-":
            value[nest.label] = label
        if nest.key == "":
            extra.setdefault(name, []).append(value)
        elif nest.keyed:
            if out.get(nest.key) is None:
                out[nest.key] = {}
            out[nest.key][label] = value
        elif nest.many:
            if out.get(nest.key) is None:
                out[nest.key] = []
            out[nest.key].append(value)
        else:
            out[nest.key] = value


def _label(nest: Nest, block: EvalBlock, reading: Reading) -> Any:
    """The block's label, None if it takes none, _REFUSED after a finding."""
    labels = block.labels
    if not nest.label:
        if labels:
            reading.error(f'"{block.type}" takes no label', block.label_ranges[0] if block.label_ranges else block.range)
            return _REFUSED
        return None
    if len(labels) == 1:
        return labels[0]
    if not labels and (nest.optional or nest.body.name == "scaling"):
        return None
    text = f'"{block.type}" needs one label: {block.type} "name" {{ ... }}'
    reading.error(text, block.label_ranges[1] if len(labels) > 1 and len(block.label_ranges) > 1 else block.range)
    return _REFUSED


def _free_block(
    body: Body, block: EvalBlock, node: EvalBody, path: str, reading: Reading, out: Api, seen: dict[str, int]
) -> None:
    """A block where the schema has a map, such as `meta { ... }` or `config { ... }`."""
    name = block.type
    attr = body.attrs.get(name)
    if attr is None:
        _unknown(body, name, block.type_range, reading, is_block=True)
        return
    if attr.kind not in (Kind.MAP, Kind.LISTS, Kind.ANY):
        reading.error(f'"{name}" is a value, not a block: write {name} = ...', block.type_range)
        return
    if block.labels:
        reading.error(f'"{name}" takes no label', block.range)
        return
    if name in seen or name in node.attributes:
        reading.error(f'"{name}" may stand here only once', block.type_range)
        return
    seen[name] = 1
    where = f"{path} > {name}" if path else name
    reading.sources[where] = block.range
    value = _free_body(block.body, where, reading)
    value = read_value(attr, name, value, block.range, reading)
    if value is not _REFUSED:
        out[attr.key] = value


def _free_body(node: EvalBody, path: str, reading: Reading, depth: int = 0) -> Api:
    """A body without a schema. Blocks become maps; several of one name, or labelled ones, lists of maps."""
    if depth > DEPTH_MAX:
        reading.error("blocks are nested too deeply", node.range)
        return {}
    out: Api = {}
    for name, attribute in node.attributes.items():
        reading.sources[f"{path} > {name}"] = attribute.value_range
        out[name] = attribute.value
    for block in node.blocks:
        if block.type in node.attributes:
            reading.error(f'"{block.type}" is set both as a value and as a block', block.type_range)
            continue
        value: Any = _free_body(block.body, f"{path} > {block.type}", reading, depth + 1)
        reading.sources.setdefault(f"{path} > {block.type}", block.range)
        for label in reversed(block.labels):
            value = {label: value}
        out.setdefault(block.type, []).append(value)
    for block in node.blocks:
        value = out.get(block.type)
        if type(value) is list and len(value) == 1 and block.type not in node.attributes:
            out[block.type] = value[0]
    return out


def _unknown(body: Body, name: str, where: Range, reading: Reading, *, is_block: bool) -> None:
    nest = body.blocks.get(name)
    if nest is not None and not is_block:
        reading.error(f'"{name}" is a block: write {name} {{ ... }} without "="', where)
        return
    what = "block" if is_block else "attribute"
    hint = did_you_mean(name, body.known)
    reading.error(f'"{name}" is not a known {what} of "{body.name}"{hint}', where)


# -- values ------------------------------------------------------------------------------------------


def read_value(attr: Attr, name: str, value: Any, where: Range, reading: Reading) -> Any:
    """The value in the attribute's type, converted as HCL converts; _REFUSED after a finding."""
    out = _READERS[attr.kind](value)
    if out is _REFUSED:
        reading.error(f'"{name}" must be {_WANTED[attr.kind]}, not {_shown(value)}', where)
    elif attr.old:
        reading.warn(f'"{name}" is deprecated', where)
    return out


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
    return _REFUSED


def _to_int(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return value if -INT64_MAX <= value <= INT64_MAX else _REFUSED
    if kind is float and value.is_integer():
        return _to_int(int(value))
    if kind is str and len(value) < 40:
        try:
            return _to_int(int(value))
        except ValueError:
            return _REFUSED
    return _REFUSED


def _to_float(value: Any) -> Any:
    if type(value) is float or type(value) is int:
        return value
    return _to_int(value)


def _to_bool(value: Any) -> Any:
    if type(value) is bool:
        return value
    return {"true": True, "false": False, "1": True, "0": False}.get(value, _REFUSED) if type(value) is str else _REFUSED


def _to_duration(value: Any) -> Any:
    if type(value) is str:
        ns = parse_duration(value)
        return _REFUSED if ns is None else ns
    return _to_int(value)


def _to_list(value: Any, each: Callable[[Any], Any]) -> Any:
    if type(value) is not list:
        return _REFUSED
    out = [each(item) for item in value]
    return _REFUSED if any(item is _REFUSED for item in out) else out


def _to_texts(value: Any) -> Any:
    return _to_list(value, to_text)


def _to_map(value: Any) -> Any:
    if type(value) is not dict:
        return _REFUSED
    out = {}
    for key, item in value.items():
        text = to_text(item)
        if text is _REFUSED:
            # an empty value in a map of texts is the empty text; nested values cannot be told apart later
            if item is not None:
                return _REFUSED
            text = ""
        out[key] = text
    return out


def _to_lists(value: Any) -> Any:
    if type(value) is not dict:
        return _REFUSED
    out = {key: _to_texts(item if type(item) is list else [item]) for key, item in value.items()}
    return _REFUSED if any(item is _REFUSED for item in out.values()) else out


def _to_any(value: Any) -> Any:
    return value if type(value) is dict and _fits(value, 0) else _REFUSED


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
    Kind.FLOAT: _to_float,
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
    Kind.FLOAT: "a number",
    Kind.BOOL: "true or false",
    Kind.DURATION: 'a duration such as "30s" or "1h15m"',
    Kind.STRS: 'a list of texts, as in ["a", "b"]',
    Kind.INTS: "a list of whole numbers",
    Kind.MAP: "a map of texts",
    Kind.LISTS: "a map of lists of texts",
    Kind.ANY: "a map (with numbers that fit 64 bits)",
}


def _shown(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return f'"{value[:40]}{"…" if len(value) > 40 else ""}"'
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value) if abs(value) < 10**20 else "a number beyond 64 bits"
    if kind is list:
        return "a list"
    if kind is dict:
        return "a map"
    return str(value)[:40]


# -- the JSON form -----------------------------------------------------------------------------------


def json_body(node: EvalBody, blocks: Mapping[str, Nest], reading: Reading) -> EvalBody:
    """In the JSON form blocks are objects or lists of objects, labels are keys; make them blocks."""
    attributes: dict[str, EvalAttribute] = {}
    made: list[EvalBlock] = list(node.blocks)
    for name, attribute in node.attributes.items():
        nest = blocks.get(name)
        if name == "//":
            continue
        if nest is None or (type(attribute.value) not in (dict, list)):
            attributes[name] = attribute
            continue
        where = attribute.value_range
        values = attribute.value if type(attribute.value) is list else [attribute.value]
        for value in values:
            if type(value) is not dict:
                reading.error(f'"{name}" is a block: an object, or a list of objects', where)
            elif nest.label and not (nest.optional and not all(type(item) in (dict, list) for item in value.values())):
                for label, inner in value.items():
                    for item in inner if type(inner) is list else [inner]:
                        made.append(_json_block(name, [label], item, where, reading))
            else:
                made.append(_json_block(name, [], value, where, reading))
    return EvalBody(attributes, made, node.range)


def _json_block(name: str, labels: list[str], value: Any, where: Range, reading: Reading) -> EvalBlock:
    if type(value) is not dict:
        reading.error(f'"{name}" is a block: an object, or a list of objects', where)
        value = {}
    attributes = {key: EvalAttribute(key, item, where, where, where) for key, item in value.items()}
    return EvalBlock(name, labels, EvalBody(attributes, [], where), where, where, [where for _ in labels])


# -- finishers: what the file form and the API form say differently ----------------------------------

_SUGAR = ("version", "semver", "regexp", "set_contains")


def _finish_constraint(out: Api, extra: Api, place: _Place) -> None:
    for name in _SUGAR:
        if name in extra:
            out["Operand"], out["RTarget"] = name, extra[name]
    if "distinct_property" in extra:
        out["Operand"], out["LTarget"] = "distinct_property", extra["distinct_property"]
    if "distinct_hosts" in extra:
        out["Operand"], out["RTarget"] = "distinct_hosts", to_text(extra["distinct_hosts"])
    if out["Operand"] is None:
        out["Operand"] = "="


def _finish_affinity(out: Api, extra: Api, place: _Place) -> None:
    for name in (*_SUGAR, "set_contains_any", "set_contains_all"):
        if name in extra:
            out["Operand"], out["RTarget"] = name, extra[name]
    if out["Operand"] is None:
        out["Operand"] = "="


def _finish_network(out: Api, extra: Api, place: _Place) -> None:
    """Ports with a static value are reserved ports, the others dynamic ones."""
    ports = out["DynamicPorts"]
    if not ports:
        return
    seen: set[str] = set()
    for port in ports:
        if port["Label"] in seen:
            place.error(f'two ports are called "{port["Label"]}"', f'port "{port["Label"]}"')
        seen.add(port["Label"])
    out["ReservedPorts"] = [port for port in ports if port["Value"]] or None
    out["DynamicPorts"] = [port for port in ports if not port["Value"]] or None


def _finish_logs(out: Api, extra: Api, place: _Place) -> None:
    if "enabled" in extra and out["Disabled"] is None:
        out["Disabled"] = not extra["enabled"]


def _finish_template(out: Api, extra: Api, place: _Place) -> None:
    defaults = {"ChangeMode": "restart", "Perms": "0644", "Splay": 5 * SECOND, "ErrMissingKey": False}
    for key, value in defaults.items():
        if out[key] is None:
            out[key] = value


def _finish_change_script(out: Api, extra: Api, place: _Place) -> None:
    defaults = {"Args": [], "Timeout": 5 * SECOND, "FailOnError": False, "RunOnFirstRender": False}
    for key, value in defaults.items():
        if out[key] is None:
            out[key] = value


def _finish_vault(out: Api, extra: Api, place: _Place) -> None:
    defaults = {"Env": True, "DisableFile": False, "ChangeMode": "restart"}
    for key, value in defaults.items():
        if out[key] is None:
            out[key] = value


def _finish_periodic(out: Api, extra: Api, place: _Place) -> None:
    out["SpecType"] = "cron"


def _finish_task(out: Api, extra: Api, place: _Place) -> None:
    """The first identity without a name, or called "default", is the task's own."""
    identities = out["Identities"]
    if identities:
        own = next((each for each in identities if each["Name"] in (None, "", "default")), None)
        if own is not None:
            out["Identity"] = own
            out["Identities"] = [each for each in identities if each is not own] or None
    for policy in out["ScalingPolicies"] or ():
        kind = policy.get("Type")
        policy["Type"] = {"cpu": "vertical_cpu", "mem": "vertical_mem"}.get(kind, kind)


def _finish_group(out: Api, extra: Api, place: _Place) -> None:
    """Vault and secrets of a group are those of each of its tasks that has none."""
    _hand_down(out["Tasks"], extra)
    if out["Scaling"] is not None and out["Scaling"]["Type"] is None:
        out["Scaling"]["Type"] = "horizontal"


def _hand_down(tasks: list[Api] | None, extra: Api) -> None:
    for task in tasks or ():
        if task["Vault"] is None and "vault" in extra:
            task["Vault"] = dict(extra["vault"][0])
        if "secret" in extra:
            own = {secret["Name"] for secret in task["Secrets"] or ()}
            given = [dict(secret) for secret in extra["secret"] if secret["Name"] not in own]
            task["Secrets"] = [*(task["Secrets"] or ()), *given] or None


def _finish_job_extra(out: Api, extra: Api, place: _Place) -> None:
    """A task directly below the job is a group of its own, placed before the others."""
    groups = []
    for task in extra.get("task", ()):
        from .schema import GROUP

        group = GROUP.blank.copy()
        group["Name"], group["Tasks"] = task["Name"], [task]
        groups.append(group)
    if groups:
        out["TaskGroups"] = [*groups, *(out["TaskGroups"] or ())]
    for group in out["TaskGroups"] or ():
        _hand_down(group["Tasks"], extra)


def _finish_job(out: Api, label: str) -> Api:
    if out["ID"] is None:
        out["ID"] = label
    if out["Name"] is None:
        out["Name"] = label
    return out


FINISHERS: dict[str, Callable[[Api, Api, _Place], None]] = {
    "constraint": _finish_constraint,
    "affinity": _finish_affinity,
    "network": _finish_network,
    "logs": _finish_logs,
    "template": _finish_template,
    "change_script": _finish_change_script,
    "vault": _finish_vault,
    "periodic": _finish_periodic,
    "task": _finish_task,
    "group": _finish_group,
    "job": _finish_job_extra,
}
