"""Reading expressions: precedence climbing over the tokens of `lexer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.lexer import TOKEN, TOKEN_IN_BRACKETS
from rove.jobspec.hcl.loops import For, Item, Splat
from rove.jobspec.hcl.nodes import (
    Call,
    Chain,
    Conditional,
    DottedKey,
    Index,
    Literal,
    Node,
    ObjectNode,
    Paren,
    Relative,
    Traversal,
    TupleNode,
    Unary,
    normal,
)
from rove.jobspec.hcl.numbers import NumberError
from rove.jobspec.hcl.numbers import parse as parse_number
from rove.jobspec.hcl.tokens import SyntaxFault, TokenReader

PRECEDENCE = {
    "||": 1,
    "&&": 2,
    "==": 3,
    "!=": 3,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
    "%": 6,
}
KEYWORDS = {"true": True, "false": False, "null": None}


class ExpressionParser(TokenReader):
    """Reads expressions."""

    # -- expressions -------------------------------------------------------------------------------------------

    def expression(self) -> Node:
        """An expression with everything that belongs to it."""
        condition = self.term()
        if self.kind in PRECEDENCE:
            condition = self.operators(condition, 1)
        if self.kind != "?":
            return condition
        self.deeper()
        self.advance()
        yes = self.expression()
        if self.kind != ":":
            self.expected('":" and the other result of the conditional')
        self.advance()
        no = self.expression()
        self.depth -= 1
        return Conditional(condition, yes, no, condition.start, no.end)

    def operators(self, left: Node, level: int) -> Node:
        """Operators that bind at least as tightly as `level`, with `left` as the first operand."""
        count = 0
        while (precedence := PRECEDENCE.get(self.kind, 0)) >= level:
            count += 1
            if count > limits.OPERATORS_MAX:
                self.fail("Expression too long", f"one expression may have {limits.OPERATORS_MAX} operators in a row")
            operator = self.kind
            self.advance()
            right = self.term()
            if PRECEDENCE.get(self.kind, 0) > precedence:
                right = self.operators(right, precedence + 1)
            if not (type(left) is Chain and left.level == precedence and left.start == left.first.start):
                left = Chain(left, precedence)
            left.rest.append((operator, right))
            left.end = right.end
        return left

    def term(self) -> Node:
        """An operand with its accesses (`.name`, `[key]`, splats)."""
        kind = self.kind
        self.parts += 1
        if self.parts > limits.PARTS_MAX:
            self.count(self.start, self.stop)
        if kind == "text":
            match: Any = self.match
            node: Node = Literal(normal(match[kind]), self.start, self.stop)
            self.advance()
        elif kind == "ident":
            node = self._name()
        elif kind == "number":
            node = self._number()
        elif kind in self._STARTS:
            self.deeper()
            node = self._STARTS[kind](self)
            self.depth -= 1
        elif kind == "line" or kind == "end":
            self._missing_expression()
        else:
            self.expected("an expression")
        if self.kind == "." or self.kind == "[":
            return self.accesses(node)
        return node

    def _missing_expression(self) -> NoReturn:
        """Point just after what came before, where the expression should have been."""
        where = self.previous
        if where < len(self.text) and self.text[where] in " \t" and self.kind == "line":
            where += 1
        raise SyntaxFault(self.at(where, where + 1, f"expected an expression, found {self.found()}"))

    def _number(self) -> Node:
        word = self.word()
        try:
            node = Literal(
                int(word) if word.isdigit() and len(word) < 100 else parse_number(word), self.start, self.stop
            )
        except NumberError as failure:
            self.fail("Invalid number", f"{failure}: {word[:40]}")
        self.advance()
        return node

    def _name(self) -> Node:
        start, stop = self.start, self.stop
        name = self.text[start:stop]
        self.advance()
        if self.kind == "(":
            return self._call(name, start)
        if name in KEYWORDS:
            return Literal(KEYWORDS[name], start, stop)
        return Traversal(name, self.text, start, stop)

    def _unary(self) -> Node:
        operator, start = self.kind, self.start
        self.advance()
        operand = self.term()
        return Unary(operator, operand, start, operand.end)

    def _paren(self) -> Node:
        start, scan = self.start, self.scan
        self.scan = TOKEN_IN_BRACKETS.match
        self.advance()
        inner = self.expression()
        if self.kind != ")":
            self._unclosed(")", start, "an operator")
        self.scan = scan
        end = self.stop
        self.advance()
        return Paren(inner, start, end)

    def _unclosed(self, closer: str, start: int, other: str) -> NoReturn:
        if self.kind == "end":
            opener = self.text[start]
            raise SyntaxFault(self.at(start, start + 1, f'"{opener}" is never closed', f'no "{closer}" follows'))
        self.expected(f'{other} or "{closer}"')

    def _tuple(self) -> Node:
        start, scan = self.start, self.scan
        self.scan = TOKEN_IN_BRACKETS.match
        self.advance()
        if self.kind == "ident" and self.word() == "for":
            return self._for(start, "]", scan)
        items: list[Node] = []
        append = items.append
        while self.kind != "]":
            append(self.expression())
            if len(items) > limits.ITEMS_MAX:
                self.fail("Too many elements", f"one list may have {limits.ITEMS_MAX}")
            if self.kind == ",":
                self.advance()
            elif self.kind != "]":
                self._unclosed("]", start, '","')
        self.scan = scan
        end = self.stop
        self.advance()
        return TupleNode(items, start, end)

    def _object(self) -> Node:
        start, scan = self.start, self.scan
        self.scan = TOKEN_IN_BRACKETS.match
        self.advance()
        if self.kind == "ident" and self.word() == "for":
            return self._for(start, "}", scan)
        self.scan = TOKEN.match
        self.move(start + 1)
        items: list[tuple[Node, Node]] = []
        while True:
            while self.kind == "line":
                self.advance()
            if self.kind == "}":
                break
            key = self._key(start)
            if self.kind != "=" and self.kind != ":":
                self._unclosed("}", start, '"="') if self.kind == "end" else self.expected('"=" and a value')
            self.advance()
            items.append((key, self.expression()))
            if self.kind == "," or self.kind == "line":
                self.advance()
            elif self.kind != "}":
                self._unclosed("}", start, 'the end of the line, ","')
        self.scan = scan
        end = self.stop
        self.advance()
        return ObjectNode(items, start, end)

    def _key(self, opened: int) -> Node:
        if self.kind == "end":
            self._unclosed("}", opened, "a key")
        forced = self.kind == "("
        key = self.expression()
        if forced or (type(key) is Literal and type(key.literal) is str):
            return key
        if type(key) is Traversal:
            return DottedKey(key) if key.steps else Literal(key.root, key.start, key.end)
        if type(key) is Literal and (key.literal is None or key.literal is True or key.literal is False):
            return Literal(self.text[key.start : key.end], key.start, key.end)
        return key

    def _for(self, start: int, closer: str, scan: Any) -> Node:
        """From the word `for` to the closing bracket."""
        first, second = self.loop_names()
        many = self.expression()
        if self.kind != ":":
            self.expected('":"')
        self.advance()
        key: Node | None = None
        result = self.expression()
        if self.kind == "=>":
            self.advance()
            key, result = result, self.expression()
        group_at = self.start
        group = self.kind == "..."
        if group:
            self.advance()
        condition = None
        if self.kind == "ident" and self.word() == "if":
            self.advance()
            condition = self.expression()
        if self.kind != closer:
            self._unclosed(closer, start, '"if"')
        if closer == "]" and key is not None:
            raise SyntaxFault(self.at(key.start, key.end, "Key in a list", 'only a "for" in braces takes "key =>"'))
        if closer == "]" and group:
            raise SyntaxFault(
                self.at(group_at, group_at + 3, "Grouping in a list", 'only a "for" in braces takes "..."')
            )
        if closer == "}" and key is None:
            raise SyntaxFault(
                self.at(result.start, result.end, "Key missing", 'a "for" in braces needs "key => value"')
            )
        self.scan = scan
        end = self.stop
        self.advance()
        names = (None, first) if second is None else (first, second)
        return For(names, many, key, result, condition, group, start, end)

    def loop_names(self) -> tuple[str, str | None]:
        """The one or two names between `for` and `in`; both words are passed over."""
        self.advance()
        first = self._loop_name()
        second = None
        if self.kind == ",":
            self.advance()
            second = self._loop_name()
        if not (self.kind == "ident" and self.word() == "in"):
            self.expected('"in"')
        self.advance()
        return first, second

    def _loop_name(self) -> str:
        if self.kind != "ident":
            self.expected("a name for the loop")
        name = self.word()
        self.advance()
        return name

    def _call(self, name: str, start: int) -> Node:
        self.deeper()
        opened, scan = self.start, self.scan
        self.scan = TOKEN_IN_BRACKETS.match
        self.advance()
        arguments: list[Node] = []
        spread = False
        while self.kind != ")":
            arguments.append(self.expression())
            if self.kind == ",":
                self.advance()
            elif self.kind == "...":
                spread = True
                self.advance()
                if self.kind != ")":
                    self.expected('")" after "..."')
            elif self.kind != ")":
                self._unclosed(")", opened, '","')
        self.scan = scan
        end = self.stop
        self.advance()
        self.depth -= 1
        return Call(name, arguments, spread, start, end)

    # -- accesses ----------------------------------------------------------------------------------------------

    def accesses(self, node: Node) -> Node:
        """Everything that is reached from `node`."""
        count = 0
        while self.kind == "." or self.kind == "[":
            count += 1
            if count > limits.TRAVERSAL_MAX:
                self.fail("Too many accesses", f"one reference may have {limits.TRAVERSAL_MAX}")
            node = self._dot(node) if self.kind == "." else self._bracket(node)
        return node

    def _dot(self, node: Node) -> Node:
        dot = self.start
        self.advance()
        if self.kind == "ident":
            return self._step(node, False, self.word(), dot)
        if self.kind == "number":
            return self._step(node, True, self._legacy_index(), dot)
        if self.kind == "*":
            return self._attribute_splat(node, dot)
        return self.expected('a name after "."')

    def _step(self, node: Node, is_index: bool, key: Any, start: int) -> Node:
        """Add an access that ends with the current token."""
        end = self.stop
        self.advance()
        if not isinstance(node, Traversal | Relative):
            node = Relative(node, node.start, end)
        node.steps.append((is_index, key, start, end))
        node.end = end
        return node

    def _legacy_index(self) -> Any:
        word = self.word()
        if "." in word:
            self.fail("Invalid index", "write several indexes in brackets, like [0][1]")
        try:
            return parse_number(word)
        except NumberError as failure:
            self.fail("Invalid number", str(failure))

    def _attribute_splat(self, node: Node, dot: int) -> Node:
        item = Item(dot, self.stop)
        each: Node = item
        self.advance()
        count = 0
        while self.kind == ".":
            count += 1
            if count > limits.TRAVERSAL_MAX:
                self.fail("Too many accesses", f"one reference may have {limits.TRAVERSAL_MAX}")
            start = self.start
            self.advance()
            if self.kind == "ident":
                each = self._step(each, False, self.word(), start)
            elif self.kind == "number":
                each = self._step(each, True, self._legacy_index(), start)
            else:
                self.expected('a name after "."')
        return Splat(node, item, each, node.start, self.previous)

    def _bracket(self, node: Node) -> Node:
        opened, scan = self.start, self.scan
        following = scan(self.text, self.stop)
        if following is not None and following.lastgroup == "sign" and following["sign"] == "*":
            return self._full_splat(node, opened)
        self.deeper()
        self.scan = TOKEN_IN_BRACKETS.match
        self.advance()
        key = self.expression()
        if self.kind != "]":
            self._unclosed("]", opened, "an operator")
        self.scan = scan
        self.depth -= 1
        if type(key) is Literal:
            return self._step(node, True, key.literal, opened)
        end = self.stop
        self.advance()
        return Index(node, key, node.start, end)

    def _full_splat(self, node: Node, opened: int) -> Node:
        self.deeper()
        self.advance()
        self.advance()
        if self.kind != "]":
            self.expected('"]" after "*"')
        item = Item(opened, self.stop)
        self.advance()
        each = self.accesses(item)
        self.depth -= 1
        return Splat(node, item, each, node.start, each.end)

    def _template(self) -> Node:
        raise NotImplementedError

    _STARTS: dict[str, Callable[[Any], Node]] = {
        "[": _tuple,
        "{": _object,
        "(": _paren,
        "-": _unary,
        "!": _unary,
        '"': lambda self: self._template(),
        "heredoc": lambda self: self._template(),
    }
