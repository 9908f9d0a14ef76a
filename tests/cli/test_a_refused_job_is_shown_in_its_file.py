"""What the servers refuse is shown with file, line and caret where this machine can find the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

INVALID = """job "web" {
  priority = 200
  group "api" {
    count = -1
    task "app" {
      driver = "raw_exec"
      config {
        command = "/bin/true"
      }
      resources {
        memory = 1
      }
    }
  }
}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


VERBS = [("run", "PUT /v1/jobs", 1), ("plan", "PUT /v1/job/web/plan", 255)]


@pytest.mark.parametrize(("verb", "route", "code"), VERBS)
def test_every_problem_at_once_with_its_place(
    verb: str, route: str, code: int, agent: Any, answers: Any, rove: Any, here: None
) -> None:
    Path("bad.hcl").write_text(INVALID)
    agent.on(route, answers.Answer("job is not valid", status=500))
    result = rove("job", verb, "bad.hcl")
    assert result.code == code
    assert "bad.hcl:2:" in result.err
    assert "bad.hcl:4:" in result.err
    assert "bad.hcl:11:" in result.err
    assert result.err.count("^") >= 3
    assert result.out == ""


@pytest.mark.parametrize(("verb", "route", "code"), VERBS)
def test_what_only_the_servers_find_is_shown_as_they_said_it(
    verb: str, route: str, code: int, agent: Any, answers: Any, rove: Any, here: None
) -> None:
    Path("good.hcl").write_text(INVALID.replace("200", "50").replace("-1", "1").replace("memory = 1", "memory = 100"))
    agent.on(route, answers.Answer("this cluster does not like it", status=500))
    result = rove("job", verb, "good.hcl")
    assert result.code == code
    assert "this cluster does not like it" in result.err


def test_validate_shows_every_problem_and_warnings_apart(agent: Any, rove: Any, here: None) -> None:
    Path("bad.hcl").write_text(INVALID)
    result = rove("job", "validate", "bad.hcl")
    assert result.code == 1
    assert [f"bad.hcl:{line}:" in result.err for line in (2, 4, 11)] == [True] * 3
    assert result.out == ""


def test_colours_are_written_when_forced(agent: Any, rove: Any, here: None) -> None:
    field = {"Type": "Edited", "Name": "Count", "Old": "1", "New": "2", "Annotations": ["forces create"]}
    group = {"Type": "Edited", "Name": "api", "Fields": [field], "Updates": {"create": 1}}
    answer = {
        "Diff": {"Type": "Edited", "ID": "web", "TaskGroups": [group]},
        "Annotations": {"DesiredTGUpdates": {"api": {"Place": 1}}},
    }
    agent.on("PUT /v1/job/web/plan", answer)
    Path("web.hcl").write_text(INVALID)
    out = rove("job", "plan", "-force-color", "web.hcl").out
    assert "\x1b[32mforces create\x1b[0m" in out
    assert "\x1b[33m+/-\x1b[0m" in out
    assert "\x1b[" not in rove("job", "plan", "-no-color", "web.hcl").out
