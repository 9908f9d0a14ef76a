"""Functions on lists, sets, tuples, maps and objects."""

from __future__ import annotations

from typing import Any

from rove.jobspec.hcl import limits, numbers
from rove.jobspec.hcl.convert import convert, unify
from rove.jobspec.hcl.functions import FunctionError, function
from rove.jobspec.hcl.functions.arithmetic import whole
from rove.jobspec.hcl.numbers import Number
from rove.jobspec.hcl.types import (
    ANY,
    NUMBER,
    STRING,
    ListOf,
    MapOf,
    SetOf,
    Value,
    equal,
    friendly,
    is_number,
    items_of,
    key_of,
    sorted_names,
    type_of,
)

_LIST = ("list", ANY)
_LIST_OF_TEXT = ("list", STRING)
_SET = ("set", ANY)


def _sequence(value: Value, argument: int, *, sets: bool = True) -> Any:
    if isinstance(value, tuple | ListOf) or (sets and isinstance(value, SetOf)):
        return value
    what = "a list, set or tuple" if sets else "a list or tuple"
    raise FunctionError(f"{what} is required, not {friendly(type_of(value))}", argument)


def _mapping(value: Value, argument: int) -> Any:
    if isinstance(value, dict):
        return value
    raise FunctionError(f"a map or object is required, not {friendly(type_of(value))}", argument)


@function("chunklist", _LIST, NUMBER)
def chunk_list(items: ListOf, size: Number) -> Value:
    count = whole(size, 1)
    if count < 0:
        raise FunctionError("the size must not be negative", 1)
    chunks = [items] if count == 0 and items else [items[at : at + count] for at in range(0, len(items), count or 1)]
    return ListOf([ListOf(each, items.element) for each in chunks], ("list", items.element))


@function("coalesce", rest=ANY, nulls=(0,))
def coalesce(*values: Value) -> Value:
    if not values:
        raise FunctionError("at least one argument is required")
    shared = unify([type_of(each) for each in values])
    if shared is None:
        raise FunctionError("all arguments must have the same type")
    for each in values:
        if each is not None:
            return convert(each, shared)
    raise FunctionError("all arguments are null")


@function("coalescelist", rest=ANY, nulls=(0,))
def coalesce_list(*values: Value) -> Value:
    if not values:
        raise FunctionError("at least one argument is required")
    for at, each in enumerate(values):
        _sequence(each, at, sets=False)
    for each in values:
        if each:
            return each
    raise FunctionError("all lists are empty")


@function("compact", _LIST_OF_TEXT)
def compact(items: ListOf) -> Value:
    return ListOf([each for each in items if each], STRING)


@function("concat", rest=ANY)
def concat(*sequences: Value) -> Value:
    if not sequences:
        raise FunctionError("at least one argument is required")
    for at, each in enumerate(sequences):
        _sequence(each, at, sets=False)
    joined = [item for each in sequences for item in each]
    if all(isinstance(each, ListOf) for each in sequences):
        shared = unify([each.element for each in sequences])
        if shared is not None:
            return ListOf([convert(each, shared) for each in joined], shared)
    return tuple(joined)


@function("contains", ANY, ANY)
def contains(items: Value, wanted: Value) -> Value:
    return any(equal(each, wanted) for each in _sequence(items, 0))


@function("distinct", _LIST)
def distinct(items: ListOf) -> Value:
    return ListOf(_first_of_each(items), items.element)


def _first_of_each(items: list[Value]) -> list[Value]:
    seen: dict[Any, Value] = {}
    for each in items:
        seen.setdefault(key_of(each), each)
    return list(seen.values())


@function("element", ANY, NUMBER)
def element(items: Value, index: Number) -> Value:
    found = _sequence(items, 0, sets=False)
    place = whole(index, 1)
    if not found:
        raise FunctionError("the list has no elements", 0)
    return found[place % len(found)]  # -1 is the last one, as in newer versions of Go's library


@function("flatten", ANY)
def flatten(items: Value) -> Value:
    made: list[Value] = []
    stack = [iter(_sequence(items, 0))]
    while stack:
        for each in stack[-1]:
            if isinstance(each, tuple | list):
                stack.append(iter(each))
                break
            made.append(each)
        else:
            stack.pop()
    return tuple(made)


@function("index", ANY, ANY)
def index(items: Value, wanted: Value) -> Value:
    """The element of a list or tuple by number, or of a map by name."""
    if isinstance(items, MapOf):
        if not isinstance(wanted, str):
            raise FunctionError("a map is asked by name", 1)
        if wanted in items:
            return items[wanted]
        raise FunctionError("there is no such element", 1)
    found = _sequence(items, 0, sets=False)
    if not is_number(wanted):
        raise FunctionError("a list is asked by number", 1)
    place = whole(wanted, 1)
    if 0 <= place < len(found):
        return found[place]
    raise FunctionError("there is no such element", 1)


@function("keys", ANY)
def keys(mapping: Value) -> Value:
    names = sorted_names(_mapping(mapping, 0))
    return ListOf(names, STRING) if isinstance(mapping, MapOf) else tuple(names)


