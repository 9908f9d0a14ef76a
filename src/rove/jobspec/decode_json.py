"""The JSON form of a job file: objects become blocks where the schema has blocks, keys become their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .hcl import Range
from .reading import AttributeLike, BlockLike, BodyLike, Reading
from .schema import Nest


class JsonAttribute:
    """A member of an object; all members share the place of the outermost value."""

    __slots__ = ("name", "name_range", "value", "value_range")

    def __init__(self, name: str, value: Any, where: Range) -> None:
        self.name = name
        self.value = value
        self.name_range = where
        self.value_range = where


class JsonBlock:
    """An object that is a block."""

    __slots__ = ("body", "label_ranges", "labels", "range", "type", "type_range")

    def __init__(self, name: str, labels: list[str], body: BodyLike, where: Range) -> None:
        self.type = name
        self.labels = labels
        self.body = body
        self.range = where
        self.type_range = where
        self.label_ranges = [where for _ in labels]


class JsonBody:
    """What is inside of such an object."""

    __slots__ = ("attributes", "blocks", "range")

    def __init__(self, attributes: Mapping[str, AttributeLike], blocks: list[BlockLike], where: Range) -> None:
        self.attributes = attributes
        self.blocks = blocks
        self.range = where


def json_body(node: BodyLike, blocks: Mapping[str, Nest], reading: Reading) -> BodyLike:
    """The body with those members as blocks that the schema knows as blocks."""
    attributes: dict[str, AttributeLike] = {}
    made: list[BlockLike] = list(node.blocks)
    for name, attribute in node.attributes.items():
        nest = blocks.get(name)
        if name == "//":
            continue
        if nest is None or type(attribute.value) not in (dict, list):
            attributes[name] = attribute
        else:
            made.extend(_blocks(name, nest, attribute.value, attribute.value_range, reading))
    return JsonBody(attributes, made, node.range)


def unwrapped(value: Any) -> Any:
    """A map written as a list of one object, as blocks may be in the JSON form."""
    return value[0] if type(value) is list and len(value) == 1 and type(value[0]) is dict else value


def _blocks(name: str, nest: Nest, value: Any, where: Range, reading: Reading) -> Iterator[BlockLike]:
    for item in value if type(value) is list else [value]:
        if type(item) is not dict:
            reading.error(f'"{name}" is a block: an object, or a list of objects', where)
        elif nest.label and not (nest.optional and not _are_labels(item)):
            for label, inner in item.items():
                for each in inner if type(inner) is list else [inner]:
                    yield _block(name, [label], each, where, reading)
        else:
            yield _block(name, [], item, where, reading)


def _are_labels(item: dict[str, Any]) -> bool:
    return all(type(inner) in (dict, list) for inner in item.values())


def _block(name: str, labels: list[str], value: Any, where: Range, reading: Reading) -> JsonBlock:
    if type(value) is not dict:
        reading.error(f'"{name}" is a block: an object, or a list of objects', where)
        value = {}
    attributes = {key: JsonAttribute(key, item, where) for key, item in value.items()}
    return JsonBlock(name, labels, JsonBody(attributes, [], where), where)
