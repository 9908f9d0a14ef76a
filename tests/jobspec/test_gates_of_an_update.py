"""Gates in job files: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rove.jobspec import canonicalize, parse_job, validate

CORPUS = Path(__file__).parent.parent / "corpus" / "jobs" / "canary-behind-gates.hcl"


def _problems(**fields: object) -> list[str]:
    gate = {"Name": "g", "Address": "http://a.test", **fields}
    task = {"Name": "server", "Driver": "raw_exec", "Config": {"command": "server"}}
    group = {"Name": "web", "Count": 2, "Update": {"Canary": 1, "Gates": [gate]}, "Tasks": [task]}
    job = {"ID": "shop", "Name": "shop", "Type": "service", "Datacenters": ["*"], "TaskGroups": [group]}
    return [str(each) for each in validate(canonicalize(job))]


def test_gates_of_a_file_reach_the_group_with_their_defaults() -> None:
    job = canonicalize(parse_job(CORPUS.read_text()).api)
    assert validate(job) == []
    update = job.task_groups[0].update
    assert update is not None
    assert update.gates is not msgspec.UNSET
    answers, errors, smoke = update.gates
    assert (answers.name, answers.type, answers.passes, answers.failures) == ("answers", "http", 3, 3)
    assert (errors.type, errors.interval, errors.timeout) == ("prometheus", 60 * 10**9, 5 * 10**9)
    assert (smoke.task, smoke.command, smoke.args) == ("server", "/local/smoke.sh", ("--quick",))


def test_a_job_without_gates_looks_as_it_does_elsewhere() -> None:
    text = CORPUS.read_text()
    plain = text[: text.index("      gate")] + text[text.index("    }\n    task") :]
    assert b"Gate" not in msgspec.json.encode(canonicalize(parse_job(plain).api))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"Type": "dns"}, "type"), ({"Address": "file:///etc/passwd"}, "address"), ({"Address": ""}, "address"),
        ({"Interval": 1}, "interval"), ({"Timeout": -1}, "timeout"), ({"Passes": 0}, "passes"),
        ({"Failures": 0}, "failures"), ({"Type": "script", "Task": "server"}, "command"),
        ({"Type": "script", "Command": "x", "Task": "nobody"}, "task"),
        ({"Type": "prometheus", "Expect": "< 1"}, "query"), ({"Type": "prometheus", "Query": "up"}, "expect"),
        ({"Type": "prometheus", "Query": "up", "Expect": "< many"}, "expect"),
    ],
)  # fmt: skip
def test_a_gate_that_cannot_be_asked_is_refused(fields: dict[str, object], word: str) -> None:
    (problem,) = _problems(**fields)
    assert word in problem


def test_gates_without_canaries_are_refused() -> None:
    text = CORPUS.read_text().replace("canary       = 1", "").replace("auto_promote = true", "")
    (problem,) = validate(canonicalize(parse_job(text).api))
    assert "canary is 0" in str(problem)
