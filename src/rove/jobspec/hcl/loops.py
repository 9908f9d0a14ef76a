"""Expressions that go through a collection: `for`, splats, and `%{ for }` in templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rove.jobspec.hcl.nodes import Node, Relative, Traversal, Value, key_text, part_text
from rove.jobspec.hcl.scope import Scope


class Item(Node):
    """The element a splat is at."""

    __slots__ = ()

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        return scope.names[f"*{self.start}"]


class Splat(Node):
    """`origin[*]...` or `origin.*...`: the rest of the way, for each element."""

    __slots__ = ("each", "item", "origin")

    def __init__(self, origin: Node, item: Item, each: Node, start: int, end: int) -> None:
        self.origin = origin
        self.item = item
        self.each = each
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        found = self.origin.value(scope)
        if found is None:
            return ()
        many = isinstance(found, list | tuple)
        items = found if many else (found,)
        scope.budget.step(len(items))
        inner = scope.child({})
        name = f"*{self.item.start}"
        made = []
        for each in items:
            inner.names[name] = each
            made.append(self.each.value(inner))
        if isinstance(found, list):
            return _as_list(made, found, self)
        return tuple(made)

    def children(self) -> Iterator[Node]:
        yield self.origin
        yield self.each


def _as_list(made: list[Value], origin: Any, node: Splat) -> Value:
    from rove.jobspec.hcl.convert import ConvertError, settle
    from rove.jobspec.hcl.types import ANY, PRIMITIVES, ListOf

    if not made:
        if isinstance(node.each, Relative) and origin.element in PRIMITIVES:
            raise node.fail("No such attribute", f"a {origin.element} has no attributes and no elements")
        return ListOf((), origin.element if node.each is node.item else ANY)
    try:
        element, made = settle(made, ANY)
    except ConvertError as failure:
        raise node.fail("Unlike elements", str(failure)) from None
    return ListOf(made, element)


class For(Node):
    """`[for k, v in many : value if condition]`, or with `key => value` in braces."""

    __slots__ = ("condition", "group", "key", "key_name", "many", "result", "value_name")

    def __init__(
        self,
        names: tuple[str | None, str],
        many: Node,
        key: Node | None,
        result: Node,
        condition: Node | None,
        group: bool,
        start: int,
        end: int,
    ) -> None:
        self.key_name, self.value_name = names
        self.many = many
        self.key = key
        self.result = result
        self.condition = condition
        self.group = group
        self.start = start
        self.end = end

    def value(self, scope: Scope) -> Value:
        rounds = self._rounds(scope)
        if self.key is None:
            return tuple([self.result.value(inner) for inner in rounds])
        made: dict[str, Any] = {}
        for inner in rounds:
            key = self.key.value(inner)
            if type(key) is not str:
                key = key_text(key, self.key)
            result = self.result.value(inner)
            if self.group:
                made.setdefault(key, []).append(result)
            elif key in made:
                raise self.key.fail(
                    "Key given twice", f'two elements give the key "{key}"; to group them, write ... after the value'
                )
            else:
                made[key] = result
        return {key: tuple(results) for key, results in made.items()} if self.group else made

    def _rounds(self, scope: Scope) -> Iterator[Scope]:
        from rove.jobspec.hcl.operators import condition_holds
        from rove.jobspec.hcl.types import friendly, items_of, type_of

        many = self.many.value(scope)
        if many is None:
            raise self.many.fail("Loop over null", "a null value has no elements")
        if not isinstance(many, list | tuple | dict):
            raise self.many.fail("Loop over a single value", f"{friendly(type_of(many))} has no elements")
        step = scope.budget.step
        key_name, value_name = self.key_name, self.value_name
        for key, each in items_of(many):
            step()
            inner = scope.child({value_name: each} if key_name is None else {key_name: key, value_name: each})
            if self.condition is None or condition_holds(self.condition, inner):
                yield inner

    def children(self) -> Iterator[Node]:
        yield self.many
        for each in (self.key, self.result, self.condition):
            if each is not None:
                yield each


class Join(Node):
    """`%{ for }` in a template: the texts of all rounds in one."""

    __slots__ = ("loop",)

    def __init__(self, loop: For) -> None:
        self.loop = loop
        self.start = loop.start
        self.end = loop.end

    def value(self, scope: Scope) -> Value:
        text = "".join([each if type(each) is str else part_text(each, self) for each in self.loop.value(scope)])
        scope.budget.hold(len(text))
        return text

    def children(self) -> Iterator[Node]:
        yield self.loop


def names_used(node: Node, bound: frozenset[str] = frozenset()) -> Iterator[Traversal]:
    """Every reference to a name that is not bound by a loop around it."""
    stack: list[tuple[Node, frozenset[str]]] = [(node, bound)]
    while stack:
        top, names = stack.pop()
        if isinstance(top, Traversal):
            if top.root not in names:
                yield top
        elif isinstance(top, For):
            stack.append((top.many, names))
            inner = names | {top.value_name} | ({top.key_name} if top.key_name else set())
            stack.extend((each, inner) for each in (top.key, top.result, top.condition) if each is not None)
        else:
            stack.extend((each, names) for each in top.children())
