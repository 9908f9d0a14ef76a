from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

EVAL_ID = "e0e0aaaa-0000-4000-8000-000000000001"
DEPLOYMENT_ID = "d0d0bbbb-0000-4000-8000-000000000001"
JOB = {"ID": "web", "Name": "web", "Type": "service", "Datacenters": ["dc1"], "TaskGroups": []}
HCL = """
variable "count" {
  type    = number
  default = 1
}
job "web" {
  group "api" {
    count = var.count
    task "server" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args    = ["100"]
      }
    }
  }
}
"""


@pytest.fixture
def job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("web.json").write_text(json.dumps({"Job": JOB}))
    Path("web.hcl").write_text(HCL)
    return "web.json"


@pytest.fixture
def accepting(cluster: Any) -> Any:
    cluster.on("PUT /v1/jobs", {"EvalID": EVAL_ID, "JobModifyIndex": 12, "Warnings": ""})
    return cluster


def test_a_job_is_followed_to_the_end_of_its_deployment(
    accepting: Any, answers: Any, transcript: Any, job_file: str
) -> None:
    evaluation = accepting.routes[f"GET /v1/evaluation/{EVAL_ID}"]
    accepting.on(
        f"GET /v1/evaluation/{EVAL_ID}",
        answers.Turns({**evaluation, "Status": "pending"}, {**evaluation, "DeploymentID": DEPLOYMENT_ID}),
    )
    done = accepting.routes[f"GET /v1/deployment/{DEPLOYMENT_ID}"]
    running = accepting.routes["GET /v1/job/web/deployment"]
    turns = answers.Turns(answers.Answer(running, index=8), answers.Answer(done, index=9))
    accepting.on(f"GET /v1/deployment/{DEPLOYMENT_ID}", turns)
    assert transcript("job-run", "job", "run", job_file).code == 0


def test_a_deployment_that_fails_ends_with_1(accepting: Any, transcript: Any, job_file: str) -> None:
    evaluation = accepting.routes[f"GET /v1/evaluation/{EVAL_ID}"]
    accepting.on(f"GET /v1/evaluation/{EVAL_ID}", {**evaluation, "DeploymentID": DEPLOYMENT_ID})
    done = accepting.routes[f"GET /v1/deployment/{DEPLOYMENT_ID}"]
    failed = {**done, "Status": "failed", "StatusDescription": "an allocation was unhealthy; going back to version 2"}
    accepting.on(f"GET /v1/deployment/{DEPLOYMENT_ID}", failed)
    back = {**done, "ID": "d1d1cccc-0000-4000-8000-000000000001", "JobVersion": 4}
    accepting.on("GET /v1/job/web/deployment", back)
    accepting.on(f"GET /v1/deployment/{back['ID']}", back)
    assert transcript("job-run-failed", "job", "run", job_file).code == 1


def test_what_cannot_be_placed_ends_with_2(accepting: Any, transcript: Any, job_file: str) -> None:
    metric = {"NodesEvaluated": 2, "NodesExhausted": 2, "DimensionExhausted": {"memory": 2}, "CoalescedFailures": 3}
    evaluation = accepting.routes[f"GET /v1/evaluation/{EVAL_ID}"]
    blocked = "bb00aaaa-0000-4000-8000-000000000001"
    accepting.on(
        f"GET /v1/evaluation/{EVAL_ID}", {**evaluation, "FailedTGAllocs": {"api": metric}, "BlockedEval": blocked}
    )
    assert transcript("job-run-unplaced", "job", "run", job_file).code == 2


def test_an_evaluation_that_fails_ends_with_1_and_the_next_is_followed(
    accepting: Any, rove: Any, job_file: str
) -> None:
    evaluation = accepting.routes[f"GET /v1/evaluation/{EVAL_ID}"]
    following = "e1e1aaaa-0000-4000-8000-000000000001"
    accepting.on(
        f"GET /v1/evaluation/{EVAL_ID}", {**evaluation, "Status": "failed", "NextEval": following, "Wait": int(3e9)}
    )
    accepting.on(f"GET /v1/evaluation/{following}", {**evaluation, "ID": following})
    accepting.on(f"GET /v1/evaluation/{following}/allocations", [])
    result = rove("job", "run", job_file)
    assert result.code == 1
    assert 'Following evaluation "e1e1aaaa"' in result.out
    assert 3.0 in rove.slept


