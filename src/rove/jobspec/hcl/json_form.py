"""HCL written as JSON: the same bodies, with every text a template.

JSON does not tell blocks from attributes. A property is read as a block if `BLOCKS` knows its name and its value is an
object, or a list of objects; anything else is an attribute. Maps that people fill freely (`meta`, `env`, `config`)
stay attributes.
"""

from __future__ import annotations

import json
import re
from typing import Any

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.diagnostics import HclError, error
from rove.jobspec.hcl.nodes import Embedded, Literal, Node, ObjectNode, TupleNode, normal
from rove.jobspec.hcl.numbers import NumberError
from rove.jobspec.hcl.numbers import parse as parse_number
from rove.jobspec.hcl.parser import parse_template, source_of
from rove.jobspec.hcl.positions import Range, Source
from rove.jobspec.hcl.tokens import SyntaxFault
from rove.jobspec.hcl.tree import Attribute, Block, Body

# Block types of a job file and how many labels each has.
BLOCKS: dict[str, int] = {
    **dict.fromkeys(
        [
            "action",
            "device",
            "dynamic",
            "group",
            "job",
            "port",
            "region",
            "secret",
            "target",
            "task",
            "variable",
            "volume",
        ],
        1,
    ),
    **dict.fromkeys(
        [
            "affinity",
            "artifact",
            "change_script",
            "check",
            "check_restart",
            "cni",
            "connect",
            "constraint",
            "consul",
            "content",
            "csi_plugin",
            "disconnect",
            "dispatch_payload",
            "dns",
            "ephemeral_disk",
            "expose",
            "gateway",
            "identity",
            "ingress",
            "lifecycle",
            "link",
            "listener",
            "locals",
            "logs",
            "mesh",
            "mesh_gateway",
            "migrate",
            "mount_options",
            "multiregion",
            "network",
            "numa",
            "parameterized",
            "path",
            "periodic",
            "proxy",
            "reschedule",
            "resources",
            "restart",
            "scaling",
            "schedule",
            "service",
            "sidecar_service",
            "sidecar_task",
            "spread",
            "strategy",
            "template",
            "terminating",
            "tls",
            "transparent_proxy",
            "ui",
            "update",
            "upstreams",
            "validation",
            "variables",
            "vault",
            "volume_mount",
            "wait",
        ],
        0,
    ),
}
# Where a block has another number of labels inside some other block.
_INSIDE = {("task", "scaling"): 1}

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:
      (?P<text>"(?>(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)")
    | (?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)
    | (?P<word>true|false|null)
    | (?P<sign>[{}\[\]:,])
    | (?P<end>\Z)
    | (?P<bad>(?s:.))
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}


class _Item:
    """A JSON value with its place. value: list of `_Item`, list of (name item, `_Item`) pairs, or a plain value."""

    __slots__ = ("end", "kind", "start", "value")

    def __init__(self, kind: str, value: Any, start: int, end: int) -> None:
        self.kind = kind
        self.value = value
        self.start = start
        self.end = end


def parse_json(text: str | bytes, filename: str) -> Body:
    """Read a JSON file. Raises HclError."""
    source = source_of(text, filename)
    reader = _Reader(source)
    try:
        reader.move(0)
        root = reader.item(0)
        if reader.kind != "end":
            reader.fail("expected the end of the file")
        if root.kind != "object":
            raise SyntaxFault(
                reader.at(root.start, root.start + 1, "Not an object", "the file must be one JSON object")
            )
        builder = _Builder(source)
        body = builder.body([root], "")
    except SyntaxFault as fault:
        raise HclError([fault.diagnostic]) from None
    if builder.diagnostics:
        raise HclError(builder.diagnostics)
    return body


