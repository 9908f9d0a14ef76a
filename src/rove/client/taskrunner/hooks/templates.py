"""Templates are not rendered yet: a task that needs one says so instead of starting without it."""

from __future__ import annotations

from .base import HookContext, HookError


async def render_templates(context: HookContext) -> None:
    """Raises `HookError` if the task has templates."""
    if context.task.templates:
        raise HookError(
            f"{len(context.task.templates)} template block(s) cannot be rendered by this version of Rove; "
            "remove them or fetch the file as an artifact"
        )
