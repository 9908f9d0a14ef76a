"""The directory of an allocation: made, inherited from a sticky predecessor, removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rove.client.taskrunner.hooks.dirs import make_dirs

SHARED_DIRS = (("alloc", 0o777), ("alloc/logs", 0o777), ("alloc/tmp", 0o1777), ("alloc/data", 0o777))
STAGING = ".staging"


def build(alloc_dir: Path, tasks: Sequence[str]) -> None:
    """Make the directory with everything that tasks expect in it. Blocking. Raises OSError."""
    alloc_dir.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    alloc_dir.mkdir(mode=0o755, exist_ok=True)
    for name, mode in SHARED_DIRS:
        path = alloc_dir / name
        if not path.is_dir():
            path.mkdir(mode=mode)
            path.chmod(mode)
    for task in tasks:
        make_dirs(alloc_dir / task, None)


def staging(alloc_dir: Path, task: str) -> Path:
    """Where downloads of a task are gathered: the same file system, out of the tasks' sight."""
    return alloc_dir.parent / STAGING / f"{alloc_dir.name}.{task}"


def inherit(previous: Path, alloc_dir: Path, tasks: Sequence[str]) -> None:
    """Move what a sticky disk keeps (``alloc/data``, the tasks' ``local``) from an ended predecessor. Blocking."""
    for name in ("alloc/data", *(f"{task}/local" for task in tasks)):
        old, new = previous / name, alloc_dir / name
        if old.is_symlink() or not old.is_dir() or new.is_symlink():
            continue
        if new.is_dir() and not any(new.iterdir()):
            new.rmdir()
        if not new.exists():
            os.rename(old, new)


def remove(alloc_dir: Path) -> None:
    """Remove the directory and what was staged for it. Links are removed, never followed. Blocking."""
    shutil.rmtree(alloc_dir, ignore_errors=True)
    for leftover in (alloc_dir.parent / STAGING).glob(f"{alloc_dir.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
