"""One connection between an agent and a server: requests both ways and streams, over a pipe of frames.

A frame is a msgpack array `[type, id, kind, body]`. The side that opened the connection uses odd ids,
the other even ones. A stream's sender may have `WINDOW` bytes under way that the receiver has not
taken yet, so that one slow reader holds up neither heartbeats nor other streams.
`Session` works over any `Pipe`: a WebSocket (`rove.ports.websocket`), or memory in tests and simulation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from typing import Any, Protocol, TypeVar

import msgspec

from rove.errors import NotFoundError, RoveError, UnavailableError, invariant

log = logging.getLogger(__name__)

WINDOW = 256 * 1024
MAX_FRAME = 64 * 1024 * 1024
REQUEST_TIMEOUT_S = 30.0

Reply = TypeVar("Reply")


class FrameType(IntEnum):
    """What a frame is."""

    REQUEST = 1
    REPLY = 2
    ERROR = 3
    OPEN = 4
    DATA = 5
    CREDIT = 6
    CLOSE = 7


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message on the pipe."""

    type: FrameType
    id: int
    kind: str = ""
    body: bytes = b""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """A `RoveError` on the wire."""

    code: str
    what: str
    why: str = ""
    fix: str = ""
    status: int = 500


class Pipe(Protocol):
    """Carries frames in order, until it is closed."""

    async def send(self, data: bytes) -> None:
        """Hand over one frame. Raises `ConnectionError` when the pipe is closed."""
        ...

    async def receive(self) -> bytes | None:
        """The next frame, or None when the pipe is closed."""
        ...

    async def close(self) -> None:
        """Close both directions."""
        ...


class Stream:
    """A stream of messages within a session, each way ended by `close`."""

    def __init__(self, session: Session, stream_id: int, kind: str) -> None:
        self.kind = kind
        self._session = session
        self._id = stream_id
        self._inbox: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._credit = WINDOW
        self._credit_wake = asyncio.Event()
        self._remote_closed = False
        self._local_closed = False
        self._failure: RoveError | None = None

    async def send(self, data: bytes) -> None:
        """Send one message; waits while the receiver has too much untaken. Raises if the other end closed."""
        while self._credit <= 0 and not self._remote_closed:
            self._credit_wake.clear()
            await self._credit_wake.wait()
        if self._remote_closed or self._local_closed:
            raise self._failure or ConnectionResetError("stream closed by the other end")
        self._credit -= len(data)
        await self._session._send(Frame(FrameType.DATA, self._id, body=data))

    async def receive(self) -> bytes | None:
        """The next message, None at the end. Raises the error that the other end closed with."""
        while not self._inbox:
            if self._remote_closed:
                if self._failure is not None:
                    raise self._failure
                return None
            self._wake.clear()
            await self._wake.wait()
        data = self._inbox.popleft()
        if not self._remote_closed:
            with contextlib.suppress(ConnectionError):
                await self._session._send(Frame(FrameType.CREDIT, self._id, body=str(len(data)).encode()))
        return data

    async def close(self, error: RoveError | None = None) -> None:
        """End the stream, with an error if one is given. Idempotent."""
        if self._local_closed:
            return
        self._local_closed = True
        self._session._streams.pop(self._id, None)
        body = msgspec.msgpack.encode(_failure(error)) if error else b""
        with contextlib.suppress(ConnectionError):
            await self._session._send(Frame(FrameType.CLOSE, self._id, body=body))
        self._wake.set()
        self._credit_wake.set()

    def _deliver(self, data: bytes) -> None:
        self._inbox.append(data)
        self._wake.set()

    def _grant(self, count: int) -> None:
        self._credit += count
        self._credit_wake.set()

    def _end(self, failure: RoveError | None) -> None:
        self._remote_closed = True
        self._failure = failure
        self._wake.set()
        self._credit_wake.set()


class Handler(Protocol):
    """Answers the other side's requests and streams."""

    async def handle(self, session: Session, kind: str, body: bytes) -> bytes:
        """Answer a request. A `RoveError` raised here is raised at the caller, anything else as an internal failure."""
        ...

    async def handle_stream(self, session: Session, kind: str, body: bytes, stream: Stream) -> None:
        """Serve a stream; it is closed after return, with the error if one is raised."""
        ...


