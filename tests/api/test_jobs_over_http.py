"""Jobs: registering, reading, listing, planning, stopping."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from rove.api.filter import Filter
from rove.server.state import PutNode
from rove.testing.builders import a_node

HCL = """
variable "n" {
  default = 1
}
job "x" {
  group "g" {
    count = var.n
    task "t" {
      driver = "raw_exec"
      config {
        command = "a"
      }
    }
  }
}
"""


async def register(http: Any, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = await http.put("/v1/jobs", json={"Job": body, **more})
    assert response.status == 200, await response.text()
    said: dict[str, Any] = await response.json()
    return said


async def settled(http: Any, eval_id: str) -> None:
    """Wait until an evaluation is over."""
    index = 0
    while True:
        response = await http.get(f"/v1/evaluation/{eval_id}?index={index}&wait=10s")
        if (await response.json())["Status"] != "pending":
            return
        index = int(response.headers["X-Nomad-Index"])


async def test_a_registered_job_can_be_read_back_with_every_default(http: Any, job: Any) -> None:
    said = await register(http, job())
    assert said["EvalID"]
    assert said["JobModifyIndex"] > 0
    response = await http.get("/v1/job/web")
    assert int(response.headers["X-Nomad-Index"]) >= said["JobModifyIndex"]
    assert response.headers["X-Nomad-KnownLeader"] == "true"
    assert response.headers["X-Nomad-LastContact"] == "0"
    read = await response.json()
    assert read["Version"] == 0
    assert read["Namespace"] == "default"
    assert read["TaskGroups"][0]["RestartPolicy"]["Attempts"] == 2
    assert read["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] == 300


async def settle(http: Any, eval_id: str) -> None:
    """Wait until an evaluation is over, so that nothing else changes the job."""
    index = 0
    async with asyncio.timeout(20):
        while True:
            response = await http.get(f"/v1/evaluation/{eval_id}?index={index}")
            if (await response.json())["Status"] == "complete":
                return
            index = int(response.headers["X-Nomad-Index"])


async def test_post_is_put_and_the_content_type_does_not_matter(http: Any, job: Any) -> None:
    body = json.dumps({"job": job()})
    response = await http.post("/v1/jobs", data=body, headers={"Content-Type": "text/plain"})
    assert response.status == 200
    response = await http.post("/v1/job/web", data=body)
    assert response.status == 200


async def test_the_path_and_the_body_must_name_the_same_job(http: Any, job: Any) -> None:
    response = await http.put("/v1/job/other", json={"Job": job()})
    assert response.status == 400
    assert (await http.get("/v1/jobs")).status == 200
    assert await (await http.get("/v1/jobs")).json() == []


async def test_an_invalid_job_is_refused_with_every_reason_and_nothing_changes(http: Any, job: Any) -> None:
    index = (await http.get("/v1/jobs")).headers["X-Nomad-Index"]
    bad = job(Priority=9000, TaskGroups=[{"Name": "g", "Count": -3, "Tasks": []}])
    response = await http.put("/v1/jobs", json={"Job": bad})
    assert response.status == 500
    text = await response.text()
    assert text.count("* ") >= 3
    assert response.headers["Content-Type"].startswith("text/plain")
    assert (await http.get("/v1/jobs")).headers["X-Nomad-Index"] == index


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"Job": null}',
        b'{"Job": []}',
        b'{"Job": {"ID": 7}}',
        b'{"Job": {"ID": "x", "TaskGroups": {}}}',
        b'{"Job": {"ID": "x", "Priority": "high"}}',
        b'{"Job": {"ID": "x"}, "EnforceIndex": "yes"}',
        b'{"Job": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b"\xff\xfe",
    ],
)
async def test_a_body_that_is_no_job_is_400(http: Any, body: bytes) -> None:
    for path in ("/v1/jobs", "/v1/validate/job", "/v1/job/x/plan"):
        response = await http.put(path, data=body)
        assert response.status == 400, (path, await response.text())


async def test_an_odd_id_is_refused_and_not_printed_as_it_is(http: Any, job: Any) -> None:
    for odd in ("a\0b", "a\nb", "a\x1b[31mb"):
        response = await http.put("/v1/jobs", json={"Job": job(odd)})
        text = await response.text()
        assert response.status == 500
        assert all(letter.isprintable() or letter == "\n" for letter in text), repr(text)
        assert text.splitlines()[0].endswith("[job.invalid]")
    assert await (await http.get("/v1/jobs")).json() == []


async def test_unknown_things_are_404_in_plain_text(http: Any) -> None:
    uuid = "00000000-0000-0000-0000-000000000000"
    paths = [
        "job/none", "job/none/summary", "job/none/versions", "job/none/submission?version=0", "job/none/scale",
        f"allocation/{uuid}", f"evaluation/{uuid}", f"deployment/{uuid}", f"node/{uuid}", f"node/{uuid}/allocations",
        f"client/fs/ls/{uuid}", f"client/allocation/{uuid}/stats", f"client/stats?node_id={uuid}",
        "job/a%00b%0Ac", "job/a/b/c", "allocation/%2e%2e%2f", "namespace/none", "node/pool/none",
    ]  # fmt: skip
    for path in paths:
        response = await http.get(f"/v1/{path}")
        text = await response.text()
        assert response.status == 404, (path, text)
        assert "not found" in text, (path, text)
        assert "\x00" not in text
        assert response.headers["Content-Type"].startswith("text/plain")


async def test_lists_of_a_job_that_is_not_there_are_empty_and_not_null(http: Any) -> None:
    for below in ("allocations", "evaluations", "deployments"):
        assert await (await http.get(f"/v1/job/none/{below}")).json() == []
    response = await http.get("/v1/job/none/deployment")
    assert response.status == 200
    assert await response.text() == "null"


async def test_the_list_has_stubs_in_order_with_a_summary_that_names_its_namespace(http: Any, job: Any) -> None:
    for name in ("b", "a", "ab"):
        await register(http, job(name, Meta={"k": name}))
    said = await (await http.get("/v1/jobs?prefix=a")).json()
    assert [stub["ID"] for stub in said] == ["a", "ab"]
    assert said[0]["JobSummary"]["Namespace"] == "default"
    assert said[0]["Periodic"] is False
    assert said[0]["Meta"] is None
    assert (await (await http.get("/v1/jobs?meta=true&prefix=b")).json())[0]["Meta"] == {"k": "b"}


async def test_pages_cover_the_list_once_in_both_directions(http: Any, job: Any) -> None:
    names = [f"job-{number:02}" for number in range(7)]
    for name in names:
        await register(http, job(name))
    for reverse in ("false", "true"):
        seen, token = [], ""
        while True:
            query = {"per_page": "3", "reverse": reverse, "next_token": token}
            response = await http.get("/v1/jobs", params=query)
            seen += [stub["ID"] for stub in await response.json()]
            token = response.headers.get("X-Nomad-NextToken", "")
            if not token:
                break
        assert seen == (names if reverse == "false" else names[::-1])


@pytest.mark.parametrize("reverse", ["false", "true"])
async def test_pages_cover_a_list_of_ids_with_any_signs_once(http: Any, job: Any, reverse: str) -> None:
    names = ["%40", "50%", "@b", "a%25b", "a+b", "a.b", "a@b", "aäb", "b~c:d", "日本"]
    for name in names:
        await register(http, job(name))
    seen, token = [], ""
    for _ in names:
        query = {"per_page": "1", "reverse": reverse, "next_token": token}
        response = await http.get("/v1/jobs", params=query)
        seen += [stub["ID"] for stub in await response.json()]
        token = response.headers.get("X-Nomad-NextToken", "")
    assert seen == sorted(names, reverse=reverse == "true")
    assert token == ""


@pytest.mark.parametrize("name", ["50%", "a@b", "a+b", "aäb", "a%zz"])
async def test_an_id_as_it_is_will_do_as_a_page_token(http: Any, job: Any, name: str) -> None:
    for each in ("$", name, "zz"):
        await register(http, job(each))
    response = await http.get("/v1/jobs", params={"per_page": "1", "next_token": f"default.{name}"})
    assert [stub["ID"] for stub in await response.json()] == [name]


async def test_a_filter_is_worked_at_in_a_thread(http: Any, job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await register(http, job("a"))
    threads: list[int] = []
    evaluate = Filter.__call__

    def watched(self: Filter, item: Any) -> bool:
        threads.append(threading.get_ident())
        return evaluate(self, item)

    monkeypatch.setattr(Filter, "__call__", watched)
    response = await http.get("/v1/jobs", params={"filter": "ID == a"})
    assert [stub["ID"] for stub in await response.json()] == ["a"]
    assert threads
    assert threading.get_ident() not in threads


async def test_a_filter_keeps_what_it_says_and_pages_count_only_that(http: Any, job: Any) -> None:
    for number in range(6):
        await register(http, job(f"j{number}", Priority=10 + number % 2))
    response = await http.get("/v1/jobs", params={"filter": "Priority == 11", "per_page": "2"})
    assert [stub["ID"] for stub in await response.json()] == ["j1", "j3"]
    token = response.headers["X-Nomad-NextToken"]
    response = await http.get("/v1/jobs", params={"filter": "Priority == 11", "per_page": "2", "next_token": token})
    assert [stub["ID"] for stub in await response.json()] == ["j5"]
    bad = await http.get("/v1/jobs", params={"filter": "Priority =="})
    assert bad.status == 400
    assert "failed to create result paginator" in await bad.text()


@pytest.mark.parametrize("query", ["index=x", "wait=soon", "wait=-1s", "per_page=-1", "stale=perhaps", "reverse=2"])
async def test_a_wrong_query_option_is_400(http: Any, query: str) -> None:
    suffix = "&index=1" if query.startswith("wait") else ""
    response = await http.get(f"/v1/jobs?{query}{suffix}")
    assert response.status == 400


async def test_namespaces_keep_jobs_apart(http: Any, job: Any) -> None:
    assert (await http.put("/v1/namespace", json={"Name": "blue"})).status == 200
    await register(http, job("x"))
    response = await http.put("/v1/jobs?namespace=blue", json={"Job": job("x")})
    assert response.status == 200, await response.text()
    response = await http.put("/v1/jobs", json={"Job": job("y", Namespace="blue")})
    assert response.status == 200, await response.text()

    async def listed(namespace: str) -> list[tuple[str, str]]:
        said = await (await http.get("/v1/jobs", params={"namespace": namespace})).json()
        return [(stub["Namespace"], stub["ID"]) for stub in said]

    assert await listed("default") == [("default", "x")]
    assert await listed("blue") == [("blue", "x"), ("blue", "y")]
    assert await listed("*") == [("blue", "x"), ("blue", "y"), ("default", "x")]
    assert (await http.get("/v1/job/y")).status == 404
    assert (await http.delete("/v1/namespace/blue")).status == 409
    assert (await http.delete("/v1/namespace/default")).status == 400


async def test_an_unknown_namespace_is_refused(http: Any, job: Any) -> None:
    response = await http.put("/v1/jobs?namespace=nowhere", json={"Job": job()})
    assert response.status >= 400


async def test_a_blocking_read_wakes_when_the_job_changes_and_not_before(http: Any, job: Any) -> None:
    await settle(http, (await register(http, job()))["EvalID"])
    first = await http.get("/v1/job/web")
    index = int(first.headers["X-Nomad-Index"])
    waiting = asyncio.ensure_future(http.get(f"/v1/job/web?index={index}&wait=60s"))
    await register(http, job("other"))
    assert not waiting.done()
    await register(http, job(Priority=60))
    async with asyncio.timeout(20):
        response = await waiting
    assert int(response.headers["X-Nomad-Index"]) > index


async def test_a_blocking_read_ends_with_its_wait(http: Any, job: Any) -> None:
    await register(http, job())
    index = int((await http.get("/v1/job/web")).headers["X-Nomad-Index"])
    async with asyncio.timeout(20):
        response = await http.get(f"/v1/job/web?index={index + 1000}&wait=50ms")
    assert response.status == 200
    assert int(response.headers["X-Nomad-Index"]) > 0


async def test_check_index_guards_an_update(http: Any, job: Any) -> None:
    said = await register(http, job(), EnforceIndex=True, JobModifyIndex=0)
    again = await http.put("/v1/jobs", json={"Job": job(Priority=3), "EnforceIndex": True, "JobModifyIndex": 0})
    assert again.status >= 400
    assert (await again.text()).startswith("Enforcing job modify index")
    await register(http, job(Priority=3), EnforceIndex=True, JobModifyIndex=said["JobModifyIndex"])


async def test_stopping_keeps_the_job_and_purging_forgets_it(http: Any, job: Any) -> None:
    await register(http, job())
    said = await (await http.delete("/v1/job/web")).json()
    assert said["EvalID"]
    assert (await (await http.get("/v1/job/web")).json())["Stop"] is True
    assert (await http.delete("/v1/job/web?purge=true")).status == 200
    assert (await http.get("/v1/job/web")).status == 404
    assert (await http.delete("/v1/job/web")).status in {200, 404}
    assert (await http.delete("/v1/job/web?purge=maybe")).status == 400


async def test_a_slash_in_an_id_works_plain_and_encoded(http: Any, server: Any, job: Any) -> None:
    from rove import jobspec
    from rove.server.state import PutJob

    stored = jobspec.canonicalize(jobspec.decode_api_job(job("parent")))
    import msgspec

    await server.store.commit(PutJob(job=msgspec.structs.replace(stored, id="parent/dispatch-1-ab")))
    for path in ("parent/dispatch-1-ab", "parent%2Fdispatch-1-ab"):
        assert (await (await http.get(f"/v1/job/{path}")).json())["ID"] == "parent/dispatch-1-ab"
        assert (await http.get(f"/v1/job/{path}/summary")).status == 200


async def test_a_dry_run_shows_the_difference_and_stores_nothing(http: Any, job: Any) -> None:
    await register(http, job())
    body = {"Job": job(Priority=61), "Diff": True}
    response = await http.put("/v1/job/web/plan", json=body)
    assert response.status == 200, await response.text()
    said = await response.json()
    assert said["Diff"]["Type"] == "Edited"
    assert "Priority" in {field["Name"] for field in said["Diff"]["Fields"]}
    assert "api" in said["Annotations"]["DesiredTGUpdates"]
    assert said["JobModifyIndex"] > 0
    assert said["NextPeriodicLaunch"] == "0001-01-01T00:00:00Z"
    assert (await (await http.get("/v1/job/web")).json())["Priority"] == 50
    new = await (await http.put("/v1/job/fresh/plan", json={"Job": job("fresh"), "Diff": True})).json()
    assert new["Diff"]["Type"] == "Added"
    assert new["JobModifyIndex"] == 0


async def test_a_dry_run_says_where_copies_would_go_and_why_not_elsewhere(http: Any, server: Any, job: Any) -> None:
    await server.store.commit(PutNode(node=a_node("aaaa-1", name="fits", memory=8192)))
    await server.store.commit(PutNode(node=a_node("bbbb-2", name="small", memory=100)))
    said = await (await http.put("/v1/job/web/plan?why_not=small", json={"Job": job()})).json()
    places = said["Placements"]
    assert {place["Name"] for place in places} == {"web.api[0]", "web.api[1]"}
    assert {(place["NodeID"], place["NodeName"]) for place in places} == {("aaaa-1", "fits")}
    assert max(place["Score"] for place in places) > 0
    [verdict] = said["WhyNot"]
    assert (verdict["NodeID"], verdict["NodeName"], verdict["TaskGroup"]) == ("bbbb-2", "small", "api")
    assert any("memory" in reason for reason in verdict["Reasons"])
    everywhere = await (await http.put("/v1/job/web/plan?why_not=all", json={"Job": job()})).json()
    assert [(verdict["NodeName"], bool(verdict["Reasons"])) for verdict in everywhere["WhyNot"]] == [
        ("fits", False),
        ("small", True),
    ]
    assert (await (await http.put("/v1/job/web/plan", json={"Job": job()})).json())["WhyNot"] is None
    assert (await http.get("/v1/job/web")).status == 404


async def test_a_dry_run_names_whom_it_would_push_aside(http: Any, server: Any, job: Any) -> None:
    await server.store.commit(PutNode(node=a_node("aaaa-1", cpu=1000)))
    rules = {"PreemptionConfig": {"ServiceSchedulerEnabled": True}}
    assert (await http.put("/v1/operator/scheduler/configuration", json=rules)).status == 200
    low = job("low", Priority=10)
    low["TaskGroups"][0]["Tasks"][0]["Resources"] = {"CPU": 450, "MemoryMB": 10}
    said = await register(http, low)
    await settled(http, said["EvalID"])
    high = job("high", Priority=90)
    high["TaskGroups"][0]["Tasks"][0]["Resources"] = {"CPU": 450, "MemoryMB": 10}
    plan = await (await http.put("/v1/job/high/plan", json={"Job": high})).json()
    victims = plan["Annotations"]["PreemptedAllocs"]
    assert [(stub["JobID"], stub["TaskGroup"]) for stub in victims] == [("low", "api")] * 2
    [verdict] = (await (await http.put("/v1/job/low/plan?why_not=all", json={"Job": low})).json())["WhyNot"]
    assert any("350 MHz of cpu short" in reason for reason in verdict["Reasons"])


async def test_a_job_explains_what_it_waits_for_in_a_paragraph(http: Any, job: Any) -> None:
    said = await register(http, job())
    await settled(http, said["EvalID"])
    answer = await (await http.get("/v1/job/web/why")).json()
    assert answer["JobID"] == "web"
    assert "0 of 2 running" in answer["Why"]
    assert "2 could not be placed" in answer["Why"]
    assert (await http.get("/v1/job/none/why")).status == 404


async def test_versions_have_differences_and_the_source_is_kept(http: Any, job: Any) -> None:
    source = {"Source": "job {}", "Format": "hcl2", "VariableFlags": {"a": "1"}, "Variables": ""}
    await register(http, job(), Submission=source)
    await register(http, job(Priority=61))
    said = await (await http.get("/v1/job/web/versions?diffs=true")).json()
    assert [version["Version"] for version in said["Versions"]] == [1, 0]
    assert len(said["Diffs"]) == 1
    assert said["Diffs"][0]["Type"] == "Edited"
    kept = await (await http.get("/v1/job/web/submission?version=0")).json()
    assert kept["Source"] == "job {}"
    assert kept["VariableFlags"] == {"a": "1"}
    assert (await http.get("/v1/job/web/submission?version=1")).status == 404
    assert (await http.get("/v1/job/web/submission")).status == 400


async def test_a_text_becomes_a_job_and_a_bad_one_shows_its_line(http: Any) -> None:
    text = HCL
    said = await (await http.put("/v1/jobs/parse", json={"JobHCL": text, "Variables": "n = 3"})).json()
    assert said["ID"] == "x"
    assert said["TaskGroups"][0]["Count"] == 3
    whole = await (await http.put("/v1/jobs/parse", json={"JobHCL": text, "Canonicalize": True})).json()
    assert whole["Priority"] == 50
    bad = await http.put("/v1/jobs/parse", json={"JobHCL": 'job "x" {\n  group {{\n'})
    assert bad.status == 400
    assert "input.hcl:2" in await bad.text()
    assert (await http.put("/v1/jobs/parse", json={"JobHCL": ""})).status == 400
    secret = await http.put("/v1/jobs/parse", json={"JobHCL": 'job "x" {\n  name = file("/etc/passwd")\n}\n'})
    assert secret.status == 400
    assert "root:" not in await secret.text()


async def test_validation_answers_200_and_lists_what_is_wrong(http: Any, job: Any) -> None:
    good = await (await http.put("/v1/validate/job", json={"Job": job()})).json()
    assert good["ValidationErrors"] is None
    assert good["Error"] == ""
    bad = await (await http.put("/v1/validate/job", json={"Job": job(Priority=-1, Type="nope")})).json()
    assert bad["ValidationErrors"]
    assert bad["Error"]


async def test_a_big_job_is_read_off_the_loop(http: Any, job: Any) -> None:
    big = job(Meta={f"k{number}": "x" * 100 for number in range(2000)})
    assert (await register(http, big))["JobModifyIndex"] > 0


async def test_evaluations_hold_their_status_and_are_found_by_filters(http: Any, job: Any) -> None:
    said = await register(http, job())
    evaluation = await (await http.get(f"/v1/evaluation/{said['EvalID']}?related=true")).json()
    assert evaluation["ID"] == said["EvalID"]
    assert evaluation["Status"]
    assert evaluation["Type"] == "service"
    assert evaluation["TriggeredBy"] == "job-register"
    assert evaluation["Priority"] == 50
    assert evaluation["CreateIndex"] > 0
    listed = await (await http.get("/v1/evaluations?job=web")).json()
    assert said["EvalID"] in {item["ID"] for item in listed}
    assert await (await http.get("/v1/evaluations?job=none")).json() == []
    assert (await (await http.get("/v1/evaluations/count")).json())["Count"] >= 1
    prefix = said["EvalID"][:8]
    found = await (await http.get(f"/v1/evaluations?prefix={prefix}")).json()
    assert [item["ID"] for item in found] == [said["EvalID"]]


async def test_a_list_is_compressed_for_those_who_can_read_it(http: Any, job: Any) -> None:
    for number in range(10):
        await register(http, job(f"j{number}"))
    response = await http.get("/v1/jobs", headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(await response.json()) == 10
    plain = await http.get("/v1/jobs", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers


async def test_scaling_changes_the_count_and_is_remembered(http: Any, job: Any) -> None:
    await register(http, job(Type="batch"))
    response = await http.put("/v1/job/web/scale", json={"Target": {"Group": "api"}, "Count": 5, "Message": "more"})
    assert response.status == 200, await response.text()
    status = await (await http.get("/v1/job/web/scale")).json()
    assert status["TaskGroups"]["api"]["Desired"] == 5
    assert status["TaskGroups"]["api"]["Events"][0]["Message"] == "more"
    assert status["JobStopped"] is False
    for bad in ({"Count": 1}, {"Target": {"Group": "api"}, "Count": -1}):
        assert (await http.put("/v1/job/web/scale", json=bad)).status == 400
    assert (await http.put("/v1/job/web/scale", json={"Target": {"Group": "none"}, "Count": 1})).status >= 400
