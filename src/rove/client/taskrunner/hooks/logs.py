"""Sees to it that the task's output has a place to go; the files themselves belong to the driver."""

from __future__ import annotations

from .base import HookContext, HookError


async def check_log_dir(context: HookContext) -> None:
    """Raises `HookError` if the log directory was replaced, so that nothing is written elsewhere."""
    log_dir = context.alloc_dir / "alloc" / "logs"
    if log_dir.is_symlink():
        raise HookError("the log directory was replaced by a link; it is not followed")
    try:
        log_dir.mkdir(mode=0o777, parents=True, exist_ok=True)
    except OSError as error:
        raise HookError(f"the log directory could not be made: {error.strerror}", recoverable=True) from error
