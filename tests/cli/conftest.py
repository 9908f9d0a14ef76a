"""A small agent that answers from tables, and a way to run the command line against it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from rove.cli.app import App
from rove.cli.main import run

NOW = 1_700_000_600.0
TRANSCRIPTS = Path(__file__).parent / "transcripts"


@dataclass
class Call:
    """A request that the fake agent has had."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What the fake agent says. value: JSON, bytes, or text for statuses from 300."""

    value: Any
    status: int = 200
    index: int = 7
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Any]


class FakeAgent:
    """Answers ``METHOD /path`` from a table; unknown paths are 404. `calls` holds every request."""

    def __init__(self) -> None:
        self.routes: dict[str, Any] = {}
        self.calls: list[Call] = []
        fake = self

        class Server(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                parts = urlsplit(self.path)
                call = Call(
                    self.command,
                    unquote(parts.path),
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    dict(self.headers.items()),
                    json.loads(raw) if raw and raw[:1] in b"{[" else raw,
                )
                fake.calls.append(call)
                answer = fake.answer(call)
                data, kind = _encoded(answer)
                self.send_response(answer.status)
                self.send_header("Content-Type", kind)
                self.send_header("X-Nomad-Index", str(answer.index))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = _answer

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def on(self, route: str, value: Any) -> None:
        """Answer a route such as ``GET /v1/jobs``: with a value, an Answer, Turns, or what a function gives."""
        self.routes[route] = value

    def answer(self, call: Call) -> Answer:
        route = f"{call.method} {call.path}"
        found = self.routes.get(route)
        if route not in self.routes:
            return Answer(f"no route for {call.method} {call.path}", status=404)
        if callable(found):
            found = found(call)
        if isinstance(found, Turns):
            found = found.next()
        return found if isinstance(found, Answer) else Answer(found)

    def sent(self, method: str, path: str) -> Call:
        """The last request of that kind."""
        return [call for call in self.calls if (call.method, call.path) == (method, path)][-1]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Turns:
    """Answers that are given one after the other; the last one is repeated."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def next(self) -> Any:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def _encoded(answer: Answer) -> tuple[bytes, str]:
    if isinstance(answer.value, bytes):
        return answer.value, "application/octet-stream"
    if answer.status >= 300:
        return str(answer.value).encode(), "text/plain; charset=utf-8"
    return json.dumps(answer.value).encode(), "application/json"


@dataclass
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


class _Stream(io.TextIOWrapper):
    """Standard output that is kept, bytes and text alike."""

    def __init__(self) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, encoding="utf-8", write_through=True)

    def text(self) -> str:
        return self.kept.getvalue().decode()


class Rove:
    """The command line against an agent, in this process, with a clock that stands still."""

    def __init__(self, address: str) -> None:
        self.environ = {"ROVE_ADDR": address, "HOME": "/nonexistent"}
        self.slept: list[float] = []

    def __call__(self, *args: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
        out, err = _Stream(), _Stream()
        app = App(
            environ={**self.environ, **(env or {})},
            stdin=_input(stdin),
            now=lambda: NOW,
            sleep=self.slept.append,
        )
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(args), app)
        return Result(code, out.text(), err.text())


def _input(text: str) -> Any:
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    fake = FakeAgent()
    yield fake
    fake.close()


@pytest.fixture
def rove(agent: FakeAgent) -> Rove:
    return Rove(agent.address)


@pytest.fixture
def answers() -> Any:
    """The makers of answers: `answers.Answer(value, status=404)`, `answers.Turns(first, second)`."""

    class Makers:
        pass

    makers = Makers()
    makers.Answer = Answer  # type: ignore[attr-defined]
    makers.Turns = Turns  # type: ignore[attr-defined]
    return makers


@pytest.fixture
def transcript(rove: Rove) -> Callable[..., Result]:
    """Run a command and compare what it wrote with ``transcripts/<name>.txt``.

    With ROVE_ACCEPT=1 in the environment the file is written instead, to be read as a diff.
    """

    def check(name: str, *args: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
        result = rove(*args, stdin=stdin, env=env)
        shown = " ".join(arg if arg and " " not in arg else f"'{arg}'" for arg in args)
        text = f"$ rove {shown}\n{result.out}"
        if result.err:
            text += f"--- stderr\n{result.err}"
        text += f"--- exit {result.code}\n"
        text = text.replace(rove.environ["ROVE_ADDR"], "http://AGENT")
        file = TRANSCRIPTS / f"{name}.txt"
        if os.environ.get("ROVE_ACCEPT") == "1":
            file.write_text(text, encoding="utf-8")
        assert file.exists(), f"no transcript {file.name}; run with ROVE_ACCEPT=1 to write it"
        assert text == file.read_text(encoding="utf-8")
        return result

    return check


@pytest.fixture
def cluster(agent: FakeAgent) -> FakeAgent:
    """The fake agent with one of everything: a job that runs, a node, an allocation, a deployment."""
    add_cluster(agent)
    return agent


JOB_NS = int(1_700_000_000 * 1e9)
ALLOC_ID = "a1b2c3d4-0000-4000-8000-000000000001"
OTHER_ALLOC_ID = "a1b2ffff-0000-4000-8000-000000000002"
NODE_ID = "beef0001-0000-4000-8000-000000000001"
EVAL_ID = "e0e0aaaa-0000-4000-8000-000000000001"
DEPLOYMENT_ID = "d0d0bbbb-0000-4000-8000-000000000001"


def job_stub() -> dict[str, Any]:
    return {
        "ID": "web", "ParentID": "", "Name": "web", "Namespace": "default", "Datacenters": ["dc1"], "Type": "service",
        "Priority": 50, "Periodic": False, "ParameterizedJob": False, "Stop": False, "Status": "running",
        "JobSummary": {"JobID": "web", "Namespace": "default", "Summary": {"api": {"Running": 2}}},
        "SubmitTime": JOB_NS, "CreateIndex": 10, "ModifyIndex": 12, "JobModifyIndex": 11,
    }  # fmt: skip


def a_job() -> dict[str, Any]:
    return {
        "ID": "web", "Name": "web", "Namespace": "default", "Region": "global", "Type": "service", "Priority": 50,
        "Datacenters": ["dc1"], "NodePool": "default", "Status": "running", "Stop": False, "Version": 3,
        "SubmitTime": JOB_NS, "JobModifyIndex": 11, "Periodic": None, "ParameterizedJob": None, "Stable": True,
        "TaskGroups": [
            {
                "Name": "api", "Count": 2,
                "Tasks": [
                    {"Name": "server", "Driver": "raw_exec"},
                    {"Name": "warm", "Driver": "raw_exec", "Lifecycle": {"Hook": "prestart", "Sidecar": True}},
                ],
            }
        ],
    }  # fmt: skip


def alloc_stub() -> dict[str, Any]:
    return {
        "ID": ALLOC_ID, "EvalID": EVAL_ID, "Name": "web.api[0]", "Namespace": "default", "NodeID": NODE_ID,
        "NodeName": "n1", "JobID": "web", "JobType": "service", "JobVersion": 3, "TaskGroup": "api",
        "DesiredStatus": "run", "ClientStatus": "running", "CreateTime": JOB_NS + int(60e9), "CreateIndex": 30,
        "ModifyTime": JOB_NS + int(90e9), "ModifyIndex": 31,
        "TaskStates": {"server": {"State": "running"}, "warm": {"State": "running"}},
    }  # fmt: skip


def an_alloc() -> dict[str, Any]:
    events = [
        {"Type": "Received", "Time": JOB_NS + int(60e9), "DisplayMessage": "The node has it"},
        {"Type": "Started", "Time": JOB_NS + int(61e9), "DisplayMessage": "The task has\nstarted"},
    ]
    state = {
        "State": "running", "Failed": False, "Restarts": 1, "LastRestart": "2023-11-14T22:14:30Z",
        "StartedAt": "2023-11-14T22:14:21.123456789Z", "FinishedAt": "0001-01-01T00:00:00Z", "Events": events,
    }  # fmt: skip
    task = {"Cpu": {"CpuShares": 100}, "Memory": {"MemoryMB": 256, "MemoryMaxMB": 512}}
    return {
        **alloc_stub(),
        "Job": a_job(),
        "DeploymentID": DEPLOYMENT_ID,
        "DeploymentStatus": {"Healthy": True, "Canary": True},
        "TaskStates": {"server": state, "warm": {"State": "pending", "Events": []}},
        "AllocatedResources": {
            "Tasks": {"server": task, "warm": {"Cpu": {"CpuShares": 50}, "Memory": {"MemoryMB": 64}}},
            "Shared": {
                "DiskMB": 300,
                "Networks": [{"Mode": "host", "IP": "10.0.0.5", "DynamicPorts": [{"Label": "http", "Value": 20123}]}],
                "Ports": [
                    {"Label": "http", "Value": 20123, "HostIP": "10.0.0.5", "To": 8080},
                    {"Label": "admin", "Value": 9000, "HostIP": "::1"},
                ],
            },
        },
        "Metrics": {"ScoreMetaData": [{"NodeID": NODE_ID, "NormScore": 0.5, "Scores": {"binpack": 0.5}}]},
    }


def a_node() -> dict[str, Any]:
    return {
        "ID": NODE_ID, "Name": "n1", "Datacenter": "dc1", "NodePool": "default", "NodeClass": "", "Drain": False,
        "DrainStrategy": None, "SchedulingEligibility": "eligible", "Status": "ready", "StatusDescription": "",
        "Attributes": {"kernel.name": "linux", "os.name": "debian"}, "Meta": {"rack": "r1"},
        "NodeResources": {"Cpu": {"CpuShares": 4000}, "Memory": {"MemoryMB": 8192}, "Disk": {"DiskMB": 50000}},
        "ReservedResources": {"Cpu": {"CpuShares": 100}, "Memory": {"MemoryMB": 256}, "Disk": {"DiskMB": 0}},
        "Drivers": {
            "raw_exec": {"Detected": True, "Healthy": True, "HealthDescription": "ready"},
            "docker": {"Detected": True, "Healthy": False, "HealthDescription": "the engine is gone"},
            "qemu": {"Detected": False, "Healthy": False, "HealthDescription": ""},
        },
        "Events": [
            {"Timestamp": "2023-11-14T22:10:00Z", "Subsystem": "Cluster", "Message": "The node was registered"}
        ],
        "HostVolumes": {"data": {}}, "HostNetworks": None,
    }  # fmt: skip


def a_deployment(status: str = "running", **group: Any) -> dict[str, Any]:
    state = {
        "AutoRevert": True, "Promoted": False, "DesiredCanaries": 0, "DesiredTotal": 2, "PlacedAllocs": 2,
        "HealthyAllocs": 1, "UnhealthyAllocs": 0, "RequireProgressBy": "2023-11-14T22:30:00Z", **group,
    }  # fmt: skip
    return {
        "ID": DEPLOYMENT_ID, "JobID": "web", "JobVersion": 3, "Namespace": "default", "Status": status,
        "StatusDescription": f"it is {status}", "TaskGroups": {"api": state},
    }  # fmt: skip


def an_evaluation(status: str = "complete", **more: Any) -> dict[str, Any]:
    return {
        "ID": EVAL_ID, "Namespace": "default", "Priority": 50, "Type": "service", "TriggeredBy": "job-register",
        "JobID": "web", "Status": status, "CreateIndex": 20, "CreateTime": JOB_NS, "ModifyTime": JOB_NS, **more,
    }  # fmt: skip


def full_metric() -> dict[str, Any]:
    return {
        "NodesEvaluated": 3, "NodesFiltered": 1, "NodesExhausted": 2, "NodesAvailable": {"dc1": 3},
        "ConstraintFiltered": {"${attr.kernel.name} = windows": 1}, "DimensionExhausted": {"memory": 2},
        "CoalescedFailures": 1, "NodePool": "default", "NodesInPool": 3,
    }  # fmt: skip


def add_cluster(agent: FakeAgent) -> None:
    def with_prefix(*stubs: dict[str, Any]) -> Handler:
        return lambda call: [s for s in stubs if s["ID"].startswith(call.params.get("prefix", ""))]

    agent.on("GET /v1/jobs", with_prefix(job_stub()))
    agent.on("GET /v1/job/web", a_job())
    summary = {"Queued": 0, "Starting": 0, "Running": 2, "Failed": 0, "Complete": 1, "Lost": 0, "Unknown": 0}
    agent.on("GET /v1/job/web/summary", {"JobID": "web", "Summary": {"api": summary}, "Children": {}})
    agent.on("GET /v1/job/web/allocations", [alloc_stub()])
    agent.on("GET /v1/job/web/evaluations", [an_evaluation()])
    agent.on("GET /v1/job/web/deployment", a_deployment())
    agent.on("GET /v1/job/web/deployments", [a_deployment()])
    agent.on("GET /v1/allocations", with_prefix(alloc_stub(), {**alloc_stub(), "ID": OTHER_ALLOC_ID}))
    agent.on(f"GET /v1/allocation/{ALLOC_ID}", an_alloc())
    usage = {"CpuStats": {"TotalTicks": 12.4}, "MemoryStats": {"RSS": 12 * 2**20}}
    agent.on(f"GET /v1/client/allocation/{ALLOC_ID}/stats", {"Tasks": {"server": {"ResourceUsage": usage}}})
    agent.on("GET /v1/nodes", with_prefix(a_node()))
    agent.on(f"GET /v1/node/{NODE_ID}", a_node())
    agent.on(f"GET /v1/node/{NODE_ID}/allocations", [an_alloc()])
    memory = {"Used": 2**30, "Total": 2**33}
    agent.on("GET /v1/client/stats", {"Uptime": 7325, "CPUTicksConsumed": 100.5, "Memory": memory})
    agent.on("GET /v1/evaluations", with_prefix(an_evaluation()))
    agent.on(f"GET /v1/evaluation/{EVAL_ID}", an_evaluation())
    agent.on(f"GET /v1/evaluation/{EVAL_ID}/allocations", [alloc_stub()])
    agent.on("GET /v1/deployments", with_prefix(a_deployment()))
    agent.on(f"GET /v1/deployment/{DEPLOYMENT_ID}", a_deployment("successful", HealthyAllocs=2))
