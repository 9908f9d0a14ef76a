"""Fetches the task's artifacts, one after the other, in the order of the job file."""

from __future__ import annotations

import msgspec

from rove.client.taskrunner import events as ev
from rove.client.taskrunner.env import Scope
from rove.structs.job import Artifact

from .base import HookContext, HookError


async def fetch_artifacts(context: HookContext) -> None:
    """Fetch everything. Raises `HookError`; then nothing half-fetched is left."""
    if not context.task.artifacts:
        return
    from rove.client.artifacts import ArtifactError, fetch_artifact, limits_of  # paid for by tasks that fetch

    await context.emit(ev.DOWNLOADING, "Fetching artifacts", {})

    async def progress(text: str) -> None:
        await context.emit(ev.DOWNLOADING, text, {})

    for artifact in context.task.artifacts:
        spec = interpolated(artifact, context.scope)
        try:
            await fetch_artifact(
                spec, task_dir=context.task_dir, alloc_dir=context.alloc_dir, staging=context.staging,
                owner=context.owner if artifact.chown else None, progress=progress,
                limits=limits_of(spec, context.artifact),
            )  # fmt: skip
        except ArtifactError as error:
            raise HookError(
                str(error), kind=ev.DOWNLOAD_FAILED, detail="download_error",
                recoverable=getattr(error, "recoverable", True),
            ) from error  # fmt: skip


def interpolated(artifact: Artifact, scope: Scope) -> Artifact:
    """The artifact with this task's values in it."""
    return msgspec.structs.replace(
        artifact,
        getter_source=scope.text(artifact.getter_source),
        getter_options={key: scope.text(value) for key, value in artifact.getter_options.items()},
        getter_headers={key: scope.text(value) for key, value in artifact.getter_headers.items()},
        relative_dest=scope.text(artifact.relative_dest),
    )
