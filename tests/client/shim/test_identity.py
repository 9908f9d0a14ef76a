"""A pid means nothing without its start time and boot: a stranger is never signalled."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rove.client.shim import procfs
from rove.client.shim.contract import CgroupSpec, PidRecord, encode
from rove.client.shim.leftovers import end_leftovers


@pytest.fixture
def stranger() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process.pid
    process.kill()
    process.wait()


def forge(place, **changes) -> str:
    """A pid file as an earlier agent would have left it."""
    fields = {
        "pid": 1,
        "start_ticks": 5,
        "shim_pid": 1,
        "shim_start_ticks": 5,
        "boot_id": procfs.boot_id(),
        "started_at": 1.0,
    }
    folder = place.base / "state" / "forged"
    folder.mkdir(parents=True)
    (folder / "pid").write_bytes(encode(PidRecord(**{**fields, **changes})))
    (folder / "spec").write_bytes(encode(place.spec("forged", "sleep", "1")))
    return str(folder)


async def test_a_reused_pid_is_not_signalled_and_the_task_counts_as_lost(place, host, stranger, is_alive):
    wrong = procfs.start_ticks_of(stranger) - 1
    state = forge(place, pid=stranger, start_ticks=wrong, shim_pid=stranger, shim_start_ticks=wrong)

    handle = await host.adopt(state)

    assert handle is not None
    record = await handle.wait()
    assert (record.code, record.signal) == (None, None)
    assert "nothing of it was left" in record.unknown
    await handle.kill("SIGKILL", 0)
    assert is_alive(stranger)


async def test_the_session_of_a_stranger_with_the_same_number_is_left_alone(place, stranger, is_alive):
    state = forge(place, pid=stranger, start_ticks=procfs.start_ticks_of(stranger) - 1)

    end_leftovers(state, place.record("forged"))

    assert is_alive(stranger)


async def test_a_record_of_an_earlier_boot_finds_nothing_and_touches_nobody(place, host, stranger, is_alive):
    ticks = procfs.start_ticks_of(stranger)
    state = forge(place, pid=stranger, start_ticks=ticks, shim_pid=stranger, shim_start_ticks=ticks, boot_id="x")

    assert await host.adopt(state) is None
    assert "anew" in end_leftovers(state, place.record("forged"))
    assert is_alive(stranger)


async def test_a_record_that_names_a_foreign_control_group_is_not_believed(place, host, stranger, is_alive, tmp_path):
    group = tmp_path / "someone-elses"
    group.mkdir()
    (group / "cgroup.procs").write_text(f"{stranger}\n")
    state = forge(place, cgroup_dirs={"pids": str(group)}, shim_pid=2**22 - 7, pid=2**22 - 6)

    handle = await host.adopt(state)

    assert handle is not None
    await handle.wait()
    assert is_alive(stranger)


async def test_a_group_with_a_dotted_path_to_a_foreign_group_is_not_believed(place):
    spec = place.spec("t", "true", cgroup=CgroupSpec(name="mine", parent="rove"))
    from rove.client.shim.leftovers import own_groups

    record = PidRecord(1, 1, 1, 1, "", 0.0, cgroup_dirs={"pids": "/c/rove/mine/..", "cpu": "/c/rove/mine"})

    assert own_groups(spec, record) == {"cpu": "/c/rove/mine"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b"\xff\xfe", b"[" * 100_000])
async def test_a_pid_file_that_is_damaged_is_nobodys(place, host, content):
    folder = place.base / "state" / "damaged"
    folder.mkdir(parents=True)
    (folder / "pid").write_bytes(content)

    assert await host.adopt(str(folder)) is None


async def test_a_damaged_pid_file_of_a_live_task_is_made_up_for_by_its_shim(place, host, start_agent):
    agent = start_agent([place.spec("web", "sleep", "1000")])
    agent.kill()
    pid_file = Path(place.state("web"), "pid")
    whole = pid_file.read_bytes()
    assert json.loads(whole)["pid"] == agent.pids[0]
    os.truncate(pid_file, 10)

    try:
        handle = await host.adopt(place.state("web"))
    finally:
        pid_file.write_bytes(whole)  # for the clean-up

    assert handle is not None
    assert handle.pid == agent.pids[0]


@pytest.mark.parametrize("content", [b"{", b'{"version": 99}'])
async def test_an_exit_file_that_cannot_be_used_is_said_to_be_so(place, host, content):
    state = forge(place)
    (place.base / "state/forged/exit").write_bytes(content)

    handle = await host.adopt(state)

    assert handle is not None
    record = await handle.wait()
    assert "exit file cannot be used" in record.unknown
    assert (place.base / "state/forged/exit").read_bytes() == content
