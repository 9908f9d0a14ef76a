"""What is written in an agent's configuration has its effect."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .conftest import AgentProcess, Agents, a_job, free_ports, until


def ask(host: str, port: int) -> tuple[socket.socket, bytes]:
    """A connection that stays open, and the first line of an answer on it."""
    connection = socket.create_connection((host, port), timeout=10)
    connection.sendall(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection, connection.recv(4096).split(b"\r\n")[0]


def test_the_api_listens_on_every_address_that_is_named(agents: Agents) -> None:
    agent = agents.dev('addresses {\n  http = "127.0.0.1 127.0.0.2"\n}\n').start()
    with urllib.request.urlopen(f"http://127.0.0.2:{agent.http}/v1/status/leader", timeout=10) as answer:
        assert json.loads(answer.read()) == f"127.0.0.1:{agent.rpc}"


def test_headers_of_the_configuration_come_with_every_answer(agents: Agents) -> None:
    agent = agents.dev('http_api_response_headers {\n  X-Made-By = "us"\n}\n').start()
    for method, path, status in (
        ("GET", "/v1/jobs", 200),
        ("GET", "/v1/job/none", 404),
        ("GET", "/v1/nowhere", 404),
        ("DELETE", "/v1/jobs", 405),
    ):
        code, _, headers = agent.request(method, path)
        assert (code, headers.get("X-Made-By")) == (status, "us"), path


def test_one_address_gets_only_so_many_connections_and_may_come_again(agents: Agents) -> None:
    agent = agents.dev("limits {\n  http_max_conns_per_client = 3\n}\n").start()

    def three_and_no_more() -> bool:
        opened = [ask("127.0.0.1", agent.http) for _ in range(4)]
        for connection, _ in opened:
            connection.close()
        return [line.split()[1] for _, line in opened] == [b"200", b"200", b"200", b"429"]

    until(three_and_no_more, "three connections are served, the fourth is turned away")
    until(three_and_no_more, "closed connections no longer count")


def test_a_body_over_the_limit_is_refused(agents: Agents) -> None:
    agent = agents.dev('limits {\n  max_body_size = "20KiB"\n}\n').start()
    status, text, _ = agent.request("PUT", "/v1/jobs", b" " * 30_000)
    assert (status, b"larger than 20480 bytes" in text) == (413, True)
    assert agent.get("/v1/jobs") == []


def test_the_log_goes_to_a_file_as_json(agents: Agents, tmp_path: Path) -> None:
    agent = agents.dev(f'log_file = "{tmp_path}/logs/"\nlog_json = true\n').start()
    until(lambda: (tmp_path / "logs" / "rove.log").read_text(), "the log file is there")
    lines = (tmp_path / "logs" / "rove.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert any(entry["@level"] == "info" and str(agent.http) in entry["@message"] for entry in entries)
    assert agent.log.read_text() == ""


def test_a_monitor_may_see_more_than_the_log_holds(agents: Agents) -> None:
    agent = agents.dev('log_level = "warn"\n').start()
    url = f"{agent.address}/v1/agent/monitor?log_level=debug&plain=true"
    with urllib.request.urlopen(url, timeout=30) as stream:
        agent.put("/v1/jobs", {"Job": a_job("seen", "exec sleep 60")})
        agent.wait_running("seen", 1)
        agent.delete("/v1/job/seen?purge=true")
        until(lambda: not agent.running("seen"), "the job is stopped")
        agent.put("/v1/system/gc")
        assert stream.readline()
    assert "[INFO]" not in agent.log.read_text()
    assert "[DEBUG]" not in agent.log.read_text()


@pytest.mark.parametrize(
    ("engine", "words"), [("etcd", "not built yet"), ("cassandra", "is none of sqlite, etcd, memory")]
)
def test_an_engine_that_is_not_there_is_a_clear_error(agents: Agents, engine: str, words: str) -> None:
    agent = agents.server(config=f'  store {{\n    engine = "{engine}"\n  }}\n')
    command = [sys.executable, "-m", "rove", "agent", "-config", str(agent.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_engine_is_chosen_by_the_configuration(agents: Agents, tmp_path: Path) -> None:
    forgets = agents.server("forgets", '  store {\n    engine = "memory"\n  }\n').start()
    keeps = agents.server("keeps").start()
    for agent in (forgets, keeps):
        agent.register(a_job("kept", "true"))
        agent.terminate()
        agent.start()
    assert forgets.get("/v1/jobs") == []
    assert [job["ID"] for job in keeps.get("/v1/jobs")] == ["kept"]


def test_reserved_resources_and_meta_reach_the_node(agents: Agents) -> None:
    agent = agents.dev(
        "client {\n  enabled = true\n  memory_total_mb = 1000\n  cpu_total_compute = 2000\n"
        '  meta {\n    rack = "r7"\n  }\n  reserved {\n    cpu = 500\n    memory = 200\n'
        '    reserved_ports = "8000-8010"\n  }\n}\n'
    ).start()
    [stub] = agent.wait_nodes()
    node = agent.get(f"/v1/node/{stub['ID']}")
    assert node["Meta"]["rack"] == "r7"
    assert node["NodeResources"]["Memory"]["MemoryMB"] == 1000
    assert node["ReservedResources"]["Memory"]["MemoryMB"] == 200
    assert node["ReservedResources"]["Cpu"]["CpuShares"] == 500
    job = a_job("big", "exec sleep 60")
    job["TaskGroups"][0]["Tasks"][0]["Resources"] = {"CPU": 100, "MemoryMB": 900}
    agent.register(job)

    def refused() -> Any:
        [evaluation] = [e for e in agent.get("/v1/job/big/evaluations") if e["Status"] == "blocked"]
        return evaluation["FailedTGAllocs"]["group"]["DimensionExhausted"]

    assert until(refused, "the job is told that memory is missing") == {"memory": 1}


def test_the_nodes_limits_hold_for_artifacts(agents: Agents, tmp_path: Path) -> None:
    import functools
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "large").write_bytes(b"x" * 5000)
    handler = functools.partial(Quiet, directory=str(tmp_path / "files"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    agent = agents.dev('client {\n  enabled = true\n  artifact {\n    http_max_size = "4KB"\n  }\n}\n').start()
    job = a_job("large", "exec sleep 60", RestartPolicy={"Attempts": 0, "Mode": "fail"})
    source = f"http://127.0.0.1:{server.server_address[1]}/large"
    job["TaskGroups"][0]["Tasks"][0]["Artifacts"] = [{"GetterSource": source}]
    agent.register(job)

    def failure() -> Any:
        events = [e for a in agent.allocs("large") if a["TaskStates"] for e in a["TaskStates"]["main"]["Events"]]
        return [e["DisplayMessage"] for e in events if e["Type"] == "Failed Artifact Download"]

    assert "4000" in until(failure, "the download fails")[0]
    server.shutdown()


def leaver(agents: Agents, server: AgentProcess, name: str) -> AgentProcess:
    drain = '  drain_on_shutdown {\n    deadline = "1m"\n  }\n'
    return agents.node(server, name, drain, "leave_on_terminate = true\n")


def test_a_node_that_leaves_has_its_allocations_moved_away_first(agents: Agents) -> None:
    server = agents.server().start()
    leaving = leaver(agents, server, "leaving").start()
    server.wait_nodes(1)
    server.register(a_job("web", "exec sleep 600", count=2, Migrate={"MaxParallel": 2, "MinHealthyTime": 0}))
    before = {allocation["ID"] for allocation in server.wait_running("web", 2)}
    agents.node(server, "staying").start()
    server.wait_nodes(2)
    assert leaving.terminate() == 0
    after = server.wait_running("web", 2)
    assert {allocation["NodeName"] for allocation in after} == {"staying"}
    for alloc_id in before:
        assert server.get(f"/v1/allocation/{alloc_id}")["ClientStatus"] == "complete"
    [node] = [node for node in server.get("/v1/nodes") if node["Name"] == "leaving"]
    assert node["SchedulingEligibility"] == "ineligible"


def test_a_second_signal_cuts_the_farewell_short_and_tasks_run_on(agents: Agents) -> None:
    server = agents.server().start()
    leaving = leaver(agents, server, "leaving").start()
    server.wait_nodes(1)
    script = "trap '' TERM INT; echo $$; while true; do sleep 1; done"
    job = a_job("stubborn", script, job_type="batch")
    server.register(job)
    [allocation] = server.wait_running("stubborn", 1)
    pid = int(until(lambda: server.logs(allocation["ID"], "main"), "the task says its pid"))
    assert leaving.process is not None
    leaving.process.send_signal(signal.SIGTERM)
    until(lambda: server.get(f"/v1/node/{allocation['NodeID']}")["DrainStrategy"], "the drain has begun")
    leaving.process.send_signal(signal.SIGTERM)
    assert leaving.process.wait(30) == 0
    assert Path(f"/proc/{pid}").exists()
    server.put(f"/v1/node/{allocation['NodeID']}/purge")


def test_two_agents_do_not_share_an_http_port(agents: Agents) -> None:
    http, rpc = free_ports(2)
    assert http != rpc
    first = agents.dev().start()
    second = agents.dev()
    second.config.write_text(f"ports {{\n  http = {first.http}\n  rpc = {rpc}\n}}\n")
    command = [sys.executable, "-m", "rove", "agent", "-dev", "-config", str(second.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{first.http}" in done.stderr
