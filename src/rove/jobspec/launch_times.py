"""When a periodic job is launched: its cron lines, read on the wall clock of its time zone. Pure.

Nights on which the clocks change neither skip a launch nor flood:

- Lines that name every hour follow real time: "every 15 minutes" stays every 15 minutes, whatever the clocks do.
- For all others each wall-clock time counts once. One that is jumped over is launched when the clocks have jumped,
  once, however many times of the line were jumped over. One that comes twice is launched the first time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from rove.structs.job import Periodic

from .cron import CronSchedule, parse_cron

LOCAL_ZONE_FILE = "/etc/localtime"
HOURS_A_DAY = 24
TRANSITION_MAX = timedelta(hours=26)
"""More than the clocks are ever moved by at once."""


def next_launch(periodic: Periodic, after: float) -> float | None:
    """The first launch strictly after `after` (both in seconds since the epoch); None if there is none.

    Raises `CronError` for a line that cannot be read, and `LookupError` for a time zone that is not known here.
    """
    zone = zone_of(periodic.time_zone)
    times = [time for line in lines_of(periodic) if (time := next_time(_parsed(line), zone, after)) is not None]
    return min(times, default=None)


def lines_of(periodic: Periodic) -> tuple[str, ...]:
    """The cron lines."""
    return periodic.specs or ((periodic.spec,) if periodic.spec else ())


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """The time zone of that name; "" is UTC, "Local" the one of this machine. Raises `LookupError`."""
    if name in ("", "UTC"):
        return UTC
    if name == "Local":
        try:
            with open(LOCAL_ZONE_FILE, "rb") as file:
                return ZoneInfo.from_file(file)
        except (OSError, ValueError):
            return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as error:
        raise LookupError(f'"{name[:60]}" is not a time zone') from error


@lru_cache(maxsize=4096)
def _parsed(line: str) -> CronSchedule:
    return parse_cron(line)


def next_time(schedule: CronSchedule, zone: tzinfo, after: float) -> float | None:
    """The first time of one line strictly after `after`."""
    start = _floor(after)
    if len(schedule.hours) == HOURS_A_DAY:
        return _by_real_time(schedule, zone, start)
    return _by_wall_clock(schedule, zone, start)


def _by_wall_clock(schedule: CronSchedule, zone: tzinfo, after: datetime) -> float | None:
    """Each wall-clock time counts once."""
    found = schedule.next_after(_wall(after, zone))
    while found is not None:
        moment = _moment_of(found, zone)
        if moment > after:
            return moment.timestamp()
        found = schedule.next_after(found)
    return None


def _by_real_time(schedule: CronSchedule, zone: tzinfo, after: datetime) -> float | None:
    """Every moment whose wall-clock time the line names counts."""
    while True:
        wall = _wall(after, zone)
        found = schedule.next_after(wall)
        if found is None:
            return None
        if found - wall > 2 * TRANSITION_MAX:
            # Nothing is due until shortly before: go there, so that at most one change of the clocks is ahead.
            after = _moment_of(found - TRANSITION_MAX, zone)
            continue
        moment = after + (found - wall)
        if _wall(moment, zone) == found:
            return moment.timestamp()
        change = _first_change(zone, after, moment)
        if schedule.next_after(_wall(change, zone) - timedelta(seconds=1)) == _wall(change, zone):
            return change.timestamp()
        after = change


def _first_change(zone: tzinfo, before: datetime, until: datetime) -> datetime:
    """The second at which the zone's offset is no longer that of `before`, at most `until`."""
    offset = before.astimezone(zone).utcoffset()
    low, high = 0, int((until - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def _moment_of(wall: datetime, zone: tzinfo) -> datetime:
    """The moment of a wall-clock time: its first one if it comes twice, the end of the jump if it never comes."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(moment, zone) == wall:
        return moment
    # Read with the offset from before the jump, the moment lies after the jump by as much as `wall` lies inside it.
    return _first_change(zone, moment - TRANSITION_MAX, moment)


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _floor(seconds: float) -> datetime:
    """The whole second. What comes strictly after it comes strictly after `seconds` too, or within that second."""
    return datetime.fromtimestamp(seconds // 1, UTC)
