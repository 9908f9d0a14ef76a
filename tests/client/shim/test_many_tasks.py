"""Two hundred tasks on one node: one small helper each, all found again, all ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

TASKS = 200
HELPER_PSS_KIB = 1.2 * 1024


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


@pytest.mark.slow
async def test_two_hundred_tasks_cost_one_small_helper_each_and_all_are_ended(place, host, is_alive):
    names = [f"t{number}" for number in range(TASKS)]
    handles = []
    for start in range(0, TASKS, 20):
        batch = [host.launch(place.spec(name, "sleep", "1000")) for name in names[start : start + 20]]
        handles += await asyncio.gather(*batch)
    helpers = {handle.record.shim_pid for handle in handles}

    assert len(helpers) == TASKS
    assert sum(map(pss_kib, helpers)) / TASKS < HELPER_PSS_KIB

    await asyncio.gather(*(handle.kill("SIGTERM", 20) for handle in handles))
    assert not any(is_alive(handle.pid) for handle in handles)
    assert {(await handle.wait()).signal for handle in handles} == {15}
