"""Reading quoted texts and heredocs with their interpolations and directives."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, NoReturn

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.expressions import ExpressionParser
from rove.jobspec.hcl.lexer import ESCAPE, GO_SPACE, HEREDOC_ESCAPE, HEREDOC_TEXT, QUOTED_TEXT, TOKEN_IN_BRACKETS
from rove.jobspec.hcl.loops import For, Join
from rove.jobspec.hcl.nodes import Conditional, Literal, Node, Template, Wrapped, normal
from rove.jobspec.hcl.positions import Source, clusters
from rove.jobspec.hcl.tokens import EndlessFault, SyntaxFault

_SIMPLE_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


class Part(NamedTuple):
    """A piece of a template. kind: "text", "value", "if", "for", "else", "endif", "endfor" or "end"."""

    kind: str
    start: int
    end: int
    node: Node | None = None
    text: str = ""
    names: tuple[str | None, str] = (None, "")


class TemplateParser(ExpressionParser):
    """Reads templates; the expressions inside them are the base class's."""

    def __init__(self, source: Source, literal: bool = False) -> None:
        super().__init__(source)
        self.literal = literal  # the older syntax: `${` stays text

    def _template(self) -> Node:
        start = self.start
        if self.kind == '"':
            parts, end = self._quoted_parts()
        else:
            parts, end = self._heredoc_parts()
        node = self.assemble(parts, start, end)
        self.stop = end
        self.advance()
        return node

    def assemble(self, parts: list[Part], start: int, end: int) -> Node:
        """Turn the pieces of a template into one expression."""
        if len(parts) == 1:
            only = parts[0]
            if only.kind == "text":
                return Literal(normal(only.text), start, end)
            if only.kind == "value" and only.node is not None:
                return Wrapped(only.node, start, end)
        if not parts:
            return Literal("", start, end)
        if all(part.kind == "text" for part in parts):
            # Not a `Literal`: Go takes only a text of one piece for a constant key.
            return Template([Literal(normal("".join(part.text for part in parts)), start, end)], start, end)
        nodes, _ = self._nest([*parts, Part("end", end, end)], 0, None)
        return Template(nodes, start, end)

    # -- pieces ------------------------------------------------------------------------------------------------

    def _quoted_parts(self) -> tuple[list[Part], int]:
        """The pieces of a quoted text and where it ends. The current token is the opening quote."""
        opened = self.start
        parts: list[Part] = []
        position = self.start + 1
        trim_next = False
        text = self.text
        while True:
            match = QUOTED_TEXT.match(text, position)
            if match is not None:
                piece = self._unescape(match[0], position)
                self._add_text(parts, piece, position, match.end(), trim_next)
                position = match.end()
                trim_next = False
            if text.startswith('"', position):
                return parts, position + 1
            if text.startswith(("${", "%{"), position):
                if self.literal:
                    position = self._literal_sequence(parts, position)
                else:
                    position, trim_next = self._sequence(parts, position)
                continue
            self._unterminated(opened, position)

    def _unterminated(self, opened: int, position: int) -> None:
        if position >= len(self.text):
            raise SyntaxFault(self.at(opened, opened + 1, "Text is never closed", "its closing quote is missing"))
        raise SyntaxFault(
            self.at(
                opened,
                position,
                "Text is not closed on its line",
                "the closing quote is missing; text of several lines is written as a heredoc (<<EOT)",
            )
        )

    def _literal_sequence(self, parts: list[Part], position: int) -> int:
        """In the older syntax an interpolation is kept as it is, whatever is in it."""
        depth, at = 1, position + 2
        while depth:
            brace = re.compile(r"[{}\n]").search(self.text, at)
            if brace is None or brace[0] == "\n":
                self._unterminated(position, len(self.text) if brace is None else brace.start())
                break
            depth += 1 if brace[0] == "{" else -1
            at = brace.end()
        self._add_text(parts, self.text[position:at], position, at, False)
        return at

    def _add_text(self, parts: list[Part], piece: str, start: int, end: int, trim: bool) -> None:
        if trim:
            piece = piece.lstrip(GO_SPACE)
        parts.append(Part("text", start, end, None, piece))

    def _heredoc_parts(self) -> tuple[list[Part], int]:
        match: Any = self.match
        opened, body = self.start, self.stop
        marker, flush = match["heredoc"], match["flush"] == "-"
        closing = re.compile(rf"^[^\S\n]*{re.escape(marker)}[^\S\n]*(?=\n)", re.MULTILINE)
        text = self.text
        first = closing.search(text, body)
        if first is None:
            self._heredoc_not_closed(opened, body, marker)
        raw = text[body : first.start()]
        if self.literal or ("${" not in raw and "%{" not in raw):
            self._no_lone_return(body, first.end())
            return _plain_heredoc(raw, body, flush), first.end() - (text[first.end() - 1] == "\r")
        parts: list[Part] = []
        position = body
        trim_next = False
        line_start = True
        while True:
            if line_start and (end := closing.match(text, position)):
                break
            piece = HEREDOC_TEXT.match(text, position)
            if piece is not None:
                cooked = HEREDOC_ESCAPE.sub(r"\1{", piece[0])
                self._add_text(parts, cooked, position, piece.end(), trim_next)
                trim_next = False
                position = piece.end()
                line_start = piece[0].endswith("\n")
            elif text.startswith(("${", "%{"), position):
                line_start = False
                position, trim_next = self._sequence(parts, position)
            else:
                self._heredoc_not_closed(opened, body, marker)
        self._no_lone_return(body, end.end())
        if flush:
            parts = _without_indentation(parts)
        return parts, end.end() - (text[end.end() - 1] == "\r")

    def _no_lone_return(self, start: int, end: int) -> None:
        """A carriage return in a heredoc belongs to a line end."""
        at = self.text.find("\r", start, end)
        while at >= 0:
            if self.text[at + 1 : at + 2] != "\n":
                raise SyntaxFault(self.at(at, at + 1, "Carriage return", "it may stand only at the end of a line"))
            at = self.text.find("\r", at + 1, end)

    def _heredoc_not_closed(self, opened: int, body: int, marker: str) -> NoReturn:
        detail = f'a line with only "{marker}" must follow, and end like any line'
        raise EndlessFault(self.at(opened, body - 1, "Heredoc is never closed", detail))

    def _unescape(self, raw: str, position: int) -> str:
        if "\\" not in raw and "{" not in raw:
            return raw

        def replace(match: re.Match[str]) -> str:
            short, long, other, template = match.groups()
            if template:
                return f"{template}{{"
            if other is None:
                code = int(short or long, 16)
                if code < 0x110000 and not 0xD800 <= code < 0xE000:
                    return chr(code)
                problem = f"U+{code:04X} is not a character"
            elif other in _SIMPLE_ESCAPES:
                return _SIMPLE_ESCAPES[other]
            elif other in "uU":
                problem = f"\\{other} needs {4 if other == 'u' else 8} hexadecimal digits"
            else:
                problem = f"\\{other} means nothing; a backslash itself is written \\\\"
            start = position + match.start()
            raise SyntaxFault(self.at(start, start + 2, "Invalid escape", problem))

        return ESCAPE.sub(replace, raw)

    def _sequence(self, parts: list[Part], position: int) -> tuple[int, bool]:
        """One `${...}` or `%{...}`. Gives where it ends and whether blanks after it go."""
        self.depth_check(position)
        if len(parts) > 2 * limits.SEQUENCES_MAX:
            self.fail("Template too long", f"one text may have {limits.SEQUENCES_MAX} interpolations")
        opened = position
        position += 2
        if self.text.startswith("~", position):
            position += 1
            if parts and parts[-1].kind == "text":
                parts[-1] = parts[-1]._replace(text=parts[-1].text.rstrip(GO_SPACE))
        scan = self.scan
        self.scan = TOKEN_IN_BRACKETS.match
        self.previous = position
        self.move(position)
        part = self._directive(opened) if self.text[opened] == "%" else self._interpolation(opened)
        if self.kind not in ("}", "~}"):
            self._sequence_not_closed(opened)
        self.scan = scan
        self.depth -= 1
        parts.append(part._replace(end=self.stop))
        return self.stop, self.kind == "~}"

    def depth_check(self, position: int) -> None:
        """Enter a sequence, which nests like a bracket."""
        self.start, self.stop = position, position + 2
        self.deeper()

    def _sequence_not_closed(self, opened: int) -> None:
        mark = self.text[opened]
        hint = f'to write "{mark}{{" as plain text, double the sign: "{mark}{mark}{{"'
        if self.kind in ("end", '"', "text"):
            raise SyntaxFault(self.at(opened, opened + 2, f'"{mark}{{" is never closed', hint))
        self.fail(f'expected "}}" after the expression, found {self.found()}', hint)

    def _interpolation(self, opened: int) -> Part:
        node = self.expression()
        return Part("value", opened, 0, node)

    def _directive(self, opened: int) -> Part:
        if self.kind != "ident":
            self.expected('"if", "else", "endif", "for" or "endfor" after "%{"')
        word = self.word()
        if word in ("else", "endif", "endfor"):
            self.advance()
            return Part(word, opened, 0)
        if word == "if":
            self.advance()
            return Part(word, opened, 0, self.expression())
        if word != "for":
            self.fail("Unknown directive", f'"{word}" is none of if, else, endif, for, endfor')
        first, second = self.loop_names()
        names = (None, first) if second is None else (first, second)
        return Part(word, opened, 0, self.expression(), "", names)

    # -- nesting of directives ---------------------------------------------------------------------------------

    def _nest(self, parts: list[Part], at: int, inside: Part | None) -> tuple[list[Node], int]:
        """Expressions from `at` on, up to the directive that ends `inside` (which `at` then points to)."""
        nodes: list[Node] = []
        while True:
            part = parts[at]
            if part.kind == "text":
                nodes.append(Literal(normal(part.text), part.start, part.end))
            elif part.kind == "value" and part.node is not None:
                nodes.append(part.node)
            elif part.kind == "if":
                node, at = self._nest_if(parts, at)
                nodes.append(node)
            elif part.kind == "for":
                node, at = self._nest_for(parts, at)
                nodes.append(node)
            elif inside is None and part.kind != "end":
                raise SyntaxFault(
                    self.at(part.start, part.end, f'"%{{{part.kind}}}" without its beginning', "nothing is open here")
                )
            elif part.kind == "end" and inside is not None:
                raise SyntaxFault(
                    self.at(inside.start, inside.end, f'"%{{{inside.kind}}}" is never ended', "its end is missing")
                )
            else:
                return nodes, at
            at += 1

    def _nest_if(self, parts: list[Part], at: int) -> tuple[Node, int]:
        opened = parts[at]
        self.depth_check(opened.start)
        yes, at = self._nest(parts, at + 1, opened)
        no: list[Node] = []
        if parts[at].kind == "else":
            no, at = self._nest(parts, at + 1, opened)
        ending = parts[at]
        if ending.kind != "endif":
            self._wrong_ending(ending, "endif")
        self.depth -= 1
        condition: Any = opened.node
        node = Conditional(
            condition,
            Template(yes, opened.end, ending.start),
            Template(no, opened.end, ending.start),
            opened.start,
            ending.end,
        )
        return node, at

    def _nest_for(self, parts: list[Part], at: int) -> tuple[Node, int]:
        opened = parts[at]
        self.depth_check(opened.start)
        body, at = self._nest(parts, at + 1, opened)
        ending = parts[at]
        if ending.kind != "endfor":
            self._wrong_ending(ending, "endfor")
        self.depth -= 1
        many: Any = opened.node
        result = Template(body, opened.end, ending.start)
        return Join(For(opened.names, many, None, result, None, False, opened.start, ending.end)), at

    def _wrong_ending(self, ending: Part, wanted: str) -> None:
        raise SyntaxFault(self.at(ending.start, ending.end, f'expected "%{{{wanted}}}", found "%{{{ending.kind}}}"'))


