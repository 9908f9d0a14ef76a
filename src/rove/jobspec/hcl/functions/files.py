"""Functions on file names and files. The files themselves come through a port; without one they are switched off."""

from __future__ import annotations

import posixpath
from typing import Any, Protocol

from rove.jobspec.hcl import limits
from rove.jobspec.hcl.functions import FunctionError, function
from rove.jobspec.hcl.nodes import normal
from rove.jobspec.hcl.scope import Scope
from rove.jobspec.hcl.types import STRING, SetOf


class Files(Protocol):
    """What the file functions need from outside. Names are as written in the job, relative to where it is run."""

    def read(self, name: str) -> bytes:
        """The whole content. Raises OSError."""

    def exists(self, name: str) -> bool:
        """Whether there is a plain file of that name. Raises OSError if there is something else."""

    def match(self, folder: str, pattern: str) -> list[str]:
        """Plain files below `folder` that match a pattern with *, **, ?, [] and {}; relative names with /."""

    def home(self) -> str:
        """The home folder of the person who runs this."""

    def absolute(self, name: str) -> str:
        """The name with everything before it."""


def _files(scope: Scope) -> Files:
    if scope.files is None:
        raise FunctionError("filesystem function disabled")
    return scope.files


@function("abspath", STRING, scoped=True)
def abspath(scope: Scope, name: str) -> str:
    return _files(scope).absolute(name)


@function("basename", STRING, scoped=True)
def basename(scope: Scope, name: str) -> str:
    _files(scope)
    stripped = name.rstrip("/")
    return posixpath.basename(stripped) if stripped else ("/" if name else ".")


@function("dirname", STRING, scoped=True)
def dirname(scope: Scope, name: str) -> str:
    _files(scope)
    folder = name[: name.rfind("/") + 1]
    return posixpath.normpath(folder).replace("//", "/") if folder else "."


@function("pathexpand", STRING, scoped=True)
def pathexpand(scope: Scope, name: str) -> str:
    files = _files(scope)
    if not name.startswith("~"):
        return name
    if name not in ("~",) and not name.startswith("~/"):
        raise FunctionError("only your own home folder (~) can be expanded", 0)
    return posixpath.join(files.home(), name[2:]) if len(name) > 1 else files.home()


def _read(scope: Scope, name: str) -> bytes:
    try:
        content = _files(scope).read(_expanded(scope, name))
    except OSError as failure:
        raise FunctionError(f'"{name}" cannot be read: {failure.strerror or failure}', 0) from None
    if len(content) > limits.TEXT_MAX:
        raise FunctionError(f'"{name}" has more than {limits.TEXT_MAX} bytes', 0)
    return content


def _expanded(scope: Scope, name: str) -> str:
    return str(pathexpand(scope, name)) if name == "~" or name.startswith("~/") else name


@function("file", STRING, scoped=True)
def file(scope: Scope, name: str) -> str:
    try:
        return normal(_read(scope, name).decode("utf-8"))
    except UnicodeDecodeError:
        raise FunctionError(f'"{name}" is not UTF-8 text; use filebase64()', 0) from None


@function("filebase64", STRING, scoped=True)
def filebase64(scope: Scope, name: str) -> str:
    import base64

    return base64.b64encode(_read(scope, name)).decode("ascii")


@function("fileexists", STRING, scoped=True)
def fileexists(scope: Scope, name: str) -> bool:
    try:
        return _files(scope).exists(_expanded(scope, name))
    except OSError as failure:
        raise FunctionError(f'"{name}" cannot be looked at: {failure.strerror or failure}', 0) from None


@function("fileset", STRING, STRING, scoped=True)
def fileset(scope: Scope, folder: str, pattern: str) -> Any:
    try:
        found = _files(scope).match(_expanded(scope, folder), pattern)
    except (OSError, ValueError) as failure:
        raise FunctionError(f'"{folder}" cannot be searched: {failure}', 1) from None
    return SetOf(found, STRING)
