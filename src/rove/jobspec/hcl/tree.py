"""The syntax tree of a file: bodies hold attributes and blocks; expressions live in `nodes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rove.jobspec.hcl.positions import Range, Source

if TYPE_CHECKING:
    from rove.jobspec.hcl.nodes import Node


class Attribute:
    """`name = expr`."""

    __slots__ = ("_name_at", "_source", "_span", "expr", "name")

    def __init__(self, source: Source, name: str, expr: Node, span: tuple[int, int], name_at: tuple[int, int]) -> None:
        self._source = source
        self.name = name
        self.expr = expr
        self._span = span
        self._name_at = name_at

    @property
    def range(self) -> Range:
        """From the name to the end of the expression."""
        return Range(self._source, *self._span)

    @property
    def name_range(self) -> Range:
        """The name alone."""
        return Range(self._source, *self._name_at)

    @property
    def value_range(self) -> Range:
        """The expression alone."""
        return Range(self._source, self.expr.start, self.expr.end)


class Block:
    """`type "label" { body }`."""

    __slots__ = ("_label_spans", "_source", "_type_at", "body", "labels", "type")

    def __init__(
        self,
        source: Source,
        type: str,
        labels: list[str],
        body: Body,
        type_at: tuple[int, int],
        label_spans: list[tuple[int, int]],
    ) -> None:
        self._source = source
        self.type = type
        self.labels = labels
        self.body = body
        self._type_at = type_at
        self._label_spans = label_spans

    @property
    def range(self) -> Range:
        """The header: from the type to the last label."""
        end = self._label_spans[-1][1] if self._label_spans else self._type_at[1]
        return Range(self._source, self._type_at[0], end)

    @property
    def type_range(self) -> Range:
        """The type alone."""
        return Range(self._source, *self._type_at)

    @property
    def label_ranges(self) -> list[Range]:
        """Each label, with its quotes."""
        return [Range(self._source, *span) for span in self._label_spans]


class Body:
    """What stands in a file or between a block's braces, in the order it was written."""

    __slots__ = ("attributes", "blocks", "json", "source", "span")

    def __init__(
        self, source: Source, attributes: dict[str, Attribute], blocks: list[Block], span: tuple[int, int]
    ) -> None:
        self.source = source
        self.attributes = attributes
        self.blocks = blocks
        self.span = span
        self.json = False

    @property
    def range(self) -> Range:
        """All of it."""
        return Range(self.source, *self.span)
