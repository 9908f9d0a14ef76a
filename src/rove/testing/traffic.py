"""Requests to a service at a steady rate, wherever discovery says it is; remembers every one that failed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from collections import Counter
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

REQUEST_TIMEOUT_S = 20.0
BATCH_S = 0.02


async def get(address: str, path: str, timeout_s: float) -> tuple[int, dict[str, str], bytes]:
    """One GET over a connection of its own. Raises `OSError`, `TimeoutError`, `ValueError`."""
    where = urlsplit(address)
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n".encode())
            raw = await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        raise ConnectionResetError(f"no answer: {raw[:80]!r}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" in headers and len(body) < int(headers["content-length"]):
        raise ConnectionResetError("the answer was cut off")
    return int(first.split()[1]), headers, body


class Traffic:
    """A load generator in a thread of its own: ``with Traffic(api, "web", rate=250) as traffic: ...``."""

    def __init__(self, api: str, service: str, rate: int = 250, path: str = "/", seed: int = 1) -> None:
        """api: address of the agent's HTTP API. rate: requests a second."""
        self.sent = 0
        self.answers: Counter[str] = Counter()
        """Bodies of good answers."""
        self.failures: list[str] = []
        self.instances: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._api, self._service, self._rate, self._path = api, service, rate, path
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)

    @property
    def achieved(self) -> float:
        """Requests a second."""
        return self.sent / self.seconds if self.seconds else 0.0

    async def _run(self) -> None:
        follower = asyncio.create_task(self._follow())
        loop = asyncio.get_running_loop()
        while not self.instances and not self._stop.is_set():
            await asyncio.sleep(BATCH_S)
        start, under_way = loop.time(), set[asyncio.Task[None]]()
        while not self._stop.is_set():
            self.seconds = loop.time() - start
            for _ in range(int(self.seconds * self._rate) - self.sent):
                self.sent += 1
                task = asyncio.create_task(self._request())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(BATCH_S)
        await asyncio.gather(*under_way)
        follower.cancel()

    async def _follow(self) -> None:
        index = 0
        while True:
            path = f"/v1/service/{quote(self._service)}?index={index}&wait=10s"
            try:
                status, headers, body = await get(self._api, path, 30.0)
            except (OSError, TimeoutError, ValueError):
                await asyncio.sleep(0.1)
                continue
            if status == 200:
                self.instances, index = json.loads(body), int(headers.get("x-nomad-index", "0"))

    async def _request(self) -> None:
        if not self.instances:
            self.failures.append("nobody is registered")
            return
        chosen = self._random.choice(self.instances)
        address = f"http://{chosen['Address']}:{chosen['Port']}"
        try:
            status, _, body = await get(address, self._path, REQUEST_TIMEOUT_S)
        except (OSError, TimeoutError, ValueError) as error:
            self.failures.append(f"{address}: {type(error).__name__}: {error}")
            return
        if status == 200:
            self.answers[body.decode(errors="replace")] += 1
        else:
            self.failures.append(f"{address}: {status}")
