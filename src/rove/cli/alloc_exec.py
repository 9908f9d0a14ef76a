"""`rove alloc exec`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from rove.cli.alloc_files import alloc_of, choose_task
from rove.cli.app import App, current
from rove.cli.command import argument, command, option, switch
from rove.errors import BadRequestError

if TYPE_CHECKING:
    from rove.sdk.exec import Input

READ_BYTES = 16 * 1024
EXIT_ESCAPED = 1


@command("exec", context_settings={"allow_interspersed_args": False})
@argument("alloc_id", metavar="ALLOC")
@argument("words", metavar="COMMAND [ARG]...", nargs=-1, required=True)
@option("-i/--no-input", "interactive", default=True, help="Pass standard input on (the default; -i=false does not).")
@option("-t/--no-tty", "tty", default=None, help="Give the command a terminal (the default on one; -t=false does not).")
@option("-e", "escape", default="~", help="Escape character; ~. at the start of a line hangs up. none for none.")
@option("--task", "task", default="", help="The task; needed when there are several.")
@option("--group", "group", default="", help="With -job: take an allocation of this group.")
@switch("--job", "ALLOC is a job: take one of its running allocations.", "by_job")
def exec_(
    alloc_id: str, words: tuple[str, ...], interactive: bool, tty: bool | None, escape: str, task: str, group: str,
    by_job: bool,
) -> None:  # fmt: skip
    """Run a COMMAND inside a task and end with its exit code."""
    app = current()
    if escape != "none" and len(escape) != 1:
        raise BadRequestError(
            "exec.bad_escape", f'-e "{escape}" was not understood', fix="write one character, or none"
        )
    stub = alloc_of(app, alloc_id, by_job, group)
    chosen = choose_task(app, stub, task)
    is_terminal = app.stdin.isatty() and sys.stdout.isatty()
    wants_tty = is_terminal if tty is None else tty
    if wants_tty and not app.stdin.isatty():
        raise BadRequestError(
            "exec.no_terminal", "no terminal was given to the command", "standard input is not one",
            "leave -t out, or write -t=false",
        )  # fmt: skip
    with _raw(app) if wants_tty else contextlib.nullcontext():
        code = asyncio.run(
            _run(
                app,
                stub["ID"],
                list(words),
                chosen,
                wants_tty,
                interactive,
                "" if escape == "none" else escape,
            )
        )
    sys.exit(code)


async def _run(app: App, alloc_id: str, words: list[str], task: str, tty: bool, interactive: bool, escape: str) -> int:
    from rove.sdk.asynchronous import AsyncClient
    from rove.sdk.exec import execute

    inputs: asyncio.Queue[Any] = asyncio.Queue(maxsize=64)
    loop = asyncio.get_running_loop()
    hung_up = asyncio.Event()
    if tty:
        inputs.put_nowait(_size())
        loop.add_signal_handler(signal.SIGWINCH, lambda: _offer(inputs, _size()))
    if interactive:
        watch = Escape(escape if tty else "")
        reader = threading.Thread(target=_pump, args=(app, loop, inputs, watch, hung_up), daemon=True)
        reader.start()
    else:
        inputs.put_nowait(b"")
    async with AsyncClient(settings=app.client().settings) as client:
        running = asyncio.ensure_future(
            execute(client, alloc_id, words, task=task, tty=tty, inputs=_drained(inputs), output=_write)
        )
        hanging_up = asyncio.ensure_future(hung_up.wait())
        try:
            await asyncio.wait({running, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
            return running.result() if running.done() else EXIT_ESCAPED
        finally:
            # Also on Ctrl-C, and before the client closes: the connection would break under the command.
            running.cancel()
            hanging_up.cancel()
            await asyncio.gather(running, hanging_up, return_exceptions=True)


def _offer(inputs: asyncio.Queue[Any], item: Any) -> None:
    with contextlib.suppress(asyncio.QueueFull):
        inputs.put_nowait(item)


async def _drained(inputs: asyncio.Queue[Any]) -> AsyncIterator[Input]:
    while True:
        yield await inputs.get()


def _write(kind: str, data: bytes) -> None:
    stream = sys.stderr.buffer if kind == "stderr" else sys.stdout.buffer
    stream.write(data)
    stream.flush()


def _pump(
    app: App, loop: asyncio.AbstractEventLoop, inputs: asyncio.Queue[Any], watch: Escape, hung_up: asyncio.Event
) -> None:
    """Read standard input in a thread of its own: files, pipes and terminals alike."""
    try:
        number = app.stdin.fileno()
    except (OSError, ValueError, AttributeError):
        number = -1
    while True:
        data = os.read(number, READ_BYTES) if number >= 0 else b""
        passed, ended = watch.feed(data)
        with contextlib.suppress(RuntimeError):
            if ended:
                loop.call_soon_threadsafe(hung_up.set)
                return
            if passed or not data:
                # Waits while the queue is full, so that a large file does not pile up in memory.
                asyncio.run_coroutine_threadsafe(inputs.put(passed), loop).result()
        if not data:
            return


class Escape:
    """Watches for the escape character and a dot at the start of a line."""

    def __init__(self, character: str) -> None:
        self._mark = character.encode()
        self._at_start = True
        self._held = False

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on, and whether the user hangs up."""
        if not self._mark:
            return data, False
        passed = bytearray()
        for code in data:
            byte = bytes([code])
            if self._held:
                self._held = False
                if byte == b".":
                    return bytes(passed), True
                passed += self._mark if byte != self._mark else b""
            elif self._at_start and byte == self._mark:
                self._held = True
                continue
            passed += byte
            self._at_start = byte in (b"\r", b"\n")
        return bytes(passed), False


def _size() -> Any:
    from rove.sdk.exec import Resize

    columns, lines = os.get_terminal_size()
    return Resize(height=lines, width=columns)


@contextlib.contextmanager
def _raw(app: App) -> Iterator[None]:
    """Keys go to the command as they are typed; the terminal is set back at the end."""
    import termios
    import tty

    number = app.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setraw(number)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
