"""Reading a damaged SQLite file: take what is sound, name what is not, keep the bad file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from . import Change, Damage

Checksum = Callable[[str, bytes, bytes], int]
Row = tuple[str, bytes, bytes, int]

PAGE = 4096
TABLE_MARK = "table:"
"""Counters of this form note which tables there are."""
SELECT = "SELECT tab, key, value, crc FROM rows"


def read_rows(
    connection: sqlite3.Connection, checksum: Checksum, tables: Iterable[str] = ()
) -> tuple[list[Change], tuple[Damage, ...]]:
    """Every sound row in order of table and key, and one `Damage` for each unsound row or range.

    tables: names that are known from elsewhere, in case the rows that show them cannot be read.
    """
    try:
        found: list[Row | Damage] = list(connection.execute(f"{SELECT} ORDER BY tab, key"))
    except (sqlite3.Error, UnicodeDecodeError):
        found = []
        for table in sorted({*tables, *_tables(connection)}):
            found += _around_damage(connection, table)
    rows: list[Change] = []
    damage: list[Damage] = []
    for one in found:
        if isinstance(one, Damage):
            damage.append(one)
            continue
        table, key, value, crc = one
        try:
            sound = checksum(table, key, value) == crc
        except (TypeError, AttributeError):
            sound = False  # a type byte was changed
        if sound:
            rows.append(Change(table, key, value))
        else:
            damage.append(Damage(f"table {table}, row {readable(key)}", "its checksum does not match"))
    return rows, tuple(damage)


def readable(key: object) -> str:
    """A row's key as people can use it: its number, and the names that follow, as ``12 (default/web)``."""
    if not isinstance(key, bytes):
        return str(key)
    names = key[8:].replace(b"\0", b"/").decode("utf-8", "replace").strip("/")
    plain = "".join(letter for letter in names if letter.isprintable() and letter != "\ufffd").strip("/")
    number = int.from_bytes(key[:8].ljust(8, b"\0"), "big")
    return f"{number} ({plain})" if plain else str(number)


def _tables(connection: sqlite3.Connection) -> Iterator[str]:
    """Names of tables, found from either end as far as the file can be read."""
    for query, name in (
        ("SELECT tab FROM rows WHERE tab > ? ORDER BY tab LIMIT 1", ""),
        ("SELECT tab FROM rows WHERE tab < ? ORDER BY tab DESC LIMIT 1", "\U0010ffff"),
    ):
        try:
            while (row := connection.execute(query, (name,)).fetchone()) is not None:
                name = row[0]
                yield name
        except (sqlite3.Error, UnicodeDecodeError):
            continue


def _around_damage(connection: sqlite3.Connection, table: str) -> Iterator[Row | Damage]:
    """The rows of one table; at a page that cannot be read, go on behind it."""
    start = b""
    while True:
        last = start
        try:
            for row in connection.execute(f"{SELECT} WHERE tab = ? AND key >= ? ORDER BY key", (table, start)):
                yield row
                last = row[1]
            return
        except (sqlite3.Error, UnicodeDecodeError) as error:
            why = str(error)
        behind = _next_readable(connection, table, int.from_bytes(last[:8].ljust(8, b"\0"), "big"))
        until = "the end" if behind is None else readable(behind)
        yield Damage(
            f"table {table}, rows between {readable(last) if last else 'the beginning'} and {until}",
            f"unreadable: {why}",
        )
        if behind is None:
            return
        start = behind


def _next_readable(connection: sqlite3.Connection, table: str, number: int) -> bytes | None:
    """The first key above `number` (as its first 8 bytes) whose page can be read; None if there is none.

    Keys begin with a rising number, so that doubling steps and then halving ones find the edge.
    """
    low, step = 0, 1
    while number + step < 1 << 64:
        if _first_from(connection, table, number + step) is not UNREADABLE:
            break
        low, step = step, step * 2
    else:
        return None
    high = step
    while high - low > 1:
        middle = (low + high) // 2
        if _first_from(connection, table, number + middle) is UNREADABLE:
            low = middle
        else:
            high = middle
    found = _first_from(connection, table, number + high)
    return found if isinstance(found, bytes) else None


