"""`rove operator simulate` says what would be missing, whatever step is to blame, and refuses what makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rove.simulate import Cluster, node

JOB = """
job "NAME" {
  group "g" {
    count = COUNT
    task "t" {
      driver = "mock_driver"
      config {}
      resources {
        cpu    = 10
        memory = MEMORY
      }
    }
  }
}
"""


def a_file(folder: Path, name: str, count: int = 1, memory: int = 10) -> str:
    text = JOB.replace("NAME", name).replace("COUNT", str(count)).replace("MEMORY", str(memory))
    file = folder / f"{name}.nomad.hcl"
    file.write_text(text)
    return str(file)


def a_snapshot(folder: Path, *jobs: str, nodes: int = 2, configuration: dict[str, Any] | None = None) -> str:
    with Cluster.of([node(f"n{number}", memory=1000) for number in range(nodes)]) as cluster:
        for job in jobs:
            cluster.submit(Path(job))
        value = json.loads(cluster.to_snapshot())
    value["SchedulerConfiguration"] |= configuration or {}
    file = folder / "cluster.json"
    file.write_text(json.dumps(value))
    return str(file)


def test_what_an_early_job_misses_is_said_at_the_end(rove: Any, tmp_path: Path) -> None:
    huge, ok = a_file(tmp_path, "huge", memory=100_000), a_file(tmp_path, "ok")
    begin = ("operator", "simulate", "-empty", "-add-node", "name=n,count=3")
    for files in ((huge, ok), (ok, huge)):
        result = rove(*begin, *files)
        assert result.code == 2
        assert 'job "huge", group "g": 1 allocation. 1 could not be placed' in result.out
        data = json.loads(rove(*begin, "-json-output", *files).out)
        assert [(each["JobID"], each["Count"], each["MissingBefore"]) for each in data["Missing"]] == [
            ("huge", 1, False)
        ]
    assert rove(*begin, ok).code == 0


def test_what_a_drain_leaves_without_room_counts_though_the_last_step_fits(rove: Any, tmp_path: Path) -> None:
    snapshot = a_snapshot(tmp_path, a_file(tmp_path, "web", count=4, memory=450))
    result = rove("operator", "simulate", "-snapshot", snapshot, "-drain-node", "n1", a_file(tmp_path, "ok"))
    assert result.code == 2
    assert 'job "web", group "g": ' in result.out


def test_what_was_missing_before_is_listed_without_any_step(rove: Any, tmp_path: Path) -> None:
    snapshot = a_snapshot(tmp_path, a_file(tmp_path, "web", count=5, memory=450))
    result = rove("operator", "simulate", "-snapshot", snapshot)
    assert result.code == 2
    assert 'job "web", group "g": 1 allocation, as before the first step. 1 could not be placed' in result.out


def test_a_paused_scheduler_decides_here_and_that_is_said(rove: Any, tmp_path: Path) -> None:
    snapshot = a_snapshot(tmp_path, configuration={"PauseEvalBroker": True})
    result = rove("operator", "simulate", "-snapshot", snapshot, a_file(tmp_path, "ok"))
    assert result.code == 0
    assert "The scheduler there is paused" in result.out
    assert "1 allocation placed" in result.out
    data = json.loads(rove("operator", "simulate", "-snapshot", snapshot, "-json-output").out)
    assert len(data["Notes"]) == 1


@pytest.mark.parametrize(
    ("specs", "why"),
    [
        (["name=a,count=2", "name=a,count=3"], "given twice"),
        (["name=n1"], "there already"),
        (["name=x,memory=lots"], 'memory is "lots", not a whole number'),
        (["name=x,memory=" + "9" * 31], "memory is 9999999999999999999999999999999, not between 0 and 1000000000"),
        (["name=x,count=0"], "count is 0, not between 1 and 100000"),
        (["name=x,networks=brigde"], '"brigde" is no network mode'),
        (["name=x,devices=gpu:2"], "device 'gpu' is not vendor/type/name"),
        (["name=x,drivers=docker+"], "drivers is ['docker', ''], not a list of words"),
        (["name=x,colour=red"], '"colour" is nothing a node has'),
        (["cpu=3"], "it has no name"),
    ],
)
def test_nodes_that_make_no_sense_are_refused(specs: list[str], why: str, rove: Any, tmp_path: Path) -> None:
    flags = [part for spec in specs for part in ("-add-node", spec)]
    result = rove("operator", "simulate", "-snapshot", a_snapshot(tmp_path), *flags)
    assert result.code == 1
    assert why in result.err


def test_a_node_of_the_command_line_has_networks_devices_and_volumes(rove: Any, tmp_path: Path) -> None:
    spec = "name=n,networks=host+bridge,host_networks=public,host_volumes=data,devices=nvidia/gpu/t4:2+intel/fpga/f1"
    saved = tmp_path / "saved.json"
    assert rove("operator", "simulate", "-empty", "-add-node", spec).code == 0
    with Cluster.of() as cluster:
        from rove.simulate import nodes_from_text

        cluster.add_node(*nodes_from_text(spec))
        saved.write_bytes(cluster.to_snapshot())
    (found,) = json.loads(saved.read_text())["Nodes"]
    assert [each["Mode"] for each in found["NodeResources"]["NodeNetworks"]] == ["host", "bridge"]
    assert [(each["Type"], len(each["Instances"])) for each in found["NodeResources"]["Devices"]] == [
        ("gpu", 2), ("fpga", 1),
    ]  # fmt: skip
    assert list(found["HostVolumes"]) == ["data"]


@pytest.mark.parametrize("text", ['{"Foo": [1]}', '{"ID": "web", "TaskGroups": []}', "{}", '{"Nodes": null}'])
def test_other_json_is_no_snapshot(text: str, rove: Any, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    result = rove("operator", "simulate", "-snapshot", str(file))
    assert result.code == 1
    assert "simulate.snapshot" in result.err
