"""Ends tasks that run here although nothing says any more what they are.

The allocation's own record is lost and the server does not know it either; what is left is the driver's
private directory of each task. Every driver is asked whether it finds something there.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from rove.client.drivers.base import Driver, DriverError, TaskSpec
from rove.client.taskrunner.core import TaskRecord
from rove.structs.job import LogConfig
from rove.structs.resources import AllocatedTask

ATTEMPTS_TRIED = 20
"""Starts of a task that are looked for when its record is lost as well."""
LOOK_TIMEOUT_S = 30.0
KILL_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


async def end_orphans(
    drivers: Mapping[str, Driver], alloc_id: str, state: Path, alloc_dir: Path, records: Mapping[str, TaskRecord]
) -> None:
    """End whatever drivers find for the allocation, then remove `state`, its drivers' directory."""
    if not state.is_dir():
        return
    for task_state in sorted(state.iterdir()):
        name = unquote(task_state.name)
        record = records.get(name)
        last = record.machine.attempt if record else ATTEMPTS_TRIED - 1
        for attempt in range(last, -1, -1):
            spec = _spec(alloc_id, name, attempt, task_state, alloc_dir)
            handle_state = record.handle if record and attempt == last else None
            for driver in drivers.values():
                await _end(driver, spec, handle_state or {})
    await asyncio.to_thread(shutil.rmtree, state, ignore_errors=True)


async def _end(driver: Driver, spec: TaskSpec, handle_state: Mapping[str, object]) -> None:
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            handle = await driver.recover(spec, handle_state)
        if handle is None:
            return
        log.warning("task %s runs here and nobody owns it: it is ended", spec.id)
        await handle.kill("", KILL_TIMEOUT_S)
        await handle.destroy()
    except (DriverError, TimeoutError) as error:
        log.warning("driver %s could not say whether it holds %s: %s", driver.name, spec.id, error or "no answer")


def _spec(alloc_id: str, name: str, attempt: int, state: Path, alloc_dir: Path) -> TaskSpec:
    """As much as finding needs."""
    return TaskSpec(
        id=f"{alloc_id}/{name}",
        alloc_id=alloc_id,
        job_id="",
        job_name="",
        namespace="",
        group="",
        name=name,
        node_id="",
        node_name="",
        attempt=attempt,
        config={},
        env={},
        user="",
        resources=AllocatedTask(),
        ports=(),
        kill_signal="",
        kill_timeout_s=KILL_TIMEOUT_S,
        log_config=LogConfig(),
        alloc_dir=alloc_dir,
        task_dir=alloc_dir / name,
        shared_dir=alloc_dir / "alloc",
        log_dir=alloc_dir / "alloc" / "logs",
        state_dir=state,
    )
