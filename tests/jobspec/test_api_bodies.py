"""Jobs from API clients: keys in any case, wrong types named by path, hostile bodies refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rove.errors import BadRequestError
from rove.jobspec import canonicalize, decode_api_job, job_to_api, validate


def test_keys_match_without_regard_to_case() -> None:
    body = {
        "id": "j",
        "TASKGROUPS": [{"name": "g", "tasks": [{"NAME": "t", "killtimeout": 7, "resources": {"cpu": 1}}]}],
    }
    api = decode_api_job(body)
    assert api["ID"] == "j"
    task = api["TaskGroups"][0]["Tasks"][0]
    assert (task["Name"], task["KillTimeout"], task["Resources"]) == ("t", 7, {"CPU": 1})


def test_keys_that_people_choose_keep_their_case() -> None:
    task = {"Name": "t", "Env": {"path": "x", "PATH": "y"}, "Config": {"Command": "x"}, "Meta": {"Key": "v"}}
    api = decode_api_job({"ID": "j", "TaskGroups": [{"Name": "g", "Tasks": [task]}]})
    assert api["TaskGroups"][0]["Tasks"][0] == task


def test_the_job_may_stand_alone_or_wrapped(api_job: Callable[..., Any]) -> None:
    job = api_job()
    assert decode_api_job(json.dumps(job).encode()) == decode_api_job({"Job": job}) == decode_api_job({"job": job})


def test_unknown_keys_are_left_out(api_job: Callable[..., Any]) -> None:
    assert "Colour" not in decode_api_job(api_job(Colour="red"))


def test_null_is_kept_as_not_set(api_job: Callable[..., Any]) -> None:
    api = decode_api_job(api_job(Priority=None, Update=None, Constraints=None))
    assert api["Priority"] is None
    assert canonicalize(api).priority == 50


def test_durations_may_be_texts(api_job: Callable[..., Any]) -> None:
    api = decode_api_job(api_job(Update={"Stagger": "1m", "HealthyDeadline": 300_000_000_000}))
    assert api["Update"] == {"Stagger": 60_000_000_000, "HealthyDeadline": 300_000_000_000}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"Priority": "high"}, "Priority"),
        ({"Priority": True}, "Priority"),
        ({"Priority": 1.5}, "Priority"),
        ({"Priority": 2**70}, "Priority"),
        ({"Datacenters": "dc1"}, "Datacenters"),
        ({"Datacenters": [1]}, "Datacenters[0]"),
        ({"Meta": {"a": 1}}, "Meta.a"),
        ({"Meta": []}, "Meta"),
        ({"AllAtOnce": "yes"}, "AllAtOnce"),
        ({"Update": {"Stagger": "soon"}}, "Update.Stagger"),
        ({"Update": []}, "Update"),
        ({"ID": 3}, "ID"),
        ({"TaskGroups": {"g": {}}}, "TaskGroups"),
        ({"TaskGroups": [3]}, "TaskGroups[0]"),
        ({"TaskGroups": [{"Count": "three"}]}, "TaskGroups[0].Count"),
        ({"TaskGroups": [{"Tasks": [{"Resources": {"CPU": "1"}}]}]}, "TaskGroups[0].Tasks[0].Resources.CPU"),
        ({"TaskGroups": [{"Tasks": [{"Config": "x"}]}]}, "TaskGroups[0].Tasks[0].Config"),
        ({"TaskGroups": [{"Tasks": [{"Config": {"n": 2**70}}]}]}, "TaskGroups[0].Tasks[0].Config"),
        ({"TaskGroups": [{"Volumes": {"v": {"ReadOnly": 1}}}]}, "TaskGroups[0].Volumes.v.ReadOnly"),
        ({"Reschedule": {"Attempts": "x"}}, "Reschedule.Attempts"),
    ],
)
def test_a_wrong_type_is_named_by_its_path(api_job: Callable[..., Any], change: dict[str, Any], path: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        decode_api_job(api_job(**change))
    assert caught.value.what.startswith(f"{path} has the wrong type")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense", b"[]", b"3", b"null", b'"x"', b"{", b'{"ID": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000]
)
def test_what_is_not_a_job_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequestError):
        decode_api_job(raw)


def test_a_deep_config_is_refused_and_not_followed(api_job: Callable[..., Any]) -> None:
    deep: Any = {}
    for _ in range(600):
        deep = {"a": deep}
    task = {"Name": "t", "Config": deep}
    with pytest.raises(BadRequestError, match="nested too deeply"):
        decode_api_job(api_job(TaskGroups=[{"Name": "g", "Tasks": [task]}]))


def test_a_payload_travels_as_base64(api_job: Callable[..., Any]) -> None:
    job = canonicalize(decode_api_job(api_job(Payload="aGVsbG8=")))
    assert job.payload == b"hello"
    assert job_to_api(job)["Payload"] == "aGVsbG8="


def test_a_payload_that_is_not_base64_is_a_bad_request(api_job: Callable[..., Any]) -> None:
    with pytest.raises(BadRequestError):
        canonicalize(decode_api_job(api_job(Payload="%%%")))


def test_empty_lists_are_lists_and_never_null(api_job: Callable[..., Any]) -> None:
    api = job_to_api(canonicalize(api_job()))
    assert api["Constraints"] == []
    assert api["TaskGroups"][0]["Services"] == []


def test_decoding_leaves_the_body_as_it_was(api_job: Callable[..., Any]) -> None:
    body = api_job(Update={"Stagger": "1m"})
    before = json.dumps(body)
    canonicalize(decode_api_job(body))
    canonicalize(body if "Update" not in body else {**body, "Update": None})
    assert json.dumps(body) == before


def test_what_older_clients_send_is_read() -> None:
    network = {
        "Public": False,
        "CIDR": "",
        "ReservedPorts": None,
        "DynamicPorts": [{"Label": "db", "Value": 0}],
        "MBits": 10,
    }
    task = {
        "Name": "redis", "Driver": "docker", "User": "", "Env": None, "Vault": None, "Templates": None,
        "Config": {"image": "redis:7.2", "port_map": [{"db": 6379}]}, "KillTimeout": 5_000_000_000, "Leader": False,
        "Services": [{"Id": "", "Name": "cache", "Tags": ["a"], "PortLabel": "db", "Checks": [
            {"Id": "", "Name": "alive", "Type": "tcp", "Command": "", "Args": None, "Path": "", "Protocol": "",
             "PortLabel": "", "Interval": 10_000_000_000, "Timeout": 2_000_000_000, "InitialStatus": ""}]}],
        "Resources": {"CPU": 500, "MemoryMB": 256, "DiskMB": 0, "IOPS": 0, "Networks": [network]},
    }  # fmt: skip
    body = {
        "ID": "example", "Type": "service", "Datacenters": ["dc1"], "Constraints": None, "Periodic": None,
        "Payload": None,
        "VaultToken": "", "Status": "", "StatusDescription": "", "CreateIndex": 0, "ModifyIndex": 0, "Meta": None,
        "TaskGroups": [{"Name": "cache", "Count": 1, "Constraints": None, "Tasks": [task], "Meta": None,
                        "EphemeralDisk": {"Sticky": False, "Migrate": False, "SizeMB": 300}}],
        "Update": {"Stagger": 10_000_000_000, "MaxParallel": 1},
    }  # fmt: skip
    job = canonicalize(decode_api_job({"Job": body}))
    assert validate(job) == []
    assert [port.label for port in job.task_groups[0].networks[0].dynamic_ports] == ["db"]
    assert job.task_groups[0].tasks[0].config["port_map"] == {"db": 6379}


def test_the_status_a_client_sends_counts_for_nothing(api_job: Callable[..., Any]) -> None:
    assert canonicalize(api_job(Status="splendid")).status == canonicalize(api_job(Status="")).status == "pending"
