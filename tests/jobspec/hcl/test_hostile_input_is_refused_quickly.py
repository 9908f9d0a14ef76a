"""Each input would take minutes or gigabytes if nothing stopped it. pytest's timeout is the judge of speed."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.timeout(60)
N = 5000

SYNTAX = {
    "lists": "a = " + "[" * N + "]" * N,
    "objects": "a = " + "{a=" * N + "1" + "}" * N,
    "parentheses": "a = " + "(" * N + "1" + ")" * N,
    "calls": "a = " + "upper(" * N + '"x"' + ")" * N,
    "indexes": "a = " + "b[" * N + "0" + "]" * N,
    "interpolations": 'a = "' + '${"' * N + "x" + '"}' * N + '"',
    "minus signs": "a = " + "-" * N + "1",
    "exclamation marks": "a = " + "!" * N + "true",
    "conditionals": "a = " + "true?1:" * N + "1",
    "a long sum": "a = " + "1+" * 100_000 + "1",
    "a long traversal": "a = b" + ".c" * N,
    "splats": "a = b" + "[*]" * N,
    "blocks": "a {\n" * N + "}\n" * N,
    "directives": 'a = "' + "%{ if true }" * N + "%{ endif }" * N + '"',
    "100,000 open brackets": "a = " + "[" * 100_000,
    "too long": " " * (5 * 1024 * 1024),
    "an open text": 'a = "' + "x" * 3_000_000,
    "an open heredoc": "a = <<EOT\n" + "x\n" * 1_500_000,
    "many backslashes": 'a = "' + "\\" * 1_000_001,
    "open comments": "/*" * 1_000_000,
    "many errors": "a = = \n" * 500_000,
    "300,000 interpolations": "a = <<EOT\n" + "${1}\n" * 300_000 + "EOT\n",
    "a big exponent": "a = 1e1000000000",
    "a small exponent": "a = 1e-1000000000",
    "many digits": "a = " + "9" * 1_000_000,
    "a NUL": "a = 1\0",
    "a lone surrogate": 'a = "\ud800"',
    "200,000 blocks": "a {\n}\n" * 200_000,
    "400,000 arguments": "".join(f"a{at} = 1\n" for at in range(300_000)),
    "400,000 elements": "a = {" + ",".join(f"a{at} = [1]" for at in range(200_000)) + "}",
    "400,000 heredocs that stay open": "a = <<A\n" * 400_000,
    "many errors far out in a line beyond ASCII": "a = {" + "é = 1, " * 200_000 + "\n" + "é = = 1\n" * 1000,
    "JSON with 300,000 names": '{"a": {' + ",".join(f'"{at}":1' for at in range(300_000)) + "}}",
    "JSON lists": '{"a":' + "[" * 100_000,
    "a type": 'variable "x" {\n type = ' + "list(" * N + "any" + ")" * N + "\n}\n",
}
THOUSAND = range(1000)
VALUES = {
    "50,000 names that are none": "locals {\n" + "".join(f"a{at} = local.x.y\n" for at in range(50_000)) + "}\n",
    "locals that need all others": "locals {\n"
    + "".join(f"a{at} = [for x in local: x]\n" for at in range(3000)) + "}\n",
    "locals that each need all before": "locals {\n"
    + "".join(f"a{at} = [{','.join(f'local.a{to}' for to in range(at + 1))}]\n" for at in range(300)) + "}\n",
    "a thousand hashes": "locals {\n" + "".join(f'a{at} = bcrypt("x", 4)\n' for at in THOUSAND) + "}\n",
    "distinct elements, again and again": "locals {\n r = range(1000)\n"
    + "".join(f"a{at} = distinct(local.r)\n" for at in THOUSAND) + "}\n",
    "equal lists, again and again": "locals {\n r = [for x in range(1000): {a = x}]\n"
    + "".join(f"a{at} = local.r == local.r\n" for at in range(3000)) + "}\n",
    "conditionals over long tuples": "locals {\n r = [" + "1,\"x\"," * 500 + "]\n s = [" + "\"1\",2," * 500 + "]\n"
    + "".join(f"a{at} = true ? local.r : local.s\n" for at in THOUSAND) + "}\n",
    "sums of long numbers": "locals {\n"
    + "".join(f"a{at} = 1e999 / 3e-999 % 7e-999\n" for at in range(10_000)) + "}\n",
    "dates": "locals {\n" + "".join(f'a{at} = timeadd("2020-01-01T00:00:00Z", "1h")\n' for at in range(20_000)) + "}\n",
    "a long pattern on a long text": 'locals {\n r = "' + "a" * 20_000 + '"\n'
    + "".join(f'a{at} = regex_replace(local.r, "(a|b|aa)*$", "x{at}")\n' for at in range(3000)) + "}\n",
    "locals in a circle": "locals {\n" + "".join(f"a{at} = local.a{(at + 1) % 3000}\n" for at in range(3000)) + "}\n",
    "a text that doubles": "locals {\na0 = \"xxxxxxxxxx\"\n"
    + "".join(f'a{at + 1} = "${{local.a{at}}}${{local.a{at}}}"\n' for at in range(60)) + "}\n",
    "a list that doubles": "locals {\na0 = [1]\n"
    + "".join(f"a{at + 1} = [local.a{at}, local.a{at}]\n" for at in range(60)) + "}\n",
    "a number that doubles its digits": "locals {\na0 = 9e999\n"
    + "".join(f"a{at + 1} = local.a{at} * local.a{at}\n" for at in range(60)) + "}\n",
    "a long range": "a = range(1e9)",
    "loops in loops": "a = [for x in range(1024): [for y in range(1024): [for z in range(1024): 1]]]",
    "a format width": 'a = format("%1000000000d", 1)',
    "a format precision": 'a = format("%.1000000000f", 1)',
    "an indent": 'a = indent(1000000000, "a\\nb")',
    "replacements": 'a = replace("' + "a" * 10_000 + '", "a", "' + "b" * 10_000 + '")',
    "a regular expression that grows": 'a = regex_replace("' + "a" * 1000 + '", "", "' + "b" * 100_000 + '")',
    "a huge regular expression": 'a = regex_replace("x", "((((a{1000}){1000}){1000}){1000})", "x")',
    "a product of sets": "a = setproduct(range(1000), range(1000))",
    "sixty sets": "a = setproduct(" + ",".join(["[1,2]"] * 60) + ")",
    "a power": "a = pow(10, 1e9)",
    "dynamic in dynamic": "j {\ndynamic \"a\" {\nfor_each = range(1024)\ncontent {\n"
    'dynamic "b" {\nfor_each = range(1024)\ncontent {\n}\n}\n}\n}\n}\n',
    "a costly hash": 'a = bcrypt("x", 31)',
    "nested YAML": 'a = yamldecode("' + "[" * 100_000 + '")',
    "YAML aliases": 'a = yamldecode("a: &a [x,x,x,x,x,x,x,x,x]\\n'
    + "".join(f"{chr(98 + at)}: &{chr(98 + at)} [{','.join(['*' + chr(97 + at)] * 9)}]\\n" for at in range(9)) + '")',
    "nested JSON": 'a = jsondecode("' + "[" * 100_000 + '")',
}  # fmt: skip


@pytest.mark.parametrize("name", SYNTAX)
def test_syntax(hcl: Any, name: str) -> None:
    problems = hcl.problems(SYNTAX[name])
    assert problems
    assert problems[0][0].isdigit(), "the problem has a place"


@pytest.mark.parametrize("name", VALUES)
def test_values(hcl: Any, name: str) -> None:
    problems = hcl.problems(VALUES[name])
    assert problems
    assert problems[0][0].isdigit(), "the problem has a place"


@pytest.mark.parametrize("raw", [b"\xff\xfe", b'a = "\xc3\x28"', b"a = 1\n\x80"])
def test_bytes_that_are_not_utf8(hcl: Any, raw: bytes) -> None:
    assert "Not UTF-8" in hcl.problems(raw)[0]


def test_a_regular_expression_made_to_hang_a_backtracking_engine_does_not(hcl: Any) -> None:
    assert hcl.value('regex_replace("' + "a" * 5000 + '!", "(a+)+$", "x")') == "a" * 5000 + "!"


def test_a_spent_budget_ends_the_file_with_one_error(hcl: Any) -> None:
    assert len(hcl.problems(VALUES["a thousand hashes"])) == 1


def test_the_place_far_out_in_a_line_is_told_in_time(hcl: Any) -> None:
    text = "a = {" + "é = 1, " * 30_000 + "= }"
    assert hcl.problems(text)[0].startswith(f"1:{len(text) - 2}")


def test_a_circle_of_locals_spares_those_beside_it(hcl: Any) -> None:
    text = "locals {\n a = local.b\n b = local.a\n c = 1\n d = local.e\n e = local.c\n f = local.f\n}\nx = local.d\n"
    problems = hcl.problems(text)
    assert len(problems) == 2
    assert "local.a -> local.b -> local.a" in problems[0]
    assert "local.f -> local.f" in problems[1]


def test_try_does_not_hide_a_spent_budget(hcl: Any) -> None:
    text = "a = try([for x in range(1024): [for y in range(1024): x]], 1)"
    assert "Too much work" in hcl.problems(text)[0]
