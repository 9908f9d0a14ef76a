"""Roll-outs on a real agent with real processes: rolling, canary, blue and green, and the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import AgentProcess, Agents, a_job, until

SECOND = 1_000_000_000
SERVES = "trap 'exit 0' INT TERM; echo release {}; while true; do sleep 0.1; done"
BREAKS = "echo release {} breaks; exit 3"


def _job(
    release: int, *, count: int = 3, script: str = SERVES, reschedule: bool = True, **update: Any
) -> dict[str, Any]:
    rules: dict[str, Any] = {
        "MaxParallel": 1,
        "HealthCheck": "task_states",
        "MinHealthyTime": SECOND // 5,
        "HealthyDeadline": 20 * SECOND,
        "ProgressDeadline": 60 * SECOND,
        **update,
    }
    attempts: dict[str, Any] = {"Attempts": 0, "Unlimited": False}
    if reschedule:
        attempts = {"Unlimited": True, "Delay": 5 * SECOND, "DelayFunction": "constant"}
    return a_job(
        "web",
        script.format(release),
        count=count,
        Update=rules,
        ReschedulePolicy=attempts,
        RestartPolicy={"Attempts": 0, "Mode": "fail", "Interval": 60 * SECOND, "Delay": SECOND},
    )


def _deployment(agent: AgentProcess) -> dict[str, Any]:
    found: dict[str, Any] | None = agent.get("/v1/job/web/deployment")
    assert found is not None, "there is no deployment yet"
    return found


def _ends(agent: AgentProcess, version: int, status: str = "successful") -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        found = _deployment(agent)
        return found if (found["JobVersion"], found["Status"]) == (version, status) else None

    found: dict[str, Any] = until(ended, f"deployment of version {version} {status}")
    return found


def _healthy(agent: AgentProcess, version: int, count: int) -> None:
    def reached() -> bool:
        found = _deployment(agent)
        return found["JobVersion"] == version and found["TaskGroups"]["group"]["HealthyAllocs"] == count

    until(reached, f"{count} of version {version} are healthy")


def _versions(agent: AgentProcess) -> list[int]:
    return sorted(alloc["JobVersion"] for alloc in agent.running("web"))


@pytest.fixture
def agent(agents: Agents) -> AgentProcess:
    made = agents.both().start()
    made.wait_nodes()
    return made


def test_a_rolling_update_ends_well_and_its_version_is_stable(agent: AgentProcess) -> None:
    agent.register(_job(0))
    _ends(agent, 0)
    agent.register(_job(1))
    deployment = _ends(agent, 1)
    assert deployment["TaskGroups"]["group"]["HealthyAllocs"] == 3
    until(lambda: _versions(agent) == [1, 1, 1], "the new version runs")
    for allocation in agent.running("web"):
        assert "release 1" in agent.logs(allocation["ID"], "main")
    assert [version["Stable"] for version in agent.get("/v1/job/web/versions")["Versions"]] == [True, True]


def test_job_run_follows_the_roll_out_to_its_end(agent: AgentProcess, tmp_path: Any) -> None:
    for release, script, code in ((0, SERVES, 0), (1, BREAKS, 1)):
        path = tmp_path / f"{release}.json"
        path.write_text(json.dumps({"Job": _job(release, script=script, reschedule=False)}))
        done = agent.cli("job", "run", "-json", str(path))
        assert done.returncode == code, done.stdout + done.stderr
    assert "no attempt to reschedule it is left" in done.stdout


def test_a_task_that_fails_in_a_first_deployment_is_rescheduled(agent: AgentProcess, tmp_path: Any) -> None:
    marker = tmp_path / "was-here"
    script = f"mkdir {marker} 2>/dev/null && exit 1; " + SERVES.format(0)
    agent.register(_job(0, count=2, script=script.replace("{", "{{").replace("}", "}}")))
    _ends(agent, 0)
    found = agent.allocs("web")
    assert sorted(a["ClientStatus"] for a in found) == ["failed", "running", "running"]


def test_canaries_run_beside_the_old_version_until_they_are_promoted(agent: AgentProcess) -> None:
    agent.register(_job(0))
    _ends(agent, 0)
    agent.register(_job(1, Canary=1))
    _healthy(agent, 1, 1)
    assert _versions(agent) == [0, 0, 0, 1]
    why = agent.get(f"/v1/deployment/{_deployment(agent)['ID']}/why")
    assert [wait["Kind"] for wait in why["WaitingFor"]] == ["promotion"]
    done = agent.cli("job", "promote", "web")
    assert done.returncode == 0, done.stdout + done.stderr
    _ends(agent, 1)
    until(lambda: _versions(agent) == [1, 1, 1], "the new version runs")


def test_blue_and_green_change_over_at_once(agent: AgentProcess) -> None:
    agent.register(_job(0, count=2))
    _ends(agent, 0)
    agent.register(_job(1, count=2, Canary=2, MaxParallel=2))
    _healthy(agent, 1, 2)
    assert _versions(agent) == [0, 0, 1, 1]
    green = {a["ID"] for a in agent.running("web") if a["JobVersion"] == 1}
    agent.put(f"/v1/deployment/promote/{_deployment(agent)['ID']}", {"All": True})
    _ends(agent, 1)
    until(lambda: {a["ID"] for a in agent.running("web")} == green, "only green runs, and it is the same")


def test_a_version_that_breaks_goes_back_by_itself_and_the_old_one_runs_on(agent: AgentProcess) -> None:
    agent.register(_job(0, AutoRevert=True, reschedule=False))
    _ends(agent, 0)
    untouched = {a["ID"] for a in agent.running("web")}
    agent.register(_job(1, script=BREAKS, AutoRevert=True, reschedule=False))
    _ends(agent, 2)
    until(lambda: len(agent.running("web")) == 3, "three copies run")
    for allocation in agent.running("web"):
        assert "release 0" in agent.logs(allocation["ID"], "main")
    assert len(untouched & {a["ID"] for a in agent.running("web")}) == 2
    statuses = [d["Status"] for d in agent.get("/v1/deployments")]
    assert statuses == ["successful", "failed", "successful"]


def test_a_roll_out_outlives_kill_9_of_the_agent(agent: AgentProcess) -> None:
    agent.register(_job(0, count=4))
    _ends(agent, 0)
    agent.register(_job(1, count=4))
    until(lambda: 1 in _versions(agent), "the roll-out has begun")
    agent.kill()
    agent.start()
    _ends(agent, 1)
    until(lambda: _versions(agent) == [1, 1, 1, 1], "the new version runs")


def test_gates_are_asked_before_canaries_promote_themselves(agent: AgentProcess, tmp_path: Any) -> None:
    marker = tmp_path / "ready"
    script = {"Type": "script", "Task": "main", "Command": "/bin/sh", "Args": ["-c", f"test -e {marker} || exit 4"]}
    gates = [
        {"Name": "api", "Address": f"{agent.address}/v1/status/leader", "Interval": SECOND, "Failures": 100},
        {"Name": "smoke", "Interval": SECOND, "Failures": 100, **script},
    ]
    agent.register(_job(0, count=2, Canary=1, AutoPromote=True, Gates=gates))
    _ends(agent, 0)
    agent.register(_job(1, count=2, Canary=1, AutoPromote=True, Gates=gates))

    def answers() -> dict[str, Any]:
        found = _deployment(agent)["TaskGroups"]["group"].get("GateAnswers") or []
        return {answer["Name"]: answer for answer in found}

    until(lambda: answers()["api"]["IsOpen"] and answers()["smoke"]["Failures"] > 1, "one gate is open, one is not")
    assert answers()["smoke"]["Text"] == "web.group[0]: exit code 4"
    assert _versions(agent) == [0, 0, 1]
    status = agent.cli("deployment", "status", _deployment(agent)["ID"], check=True).stdout
    assert 'gate "smoke" of group "group": said no' in status
    marker.touch()
    _ends(agent, 1)
    until(lambda: _versions(agent) == [1, 1], "the new version runs")


def test_a_check_that_fails_is_what_the_deployment_waits_for(agent: AgentProcess) -> None:
    job = _job(0, count=1, HealthCheck="checks")
    check = {"Name": "alive", "Type": "http", "Path": "/", "Interval": SECOND, "Timeout": SECOND}
    job["TaskGroups"][0] |= {
        "Networks": [{"Mode": "host", "DynamicPorts": [{"Label": "http"}]}],
        "Services": [{"Name": "shop", "Provider": "nomad", "PortLabel": "http", "Checks": [check]}],
    }
    agent.register(job)

    def told() -> bool:
        why = agent.get(f"/v1/deployment/{_deployment(agent)['ID']}/why")
        return any('check "alive" of service "shop" is failure' in wait["Text"] for wait in why["WaitingFor"])

    until(told, "the check is told")
