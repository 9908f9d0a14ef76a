"""Three node agents on one machine: eligibility, drain, purge, loss and return, meta that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from .conftest import AgentProcess, Agents, a_job, until

SECOND = 1_000_000_000
QUICK_UPDATE = {"MaxParallel": 3, "MinHealthyTime": 0, "HealthyDeadline": 60 * SECOND, "ProgressDeadline": 120 * SECOND}


class Trio(NamedTuple):
    """A server and three nodes: n1 in dc1, n2 in dc2, n3 in dc3, each with a meta "rack"."""

    server: AgentProcess
    nodes: dict[str, AgentProcess]

    def id_of(self, name: str) -> str:
        found: str = next(node["ID"] for node in self.server.get("/v1/nodes") if node["Name"] == name)
        return found

    def node(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.get(f"/v1/node/{self.id_of(name)}")
        return found

    def on(self, name: str, job_id: str) -> list[dict[str, Any]]:
        """What runs of a job on a node."""
        node_id = self.id_of(name)
        return [a for a in self.server.running(job_id) if a["NodeID"] == node_id]

    def names(self, job_id: str) -> list[str]:
        """Names of the nodes that a job runs on."""
        return sorted(a["NodeName"] for a in self.server.running(job_id))

    def drain(self, name: str, deadline: int = 3600 * SECOND, ignore_system: bool = False, **more: Any) -> Any:
        spec = {"Deadline": deadline, "IgnoreSystemJobs": ignore_system}
        return self.server.put(f"/v1/node/{self.id_of(name)}/drain", {"DrainSpec": spec, **more})

    def wait_drained(self, name: str) -> dict[str, Any]:
        def drained() -> dict[str, Any] | None:
            node = self.node(name)
            return node if node["DrainStrategy"] is None else None

        found: dict[str, Any] = until(drained, f"{name} is drained")
        return found


@pytest.fixture
def trio(agents: Agents) -> Trio:
    server = agents.server(config='  heartbeat_grace = "1s"\n').start()
    nodes = {}
    for number in (1, 2, 3):
        name = f"n{number}"
        nodes[name] = agents.node(
            server, name, client=f'  meta {{\n    rack = "r{number}"\n  }}\n', config=f'datacenter = "dc{number}"\n'
        ).start(wait=False)
    server.wait_nodes(3)
    return Trio(server, nodes)


def a_service(job_id: str, count: int, *, min_healthy: int = 0, parallel: int = 1, **job: Any) -> dict[str, Any]:
    migrate = {
        "MaxParallel": parallel,
        "HealthCheck": "task_states",
        "MinHealthyTime": min_healthy,
        "HealthyDeadline": 60 * SECOND,
    }
    made = a_job(job_id, "exec sleep 1000", count=count, Migrate=migrate, Update=QUICK_UPDATE)
    made.update(job)
    return made


def spread_out() -> list[dict[str, Any]]:
    return [{"Operand": "distinct_hosts", "RTarget": "true"}]


def wait_healthy(trio: Trio, job_id: str, count: int) -> None:
    def healthy() -> bool:
        found = trio.server.running(job_id)
        return sum(bool((a["DeploymentStatus"] or {}).get("Healthy")) for a in found) == count

    until(healthy, f"{count} of {job_id} are healthy")


def watch(look: Callable[[], int], until_done: Callable[[], bool]) -> list[int]:
    """Everything that `look` saw until it was done."""
    seen: list[int] = []

    def step() -> bool:
        seen.append(look())
        return until_done()

    until(step, "what is watched ends")
    return seen


def test_nodes_keep_their_own_datacenter_and_meta_and_jobs_find_them(trio: Trio) -> None:
    nodes = {node["Name"]: trio.server.get(f"/v1/node/{node['ID']}") for node in trio.server.get("/v1/nodes")}
    assert {name: node["Datacenter"] for name, node in nodes.items()} == {"n1": "dc1", "n2": "dc2", "n3": "dc3"}
    assert {name: node["Meta"]["rack"] for name, node in nodes.items()} == {"n1": "r1", "n2": "r2", "n3": "r3"}
    by_rack = a_service("by-rack", 2)
    by_rack["Constraints"] = [{"LTarget": "${meta.rack}", "RTarget": "r2", "Operand": "="}]
    trio.server.register(by_rack)
    trio.server.register(a_service("by-dc", 1, Datacenters=["dc3"]))
    trio.server.wait_running("by-rack", 2)
    trio.server.wait_running("by-dc", 1)
    assert trio.names("by-rack") == ["n2", "n2"]
    assert trio.names("by-dc") == ["n3"]


def test_an_ineligible_node_keeps_what_it_runs_and_gets_nothing_new(trio: Trio) -> None:
    trio.server.register(a_service("old", 3, Constraints=spread_out()))
    trio.server.wait_running("old", 3)
    trio.server.cli("node", "eligibility", "-disable", trio.id_of("n1"), check=True)
    assert trio.node("n1")["SchedulingEligibility"] == "ineligible"
    trio.server.register(a_service("new", 6))
    trio.server.wait_running("new", 6)
    assert "n1" not in trio.names("new")
    assert trio.names("old") == ["n1", "n2", "n3"]
    waiting = a_service("waiting", 1, Datacenters=["dc1"])
    trio.server.register(waiting)
    until(lambda: trio.server.get("/v1/job/waiting/evaluations"), "it was looked at")
    assert trio.server.running("waiting") == []
    trio.server.cli("node", "eligibility", "-enable", trio.id_of("n1"), check=True)
    trio.server.wait_running("waiting", 1)
    assert trio.names("waiting") == ["n1"]


def test_a_drain_moves_a_service_one_by_one_and_keeps_the_rest_healthy(trio: Trio) -> None:
    for name in ("n2", "n3"):
        trio.server.put(f"/v1/node/{trio.id_of(name)}/eligibility", {"Eligibility": "ineligible"})
    trio.server.register(a_service("web", 4))
    trio.server.wait_running("web", 4)
    wait_healthy(trio, "web", 4)
    assert trio.names("web") == ["n1"] * 4
    for name in ("n2", "n3"):
        trio.server.put(f"/v1/node/{trio.id_of(name)}/eligibility", {"Eligibility": "eligible"})
    trio.drain("n1", Meta={"message": "new disks"})
    assert trio.node("n1")["SchedulingEligibility"] == "ineligible"

    def good() -> int:
        return sum(bool((a["DeploymentStatus"] or {}).get("Healthy")) for a in trio.server.running("web"))

    seen = watch(good, lambda: trio.node("n1")["DrainStrategy"] is None)
    assert min(seen) >= 3
    node = trio.wait_drained("n1")
    assert trio.on("n1", "web") == []
    trio.server.wait_running("web", 4)
    assert node["LastDrain"]["Status"] == "complete"
    assert node["LastDrain"]["Meta"] == {"message": "new disks"}
    assert node["SchedulingEligibility"] == "ineligible"
    assert [event["Details"] for event in node["Events"] if event["Message"] == "Node drain complete"] == [{}]
    triggers = {e["TriggeredBy"] for e in trio.server.get("/v1/job/web/evaluations")}
    assert "node-drain" in triggers


def test_a_drain_waits_until_the_replacement_was_up_for_min_healthy_time(trio: Trio) -> None:
    trio.server.put(f"/v1/node/{trio.id_of('n3')}/eligibility", {"Eligibility": "ineligible"})
    trio.server.put(f"/v1/node/{trio.id_of('n2')}/eligibility", {"Eligibility": "ineligible"})
    trio.server.register(a_service("web", 2, min_healthy=2 * SECOND))
    trio.server.wait_running("web", 2)
    wait_healthy(trio, "web", 2)
    trio.server.put(f"/v1/node/{trio.id_of('n2')}/eligibility", {"Eligibility": "eligible"})
    trio.drain("n1")
    trio.wait_drained("n1")
    moved = sorted((a for a in trio.server.allocs("web") if a["NodeName"] == "n2"), key=lambda a: a["CreateTime"])
    assert len(moved) == 2
    # The second copy was only moved once the first replacement had run for its two seconds.
    assert moved[1]["CreateTime"] - moved[0]["CreateTime"] >= 2 * SECOND


def test_batch_work_finishes_before_the_drain_ends_and_the_deadline_moves_what_does_not(trio: Trio) -> None:
    short = a_job("short", "sleep 3; exit 0", job_type="batch")
    short["Datacenters"] = ["dc1"]
    long = a_job("long", "exec sleep 1000", job_type="batch")
    long["Datacenters"] = ["dc1", "dc2"]
    long["Affinities"] = [{"LTarget": "${node.datacenter}", "RTarget": "dc1", "Operand": "=", "Weight": 100}]
    trio.server.register(short)
    trio.server.register(long)
    [finished] = trio.server.wait_running("short", 1)
    [moved] = trio.server.wait_running("long", 1)
    assert moved["NodeName"] == "n1"
    trio.drain("n1", deadline=8 * SECOND)
    node = trio.wait_drained("n1")
    done = trio.server.get(f"/v1/allocation/{finished['ID']}")
    assert (done["ClientStatus"], done["DesiredStatus"]) == ("complete", "run")
    assert not done["DesiredTransition"].get("Migrate")
    last = trio.server.get(f"/v1/allocation/{moved['ID']}")
    assert last["DesiredStatus"] == "stop"
    [event] = [event for event in node["Events"] if event["Message"] == "Node drain complete"]
    assert event["Details"] == {"deadline_reached": "true"}
    trio.server.wait_running("long", 1)
    assert trio.names("long") == ["n2"]


def test_system_jobs_leave_last_or_are_left_alone(trio: Trio) -> None:
    everywhere = a_job("everywhere", "exec sleep 1000", job_type="system")
    trio.server.register(everywhere)
    trio.server.wait_running("everywhere", 3)
    trio.server.register(a_service("web", 2, Datacenters=["dc1", "dc2"], Constraints=spread_out()))
    trio.server.wait_running("web", 2)
    wait_healthy(trio, "web", 2)
    trio.drain("n3", ignore_system=True)
    trio.wait_drained("n3")
    assert len(trio.on("n3", "everywhere")) == 1
    # There is no room for the second copy of the service until n3 takes it, so n1 keeps its system job until then.
    trio.server.put(f"/v1/node/{trio.id_of('n2')}/eligibility", {"Eligibility": "ineligible"})
    web_on_1 = trio.on("n1", "web")[0]["ID"]
    trio.drain("n1")
    trio.wait_drained("n1")
    gone = trio.server.get(f"/v1/allocation/{web_on_1}")
    [system] = [a for a in trio.server.allocs("everywhere") if a["NodeName"] == "n1"]
    assert system["ClientStatus"] == "complete"
    assert trio.server.get(f"/v1/allocation/{system['ID']}")["ModifyTime"] >= gone["ModifyTime"]
    assert trio.names("everywhere") == ["n2", "n3"]


def test_a_forced_drain_moves_everything_at_once(trio: Trio) -> None:
    trio.server.register(a_service("web", 6))
    trio.server.register(a_job("batch", "exec sleep 1000", job_type="batch", count=3))
    trio.server.wait_running("web", 6)
    trio.server.wait_running("batch", 3)
    done = trio.server.cli("node", "drain", "-enable", "-force", "-yes", trio.id_of("n1"), check=True)
    assert "is over" in done.stdout, done.stdout
    assert trio.wait_drained("n1")["LastDrain"]["Status"] == "complete"
    trio.server.wait_running("web", 6)
    trio.server.wait_running("batch", 3)
    assert "n1" not in trio.names("web") + trio.names("batch")


def test_a_drain_that_is_taken_back_leaves_what_still_runs(trio: Trio) -> None:
    batch = a_job("batch", "exec sleep 1000", job_type="batch")
    batch["Datacenters"] = ["dc1"]
    trio.server.register(batch)
    [allocation] = trio.server.wait_running("batch", 1)
    trio.server.cli("node", "drain", "-enable", "-no-deadline", "-detach", "-yes", trio.id_of("n1"), check=True)
    assert trio.node("n1")["DrainStrategy"]["Deadline"] == 0
    waits = trio.server.get(f"/v1/node/{trio.id_of('n1')}/drain")["Waits"]
    assert waits == {allocation["ID"]: "may finish until the deadline"}
    status, body, _ = trio.server.request(
        "PUT", f"/v1/node/{trio.id_of('n1')}/eligibility", {"Eligibility": "eligible"}
    )
    assert status != 200
    assert b"drain" in body
    trio.server.cli("node", "drain", "-disable", "-yes", trio.id_of("n1"), check=True)
    node = trio.node("n1")
    assert node["DrainStrategy"] is None
    assert node["LastDrain"]["Status"] == "canceled"
    assert node["SchedulingEligibility"] == "eligible"
    assert [a["ID"] for a in trio.server.running("batch")] == [allocation["ID"]]


def test_a_node_that_dies_is_replaced_and_is_ready_again_when_it_comes_back(trio: Trio) -> None:
    trio.server.register(a_service("web", 3, Constraints=spread_out(), Datacenters=["dc1", "dc2"]))
    trio.server.register(a_service("free", 3))
    trio.server.wait_running("web", 2)
    trio.server.wait_running("free", 3)
    trio.nodes["n1"].kill()
    until(lambda: trio.node("n1")["Status"] == "down", "its loss is noticed")
    until(lambda: len(trio.server.running("free")) == 3 and "n1" not in trio.names("free"), "what it ran is replaced")
    trio.nodes["n1"].start(wait=False)
    until(lambda: trio.node("n1")["Status"] == "ready", "it is back")
    until(lambda: trio.names("web") == ["n1", "n2"], "it takes work again")
    assert any("again" in event["Message"] for event in trio.node("n1")["Events"])


def test_a_purged_node_is_forgotten_and_its_work_is_placed_elsewhere(trio: Trio) -> None:
    trio.server.register(a_service("web", 4))
    trio.server.wait_running("web", 4)
    gone = trio.id_of("n1")
    trio.nodes["n1"].kill()
    until(lambda: trio.node("n1")["Status"] == "down", "its loss is noticed")
    trio.server.cli("node", "purge", "-yes", gone, check=True)
    assert trio.server.request("GET", f"/v1/node/{gone}")[0] == 404
    assert {node["Name"] for node in trio.server.get("/v1/nodes")} == {"n2", "n3"}
    trio.server.wait_running("web", 4)
    assert set(trio.names("web")) <= {"n2", "n3"}


def test_meta_changed_while_a_node_runs_lets_waiting_jobs_in_and_outlives_its_agent(trio: Trio) -> None:
    job = a_service("gpu", 1)
    job["Constraints"] = [{"LTarget": "${meta.gpu}", "RTarget": "yes", "Operand": "="}]
    answer = trio.server.register(job)
    until(
        lambda: trio.server.get(f"/v1/evaluation/{answer['EvalID']}")["Status"] in ("complete", "blocked"),
        "it was looked at",
    )
    assert trio.server.running("gpu") == []
    trio.server.cli("node", "meta", "apply", "-node-id", trio.id_of("n2"), "gpu=yes", check=True)
    trio.server.wait_running("gpu", 1)
    assert trio.names("gpu") == ["n2"]
    trio.nodes["n2"].kill()
    trio.nodes["n2"].start(wait=False)
    trio.nodes["n3"].put(f"/v1/client/metadata?node_id={trio.id_of('n3')}", {"Meta": {"rack": None, "own": "1"}})

    def told() -> Any:
        return trio.server.get(f"/v1/client/metadata?node_id={trio.id_of('n2')}")

    assert until(told, "n2 is connected again") == {
        "Meta": {"rack": "r2", "gpu": "yes"},
        "Dynamic": {"gpu": "yes"},
        "Static": {"rack": "r2"},
    }
    shown = trio.server.cli("node", "meta", "read", "-node-id", trio.id_of("n2"), check=True).stdout
    assert "gpu" in shown
    assert trio.node("n3")["Meta"] == {"own": "1"}
    trio.server.cli("node", "meta", "apply", "-node-id", trio.id_of("n2"), "-unset", "gpu", check=True)
    until(lambda: "gpu" not in trio.node("n2")["Meta"], "it is gone")
    assert trio.node("n2")["Meta"]["rack"] == "r2"


def test_hostile_drains_are_refused(trio: Trio) -> None:
    node_id = trio.id_of("n1")
    for body in (
        {"DrainSpec": {"Deadline": 10**19}},
        {"DrainSpec": {"Deadline": "soon"}},
        {"DrainSpec": {"Deadline": 20 * 365 * 24 * 3600 * SECOND}},
        {"DrainSpec": []},
        {"NodeID": "another", "DrainSpec": {"Deadline": 1}},
    ):
        status, answer, _ = trio.server.request("PUT", f"/v1/node/{node_id}/drain", body)
        assert 400 <= status < 500, (body, status, answer)
    unknown = "00000000-0000-0000-0000-000000000000"
    assert trio.server.request("PUT", f"/v1/node/{unknown}/drain", {"DrainSpec": {}})[0] == 404
    assert trio.node("n1")["DrainStrategy"] is None
    for meta in ({}, {"": "x"}, {"a b": "x"}, {"x" * 300: "x"}, {"x": "y" * 5000}, {"x": 1}):
        status, answer, _ = trio.server.request("PUT", f"/v1/client/metadata?node_id={node_id}", {"Meta": meta})
        assert 400 <= status < 500, (meta, status, answer)
    assert trio.server.request("PUT", f"/v1/client/metadata?node_id={unknown}", {"Meta": {"a": "b"}})[0] == 404
    assert trio.node("n1")["Meta"] == {"rack": "r1"}


def test_a_periodic_job_is_launched_by_the_clock_and_by_hand(trio: Trio) -> None:
    job = a_job("tick", "exit 0", job_type="batch")
    job["Periodic"] = {"Enabled": True, "SpecType": "cron", "Spec": "*/2 * * * * * *"}
    answer = trio.server.register(job)
    assert not answer["EvalID"]

    def children() -> list[dict[str, Any]]:
        return [j for j in trio.server.get("/v1/jobs?prefix=tick/periodic-") if j["Status"] == "dead"]

    until(lambda: len(children()) >= 2, "two launches have run")
    times = sorted(int(child["ID"].rpartition("-")[2]) for child in children())
    assert all(moment % 2 == 0 for moment in times)
    assert all(child["ParentID"] == "tick" for child in children())
    slow = {**job, "ID": "yearly", "Periodic": {**job["Periodic"], "Spec": "@yearly"}}
    trio.server.register(slow)
    trio.server.cli("job", "periodic", "force", "-detach", "yearly", check=True)
    until(
        lambda: [j["Status"] for j in trio.server.get("/v1/jobs?prefix=yearly/")] == ["dead"], "its one launch has run"
    )
