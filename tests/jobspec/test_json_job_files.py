"""The JSON form of job files reads to the same job as the HCL form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rove.jobspec import JobFileError, parse_job

HCL = """
job "j" {
  meta { a = "1" }
  constraint { distinct_hosts = true }
  group "g" {
    network {
      port "http" { to = 80 }
    }
    spread {
      attribute = "${meta.rack}"
      target "r1" { percent = 40 }
    }
    task "t" {
      driver = "docker"
      config {
        image  = "x:1"
        labels = { b = "c" }
      }
      env { HOST = "${attr.unique.hostname}" }
      template {
        data        = "x"
        destination = "local/x"
      }
      template {
        data        = "y"
        destination = "local/y"
      }
      service {
        port = "http"
        weights { passing = 2 }
      }
    }
  }
}
"""


def as_json() -> dict[str, Any]:
    task = {
        "driver": "docker",
        "config": {"image": "x:1", "labels": {"b": "c"}},
        "env": {"HOST": "${attr.unique.hostname}"},
        "template": [{"data": "x", "destination": "local/x"}, {"data": "y", "destination": "local/y"}],
        "service": {"port": "http", "weights": {"passing": 2}},
    }
    group = {
        "network": {"port": {"http": {"to": 80}}},
        "spread": {"attribute": "${meta.rack}", "target": {"r1": {"percent": 40}}},
        "task": {"t": task},
    }
    return {"job": {"j": {"meta": {"a": "1"}, "constraint": {"distinct_hosts": True}, "group": {"g": group}}}}


def test_both_forms_are_one_job() -> None:
    assert parse_job(json.dumps(as_json())).api == parse_job(HCL).api


def test_objects_may_be_wrapped_in_lists() -> None:
    wrapped = as_json()
    job = wrapped["job"]["j"]
    wrapped["job"] = [{"j": [job]}]
    job["meta"] = [job["meta"]]
    job["group"] = [{"g": [job["group"]["g"]]}]
    assert parse_job(json.dumps(wrapped)).api == parse_job(HCL).api


def test_unknown_names_are_refused_with_a_hint() -> None:
    broken = as_json()
    broken["job"]["j"]["grup"] = {"x": {}}
    with pytest.raises(JobFileError) as caught:
        parse_job(json.dumps(broken))
    assert 'did you mean "group"?' in str(caught.value)


def test_comments_are_members_of_that_name() -> None:
    commented = as_json()
    commented["//"] = "a comment"
    commented["job"]["j"]["//"] = ["another"]
    assert parse_job(json.dumps(commented)).api == parse_job(HCL).api


def test_broken_json_is_a_job_file_error() -> None:
    with pytest.raises(JobFileError):
        parse_job('{"job": {"j": ')


def test_labels_of_rare_blocks_are_keys_too() -> None:
    addresses = {"one": {"address": "10.0.0.1", "port": 80}, "two": [{"address": "10.0.0.2", "port": 81}]}
    broken = as_json()
    gateway = {"gateway": {"proxy": {"envoy_gateway_bind_addresses": addresses}}}
    broken["job"]["j"]["group"]["g"]["service"] = {"connect": gateway}
    proxy = parse_job(json.dumps(broken)).api["TaskGroups"][0]["Services"][0]["Connect"]["Gateway"]["Proxy"]
    assert proxy["EnvoyGatewayBindAddresses"] == {
        "one": {"Address": "10.0.0.1", "Port": 80},
        "two": {"Address": "10.0.0.2", "Port": 81},
    }


@pytest.mark.parametrize("value", [[3], {"x": 3}, {"x": [[]]}])
def test_a_block_that_is_no_object_is_refused(value: Any) -> None:
    broken = as_json()
    addresses = {"gateway": {"proxy": {"envoy_gateway_bind_addresses": value}}}
    broken["job"]["j"]["group"]["g"]["service"] = {"connect": addresses}
    with pytest.raises(JobFileError) as caught:
        parse_job(json.dumps(broken))
    assert "an object, or a list of objects" in str(caught.value)
