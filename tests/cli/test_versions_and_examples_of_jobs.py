"""A job can be had as JSON in any version, and the examples that are written pass every check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def stored(agent: Any) -> Any:
    newest = {"ID": "web", "Version": 3, "Priority": 60}
    summary = {"JobID": "web", "Namespace": "default"}
    agent.on("GET /v1/jobs", [{"ID": "web", "Name": "web", "Namespace": "default", "JobSummary": summary}])
    agent.on("GET /v1/job/web", newest)
    agent.on("GET /v1/job/web/versions", {"Versions": [newest, {**newest, "Version": 2, "Priority": 50}]})
    return agent


def test_the_newest_and_an_earlier_version_as_json(stored: Any, rove: Any) -> None:
    assert json.loads(rove("job", "inspect", "-json", "web").out)["Job"]["Priority"] == 60
    assert json.loads(rove("job", "inspect", "-version", "2", "web").out)["Job"]["Priority"] == 50
    missing = rove("job", "inspect", "-version", "7", "web")
    assert missing.code == 1
    assert "kept are: 3, 2" in missing.err


@pytest.mark.parametrize("flags", [(), ("-short",)])
def test_the_examples_are_valid_and_laid_out(
    flags: tuple[str, ...], rove: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rove("job", "init", *flags).code == 0
    assert rove("fmt", "-check", "example.nomad.hcl").code == 0
    result = rove("job", "validate", "example.nomad.hcl")
    assert result.code == 0, result.err
    assert result.out.startswith("The job is valid")
    assert "warning" not in result.out
