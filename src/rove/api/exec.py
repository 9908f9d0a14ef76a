"""Commands beside a task over a WebSocket: JSON text frames at the client, msgpack messages at the node."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from rove.errors import BadRequestError, RoveError
from rove.structs.messages import ExecInput, ExecOutput, ExecRequest, Kind

from .allocations import known_alloc
from .backend import NodeStream
from .call import Call, Reply
from .client import find_node, open_stream
from .missing import unknown
from .routes import Place, Route

MAX_MESSAGE = 1024 * 1024
HEARTBEAT_S = 10.0
HANDSHAKE_S = 10.0
MAX_ARGUMENTS = 1024
MAX_REASON = 120
WS_INTERNAL, WS_POLICY = 1011, 1008


class Data(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes of stdin, or its end."""

    data: bytes = b""
    close: bool = False


class TtySize(msgspec.Struct, frozen=True):
    """Rows and columns."""

    height: int = 0
    width: int = 0


class InFrame(msgspec.Struct, frozen=True):
    """What a client sends; all absent: a heartbeat."""

    stdin: Data | None = None
    tty_size: TtySize | None = None


class Handshake(msgspec.Struct, frozen=True):
    """First message of a browser, which cannot set headers."""

    version: int = 1
    auth_token: str = ""


_in_frame = msgspec.json.Decoder(InFrame)
_encode = msgspec.json.Encoder().encode


async def run(call: Call) -> Reply | web.StreamResponse:
    """Run a command beside a task."""
    return await serve_exec(call, exec_request(call))


async def run_action(call: Call) -> Reply | web.StreamResponse:
    """Run a command that the job names, beside a task of one of its allocations."""
    return await serve_exec(call, action_request(call))


async def serve_exec(call: Call, request: ExecRequest) -> Reply | web.StreamResponse:
    """Carry a command's input and output between a WebSocket and the node."""
    with_handshake = call.flag("ws_handshake")
    if call.request.headers.get("Upgrade", "").lower() != "websocket":
        raise BadRequestError("exec.websocket", "commands are run over a WebSocket", fix="send Upgrade: websocket")
    node_id = find_node(call, request.alloc_id)
    socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE)
    await socket.prepare(call.request)
    try:
        if with_handshake:
            await _handshake(socket)
        stream = await open_stream(call, node_id, Kind.ALLOC_EXEC, request)
    except RoveError as error:
        await _refuse(socket, error)
        return socket
    try:
        await _talk(socket, stream)
    except RoveError as error:
        await _refuse(socket, error)
    finally:
        await stream.close()
    await socket.close()
    return socket


def exec_request(call: Call) -> ExecRequest:
    """The command of a request's query. Raises `BadRequestError`."""
    task, text = call.query.get("task", ""), call.query.get("command", "")
    if not task:
        raise BadRequestError("exec.task", "the task is missing", fix="name it with task=")
    try:
        command = msgspec.json.decode(text or "[]", type=tuple[str, ...])
    except msgspec.MsgspecError:
        raise BadRequestError(
            "exec.command", "the command is no list", fix='send a JSON array: command=["ls","-l"]'
        ) from None
    if not command or len(command) > MAX_ARGUMENTS:
        raise BadRequestError("exec.command", f"a command has 1 to {MAX_ARGUMENTS} words")
    return ExecRequest(alloc_id=call.ids["alloc_id"], task=task, command=command, tty=call.flag("tty"))


def action_request(call: Call) -> ExecRequest:
    """The command behind an action's name. Raises `NotFoundError` for an unknown one."""
    alloc_id, task, name = (call.query.get(key, "") for key in ("allocID", "task", "action"))
    if not alloc_id or not task or not name:
        raise BadRequestError("exec.action", "allocID, task and action must be named")
    snapshot = call.store.snapshot()
    alloc = known_alloc(snapshot, alloc_id)
    job = snapshot.job_version(alloc.namespace, alloc.job_id, alloc.job_version)
    group = job.group(alloc.task_group) if job is not None and job.id == call.ids["job_id"] else None
    owner = group.task(task) if group is not None else None
    action = next((action for action in owner.actions if action.name == name), None) if owner else None
    if action is None:
        raise unknown("action", name)
    command = (action.command, *action.args)
    return ExecRequest(alloc_id=alloc_id, task=task, command=command, tty=call.flag("tty"))


