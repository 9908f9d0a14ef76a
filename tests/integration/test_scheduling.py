"""A server and three nodes, each with its own meta and datacenter: jobs are placed, moved, kept and explained."""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import AgentProcess, Agents, a_job, until

FOREVER = "exec sleep 1000"


class Fleet:
    """A server and three nodes: a (dc1, rack 1), b (dc1, rack 2), c (dc2, rack 1)."""

    def __init__(self, agents: Agents) -> None:
        self.agents = agents
        self.server = agents.server().start()
        self.nodes = {
            name: agents.node(
                self.server, name, client=f'  meta {{ rack = "{rack}" }}\n', config=f'datacenter = "{datacenter}"\n'
            ).start()
            for name, datacenter, rack in (("a", "dc1", "1"), ("b", "dc1", "2"), ("c", "dc2", "1"))
        }
        self.server.wait_nodes(3)

    def name_of(self, node_id: str) -> str:
        found = next(node["Name"] for node in self.server.get("/v1/nodes") if node["ID"] == node_id)
        return str(found)

    def where(self, job_id: str) -> list[str]:
        return sorted(self.name_of(alloc["NodeID"]) for alloc in self.server.running(job_id))

    def forget(self) -> None:
        """Stop all jobs and wait until nothing runs."""
        for job in self.server.get("/v1/jobs?namespace=*"):
            self.server.delete(f"/v1/job/{job['ID'].replace('/', '%2F')}?purge=true&namespace={job['Namespace']}")
        until(
            lambda: not [a for a in self.server.get("/v1/allocations?namespace=*") if a["ClientStatus"] == "running"],
            "nothing runs",
        )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    agents = Agents(tmp_path_factory.mktemp("fleet"))
    try:
        yield Fleet(agents)
    finally:
        agents.end()


@pytest.fixture
def fleet(shared: Fleet) -> Iterator[Fleet]:
    yield shared
    shared.forget()


@pytest.fixture
def server(fleet: Fleet) -> AgentProcess:
    return fleet.server


def with_group(job: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**job, "TaskGroups": [{**job["TaskGroups"][0], **fields}]}


def asking(job: dict[str, Any], cpu: int) -> dict[str, Any]:
    """The job with another wish for CPU, in MHz."""
    job["TaskGroups"][0]["Tasks"][0]["Resources"] = {"CPU": cpu, "MemoryMB": 16}
    return job


def test_a_silent_agent_gets_a_stand_in_and_its_own_copy_back(fleet: Fleet, server: AgentProcess) -> None:
    rules = {"LostAfter": 600_000_000_000, "Replace": True, "Reconcile": "keep_original"}
    server.register(with_group(a_job("kept", FOREVER), Disconnect=rules))
    (before,) = server.wait_running("kept", 1)
    agent = fleet.nodes[fleet.name_of(before["NodeID"])]
    assert agent.process is not None
    agent.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: [a["ID"] for a in server.running("kept")] not in ([before["ID"]], []), "a stand-in runs")
        assert server.get(f"/v1/node/{before['NodeID']}")["Status"] == "disconnected"
        statuses = {a["ID"]: a["ClientStatus"] for a in server.allocs("kept")}
        assert statuses[before["ID"]] == "unknown"
    finally:
        agent.process.send_signal(signal.SIGCONT)
    until(lambda: [a["ID"] for a in server.running("kept")] == [before["ID"]], "the first copy is kept")
    triggers = [e["TriggeredBy"] for e in server.get("/v1/job/kept/evaluations")]
    assert "reconnect" in triggers and "max-disconnect-timeout" in triggers


def test_a_silent_agent_without_such_rules_is_down_and_its_copy_ends_when_it_is_back(
    fleet: Fleet, server: AgentProcess
) -> None:
    server.register(a_job("moved", FOREVER))
    (before,) = server.wait_running("moved", 1)
    agent = fleet.nodes[fleet.name_of(before["NodeID"])]
    assert agent.process is not None
    agent.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: [a["ID"] for a in server.running("moved")] not in ([before["ID"]], []), "it runs elsewhere")
        assert server.get(f"/v1/node/{before['NodeID']}")["Status"] == "down"
    finally:
        agent.process.send_signal(signal.SIGCONT)
    server.wait_nodes(3)
    until(
        lambda: server.get(f"/v1/allocation/{before['ID']}")["ClientStatus"] in ("complete", "failed"),
        "the lost copy has ended on its node",
    )
    assert len(server.running("moved")) == 1


