"""How many requests the HTTP API answers: small reads, and registrations stored durably.

    python bench/api.py [--json FILE] [--seconds 3] [--runs 3]

A server in a process of its own (SQLite in a temporary folder, uvloop), clients in this one. Small reads: keep-alive
connections that ask for /v1/status/leader and /v1/job/web. Registrations: 16 clients, a job of their own each time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

READERS = 16
WRITERS = 16
HEAD = "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"


def serve(folder: str, ready: Any, engine_name: str) -> None:
    """The server's process."""
    import uvloop

    uvloop.run(_serve(folder, ready, engine_name))


async def _serve(folder: str, ready: Any, engine_name: str) -> None:
    from aiohttp import web

    from rove.api import AgentInfo, Backend, create_app
    from rove.ports.real import RealClock, RealIds
    from rove.server.server import Server, ServerSettings

    if engine_name == "sqlite":
        from rove.engine.sqlite import SqliteEngine

        engine: Any = SqliteEngine(Path(folder) / "state.db")
    else:
        from rove.engine.memory import MemoryEngine

        engine = MemoryEngine()
    server = Server(ServerSettings(name="bench"), engine, RealClock(), RealIds())
    await server.start()
    app = create_app(Backend(server=server, agent=AgentInfo(name="bench")))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()
        ready.send(port)
        await asyncio.Event().wait()


class Connection:
    """A keep-alive connection that says as little as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """One request, one answer. Raises on any status but 200."""
        self._writer.write(HEAD.format(method=method, path=path, length=len(body)).encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        return answer

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def a_job(job_id: str) -> bytes:
    """A small job's registration."""
    task = {"Name": "app", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}
    group = {"Name": "g", "Count": 1, "Tasks": [task]}
    job = {"ID": job_id, "Name": job_id, "Type": "batch", "Datacenters": ["dc1"], "TaskGroups": [group]}
    return json.dumps({"Job": job}).encode()


async def per_second(port: int, clients: int, seconds: float, ask: Any) -> tuple[float, list[float]]:
    """Requests a second of that many clients, and each request's time in seconds."""
    connections = [await Connection.open(port) for _ in range(clients)]
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def work(number: int, connection: Connection) -> None:
        turn = 0
        while (begun := time.perf_counter()) < end:
            await ask(connection, number, turn)
            times.append(time.perf_counter() - begun)
            turn += 1

    begun = time.perf_counter()
    await asyncio.gather(*(work(number, connection) for number, connection in enumerate(connections)))
    took = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    return len(times) / took, times


async def measure(port: int, seconds: float, runs: int) -> dict[str, float]:
    """Medians over the runs."""
    first = await Connection.open(port)
    await first.ask("PUT", "/v1/jobs", a_job("web"))
    kinds: dict[str, tuple[int, Any]] = {
        "small_get_per_s": (READERS, lambda c, n, t: c.ask("GET", "/v1/status/leader")),
        "job_get_per_s": (READERS, lambda c, n, t: c.ask("GET", "/v1/job/web")),
        "register_per_s": (WRITERS, None),
    }
    found: dict[str, list[float]] = {}
    for run in range(runs):
        for name, (clients, ask) in kinds.items():
            if ask is None:
                ask = _registration(run)
            rate, times = await per_second(port, clients, seconds, ask)
            times.sort()
            found.setdefault(name, []).append(rate)
            found.setdefault(name.replace("per_s", "p50_ms"), []).append(times[len(times) // 2] * 1000)
            found.setdefault(name.replace("per_s", "p99_ms"), []).append(times[len(times) * 99 // 100] * 1000)
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def _registration(run: int) -> Any:
    def ask(connection: Connection, number: int, turn: int) -> Any:
        return connection.ask("PUT", "/v1/jobs", a_job(f"job-{run}-{number}-{turn}"))

    return ask


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--engine", choices=["sqlite", "memory"], default="sqlite")
    chosen = options.parse_args()
    import uvloop

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(folder, there, chosen.engine), daemon=True)
        process.start()
        try:
            result = uvloop.run(measure(here.recv(), chosen.seconds, chosen.runs))
        finally:
            process.terminate()
            process.join()
    for name, value in result.items():
        print(f"{name:24} {value:>12,.2f}")
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
