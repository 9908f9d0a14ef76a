"""Locks, folders that cannot be written, full disks, damaged files."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rove.engine import Change
from rove.engine.salvage import readable
from rove.engine.sqlite import SqliteEngine
from rove.errors import RoveError


def put(number: int, size: int = 300) -> Change:
    return Change("jobs", number.to_bytes(8, "big"), b"%06d" % number * (size // 6))


async def a_file(path: Path, count: int) -> dict[bytes, bytes | None]:
    """A closed store with `count` rows; returns them."""
    engine = SqliteEngine(path)
    token = (await engine.campaign("test")).token
    changes = [put(number) for number in range(count)]
    for start in range(0, count, 100):
        await engine.commit(changes[start : start + 100], token)
    await engine.close()
    return {change.key: change.value for change in changes}


async def read(path: Path) -> tuple[dict[bytes, bytes | None], list[str]]:
    engine = SqliteEngine(path)
    loaded = await engine.load()
    found = {row.key: row.value for row in loaded.rows}
    await engine.close()
    return found, [f"{damage.where}: {damage.why}" for damage in loaded.damage]


async def test_a_second_agent_on_the_same_folder_is_told_in_one_line(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "state.db")
    script = (
        "import sys; from pathlib import Path; from rove.engine.sqlite import SqliteEngine\n"
        "from rove.errors import RoveError\n"
        "try: SqliteEngine(Path(sys.argv[1]))\n"
        "except RoveError as error: print(error.code, error.what)\n"
    )
    command = [sys.executable, "-c", script, str(engine.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [
        f"store.locked another agent (pid {os.getpid()}) uses {tmp_path}"
    ]  # fmt: skip
    await engine.close()
    SqliteEngine(engine.path)._lock.close()


async def test_the_lock_is_free_after_the_holder_was_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from rove.engine.sqlite import SqliteEngine\n"
        "engine = SqliteEngine(Path(sys.argv[1])); print('open', flush=True); time.sleep(600)\n"
    )
    path = tmp_path / "state.db"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(RoveError):
            SqliteEngine(path)
        holder.kill()
    await SqliteEngine(path).close()


async def test_a_folder_that_cannot_be_made_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RoveError) as caught:
        SqliteEngine(tmp_path / "file" / "server" / "state.db")
    assert caught.value.code == "store.unwritable"
    assert "\n" not in caught.value.what


async def test_a_full_disk_refuses_the_commit_and_stores_nothing_of_it(tmp_path: Path) -> None:
    """The limit on file size stands for the full disk: both make write(2) fail."""
    path = tmp_path / "state.db"
    script = f"""
