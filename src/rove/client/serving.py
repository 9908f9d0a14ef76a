"""Answers what servers ask of a node: restart, signal, files, logs, exec, statistics."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from rove.client import files
from rove.client.drivers.base import DriverError, ExecSession, TaskUsage
from rove.client.taskrunner.core import Phase
from rove.errors import BadRequestError, ConflictError, ForbiddenError, RoveError
from rove.ports.transport import Router, Session, Stream
from rove.structs.base import unix_ns
from rove.structs.messages import (
    AllocRequest,
    Empty,
    ExecInput,
    ExecOutput,
    ExecRequest,
    FileInfo,
    FileInfos,
    FileRequest,
    Kind,
    LogsRequest,
    MonitorRequest,
    NodeMeta,
    NodeMetaRequest,
    RestartRequest,
    SignalRequest,
    Stats,
    StreamChunk,
)

from .usage import CpuMeter, alloc_usage, host_usage

if TYPE_CHECKING:
    from .client import Client

MONITOR_BACKLOG = 1000
LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40}

log = logging.getLogger(__name__)


class Serving:
    """The node's side of every request that names an allocation or the node itself."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._cpus = CpuMeter()

    def register(self, router: Router) -> None:
        """Put every answer into the table."""
        router.on(Kind.ALLOC_RESTART, RestartRequest, self._restart)
        router.on(Kind.ALLOC_SIGNAL, SignalRequest, self._signal)
        router.on(Kind.ALLOC_STATS, AllocRequest, self._alloc_stats)
        router.on(Kind.ALLOC_GC, AllocRequest, self._alloc_gc)
        router.on(Kind.ALLOC_CHECKS, AllocRequest, self._checks)
        router.on(Kind.NODE_STATS, Empty, self._node_stats)
        router.on(Kind.NODE_GC, Empty, self._node_gc)
        router.on(Kind.NODE_META, NodeMetaRequest, self._node_meta)
        router.on(Kind.FS_LIST, FileRequest, self._list)
        router.on(Kind.FS_STAT, FileRequest, self._stat)
        router.on_stream(Kind.FS_READ, FileRequest, self._read)
        router.on_stream(Kind.FS_STREAM, FileRequest, self._stream)
        router.on_stream(Kind.FS_LOGS, LogsRequest, self._logs)
        router.on_stream(Kind.ALLOC_EXEC, ExecRequest, self._exec)
        router.on_stream(Kind.NODE_MONITOR, MonitorRequest, self._monitor)

    # --- requests -----------------------------------------------------------------------------------

    async def _restart(self, _: Session, request: RestartRequest) -> Empty:
        runner = self._client.runner(request.alloc_id)
        runner.restart(request.task, all_tasks=request.all_tasks, reason="asked for by a person")
        return Empty()

    async def _signal(self, _: Session, request: SignalRequest) -> Empty:
        await self._client.runner(request.alloc_id).signal(request.task, request.signal or "SIGKILL")
        return Empty()

    async def _alloc_stats(self, _: Session, request: AllocRequest) -> Stats:
        runner = self._client.runner(request.alloc_id)
        wanted = [runner.task(request.task)] if request.task else list(runner.tasks.values())
        usages: dict[str, TaskUsage] = {}
        for task in wanted:
            if task.handle is not None and task.machine.phase is Phase.RUNNING:
                with contextlib.suppress(DriverError):
                    usages[task.name] = await task.handle.usage()
        return Stats(body=alloc_usage(usages, unix_ns(self._client.clock.now())))

    async def _alloc_gc(self, _: Session, request: AllocRequest) -> Empty:
        runner = self._client.runner(request.alloc_id)
        if not runner.ended.is_set():
            raise ConflictError(
                "alloc.running", f"allocation {request.alloc_id[:8]} was not removed", "it has not ended",
                "stop it first",
            )  # fmt: skip
        await self._client.remove(request.alloc_id)
        return Empty()

    async def _checks(self, _: Session, request: AllocRequest) -> Stats:
        return Stats(body=self._client.runner(request.alloc_id).check_results())

    async def _node_stats(self, _: Session, __: Empty) -> Stats:
        client = self._client
        body = await asyncio.to_thread(
            host_usage,
            client.settings.alloc_path,
            client.clock.now(),
            client.node.node_resources.cpu.cpu_shares,
            self._cpus,
        )
        return Stats(body=body)

    async def _node_gc(self, _: Session, __: Empty) -> Empty:
        await self._client.collect_all()
        return Empty()

    async def _node_meta(self, _: Session, request: NodeMetaRequest) -> NodeMeta:
        return await self._client.change_meta(request.changes) if request.changes else self._client.meta

    async def _list(self, _: Session, request: FileRequest) -> FileInfos:
        root = self._client.runner(request.alloc_id).dir
        return FileInfos(entries=await asyncio.to_thread(files.list_dir, root, request.path))

    async def _stat(self, _: Session, request: FileRequest) -> FileInfo:
        root = self._client.runner(request.alloc_id).dir
        return await asyncio.to_thread(files.stat_path, root, request.path)

    # --- streams ------------------------------------------------------------------------------------

    async def _read(self, _: Session, request: FileRequest, stream: Stream) -> None:
        root = self._client.runner(request.alloc_id).dir
        chunks = files.stream_file(
            root, request.path, clock=self._client.clock, offset=request.offset, limit=request.limit,
            origin=request.origin,
        )  # fmt: skip
        await _send_chunks(stream, chunks)

    async def _stream(self, _: Session, request: FileRequest, stream: Stream) -> None:
        runner = self._client.runner(request.alloc_id)
        chunks = files.stream_file(
            runner.dir, request.path, clock=self._client.clock, offset=request.offset, limit=request.limit,
            origin=request.origin, follow=request.follow, is_done=runner.ended.is_set,
        )  # fmt: skip
        await _send_chunks(stream, chunks)

    async def _logs(self, _: Session, request: LogsRequest, stream: Stream) -> None:
        runner = self._client.runner(request.alloc_id)
        task = runner.task(request.task)
        chunks = files.stream_logs(
            runner.dir, task.name, request.kind, clock=self._client.clock, offset=request.offset,
            origin=request.origin, follow=request.follow, is_done=lambda: task.machine.is_dead,
        )  # fmt: skip
        await _send_chunks(stream, chunks)

    async def _exec(self, _: Session, request: ExecRequest, stream: Stream) -> None:
        client = self._client
        if client.settings.disable_remote_exec:
            raise ForbiddenError(
                "exec.disabled", "the command was not run", "this node's settings forbid exec",
                "set client { disable_remote_exec = false }",
            )  # fmt: skip
        task = client.runner(request.alloc_id).task(request.task)
        if not request.command:
            raise BadRequestError("exec.no_command", "which command?")
        handle = task.running_handle()
        if not client.drivers[task.task.driver].capabilities.can_exec:
            raise BadRequestError("exec.driver", f'driver "{task.task.driver}" cannot run commands beside a task')
        try:
            session = await handle.execute(list(request.command), tty=request.tty)
        except DriverError as error:
            raise RoveError("exec.failed", "the command was not run", error.what) from error
        try:
            await _while_open(stream, _output(session, stream), lambda data: _input(session, data))
        finally:
            await session.kill()

    async def _monitor(self, _: Session, request: MonitorRequest, stream: Stream) -> None:
        level = LEVELS.get(request.log_level.lower())
        if level is None:
            raise BadRequestError(
                "monitor.level", f'log level "{request.log_level}" is not known', "", f"use one of {', '.join(LEVELS)}"
            )
        tail = _Tail(level, as_json=request.log_json)
        root = logging.getLogger()
        root.addHandler(tail)
        try:
            await _while_open(stream, tail.send(stream))
        finally:
            root.removeHandler(tail)


