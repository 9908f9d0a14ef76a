"""Request keys matched without regard to case, as Go's decoder does."""

from __future__ import annotations

import functools
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec


def fold(value: Any, kind: Any) -> Any:
    """`value` with the keys of structs in `kind` spelt as `kind` spells them, and nulls of structs left out.

    value: plain JSON values. An exact key wins over one that differs in case.
    """
    target = _struct_of(kind)
    if target is not None:
        return _fold_struct(value, target) if isinstance(value, dict) else value
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = next((arg for arg in args if arg is not type(None)), Any)
        return fold(value, inner)
    if origin in (list, tuple) and isinstance(value, list) and args:
        return [fold(item, args[0]) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: fold(item, args[1]) for key, item in value.items()}
    return value


def _fold_struct(value: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    table = _fields(kind)
    folded: dict[str, Any] = {}
    for key, item in value.items():
        known = table.get(key.lower())
        if known is None or item is None:
            continue
        name, field_kind = known
        if name == key or name not in value:
            folded[name] = fold(item, field_kind)
    return folded


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, tuple[str, Any]]:
    hints = get_type_hints(kind)
    pairs = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return {encoded.lower(): (encoded, hints[name]) for name, encoded in pairs}


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None
