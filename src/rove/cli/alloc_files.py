"""`rove alloc logs` and `rove alloc fs`: output and files of tasks."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from rove.cli import find
from rove.cli.alloc import check_task, task_names
from rove.cli.app import App, current
from rove.cli.command import argument, command, option, switch
from rove.cli.output import size, stamp, table
from rove.errors import BadRequestError, NotFoundError

Json = dict[str, Any]

DEFAULT_LINES = 10
BYTES_A_LINE = 120
"""How long a line is taken to be when the end of a log is asked for by lines."""
SEARCH_BYTES_MAX = 16 * 2**20


@command()
@argument("alloc_id", metavar="ALLOC")
@argument("task_name", metavar="[TASK]", required=False, default="")
@option("--task", "task", default="", help="The task; needed when there are several.")
@option("--group", "group", default="", help="With -job: take an allocation of this group.")
@switch("--job", "ALLOC is a job: take one of its running allocations.", "by_job")
@switch("--stdout", "Print standard output (the default).", "want_stdout")
@switch("--stderr", "Print standard error.", "want_stderr")
@option("-f", "--follow", "follow", is_flag=True, help="Go on as more is written.")
@switch("--tail", "Print the end only.")
@option("-n", "lines", type=click.IntRange(0), help="How many lines from the end, with -tail.")
@option("-c", "count", type=click.IntRange(0), help="How many bytes from the end, with -tail.")
@switch("--verbose", "Accepted for Nomad's sake.")
def logs(
    alloc_id: str, task_name: str, task: str, group: str, by_job: bool, want_stdout: bool, want_stderr: bool,
    follow: bool, tail: bool, lines: int | None, count: int | None, verbose: bool,
) -> None:  # fmt: skip
    """Print what a task wrote to its standard output.

    With -f and neither -stdout nor -stderr, both are printed, each to its own.
    """
    app = current()
    stub = alloc_of(app, alloc_id, by_job, group)
    chosen = choose_task(app, stub, task or task_name)
    kinds = [kind for kind, wanted in (("stdout", want_stdout), ("stderr", want_stderr)) if wanted]
    if not kinds:
        kinds = ["stdout", "stderr"] if follow else ["stdout"]
    if len(kinds) == 2 and follow:
        _both(app, stub["ID"], chosen, tail, lines, count)
        return
    for kind in kinds:
        out = sys.stderr.buffer if kind == "stderr" and len(kinds) == 2 else sys.stdout.buffer
        _copy(_log(app, stub["ID"], chosen, kind, follow, tail, lines, count), out)


def alloc_of(app: App, typed: str, by_job: bool, group: str = "") -> Json:
    """The allocation of an id, or with `by_job` a running one of a job, the newest first."""
    if not by_job:
        return find.alloc(app, typed)
    job = find.job(app, typed)["ID"]
    found = [a for a in app.client().jobs.allocations(job) or [] if not group or a.get("TaskGroup") == group]
    found.sort(key=lambda a: (a.get("ClientStatus") == "running", int(a.get("CreateTime") or 0)), reverse=True)
    if not found:
        inside = f' in group "{group}"' if group else ""
        raise NotFoundError("job.no_allocations", f'job "{job}" has no allocation{inside}')
    return dict(found[0])


def choose_task(app: App, stub: Json, named: str) -> str:
    """The task that was named, or the only one."""
    if named:
        check_task(app, stub, named)
        return named
    names = list(stub.get("TaskStates") or {})
    if len(names) != 1:
        names = task_names(app.client().allocations.read(stub["ID"])) or names
    if len(names) == 1:
        return str(names[0])
    raise BadRequestError(
        "alloc.which_task", f'allocation "{stub["ID"][:8]}" has {len(names)} tasks', ", ".join(names) or "",
        "name one of them: `rove alloc logs ALLOC TASK`",
    )  # fmt: skip


def _log(
    app: App, alloc_id: str, task: str, kind: str, follow: bool, tail: bool, lines: int | None, count: int | None
) -> Iterator[bytes]:
    from rove.sdk.frames import data_of

    tail = tail or lines is not None or count is not None
    if not tail:
        stream = app.client().allocations.logs(alloc_id, task, kind=kind, follow=follow)
        return data_of(stream)
    if count is not None:
        stream = app.client().allocations.logs(alloc_id, task, kind=kind, follow=follow, origin="end", offset=count)
        return data_of(stream)
    wanted = DEFAULT_LINES if lines is None else lines
    offset = _offset_of_lines(app, alloc_id, task, kind, wanted)
    stream = app.client().allocations.logs(alloc_id, task, kind=kind, follow=follow, origin="end", offset=offset)
    return data_of(stream)


def _offset_of_lines(app: App, alloc_id: str, task: str, kind: str, wanted: int) -> int:
    """How many bytes from the end the last `wanted` lines begin. Reads further back until they are found."""
    from rove.sdk.frames import data_of

    if wanted == 0:
        return 0
    reach = max(1024, wanted * BYTES_A_LINE)
    while True:
        stream = app.client().allocations.logs(alloc_id, task, kind=kind, origin="end", offset=reach)
        data = b"".join(data_of(stream))
        start = start_of_last_lines(data, wanted)
        if start is not None or len(data) < reach or reach >= SEARCH_BYTES_MAX:
            return len(data) - (start or 0)
        reach *= 4


def start_of_last_lines(data: bytes, wanted: int) -> int | None:
    """Where the last `wanted` lines begin, None when there are not that many line ends before."""
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(wanted):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return None
    return at + 1


def _copy(pieces: Iterator[bytes], out: BinaryIO) -> None:
    for piece in pieces:
        out.write(piece)
        out.flush()


def _both(app: App, alloc_id: str, task: str, tail: bool, lines: int | None, count: int | None) -> None:
    """Follow standard output and error at once, a thread each, written by one."""
    arrived: queue.Queue[tuple[str, bytes | BaseException | None]] = queue.Queue(maxsize=64)

    def pump(kind: str, pieces: Iterator[bytes]) -> None:
        try:
            for piece in pieces:
                arrived.put((kind, piece))
            arrived.put((kind, None))
        except BaseException as error:
            arrived.put((kind, error))

    for kind in ("stdout", "stderr"):
        pieces = _log(app, alloc_id, task, kind, True, tail, lines, count)
        threading.Thread(target=pump, args=(kind, pieces), daemon=True).start()
    open_streams = 2
    while open_streams:
        kind, piece = arrived.get()
        if isinstance(piece, BaseException):
            raise piece
        if piece is None:
            open_streams -= 1
            continue
        out = sys.stdout.buffer if kind == "stdout" else sys.stderr.buffer
        out.write(piece)
        out.flush()


@command()
@argument("alloc_id", metavar="ALLOC")
@argument("path", metavar="[PATH]", required=False, default="/")
@switch("--job", "ALLOC is a job: take one of its running allocations.", "by_job")
@switch("--stat", "Describe the file instead of printing it.", "describe")
@option("-H", "human", is_flag=True, help="Sizes in units people read.")
@option("-f", "--follow", "follow", is_flag=True, help="Go on as more is written.")
@switch("--tail", "Print the end only.")
@option("-n", "lines", type=click.IntRange(0), help="How many lines from the end, with -tail.")
@option("-c", "count", type=click.IntRange(0), help="How many bytes from the end, with -tail.")
@switch("--verbose", "Accepted for Nomad's sake.")
def fs(
    alloc_id: str, path: str, by_job: bool, describe: bool, human: bool, follow: bool, tail: bool,
    lines: int | None, count: int | None, verbose: bool,
) -> None:  # fmt: skip
    """List a folder of an allocation, or print a file in it."""
    app = current()
    stub = alloc_of(app, alloc_id, by_job)
    found = app.client().allocations.stat(stub["ID"], path)
    if describe:
        click.echo(_files([found], human))
        return
    if found.get("IsDir"):
        click.echo(_files(app.client().allocations.ls(stub["ID"], path) or [], human))
        return
    _print_file(app, stub["ID"], path, int(found.get("Size") or 0), follow, tail, lines, count)


def _files(entries: list[Json], human: bool) -> str:
    rows = [
        [
            entry.get("FileMode"),
            size(entry.get("Size")) if human else f"{entry.get('Size', 0)} B",
            stamp(entry.get("ModTime")),
            entry["Name"] + ("/" if entry.get("IsDir") else ""),
        ]
        for entry in entries
    ]
    return table(["Mode", "Size", "Modified Time", "Name"], rows)


def _print_file(
    app: App, alloc_id: str, path: str, length: int, follow: bool, tail: bool, lines: int | None, count: int | None
) -> None:
    from rove.sdk.frames import data_of

    out = sys.stdout.buffer
    allocations = app.client().allocations
    offset = 0
    if tail or lines is not None or count is not None:
        if count is not None:
            offset = max(0, length - count)
        else:
            reach = min(length, SEARCH_BYTES_MAX)
            data = b"".join(allocations.read_at(alloc_id, path, length - reach, reach)) if reach else b""
            start = start_of_last_lines(data, DEFAULT_LINES if lines is None else lines)
            offset = length - reach + (start or 0)
    if follow:
        _copy(data_of(allocations.follow(alloc_id, path, offset=offset)), out)
    elif offset:
        _copy(allocations.read_at(alloc_id, path, offset, max(1, length - offset)), out)
    else:
        _copy(allocations.cat(alloc_id, path), out)
