"""The figures of a whole agent: latency from submit to running, memory, registration, reads.

Each figure is taken on real agents over their real API, several times; the table shows medians.
``python -m bench.first_light`` prints a table; `bench.all` adds it to bench/out/bench.json.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.table import Table, is_quick

MIB = 1024 * 1024


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Agent:
    """A real agent in a process of its own."""

    def __init__(
        self, folder: Path, name: str, roles: str, rpc: int, servers: int = 0, *, docker: bool = False
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.http = free_ports(1)[0]
        config = self.folder / "agent.hcl"
        client = f'servers = ["127.0.0.1:{servers}"]' if servers else ""
        lines = [
            f'name = "{name}"',
            f'data_dir = "{self.folder}/data"',
            'log_level = "WARN"',
            f"ports {{\n  http = {self.http}\n  rpc = {rpc}\n}}",
            'plugin "raw_exec" {\n  config {\n    enabled = true\n  }\n}',
        ]
        if "server" in roles:
            lines.append("server {\n  enabled = true\n}")
        if "client" in roles:
            denied = "" if docker else 'options = { "driver.denylist" = "docker" }'
            lines.append(f"client {{\n  enabled = true\n  {client}\n  {denied}\n}}")
            lines.append('plugin "docker" {\n  config {\n    volumes {\n      enabled = true\n    }\n  }\n}')
        config.write_text("\n".join(lines))
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rove", "agent", "-config", str(config)], stdout=self.log, stderr=self.log
        )
        self.wait(lambda: self.call("GET", "/v1/status/leader"))

    def wait(self, condition: Any, deadline_s: float = 60.0) -> Any:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError, AssertionError, http.client.HTTPException):
                if found := condition():
                    return found
            if self.process.poll() is not None:
                raise SystemExit(f"the agent ended: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        raise SystemExit("the benchmark's condition did not come true")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=60)
        try:
            return request(connection, method, path, body)
        finally:
            connection.close()

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


def request(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    """One call on a kept connection; the decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise AssertionError(f"{method} {path}: {answer.status} {content[:300]!r}")
    return json.loads(content)


def job(
    job_id: str, count: int = 1, command: str = "exec sleep 100000", cpu: int = 10, memory: int = 10
) -> dict[str, Any]:
    return {
        "ID": job_id,
        "Type": "service",
        "Datacenters": ["*"],
        "TaskGroups": [
            {
                "Name": "g",
                "Count": count,
                "EphemeralDisk": {"SizeMB": 10},
                "Tasks": [
                    {
                        "Name": "t",
                        "Driver": "raw_exec",
                        "Config": {"command": "/bin/sh", "args": ["-c", command]},
                        "Resources": {"CPU": cpu, "MemoryMB": memory},
                        "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1},
                    }
                ],
            }
        ],
    }


def pss_mib(pids: list[int]) -> float:
    """Proportional set size of processes together, in MiB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def family(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def helpers_below(folder: Path) -> list[int]:
    """Shims of tasks below a folder: Python processes that hold an open file there and are no task."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if b"python" not in os.readlink(entry / "exe").encode():
                continue
            if any(str(folder) in os.readlink(link) for link in (entry / "fd").iterdir()):
                found.append(int(entry.name))
    return found


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def wait_ready(agent: Agent) -> None:
    agent.wait(lambda: [n for n in agent.call("GET", "/v1/nodes") if n["Status"] == "ready"])


def rest(agent: Agent) -> None:
    """Wait until an agent that has started nothing has let its zygote go, and is at rest itself."""
    agent.wait(lambda: len(family(agent.process.pid)) == 1)
    time.sleep(2)


def submit_to_running(agent: Agent, runs: int) -> dict[str, float]:
    """Milliseconds from sending a job to its allocation running, seen by a blocking query."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.http, timeout=60)
    times = []
    for run in range(runs):
        job_id = f"latency-{run}"
        started = time.perf_counter()
        request(connection, "PUT", "/v1/jobs", {"Job": job(job_id)})
        index = 0
        while True:
            connection.request("GET", f"/v1/job/{job_id}/allocations?index={index}&wait=30s")
            answer = connection.getresponse()
            stubs = json.loads(answer.read())
            if stubs and stubs[0]["ClientStatus"] == "running":
                break
            index = int(answer.headers["X-Nomad-Index"])
        times.append((time.perf_counter() - started) * 1000)
        request(connection, "DELETE", f"/v1/job/{job_id}?purge=true")
    return {"p50_ms": statistics.median(times), "p99_ms": percentile(times, 0.99)}


def one_hundred(agent: Agent, runs: int) -> float:
    """Seconds until 100 allocations of one job run on one node; median."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.http, timeout=60)
    times = []
    for run in range(runs):
        job_id = f"hundred-{run}"
        started = time.perf_counter()
        request(connection, "PUT", "/v1/jobs", {"Job": job(job_id, count=100, cpu=5)})
        while True:
            summary = request(connection, "GET", f"/v1/job/{job_id}/summary")["Summary"].get("g") or {}
            if summary.get("Running") == 100:
                break
            time.sleep(0.01)
        times.append(time.perf_counter() - started)
        request(connection, "DELETE", f"/v1/job/{job_id}?purge=true")
        agent.wait(lambda: not [a for a in agent.call("GET", "/v1/allocations") if a["ClientStatus"] == "running"])
    return statistics.median(times)


