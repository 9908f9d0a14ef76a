"""Reading a whole file: bodies with attributes and blocks, and going on after an error to find the next."""

from __future__ import annotations

from typing import Any

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.diagnostics import HclError, error
from rove.jobspec.hcl.lexer import AFTER_BLOCK, ITEM, RESUME, TOKEN
from rove.jobspec.hcl.nodes import Literal, Node, normal
from rove.jobspec.hcl.positions import Range, Source
from rove.jobspec.hcl.templates import TemplateParser
from rove.jobspec.hcl.tokens import EndlessFault, SyntaxFault
from rove.jobspec.hcl.tree import Attribute, Block, Body


def parse(text: str | bytes, filename: str, *, hcl1: bool = False) -> Body:
    """Read a file. A text that begins with `{` is read as JSON.

    hcl1: the older syntax of agent files: names may be quoted, `${` is plain text, a name may be given twice
    (the last one counts), values may be followed by commas. Raises HclError with every error found.
    """
    source = source_of(text, filename)
    if source.text.lstrip(" \t\r\n\ufeff").startswith("{"):
        from rove.jobspec.hcl.json_form import parse_json

        return parse_json(source.text, filename)
    parser = FileParser(source, hcl1)
    body = parser.file()
    if parser.diagnostics:
        raise HclError(parser.diagnostics)
    return body


def parse_expression(text: str, filename: str) -> tuple[Node, Source]:
    """Read one expression that is all of `text`. Raises HclError."""
    source = source_of(text, filename)
    parser = FileParser(source, False)
    try:
        return parser.only_expression(), source
    except SyntaxFault as fault:
        raise HclError([fault.diagnostic]) from None
    except RecursionError:
        raise HclError([error("Nested too deeply", "", Range(source, 0, 1))]) from None


def parse_template(text: str, filename: str) -> tuple[Node, Source]:
    """Read `text` as the inside of a quoted text, without its quotes and escapes. Raises HclError."""
    source = source_of(text, filename)
    parser = FileParser(source, False)
    try:
        return parser.only_template(), source
    except SyntaxFault as fault:
        raise HclError([fault.diagnostic]) from None
    except RecursionError:
        raise HclError([error("Nested too deeply", "", Range(source, 0, 1))]) from None


def source_of(given: str | bytes, filename: str) -> Source:
    """The text as a source. Raises HclError if it is too long, not UTF-8 or holds a NUL character."""
    if len(given) > limits.SOURCE_BYTES_MAX:
        place = Range(Source("", filename), 0, 0)
        raise HclError([error("File too large", f"at most {limits.SOURCE_BYTES_MAX} bytes are read", place)])
    bytes_before = 0
    if isinstance(given, str):
        text = given
    else:
        try:
            text = given.decode("utf-8")
        except UnicodeDecodeError as failure:
            before = given[: failure.start].decode("utf-8")
            source = Source(given.decode("utf-8", "replace"), filename)
            value = given[failure.start]
            raise HclError(
                [error("Not UTF-8", f"the byte 0x{value:02x} is not text", Range(source, len(before), len(before) + 1))]
            ) from None
    if not text.isascii():
        if text.startswith("\ufeff"):
            text, bytes_before = text[1:], 3
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as failure:
            source = Source(text, filename)
            raise HclError(
                [error("Not UTF-8", "a lone surrogate is not text", Range(source, failure.start, failure.end))]
            ) from None
    source = Source(text, filename, bytes_before)
    nul = text.find("\0")
    if nul >= 0:
        raise HclError([error("NUL character", "the file is not text", Range(source, nul, nul + 1))])
    return source


