"""The command line on a real agent, as a newcomer uses it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import AgentProcess, Agents, a_job, until

SPEAKER = "trap 'echo got usr1' USR1; echo out; echo err >&2; while true; do sleep 0.1; done"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    made = Agents(tmp_path_factory.mktemp("cli"))
    agent = made.dev().start()
    agent.wait_nodes()
    agent.register(a_job("speaker", SPEAKER, Update={"MinHealthyTime": 0}))
    agent.wait_running("speaker", 1)
    yield agent
    made.end()


@pytest.fixture
def alloc(agent: AgentProcess) -> str:
    [allocation] = agent.wait_running("speaker", 1)
    found: str = allocation["ID"]
    until(lambda: "err" in agent.logs(found, "main", "stderr"), "the task has spoken")
    return found


def test_the_job_that_init_writes_runs_on_a_dev_agent(agent: AgentProcess, tmp_path: Path) -> None:
    for words, name in ((["job", "init"], "example.nomad.hcl"), (["job", "init", "-short", "short.hcl"], "short.hcl")):
        command = [sys.executable, "-m", "rove", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        run = agent.cli("job", "run", str(tmp_path / name))
        assert run.returncode == 0, run.stdout + run.stderr
        assert "successful" in run.stdout or name == "short.hcl"
        allocations = [a for a in agent.running("hello") if a["ClientStatus"] == "running"]
        assert allocations
        text = agent.cli("alloc", "status", allocations[0]["ID"], check=True).stdout
        [address] = re.findall(r"127\.0\.0\.1:\d+", text)
        import urllib.request

        def answers(address: str = address) -> bool:
            with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
                return bool(answer.status == 200)

        until(answers, "the example's web server answers at the address that is shown")
        agent.cli("job", "stop", "-purge", "hello", check=True)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 1, "an existing file is not overwritten"


# -- exec


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_exec_ends_with_the_commands_exit_code(agent: AgentProcess, alloc: str, script: str, code: int) -> None:
    assert agent.cli("alloc", "exec", alloc, "sh", "-c", script).returncode == code


def test_exec_keeps_the_streams_apart_and_passes_input_on(agent: AgentProcess, alloc: str) -> None:
    done = agent.cli("alloc", "exec", "-task", "main", alloc, "sh", "-c", "cat; echo no >&2", stdin="abc\n" * 20_000)
    assert (done.stdout, done.stderr) == ("abc\n" * 20_000, "no\n")


def test_exec_without_input_does_not_wait_for_any(agent: AgentProcess, alloc: str) -> None:
    reading, writing = os.pipe()  # stays open, so that a reader would wait for ever
    command = [sys.executable, "-m", "rove", "alloc", "exec", "-i=false", alloc, "sh", "-c", "cat; echo done"]
    done = subprocess.run(
        command, stdin=reading, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "ROVE_ADDR": agent.address},
    )  # fmt: skip
    os.close(reading)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_exec_of_what_does_not_exist_says_so(agent: AgentProcess, alloc: str) -> None:
    done = agent.cli("alloc", "exec", alloc, "no-such-program")
    assert done.returncode == 1
    assert "no-such-program" in done.stderr
    assert "was not found" in done.stderr


def in_a_terminal(agent: AgentProcess, *words: str, rows: int = 33, columns: int = 111, typed: bytes = b"") -> Any:
    """(exit code, output) of a command on a terminal of its own."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "rove", *words], stdin=secondary, stdout=secondary, stderr=secondary,
        env={**os.environ, "ROVE_ADDR": agent.address, "TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(secondary)
    output = b""
    try:
        while True:
            data = os.read(primary, 65536)
            if not data:
                break
            output += data
            if typed and b"ready" in output:
                os.write(primary, typed)
                typed = b""
    except OSError:
        pass  # the terminal's other end is closed: the program has ended
    os.close(primary)
    return process.wait(60), output.decode(errors="replace")


def test_exec_on_a_terminal_gives_the_command_one_of_the_same_size(agent: AgentProcess, alloc: str) -> None:
    code, output = in_a_terminal(agent, "alloc", "exec", alloc, "sh", "-c", "tty; stty size; exit 5")
    assert code == 5
    assert "/dev/pts/" in output
    assert "33 111" in output


def test_keys_reach_a_command_on_a_terminal(agent: AgentProcess, alloc: str) -> None:
    script = "echo ready; read word; echo you said $word; exit 6"
    code, output = in_a_terminal(agent, "alloc", "exec", alloc, "sh", "-c", script, typed=b"hello\r")
    assert code == 6
    assert "you said hello" in output


def test_control_c_reaches_the_command_and_not_the_command_line(agent: AgentProcess, alloc: str) -> None:
    script = "trap 'echo caught; exit 8' INT; echo ready; while true; do sleep 0.1; done"
    code, output = in_a_terminal(agent, "alloc", "exec", alloc, "sh", "-c", script, typed=b"\x03")
    assert code == 8
    assert "caught" in output


# -- logs and files


def test_followed_logs_end_with_the_task(agent: AgentProcess) -> None:
    script = "for i in 1 2 3; do echo line $i; sleep 0.3; done"
    agent.register(a_job("short", script, job_type="batch"))
    [allocation] = until(lambda: agent.allocs("short"), "it is placed")
    until(lambda: agent.logs(allocation["ID"], "main"), "it speaks")
    done = agent.cli("alloc", "logs", "-f", allocation["ID"])
    assert (done.returncode, done.stdout) == (0, "line 1\nline 2\nline 3\n")


def test_logs_of_a_task_that_is_not_there_are_an_error(agent: AgentProcess, alloc: str) -> None:
    done = agent.cli("alloc", "logs", alloc, "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "its tasks: main" in done.stderr


def test_a_signal_reaches_the_task_and_an_unknown_one_is_refused(agent: AgentProcess, alloc: str) -> None:
    agent.cli("alloc", "signal", "-s", "SIGUSR1", alloc, check=True)
    until(lambda: "got usr1" in agent.logs(alloc, "main"), "the task got it")
    wrong = agent.cli("alloc", "signal", "-s", "SIGNOTHING", alloc)
    assert wrong.returncode == 1
    assert "SIGNOTHING" in wrong.stderr


# -- lists and status


LISTS = (
    ("job", "status"), ("job", "status", "speaker"), ("job", "inspect", "speaker"), ("job", "history", "speaker"),
    ("job", "allocs", "speaker"), ("job", "deployments", "speaker"), ("node", "status"), ("node", "status", "-self"),
    ("alloc", "status", "ALLOC"), ("eval", "list"), ("eval", "status", "EVAL"), ("deployment", "list"),
    ("server", "members"), ("namespace", "list"), ("node", "pool", "list"), ("operator", "scheduler", "get-config"),
    ("agent-info",), ("version",),
)  # fmt: skip


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_every_list_and_status_is_there_as_json(agent: AgentProcess, alloc: str, words: tuple[str, ...]) -> None:
    [evaluation, *_] = agent.get("/v1/job/speaker/evaluations")
    names = {"ALLOC": alloc, "EVAL": evaluation["ID"]}
    flags = len(words) if words[-1] not in ("speaker", "ALLOC", "EVAL") else len(words) - 1
    filled = [names.get(word, word) for word in words]
    done = agent.cli(*filled[:flags], "-json", *filled[flags:])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


TEMPLATES = (
    (("job", "status"), "{{ range . }}{{ .ID }}{{ end }}", "speaker"),
    (("node", "status"), "{{ range . }}{{ .Status }}{{ end }}", "ready"),
    (("eval", "list"), "{{ len . | ne 0 }}", "true"),
    (("server", "members"), "{{ (index . 0).Status }}", "alive"),
    (("deployment", "list"), "{{ (index . 0).JobID }}", "speaker"),
)


@pytest.mark.parametrize(("words", "template", "expected"), TEMPLATES, ids=lambda value: str(value)[:30])
def test_a_template_shapes_what_is_printed(
    agent: AgentProcess, alloc: str, words: tuple[str, ...], template: str, expected: str
) -> None:
    done = agent.cli(*words, "-t", template)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_status_finds_things_by_the_beginning_of_their_id(agent: AgentProcess, alloc: str) -> None:
    assert "speaker" in agent.cli("status", "speak", check=True).stdout
    assert "speaker.group[0]" in agent.cli("status", alloc[:8], check=True).stdout
    none = agent.cli("status", "nothing-of-that-name")
    assert none.returncode == 1


def test_a_nodes_figures_are_those_of_the_machine(agent: AgentProcess, alloc: str) -> None:
    [node] = agent.wait_nodes()
    stats = agent.get(f"/v1/client/stats?node_id={node['ID']}")
    assert len(stats["CPU"]) == os.cpu_count()
    for cpu in stats["CPU"]:
        assert 0 <= cpu["TotalPercent"] <= 100
        assert cpu["Idle"] + cpu["TotalPercent"] == pytest.approx(100)
    total = agent.get(f"/v1/node/{node['ID']}")["NodeResources"]["Cpu"]["CpuShares"]
    share = sum(cpu["TotalPercent"] for cpu in stats["CPU"]) / len(stats["CPU"]) / 100
    assert stats["CPUTicksConsumed"] == pytest.approx(share * total, rel=0.01)
    assert stats["Memory"]["Total"] > stats["Memory"]["Available"] > 0
    assert stats["Uptime"] > 0
    text = agent.cli("node", "status", "-self", "-stats", check=True).stdout
    assert "CPU Stats" in text
    assert re.search(r"cpu0 +[\d.]+% +[\d.]+% +[\d.]+%", text)


def test_a_plan_shows_where_and_why_not(agent: AgentProcess, tmp_path: Path) -> None:
    file = tmp_path / "planned.json"
    file.write_text(json.dumps({"Job": a_job("planned", "true")}))
    done = agent.cli("job", "plan", "-json", "-why-not", "all", str(file))
    assert done.returncode == 1, done.stderr
    [node] = agent.wait_nodes()
    assert re.search(rf"planned\.group\[0\] +{re.escape(node['Name'])} +{node['ID'][:8]} +[\d.]+", done.stdout)
    assert "nothing speaks against it" in done.stdout
    assert agent.request("GET", "/v1/job/planned")[0] == 404


def test_exit_codes_of_a_plan(agent: AgentProcess, tmp_path: Path) -> None:
    same = tmp_path / "same.json"
    same.write_text(json.dumps({"Job": agent.get("/v1/job/speaker")}))
    assert agent.cli("job", "plan", "-json", str(same)).returncode == 0
    broken = tmp_path / "broken.hcl"
    broken.write_text('job "x" {')
    assert agent.cli("job", "plan", str(broken)).returncode == 255


def test_the_agents_log_is_followed(agent: AgentProcess) -> None:
    command = [sys.executable, "-m", "rove", "monitor", "-log-level=debug"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "ROVE_ADDR": agent.address}
    )
    assert process.stdout is not None
    assert b"started as server and node" in process.stdout.readline()
    process.terminate()
    process.wait(30)
    wrong = agent.cli("monitor", "-log-level=loud")
    assert wrong.returncode == 1
    assert "loud" in wrong.stderr
    assert agent.request("GET", "/v1/agent/monitor?log_level=loud")[0] == 400


# -- completion


def completed(agent: AgentProcess, folder: Path, line: str) -> list[str]:
    """What a real bash would offer at the end of a line."""
    (folder / "rove").write_text(f'#!/bin/sh\nexec {sys.executable} -m rove "$@"\n')
    (folder / "rove").chmod(0o755)
    words = line.split(" ")
    script = (
        "source <(rove completion bash)\n"
        f"COMP_WORDS=({' '.join(repr(word) for word in words)})\nCOMP_CWORD={len(words) - 1}\n"
        "_rove_completion rove\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "ROVE_ADDR": agent.address}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "rror" not in done.stderr, done.stderr
    return done.stdout.split()


def test_bash_completes_commands_and_flags(agent: AgentProcess, tmp_path: Path) -> None:
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    assert {"job", "alloc", "node"} <= set(completed(agent, tmp_path, "rove "))
    assert completed(agent, tmp_path, "rove job ini") == ["init"]
    assert "exec" in completed(agent, tmp_path, "rove alloc ")
    assert "--purge" in completed(agent, tmp_path, "rove job stop --p")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_every_shell(agent: AgentProcess, shell: str) -> None:
    assert "_ROVE_COMPLETE" in agent.cli("completion", shell, check=True).stdout


# -- the environment of the command line


def test_both_names_of_environment_variables_work(agent: AgentProcess) -> None:
    for name in ("ROVE_ADDR", "NOMAD_ADDR"):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ROVE_", "NOMAD_"))}
        done = subprocess.run(
            [sys.executable, "-m", "rove", "status"],
            env={**environment, name: agent.address}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "speaker" in done.stdout, name
    one_dash = agent.cli("job", "status", f"-address={agent.address}")
    two_dashes = agent.cli("job", "status", "--address", agent.address)
    assert one_dash.stdout == two_dashes.stdout != ""
