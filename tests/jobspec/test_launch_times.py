"""Launch times of periodic jobs on the wall clock of a time zone, also on nights when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rove.jobspec.cron import parse_cron
from rove.jobspec.launch_times import next_launch, zone_of
from rove.structs.job import Periodic

ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "Africa/Cairo",
    "America/Santiago", "Asia/Kathmandu", "UTC",
)  # fmt: skip


def launches(line: str, zone: str, start: str, count: int) -> list[str]:
    """The next `count` launches after a wall-clock time, as "day hour:minute offset"."""
    periodic = Periodic(spec=line, time_zone=zone)
    moment: float | None = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).timestamp()
    found = []
    for _ in range(count):
        assert moment is not None
        moment = next_launch(periodic, moment)
        assert moment is not None
        found.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%d %H:%M %z"))
    return found


def test_a_time_that_is_jumped_over_is_launched_when_the_clocks_have_jumped() -> None:
    assert launches("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00", 3) == [
        "28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200",
    ]  # fmt: skip


def test_several_times_that_are_jumped_over_are_launched_once() -> None:
    assert launches("*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == ["29 03:00 +0200", "30 02:00 +0200"]


def test_a_time_that_comes_twice_is_launched_once() -> None:
    assert launches("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == ["25 02:30 +0200", "26 02:30 +0100"]
    assert launches("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 3) == [
        "25 02:00 +0200", "25 02:30 +0200", "26 02:00 +0100",
    ]  # fmt: skip


def test_every_fifteen_minutes_stays_so_in_the_hour_that_comes_twice() -> None:
    found = launches("*/15 * * * *", "Europe/Berlin", "2026-10-25T01:40", 10)
    assert found[:5] == ["25 01:45 +0200", "25 02:00 +0200", "25 02:15 +0200", "25 02:30 +0200", "25 02:45 +0200"]
    assert found[5:] == ["25 02:00 +0100", "25 02:15 +0100", "25 02:30 +0100", "25 02:45 +0100", "25 03:00 +0100"]


def test_every_fifteen_minutes_stays_so_when_an_hour_is_missing() -> None:
    assert launches("*/15 * * * *", "Europe/Berlin", "2026-03-29T01:40", 3) == [
        "29 01:45 +0100", "29 03:00 +0200", "29 03:15 +0200",
    ]  # fmt: skip


def test_clocks_that_change_by_half_an_hour_are_no_trouble() -> None:
    assert launches("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 2) == ["04 02:30 +1100", "05 02:15 +1100"]
    assert launches("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", 2) == ["05 01:45 +1100", "06 01:45 +1030"]


def test_midnight_that_does_not_exist_is_one_o_clock() -> None:
    assert launches("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00", 2) == ["24 01:00 +0300", "25 00:00 +0300"]


def test_a_day_that_was_left_out_is_made_up_for_once() -> None:
    assert launches("0 12 * * *", "Pacific/Apia", "2011-12-28T13:00", 3) == [
        "29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400",
    ]  # fmt: skip


def test_the_earliest_of_several_lines_is_next() -> None:
    periodic = Periodic(specs=("0 6 * * *", "0 18 * * *", "0 18 * * *"), time_zone="Asia/Kathmandu")
    noon = datetime(2026, 11, 25, 12, tzinfo=ZoneInfo("Asia/Kathmandu")).timestamp()
    evening = next_launch(periodic, noon)
    assert evening == noon + 6 * 3600
    assert next_launch(periodic, evening) == evening + 12 * 3600


def test_a_schedule_without_lines_or_without_future_has_no_next_launch() -> None:
    assert next_launch(Periodic(), 0.0) is None
    assert next_launch(Periodic(spec="0 0 1 1 * 2020"), datetime(2026, 1, 1, tzinfo=UTC).timestamp()) is None


def test_a_launch_within_the_second_is_not_found_again() -> None:
    every = Periodic(spec="* * * * * * *")
    assert next_launch(every, 100.0) == 101.0
    assert next_launch(every, 100.9) == 101.0


def test_a_rare_line_that_names_every_hour_is_found_far_ahead() -> None:
    assert launches("0 * 29 2 *", "Europe/Berlin", "2028-03-01T00:00", 1) == ["29 00:00 +0100"]


def test_zones_are_read_by_name_and_unknown_ones_refused() -> None:
    assert zone_of("") is zone_of("UTC") is UTC
    assert zone_of("Local").utcoffset(datetime(2026, 1, 1)) is not None
    for name in ("Mars/Olympus", "../../etc/passwd", "/etc/localtime", "a\0b"):
        with pytest.raises(LookupError):
            zone_of(name)


LINES = st.builds(
    "{} {} {} * {}".format,
    st.sampled_from(["0", "30", "*/15", "59", "1-3", "*"]),
    st.sampled_from(["*", "2", "0", "1-3", "*/2", "23", "0-23"]),
    st.sampled_from(["*", "*", "1", "L", "28-31"]),
    st.sampled_from(["*", "*", "sun", "1-5", "7#1"]),
)


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, float]:
    """A zone, and a moment within three days of one of its changes, where it has any."""
    zone = draw(st.sampled_from(ZONES))
    day = datetime(draw(st.sampled_from([2011, 2024, 2026])), 1, 1, tzinfo=UTC)
    offsets = [(day + timedelta(days=n)).astimezone(ZoneInfo(zone)).utcoffset() for n in range(366)]
    changes = [n for n in range(1, 366) if offsets[n] != offsets[n - 1]]
    around = draw(st.sampled_from(changes)) if changes else 100
    return zone, (day + timedelta(days=around)).timestamp() + draw(st.integers(-3 * 86_400, 3 * 86_400))


@settings(max_examples=200, deadline=None)
@given(LINES, moments())
def test_launches_rise_and_nothing_lies_between_them(line: str, given_moment: tuple[str, float]) -> None:
    zone, moment = given_moment
    periodic = Periodic(spec=line, time_zone=zone)
    for _ in range(4):
        found = next_launch(periodic, moment)
        assert found is not None
        assert found > moment
        assert next_launch(periodic, (moment + found) / 2) == found
        moment = found


@settings(max_examples=40, deadline=None)
@given(LINES, moments())
def test_each_wall_clock_time_is_launched_once_or_made_up_for(line: str, given_moment: tuple[str, float]) -> None:
    """Compared with every minute of two days, looked at one after another."""
    zone_name, moment = given_moment
    zone = ZoneInfo(zone_name)
    schedule = parse_cron(line)
    start = moment // 60 * 60
    follows_real_time = len(schedule.hours) == 24
    expected = []
    before = datetime.fromtimestamp(start - 26 * 3600, zone).replace(tzinfo=None, fold=0)
    highest = before
    for step in range(-26 * 60, 2 * 24 * 60):
        at = start + step * 60
        wall = datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)
        if follows_real_time:
            hit = schedule.next_after(wall - timedelta(seconds=1)) == wall
        else:
            upcoming = schedule.next_after(highest)
            hit = wall > highest and upcoming is not None and upcoming <= wall
        if hit and at > start:
            expected.append(at)
        highest = max(highest, wall)
    found = []
    periodic = Periodic(spec=line, time_zone=zone_name)
    current: float | None = start
    while (current := next_launch(periodic, current)) is not None and current < start + 2 * 86_400:
        found.append(current)
    assert found == expected
