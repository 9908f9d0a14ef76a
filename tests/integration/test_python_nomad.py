"""python-nomad (PyPI), a client that is not ours, does its usual work against a real agent."""

from __future__ import annotations

import nomad
import pytest

from .conftest import AgentProcess, Agents, a_job, until


@pytest.fixture
def agent(agents: Agents) -> AgentProcess:
    made = agents.dev().start()
    made.wait_nodes()
    return made


@pytest.fixture
def client(agent: AgentProcess) -> nomad.Nomad:
    return nomad.Nomad(host="127.0.0.1", port=agent.http, timeout=20)


def test_a_job_is_registered_read_stopped_and_purged(agent: AgentProcess, client: nomad.Nomad) -> None:
    answer = client.job.register_job("theirs", {"Job": a_job("theirs", "exec sleep 1000", count=2)})
    assert answer["EvalID"]
    agent.wait_running("theirs", 2)
    assert "theirs" in client.jobs
    assert client.job.get_job("theirs")["Type"] == "service"
    assert {a["ClientStatus"] for a in client.job.get_allocations("theirs")} == {"running"}
    assert client.job.get_evaluations("theirs")[0]["Status"] == "complete"
    assert client.job.get_summary("theirs")["Summary"]["group"]["Running"] == 2
    client.job.deregister_job("theirs")
    until(lambda: all(a["ClientStatus"] == "complete" for a in client.job.get_allocations("theirs")), "all stopped")
    client.job.deregister_job("theirs", purge=True)
    with pytest.raises(nomad.api.exceptions.URLNotFoundNomadException):
        client.job.get_job("theirs")


def test_nodes_allocations_and_files(agent: AgentProcess, client: nomad.Nomad) -> None:
    [node] = client.nodes.get_nodes()
    assert client.node.get_node(node["ID"])["Attributes"]["kernel.name"] == "linux"
    client.job.register_job("files", {"Job": a_job("files", "echo out; echo err >&2; exec sleep 1000")})
    [stub] = agent.wait_running("files", 1)
    assert client.allocation.get_allocation(stub["ID"])["JobID"] == "files"
    assert any(entry["Name"] == "alloc" for entry in client.client.ls.list_files(stub["ID"]))
    until(lambda: agent.logs(stub["ID"], "main") == "out\n", "stdout")
    assert "out" in client.client.cat.read_file(stub["ID"], "/alloc/logs/main.stdout.0")
    assert client.client.stats.read_stats(node["ID"])["Memory"]["Total"] > 0
    assert client.client.allocation.read_allocation_stats(stub["ID"])["Tasks"]["main"]


def test_parse_plan_and_validate(client: nomad.Nomad) -> None:
    task = 'task "t" {\n driver = "raw_exec"\n config {\n command = "true"\n }\n }'
    source = f'job "hcl" {{\n group "g" {{\n {task}\n }}\n}}\n'
    job = client.jobs.parse(source)
    assert job["ID"] == "hcl"
    planned = client.job.plan_job("hcl", {"Job": job, "Diff": True})
    assert planned["Diff"]["Type"] == "Added"
    assert planned["Annotations"]["DesiredTGUpdates"]["g"]["Place"] == 1
    assert client.validate.validate_job({"Job": job}).json()["ValidationErrors"] in (None, [])


def test_the_agent_and_its_region(client: nomad.Nomad) -> None:
    assert client.agent.get_agent()["member"]["Status"] == "alive"
    assert client.regions.get_regions() == ["global"]
    assert client.status.leader.get_leader()
    assert client.metrics.get_metrics()["Gauges"]
    assert client.search.search("x", "jobs")["Matches"] is not None
    client.system.initiate_garbage_collection()