def test_a_system_job_reaches_every_node_of_its_datacenters_and_one_that_joins(
    fleet: Fleet, server: AgentProcess
) -> None:
    server.register({**a_job("watch", FOREVER, job_type="system"), "Datacenters": ["dc1", "edge-*"]})
    until(lambda: fleet.where("watch") == ["a", "b"], "it runs in dc1")
    joining = fleet.agents.node(server, "late", config='datacenter = "edge-7"\n').start()
    try:
        until(lambda: fleet.where("watch") == ["a", "b", "late"], "it runs on the node that joined")
    finally:
        joining.terminate()
        until(lambda: len([n for n in server.get("/v1/nodes") if n["Status"] == "ready"]) == 3, "the node left")


def test_a_job_of_higher_priority_pushes_out_a_lower_one_if_the_operator_allows_it(
    fleet: Fleet, server: AgentProcess
) -> None:
    node = next(node["ID"] for node in server.get("/v1/nodes") if node["Name"] == "c")
    has = server.get(f"/v1/node/{node}")["NodeResources"]["Cpu"]["CpuShares"]
    most = int(has * 0.6)
    server.register({**asking(a_job("low", FOREVER), most), "Datacenters": ["dc2"], "Priority": 20})
    (victim,) = server.wait_running("low", 1)
    server.register({**asking(a_job("high", FOREVER), most), "Datacenters": ["dc2"], "Priority": 70})
    until(lambda: server.get("/v1/job/high/summary")["Summary"]["group"]["Queued"] == 1, "it waits")
    server.cli("operator", "scheduler", "set-config", "-preempt-service-scheduler=true", check=True)
    try:
        (winner,) = server.wait_running("high", 1)
        full = server.get(f"/v1/allocation/{victim['ID']}")
        assert full["DesiredStatus"] == "evict"
        assert full["PreemptedByAllocation"] == winner["ID"]
        assert server.get(f"/v1/allocation/{winner['ID']}")["PreemptedAllocations"] == [victim["ID"]]
        found = until(
            lambda: [e for e in server.get("/v1/job/low/evaluations") if e["TriggeredBy"] == "preemption"],
            "the job that lost it is looked at again",
        )
        assert found[0]["Status"] == "complete" and found[0]["BlockedEval"]
        assert "60" not in server.cli("job", "why", "high", check=True).stdout.split("running")[0]
    finally:
        server.cli("operator", "scheduler", "set-config", "-preempt-service-scheduler=false", check=True)


def test_a_failed_task_is_started_elsewhere_after_its_pause(fleet: Fleet, server: AgentProcess) -> None:
    policy = {"Delay": 5_000_000_000, "DelayFunction": "constant", "Unlimited": True, "MaxDelay": 60_000_000_000}
    restart = {"Attempts": 0, "Mode": "fail", "Interval": 5_000_000_000, "Delay": 1_000_000}
    job = with_group(a_job("fails", "exit 3", job_type="batch"), ReschedulePolicy=policy, RestartPolicy=restart)
    server.register(job)
    allocs = until(lambda: len(server.allocs("fails")) >= 2 and server.allocs("fails"), "a second attempt")
    first, second = sorted(allocs, key=lambda a: a["CreateIndex"])[:2]
    assert first["NextAllocation"] == second["ID"]
    assert second["NodeID"] != first["NodeID"], "the node where it failed is avoided"
    pause = (second["CreateTime"] - first["ModifyTime"]) / 1e9
    followup = server.get(f"/v1/evaluation/{first['FollowupEvalID']}")
    assert followup["TriggeredBy"] == "alloc-failure"
    assert pause < 30


def test_a_payload_and_meta_reach_the_task_and_a_token_makes_one_child(
    fleet: Fleet, server: AgentProcess, tmp_path: Path
) -> None:
    script = "cat ${NOMAD_TASK_DIR}/order.txt; echo; echo who=$NOMAD_META_who; exec sleep 300"
    job = a_job("orders", script, job_type="batch")
    job["ParameterizedJob"] = {"Payload": "required", "MetaRequired": ["who"]}
    job["TaskGroups"][0]["Tasks"][0]["DispatchPayload"] = {"File": "order.txt"}
    server.register(job)
    payload = tmp_path / "payload"
    payload.write_text("two of everything")
    words = ("job", "dispatch", "-detach", "-meta", "who=ann", "-idempotency-token", "t-1", "orders", str(payload))
    first, again = server.cli(*words, check=True).stdout, server.cli(*words, check=True).stdout
    child = first.split("Dispatched Job ID = ")[1].split()[0]
    assert child in again
    assert [stub["ID"] for stub in server.get("/v1/jobs?prefix=orders/")] == [child]
    (alloc,) = server.wait_running(child, 1)
    until(lambda: "who=ann" in server.logs(alloc["ID"], "main"), "it printed its payload")
    assert "two of everything" in server.logs(alloc["ID"], "main")


