"""The tree of a job file, with every value worked out, becomes the API form of a job; the schema leads.

Nothing here knows defaults other than those that Nomad's own parser sets; nothing here judges a job.
"""

from __future__ import annotations

from typing import Any

from .decode_json import json_body, unwrapped
from .finish import FINISHERS
from .hcl import Range
from .places import nth
from .problem import did_you_mean, quoted
from .reading import BlockLike, BodyLike, Place, Reading
from .schema import JOB, Attr, Body, Kind, Nest
from .values import DEPTH_MAX, REFUSED, read_value, shown, wanted

Api = dict[str, Any]
FREE = (Kind.MAP, Kind.LISTS, Kind.ANY)


def decode_root(root: BodyLike, reading: Reading) -> Api | None:
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


def decode_body(body: Body, node: BodyLike, path: str, reading: Reading, block: BlockLike) -> Api:
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
        if reading.is_json and attr.kind in FREE:
            value = unwrapped(value)
        value = _value(attr, name, value, attribute.value_range, reading)
        if value is not REFUSED:
            if attr.key:
                out[attr.key] = value
            else:
                extra[name] = value
    if node.blocks:
        _decode_blocks(body, node, path, reading, out, extra)
    finish = FINISHERS.get(body.name)
    if finish is not None:
        finish(out, extra, Place(path, block.range, reading, node))
    return out


def _decode_blocks(body: Body, node: BodyLike, path: str, reading: Reading, out: Api, extra: Api) -> None:
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
        if label is REFUSED:
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


def _label(nest: Nest, block: BlockLike, reading: Reading) -> Any:
    """The block's label, None if it takes none, REFUSED after a finding."""
    labels = block.labels
    if not nest.label:
        if labels:
            reading.error(
                f'"{block.type}" takes no label', block.label_ranges[0] if block.label_ranges else block.range
            )
            return REFUSED
        return None
    if len(labels) == 1:
        return labels[0]
    if not labels and (nest.optional or nest.body.name == "scaling"):
        return None
    text = f'"{block.type}" needs one label: {block.type} "name" {{ ... }}'
    reading.error(text, block.label_ranges[1] if len(labels) > 1 and len(block.label_ranges) > 1 else block.range)
    return REFUSED


def _free_block(
    body: Body, block: BlockLike, node: BodyLike, path: str, reading: Reading, out: Api, seen: dict[str, int]
) -> None:
    """A block where the schema has a map, such as `meta { ... }` or `config { ... }`."""
    name = block.type
    attr = body.attrs.get(name)
    if attr is None:
        _unknown(body, name, block.type_range, reading, is_block=True)
        return
    if attr.kind not in FREE:
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
    value = _value(attr, name, value, block.range, reading)
    if value is not REFUSED:
        out[attr.key] = value


def _free_body(node: BodyLike, path: str, reading: Reading, depth: int = 0) -> Api:
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


def _value(attr: Attr, name: str, value: Any, where: Range, reading: Reading) -> Any:
    """The value in the attribute's type; REFUSED after a finding."""
    out = read_value(attr.kind, value)
    if out is REFUSED:
        reading.error(f'"{name}" must be {wanted(attr.kind)}, not {shown(value)}', where)
    elif attr.old:
        reading.warn(f'"{name}" is deprecated', where)
    return out


def _finish_job(out: Api, label: str) -> Api:
    if out["ID"] is None:
        out["ID"] = label
    if out["Name"] is None:
        out["Name"] = label
    return out
