"""The program against the program: one agent, real jobs, every everyday command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

JOB = """
job "hello" {
  type = "batch"
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo out; echo err >&2; exec sleep 600"]
      }
    }
  }
}
"""
NOWHERE = """
job "nowhere" {
  type = "batch"
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "windows"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/true"
      }
    }
  }
}
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def agent_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("agent")
    http, rpc = _free_port(), _free_port()
    command = [sys.executable, "-m", "rove", "agent", "-dev", f"-http-port={http}", f"-rpc-port={rpc}"]
    address = f"http://127.0.0.1:{http}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _is_ready(address):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/v1/nodes", timeout=5) as response:
            return any(node["Status"] == "ready" for node in json.load(response))
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def rove(agent_address: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("jobs")

    def run(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rove", *args], input=stdin, capture_output=True, text=True, check=False,
            env={**os.environ, "ROVE_ADDR": agent_address}, cwd=folder, timeout=90,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def hello(rove: Run) -> str:
    """The id of the allocation of a job that runs."""
    done = rove("job", "run", "-", stdin=JOB)
    assert done.returncode == 0, done.stdout + done.stderr
    alloc: str = rove("job", "allocs", "-t", "{{ (index . 0).ID }}", "hello").stdout.strip()
    deadline = time.monotonic() + 60
    while '"running"' not in rove("alloc", "status", alloc).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return alloc


def test_a_job_is_seen_in_every_list(rove: Run, hello: str) -> None:
    assert "hello" in rove("status").stdout
    assert hello[:8] in rove("job", "status", "hello").stdout
    assert "ready" in rove("node", "status").stdout
    assert hello[:8] in rove("node", "status", "-self").stdout
    assert "hello" in rove("eval", "list").stdout
    assert "alive" in rove("server", "members").stdout
    assert '"g" has 1 of 1 running' in rove("job", "why", "hello").stdout
    assert json.loads(rove("job", "inspect", "hello").stdout)["Job"]["ID"] == "hello"


def test_its_output_is_printed(rove: Run, hello: str) -> None:
    deadline = time.monotonic() + 30
    while rove("alloc", "logs", "-stderr", hello).stdout != "err\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert rove("alloc", "logs", hello).stdout == "out\n"
    assert rove("alloc", "logs", "-tail", "-n", "1", "-job", "hello").stdout == "out\n"


def test_its_files_are_listed(rove: Run, hello: str) -> None:
    assert "alloc/" in rove("alloc", "fs", hello).stdout
    assert "t.stdout.0" in rove("alloc", "fs", hello, "alloc/logs").stdout
    assert rove("alloc", "fs", hello, "alloc/logs/t.stdout.0").stdout == "out\n"
    assert rove("alloc", "fs", hello, "../../etc/passwd").returncode == 1


def test_a_command_runs_inside_it(rove: Run, hello: str) -> None:
    done = rove(
        "alloc", "exec", hello, "/bin/sh", "-c", "cat; echo $NOMAD_TASK_NAME; echo no >&2; exit 3", stdin="in\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "in\nt\n", "no\n")


def test_a_plan_of_the_same_job_changes_nothing(rove: Run, hello: str) -> None:
    assert rove("job", "plan", "-", stdin=JOB).returncode == 0
    changed = rove("job", "plan", "-", stdin=JOB.replace("echo out", "echo other"))
    assert changed.returncode == 1
    assert "other" in changed.stdout


def test_a_job_that_fits_nowhere_ends_with_2_and_says_why(rove: Run, agent_address: str) -> None:
    done = rove("job", "run", "-", stdin=NOWHERE)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "${attr.kernel.name} = windows" in done.stdout
    assert "windows" in rove("job", "why", "nowhere").stdout
    assert rove("job", "stop", "-purge", "-detach", "nowhere").returncode == 0


def test_a_check_index_that_is_old_is_refused(rove: Run, hello: str) -> None:
    done = rove("job", "run", "-check-index", "0", "-", stdin=JOB)
    assert done.returncode == 1
    assert "Enforcing job modify index" in done.stderr


def test_a_node_is_taken_out_of_use_and_back(rove: Run, hello: str) -> None:
    assert rove("node", "eligibility", "-self", "-disable").returncode == 0
    assert "ineligible" in rove("node", "status").stdout
    assert rove("node", "eligibility", "-self", "-enable").returncode == 0
    assert "ineligible" not in rove("node", "status").stdout


def test_a_stopped_job_is_gone(rove: Run, hello: str) -> None:
    assert rove("job", "stop", "hello").returncode == 0
    deadline = time.monotonic() + 60
    while "complete" not in rove("job", "allocs", "hello").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert rove("job", "stop", "-purge", "-detach", "hello").returncode == 0
    assert rove("job", "status", "hello").returncode == 1