import asyncio, resource, signal, sys
from pathlib import Path
from rove.engine import Change
from rove.engine.sqlite import SqliteEngine
async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    engine = SqliteEngine(Path({str(path)!r}))
    token = (await engine.campaign("x")).token
    await engine.commit([Change("t", b"1", b"small")], token)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        await engine.commit([Change("t", b"2", b"x" * 2_000_000)], token)
        print("stored")
    except OSError as error:
        print("refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(await engine.commit([Change("t", b"3", b"after")], token))
    print(sorted(row.key for row in (await engine.load()).rows))
    await engine.close()
asyncio.run(main())
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["refused", "2", "[b'1', b'3']"], done.stderr


async def test_a_row_with_a_changed_bit_is_named_and_the_rest_is_served(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    rows = await a_file(path, 500)
    content = bytearray(path.read_bytes())
    place = content.find(b"000123" * 50)
    assert place > 0
    content[place + 100] ^= 0x10
    path.write_bytes(content)
    found, damage = await read(path)
    bad = (123).to_bytes(8, "big")
    assert damage == ["table jobs, row 123: its checksum does not match"]
    assert found == {key: value for key, value in rows.items() if key != bad}


def test_a_damaged_row_is_named_in_words_that_people_know() -> None:
    index = (12).to_bytes(8, "big")
    assert readable(index + b"default\0web") == "12 (default/web)"
    assert readable(index + (3).to_bytes(8, "big") + b"default\0web") == "12 (default/web)"
    assert readable(index) == "12"
    assert readable(index + b"\xff\x01\n") == "12"


@pytest.mark.parametrize("seed", range(12))
async def test_a_file_with_a_garbled_page_loses_no_more_than_it_names(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "state.db"
    rows = await a_file(path, 2000)
    content = bytearray(path.read_bytes())
    rng = random.Random(seed)
    pages = len(content) // 4096
    page = rng.randrange(1, pages)
    content[page * 4096 : page * 4096 + 64] = rng.randbytes(64)
    path.write_bytes(content)
    found, damage = await read(path)
    assert all(rows[key] == value for key, value in found.items()), "a wrong row was served"
    assert len(found) == len(rows) or damage
    assert len(found) > 0 or any("kept as" in line for line in damage)


@pytest.mark.parametrize("seed", range(8))
async def test_garbled_leaves_lose_only_their_own_rows(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "state.db"
    rows = await a_file(path, 3000)
    content = bytearray(path.read_bytes())
    rng = random.Random(seed)
    leaves = [page for page in range(2, len(content) // 4096) if content[page * 4096] == 10]
    for page in rng.sample(leaves, 3):
        content[page * 4096 : page * 4096 + 64] = rng.randbytes(64)
    path.write_bytes(content)
    found, damage = await read(path)
    assert all(rows[key] == value for key, value in found.items())
    assert len(rows) - len(found) <= 3 * 30
    assert damage


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
async def test_a_truncated_file_is_set_aside_and_what_is_left_of_it_is_served(tmp_path: Path, share: float) -> None:
    path = tmp_path / "state.db"
    rows = await a_file(path, 2000)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    found, damage = await read(path)
    assert all(rows[key] == value for key, value in found.items())
    assert len(found) < len(rows)
    assert "is kept as" in damage[0]
    kept = next(tmp_path.glob("state.db.broken-*"))
    assert kept.read_bytes() == content[: int(len(content) * share)]
    assert (await read(path))[0] == found


async def test_a_file_with_a_garbled_header_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    rows = await a_file(path, 500)
    content = bytearray(path.read_bytes())
    content[0:16] = b"garbage garbage!"
    path.write_bytes(content)
    found, damage = await read(path)
    assert found == rows
    assert "is kept as" in damage[0]


@pytest.mark.parametrize(("first", "last"), [(100, 164), (0, 4096), (3900, 4096)])
async def test_a_file_whose_list_of_tables_is_garbled_is_read_all_the_same(
    tmp_path: Path, first: int, last: int
) -> None:
    path = tmp_path / "state.db"
    rows = await a_file(path, 2000)
    content = bytearray(path.read_bytes())
    content[first:last] = random.Random(first).randbytes(last - first)
    path.write_bytes(content)
    found, damage = await read(path)
    assert found == rows
    assert "is kept as" in damage[0]


async def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    await a_file(tmp_path / "state.db", 1)
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0


async def test_a_file_of_garbage_is_set_aside_and_the_store_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(os.urandom(50_000))
    found, damage = await read(path)
    assert found == {}
    assert any("is kept as" in line for line in damage)
    assert len(list(tmp_path.glob("state.db.broken-*"))) == 1


async def test_a_rebuilt_store_goes_on_at_its_revision(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await a_file(path, 500)
    content = bytearray(path.read_bytes())
    content[0:16] = b"garbage garbage!"
    path.write_bytes(content)
    engine = SqliteEngine(path)
    token = (await engine.campaign("test")).token
    assert await engine.commit([put(1)], token) == 6
    await engine.close()


async def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await a_file(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE name = 'format'")
    connection.close()
    with pytest.raises(RoveError) as caught:
        SqliteEngine(path)
    assert caught.value.code == "store.newer"
