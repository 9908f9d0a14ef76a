"""Reading below an allocation's directory: nothing leads out, nothing secret is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rove.client import files
from rove.errors import BadRequestError, ForbiddenError, NotFoundError, RoveError
from rove.ports.real import RealClock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "alloc-1"
    for name in ("alloc/logs", "alloc/secrets", "web/local/deep", "web/secrets", "web/private"):
        (root / name).mkdir(parents=True)
    (root / "web/local/notes.txt").write_text("0123456789")
    (root / "web/secrets/token").write_text("hush")
    (root / "web/private/key").write_text("hush")
    (root / "alloc/secrets/fine").write_text("not a task's")
    (tmp_path / "outside").write_text("other people's")
    return root


def read(root: Path, path: str, offset: int = 0, limit: int = 0) -> bytes:
    return files.read_all(root, path, offset, limit)


def test_files_are_listed_and_described(root: Path) -> None:
    entries = files.list_dir(root, "/web/local")
    assert [(entry.name, entry.is_dir, entry.size) for entry in entries][1] == ("notes.txt", False, 10)
    assert files.stat_path(root, "web/local/notes.txt").content_type == "text/plain"
    assert files.stat_path(root, "web/local").is_dir
    assert files.stat_path(root, "/").file_mode.startswith("d")


def test_parts_of_a_file_are_read(root: Path) -> None:
    assert read(root, "/web/local/notes.txt") == b"0123456789"
    assert read(root, "web/local/notes.txt", 3, 4) == b"3456"
    assert read(root, "web/local/notes.txt", 50) == b""
    assert read(root, "web/./local//deep/../notes.txt", 8) == b"89"


@pytest.mark.parametrize("path", ["../outside", "web/../../outside", "/../outside", "web/local/../../../outside"])
def test_dots_do_not_lead_out(root: Path, path: str) -> None:
    with pytest.raises(ForbiddenError):
        read(root, path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("absolute", "/etc/passwd"), ("relative", "../../../outside"), ("dir", ".."), ("chain", "relative"),
        ("loop", "loop"), ("proc", "/proc/self/root/etc/passwd"), ("sibling", "../../../alloc-10/x"),
    ],
)  # fmt: skip
def test_links_do_not_lead_out(root: Path, name: str, target: str) -> None:
    local = root / "web/local"
    (root.parent / "alloc-10").mkdir()
    (root.parent / "alloc-10" / "x").write_text("other people's")
    (local / "relative").symlink_to("../../../outside")
    if name != "relative":
        (local / name).symlink_to(target)
    path = f"web/local/{name}/../../../outside" if name == "dir" else f"web/local/{name}"
    with pytest.raises(ForbiddenError):
        read(root, path)


def test_a_link_to_a_path_that_only_begins_like_ours_is_refused(root: Path) -> None:
    evil = Path(f"{root}-evil")
    evil.write_text("other people's")
    (root / "web/local/x").symlink_to(evil)
    with pytest.raises(ForbiddenError):
        read(root, "web/local/x")


def test_links_within_are_followed(root: Path) -> None:
    (root / "web/local/near").symlink_to("notes.txt")
    (root / "web/local/far").symlink_to(root / "web" / "local")
    assert read(root, "web/local/near") == b"0123456789"
    assert read(root, "web/local/far/notes.txt") == b"0123456789"


@pytest.mark.parametrize(
    "path", ["web/secrets/token", "web/secrets", "web/private/key", "web/local/../secrets/token", "web/local/sneak"]
)
def test_secrets_are_not_read_by_any_way(root: Path, path: str) -> None:
    (root / "web/local/sneak").symlink_to("../secrets/token")
    with pytest.raises(ForbiddenError):
        read(root, path)
    with pytest.raises(ForbiddenError):
        files.list_dir(root, path)
    with pytest.raises(ForbiddenError):
        files.stat_path(root, path)


def test_a_folder_named_secrets_elsewhere_is_ordinary(root: Path) -> None:
    assert read(root, "alloc/secrets/fine") == b"not a task's"


def test_a_pipe_is_refused_and_does_not_block(root: Path) -> None:
    os.mkfifo(root / "web/local/pipe")
    with pytest.raises(BadRequestError):
        read(root, "web/local/pipe")


def test_a_directory_is_no_file_and_a_file_no_directory(root: Path) -> None:
    with pytest.raises(BadRequestError):
        read(root, "web/local")
    with pytest.raises(BadRequestError):
        files.list_dir(root, "web/local/notes.txt")


@pytest.mark.parametrize("path", ["nothing", "web/local/notes.txt/below", "web/nothing/x"])
def test_what_is_missing_is_not_found(root: Path, path: str) -> None:
    with pytest.raises(NotFoundError):
        read(root, path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_odd_paths_are_refused(root: Path, path: str) -> None:
    with pytest.raises(BadRequestError):
        read(root, path)


def test_a_name_too_long_for_the_disk_is_a_plain_error(root: Path) -> None:
    with pytest.raises(RoveError):
        read(root, "y" * 300)


def test_no_descriptor_is_left_open(root: Path) -> None:
    (root / "web/local/loop").symlink_to("loop")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("web/local/notes.txt", "web/secrets/token", "web/local/loop", "../x", "nothing", "web/local/deep/.."):
        for call in (lambda p: read(root, p), lambda p: files.list_dir(root, p), lambda p: files.stat_path(root, p)):
            try:
                call(path)
            except RoveError:
                pass
    assert len(os.listdir("/proc/self/fd")) == before


async def collect(chunks: object) -> bytes:
    return b"".join([chunk.data async for chunk in chunks])  # type: ignore[attr-defined]


async def test_a_file_is_streamed_from_either_end(root: Path) -> None:
    for origin, offset, expected in (("start", 4, b"456789"), ("end", 3, b"789"), ("end", 99, b"0123456789")):
        chunks = files.stream_file(root, "web/local/notes.txt", clock=RealClock(), offset=offset, origin=origin)
        assert await collect(chunks) == expected


async def test_a_wrong_origin_is_refused(root: Path) -> None:
    with pytest.raises(BadRequestError):
        await collect(files.stream_file(root, "web/local/notes.txt", clock=RealClock(), origin="middle"))


async def test_following_sees_what_is_added_cut_and_deleted(root: Path) -> None:
    path = root / "web/local/notes.txt"
    seen: list[tuple[bytes, str]] = []
    async for chunk in files.stream_file(root, "web/local/notes.txt", clock=RealClock(), follow=True):
        seen.append((chunk.data, chunk.event))
        match len(seen):
            case 1:
                path.write_bytes(b"0123456789more")
            case 2:
                path.write_bytes(b"new")
            case 4:
                path.unlink()
    assert seen == [
        (b"0123456789", ""), (b"more", ""), (b"", "file truncated"), (b"new", ""), (b"", "file deleted"),
    ]  # fmt: skip


async def test_logs_read_over_rotated_files_as_one_text(root: Path) -> None:
    logs = root / "alloc/logs"
    for number, text in ((9, "nine|"), (10, "ten|"), (11, "eleven|")):
        (logs / f"web.stdout.{number}").write_text(text)
    (logs / "web.stderr.0").write_text("not this")
    (logs / "web.stdout.x").write_text("nor this")
    clock = RealClock()
    assert await collect(files.stream_logs(root, "web", "stdout", clock=clock)) == b"nine|ten|eleven|"
    assert await collect(files.stream_logs(root, "web", "stdout", clock=clock, offset=6)) == b"en|eleven|"
    tail = files.stream_logs(root, "web", "stdout", clock=clock, offset=9, origin="end")
    assert await collect(tail) == b"n|eleven|"


async def test_followed_logs_go_on_over_a_rotation_and_end_with_the_task(root: Path) -> None:
    logs, done, text = root / "alloc/logs", False, b""
    (logs / "web.stdout.0").write_text("one ")
    chunks = files.stream_logs(root, "web", "stdout", clock=RealClock(), follow=True, is_done=lambda: done)
    async for chunk in chunks:
        text += chunk.data
        if text == b"one ":
            with (logs / "web.stdout.0").open("a") as file:
                file.write("two ")
            (logs / "web.stdout.1").write_text("three")
        elif text.endswith(b"three"):
            done = True
    assert text == b"one two three"


async def test_a_log_that_was_swapped_for_a_link_is_refused(root: Path) -> None:
    (root / "alloc/logs/web.stdout.0").symlink_to("/etc/passwd")
    with pytest.raises(ForbiddenError):
        await collect(files.stream_logs(root, "web", "stdout", clock=RealClock()))


@pytest.mark.parametrize(("task", "kind"), [("web", "stdlog"), ("../web", "stdout"), ("", "stdout")])
async def test_odd_log_requests_are_refused(root: Path, task: str, kind: str) -> None:
    with pytest.raises(BadRequestError):
        await collect(files.stream_logs(root, task, kind, clock=RealClock()))
