"""What a task uses is read from its control group, else from one scan of all processes."""

from __future__ import annotations

import asyncio
import os

import pytest

from rove.client.shim import procfs
from rove.client.shim.cgroup import Layout, detect, prepare, weight_of
from rove.client.shim.contract import CgroupSpec
from rove.client.shim.stats import parse_v1, parse_v2

BURN = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; touch done; sleep 1000"


@pytest.mark.parametrize("grouped", [True, False])
async def test_cpu_and_memory_of_a_task_with_its_children_are_counted(place, host, until, grouped):
    handle = await host.launch(place.spec("web", "sh", "-c", f"sh -c '{BURN}'; true", grouped=grouped))
    await until((place.base / "done").exists)

    usage = await handle.usage()

    assert usage.user_ns > 10_000_000
    assert usage.rss > 100_000
    assert handle.pid in usage.pids
    assert len(usage.pids) >= 2
    assert "RSS" in usage.measured_memory


@pytest.mark.parametrize("grouped", [True, False])
async def test_cpu_percent_is_that_of_the_time_since_the_last_question(place, host, until, grouped):
    handle = await host.launch(place.spec("web", "sh", "-c", BURN, grouped=grouped))
    assert (await handle.usage()).cpu_percent == 0
    await until((place.base / "done").exists)
    seen = []

    async def look() -> None:
        while not any(seen):
            seen.append((await handle.usage()).cpu_percent)
            await asyncio.sleep(0.05)

    await asyncio.wait_for(look(), 30)
    assert seen[-1] > 0


async def test_an_ended_task_uses_nothing(place, host):
    handle = await host.launch(place.spec("web", "true"))
    await handle.wait()

    usage = await handle.usage()

    assert (usage.rss, usage.pids) == (0, ())


async def test_limits_are_set_where_the_machine_allows_and_named_where_not(place, host):
    group = CgroupSpec(name=f"limits-{os.getpid()}", parent="rove-test", memory_bytes=50 << 20, cpu_shares=200)
    handle = await host.launch(place.spec("web", "sleep", "1000", cgroup=group))

    limits = handle.limits

    for name in ("memory_bytes", "cpu_shares", "group"):
        assert (name in limits.applied) != (name in limits.missing), name
    if "memory_bytes" in limits.applied:
        assert limits.applied["memory_bytes"] == str(50 << 20)


async def test_a_task_over_its_memory_limit_is_reported_as_killed_for_it(place, host):
    group = CgroupSpec(name=f"oom-{os.getpid()}", parent="rove-test", memory_bytes=8 << 20)
    script = "x=0123456789abcdef; while :; do x=$x$x; done"
    handle = await host.launch(place.spec("web", "sh", "-c", f"sleep 0; {script}", cgroup=group))
    if "memory_bytes" not in handle.limits.applied:
        await handle.kill("SIGKILL", 0)
        pytest.skip("this machine sets no memory limits")

    record = await handle.wait()

    assert record.oom_killed
    assert record.signal == 9


async def test_the_groups_of_a_task_are_gone_when_it_has_ended(place, host):
    handle = await host.launch(place.spec("web", "sleep", "1000"))
    groups = list(place.record("web").cgroup_dirs.values())
    assert all(map(os.path.isdir, groups))

    await handle.kill("SIGKILL", 0)

    assert not any(map(os.path.exists, groups))


def test_figures_of_cgroup_v1_are_understood():
    usage = parse_v1(
        b"cpu user system\n0 100 20\n1 7 3\n",
        b"cache 1\nrss 2\ntotal_cache 4096\ntotal_rss 8192\ntotal_swap 5\n",
        b"16384\n",
        b"nr_periods 9\nnr_throttled 2\nthrottled_time 77\n",
    )

    assert (usage.user_ns, usage.system_ns) == (107, 23)
    assert (usage.rss, usage.cache, usage.swap, usage.usage, usage.max_usage) == (8192, 4096, 5, 12288, 16384)
    assert (usage.throttled_periods, usage.throttled_ns) == (2, 77)


def test_figures_of_cgroup_v2_are_understood():
    usage = parse_v2(
        b"usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_throttled 3\nthrottled_usec 4\n",
        b"anon 8192\nfile 4096\n",
        b"20480\n",
        b"",
    )

    assert (usage.user_ns, usage.system_ns, usage.rss, usage.cache, usage.usage) == (20_000, 10_000, 8192, 4096, 20480)
    assert (usage.throttled_periods, usage.throttled_ns, usage.max_usage) == (3, 4000, 0)


def test_missing_figures_are_zero_and_not_called_measured():
    usage = parse_v1(b"", b"", b"", b"")

    assert (usage.user_ns, usage.rss, usage.measured_cpu, usage.measured_memory) == (0, 0, (), ())


def test_a_machine_with_only_the_unified_hierarchy_is_recognised(tmp_path):
    layout = detect(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n", "0::/\n")

    assert layout == Layout(v2=(str(tmp_path),))


def test_on_a_hybrid_machine_the_old_hierarchies_count(tmp_path):
    for name in ("memory", "unified"):
        (tmp_path / name).mkdir()
    (tmp_path / "unified/cgroup.controllers").write_text("\n")
    mounts = f"c {tmp_path}/memory cgroup rw,memory 0 0\nc {tmp_path}/unified cgroup2 rw 0 0\n"

    assert detect(mounts, "4:memory:/\n0::/\n") == Layout(v1={"memory": f"{tmp_path}/memory"})


def test_a_machine_without_control_groups_says_so_for_every_limit():
    dirs, limits = prepare(CgroupSpec("x", memory_bytes=1, cpu_shares=2), detect("", ""))

    assert dirs == {}
    assert set(limits.missing) == {"group", "memory_bytes", "cpu_shares"}


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (262_144, 10_000), (10**9, 10_000)])
def test_cpu_shares_become_weights_within_bounds(shares, weight):
    assert weight_of(shares) == weight


def test_a_process_name_with_blanks_and_brackets_does_not_shift_the_fields():
    line = b"12 (a) b) (c) S 3 4 5 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 999 0 77\n"

    stat = procfs.parse_stat(line)

    assert stat is not None
    assert (stat.pid, stat.state, stat.ppid, stat.session, stat.start_ticks, stat.rss) == (12, "S", 3, 5, 999, 77)


@pytest.mark.parametrize("line", [b"", b"x", b"1 (a) S 1", b"1 a S 1 2 3", b"x (a) S" + b" 1" * 30])
def test_what_is_not_a_stat_line_is_nothing(line):
    assert procfs.parse_stat(line) is None
