"""The files of this machine, for the file functions of a job file (`file`, `fileset`, ...)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

READ_MAX = 16 * 1024 * 1024
LOOKED_AT_MAX = 100_000


class LocalFiles:
    """Files by name; relative names start at the folder of the job file."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def read(self, name: str) -> bytes:
        """The whole content, or one byte more than anybody accepts. Raises OSError."""
        path = self._base / name
        if not path.is_file():
            path.stat()  # says why, if it is not there at all
            raise OSError(errno.EINVAL, "it is not a plain file")
        with path.open("rb") as opened:
            return opened.read(READ_MAX + 1)

    def exists(self, name: str) -> bool:
        """Whether there is a plain file. Raises OSError if there is something else of that name."""
        path = self._base / name
        if path.is_file():
            return True
        if path.exists():
            raise OSError(errno.EINVAL, "it is not a plain file")
        return False

    def match(self, folder: str, pattern: str) -> list[str]:
        """Plain files below `folder` that match. Raises OSError, and ValueError when there are too many files."""
        root = self._base / folder
        if not root.is_dir():
            raise OSError(errno.ENOENT, "there is no such folder")
        import re2  # the pattern may be a stranger's: it must not be able to hang

        try:
            wanted = re2.compile(_expression(pattern))
        except re2.error:
            raise ValueError("this is not a file name pattern") from None
        found = list(islice(_below(root), LOOKED_AT_MAX + 1))
        if len(found) > LOOKED_AT_MAX:
            raise ValueError(f"it holds more than {LOOKED_AT_MAX} files")
        return [name for name in found if wanted.fullmatch(name)]

    def home(self) -> str:
        """The home folder of whoever runs this."""
        return str(Path.home())

    def absolute(self, name: str) -> str:
        """The name with everything before it, without `.` and `..`."""
        return os.path.abspath(self._base / name)


def _below(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                yield path.relative_to(root).as_posix()


_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]/]*\]|\{[^{}]*\}|\\.|.", re.DOTALL)


def _expression(pattern: str) -> str:
    """The regular expression of a file name pattern."""
    made = []
    for piece in _PIECE.findall(pattern):
        if piece == "**/":
            made.append(r"(?:[^/]*/)*")
        elif piece == "**":
            made.append(r".*")
        elif piece == "*":
            made.append(r"[^/]*")
        elif piece == "?":
            made.append(r"[^/]")
        elif len(piece) > 1 and piece[0] == "[":
            inner = piece[1:-1]
            negated = "^" if inner[0] in "!^" else ""
            letters = re.sub(r"([\\\[\]])", r"\\\1", inner[len(negated) :])
            made.append(f"[{negated}{letters}]")
        elif len(piece) > 1 and piece[0] == "{":
            made.append("(?:" + "|".join(_expression(each) for each in piece[1:-1].split(",")) + ")")
        else:
            made.append(re.escape(piece[-1]))
    return "".join(made)
