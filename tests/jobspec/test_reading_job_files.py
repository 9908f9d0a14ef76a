"""From text to the API form: shapes, conversions, and findings with file, line, column and a caret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rove.errors import RoveError
from rove.jobspec import JobFileError, canonicalize, locate, parse_job, render_problems, validate


def findings(text: str) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        parse_job(text, filename="web.hcl")
    return [f"{each.range}: {each.message}" for each in caught.value.diagnostics if each.is_error]


def task_of(api: dict[str, Any]) -> dict[str, Any]:
    task: dict[str, Any] = api["TaskGroups"][0]["Tasks"][0]
    return task


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('typ = "x"', '"typ" is not a known attribute of "job"; did you mean "type"?'),
        ('typ { a = "x" }', '"typ" is not a known block of "job"; did you mean "type"?'),
        ('grup "x" {}', 'did you mean "group"?'),
        ('vault_token = "x"', "not a known attribute"),
        ('type { a = "x" }', '"type" is a value, not a block'),
        ("update = {}", '"update" is a block: write update { ... } without "="'),
        ('update "x" {}', '"update" takes no label'),
        ("group {}", '"group" needs one label'),
        ('group "a" "b" {}', '"group" needs one label'),
        ("update {}\n update {}", '"update" may stand here only once'),
        ("meta { a = 1 }\n meta { b = 2 }", '"meta" may stand here only once'),
        ('meta = {}\n meta { b = "2" }', '"meta"'),
        ("priority = []", '"priority" must be a whole number, not a list'),
        ("priority = 1.5", "whole number"),
        ('priority = "high"', 'not "high"'),
        ("priority = 99999999999999999999", "64 bits"),
        ('datacenters = "dc1"', 'must be a list of texts, as in ["a", "b"]'),
        ("datacenters = [{}]", "list of texts"),
        ("all_at_once = 3", "true or false"),
        ('update { stagger = "soon" }', 'a duration such as "30s"'),
        ("update { stagger = true }", "a duration"),
        ("meta = [1]", "a map of texts"),
        ("meta = { a = [1] }", "a map of texts"),
        ("region = {}", '"region" must be text, not a map'),
    ],
)
def test_what_does_not_belong_is_named_with_its_place(line: str, words: str) -> None:
    found = findings(f'job "j" {{\n  {line}\n}}\n')
    assert any(words in each for each in found), found
    assert all(each.startswith("web.hcl:") for each in found)


def test_all_findings_come_at_once_in_the_order_of_the_file() -> None:
    text = 'job "j" {\n  typ = 1\n  group "g" {\n    coun = 2\n    task "t" {\n      drivr = "x"\n    }\n  }\n}\n'
    found = findings(text)
    assert [each.split(": ")[0] for each in found] == ["web.hcl:2:3", "web.hcl:4:5", "web.hcl:6:7"]


def test_the_text_of_the_error_shows_line_and_caret() -> None:
    with pytest.raises(JobFileError) as caught:
        parse_job('job "j" {\n  typ = 1\n}\n', filename="web.hcl")
    lines = str(caught.value).splitlines()
    assert lines[0] == "web.hcl was not read: 1 problem [job.file]"
    assert lines[2].rstrip().endswith("| " + "  typ = 1")
    assert lines[3].index("^") == lines[2].index("typ")
    assert caught.value.status == 400


def test_a_syntax_error_is_a_job_file_error_too() -> None:
    assert "web.hcl:1:" in findings('job "j" {')[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no job block"),
        ("# only a comment\n", "no job block"),
        ('variable "a" { default = 1 }\n', "no job block"),
        ('job "a" {}\njob "b" {}\n', "one job"),
        ("job {}\n", "one label"),
        ('job "a" "b" {}\n', "one label"),
        ('a = 1\njob "j" {}\n', "cannot stand at the top"),
        ('jobs "j" {}\n', 'did you mean "job"?'),
        ('group "g" {}\njob "j" {}\n', "not a block of a job file"),
    ],
)
def test_a_file_holds_exactly_one_job(text: str, words: str) -> None:
    assert any(words in each for each in findings(text))


def test_hcl1_is_refused_in_words() -> None:
    with pytest.raises(RoveError, match="HCL1"):
        parse_job('job "j" {}', hcl1=True)


def test_what_a_file_leaves_out_is_none() -> None:
    api = parse_job('job "j" {\n  group "g" {}\n}\n').api
    assert api["ID"] == api["Name"] == "j"
    assert {key for key, value in api.items() if value is not None} == {"ID", "Name", "TaskGroups"}
    assert {key for key, value in api["TaskGroups"][0].items() if value is not None} == {"Name"}


def test_ports_with_a_number_are_reserved_the_others_dynamic() -> None:
    text = 'job "j" {\n group "g" {\n network {\n port "a" { static = 80 }\n port "b" { to = 8080 }\n }\n }\n}\n'
    network = parse_job(text).api["TaskGroups"][0]["Networks"][0]
    assert [(port["Label"], port["Value"]) for port in network["ReservedPorts"]] == [("a", 80)]
    assert [(port["Label"], port["To"]) for port in network["DynamicPorts"]] == [("b", 8080)]


def test_two_ports_of_one_name_are_refused() -> None:
    text = 'job "j" {\n group "g" {\n network {\n port "a" {}\n port "a" {}\n }\n }\n}\n'
    assert any('two ports are called "a"' in each for each in findings(text))


def test_two_volumes_of_one_name_are_refused() -> None:
    text = 'job "j" {\n group "g" {\n volume "v" { type = "host" }\n volume "v" { type = "csi" }\n }\n}\n'
    assert any('already a volume "v"' in each for each in findings(text))


@pytest.mark.parametrize(
    ("sugar", "operand", "target", "value"),
    [
        ('attribute = "${a.b}"\n version = ">= 1"', "version", "${a.b}", ">= 1"),
        ('attribute = "${a.b}"\n semver = ">= 1"', "semver", "${a.b}", ">= 1"),
        ('attribute = "${a.b}"\n regexp = "x"', "regexp", "${a.b}", "x"),
        ('attribute = "${a.b}"\n set_contains = "x"', "set_contains", "${a.b}", "x"),
        ("distinct_hosts = true", "distinct_hosts", None, "true"),
        ('distinct_property = "${a.b}"', "distinct_property", "${a.b}", None),
        ('attribute = "${a.b}"\n value = "x"', "=", "${a.b}", "x"),
        ('attribute = "${a.b}"\n value = "x"\n operator = "!="', "!=", "${a.b}", "x"),
        # accepted by the language and without effect, as in Nomad
        ('attribute = "${a.b}"\n value = "x"\n set_contains_any = "y"', "=", "${a.b}", "x"),
    ],
)
def test_short_forms_of_constraints(sugar: str, operand: str, target: str | None, value: str | None) -> None:
    api = parse_job(f'job "j" {{\n constraint {{\n {sugar}\n }}\n}}\n').api
    assert api["Constraints"] == [{"LTarget": target, "Operand": operand, "RTarget": value}]


def test_values_are_converted_as_hcl_converts() -> None:
    api = parse_job(
        'job "j" {\n priority = "60"\n meta {\n n = 3\n b = true\n f = 1.5\n big = 3.0\n }\n'
        ' group "g" {\n count = "2"\n restart {\n interval = 5000000000\n delay = "1m30s"\n }\n }\n}\n'
    ).api
    assert api["Priority"] == 60
    assert api["Meta"] == {"n": "3", "b": "true", "f": "1.5", "big": "3"}
    assert api["TaskGroups"][0]["Count"] == 2
    assert api["TaskGroups"][0]["RestartPolicy"]["Interval"] == 5_000_000_000
    assert api["TaskGroups"][0]["RestartPolicy"]["Delay"] == 90_000_000_000


def test_driver_config_keeps_types_and_shapes(job_text: Callable[..., str]) -> None:
    config = (
        "config {\n command = \"x\"\n n = 3\n f = 1.5\n b = true\n l = [1, \"a\"]\n one {\n a = 1\n }\n"
        " many { a = 1 }\n many { a = 2 }\n named \"x\" { a = 1 }\n}"
    )  # fmt: skip
    made = task_of(parse_job(job_text(config=config)).api)["Config"]
    assert made == {
        "command": "x", "n": 3, "f": 1.5, "b": True, "l": [1, "a"], "one": {"a": 1},
        "many": [{"a": 1}, {"a": 2}], "named": {"x": {"a": 1}},
    }  # fmt: skip


def test_a_config_value_and_block_of_one_name_are_refused(job_text: Callable[..., str]) -> None:
    text = job_text(config='config {\n command = "x"\n labels = {}\n labels { a = "b" }\n}')
    with pytest.raises(JobFileError, match="was not read"):
        parse_job(text)


def test_names_for_the_node_stay_as_they_are_written(job_text: Callable[..., str]) -> None:
    env = (
        'env {\n A = "${attr.kernel.name}-${NOMAD_PORT_http}"\n B = node.class\n C = "${meta.x[0]}"\n D = "$${raw}"\n}'
    )
    made = task_of(parse_job(job_text(task=env)).api)["Env"]
    assert made == {
        "A": "${attr.kernel.name}-${NOMAD_PORT_http}",
        "B": "${node.class}",
        "C": "${meta.x[0]}",
        "D": "${raw}",
    }


def test_the_identity_without_a_name_is_the_tasks_own(job_text: Callable[..., str]) -> None:
    text = job_text(task='identity { name = "x" }\n identity { env = true }\n identity { name = "y" }')
    task = task_of(parse_job(text).api)
    assert task["Identity"]["Env"] is True
    assert [each["Name"] for each in task["Identities"]] == ["x", "y"]


def test_vault_and_secrets_are_handed_down_to_tasks_without() -> None:
    text = (
        'job "j" {\n vault { role = "job" }\n secret "s" {\n provider = "nomad"\n path = "p"\n }\n'
        ' group "a" {\n vault { role = "group" }\n task "x" {}\n task "y" {\n vault { role = "own" }\n }\n }\n'
        ' group "b" {\n task "z" {\n secret "s" {\n provider = "vault"\n path = "q"\n }\n }\n }\n}\n'
    )
    groups = parse_job(text).api["TaskGroups"]
    assert [task["Vault"]["Role"] for group in groups for task in group["Tasks"]] == ["group", "own", "job"]
    assert groups[0]["Tasks"][0]["Secrets"][0]["Path"] == "p"
    assert [secret["Path"] for secret in groups[1]["Tasks"][0]["Secrets"]] == ["q"]


def test_tasks_below_the_job_become_groups_before_the_others() -> None:
    text = 'job "j" {\n group "g" {}\n task "a" {}\n task "b" {}\n}\n'
    groups = parse_job(text).api["TaskGroups"]
    assert [group["Name"] for group in groups] == ["a", "b", "g"]
    assert groups[0]["Tasks"][0]["Name"] == "a"


def test_what_nomads_own_parser_fills_in_is_filled_in(job_text: Callable[..., str]) -> None:
    task = task_of(parse_job(job_text(task='template { destination = "x" }\n vault {}')).api)
    template = task["Templates"][0]
    assert (template["ChangeMode"], template["Perms"], template["Splay"]) == ("restart", "0644", 5_000_000_000)
    assert template["ErrMissingKey"] is False
    assert template["LeftDelim"] is None
    assert (task["Vault"]["Env"], task["Vault"]["ChangeMode"]) == (True, "restart")


def test_deprecated_words_are_warned_about_with_their_place(job_text: Callable[..., str]) -> None:
    parsed = parse_job(job_text(group='max_client_disconnect = "1h"'), filename="w.hcl")
    assert len(parsed.warnings) == 1
    assert '"max_client_disconnect" is deprecated' in parsed.warnings[0]
    assert parsed.warnings[0].startswith("w.hcl:6:")


def test_problems_of_validation_are_shown_in_the_file(job_text: Callable[..., str]) -> None:
    text = job_text(group="count = -1", task="resources { cpu = 0 }")
    parsed = parse_job(text, filename="w.hcl")
    shown = render_problems(parsed, validate(canonicalize(parsed.api)))
    assert "w.hcl:6:13: " in shown
    assert "    count = -1" in shown
    assert shown.count("^") == 2


def test_a_missing_part_is_shown_at_the_block_it_is_missing_from(job_text: Callable[..., str]) -> None:
    parsed = parse_job(job_text(config=""), filename="w.hcl")
    problem = validate(canonicalize(parsed.api))[0]
    where = locate(parsed, problem.path)
    assert where is not None
    assert where.text == 'task "t"'


def test_variables_come_from_values_files_and_environment() -> None:
    text = 'variable "a" {}\nvariable "b" {}\nvariable "c" { default = "z" }\n'
    text += 'job "j" {\n meta { x = "${var.a}${var.b}${var.c}" }\n}\n'
    parsed = parse_job(
        text, variables={"a": "1"}, var_files=[("v.hcl", 'b = "2"\n')], env={"NOMAD_VAR_c": "3", "OTHER": "x"}
    )
    assert parsed.api["Meta"] == {"x": "123"}


def test_a_variable_without_a_value_is_an_error_with_a_place() -> None:
    assert any("web.hcl:" in each for each in findings('variable "a" {}\njob "j" {\n meta { x = var.a }\n}\n'))


def test_a_file_of_mistakes_is_cut_short() -> None:
    assert len(findings('job "j" {\n' + "".join(f"a{number} = 1\n" for number in range(5000)) + "}\n")) == 50


def test_an_empty_path_is_the_job_itself() -> None:
    parsed = parse_job('job "j" {}\n')
    where = locate(parsed, "nowhere > at all")
    assert where is not None
    assert where.text == 'job "j"'


@pytest.mark.parametrize("value", ["[[1]]", '{ a = "x" }'])
def test_headers_are_lists_of_texts(value: str, job_text: Callable[..., str]) -> None:
    group = f'service {{\n name = "s"\n check {{\n type = "http"\n header = {{ X = {value} }}\n }}\n}}'
    with pytest.raises(JobFileError, match="was not read"):
        parse_job(job_text(group=group))


def test_a_header_may_be_one_text(job_text: Callable[..., str]) -> None:
    group = 'service {\n name = "s"\n check {\n type = "http"\n header { X = "a" }\n }\n}'
    check = parse_job(job_text(group=group)).api["TaskGroups"][0]["Services"][0]["Checks"][0]
    assert check["Header"] == {"X": ["a"]}


def test_bytes_are_read_as_utf8_and_what_is_not_is_shown() -> None:
    assert parse_job('job "größe" {}\n'.encode()).api["ID"] == "größe"
    with pytest.raises(JobFileError) as caught:
        parse_job(b'job "j" {\n meta { a = "\xff" }\n}\n', filename="w.hcl")
    assert "w.hcl:2:14" in str(caught.value)


def test_problems_are_found_where_the_file_has_another_shape_than_the_job() -> None:
    text = (
        'job "j" {\n task "a" {\n driver = "nope"\n identity { name = "x" }\n'
        ' identity { ttl = "1h" }\n config {}\n }\n}\n'
    )
    parsed = parse_job(text, filename="w.hcl")
    shown = render_problems(parsed, validate(canonicalize(parsed.api)))
    assert "w.hcl:3:11: " in shown
    assert "w.hcl:5:19: " in shown
