from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

ALLOC_ID = "a1b2c3d4-0000-4000-8000-000000000001"
NODE_ID = "beef0001-0000-4000-8000-000000000001"
EVAL_ID = "e0e0aaaa-0000-4000-8000-000000000001"
DEPLOYMENT_ID = "d0d0bbbb-0000-4000-8000-000000000001"
DONE = {"EvalID": EVAL_ID}


def test_a_job_is_stopped_and_followed(cluster: Any, transcript: Any) -> None:
    cluster.on("DELETE /v1/job/web", DONE)
    assert transcript("job-stop", "job", "stop", "web").code == 0
    assert cluster.sent("DELETE", "/v1/job/web").params["purge"] == "false"


def test_a_purge_says_so_to_the_api(cluster: Any, rove: Any) -> None:
    cluster.on("DELETE /v1/job/web", DONE)
    result = rove("job", "stop", "-purge", "-detach", "-global", "-no-shutdown-delay", "web")
    assert result.out == f"{EVAL_ID}\n"
    params = cluster.sent("DELETE", "/v1/job/web").params
    assert (params["purge"], params["global"], params["no_shutdown_delay"]) == ("true", "true", "true")


def test_a_job_named_by_its_beginning_is_stopped_only_after_a_yes(cluster: Any, rove: Any) -> None:
    cluster.on("DELETE /v1/job/web", DONE)
    assert rove("job", "stop", "-detach", "we").code != 0
    assert not [call for call in cluster.calls if call.method == "DELETE"]
    assert rove("job", "stop", "-detach", "-yes", "we").code == 0


def test_an_allocation_is_stopped_restarted_and_signalled(cluster: Any, rove: Any) -> None:
    cluster.on(f"PUT /v1/allocation/{ALLOC_ID}/stop", DONE)
    cluster.on(f"PUT /v1/client/allocation/{ALLOC_ID}/restart", {})
    cluster.on(f"PUT /v1/client/allocation/{ALLOC_ID}/signal", {})
    assert rove("alloc", "stop", "-detach", "a1b2c3d4").out == f"{EVAL_ID}\n"
    assert rove("alloc", "restart", "a1b2c3d4", "server").code == 0
    sent = cluster.sent("PUT", f"/v1/client/allocation/{ALLOC_ID}/restart").body
    assert sent == {"TaskName": "server", "AllTasks": False}
    assert rove("alloc", "restart", "-all-tasks", "a1b2c3d4").code == 0
    assert rove("alloc", "signal", "-s", "SIGHUP", "a1b2c3d4", "server").code == 0
    sent = cluster.sent("PUT", f"/v1/client/allocation/{ALLOC_ID}/signal").body
    assert sent == {"Task": "server", "Signal": "SIGHUP"}


def test_a_task_that_is_not_there_is_not_restarted(cluster: Any, rove: Any) -> None:
    result = rove("alloc", "restart", "-task", "nope", "a1b2c3d4")
    assert result.code == 1
    assert "server, warm" in result.err
    assert not [call for call in cluster.calls if call.method == "PUT"]


def test_a_node_is_drained_to_the_end(cluster: Any, answers: Any, transcript: Any) -> None:
    node = cluster.routes[f"GET /v1/node/{NODE_ID}"]
    alloc = cluster.routes[f"GET /v1/node/{NODE_ID}/allocations"][0]
    moving = {**alloc, "DesiredTransition": {"Migrate": True}}
    gone = {**moving, "DesiredStatus": "stop", "ClientStatus": "complete"}
    cluster.on(f"PUT /v1/node/{NODE_ID}/drain", {"NodeModifyIndex": 40})
    cluster.on(
        f"GET /v1/node/{NODE_ID}",
        answers.Turns(
            answers.Answer({**node, "DrainStrategy": {"Deadline": 1}}, index=41),
            answers.Answer({**node, "DrainStrategy": {"Deadline": 1}}, index=42),
            answers.Answer(node, index=43),
        ),
    )
    cluster.on(f"GET /v1/node/{NODE_ID}/allocations", answers.Turns([alloc], [alloc], [moving], [gone]))
    assert transcript("node-drain", "node", "drain", "-enable", "-yes", "-m", "disk", "beef").code == 0
    body = cluster.sent("PUT", f"/v1/node/{NODE_ID}/drain").body
    assert body["DrainSpec"] == {"Deadline": 3600 * 10**9, "IgnoreSystemJobs": False}
    assert body["Meta"] == {"message": "disk"}


