"""Writes the payload of a dispatched job below the task's ``local/``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path, PurePosixPath

from rove.jobspec.rules import is_unfit_below

from .base import HookContext, HookError


async def write_payload(context: HookContext) -> None:
    """Write the payload, if the task wants one. Raises `HookError`."""
    wanted = context.task.dispatch_payload
    if wanted is None or not wanted.file or not context.job.dispatched:
        return
    if is_unfit_below(wanted.file):
        raise HookError(f'dispatch_payload file "{wanted.file}" is no path below the task\'s local/ directory')
    target = PurePosixPath(wanted.file)
    try:
        await asyncio.to_thread(_write, context.task_dir / "local", target, context.job.payload or b"")
    except OSError as error:
        raise HookError(f"the payload could not be written: {error.strerror}", recoverable=True) from error


def _write(local: Path, target: PurePosixPath, payload: bytes) -> None:
    """Step by step through directory descriptors, so that no link planted by a task is followed."""
    fd = os.open(local, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in target.parts[:-1]:
            try:
                os.mkdir(part, 0o777, dir_fd=fd)
            except FileExistsError:
                pass
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = deeper
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        file = os.open(target.name, flags, 0o644, dir_fd=fd)
        with os.fdopen(file, "wb") as out:
            out.write(payload)
    finally:
        os.close(fd)
