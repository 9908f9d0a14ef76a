"""Why not here: every failing check and the nearest miss; and a job in one paragraph."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from rove.server.scheduler import explain, why
from rove.structs.deployment import Deployment, DeploymentGroup
from rove.structs.node import DrainStrategy
from rove.structs.plan import SchedulerResult
from rove.testing.builders import a_constraint, a_job, a_node, a_version, an_alloc
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
    assert kinds(view, limited, "node-3") == ["distinct_property"]


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
