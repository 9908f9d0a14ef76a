"""Where things are in a source text: offsets while reading, lines and columns when somebody asks."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

FAR_OUT = 4000
"""From this many characters on, columns count characters, not what people see as one."""


class Position(NamedTuple):
    """A place in a file. line and column count from 1 (columns in what people see as characters), byte from 0."""

    line: int
    column: int
    byte: int


class Source:
    """A file's text and its name; turns character offsets into positions. bytes_before: cut off at the front."""

    __slots__ = ("_ascii", "_lines", "bytes_before", "filename", "text")

    def __init__(self, text: str, filename: str, bytes_before: int = 0) -> None:
        self.text = text
        self.bytes_before = bytes_before
        self.filename = filename
        self._lines: list[int] | None = None
        self._ascii = text.isascii()

    def _line_starts(self) -> list[int]:
        if self._lines is None:
            starts = [0]
            find = self.text.find
            at = find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = find("\n", at + 1)
            self._lines = starts
        return self._lines

    def position(self, offset: int) -> Position:
        """The position of the character at `offset`."""
        starts = self._line_starts()
        line = bisect_right(starts, offset)
        start = starts[line - 1]
        if self._ascii:
            return Position(line, offset - start + 1, offset + self.bytes_before)
        # Far out in a line nobody counts with the eye, and counting what they would see takes long.
        column = 1 + (clusters(self.text[start:offset]) if offset - start <= FAR_OUT else offset - start)
        return Position(line, column, self.bytes_before + len(self.text[:offset].encode("utf-8", "surrogatepass")))

    def line_text(self, line: int) -> str:
        """The text of a line (from 1) without its end."""
        starts = self._line_starts()
        if not 1 <= line <= len(starts):
            return ""
        end = starts[line] if line < len(starts) else len(self.text)
        return self.text[starts[line - 1] : end].rstrip("\r\n")

    def line_bounds(self, offset: int) -> tuple[int, int]:
        """Where the line that holds `offset` begins and ends, without its line end."""
        starts = self._line_starts()
        line = bisect_right(starts, offset)
        begin = starts[line - 1]
        end = starts[line] if line < len(starts) else len(self.text)
        while end > begin and self.text[end - 1] in "\r\n":
            end -= 1
        return begin, end

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return len(self._line_starts())


def clusters(text: str) -> int:
    """How many user-perceived characters `text` has."""
    if text.isascii():
        return len(text)
    return sum(cluster_starts(text))


def cluster_starts(text: str) -> Iterator[bool]:
    """For each character, whether it begins a user-perceived one: marks, joiners and half a flag do not."""
    joined = flag = False
    first = True
    for char in text:
        code = ord(char)
        if code < 0x300:
            yield True
            joined = flag = False
        elif _extends(code, char):
            yield first
            joined = joined or code == 0x200D
        elif 0x1F1E6 <= code <= 0x1F1FF:
            flag = not flag
            yield flag
            joined = False
        else:
            yield not joined
            joined = flag = False
        first = False


def _extends(code: int, char: str) -> bool:
    return (
        code == 0x200D
        or 0xFE00 <= code <= 0xFE0F
        or 0x1F3FB <= code <= 0x1F3FF
        or unicodedata.category(char) in ("Mn", "Me", "Mc")
    )


class Range:
    """A stretch of a source, by character offsets; `start` and `end` are worked out on demand."""

    __slots__ = ("end_offset", "source", "start_offset")

    def __init__(self, source: Source, start_offset: int, end_offset: int) -> None:
        self.source = source
        self.start_offset = start_offset
        self.end_offset = end_offset

    @property
    def filename(self) -> str:
        """The name the text was parsed under."""
        return self.source.filename

    @property
    def start(self) -> Position:
        """The first character."""
        return self.source.position(self.start_offset)

    @property
    def end(self) -> Position:
        """Just after the last character."""
        return self.source.position(self.end_offset)

    @property
    def text(self) -> str:
        """The source text itself."""
        return self.source.text[self.start_offset : self.end_offset]

    def __str__(self) -> str:
        start = self.start
        return f"{self.filename}:{start.line}:{start.column}"

    def __repr__(self) -> str:
        return f"Range({self})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Range):
            return NotImplemented
        return (
            self.source is other.source
            and self.start_offset == other.start_offset
            and self.end_offset == other.end_offset
        )

    def __hash__(self) -> int:
        return hash((id(self.source), self.start_offset, self.end_offset))
