"""The machine's processors, in the unit that job files ask for: MHz."""

from __future__ import annotations

import os

import psutil

DEFAULT_MHZ = 1000


def core_mhz() -> int:
    """MHz of one processor; 1000 where the machine does not tell."""
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        frequency = None
    if frequency is None:
        return DEFAULT_MHZ
    return int(frequency.max or frequency.current) or DEFAULT_MHZ


def core_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
