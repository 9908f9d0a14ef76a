"""Reading a damaged SQLite file: take what is sound, name what is not, keep the bad file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from . import Change, Damage

Checksum = Callable[[str, bytes, bytes], int]
Row = tuple[str, bytes, bytes, int]

PAGE = 4096
SELECT = "SELECT tab, key, value, crc FROM rows"


def read_rows(connection: sqlite3.Connection, checksum: Checksum) -> tuple[list[Change], tuple[Damage, ...]]:
    """Every sound row in order of table and key, and one `Damage` for each unsound row or range."""
    rows: list[Change] = []
    damage: list[Damage] = []
    for found in _scan(connection):
        if isinstance(found, Damage):
            damage.append(found)
            continue
        table, key, value, crc = found
        try:
            sound = checksum(table, key, value) == crc
        except (TypeError, AttributeError):
            sound = False  # a type byte was changed
        if sound:
            rows.append(Change(table, key, value))
        else:
            name = key.hex() if isinstance(key, bytes) else str(key)
            damage.append(Damage(f"table {table}, row {name}", "its checksum does not match"))
    return rows, tuple(damage)


def _scan(connection: sqlite3.Connection) -> Iterator[Row | Damage]:
    """All rows forwards; after an unreadable page, backwards from the end to what was read so far."""
    last: tuple[str, bytes] | None = None
    try:
        for row in connection.execute(f"{SELECT} ORDER BY tab, key"):
            yield row
            last = (row[0], row[1])
        return
    except (sqlite3.Error, UnicodeDecodeError) as error:
        why = str(error)
    tail: list[Row] = []
    try:
        for row in connection.execute(f"{SELECT} ORDER BY tab DESC, key DESC"):
            if last is not None and (row[0], row[1]) <= last:
                break
            tail.append(row)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        why = str(error)
    first = f"{last[0]} {last[1].hex()}" if last else "the beginning"
    until = f"{tail[-1][0]} {tail[-1][1].hex()}" if tail else "the end"
    yield Damage(f"rows between {first} and {until}", f"unreadable: {why}")
    yield from reversed(tail)


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
            rows, damage = read_rows(connection, checksum)
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
