from __future__ import annotations

from typing import Any

import pytest

from rove.cli.gotemplate import render
from rove.errors import BadRequestError

JOB = {
    "ID": "web", "Priority": 50, "Stop": False, "Meta": {"b": "2", "a": "1"}, "Score": 0.5, "None": None,
    "TaskGroups": [{"Name": "api", "Count": 2, "Tasks": [{"Name": "x"}, {"Name": "y"}]}, {"Name": "db", "Count": 1}],
}  # fmt: skip

CASES = [
    ("plain", "plain"),
    ("{{ .ID }}", "web"),
    ("{{.Priority}} {{.Stop}} {{.Score}}", "50 false 0.5"),
    ("{{ .Missing }}", "<no value>"),
    ("{{ .Meta.a }}", "1"),
    ("{{ range .TaskGroups }}{{ .Name }}={{ .Count }};{{ end }}", "api=2;db=1;"),
    ("{{ range $i, $g := .TaskGroups }}{{ $i }}{{ $g.Name }} {{ end }}", "0api 1db "),
    ("{{ range $k, $v := .Meta }}{{ $k }}{{ $v }}{{ end }}", "a1b2"),
    ("{{ range .None }}x{{ else }}none{{ end }}", "none"),
    ("{{ range .TaskGroups }}{{ range .Tasks }}{{ .Name }}{{ else }}-{{ end }}{{ end }}", "xy-"),
    ("{{ if .Stop }}a{{ else if eq .ID \"web\" }}b{{ else }}c{{ end }}", "b"),
    ("{{ with .Meta }}{{ .b }}{{ end }}", "2"),
    ("{{ with .None }}x{{ else }}{{ .ID }}{{ end }}", "web"),
    ("{{ $x := .ID }}{{ $x }}{{ $.ID }}", "webweb"),
    ("a {{- .ID -}} b", "awebb"),
    ("{{ len .TaskGroups }}", "2"),
    ("{{ (index .TaskGroups 1).Name }}", "db"),
    ("{{ index .Meta \"a\" }}", "1"),
    ("{{ .ID | printf \"%-5s|\" }}", "web  |"),
    ("{{ printf \"%05d %q %v %%\" .Priority .ID .Stop }}", '00050 "web" false %'),
    ("{{ and .ID .Stop }} {{ or .Stop .ID }} {{ not .Stop }}", "false web true"),
    ("{{ gt .Priority 49 }}{{ le .Priority 49 }}", "truefalse"),
    ("{{/* a comment */}}x", "x"),
    ("{{ `raw \\n` }}{{ \"tab\\t\" }}", "raw \\ntab\t"),
    ("{{ toJSON .Meta }}", '{"b": "2", "a": "1"}'),
    ("{{ .Meta }}", "map[a:1 b:2]"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "text"), CASES)
def test_a_template_gives(template: str, text: str) -> None:
    assert render(template, JOB) == text


BAD = [
    "{{ .ID", "{{ end }}", "{{ range .TaskGroups }}", "{{ else }}", "{{ lookup }}", "{{ .ID.Name }}", "{{ $y }}",
    "{{ }}", "{{ range .ID }}{{ end }}", "{{ (len .ID }}", "{{ .ID .ID }}", "{{ index .TaskGroups 9 }}",
    "{{ len 3 4 }}",
    "{{ printf \"%d\" .ID }}", "{{ printf \"%9999999999d\" 1 }}", "{{ & }}", "{{ lt .ID 3 }}",
]  # fmt: skip


@pytest.mark.parametrize("template", BAD)
def test_what_is_not_understood_is_a_plain_error(template: str) -> None:
    with pytest.raises(BadRequestError):
        render(template, JOB)


def test_a_template_cannot_fill_the_memory() -> None:
    value: dict[str, Any] = {"L": list(range(3000))}
    with pytest.raises(BadRequestError):
        render("{{ range $.L }}{{ range $.L }}0123456789{{ end }}{{ end }}", value)
