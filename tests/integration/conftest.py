"""Real agents as processes of their own, on free ports, with data in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 60.0
REPOSITORY = Path(__file__).resolve().parents[2]


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of `condition`; fails the test if there is none in time."""
    end = time.monotonic() + deadline_s
    last: object = None
    while time.monotonic() < end:
        try:
            last = condition()
            if last:
                return last
        except (OSError, AssertionError, LookupError, ValueError) as error:
            last = error
        time.sleep(0.05)
    pytest.fail(f"not within {deadline_s:g} s: {what} (last: {last!r})")


class AgentProcess:
    """One `rove agent`."""

    def __init__(self, folder: Path, name: str, config: str, http: int, rpc: int, dev: bool = False) -> None:
        self.folder = folder
        self.name = name
        self.http, self.rpc = http, rpc
        self.address = f"http://127.0.0.1:{http}"
        self.log = folder / f"{name}.log"
        self.config = folder / f"{name}.hcl"
        self.config.write_text(f'name = "{name}"\nports {{\n  http = {http}\n  rpc = {rpc}\n}}\n{config}')
        self.dev = dev
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> AgentProcess:
        """Start it; wait: until the API answers."""
        command = [sys.executable, "-m", "rove", "agent", *(["-dev"] if self.dev else []), "-config", str(self.config)]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        if wait:
            until(self._answers, f"agent {self.name} answers; its log: {self.log.read_text()[-2000:]}")
        return self

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            pytest.fail(f"agent {self.name} ended: {self.log.read_text()[-3000:]}")
        self.get("/v1/status/leader")
        return True

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def terminate(self) -> int:
        """SIGTERM, and wait; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        return code

    # -- the API

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes, dict[str, str]]:
        """(status, body, headers); HTTP errors are answers too."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def get(self, path: str) -> Any:
        """A JSON answer; fails for anything but 200."""
        status, body, _ = self.request("GET", path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def put(self, path: str, body: Any = None) -> Any:
        """Write; fails for anything but 200."""
        status, answer, _ = self.request("PUT", path, body if body is not None else {})
        assert status == 200, (path, status, answer)
        return json.loads(answer)

    def delete(self, path: str) -> Any:
        """Delete; fails for anything but 200."""
        status, answer, _ = self.request("DELETE", path)
        assert status == 200, (path, status, answer)
        return json.loads(answer)

    def register(self, job: dict[str, Any]) -> dict[str, Any]:
        """Register a job in API form."""
        answer: dict[str, Any] = self.put("/v1/jobs", {"Job": job})
        return answer

    def allocs(self, job_id: str) -> list[dict[str, Any]]:
        """Stubs of a job's allocations."""
        found: list[dict[str, Any]] = self.get(f"/v1/job/{urllib.parse.quote(job_id, safe='')}/allocations")
        return found

    def running(self, job_id: str) -> list[dict[str, Any]]:
        """Those that are wanted and run."""
        return [a for a in self.allocs(job_id) if a["ClientStatus"] == "running" and a["DesiredStatus"] == "run"]

    def wait_running(self, job_id: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many run."""
        found: list[dict[str, Any]] = until(
            lambda: len(self.running(job_id)) == count and self.running(job_id), f"{count} of {job_id} run"
        )
        return found

    def wait_nodes(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many nodes are ready."""

        def ready() -> list[dict[str, Any]] | None:
            nodes = [node for node in self.get("/v1/nodes") if node["Status"] == "ready"]
            return nodes if len(nodes) == count else None

        found: list[dict[str, Any]] = until(ready, f"{count} nodes ready")
        return found

    def logs(self, alloc_id: str, task: str, kind: str = "stdout") -> str:
        """A task's output."""
        _, body, _ = self.request("GET", f"/v1/client/fs/logs/{alloc_id}?task={task}&type={kind}&plain=true")
        return body.decode(errors="replace")

    def cli(self, *words: str, check: bool = False, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line against this agent."""
        environment = {**os.environ, "ROVE_ADDR": self.address, "NO_COLOR": "1", "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", "rove", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            input=stdin,
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done


class Agents:
    """Makes agents of one test and ends them all, with everything that they run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[AgentProcess] = []

    def dev(self, config: str = "") -> AgentProcess:
        """Server and node in one, throw-away."""
        http, rpc = free_ports(2)
        return self._made(AgentProcess(self.folder, f"dev{len(self.made)}", config, http, rpc, dev=True))

    def both(self, name: str = "both", config: str = "") -> AgentProcess:
        """Server and node in one, with data on disk."""
        http, rpc = free_ports(2)
        roles = "server { enabled = true }\nclient { enabled = true }\n"
        text = f'data_dir = "{self.folder / name}"\n{roles}{RAW_EXEC}{config}'
        return self._made(AgentProcess(self.folder, name, text, http, rpc))

    def server(self, name: str = "server", config: str = "") -> AgentProcess:
        """A server alone."""
        http, rpc = free_ports(2)
        text = f'data_dir = "{self.folder / name}"\nserver {{\n  enabled = true\n{config}}}\n'
        return self._made(AgentProcess(self.folder, name, text, http, rpc))

    def node(self, server: AgentProcess, name: str, client: str = "", config: str = "") -> AgentProcess:
        """A node alone."""
        http, rpc = free_ports(2)
        text = (
            f'data_dir = "{self.folder / name}"\nclient {{\n  enabled = true\n  servers = ["127.0.0.1:{server.rpc}"]\n'
            f"{client}}}\n{RAW_EXEC}{config}"
        )
        return self._made(AgentProcess(self.folder, name, text, http, rpc))

    def _made(self, agent: AgentProcess) -> AgentProcess:
        self.made.append(agent)
        return agent

    def end(self) -> None:
        """Stop all jobs, then all agents, then what a test left behind."""
        for agent in self.made:
            if agent.process is not None and agent.process.poll() is None:
                try:
                    for job in agent.get("/v1/jobs"):
                        agent.delete(f"/v1/job/{urllib.parse.quote(job['ID'], safe='')}?purge=true")
                except (OSError, AssertionError, ValueError):
                    pass
        alive = [agent for agent in self.made if agent.process is not None and agent.process.poll() is None]
        for agent in alive:
            try:
                until(lambda agent=agent: not _live(agent), "everything ended", 20)
            except (OSError, pytest.fail.Exception):
                pass
        for agent in alive:
            agent.process.terminate()  # type: ignore[union-attr]
        for agent in alive:
            try:
                agent.process.wait(20)  # type: ignore[union-attr]
            except subprocess.TimeoutExpired:
                agent.kill()
        end_processes_below(self.folder)


def _live(agent: AgentProcess) -> list[Any]:
    return [a for a in agent.get("/v1/allocations") if a["ClientStatus"] in ("running", "pending")]


def end_processes_below(folder: Path) -> None:
    """Kill processes whose working directory lies below a folder (tasks and shims of this test)."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if str((process / "cwd").resolve()).startswith(str(folder)):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue


RAW_EXEC = """
plugin "raw_exec" {
  config {
    enabled = true
  }
}
plugin "docker" {
  config {
    volumes { enabled = true }
  }
}
"""


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    """A maker of agents."""
    made = Agents(tmp_path)
    yield made
    made.end()


def a_job(job_id: str, script: str, *, count: int = 1, job_type: str = "service", **group: Any) -> dict[str, Any]:
    """A job of one group and one raw_exec task that runs a shell script."""
    return {
        "ID": job_id,
        "Type": job_type,
        "Datacenters": ["*"],
        "TaskGroups": [
            {
                "Name": "group",
                "Count": count,
                "Tasks": [
                    {
                        "Name": "main",
                        "Driver": "raw_exec",
                        "Config": {"command": "/bin/sh", "args": ["-c", script]},
                        "Resources": {"CPU": 20, "MemoryMB": 16},
                    }
                ],
                **group,
            }
        ],
    }