def test_dispatches_against_the_rules_say_which_rule(fleet: Fleet, server: AgentProcess, tmp_path: Path) -> None:
    job = a_job("orders", "true", job_type="batch")
    job["ParameterizedJob"] = {"MetaRequired": ["who"]}
    server.register(job)
    too_much = base64.b64encode(b"x" * 16_385).decode()
    for body, words in (
        ({}, ("who",)),
        ({"Meta": {"who": "1", "colour": "red"}}, ("colour",)),
        ({"Meta": {"who": "1"}, "Payload": too_much}, ("16385", "16384")),
    ):
        status, answer, _ = server.request("PUT", "/v1/job/orders/dispatch", body)
        assert status == 400 and all(word in answer.decode() for word in words), answer
    large = tmp_path / "large"
    large.write_bytes(b"x" * 16_385)
    refused = server.cli("job", "dispatch", "-meta", "who=1", "orders", str(large))
    assert refused.returncode == 1 and "16 KiB" in refused.stderr
    refused = server.cli("job", "dispatch", "orders")
    assert refused.returncode == 1 and "who" in refused.stderr
    assert server.get("/v1/jobs?prefix=orders/") == []


def test_a_dry_run_says_where_and_why_not_and_a_waiting_job_says_why(
    fleet: Fleet, server: AgentProcess, tmp_path: Path
) -> None:
    text = """
job "web" {{
  datacenters = ["*"]
  constraint {{
    attribute = "${{meta.rack}}"
    value     = "1"
  }}
  group "g" {{
    count = 2
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sleep"
        args    = ["1000"]
      }}
      resources {{
        cpu    = {cpu}
        memory = 16
      }}
    }}
  }}
}}
"""
    fits, huge = tmp_path / "fits.nomad.hcl", tmp_path / "huge.nomad.hcl"
    fits.write_text(text.format(cpu=20))
    huge.write_text(text.format(cpu=900_000))
    planned = server.cli("job", "plan", str(fits))
    assert planned.returncode == 1
    lines = [line.split() for line in planned.stdout.splitlines() if line.startswith("web.g[")]
    assert sorted((line[0], line[1] in ("a", "c")) for line in lines) == [("web.g[0]", True), ("web.g[1]", True)]
    refused = server.cli("job", "plan", "-why-not", "all", str(huge)).stdout
    assert "${meta.rack} = 1" in refused and "MHz of cpu short" in refused
    on_b = server.cli("job", "plan", "-why-not", "b", str(huge)).stdout
    assert "${meta.rack} = 1" in on_b and "MHz of cpu short" in on_b, "every failing check is listed"
    assert server.get("/v1/jobs") == [], "a dry run stores nothing"
    unknown = server.cli("job", "plan", "-why-not", "nowhere", str(fits))
    assert unknown.returncode == 255 and 'no node "nowhere"' in unknown.stderr
    server.cli("job", "run", "-detach", str(huge), check=True)
    until(lambda: server.get("/v1/job/web/evaluations?index=0")[0]["Status"] != "pending", "it was looked at")
    why = " ".join(server.cli("job", "why", "web", check=True).stdout.split())
    assert "0 of 2 running" in why and "nearest miss" in why and "cpu" in why
    evaluation = next(e for e in server.get("/v1/job/web/evaluations") if e["TriggeredBy"] == "job-register")
    shown = server.cli("eval", "status", evaluation["ID"], check=True).stdout
    assert "${meta.rack} = 1" in shown and '"cpu"' in shown
    server.cli("job", "run", "-detach", str(fits), check=True)
    (alloc, _) = server.wait_running("web", 2)
    assert "binpack" in server.cli("alloc", "status", "-verbose", alloc["ID"], check=True).stdout


