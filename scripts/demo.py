"""Start an agent, run the examples, show what happens, and stay until Ctrl-C (``--once``: leave at once).

Everything it makes (state, logs, the artifact server) lives in a temporary folder and ends with it.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
IMAGE = "webserver:3.2"
READY_S = 60


def main() -> int:
    """Run the demonstration; 0 if every example ran."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--once", action="store_true", help="stop when everything has been shown")
    options.add_argument("--port", type=int, default=4646, help="HTTP port of the agent (default 4646)")
    arguments = options.parse_args()
    if is_taken(arguments.port):
        print(f"demo: port {arguments.port} is taken; is another agent running? Try: make demo ARGS='--port 4746'")
        return 1
    with tempfile.TemporaryDirectory(prefix="rove-demo-") as folder:
        return demonstrate(Path(folder), arguments.port, once=arguments.once)


def demonstrate(folder: Path, port: int, *, once: bool) -> int:
    """Everything between start and end."""
    address = f"http://127.0.0.1:{port}"
    agent_log = folder / "agent.log"
    config = folder / "demo.hcl"
    config.write_text(f"ports {{\n  http = {port}\n  rpc  = {free_port()}\n}}\n")
    heading("Starting an agent: rove agent -dev")
    with agent_log.open("wb") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "rove", "agent", "-dev", "-config", str(config)], stdout=log, stderr=log
        )
    artifacts = serve_artifacts(EXAMPLES)
    try:
        if not wait_for_node(address, agent):
            print(f"demo: the agent did not become ready. Its last words:\n{tail(agent_log)}")
            return 1
        ok = run_examples(address, artifacts.server_address[1]) and wait_until_all_run(address)
        show(address)
        if once:
            return 0 if ok else 1
        heading(f"The agent stays at {address}. In another terminal: export ROVE_ADDR={address}; .venv/bin/rove status")
        print("Ctrl-C ends it.")
        wait_for_interrupt(agent)
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        artifacts.shutdown()
        end(agent)


def run_examples(address: str, artifact_port: int) -> bool:
    """Submit the three examples. False if one did not start."""
    checksum = "sha256:" + hashlib.sha256((EXAMPLES / "my_service").read_bytes()).hexdigest()
    server = f"artifact_server=http://127.0.0.1:{artifact_port}"
    heading("A raw binary from an artifact server, checked by its checksum")
    fine = rove(address, "job", "run", "-var", server, "-var", f"checksum={checksum}", example("raw-binary"))
    heading("Five workers")
    fine &= rove(address, "job", "run", example("workers"))
    heading("A web service in a container")
    problem = make_image()
    if problem:
        print(f"skipped: {problem}")
    else:
        fine &= rove(address, "job", "run", example("webservice"))
    return fine


def show(address: str) -> None:
    """Status, placement, logs, addresses."""
    heading("What runs: rove status")
    rove(address, "status")
    heading("The node: rove node status")
    rove(address, "node", "status")
    heading("Five workers: rove job status workers")
    rove(address, "job", "status", "workers")
    for job in ("raw-binary", "workers", "webservice"):
        for allocation in get(address, f"/v1/job/{job}/allocations")[:1] if exists(address, job) else []:
            heading(f"Output of {job}: rove alloc logs {allocation['ID'][:8]}")
            rove(address, "alloc", "logs", allocation["ID"])
            show_addresses(get(address, f"/v1/allocation/{allocation['ID']}"))


def show_addresses(allocation: dict[str, Any]) -> None:
    """Where a service can be reached, and what it answers."""
    for port in ((allocation.get("AllocatedResources") or {}).get("Shared") or {}).get("Ports") or []:
        url = f"http://{port['HostIP'] or '127.0.0.1'}:{port['Value']}/"
        print(f"address of {port['Label']}: {url}")
        print(f"  {answer_of(url)}")


def answer_of(url: str) -> str:
    """What a web server says; asked again for a moment, since a container runs before its server listens."""
    deadline = time.monotonic() + 5
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - an address that we made
                return f"answers: {answer.read(200).decode(errors='replace').strip()}"
        except OSError as error:
            if time.monotonic() > deadline:
                return f"does not answer: {error}"
            time.sleep(0.1)


def make_image() -> str:
    """Make the example's image from this machine's own busybox; '' or why there is none."""
    if not shutil.which("docker"):
        return "no docker command on this machine"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker engine is reachable"
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0:
        return ""
    busybox = shutil.which("busybox")
    if not busybox:
        return f"there is no image {IMAGE}, and no busybox to make one of"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "bin").mkdir()
        (root / "www").mkdir()
        shutil.copy(busybox, root / "bin" / "busybox")
        for applet in ("sh", "httpd", "cat", "ls"):
            (root / "bin" / applet).symlink_to("busybox")
        (root / "www" / "index.html").write_text("webserver 3.2 says hello\n")
        archive = subprocess.run(["tar", "-C", folder, "-c", "."], capture_output=True, check=True)
        command = 'CMD ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]'
        made = subprocess.run(
            ["docker", "import", "--change", command, "-", IMAGE],
            input=archive.stdout,
            capture_output=True,
            check=False,
        )
    return (
        "" if made.returncode == 0 else f"the image could not be made: {made.stderr.decode(errors='replace').strip()}"
    )


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line per request."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve_artifacts(folder: Path) -> http.server.ThreadingHTTPServer:
    """The examples' artifact server, on a free port."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def rove(address: str, *words: str) -> bool:
    """Run the command line; True on success."""
    print(f"$ rove {' '.join(words)}", flush=True)
    environment = {**os.environ, "ROVE_ADDR": address, "NO_COLOR": "1"}
    return subprocess.run([sys.executable, "-m", "rove", *words], env=environment, check=False).returncode == 0


def example(name: str) -> str:
    return os.path.relpath(EXAMPLES / f"{name}.nomad.hcl")


def get(address: str, path: str) -> Any:
    with urllib.request.urlopen(address + path, timeout=10) as answer:  # noqa: S310 - an address that we made
        return json.load(answer)


def exists(address: str, job: str) -> bool:
    try:
        get(address, f"/v1/job/{job}")
    except urllib.error.HTTPError:
        return False
    return True


def wait_for_node(address: str, agent: subprocess.Popen[bytes]) -> bool:
    """True once a node is ready."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and agent.poll() is None:
        try:
            if any(node["Status"] == "ready" for node in get(address, "/v1/nodes")):
                return True
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    return False


def wait_until_all_run(address: str) -> bool:
    """True once nothing is pending and everything that is wanted runs."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        wanted = [a for a in get(address, "/v1/allocations") if a["DesiredStatus"] == "run"]
        if wanted and all(a["ClientStatus"] == "running" for a in wanted):
            return True
        time.sleep(0.1)
    return False


def wait_for_interrupt(agent: subprocess.Popen[bytes]) -> None:
    try:
        agent.wait()
        print("demo: the agent ended by itself")
    except KeyboardInterrupt:
        print()


def end(agent: subprocess.Popen[bytes]) -> None:
    """Let the agent leave; it stops what it runs."""
    if agent.poll() is None:
        print("demo: stopping the agent and what it runs")
        agent.send_signal(signal.SIGTERM)
        try:
            agent.wait(60)
        except subprocess.TimeoutExpired:
            agent.kill()


def tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
