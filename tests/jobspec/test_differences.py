"""What changed between two versions, in Nomad's words, and what it makes the scheduler do."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rove.errors import RoveError
from rove.jobspec import (
    annotate,
    canonicalize,
    decode_api_job,
    diff_jobs,
    job_to_api,
    parse_job,
    spec_changed,
)
from rove.structs.job import Job, JobStatus, JobVersionTag
from rove.structs.plan import DesiredUpdates

Make = Callable[..., Job]


def group_of(diff: dict[str, Any]) -> dict[str, Any]:
    group: dict[str, Any] = diff["TaskGroups"][0]
    return group


def task_of(diff: dict[str, Any]) -> dict[str, Any]:
    task: dict[str, Any] = group_of(diff)["Tasks"][0]
    return task


def test_a_new_job_is_added_from_top_to_bottom(make_job: Make) -> None:
    diff = diff_jobs(None, make_job())
    assert (diff["Type"], diff["ID"]) == ("Added", "j")
    assert {each["Type"] for each in diff["Fields"]} == {"Added"}
    assert group_of(diff)["Type"] == "Added"
    assert task_of(diff)["Type"] == "Added"
    names = {each["Name"]: each["New"] for each in diff["Fields"]}
    assert names["Priority"] == "50"
    assert names["AllAtOnce"] == "false"


def test_a_job_that_goes_away_is_deleted(make_job: Make) -> None:
    diff = diff_jobs(make_job(), None)
    assert (diff["Type"], diff["ID"]) == ("Deleted", "j")
    assert task_of(diff)["Type"] == "Deleted"


def test_nothing_changed_is_none_and_still_lists_groups_and_tasks(make_job: Make) -> None:
    diff = diff_jobs(make_job(), make_job())
    assert diff["Type"] == group_of(diff)["Type"] == task_of(diff)["Type"] == "None"
    assert diff["Fields"] == group_of(diff)["Fields"] == []


def test_an_edited_field_has_old_and_new(make_job: Make) -> None:
    diff = diff_jobs(make_job(), make_job(job="priority = 70"))
    assert diff["Type"] == "Edited"
    assert diff["Fields"] == [{"Type": "Edited", "Name": "Priority", "Old": "50", "New": "70", "Annotations": None}]


def test_context_shows_the_fields_around(make_job: Make) -> None:
    old, new = make_job(), make_job(task="resources { cpu = 200 }")
    plain = task_of(diff_jobs(old, new))["Objects"][0]
    around = task_of(diff_jobs(old, new, contextual=True))["Objects"][0]
    assert [field["Name"] for field in plain["Fields"]] == ["CPU"]
    assert {field["Name"]: field["Type"] for field in around["Fields"]}["MemoryMB"] == "None"
    assert {field["Name"]: field["Type"] for field in around["Fields"]}["CPU"] == "Edited"


def test_maps_are_fields_with_their_key(make_job: Make) -> None:
    diff = diff_jobs(make_job(task='env {\n A = "1"\n B = "2"\n}'), make_job(task='env {\n A = "9"\n C = "3"\n}'))
    assert [(field["Type"], field["Name"], field["Old"], field["New"]) for field in task_of(diff)["Fields"]] == [
        ("Edited", "Env[A]", "1", "9"),
        ("Deleted", "Env[B]", "2", ""),
        ("Added", "Env[C]", "", "3"),
    ]


def test_driver_config_is_an_object_with_paths(make_job: Make) -> None:
    old = make_job(config='config {\n command = "x"\n args = ["a", "b"]\n}')
    new = make_job(config='config {\n command = "x"\n args = ["a", "c"]\n}')
    config = task_of(diff_jobs(old, new))["Objects"][0]
    assert (config["Type"], config["Name"]) == ("Edited", "Config")
    assert [(field["Name"], field["Old"], field["New"]) for field in config["Fields"]] == [("args[1]", "b", "c")]


def test_lists_of_texts_are_objects_of_their_name(make_job: Make) -> None:
    diff = diff_jobs(make_job(job='datacenters = ["a", "b"]'), make_job(job='datacenters = ["b", "c"]'))
    assert diff["Objects"] == [
        {
            "Type": "Edited",
            "Name": "Datacenters",
            "Fields": [
                {"Type": "Deleted", "Name": "Datacenters", "Old": "a", "New": "", "Annotations": None},
                {"Type": "Added", "Name": "Datacenters", "Old": "", "New": "c", "Annotations": None},
            ],
            "Objects": None,
        }
    ]


def test_blocks_are_found_again_by_name(make_job: Make) -> None:
    service = 'service {{\n name = "a"\n provider = "nomad"\n tags = ["{}"]\n}}\n'
    service += 'service {{\n name = "b"\n provider = "nomad"\n}}'
    diff = diff_jobs(make_job(group=service.format("x")), make_job(group=service.format("y")))
    objects = group_of(diff)["Objects"]
    assert [(each["Type"], each["Name"]) for each in objects] == [("Edited", "Service")]
    assert objects[0]["Objects"][0]["Name"] == "Tags"


def test_constraints_that_differ_are_one_gone_and_one_come(make_job: Make) -> None:
    one = 'constraint {{\n attribute = "${{node.class}}"\n value = "{}"\n}}'
    diff = diff_jobs(make_job(job=one.format("a")), make_job(job=one.format("b")))
    assert [(each["Type"], each["Name"]) for each in diff["Objects"]] == [
        ("Deleted", "Constraint"),
        ("Added", "Constraint"),
    ]


def test_ports_are_objects_of_the_network(make_job: Make) -> None:
    old = make_job(group='network {\n port "a" {}\n}')
    new = make_job(group='network {\n port "a" {}\n port "b" { static = 80 }\n}')
    network = group_of(diff_jobs(old, new))["Objects"][0]
    assert (network["Type"], network["Name"]) == ("Edited", "Network")
    assert [(each["Type"], each["Name"]) for each in network["Objects"]] == [("Added", "Static Port")]


def test_groups_and_tasks_come_and_go_by_name(make_job: Make, api_job: Callable[..., Any]) -> None:
    old, new = make_job(), make_job(group='task "extra" {\n driver = "raw_exec"\n config { command = "y" }\n}')
    tasks = group_of(diff_jobs(old, new))["Tasks"]
    assert [(task["Name"], task["Type"]) for task in tasks] == [("extra", "Added"), ("t", "None")]


def test_volumes_are_objects_found_again_by_name(make_job: Make) -> None:
    volume = 'volume "v" {{\n type = "host"\n source = "{}"\n}}'
    diff = diff_jobs(make_job(group=volume.format("a")), make_job(group=volume.format("b")))
    assert [(each["Type"], each["Name"]) for each in group_of(diff)["Objects"]] == [("Edited", "Volume")]


def test_equal_blocks_are_counted(make_job: Make) -> None:
    one = 'constraint {\n attribute = "${node.class}"\n value = "a"\n}\n'
    diff = diff_jobs(make_job(job=one), make_job(job=one + one))
    assert [(each["Type"], each["Name"]) for each in diff["Objects"]] == [("Added", "Constraint")]


def test_lists_in_another_order_show_what_they_hold(make_job: Make) -> None:
    diff = diff_jobs(make_job(job='datacenters = ["a", "b"]'), make_job(job='datacenters = ["b", "a"]'))
    assert {field["Type"] for field in diff["Objects"][0]["Fields"]} == {"None"}
    assert diff["Type"] == "Edited"


def test_an_entry_without_a_value_is_seen_to_come_and_go(make_job: Make) -> None:
    empty = make_job(task='env { A = "" }')
    assert task_of(diff_jobs(make_job(), empty))["Fields"][0]["Type"] == "Added"
    assert task_of(diff_jobs(empty, make_job()))["Fields"][0]["Type"] == "Deleted"


@pytest.mark.parametrize("seed", range(20))
def test_a_diff_shows_a_change_exactly_when_there_is_one(seed: int, corpus: list[Path]) -> None:
    rng = random.Random(seed)
    jobs = [canonicalize(parse_job(file.read_text()).api) for file in rng.sample(corpus, 8)]
    seen = {True: 0, False: 0}
    for _ in range(60):
        old = rng.choice(jobs)
        api = job_to_api(old)
        group = rng.choice(api["TaskGroups"])
        target = rng.choice([group, *group["Tasks"], group["RestartPolicy"], *group["Services"], *group["Networks"]])
        key = rng.choice(sorted(target))
        target[key] = rng.choice([target[key], 7, "other", True, [], {}, {"k": "v"}, None])
        try:
            new = canonicalize(decode_api_job(api))
        except RoveError:
            continue
        seen[spec_changed(old, new)] += 1
        assert (diff_jobs(old, new)["Type"] == "Edited") == spec_changed(old, new), key
    assert seen[True]
    assert seen[False]


# -- is it the same job? -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"type": "system"},
        {"type": "batch", "job": 'periodic { cron = "@daily" }'},
        {"type": "sysbatch", "job": "parameterized {}"},
    ],
)
def test_what_the_server_writes_is_no_change(make_job: Make, parts: dict[str, str]) -> None:
    job = make_job(**parts)
    stored = msgspec.structs.replace(
        job, status=JobStatus.RUNNING, status_description="x", version=7, stable=True, submit_time=9,
        create_index=1, modify_index=2, job_modify_index=3, version_tag=JobVersionTag(name="v"),
    )  # fmt: skip
    assert not spec_changed(stored, job)
    assert not spec_changed(job, stored)
    assert diff_jobs(stored, job)["Type"] == "None"


@pytest.mark.parametrize(
    "change",
    [
        {"job": "priority = 51"},
        {"job": 'meta { a = "1" }'},
        {"group": "count = 2"},
        {"group": "update { max_parallel = 2 }"},
        {"task": 'env { A = "1" }'},
        {"config": 'config { command = "y" }'},
    ],
)
def test_what_a_person_writes_is_a_change(make_job: Make, change: dict[str, str]) -> None:
    assert spec_changed(make_job(), make_job(**change))
    assert diff_jobs(make_job(), make_job(**change))["Type"] == "Edited"


def test_stopping_is_a_change(make_job: Make) -> None:
    assert spec_changed(make_job(), msgspec.structs.replace(make_job(), stop=True))


# -- annotations -------------------------------------------------------------------------------------


def annotated(old: Job | None, new: Job, **updates: int) -> dict[str, Any]:
    return annotate(diff_jobs(old, new), {"g": DesiredUpdates(**updates)})


def test_counts_of_the_scheduler_get_their_labels(make_job: Make) -> None:
    group = group_of(
        annotated(make_job(), make_job(), place=1, stop=2, migrate=3, canary=4, in_place_update=5,
                  destructive_update=6, ignore=7)
    )  # fmt: skip
    assert group["Updates"] == {
        "create": 1, "destroy": 2, "migrate": 3, "canary": 4, "in-place update": 5, "create/destroy update": 6,
        "ignore": 7,
    }  # fmt: skip


def test_updates_may_also_be_api_values(make_job: Make) -> None:
    diff = annotate(diff_jobs(None, make_job()), {"g": {"Place": 3, "Stop": 0}})
    assert group_of(diff)["Updates"] == {"create": 3}


@pytest.mark.parametrize(("old", "new", "mark"), [(1, 3, "forces create"), (3, 1, "forces destroy")])
def test_a_changed_count_says_what_it_forces(make_job: Make, old: int, new: int, mark: str) -> None:
    group = group_of(annotated(make_job(group=f"count = {old}"), make_job(group=f"count = {new}")))
    assert group["Fields"][0]["Annotations"] == [mark]


@pytest.mark.parametrize(
    ("change", "mark"),
    [
        ({"config": 'config { command = "y" }'}, "forces create/destroy update"),
        ({"task": 'env { A = "1" }'}, "forces create/destroy update"),
        ({"task": 'meta { A = "1" }'}, "forces create/destroy update"),
        ({"task": 'user = "x"'}, "forces create/destroy update"),
        ({"task": "resources { cpu = 1 }"}, "forces create/destroy update"),
        ({"task": 'artifact { source = "x" }'}, "forces create/destroy update"),
        ({"task": 'template {\n data = "x"\n destination = "x"\n}'}, "forces create/destroy update"),
        ({"task": "logs { disabled = true }"}, "forces create/destroy update"),
        ({"task": "logs { max_files = 3 }"}, "forces in-place update"),
        ({"task": 'kill_timeout = "9s"'}, "forces in-place update"),
        ({"task": 'service {\n name = "s"\n provider = "nomad"\n}'}, "forces in-place update"),
        ({"task": 'constraint {\n attribute = "${node.class}"\n value = "x"\n}'}, "forces in-place update"),
        ({"task": "restart { attempts = 1 }"}, "forces in-place update"),
        ({"task": 'action "a" { command = "x" }'}, "forces in-place update"),
    ],
)
def test_a_changed_task_says_whether_it_must_start_anew(make_job: Make, change: dict[str, str], mark: str) -> None:
    assert task_of(annotated(make_job(), make_job(**change)))["Annotations"] == [mark]


def test_new_tasks_are_created_and_unchanged_ones_say_nothing(make_job: Make) -> None:
    assert task_of(annotated(None, make_job()))["Annotations"] == ["forces create"]
    assert task_of(annotated(make_job(), make_job()))["Annotations"] is None


def test_a_task_that_goes_with_its_group_is_destroyed_one_that_goes_alone_replaces_its_group(make_job: Make) -> None:
    extra = make_job(group='task "extra" {\n driver = "raw_exec"\n config { command = "y" }\n}')
    alone = group_of(annotated(extra, make_job()))["Tasks"][0]
    gone = group_of(annotate(diff_jobs(make_job(), None), {}))["Tasks"][0]
    assert alone["Annotations"] == ["forces create/destroy update"]
    assert gone["Annotations"] == ["forces destroy"]


def test_an_unchanged_count_in_context_says_nothing(make_job: Make) -> None:
    diff = annotate(diff_jobs(make_job(), make_job(group='meta { a = "1" }'), contextual=True), {})
    count = next(field for field in group_of(diff)["Fields"] if field["Name"] == "Count")
    assert count["Annotations"] is None


def test_a_service_in_the_mesh_cannot_change_in_place(make_job: Make) -> None:
    service = 'service {{\n name = "s"\n connect {{ native = {} }}\n}}'
    diff = annotate(diff_jobs(make_job(task=service.format("true")), make_job(task=service.format("false"))), {"g": {}})
    assert task_of(diff)["Annotations"] == ["forces create/destroy update"]


def test_the_diff_given_is_left_alone(make_job: Make) -> None:
    diff = diff_jobs(make_job(), make_job(group="count = 4"))
    before = repr(diff)
    annotate(diff, {"g": {"Place": 3}})
    assert repr(diff) == before
