"""Statistics in the shape of the HTTP API: what tasks use, and what the machine has left."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rove.client.drivers.base import TaskUsage


def task_usage(usage: TaskUsage) -> dict[str, Any]:
    """Usage of one task."""
    return {
        "MemoryStats": {
            "RSS": usage.rss, "Cache": usage.cache, "Swap": usage.swap, "MappedFile": 0, "Usage": usage.usage,
            "MaxUsage": usage.max_usage, "KernelUsage": 0, "KernelMaxUsage": 0,
            "Measured": list(usage.measured_memory),
        },
        "CpuStats": {
            "SystemMode": float(usage.cpu_system_ns), "UserMode": float(usage.cpu_user_ns),
            "TotalTicks": usage.total_ticks_mhz, "ThrottledPeriods": usage.throttled_periods,
            "ThrottledTime": usage.throttled_ns, "Percent": usage.cpu_percent, "Measured": list(usage.measured_cpu),
        },
        "DeviceStats": [],
    }  # fmt: skip


def alloc_usage(tasks: Mapping[str, TaskUsage], now_ns: int) -> dict[str, Any]:
    """Usage of an allocation: the sum, and each task."""
    total = TaskUsage(
        cpu_user_ns=sum(usage.cpu_user_ns for usage in tasks.values()),
        cpu_system_ns=sum(usage.cpu_system_ns for usage in tasks.values()),
        cpu_percent=sum(usage.cpu_percent for usage in tasks.values()),
        total_ticks_mhz=sum(usage.total_ticks_mhz for usage in tasks.values()),
        throttled_periods=sum(usage.throttled_periods for usage in tasks.values()),
        throttled_ns=sum(usage.throttled_ns for usage in tasks.values()),
        rss=sum(usage.rss for usage in tasks.values()),
        cache=sum(usage.cache for usage in tasks.values()),
        swap=sum(usage.swap for usage in tasks.values()),
        usage=sum(usage.usage for usage in tasks.values()),
        max_usage=sum(usage.max_usage for usage in tasks.values()),
        measured_cpu=_union(usage.measured_cpu for usage in tasks.values()),
        measured_memory=_union(usage.measured_memory for usage in tasks.values()),
    )
    return {
        "ResourceUsage": task_usage(total),
        "Tasks": {
            name: {
                "ResourceUsage": task_usage(usage), "Timestamp": now_ns,
                "Pids": {str(pid): task_usage(TaskUsage()) for pid in usage.pids} or None,
            }
            for name, usage in tasks.items()
        },
        "Timestamp": now_ns,
    }  # fmt: skip


def _union(lists: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


class CpuMeter:
    """How busy each CPU was since it was last asked, at least `LEAST_S` long. Used from several threads."""

    LEAST_S = 0.2

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before: list[Any] = []
        self._read_at = -math.inf
        self._shares: list[dict[str, float]] = []

    def read(self) -> list[dict[str, float]]:
        """Percent of the time per CPU: User, System, Idle, TotalPercent. Blocks for a moment the first time."""
        import psutil

        with self._lock:
            if not self._before:
                self._before, self._read_at = psutil.cpu_times(percpu=True), time.monotonic()
                time.sleep(self.LEAST_S)
            if time.monotonic() - self._read_at >= self.LEAST_S:
                after = psutil.cpu_times(percpu=True)
                self._shares = [cpu_shares(*pair) for pair in zip(self._before, after, strict=False)]
                self._before, self._read_at = after, time.monotonic()
            return self._shares


def cpu_shares(before: Any, after: Any) -> dict[str, float]:
    """What one CPU did between two readings of its times, in percent."""
    spent = {name: max(0.0, getattr(after, name) - getattr(before, name)) for name in after._fields}
    for part in ("guest", "guest_nice"):  # the kernel has counted them as user and nice already
        spent.pop(part, None)
    total = sum(spent.values())
    idle = 100.0 * (spent.get("idle", 0.0) + spent.get("iowait", 0.0)) / total if total else 100.0
    user = 100.0 * (spent.get("user", 0.0) + spent.get("nice", 0.0)) / total if total else 0.0
    system = 100.0 * spent.get("system", 0.0) / total if total else 0.0
    return {"User": user, "System": system, "Idle": idle, "TotalPercent": 100.0 - idle}


def host_usage(alloc_dir: Path, now: float, total_compute_mhz: int, meter: CpuMeter) -> dict[str, Any]:
    """Memory, CPU, disks and uptime of the machine. Blocking for a moment; psutil is imported on first use."""
    import psutil

    memory = psutil.virtual_memory()
    shares = meter.read()
    cpus: list[dict[str, Any]] = [
        {
            "CPU": f"cpu{number}", **share,
            "TotalTicks": share["TotalPercent"] / 100 * total_compute_mhz / len(shares),
        }
        for number, share in enumerate(shares)
    ]  # fmt: skip
    disks = [
        found for part in psutil.disk_partitions(all=False)
        if (found := _disk(psutil, part.device, part.mountpoint)) is not None
    ]  # fmt: skip
    return {
        "Memory": {
            "Total": memory.total, "Available": memory.available, "Used": memory.used, "Free": memory.free,
        },
        "CPU": cpus,
        "DiskStats": disks,
        "AllocDirStats": _disk(psutil, "", str(alloc_dir)),
        "DeviceStats": [],
        "Uptime": int(max(now - psutil.boot_time(), 0)),
        "CPUTicksConsumed": sum(cpu["TotalTicks"] for cpu in cpus),
        "Timestamp": int(now * 1e9),
    }  # fmt: skip


def _disk(psutil: Any, device: str, mountpoint: str) -> dict[str, Any] | None:
    import os

    try:
        usage, inodes = psutil.disk_usage(mountpoint), os.statvfs(mountpoint)
    except OSError:
        return None
    used_inodes = 100.0 * (1 - inodes.f_favail / inodes.f_files) if inodes.f_files else 0.0
    return {
        "Device": device, "Mountpoint": mountpoint, "Size": usage.total, "Used": usage.used,
        "Available": usage.free, "UsedPercent": usage.percent, "InodesUsedPercent": used_inodes,
    }  # fmt: skip
