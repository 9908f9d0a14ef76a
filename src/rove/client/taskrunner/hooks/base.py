"""What a hook gets and how it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rove.client.taskrunner import events as ev
from rove.client.taskrunner.env import Scope
from rove.structs.alloc import Allocation, TaskEvent
from rove.structs.job import Job, Task, TaskGroup


class HookError(Exception):
    """A task could not be prepared. kind: the event type; what: one line without secrets."""

    def __init__(
        self, what: str, *, kind: str = ev.SETUP_FAILURE, detail: str = "setup_error", recoverable: bool = False
    ) -> None:
        super().__init__(what)
        self.what = what
        self.kind = kind
        self.detail = detail
        self.recoverable = recoverable

    def event(self, now: float) -> TaskEvent:
        """The failure as a task event."""
        return ev.event(self.kind, now, self.what, **{self.detail: self.what})


class HookContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook may use. emit: (event type, sentence, details) into the task's log."""

    alloc: Allocation
    job: Job
    group: TaskGroup
    task: Task
    scope: Scope
    alloc_dir: Path
    task_dir: Path
    staging: Path
    """A directory on the same file system, of this task alone, that no task can reach."""
    owner: tuple[int, int] | None
    """uid and gid of the task's user where it is known."""
    emit: Callable[[str, str, dict[str, str]], Awaitable[None]]
    artifact: Mapping[str, Any] = {}
    """The node's limits of downloads, by the names of the agent's ``artifact`` stanza; empty: the fetcher's own."""


class Hook(NamedTuple):
    """A named step. Raises `HookError`."""

    name: str
    run: Callable[[HookContext], Awaitable[None]]
    once: bool = False
