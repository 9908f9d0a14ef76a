from __future__ import annotations

from typing import Any

import pytest


def test_one_block_for_each_element_in_place(hcl: Any) -> None:
    text = """
job "j" {
  group "first" {}
  dynamic "group" {
    for_each = { b = 2, a = 1 }
    labels   = [group.key]
    content {
      count = group.value
    }
  }
  group "last" {}
}
"""
    groups = hcl.values(text)["job"][0]["j"]["group"]
    assert groups == [{"first": {}}, {"a": {"count": 1}}, {"b": {"count": 2}}, {"last": {}}]


def test_iterators_nest(hcl: Any) -> None:
    text = """
job "j" {
  dynamic "a" {
    for_each = ["x", "y"]
    iterator = outer
    content {
      dynamic "b" {
        for_each = [1, 2]
        content {
          v = "${outer.key}${outer.value}${b.value}"
        }
      }
    }
  }
}
"""
    made = hcl.values(text)["job"][0]["j"]["a"]
    assert [[b["v"] for b in a["b"]] for a in made] == [["0x1", "0x2"], ["1y1", "1y2"]]


def test_a_set_has_its_elements_as_keys(hcl: Any) -> None:
    text = """
job "j" {
  dynamic "a" {
    for_each = setunion(["q"], ["p"])
    content {
      v = "${a.key}${a.value}"
    }
  }
}
"""
    assert [each["v"] for each in hcl.values(text)["job"][0]["j"]["a"]] == ["pp", "qq"]


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("content {}", "needs for_each"),
        ("for_each = [1]", "one content block"),
        ("for_each = null\ncontent {}", "null"),
        ("for_each = 5\ncontent {}", "collection"),
        ("for_each = [1]\nfoo = 1\ncontent {}", '"foo"'),
        ("for_each = [1]\ncontent {}\nother {}", "content"),
        ('for_each = [1]\nlabels = "x"\ncontent {}', "list of texts"),
        ("for_each = [1]\niterator = a.b\ncontent {}", "single name"),
        ("for_each = [1]\nlabels = [null]\ncontent {}", "null"),
        ("for_each = [1, 2]\ncontent {\n  x = nosuch()\n}", "no function"),
    ],
)
def test_what_is_wrong_is_said(hcl: Any, inside: str, words: str) -> None:
    problems = hcl.problems(f'job "j" {{\ndynamic "a" {{\n{inside}\n}}\n}}\n')
    assert len(problems) == 1
    assert words in problems[0]
