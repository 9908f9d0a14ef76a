"""The command line shows what a deployment waits for."""

from __future__ import annotations

from rove.cli.deployment import waiting
from rove.cli.monitor_deployment import summary


def test_each_thing_it_waits_for_is_a_line_with_its_time() -> None:
    why = {
        "WaitingFor": [
            {"Kind": "health", "Text": "allocation web.api[0] is not healthy yet", "Until": 1_090_000_000_000},
            {"Kind": "promotion", "Text": "promote it", "Until": 0},
        ],
        "FailsAt": 1_600_000_000_000,
    }
    assert waiting(why, 1000.0) == [
        "",
        "Waiting for",
        "  * allocation web.api[0] is not healthy yet (decided in 1m30s at the latest)",
        "  * promote it",
        "  It fails in 10m if nothing moves until then.",
    ]


def test_an_agent_that_cannot_say_shows_nothing() -> None:
    assert waiting({}, 1000.0) == []


def test_the_answers_of_gates_are_shown_while_a_deployment_is_followed() -> None:
    answers = [
        {"Name": "api", "IsOpen": True, "Text": "status 200"},
        {"Name": "smoke", "IsOpen": False, "Text": "exit code 4"},
    ]
    found = {"ID": "d0d0bbbb", "Status": "running", "TaskGroups": {"web": {"GateAnswers": answers}, "db": {}}}
    lines = summary(found, verbose=False).splitlines()
    assert lines[-2:] == ['Gate "api" of "web" is open: status 200', 'Gate "smoke" of "web" is closed: exit code 4']
