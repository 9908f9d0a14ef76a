"""Commands that show things, each against its transcript."""

from __future__ import annotations

import json
from typing import Any

import pytest

ALLOC = "a1b2c3d4"
READERS = {
    "version": ("version",),
    "job-status-list": ("job", "status"),
    "job-status": ("job", "status", "web"),
    "job-status-short": ("job", "status", "-short", "web"),
    "job-status-evals": ("job", "status", "-evals", "-verbose", "web"),
    "job-allocs": ("job", "allocs", "web"),
    "job-deployments": ("job", "deployments", "web"),
    "job-why": ("job", "why", "web"),
    "job-inspect": ("job", "inspect", "-t", "{{.ID}} {{range .TaskGroups}}{{.Name}}={{.Count}}{{end}}", "web"),
    "alloc-status": ("alloc", "status", ALLOC),
    "alloc-status-short": ("alloc", "status", "-short", ALLOC),
    "alloc-status-verbose": ("alloc", "status", "-verbose", ALLOC),
    "node-status-list": ("node", "status"),
    "node-status-list-wide": ("node", "status", "-allocs", "-os", "-verbose"),
    "node-status": ("node", "status", "beef"),
    "node-status-by-name": ("node", "status", "-short", "n1"),
    "eval-list": ("eval", "list"),
    "eval-status": ("eval", "status", "e0e0"),
    "deployment-list": ("deployment", "list"),
    "deployment-status": ("deployment", "status", "d0d0"),
}


@pytest.mark.parametrize("name", sorted(READERS))
def test_what_a_command_prints_is_as_recorded(name: str, cluster: Any, transcript: Any) -> None:
    assert transcript(name, *READERS[name]).code == 0


FAILURES = {
    "error-no-such-job": ("job", "status", "nothing"),
    "error-ambiguous-alloc": ("alloc", "status", "a1b2"),
    "error-bad-alloc-id": ("alloc", "status", "zzz"),
    "error-no-such-node": ("node", "status", "n9"),
    "error-unknown-verb": ("job", "statsu"),
    "error-unknown-flag": ("job", "status", "-jsn"),
    "error-json-and-template": ("job", "status", "-json", "-t", "{{.}}"),
    "error-bad-template": ("job", "status", "-t", "{{ lookup .ID }}"),
    "error-no-task": ("alloc", "logs", ALLOC),
    "error-wrong-task": ("alloc", "logs", ALLOC, "nope"),
}


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_a_failure_says_what_why_and_how_to_mend_it(name: str, cluster: Any, transcript: Any) -> None:
    result = transcript(name, *FAILURES[name])
    assert result.code == 1
    assert result.out == ""


def test_json_is_what_the_api_gave(cluster: Any, rove: Any) -> None:
    result = rove("job", "status", "--json", "web")
    assert json.loads(result.out)["TaskGroups"][0]["Count"] == 2


def test_an_odd_id_prefix_is_cut_for_the_api_and_still_decides(cluster: Any, rove: Any) -> None:
    assert rove("alloc", "status", "-short", "a1b2c").code == 0
    assert cluster.sent("GET", "/v1/allocations").params["prefix"] == "a1b2"


def test_a_job_is_asked_for_in_the_namespace_it_was_found_in(cluster: Any, rove: Any) -> None:
    stub = cluster.routes["GET /v1/jobs"]

    def elsewhere(call: Any) -> Any:
        return [{**each, "Namespace": "prod", "JobSummary": {"Namespace": "prod"}} for each in stub(call)]

    cluster.on("GET /v1/jobs", elsewhere)
    rove("job", "status", "web", "-namespace", "*")
    assert cluster.sent("GET", "/v1/jobs").params["namespace"] == "*"
    assert cluster.sent("GET", "/v1/job/web").params["namespace"] == "prod"


def test_an_empty_cluster_says_so(agent: Any, rove: Any) -> None:
    agent.on("GET /v1/jobs", [])
    agent.on("GET /v1/nodes", [])
    assert rove("job", "status").out == "No jobs are registered\n"
    assert rove("node", "status").out == "No nodes\n"


def test_a_name_with_control_characters_cannot_write_to_the_terminal(agent: Any, rove: Any) -> None:
    agent.on("GET /v1/jobs", [{"ID": "web\x1b[2J", "Type": "service", "Status": "running"}])
    assert "\x1b" not in rove("job", "status").out


def test_status_of_a_prefix_finds_the_kind_of_thing(cluster: Any, rove: Any) -> None:
    cluster.on("PUT /v1/search", {"Matches": {"jobs": [], "nodes": ["beef0001-0000-4000-8000-000000000001"]}})
    assert "n1" in rove("status", "beef").out
    cluster.on("PUT /v1/search", {"Matches": {"jobs": ["web"], "nodes": ["beef0001-0000-4000-8000-000000000001"]}})
    result = rove("status", "w")
    assert result.code == 1
    assert "could be any of these" in result.err


def test_members_show_who_leads(agent: Any, transcript: Any) -> None:
    tags = {"region": "global", "port": "4647", "dc": "dc1", "build": "0.1.0", "raft_vsn": "3"}
    member = {"Name": "s1.global", "Addr": "10.0.0.1", "Port": 4648, "Status": "alive", "Tags": tags}
    other = {**member, "Name": "s2.global", "Addr": "10.0.0.2"}
    agent.on("GET /v1/agent/members", {"Members": [other, member]})
    agent.on("GET /v1/status/leader", "10.0.0.1:4647")
    assert transcript("server-members", "server", "members").code == 0


def test_a_job_that_cannot_be_placed_says_why(cluster: Any, transcript: Any) -> None:
    metric = {
        "NodesEvaluated": 3, "NodesExhausted": 2, "NodesAvailable": {"dc1": 3}, "CoalescedFailures": 1,
        "ConstraintFiltered": {"${attr.kernel.name} = windows": 1}, "DimensionExhausted": {"memory": 2},
    }  # fmt: skip
    evaluation = cluster.routes["GET /v1/job/web/evaluations"][0]
    failing = {**evaluation, "FailedTGAllocs": {"api": metric}, "BlockedEval": "bb00aaaa-0000-4000-8000-000000000001"}
    blocked = {**evaluation, "ID": failing["BlockedEval"], "Status": "blocked", "CreateIndex": 21}
    cluster.on("GET /v1/job/web/evaluations", [blocked, failing])
    cluster.on("GET /v1/job/web/allocations", [])
    cluster.on("GET /v1/job/web/deployment", None)
    assert transcript("job-status-unplaced", "job", "status", "web").code == 0
    assert transcript("job-why-unplaced", "job", "why", "web").code == 0
