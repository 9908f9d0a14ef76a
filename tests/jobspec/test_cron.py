"""Cron lines: read, refused with the part that is wrong, and their next time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rove.jobspec import CronError, parse_cron

NOON = datetime(2026, 11, 25, 12, 0, 0)  # a Wednesday


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("* * * * *", datetime(2026, 11, 25, 12, 1)),
        ("*/15 * * * *", datetime(2026, 11, 25, 12, 15)),
        ("5/20 * * * *", datetime(2026, 11, 25, 12, 5)),
        ("0 12 * * *", datetime(2026, 11, 26, 12, 0)),
        ("30 2 * * *", datetime(2026, 11, 26, 2, 30)),
        ("0 0 1 * *", datetime(2026, 12, 1)),
        ("0 0 * * 0", datetime(2026, 11, 29)),
        ("0 0 * * 7", datetime(2026, 11, 29)),
        ("0 0 * * sun", datetime(2026, 11, 29)),
        ("0 0 * * MON-FRI", datetime(2026, 11, 26)),
        ("0 0 13 * 5", datetime(2026, 11, 27)),  # either day counts when both are given
        ("0 0 ? 1 ?", datetime(2027, 1, 1)),
        ("0 0 29 2 *", datetime(2028, 2, 29)),
        ("0 0 L * *", datetime(2026, 11, 30)),
        ("0 0 LW 1 *", datetime(2027, 1, 29)),
        ("0 0 15W * *", datetime(2026, 12, 15)),
        ("0 0 28W 11 *", datetime(2026, 11, 27)),
        ("0 0 * * 5#2", datetime(2026, 12, 11)),
        ("0 0 * * 5L", datetime(2026, 11, 27)),
        ("0 0 * JUN,SEP mon", datetime(2027, 6, 7)),
        ("0 0 1 1 * 2030", datetime(2030, 1, 1)),
        ("30 */5 * * * * *", datetime(2026, 11, 25, 12, 0, 30)),
        ("@hourly", datetime(2026, 11, 25, 13, 0)),
        ("@daily", datetime(2026, 11, 26)),
        ("@weekly", datetime(2026, 11, 29)),
        ("@monthly", datetime(2026, 12, 1)),
        ("@yearly", datetime(2027, 1, 1)),
        ("@annually", datetime(2027, 1, 1)),
    ],
)
def test_the_next_time_of_a_line(line: str, expected: datetime) -> None:
    assert parse_cron(line).next_after(NOON) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "has 0"),
        ("* * * *", "has 4"),
        ("* * * * * * * *", "has 8"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of the month"),
        ("* * 32 * *", "day of the month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of the week"),
        ("* * * * mno", "day of the week"),
        ("* * * * * 1900", "year"),
        ("*/0 * * * *", "step of 0"),
        ("30-10 * * * *", "backwards"),
        ("1,,2 * * * *", "minute"),
        ("a b c d e", "minute"),
        ("? * * * *", "minute"),
        ("@sometimes", "short form"),
        ("* " * 200, "characters"),
        ("-1 * * * *", "minute"),
        ("१ * * * *", "minute"),
    ],
)
def test_a_bad_line_is_refused_with_the_part_that_is_wrong(line: str, words: str) -> None:
    with pytest.raises(CronError, match=words):
        parse_cron(line)


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 1 1 * 1999"])
def test_a_line_that_never_comes_has_no_next_time(line: str) -> None:
    assert parse_cron(line).next_after(NOON) is None


def test_the_last_moment_of_time_ends_quietly() -> None:
    assert parse_cron("0 0 29 2 * 2097").next_after(NOON) is None
    assert parse_cron("0 0 29 2 * 2027,2096").next_after(NOON) == datetime(2096, 2, 29)
    assert parse_cron("0 0 30 2 *").next_after(datetime(9999, 12, 31, 0, 0)) is None
    assert parse_cron("* * * * *").next_after(datetime(9999, 12, 31, 23, 59, 58)) is None


@settings(max_examples=150, deadline=None)
@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)),
    st.integers(0, 59),
    st.integers(0, 23),
    st.sampled_from(["*", "1", "15", "L", "1-7"]),
    st.sampled_from(["*", "mon", "5#1", "2-4"]),
)
def test_the_next_time_is_later_and_nothing_lies_between(
    moment: datetime, minute: int, hour: int, day: str, weekday: str
) -> None:
    schedule = parse_cron(f"{minute} {hour} {day} * {weekday}")
    found = schedule.next_after(moment)
    assert found is not None
    assert found > moment
    assert (found.minute, found.hour, found.second) == (minute, hour, 0)
    # asking from just before it gives it again
    assert schedule.next_after(found - timedelta(seconds=1)) == found
    middle = moment + (found - moment) / 2
    assert schedule.next_after(middle) == found
