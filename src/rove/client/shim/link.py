"""The agent's end of the zygote: started on demand, started again when it has died, let go when it has rested.

A zygote costs about 7 MiB and 25 ms to start, so a node that starts nothing for a while does without.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import rove
from rove.client.shim.contract import StartError, start_error
from rove.client.shim.waiting import read_all, wait_readable, wait_writable
from rove.client.shim.zygote import BOOT

START_TIMEOUT_S = 20.0
IDLE_S = 20.0
"""How long a zygote may rest before it is let go."""
SEND_TRIES = 3
ERROR_BYTES_MAX = 4000

_PACKAGE_ROOT = str(Path(rove.__file__).parent.parent)

_TRANSIENT = ("EAGAIN", "ENOMEM", "ENOSPC", "EMFILE", "ENFILE", "EDQUOT")


class ShimError(Exception):
    """A task could not be started or reached. what: one line for people; recoverable: later may be better."""

    def __init__(self, what: str, *, recoverable: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.recoverable = recoverable


def shim_error(error: StartError) -> ShimError:
    """A shim's report as an exception; a lack of memory, disk or processes may pass."""
    name = errno.errorcode.get(error.errno, "")
    return ShimError(error.text, recoverable=name in _TRANSIENT)


class ZygoteLink:
    """Sends orders to the zygote."""

    def __init__(self, python: str = sys.executable, idle_s: float = IDLE_S) -> None:
        self._python = python
        self._idle_s = idle_s
        self._resting: asyncio.TimerHandle | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The zygote's process id; 0 if there is none now."""
        alive = self._process is not None and self._process.poll() is None
        return self._process.pid if alive and self._process else 0

    async def warm(self) -> None:
        """Start the zygote if there is none. Raises `ShimError`."""
        async with self._lock:
            await self._connected()
            self._rest()

    async def send(self, order: bytes, descriptors: list[int]) -> None:
        """Hand over an order of `zygote`. Raises `ShimError` if no zygote can be had."""
        async with self._lock:
            for _ in range(SEND_TRIES):
                sock = await self._connected()
                try:
                    await _send(sock, order, descriptors)
                except ConnectionError:
                    self._drop()
                else:
                    self._rest()
                    return
        raise ShimError("the process that starts tasks keeps dying", recoverable=True)

    def close(self) -> None:
        """Let the zygote go; what it started lives on."""
        self._drop()

    def _rest(self) -> None:
        """Begin to count the time without orders anew."""
        if self._resting is not None:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(self._idle_s, self._rested)

    def _rested(self) -> None:
        if self._lock.locked():  # an order is on its way
            self._rest()
        else:
            self._drop()

    def _drop(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=1)  # it leaves by itself when the socket closes
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket, self._process = None, None

    async def _connected(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self._drop()
        if self._socket is None:
            await self._start()
        assert self._socket is not None
        return self._socket

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = self._spawn(theirs.fileno())
            except OSError as error:
                ours.close()
                what = f"the process that starts tasks could not be started: {error.strerror}"
                raise ShimError(what, recoverable=True) from None
        ours.setblocking(False)
        self._socket, self._process = ours, process
        await self._wait_ready(ours, process)

    def _spawn(self, fd: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._python, "-I", "-S", "-c", BOOT, _PACKAGE_ROOT, str(fd)],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
        )

    async def _wait_ready(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        """The zygote says so when it has loaded; what it writes to stderr before that explains a failure."""
        stderr = process.stderr
        assert stderr is not None
        os.set_blocking(stderr.fileno(), False)
        with stderr:
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await wait_readable(sock.fileno())
                    if sock.recv(256):
                        return
                    said = (await read_all(stderr.fileno()))[-ERROR_BYTES_MAX:].decode(errors="replace")
            except TimeoutError:
                said = f"it was not ready after {START_TIMEOUT_S:g} s"
            except ConnectionError as error:
                said = str(error)
            except BaseException:
                self._drop()
                raise
        with contextlib.suppress(OSError):
            process.kill()
        self._drop()
        what = f"the process that starts tasks could not be started: {said.strip()}"
        raise ShimError(what, recoverable=True)


async def _send(sock: socket.socket, data: bytes, descriptors: list[int]) -> None:
    while True:
        try:
            socket.send_fds(sock, [data], descriptors)
        except BlockingIOError:
            await wait_writable(sock.fileno())
        else:
            return


def decode_report(line: bytes) -> dict[str, Any]:
    """A report with `"ok": true`. Raises `ShimError` for any other."""
    try:
        report = json.loads(line)
        failed = not report["ok"]
    except (ValueError, KeyError, TypeError):
        raise ShimError(f"the shim's report cannot be read: {line[:200]!r}") from None
    if failed:
        raise shim_error(start_error(report.get("error")))
    assert isinstance(report, dict)
    return report
