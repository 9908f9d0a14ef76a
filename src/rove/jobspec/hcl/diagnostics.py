"""What is wrong with a file, where, and how it is shown to people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rove.jobspec.hcl.positions import Range

LINE_SHOWN_MAX = 160


class Diagnostic:
    """One finding. severity: "error" or "warning". summary: a few words; detail: a sentence, may be empty.

    range: where, None if nowhere in particular (a value given on the command line).
    """

    __slots__ = ("detail", "range", "severity", "summary")

    def __init__(self, severity: str, summary: str, detail: str = "", range: Range | None = None) -> None:
        self.severity = severity
        self.summary = summary
        self.detail = detail
        self.range = range

    @property
    def is_error(self) -> bool:
        """Whether the file cannot be used because of this."""
        return self.severity == "error"

    @property
    def source_line(self) -> str:
        """The line of source the finding is about, empty if there is none."""
        if self.range is None:
            return ""
        return self.range.source.line_text(self.range.start.line)

    @property
    def message(self) -> str:
        """Summary and detail as one line of text."""
        return f"{self.summary}: {self.detail}" if self.detail else self.summary

    def render(self) -> str:
        """`file:line:column: message`, then the line and a caret under the place."""
        mark = "" if self.is_error else "warning: "
        if self.range is None:
            return f"{mark}{self.message}"
        start = self.range.start
        head = f"{self.range.filename}:{start.line}:{start.column}: {mark}{self.message}"
        line, before = _shown(self.range)
        pad = "".join("\t" if char == "\t" else " " for char in before)
        number = str(start.line)
        return f"{head}\n {number} | {line}\n {' ' * len(number)} | {pad}^"

    def __str__(self) -> str:
        return self.message if self.range is None else f"{self.range}: {self.message}"

    def __repr__(self) -> str:
        return f"Diagnostic({self.severity!r}, {str(self)!r})"


class HclError(Exception):
    """A text that cannot be used. `diagnostics` holds everything found, in the order of the file."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics: list[Diagnostic] = list(diagnostics)
        super().__init__("; ".join(str(each) for each in self.diagnostics if each.is_error))

    def render(self) -> str:
        """Every finding as text for a terminal."""
        return render(self.diagnostics)


def error(summary: str, detail: str = "", range: Range | None = None) -> Diagnostic:
    """A finding that makes the file unusable."""
    return Diagnostic("error", summary, detail, range)


def render(diagnostics: Iterable[Diagnostic]) -> str:
    """Findings as text for a terminal, one after the other."""
    return "\n".join(each.render() for each in diagnostics)


def _shown(where: Range) -> tuple[str, str]:
    """The part of a line worth showing, and what stands before the caret in it. Control characters become dots."""
    text = where.source.text
    begin, end = where.source.line_bounds(where.start_offset)
    at = min(where.start_offset, end)
    if end - begin <= LINE_SHOWN_MAX:
        return _clean(text[begin:end]), _clean(text[begin:at])
    start = max(begin, at - LINE_SHOWN_MAX // 2)
    lead = "…" if start > begin else ""
    return f"{lead}{_clean(text[start : start + LINE_SHOWN_MAX][: end - start])}", f"{lead}{_clean(text[start:at])}"


def _clean(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char == "\t" or char.isprintable() else "·" for char in text)
