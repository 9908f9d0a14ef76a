"""Unpacks one archive into an empty private folder. A program of its own: ``extract.py KIND ARCHIVE TARGET ...``.

A hostile archive can hurt only this process: it has limits on memory, time, file size and open files, and
speaks to its parent by one line and an exit code. During unpacking only folders and plain files are made, in
a folder that nobody else writes to and that holds no link, so that no name can lead outside. Hard links become
copies. Symbolic links are made last, and refused if where they really lead is outside. Standard library only.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import resource
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, NamedTuple, cast

CHUNK = 256 * 1024
MEMORY_MAX = 1024 * 1024 * 1024
NAME_MAX = 255
DEPTH_MAX = 64


class RefusedError(Exception):
    """The archive holds something that is not unpacked."""


class Entry(NamedTuple):
    """One member. kind: file, dir, symlink or hardlink; target: where a link leads; content: opens a file."""

    name: str
    kind: str
    mode: int = 0o644
    target: str = ""
    content: IO[bytes] | None = None


class Unpacker:
    """Writes entries below `root`, at most `files_max` of them with `bytes_max` bytes in all."""

    def __init__(self, root: str, files_max: int, bytes_max: int) -> None:
        self.root = os.path.realpath(root)
        self.files_left = files_max
        self.bytes_left = bytes_max
        self.links: list[tuple[str, str]] = []

    def unpack(self, entries: Iterable[Entry]) -> None:
        """Write all entries, links last."""
        for entry in entries:
            self.files_left -= 1
            if self.files_left < 0:
                raise RefusedError("it holds too many files")
            self._write(entry)
        for path, target in self.links:
            self._link(path, target)
        refuse_escaping_links(self.root)

    def _write(self, entry: Entry) -> None:
        parts = split_name(entry.name)
        if entry.kind == "dir":
            self._folder(parts)
        elif not parts:
            raise RefusedError("it holds a file without a name")
        else:
            self._folder(parts[:-1])
            path = os.path.join(self.root, *parts)
            if entry.kind == "symlink":
                self.links.append((path, entry.target))
            elif entry.kind == "hardlink":
                self._copy(os.path.join(self.root, *split_name(entry.target)), path)
            elif entry.content is not None:
                self._file(path, entry.content, entry.mode)

    def _folder(self, parts: list[str]) -> None:
        path = self.root
        for part in parts:
            path = os.path.join(path, part)
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise RefusedError("a file of it stands where it wants a folder") from None

    def _file(self, path: str, content: IO[bytes], mode: int) -> None:
        if os.path.lexists(path):
            if os.path.isdir(path):
                raise RefusedError("a folder of it stands where it wants a file")
            os.unlink(path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as out:
            while chunk := content.read(CHUNK):
                self.bytes_left -= len(chunk)
                if self.bytes_left < 0:
                    raise RefusedError("it is too large when unpacked")
                out.write(chunk)
            os.fchmod(out.fileno(), (mode & 0o777) | 0o400)

    def _copy(self, source: str, path: str) -> None:
        try:
            info = os.lstat(source)
        except OSError:
            raise RefusedError("it holds a hard link to something that is not in it") from None
        if not stat.S_ISREG(info.st_mode):
            raise RefusedError("it holds a hard link to something that is not a file")
        if source != path:
            with open(source, "rb") as content:
                self._file(path, content, info.st_mode)

    def _link(self, path: str, target: str) -> None:
        if not target or target.startswith("/") or "\0" in target:
            raise RefusedError("it holds a link that leads outside")
        if os.path.lexists(path):
            if os.path.isdir(path) and not os.path.islink(path):
                raise RefusedError("a folder of it stands where it wants a link")
            os.unlink(path)
        os.symlink(target, path)


def refuse_escaping_links(root: str) -> None:
    """Raise `RefusedError`, and remove the link, if any below `root` really leads outside of it."""
    root = os.path.realpath(root)
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                leads_to = os.path.realpath(path)
                if leads_to != root and not leads_to.startswith(root + "/"):
                    os.unlink(path)
                    raise RefusedError("it holds a link that leads outside")


def split_name(name: str) -> list[str]:
    """A member's name as parts. Raises `RefusedError` for names that lead anywhere else."""
    if name.startswith("/") or "\0" in name or "\\" in name:
        raise RefusedError("it holds an absolute or odd name")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise RefusedError("it holds a name with ..")
    if len(parts) > DEPTH_MAX or any(len(os.fsencode(part)) > NAME_MAX for part in parts):
        raise RefusedError("it holds a name that is too long or too deep")
    return parts


