from __future__ import annotations

import json
from typing import Any

import pytest

from rove.jobspec.hcl import parse


def test_it_means_the_same_as_the_native_form(hcl: Any) -> None:
    native = """
variable "n" {
  type    = number
  default = 2
}
job "web" {
  datacenters = ["dc1"]
  meta        = { a = "b" }
  group "g" {
    count = var.n + 1
    network {
      port "http" {
        to = 80
      }
    }
    task "t" {
      driver = "docker"
      config = { image = "x:${var.n}", args = ["${NOMAD_PORT_http}"] }
    }
  }
}
"""
    body = {
        "//": "a comment",
        "variable": {"n": {"type": "number", "default": 2}},
        "job": {
            "web": {
                "datacenters": ["dc1"],
                "meta": {"a": "b"},
                "group": {
                    "g": {
                        "count": "${var.n + 1}",
                        "network": [{"port": {"http": {"to": 80}}}],
                        "task": [
                            {
                                "t": {
                                    "driver": "docker",
                                    "config": {"image": "x:${var.n}", "args": ["${NOMAD_PORT_http}"]},
                                }
                            }
                        ],
                    }
                },
            }
        },
    }
    assert hcl.values(json.dumps(body)) == hcl.values(native)


def test_blocks_have_places() -> None:
    body = parse('{\n  "job": {\n    "web": {"type": "batch"}\n  }\n}', "a.json")
    block = body.blocks[0]
    assert (block.type, block.labels) == ("job", ["web"])
    assert (block.label_ranges[0].start.line, block.label_ranges[0].start.column) == (3, 5)
    assert block.body.attributes["type"].value_range.text == '"batch"'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": }', "1:7"),
        ('{"a": 1', "1:1"),
        ('{"a": 1,}', "1:9"),
        ('{"a" 1}', "1:6"),
        ("{a: 1}", "1:2"),
        ('{"a": 1} x', "1:10"),
        ('{"a": "\n"}', "1:7"),
        ('{"a": 01}', "1:8"),
        ('{"a": "${x"}', "1:7"),
        ('{"a": "\\ud800"}', "1:7"),
        ('{"a": 1,\n "a": 2}', "2:2"),
        ('{"job": {"x": 5}}', "1:15"),
        ('{"a": "${nosuch()}"}', "1:7"),
    ],
)
def test_mistakes_have_places(hcl: Any, text: str, place: str) -> None:
    assert hcl.problems(text)[0].startswith(f"{place} ")
