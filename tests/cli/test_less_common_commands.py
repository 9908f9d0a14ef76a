"""Commands that are used now and then, each against its transcript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NODE_ID = "beef0001-0000-4000-8000-000000000001"
ALLOC_ID = "a1b2c3d4-0000-4000-8000-000000000001"
WHEN_NS = 1_700_000_000 * 10**9

INSTANCE = {
    "ID": "_nomad-task-a1b2c3d4-server-web-http", "ServiceName": "web", "JobID": "web", "AllocID": ALLOC_ID,
    "NodeID": NODE_ID, "Address": "10.0.0.5", "Port": 20123, "Tags": ["v1", "blue"],
}  # fmt: skip
CHECK = {
    "ID": "c1", "Mode": "healthiness", "Status": "failure", "StatusCode": 503, "Output": "not\nyet", "Check": "alive",
    "Service": "web",
}  # fmt: skip
PEER = {"ID": "1", "Node": "s1.global", "Address": "10.0.0.1:4647", "Leader": True, "Voter": True}
EVENT = {"Count": 5, "PreviousCount": 2, "Error": False, "Message": "more", "Time": WHEN_NS, "EvalID": ALLOC_ID}
HEALTH = {"Name": "s1", "Address": "10.0.0.1:4647", "SerfStatus": "alive", "Healthy": True, "Leader": True}
POOL = {"Name": "gpu", "Description": "the expensive ones", "Meta": {"owner": "ml"}}
SCALE = {"TaskGroups": {"api": {"Events": [EVENT]}}}
POLICY = {
    "ID": "5ca1ab1e-0000-4000-8000-000000000001", "Enabled": True, "Type": "horizontal", "Min": 1, "Max": 9,
    "Target": {"Namespace": "default", "Job": "web", "Group": "api"}, "Policy": {"cooldown": "1m"},
    "CreateIndex": 12, "ModifyIndex": 30,
}  # fmt: skip
SELF = {"stats": {"nomad": {"leader": "true"}, "client": {"node_id": "x"}}}
VARIABLE = {"Namespace": "default", "Path": "app/db", "Items": {"user": "x"}, "ModifyIndex": 5, "ModifyTime": WHEN_NS}
META = {"Meta": {"rack": "r2"}, "Dynamic": {"rack": "r2"}, "Static": {"rack": "r1"}}

COMMANDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "service-list": (
        ("service", "list"),
        {"GET /v1/services": [{"Namespace": "default", "Services": [{"ServiceName": "web", "Tags": ["v1", "blue"]}]}]},
    ),
    "service-info": (("service", "info", "web"), {"GET /v1/service/web": [INSTANCE]}),
    "service-delete": (("service", "delete", "web", "i1"), {"DELETE /v1/service/web/i1": {}}),
    "alloc-checks": (("alloc", "checks", "a1b2c3d4"), {f"GET /v1/client/allocation/{ALLOC_ID}/checks": {"c1": CHECK}}),
    "var-list": (("var", "list", "app/"), {"GET /v1/vars": [VARIABLE]}),
    "var-get": (("var", "get", "app/db"), {"GET /v1/var/app/db": VARIABLE}),
    "var-get-hcl": (("var", "get", "-out", "hcl", "app/db"), {"GET /v1/var/app/db": VARIABLE}),
    "var-purge": (("var", "purge", "app/db"), {"DELETE /v1/var/app/db": None}),
    "node-meta-read": (("node", "meta", "read", "-node-id", "beef"), {"GET /v1/client/metadata": META}),
    "node-pool-list": (("node", "pool", "list"), {"GET /v1/node/pools": [POOL]}),
    "node-pool-info": (("node", "pool", "info", "gpu"), {"GET /v1/node/pool/gpu": POOL}),
    "node-pool-nodes": (("node", "pool", "nodes", "gpu"), {"GET /v1/node/pool/gpu/nodes": []}),
    "node-pool-jobs": (
        ("node", "pool", "jobs", "gpu"),
        {"GET /v1/node/pool/gpu/jobs": [{"ID": "web", "Type": "service", "Priority": 50, "Status": "running"}]},
    ),
    "node-pool-delete": (("node", "pool", "delete", "gpu"), {"DELETE /v1/node/pool/gpu": {}}),
    "namespace-list": (("namespace", "list"), {"GET /v1/namespaces": [{"Name": "default", "Description": ""}]}),
    "namespace-status": (
        ("namespace", "status", "prod"),
        {
            "GET /v1/namespace/prod": {
                "Name": "prod",
                "Meta": {"a": "b"},
                "Capabilities": {"DisabledTaskDrivers": ["x"]},
            }
        },
    ),
    "namespace-delete": (("namespace", "delete", "prod"), {"DELETE /v1/namespace/prod": None}),
    "raft-list-peers": (
        ("operator", "raft", "list-peers"),
        {"GET /v1/operator/raft/configuration": {"Servers": [PEER, {**PEER, "Leader": False, "Node": "s2.global"}]}},
    ),
    "autopilot-health": (
        ("operator", "autopilot", "health"),
        {"GET /v1/operator/autopilot/health": {"Healthy": True, "FailureTolerance": 1, "Servers": [HEALTH]}},
    ),
    "scaling-events": (("job", "scaling-events", "web"), {"GET /v1/job/web/scale": SCALE}),
    "scaling-policy-list": (("scaling", "policy", "list"), {"GET /v1/scaling/policies": [POLICY]}),
    "scaling-policy-info": (
        ("scaling", "policy", "info", "5ca1"),
        {"GET /v1/scaling/policies": [POLICY], f"GET /v1/scaling/policy/{POLICY['ID']}": POLICY},
    ),
    "agent-info": (("agent-info",), {"GET /v1/agent/self": SELF}),
    "server-join": (("server", "join", "a", "b"), {"PUT /v1/agent/join": {"num_joined": 2, "error": ""}}),
    "server-force-leave": (("server", "force-leave", "s9"), {"PUT /v1/agent/force-leave": None}),
    "metrics": (("operator", "metrics"), {"GET /v1/metrics": {"Gauges": []}}),
    "deployment-follow": (
        ("deployment", "status", "-monitor", "d0d0"),
        {"GET /v1/deployment/d0d0bbbb-0000-4000-8000-000000000001": "turns"},
    ),
    "eval-follow": (("eval", "status", "-monitor", "e0e0"), {}),
    "reconcile": (("system", "reconcile", "summaries"), {"PUT /v1/system/reconcile/summaries": None}),
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_what_a_command_prints_is_as_recorded(name: str, cluster: Any, answers: Any, transcript: Any) -> None:
    args, routes = COMMANDS[name]
    for route, value in routes.items():
        if value == "turns":
            done, running = cluster.routes[route], cluster.routes["GET /v1/job/web/deployment"]
            value = answers.Turns(running, answers.Answer(running, index=8), answers.Answer(done, index=9))
        cluster.on(route, value)
    assert transcript(name, *args).code == 0


def test_a_periodic_job_shows_what_it_launched(cluster: Any, transcript: Any) -> None:
    job = {**cluster.routes["GET /v1/job/web"], "Periodic": {"Spec": "@daily"}, "Type": "batch"}
    child = {"ID": "web/periodic-1700000000", "ParentID": "web", "Status": "dead", "Stop": False}
    stubs: Callable[[Any], Any] = cluster.routes["GET /v1/jobs"]

    def jobs(call: Any) -> Any:
        return [child] if "periodic" in call.params.get("prefix", "") else stubs(call)

    cluster.on("GET /v1/jobs", jobs)
    cluster.on("GET /v1/job/web", job)
    cluster.on("GET /v1/job/web/summary", {"Summary": {}, "Children": {"Pending": 0, "Running": 0, "Dead": 1}})
    assert transcript("job-status-periodic", "job", "status", "web").code == 0


@pytest.mark.parametrize(
    ("periodic", "words"),
    [
        ({"Spec": "30 6 * * *", "TimeZone": "America/New_York"}, "2023-11-15T11:30:00Z"),
        ({"Specs": ["0 0 1 1 * 2000"]}, "never again"),
        ({"Spec": "@daily", "Enabled": False}, "not enabled"),
        ({"Spec": "@daily", "TimeZone": "Local"}, "of the servers"),
        ({"Spec": "@daily", "TimeZone": "Nowhere/Else"}, "unknown"),
    ],
)
def test_a_periodic_job_shows_when_it_is_launched_next(cluster: Any, rove: Any, periodic: Any, words: str) -> None:
    job = {**cluster.routes["GET /v1/job/web"], "Periodic": periodic, "Type": "batch"}
    cluster.on("GET /v1/job/web", job)
    cluster.on("GET /v1/job/web/summary", {"Summary": {}, "Children": {}})
    shown = rove("job", "status", "web").out
    assert words in next(line for line in shown.splitlines() if line.startswith("Next Launch"))
    cluster.on("GET /v1/job/web", {**job, "Stop": True})
    assert "Next Launch" not in rove("job", "status", "web").out


def test_a_tag_needs_a_name(cluster: Any, rove: Any) -> None:
    for verb in ("apply", "unset"):
        result = rove("job", "tag", verb, "-name", "", "web")
        assert result.code == 1
        assert "a name is needed" in result.err
    assert cluster.calls == []


def test_a_namespace_file_says_which_drivers_and_networks_are_allowed(agent: Any, rove: Any, tmp_path: Path) -> None:
    agent.on("PUT /v1/namespace", None)
    file = tmp_path / "ns.hcl"
    file.write_text(
        'name = "prod"\ncapabilities {\n  enabled_task_drivers = ["docker"]\n  disabled_network_modes = ["host"]\n}\n'
    )
    assert rove("namespace", "apply", str(file)).code == 0
    sent = agent.sent("PUT", "/v1/namespace").body["Capabilities"]
    assert {key: value for key, value in sent.items() if value} == {
        "EnabledTaskDrivers": ["docker"],
        "DisabledNetworkModes": ["host"],
    }


def test_the_meta_of_a_node_is_changed(cluster: Any, rove: Any) -> None:
    cluster.on("PUT /v1/client/metadata", {})
    cluster.on("POST /v1/client/metadata", {})
    assert rove("node", "meta", "apply", "-node-id", "beef", "-unset", "old", "rack=r2").code == 0
    sent = [call for call in cluster.calls if call.path == "/v1/client/metadata"][-1]
    assert sent.body == {"NodeID": NODE_ID, "Meta": {"old": None, "rack": "r2"}}
    assert rove("node", "meta", "apply").code == 1


def test_a_pool_is_made_from_a_file(agent: Any, rove: Any, tmp_path: Path) -> None:
    agent.on("PUT /v1/node/pools", {})
    file = tmp_path / "pool.hcl"
    file.write_text('node_pool "gpu" {\n  description = "x"\n  meta {\n    owner = "ml"\n  }\n}\n')
    assert rove("node", "pool", "apply", str(file)).code == 0
    sent = agent.sent("PUT", "/v1/node/pools").body
    assert sent == {"Name": "gpu", "Description": "x", "Meta": {"owner": "ml"}}


def test_a_snapshot_is_for_its_owner_only(agent: Any, answers: Any, rove: Any, tmp_path: Path) -> None:
    agent.on("GET /v1/operator/snapshot", answers.Answer(b"state" * 1000))
    file = tmp_path / "state.snap"
    assert rove("operator", "snapshot", "save", str(file)).code == 0
    assert file.read_bytes() == b"state" * 1000
    assert file.stat().st_mode & 0o077 == 0
    assert rove("operator", "snapshot", "save", str(file)).code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.snap"]


def test_a_snapshot_that_fails_leaves_nothing(agent: Any, answers: Any, rove: Any, tmp_path: Path) -> None:
    agent.on("GET /v1/operator/snapshot", answers.Answer("snapshots are not built", 501))
    result = rove("operator", "snapshot", "save", str(tmp_path / "state.snap"))
    assert result.code == 1
    assert "snapshots are not built" in result.err
    assert list(tmp_path.iterdir()) == []


def test_joining_that_fails_is_an_error(agent: Any, rove: Any) -> None:
    agent.on("PUT /v1/agent/join", {"num_joined": 0, "error": "no route"})
    result = rove("server", "join", "a")
    assert result.code == 1
    assert "no route" in result.err


def test_the_shell_completes_verbs_and_ids(cluster: Any, rove_command: list[str]) -> None:
    import os
    import subprocess

    cluster.on("PUT /v1/search", {"Matches": {"jobs": ["web", "webhook"]}})

    def completed(words: str) -> list[str]:
        env = {**os.environ, "ROVE_ADDR": cluster.address, "_ROVE_COMPLETE": "bash_complete"}
        env |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        done = subprocess.run(rove_command, env=env, capture_output=True, text=True, check=False, timeout=60)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("rove job st") == ["status", "stop", "start"]
    assert "deployment" in completed("rove d")
    assert completed("rove job status we") == ["web", "webhook"]
