"""Fetches one artifact: download or clone into staging, check, unpack, move to its place."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from rove.structs.job import Artifact

from . import extract
from .errors import ArtifactError
from .place import destination_parts, move_into
from .source import Source, parse_source, shown

if TYPE_CHECKING:
    import aiohttp

Progress = Callable[[str], Awaitable[None]]

REDIRECTS_MAX = 10
CHUNK = 256 * 1024
READ_TIMEOUT_S = 60.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one artifact. file_roots: folders outside of the allocation that ``file://`` may read."""

    timeout_s: float = 1800.0
    bytes_max: int = 100 * 1024**3
    unpacked_files_max: int = 4096
    unpacked_bytes_max: int = 100 * 1024**3
    file_roots: tuple[str, ...] = ()


async def _silent(_: str) -> None:
    return None


async def fetch_artifact(
    artifact: Artifact,
    *,
    task_dir: Path,
    alloc_dir: Path,
    staging: Path,
    owner: tuple[int, int] | None = None,
    progress: Progress = _silent,
    limits: Limits | None = None,
) -> None:
    """Fetch an artifact whose strings are interpolated to its destination below `alloc_dir`.

    staging: a folder of the node that no task can reach, best on the same file system. Raises
    `ArtifactError`; then nothing is left at the destination.
    """
    limits = limits or Limits()
    source = parse_source(artifact)
    parts = destination_parts(artifact.relative_dest or "local/", task_dir, alloc_dir)
    staging.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="artifact-", dir=staging))
    try:
        async with asyncio.timeout(limits.timeout_s):
            made = await _stage(artifact, source, work, alloc_dir, limits, progress)
        folder, target = _arrange(source, made, parts, work)
        await asyncio.to_thread(move_into, folder, alloc_dir, target, owner)
    except TimeoutError:
        raise ArtifactError(
            f"fetching {source.shown} was given up",
            f"it took more than {limits.timeout_s:g} s",
            recoverable=True,
        ) from None
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


async def _stage(
    artifact: Artifact, source: Source, work: Path, alloc_dir: Path, limits: Limits, progress: Progress
) -> Path:
    """The artifact in `work`: a file, or a folder if it was unpacked or cloned."""
    if source.kind == "git":
        return await _clone(source, work / "clone")
    download = work / "download"
    if source.kind == "http":
        await _download(artifact, source, download, limits, progress)
    else:
        copied = await asyncio.to_thread(_copy_file, source, download, alloc_dir, limits)
        if copied.is_dir():
            return copied
    if source.archive and source.mode != "file":
        return await _unpack(source, download, work / "unpacked", limits)
    if source.archive and source.archive in ("gz", "bz2", "xz"):
        folder = await _unpack(source, download, work / "unpacked", limits)
        return next(folder.iterdir())
    return download


def _arrange(source: Source, made: Path, parts: list[str], work: Path) -> tuple[Path, list[str]]:
    """(folder whose content is to be moved, path parts of where it goes) for the artifact's mode."""
    if made.is_dir():
        if source.mode == "file":
            raise ArtifactError(f"{source.shown} is a folder", 'the artifact asks for one file (mode = "file")')
        return _subdir(made, source), parts
    folder = work / "file"
    folder.mkdir()
    if source.mode == "file":
        if not parts:
            raise ArtifactError("artifact destination is refused", "it names no file")
        *above, name = parts
    else:
        above, name = parts, source.name
    if "/" in name or name in ("", ".", "..") or len(os.fsencode(name)) > extract.NAME_MAX:
        raise ArtifactError("artifact has no usable file name", 'give one with mode = "file" and a destination')
    os.rename(made, folder / name)
    return folder, above


def _subdir(folder: Path, source: Source) -> Path:
    if not source.subdir:
        return folder
    try:
        inner = folder.joinpath(*extract.split_name(source.subdir))
    except extract.RefusedError as error:
        raise ArtifactError("artifact sub-folder is refused", str(error)) from None
    if not inner.is_dir() or not inner.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{source.shown} has no folder {source.subdir!r}", "the part after // names a folder in it")
    return inner


# -- http


