from __future__ import annotations

from typing import Any

import pytest

from rove.jobspec.hcl import HclError, evaluate_file, parse


def test_later_sources_win(hcl: Any) -> None:
    text = 'variable "a" {\n  default = "default"\n}\nx = var.a\n'
    env = {"NOMAD_VAR_a": "env"}
    files = [("one.hcl", 'a = "one"\n'), ("two.hcl", 'a = "two"\n')]
    assert hcl.values(text)["x"] == "default"
    assert hcl.values(text, env=env)["x"] == "env"
    assert hcl.values(text, env=env, var_files=files)["x"] == "two"
    assert hcl.values(text, env=env, var_files=files, variables={"a": "flag"})["x"] == "flag"


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        ("string", "[1]", "[1]"),
        ("string", "5", "5"),
        ("number", "5", 5),
        ("number", "1.5", 1.5),
        ("bool", "true", True),
        ("list(string)", '["a", 1]', ["a", "1"]),
        ("set(number)", '["2", 1, 1]', [1, 2]),
        ("map(bool)", '{a = "true"}', {"a": True}),
        ("tuple([string, number])", '[1, "2"]', ["1", 2]),
        ("object({n = string, p = optional(number)})", '{n = 1, q = 2}', {"n": "1", "p": None}),
        ("object({n = optional(string, \"d\")})", "{}", {"n": "d"}),
        ('list(object({n = optional(number, 80)}))', '[{}, {n = "5"}]', [{"n": 80}, {"n": 5}]),
        ("any", '{a = [1]}', {"a": [1]}),
    ],
)  # fmt: skip
def test_a_value_given_as_text_is_read_by_the_declared_type(hcl: Any, type: str, text: str, value: Any) -> None:
    assert hcl.values(f'variable "v" {{\n  type = {type}\n}}\nx = var.v\n', variables={"v": text})["x"] == value


def test_an_untyped_variable_has_the_type_of_its_default(hcl: Any) -> None:
    text = 'variable "n" {\n  default = 3\n}\nx = var.n + 1\n'
    assert hcl.values(text, variables={"n": "5"})["x"] == 6
    assert "number" in hcl.problems(text, variables={"n": "five"})[0]


def test_an_untyped_variable_without_default_is_text(hcl: Any) -> None:
    assert hcl.values('variable "n" {}\nx = var.n\n', variables={"n": "[1]"})["x"] == "[1]"


def test_short_forms(hcl: Any) -> None:
    assert hcl.values("variables {\n  a = 1\n  b = [2]\n}\nx = [var.a, var.b]\n", variables={"a": "7"})["x"] == [7, [2]]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ('variable "a" {}\n', {}, "Unset variable"),
        ("", {"variables": {"a": "1"}}, "Undeclared variable"),
        ("", {"var_files": [("v.hcl", "a = 1\n")]}, "Undeclared variable"),
        ("", {"var_files": [("v.hcl", "a =\n")]}, "expected an expression"),
        ("", {"var_files": [("v.hcl", "b {\n}\n")]}, "name = value"),
        ('variable "a" {}\n', {"var_files": [("v.hcl", "a = upper(\"x\")\n")]}, "Function call"),
        ('variable "a" {}\n', {"var_files": [("v.hcl", "a = var.b\n")]}, "Unknown name"),
        ('variable "a" {\n  type = number\n}\n', {"variables": {"a": "x"}}, "number is required"),
        ('variable "a" {\n  type = list(string)\n}\n', {"variables": {"a": "[1"}}, "never closed"),
        ('variable "a" {\n  type = number\n  default = "x"\n}\n', {}, "Unsuitable default"),
        ('variable "a" {\n  type = lst(string)\n}\n', {}, "Invalid type"),
        ('variable "a" {\n  typ = string\n  default = 1\n}\n', {}, "Unknown argument"),
        ('variable "a" {\n  default = 1\n}\nvariable "a" {\n  default = 1\n}\n', {}, "declared twice"),
        ('variable "a" "b" {\n}\n', {}, "Wrong labels"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(hcl: Any, text: str, options: dict[str, Any], words: str) -> None:
    assert words in hcl.problems(text, **options)[0]


def test_an_undeclared_variable_of_the_environment_is_ignored(hcl: Any) -> None:
    assert hcl.values('variable "b" {\n  default = 1\n}\nx = var.b\n', env={"NOMAD_VAR_a": "1"})["x"] == 1


def test_without_strictness_an_undeclared_variable_of_a_file_is_a_warning() -> None:
    root = evaluate_file(parse("x = 1\n", "a.hcl"), var_files=[("v.hcl", "zz = 1\n")], strict=False)
    assert [each.severity for each in root.warnings] == ["warning"]
    assert root.attributes["x"].value == 1


VALIDATED = """
variable "n" {
  type = number
  validation {
    condition     = var.n > 1 && var.n < 10
    error_message = "n is from 2 to 9"
  }
}
x = var.n
"""


def test_validation(hcl: Any) -> None:
    assert hcl.values(VALIDATED, variables={"n": "5"})["x"] == 5
    assert "n is from 2 to 9" in hcl.problems(VALIDATED, variables={"n": "1"})[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("var.n > 1 && var.n < 10", "true", "must refer to var.n"),
        ("var.n > 1", "var.m > 1", "may refer only to var.n"),
        ('"n is from 2 to 9"', '"  "', "says something"),
        ("condition     = var.n > 1 && var.n < 10", "", "needs condition"),
    ],
)
def test_a_validation_that_validates_nothing_is_refused(hcl: Any, old: str, new: str, words: str) -> None:
    assert words in hcl.problems(VALIDATED.replace(old, new), variables={"n": "5"})[0]


def test_locals_refer_to_each_other_in_any_order(hcl: Any) -> None:
    text = "locals {\n  a = local.b + 1\n}\nlocals {\n  b = var.n\n}\nvariables {\n  n = 2\n}\nx = local.a\n"
    assert hcl.values(text)["x"] == 3


def test_locals_in_a_circle_are_named(hcl: Any) -> None:
    problem = hcl.problems("locals {\n  a = local.b\n  b = local.c\n  c = local.a\n  ok = 1\n}\nx = local.ok\n")
    assert problem == ["2:3 Local values in a circle: local.a -> local.b -> local.c -> local.a"]


def test_a_local_defined_twice_is_refused(hcl: Any) -> None:
    assert "line 2" in hcl.problems("locals {\n  a = 1\n}\nlocals {\n  a = 2\n}\n")[0]


def test_a_var_file_may_be_json(hcl: Any) -> None:
    text = 'variable "a" {\n  type = list(number)\n}\nx = var.a\n'
    assert hcl.values(text, var_files=[("v.json", '{"a": [1, 2]}')])["x"] == [1, 2]


def test_a_secret_value_is_not_part_of_the_message() -> None:
    body = parse('variable "a" {\n  type = number\n}\n', "a.hcl")
    with pytest.raises(HclError) as caught:
        evaluate_file(body, variables={"a": "hunter2"})
    assert "hunter2" not in caught.value.render()
