"""A failed exec says why in the text of its close frame, which holds 123 bytes."""

from __future__ import annotations

from rove.api.exec import reason_of
from rove.errors import NotFoundError


def test_a_short_failure_is_whole() -> None:
    error = NotFoundError("a.b", "no such thing", "it went away")
    assert reason_of(error).decode() == error.text()


def test_a_longer_one_keeps_what_happened_and_why() -> None:
    error = NotFoundError("some.long_code", "the command was not run", "program 'x' was not found in PATH " + "y" * 20,
                          "a long advice on what to do about it that does not fit in here any more")  # fmt: skip
    assert reason_of(error).decode() == f"{error.what}: {error.why}"


def test_a_very_long_one_is_cut_between_letters_and_marked() -> None:
    reason = reason_of(NotFoundError("a.b", "ü" * 300))
    assert len(reason) <= 123
    assert reason.decode().endswith("…")