class FileParser(TemplateParser):
    """Reads bodies."""

    def __init__(self, source: Source, hcl1: bool) -> None:
        super().__init__(source, literal=hcl1)
        self.hcl1 = hcl1
        self.recovered = False
        self.block_depth = 0
        self.blocks_read = 0
        self.suspect: tuple[int, int] | None = None  # a block whose closing brace looks like another's

    def file(self) -> Body:
        """The whole source as a body; errors are in `diagnostics`."""
        try:
            body, _ = self.body(0, None)
        except SyntaxFault as fault:
            self.report(fault)
            return Body(self.source, {}, [], (0, 0))
        except RecursionError:
            self.diagnostics.append(self.at(self.start, self.start + 1, "Nested too deeply", ""))
            return Body(self.source, {}, [], (0, 0))
        return body

    def only_expression(self) -> Node:
        """The source as one expression; line ends do not matter."""
        from rove.jobspec.hcl.lexer import TOKEN_IN_BRACKETS

        self.scan = TOKEN_IN_BRACKETS.match
        self.move(0)
        node = self.expression()
        if self.kind != "end":
            self.expected("the end of the expression")
        return node

    def only_template(self) -> Node:
        """The source as the inside of a template that ends with the text."""
        from rove.jobspec.hcl.lexer import HEREDOC_ESCAPE, HEREDOC_TEXT
        from rove.jobspec.hcl.templates import Part

        parts: list[Part] = []
        position, trim = 0, False
        while position < len(self.text):
            piece = HEREDOC_TEXT.match(self.text, position)
            if piece is not None:
                self._add_text(parts, HEREDOC_ESCAPE.sub(r"\1{", piece[0]), position, piece.end(), trim)
                position, trim = piece.end(), False
            else:
                position, trim = self._sequence(parts, position)
        return self.assemble(parts, 0, len(self.text))

    def report(self, fault: SyntaxFault) -> None:
        """Keep an error, unless there are too many already."""
        if len(self.diagnostics) < limits.ERRORS_MAX:
            self.diagnostics.append(fault.diagnostic)
        self.recovered = True

    # -- bodies ------------------------------------------------------------------------------------------------

    def body(self, position: int, opened: tuple[int, int] | None) -> tuple[Body, int]:
        """Items from `position` on. opened: the header of the block this is the body of, None for the file.

        Gives the body and where it ends: just after its closing brace, or at the end of the text.
        """
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        begin = position
        text, source, match_item = self.text, self.source, ITEM.match
        while True:
            found = match_item(text, position)
            try:
                if found is None:
                    position = self._odd_item(position, attributes, blocks)
                    continue
                last = found.lastgroup
                self.parts += 1
                if self.parts > limits.PARTS_MAX:
                    self.count(found.start(last or 0), found.end(last or 0))
                if last == "after":
                    self._plain_attribute(found, attributes)
                    position = found.end()
                elif last == "open":
                    position = self._plain_block(found, blocks)
                elif last == "name":
                    position = self._item(found.start("name"), found.end("name"), attributes, blocks)
                elif last == "close":
                    if opened is None:
                        at = found.start("close")
                        position = found.end()
                        if not self.recovered:
                            raise SyntaxFault(self.at(at, at + 1, 'expected an argument or a block, found "}"'))
                        continue
                    end = found.end("close")
                    self._note_indentation(opened, end - 1)
                    return Body(source, attributes, blocks, (begin, end - 1)), end
                else:
                    if opened is not None:
                        self._never_closed(opened)
                    return Body(source, attributes, blocks, (begin, len(text))), len(text)
            except EndlessFault:
                raise
            except SyntaxFault as fault:
                self.report(fault)
                if len(self.diagnostics) >= limits.ERRORS_MAX:
                    raise EndlessFault(fault.diagnostic) from None
                self.scan = TOKEN.match
                self.depth = self.block_depth
                position = self._resume(
                    max(position, fault.diagnostic.range.start_offset if fault.diagnostic.range else 0)
                )

    def _resume(self, position: int) -> int:
        """Where to read on after an error: the next line that looks like an item."""
        line_end = self.text.find("\n", position)
        if line_end < 0:
            return len(self.text)
        found = RESUME.search(self.text, line_end + 1)
        return found.start() if found else len(self.text)

    def _never_closed(self, opened: tuple[int, int]) -> None:
        if self.recovered:
            return
        start, end = self.suspect or opened
        self.recovered = True
        self.diagnostics.append(self.at(start, end, "Block is never closed", 'its "}" is missing'))

    def _note_indentation(self, opened: tuple[int, int], closed: int) -> None:
        """Remember a block whose brace stands further left than its header: likely it lacks its own."""
        if self.suspect is not None:
            return
        text = self.text
        brace_line = text.rfind("\n", 0, closed) + 1
        if brace_line <= opened[0]:
            return
        header_line = text.rfind("\n", 0, opened[0]) + 1
        if closed - brace_line < opened[0] - header_line and not text[brace_line:closed].strip():
            self.suspect = opened

    # -- items -------------------------------------------------------------------------------------------------

    def _plain_attribute(self, found: Any, attributes: dict[str, Attribute]) -> None:
        """`name = value` on a line of its own, value a simple text, whole number or bool."""
        start, name_end = found.span("name")
        name = found["name"]
        value: Any
        if (value := found["text"]) is not None:
            at, end = found.span("text")
            node = Literal(value if value.isascii() else normal(value), at - 1, end + 1)
        elif (value := found["number"]) is not None:
            node = Literal(int(value), *found.span("number"))
        else:
            node = Literal(found["word"] == "true", *found.span("word"))
        self._keep(Attribute(self.source, name, node, (start, node.end), (start, name_end)), attributes)

    def _keep(self, made: Attribute, attributes: dict[str, Attribute]) -> None:
        earlier = attributes.get(made.name)
        if earlier is not None and not self.hcl1:
            line = earlier.name_range.start.line
            raise SyntaxFault(
                error("Argument given twice", f'"{made.name}" is set on line {line} already', made.name_range)
            )
        attributes[made.name] = made

    def _plain_block(self, found: Any, blocks: list[Block]) -> int:
        start, type_end = found.span("name")
        labels: list[str] = []
        spans: list[tuple[int, int]] = []
        label = found["label"]
        if label is not None:
            at, end = found.span("label")
            labels.append(normal(label))
            spans.append((at - 1, end + 1))
        return self._block_body(found["name"], labels, (start, type_end), spans, found.end("open"), blocks)

    def _block_body(
        self,
        type: str,
        labels: list[str],
        type_at: tuple[int, int],
        spans: list[tuple[int, int]],
        position: int,
        blocks: list[Block],
    ) -> int:
        """The body of a block from just after `{`, to the end of the line its `}` is on."""
        header = (type_at[0], spans[-1][1] if spans else type_at[1])
        self.blocks_read += 1
        if self.blocks_read > limits.SOURCE_BLOCKS_MAX:
            detail = f"one file may have {limits.SOURCE_BLOCKS_MAX}"
            raise EndlessFault(self.at(*header, "Too many blocks", detail))
        self.start, self.stop = header
        self.block_depth += 1
        self.depth = self.block_depth - 1
        self.deeper()
        body, end = self.body(position, header)
        self.block_depth -= 1
        self.depth = self.block_depth
        blocks.append(Block(self.source, type, labels, body, type_at, spans))
        return self._after_block(end)

    def _after_block(self, end: int) -> int:
        after = AFTER_BLOCK.match(self.text, end)
        if after is None:
            if self.hcl1:
                return self._skip_comma(end)
            self.move(end)
            self.fail(f"expected the end of the line after a block, found {self.found()}")
        return after.end()

    def _skip_comma(self, position: int) -> int:
        self.move(position)
        return self.stop if self.kind in (",", "line") else position

    def _odd_item(self, position: int, attributes: dict[str, Attribute], blocks: list[Block]) -> int:
        """Something that does not begin like an item: a name beyond ASCII, a quoted name, or an error."""
        from rove.jobspec.hcl.lexer import TOKEN_IN_BRACKETS

        self.scan = TOKEN_IN_BRACKETS.match
        self.move(position)
        self.scan = TOKEN.match
        if self.kind == "ident" or (self.hcl1 and self.kind == "text"):
            return self._item(self.start, self.stop, attributes, blocks)
        if self.hcl1 and self.kind == ",":
            return self.stop
        if self.kind in ("text", '"'):
            self.fail("Quoted name", "the name of an argument or block is written without quotes")
        return self.expected("an argument or a block")

    def _item(self, start: int, stop: int, attributes: dict[str, Attribute], blocks: list[Block]) -> int:
        """An attribute or block whose name is at `start`. Gives where the next item may begin."""
        name = self.text[start:stop].strip('"')
        self.previous = stop
        self.move(stop)
        if self.kind == "=":
            return self._attribute(name, (start, stop), attributes)
        if self.kind in ("{", "text", "ident", '"'):
            return self._block(name, (start, stop), blocks)
        return self.expected('"=" or "{"')

    def _attribute(self, name: str, name_at: tuple[int, int], attributes: dict[str, Attribute]) -> int:
        self.advance()
        expression = self.expression()
        if self.kind != "line" and self.kind != "end":
            if self.hcl1 and self.kind in (",", "}"):
                self.stop = self.stop if self.kind == "," else self.start
            elif self.kind == ",":
                self.fail('expected the end of the line, found ","', "arguments are separated by line ends, not commas")
            else:
                self.expected("the end of the line after an argument")
        position = self.stop
        made = Attribute(self.source, name, expression, (name_at[0], expression.end), name_at)
        try:
            self._keep(made, attributes)
        except SyntaxFault as fault:
            self.report(fault)
            if len(self.diagnostics) >= limits.ERRORS_MAX:
                raise
        return position

    def _block(self, type: str, type_at: tuple[int, int], blocks: list[Block]) -> int:
        labels: list[str] = []
        spans: list[tuple[int, int]] = []
        while self.kind != "{":
            if self.kind == "ident":
                label = self.word()
            elif self.kind == "text":
                match: Any = self.match
                label = normal(match["text"])
            elif self.kind == '"':
                label = self._label()
            elif self.kind == "=":
                self.fail('expected "{", found "="', "a block with labels has no equals sign")
            elif self.kind == "line":
                where = self.previous
                raise SyntaxFault(
                    self.at(
                        where,
                        where + 1,
                        'expected "=" or "{", found the end of the line',
                        "a block begins on the line of its header",
                    )
                )
            else:
                self.expected('a label or "{"' if labels else '"=", a label or "{"')
            labels.append(label)
            spans.append((self.start, self.stop))
            self.advance()
        brace_end = self.stop
        self.advance()
        if self.kind in ("line", "}", "end") or self.hcl1:
            position = brace_end
            return self._block_body(type, labels, type_at, spans, position, blocks)
        return self._one_line_block(type, labels, type_at, spans, brace_end, blocks)

    def _label(self) -> str:
        """A label with escapes in it; the current token is its opening quote."""
        start = self.start
        parts, end = self._quoted_parts()
        for part in parts:
            if part.kind != "text":
                raise SyntaxFault(self.at(part.start, part.end, "Label with a template", "a label is plain text"))
        self.start, self.stop = start, end
        return normal("".join(part.text for part in parts))

    def _one_line_block(
        self,
        type: str,
        labels: list[str],
        type_at: tuple[int, int],
        spans: list[tuple[int, int]],
        begin: int,
        blocks: list[Block],
    ) -> int:
        """`type { name = value }`: exactly one argument, closed on the same line."""
        if self.kind != "ident":
            self.expected("an argument")
        name, name_at = self.word(), (self.start, self.stop)
        self.advance()
        if self.kind in ("{", "text", "ident", '"'):
            self.fail("Block in a one-line block", "put nested blocks on lines of their own")
        if self.kind != "=":
            self.expected('"="')
        self.advance()
        expression = self.expression()
        if self.kind == ",":
            self.fail(
                "Second argument in a one-line block", "a block on one line holds one argument; use several lines"
            )
        if self.kind != "}":
            self.expected('"}" on the same line')
        end = self.stop
        made = Attribute(self.source, name, expression, (name_at[0], expression.end), name_at)
        body = Body(self.source, {name: made}, [], (begin, self.start))
        blocks.append(Block(self.source, type, labels, body, type_at, spans))
        return self._after_block(end)
