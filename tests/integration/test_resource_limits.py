"""A task gets no more than it asked for where the machine can see to that; elsewhere the task's events say so."""

from __future__ import annotations

import sys
from typing import Any

from .conftest import Agents, a_job, until

HOG = "blocks = []\nwhile True:\n    blocks.append(bytearray(4 << 20))\n    print(len(blocks), flush=True)\n"


def events(allocation: dict[str, Any], task: str = "main") -> list[dict[str, Any]]:
    return list(((allocation["TaskStates"] or {}).get(task) or {}).get("Events") or [])


def test_a_program_that_takes_too_much_memory_is_ended_or_the_missing_limit_is_told(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    job = a_job("hog", "", job_type="batch", RestartPolicy={"Attempts": 0, "Mode": "fail"})
    job["TaskGroups"][0]["ReschedulePolicy"] = {"Attempts": 0, "Unlimited": False}
    task = job["TaskGroups"][0]["Tasks"][0]
    task["Config"] = {"command": sys.executable, "args": ["-c", HOG.replace("while True", "for _ in range(100)")]}
    task["Resources"] = {"CPU": 50, "MemoryMB": 64}
    agent.register(job)

    def over() -> dict[str, Any] | None:
        [allocation] = agent.allocs("hog")
        return allocation if allocation["ClientStatus"] in ("failed", "complete") else None

    allocation = until(over, "the task has ended")
    words = [event["DisplayMessage"] for event in events(allocation)]
    if any("no resource limits" in text or "the memory limit" in text for text in words):
        return  # this machine sets none, and the task's events say so
    assert allocation["ClientStatus"] == "failed"
    [end] = [event for event in events(allocation) if event["Type"] == "Terminated"]
    assert end["Details"]["oom_killed"] == "true"
    assert "OOM" in end["DisplayMessage"] or "memory" in end["DisplayMessage"].lower()


def test_what_a_task_uses_is_seen(agents: Agents) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    script = f"exec {sys.executable} -c 'block = bytearray(30 << 20)\nwhile True: pass'"
    job = a_job("busy", script)
    job["TaskGroups"][0]["Tasks"][0]["Resources"] = {"CPU": 50, "MemoryMB": 100}
    agent.register(job)
    [allocation] = agent.wait_running("busy", 1)

    def usage() -> bool:
        found = agent.get(f"/v1/client/allocation/{allocation['ID']}/stats")["ResourceUsage"]
        memory = max(found["MemoryStats"]["RSS"], found["MemoryStats"]["Usage"])
        return bool(memory > 30 << 20 and found["CpuStats"]["Percent"] > 1)

    until(usage, "30 MiB and a busy CPU are reported")


def test_a_container_that_takes_too_much_memory_is_ended(agents: Agents, busybox_image: str) -> None:
    agent = agents.dev().start()
    agent.wait_nodes()
    job = a_job("box", "", job_type="batch", RestartPolicy={"Attempts": 0, "Mode": "fail"})
    job["TaskGroups"][0]["ReschedulePolicy"] = {"Attempts": 0, "Unlimited": False}
    task = job["TaskGroups"][0]["Tasks"][0]
    task["Driver"] = "docker"
    task["Config"] = {
        "image": busybox_image,
        "command": "/bin/sh",
        "args": ["-c", "a=x; while true; do a=$a$a; done"],
    }
    task["Resources"] = {"CPU": 50, "MemoryMB": 16}
    agent.register(job)

    def failed() -> dict[str, Any] | None:
        [allocation] = agent.allocs("box")
        return allocation if allocation["ClientStatus"] == "failed" else None

    allocation = until(failed, "the container has been ended")
    [end] = [event for event in events(allocation) if event["Type"] == "Terminated"]
    assert end["Details"]["oom_killed"] == "true"