def test_a_move_that_is_over_by_the_first_look_at_a_drain_is_told(cluster: Any, answers: Any, rove: Any) -> None:
    alloc = cluster.routes[f"GET /v1/node/{NODE_ID}/allocations"][0]
    gone = {**alloc, "DesiredTransition": {"Migrate": True}, "DesiredStatus": "stop", "ClientStatus": "complete"}
    cluster.on(f"PUT /v1/node/{NODE_ID}/drain", {"NodeModifyIndex": 40})
    cluster.on(f"GET /v1/node/{NODE_ID}/allocations", answers.Turns([alloc], [gone]))
    result = rove("node", "drain", "-enable", "-yes", "beef")
    assert 'Allocation "a1b2c3d4" of job "web": complete, wanted: stop' in result.out


def test_a_drain_is_looked_at_without_waiting_for_the_node_to_change(cluster: Any, answers: Any, rove: Any) -> None:
    node = cluster.routes[f"GET /v1/node/{NODE_ID}"]
    draining = {**node, "DrainStrategy": {"Deadline": 1}}
    cluster.on(f"PUT /v1/node/{NODE_ID}/drain", {"NodeModifyIndex": 40})
    cluster.on(f"GET /v1/node/{NODE_ID}", answers.Turns(draining, draining, node))
    assert rove("node", "drain", "-enable", "-yes", "beef").code == 0
    looks = [call for call in cluster.calls if call.path == f"/v1/node/{NODE_ID}"]
    assert len(looks) >= 3
    assert all("index" not in call.params and "wait" not in call.params for call in looks)
    assert rove.slept == [0.5] * len(rove.slept) != []


@pytest.mark.parametrize(
    ("flags", "spec"),
    [
        (["-force"], {"Deadline": -1, "IgnoreSystemJobs": False}),
        (["-no-deadline", "-ignore-system"], {"Deadline": 0, "IgnoreSystemJobs": True}),
        (["-deadline", "1m30s"], {"Deadline": 90 * 10**9, "IgnoreSystemJobs": False}),
    ],
)
def test_the_time_a_drain_has_is_sent(flags: list[str], spec: dict[str, Any], cluster: Any, rove: Any) -> None:
    cluster.on(f"PUT /v1/node/{NODE_ID}/drain", {})
    assert rove("node", "drain", "-enable", "-yes", "-detach", *flags, "beef").code == 0
    assert cluster.sent("PUT", f"/v1/node/{NODE_ID}/drain").body["DrainSpec"] == spec


def test_a_drain_is_ended(cluster: Any, rove: Any) -> None:
    cluster.on(f"PUT /v1/node/{NODE_ID}/drain", {})
    assert rove("node", "drain", "-disable", "beef").code == 0
    body = cluster.sent("PUT", f"/v1/node/{NODE_ID}/drain").body
    assert body["DrainSpec"] is None
    assert body["MarkEligible"] is True
    assert rove("node", "drain", "-disable", "-keep-ineligible", "beef").code == 0
    assert cluster.sent("PUT", f"/v1/node/{NODE_ID}/drain").body["MarkEligible"] is False


@pytest.mark.parametrize("flags", [[], ["-enable", "-disable"], ["-enable", "-force", "-no-deadline"]])
def test_contradictions_are_refused(flags: list[str], cluster: Any, rove: Any) -> None:
    assert rove("node", "drain", *flags, "beef").code == 1
    assert not [call for call in cluster.calls if call.method == "PUT"]


def test_a_node_is_made_ineligible_by_its_own_agent(cluster: Any, rove: Any) -> None:
    cluster.on("GET /v1/agent/self", {"stats": {"client": {"node_id": NODE_ID}}})
    cluster.on(f"PUT /v1/node/{NODE_ID}/eligibility", {})
    assert rove("node", "eligibility", "-disable", "-self").out == 'Node "beef0001" is ineligible\n'
    assert cluster.sent("PUT", f"/v1/node/{NODE_ID}/eligibility").body["Eligibility"] == "ineligible"


def test_an_agent_without_a_node_says_so(agent: Any, rove: Any) -> None:
    agent.on("GET /v1/agent/self", {"stats": {"nomad": {}}})
    assert "runs no node" in rove("node", "status", "-self").err


