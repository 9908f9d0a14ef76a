"""Durations as Go writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rove.jobspec.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0), ("0s", 0), ("1ns", 1), ("1us", 1_000), ("1µs", 1_000), ("1ms", 1_000_000), ("1s", 10**9),
        ("1m", 60 * 10**9), ("1h", 3600 * 10**9), ("1h15m30.5s", 4530_500_000_000), ("-1.5h", -5400 * 10**9),
        ("+2s", 2 * 10**9), (".5s", 500_000_000), ("1.s", 10**9), ("1m1m", 120 * 10**9),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1d", "1 s", " 1s", "1s ", "1e3s", ".s", "--1s", "1S", "9" * 30 + "h", "1s" * 40, "٣s"]
)
def test_what_is_not_a_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_any_duration_survives_printing(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


def test_durations_are_printed_short() -> None:
    assert [format_duration(ns * 10**9) for ns in (0, 90, 300, 3600, 5400)] == ["0s", "1m30s", "5m", "1h", "1h30m"]
