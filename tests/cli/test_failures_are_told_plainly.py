from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest


def test_no_agent_at_the_address(transcript: Any) -> None:
    result = transcript("error-no-agent", "job", "status", env={"ROVE_ADDR": "http://127.0.0.1:1"})
    assert result.code == 1


@pytest.mark.parametrize("address", ["ftp://x", "http://", "unix://relative", "http://host:port"])
def test_an_address_that_cannot_be_one(address: str, rove: Any) -> None:
    result = rove("job", "status", "-address", address)
    assert result.code == 1
    assert "cannot be used" in result.err


def test_a_flag_wins_over_the_environment_and_ours_over_nomads(cluster: Any, rove: Any) -> None:
    env = {"ROVE_ADDR": "http://127.0.0.1:1", "NOMAD_NAMESPACE": "theirs", "ROVE_NAMESPACE": "ours"}
    assert rove("job", "status", "-address", cluster.address, env=env).code == 0
    assert cluster.sent("GET", "/v1/jobs").params["namespace"] == "ours"
    assert rove("-namespace=flag", "-address", cluster.address, "job", "status", env=env).code == 0
    assert cluster.sent("GET", "/v1/jobs").params["namespace"] == "flag"


def test_what_only_nomad_knows_is_read_too(cluster: Any, rove: Any) -> None:
    rove.environ = {"NOMAD_ADDR": cluster.address, "NOMAD_REGION": "eu"}
    assert rove("job", "status").code == 0
    assert cluster.sent("GET", "/v1/jobs").params["region"] == "eu"


def test_a_page_of_html_is_not_mistaken_for_an_answer(agent: Any, answers: Any, rove: Any) -> None:
    agent.on("GET /v1/jobs", answers.Answer(b"<html>"))
    result = rove("job", "status")
    assert result.code == 1
    assert "is not JSON" in result.err


def test_an_answer_without_the_expected_keys_gives_no_traceback(agent: Any, rove: Any) -> None:
    agent.on("GET /v1/jobs", [{"Name": "web"}])
    result = rove("job", "status")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert "ROVE_DEBUG=1" in result.err
    with pytest.raises(KeyError):
        rove("job", "status", env={"ROVE_DEBUG": "1"})


def test_escape_codes_in_an_error_do_not_reach_the_terminal(agent: Any, answers: Any, rove: Any) -> None:
    agent.on("GET /v1/jobs", answers.Answer("bad \x1b[31mthing", status=500))
    assert "\x1b" not in rove("job", "status").err


def test_a_reader_that_goes_away_is_no_failure_worth_words(agent: Any, rove_command: list[str]) -> None:
    agent.on("GET /v1/jobs", [{"ID": f"job-{n}", "Type": "service", "Status": "running"} for n in range(20000)])
    command = [*rove_command, "job", "status", "-address", agent.address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait(30)


def test_the_program_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "rove", "-version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Rove v")
