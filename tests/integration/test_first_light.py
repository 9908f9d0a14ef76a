"""One command starts an agent; the user's own examples run on it."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Agents, a_job, until

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture
def artifact_server() -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(EXAMPLES)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_the_raw_binary_is_fetched_checked_and_run(agents: Agents, artifact_server: str) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    digest = hashlib.md5((EXAMPLES / "my_service").read_bytes(), usedforsecurity=False).hexdigest()
    variables = ["-var", f"artifact_server={artifact_server}", "-var", f"checksum=md5:{digest}"]
    done = agent.cli("job", "run", "-detach", *variables, str(EXAMPLES / "raw-binary.nomad.hcl"), check=True)
    assert "Evaluation ID" in done.stdout
    [allocation] = agent.wait_running("raw-binary", 1)
    until(lambda: "--arg1=test1 --arg2=test2" in agent.logs(allocation["ID"], "worker"), "the arguments arrive")


def test_a_wrong_checksum_fails_the_task_with_a_reason(agents: Agents, artifact_server: str) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    variables = ["-var", f"artifact_server={artifact_server}", "-var", "checksum=md5:" + "0" * 32]
    agent.cli("job", "run", "-detach", *variables, str(EXAMPLES / "raw-binary.nomad.hcl"), check=True)

    def reason() -> bool:
        [allocation] = agent.allocs("raw-binary")[:1]
        events = ((allocation["TaskStates"] or {}).get("worker") or {}).get("Events") or []
        return any(e["Type"] == "Failed Artifact Download" and "does not match" in e["DisplayMessage"] for e in events)

    until(reason, "the event says why")


def test_five_workers_run_and_know_their_number(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    agent.cli("job", "run", "-detach", str(EXAMPLES / "workers.nomad.hcl"), check=True)
    found = agent.wait_running("workers", 5)
    assert {a["Name"] for a in found} == {f"workers.workers[{i}]" for i in range(5)}
    first = next(a for a in found if a["Name"].endswith("[3]"))
    until(lambda: agent.logs(first["ID"], "worker") == "worker 3 release 1.3\n", "the worker writes its line")
    status = agent.cli("job", "status", "workers", check=True).stdout
    assert "running" in status
    assert status.count("workers ") >= 5


def test_the_web_service_answers_on_its_mapped_port(agents: Agents, busybox_image: str) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    source = (EXAMPLES / "webservice.nomad.hcl").read_text()
    job = agent.put("/v1/jobs/parse", {"JobHCL": source, "Canonicalize": True})
    task = job["TaskGroups"][0]["Tasks"][0]
    task["Config"]["image"] = busybox_image
    task["Config"]["command"] = "/bin/sh"
    task["Config"]["args"] = ["-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"]
    agent.register(job)
    [stub] = agent.wait_running("webservice", 1)
    allocation = agent.get(f"/v1/allocation/{stub['ID']}")
    [port] = allocation["AllocatedResources"]["Shared"]["Ports"]
    assert port["To"] == 8080

    def answer() -> bool:
        with urllib.request.urlopen(f"http://{port['HostIP']}:{port['Value']}/", timeout=5) as page:
            return page.read() == b"hello\n"

    until(answer, "the page is served")
    import subprocess

    shown = subprocess.run(
        ["docker", "ps", "--filter", f"label=com.hashicorp.nomad.alloc_id={stub['ID']}", "--format", "{{.Labels}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "group=webserver" in shown.stdout


def test_a_completed_evaluation_names_the_deployment_that_came_of_it(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    said = agent.register(a_job("rolled", "exec sleep 600", Update={"MinHealthyTime": 0, "MaxParallel": 1}))

    def complete() -> dict[str, str] | None:
        evaluation: dict[str, str] = agent.get(f"/v1/evaluation/{said['EvalID']}")
        return evaluation if evaluation["Status"] == "complete" else None

    evaluation = until(complete, "the evaluation is over")
    assert evaluation["DeploymentID"] == agent.get("/v1/job/rolled/deployment")["ID"]


def test_a_job_is_stopped_and_purged(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    agent.register(a_job("short", "exec sleep 1000"))
    [allocation] = agent.wait_running("short", 1)
    agent.cli("job", "stop", "-detach", "short", check=True)
    until(lambda: agent.get(f"/v1/allocation/{allocation['ID']}")["ClientStatus"] == "complete", "it stops")
    assert agent.get("/v1/job/short")["Stop"] is True
    agent.cli("job", "stop", "-purge", "-detach", "short", check=True)
    until(lambda: agent.request("GET", "/v1/job/short")[0] == 404, "it is gone")


def test_a_task_that_fails_is_restarted_and_then_replaced(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    job = a_job(
        "flaky",
        "exit 3",
        RestartPolicy={"Attempts": 1, "Interval": 60_000_000_000, "Delay": 50_000_000, "Mode": "fail"},
        ReschedulePolicy={"Unlimited": True, "Delay": 5_000_000_000, "DelayFunction": "constant", "MaxDelay": 0},
    )
    agent.register(job)

    def failed() -> bool:
        [first] = [a for a in agent.allocs("flaky") if a["ClientStatus"] == "failed"][:1]
        return first["TaskStates"]["main"]["Restarts"] == 1

    until(failed, "one restart, then failed")
    until(lambda: len(agent.allocs("flaky")) >= 2, "a replacement")


def test_what_cannot_be_placed_is_explained_and_runs_when_room_appears(agents: Agents) -> None:
    server = agents.server().start()
    small = agents.node(server, "small", "  memory_total_mb = 256\n  cpu_total_compute = 1000\n").start()
    server.wait_nodes(1)
    job = a_job("big", "exec sleep 1000")
    job["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] = 512
    answer = server.register(job)

    def blocked() -> dict[str, object] | None:
        evaluation = server.get(f"/v1/evaluation/{answer['EvalID']}")
        return evaluation if evaluation.get("BlockedEval") else None

    evaluation = until(blocked, "the evaluation says what is missing")
    metric = evaluation["FailedTGAllocs"]["group"]
    assert metric["NodesExhausted"] == 1
    assert metric["DimensionExhausted"] == {"memory": 1}
    text = server.cli("eval", "status", answer["EvalID"], check=True).stdout
    assert "memory" in text
    agents.node(server, "large", "  memory_total_mb = 2048\n  cpu_total_compute = 1000\n").start()
    server.wait_running("big", 1)
    assert small.process is not None


def test_blocking_queries_return_when_something_happens(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    _, _, headers = agent.request("GET", "/v1/jobs")
    index = int(headers["X-Nomad-Index"])
    answers: list[tuple[float, list[dict[str, object]]]] = []

    def wait() -> None:
        _, body, _ = agent.request("GET", f"/v1/jobs?index={index}&wait=60s")
        answers.append((time.monotonic(), json.loads(body)))

    waiting = threading.Thread(target=wait)
    waiting.start()
    agent.register(a_job("new", "exec sleep 1000"))
    waiting.join(30)
    assert answers
    assert [job["ID"] for job in answers[0][1]] == ["new"]


def test_the_event_stream_tells_of_a_job(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    seen: list[str] = []
    done = threading.Event()

    def follow() -> None:
        with urllib.request.urlopen(f"{agent.address}/v1/event/stream?topic=Job&topic=Allocation", timeout=60) as lines:
            for line in lines:
                for event in json.loads(line or b"{}").get("Events") or []:
                    seen.append(f"{event['Topic']}/{event['Type']}")
                    if event["Topic"] == "Allocation":  # whole, with what has its default value
                        assert event["Payload"]["Allocation"]["ClientStatus"] == "pending"
                        assert event["Payload"]["Allocation"]["DesiredStatus"] == "run"
                if any(name.startswith("Allocation/") for name in seen):
                    done.set()
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    agent.register(a_job("watched", "exec sleep 1000"))
    assert done.wait(30), seen
    assert "Job/JobRegistered" in seen


def test_the_demo_runs(tmp_path: Path) -> None:
    import subprocess
    import sys

    from .conftest import free_ports

    port = free_ports(1)[0]
    done = subprocess.run(
        [sys.executable, "scripts/demo.py", "--once", "--port", str(port)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my_service started with: --arg1=test1 --arg2=test2" in done.stdout
    assert "worker 4" in done.stdout or "worker 0" in done.stdout
