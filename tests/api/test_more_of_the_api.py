"""Version tags, job states for web pages, scaling policies, actions, and what is absent."""

from __future__ import annotations

from typing import Any

import pytest


async def put_job(http: Any, body: dict[str, Any]) -> None:
    response = await http.put("/v1/jobs", json={"Job": body})
    assert response.status == 200, await response.text()


async def test_a_version_is_named_and_the_name_taken_away(http: Any, job: Any) -> None:
    await put_job(http, job())
    await put_job(http, job(Priority=60))
    path = "/v1/job/web/versions/golden/tag"
    said = await (await http.put(path, json={"Version": 0, "Description": "d"})).json()
    assert said["Name"] == "golden"
    versions = (await (await http.get("/v1/job/web/versions")).json())["Versions"]
    assert versions[1]["VersionTag"]["Name"] == "golden"
    assert versions[0]["VersionTag"] is None
    assert (await http.put(path, json={"Version": 1})).status == 409
    assert (await http.put(path, json={"Version": 7})).status == 404
    against = await (await http.get("/v1/job/web/versions?diffs=true&diff_tag=golden")).json()
    assert len(against["Diffs"]) == 1
    assert (await http.delete(path)).status == 200
    assert (await http.delete(path)).status == 404


async def test_job_states_come_newest_first_and_only_those_asked_for(http: Any, job: Any) -> None:
    for name in ("one", "two", "three"):
        await put_job(http, job(name))
    said = await (await http.get("/v1/jobs/statuses")).json()
    assert {state["ID"] for state in said} == {"one", "two", "three"}
    assert [state["ModifyIndex"] for state in said] == sorted((s["ModifyIndex"] for s in said), reverse=True)
    assert said[0]["GroupCountSum"] == 2
    body = {"Jobs": [{"ID": "two", "Namespace": "default"}, {"ID": "gone"}]}
    said = await (await http.post("/v1/jobs/statuses", json=body)).json()
    assert [state["ID"] for state in said] == ["two"]
    assert (await http.post("/v1/jobs/statuses", json={"Jobs": []})).status == 400


async def test_scaling_policies_keep_their_id(http: Any, job: Any) -> None:
    body = job()
    body["TaskGroups"][0]["Scaling"] = {"Min": 1, "Max": 9, "Enabled": True, "Policy": {"x": 1}}
    await put_job(http, body)
    listed = await (await http.get("/v1/scaling/policies?job=web")).json()
    assert listed[0]["Target"] == {"Namespace": "default", "Job": "web", "Group": "api"}
    whole = await (await http.get(f"/v1/scaling/policy/{listed[0]['ID']}")).json()
    assert whole["Max"] == 9
    await put_job(http, {**body, "Priority": 60})
    assert (await (await http.get("/v1/scaling/policies")).json())[0]["ID"] == listed[0]["ID"]
    assert await (await http.get("/v1/scaling/policies?job=other")).json() == []
    assert (await http.get("/v1/scaling/policy/none")).status == 404


async def test_actions_are_listed(http: Any, job: Any) -> None:
    body = job()
    body["TaskGroups"][0]["Tasks"][0]["Actions"] = [{"Name": "flush", "Command": "/bin/echo", "Args": ["a"]}]
    await put_job(http, body)
    said = await (await http.get("/v1/job/web/actions")).json()
    assert said == [{"Name": "flush", "Command": "/bin/echo", "Args": ["a"], "TaskName": "app", "TaskGroupName": "api"}]


async def test_evaluations_are_deleted_only_while_the_broker_is_paused(http: Any, job: Any) -> None:
    await put_job(http, job())
    eval_id = (await (await http.get("/v1/evaluations")).json())[0]["ID"]
    index = 0
    while (await (seen := await http.get(f"/v1/evaluation/{eval_id}?index={index}")).json())["Status"] == "pending":
        index = int(seen.headers["X-Nomad-Index"])
    assert (await http.delete("/v1/evaluations", json={"EvalIDs": [eval_id]})).status == 400
    settings = {"SchedulerAlgorithm": "binpack", "PauseEvalBroker": True}
    assert (await http.put("/v1/operator/scheduler/configuration", json=settings)).status == 200
    assert (await http.delete("/v1/evaluations", json={})).status == 400
    assert (await http.delete("/v1/evaluations", json={"EvalIDs": ["none"]})).status == 404
    said = await (await http.delete("/v1/evaluations", json={"Filter": 'JobID == "web"'})).json()
    assert said["Count"] >= 1
    assert (await http.get(f"/v1/evaluation/{eval_id}")).status == 404


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("volumes", 200, "[]"),
        ("plugins?type=csi", 200, "[]"),
        ("service/web", 200, "[]"),
        ("quotas", 501, "no such feature"),
        ("acl/token/self", 400, "ACL support disabled"),
        ("operator/license", 204, ""),
        ("var/some/path", 404, "not found"),
    ],
)
async def test_what_is_absent_is_said_in_a_way_clients_take(http: Any, path: str, status: int, text: str) -> None:
    response = await http.get(f"/v1/{path}")
    assert response.status == status
    assert text in await response.text()


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("GET", "operator/snapshot", "sqlite3 state.db"),
        ("PUT", "operator/snapshot", "server/state.db"),
        ("PUT", "var/some/path", "variables are planned and not built yet"),
        ("DELETE", "var/some/path", "not built yet"),
    ],
)
async def test_what_is_not_built_says_so(http: Any, method: str, path: str, text: str) -> None:
    response = await http.request(method, f"/v1/{path}", json={})
    assert response.status == 501
    assert text in await response.text()


async def test_a_long_list_is_made_in_pieces_and_whole(http: Any, server: Any, job: Any) -> None:
    import msgspec

    from rove import jobspec
    from rove.server.state import Batch, PutJob

    stored = jobspec.canonicalize(jobspec.decode_api_job(job()))
    jobs = [PutJob(job=msgspec.structs.replace(stored, id=f"j{number:04}")) for number in range(1203)]
    await server.store.commit(Batch(parts=tuple(jobs)))
    response = await http.get("/v1/jobs")
    said = await response.json()
    assert [stub["ID"] for stub in said] == [f"j{number:04}" for number in range(1203)]
    assert int(response.headers["X-Nomad-Index"]) > 0
    said = await (await http.get("/v1/jobs", params={"filter": 'ID matches "7$"', "per_page": "3"})).json()
    assert [stub["ID"] for stub in said] == ["j0007", "j0017", "j0027"]


async def test_a_dry_run_of_a_periodic_job_says_when_it_is_launched(http: Any, job: Any) -> None:
    body = job(
        "tick", Type="batch", Periodic={"Enabled": True, "Specs": ["0 3 * * *", "30 2 * * *"], "TimeZone": "UTC"}
    )
    response = await http.put("/v1/job/tick/plan", json={"Job": body, "Diff": True})
    assert response.status == 200, await response.text()
    launch = (await response.json())["NextPeriodicLaunch"]
    assert launch.endswith(("T02:30:00Z", "T03:00:00Z"))
