from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rove.jobspec.hcl import HclError, as_map, evaluate_file, format_source, parse

BEFORE = """job   "web" {
datacenters=["dc1",   "dc2"]
   type="service" # kind
priority=50 # how much
  group "g" {
      count=var.n+1


    task "t" {
    config {
 args=["-c",
"x"]
 y = -1
      }
template {
data=<<EOF
  keep   this
EOF
change_mode="noop"
}
    }
}
}
"""
AFTER = """job "web" {
  datacenters = ["dc1", "dc2"]
  type        = "service" # kind
  priority    = 50        # how much
  group "g" {
    count = var.n + 1


    task "t" {
      config {
        args = ["-c",
        "x"]
        y = -1
      }
      template {
        data        = <<EOF
  keep   this
EOF
        change_mode = "noop"
      }
    }
  }
}
"""


def test_indentation_spacing_and_columns() -> None:
    assert format_source(BEFORE) == AFTER


def test_what_does_not_parse_is_refused() -> None:
    with pytest.raises(HclError):
        format_source("a = = 1\n")


def test_line_ends_of_another_system_are_kept() -> None:
    assert format_source("a=1\r\nbb=2\r\n") == "a  = 1\r\nbb = 2\r\n"


VALUES = st.recursive(
    st.sampled_from(["1", "-1", "true", '"x"', '"${a.b}"', "a.b[0]", "[ ]", "{ }", "x+1", "f( 1,2 )", "! x", "a?b:c"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: "[ " + " ,".join(each) + "]"),
        inner.map(lambda each: f"( {each} )"),
        inner.map(lambda each: f"{{k={each}}}"),
        inner.map(lambda each: f'"${{ {each} }}"'),
        inner.map(lambda each: f"[for x in {each}:x if x!=1]"),
    ),
    max_leaves=6,
)
BODIES = st.recursive(
    st.lists(VALUES, min_size=1, max_size=3).map(
        lambda each: "".join(f"n{at * 'x'}={value} # c\n" for at, value in enumerate(each))
    ),
    lambda inner: st.tuples(inner, inner).map(lambda each: f'b "l"  {{\n{each[1]}}}\n{each[0]}'),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_layout_keeps_the_meaning_and_is_done_once(source: str) -> None:
    def meaning(text: str) -> object:
        try:
            return as_map(evaluate_file(parse(text, "a.hcl")))
        except HclError as failure:
            return [each.summary for each in failure.diagnostics]

    made = format_source(source)
    assert format_source(made) == made
    assert meaning(made) == meaning(source)
