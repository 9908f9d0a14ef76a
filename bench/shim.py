"""What a raw_exec task costs: memory of its helper, time to start, to notice its end, to be killed.

python bench/shim.py [--tasks 200]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rove.client.shim.contract import CgroupSpec, LaunchSpec
from rove.client.shim.host import Handle, ShimHost

MIB = 1024 * 1024
OUT = Path(__file__).parent / "out" / "shim.json"


def pss_bytes(pid: int) -> int:
    """Proportional set size: private memory plus a fair part of what is shared."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def a_spec(base: Path, name: str, *argv: str) -> LaunchSpec:
    return LaunchSpec(
        task=name,
        argv=list(argv),
        env={"PATH": os.environ.get("PATH", "/bin:/usr/bin")},
        cwd=str(base),
        state_dir=str(base / "state" / name),
        log_dir=str(base / "logs"),
        stdout_name=f"{name}.stdout",
        stderr_name=f"{name}.stderr",
        cgroup=CgroupSpec(name=f"bench-{os.getpid()}-{name}", memory_bytes=64 * MIB, cpu_shares=100),
    )


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def measure(tasks: int, base: Path) -> dict[str, Any]:
    (base / "logs").mkdir()
    host = ShimHost()
    began = time.perf_counter()
    await host.warm()
    warm_s = time.perf_counter() - began
    before = pss_bytes(os.getpid()), pss_bytes(host.zygote_pid)
    handles, starts = await start_all(host, base, tasks)
    helpers = [handle.record.shim_pid for handle in handles if handle.record]
    agent, zygote = pss_bytes(os.getpid()) - before[0], pss_bytes(host.zygote_pid) - before[1]
    shims = sum(map(pss_bytes, helpers))
    began = time.perf_counter()
    for handle in handles:
        await handle.usage()
    first_sweep = time.perf_counter() - began
    began = time.perf_counter()
    for handle in handles:
        await handle.usage()
    sweep = time.perf_counter() - began
    began = time.perf_counter()
    await asyncio.gather(*(handle.kill("SIGTERM", 5) for handle in handles))
    kill_all = time.perf_counter() - began
    ends = await end_latency(host, base)
    await host.close()
    return {
        "tasks": tasks,
        "zygote_start_ms": warm_s * 1e3,
        "start_p50_ms": statistics.median(starts) * 1e3,
        "start_p99_ms": percentile(starts, 0.99) * 1e3,
        "helpers_per_task": len(set(helpers)) / tasks,
        "shim_pss_mib": shims / tasks / MIB,
        "extra_pss_per_task_mib": (shims + agent + zygote) / tasks / MIB,
        "zygote_pss_mib": before[1] / MIB,
        "usage_first_sweep_ms": first_sweep * 1e3,
        "usage_sweep_ms": sweep * 1e3,
        "kill_all_ms": kill_all * 1e3,
        "short_task_p50_ms": statistics.median(ends) * 1e3,
    }


async def start_all(host: ShimHost, base: Path, tasks: int) -> tuple[list[Handle], list[float]]:
    program = ["busybox", "sleep"] if shutil.which("busybox") else ["sleep"]
    handles, took = [], []
    for number in range(tasks):
        began = time.perf_counter()
        handles.append(await host.launch(a_spec(base, f"t{number}", *program, "1000")))
        took.append(time.perf_counter() - began)
    return handles, took


async def end_latency(host: ShimHost, base: Path) -> list[float]:
    """From the order to the known exit of a task that does nothing."""
    took = []
    for number in range(50):
        began = time.perf_counter()
        handle = await host.launch(a_spec(base, f"e{number}", "true"))
        await handle.wait()
        took.append(time.perf_counter() - began)
    return took


def run(tasks: int = 200) -> dict[str, Any]:
    """All figures, in ms and MiB."""
    base = Path(tempfile.mkdtemp(prefix="rove-bench-shim-"))
    try:
        return asyncio.run(measure(tasks, base))
    finally:
        shutil.rmtree(base, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--json", type=Path, default=OUT)
    arguments = parser.parse_args()
    figures = run(arguments.tasks)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=2))
    for name, value in figures.items():
        print(f"{name:26} {value:10.2f}")


if __name__ == "__main__":
    main()
