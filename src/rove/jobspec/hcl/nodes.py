"""Expressions: each node knows its place in the source (offsets) and how to work out its value in a scope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rove.jobspec.hcl.access import attribute, look_up
from rove.jobspec.hcl.scope import POISONED, EvalError, PoisonedError, Scope

Value = Any


class Node:
    """An expression. start, end: offsets of its text."""

    __slots__ = ("end", "start")
    start: int
    end: int

    def value(self, scope: Scope) -> Value:
        """The value. Raises EvalError."""
        raise NotImplementedError

    def children(self) -> Iterator[Node]:
        """The expressions inside."""
        return iter(())

    def fail(self, summary: str, detail: str = "") -> EvalError:
        """An error at this expression."""
        return EvalError(summary, detail, self.start, self.end)


class Literal(Node):
    """A value written out: number, text without interpolation, bool or null."""

    __slots__ = ("literal",)

    def __init__(self, literal: Value, start: int, end: int) -> None:
        self.literal = literal
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        return self.literal


class Paren(Node):
    """An expression in parentheses."""

    __slots__ = ("inner",)

    def __init__(self, inner: Node, start: int, end: int) -> None:
        self.inner = inner
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        return self.inner.value(scope)

    def children(self) -> Iterator[Node]:
        yield self.inner


class Wrapped(Paren):
    """A template that is one interpolation and nothing else: keeps the type of what it holds."""

    __slots__ = ()


class Traversal(Node):
    """A name and what is reached from it. steps: (is_index, key, start, end)."""

    __slots__ = ("root", "source", "steps")

    def __init__(self, root: str, source: str, start: int, end: int) -> None:
        self.root = root
        self.source = source
        self.steps: list[tuple[bool, Value, int, int]] = []
        self.start = start
        self.end = end

    @property
    def text(self) -> str:
        """How it was written."""
        return self.source[self.start : self.end]

    def value(self, scope: Scope) -> Value:
        names = scope.names
        if self.root not in names:
            if scope.unknown is None:
                raise self.fail("Unknown name", f'nothing named "{self.root}" can be used here')
            return scope.unknown(self.text)
        found = names[self.root]
        path = self.root
        for is_index, key, start, end in self.steps:
            found = look_up(found, key, start, end, path) if is_index else attribute(found, key, start, end, path)
            path = f"{path}.{key}"
        if found is POISONED:
            raise PoisonedError("Failed before", "", self.start, self.end)
        return found


class Relative(Node):
    """Something reached from the value of any other expression."""

    __slots__ = ("origin", "steps")

    def __init__(self, origin: Node, start: int, end: int) -> None:
        self.origin = origin
        self.steps: list[tuple[bool, Value, int, int]] = []
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        found = self.origin.value(scope)
        for is_index, key, start, end in self.steps:
            found = look_up(found, key, start, end, "") if is_index else attribute(found, key, start, end, "")
        return found

    def children(self) -> Iterator[Node]:
        yield self.origin


class Index(Node):
    """`origin[key]` with a key that has to be worked out."""

    __slots__ = ("key", "origin")

    def __init__(self, origin: Node, key: Node, start: int, end: int) -> None:
        self.origin = origin
        self.key = key
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        found = self.origin.value(scope)
        return look_up(found, self.key.value(scope), self.key.start, self.key.end, "")

    def children(self) -> Iterator[Node]:
        yield self.origin
        yield self.key


class TupleNode(Node):
    """`[a, b]`."""

    __slots__ = ("items",)

    def __init__(self, items: list[Node], start: int, end: int) -> None:
        self.items = items
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        return tuple([each.value(scope) for each in self.items])

    def children(self) -> Iterator[Node]:
        return iter(self.items)


class ObjectNode(Node):
    """`{a = b}`. A key that is a bare name is a `Literal` already."""

    __slots__ = ("items",)

    def __init__(self, items: list[tuple[Node, Node]], start: int, end: int) -> None:
        self.items = items
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        made: dict[str, Value] = {}
        for key_node, value_node in self.items:
            key = key_node.value(scope)
            if type(key) is not str:
                key = key_text(key, key_node)
            made[key] = value_node.value(scope)
        return made

    def children(self) -> Iterator[Node]:
        for key, value in self.items:
            yield key
            yield value


class DottedKey(Node):
    """`a.b = c` in an object: neither a name nor a reference, so always an error."""

    __slots__ = ("wrapped",)

    def __init__(self, wrapped: Node) -> None:
        self.wrapped = wrapped
        self.start = wrapped.start
        self.end = wrapped.end

    def value(self, scope: Scope) -> Value:
        raise self.fail("Ambiguous key", "put it in quotes if it is a name, in parentheses if it is a reference")


def key_text(key: Value, node: Node) -> str:
    from rove.jobspec.hcl.convert import ConvertError, to_text

    if key is None:
        raise node.fail("Null as a key", "a key must not be null")
    try:
        return to_text(key)
    except ConvertError as failure:
        raise node.fail("Unsuitable key", str(failure)) from None


class Template(Node):
    """Text with interpolations; always gives text."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[Node], start: int, end: int) -> None:
        self.parts = parts
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        made = []
        for part in self.parts:
            found = part.value(scope)
            made.append(found if type(found) is str else part_text(found, part))
        text = "".join(made)
        scope.budget.hold(len(text))
        return normal(text)

    def children(self) -> Iterator[Node]:
        return iter(self.parts)


