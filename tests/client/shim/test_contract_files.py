"""The files on disk are a contract over versions: readers never raise and never guess."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rove.client.shim.contract import (
    BROKEN,
    MISSING,
    NEWER,
    CgroupSpec,
    ExitRecord,
    LaunchSpec,
    Limits,
    PidRecord,
    StartError,
    Unreadable,
    decode_exit,
    decode_pid,
    encode,
    plain,
    read_exit,
    read_pid,
    read_spec,
    write_file,
)

PID = PidRecord(7, 8, 9, 10, "boot", 1.5, {"v2": "/x"}, Limits({"memory_bytes": "5"}, {"pids_max": "why"}))
EXIT = ExitRecord(3, None, at=2.5, dropped_bytes=4)
SPEC = LaunchSpec(
    "t", ["a", "b"], {"A": "ü"}, "/", "/s", "/l", "o", "e", rlimits=[("nofile", 1, 2)],
    cgroup=CgroupSpec("n", memory_bytes=1), uid=5, groups=[1],
)  # fmt: skip


def test_what_is_written_is_read_back(tmp_path):
    state = str(tmp_path)
    for name, record, read in (("pid", PID, read_pid), ("exit", EXIT, read_exit), ("spec", SPEC, read_spec)):
        write_file(state, name, encode(record))
        assert read(state) == record
    assert {oct((tmp_path / name).stat().st_mode & 0o777) for name in ("pid", "exit", "spec")} == {"0o600"}


def test_a_record_of_the_first_version_is_still_read():
    """Recorded from version 1; never to be changed."""
    pid = b'{"pid": 7, "start_ticks": 8, "shim_pid": 9, "shim_start_ticks": 10, "boot_id": "b", "version": 1}'
    end = b'{"code": null, "signal": 9, "oom_killed": true, "at": 1.0, "version": 1}'

    assert decode_pid(pid) == PidRecord(7, 8, 9, 10, "b", 0.0)
    assert decode_exit(end) == ExitRecord(None, 9, oom_killed=True, at=1.0)


def test_fields_of_tomorrow_are_ignored_and_versions_of_tomorrow_refused():
    assert decode_exit(json.dumps({**plain(EXIT), "new": 1}).encode()) == EXIT
    refused = decode_exit(json.dumps({**plain(EXIT), "version": 2}).encode())
    assert isinstance(refused, Unreadable)
    assert refused.why == NEWER


@pytest.mark.parametrize(
    "change",
    [
        {"pid": 0},
        {"pid": -1},
        {"pid": "7"},
        {"pid": True},
        {"pid": None},
        {"boot_id": 1},
        {"cgroup_dirs": []},
        {"cgroup_dirs": {"a": 1}},
        {"limits": 3},
        {"version": None},
        {"started_at": "x"},
    ],
)
def test_a_pid_record_with_a_wrong_field_is_not_used(change):
    damaged = decode_pid(json.dumps({**plain(PID), **change}).encode())

    assert isinstance(damaged, Unreadable)
    assert damaged.why == BROKEN


def test_an_exit_without_code_and_signal_is_not_used():
    damaged = decode_exit(json.dumps({**plain(EXIT), "code": None}).encode())

    assert isinstance(damaged, Unreadable)


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_no_content_makes_a_reader_raise(data):
    assert isinstance(decode_pid(data), PidRecord | Unreadable)
    assert isinstance(decode_exit(data), ExitRecord | Unreadable)


def test_a_missing_file_a_link_and_a_pipe_are_told_apart_from_records(tmp_path):
    assert read_pid(str(tmp_path)).why == MISSING
    (tmp_path / "real").write_bytes(encode(PID))
    (tmp_path / "pid").symlink_to("real")
    assert read_pid(str(tmp_path)).why == BROKEN
    os.mkfifo(tmp_path / "exit")
    assert read_exit(str(tmp_path)).why == BROKEN


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    write_file(str(tmp_path), "pid", encode(PID))
    (tmp_path / f".exit.{os.getpid()}").mkdir()

    with pytest.raises(OSError):
        write_file(str(tmp_path), "exit", encode(EXIT))

    assert read_pid(str(tmp_path)) == PID


def test_a_start_error_survives_the_exit_file():
    record = ExitRecord(None, None, error=StartError("exec", 2, "no such program"))

    assert decode_exit(encode(record)) == record
