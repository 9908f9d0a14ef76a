"""The canonical layout of a file, as `hclfmt` has it: indentation, spacing, and `=` and comments in columns.

Only blanks between tokens change; texts, heredocs and comments stay as they are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rove.jobspec.hcl.lexer import _IDENT, _NUMBER
from rove.jobspec.hcl.positions import clusters


class Token(NamedTuple):
    """kind: "ident", "number", "text", "heredoc", "comment", "sign" or "bad"."""

    kind: str
    text: str
    spaced: bool  # blanks stood before it


class Line:
    """Tokens of one line. lead: before the `=`; assign: from it on; comment: at the end."""

    __slots__ = ("assign", "comment", "indent", "lead")

    def __init__(self) -> None:
        self.lead: list[Token] = []
        self.assign: list[Token] = []
        self.comment: list[Token] = []
        self.indent = 0


_TOKEN = re.compile(
    rf"""(?P<blank>[ \t]*+)(?:
      (?P<line>\r?\n|\Z)
    | (?P<comment>(?:\#|//)[^\n]*+|/\*(?s:.*?)\*/)
    | (?P<ident>{_IDENT})
    | (?P<number>{_NUMBER})
    | (?P<heredoc><<-?(?P<marker>{_IDENT})\r?\n)
    | (?P<text>")
    | (?P<sign>==|!=|<=|>=|=>|&&|\|\||\.\.\.|[={{}}\[\]().,:?+\-*/%<>!])
    | (?P<bad>(?s:.))
    )""",
    re.VERBOSE,
)
_QUOTED = re.compile(r'(?:[^"\\$%\n]|\\.|\$\$\{|%%\{|[$%](?!\{))*+')
_OPENERS = "{[("
_CLOSERS = "}])"


def format_source(text: str) -> str:
    """The text in canonical layout. Give it only what parses; formatting twice changes nothing."""
    from rove.jobspec.hcl.parser import parse

    parse(text, "input.hcl")
    ending = "\r\n" if "\r\n" in text and "\n" not in text.replace("\r\n", "") else "\n"
    if text.lstrip().startswith("{"):
        return text
    lines = _split(text.replace("\r\n", "\n") if ending == "\r\n" else text)
    _indent(lines)
    _align(lines)
    made = "\n".join(_render(line) for line in lines)
    made = made.rstrip("\n") + "\n" if made.strip() else made.strip()
    return made.replace("\n", ending) if ending == "\r\n" else made


def _split(text: str) -> list[Line]:
    lines: list[Line] = []
    tokens: list[Token] = []
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None:  # pragma: no cover - the pattern takes anything
            break
        kind = match.lastgroup or ""
        position = match.end()
        if kind == "line":
            lines.append(_line(tokens))
            tokens = []
            if not match["line"]:
                break
            continue
        spaced = bool(match["blank"])
        if match["heredoc"] is not None:
            position, piece = _heredoc(text, match.start("heredoc"), match["marker"], position)
            tokens.append(Token("heredoc", piece, spaced))
        elif kind == "text":
            position = _quoted(text, match.start("text"))
            tokens.append(Token("text", text[match.start("text") : position], spaced))
        else:
            piece = match[kind].rstrip() if kind == "comment" and not match[kind].startswith("/*") else match[kind]
            tokens.append(Token(kind, piece, spaced))
    return lines


def _quoted(text: str, start: int) -> int:
    """Where the quoted text at `start` ends, with all the interpolations in it."""
    position = start + 1
    while position < len(text):
        match = _QUOTED.match(text, position)
        position = match.end() if match else position
        if text.startswith(("${", "%{"), position):
            position = _sequence(text, position + 2)
        else:
            return position + 1
    return position


def _sequence(text: str, position: int) -> int:
    """Where the interpolation whose inside starts at `position` ends."""
    depth = 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup == "line" and not match["line"]:
            return len(text)
        position = match.end()
        if match["heredoc"] is not None:
            position, _ = _heredoc(text, match.start("heredoc"), match["marker"], position)
        elif match.lastgroup == "text":
            position = _quoted(text, match.start("text"))
        elif match["sign"] == "{":
            depth += 1
        elif match["sign"] == "}":
            depth -= 1
            if not depth:
                return position
    return position


def _heredoc(text: str, start: int, marker: str, position: int) -> tuple[int, str]:
    """Where the heredoc ends, and all of it; its last line without blanks, for the parser ignores them."""
    closing = re.compile(rf"[^\S\n]*{re.escape(marker)}[^\S\n]*(?=\n|\Z)")
    while position < len(text):
        found = closing.match(text, position)
        if found is not None:
            body = text[start:position]
            return found.end(), f"{body}{text[position : found.end()].rstrip()}"
        position = _heredoc_line(text, position)
    return position, text[start:position]


def _heredoc_line(text: str, position: int) -> int:
    while position < len(text) and text[position] != "\n":
        if text.startswith(("$${", "%%{"), position):
            position += 3
        elif text.startswith(("${", "%{"), position):
            position = _sequence(text, position + 2)
        else:
            position += 1
    return position + 1


def _line(tokens: list[Token]) -> Line:
    line = Line()
    if tokens and tokens[-1].kind == "comment" and not tokens[-1].text.startswith("/*") and len(tokens) > 1:
        line.comment = [tokens.pop()]
    at = next((at for at, token in enumerate(tokens) if token.kind == "sign" and token.text == "="), None)
    # Only a plain `name =` at the beginning is aligned; what is inside brackets on one line is not.
    if at is None or any(token.kind == "sign" and token.text in _OPENERS for token in tokens[:at]):
        line.lead = tokens
    else:
        line.lead, line.assign = tokens[:at], tokens[at:]
    return line


def _indent(lines: list[Line]) -> None:
    """A line that leaves brackets open indents what follows by two, however many it opens."""
    levels: list[int] = []
    for line in lines:
        tokens = [*line.lead, *line.assign]
        net = 0
        for token in tokens:
            if token.kind == "sign" and token.text in _OPENERS:
                net += 1
            elif token.kind == "sign" and token.text in _CLOSERS:
                net -= 1
        if net > 0:
            line.indent = 2 * len(levels)
            levels.append(net)
        elif net < 0:
            closed = -net
            while closed > 0 and levels:
                if closed < levels[-1]:
                    levels[-1] -= closed
                    closed = 0
                else:
                    closed -= levels.pop()
            line.indent = 2 * len(levels)
        else:
            leads_out = bool(tokens) and tokens[0].kind == "sign" and tokens[0].text in _CLOSERS
            line.indent = 2 * max(0, len(levels) - (1 if leads_out else 0))


def _align(lines: list[Line]) -> None:
    """Put `=` of neighbouring lines in one column, and comments at the end of neighbouring lines in another."""
    for line in lines:
        line.lead = _spaced(line.lead)
        line.assign = _spaced(line.assign)
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and lines[end].assign and not (end > at and _is_long(lines[end - 1])):
            end += 1
        if end > at:
            chain = lines[at:end]
            widest = max(_width(line.lead) for line in chain)
            for line in chain:
                pad = " " * (widest - _width(line.lead) + 1)
                line.assign[0] = line.assign[0]._replace(text=pad + line.assign[0].text)
        at = max(end, at + 1)
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and lines[end].comment:
            end += 1
        if end > at:
            chain = lines[at:end]
            widths = [line.indent + _width(line.lead) + _width(line.assign) for line in chain]
            for line, width in zip(chain, widths, strict=True):
                pad = " " * (max(widths) - width + 1)
                line.comment[0] = line.comment[0]._replace(text=pad + line.comment[0].text)
        at = max(end, at + 1)


def _is_long(line: Line) -> bool:
    """Whether the value goes on in the next line, so that the one after it is no neighbour."""
    return any("\n" in token.text for token in line.assign) or _open(line) > 0


def _open(line: Line) -> int:
    signs = [token.text.strip() for token in [*line.lead, *line.assign] if token.kind == "sign"]
    return sum(sign in _OPENERS for sign in signs) - sum(sign in _CLOSERS for sign in signs)


def _width(tokens: list[Token]) -> int:
    text = "".join(token.text for token in tokens)
    return clusters(text.rpartition("\n")[2])


def _spaced(tokens: list[Token]) -> list[Token]:
    """The tokens with the blank that belongs before each in its text."""
    made: list[Token] = []
    before: Token | None = None
    earlier: Token | None = None
    for token in tokens:
        blank = before is not None and _needs_space(earlier, before, token)
        made.append(token._replace(text=f" {token.text}" if blank else token.text))
        earlier, before = before, token
    return made


_OPERAND = ("ident", "number", "text", "heredoc")
_BINARY = ("==", "!=", "<=", ">=", "=>", "&&", "||", "=", "?", ":", "+", "-", "*", "/", "%", "<", ">")
_TIGHT_KEYWORDS = ("in", "if", "for")


def _needs_space(earlier: Token | None, before: Token, token: Token) -> bool:
    left, right = before.text, token.text
    if before.kind == "comment" or token.kind == "comment":
        return True
    if right in (",", ".", "...", "]", ")") and token.kind == "sign":
        return False
    if left in ("(", "[", ".", "!") and before.kind == "sign":
        return False
    if right == "(" and before.kind == "ident" and left not in _TIGHT_KEYWORDS:
        return False
    if right == "[" and (before.kind == "ident" and left not in _TIGHT_KEYWORDS or left in ("]", ")", "}")):
        return token.spaced and before.kind == "ident"
    if left == "-" and before.kind == "sign" and _is_unary(earlier):
        return False
    if right in ("[",) and token.kind == "sign" and before.kind == "text":
        return token.spaced
    if "*" in (left, right) and (left in (".", "[") or right == "*" and left in (".", "[")):
        return False
    if before.kind == "sign" and left == "*" and earlier is not None and earlier.text in (".", "["):
        return False
    if left == "{" and right == "}":
        return False
    return True


def _is_unary(earlier: Token | None) -> bool:
    if earlier is None:
        return True
    return earlier.kind == "sign" and (earlier.text in _BINARY or earlier.text in (",", "(", "[", "{", "!"))


def _render(line: Line) -> str:
    body = "".join(token.text for token in [*line.lead, *line.assign, *line.comment])
    return " " * line.indent + body if body.strip() else ""
