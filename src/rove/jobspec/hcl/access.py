"""What a name or a key reaches in a value."""

from __future__ import annotations

from typing import Any

from rove.jobspec.hcl.scope import POISONED, EvalError, PoisonedError

Value = Any


def attribute(found: Value, name: str, start: int, end: int, path: str) -> Value:
    """`found.name`. Raises EvalError."""
    if isinstance(found, dict):
        if name in found:
            return found[name]
        raise _no_attribute(found, name, path, start, end)
    if found is None:
        raise EvalError("Attribute of null", f'a null value has no attribute "{name}"', start, end)
    if found is POISONED:
        raise PoisonedError("Failed before", "", start, end)
    from rove.jobspec.hcl.types import friendly, type_of

    hint = "; take one element with [0] or all with [*]" if isinstance(found, list | tuple) else ""
    what = friendly(type_of(found)) if not isinstance(found, list | tuple) else "a sequence"
    raise EvalError("No such attribute", f'{what} has no attribute "{name}"{hint}', start, end)


def _no_attribute(found: dict[str, Value], name: str, path: str, start: int, end: int) -> EvalError:
    if path == "var":
        words = ("Unknown variable", f'no variable "{name}" is declared')
    elif path == "local":
        words = ("Unknown local value", f'no local value "{name}" is declared')
    else:
        words = ("No such attribute", f'the object has no attribute "{name}"')
    failure = EvalError(*words, start, end)
    failure.mistyped = (name, found)
    return failure


def look_up(found: Value, key: Value, start: int, end: int, path: str) -> Value:
    """`found[key]`. Raises EvalError."""
    from rove.jobspec.hcl.operators import index

    if isinstance(found, dict) and type(key) is str and key in found:
        return found[key]
    if found is POISONED:
        raise PoisonedError("Failed before", "", start, end)
    if isinstance(found, dict) and type(key) is str and path in ("var", "local"):
        raise _no_attribute(found, key, path, start, end)
    return index(found, key, start, end)