def _plain_heredoc(raw: str, start: int, flush: bool) -> list[Part]:
    """The pieces of a heredoc without interpolations: a text for each line if that can matter, else one."""
    if not raw:
        return []
    if flush:
        lines = [line + "\n" for line in raw.split("\n")[:-1]]
        filled = [line for line in lines if line.strip(GO_SPACE)]
        least = min((len(line) - len(line.lstrip(GO_SPACE)) for line in filled), default=0)
        if least:
            raw = "".join([line[least:] if line.strip(GO_SPACE) else line for line in lines])
    end = raw.find("\n") + 1
    if end == len(raw):
        return [Part("text", start, start + end, None, raw)]
    # Two texts: Go makes one of each line, and only a text of one line is a constant.
    return [Part("text", start, start + end, None, raw[:end]), Part("text", start + end, start + end, None, raw[end:])]


def _without_indentation(parts: list[Part]) -> list[Part]:
    """`<<-`: take away the indentation that all lines share. Blank lines do not count and keep theirs."""
    least: int | None = None
    adjust: list[int] = []
    at_line_start = True
    for at, part in enumerate(parts):
        is_text = part.kind == "text"
        if at_line_start:
            at_line_start = False
            spaces: int | None = 0
            if is_text:
                rest = part.text.lstrip(GO_SPACE)
                if not rest and part.text.endswith("\n"):
                    spaces = None
                else:
                    spaces = clusters(part.text[: len(part.text) - len(rest)])
                    adjust.append(at)
            if spaces is not None:
                least = spaces if least is None else min(least, spaces)
        if is_text and part.text.endswith("\n"):
            at_line_start = True
    made = list(parts)
    for at in adjust:
        made[at] = made[at]._replace(text=made[at].text[least or 0 :])
    return made