def test_an_evaluation_that_a_server_does_not_know_yet_is_asked_for_again(
    accepting: Any, answers: Any, rove: Any, job_file: str
) -> None:
    evaluation = accepting.routes[f"GET /v1/evaluation/{EVAL_ID}"]
    accepting.on(f"GET /v1/evaluation/{EVAL_ID}", answers.Turns(answers.Answer("unknown", status=404), evaluation))
    assert rove("job", "run", job_file).code == 0


def test_detached_only_the_evaluation_is_named(accepting: Any, transcript: Any, job_file: str) -> None:
    assert transcript("job-run-detach", "job", "run", "-detach", job_file).code == 0
    assert not [call for call in accepting.calls if "evaluation" in call.path]


def test_no_page_is_named_while_there_is_none(accepting: Any, rove: Any, job_file: str) -> None:
    result = rove("job", "run", "-ui", "-detach", job_file)
    assert result.code == 0
    assert "There is no web page yet" in result.out
    assert "/ui/" not in result.out


def test_everything_asked_for_is_sent(accepting: Any, rove: Any, job_file: str) -> None:
    flags = ["-detach", "-check-index=0", "-preserve-counts", "-eval-priority", "70", "-namespace", "prod"]
    result = rove("job", "run", *flags, job_file)
    assert result.code == 0
    call = accepting.sent("PUT", "/v1/jobs")
    assert call.body["EnforceIndex"] is True
    assert call.body["JobModifyIndex"] == 0
    assert call.body["PreserveCounts"] is True
    assert call.body["EvalPriority"] == 70
    assert call.body["Job"]["Namespace"] == "prod"
    assert call.body["Submission"]["Format"] == "json"
    assert call.params["namespace"] == "prod"


def test_a_token_is_sent_as_a_header_and_never_printed(accepting: Any, rove: Any, job_file: str) -> None:
    result = rove("job", "run", "-detach", job_file, env={"NOMAD_TOKEN": "s3cret"})
    assert accepting.sent("PUT", "/v1/jobs").headers["X-Nomad-Token"] == "s3cret"
    assert "s3cret" not in result.out + result.err


def test_a_periodic_job_says_when_it_launches(accepting: Any, transcript: Any, job_file: str) -> None:
    accepting.on("PUT /v1/jobs", {"EvalID": "", "Warnings": "1 warning:\n* no shutdown_delay"})
    accepting.on("PUT /v1/job/web/plan", {"NextPeriodicLaunch": "2023-11-15T00:00:00Z"})
    assert transcript("job-run-periodic", "job", "run", job_file).code == 0


def test_a_refusal_is_shown_whole(accepting: Any, answers: Any, transcript: Any, job_file: str) -> None:
    text = 'job "web" was not accepted: 2 problems [job.invalid]\n  why: * first\n       * second\n  fix: mend it'
    accepting.on("PUT /v1/jobs", answers.Answer(text, status=500))
    assert transcript("job-run-refused", "job", "run", job_file).code == 1


def test_hcl_is_parsed_here_with_its_variables(accepting: Any, rove: Any, job_file: str) -> None:
    Path("more.hcl").write_text("count = 4\n")
    rove("run", "-detach", "-var-file=more.hcl", "web.hcl")
    body = accepting.sent("PUT", "/v1/jobs").body
    assert body["Job"]["TaskGroups"][0]["Count"] == 4
    assert body["Submission"]["Source"] == HCL
    assert body["Submission"]["Variables"] == "count = 4\n"
    rove("run", "-detach", "-var", "count=5", "web.hcl")
    body = accepting.sent("PUT", "/v1/jobs").body
    assert body["Job"]["TaskGroups"][0]["Count"] == 5
    assert body["Submission"]["VariableFlags"] == {"count": "5"}
    rove("run", "-detach", "web.hcl", env={"ROVE_VAR_count": "6"})
    assert accepting.sent("PUT", "/v1/jobs").body["Job"]["TaskGroups"][0]["Count"] == 6


def test_a_job_comes_from_standard_input_too(accepting: Any, rove: Any) -> None:
    assert rove("job", "run", "-detach", "-", stdin=HCL).code == 0
    assert accepting.sent("PUT", "/v1/jobs").body["Job"]["ID"] == "web"


def test_output_prints_the_job_and_submits_nothing(agent: Any, rove: Any, job_file: str) -> None:
    result = rove("job", "run", "-output", "web.hcl")
    assert json.loads(result.out)["Job"]["ID"] == "web"
    assert agent.calls == []