def test_namespaces_are_made_listed_and_removed_and_keep_jobs_apart(fleet: Fleet, server: AgentProcess) -> None:
    server.cli("namespace", "apply", "-description", "the team's", "team", check=True)
    assert "the team's" in server.cli("namespace", "list", check=True).stdout
    server.register(a_job("web", FOREVER))
    server.put("/v1/jobs?namespace=team", {"Job": {**a_job("web", FOREVER, count=2), "Namespace": "team"}})
    server.wait_running("web", 1)
    until(
        lambda: len([a for a in server.get("/v1/allocations?namespace=team") if a["ClientStatus"] == "running"]) == 2,
        "two run in the namespace",
    )
    assert [job["Namespace"] for job in server.get("/v1/jobs")] == ["default"]
    assert sorted(job["Namespace"] for job in server.get("/v1/jobs?namespace=*")) == ["default", "team"]
    refused = server.cli("namespace", "delete", "team")
    assert refused.returncode == 1 and "web" in refused.stderr
    server.cli("job", "stop", "-purge", "-namespace", "team", "web", check=True)
    server.cli("namespace", "delete", "team", check=True)
    status, answer, _ = server.request(
        "PUT", "/v1/jobs?namespace=team", {"Job": {**a_job("web", FOREVER), "Namespace": "team"}}
    )
    assert status == 500 and b"nonexistent namespace" in answer
    assert len(server.running("web")) == 1


def test_a_paused_broker_places_nothing_and_shut_doors_refuse(fleet: Fleet, server: AgentProcess) -> None:
    server.cli("operator", "scheduler", "set-config", "-pause-eval-broker=true", check=True)
    try:
        server.register(a_job("waits", FOREVER))
        server.cli("operator", "scheduler", "set-config", "-reject-job-registration=true", check=True)
        status, answer, _ = server.request("PUT", "/v1/jobs", {"Job": a_job("late", FOREVER)})
        assert status == 403 and b"reject" in answer
        assert server.allocs("waits") == []
    finally:
        server.cli(
            "operator",
            "scheduler",
            "set-config",
            "-pause-eval-broker=false",
            "-reject-job-registration=false",
            check=True,
        )
    server.wait_running("waits", 1)


SPREAD = {"Attribute": "${node.datacenter}", "Weight": 50}


@pytest.mark.parametrize(
    ("change", "group", "words"),
    [
        ({}, {"Count": 50_001}, ["50001", "50000"]),
        ({}, {"Count": -1}, ["-1"]),
        ({}, {"Count": 1.5}, ["Count"]),
        ({}, {"Count": float("nan")}, ["JSON"]),
        ({}, {"Tasks": []}, ["at least one task"]),
        ({"TaskGroups": []}, {}, ["at least one group"]),
        (
            {"Spreads": [{**SPREAD, "SpreadTarget": [{"Value": "x", "Percent": 60}, {"Value": "y", "Percent": 60}]}]},
            {},
            ["120 percent"],
        ),
        ({"Spreads": [{**SPREAD, "Weight": 101}]}, {}, ["weight", "101"]),
        ({"Affinities": [{"LTarget": "${node.class}", "RTarget": "x", "Operand": "=", "Weight": -101}]}, {}, ["-101"]),
        ({"Affinities": [{"LTarget": "${node.class}", "RTarget": "x", "Operand": "=", "Weight": 0}]}, {}, ["not 0"]),
        ({"Constraints": [{"LTarget": "${node.class}", "RTarget": "([", "Operand": "regexp"}]}, {}, ["(["]),
        ({"Constraints": [{"LTarget": "${node.class}", "RTarget": "abc", "Operand": "version"}]}, {}, ["abc"]),
        ({"Constraints": [{"LTarget": "${node.class}", "RTarget": "1.x", "Operand": "semver"}]}, {}, ["1.x"]),
        ({"Type": "batch", "Periodic": {"Specs": ["0 0 31 2 *"]}}, {}, ["31 2", "never"]),
        ({"Priority": 101}, {}, ["101"]),
    ],
)
def test_a_bad_job_is_refused_with_its_reason_and_changes_nothing(
    fleet: Fleet, server: AgentProcess, change: dict[str, Any], group: dict[str, Any], words: list[str]
) -> None:
    job = {**with_group(a_job("bad", FOREVER), **group), **change}
    status, answer, _ = server.request("PUT", "/v1/jobs", {"Job": job})
    assert status in (400, 500)
    assert all(word in answer.decode() for word in words), answer
    assert server.get("/v1/jobs") == []


def test_a_job_id_that_differs_from_the_path_is_refused(fleet: Fleet, server: AgentProcess) -> None:
    status, answer, _ = server.request("PUT", "/v1/job/one", {"Job": a_job("other", FOREVER)})
    assert status == 400 and b"other" in answer and b"one" in answer
    assert server.get("/v1/jobs") == []
