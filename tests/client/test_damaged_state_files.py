"""A broken file on disk is named and set aside; the agent starts, and nothing is restarted for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rove.client.state import LocalState
from rove.errors import RoveError
from rove.ports.real import RealIds
from rove.testing.node_agent import World, a_job, an_alloc, until


async def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    state = LocalState(tmp_path)
    state.open()
    alloc = an_alloc(a_job())
    await state.save_alloc(alloc)
    await state.close()
    again = LocalState(tmp_path)
    again.open()
    assert [remembered.alloc for remembered in again.load()] == [alloc]
    assert again.damage == []
    await again.close()


def test_two_agents_cannot_share_a_state_directory(tmp_path: Path) -> None:
    first, second = LocalState(tmp_path), LocalState(tmp_path)
    first.open()
    with pytest.raises(RoveError) as caught:
        second.open()
    assert caught.value.code == "client.state_locked"
    assert str(tmp_path) in caught.value.why


def test_a_state_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RoveError) as caught:
        LocalState(tmp_path / "file" / "client").open()
    assert caught.value.code == "client.state_dir"


def test_a_node_keeps_its_id(tmp_path: Path) -> None:
    state = LocalState(tmp_path)
    state.open()
    assert state.identity(RealIds()) == state.identity(RealIds())


async def test_a_disk_that_takes_no_more_keeps_no_agent_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = LocalState(tmp_path)
    state.open()
    before = state.first_sequence(1000.0)
    (tmp_path / "starts.tmp").mkdir()  # nothing can be written where the file is made
    assert state.first_sequence(2000.0) > before
    assert str(tmp_path / "starts") in caplog.text
    await state.close()


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "text", "newer"])
async def test_a_damaged_file_is_set_aside_and_named(tmp_path: Path, damage: str) -> None:
    state = LocalState(tmp_path)
    state.open()
    good, bad = an_alloc(a_job(), 1), an_alloc(a_job(), 2)
    await state.save_alloc(good)
    await state.save_alloc(bad)
    await state.close()
    path = tmp_path / "allocs" / f"{bad.id}.alloc"
    data = path.read_bytes()
    path.write_bytes(
        {
            "truncate": data[: len(data) // 2], "empty": b"", "flip": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
            "text": b"hello\n", "newer": data.replace(b"rove-state 1", b"rove-state 9", 1),
        }[damage]
    )  # fmt: skip
    again = LocalState(tmp_path)
    again.open()
    assert [remembered.alloc.id for remembered in again.load()] == [good.id]
    assert [found.path for found in again.damage] == [str(path)]
    assert Path(again.damage[0].moved_to).exists()
    await again.close()


async def test_a_write_that_was_cut_off_leaves_the_old_file(tmp_path: Path) -> None:
    state = LocalState(tmp_path)
    state.open()
    alloc = an_alloc(a_job())
    await state.save_alloc(alloc)
    await state.close()
    (tmp_path / "allocs" / f"{alloc.id}.alloc.tmp").write_bytes(b"half")
    again = LocalState(tmp_path)
    again.open()
    assert [remembered.alloc.id for remembered in again.load()] == [alloc.id]
    assert not (tmp_path / "allocs" / f"{alloc.id}.alloc.tmp").exists()
    await again.close()


@pytest.mark.parametrize("suffix", [".alloc", ".tasks"])
async def test_tasks_run_on_when_their_file_is_lost(world: World, suffix: str) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job())
    await world.server.send(alloc)
    await world.server.until_status(alloc, "running")
    await client.stop()
    world.agents.remove(client)
    path = world.data_dir / "client" / "allocs" / f"{alloc.id}{suffix}"
    path.write_bytes(b"\0" * 100)

    again = await world.agent()
    await until(lambda: alloc.id in again.runners and again.runners[alloc.id].tasks["main"].handle is not None)
    await until(lambda: bool(world.server.events))
    assert str(path) in world.server.events[0].message
    assert world.machine.starts == [f"{alloc.id}/main"]
    await world.server.until_status(alloc, "running")


async def test_a_full_disk_is_told_and_does_not_stop_the_node(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = LocalState(tmp_path)
    state.open()
    (tmp_path / "allocs" / f"{an_alloc(a_job()).id}.alloc.tmp").mkdir()  # stands in the way of the write
    await state.save_alloc(an_alloc(a_job()))
    assert "was not written" in caplog.text
    await state.close()


def test_reports_are_numbered_upwards_also_when_the_clock_is_set_back(tmp_path: Path) -> None:
    state = LocalState(tmp_path)
    state.open()
    first = state.first_sequence(2_000_000_000.0)
    assert state.first_sequence(1_000_000_000.0) > first
    (tmp_path / "starts").write_text("broken")
    assert state.first_sequence(2_000_000_005.0) > first
