"""Processors: model, frequency, cores, compute in MHz."""

from __future__ import annotations

import platform
from pathlib import Path

from rove.client.drivers.processor import core_count, core_mhz

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def probe() -> tuple[dict[str, str], int, int]:
    """(attributes, MHz of all processors together, number of processors that this process may use)."""
    cores, mhz = core_count(), core_mhz()
    total = cores * mhz
    attributes = {
        "cpu.arch": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "cpu.numcores": str(cores),
        "cpu.reservablecores": str(cores),
        "cpu.frequency": str(mhz),
        "cpu.totalcompute": str(total),
        "cpu.usablecompute": str(total),
        "numa.node.count": str(_numa_nodes()),
    }
    model = _model_name()
    if model:
        attributes["cpu.modelname"] = model
    return attributes, total, cores


def _model_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _numa_nodes() -> int:
    return max(1, len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))))