def test_canaries_are_promoted_and_the_deployment_followed(cluster: Any, rove: Any) -> None:
    cluster.on(f"PUT /v1/deployment/promote/{DEPLOYMENT_ID}", DONE)
    assert rove("job", "promote", "web").code == 0
    sent = cluster.sent("PUT", f"/v1/deployment/promote/{DEPLOYMENT_ID}").body
    assert sent == {"DeploymentID": DEPLOYMENT_ID, "All": True, "Groups": []}
    assert rove("deployment", "promote", "-group", "api", "-detach", "d0d0").code == 0
    sent = cluster.sent("PUT", f"/v1/deployment/promote/{DEPLOYMENT_ID}").body
    assert sent == {"DeploymentID": DEPLOYMENT_ID, "All": False, "Groups": ["api"]}


def test_a_deployment_is_held_resumed_failed_and_unblocked(cluster: Any, rove: Any) -> None:
    for verb in ("pause", "fail", "unblock"):
        cluster.on(f"PUT /v1/deployment/{verb}/{DEPLOYMENT_ID}", {**DONE, "RevertedJobVersion": None})
    assert rove("deployment", "pause", "d0d0").out == 'Deployment "d0d0bbbb" is paused\n'
    assert cluster.sent("PUT", f"/v1/deployment/pause/{DEPLOYMENT_ID}").body["Pause"] is True
    assert rove("deployment", "resume", "-detach", "d0d0").code == 0
    assert cluster.sent("PUT", f"/v1/deployment/pause/{DEPLOYMENT_ID}").body["Pause"] is False
    assert rove("deployment", "resume", "d0d0").code == 0
    assert rove("deployment", "fail", "d0d0").code == 0
    assert rove("deployment", "unblock", "-detach", "d0d0").code == 0


def test_a_failed_deployment_names_the_version_it_goes_back_to(cluster: Any, rove: Any) -> None:
    cluster.on(f"PUT /v1/deployment/fail/{DEPLOYMENT_ID}", {**DONE, "RevertedJobVersion": 2})
    assert "goes back to version 2" in rove("deployment", "fail", "d0d0").out


def _versions() -> dict[str, Any]:
    tag = {"Name": "good", "Description": "before the storm"}
    newest = {"ID": "web", "Version": 3, "Stable": False, "Stop": True, "SubmitTime": 1_700_000_000 * 10**9}
    older = {**newest, "Version": 2, "Stable": True, "Stop": False, "VersionTag": tag}
    diff = {"Type": "Edited", "ID": "web", "Fields": [{"Type": "Edited", "Name": "Priority", "Old": "50", "New": "60"}]}
    return {"Versions": [newest, older], "Diffs": [diff]}


def test_the_history_of_a_job(cluster: Any, transcript: Any, rove: Any) -> None:
    cluster.on("GET /v1/job/web/versions", _versions())
    assert transcript("job-history", "job", "history", "-p", "web").code == 0
    assert cluster.sent("GET", "/v1/job/web/versions").params["diffs"] == "true"
    assert json.loads(rove("job", "history", "-version", "2", "-json", "web").out)["Stable"] is True
    missing = rove("job", "history", "-version", "9", "web")
    assert missing.code == 1
    assert "kept are: 3, 2" in missing.err


def test_a_job_goes_back_to_a_number_or_a_name(cluster: Any, rove: Any) -> None:
    cluster.on("GET /v1/job/web/versions", _versions())
    cluster.on("PUT /v1/job/web/revert", DONE)
    assert rove("job", "revert", "-detach", "web", "2").code == 0
    assert rove("job", "revert", "web", "good").code == 0
    assert cluster.sent("PUT", "/v1/job/web/revert").body["JobVersion"] == 2
    assert "no version that is called" in rove("job", "revert", "web", "bad").err


def test_a_stopped_job_starts_as_the_version_before(cluster: Any, rove: Any) -> None:
    cluster.on("GET /v1/job/web/versions", _versions())
    cluster.on("PUT /v1/job/web/revert", DONE)
    assert "it is running, not stopped" in rove("job", "start", "web").err
    cluster.on("GET /v1/job/web", {**cluster.routes["GET /v1/job/web"], "Stop": True, "Status": "dead"})
    assert rove("job", "start", "web").code == 0
    assert cluster.sent("PUT", "/v1/job/web/revert").body["JobVersion"] == 2


