"""Storage: the volume that allocations live on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil


def probe(folder: Path) -> tuple[dict[str, str], int]:
    """(attributes, free MiB) of the volume that holds `folder` or its nearest existing parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    attributes = {
        "unique.storage.volume": _device_of(folder),
        "unique.storage.bytestotal": str(usage.total),
        "unique.storage.bytesfree": str(usage.free),
    }
    return attributes, usage.free // 1024**2


def _device_of(folder: Path) -> str:
    """The mounted device; its number (``254:1``) if no mount is seen to hold the folder, as in a chroot."""
    path = str(folder.resolve())
    best = ("", "")
    for partition in psutil.disk_partitions(all=True):
        mount = partition.mountpoint.rstrip("/") + "/"
        if f"{path}/".startswith(mount) and len(mount) > len(best[0]):
            best = (mount, partition.device)
    number = os.stat(path).st_dev
    return best[1] or f"{os.major(number)}:{os.minor(number)}"