class Session:
    """A connection: `run` reads until the pipe closes; calls and streams may be made meanwhile."""

    def __init__(self, pipe: Pipe, handler: Handler, *, dialled: bool, peer: str = "") -> None:
        self.peer = peer
        self.identity: Any = None
        """Set by the owner: who the other side has shown itself to be."""
        self.closed = asyncio.Event()
        self.frames_received = 0
        self._pipe = pipe
        self._handler = handler
        self._next_id = 1 if dialled else 2
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Read frames until the pipe closes; then every open call and stream fails."""
        try:
            while (data := await self._pipe.receive()) is not None:
                self.frames_received += 1
                self._dispatch(msgspec.msgpack.decode(data, type=Frame))
        except msgspec.MsgspecError:
            pass  # the other side does not speak our protocol: drop the connection
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the pipe and fail whatever is open. Idempotent."""
        if self.closed.is_set():
            return
        self.closed.set()
        gone = self._gone()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(gone)
        self._waiting.clear()
        for stream in list(self._streams.values()):
            stream._end(gone)
        self._streams.clear()
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await self._pipe.close()

    async def call(self, kind: str, body: Any, reply: type[Reply], timeout_s: float = REQUEST_TIMEOUT_S) -> Reply:
        """Ask, and decode the answer as `reply`.

        Raises the other side's `RoveError`, or `UnavailableError` on time-out and lost connections.
        """
        request_id = self._take_id()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(Frame(FrameType.REQUEST, request_id, kind, msgspec.msgpack.encode(body)))
                answer = await future
        except TimeoutError:
            raise UnavailableError(
                "connection.timeout", f"no answer from {self.peer or 'the peer'} to {kind} in {timeout_s:g} s"
            ) from None
        except ConnectionError:
            raise self._gone() from None
        finally:
            self._waiting.pop(request_id, None)
        return msgspec.msgpack.decode(answer, type=reply)

    async def open(self, kind: str, body: Any) -> Stream:
        """Open a stream to the other side."""
        stream = Stream(self, self._take_id(), kind)
        if self.closed.is_set():
            raise self._gone()
        self._streams[stream._id] = stream
        await self._send(Frame(FrameType.OPEN, stream._id, kind, msgspec.msgpack.encode(body)))
        return stream

    def _gone(self) -> UnavailableError:
        peer = self.peer or "the peer"
        return UnavailableError("connection.closed", f"the connection to {peer} was closed")

    async def _send(self, frame: Frame) -> None:
        await self._pipe.send(msgspec.msgpack.encode(frame))

    def _take_id(self) -> int:
        self._next_id += 2
        return self._next_id

    def _dispatch(self, frame: Frame) -> None:
        match frame.type:
            case FrameType.REQUEST:
                self._spawn(self._answer(frame))
            case FrameType.REPLY | FrameType.ERROR:
                self._settle(frame)
            case FrameType.OPEN:
                stream = Stream(self, frame.id, frame.kind)
                self._streams[frame.id] = stream
                self._spawn(self._serve(frame, stream))
            case FrameType.DATA:
                if stream_or_none := self._streams.get(frame.id):
                    stream_or_none._deliver(frame.body)
            case FrameType.CREDIT:
                if stream_or_none := self._streams.get(frame.id):
                    stream_or_none._grant(int(frame.body))
            case FrameType.CLOSE:
                if stream_or_none := self._streams.pop(frame.id, None):
                    stream_or_none._end(_decode_failure(frame.body) if frame.body else None)

    def _settle(self, frame: Frame) -> None:
        future = self._waiting.get(frame.id)
        if future is None or future.done():
            return
        if frame.type is FrameType.REPLY:
            future.set_result(frame.body)
        else:
            future.set_exception(_decode_failure(frame.body))

    async def _answer(self, frame: Frame) -> None:
        try:
            body = await self._handler.handle(self, frame.kind, frame.body)
            reply = Frame(FrameType.REPLY, frame.id, body=body)
        except Exception as error:  # also our own bugs: whoever asked must not wait for nothing
            reply = Frame(FrameType.ERROR, frame.id, body=msgspec.msgpack.encode(_failure(_told(error, frame.kind))))
        with contextlib.suppress(ConnectionError):
            await self._send(reply)

    async def _serve(self, frame: Frame, stream: Stream) -> None:
        error: RoveError | None = None
        try:
            await self._handler.handle_stream(self, frame.kind, frame.body, stream)
        except Exception as failure:  # also our own bugs: a stream that broke off must not look whole
            if not (isinstance(failure, ConnectionError) and stream._remote_closed):  # else the reader has gone
                error = _told(failure, frame.kind)
        finally:
            await stream.close(error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _told(error: Exception, kind: str) -> RoveError:
    """What the other side is told of a handler's failure. What only we can mend goes into the log."""
    match error:
        case RoveError():
            return error
        case msgspec.MsgspecError():
            return RoveError("message.malformed", f"{kind}: the message was not understood", str(error))
        case TimeoutError() | ConnectionError():
            log.warning("%s failed: %s", kind, str(error) or type(error).__name__)
            return UnavailableError("connection.failed", f"{kind} failed", "something that it needs did not answer")
        case OSError():
            log.error("%s failed: %s", kind, error)
            why = error.strerror or type(error).__name__
            fix = "make room on the disk of the agent that was asked, or look at its log"
            return UnavailableError("state.not_stored", f"{kind}: nothing was stored", why, fix)
        case _:
            log.error("%s failed", kind, exc_info=error)
            why = "a bug of ours, whose details are in the log of the agent that was asked"
            return RoveError("internal", f"{kind} failed", why)


def _failure(error: RoveError) -> Failure:
    return Failure(error.code, error.what, error.why, error.fix, error.status)


def _decode_failure(body: bytes) -> RoveError:
    failure = msgspec.msgpack.decode(body, type=Failure)
    kind = NotFoundError if failure.status == NotFoundError.status else RoveError
    return kind(failure.code, failure.what, failure.why, failure.fix, failure.status)


class Router:
    """A `Handler` from two tables: kind -> request function, kind -> stream function."""

    def __init__(self) -> None:
        self._requests: dict[str, Callable[[Session, bytes], Awaitable[bytes]]] = {}
        self._streams: dict[str, Callable[[Session, bytes, Stream], Awaitable[None]]] = {}

    def on(self, kind: str, body: type[Any], answer: Callable[[Session, Any], Awaitable[Any]]) -> None:
        """Answer `kind`: the body is decoded as `body`, the returned struct is the reply."""

        async def decode_and_answer(session: Session, raw: bytes) -> bytes:
            return msgspec.msgpack.encode(await answer(session, msgspec.msgpack.decode(raw, type=body)))

        invariant(kind not in self._requests, f"two answers for {kind}")
        self._requests[kind] = decode_and_answer

    def on_stream(self, kind: str, body: type[Any], serve: Callable[[Session, Any, Stream], Awaitable[None]]) -> None:
        """Serve streams of `kind`."""

        async def decode_and_serve(session: Session, raw: bytes, stream: Stream) -> None:
            await serve(session, msgspec.msgpack.decode(raw, type=body), stream)

        invariant(kind not in self._streams, f"two servers for {kind}")
        self._streams[kind] = decode_and_serve

    async def handle(self, session: Session, kind: str, body: bytes) -> bytes:
        """Answer a request by the table."""
        if kind not in self._requests:
            raise NotFoundError("message.unknown", f'requests of kind "{kind}" are not known here')
        return await self._requests[kind](session, body)

    async def handle_stream(self, session: Session, kind: str, body: bytes, stream: Stream) -> None:
        """Serve a stream by the table."""
        if kind not in self._streams:
            raise NotFoundError("message.unknown", f'streams of kind "{kind}" are not known here')
        await self._streams[kind](session, body, stream)


class MemoryPipe:
    """One end of a pipe within the process, for tests and simulation."""

    def __init__(self) -> None:
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._other: MemoryPipe | None = None
        self._closed = False

    async def send(self, data: bytes) -> None:
        """Hand over one frame."""
        if self._closed or self._other is None or self._other._closed:
            raise ConnectionResetError("pipe closed")
        self._other._inbox.put_nowait(data)

    async def receive(self) -> bytes | None:
        """The next frame, or None when closed."""
        if self._closed and self._inbox.empty():
            return None
        return await self._inbox.get()

    async def close(self) -> None:
        """Close both directions."""
        if not self._closed:
            self._closed = True
            self._inbox.put_nowait(None)
            if self._other is not None and not self._other._closed:
                await self._other.close()


def memory_pipes() -> tuple[MemoryPipe, MemoryPipe]:
    """Two connected ends."""
    left, right = MemoryPipe(), MemoryPipe()
    left._other, right._other = right, left
    return left, right
