"""Registering, scaling and dispatching: no way around what a job file is held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rove.api import Backend

Body = dict[str, Any]


async def put(http: Any, path: str, body: Body, status: int = 200) -> str:
    """Send a body; the answer's text."""
    answer = await http.put(path, json=body)
    text: str = await answer.text()
    assert answer.status == status, text
    return text


async def read(http: Any, path: str) -> Any:
    return await (await http.get(path)).json()


def groups_of(body: Body, *counts: int) -> Body:
    """The job with a group of each count."""
    (group,) = body["TaskGroups"]
    body["TaskGroups"] = [{**group, "Name": f"g{at}", "Count": count} for at, count in enumerate(counts)]
    return body


def a_template(job: Callable[..., Body], **task: Any) -> Body:
    """A job to dispatch, that takes the meta key `k`."""
    body = job(Type="batch", ParameterizedJob={"MetaOptional": ["k"]})
    body["TaskGroups"][0]["Tasks"][0].update(task)
    return body


@pytest.mark.parametrize("priority", [-1, 101, 2**40])
async def test_an_evaluations_priority_out_of_range_is_refused(http: Any, job: Any, priority: int) -> None:
    text = await put(http, "/v1/jobs", {"Job": job(), "EvalPriority": priority}, 400)
    assert "between 0 and 100" in text
    for allowed in (0, 100):
        await put(http, "/v1/jobs", {"Job": job(), "EvalPriority": allowed})


async def test_scaling_keeps_to_the_most_that_all_groups_may_have(http: Any, job: Any) -> None:
    await put(http, "/v1/jobs", {"Job": groups_of(job(Type="batch"), 30_000, 1)})
    text = await put(http, "/v1/job/web/scale", {"Target": {"Group": "g1"}, "Count": 30_000}, 400)
    assert "add up to 60000" in text
    await put(http, "/v1/job/web/scale", {"Target": {"Group": "g1"}, "Count": 20_000})


async def test_a_system_job_is_not_scaled(http: Any, job: Any) -> None:
    await put(http, "/v1/jobs", {"Job": groups_of(job(Type="system"), 1)})
    text = await put(http, "/v1/job/web/scale", {"Target": {"Group": "g0"}, "Count": 5}, 400)
    assert "cannot be scaled" in text


async def test_a_count_is_not_preserved_beyond_the_new_scaling_block(http: Any, job: Any) -> None:
    await put(http, "/v1/jobs", {"Job": groups_of(job(), 9)})
    body = groups_of(job(), 2)
    body["TaskGroups"][0]["Scaling"] = {"Min": 1, "Max": 3}
    text = await put(http, "/v1/jobs", {"Job": body, "PreserveCounts": True}, 500)
    assert "the count (9) is outside of min (1) and max (3)" in text
    assert "preserved" in text


async def test_a_scaling_of_another_namespace_or_with_endless_meta_is_refused(http: Any, job: Any) -> None:
    await put(http, "/v1/jobs", {"Job": job(Type="batch")})
    target = {"Group": "api", "Namespace": "prod"}
    assert "prod" in await put(http, "/v1/job/web/scale", {"Target": target, "Count": 3}, 400)
    body = {"Target": {"Group": "api"}, "Count": 3, "Meta": {"x": "y" * (1 << 20)}}
    assert "larger than" in await put(http, "/v1/job/web/scale", body, 400)
    await put(http, "/v1/job/web/scale", {"Target": {**target, "Namespace": "default"}, "Count": 3})


@pytest.mark.parametrize(
    ("capabilities", "words"),
    [
        ({"EnabledTaskDrivers": ["docker"]}, 'namespace "prod" does not allow the driver "raw_exec"'),
        ({"disabledTaskDrivers": ["raw_exec"]}, 'the driver "raw_exec"'),
        ({"EnabledNetworkModes": ["bridge"]}, 'the network mode "host"'),
        ({"DisabledNetworkModes": ["host"]}, 'the network mode "host"'),
    ],
)
async def test_a_namespace_says_which_drivers_and_networks_it_allows(
    http: Any, job: Any, capabilities: Body, words: str
) -> None:
    body = job(Namespace="prod")
    body["TaskGroups"][0]["Networks"] = [{"Mode": "host"}]
    await put(http, "/v1/namespace", {"Name": "prod", "Capabilities": capabilities})
    assert words in await put(http, "/v1/jobs", {"Job": body}, 500)
    assert words in await put(http, "/v1/job/web/plan", {"Job": body}, 500)
    await put(http, "/v1/namespace", {"Name": "prod", "Capabilities": {"EnabledTaskDrivers": ["raw_exec"]}})
    await put(http, "/v1/jobs", {"Job": body})


async def test_capabilities_are_lists_of_names(http: Any) -> None:
    for wrong in ("raw_exec", [1], {"raw_exec": True}):
        await put(http, "/v1/namespace", {"Name": "n", "Capabilities": {"EnabledTaskDrivers": wrong}}, 400)


async def test_a_stopped_job_that_is_read_and_put_back_stays_stopped(http: Any, job: Any) -> None:
    await put(http, "/v1/jobs", {"Job": job()})
    await http.delete("/v1/job/web")
    stopped = await read(http, "/v1/job/web")
    await put(http, "/v1/jobs", {"Job": stopped})
    again = await read(http, "/v1/job/web")
    assert (again["Stop"], again["Version"]) == (True, stopped["Version"])
    await put(http, "/v1/jobs", {"Job": {**stopped, "Stop": False}})
    assert (await read(http, "/v1/job/web"))["Stop"] is False
    await put(http, "/v1/jobs", {"Job": {**stopped, "Stop": True}})
    assert (await read(http, "/v1/job/web"))["Stop"] is True


