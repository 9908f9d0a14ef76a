"""The canonical layout of a file, as `hclfmt` has it: indentation, spacing, and `=` and comments in columns.

Only blanks between tokens change; texts, heredocs and comments stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

from rove.jobspec.hcl.lexer import HEREDOC_TEXT, IDENT, NUMBER
from rove.jobspec.hcl.positions import clusters


class Token(NamedTuple):
    """kind: "ident", "number", "text", "heredoc", "comment", "sign" or "bad"."""

    kind: str
    text: str


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
    | (?P<ident>{IDENT})
    | (?P<number>{NUMBER})
    | (?P<heredoc><<-?(?P<marker>{IDENT})\r?\n)
    | (?P<text>")
    | (?P<sign>==|!=|<=|>=|=>|&&|\|\||\.\.\.|~\}}|[={{}}\[\]().,:?+\-*/%<>!])
    | (?P<bad>(?s:.))
    )""",
    re.VERBOSE,
)
_QUOTED = re.compile(r'(?>(?:[^"\\$%\n]++|\\.|\$\$\{|%%\{|[$%](?!\{))*)')
_OPENERS = "{[("
_CLOSERS = "}])"


def format_source(text: str) -> str:
    """The text in canonical layout. Give it only what parses; formatting twice changes nothing."""
    from rove.jobspec.hcl.parser import parse

    parse(text, "input.hcl")
    return lay_out(text)


def lay_out(text: str) -> str:
    """The same for text that is known to parse, of any size."""
    ending = "\r\n" if "\r\n" in text and "\n" not in text.replace("\r\n", "") else "\n"
    if text.lstrip().startswith("{"):
        return text
    text = text.removeprefix("\ufeff")
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
        if match["heredoc"] is not None:
            position, piece = _heredoc(text, match.start("heredoc"), match["marker"], position)
            tokens.append(Token("heredoc", piece))
        elif kind == "text":
            position, piece = _quoted(text, match.start("text"))
            tokens.append(Token("text", piece))
        else:
            tokens.append(Token(kind, match[kind]))
    return lines


def _quoted(text: str, start: int) -> tuple[int, str]:
    """Where the quoted text at `start` ends, and all of it with its interpolations laid out."""
    made = ['"']
    position = start + 1
    while position < len(text):
        match = _QUOTED.match(text, position)
        if match is not None:
            made.append(match[0])
            position = match.end()
        if not text.startswith(("${", "%{"), position):
            break
        position, piece = _sequence(text, position)
        made.append(piece)
    made.append(text[position : position + 1])
    return position + 1, "".join(made)


def _sequence(text: str, start: int) -> tuple[int, str]:
    """Where the interpolation at `start` ends, and all of it laid out, if it is on one line."""
    position = start + 2
    opening, closing = text[start:position], "}"
    if text.startswith("~", position):
        opening += "~"
        position += 1
    depth = 1
    tokens: list[Token] = []
    on_one_line = True
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or (match.lastgroup == "line" and not match["line"]):
            break
        kind, position = match.lastgroup or "", match.end()
        piece = match[kind] if kind != "marker" else ""
        if match["heredoc"] is not None:
            position, piece = _heredoc(text, match.start("heredoc"), match["marker"], position)
            kind = "heredoc"
        elif kind == "text":
            position, piece = _quoted(text, match.start("text"))
        elif piece == "{" and kind == "sign":
            depth += 1
        elif piece in ("}", "~}") and kind == "sign":
            depth -= 1
            if not depth:
                closing = piece
                break
        on_one_line = on_one_line and kind not in ("line", "comment", "heredoc")
        tokens.append(Token(kind, piece))
    if not on_one_line or not tokens:
        return position, text[start:position]
    inner = "".join(token.text for token in _spaced(tokens))
    lead = " " if inner.startswith("{") else ""
    trail = " " if inner.endswith("}") else ""
    return position, f"{opening}{lead}{inner}{trail}{closing}"


def _heredoc(text: str, start: int, marker: str, position: int) -> tuple[int, str]:
    """Where the heredoc ends, and all of it."""
    closing = re.compile(rf"[^\S\n]*{re.escape(marker)}[^\S\n]*(?=\n)")
    made = [text[start:position]]
    while position < len(text):
        found = closing.match(text, position)
        if found is not None:
            made.append(text[position : found.end()])
            return found.end(), "".join(made)
        position = _heredoc_line(text, position, made)
    return position, "".join(made)