BAD_FILES = [
    ('job "web" {\n  group "api" {\n    count = = 2\n  }\n}\n', "bad.hcl:3:13: "),
    ('job "web" {\n  group "api" {\n    cuont = 2\n  }\n}\n', 'did you mean "count"?'),
    ('job "web" {', "bad.hcl:1:"),
]


@pytest.mark.parametrize(("text", "shown"), BAD_FILES)
def test_a_mistake_in_a_file_is_shown_where_it_is(text: str, shown: str, agent: Any, rove: Any, job_file: str) -> None:
    Path("bad.hcl").write_text(text)
    result = rove("job", "run", "bad.hcl")
    assert result.code == 1
    assert shown in result.err
    assert "^" in result.err
    assert agent.calls == []


def test_a_variable_without_a_value_is_refused(agent: Any, transcript: Any, job_file: str) -> None:
    assert transcript("bad-file-variable", "job", "run", "-var", "count", "web.hcl").code == 1


def test_files_that_cannot_be_read_say_why(rove: Any, tmp_path: Path) -> None:
    assert "no such file" in rove("job", "run", "/nonexistent.hcl").err
    assert "it is a folder" in rove("job", "run", str(tmp_path)).err
    assert "curl" in rove("job", "run", "https://example.com/web.hcl").err
    (tmp_path / "latin.hcl").write_bytes(b'job "caf\xe9" {}\n')
    assert "latin.hcl:1:9: this byte is not UTF-8" in rove("job", "run", str(tmp_path / "latin.hcl")).err
    (tmp_path / "none.json").write_text("{}")
    assert "holds no job" in rove("job", "run", str(tmp_path / "none.json")).err


def test_a_valid_file_is_called_valid_with_and_without_an_agent(agent: Any, rove: Any, job_file: str) -> None:
    agent.on("PUT /v1/validate/job", {"DriverConfigValidated": True, "ValidationErrors": None, "Warnings": ""})
    assert rove("job", "validate", "web.hcl").out == "The job is valid\n"
    offline = rove("job", "validate", "web.hcl", env={"ROVE_ADDR": "http://127.0.0.1:1"})
    assert offline.code == 0
    assert "checked on this machine" in offline.out


def test_a_warning_that_both_sides_have_is_printed_once(agent: Any, rove: Any, job_file: str) -> None:
    Path("odd.hcl").write_text(
        Path("web.hcl").read_text().replace('job "web" {', 'job "web" {\n  all_at_once = true', 1)
    )
    offline = rove("job", "validate", "odd.hcl", env={"ROVE_ADDR": "http://127.0.0.1:1"})
    warnings = [line.removeprefix("warning: ") for line in offline.err.splitlines()]
    assert warnings
    text = "\n".join([f"{len(warnings) + 1} warnings:", "", *(f"* {each}" for each in warnings), "* the servers' own"])
    agent.on("PUT /v1/validate/job", {"ValidationErrors": None, "Warnings": text})
    said = rove("job", "validate", "odd.hcl").err
    assert said == offline.err + "warning: the servers' own\n"


def test_what_only_the_servers_know_is_reported_too(agent: Any, rove: Any, job_file: str) -> None:
    agent.on("PUT /v1/validate/job", {"ValidationErrors": ["namespace prod does not exist"], "Error": "x"})
    result = rove("job", "validate", "web.hcl")
    assert result.code == 1
    assert "namespace prod does not exist" in result.err


def test_a_job_without_a_task_is_not_valid(agent: Any, rove: Any, job_file: str) -> None:
    Path("empty.hcl").write_text('job "web" {\n  group "api" {\n    count = -1\n  }\n}\n')
    result = rove("job", "validate", "empty.hcl")
    assert result.code == 1
    assert "empty.hcl:" in result.err


def test_an_example_is_written_once(rove: Any, job_file: str) -> None:
    assert rove("job", "init").code == 0
    assert "rove job run example.nomad.hcl" in Path("example.nomad.hcl").read_text()
    assert "hello.nomad.hcl" not in Path("example.nomad.hcl").read_text()
    again = rove("init")
    assert again.code == 1
    assert "there is such a file already" in again.err
    assert rove("init", "-short", "other.hcl").code == 0
    assert len(Path("other.hcl").read_text()) < len(Path("example.nomad.hcl").read_text())
    offline = {"ROVE_ADDR": "http://127.0.0.1:1"}
    assert rove("job", "validate", "other.hcl", env=offline).code == 0
    assert rove("job", "validate", "example.nomad.hcl", env=offline).code == 0
