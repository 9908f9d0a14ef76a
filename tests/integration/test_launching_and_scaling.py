"""Dispatched runs, scaling, and the settings of the scheduler, on a real agent."""

from __future__ import annotations

import base64
import json
from typing import Any

from .conftest import Agents, a_job, until


def a_template(**rules: Any) -> dict[str, Any]:
    """A parameterized job whose task prints its payload and meta."""
    script = 'cat local/in/data; echo "<$NOMAD_META_who><$NOMAD_META_why>"'
    job = a_job("work", script, job_type="batch")
    job["ParameterizedJob"] = {"Payload": "optional", "MetaRequired": ["who"], "MetaOptional": ["why"], **rules}
    job["TaskGroups"][0]["Tasks"][0]["DispatchPayload"] = {"File": "in/data"}
    return job


def test_a_run_is_dispatched_with_payload_and_meta(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    assert agent.register(a_template())["EvalID"] == ""
    done = agent.cli(
        "job", "dispatch", "-detach", "-meta", "who=me", "-id-prefix-template", "night", "work", "-",
        stdin="hello ", check=True,
    )  # fmt: skip
    assert "Dispatched Job ID" in done.stdout
    [child] = agent.get("/v1/jobs?prefix=work/dispatch-")
    assert child["ID"].startswith("work/dispatch-night-")
    assert child["ParentID"] == "work"

    def ended() -> dict[str, Any] | None:
        found = [a for a in agent.allocs(child["ID"]) if a["ClientStatus"] == "complete"]
        return found[0] if found else None

    allocation = until(ended, "the run has ended")
    until(lambda: agent.logs(allocation["ID"], "main") == "hello <me><>\n", "payload and meta have arrived")
    until(lambda: agent.get("/v1/job/work/summary")["Children"] == {"Pending": 0, "Running": 0, "Dead": 1}, "it counts")
    assert agent.get("/v1/job/work")["Status"] == "running"


def test_the_same_token_dispatches_once(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    agent.register(a_template(MetaRequired=[]))
    path = "/v1/job/work/dispatch?idempotency_token=abc"
    first, second = agent.put(path, {}), agent.put(path, {})
    assert first["DispatchedJobID"] == second["DispatchedJobID"]
    other = agent.put("/v1/job/work/dispatch?idempotency_token=def", {"Priority": 77})
    assert other["DispatchedJobID"] != first["DispatchedJobID"]
    assert agent.get(f"/v1/job/{other['DispatchedJobID'].replace('/', '%2F')}")["Priority"] == 77


def test_dispatches_that_the_job_does_not_allow_are_refused(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    agent.register(a_template(Payload="forbidden"))
    agent.register({**a_template(Payload="required", MetaRequired=[]), "ID": "must"})
    agent.register(a_job("plain", "exec sleep 1000"))
    large = base64.b64encode(b"x" * (16 * 1024 + 1)).decode()
    small = base64.b64encode(b"x").decode()
    for job, body, words in (
        ("work", {}, "who"),
        ("work", {"Meta": {"who": "me", "else": "x"}}, "else"),
        ("work", {"Meta": {"who": "me"}, "Payload": small}, "takes no payload"),
        ("must", {}, "payload"),
        ("must", {"Payload": large}, "ayload"),
        ("must", {"Payload": small, "IdPrefixTemplate": "a b"}, "prefix"),
        ("must", {"Payload": small, "Priority": 101}, "priority"),
        ("must", {"Payload": "not base64!"}, ""),
        ("must", {"JobID": "another", "Payload": small}, "another"),
        ("plain", {}, "parameterized"),
        ("nothing", {}, "not found"),
    ):
        status, answer, _ = agent.request("PUT", f"/v1/job/{job}/dispatch", body)
        assert 400 <= status < 500, (job, body, status, answer)
        assert words in answer.decode(), (words, answer)
    assert agent.get("/v1/jobs?prefix=work/") == []


def test_a_group_is_scaled_and_its_events_are_kept(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    quick = {"MaxParallel": 5, "MinHealthyTime": 0, "HealthCheck": "task_states"}
    agent.register(a_job("web", "exec sleep 1000", count=1, Update=quick))
    agent.wait_running("web", 1)
    until(lambda: agent.get("/v1/job/web/deployment")["Status"] == "successful", "it is rolled out")
    agent.cli("job", "scale", "-detach", "web", "group", "3", check=True)
    agent.wait_running("web", 3)
    until(lambda: agent.get("/v1/job/web/deployment")["Status"] == "successful", "it is scaled")
    agent.cli("job", "scale", "-detach", "web", "group", "1", check=True)
    agent.wait_running("web", 1)
    events = agent.get("/v1/job/web/scale")["TaskGroups"]["group"]["Events"]
    assert [(event["PreviousCount"], event["Count"]) for event in events] == [(3, 1), (1, 3)]
    for count in (-1, 50_001, "two", 1.5):
        body = {"Count": count, "Target": {"Group": "group"}}
        status, answer, _ = agent.request("PUT", "/v1/job/web/scale", body)
        assert 400 <= status < 500, (count, status, answer)
    assert agent.get("/v1/job/web")["TaskGroups"][0]["Count"] == 1


def test_the_scheduler_is_set_and_the_system_cleaned_up(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    shown = agent.cli("operator", "scheduler", "get-config", "-json", check=True).stdout
    assert json.loads(shown)["SchedulerConfig"]["SchedulerAlgorithm"] == "binpack"
    agent.cli("operator", "scheduler", "set-config", "-scheduler-algorithm=spread", check=True)
    assert agent.get("/v1/operator/scheduler/configuration")["SchedulerConfig"]["SchedulerAlgorithm"] == "spread"
    agent.register(a_job("once", "exit 0", job_type="batch"))
    until(lambda: agent.get("/v1/job/once")["Status"] == "dead", "it has run")
    agent.cli("system", "reconcile", "summaries", check=True)
    agent.cli("system", "gc", check=True)
    until(lambda: agent.request("GET", "/v1/job/once")[0] == 404, "it is forgotten")