async def _send_chunks(stream: Stream, chunks: AsyncIterator[StreamChunk]) -> None:
    async def send() -> None:
        async for chunk in chunks:
            await stream.send(msgspec.msgpack.encode(chunk))

    await _while_open(stream, send())


async def _while_open(
    stream: Stream, work: Coroutine[Any, Any, None], on_data: Callable[[bytes], Awaitable[None]] | None = None
) -> None:
    """Run `work` until it is done or the other end closes the stream; what arrives meanwhile goes to `on_data`."""

    async def listen() -> None:
        while (data := await stream.receive()) is not None:
            if on_data is not None:
                await on_data(data)

    loop = asyncio.get_running_loop()
    working, listening = loop.create_task(work), loop.create_task(listen())
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, listening):
            task.cancel()
        await asyncio.gather(working, listening, return_exceptions=True)


async def _output(session: ExecSession, stream: Stream) -> None:
    async for name, data in session.output():
        chunk = ExecOutput(stdout=data) if name == "stdout" else ExecOutput(stderr=data)
        await stream.send(msgspec.msgpack.encode(chunk))
    code = await session.wait()
    await stream.send(msgspec.msgpack.encode(ExecOutput(exited=True, exit_code=code)))


async def _input(session: ExecSession, data: bytes) -> None:
    message = msgspec.msgpack.decode(data, type=ExecInput)
    if message.height or message.width:
        await session.resize(message.height, message.width)
    if message.stdin:
        await session.write(message.stdin)
    if message.close:
        await session.close_stdin()


class _Tail(logging.Handler):
    """Hands log lines to one listener; drops the oldest when it is slow."""

    def __init__(self, level: int, *, as_json: bool) -> None:
        super().__init__(level)
        self._as_json = as_json
        self._lines: asyncio.Queue[str] = asyncio.Queue(MONITOR_BACKLOG)
        self._loop = asyncio.get_running_loop()
        self.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Called from any thread."""
        if self._as_json:
            fields = {
                "@level": record.levelname.lower(), "@module": record.name, "@message": record.getMessage(),
                "@timestamp": record.created,
            }  # fmt: skip
            line = json.dumps(fields)
        else:
            line = self.format(record)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._add, line + "\n")

    def _add(self, line: str) -> None:
        if self._lines.full():
            self._lines.get_nowait()
        self._lines.put_nowait(line)

    async def send(self, stream: Stream) -> None:
        """Send lines for ever."""
        while True:
            line = await self._lines.get()
            await stream.send(msgspec.msgpack.encode(StreamChunk(data=line.encode())))
