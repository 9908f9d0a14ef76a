"""Memory: how much there is."""

from __future__ import annotations

import psutil


def probe() -> tuple[dict[str, str], int]:
    """(attributes, MiB in all)."""
    total = psutil.virtual_memory().total
    return {"memory.totalbytes": str(total)}, total // 1024**2
