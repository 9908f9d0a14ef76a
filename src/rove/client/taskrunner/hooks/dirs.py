"""Makes the task's own directories, also again if a restart finds them gone."""

from __future__ import annotations

import os
from pathlib import Path

from .base import HookContext, HookError

TASK_DIRS = (("", 0o777), ("local", 0o777), ("secrets", 0o700), ("private", 0o700), ("tmp", 0o1777))
"""Below the task's directory, with modes: everybody's `local` and `tmp`, `secrets` only the owner's."""


async def task_dirs(context: HookContext) -> None:
    """Make what is missing. Raises `HookError` when the disk refuses."""
    try:
        make_dirs(context.task_dir, context.owner)  # a handful of mkdirs: quicker than a thread
    except OSError as error:
        raise HookError(f"the task directory could not be made: {error.strerror}", recoverable=True) from error


def make_dirs(task_dir: Path, owner: tuple[int, int] | None) -> None:
    """Make a task's directories. A name that is taken by something else than a directory raises OSError.

    owner: gets what is the owner's alone, also where it is there already: the allocation's set-up knows no owner.
    """
    for name, mode in TASK_DIRS:
        path = task_dir / name
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            if path.is_symlink() or not path.is_dir():
                raise
        else:
            path.chmod(mode)  # the umask does not apply to what tasks of any user need
        if name in ("secrets", "private") and owner is not None and os.geteuid() == 0:
            os.chown(path, *owner, follow_symlinks=False)


def owner_of(user: str) -> tuple[int, int] | None:
    """uid and gid of a task's user on this machine ("name", "name:group", numbers), None if unknown here."""
    import grp
    import pwd

    name, _, group = user.partition(":")
    if not name:
        return None
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        return (int(name), int(name)) if name.isdigit() else None
    if not group:
        return entry.pw_uid, entry.pw_gid
    try:
        return entry.pw_uid, int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        return None
