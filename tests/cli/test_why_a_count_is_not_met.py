from __future__ import annotations

from typing import Any

from rove.cli.job_why import explain

GROUP = {"Name": "api", "Count": 2}
JOB: dict[str, Any] = {"ID": "web", "Type": "service", "TaskGroups": [GROUP]}


def _alloc(status: str, **more: Any) -> dict[str, Any]:
    return {"ID": f"{status}-0001", "TaskGroup": "api", "ClientStatus": status, "DesiredStatus": "run", **more}


def _why(job: dict[str, Any], *allocs: dict[str, Any], evaluations: Any = (), deployment: Any = None) -> str:
    return " ".join(explain(job, list(allocs), list(evaluations), deployment))


def test_a_job_that_is_as_asked_for() -> None:
    text = _why(JOB, _alloc("running"), _alloc("running"))
    assert text == 'Job "web" is as it was asked for. Of group "api", 2 of 2 allocations run.'


def test_a_stopped_job_and_a_template_need_nothing() -> None:
    assert "is stopped" in _why({**JOB, "Stop": True})
    assert "only launches other jobs" in _why({**JOB, "Periodic": {"Spec": "@daily"}})
    assert "only launches other jobs" in _why({**JOB, "ParameterizedJob": {"Payload": "optional"}})
    assert "only launches" not in _why({**JOB, "ParameterizedJob": {"Payload": "optional"}, "Dispatched": True})


def test_a_failed_task_is_quoted() -> None:
    event = {"Type": "Driver Failure", "Time": 5, "DisplayMessage": "no such\nimage"}
    older = {"Type": "Started", "Time": 4, "DisplayMessage": "x"}
    failed = _alloc("failed", ModifyTime=9, TaskStates={"t": {"Events": [event, older]}})
    text = _why(JOB, _alloc("running"), failed)
    assert "1 of 2 allocations run. One has failed" in text
    assert "Driver Failure: no such image" in text


def test_what_starts_and_what_is_lost_is_counted() -> None:
    text = _why(JOB, _alloc("pending"), _alloc("lost"), _alloc("unknown"))
    assert "One is starting" in text
    assert "2 are lost with the node" in text


def test_an_allocation_that_is_to_stop_does_not_count() -> None:
    assert "0 of 2" in _why(JOB, _alloc("running", DesiredStatus="stop"))


def test_a_batch_job_counts_what_has_completed() -> None:
    job = {**JOB, "Type": "batch"}
    text = _why(job, _alloc("complete", DesiredStatus="stop"), _alloc("complete"))
    assert "is as it was asked for" in text


def test_a_system_job_has_no_count() -> None:
    assert "now on 1 node" in _why({**JOB, "Type": "system"}, _alloc("running"))


def test_the_newest_failed_evaluation_speaks() -> None:
    old = {"Status": "complete", "CreateIndex": 1, "FailedTGAllocs": {"api": {"DimensionExhausted": {"cpu": 1}}}}
    metric = {"NodesEvaluated": 1, "DimensionExhausted": {"memory": 1}}
    new = {"Status": "complete", "CreateIndex": 2, "FailedTGAllocs": {"api": metric}}
    text = _why(JOB, evaluations=[old, new, {"Status": "blocked"}])
    assert '"memory" is short on 1 node' in text
    assert "cpu" not in text
    assert "as soon as a fitting node or room appears" in text


def test_a_later_try_and_a_roll_out_are_named() -> None:
    waiting = {"Status": "pending", "WaitUntil": "2030-01-01T00:00:00Z"}
    deployment = {"ID": "d0d0bbbb-1", "Status": "paused", "StatusDescription": "somebody paused it."}
    text = _why(JOB, evaluations=[waiting], deployment=deployment)
    assert "The next try is at 2030-01-01T00:00:00Z." in text
    assert 'Deployment "d0d0bbbb" is paused: somebody paused it.' in text
