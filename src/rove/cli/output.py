"""Text for people: tables, blocks, times, ids, sizes. Data for programs: JSON and templates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

NONE = "<none>"
SHORT_ID = 8


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns two spaces apart, as wide as their widest cell; missing values as ``<none>``."""
    lines = [tuple(header), *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def block(pairs: Iterable[tuple[str, Any]]) -> str:
    """``Key = value`` lines with the equal signs below each other."""
    found = [(key, _cell(value)) for key, value in pairs]
    width = max((len(key) for key, _ in found), default=0)
    return "\n".join(f"{key.ljust(width)} = {value}".rstrip() for key, value in found)


def title(text: str) -> None:
    """A heading between blocks, after an empty line."""
    click.echo("\n" + click.style(text, bold=True))


def clean(text: str) -> str:
    """Text from elsewhere without what could move the cursor or fake a line; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() or ch in "\n\t" else "\N{REPLACEMENT CHARACTER}" for ch in text)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    # A name from a job file must not move the cursor or fake a line of the table.
    return "".join(ch if ch.isprintable() else "\N{REPLACEMENT CHARACTER}" for ch in str(value))


def short(identifier: Any, verbose: bool = False) -> str:
    """The first eight characters of an id, all of it when verbose."""
    text = str(identifier or "")
    return text if verbose else text[:SHORT_ID]


def emit(value: Any, as_json: bool, template: str | None) -> bool:
    """Print data as JSON or through a template when asked to; say whether that was done."""
    if as_json and template:
        raise click.UsageError("-json and -t cannot be used together.")
    if as_json:
        click.echo(json.dumps(value, indent=4, ensure_ascii=False))
        return True
    if template:
        from rove.cli.gotemplate import render

        click.echo(render(template, value))
        return True
    return False


def moment(unix_ns: Any) -> str:
    """A point in nanoseconds since the epoch as RFC 3339 in UTC, to the second."""
    if not unix_ns:
        return NONE
    return datetime.fromtimestamp(int(unix_ns) / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp(text: Any) -> str:
    """An RFC 3339 text to the second; Go's zero time as ``-``."""
    if not text or str(text).startswith("0001-"):
        return "-"
    try:
        when = datetime.fromisoformat(_trimmed(str(text)))
    except ValueError:
        return str(text)
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _trimmed(text: str) -> str:
    # Go writes up to nine digits of a second, Python reads six.
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[: min(digits, 6)].ljust(6, '0')}{tail[digits:]}"


def ago(unix_ns: Any, now: float) -> str:
    """How long ago, in the two largest units: ``3m12s ago``."""
    if not unix_ns:
        return NONE
    return f"{duration(max(0.0, now - int(unix_ns) / 1e9))} ago"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: ``1h5m``, ``12s``."""
    left = int(seconds)
    units = (("y", 365 * 86400), ("mo", 30 * 86400), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        if left >= size:
            parts.append(f"{left // size}{name}")
            left %= size
        elif parts:
            break
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"


def size(count: Any) -> str:
    """Bytes in binary units: ``1.5 MiB``."""
    amount = float(count or 0)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}".replace(".0 ", " ")
        amount /= 1024
    return f"{amount:.1f} TiB"


def listing(values: Any) -> str:
    """A list or map on one line."""
    if isinstance(values, Mapping):
        return ",".join(f"{key}={value}" for key, value in sorted(values.items()))
    return ",".join(str(value) for value in values or ())
