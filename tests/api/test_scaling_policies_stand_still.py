"""The index of the scaling policies moves when a policy does, and for nothing else: autoscalers wait on it."""

from __future__ import annotations

from typing import Any


async def test_only_a_change_of_a_policy_moves_the_index(http: Any, job: Any) -> None:
    body = job(Type="batch")
    body["TaskGroups"][0]["Scaling"] = {"Min": 1, "Max": 9, "Enabled": True, "Policy": {"x": 1}}

    async def seen() -> tuple[int, list[int]]:
        answer = await http.get("/v1/scaling/policies")
        policies = await answer.json()
        for policy in policies:
            whole = await http.get(f"/v1/scaling/policy/{policy['ID']}")
            assert whole.headers["X-Nomad-Index"] == answer.headers["X-Nomad-Index"]
            assert (await whole.json())["ModifyIndex"] == policy["ModifyIndex"]
        return int(answer.headers["X-Nomad-Index"]), [policy["ModifyIndex"] for policy in policies]

    async def put(**changes: Any) -> None:
        assert (await http.put("/v1/jobs", json={"Job": {**body, **changes}})).status == 200

    await put()
    first = await seen()
    assert first[1] == [first[0]]
    await put(Priority=60)
    assert (await http.put("/v1/jobs", json={"Job": job("other")})).status == 200
    scaled = {"Target": {"Group": "api"}, "Count": 5}
    assert (await http.put("/v1/job/web/scale", json=scaled)).status == 200
    stored = await (await http.get("/v1/job/web")).json()
    assert (await http.put("/v1/jobs", json={"Job": stored})).status == 200
    assert (await (await http.get("/v1/job/web")).json())["Version"] == stored["Version"]
    assert await seen() == first

    body["TaskGroups"][0]["Scaling"]["Max"] = 12
    await put()
    second = await seen()
    assert second[0] > first[0]
    assert second[1] == [second[0]]
    await http.delete("/v1/job/web")
    third = await seen()
    assert third[0] > second[0]
    assert third[1] == []
    await put()
    fourth = await seen()
    assert fourth[0] > third[0]
    assert fourth[1] == second[1]
    await http.delete("/v1/job/web?purge=true")
    assert (await seen())[0] > fourth[0]


async def test_the_servers_part_of_a_policy_is_no_difference(http: Any, job: Any) -> None:
    body = job()
    body["TaskGroups"][0]["Scaling"] = {"Min": 1, "Max": 9}
    assert (await http.put("/v1/jobs", json={"Job": body})).status == 200
    plan = await (await http.put("/v1/job/web/plan", json={"Job": body, "Diff": True})).json()
    assert plan["Diff"]["Type"] == "None"
    body["TaskGroups"][0]["Scaling"]["Max"] = 8
    plan = await (await http.put("/v1/job/web/plan", json={"Job": body, "Diff": True})).json()
    (changed,) = plan["Diff"]["TaskGroups"][0]["Objects"]
    assert [field["Name"] for field in changed["Fields"]] == ["Max"]
