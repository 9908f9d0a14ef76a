"""A small web server to be rolled out, and jobs that run it: as a plain process or in a container.

It is unkind on purpose: for a while nobody listens, then it answers 503 until it is warm, and it ends at once
when it gets its signal. Whoever wants no failed request has to wait for health and leave discovery first.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

SECOND = 1_000_000_000
IMAGE = "rove-test/python:1"
"""An image without content: the machine's own Python is mounted into it."""
PORT_IN_CONTAINER = 8000

PROGRAM = """
import http.server, os, signal, sys, time

VERSION, WARM_AFTER = sys.argv[1], float(sys.argv[2])
PORT = int(sys.argv[3]) if len(sys.argv) > 3 else int(os.environ["NOMAD_PORT_http"])
STARTED = time.monotonic()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: os._exit(0))


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        is_warm = time.monotonic() - STARTED >= WARM_AFTER
        code, text = (200, VERSION.encode()) if is_warm else (503, b"warming up")
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


time.sleep(0.2)
Server(("", PORT), Page).serve_forever()
"""


def a_web_job(
    version: str, folder: Path, *, driver: str = "raw_exec", count: int = 3, warm_after_s: float = 0.4, **update: Any
) -> dict[str, Any]:
    """A job in API form whose service `web` answers with its version.

    folder: where the program is written to. warm_after_s: it answers 503 until then. update: fields of the update
    rules.
    """
    program = folder / "web.py"
    if not program.exists():
        program.write_text(PROGRAM)
    check = {"Name": "answers", "Type": "http", "Path": "/", "Interval": SECOND, "Timeout": 5 * SECOND}
    rules = {
        "MaxParallel": 1, "MinHealthyTime": SECOND // 2, "HealthyDeadline": 60 * SECOND,
        "ProgressDeadline": 180 * SECOND, **update,
    }  # fmt: skip
    service = {
        "Name": "web", "Provider": "nomad", "PortLabel": "http", "Tags": ["live", f"v{version}"],
        "CanaryTags": ["canary"], "Checks": [check],
    }  # fmt: skip
    task = {
        "Name": "main", "Driver": driver, "Config": _config(driver, program, version, warm_after_s),
        "Resources": {"CPU": 20, "MemoryMB": 64},
    }  # fmt: skip
    port = {"Label": "http", **({"To": PORT_IN_CONTAINER} if driver == "docker" else {})}
    group = {
        "Name": "web", "Count": count, "ShutdownDelay": 2 * SECOND, "Networks": [{"DynamicPorts": [port]}],
        "Services": [service], "Tasks": [task],
    }  # fmt: skip
    return {"ID": "web", "Datacenters": ["*"], "Update": rules, "TaskGroups": [group]}


def _config(driver: str, program: Path, version: str, warm_after_s: float) -> dict[str, Any]:
    if driver != "docker":
        return {"command": sys.executable, "args": [str(program), version, str(warm_after_s)]}
    python = str(Path(sys.executable).resolve())
    mounted = {"/usr", sys.base_prefix, str(program.parent)}
    return {
        "image": IMAGE, "command": python, "ports": ["http"],
        "args": [str(program), version, str(warm_after_s), str(PORT_IN_CONTAINER)],
        "volumes": [f"{path}:{path}:ro" for path in sorted(mounted)],
    }  # fmt: skip


def make_image() -> None:
    """Make the image for containers, if this machine's Docker has none yet. Raises `CalledProcessError`."""
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0:
        return
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("usr", "tmp", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        for name in ("bin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(link)
    subprocess.run(["docker", "import", "-", IMAGE], input=content.getvalue(), capture_output=True, check=True)