class _Reader:
    """JSON into `_Item`s."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.kind = ""
        self.start = self.stop = 0
        self.values = 0

    def move(self, position: int) -> None:
        match: Any = _TOKEN.match(self.text, position)
        kind = match.lastgroup
        self.start, self.stop = match.span(kind)
        self.kind = match["sign"] if kind == "sign" else kind

    def at(self, start: int, end: int, summary: str, detail: str = "") -> Any:
        return error(summary, detail, Range(self.source, start, end))

    def fail(self, what: str) -> Any:
        found = "the end of the file" if self.kind == "end" else json.dumps(self.text[self.start : self.stop][:40])
        raise SyntaxFault(self.at(self.start, max(self.stop, self.start + 1), f"{what}, found {found}"))

    def item(self, depth: int) -> _Item:
        """The value at the current token; the one after it becomes current."""
        if depth > limits.NESTING_MAX:
            detail = f"values may be {limits.NESTING_MAX} levels deep"
            raise SyntaxFault(self.at(self.start, self.start + 1, "Nested too deeply", detail))
        kind, start, stop = self.kind, self.start, self.stop
        self.values += 1
        if self.values > limits.JSON_VALUES_MAX:
            detail = f"one file may have {limits.JSON_VALUES_MAX}, names included"
            raise SyntaxFault(self.at(start, stop, "Too many values", detail))
        if kind == "{":
            return self._object(depth)
        if kind == "[":
            return self._list(depth)
        word = self.text[start:stop]
        value: Any
        if kind == "text":
            value = self._string(word, start, stop)
        elif kind == "number":
            try:
                value = parse_number(word)
            except NumberError as failure:
                raise SyntaxFault(self.at(start, stop, "Invalid number", str(failure))) from None
        elif kind == "word":
            value = _WORDS[word]
        else:
            self.fail("expected a JSON value")
        self.move(stop)
        return _Item(kind, value, start, stop)

    def _string(self, word: str, start: int, stop: int) -> str:
        value: str = json.loads(word) if "\\" in word else word[1:-1]
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise SyntaxFault(self.at(start, stop, "Invalid text", "half of a surrogate pair is no character"))
        return normal(value)

    def _object(self, depth: int) -> _Item:
        start = self.start
        pairs: list[tuple[_Item, _Item]] = []
        self.move(self.stop)
        while self.kind != "}":
            if self.kind != "text":
                self.fail('expected a name in quotes or "}"')
            name = self.item(depth)
            if self.kind != ":":
                self.fail('expected ":"')
            self.move(self.stop)
            pairs.append((name, self.item(depth + 1)))
            self._separator("}", start)
        end = self.stop
        self.move(end)
        return _Item("object", pairs, start, end)

    def _list(self, depth: int) -> _Item:
        start = self.start
        items: list[_Item] = []
        self.move(self.stop)
        while self.kind != "]":
            items.append(self.item(depth + 1))
            self._separator("]", start)
        end = self.stop
        self.move(end)
        return _Item("list", items, start, end)

    def _separator(self, closer: str, opened: int) -> None:
        if self.kind == ",":
            self.move(self.stop)
            if self.kind == closer:
                self.fail("expected another value after the comma")
        elif self.kind == "end":
            raise SyntaxFault(self.at(opened, opened + 1, f'"{self.text[opened]}" is never closed'))
        elif self.kind != closer:
            self.fail(f'expected "," or "{closer}"')


class _Builder:
    """`_Item`s into bodies and expressions."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Any] = []

    def body(self, objects: list[_Item], inside: str) -> Body:
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        for each in objects:
            for name, value in each.value:
                if name.value == "//":
                    continue
                labels = _INSIDE.get((inside, name.value), BLOCKS.get(name.value))
                if labels is not None and _is_block(value):
                    self.blocks(name, value, labels, [], blocks)
                elif name.value in attributes:
                    self._twice(name, attributes)
                else:
                    attributes[name.value] = Attribute(
                        self.source, name.value, self.expression(value), (name.start, value.end), (name.start, name.end)
                    )
        body = Body(self.source, attributes, blocks, (objects[0].start, objects[-1].end) if objects else (0, 0))
        body.json = True
        return body

    def _twice(self, name: _Item, attributes: dict[str, Attribute]) -> None:
        line = attributes[name.value].name_range.start.line
        place = Range(self.source, name.start, name.end)
        self.diagnostics.append(error("Property given twice", f'"{name.value}" is set on line {line} already', place))

    def blocks(self, type: _Item, value: _Item, left: int, labels: list[_Item], blocks: list[Block]) -> None:
        """The blocks a property stands for; `left` levels of the value are labels."""
        if value.kind == "list":
            for each in value.value:
                self.blocks(type, each, left, labels, blocks)
            return
        if value.kind != "object":
            place = Range(self.source, value.start, value.end)
            self.diagnostics.append(error("Not an object", f'"{type.value}" needs an object here', place))
            return
        if left:
            for name, inner in value.value:
                if name.value != "//":
                    self.blocks(type, inner, left - 1, [*labels, name], blocks)
            return
        spans = [(each.start, each.end) for each in labels]
        names = [each.value for each in labels]
        body = self.body([value], type.value)
        blocks.append(Block(self.source, type.value, names, body, (type.start, type.end), spans))

    def expression(self, item: _Item) -> Node:
        if item.kind == "text":
            return self._template(item)
        if item.kind == "list":
            return TupleNode([self.expression(each) for each in item.value], item.start, item.end)
        if item.kind == "object":
            pairs = [(self._template(name), self.expression(value)) for name, value in item.value if name.value != "//"]
            return ObjectNode(pairs, item.start, item.end)
        return Literal(item.value, item.start, item.end)

    def _template(self, item: _Item) -> Node:
        if "${" not in item.value and "%{" not in item.value:
            return Literal(item.value, item.start, item.end)
        try:
            node, _ = parse_template(item.value, self.source.filename)
        except HclError as failure:
            place = Range(self.source, item.start, item.end)
            self.diagnostics.extend(error(each.summary, each.detail, place) for each in failure.diagnostics)
            return Literal("", item.start, item.end)
        return Embedded(node, item.start, item.end)


def _is_block(value: _Item) -> bool:
    if value.kind == "object":
        return True
    return value.kind == "list" and bool(value.value) and all(each.kind == "object" for each in value.value)