UNREADABLE = object()


def _first_from(connection: sqlite3.Connection, table: str, number: int) -> object:
    """The first key at or above `number`, None if there is none, or `UNREADABLE`."""
    query = "SELECT key FROM rows WHERE tab = ? AND key >= ? ORDER BY key LIMIT 1"
    try:
        row = connection.execute(query, (table, number.to_bytes(8, "big"))).fetchone()
    except sqlite3.Error:
        return UNREADABLE
    return None if row is None else row[0]


def rebuild(path: Path, schema: str, checksum: Checksum, why: str) -> tuple[Damage, ...]:
    """Replace the broken file by one with all that could be read. The broken one is kept beside it.

    The new file's revision is never lower than what any readable row or counter says.
    """
    kept = _aside(path)
    fresh = path.with_name(path.name + ".rebuilt")
    _remove(fresh)
    rows, damage, meta = _read_broken(path, schema, checksum)
    connection = sqlite3.connect(fresh, isolation_level=None)
    connection.executescript(schema)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)",
        [(row.table, row.key, row.value, checksum(row.table, row.key, row.value or b"")) for row in rows],
    )
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(meta.items()))
    connection.execute("COMMIT")
    connection.close()
    _sync(fresh)
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            os.replace(source, kept.with_name(kept.name + suffix))
    os.replace(fresh, path)
    _sync(path.parent)
    statement = Damage(
        str(path),
        f"the file is broken ({why}); {len(rows)} rows were read from it into a new file, "
        f"the broken one is kept as {kept}",
    )
    return (statement, *damage)


def _read_broken(
    path: Path, schema: str, checksum: Checksum
) -> tuple[list[Change], tuple[Damage, ...], dict[str, int]]:
    meta: dict[str, int] = {}
    copy = path.with_name(path.name + ".salvage")
    _remove(copy)
    try:
        for suffix in ("", "-wal"):
            if (source := path.with_name(path.name + suffix)).exists():
                shutil.copyfile(source, copy.with_name(copy.name + suffix))
        _mend_first_page(copy, schema)
        connection = sqlite3.connect(copy, isolation_level=None)
        try:
            meta = _read_meta(connection)
            rows, damage = read_rows(connection, checksum, known_tables(meta))
        finally:
            connection.close()
    except sqlite3.Error as error:
        rows, damage = [], (Damage("all rows", f"unreadable: {error}"),)
    finally:
        _remove(copy)
    if "revision" not in meta:
        damage = (*damage, Damage("the revision counter", "unreadable: set from the newest row instead"))
        meta["revision"] = max((_newest(row) for row in rows), default=0) + 1
    return rows, damage, meta


def _read_meta(connection: sqlite3.Connection) -> dict[str, int]:
    try:
        return {str(name): int(value) for name, value in connection.execute("SELECT name, value FROM meta")}
    except (sqlite3.Error, ValueError, TypeError):
        return {}


def known_tables(meta: Iterable[str]) -> list[str]:
    """Names of tables, as the counters tell them."""
    return [name.removeprefix(TABLE_MARK) for name in meta if name.startswith(TABLE_MARK)]


def _newest(row: Change) -> int:
    """Keys begin with the index of their creation, as 8 bytes; blocks and their changes do not."""
    return int.from_bytes(row.key[:8], "big") if len(row.key) >= 8 else 0


def _mend_first_page(path: Path, schema: str) -> None:
    """Write the first page anew, from a new file with the same tables.

    It holds SQLite's header and the list of tables, neither of which changes in a file's life, except for
    counters that SQLite does without when it only reads.
    """
    model = path.with_name(path.name + ".model")
    _remove(model)
    connection = sqlite3.connect(model, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(schema)
    connection.close()
    page = bytearray(model.read_bytes()[:PAGE])
    _remove(model)
    size = path.stat().st_size
    page[28:32] = (size // PAGE).to_bytes(4, "big")
    if size >= PAGE:
        with open(path, "r+b") as file:
            file.write(page)


def _aside(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    return kept


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