@function("length", ANY)
def length(value: Value) -> Value:
    if isinstance(value, list | tuple | MapOf):
        return len(value)
    hint = ""
    if isinstance(value, str | dict):
        hint = "; strlen() counts characters" if isinstance(value, str) else "; length(keys(x)) counts attributes"
    raise FunctionError(f"{friendly(type_of(value))} has no length{hint}", 0)


@function("lookup", ANY, STRING, ANY)
def lookup(mapping: Value, name: str, default: Value) -> Value:
    found = _mapping(mapping, 0)
    if isinstance(found, MapOf):
        if name in found:
            return found[name]
        return convert(default, found.element)
    return found.get(name, default)


@function("merge", rest=ANY, nulls=(0,))
def merge(*mappings: Value) -> Value:
    made: dict[str, Value] = {}
    present = [_mapping(each, at) for at, each in enumerate(mappings) if each is not None]
    for each in present:
        made.update(each)
    elements = {each.element if isinstance(each, MapOf) else None for each in mappings}
    if present and len(elements) == 1 and None not in elements:
        return MapOf(made, present[0].element)
    return made


@function("range", rest=NUMBER)
def range_(*given: Number) -> Value:
    if not 1 <= len(given) <= 3:
        raise FunctionError("one, two or three numbers are required")
    start, end = (0, given[0]) if len(given) == 1 else given[:2]
    step = given[2] if len(given) == 3 else (-1 if numbers.compare(end, start) < 0 else 1)
    direction = numbers.compare(step, 0)
    if direction == 0:
        raise FunctionError("the step must not be zero", 2)
    if numbers.compare(end, start) * direction < 0:
        raise FunctionError("the step leads away from the end", 1)
    made: list[Number] = []
    at = start
    while numbers.compare(at, end) * direction < 0:
        if len(made) >= limits.RANGE_MAX:
            raise FunctionError(f"at most {limits.RANGE_MAX} numbers are made")
        made.append(at)
        at = numbers.add(at, step)
    return ListOf(made, NUMBER)


@function("setintersection", _SET, rest=_SET)
def set_intersection(*sets: Any) -> Value:
    shared, alike = _alike(sets)
    kept = set(map(key_of, alike[0]))
    for each in alike[1:]:
        kept &= set(map(key_of, each))
    return SetOf([each for each in alike[0] if key_of(each) in kept], shared)


@function("setunion", _SET, rest=_SET)
def set_union(*sets: Any) -> Value:
    shared, alike = _alike(sets)
    return SetOf([each for one in alike for each in one], shared)


def _alike(sets: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    elements = [each.element for each in sets if each or each.element != ANY]
    if not elements:
        return ANY, list(sets)
    shared = unify(elements)
    if shared is None:
        raise FunctionError("the elements of the sets have no type in common")
    return shared, [convert(each, ("set", shared)) for each in sets]


@function("setproduct", rest=ANY)
def set_product(*sets: Value) -> Value:
    if len(sets) < 2:
        raise FunctionError("at least two arguments are required")
    types = []
    total = 1
    for at, each in enumerate(sets):
        shared = (
            each.element if isinstance(_sequence(each, at), list) else unify([type_of(one) for one in each] or [ANY])
        )
        if shared is None:
            raise FunctionError("all elements must have the same type", at)
        types.append(shared)
        total *= len(each)
    if total * len(sets) > limits.ITEMS_MAX:
        raise FunctionError(f"the result would have more than {limits.ITEMS_MAX} elements")
    rows: list[tuple[Value, ...]] = [()] if total else []
    for each, shared in zip(sets, types, strict=True):
        column = [convert(one, shared) for one in each]
        rows = [(*row, one) for row in rows for one in column]
    kind = SetOf if any(isinstance(each, SetOf) for each in sets) else ListOf
    return kind(rows, ("tuple", tuple(types)))


@function("slice", ANY, NUMBER, NUMBER)
def slice_(items: Value, start: Number, end: Number) -> Value:
    found = _sequence(items, 0, sets=False)
    first, last = whole(start, 1), whole(end, 2)
    if not 0 <= first <= len(found):
        raise FunctionError(f"the start must be from 0 to {len(found)}", 1)
    if not 0 <= last <= len(found):
        raise FunctionError(f"the end must be from 0 to {len(found)}", 2)
    if first > last:
        raise FunctionError("the start must not be after the end", 1)
    return ListOf(found[first:last], found.element) if isinstance(found, ListOf) else found[first:last]


@function("sort", _LIST_OF_TEXT)
def sort(items: ListOf) -> Value:
    if None in items:
        raise FunctionError("an element is null", 0)
    return ListOf(sorted(items, key=lambda each: each.encode("utf-8", "surrogatepass")), STRING)


@function("values", ANY)
def values(mapping: Value) -> Value:
    found = [each for _, each in items_of(_mapping(mapping, 0))]
    return ListOf(found, mapping.element) if isinstance(mapping, MapOf) else tuple(found)


@function("zipmap", _LIST_OF_TEXT, ANY)
def zip_map(names: ListOf, items: Value) -> Value:
    found = _sequence(items, 1, sets=False)
    if len(names) != len(found):
        raise FunctionError(f"{len(names)} keys do not match {len(found)} values")
    if None in names:
        raise FunctionError("a key is null", 0)
    made = dict(zip(names, found, strict=True))
    return MapOf(made, found.element) if isinstance(found, ListOf) else made
