"""The file functions look at the folder of the job file, on the machine where the command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

JOB = """
job "web" {
  group "api" {
    task "app" {
      driver = "raw_exec"
      meta {
        x = %s
      }
    }
  }
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf/deep").mkdir(parents=True)
    (tmp_path / "conf/a.txt").write_text("hello ${not.touched}")
    (tmp_path / "conf/b.yml").write_text("b")
    (tmp_path / "conf/deep/c.txt").write_text("c")
    (tmp_path / "conf/deep/[x].txt").write_text("x")
    return tmp_path


def value(rove: Any, folder: Path, expression: str) -> Any:
    (folder / "web.hcl").write_text(JOB % expression)
    result = rove("job", "run", "-output", str(folder / "web.hcl"))
    assert result.code == 0, result.err
    return json.loads(result.out)["Job"]["TaskGroups"][0]["Tasks"][0]["Meta"]["x"]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ('file("conf/a.txt")', "hello ${not.touched}"),
        ('filebase64("conf/b.yml")', "Yg=="),
        ('fileexists("conf/b.yml")', "true"),
        ('fileexists("conf/z")', "false"),
        ('basename("conf/b.yml")', "b.yml"),
        ('dirname("conf/b.yml")', "conf"),
        ('join(",", fileset("conf", "*.txt"))', "a.txt"),
        ('join(",", fileset("conf", "**/*.txt"))', "a.txt,deep/[x].txt,deep/c.txt"),
        ('join(",", fileset("conf", "*.{txt,yml}"))', "a.txt,b.yml"),
        ('join(",", fileset("conf", "deep/[a-c].tx?"))', "deep/c.txt"),
        ('join(",", fileset("conf", "deep/[^c]*"))', "deep/[x].txt"),
    ],
)
def test_file_functions_work_from_the_folder_of_the_job_file(
    expression: str, wanted: str, rove: Any, folder: Path
) -> None:
    assert value(rove, folder, expression) == wanted


def test_a_name_is_made_whole(rove: Any, folder: Path) -> None:
    assert value(rove, folder, 'abspath("conf/../x")') == str(folder / "x")
    assert value(rove, folder, 'pathexpand("~/x")') == str(Path.home() / "x")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ('file("none")', "No such file"),
        ('file("conf")', "not a plain file"),
        ('join("", fileset("none", "*"))', "no such folder"),
    ],
)
def test_what_cannot_be_read_is_shown_where_it_is_asked_for(
    expression: str, words: str, rove: Any, folder: Path
) -> None:
    (folder / "web.hcl").write_text(JOB % expression)
    result = rove("job", "validate", str(folder / "web.hcl"))
    assert result.code == 1
    assert words in result.err
    assert "web.hcl:7:" in result.err
    assert "^" in result.err


def test_a_json_file_is_a_job_file_or_a_job_as_the_api_has_it(rove: Any, folder: Path) -> None:
    task = {"driver": "raw_exec", "meta": {"x": '${upper("a")}'}}
    (folder / "web.nomad.json").write_text(json.dumps({"job": {"web": {"group": {"api": {"task": {"app": task}}}}}}))
    result = rove("job", "run", "-output", str(folder / "web.nomad.json"))
    assert json.loads(result.out)["Job"]["TaskGroups"][0]["Tasks"][0]["Meta"] == {"x": "A"}
    (folder / "api.json").write_text(result.out)
    again = rove("job", "run", "-output", str(folder / "api.json"))
    assert json.loads(again.out) == json.loads(result.out)
    again = rove("job", "run", "-output", "-json", str(folder / "api.json"))
    assert json.loads(again.out) == json.loads(result.out)


HOSTILE = {
    "5,000 brackets": ("a = " + "[" * 5000).encode(),
    "5 MB": b'job "x" {\n}\n' + b"#\n" * 2_500_000,
    "a NUL": b'job "x" {\n  name = "a\0b"\n}\n',
    "broken UTF-8": b'job "x" {\n  name = "\xff"\n}\n',
    "an open heredoc": b'job "x" {\n  name = <<EOT\n',
    "locals in a circle": b'locals {\n  a = local.b\n  b = local.a\n}\njob "x" {\n}\n',
    "a wide format": b'job "x" {\n  name = format("%1000000000d", 1)\n}\n',
    "a wide range": b'job "x" {\n  name = range(1000000000)\n}\n',
    "a huge regular expression": b'job "x" {\n  name = regex_replace("x", "((a{1000}){1000}){1000}", "")\n}\n',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("verb", ["validate", "run", "plan"])
def test_a_hostile_file_is_refused_with_its_place(verb: str, name: str, agent: Any, rove: Any, folder: Path) -> None:
    (folder / "bad.hcl").write_bytes(HOSTILE[name])
    result = rove("job", verb, str(folder / "bad.hcl"))
    assert result.code == (255 if verb == "plan" else 1)
    assert "bad.hcl:" in result.err
    assert "Traceback" not in result.err
    assert agent.calls == []
