"""The types people write for variables: `list(object({name = string, port = optional(number, 80)}))`."""

from __future__ import annotations

from typing import Any

from rove.jobspec.hcl.convert import ConvertError, convert
from rove.jobspec.hcl.nodes import Call, Literal, Node, ObjectNode, Traversal, TupleNode
from rove.jobspec.hcl.scope import EvalError, Scope
from rove.jobspec.hcl.types import ANY, BOOL, NUMBER, STRING, ListOf, SetOf, Type, Value, object_type

_WORDS = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": ANY}
_COLLECTIONS = ("list", "set", "map")


class TypeConstraint:
    """A type, and what stands in for optional attributes that are left out.

    defaults: by attribute name, for objects. inner: constraints of the parts, by name, position or "" for elements.
    """

    __slots__ = ("defaults", "inner", "type")

    def __init__(
        self, type: Type, defaults: dict[str, Value] | None = None, inner: dict[Any, Any] | None = None
    ) -> None:
        self.type = type
        self.defaults = defaults or {}
        self.inner = {key: each for key, each in (inner or {}).items() if each.defaults or each.inner}

    def apply(self, value: Value) -> Value:
        """The value as this type. Raises ConvertError."""
        return convert(self._fill(value), self.type)

    def _fill(self, value: Value) -> Value:
        if value is None or not (self.defaults or self.inner):
            return value
        if isinstance(value, dict):
            if "" in self.inner:
                return {name: self.inner[""]._fill(each) for name, each in value.items()}
            filled = {**value}
            for name, default in self.defaults.items():
                if filled.get(name) is None:
                    filled[name] = default
            for name, inner in self.inner.items():
                if name in filled:
                    filled[name] = inner._fill(filled[name])
            return filled
        if isinstance(value, ListOf | SetOf | tuple):
            if "" in self.inner:
                return tuple(self.inner[""]._fill(each) for each in value)
            return tuple(self.inner[at]._fill(each) if at in self.inner else each for at, each in enumerate(value))
        return value


def constraint_of(node: Node, json: bool = False) -> TypeConstraint:
    """The type an expression names. json: it is a text that holds the type. Raises EvalError."""
    if json and isinstance(node, Literal) and isinstance(node.literal, str):
        from rove.jobspec.hcl.diagnostics import HclError
        from rove.jobspec.hcl.parser import parse_expression

        try:
            return constraint_of(parse_expression(node.literal, "type")[0])
        except HclError as failure:
            raise node.fail("Invalid type", failure.diagnostics[0].message) from None
        except EvalError as failure:
            failure.start, failure.end = node.start, node.end
            raise
    if isinstance(node, Traversal) and not node.steps:
        if node.root in _WORDS:
            return TypeConstraint(_WORDS[node.root])
        if node.root in _COLLECTIONS:
            raise node.fail("Invalid type", f"{node.root} needs the type of its elements: {node.root}(string)")
        if node.root in ("object", "tuple"):
            example = "object({name = string})" if node.root == "object" else "tuple([string, number])"
            raise node.fail("Invalid type", f"{node.root} needs the types of its parts: {example}")
        raise node.fail("Invalid type", f'there is no type "{node.root}"')
    if isinstance(node, Call):
        return _call(node)
    raise node.fail("Invalid type", "a type is string, number, bool, any, list(), set(), map(), object() or tuple()")


def _call(node: Call) -> TypeConstraint:
    if node.name == "optional":
        raise node.fail("Invalid type", "optional() is for the attributes of an object")
    if len(node.arguments) != 1 or node.spread:
        raise node.fail("Invalid type", f"{node.name} takes one argument")
    argument = node.arguments[0]
    if node.name in _COLLECTIONS:
        inner = constraint_of(argument)
        return TypeConstraint((node.name, inner.type), inner={"": inner})
    if node.name == "tuple":
        if not isinstance(argument, TupleNode):
            raise argument.fail("Invalid type", "tuple takes a list of types: tuple([string, number])")
        parts = [constraint_of(each) for each in argument.items]
        return TypeConstraint(("tuple", tuple(each.type for each in parts)), inner=dict(enumerate(parts)))
    if node.name == "object":
        if not isinstance(argument, ObjectNode):
            raise argument.fail("Invalid type", "object takes types by name: object({name = string})")
        return _object(argument)
    raise node.fail("Invalid type", f'there is no type "{node.name}"')


def _object(node: ObjectNode) -> TypeConstraint:
    types: dict[str, Type] = {}
    optional: set[str] = set()
    defaults: dict[str, Value] = {}
    inner: dict[str, TypeConstraint] = {}
    for key, each in node.items:
        if not isinstance(key, Literal) or not isinstance(key.literal, str):
            raise key.fail("Invalid type", "the name of an attribute is a plain name")
        name, default = key.literal, None
        if isinstance(each, Call) and each.name == "optional":
            optional.add(name)
            if not 1 <= len(each.arguments) <= 2 or each.spread:
                raise each.fail("Invalid type", "optional takes a type and perhaps a default")
            if len(each.arguments) == 2:
                default = each.arguments[1]
            each = each.arguments[0]
        part = inner[name] = constraint_of(each)
        types[name] = part.type
        if default is not None:
            try:
                defaults[name] = part.apply(default.value(Scope({}, functions=False)))
            except ConvertError as failure:
                raise default.fail("Unsuitable default", str(failure)) from None
    return TypeConstraint(object_type(types, frozenset(optional)), defaults, inner)
