"""Conversions between types, and the one type several values can share, with Go cty's rules and quirks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rove.jobspec.hcl.numbers import Big, NumberError
from rove.jobspec.hcl.numbers import parse as parse_number
from rove.jobspec.hcl.numbers import text as number_text
from rove.jobspec.hcl.types import (
    ANY,
    BOOL,
    NUMBER,
    PRIMITIVES,
    STRING,
    ListOf,
    MapOf,
    SetOf,
    Type,
    Value,
    friendly,
    kind_of,
    object_type,
    type_of,
    without_optional,
)

Conversion = Callable[[Value], Value]


class ConvertError(ValueError):
    """A value that cannot become the wanted type; the text says why."""


def to_text(value: Value) -> str:
    """A primitive as text. Raises ConvertError for anything else, null too."""
    if type(value) is str:
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int | Big):
        return number_text(value)
    if value is None:
        raise ConvertError("a string is required, not null")
    raise ConvertError(f"a string is required, not {_a(type_of(value))}")


def to_number(value: Value) -> int | Big:
    """A number, or text that reads as one."""
    if isinstance(value, int | Big) and value is not True and value is not False:
        return value
    if isinstance(value, str):
        try:
            return parse_number(value)
        except NumberError as failure:
            raise ConvertError(str(failure)) from None
    if value is None:
        raise ConvertError("a number is required, not null")
    raise ConvertError(f"a number is required, not {_a(type_of(value))}")


def to_bool(value: Value) -> bool:
    """A bool, or the text "true", "false", "1" or "0"."""
    if value is True or value is False:
        return value
    if isinstance(value, str):
        if value in ("true", "1"):
            return True
        if value in ("false", "0"):
            return False
        if value.lower() in ("true", "false"):
            raise ConvertError(f"a bool is required; as text it is written in small letters: {value.lower()!r}")
        raise ConvertError("a bool is required")
    if value is None:
        raise ConvertError("a bool is required, not null")
    raise ConvertError(f"a bool is required, not {_a(type_of(value))}")


def _a(type: Type) -> str:
    name = friendly(type)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}" if name != "any type" else "null"


def convert(value: Value, want: Type) -> Value:
    """The value as type `want`. Raises ConvertError."""
    if want == ANY or value is None:
        return value
    if want == STRING:
        return to_text(value)
    if want == NUMBER:
        return to_number(value)
    if want == BOOL:
        return to_bool(value)
    have = type_of(value)
    if have == without_optional(want):
        return value
    conversion = find(have, want, unsafe=True)
    if conversion is None:
        raise ConvertError(mismatch(have, want))
    return conversion(value)


def _keep(value: Value) -> Value:
    return value


def _null_safe(conversion: Conversion) -> Conversion:
    return lambda value: None if value is None else conversion(value)


def find(have: Type, want: Type, unsafe: bool) -> Conversion | None:
    """How values of type `have` become `want`, None if they cannot. unsafe: it may fail for some values."""
    if have == want or want == ANY:
        return _keep
    if have == ANY:
        return (lambda value: convert(value, want)) if unsafe else None
    if isinstance(have, str) and isinstance(want, str):
        return _find_primitive(have, want, unsafe)
    conversion = _find_collection(have, want, unsafe)
    return None if conversion is None else _null_safe(conversion)


def _find_primitive(have: Type, want: Type, unsafe: bool) -> Conversion | None:
    if want == STRING:
        return _null_safe(to_text)
    if unsafe and have == STRING:
        return _null_safe(to_number if want == NUMBER else to_bool)
    return None


def _find_collection(have: Type, want: Type, unsafe: bool) -> Conversion | None:
    source, target = kind_of(have), kind_of(want)
    if source in ("list", "set") and target in ("list", "set"):
        if source == "list" and target == "set" and not unsafe:
            return None
        return _sequence(have[1], want[1], target, unsafe)
    if source == "tuple" and target in ("list", "set"):
        return _tuple_to_sequence(have[1], want[1], target, unsafe)
    if source == "tuple" and target == "tuple":
        return _tuple_to_tuple(have[1], want[1], unsafe)
    if source == "map" and target == "map":
        return _map_to_map(have[1], want[1], unsafe)
    if source == "object" and target == "map":
        return _object_to_map(dict(have[1]), want[1], unsafe)
    if source == "object" and target == "object":
        return _object_to_object(dict(have[1]), dict(want[1]), want[2], unsafe)
    if source == "map" and target == "object" and unsafe:
        return _map_to_object(have[1], dict(want[1]), want[2])
    return None


def _sequence(have: Type, want: Type, target: str, unsafe: bool) -> Conversion | None:
    element = find(have, want, unsafe)
    if element is None:
        return None

    def conversion(value: Value) -> Value:
        return _gather([element(each) for each in value], target, have if want == ANY else want)

    return conversion


def _gather(items: list[Value], target: str, element: Type) -> Value:
    """Elements as list or set, of the type they share."""
    element = without_optional(element)
    if _has_any(element):
        element, items = settle(items, element)
    return ListOf(items, element) if target == "list" else SetOf(items, element)


def _has_any(type: Type) -> bool:
    if isinstance(type, str):
        return type == ANY
    if type[0] == "object":
        return any(_has_any(each) for _, each in type[1])
    if type[0] == "tuple":
        return any(map(_has_any, type[1]))
    return _has_any(type[1])


def settle(items: list[Value], element: Type) -> tuple[Type, list[Value]]:
    """Give elements that were made with an open type the one type they share."""
    types = [type_of(each) for each in items if each is not None]
    if not types:
        return element, items
    shared = unify(types)
    if shared is None:
        raise ConvertError("the elements have no type in common")
    return shared, [convert(each, shared) for each in items]


def _tuple_to_sequence(have: tuple[Type, ...], want: Type, target: str, unsafe: bool) -> Conversion | None:
    if not have:
        return lambda value: _gather([], target, want)
    if want == ANY:
        shared = unify(have, unsafe)
        if shared is None or (shared == ANY and any(each != ANY for each in have)):
            return None
        want = shared
    elements = [find(each, want, unsafe) for each in have]
    if None in elements:
        return None

    def conversion(value: Value) -> Value:
        return _gather([change(each) for change, each in zip(elements, value, strict=True) if change], target, want)

    return conversion


def _tuple_to_tuple(have: tuple[Type, ...], want: tuple[Type, ...], unsafe: bool) -> Conversion | None:
    if len(have) != len(want):
        return None
    elements = [find(each, wanted, unsafe) for each, wanted in zip(have, want, strict=True)]
    if None in elements:
        return None
    return lambda value: tuple([change(each) for change, each in zip(elements, value, strict=True) if change])


def _map_to_map(have: Type, want: Type, unsafe: bool) -> Conversion | None:
    element = find(have, want, unsafe)
    if element is None:
        return None

    def conversion(value: Value) -> Value:
        return _gather_map({name: element(each) for name, each in value.items()}, have if want == ANY else want)

    return conversion


def _gather_map(items: dict[str, Value], element: Type) -> Value:
    element = without_optional(element)
    if _has_any(element):
        element, values = settle(list(items.values()), element)
        items = dict(zip(items, values, strict=True))
    return MapOf(items, element)


def _object_to_map(have: dict[str, Type], want: Type, unsafe: bool) -> Conversion | None:
    if not have:
        return lambda value: _gather_map({}, want)
    if want == ANY:
        shared = unify(list(have.values()), unsafe)
        if shared is None:
            return None
        want = shared
    elements = {name: find(each, want, unsafe) for name, each in have.items()}
    if None in elements.values():
        return None

    def conversion(value: Value) -> Value:
        return _gather_map({name: change(value[name]) for name, change in elements.items() if change}, want)

    return conversion


def _object_to_object(
    have: dict[str, Type], want: dict[str, Type], optional: frozenset[str], unsafe: bool
) -> Conversion | None:
    elements: dict[str, Conversion] = {}
    for name, wanted in want.items():
        if name not in have:
            if name in optional:
                continue
            return None
        change = find(have[name], wanted, unsafe)
        if change is None:
            return None
        elements[name] = change

    def conversion(value: Value) -> Value:
        return {name: elements[name](value[name]) if name in elements else None for name in want}

    return conversion


def _map_to_object(have: Type, want: dict[str, Type], optional: frozenset[str]) -> Conversion | None:
    elements: dict[str, Conversion | None] = {}
    for name, wanted in want.items():
        elements[name] = find(have, wanted, unsafe=True)
        if elements[name] is None and name not in optional:
            return None

    def conversion(value: Value) -> Value:
        made: dict[str, Value] = {}
        for name, change in elements.items():
            if name not in value:
                if name not in optional:
                    raise ConvertError(f'the map has no element for the required attribute "{name}"')
                made[name] = None
            elif change is None:
                raise ConvertError(f'the map\'s elements do not fit the attribute "{name}"')
            else:
                made[name] = change(value[name])
        return made

    return conversion


def mismatch(have: Type, want: Type) -> str:
    """Why a type cannot become another."""
    if kind_of(have) == "object" and kind_of(want) == "object":
        attributes = dict(have[1])
        missing = [name for name, _ in want[1] if name not in attributes and name not in want[2]]
        if missing:
            names = ", ".join(f'"{name}"' for name in missing)
            return f"the attribute{'s' if len(missing) > 1 else ''} {names} must be set"
        for name, wanted in want[1]:
            if name in attributes and find(attributes[name], wanted, unsafe=True) is None:
                return f'attribute "{name}": {mismatch(attributes[name], wanted)}'
    if kind_of(have) == "tuple" and kind_of(want) in ("list", "set"):
        if want[1] == ANY:
            return f"all elements of a {want[0]} must have the same type"
        for at, each in enumerate(have[1]):
            if find(each, want[1], unsafe=True) is None:
                return f"element {at}: {mismatch(each, want[1])}"
    if kind_of(have) == "tuple" and kind_of(want) == "tuple":
        return f"a tuple of {len(want[1])} elements is required, not of {len(have[1])}"
    if kind_of(have) == "object" and kind_of(want) == "map":
        for name, each in have[1]:
            if want[1] != ANY and find(each, want[1], unsafe=True) is None:
                return f'element "{name}": {mismatch(each, want[1])}'
        return "all elements of a map must have the same type"
    return f"{_a(want)} is required, not {_a(have)}"


def unify(types: Iterable[Type], unsafe: bool = True) -> Type | None:
    """The type all of these can become, None if there is none."""
    types = list(types)
    if not types:
        return None
    first = types[0]
    if all(each == first for each in types):
        return first
    kinds = [kind_of(each) for each in types]
    have = set(kinds)
    open_ones = ANY in have
    closed = have - {ANY}
    if len(closed) == 1 and (kind := next(iter(closed))) not in PRIMITIVES:
        if open_ones:
            return ANY
        return _unify_alike(kind, types, unsafe)
    if closed == {"map", "object"}:
        shared = _unify_mixed(types, "object", "map", unsafe)
        if shared is not None:
            return shared
    elif closed == {"list", "tuple"}:
        shared = _unify_mixed(types, "tuple", "list", unsafe)
        if shared is not None:
            return shared
    elif {"object", "tuple"} <= have:
        return None
    for want in _preferred(types):
        if all(each == want or find(each, want, unsafe) is not None for each in types):
            return want
    return None


def _unify_alike(kind: str, types: list[Type], unsafe: bool) -> Type | None:
    if kind == "object":
        return _unify_objects(types, unsafe)
    if kind == "tuple":
        return _unify_tuples(types, unsafe)
    element = unify([each[1] for each in types], unsafe)
    return None if element is None else _checked((kind, element), types, unsafe)


def _checked(shared: Type, types: list[Type], unsafe: bool) -> Type | None:
    return shared if all(find(each, shared, unsafe) is not None for each in types) else None


def _unify_objects(types: list[Type], unsafe: bool) -> Type | None:
    tables = [dict(each[1]) for each in types]
    names = tables[0].keys()
    if any(each.keys() != names for each in tables):
        return _objects_to_map(types, unsafe)
    shared = {name: unify([each[name] for each in tables], unsafe) for name in names}
    if None in shared.values():
        return None
    return _checked(object_type(shared), types, unsafe) or _objects_to_map(types, unsafe)


def _objects_to_map(types: list[Type], unsafe: bool) -> Type | None:
    element = unify([each for one in types for _, each in one[1]], unsafe)
    return None if element is None else _checked(("map", element), types, unsafe)


def _unify_tuples(types: list[Type], unsafe: bool) -> Type | None:
    if any(len(each[1]) != len(types[0][1]) for each in types):
        return _tuples_to_list(types, unsafe)
    shared = [unify(column, unsafe) for column in zip(*[each[1] for each in types], strict=True)]
    if None in shared:
        return None
    return _checked(("tuple", tuple(shared)), types, unsafe) or _tuples_to_list(types, unsafe)


def _tuples_to_list(types: list[Type], unsafe: bool) -> Type | None:
    element = unify([each for one in types for each in one[1]], unsafe)
    return None if element is None else _checked(("list", element), types, unsafe)


def _unify_mixed(types: list[Type], loose: str, strict: str, unsafe: bool) -> Type | None:
    """Objects beside maps, or tuples beside lists: the former become the latter first."""
    chosen = [each for each in types if kind_of(each) == loose]
    shared = _objects_to_map(chosen, unsafe) if loose == "object" else _tuples_to_list(chosen, unsafe)
    if shared is None:
        return None
    found = unify([shared if kind_of(each) == loose else each for each in types], unsafe)
    return found if found is not None and kind_of(found) == strict else None


def _preferred(types: list[Type]) -> list[Type]:
    """Types to try, most general first; those of equal standing in the order given."""
    distinct = list(dict.fromkeys(types))
    return sorted(distinct, key=_generality)


_GENERALITY = {STRING: 0, NUMBER: 1, BOOL: 1, "list": 0, "tuple": 1, "set": 2, "map": 0, "object": 1, ANY: 9}


def _generality(type: Type) -> int:
    return _GENERALITY[kind_of(type)]
