from __future__ import annotations

from typing import Any

import pytest

from rove.jobspec.hcl import HclError, evaluate_file, parse, render


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('job "web" {\n  priority =\n}\n', "2:13", "expected an expression, found the end of the line"),
        ('  datacenters ["dc1"]\n', "1:15", 'expected "=" or "{", found "["'),
        ('job "a" {\n  group "b" {\n    count = 1\n}\n', "2:3", "never closed"),
        ('job "a" {\n  group "b" {\n    count = 1\n  }\n', "1:1", "never closed"),
        ("a = 1\na = 2\n", "2:1", "line 1"),
        ("a = 1 b = 2\n", "1:7", 'found "b"'),
        ('a = "x\nb = 1\n', "1:5", "closing quote"),
        ('a = "x', "1:5", "closing quote"),
        ("a = [1, 2\nb = 3\n", "2:1", '","'),
        ("a = [1, 2", "1:5", "never closed"),
        ("a = <<EOT\nx\n", "1:5", '"EOT"'),
        ("a = <<EOT\nx\nEOT", "1:5", '"EOT"'),
        ("a = 'x'\n", "1:5", "double quotes"),
        ("a = 1;\n", "1:6", "semicolon"),
        ("a = “x”\n", "1:5", "straight double quotes"),
        ('a = "${x"\n', "1:6", "never closed"),
        ('a = "${1 2}"\n', "1:10", '"${"'),
        ('a = "%{ if true }x"\n', "1:6", "never ended"),
        ('a = "\\q"\n', "1:6", "backslash"),
        ('a = "\\ud800"\n', "1:6", "not a character"),
        ("a = 1.2.3\n", "1:5", "number"),
        ("a { b = 1, c = 2 }\n", "1:10", "one line"),
        ("a { b = 1\n}\n", "1:10", "same line"),
        ("a {\n} b = 1\n", "2:3", "end of the line after a block"),
        ('"a" = 1\n', "1:1", "without quotes"),
        ("}\n", "1:1", 'found "}"'),
        ('a "x${1}" {\n}\n', "1:5", "Label"),
        ("a = {for = 1}\n", "1:10", "name for the loop"),
        ("a = [for x in y : k => x]\n", "1:19", "braces"),
        ("a = nosuch(1)\n", "1:5", "no function"),
        ('a = uper("x")\n', "1:5", 'did you mean "upper"'),
        ("a = upper(\n  [1]\n)\n", "2:3", "argument 1"),
        ("a = var.x\n", "1:8", 'no variable "x"'),
        ("a = [1][5]\n", "1:8", "1 elements"),
        ('a = "x" + 1\n', "1:5", "left operand"),
        ('a = 1 + "x"\n', "1:9", "right operand"),
        ('a = "x${null}"\n', "1:9", "null"),
        ("a = {b.c = 1}\n", "1:6", "in quotes"),
        ("日本 = é é\n", "1:8", "end of the line"),
    ],
)
def test_it_points_at_the_line_and_column(hcl: Any, text: str, place: str, words: str) -> None:
    problems = hcl.problems(text)
    assert problems[0].startswith(f"{place} "), problems
    assert words in problems[0]


def test_every_mistake_of_a_file_is_reported() -> None:
    text = 'job "a" {\n  x =\n  y = 1 2\n  group "g" {\n    z = nope nope\n  }\n  w = "ok"\n}\n'
    with pytest.raises(HclError) as caught:
        parse(text, "a.hcl")
    assert [each.range.start.line for each in caught.value.diagnostics if each.range] == [2, 3, 5]


def test_every_wrong_value_of_a_file_is_reported_in_order() -> None:
    text = 'a = var.x\nb {\n  c = nosuch()\n}\nd = 1 + "x"\n'
    with pytest.raises(HclError) as caught:
        evaluate_file(parse(text, "a.hcl"))
    assert [each.range.start.line for each in caught.value.diagnostics if each.range] == [1, 3, 5]


def test_it_is_rendered_with_the_line_and_a_caret() -> None:
    with pytest.raises(HclError) as caught:
        parse('job "web" {\n\tpriority =\n}\n', "web.hcl")
    assert caught.value.render() == (
        "web.hcl:2:12: expected an expression, found the end of the line\n 2 | \tpriority =\n   | \t          ^"
    )


def test_a_very_long_line_is_cut_around_the_place() -> None:
    with pytest.raises(HclError) as caught:
        parse("a = [" + "1, " * 5000 + "= ]\n", "a.hcl")
    shown = render(caught.value.diagnostics)
    assert max(map(len, shown.splitlines())) < 250
    assert shown.splitlines()[2].endswith("^")


def test_control_characters_do_not_reach_the_terminal() -> None:
    with pytest.raises(HclError) as caught:
        parse('a = "\x1b[31mred" 2\n', "a.hcl")
    assert "\x1b" not in caught.value.render()


def test_a_value_that_depends_on_a_failed_one_is_not_reported_again(hcl: Any) -> None:
    assert len(hcl.problems("locals {\n  a = nosuch()\n  b = local.a\n}\nc = local.b\n")) == 1
