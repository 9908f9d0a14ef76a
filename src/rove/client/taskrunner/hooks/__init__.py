"""What is done before a task starts, a file each, in the order of `PRESTART`."""

from __future__ import annotations

from .artifacts import fetch_artifacts
from .base import Hook, HookContext, HookError
from .dirs import task_dirs
from .dispatch_payload import write_payload
from .logs import check_log_dir
from .templates import render_templates
from .volumes import host_mounts

PRESTART: tuple[Hook, ...] = (
    Hook("dirs", task_dirs),
    Hook("logs", check_log_dir),
    Hook("dispatch_payload", write_payload, once=True),
    Hook("artifacts", fetch_artifacts, once=True),
    Hook("templates", render_templates),
)
"""Every hook that runs before each start; `once` ones only until they have succeeded."""

__all__ = ["PRESTART", "Hook", "HookContext", "HookError", "host_mounts"]
