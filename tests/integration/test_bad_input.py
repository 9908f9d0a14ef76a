"""Bad input gets a clear error and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import AgentProcess, Agents, a_job, until


@pytest.fixture
def server(agents: Agents) -> AgentProcess:
    return agents.server().start()


def bad(**changes: Any) -> dict[str, Any]:
    job = a_job("bad", "exec sleep 1")
    group, task = job["TaskGroups"][0], job["TaskGroups"][0]["Tasks"][0]
    for key, value in changes.items():
        where, _, name = key.partition("__")
        {"job": job, "group": group, "task": task, "resources": task["Resources"], "config": task["Config"]}[where][
            name
        ] = value
    return job


def port(label: str, value: int) -> dict[str, Any]:
    return {"Label": label, "Value": value}


CASES = {
    "unknown driver": (bad(task__Driver="dokcer"), "docker"),
    "missing command": (bad(task__Config={}), "command"),
    "negative count": (bad(group__Count=-1), "count"),
    "huge count": (bad(group__Count=50_001), "50000"),
    "zero cpu": (bad(resources__CPU=0), "cpu"),
    "negative memory": (bad(resources__MemoryMB=-5), "memory"),
    "absurd memory": (bad(resources__MemoryMB=10**12), "memory"),
    "no groups": (bad(job__TaskGroups=[]), "group"),
    "no tasks": (bad(group__Tasks=[]), "task"),
    "two tasks of one name": (bad(group__Tasks=[bad()["TaskGroups"][0]["Tasks"][0]] * 2), "main"),
    "two groups of one name": (bad(job__TaskGroups=[bad()["TaskGroups"][0]] * 2), "group"),
    "one static port twice": (
        bad(group__Networks=[{"ReservedPorts": [port("a", 8080), port("b", 8080)]}]),
        "8080",
    ),
    "a bad regular expression": (
        bad(job__Constraints=[{"LTarget": "${attr.kernel.name}", "RTarget": "(", "Operand": "regexp"}]),
        "(",
    ),
    "unknown namespace": (bad(job__Namespace="nowhere"), "nowhere"),
    "unknown node pool": (bad(job__NodePool="nowhere"), "nowhere"),
    "id with a newline": (bad(job__ID="a\nb"), ""),
    "id with NUL": (bad(job__ID="a\0b"), ""),
    "unknown type": (bad(job__Type="servcie"), "service"),
}


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Agents(tmp_path_factory.mktemp("agents"))
    yield made.server().start()
    made.end()


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_bad_job_is_refused_with_its_reason(shared_server: AgentProcess, name: str) -> None:
    job, word = CASES[name]
    status, body, _ = shared_server.request("PUT", "/v1/jobs", {"Job": job})
    assert status in (400, 500), body
    text = body.decode()
    assert word.lower() in text.lower()
    assert "Traceback" not in text
    assert shared_server.get("/v1/jobs") == []
    assert shared_server.get("/v1/evaluations") == []


def test_all_errors_come_at_once(shared_server: AgentProcess) -> None:
    job = bad(task__Driver="dokcer", group__Count=-1, resources__CPU=0)
    _, body, _ = shared_server.request("PUT", "/v1/jobs", {"Job": job})
    text = body.decode().lower()
    assert "dokcer" in text
    assert "count" in text
    assert "cpu" in text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"Job": 7}', 400),
        (b'{"Job": {"ID": 7}}', 400),
        (b'{"Job": {"ID": "x", "TaskGroups": "y"}}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b"", 400),
        (b'{"Job": {"ID": "' + b"x" * (17 * 1024 * 1024) + b'"}}', 413),
    ],
    ids=["text", "list", "empty", "number", "id", "groups", "utf8", "nested", "nothing", "large"],
)
def test_bodies_that_are_no_jobs(shared_server: AgentProcess, body: bytes, status: int) -> None:
    try:
        got, text, _ = shared_server.request("PUT", "/v1/jobs", body)
    except OSError:
        assert status == 413  # the connection may be cut while a large body is still being sent
        return
    assert got == status, text
    assert b"Traceback" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/v1/job/none",
        "/v1/allocation/00000000-0000-0000-0000-000000000000",
        "/v1/allocation/xyz",
        "/v1/node/none",
        "/v1/evaluation/none",
        "/v1/job/a%2Fb",
        "/v1/job/a%00b",
        "/v1/job/a%0Ab",
        "/v1/deployment/none",
        "/v1/client/fs/ls/00000000-0000-0000-0000-000000000000",
    ],
)
def test_unknown_ids_are_404(shared_server: AgentProcess, path: str) -> None:
    status, body, _ = shared_server.request("GET", path)
    assert status in (400, 404) if "%0" in path else status == 404
    assert b"Traceback" not in body


def test_a_wrong_method_is_405(shared_server: AgentProcess) -> None:
    assert shared_server.request("DELETE", "/v1/jobs")[0] == 405


def test_a_syntax_error_is_shown_where_it_is(shared_server: AgentProcess, tmp_path: Path) -> None:
    file = tmp_path / "bad.nomad.hcl"
    file.write_text('job "x" {\n  group "g" {\n    count = = 3\n  }\n}\n')
    done = shared_server.cli("job", "run", str(file))
    assert done.returncode == 1
    assert "bad.nomad.hcl:3:" in done.stderr
    assert "count = = 3" in done.stderr
    assert "^" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('job "x" {\n  gruop "g" {\n  }\n}\n', ["gruop", "group", ":2:"]),
        (
            'job "x" {\n  group "g" {\n    task "t" {\n      drvier = "docker"\n    }\n  }\n}\n',
            ["drvier", "driver", ":4:"],
        ),
        ('job "x" {\n  group "g" {\n    count = "many"\n  }\n}\n', ["count", ":3:"]),
    ],
)
def test_misspelt_names_get_a_hint(shared_server: AgentProcess, tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "bad.nomad.hcl"
    file.write_text(text)
    done = shared_server.cli("job", "validate", str(file))
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr + done.stdout


def test_a_missing_image_fails_the_task_with_its_name(agents: Agents, docker_engine: str) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    job = a_job(
        "img", "", RestartPolicy={"Attempts": 0, "Mode": "fail"}, ReschedulePolicy={"Attempts": 0, "Unlimited": False}
    )
    task = job["TaskGroups"][0]["Tasks"][0]
    task["Driver"], task["Config"] = "docker", {"image": "127.0.0.1:1/no/such:1"}
    agent.register(job)

    def told() -> bool:
        [stub] = agent.allocs("img")
        events = ((stub["TaskStates"] or {}).get("main") or {}).get("Events") or []
        return any("no/such" in json.dumps(event) for event in events)

    until(told, "an event names the image")


def test_an_unknown_command_or_flag_has_a_hint(shared_server: AgentProcess) -> None:
    for words in (["jbo", "run"], ["job", "rnu"], ["job", "run", "-detahc", "x"]):
        done = shared_server.cli(*words)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert done.stderr.strip() or done.stdout.strip()


def test_no_agent_is_said_plainly(tmp_path: Path) -> None:
    lonely = AgentProcess(tmp_path, "none", "", 1, 2)
    done = lonely.cli("job", "status")
    assert done.returncode == 1
    assert "http://127.0.0.1:1" in done.stderr
    assert "rove agent -dev" in done.stderr
