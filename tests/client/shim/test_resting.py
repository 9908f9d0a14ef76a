"""A zygote that has nothing to do is let go; tasks do not notice, and the next start makes a new one."""

from __future__ import annotations

from rove.client.shim.host import ShimHost


async def test_an_idle_zygote_is_let_go_and_comes_back_for_the_next_start(place, until, is_alive):
    host = ShimHost(idle_s=0.2)
    first = await host.launch(place.spec("one", "sleep", "1000"))
    zygote = host.zygote_pid
    assert zygote

    await until(lambda: not host.zygote_pid)
    assert not is_alive(zygote)
    assert is_alive(first.pid)

    second = await host.launch(place.spec("two", "sh", "-c", "exit 3"))
    assert (await second.wait()).code == 3
    await first.kill("SIGKILL", 1)
    assert (await first.wait()).signal == 9
    await host.close()


async def test_orders_keep_it(place):
    host = ShimHost(idle_s=1000)
    await host.warm()
    zygote = host.zygote_pid
    handle = await host.launch(place.spec("one", "sh", "-c", "exit 0"))
    await handle.wait()
    assert host.zygote_pid == zygote
    await host.close()


async def test_that_it_can_be_started_is_shown_once(until):
    host = ShimHost(idle_s=0.1)
    await host.prove()
    await until(lambda: not host.zygote_pid)
    await host.prove()
    assert not host.zygote_pid
    await host.close()
