"""`formatdate` and `timeadd`, on RFC 3339 timestamps."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

from rove.jobspec.hcl.functions import FunctionError, function
from rove.jobspec.hcl.types import STRING

_STAMP = re.compile(r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,30}))?(Z|([+-])(\d{2}):(\d{2}))")
_TOKEN = re.compile(r"''|'(?:[^']|'')*'|'|([a-zA-Z])\1*|[^'a-zA-Z]+", re.DOTALL)
_DURATION = re.compile(r"([0-9]*)(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def _stamp(text: str, argument: int) -> datetime:
    found = _STAMP.fullmatch(text)
    if found is None:
        raise FunctionError("a timestamp looks like 2006-01-02T15:04:05Z", argument)
    zone = UTC
    if found[8] != "Z":
        hours, minutes = int(found[10]), int(found[11])
        if hours > 24 or minutes > 60:
            raise FunctionError("the offset from UTC is out of range", argument)
        offset = timedelta(hours=hours, minutes=minutes)
        zone = timezone(min(-offset if found[9] == "-" else offset, timedelta(hours=23, minutes=59)))
    try:
        year, month, day, hour, minute, second = (int(each) for each in found.groups()[:6])
        return datetime(year, month, day, hour, minute, second, int((found[7] or "0")[:6].ljust(6, "0")), zone)
    except ValueError as failure:
        raise FunctionError(f"not a time: {failure}", argument) from None


@function("timeadd", STRING, STRING)
def time_add(stamp: str, duration: str) -> str:
    start = _stamp(stamp, 0)
    try:
        moved = start + timedelta(microseconds=_nanoseconds(duration) // 1000)
    except OverflowError:
        raise FunctionError("the result is beyond the calendar") from None
    return f"{moved:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + _offset(moved, "Z", ":")


def _nanoseconds(text: str) -> int:
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total = 0
    at = 0
    if len(rest) > 200:
        raise FunctionError("the duration is too long", 1)
    while at < len(rest):
        found = _DURATION.match(rest, at)
        if found is None or not (found[1] or (found[2] or "").strip(".")) or len(found[0]) > 60:
            raise FunctionError('a duration looks like "1h30m" or "-1.5s"', 1)
        amount = Fraction((found[1] or "0") + (found[2] or "").rstrip("."))
        total += int(amount * _UNITS[found[3]])
        at = found.end()
    if not rest or total >= 1 << 63:
        raise FunctionError('a duration looks like "1h30m" or "-1.5s"', 1)
    return sign * total


def _offset(when: datetime, utc: str, colon: str) -> str:
    minutes = int((when.utcoffset() or timedelta()).total_seconds()) // 60
    if not minutes and utc:
        return utc
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}{colon}{abs(minutes) % 60:02d}"


@function("formatdate", STRING, STRING)
def format_date(template: str, stamp: str) -> str:
    when = _stamp(stamp, 1)
    made = []
    for found in _TOKEN.finditer(template):
        token = found[0]
        if found[1]:
            made.append(_verb(token, when))
        elif token == "''":  # noqa: S105 - a piece of a date format
            made.append("'")
        elif token[0] == "'":
            if len(token) == 1:
                raise FunctionError("a literal in quotes is never closed", 0)
            made.append(token[1:-1].replace("''", "'"))
        else:
            made.append(token)
    return "".join(made)


def _verb(token: str, when: datetime) -> str:
    hour = when.hour % 12 or 12
    forms = {
        "YY": f"{when.year % 100:02d}",
        "YYYY": f"{when.year:04d}",
        "M": str(when.month),
        "MM": f"{when.month:02d}",
        "MMM": _MONTHS[when.month - 1][:3],
        "MMMM": _MONTHS[when.month - 1],
        "D": str(when.day),
        "DD": f"{when.day:02d}",
        "EEE": _DAYS[when.weekday()][:3],
        "EEEE": _DAYS[when.weekday()],
        "h": str(when.hour),
        "hh": f"{when.hour:02d}",
        "H": str(hour),
        "HH": f"{hour:02d}",
        "AA": "AM" if when.hour < 12 else "PM",
        "aa": "am" if when.hour < 12 else "pm",
        "m": str(when.minute),
        "mm": f"{when.minute:02d}",
        "s": str(when.second),
        "ss": f"{when.second:02d}",
        "Z": _offset(when, "Z", ":"),
        "ZZZ": _offset(when, "UTC", ""),
        "ZZZZ": _offset(when, "", ""),
        "ZZZZZ": _offset(when, "", ":"),
    }
    if token not in forms:
        raise FunctionError(f'"{token[:20]}" stands for no part of a date; put plain words in single quotes', 0)
    return forms[token]
