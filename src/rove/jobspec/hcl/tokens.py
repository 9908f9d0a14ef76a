"""One token after the other, and the errors about them."""

from __future__ import annotations

from collections.abc import Callable
from re import Match
from typing import NoReturn

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.diagnostics import Diagnostic, error
from rove.jobspec.hcl.lexer import TOKEN
from rove.jobspec.hcl.positions import Range, Source


class SyntaxFault(Exception):
    """Reading cannot go on at this item; carries what to report."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.summary)
        self.diagnostic = diagnostic


class EndlessFault(SyntaxFault):
    """The file is too much to read; what follows is not looked at."""


class TokenReader:
    """Goes through the tokens of `source`.

    The current token is `kind` (its own text for signs, else "ident", "number", "text", "heredoc", "line", "end"),
    `start` and `stop`; `match` is how it was found. `previous` is where the token before it ended.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.diagnostics: list[Diagnostic] = []
        self.kind = ""
        self.start = 0
        self.stop = 0
        self.previous = 0
        self.match: Match[str] | None = None
        self.depth = 0
        self.parts = 0
        self.scan: Callable[[str, int], Match[str] | None] = TOKEN.match

    # -- tokens ------------------------------------------------------------------------------------------------

    def move(self, position: int) -> None:
        """Make the token at `position` the current one."""
        match = self.scan(self.text, position)
        if match is None:  # pragma: no cover - the pattern takes anything
            raise SyntaxFault(self.at(position, position + 1, "Unreadable", ""))
        kind = match.lastgroup
        self.match = match
        if kind == "sign":
            self.start, self.stop = match.span("sign")
            self.kind = match[kind]
        elif kind == "heredoc":
            self.start, self.stop = match.start("flush") - 2, match.end()
            self.kind = kind
        elif kind == "text":
            self.start, self.stop = match.start(kind) - 1, match.end()
            self.kind = kind
        else:
            self.start, self.stop = match.span(kind)  # type: ignore[arg-type]
            self.kind = kind or ""
            if kind == "ident":
                self._check_name(match[kind])
            elif kind == "bad":
                raise SyntaxFault(self._bad_character())

    def advance(self) -> None:
        """Go to the next token."""
        self.previous = self.stop
        self.move(self.stop)

    def word(self) -> str:
        """The text of the current token."""
        return self.text[self.start : self.stop]

    def _check_name(self, name: str) -> None:
        if name.isascii():
            return
        for at, char in enumerate(name):
            if not ("a" + char).isidentifier() and char != "-":
                raise SyntaxFault(self.at(self.start + at, self.start + at + 1, "Invalid character", _describe(char)))
        if not name.replace("-", "_").isidentifier():
            raise SyntaxFault(self.at(self.start, self.start + 1, "Invalid character", _describe(name[0])))

    def _bad_character(self) -> Diagnostic:
        char = self.text[self.start]
        hints = {
            "'": "text is written in double quotes",
            ";": "one argument ends with its line, not with a semicolon",
            "&": "for logical and write &&",
            "|": "for logical or write ||",
            "`": "text of several lines is written as a heredoc (<<EOT)",
            "<": "a heredoc begins with << and a name at the end of its line",
        }
        detail = hints.get(char, _describe(char))
        return self.at(self.start, self.start + 1, "Invalid character", detail)

    # -- errors ------------------------------------------------------------------------------------------------

    def at(self, start: int, end: int, summary: str, detail: str = "") -> Diagnostic:
        """An error about a stretch of the source."""
        return error(summary, detail, Range(self.source, start, end))

    def fail(self, summary: str, detail: str = "") -> NoReturn:
        """Give up at the current token."""
        raise SyntaxFault(self.at(self.start, max(self.stop, self.start + 1), summary, detail))

    def expected(self, what: str) -> NoReturn:
        """Give up: something else should stand here."""
        self.fail(f"expected {what}, found {self.found()}")

    def found(self) -> str:
        """The current token in words."""
        if self.kind == "line":
            return "the end of the line"
        if self.kind == "end":
            return "the end of the file"
        if self.kind == "text" or self.kind == '"':
            return "a quoted text"
        if self.kind == "heredoc":
            return "a heredoc"
        if self.kind in ("ident", "number"):
            word = self.word()
            return f'"{word if len(word) < 40 else word[:37] + "..."}"'
        return f'"{self.kind}"'

    def count(self, start: int, end: int) -> None:
        """Count a part of the file, which is at these offsets. Raises SyntaxFault when there are too many."""
        self.parts += 1
        if self.parts > limits.PARTS_MAX:
            detail = f"one file may have {limits.PARTS_MAX} arguments, blocks and values"
            raise EndlessFault(self.at(start, end, "Too many parts", detail))

    def deeper(self) -> None:
        """Enter one more level of nesting."""
        self.depth += 1
        if self.depth > limits.NESTING_MAX:
            self.fail("Nested too deeply", f"brackets and blocks may be {limits.NESTING_MAX} levels deep")


def _describe(char: str) -> str:
    import unicodedata

    name = unicodedata.name(char, "")
    shown = f'"{char}" ' if char.isprintable() else ""
    quote = "; text is written in straight double quotes" if char in "“”„«»" else ""
    return f"{shown}(U+{ord(char):04X}{' ' + name if name else ''}) has no meaning here{quote}"
