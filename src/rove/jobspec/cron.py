"""Cron expressions of periodic jobs: parsed, checked, and asked for their next time. Pure; times are passed in."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import datetime, timedelta
from typing import NamedTuple

TEXT_MAX = 256
YEAR_MAX = 2099

_SHORT = {
    "@yearly": "0 0 0 1 1 * *", "@annually": "0 0 0 1 1 * *", "@monthly": "0 0 0 1 * * *",
    "@weekly": "0 0 0 * * 0 *", "@daily": "0 0 0 * * * *", "@midnight": "0 0 0 * * * *",
    "@hourly": "0 0 * * * * *", "@every_minute": "0 * * * * * *", "@minutely": "0 * * * * * *",
}  # fmt: skip
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july",
            "aug august", "sep september", "oct october", "nov november", "dec december",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_DAYS = {
    name: number
    for number, names in enumerate(
        (
            "sun sunday", "mon monday", "tue tuesday", "wed wednesday", "thu thursday", "fri friday",
            "sat saturday",
        )
    )
    for name in names.split()
}  # fmt: skip


class CronError(ValueError):
    """A cron line that says nothing sensible; the text says which part and what is allowed."""


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    words: dict[str, int]


_FIELDS = (
    _Field("second", 0, 59, {}),
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of the month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
    _Field("year", 1970, YEAR_MAX, {}),
)
_ITEM = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?\Z", re.ASCII)
_DAY_RULE = re.compile(r"(?:(l)(w)?|(\d{1,2})w|l-(\d{1,2}))\Z", re.ASCII)
_WEEKDAY_RULE = re.compile(r"(\w+?)(?:#([1-5])|(l))\Z", re.ASCII)


class CronSchedule:
    """A parsed cron line of 5 (minute first), 6 (year last) or 7 (second first, year last) fields."""

    __slots__ = (
        "any_day", "any_weekday", "days", "hours", "last_day", "last_weekday", "last_weekdays", "minutes", "months",
        "near_weekday", "nth_weekdays", "seconds", "text", "weekdays", "years",
    )  # fmt: skip

    def __init__(self, text: str) -> None:
        self.text = text
        parts = _split(text)
        self.seconds = sorted(_numbers(parts[0], _FIELDS[0]))
        self.minutes = sorted(_numbers(parts[1], _FIELDS[1]))
        self.hours = sorted(_numbers(parts[2], _FIELDS[2]))
        self.months = _numbers(parts[4], _FIELDS[4])
        self.years = _numbers(parts[6], _FIELDS[6])
        self.any_day = parts[3] in ("*", "?")
        self.any_weekday = parts[5] in ("*", "?")
        self.last_day = False
        self.last_weekday = False
        self.near_weekday: set[int] = set()
        self.nth_weekdays: set[tuple[int, int]] = set()
        self.last_weekdays: set[int] = set()
        self.days = self._read_days(parts[3])
        self.weekdays = self._read_weekdays(parts[5])

    def _read_days(self, part: str) -> set[int]:
        plain: set[int] = set()
        for item in part.split(","):
            rule = _DAY_RULE.match(item)
            if rule is None or rule[4] is not None:
                plain |= _numbers(item, _FIELDS[3])
            elif rule[1] and rule[2]:
                self.last_weekday = True
            elif rule[1]:
                self.last_day = True
            else:
                self.near_weekday |= _numbers(rule[3], _FIELDS[3])
        return plain

    def _read_weekdays(self, part: str) -> set[int]:
        plain: set[int] = set()
        for item in part.split(","):
            rule = _WEEKDAY_RULE.match(item)
            if rule is None or item in _DAYS:
                plain |= {number % 7 for number in _numbers(item, _FIELDS[5])}
                continue
            day = {number % 7 for number in _numbers(rule[1], _FIELDS[5])}
            if rule[2]:
                self.nth_weekdays |= {(number, int(rule[2])) for number in day}
            else:
                self.last_weekdays |= day
        return plain

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time strictly after `moment`, in the same zone's wall clock; None if there is none any more.

        `moment` is taken as wall-clock time: the caller converts to the job's time zone and resolves nights on
        which the clocks change.
        """
        if moment.year >= YEAR_MAX:
            return None
        wall = moment.replace(microsecond=0) + timedelta(seconds=1)
        last_year = max(self.years)
        day = wall.replace(hour=0, minute=0, second=0)
        while day.year <= last_year:
            if day.year not in self.years or day.month not in self.months:
                day = _next_month(day)
                continue
            if self._is_day(day):
                found = self._time_on(day, wall if day.date() == wall.date() else None)
                if found is not None:
                    return found
            day += timedelta(days=1)
        return None

    def _is_day(self, day: datetime) -> bool:
        if self.any_day and self.any_weekday:
            return True
        by_day = not self.any_day and self._is_month_day(day)
        by_weekday = not self.any_weekday and self._is_weekday(day)
        return by_day or by_weekday

    def _is_month_day(self, day: datetime) -> bool:
        end = monthrange(day.year, day.month)[1]
        if day.day in self.days or (self.last_day and day.day == end):
            return True
        if self.last_weekday and day.day == _near(day, end, end):
            return True
        return any(day.day == _near(day, wanted, end) for wanted in self.near_weekday if wanted <= end)

    def _is_weekday(self, day: datetime) -> bool:
        weekday = day.isoweekday() % 7
        if weekday in self.weekdays or (weekday, (day.day - 1) // 7 + 1) in self.nth_weekdays:
            return True
        return weekday in self.last_weekdays and day.day + 7 > monthrange(day.year, day.month)[1]

    def _time_on(self, day: datetime, floor: datetime | None) -> datetime | None:
        at = (floor.hour, floor.minute, floor.second) if floor else (0, 0, 0)
        for hour in self.hours:
            if hour < at[0]:
                continue
            for minute in self.minutes:
                if (hour, minute) < at[:2]:
                    continue
                for second in self.seconds:
                    if (hour, minute, second) >= at:
                        return day.replace(hour=hour, minute=minute, second=second)
        return None


def parse_cron(text: str) -> CronSchedule:
    """The schedule of a cron line. Raises CronError, which says which part is wrong."""
    return CronSchedule(text)


def _split(text: str) -> list[str]:
    if len(text) > TEXT_MAX:
        raise CronError(f"a cron line has at most {TEXT_MAX} characters")
    line = text.strip().lower()
    if line.startswith("@"):
        if line not in _SHORT:
            raise CronError(f'"{text.strip()}" is not a known short form; these are {", ".join(_SHORT)}')
        line = _SHORT[line]
    parts = line.split()
    if len(parts) == 5:
        parts = ["0", *parts, "*"]
    elif len(parts) == 6:
        parts = ["0", *parts]
    if len(parts) != 7:
        raise CronError(f"a cron line has 5, 6 or 7 fields; this one has {len(parts)}")
    return parts


def _numbers(part: str, field: _Field) -> set[int]:
    found: set[int] = set()
    for item in part.split(","):
        if item == "?" and field.name.startswith("day"):
            item = "*"
        match = _ITEM.match(item)
        if match is None:
            raise CronError(f'"{item}" is not a {field.name}')
        star, first, last, step = match.groups()
        if star:
            low, high = field.low, 6 if field.high == 7 else field.high
        else:
            low = _number(first, field)
            high = _number(last, field) if last else (field.high if step else low)
        if low > high:
            raise CronError(f'"{item}" runs backwards: the {field.name} {low} is after {high}')
        if step is not None and int(step) == 0:
            raise CronError(f'"{item}" has a step of 0')
        found.update(range(low, high + 1, int(step or 1)))
    return found


def _number(word: str, field: _Field) -> int:
    if word in field.words:
        return field.words[word]
    if not word.isdecimal() or len(word) > 4 or not field.low <= int(word) <= field.high:
        raise CronError(f'"{word}" is not a {field.name} ({field.low} to {field.high})')
    return int(word)


def _near(day: datetime, wanted: int, end: int) -> int:
    """The weekday (Monday to Friday) nearest to a day of the month, without leaving the month."""
    weekday = day.replace(day=wanted).isoweekday()
    if weekday == 6:
        return wanted - 1 if wanted > 1 else wanted + 2
    if weekday == 7:
        return wanted + 1 if wanted < end else wanted - 2
    return wanted


def _next_month(day: datetime) -> datetime:
    if day.month == 12:
        return day.replace(year=day.year + 1, month=1, day=1)
    return day.replace(month=day.month + 1, day=1)
