"""Moves what was staged to its place, following no link on the way: a task may have planted one there."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from .errors import ArtifactError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def destination_parts(destination: str, task_dir: Path, alloc_dir: Path) -> list[str]:
    """The destination as path parts below the allocation's directory.

    Raises `ArtifactError` if it leads outside.
    """
    if "\0" in destination:
        raise ArtifactError("artifact destination is not a path", "it holds a NUL character")
    absolute = os.path.normpath(
        destination if destination.startswith(f"{alloc_dir}/") else f"{task_dir}/{destination.lstrip('/')}"
    )
    parts = Path(absolute).parts[len(alloc_dir.parts) :]
    if Path(absolute).parts[: len(alloc_dir.parts)] != alloc_dir.parts:
        raise ArtifactError(
            "artifact destination is refused", f"{destination!r} leads out of the allocation's directory"
        )
    return list(parts)


def move_into(staged: Path, alloc_dir: Path, parts: list[str], owner: tuple[int, int] | None) -> None:
    """Move what the folder `staged` holds into the folder `parts` below `alloc_dir`; existing files are replaced."""
    try:
        folder = _open_folder(alloc_dir, parts, owner)
        try:
            _merge(os.fspath(staged), folder, owner)
        finally:
            os.close(folder)
    except NotADirectoryError:
        raise ArtifactError("artifact destination is refused", "a link or a file is in the way") from None
    except OSError as error:
        if error.errno == 40:  # ELOOP: O_NOFOLLOW met a link
            raise ArtifactError("artifact destination is refused", "a link is in the way") from None
        raise ArtifactError(
            "artifact could not be put in place", error.strerror or str(error), recoverable=True
        ) from None


def _open_folder(alloc_dir: Path, parts: list[str], owner: tuple[int, int] | None) -> int:
    current = os.open(alloc_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            deeper = _enter(current, part, owner)
        finally:
            os.close(current)
        current = deeper
    return current


def _enter(folder: int, name: str, owner: tuple[int, int] | None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=folder)
        opened = os.open(name, _FOLDER, dir_fd=folder)
        if owner is not None:
            os.fchown(opened, *owner)
        return opened


def _merge(staged: str, folder: int, owner: tuple[int, int] | None) -> None:
    for entry in list(os.scandir(staged)):
        if entry.is_dir(follow_symlinks=False):
            deeper = _enter(folder, entry.name, owner)
            try:
                _merge(entry.path, deeper, owner)
            finally:
                os.close(deeper)
            continue
        if owner is not None:
            os.chown(entry.path, *owner, follow_symlinks=False)
        try:
            os.rename(entry.path, entry.name, dst_dir_fd=folder)
        except IsADirectoryError:
            raise ArtifactError(
                "artifact could not be put in place", f"a folder {entry.name!r} is in the way"
            ) from None
        except OSError as error:
            if error.errno != 18:  # EXDEV: staging lies on another file system
                raise
            _copy_over(entry, folder, owner)


def _copy_over(entry: os.DirEntry[str], folder: int, owner: tuple[int, int] | None) -> None:
    temporary = f".{entry.name[:200]}.rove"
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), temporary, dir_fd=folder)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(temporary, flags, 0o600, dir_fd=folder)
        with os.fdopen(handle, "wb") as out, open(entry.path, "rb") as content:
            shutil.copyfileobj(content, out)
            os.fchmod(out.fileno(), stat.S_IMODE(os.fstat(content.fileno()).st_mode))
            if owner is not None:
                os.fchown(out.fileno(), *owner)
    os.rename(temporary, entry.name, src_dir_fd=folder, dst_dir_fd=folder)
