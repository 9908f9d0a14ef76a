"""Why not here: every failing check and the nearest miss; and a job in one paragraph."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from rove.server.scheduler import explain, nearest_miss, why
from rove.structs.alloc import AllocMetric
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus
from rove.structs.job import NetworkResource, Port, VolumeRequest
from rove.structs.node import DrainStrategy, HostVolume, SchedulerConfiguration
from rove.structs.plan import SchedulerResult
from rove.structs.resources import AllocatedPort, AllocatedResources, AllocatedShared
from rove.testing.builders import (
    a_constraint,
    a_job,
    a_node,
    a_restarting_version,
    a_version,
    an_alloc,
    an_update,
)
from rove.testing.fleet import FakeView

Run = Callable[..., SchedulerResult]


def kinds(view: FakeView, job, node: str) -> list[str]:  # type: ignore[no-untyped-def]
    (verdict,) = explain(job, "api", view, node)
    return [obstacle.kind for obstacle in verdict.obstacles]


def test_a_node_that_fits_has_nothing_against_it() -> None:
    job = a_job()
    (verdict,) = explain(job, "api", FakeView([a_node()], [job]))
    assert verdict.fits


def test_every_failing_check_is_listed_not_only_the_first() -> None:
    job = a_job(
        cpu=500, memory=9000, disk=1, datacenters=("eu-*",), node_pool="gpu", static_ports={"http": 80},
        constraints=(a_constraint("${meta.rack}", "=", "r1"), a_constraint("${attr.cpu.arch}", "=", "arm64")),
    )  # fmt: skip
    node = a_node("n1", name="alpha", cpu=100, drivers=(), drain_strategy=DrainStrategy())
    view = FakeView([node], [job])
    assert kinds(view, job, "alpha") == [
        "state", "datacenter", "node_pool", "driver", "constraint", "constraint", "cpu", "memory",
    ]  # fmt: skip
    (verdict,) = explain(job, "api", view, "n1")
    texts = [obstacle.text for obstacle in verdict.obstacles]
    assert "'amd64'" in texts[5]
    assert texts[6] == "400 MHz of cpu short: asks 500, 100 of 100 free"
    assert texts[7].startswith("808 MiB of memory short")


def test_the_nearest_miss_comes_first() -> None:
    job = a_job(memory=1000, constraints=(a_constraint("${meta.ok}", "=", "1"),))
    nodes = [
        a_node("far", memory=100, meta={"ok": "1"}),
        a_node("near", memory=880, meta={"ok": "1"}),
        a_node("wrong", memory=8000),
    ]
    verdicts = explain(job, "api", FakeView(nodes, [job]))
    assert [verdict.node_id for verdict in verdicts] == ["near", "far", "wrong"]
    assert verdicts[0].obstacles[0].short_by == 120


def test_distinct_rules_and_ports_name_what_is_in_the_way() -> None:
    job = a_job(count=2, static_ports={"http": 80}, constraints=(a_constraint("", "distinct_hosts", "true"),))
    alloc = an_alloc(job, 0)
    assert kinds(FakeView([a_node("node-1")], [job], [alloc]), job, "node-1") == ["distinct_hosts"]
    limited = a_job(count=2, constraints=(a_constraint("${meta.rack}", "distinct_property", "1"),))
    nodes = [a_node("node-1", meta={"rack": "a"}), a_node("node-2", meta={"rack": "a"}), a_node("node-3")]
    view = FakeView(nodes, [limited], [an_alloc(limited, 0)])
    assert kinds(view, limited, "node-2") == ["distinct_property"]
    assert kinds(view, limited, "node-3") == ["constraint"]  # no room would mend that


def test_unknown_names_give_nothing() -> None:
    job = a_job()
    view = FakeView([a_node()], [job])
    assert explain(job, "nope", view) == ()
    assert explain(job, "api", view, "nope") == ()


def test_why_says_what_runs_what_is_missing_and_the_nearest_miss(run: Run) -> None:
    job = a_job(count=3, memory=5000)
    view = FakeView([a_node("n1", name="alpha", memory=8000), a_node("n2", name="beta", memory=4000)], [job])
    result = run(view, job)
    text = why(job, view.carry_out(result.plan), result.failed)
    assert "0 of 3 running, 1 starting" in text
    assert "2 could not be placed" in text
    assert "2 without memory to spare" in text
    assert "The nearest miss is beta: 1,000 MiB of memory short" in text
    assert "\n" not in text


def test_why_speaks_of_failures_promotion_and_stopped_jobs() -> None:
    job = a_job(count=1)
    failed = an_alloc(job, 0, client_status="failed", followup_eval_id="e")
    deployment = Deployment(
        id="d", namespace="default", job_id="web",
        task_groups={"api": DeploymentGroup(desired_canaries=2, healthy_allocs=1, desired_total=3)},
    )  # fmt: skip
    view = FakeView([a_node("node-1")], [job], [failed], [deployment])
    text = why(job, view, {})
    assert "1 failed, 1 of them will be replaced after a pause" in text
    assert '1 of 2 canaries of "api" are healthy, not promoted yet' in text
    assert "stopped" in why(a_version(job, stop=True), view, {})
    assert "no ready node" in why(job, FakeView([], [job]), {"api": replace(failed, metrics=None) and metric()})


def metric():  # type: ignore[no-untyped-def]
    from rove.structs.alloc import AllocMetric

    return AllocMetric(node_pool="default")


def test_every_taken_port_is_named_and_a_missing_network_hides_none() -> None:
    holder = a_job("holder", static_ports={"a": 8081, "b": 8082})
    ports = tuple(Port(label=f"p{port}", value=port) for port in (8081, 8082, 8083))
    job = a_job(
        networks=(NetworkResource(mode="bridge", reserved_ports=(*ports, Port(label="x", host_network="pub"))),)
    )
    view = FakeView([a_node()], [holder, job], [an_alloc(holder, 0, allocated_resources=_holding(8081, 8082))])
    (verdict,) = explain(job, "api", view)
    assert [obstacle.text for obstacle in verdict.obstacles] == [
        'network mode "bridge" is not available', 'host network "pub" of port "x" does not exist',
        "port 8081 is taken", "port 8082 is taken",
    ]  # fmt: skip


def test_a_volume_a_copy_is_looked_for_under_the_next_free_index() -> None:
    volume = VolumeRequest(name="data", type="host", source="data", per_alloc=True)
    job = a_job(count=2, volumes={"data": volume})
    node = a_node(host_volumes={"data[0]": HostVolume(name="data[0]", path="/d")})
    view = FakeView([node], [job], [an_alloc(job, 0)])
    (verdict,) = explain(job, "api", view)
    assert [obstacle.text for obstacle in verdict.obstacles] == ['host volume "data[1]" is not offered by the node']


def test_a_node_that_lacks_only_room_is_nearer_than_one_that_can_never_fit() -> None:
    job = a_job(memory=9000, static_ports={"http": 80}, constraints=(a_constraint("${node.unique.name}", "=", "b1"),))
    holder = a_job("holder")
    taken = an_alloc(holder, 0, node="b1", allocated_resources=_holding(80))
    view = FakeView([a_node("a2", memory=10_000), a_node("b1")], [job, holder], [taken])
    assert [verdict.node_id for verdict in explain(job, "api", view)] == ["b1", "a2"]
    assert nearest_miss(job, "api", view).startswith("The nearest miss is b1: port 80 is taken; ")


def test_a_system_job_names_the_node_without_its_copy_as_the_nearest_miss() -> None:
    job = a_job(type="system", memory=1000)
    view = FakeView([a_node("has"), a_node("full", memory=600)], [job], [an_alloc(job, 0, node="has")])
    assert "full: 400 MiB of memory short" in nearest_miss(job, "api", view)
    assert kinds(view, job, "has") == ["present"]


def test_a_dry_run_explains_how_things_are_when_it_is_carried_out(run: Run) -> None:
    job = a_job(count=1, memory=5000, static_ports={"http": 80}, update=an_update(max_parallel=1))
    view = FakeView([a_node()], [job])
    view = view.carry_out(run(view, job).plan)
    new = a_restarting_version(a_job(memory=6000, static_ports={"http": 80}, update=an_update(max_parallel=1)))
    result = run(view.changed(jobs=[new]), new)
    (verdict,) = explain(new, "api", view.changed(jobs=[new]), plan=result.plan)
    assert [obstacle.text for obstacle in verdict.obstacles] == [
        "port 80 is taken", "3,808 MiB of memory short: asks 6,000, 2,192 of 8,192 free",
    ]  # fmt: skip


def test_a_paused_scheduler_and_a_failed_roll_out_are_reasons() -> None:
    job = a_job(count=3)
    paused = FakeView([a_node()], [job], configuration=SchedulerConfiguration(pause_eval_broker=True))
    assert "The scheduler is paused" in why(job, paused, {})
    failed = Deployment(
        id="d", namespace="default", job_id="web", status=DeploymentStatus.FAILED, status_description="x"
    )
    view = FakeView([a_node()], [job], [an_alloc(job, 0)], [failed])
    assert "2 more are held back" in why(job, view, {})


def test_what_is_exhausted_is_told_in_words() -> None:
    metric = AllocMetric(
        nodes_evaluated=1, dimension_exhausted={"network: port 80 is taken": 1, "memory": 1, "node_max_allocs": 1}
    )
    view = FakeView([a_node()], [a_job()])
    said = why(a_job(), view, {"api": metric})
    assert "of 1 node: " in said
    assert "1 where port 80 is taken" in said
    assert "1 without memory to spare" in said
    assert "1 with as many allocations as they may hold" in said


def _holding(*ports: int) -> AllocatedResources:
    given = tuple(AllocatedPort(label=f"p{port}", value=port) for port in ports)
    return AllocatedResources(tasks={}, shared=AllocatedShared(ports=given))