def memory_per_task(agent: Agent, tasks: int) -> dict[str, float]:
    """MiB of PSS that each of many raw_exec tasks adds: agent and helpers, without the tasks themselves."""
    agent.call("PUT", "/v1/jobs", {"Job": job("warm-up", count=1, cpu=1)})
    agent.wait(lambda: agent.call("GET", "/v1/job/warm-up/summary")["Summary"]["g"]["Running"] == 1)
    time.sleep(2)
    data = agent.folder / "data"
    own = set(family(agent.process.pid))
    before = pss_mib([*(own | set(helpers_below(data)))])
    helpers_before = len(helpers_below(data))
    agent.call("PUT", "/v1/jobs", {"Job": job("many", count=tasks, cpu=1)})
    agent.wait(lambda: agent.call("GET", "/v1/job/many/summary")["Summary"]["g"]["Running"] == tasks)
    time.sleep(2)
    helpers = set(helpers_below(data))
    after = pss_mib([*({agent.process.pid} | helpers | {p for p in family(agent.process.pid) if p in own})])
    for name in ("many", "warm-up"):
        agent.call("DELETE", f"/v1/job/{name}?purge=true")
    return {"mib": (after - before) / tasks, "helpers": (len(helpers) - helpers_before) / tasks}


def _register_many(port: int, worker: int, seconds: float, done: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        request(connection, "PUT", "/v1/jobs", {"Job": job(f"r-{worker}-{count}-{os.getpid()}", count=0)})
        count += 1
    done.put(count)


def _read_many(port: int, worker: int, seconds: float, done: Any) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    message = b"GET /v1/job/small HTTP/1.1\r\nHost: x\r\n\r\n"
    count, end = 0, time.perf_counter() + seconds
    buffer = b""
    while time.perf_counter() < end:
        connection.sendall(message * 16)
        wanted = 16
        while wanted:
            buffer += connection.recv(256 * 1024)
            while (head := buffer.find(b"\r\n\r\n")) >= 0:
                start = buffer.lower().find(b"content-length:", 0, head)
                length = int(buffer[start + 15 : buffer.find(b"\r", start)])
                if len(buffer) < head + 4 + length:
                    break
                buffer = buffer[head + 4 + length :]
                wanted -= 1
        count += 16
    done.put(count)


def _load(target: Any, port: int, clients: int, seconds: float) -> float:
    done: Any = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=target, args=(port, n, seconds, done)) for n in range(clients)]
    started = time.perf_counter()
    for process in processes:
        process.start()
    total = sum(done.get() for _ in processes)
    for process in processes:
        process.join()
    return float(total / (time.perf_counter() - started))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rove-bench-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def run(quick: bool = False) -> list[dict[str, Any]]:
    """All figures as rows: name, unit, measured, asked (aim in brackets)."""
    table = Table()
    row = table.row

    with folder() as place:
        rpc = free_ports(1)[0]
        server = Agent(place, "server", "server", rpc)
        node = Agent(place, "node", "client", free_ports(1)[0], servers=rpc)
        wait_ready(server)
        rest(node)
        row("idle node agent, PSS", "MiB", pss_mib(family(node.process.pid)), "<= 45")
        node.end()
        server.end()
    with folder() as place:
        both = Agent(place, "both", "server client", free_ports(1)[0])
        wait_ready(both)
        rest(both)
        row("idle server and node in one, PSS", "MiB", pss_mib(family(both.process.pid)), "<= 90")
        latency = submit_to_running(both, 30 if quick else 200)
        row("submit to running, p50", "ms", latency["p50_ms"], "<= 60 (25)")
        row("submit to running, p99", "ms", latency["p99_ms"], "<= 250 (100)")
        row("100 allocations of one job to running", "s", one_hundred(both, 2 if quick else 5), "<= 2")
        both.end()
    with folder() as place:
        both = Agent(place, "both", "server client", free_ports(1)[0])
        wait_ready(both)
        use = memory_per_task(both, 50 if quick else 200)
        row("extra memory a raw_exec task, PSS", "MiB", use["mib"], "<= 1.2")
        row("helper processes a raw_exec task", "", use["helpers"], "1")
        both.end()
    with folder() as place:
        server = Agent(place, "server", "server", free_ports(1)[0])
        seconds = 3.0 if quick else 5.0
        rates = [_load(_register_many, server.http, 16, seconds) for _ in range(1 if quick else 3)]
        row("jobs registered durably, 16 clients", "/s", statistics.median(rates), ">= 500")
        server.call("PUT", "/v1/jobs", {"Job": job("small", count=0)})
        rates = [_load(_read_many, server.http, 2, seconds) for _ in range(1 if quick else 3)]
        row("GET of one job, keep-alive", "/s", statistics.median(rates), ">= 5000")
        server.end()
    return table.rows


def main() -> None:
    """Print the table."""
    run(is_quick(__doc__))


if __name__ == "__main__":
    main()
