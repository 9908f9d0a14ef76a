"""Types as Go's cty has them, and the values that need more than a plain Python type to be told apart.

A type is the text "string", "number", "bool" or "any", or a tuple: ("list", T), ("set", T), ("map", T),
("tuple", (T, ...)), ("object", ((name, T), ...), optional names). A value is str, int or `Big`, bool, None (null of
any type), `tuple` (tuple), `ListOf`, `SetOf`, `dict` (object) or `MapOf`.
"""

from __future__ import annotations

from typing import Any

from rove.jobspec.hcl.limits import ELEMENT_WEIGHT
from rove.jobspec.hcl.numbers import Big, Number, compare, to_float

Type = Any
Value = Any

STRING = "string"
NUMBER = "number"
BOOL = "bool"
ANY = "any"
PRIMITIVES = (STRING, NUMBER, BOOL)


class ListOf(list[Any]):
    """A list whose elements all have type `element`."""

    __slots__ = ("element",)

    def __init__(self, items: Any, element: Type) -> None:
        super().__init__(items)
        self.element = element


class SetOf(list[Any]):
    """A set: no two elements alike, in cty's order."""

    __slots__ = ("element",)

    def __init__(self, items: Any, element: Type) -> None:
        super().__init__(_ordered(items))
        self.element = element


class MapOf(dict[str, Any]):
    """A map whose values all have type `element`."""

    __slots__ = ("element",)

    def __init__(self, items: Any, element: Type) -> None:
        super().__init__(items)
        self.element = element


def object_type(attributes: dict[str, Type], optional: frozenset[str] = frozenset()) -> Type:
    """The type of an object with these attributes."""
    return ("object", tuple(sorted(attributes.items())), optional)


def type_of(value: Value) -> Type:
    """The type of a value; that of null is "any"."""
    kind = type(value)
    if kind is str:
        return STRING
    if kind is int or kind is Big:
        return NUMBER
    if kind is bool:
        return BOOL
    if value is None:
        return ANY
    if kind is tuple:
        return ("tuple", tuple([type_of(each) for each in value]))
    if kind is dict:
        return object_type({name: type_of(each) for name, each in value.items()})
    if kind is ListOf:
        return ("list", value.element)
    if kind is SetOf:
        return ("set", value.element)
    return ("map", value.element)


def kind_of(type: Type) -> str:
    """The outermost word of a type."""
    return type if isinstance(type, str) else type[0]


def friendly(type: Type) -> str:
    """A type as people call it."""
    if isinstance(type, str):
        return "any type" if type == ANY else type
    kind = str(type[0])
    if kind in ("tuple", "object"):
        return kind
    return f"{kind} of {friendly(type[1])}"


def without_optional(type: Type) -> Type:
    """The type with every attribute required, as values have it."""
    if isinstance(type, str):
        return type
    if type[0] == "object":
        return ("object", tuple((name, without_optional(each)) for name, each in type[1]), frozenset())
    if type[0] == "tuple":
        return ("tuple", tuple(without_optional(each) for each in type[1]))
    return (type[0], without_optional(type[1]))


def is_number(value: Value) -> bool:
    """Whether the value is a number (bool is none)."""
    return type(value) is int or type(value) is Big


def equal(left: Value, right: Value) -> bool:
    """Whether two values are the same: of one type and equal all the way down. Null equals only null."""
    if left is None or right is None:
        return left is right
    kind = type(left)
    if kind is not type(right):
        return {kind, type(right)} <= {int, Big} and left == right
    if kind in (str, int, bool, Big):
        return bool(left == right)
    if isinstance(left, dict):
        if isinstance(left, MapOf) and left.element != right.element and left and right:
            return False
        return left.keys() == right.keys() and all(equal(each, right[name]) for name, each in left.items())
    if kind is ListOf and left.element != right.element and left and right:
        return False
    return len(left) == len(right) and all(map(equal, left, right))


def key_of(value: Value) -> Any:
    """A hashable stand-in, equal exactly for equal values."""
    kind = type(value)
    if kind in (str, int, Big) or value is None:
        return value
    if kind is bool:
        return ("bool", value)
    if isinstance(value, dict):
        return (kind.__name__, tuple(sorted((name, key_of(each)) for name, each in value.items())))
    return (kind.__name__, tuple([key_of(each) for each in value]))


def _ordered(items: Any) -> list[Any]:
    unique: dict[Any, Any] = {}
    for item in items:
        unique.setdefault(key_of(item), item)
    return sorted(unique.values(), key=_set_rank)


def _set_rank(value: Value) -> Any:
    """cty's order of set elements: strings and numbers by value, false before true, nulls last."""
    if value is None:
        return (1, 0)
    if isinstance(value, str):
        return (0, value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bool):
        return (0, value)
    if isinstance(value, int | Big):
        return (0, _Ranked(value))
    return (0, _hash_text(value))


def _hash_text(value: Value) -> str:
    """The text by which cty orders compound set elements."""
    if value is None:
        return "~"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, int | Big):
        return f"{to_float(value):.10g}"
    if isinstance(value, MapOf):
        return "{" + "".join([f'"{name}":{_hash_text(value[name])};' for name in sorted(value)]) + "}"
    if isinstance(value, dict):
        return "<" + "".join([f"{_hash_text(value[name])};" for name in sorted(value)]) + ">"
    body = "".join([f"{_hash_text(each)};" for each in value])
    return f"<{body}>" if isinstance(value, tuple) else f"[{body}]"


class _Ranked:
    __slots__ = ("value",)

    def __init__(self, value: Number) -> None:
        self.value = value

    def __lt__(self, other: _Ranked) -> bool:
        return compare(self.value, other.value) < 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ranked) and self.value == other.value


def items_of(value: Value) -> list[tuple[Any, Any]]:
    """(key, value) pairs of a collection in iteration order: indexes, sorted names, or a set's elements twice."""
    if isinstance(value, dict):
        return [(name, value[name]) for name in sorted(value, key=_utf8)]
    if isinstance(value, SetOf):
        return [(each, each) for each in value]
    return list(enumerate(value))


def _utf8(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def sorted_names(value: dict[str, Any]) -> list[str]:
    """Names in byte order, as Go sorts them."""
    return sorted(value) if all(map(str.isascii, value)) else sorted(value, key=_utf8)


def plain(value: Value) -> Any:
    """The value in Python's own types: fractions become float, lists, sets and tuples list, maps and objects dict."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is Big:
        return to_float(value)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value]


def weigh(value: Value, limit: int) -> int:
    """How much a value holds, as `limits` counts it. Stops counting beyond `limit`."""
    if type(value) is str:
        return len(value)
    if not isinstance(value, list | tuple | dict):
        return 1
    total = 1
    stack: list[Any] = [value]
    while stack:
        top = stack.pop()
        total += ELEMENT_WEIGHT * len(top)
        if isinstance(top, dict):
            total += sum(map(len, top))
            top = top.values()
        for each in top:
            if type(each) is str:
                total += len(each)
            elif isinstance(each, list | tuple | dict):
                stack.append(each)
        if total > limit:
            return total
    return total
