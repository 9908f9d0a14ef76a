"""kill -9 of the agent, of its zygote, and of the server: nothing that runs notices, nothing acknowledged is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from .conftest import Agents, a_job, until

COUNTER = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.05; done"


def pids_of(folder: Path) -> dict[str, int]:
    """Task processes by allocation: shells whose working directory is a task's."""
    found: dict[str, tuple[int, int]] = {}
    for process in Path("/proc").iterdir():
        try:
            cwd = os.readlink(process / "cwd")
            command = (process / "cmdline").read_bytes()
            started = int((process / "stat").read_text().rpartition(")")[2].split()[19])
        except OSError:
            continue
        if cwd.startswith(str(folder)) and command.startswith(b"/bin/sh\0-c\0"):
            # A child between fork and exec looks like its shell: the older one is the task.
            found[cwd] = min(found.get(cwd, (started, int(process.name))), (started, int(process.name)))
    return {cwd: pid for cwd, (_, pid) in found.items()}


def zygotes(agent_pid: int) -> list[int]:
    """Children of the agent that are helpers of its own."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            stat = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[1]) == agent_pid:
            found.append(int(process.name))
    return found


def assert_unbroken(text: str) -> int:
    """Every line follows the one before it; how many there are."""
    numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return numbers[-1]


@pytest.mark.parametrize("with_zygote", [False, True], ids=["agent", "agent and zygote"])
def test_twenty_tasks_outlive_the_agent(agents: Agents, with_zygote: bool) -> None:
    agent = agents.both().start()
    agent.wait_nodes()
    agent.register(a_job("steady", COUNTER, count=19))
    agent.register(
        a_job(
            "ends",
            "while [ ! -e stop ]; do sleep 0.05; done; exit 7",
            RestartPolicy={"Attempts": 0, "Mode": "fail"},
            ReschedulePolicy={"Attempts": 0, "Unlimited": False},
        )
    )
    steady, [ends] = agent.wait_running("steady", 19), agent.wait_running("ends", 1)
    folder = agents.folder / "both"
    before = until(lambda: (found := pids_of(folder)) and len(found) == 20 and found, "twenty processes")
    assert agent.process is not None
    helpers = zygotes(agent.process.pid)
    agent.kill()
    if with_zygote:
        for pid in helpers:
            os.kill(pid, signal.SIGKILL)
    ends_dir = next(cwd for cwd in before if ends["ID"] in cwd)
    (Path(ends_dir) / "stop").touch()
    until(lambda: len(pids_of(folder)) == 19, "one task ended meanwhile")
    agent.start()
    until(lambda: agent.get(f"/v1/allocation/{ends['ID']}")["ClientStatus"] == "failed", "the exit is reported")
    events = agent.get(f"/v1/allocation/{ends['ID']}")["TaskStates"]["main"]["Events"]
    assert any(e["Type"] == "Terminated" and e["Details"].get("exit_code") == "7" for e in events), events
    agent.wait_running("steady", 19)
    after = pids_of(folder)
    assert after == {cwd: pid for cwd, pid in before.items() if cwd != ends_dir}
    for stub in steady:
        allocation = agent.get(f"/v1/allocation/{stub['ID']}")
        assert allocation["TaskStates"]["main"]["Restarts"] == 0
        assert allocation["ClientStatus"] == "running"
    last = assert_unbroken(agent.logs(steady[0]["ID"], "main"))
    until(lambda: assert_unbroken(agent.logs(steady[0]["ID"], "main")) > last, "the output goes on")


def test_three_containers_outlive_the_agent(agents: Agents, busybox_image: str) -> None:
    agent = agents.both().start()
    agent.wait_nodes()
    job = a_job("boxes", "", count=3)
    task = job["TaskGroups"][0]["Tasks"][0]
    task["Driver"] = "docker"
    task["Config"] = {"image": busybox_image, "command": "/bin/sh", "args": ["-c", COUNTER]}
    agent.register(job)
    boxes = agent.wait_running("boxes", 3)

    def containers() -> dict[str, tuple[str, int]]:
        import subprocess

        found = {}
        for box in boxes:
            label = f"label=com.hashicorp.nomad.alloc_id={box['ID']}"
            ids = subprocess.run(["docker", "ps", "-q", "--filter", label], capture_output=True, text=True, check=True)
            shown = subprocess.run(
                ["docker", "inspect", "-f", "{{.State.Pid}}", *ids.stdout.split()],
                capture_output=True,
                text=True,
                check=True,
            )
            found[box["ID"]] = (ids.stdout, int(shown.stdout))
        return found

    before = containers()
    until(lambda: assert_unbroken(agent.logs(boxes[0]["ID"], "main")) > 5, "some output")
    agent.kill()
    time.sleep(1)  # output that nobody reads: it has to be there afterwards
    agent.start()
    agent.wait_running("boxes", 3)
    assert containers() == before
    for box in boxes:
        assert agent.get(f"/v1/allocation/{box['ID']}")["TaskStates"]["main"]["Restarts"] == 0
        until(lambda box=box: assert_unbroken(agent.logs(box["ID"], "main")) > 20, "the output is whole")


def test_every_acknowledged_job_survives_kill_9_of_the_server(agents: Agents) -> None:
    server = agents.server().start()
    acknowledged: set[str] = set()
    attempted: set[str] = set()
    stop = threading.Event()

    def register(worker: int) -> None:
        number = 0
        while not stop.is_set():
            job_id = f"job-{worker}-{number}"
            number += 1
            attempted.add(job_id)
            try:
                server.register(a_job(job_id, "exec sleep 1", count=2))
            except (OSError, AssertionError):
                return
            acknowledged.add(job_id)

    workers = [threading.Thread(target=register, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    until(lambda: len(acknowledged) > 100, "a hundred jobs are acknowledged")
    server.kill()
    stop.set()
    for worker in workers:
        worker.join(60)
    server.start()
    stored = {job["ID"] for job in server.get("/v1/jobs")}
    assert acknowledged <= stored <= attempted
    for job_id in stored:  # none is half there: its versions, its summary and its evaluation came in the same revision
        job = server.get(f"/v1/job/{job_id}")
        assert job["TaskGroups"][0]["Count"] == 2
        assert server.get(f"/v1/job/{job_id}/versions")["Versions"][0]["JobModifyIndex"] == job["JobModifyIndex"]
        assert server.get(f"/v1/job/{job_id}/summary")["JobID"] == job_id
        assert server.get(f"/v1/job/{job_id}/evaluations")


def test_a_lost_node_is_noticed_and_its_allocations_replaced(agents: Agents) -> None:
    server = agents.server(config='  heartbeat_grace = "1s"\n').start()
    nodes = {name: agents.node(server, name).start() for name in ("one", "two")}
    server.wait_nodes(2)
    server.register(a_job("web", "exec sleep 1000", count=4))
    found = server.wait_running("web", 4)
    victim_name = found[0]["NodeName"]
    on_victim = {a["ID"] for a in found if a["NodeName"] == victim_name}
    nodes[victim_name].kill()

    def replaced() -> bool:
        alive = server.running("web")
        return len(alive) == 4 and not on_victim & {a["ID"] for a in alive}

    until(replaced, "replacements on the other node")
    lost = [a for a in server.allocs("web") if a["ID"] in on_victim]
    assert {a["ClientStatus"] for a in lost} == {"lost"}
    [node] = [n for n in server.get("/v1/nodes") if n["Name"] == victim_name]
    assert node["Status"] == "down"
    nodes[victim_name].start()
    server.wait_nodes(2)
    # What was replaced must not run twice.
    until(lambda: not any(a in cwd for cwd in pids_of(agents.folder / victim_name) for a in on_victim), "no orphans")


def test_the_server_may_restart_while_tasks_run(agents: Agents) -> None:
    server = agents.server().start()
    agents.node(server, "node").start()
    server.wait_nodes(1)
    server.register(a_job("web", COUNTER, count=2))
    before = {a["ID"] for a in server.wait_running("web", 2)}
    server.kill()
    server.start()
    server.wait_nodes(1)
    assert {a["ID"] for a in server.wait_running("web", 2)} == before
    server.register(a_job("more", "exec sleep 1000"))
    server.wait_running("more", 1)