async def test_going_back_to_a_stopped_version_starts_it(http: Any, job: Any) -> None:
    await put(http, "/v1/jobs", {"Job": job()})
    await http.delete("/v1/job/web")
    await put(http, "/v1/jobs", {"Job": job(Priority=60)})
    await put(http, "/v1/job/web/revert", {"JobID": "web", "JobVersion": 1})
    reverted = await read(http, "/v1/job/web")
    assert (reverted["Stop"], reverted["Version"], reverted["Priority"]) == (False, 3, 50)


@pytest.mark.parametrize("where", ["job", "body"])
async def test_a_job_for_another_region_is_refused(http: Any, job: Any, where: str) -> None:
    named = {"Job": job(Region="mars")} if where == "job" else {"Job": job(), "Region": "mars"}
    assert "No path to region" in await put(http, "/v1/jobs", named, 500)
    assert await read(http, "/v1/jobs") == []


@pytest.mark.parametrize("region", [None, "", "global", "eu"])
async def test_a_job_without_a_region_is_for_this_one(serve: Any, server: Any, job: Any, region: str | None) -> None:
    http = await serve(Backend(server=server, region="eu"))
    await put(http, "/v1/jobs", {"Job": job(Region=region)})
    assert (await read(http, "/v1/job/web"))["Region"] == "eu"


async def test_a_source_above_a_megabyte_is_not_kept(http: Any, job: Any) -> None:
    source = {"Source": "x" * 1_000_001, "Format": "hcl2"}
    assert "not kept" in await put(http, "/v1/jobs", {"Job": job(), "Submission": source})
    assert (await http.get("/v1/job/web/submission?version=0")).status == 404
    await put(http, "/v1/jobs", {"Job": job(Priority=60), "Submission": {**source, "Source": "x" * 1_000_000}})
    assert (await http.get("/v1/job/web/submission?version=1")).status == 200


@pytest.mark.parametrize("odd", ["a\x85b", "a\u202eb", "a\u200bb", "a\u2028b", "a\u00a0b"])
async def test_ids_and_tags_have_no_characters_that_cannot_be_seen(http: Any, job: Any, odd: str) -> None:
    assert "an id may not hold" in await put(http, "/v1/jobs", {"Job": job(odd)}, 500)
    await put(http, "/v1/jobs", {"Job": job()})
    answer = await http.post(f"/v1/job/web/versions/{odd}/tag", json={})
    assert answer.status == 400
    assert "may not hold" in await answer.text()


async def test_a_job_needs_an_id_of_its_own(http: Any, job: Any) -> None:
    assert "a job needs an id" in await put(http, "/v1/jobs", {"Job": job("", Name="web")}, 500)


async def test_the_meta_of_a_dispatch_has_a_limit(http: Any, job: Any) -> None:
    await put(http, "/v1/jobs", {"Job": a_template(job)})
    text = await put(http, "/v1/job/web/dispatch", {"Meta": {"k": "x" * 70_000}}, 400)
    assert "65536 are allowed" in text
    await put(http, "/v1/job/web/dispatch", {"Meta": {"k": "x" * 60_000}})


async def test_meta_and_variables_hold_no_nul_bytes(http: Any, job: Any) -> None:
    await put(http, "/v1/jobs", {"Job": a_template(job)})
    assert "NUL" in await put(http, "/v1/job/web/dispatch", {"Meta": {"k": "a\0b"}}, 400)
    for task in ({"Env": {"K": "a\0b"}}, {"Meta": {"K": "a\0b"}}, {"Meta": {"a\0b": ""}}):
        assert "NUL" in await put(http, "/v1/jobs", {"Job": a_template(job, **task)}, 500)
    assert "NUL" in await put(http, "/v1/jobs", {"Job": job(Meta={"k": "a\0b"})}, 500)


@pytest.mark.parametrize("file", ["", ".", "/etc/x", "../x", "a/../b", "a\0b"])
async def test_a_payload_goes_below_local(http: Any, job: Any, file: str) -> None:
    body = a_template(job, DispatchPayload={"File": file})
    assert "local/" in await put(http, "/v1/jobs", {"Job": body}, 500)
    await put(http, "/v1/jobs", {"Job": a_template(job, DispatchPayload={"File": "in/put.json"})})


async def test_conditions_and_policies_that_mean_nothing_are_refused(http: Any, job: Any) -> None:
    forgotten = [{"LTarget": "${attr.kernel.name}", "Operand": "=", "RTarget": ""}]
    assert '"=" needs a value' in await put(http, "/v1/jobs", {"Job": job(Constraints=forgotten)}, 500)
    body = job()
    body["TaskGroups"][0]["Scaling"] = {"Min": 1, "Max": 3, "Type": "bogus"}
    assert '"bogus" is not allowed' in await put(http, "/v1/jobs", {"Job": body}, 500)
    usual = [{"LTarget": "${attr.kernel.name}", "Operand": "", "RTarget": "linux"}]
    await put(http, "/v1/jobs", {"Job": job(Constraints=usual)})
    assert (await read(http, "/v1/job/web"))["Constraints"][0]["Operand"] == "="


async def test_settings_of_the_scheduler_are_held_to_what_they_mean(http: Any) -> None:
    path = "/v1/operator/scheduler/configuration"
    assert "below zero" in await put(http, path, {"NodeLimitForFeasibilityChecks": -1}, 400)
    await put(http, path, {"SchedulerAlgorithm": ""})
    assert (await read(http, path))["SchedulerConfig"]["SchedulerAlgorithm"] == "binpack"
