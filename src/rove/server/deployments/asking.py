"""Puts a gate's question: over HTTP, to Prometheus, or as a command beside a canary's task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

import msgspec

from rove.errors import RoveError
from rove.ports.transport import Stream
from rove.structs.alloc import Allocation
from rove.structs.base import SECOND
from rove.structs.job import Gate
from rove.structs.messages import ExecInput, ExecOutput, ExecRequest, Kind

from .gates import Verdict, judge_http, judge_prometheus, judge_script

OUTPUT_MAX = 64 * 1024
TIMEOUT_MAX_S = 300.0

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]
"""GET a URL: (status, the beginning of the body). Raises `OSError` or `ValueError`."""
OpenNode = Callable[[str, Kind, ExecRequest], Awaitable[Stream]]


class Asking:
    """Asks gates. Whatever goes wrong is a bad answer with its reason."""

    def __init__(self, fetch: Fetch, open_node: OpenNode) -> None:
        self._fetch = fetch
        self._open_node = open_node

    async def ask(self, gate: Gate, canaries: Sequence[Allocation]) -> Verdict:
        """The answer of one gate; within its time-out."""
        limit_s = min(max(gate.timeout / SECOND, 0.1), TIMEOUT_MAX_S)
        try:
            async with asyncio.timeout(limit_s):
                return await self._put(gate, canaries)
        except TimeoutError:
            return Verdict(False, f"no answer within {limit_s:g} s")
        except RoveError as error:
            return Verdict(False, error.what)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            return Verdict(False, str(error) or type(error).__name__)

    async def _put(self, gate: Gate, canaries: Sequence[Allocation]) -> Verdict:
        match gate.type:
            case "http":
                status, _ = await self._fetch(gate.address)
                return judge_http(gate, status)
            case "prometheus":
                url = f"{gate.address.rstrip('/')}/api/v1/query?query={quote(gate.query, safe='')}"
                _, body = await self._fetch(url)
                return judge_prometheus(gate, body)
            case "script":
                return await self._run_everywhere(gate, canaries)
            case _:
                return Verdict(False, f'there are no gates of type "{gate.type}"')

    async def _run_everywhere(self, gate: Gate, canaries: Sequence[Allocation]) -> Verdict:
        """Good if it is good in every canary; the first bad one tells why."""
        verdict = Verdict(False, "there is no canary to run it in")
        for alloc in canaries:
            verdict = await self._run(gate, alloc)
            if not verdict.is_good:
                return Verdict(False, f"{alloc.name}: {verdict.text}")
        return verdict

    async def _run(self, gate: Gate, alloc: Allocation) -> Verdict:
        request = ExecRequest(alloc_id=alloc.id, task=gate.task, command=(gate.command, *gate.args))
        stream = await self._open_node(alloc.node_id, Kind.ALLOC_EXEC, request)
        output = bytearray()
        try:
            await stream.send(msgspec.msgpack.encode(ExecInput(close=True)))
            while (message := await stream.receive()) is not None:
                said = msgspec.msgpack.decode(message, type=ExecOutput)
                output += (said.stdout + said.stderr)[: max(OUTPUT_MAX - len(output), 0)]
                if said.error:
                    return Verdict(False, said.error)
                if said.exited:
                    return judge_script(said.exit_code, output.decode(errors="replace"))
        finally:
            await stream.close()
        return Verdict(False, "the command's end was not told")