def test_a_version_is_named_and_unnamed(cluster: Any, rove: Any) -> None:
    cluster.on("PUT /v1/job/web/versions/good/tag", {})
    cluster.on("DELETE /v1/job/web/versions/good/tag", {})
    assert rove("job", "tag", "apply", "-name", "good", "-description", "x", "web").code == 0
    assert cluster.sent("PUT", "/v1/job/web/versions/good/tag").body == {
        "Name": "good", "Description": "x", "Latest": True,
    }  # fmt: skip
    assert rove("job", "tag", "apply", "-name", "good", "-version", "2", "web").code == 0
    assert cluster.sent("PUT", "/v1/job/web/versions/good/tag").body["Version"] == 2
    assert rove("job", "tag", "unset", "-name", "good", "web").code == 0


def test_the_source_of_a_job_is_printed(cluster: Any, answers: Any, rove: Any) -> None:
    source = {"Source": 'job "web" {}\n', "Format": "hcl2", "VariableFlags": {"n": "3"}, "Variables": "m = 4"}
    cluster.on("GET /v1/job/web/submission", source)
    assert rove("job", "inspect", "-hcl", "web").out == 'job "web" {}\n'
    assert cluster.sent("GET", "/v1/job/web/submission").params["version"] == "3"
    assert rove("job", "inspect", "-hcl", "-with-vars", "web").out == '# -var n=3\n# m = 4\njob "web" {}\n'
    cluster.on("GET /v1/job/web/submission", answers.Answer("none", status=404))
    cluster.on("GET /v1/job/web/versions", {"Versions": [cluster.routes["GET /v1/job/web"]]})
    written = rove("job", "inspect", "-hcl", "web").out
    assert written.startswith("# Written from the job")
    assert 'task "server" {' in written


def test_a_run_is_dispatched_with_payload_and_meta(cluster: Any, transcript: Any, tmp_path: Path) -> None:
    cluster.on("PUT /v1/job/web/dispatch", {"DispatchedJobID": "web/dispatch-1-ab", "EvalID": EVAL_ID})
    result = transcript("job-dispatch", "job", "dispatch", "-meta", "a=b=c", "-detach", "web", "-", stdin="hello")
    assert result.code == 0
    body = cluster.sent("PUT", "/v1/job/web/dispatch").body
    assert base64.b64decode(body["Payload"]) == b"hello"
    assert body["Meta"] == {"a": "b=c"}


def test_a_payload_that_is_too_large_is_not_sent(cluster: Any, rove: Any, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * (16 * 1024 + 1))
    result = rove("job", "dispatch", "web", str(large))
    assert result.code == 1
    assert "larger than 16 KiB" in result.err


def test_waiting_for_a_run_ends_with_1_when_it_fails(cluster: Any, answers: Any, rove: Any) -> None:
    child = "web/dispatch-1-ab"
    cluster.on("PUT /v1/job/web/dispatch", {"DispatchedJobID": child, "EvalID": EVAL_ID})
    cluster.on(
        f"GET /v1/job/{child}", answers.Turns({"ID": child, "Status": "running"}, {"ID": child, "Status": "dead"})
    )
    cluster.on(f"GET /v1/job/{child}/allocations", [{"ID": "x", "ClientStatus": "failed"}])
    assert rove("job", "dispatch", "-wait", "web").code == 1


def test_a_group_is_scaled(cluster: Any, rove: Any) -> None:
    cluster.on("PUT /v1/job/web/scale", DONE)
    assert rove("job", "scale", "-detach", "web", "5").code == 0
    body = cluster.sent("PUT", "/v1/job/web/scale").body
    assert (body["Target"]["Group"], body["Count"]) == ("api", 5)
    assert rove("job", "scale", "-detach", "-check-index", "11", "web", "api", "0").code == 0
    assert cluster.sent("PUT", "/v1/job/web/scale").body["Count"] == 0
    assert rove("job", "scale", "web", "api", "-3").code == 1
    assert rove("job", "scale", "web", "api", "many").code == 1


def test_only_a_periodic_job_is_launched(cluster: Any, rove: Any) -> None:
    cluster.on("PUT /v1/job/web/periodic/force", DONE)
    assert "it is not periodic" in rove("job", "periodic", "force", "web").err
    stub = {**cluster.routes["GET /v1/jobs"](type("C", (), {"params": {}}))[0], "Periodic": True}
    cluster.on("GET /v1/jobs", [stub])
    assert rove("job", "periodic", "force", "-detach", "web").out == f"Evaluation ID: {EVAL_ID}\n"


