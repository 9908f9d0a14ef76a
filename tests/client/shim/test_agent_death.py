"""Tasks outlive the agent and the zygote; the next agent finds them and knows how they ended."""

from __future__ import annotations

import os
import signal


async def test_a_task_outlives_agent_and_zygote_and_is_adopted_with_its_pid(place, host, start_agent, is_alive):
    agent = start_agent([place.spec("web", "sh", "-c", "read line; exit 23", stdin=_fifo(place))])
    agent.kill_with_zygote()

    handle = await host.adopt(place.state("web"))

    assert handle is not None
    assert handle.pid == agent.pids[0]
    assert is_alive(handle.pid)
    (place.base / "fifo").write_text("go on\n")
    assert (await handle.wait()).code == 23


async def test_an_exit_while_no_agent_was_there_is_reported_with_its_code(place, host, start_agent, until):
    agent = start_agent([place.spec("web", "sh", "-c", "read line; exit 42", stdin=_fifo(place))])
    agent.kill_with_zygote()
    (place.base / "fifo").write_text("go on\n")
    await until((place.base / "state/web/exit").exists)

    handle = await host.adopt(place.state("web"))

    assert handle is not None
    assert handle.has_ended
    record = await handle.wait()
    assert (record.code, record.signal, record.unknown) == (42, None, "")


async def test_a_signal_while_no_agent_was_there_is_reported(place, host, start_agent, until):
    agent = start_agent([place.spec("web", "sleep", "1000")])
    agent.kill()
    os.kill(agent.pids[0], signal.SIGSEGV)
    await until((place.base / "state/web/exit").exists)

    handle = await host.adopt(place.state("web"))

    assert handle is not None
    assert (await handle.wait()).signal == signal.SIGSEGV


async def test_logs_have_no_gap_when_agent_and_zygote_die_while_the_task_writes(place, host, start_agent, until):
    count = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 5"
    spec = place.spec("talker", "sh", "-c", f"read go; {count}", stdin=_fifo(place), max_file_bytes=40_000)
    agent = start_agent([spec._replace(max_files=1000)])
    (place.base / "fifo").write_text("go\n")
    await until(lambda: len(place.log("talker")) > 1000)
    agent.kill_with_zygote()
    handle = await host.adopt(place.state("talker"))
    assert handle is not None

    record = await handle.wait()

    assert (record.code, record.dropped_bytes) == (5, 0)
    assert place.log("talker") == b"".join(b"line %d\n" % i for i in range(20_000))


async def test_a_zygote_that_was_killed_is_replaced_and_its_tasks_run_on(place, host, is_alive):
    first = await host.launch(place.spec("first", "sleep", "1000"))
    old = host.zygote_pid
    os.kill(old, signal.SIGKILL)

    second = await host.launch(place.spec("second", "true"))

    assert (await second.wait()).code == 0
    assert host.zygote_pid not in (0, old)
    assert is_alive(first.pid)
    await first.kill("SIGTERM", 5)
    assert (await first.wait()).signal == signal.SIGTERM


async def test_the_zygote_leaves_when_its_agent_was_killed(place, start_agent, until, is_alive):
    agent = start_agent([place.spec("web", "sleep", "1000")])
    agent.kill()

    await until(lambda: not is_alive(agent.zygote))

    assert is_alive(agent.pids[0])


async def test_twenty_tasks_keep_their_pids_over_two_agents(place, host, start_agent, is_alive):
    names = [f"t{number}" for number in range(20)]
    agent = start_agent([place.spec(name, "sleep", "1000") for name in names])
    agent.kill_with_zygote()

    handles = [await host.adopt(place.state(name)) for name in names]

    assert [handle.pid for handle in handles] == agent.pids
    assert all(map(is_alive, agent.pids))


async def test_a_closed_host_leaves_its_tasks_running(place, host, is_alive):
    handle = await host.launch(place.spec("web", "sleep", "1000"))

    await host.close()

    assert is_alive(handle.pid)


async def test_adopting_a_folder_without_a_task_finds_nothing(place, host):
    assert await host.adopt(place.state("nobody")) is None


def _fifo(place) -> str:
    path = place.base / "fifo"
    os.mkfifo(path)
    held = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # a writer is there, so a reader waits
    place.held = held
    return str(path)
