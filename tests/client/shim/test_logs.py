"""Output lands in numbered files that never grow past their limit, whatever happens to the disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rove.client.shim.logs import LogStream, Notes, cut_before, indexes


@pytest.fixture
def notes(tmp_path) -> Notes:
    return Notes(str(tmp_path))


def files(folder, base="t.stdout") -> dict[int, bytes]:
    return {int(path.suffix[1:]): path.read_bytes() for path in folder.glob(f"{base}.*")}


def test_a_full_file_is_followed_by_the_next_and_the_oldest_is_removed(tmp_path, notes):
    log = LogStream(str(tmp_path), "t.stdout", 2, 10, notes)

    for number in range(5):
        log.write(b"line %d\n" % number)

    assert files(tmp_path) == {3: b"line 3\n", 4: b"line 4\n"}


def test_a_line_longer_than_a_file_is_cut_and_loses_nothing(tmp_path, notes):
    log = LogStream(str(tmp_path), "t.stdout", 100, 10, notes)

    log.write(b"0123456789abcdefghijKLM\n")

    assert b"".join(content for _, content in sorted(files(tmp_path).items())) == b"0123456789abcdefghijKLM\n"
    assert max(map(len, files(tmp_path).values())) == 10


def test_a_new_start_goes_on_in_the_newest_file(tmp_path, notes):
    for word in (b"one\n", b"two\n"):
        log = LogStream(str(tmp_path), "t.stdout", 2, 100, notes)
        log.write(word)
        log.close()

    assert files(tmp_path) == {0: b"one\ntwo\n"}


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "directory"])
def test_what_a_task_plants_in_place_of_a_log_file_is_never_written_to(tmp_path, notes, kind):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    planted = tmp_path / "t.stdout.0"
    if kind == "symlink":
        planted.symlink_to(victim)
    elif kind == "hardlink":
        planted.hardlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(planted)
    else:
        planted.mkdir()

    log = LogStream(str(tmp_path), "t.stdout", 3, 100, notes)
    log.write(b"output\n")

    assert victim.read_text() == "precious"
    assert (tmp_path / "t.stdout.1").read_bytes() == b"output\n"


def test_names_that_only_look_like_log_files_are_ignored(tmp_path):
    for name in ("t.stdout.1", "t.stdout.x", "t.stdout.-1", "t.stdout.1.gz", "t.stdout.٣", "t.stdout." + "9" * 30):
        (tmp_path / name).write_text("")
    fd = os.open(tmp_path, os.O_RDONLY)

    assert indexes(fd, "t.stdout") == [1]
    os.close(fd)


@given(
    st.lists(st.binary(max_size=60), max_size=30),
    st.integers(min_value=1, max_value=50),
)
def test_every_byte_is_kept_in_order_and_no_file_is_too_large(tmp_path_factory, chunks, size):
    folder = tmp_path_factory.mktemp("logs")
    log = LogStream(str(folder), "t.stdout", 10_000, size, Notes(str(folder)))

    for chunk in chunks:
        log.write(chunk)
    log.close()

    kept = files(folder)
    assert b"".join(content for _, content in sorted(kept.items())) == b"".join(chunks)
    assert all(len(content) <= size for content in kept.values())
    assert sorted(kept) == list(range(len(kept)))


@given(st.binary(min_size=2, max_size=200), st.data(), st.booleans())
def test_a_cut_never_exceeds_the_room_and_prefers_the_end_of_a_line(chunk, data, tail_is_line):
    room = data.draw(st.integers(min_value=1, max_value=len(chunk) - 1))

    cut = cut_before(memoryview(chunk), room, tail_is_line)

    assert 0 <= cut <= room
    if b"\n" in chunk[:room]:
        assert chunk[cut - 1] == 0x0A


async def test_the_size_limit_holds_for_a_task_that_writes_a_lot(place, host):
    spec = place.spec("web", "sh", "-c", "yes 0123456789 | head -c 300000; echo end >&2", max_files=3)
    handle = await host.launch(spec._replace(max_file_bytes=20_000))
    await handle.wait()

    kept = files(place.logs, "web.stdout")
    assert sorted(kept) == [12, 13, 14] or len(kept) == 3
    assert all(len(content) <= 20_000 and content.startswith(b"0123456789\n") for content in kept.values())
    assert place.log("web", "stderr") == b"end\n"


async def test_a_silent_task_has_empty_log_files_from_the_start(place, host):
    await host.launch(place.spec("web", "sleep", "1000"))

    assert files(place.logs, "web.stdout") == {0: b""}
    assert files(place.logs, "web.stderr") == {0: b""}


async def test_a_task_without_logs_writes_to_nowhere(place, host):
    handle = await host.launch(place.spec("web", "sh", "-c", "echo lost; exit 6", logs=False))

    assert (await handle.wait()).code == 6
    assert list(place.logs.iterdir()) == []


async def test_a_log_directory_that_vanishes_costs_output_but_not_the_task(place, host):
    script = f"rm -rf {place.logs}; yes 0123456789 | head -c 200000; exit 7"
    handle = await host.launch(place.spec("web", "sh", "-c", script, max_file_bytes=10_000))

    record = await handle.wait()

    assert record.code == 7
    assert record.dropped_bytes > 100_000
    assert "output is dropped" in (place.base / "state/web/shim.log").read_text()


@pytest.fixture
def small_disk(tmp_path) -> Iterator[str]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "none", disk], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    yield str(disk)
    subprocess.run(["umount", "-l", disk], check=True)


async def test_a_full_disk_costs_output_but_neither_the_task_nor_its_exit_code(place, host, small_disk):
    """Also the state is on the full disk: the room for the exit file was taken at the start."""
    script = "yes 0123456789 | head -c 2000000; exit 8"
    spec = place.spec("web", "sh", "-c", script, log_dir=small_disk, state_dir=f"{small_disk}/state")
    handle = await host.launch(spec)

    record = await handle.wait()

    assert record.code == 8
    assert record.dropped_bytes > 1_000_000


async def test_a_start_on_a_full_disk_fails_with_a_reason_that_may_pass(place, host, small_disk):
    with open(f"{small_disk}/full", "wb") as file, pytest.raises(OSError):
        file.write(b"x" * 1_000_000)
        file.flush()
    from rove.client.shim.link import ShimError

    with pytest.raises(ShimError, match="No space left") as caught:
        await host.launch(place.spec("web", "true", state_dir=f"{small_disk}/state"))

    assert caught.value.recoverable
