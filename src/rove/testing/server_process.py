"""A server of its own: `rove agent` as a process on free ports, with its state in a folder."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

START_S = 60.0


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def until(condition: Callable[[], Any], what: str, deadline_s: float = 60.0, every_s: float = 0.05) -> Any:
    """The first true value of `condition`. Raises `TimeoutError` that tells the last value."""
    end = time.monotonic() + deadline_s
    last: object = None
    while time.monotonic() < end:
        try:
            last = condition()
            if last:
                return last
        except (OSError, LookupError, ValueError) as error:
            last = error
        time.sleep(every_s)
    raise TimeoutError(f"not within {deadline_s:g} s: {what} (last: {str(last)[:500]})")


class ServerProcess:
    """A server without a node. Keeps its ports and its folder when it is killed and started again."""

    def __init__(self, folder: Path, config: str = "") -> None:
        self.folder = folder
        self.http, self.rpc = free_ports(2)
        self.address = f"http://127.0.0.1:{self.http}"
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._config = folder / "server.hcl"
        self._config.write_text(
            f'name = "server"\ndata_dir = "{folder / "data"}"\nports {{\n  http = {self.http}\n  rpc = {self.rpc}\n}}\n'
            f"server {{\n  enabled = true\n{config}}}\n"
        )

    @property
    def rpc_address(self) -> str:
        """host:port for nodes."""
        return f"127.0.0.1:{self.rpc}"

    def start(self) -> None:
        """Start it, and wait until its API answers."""
        command = [sys.executable, "-m", "rove", "agent", "-config", str(self._config)]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        until(self._answers, f"the server answers; its log: {self.log}", START_S)

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"the server ended: {self.log.read_text()[-3000:]}")
        return bool(self.get("/v1/status/leader"))

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """SIGTERM, and after a while kill -9."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def request(self, method: str, path: str, body: Any = None) -> tuple[Any, int]:
        """(JSON answer, index). Raises `OSError` for anything but 200."""
        data = None if body is None else json.dumps(body).encode()
        made = urllib.request.Request(self.address + path, data=data, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(made, timeout=60) as answer:  # noqa: S310
                return json.loads(answer.read()), int(answer.headers.get("X-Nomad-Index") or 0)
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None

    def get(self, path: str) -> Any:
        """A JSON answer."""
        return self.request("GET", path)[0]

    def put(self, path: str, body: Any) -> Any:
        """Write."""
        return self.request("PUT", path, body)[0]

    def gauge(self, name: str) -> float:
        """A gauge of its metrics, by the end of its name. Raises `LookupError`."""
        for gauge in self.get("/v1/metrics")["Gauges"]:
            if str(gauge["Name"]).endswith(name):
                return float(gauge["Value"])
        raise LookupError(f"no gauge {name}")
