"""A node's meta: what its configuration says, and what was changed while it runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from rove.errors import BadRequestError

KEYS_MAX = 1_000
KEY_MAX = 256
VALUE_MAX = 4_096
"""Characters."""

Changes = Mapping[str, str | None]
"""Values by key; None takes a key away, also one of the configuration."""


def with_changes(static: Mapping[str, str], changes: Changes) -> dict[str, str]:
    """The meta as jobs see it."""
    merged: dict[str, str | None] = {**static, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def merged_changes(static: Mapping[str, str], before: Changes, new: Changes) -> dict[str, str | None]:
    """All changes after some more of them. What takes away a key that is not in the configuration is forgotten.

    Raises `BadRequestError` for keys and values that no job could use, or too many of them.
    """
    for key, value in new.items():
        _check(key, value)
    merged = {key: value for key, value in {**before, **new}.items() if value is not None or key in static}
    if len(merged) > KEYS_MAX:
        raise BadRequestError("node.meta", "the node's meta was not changed", f"it may have {KEYS_MAX} changed keys")
    return merged


def _check(key: str, value: str | None) -> None:
    shown = key[:60]
    if not key or len(key) > KEY_MAX or not key.isprintable() or any(character in key for character in " {}\"'$"):
        raise BadRequestError(
            "node.meta", "the node's meta was not changed", f'"{shown}" is no key',
            f"use letters, digits, dots, dashes and underscores, at most {KEY_MAX}",
        )  # fmt: skip
    if value is not None and (len(value) > VALUE_MAX or "\0" in value):
        raise BadRequestError(
            "node.meta", "the node's meta was not changed", f'the value of "{shown}" is too long or holds a zero byte',
            f"a value has at most {VALUE_MAX} characters",
        )  # fmt: skip
