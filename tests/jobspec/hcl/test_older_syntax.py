"""The switch for agent files and volume specifications."""

from __future__ import annotations

import pytest

from rove.jobspec.hcl import HclError, as_map, evaluate_body, parse


def _values(text: str) -> object:
    return as_map(evaluate_body(parse(text, "agent.hcl", hcl1=True)))


def test_quoted_names_and_plain_interpolations() -> None:
    text = """
"datacenter" = "dc1"
data_dir = "/opt/${name}"
server {
  enabled = true
  "retry_join" = ["a", "b",]
}
client { enabled = true
  meta { "a.b" = "c" }
  host_volume "v" { path = "/x" }
}
"""
    assert _values(text) == {
        "datacenter": "dc1",
        "data_dir": "/opt/${name}",
        "server": [{"enabled": True, "retry_join": ["a", "b"]}],
        "client": [{"enabled": True, "meta": [{"a.b": "c"}], "host_volume": [{"v": {"path": "/x"}}]}],
    }


def test_a_name_given_twice_has_its_last_value() -> None:
    assert _values("a = 1\na = 2\n") == {"a": 2}


def test_commas_between_arguments() -> None:
    assert _values('a { b = 1, c = "x" }\nd = 2,\n') == {"a": [{"b": 1, "c": "x"}], "d": 2}


def test_the_newer_syntax_refuses_quoted_names() -> None:
    with pytest.raises(HclError):
        parse('"a" = 1\n', "x.hcl")