def normal(text: str) -> str:
    """Text in Unicode's composed form, as every cty string is."""
    if text.isascii():
        return text
    from unicodedata import normalize

    return normalize("NFC", text)


def part_text(found: Value, node: Node) -> str:
    from rove.jobspec.hcl.convert import ConvertError, to_text

    if found is None:
        raise node.fail("Null in a template", "a null value cannot be part of text")
    try:
        return to_text(found)
    except ConvertError as failure:
        raise node.fail("Unsuitable value in a template", str(failure)) from None


class Unary(Node):
    """`-a` or `!a`."""

    __slots__ = ("operand", "operator")

    def __init__(self, operator: str, operand: Node, start: int, end: int) -> None:
        self.operator = operator
        self.operand = operand
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        found = self.operand.value(scope)
        if type(found) is int and self.operator == "-":
            return -found
        from rove.jobspec.hcl.operators import unary

        return unary(self.operator, found, self.operand)

    def children(self) -> Iterator[Node]:
        yield self.operand


class Chain(Node):
    """Binary operators of one precedence, from left to right: kept flat, so that long sums need no deep stack."""

    __slots__ = ("first", "level", "rest")

    def __init__(self, first: Node, level: int) -> None:
        self.first = first
        self.level = level
        self.rest: list[tuple[str, Node]] = []
        self.start = first.start
        self.end = first.end

    def value(self, scope: Scope) -> Value:
        from rove.jobspec.hcl.operators import binary

        left = self.first.value(scope)
        for operator, node in self.rest:
            left = binary(operator, left, node.value(scope), self.first, node, scope.budget)
        return left

    def children(self) -> Iterator[Node]:
        yield self.first
        for _, each in self.rest:
            yield each


class Conditional(Node):
    """`condition ? yes : no`. Both sides give the type they share."""

    __slots__ = ("condition", "no", "yes")

    def __init__(self, condition: Node, yes: Node, no: Node, start: int, end: int) -> None:
        self.condition = condition
        self.yes = yes
        self.no = no
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        from rove.jobspec.hcl.operators import choose

        return choose(self, scope)

    def children(self) -> Iterator[Node]:
        yield self.condition
        yield self.yes
        yield self.no


class Call(Node):
    """`name(arguments)`. spread: the last argument has `...`."""

    __slots__ = ("arguments", "name", "name_end", "spread")

    def __init__(self, name: str, arguments: list[Node], spread: bool, start: int, end: int) -> None:
        self.name = name
        self.arguments = arguments
        self.spread = spread
        self.start = start
        self.end = end
        self.name_end = start + len(name)

    def value(self, scope: Scope) -> Value:
        from rove.jobspec.hcl.functions import call

        return call(self, scope)

    def children(self) -> Iterator[Node]:
        return iter(self.arguments)


class Embedded(Node):
    """An expression read out of another text, such as a JSON string; errors point at the whole of it."""

    __slots__ = ("inner",)

    def __init__(self, inner: Node, start: int, end: int) -> None:
        self.inner = inner
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        try:
            return self.inner.value(scope)
        except EvalError as failure:
            failure.start, failure.end = self.start, self.end
            raise

    def children(self) -> Iterator[Node]:
        yield self.inner
