"""Tasks that are ready at once go on a few at a time."""

from __future__ import annotations

import asyncio

from rove.server.nodes.pace import SLICE_S, Pace
from rove.testing.virtual_time import VirtualClock, virtually


async def _took(pace: Pace, name: int, order: list[tuple[int, float]]) -> None:
    await pace.turn()
    order.append((name, asyncio.get_running_loop().time()))


@virtually
async def test_few_go_at_once() -> None:
    pace, order = Pace(VirtualClock(), 3), list[tuple[int, float]]()
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(_took(pace, name, order) for name in range(3)))
    assert {at for _, at in order} == {started}
    await pace.stop()


@virtually
async def test_many_go_in_the_order_they_came_and_so_many_a_slice() -> None:
    pace, order = Pace(VirtualClock(), 3), list[tuple[int, float]]()
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(_took(pace, name, order) for name in range(8)))
    assert [name for name, _ in order] == list(range(8))
    assert [round((at - started) / SLICE_S) for _, at in order] == [0, 0, 0, 1, 1, 1, 2, 2]
    await pace.stop()


@virtually
async def test_one_that_gave_up_takes_nobodys_turn() -> None:
    pace, order = Pace(VirtualClock(), 1), list[tuple[int, float]]()
    tasks = [asyncio.ensure_future(_took(pace, name, order)) for name in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [name for name, _ in order] == [0, 2]
    await pace.stop()


@virtually
async def test_after_a_quiet_slice_nothing_runs_and_turns_are_free_again() -> None:
    pace, order = Pace(VirtualClock(), 1), list[tuple[int, float]]()
    await _took(pace, 0, order)
    await asyncio.sleep(3 * SLICE_S)
    assert len(asyncio.all_tasks()) == 1  # only this test
    before = asyncio.get_running_loop().time()
    await _took(pace, 1, order)
    assert order[-1] == (1, before)
    await pace.stop()