async def _download(artifact: Artifact, source: Source, target: Path, limits: Limits, progress: Progress) -> None:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=limits.timeout_s, sock_connect=30.0, sock_read=READ_TIMEOUT_S)
    connector = aiohttp.TCPConnector(ssl=False) if artifact.getter_insecure else aiohttp.TCPConnector()
    try:
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False) as session:
            await _follow(session, artifact, source, target, limits, progress)
    except (aiohttp.ClientError, ValueError) as error:
        raise ArtifactError(f"fetching {source.shown} failed", _cause(error), recoverable=True) from None
    except OSError as error:
        raise ArtifactError(f"fetching {source.shown} failed", error.strerror or str(error), recoverable=True) from None


async def _follow(
    session: aiohttp.ClientSession, artifact: Artifact, source: Source, target: Path, limits: Limits, progress: Progress
) -> None:
    url, headers = source.url, dict(artifact.getter_headers)
    headers.setdefault("Accept-Encoding", "identity")
    for _ in range(REDIRECTS_MAX + 1):
        async with session.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status in (301, 302, 303, 307, 308):
                url, headers = _redirect(url, answer.headers.get("Location", ""), headers)
                continue
            if answer.status != 200:
                raise ArtifactError(
                    f"fetching {source.shown} failed",
                    f"the server answered {answer.status} {answer.reason or ''}".rstrip(),
                    recoverable=answer.status >= 500 or answer.status in (404, 408, 429),
                )
            await _receive(answer, source, target, limits, progress)
            return
    raise ArtifactError(f"fetching {source.shown} failed", f"more than {REDIRECTS_MAX} redirects", recoverable=True)


