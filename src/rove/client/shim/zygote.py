"""The zygote: a small process that has the shim's code loaded already and forks one shim per task.

It hangs on one end of a SEQPACKET socket pair, the agent on the other, and leaves when the agent is
gone; what it forked lives on. An order is one message with descriptors attached (SCM_RIGHTS):

==================== ===================================================== =========================
message              meaning                                               descriptors
==================== ===================================================== =========================
`launch <directory>` start the task described in that state directory      pipe for the report
`exec`               run a command beside a task                           control socket, 0, 1, 2
==================== ===================================================== =========================

It does as little as it can: a page that it writes to between two forks is no longer shared with the
shims from before.

There are no answers: whoever was forked reports on its own descriptor, and end-of-file there without
a report means that it is gone. Standard library only.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # like _socket
import _socket  # not `socket`: its classes and enumerations are memory for every shim
import gc
import json
import os
import signal
import sys
from typing import NoReturn

from rove.client.shim import beside, cgroup, shim
from rove.client.shim.become import PR_SET_NAME, prctl
from rove.client.shim.contract import CONTRACT_VERSION, StartError, plain

LAUNCH, EXEC = b"launch ", b"exec"
DEAF_TO = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE,
           signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGXFSZ)  # fmt: skip
"""For the zygote and all its shims; the programs they start get the defaults again."""
ORDER_BYTES_MAX = 16 * 1024
INT_BYTES = 4
ATTACHED_BYTES_MAX = _socket.CMSG_SPACE(4 * INT_BYTES)

BOOT = "import sys as s; s.path.insert(0, s.argv[1]); from rove.client.shim.zygote import main; main(s.argv[2])"
"""Program text for ``python -I -S -c``; its arguments: the directory of the package `rove`, the socket."""


def main(fd: str) -> NoReturn:
    """Serve orders from the socket `fd` until its other end is closed."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, int(fd))
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel collects shims, nobody waits for them here
    os.umask(0o022)
    prctl(PR_SET_NAME, b"rove-zygote")
    layout = cgroup.detect()
    sock.send(json.dumps({"ready": CONTRACT_VERSION}).encode())
    _occupy_stdio()
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in a child would write to, and so copy, every page it shares with us
    serve(sock, layout)
    os._exit(0)


def _occupy_stdio() -> None:
    """Descriptors 0, 1 and 2 are taken, so that no pipe of a task ever gets such a number."""
    null = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(null, target)
    if null > 2:
        os.close(null)


def serve(sock: _socket.socket, layout: cgroup.Layout) -> None:
    """Carry out orders one after the other; returns when the agent is gone."""
    while True:
        try:
            data, attached, _, _ = sock.recvmsg(ORDER_BYTES_MAX, ATTACHED_BYTES_MAX)
        except ConnectionError:
            return
        if not data:
            return
        packed = attached[0][2] if attached else b""
        descriptors = [
            int.from_bytes(packed[at : at + INT_BYTES], sys.byteorder) for at in range(0, len(packed), INT_BYTES)
        ]
        _fork_for(data, descriptors, sock, layout)
        for fd in descriptors:
            os.close(fd)


def _fork_for(order: bytes, descriptors: list[int], sock: _socket.socket, layout: cgroup.Layout) -> None:
    try:
        pid = os.fork()
    except OSError as error:
        failure = StartError("fork", error.errno or 0, f"no process could be made: {error.strerror}")
        os.write(descriptors[0], json.dumps({"ok": False, "error": plain(failure)}).encode() + b"\n")
        return
    if pid:
        return
    try:
        sock.close()
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        if order.startswith(LAUNCH):
            shim.run(os.fsdecode(order[len(LAUNCH) :]), descriptors[0], layout)
        beside.run(descriptors[0], (descriptors[1], descriptors[2], descriptors[3]))
    finally:
        os._exit(1)