def tar_entries(archive: IO[bytes], compression: str) -> Iterator[Entry]:
    """Members of a tar archive. Devices and pipes are refused."""
    with tarfile.open(fileobj=archive, mode=f"r|{compression}") as tar:  # type: ignore[call-overload]
        for member in tar:
            if member.isdir():
                yield Entry(member.name, "dir")
            elif member.isreg():
                yield Entry(member.name, "file", member.mode, content=tar.extractfile(member))
            elif member.issym():
                yield Entry(member.name, "symlink", target=member.linkname)
            elif member.islnk():
                yield Entry(member.name, "hardlink", target=member.linkname)
            else:
                raise RefusedError("it holds a device, a pipe or another special file")
            tar.members.clear()  # a stream keeps no list of what is behind it


def zip_entries(archive: IO[bytes]) -> Iterator[Entry]:
    """Members of a zip archive. Encrypted ones are refused."""
    with zipfile.ZipFile(archive) as folder:
        for info in folder.infolist():
            if info.flag_bits & 1:
                raise RefusedError("it is protected by a password")
            mode = info.external_attr >> 16
            if info.is_dir():
                yield Entry(info.filename.rstrip("/"), "dir")
            elif stat.S_ISLNK(mode):
                with folder.open(info) as content:
                    yield Entry(info.filename, "symlink", target=content.read(4096).decode(errors="replace"))
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise RefusedError("it holds a device, a pipe or another special file")
            else:
                with folder.open(info) as content:
                    yield Entry(info.filename, "file", (mode & 0o777) or 0o644, content=content)


def single_entry(archive: IO[bytes], kind: str, name: str) -> Iterator[Entry]:
    """The one file that a gz, bz2 or xz file holds."""
    openers: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
        "gz": lambda raw: cast("IO[bytes]", gzip.GzipFile(fileobj=raw)),
        "bz2": lambda raw: cast("IO[bytes]", bz2.BZ2File(raw)),
        "xz": lambda raw: cast("IO[bytes]", lzma.LZMAFile(raw)),  # noqa: SIM115 - closed by the caller
    }
    with openers[kind](archive) as content:
        yield Entry(name, "file", 0o644, content=content)


def entries_of(archive: IO[bytes], kind: str, name: str) -> Iterator[Entry]:
    """Members of an archive of any kind."""
    if kind == "zip":
        return zip_entries(archive)
    if kind.startswith("tar"):
        return tar_entries(archive, kind.partition(".")[2])
    return single_entry(archive, kind, name)


def limit_self(bytes_max: int, seconds_max: int) -> None:
    """Take away what this process must not use."""
    for what, value in (
        (resource.RLIMIT_AS, MEMORY_MAX),
        (resource.RLIMIT_CPU, seconds_max),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, min(bytes_max, 2**62)),
    ):
        resource.setrlimit(what, (value, value))
    os.umask(0o022)


def main(arguments: list[str]) -> int:
    """KIND ARCHIVE TARGET NAME FILES_MAX BYTES_MAX SECONDS_MAX; the reason of a failure goes to stdout."""
    kind, archive, target, name = arguments[:4]
    files_max, bytes_max, seconds_max = (int(text) for text in arguments[4:7])
    limit_self(bytes_max, seconds_max)
    try:
        with open(archive, "rb") as opened:
            Unpacker(target, files_max, bytes_max).unpack(entries_of(opened, kind, name))
    except RefusedError as error:
        print(error)
        return 2
    except MemoryError:
        print("it asks for too much memory")
        return 2
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        lzma.LZMAError,
        EOFError,
        gzip.BadGzipFile,
        NotImplementedError,
    ) as error:
        print(f"it is damaged or not a {kind} archive ({type(error).__name__})")
        return 2
    except (OSError, ValueError, RuntimeError, OverflowError, RecursionError) as error:
        print(getattr(error, "strerror", None) or f"it cannot be read ({type(error).__name__})")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