def _redirect(url: str, location: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Where a redirect leads. Headers of the job go only to the host they were meant for."""
    target = urljoin(url, location)
    if urlsplit(target).scheme not in ("http", "https") or not location:
        raise ArtifactError(f"fetching {shown(url)} failed", "it redirects to something that is not http")
    if urlsplit(target)[:2] != urlsplit(url)[:2]:
        headers = {"Accept-Encoding": "identity"}
    return target, headers


async def _receive(
    answer: aiohttp.ClientResponse, source: Source, target: Path, limits: Limits, progress: Progress
) -> None:
    size = answer.content_length
    if size is not None and size > limits.bytes_max:
        raise ArtifactError(f"{source.shown} is too large", f"{size} bytes, {limits.bytes_max} are allowed")
    digest = hashlib.new(source.checksum.algorithm, usedforsecurity=False) if source.checksum else None
    received = told = 0
    loop = asyncio.get_running_loop()
    with target.open("wb") as out:
        async for chunk in answer.content.iter_chunked(CHUNK):
            received += len(chunk)
            if received > limits.bytes_max:
                raise ArtifactError(f"{source.shown} is too large", f"more than {limits.bytes_max} bytes")
            if digest is not None:
                digest.update(chunk)
            await loop.run_in_executor(None, out.write, chunk) if received > CHUNK else out.write(chunk)
            if received - told >= 64 * 1024**2:
                told = received
                await progress(f"{received // 1024**2} MiB" + (f" of {size // 1024**2}" if size else ""))
    _compare(source, digest.hexdigest() if digest is not None else "")


def _compare(source: Source, found: str) -> None:
    if source.checksum is not None and found != source.checksum.digest:
        raise ArtifactError(
            f"checksum of {source.shown} does not match",
            f"{source.checksum.algorithm} is {found}, not {source.checksum.digest}",
        )


def _cause(error: Exception) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port} ({error.os_error.strerror or error.os_error})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer was cut off"
    return type(error).__name__ if isinstance(error, ValueError) else (str(error) or type(error).__name__)


# -- file


def _copy_file(source: Source, target: Path, alloc_dir: Path, limits: Limits) -> Path:
    path = Path(os.path.realpath(unquote(urlsplit(source.url).path)))
    roots = [Path(os.path.realpath(root)) for root in (os.fspath(alloc_dir), *limits.file_roots)]
    if not any(path.is_relative_to(root) for root in roots):
        raise ArtifactError(
            f"reading {source.shown} is refused",
            "file:// reads only below the allocation's directory and the node's artifact file_roots",
        )
    try:
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True)
            extract.refuse_escaping_links(os.fspath(target))
            return target
        if path.stat().st_size > limits.bytes_max:
            raise ArtifactError(f"{source.shown} is too large", f"{limits.bytes_max} bytes are allowed")
        shutil.copyfile(path, target)
    except extract.RefusedError as error:
        raise ArtifactError(f"reading {source.shown} is refused", str(error)) from None
    except OSError as error:
        raise ArtifactError(f"reading {source.shown} failed", error.strerror or str(error), recoverable=True) from None
    if source.checksum is not None:
        with target.open("rb") as content:
            _compare(source, hashlib.file_digest(content, source.checksum.algorithm).hexdigest())
    return target


# -- archives


async def _unpack(source: Source, archive: Path, target: Path, limits: Limits) -> Path:
    target.mkdir()
    name = source.name
    for suffix in (".gz", ".bz2", ".xz"):
        name = name.removesuffix(suffix)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        extract.__file__,
        source.archive,
        os.fspath(archive),
        os.fspath(target),
        name or "file",
        str(limits.unpacked_files_max),
        str(limits.unpacked_bytes_max),
        str(int(limits.timeout_s) + 1),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"LC_ALL": "C.UTF-8"},
    )
    try:
        said, _ = await process.communicate()
    finally:
        await _end(process)
    if process.returncode != 0:
        why = said.decode(errors="replace").strip() or "unpacking used more than it may, or broke"
        raise ArtifactError(f"archive {source.shown} was refused", why)
    return target


# -- git


async def _clone(source: Source, target: Path) -> Path:
    if source.checksum is not None:
        raise ArtifactError(
            f"checksum of {source.shown} cannot be checked", "a git repository has none; pin it with ref"
        )
    options: list[str] = ["--depth", str(source.depth)] if source.depth else []
    if source.depth and source.ref:
        options += ["--branch", source.ref]
    environment = _git_environment(source, target.parent)
    await _git(
        source,
        environment,
        "clone",
        "--quiet",
        "--no-hardlinks",
        *options,
        "--",
        source.url,
        os.fspath(target),
    )
    if source.ref and not source.depth:
        await _checkout(source, environment, target)
    try:
        extract.refuse_escaping_links(os.fspath(target))
    except extract.RefusedError as error:
        raise ArtifactError(f"repository {source.shown} was refused", str(error)) from None
    return target


async def _checkout(source: Source, environment: dict[str, str], target: Path) -> None:
    where = ["-C", os.fspath(target)]
    try:
        await _git(
            source,
            environment,
            *where,
            "checkout",
            "--quiet",
            "--detach",
            f"refs/remotes/origin/{source.ref}",
        )
    except ArtifactError:
        await _git(source, environment, *where, "checkout", "--quiet", "--detach", source.ref)


def _git_environment(source: Source, work: Path) -> dict[str, str]:
    """Nothing of the machine's own git set-up, no prompt, no local protocols."""
    ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=" + os.fspath(
        work / "known_hosts"
    )
    if source.ssh_key:
        key = work / "ssh_key"
        try:
            material = base64.b64decode(source.ssh_key, validate=True)
        except (binascii.Error, ValueError):
            raise ArtifactError("git sshkey is not understood", "it is a private key in base64") from None
        key.touch(mode=0o600)
        key.write_bytes(material)
        ssh += f" -o IdentitiesOnly=yes -i {key}"
    kept = {name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    return kept | {
        "HOME": os.fspath(work),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh:git",
        "GIT_SSH_COMMAND": ssh,
        "LC_ALL": "C.UTF-8",
    }


async def _git(source: Source, environment: dict[str, str], *arguments: str) -> None:
    fences = [
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "protocol.file.allow=never",
        "-c",
        "submodule.recurse=false",
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *fences,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except FileNotFoundError:
        raise ArtifactError(f"fetching {source.shown} failed", "git is not installed on the node") from None
    try:
        _, said = await process.communicate()
    finally:
        await _end(process)
    if process.returncode != 0:
        lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
        why = (lines[-1] if lines else "git failed").replace(source.url, source.shown)
        raise ArtifactError(f"fetching {source.shown} failed", why[:300], recoverable=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
