"""An agent that is only a node answers everything too: it asks the server, or itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import AgentProcess, Agents, a_job, until


class Pair:
    """A server, and a node whose API is used."""

    def __init__(self, server: AgentProcess, node: AgentProcess) -> None:
        self.server, self.node = server, node


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Agents(tmp_path_factory.mktemp("pair"))
    server = made.server().start()
    node = made.node(server, "node").start()
    server.wait_nodes(1)
    yield Pair(server, node)
    made.end()


def test_a_job_is_run_followed_and_stopped_through_a_node(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"Job": a_job("forwarded", "echo hello; exec sleep 600")}))
    done = pair.node.cli("job", "run", "-json", "-detach", str(file))
    assert done.returncode == 0, done.stderr
    [allocation] = pair.server.wait_running("forwarded", 1)
    assert [job["ID"] for job in pair.node.get("/v1/jobs")] == ["forwarded"]
    for agent in (pair.node, pair.server):
        until(lambda agent=agent: agent.logs(allocation["ID"], "main") == "hello\n", "the output is there")
        ran = agent.cli("alloc", "exec", allocation["ID"], "sh", "-c", "echo in $NOMAD_TASK_NAME; exit 4")
        assert (ran.returncode, ran.stdout) == (4, "in main\n")
        assert "main.stdout.0" in agent.cli("alloc", "fs", allocation["ID"], "alloc/logs", check=True).stdout
        stats = agent.get(f"/v1/client/allocation/{allocation['ID']}/stats")
        assert stats["Tasks"]["main"]["ResourceUsage"]["MemoryStats"]
    assert pair.node.cli("job", "stop", "-detach", "forwarded").returncode == 0
    until(lambda: not pair.server.running("forwarded"), "it has ended")


def test_index_headers_and_errors_pass_through_a_node(pair: Pair) -> None:
    status, _, headers = pair.node.request("GET", "/v1/jobs")
    assert (status, int(headers["X-Nomad-Index"]) > 0) == (200, True)
    status, text, _ = pair.node.request("GET", "/v1/job/none")
    assert (status, b"job not found" in text) == (404, True)


def test_a_node_knows_itself_and_its_server(pair: Pair) -> None:
    found = pair.node.get("/v1/agent/self")
    [stub] = pair.server.get("/v1/nodes")
    assert found["stats"]["client"]["node_id"] == stub["ID"]
    assert pair.node.get("/v1/status/leader") == f"127.0.0.1:{pair.server.rpc}"
    assert "node" in pair.node.cli("node", "status", "-self", check=True).stdout
    assert pair.node.get("/v1/agent/health?type=client")["client"]["ok"]


def test_a_node_says_so_when_its_server_is_gone_and_works_again_when_it_is_back(pair: Pair) -> None:
    pair.server.register(a_job("steady", "exec sleep 600"))
    [before] = pair.server.wait_running("steady", 1)
    pair.server.kill()
    until(lambda: pair.node.request("GET", "/v1/jobs")[0] >= 500, "the node cannot answer for the server")
    told = pair.node.cli("job", "status")
    assert told.returncode == 1
    assert told.stderr
    assert "Traceback" not in told.stderr
    pair.server.start()
    until(lambda: pair.node.request("GET", "/v1/jobs")[0] == 200, "the node reaches the server again")
    [after] = pair.server.wait_running("steady", 1)
    assert after["ID"] == before["ID"]
