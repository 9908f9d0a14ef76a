"""Ending a task ends everything that it started, whatever it does about it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from rove.client.shim import procfs
from rove.client.shim.link import ShimError

STUBBORN = "trap '' TERM INT; while :; do sleep 0.05; done"


def pid_in(path) -> int:
    return int(path.read_text())


async def test_a_task_that_obeys_ends_by_the_signal_it_was_sent(place, host):
    handle = await host.launch(place.spec("web", "sleep", "1000"))

    await handle.kill("SIGINT", 30)

    assert (await handle.wait()).signal == signal.SIGINT


async def test_a_task_may_end_by_itself_with_a_code_when_asked(place, host, until):
    ready = place.base / "ready"
    script = f"trap 'exit 9' TERM; touch {ready}; while :; do sleep 0.02; done"
    handle = await host.launch(place.spec("web", "sh", "-c", script))
    await until(ready.exists)

    await handle.kill("SIGTERM", 30)

    assert (await handle.wait()).code == 9


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_stubborn_task_with_stubborn_children_is_forced_after_the_timeout(
    place, host, until, is_alive, grouped
):
    child, daemon, ready = (place.base / name for name in ("child", "daemon", "ready"))
    script = (
        f"trap '' TERM; sh -c 'echo $$ > {child}; {STUBBORN.replace(chr(39), chr(34))}' & "
        f"setsid sh -c '(echo $$ > {daemon}; touch {ready}; exec sleep 1000) &' ; while :; do sleep 0.05; done"
    )
    handle = await host.launch(place.spec("web", "sh", "-c", script, grouped=grouped))
    await until(ready.exists)
    await until(lambda: child.exists() and child.read_text().strip())

    await handle.kill("SIGTERM", 0.2)

    assert (await handle.wait()).signal == signal.SIGKILL
    assert not is_alive(pid_in(child))
    assert not is_alive(pid_in(daemon))


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_daemon_left_behind_by_a_task_that_ends_is_ended_too(place, host, is_alive, grouped):
    daemon = place.base / "daemon"
    script = (
        f"setsid sh -c 'echo $$ > {daemon}; trap \"\" TERM HUP; exec sleep 1000 >/dev/null 2>&1' & sleep 0.2; exit 3"
    )
    handle = await host.launch(place.spec("web", "sh", "-c", script, grouped=grouped))

    record = await handle.wait()

    assert record.code == 3
    assert not is_alive(pid_in(daemon))


async def test_a_child_that_keeps_the_output_open_does_not_hold_up_the_end(place, host):
    spec = place.spec("web", "sh", "-c", "echo said; sleep 1000 & exit 4", drain_s=0.1)
    handle = await host.launch(spec)

    assert (await handle.wait()).code == 4
    assert place.log("web") == b"said\n"


async def test_without_a_timeout_a_task_is_forced_at_once(place, host):
    handle = await host.launch(place.spec("web", "sh", "-c", STUBBORN))

    await handle.kill("SIGTERM", 0)

    assert (await handle.wait()).signal == signal.SIGKILL


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_task_whose_control_socket_is_lost_is_still_ended(place, host, until, grouped):
    ready = place.base / "ready"
    handle = await host.launch(
        place.spec("web", "sh", "-c", f"trap '' TERM; touch {ready}; {STUBBORN}", grouped=grouped)
    )
    await until(ready.exists)
    os.unlink(f"{place.state('web')}/ctl")

    await handle.kill("SIGTERM", 0.1)

    assert (await handle.wait()).signal == signal.SIGKILL


async def test_a_signal_reaches_the_main_process_also_without_the_control_socket(place, host, until):
    got = place.base / "got"
    script = f"trap 'echo x >> {got}' USR1; touch {place.base}/ready; while :; do sleep 0.02; done"
    handle = await host.launch(place.spec("web", "sh", "-c", script))
    await until((place.base / "ready").exists)

    await handle.signal("SIGUSR1")
    await until(lambda: got.exists() and got.read_text() == "x\n")
    os.unlink(f"{place.state('web')}/ctl")
    await handle.signal("usr1")
    await until(lambda: got.read_text() == "x\nx\n")


async def test_an_unknown_signal_is_refused_and_changes_nothing(place, host, is_alive):
    handle = await host.launch(place.spec("web", "sleep", "1000"))

    with pytest.raises(ShimError, match="no signal called 'SIGNOPE'"):
        await handle.signal("SIGNOPE")
    with pytest.raises(ShimError, match="no signal"):
        await handle.kill("", 1)
    assert is_alive(handle.pid)


async def test_killing_an_ended_task_is_harmless_and_signalling_it_is_refused(place, host):
    handle = await host.launch(place.spec("web", "true"))
    await handle.wait()

    await handle.kill("SIGTERM", 1)
    with pytest.raises(ShimError, match="not running"):
        await handle.signal("SIGTERM")


async def test_two_who_wait_and_two_who_kill_all_come_back(place, host):
    handle = await host.launch(place.spec("web", "sh", "-c", STUBBORN))

    results = await asyncio.gather(
        handle.wait(), handle.wait(), handle.kill("SIGTERM", 0.1), handle.kill("SIGTERM", 0.2)
    )

    assert results[0] == results[1]


async def test_a_start_that_nobody_waits_for_any_more_leaves_nothing_running(place, host, until):
    start = asyncio.create_task(host.launch(place.spec("web", "sleep", "1000")))
    while not os.path.exists(place.state("web")):
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    await until(lambda: os.path.exists(f"{place.state('web')}/exit"))


async def test_a_killed_shim_is_reported_and_its_task_is_ended(place, host, is_alive):
    handle = await host.launch(place.spec("web", "sh", "-c", "setsid sleep 1000 & sleep 1000"))
    assert handle.record is not None

    procfs.send_to(handle.record.shim_pid, handle.record.shim_start_ticks, signal.SIGKILL)
    record = await handle.wait()

    assert (record.code, record.signal) == (None, None)
    assert "shim was killed" in record.unknown
    assert not is_alive(handle.pid)


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_shim_killed_while_no_agent_was_there_is_noticed_on_adoption(
    place, host, start_agent, until, grouped, is_alive
):
    agent = start_agent([place.spec("web", "sh", "-c", "sleep 1000 & sleep 1000; exit 3", grouped=grouped)])
    agent.kill_with_zygote()
    record = place.record("web")
    procfs.send_to(record.shim_pid, record.shim_start_ticks, signal.SIGKILL)
    await until(lambda: not is_alive(record.shim_pid))
    assert is_alive(agent.pids[0])

    handle = await host.adopt(place.state("web"))

    assert handle is not None
    assert "shim was killed" in (await handle.wait()).unknown
    await until(lambda: not is_alive(agent.pids[0]))
    again = await host.adopt(place.state("web"))
    assert again is not None
    assert "shim was killed" in (await again.wait()).unknown
