"""Nodes, allocations, search, settings, status, metrics and the event stream."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rove.structs.node import Node, NodeCpu, NodeDisk, NodeMemory, NodeResources, NodeStatus
from rove.structs.plan import Placement, Plan

NODE_ID = "aaaaaaaa-0000-4000-8000-000000000001"


def a_node(node_id: str = NODE_ID, **changes: Any) -> Node:
    fields: dict[str, Any] = {
        "id": node_id,
        "secret_id": "5ecre7",
        "name": "n1",
        "status": NodeStatus.READY,
        "http_addr": "127.0.0.1:4646",
        "attributes": {"os.name": "debian", "nomad.version": "1.9.0"},
        "node_resources": NodeResources(
            cpu=NodeCpu(cpu_shares=4000), memory=NodeMemory(memory_mb=8000), disk=NodeDisk(disk_mb=50_000)
        ),
        **changes,
    }
    return Node(**fields)


@pytest.fixture
async def placed(http: Any, server: Any, job: Any) -> dict[str, Any]:
    """A node, a job, and one allocation of it."""
    from rove import jobspec
    from rove.server.state import ApplyPlan, PutJob, PutNode

    await server.store.commit(PutNode(node=a_node()))
    stored = jobspec.canonicalize(jobspec.decode_api_job(job("placed")))
    await server.store.commit(PutJob(job=stored))
    placement = Placement(
        namespace="default", job_id="placed", job_version=0, group="api", eval_id="e1", node_ids=(NODE_ID,),
        nodes=(0).to_bytes(4, "little"), indexes=(0).to_bytes(4, "little"),
    )  # fmt: skip
    plan = Plan(eval_id="e1", job=stored, placements=(placement,))
    await server.store.commit(ApplyPlan(plan=plan))
    alloc = next(iter(server.store.snapshot().allocs()))
    return {"alloc": alloc.id}


async def test_nodes_are_listed_without_their_secret(http: Any, server: Any) -> None:
    from rove.server.state import PutNode

    await server.store.commit(PutNode(node=a_node()))
    response = await http.get("/v1/nodes?resources=True&os=true")
    assert "5ecre7" not in await response.text()
    stub = (await response.json())[0]
    assert stub["Address"] == "127.0.0.1"
    assert stub["Drain"] is False
    assert stub["Version"] == "1.9.0"
    assert stub["NodeResources"]["Cpu"]["CpuShares"] == 4000
    assert stub["Attributes"] == {"os.name": "debian"}
    assert (await (await http.get("/v1/nodes")).json())[0]["NodeResources"] is None
    response = await http.get(f"/v1/node/{NODE_ID}")
    assert "5ecre7" not in await response.text()
    whole = await response.json()
    assert whole["DrainStrategy"] is None
    assert whole["Drain"] is False
    assert whole["NodeResources"]["Memory"]["MemoryMB"] == 8000
    assert len(await (await http.get("/v1/nodes", params={"filter": 'Attributes["os.name"] == debian'})).json()) == 1


async def test_eligibility_can_be_taken_away_and_a_wrong_word_is_400(http: Any, server: Any) -> None:
    from rove.server.state import PutNode

    await server.store.commit(PutNode(node=a_node()))
    path = f"/v1/node/{NODE_ID}/eligibility"
    response = await http.put(path, json={"NodeID": NODE_ID, "Eligibility": "ineligible"})
    assert response.status == 200, await response.text()
    assert int(response.headers["X-Nomad-Index"]) > 0
    assert (await (await http.get(f"/v1/node/{NODE_ID}")).json())["SchedulingEligibility"] == "ineligible"
    assert (await http.put(path, json={"Eligibility": "never"})).status == 400
    assert (await http.put(path, json={"NodeID": "x", "Eligibility": "eligible"})).status == 400
    assert (await http.put("/v1/node/none/eligibility", json={"Eligibility": "eligible"})).status == 404


async def test_an_allocation_has_what_the_command_line_reads(http: Any, placed: Any) -> None:
    said = await (await http.get(f"/v1/allocation/{placed['alloc']}")).json()
    assert said["ID"] == placed["alloc"]
    assert said["DesiredStatus"] == "run"
    assert said["ClientStatus"] == "pending"
    assert said["Job"]["TaskGroups"][0]["Name"] == said["TaskGroup"] == "api"
    assert said["Job"]["Version"] == 0
    assert set(said["AllocatedResources"]["Shared"]) == {"Networks", "DiskMB", "Ports"}
    assert {"CPU", "MemoryMB", "DiskMB"} <= set(said["Resources"])
    assert "NextAllocation" not in said


async def test_allocations_are_listed_everywhere_they_belong(http: Any, placed: Any) -> None:
    alloc_id = placed["alloc"]
    paths = ["allocations", "job/placed/allocations", "evaluation/e1/allocations", f"allocations?prefix={alloc_id[:8]}"]
    for path in paths:
        stubs = await (await http.get(f"/v1/{path}")).json()
        assert [stub["ID"] for stub in stubs] == [alloc_id], path
        assert stubs[0]["JobType"] == "service"
        assert stubs[0]["AllocatedResources"] is None
    whole = await (await http.get(f"/v1/node/{NODE_ID}/allocations")).json()
    assert whole[0]["Job"]["ID"] == "placed"
    stubs = await (await http.get("/v1/allocations", params={"filter": "ClientStatus != pending"})).json()
    assert stubs == []


async def test_the_list_of_jobs_wakes_when_an_allocation_changes(http: Any, server: Any, placed: Any) -> None:
    from rove.server.state import UpdateAllocs
    from rove.structs.alloc import AllocStatus, AllocUpdate

    index = (await http.get("/v1/jobs")).headers["X-Nomad-Index"]
    waiting = asyncio.ensure_future(http.get(f"/v1/jobs?index={index}&wait=60s"))
    update = AllocUpdate(id=placed["alloc"], client_status=AllocStatus.RUNNING, sequence=1)
    await server.store.commit(UpdateAllocs(updates=(update,), node_id=NODE_ID))
    async with asyncio.timeout(20):
        stub = (await (await waiting).json())[0]
    assert stub["JobSummary"]["Summary"]["api"]["Running"] == 1


async def test_a_node_that_is_not_connected_is_said_to_be_so(http: Any, placed: Any) -> None:
    response = await http.get(f"/v1/client/fs/ls/{placed['alloc']}")
    assert response.status in {404, 500}
    assert response.headers["Content-Type"].startswith("text/plain")


async def test_stopping_an_allocation_makes_an_evaluation(http: Any, placed: Any) -> None:
    said = await (await http.put(f"/v1/allocation/{placed['alloc']}/stop")).json()
    assert said["EvalID"]
    assert (await http.put("/v1/allocation/none/stop")).status == 404


async def test_search_finds_by_prefix_and_always_has_matches(http: Any, placed: Any) -> None:
    said = await (await http.put("/v1/search", json={"Prefix": NODE_ID[:6], "Context": "all"})).json()
    assert said["Matches"]["nodes"] == [NODE_ID]
    assert said["Matches"]["jobs"] == []
    said = await (await http.put("/v1/search", json={"Prefix": "pla", "Context": "jobs"})).json()
    assert said["Matches"] == {"jobs": ["placed"]}
    assert said["Truncations"] == {"jobs": False}
    assert (await (await http.put("/v1/search", json={"Prefix": "x", "Context": "volumes"})).json())["Matches"] == {
        "volumes": []
    }
    assert (await http.put("/v1/search", json={"Prefix": "x", "Context": "everything"})).status == 400


async def test_fuzzy_search_looks_inside_jobs(http: Any, placed: Any) -> None:
    said = await (await http.put("/v1/search/fuzzy", json={"Text": "LACE", "Context": "all"})).json()
    assert said["Matches"]["jobs"] == [{"ID": "placed", "Scope": ["default", "placed"]}]
    said = await (await http.put("/v1/search/fuzzy", json={"Text": "/bin/tr", "Context": "jobs"})).json()
    assert said["Matches"]["commands"] == [{"ID": "/bin/true", "Scope": ["default", "placed", "api", "app"]}]
    assert (await http.put("/v1/search/fuzzy", json={"Text": "x"})).status == 400


async def test_the_schedulers_settings_are_read_and_changed_with_a_check(http: Any) -> None:
    path = "/v1/operator/scheduler/configuration"
    said = await (await http.get(path)).json()
    settings = said["SchedulerConfig"]
    assert settings["SchedulerAlgorithm"] == "binpack"
    settings["SchedulerAlgorithm"] = "spread"
    stale = await (await http.put(f"{path}?cas=987654", json=settings)).json()
    assert stale["Updated"] is False
    assert (await (await http.put(path, json=settings)).json())["Updated"] is True
    assert (await (await http.get(path)).json())["SchedulerConfig"]["SchedulerAlgorithm"] == "spread"
    assert (await http.put(path, json={"SchedulerAlgorithm": "guess"})).status == 400


async def test_node_pools(http: Any) -> None:
    assert {pool["Name"] for pool in await (await http.get("/v1/node/pools")).json()} >= {"all", "default"}
    assert (await http.put("/v1/node/pools", json={"Name": "gpu", "Description": "d"})).status == 200
    assert (await (await http.get("/v1/node/pool/gpu")).json())["Description"] == "d"
    assert await (await http.get("/v1/node/pool/gpu/nodes")).json() == []
    assert await (await http.get("/v1/node/pool/gpu/jobs")).json() == []
    assert (await http.delete("/v1/node/pool/gpu")).status == 200
    assert (await http.get("/v1/node/pool/gpu")).status == 404
    assert (await http.delete("/v1/node/pool/default")).status == 400
    assert (await http.put("/v1/node/pools", json={"Name": "a b"})).status == 400


async def test_who_leads_and_who_is_there(http: Any, server: Any) -> None:
    assert await (await http.get("/v1/status/leader")).json() == server.leader_address
    assert await (await http.get("/v1/status/peers")).json() == [server.leader_address]
    assert await (await http.get("/v1/regions")).json() == ["global"]
    members = await (await http.get("/v1/agent/members")).json()
    member = members["Members"][0]
    assert f"{member['Addr']}:{member['Tags']['port']}" == server.leader_address
    me = await (await http.get("/v1/agent/self")).json()
    assert me["config"]["Region"] == "global"
    assert me["member"]["Name"] == member["Name"]
    health = await http.get("/v1/agent/health")
    assert await health.json() == {"server": {"ok": True, "message": "ok"}}
    peers = await (await http.get("/v1/operator/raft/configuration")).json()
    assert peers["Servers"][0]["Leader"] is True
    assert (await (await http.get("/v1/operator/autopilot/health")).json())["Healthy"] is True


async def test_cleaning_up_answers_200(http: Any) -> None:
    assert (await http.put("/v1/system/gc")).status == 200
    assert (await http.put("/v1/system/reconcile/summaries")).status == 200
    assert (await http.post("/v1/system/gc")).status == 405


async def test_metrics_in_both_forms(http: Any, placed: Any) -> None:
    said = await (await http.get("/v1/metrics")).json()
    assert {"Timestamp", "Gauges", "Points", "Counters", "Samples"} == set(said)
    response = await http.get("/v1/metrics?format=prometheus")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = await response.text()
    assert "# TYPE rove_nodes gauge\n" in text
    assert 'rove_nodes{status="ready"} 1\n' in text
    assert 'exported_job="placed"' in text


async def test_the_event_stream_begins_with_a_heartbeat_and_tells_of_a_new_job(http: Any, job: Any) -> None:
    async with asyncio.timeout(20):
        response = await http.get("/v1/event/stream?topic=Job:web&index=0")
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert await response.content.readline() == b"{}\n"
        await http.put("/v1/jobs", json={"Job": job("other")})
        await http.put("/v1/jobs", json={"Job": job("web")})
        batch: dict[str, Any] = {}
        while not batch:
            batch = json.loads(await response.content.readline())
    assert batch["Events"][0]["Topic"] == "Job"
    assert batch["Events"][0]["Key"] == "web"
    assert batch["Index"] > 0
    response.close()


@pytest.mark.parametrize("topic", ["Nope", "Job:", "Job:a&topic=Weather"])
async def test_an_unknown_topic_is_400(http: Any, topic: str) -> None:
    assert (await http.get(f"/v1/event/stream?topic={topic}")).status == 400


async def test_a_verb_that_this_server_lacks_is_501_or_served(http: Any, placed: Any) -> None:
    response = await http.put(f"/v1/node/{NODE_ID}/drain", json={"DrainSpec": {"Deadline": 0}})
    assert response.status in {200, 501}
