"""What the parts of the decoder share: the tree they read, findings, and where each part of the job stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .hcl import Diagnostic, Range
from .problem import clean, join

FINDINGS_MAX = 50


class TooManyFindingsError(Exception):
    """There is no point in reading on."""


class AttributeLike(Protocol):
    """An attribute with its value worked out."""

    name: str
    value: Any

    @property
    def name_range(self) -> Range: ...
    @property
    def value_range(self) -> Range: ...


class BlockLike(Protocol):
    """A block; `range` is its header."""

    type: str
    labels: list[str]

    @property
    def body(self) -> BodyLike: ...
    @property
    def range(self) -> Range: ...
    @property
    def type_range(self) -> Range: ...
    @property
    def label_ranges(self) -> list[Range]: ...


class BodyLike(Protocol):
    """What stands in a block."""

    @property
    def attributes(self) -> Mapping[str, AttributeLike]: ...
    @property
    def blocks(self) -> Sequence[BlockLike]: ...
    @property
    def range(self) -> Range: ...


class Reading:
    """What is gathered on the way: findings, and where each part of the job stands in the file."""

    __slots__ = ("aliases", "diagnostics", "is_json", "sources")

    def __init__(self, *, is_json: bool = False) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.sources: dict[str, Range] = {}
        self.aliases: dict[str, str] = {}
        self.is_json = is_json

    def error(self, text: str, where: Range) -> None:
        """Keep a finding. Raises TooManyFindingsError when there are so many that more would help nobody."""
        if len(self.diagnostics) >= FINDINGS_MAX:
            raise TooManyFindingsError
        self.diagnostics.append(Diagnostic("error", clean(text), "", where))

    def alias(self, path: str, other: str) -> None:
        """What stands at `path` is also called `other`: where the job's form differs from the file's."""
        self.aliases[path] = other

    def settle(self) -> None:
        """Enter the places of everything below an alias under its other name too: once, for all of them."""
        if not self.aliases:
            return
        for place, where in list(self.sources.items()):
            self._also(place, where)

    def _also(self, place: str, where: Range) -> None:
        above, below = place, ""
        while above:
            other = self.aliases.get(above)
            if other is not None and other + below not in self.sources:
                self.sources[other + below] = where
                self._also(other + below, where)
            above = above.rpartition(" > ")[0]
            below = place[len(above) :]

    def warn(self, text: str, where: Range) -> None:
        """Keep a finding that does not stop the job."""
        if len(self.diagnostics) < FINDINGS_MAX:
            self.diagnostics.append(Diagnostic("warning", clean(text), "", where))


class Place:
    """Where a finisher works, for its messages."""

    __slots__ = ("node", "path", "range", "reading")

    def __init__(self, path: str, range_: Range, reading: Reading, node: BodyLike) -> None:
        self.path = path
        self.range = range_
        self.reading = reading
        self.node = node

    def error(self, text: str, name: str = "") -> None:
        self.reading.error(text, self.reading.sources.get(join(self.path, name), self.range))