def _heredoc_line(text: str, position: int, made: list[str]) -> int:
    while position < len(text):
        piece = HEREDOC_TEXT.match(text, position)
        if piece is None:
            position, laid_out = _sequence(text, position)
            made.append(laid_out)
            continue
        made.append(piece[0])
        position = piece.end()
        if piece[0].endswith("\n"):
            break
    return position


def _line(tokens: list[Token]) -> Line:
    line = Line()
    if len(tokens) > 1 and tokens[-1].kind == "comment" and not tokens[-1].text.startswith("/*"):
        line.comment = [tokens.pop()]
    line.lead = tokens
    at = next((at for at, token in enumerate(tokens) if at and token.kind == "sign" and token.text == "="), None)
    # A value that goes on in the next lines takes no part in the columns.
    if at is not None and _net(tokens[at:]) == 0:
        line.lead, line.assign = tokens[:at], tokens[at:]
    return line


def _net(tokens: list[Token]) -> int:
    """How many brackets stay open."""
    signs = [token.text for token in tokens if token.kind == "sign"]
    return sum(sign in _OPENERS for sign in signs) - sum(sign in _CLOSERS for sign in signs)


def _indent(lines: list[Line]) -> None:
    """A line that leaves brackets open indents what follows by two, however many it opens."""
    levels: list[int] = []
    for line in lines:
        net = _net([*line.lead, *line.assign])
        if net < 0:
            _close(levels, -net)
        line.indent = 2 * len(levels)
        if net > 0:
            levels.append(net)


def _close(levels: list[int], count: int) -> None:
    while count > 0 and levels:
        if count < levels[-1]:
            levels[-1] -= count
            return
        count -= levels.pop()


def _align(lines: list[Line]) -> None:
    """Put `=` of neighbouring lines in one column, and comments at the end of neighbouring lines in another."""
    for line in lines:
        line.lead = _spaced(line.lead)
        line.assign = _spaced(line.assign)
    for chain in _chains(lines, lambda line: bool(line.assign)):
        widest = max(_width(line.lead) for line in chain)
        for line in chain:
            line.assign[0] = _moved(line.assign[0], widest - _width(line.lead) + 1)
    for chain in _chains(lines, lambda line: bool(line.comment)):
        widths = [line.indent + _width([*line.lead, *line.assign]) for line in chain]
        for line, width in zip(chain, widths, strict=True):
            line.comment[0] = _moved(line.comment[0], max(widths) - width + 1)


def _chains(lines: list[Line], belongs: Callable[[Line], bool]) -> Iterator[list[Line]]:
    return (list(chain) for inside, chain in groupby(lines, belongs) if inside)


def _moved(token: Token, blanks: int) -> Token:
    return token._replace(text=" " * blanks + token.text)


def _width(tokens: list[Token]) -> int:
    text = "".join(token.text for token in tokens)
    return clusters(text.rpartition("\n")[2])


def _spaced(tokens: list[Token]) -> list[Token]:
    """The tokens with the blank that belongs before each in its text."""
    made = tokens[:1]
    for at in range(1, len(tokens)):
        earlier = tokens[at - 2] if at > 1 else None
        made.append(_moved(tokens[at], 1 if _needs_space(earlier, tokens[at - 1], tokens[at]) else 0))
    return made


# After one of these a minus is a sign, not an operator.
_BEFORE_OPERAND = frozenset(
    ["(", "{", "[", "=", ":", ",", "?", "+", "*", "/", "%", "-", "==", "!=", ">", ">=", "<", "<=", "&&", "||", "!"]
)


def _needs_space(earlier: Token | None, before: Token, token: Token) -> bool:
    left = before.text if before.kind == "sign" else ""
    right = token.text if token.kind == "sign" else ""
    if before.kind == "ident" and right == "(":
        return False
    if left == "." and token.kind == "number" and earlier is not None and earlier.kind == "number":
        return True  # without it the two would read as one number
    if left == "." or right in (".", ",", "..."):
        return False
    if left == ",":
        return True
    if before == Token("ident", "in") and earlier is not None and earlier.kind == "ident":
        return True
    if right == "[" and (before.kind in ("ident", "number") or left in _CLOSED):
        return False
    if left == "!":
        return False
    if left == "-":
        return earlier is not None and not (earlier.kind == "sign" and earlier.text in _BEFORE_OPERAND)
    if left == "{" or right == "}":
        return not (left == "{" and right == "}")
    return left not in ("(", "[") and right not in (")", "]")


_CLOSED = ("}", "]", ")")


def _render(line: Line) -> str:
    body = "".join(token.text for token in [*line.lead, *line.assign, *line.comment])
    return " " * line.indent + body if body.strip() else ""
