from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rove.cli.job_plan import code_of

DIFF = {
    "Type": "Edited", "ID": "web",
    "Fields": [{"Type": "Edited", "Name": "Priority", "Old": "50", "New": "60"}],
    "Objects": [],
    "TaskGroups": [
        {
            "Type": "Edited", "Name": "api",
            "Updates": {"create/destroy update": 1, "ignore": 2},
            "Fields": [{"Type": "None", "Name": "Count", "Old": "3", "New": "3"}],
            "Tasks": [
                {
                    "Type": "Edited", "Name": "server", "Annotations": ["forces create/destroy update"],
                    "Fields": [{"Type": "Added", "Name": "User", "Old": "", "New": "www"}],
                    "Objects": [
                        {
                            "Type": "Edited", "Name": "Config",
                            "Fields": [{"Type": "Deleted", "Name": "args[0]", "Old": "-v\n", "New": ""}],
                        },
                        {"Type": "None", "Name": "Resources", "Fields": []},
                    ],
                },
                {"Type": "None", "Name": "side"},
            ],
        },
        {
            "Type": "Added", "Name": "new", "Updates": {"create": 1},
            "Fields": [{"Type": "Added", "Name": "Count", "New": "1"}],
        },
    ],
}  # fmt: skip


def _answer(**more: Any) -> dict[str, Any]:
    updates = {"api": {"Ignore": 2, "DestructiveUpdate": 1}, "new": {"Place": 1}}
    return {
        "Diff": DIFF, "JobModifyIndex": 11, "FailedTGAllocs": None, "Warnings": "",
        "Annotations": {"DesiredTGUpdates": updates}, **more,
    }  # fmt: skip


@pytest.fixture
def job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("web.json").write_text(json.dumps({"ID": "web", "TaskGroups": []}))
    return "web.json"


def test_a_plan_shows_the_differences(agent: Any, transcript: Any, job_file: str) -> None:
    agent.on("PUT /v1/job/web/plan", _answer())
    assert transcript("job-plan", "job", "plan", job_file).code == 1
    assert agent.sent("PUT", "/v1/job/web/plan").body["Diff"] is True


def test_a_plan_in_full(agent: Any, transcript: Any, job_file: str) -> None:
    metric = {"NodesEvaluated": 0, "NodesAvailable": {"dc9": 0}, "NodePool": "gpu", "NodesInPool": 0}
    answer = _answer(
        FailedTGAllocs={"new": metric},
        Warnings="1 warning:\n* it is odd",
        NextPeriodicLaunch="2023-11-15T00:00:00Z",
        Placements=[{"Name": "web.new[0]", "NodeName": "n1", "NodeID": "beef0001", "Score": 0.71}],
        WhyNot=[{"NodeID": "beef0002", "NodeName": "n2", "TaskGroup": "new", "Reasons": ["120 MiB of memory short"]}],
    )
    answer["Annotations"]["PreemptedAllocs"] = [{"ID": "aa11", "JobID": "low", "TaskGroup": "g"}]
    agent.on("PUT /v1/job/web/plan", answer)
    assert transcript("job-plan-full", "job", "plan", "-verbose", "-why-not", "all", job_file).code == 1
    assert agent.sent("PUT", "/v1/job/web/plan").params["why_not"] == "all"


def test_colours_are_written_only_when_wanted(agent: Any, rove: Any, job_file: str) -> None:
    agent.on("PUT /v1/job/web/plan", _answer())
    assert "\x1b[" not in rove("job", "plan", job_file).out


def test_nothing_to_do_ends_with_0(agent: Any, rove: Any, job_file: str) -> None:
    agent.on("PUT /v1/job/web/plan", _answer(Diff={"Type": "None", "ID": "web"}, Annotations={"DesiredTGUpdates": {}}))
    assert rove("job", "plan", job_file).code == 0


@pytest.mark.parametrize("args", [("/nonexistent.hcl",), ("-no-such-flag-as-this", "web.json"), ("web.json",)])
def test_every_error_ends_with_255(args: tuple[str, ...], agent: Any, rove: Any, job_file: str) -> None:
    result = rove("job", "plan", *args)
    assert result.code == 255
    assert result.err


UPDATES = [
    ({}, "None", 0, 0),
    ({"Ignore": 3}, "None", 0, 0),
    ({"InPlaceUpdate": 1}, "Edited", 0, 2),
    ({"Ignore": 3}, "Edited", 0, 2),
    ({"DestructiveUpdate": 1}, "Edited", 1, 3),
    ({"Place": 1, "InPlaceUpdate": 1}, "Edited", 1, 3),
    ({"Stop": 1}, "Edited", 1, 3),
    ({"Canary": 1}, "Edited", 1, 3),
    ({"Migrate": 1}, "None", 1, 3),
]


@pytest.mark.parametrize(("update", "diff", "simple", "detailed"), UPDATES)
def test_the_exit_code_tells_what_would_happen(update: dict[str, int], diff: str, simple: int, detailed: int) -> None:
    answer = {"Diff": {"Type": diff}, "Annotations": {"DesiredTGUpdates": {"api": update}}}
    assert code_of(answer, detailed=False) == simple
    assert code_of(answer, detailed=True) == detailed
