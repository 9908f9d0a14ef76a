"""Job bodies as the API carries them: keys without regard to case in, exact keys and types out."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from rove.errors import BadRequestError
from rove.structs.job import Job, MigrateStrategy, ReschedulePolicy

from .durations import INT64_MAX, parse_duration
from .problem import clean
from .schema import JOB, Attr, Body, Kind

DEPTH_MAX = 200
"""Nesting of free-form values; far above any real job, far below the interpreter's stack."""

OBJECTS_MAX = 300_000
"""Objects and lists in one job, at whatever depth."""
VALUES_MAX = 1_000_000
"""Values in one job, at whatever depth."""
GROUPS_MAX = 10_000
TASKS_MAX = 20_000

Reader = Callable[[Any, str], Any]


def decode_api_job(raw: bytes | str | Mapping[str, Any]) -> dict[str, Any]:
    """A job's API form from a request body: exact keys, unknown ones dropped, duration texts made nanoseconds.

    The job may stand alone or as ``{"Job": {...}}``. Keys match without regard to case, as Go's decoder has it.
    Raises BadRequestError with the path of the first value of a wrong type. Defaults are `canonicalize`'s work.
    """
    value: Any = raw
    if isinstance(raw, bytes | str):
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise BadRequestError("job.json", "the job is not JSON", why=_reason(error)) from None
    if not isinstance(value, dict):
        raise _wrong("", "an object", value)
    _check_size(value)
    if len(value) <= 16 and "ID" not in value:
        wrapped = next((item for key, item in value.items() if key.lower() == "job"), None)
        if isinstance(wrapped, dict):
            value = wrapped
    job: dict[str, Any] = _job_reader()(value, "")
    groups = job.get("TaskGroups") or ()
    if len(groups) > GROUPS_MAX or sum(len(each.get("Tasks") or ()) for each in groups if each) > TASKS_MAX:
        raise BadRequestError("job.too_large", f"a job may have {GROUPS_MAX} groups and {TASKS_MAX} tasks")
    return job


def _check_size(value: dict[str, Any]) -> None:
    """Refuse what would take minutes and gigabytes to turn into a job. Raises BadRequestError."""
    objects = values = 0
    stack: list[Any] = [value]
    while stack:
        top = stack.pop()
        objects += 1
        values += len(top)
        if objects > OBJECTS_MAX or values > VALUES_MAX:
            raise BadRequestError(
                "job.too_large", "the job is too large",
                f"it has more than {OBJECTS_MAX} objects and lists, or more than {VALUES_MAX} values",
                "make several jobs of it",
            )  # fmt: skip
        stack.extend([each for each in (top.values() if type(top) is dict else top) if type(each) in (dict, list)])


def job_to_api(job: Job) -> dict[str, Any]:
    """The job as plain values with the API's keys, ready for JSON; an empty list is [], never null."""
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(job))
    return value


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]


def _wrong(path: str, wanted: str, value: Any) -> BadRequestError:
    where = clean(path[:200]) or "the body"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    found = names.get(type(value), "a number")
    return BadRequestError("job.type", f"{where} has the wrong type", why=f"{wanted} was expected, {found} was sent")


@cache
def _job_reader() -> Reader:
    """The reader of a whole job, made from the structs once; durations are known from the schema."""
    extra = {"Reschedule": ReschedulePolicy, "Migrate": MigrateStrategy}
    return _struct_reader(Job, _durations(JOB), extra)


def _durations(body: Body) -> dict[str, Any]:
    """Which keys of a block are durations: True, or a nested map of the same kind."""
    found: dict[str, Any] = {}
    for attr in body.attrs.values():
        if attr.key and _is_time(attr):
            found[attr.key] = True
    for nest in body.blocks.values():
        if nest.key:
            found[nest.key] = _durations(nest.body)
    if body.name == "task":
        found["Identity"] = found["Identities"]
    return found


def _is_time(attr: Attr) -> bool:
    return attr.kind is Kind.DURATION


def _struct_reader(struct: type, durations: dict[str, Any], extra: Mapping[str, type] | None = None) -> Reader:
    hints = typing.get_type_hints(struct)
    table: dict[str, tuple[str, Reader]] = {}
    for field in msgspec.structs.fields(struct):
        key = field.encode_name
        table[key] = (key, _reader(hints[field.name], durations.get(key)))
    for key, kind in (extra or {}).items():
        table[key] = (key, _struct_reader(kind, durations.get(key) or {}))
    lower = {key.lower(): entry for key, entry in table.items()}

    def read(value: Any, path: str) -> Any:
        if value is None:
            return None
        if type(value) is not dict:
            raise _wrong(path, "an object", value)
        out = {}
        for key, item in value.items():
            entry = table.get(key) or lower.get(key.lower())
            if entry is not None:
                name = entry[0]
                out[name] = None if item is None else entry[1](item, f"{path}.{name}" if path else name)
        return out

    return read


def _reader(hint: Any, duration: Any) -> Reader:
    """The reader for values of a type; `duration` says whether the integer is one."""
    origin = typing.get_origin(hint)
    args = typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        return _reader(next(arg for arg in args if arg is not type(None)), duration)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct_reader(hint, duration if isinstance(duration, dict) else {})
    if origin is tuple or origin is list:
        return _list_reader(_reader(args[0], duration))
    if origin is dict:
        if args[1] is Any:
            return _read_free
        return _map_reader(_reader(args[1], duration))
    if hint is int:
        return _read_time if duration is True else _read_int
    if hint is bool:
        return _read_bool
    if hint is Any:
        return _read_free
    return _read_text


def _list_reader(each: Reader) -> Reader:
    def read(value: Any, path: str) -> Any:
        if type(value) is not list:
            raise _wrong(path, "a list", value)
        return [None if item is None else each(item, f"{path}[{at}]") for at, item in enumerate(value)]

    return read


def _map_reader(each: Reader) -> Reader:
    def read(value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise _wrong(path, "an object", value)
        return {key: each("" if item is None else item, f"{path}.{key}") for key, item in value.items()}

    return read


def _read_text(value: Any, path: str) -> Any:
    if type(value) is not str:
        raise _wrong(path, "text", value)
    return value


def _read_bool(value: Any, path: str) -> Any:
    if type(value) is not bool:
        raise _wrong(path, "true or false", value)
    return value


def _read_int(value: Any, path: str) -> Any:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not -INT64_MAX <= value <= INT64_MAX:
        raise _wrong(path, "a whole number of 64 bits", value)
    return value


def _read_time(value: Any, path: str) -> Any:
    if type(value) is str:
        ns = parse_duration(value)
        if ns is None:
            raise _wrong(path, 'nanoseconds, or a duration such as "30s",', value)
        return ns
    return _read_int(value, path)


def _read_free(value: Any, path: str) -> Any:
    if type(value) is not dict:
        raise _wrong(path, "an object", value)
    _check_free(value, path, 0)
    return value


def _check_free(value: Any, path: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise BadRequestError(
            "job.depth", f"{clean(path[:200])} is nested too deeply", why=f"{DEPTH_MAX} levels are the limit"
        )
    kind = type(value)
    if kind is dict:
        for item in value.values():
            _check_free(item, path, depth + 1)
    elif kind is list:
        for item in value:
            _check_free(item, path, depth + 1)
    elif kind is int and not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise _wrong(path, "numbers of 64 bits", value)
