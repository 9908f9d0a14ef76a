"""A command beside a task runs in the task's context and ends with it."""

from __future__ import annotations

import asyncio
import os

import pytest

from rove.client.shim.link import ShimError


async def collect(session) -> dict[str, bytes]:
    found = {"stdout": b"", "stderr": b""}
    async for name, data in session.output():
        found[name] += data
    return found


@pytest.fixture
async def task(place, host):
    return await host.launch(place.spec("web", "sleep", "1000"))


async def test_it_has_the_tasks_environment_directory_and_control_group(place, task):
    session = await task.exec_in(["sh", "-c", "echo $MARK; pwd; cat /proc/self/cgroup"], tty=False)

    said = (await collect(session))["stdout"].decode()

    assert await session.wait() == 0
    assert said.startswith(f"web\n{place.base}\n")
    if task.limits.applied.get("group"):
        assert place.base.name in said


async def test_input_output_error_and_exit_code_are_kept_apart(task):
    session = await task.exec_in(["sh", "-c", "cat; echo wrong >&2; exit 12"], tty=False)
    await session.write(b"fed ")
    await session.write(b"twice")
    await session.close_stdin()

    assert await collect(session) == {"stdout": b"fed twice", "stderr": b"wrong\n"}
    assert await session.wait() == 12


async def test_a_lot_of_output_arrives_whole(task):
    session = await task.exec_in(["sh", "-c", "yes 0123456789 | head -c 3000000"], tty=False)

    assert len((await collect(session))["stdout"]) == 3_000_000


async def test_a_lot_of_input_arrives_whole(task):
    session = await task.exec_in(["wc", "-c"], tty=False)

    async def feed() -> None:
        await session.write(b"x" * 2_000_000)
        await session.close_stdin()

    feeding = asyncio.create_task(feed())
    assert (await collect(session))["stdout"].strip() == b"2000000"
    await feeding


async def test_input_for_a_command_that_ends_without_reading_is_dropped(task):
    session = await task.exec_in(["sh", "-c", "sleep 0.1; exit 5"], tty=False)

    await asyncio.wait_for(session.write(b"x" * 2_000_000), 30)

    assert await session.wait() == 5


@pytest.mark.parametrize("tty", [False, True])
async def test_descriptors_are_given_back(task, tty):
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        session = await task.exec_in(["true"], tty=tty)
        await collect(session)
        await session.wait()
        await session.kill()

    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_a_terminal_has_a_size_and_is_one(task):
    session = await task.exec_in(["sh", "-c", "read line; tty >/dev/null && stty size; exit 3"], tty=True)
    await session.resize(41, 101)
    await session.write(b"go\n")

    assert b"41 101" in (await collect(session))["stdout"]
    assert await session.wait() == 3


async def test_the_end_of_input_on_a_terminal_ends_a_shell(task):
    session = await task.exec_in(["sh"], tty=True)
    await session.close_stdin()
    await collect(session)

    assert await session.wait() == 0


async def test_a_command_ended_by_a_signal_has_code_128_and_more(task):
    session = await task.exec_in(["sh", "-c", "kill -9 $$"], tty=False)

    assert await session.wait() == 137


@pytest.mark.parametrize("tty", [False, True])
async def test_killing_it_ends_its_children_and_may_be_done_twice(place, task, until, is_alive, tty):
    pid_file = place.base / "child"
    script = f"setsid sh -c 'trap \"\" TERM HUP; echo $$ > {pid_file}; exec sleep 1000' & wait"
    session = await task.exec_in(["sh", "-c", script], tty=tty)
    await until(lambda: pid_file.exists() and pid_file.read_text().strip())

    await session.kill()
    await session.kill()

    assert await session.wait() == 137
    assert not is_alive(int(pid_file.read_text()))
    assert is_alive(task.pid)


async def test_it_ends_with_its_task(task):
    session = await task.exec_in(["sleep", "1000"], tty=False)

    await task.kill("SIGKILL", 0)

    assert await session.wait() == 137


async def test_a_command_that_cannot_run_is_named(task):
    with pytest.raises(ShimError, match="'no-such' was not found"):
        await task.exec_in(["no-such"], tty=False)


async def test_nothing_runs_beside_an_ended_task(place, host):
    handle = await host.launch(place.spec("web", "true"))
    await handle.wait()

    with pytest.raises(ShimError, match="not running"):
        await handle.exec_in(["true"], tty=False)


async def test_it_works_for_an_adopted_task(place, host, start_agent):
    start_agent([place.spec("web", "sleep", "1000")]).kill_with_zygote()
    handle = await host.adopt(place.state("web"))
    assert handle is not None

    session = await handle.exec_in(["sh", "-c", "echo $MARK"], tty=False)

    assert (await collect(session))["stdout"] == b"web\n"