async def _handshake(socket: web.WebSocketResponse) -> None:
    try:
        message = await socket.receive(timeout=HANDSHAKE_S)
        msgspec.json.decode(message.data or b"", type=Handshake)
    except (TimeoutError, msgspec.MsgspecError, TypeError):
        raise BadRequestError("exec.handshake", "the first message must be a handshake") from None


async def _refuse(socket: web.WebSocketResponse, error: RoveError) -> None:
    code = WS_INTERNAL if error.status >= 500 else WS_POLICY
    await socket.close(code=code, message=reason_of(error))


def reason_of(error: RoveError) -> bytes:
    """A failure as the text of a close frame, which holds 123 bytes: shortened where it has to be."""
    text = error.text().encode()
    if len(text) > MAX_REASON:
        text = (f"{error.what}: {error.why}" if error.why else error.what).encode()
    if len(text) > MAX_REASON:
        text = text[: MAX_REASON - 3].decode(errors="ignore").encode() + "…".encode()
    return text


async def _talk(socket: web.WebSocketResponse, stream: NodeStream) -> None:
    """Carry frames both ways until the command ends or the client goes."""
    work = [asyncio.ensure_future(part) for part in (_inward(socket, stream), _outward(socket, stream))]
    beat = asyncio.ensure_future(_heartbeats(socket))
    try:
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for part in done:
            part.result()
    finally:
        for part in (*work, beat):
            part.cancel()
        await asyncio.gather(*work, beat, return_exceptions=True)


async def _inward(socket: web.WebSocketResponse, stream: NodeStream) -> None:
    async for message in socket:
        if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            continue
        try:
            frame = _in_frame.decode(message.data)
        except msgspec.MsgspecError:
            raise BadRequestError("exec.frame", "a frame was not understood") from None
        if (said := input_of(frame)) is not None:
            await stream.send(msgspec.msgpack.encode(said))


def input_of(frame: InFrame) -> ExecInput | None:
    """A client's frame for the node; None for a heartbeat."""
    if frame.tty_size is not None:
        return ExecInput(height=frame.tty_size.height, width=frame.tty_size.width)
    if frame.stdin is not None:
        return ExecInput(stdin=frame.stdin.data, close=frame.stdin.close)
    return None


async def _outward(socket: web.WebSocketResponse, stream: NodeStream) -> None:
    while (data := await stream.receive()) is not None:
        said = msgspec.msgpack.decode(data, type=ExecOutput)
        if said.error:
            raise RoveError("exec.failed", said.error)
        for frame in output_of(said):
            await socket.send_str(_encode(frame).decode())
        if said.exited:
            return


def output_of(said: ExecOutput) -> list[dict[str, Any]]:
    """What a node said as the client's frames."""
    frames: list[dict[str, Any]] = []
    if said.stdout:
        frames.append({"stdout": {"data": said.stdout}})
    if said.stderr:
        frames.append({"stderr": {"data": said.stderr}})
    if said.exited:
        frames += [{"stdout": {"close": True}}, {"stderr": {"close": True}}]
        frames.append({"exited": True, "result": {"exit_code": said.exit_code}})
    return frames


async def _heartbeats(socket: web.WebSocketResponse) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        await socket.send_str("{}")


ROUTES = (
    Route(
        methods=("GET",),
        path="/v1/job/{job_id}/action",
        handler=run_action,
        summary="Run a job's named command (WebSocket)",
        capability="alloc-exec",
        query=("allocID", "task", "action", "tty", "ws_handshake"),
    ),
    Route(
        methods=("GET",),
        path="/v1/client/allocation/{alloc_id}/exec",
        handler=run,
        place=Place.NODE,
        summary="Run a command beside a task (WebSocket)",
        capability="alloc-exec",
        query=("task", "command", "tty", "ws_handshake"),
    ),
)
