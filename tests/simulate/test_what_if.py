"""What-if questions get the answers that the real server would give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rove.errors import BadRequestError, InvalidJobError, NotFoundError
from rove.jobspec import JobFileError
from rove.simulate import Cluster, node, read_dump
from rove.structs.node import PreemptionConfig, SchedulerConfiguration

WEB = """
job "web" {
  group "api" {
    count = COUNT
    task "server" {
      driver = "docker"
      config {
        image = "web:TAG"
      }
      resources {
        cpu    = 1000
        memory = 1024
      }
    }
  }
}
"""


def web(count: int, tag: str = "1") -> str:
    return WEB.replace("COUNT", str(count)).replace("TAG", tag)


def nodes(count: int, **fields: object) -> list:
    return [node(f"n{number}", cpu=4000, memory=8192, **fields) for number in range(count)]


def test_a_job_is_placed_and_its_outcome_says_where() -> None:
    with Cluster.of(nodes(2)) as cluster:
        outcome = cluster.submit(web(3))
        assert outcome.is_complete
        assert sum(outcome.by_node.values()) == 3
        assert [each.name for each in outcome.placed] == ["web.api[0]", "web.api[1]", "web.api[2]"]
        assert all(each.score and each.scores for each in outcome.placed)
        assert cluster.placements("web") == outcome.placed
        assert "3 of 3 running" in cluster.why("web")


def test_what_finds_no_room_is_missing_with_its_reasons_until_a_node_joins() -> None:
    with Cluster.of(nodes(2)) as cluster:
        outcome = cluster.submit(web(10))
        assert [(each.group, each.count) for each in outcome.missing] == [("api", 2)]
        assert "without cpu to spare" in outcome.failed["api"]
        outcome = cluster.add_node(node("late"))
        assert outcome.is_complete
        assert [each.node_name for each in outcome.placed] == ["late", "late"]


def test_a_failed_node_s_copies_are_replaced_elsewhere() -> None:
    with Cluster.of(nodes(3)) as cluster:
        held = cluster.submit(web(6)).by_node["n1"]
        outcome = cluster.fail_node("n1")
        assert len(outcome.stopped) == len(outcome.placed) == held
        assert "n1" not in outcome.by_node
        assert sum(outcome.by_node.values()) == 6


def test_a_removed_node_is_unknown_and_its_copies_are_replaced() -> None:
    with Cluster.of(nodes(3)) as cluster:
        cluster.submit(web(6))
        assert sum(cluster.remove_node("n0").by_node.values()) == 6
        with pytest.raises(NotFoundError):
            cluster.node("n0")


def test_a_drain_moves_everything_where_there_is_room() -> None:
    with Cluster.of(nodes(3)) as cluster:
        cluster.submit(web(6))
        outcome = cluster.drain_node("n2")
        assert "n2" not in outcome.by_node
        assert sum(outcome.by_node.values()) == 6
        assert cluster.node("n2").drain_strategy is None  # it came to its end


def test_a_drain_without_room_goes_on_until_its_deadline() -> None:
    with Cluster.of(nodes(2)) as cluster:
        cluster.submit(web(8))
        cluster.drain_node("n1", deadline_s=600)
        assert cluster.node("n1").drain_strategy is not None
        outcome = cluster.advance(601)
        assert cluster.node("n1").drain_strategy is None
        assert outcome.by_node == {"n0": 4}


def test_a_new_version_rolls_out_and_replaces_every_copy() -> None:
    with Cluster.of(nodes(3)) as cluster:
        cluster.submit(web(4))
        outcome = cluster.submit(web(4, tag="2"))
        assert len(outcome.placed) == len(outcome.stopped) == 4
        deployment = cluster.snapshot().latest_deployment("default", "web")
        assert deployment is not None
        assert deployment.status.value == "successful"


def test_a_job_of_higher_priority_preempts() -> None:
    configuration = SchedulerConfiguration(preemption_config=PreemptionConfig(service_scheduler_enabled=True))
    with Cluster.of(nodes(1), scheduler_configuration=configuration) as cluster:
        cluster.submit(web(4))
        urgent = web(1).replace('job "web" {', 'job "urgent" {\n  priority = 90')
        outcome = cluster.submit(urgent)
        assert outcome.is_complete, outcome.why
        assert [each.job_id for each in outcome.preempted] == ["web"]
        assert "3 of 4 running" in cluster.why("web")


def test_stopping_a_job_gives_its_room_back() -> None:
    with Cluster.of(nodes(1)) as cluster:
        cluster.submit(web(4))
        waiting = cluster.submit(web(2).replace('job "web"', 'job "other"'))
        assert not waiting.is_complete
        cluster.stop("web")
        assert len(cluster.placements("other")) == 2
        assert cluster.placements("web") == ()


def test_every_failing_check_of_a_node_is_explained() -> None:
    with Cluster.of([node("small", cpu=500, memory=512), node("far", datacenter="dc9")]) as cluster:
        job = web(1).replace('job "web" {', 'job "web" {\n  datacenters = ["dc1"]')
        kinds = {
            verdict.node_name: {obstacle.kind for obstacle in verdict.obstacles} for verdict in cluster.explain(job)
        }
        assert kinds == {"small": {"cpu", "memory"}, "far": {"datacenter"}}
        assert [verdict.node_name for verdict in cluster.explain(job, "far")] == ["far"]


def test_equal_steps_give_equal_outcomes_in_any_process() -> None:
    program = (
        "from rove.simulate import Cluster, node\n"
        "c = Cluster.of([node(f'n{i}', meta={'rack': f'r{i%3}'}) for i in range(9)], seed=7)\n"
        f"o = [c.submit({web(20)!r}), c.fail_node('n3'), c.submit({web(22, '2')!r}), c.drain_node('n1')]\n"
        "print(o)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_a_snapshot_gives_the_same_cluster_again(tmp_path: Path) -> None:
    with Cluster.of(nodes(3)) as first:
        first.submit(web(14))
        file = tmp_path / "cluster.json"
        file.write_bytes(first.to_snapshot())
        placed = [(each.name, each.node_name, each.alloc_id[:18]) for each in first.placements("web")]
        with Cluster.from_snapshot(file) as second:
            assert [(each.name, each.node_name, each.alloc_id[:18]) for each in second.placements("web")] == placed
            assert second.why("web") == first.why("web")
            # what was blocked there is woken here
            assert len(second.add_node(node("late")).placed) == 2
        packed = msgspec.msgpack.encode(json.loads(file.read_bytes()))
        assert read_dump(packed) == read_dump(file)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{", b'{"Nodes": 7}', b'{"Nodes": [{"ID": 7}]}', b'{"Jobs": [{"Type": "nonsense"}]}',
     b'{"Nodes": [], "Allocations": [{"ID": "x", "NodeID": 4}]}', b"\xff" * 9, b'{"Nodes":' + b"[" * 100_000,
     b'{"Foo": [1]}', b'{"Nodes": [], "TaskGroups": []}', b"{}", b'{"Nodes": null}',
     b'{"Nodes": [], "Jobs": [{"Type": "nonsense"}]}'],
)  # fmt: skip
def test_a_file_that_is_no_snapshot_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequestError) as caught:
        Cluster.from_snapshot(raw)
    assert caught.value.code == "simulate.snapshot"


def test_a_job_that_is_wrong_is_refused_with_every_reason() -> None:
    with Cluster.of(nodes(1)) as cluster:
        with pytest.raises(JobFileError):
            cluster.submit('job "web" {\n  group "api" {\n')
        with pytest.raises(InvalidJobError):
            cluster.submit({"ID": "web", "TaskGroups": [{"Name": "api", "Count": -1}]})
        with pytest.raises(BadRequestError):
            cluster.submit("web.nomad.hcl")
        assert cluster.placements() == ()


@pytest.mark.parametrize("job", [Path("/nonexistent/web.nomad.hcl"), Path("/"), 7, None, b"job {}"])
def test_what_is_no_job_is_refused(job: Any) -> None:
    with Cluster.of(nodes(1)) as cluster, pytest.raises(BadRequestError) as caught:
        cluster.submit(job)
    assert caught.value.code == "simulate.job"


def test_a_snapshot_of_a_paused_cluster_places_all_the_same() -> None:
    paused = SchedulerConfiguration(pause_eval_broker=True)
    with Cluster.of(nodes(2), scheduler_configuration=paused) as cluster:
        outcome = cluster.submit(web(2))
        assert outcome.is_complete
        assert len(outcome.placed) == 2


def test_copies_that_a_failed_roll_out_left_behind_are_missing_though_nothing_waits() -> None:
    late = web(12).replace(
        "count = 12", 'count = 12\n    update {\n      progress_deadline = "1m"\n      healthy_deadline = "30s"\n    }'
    )
    with Cluster.of(nodes(2)) as cluster:
        assert not cluster.submit(late).is_complete
        cluster.advance(3600)
        outcome = cluster.fail_node("n1")
        assert not outcome.is_complete
        assert len(cluster.placements("web")) + sum(each.count for each in outcome.missing) == 12
        assert cluster.missing() == outcome.missing
        assert "roll-out has failed" in outcome.why


def test_a_batch_job_that_is_done_misses_nothing() -> None:
    batch = web(2).replace('job "web" {', 'job "web" {\n  type = "batch"')
    with Cluster.of(nodes(2)) as cluster:
        cluster.submit(batch)
        value = json.loads(cluster.to_snapshot())
    for alloc in value["Allocations"]:
        alloc["ClientStatus"] = "complete"
    with Cluster.from_snapshot(json.dumps(value).encode()) as cluster:
        assert cluster.missing() == ()


def test_a_node_has_a_name_of_its_own() -> None:
    for given in (
        [node("n"), node("n")],
        [node("n", id="a"), node("n", id="b")],
        [node("a", id="x"), node("b", id="x")],
    ):
        with pytest.raises(BadRequestError) as caught:
            Cluster.of(given)
        assert caught.value.code == "simulate.node_known"
    with Cluster.of([node("n", id="a")]) as cluster:
        with pytest.raises(BadRequestError):
            cluster.add_node(node("n"))
        with pytest.raises(BadRequestError):
            cluster.add_node(node("m"), node("m"))
        assert len(cluster.nodes()) == 1
        cluster.remove_node("n")
        cluster.add_node(node("n"))


@pytest.mark.parametrize("given", ["abc", 7, node("n"), ["abc"], [None]])
def test_a_cluster_is_made_of_nodes(given: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        Cluster.of(given)
    assert caught.value.code == "simulate.node"
    with Cluster.of() as cluster, pytest.raises(BadRequestError):
        cluster.add_node("x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [{"memory": "x"}, {"memory": float("nan")}, {"memory": 10**30}, {"cpu": -5}, {"cpu": True}, {"cores": -1},
     {"meta": {"a": 1}}, {"meta": ["a"]}, {"attributes": {1: "a"}}, {"drivers": "docker"}, {"drivers": 3},
     {"drivers": ["a", 1]}, {"networks": ["brigde"]}, {"networks": ["cni/"]}, {"networks": "host"},
     {"networks": ["bridge"], "host_networks": ["public"]}, {"host_volumes": "data"}, {"devices": {"gpu": 1}},
     {"devices": {"nvidia/gpu/t4": "2"}}, {"devices": ["nvidia/gpu/t4"]}, {"node_pool": "all"}, {"node_pool": ""},
     {"datacenter": None}, {"node_class": 3}, {"id": 4}, {"name": ""}, {"name": " n"}, {"name": 3}],
)  # fmt: skip
def test_a_node_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as caught:
        node(**{"name": "n", **fields})
    assert caught.value.code == "simulate.node"
    assert caught.value.why
    assert len(str(caught.value)) < 800


def test_bridge_mode_host_networks_volumes_and_devices_are_given_where_a_node_has_them() -> None:
    job = web(2).replace(
        'task "server"',
        """network {
      mode = "bridge"
      port "http" {
        host_network = "public"
      }
    }
    volume "data" {
      type   = "host"
      source = "data"
    }
    service {
      provider = "nomad"
      port     = "http"
    }
    task "server\"""",
    )
    job = job.replace("memory = 1024", 'memory = 1024\n        device "nvidia/gpu" {\n          count = 2\n        }')
    fitting = node(
        "big", networks=["host", "bridge"], host_networks=["public"], host_volumes=["data"],
        devices={"nvidia/gpu/t4": 2},
    )  # fmt: skip
    with Cluster.of([*nodes(1), fitting]) as cluster:
        outcome = cluster.submit(job)
        assert outcome.by_node == {"big": 1}
        assert [each.count for each in outcome.missing] == [1]
        kinds = {obstacle.kind for obstacle in cluster.explain("web", "n0")[0].obstacles}
        assert {"constraint", "network", "volume", "device"} <= kinds


def test_a_group_that_is_not_there_is_not_explained() -> None:
    with Cluster.of(nodes(1)) as cluster:
        cluster.submit(web(1))
        with pytest.raises(NotFoundError) as caught:
            cluster.explain("web", group="typo")
        assert caught.value.code == "simulate.group"


def test_a_closed_cluster_says_so() -> None:
    with Cluster.of(nodes(1)) as cluster:
        outcome = cluster.submit(web(1))
    for use in (lambda: cluster.submit(web(2)), cluster.nodes, cluster.placements, lambda: cluster.advance(1)):
        with pytest.raises(BadRequestError) as caught:
            use()
        assert caught.value.code == "simulate.closed"
    cluster.close()
    assert outcome.is_complete


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "7"])
def test_time_passes_by_numbers(seconds: Any) -> None:
    with Cluster.of(nodes(1)) as cluster, pytest.raises(BadRequestError):
        cluster.advance(seconds)


async def test_it_works_where_an_event_loop_is_running() -> None:
    with Cluster.of(nodes(2)) as cluster:
        assert cluster.submit(web(2)).is_complete