def test_a_jobs_allocations_restart_in_batches(cluster: Any, rove: Any) -> None:
    allocs = [{"ID": f"aa0{n}", "ClientStatus": "running", "TaskGroup": "api"} for n in range(3)]
    cluster.on("GET /v1/job/web/allocations", allocs)
    for alloc in allocs:
        cluster.on(f"PUT /v1/client/allocation/{alloc['ID']}/restart", {})
    assert rove("job", "restart", "-batch-size", "2", "-batch-wait", "5s", "web").code == 0
    assert rove.slept == [5.0]
    assert len([call for call in cluster.calls if call.path.endswith("/restart")]) == 3


def test_the_scheduler_is_set_without_losing_what_was_not_named(agent: Any, rove: Any) -> None:
    config = {
        "SchedulerAlgorithm": "binpack", "RejectJobRegistration": True, "ModifyIndex": 9,
        "PreemptionConfig": {"SystemSchedulerEnabled": True, "BatchSchedulerEnabled": False},
    }  # fmt: skip
    agent.on("GET /v1/operator/scheduler/configuration", {"SchedulerConfig": config})
    agent.on("PUT /v1/operator/scheduler/configuration", {"Updated": True})
    flags = ["-scheduler-algorithm=spread", "-preempt-batch-scheduler=true"]
    assert rove("operator", "scheduler", "set-config", *flags).code == 0
    call = agent.sent("PUT", "/v1/operator/scheduler/configuration")
    assert call.params["cas"] == "9"
    assert call.body["SchedulerAlgorithm"] == "spread"
    assert call.body["RejectJobRegistration"] is True
    assert call.body["PreemptionConfig"] == {"SystemSchedulerEnabled": True, "BatchSchedulerEnabled": True}
    agent.on("PUT /v1/operator/scheduler/configuration", {"Updated": False})
    assert "changed its settings meanwhile" in rove("operator", "scheduler", "set-config", *flags).err


def test_a_variable_is_written_and_read(agent: Any, answers: Any, rove: Any, tmp_path: Path) -> None:
    agent.on("GET /v1/var/app/db", answers.Answer("none", status=404))
    agent.on("PUT /v1/var/app/db", lambda call: {**call.body, "ModifyIndex": 5})
    assert rove("var", "put", "app/db", "user=x", "pass=a=b").code == 0
    call = agent.sent("PUT", "/v1/var/app/db")
    assert call.body["Items"] == {"user": "x", "pass": "a=b"}
    assert call.params["cas"] == "0"
    agent.on("GET /v1/var/app/db", {"Path": "app/db", "Items": {"user": "x"}, "ModifyIndex": 5})
    assert rove("var", "get", "-item", "user", "app/db").out == "x\n"
    assert rove("var", "put", "app/db", "more=1").code == 0
    assert agent.sent("PUT", "/v1/var/app/db").body["Items"] == {"user": "x", "more": "1"}
    agent.on("PUT /v1/var/app/db", answers.Answer("moved", status=409))
    assert "somebody has changed it meanwhile" in rove("var", "put", "app/db", "more=2").err


def test_a_namespace_is_made(agent: Any, answers: Any, rove: Any) -> None:
    agent.on("GET /v1/namespace/prod", answers.Answer("none", status=404))
    agent.on("PUT /v1/namespace", None)
    assert rove("namespace", "apply", "-description", "live", "prod").code == 0
    assert agent.sent("PUT", "/v1/namespace").body == {"Name": "prod", "Description": "live"}


def test_a_raw_call_reaches_the_api_as_it_is(agent: Any, rove: Any) -> None:
    agent.on("GET /v1/jobs", [])
    agent.on("POST /v1/search", lambda call: call.body)
    assert rove("operator", "api", "/v1/jobs?prefix=a%2Fb").out == "[]"
    assert agent.sent("GET", "/v1/jobs").params == {"prefix": "a/b"}
    assert json.loads(rove("operator", "api", "search", stdin='{"Prefix": "x"}').out) == {"Prefix": "x"}


def test_garbage_collection_is_asked_for(agent: Any, answers: Any, rove: Any) -> None:
    agent.on("PUT /v1/system/gc", answers.Answer(b""))
    assert rove("system", "gc").code == 0
