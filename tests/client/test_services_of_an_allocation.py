"""Services come and go with their tasks; checks decide health and restarts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rove.client.drivers.base import Exit
from rove.structs.alloc import AllocDeploymentStatus, Desired
from rove.structs.job import CheckRestart, RestartPolicy, Service, ServiceCheck, UpdateStrategy
from rove.structs.messages import AllocRequest, Kind, Stats
from rove.structs.resources import AllocatedPort, AllocatedShared
from rove.testing import virtual_time
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until

S = 1_000_000_000
replace = msgspec.structs.replace


def a_check(port: int = 0, **fields: Any) -> ServiceCheck:
    defaults: dict[str, Any] = {
        "name": "ping", "type": "tcp" if port else "script", "port_label": str(port) if port else "",
        "command": "" if port else "/bin/true", "interval": S, "timeout": S, "task_name": "main",
        "address_mode": "host" if port else "",
    }  # fmt: skip
    return ServiceCheck(**{**defaults, **fields})


def names(world: World) -> list[str]:
    return sorted(each.service_name for each in world.server.services.values())


def health(world: World, name: str = "web") -> list[str]:
    return [each.health for each in world.server.services.values() if each.service_name == name]


async def results(world: World, alloc: Any) -> list[dict[str, Any]]:
    reply = await world.server.call(Kind.ALLOC_CHECKS, AllocRequest(alloc_id=alloc.id), Stats)
    return list(reply.body.values())


def description(world: World, alloc: Any) -> str:
    report = world.server.newest.get(alloc.id)
    return report.client_description if report is not None else ""


class Port:
    """A port that answers, or not."""

    def __init__(self) -> None:
        self.number = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", self.number)
        self.number = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 5)
            self._server = None


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    made = Port()
    await made.open()
    yield made
    await made.close()


async def test_services_of_group_and_task_are_registered_once_it_runs(world: World) -> None:
    await world.agent()
    task = a_task(services=(Service(name="db"),), config={"start_block_for": "50ms"})
    alloc = an_alloc(a_job(task, services=(Service(name="web", provider="nomad"),)))
    await world.server.send(alloc)
    await until(lambda: names(world) == ["db", "web"])
    assert world.machine.running
    assert {each.health for each in world.server.services.values()} == {"passing"}
    assert {each.alloc_id for each in world.server.services.values()} == {alloc.id}


async def test_a_task_gets_its_signal_only_when_its_services_are_gone(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(a_task(services=(Service(name="db"),)), services=(Service(name="web"),)))
    await world.server.send(alloc)
    await until(lambda: names(world) == ["db", "web"])
    world.server.answers_services.clear()
    await world.server.stop(alloc)
    await until(lambda: names(world) == [])
    assert world.machine.running
    assert world.machine.tasks[f"{alloc.id}/main"].signals == []
    world.server.answers_services.set()
    await world.server.until_status(alloc, "complete")


def test_services_are_gone_before_the_shutdown_delay_begins(tmp_path: Path) -> None:
    async def course() -> None:
        world = World(tmp_path, virtual_time.VirtualClock(), virtual_time.in_place)
        await world.agent()
        alloc = an_alloc(a_job(services=(Service(name="web"),), shutdown_delay=60 * S))
        await world.server.send(alloc)
        await until(lambda: names(world) == ["web"])
        start = world.clock.monotonic()
        await world.server.stop(alloc)
        await until(lambda: names(world) == [], every_s=0.01)
        assert world.clock.monotonic() - start < 1
        await until(lambda: world.server.status(alloc) == "complete", 3600, every_s=0.01)
        assert world.clock.monotonic() - start == pytest.approx(60, abs=0.5)
        await world.close()

    virtual_time.run(course())


async def test_a_task_that_is_started_anew_is_not_offered_meanwhile(world: World) -> None:
    await world.agent()
    policy = RestartPolicy(attempts=3, interval=600 * S, delay=600 * S, mode="fail")
    alloc = an_alloc(a_job(a_task(restart_policy=policy), services=(Service(name="web"),)))
    await world.server.send(alloc)
    await until(lambda: names(world) == ["web"])
    world.machine.tasks[f"{alloc.id}/main"].end(Exit(code=1))
    await until(lambda: names(world) == [])


async def test_a_group_is_offered_while_one_of_its_tasks_is_started_anew(world: World) -> None:
    await world.agent()
    policy = RestartPolicy(attempts=3, interval=600 * S, delay=600 * S, mode="fail")
    tasks = (a_task("main"), a_task("other", restart_policy=policy, services=(Service(name="other"),)))
    alloc = an_alloc(a_job(*tasks, services=(Service(name="web"),)))
    await world.server.send(alloc)
    await until(lambda: names(world) == ["other", "web"])
    world.machine.tasks[f"{alloc.id}/other"].end(Exit(code=1))
    await until(lambda: names(world) == ["web"])


async def test_services_change_in_place(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(services=(Service(name="web", tags=("old",)), Service(name="gone"))))
    await world.server.send(alloc)
    await until(lambda: names(world) == ["gone", "web"])
    job = a_job(services=(Service(name="web", tags=("new",)), Service(name="more")), version=1)
    await world.server.send(replace(alloc, job=job, job_version=1, modify_index=11))
    await until(lambda: names(world) == ["more", "web"])
    assert next(each.tags for each in world.server.services.values() if each.service_name == "web") == ("new",)
    assert len(world.machine.starts) == 1


async def test_a_promoted_canary_takes_the_usual_tags(world: World) -> None:
    await world.agent()
    job = a_job(services=(Service(name="web", tags=("live",), canary_tags=("canary",)),))
    alloc = an_alloc(job, deployment_id="d", deployment_status=AllocDeploymentStatus(canary=True))
    await world.server.send(alloc)
    await until(lambda: [each.tags for each in world.server.services.values()] == [("canary",)])
    await world.server.send(replace(alloc, deployment_status=AllocDeploymentStatus(canary=False), modify_index=11))
    await until(lambda: [each.tags for each in world.server.services.values()] == [("live",)])


async def test_an_agent_that_comes_back_says_the_same(world: World) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(services=(Service(name="web", checks=(a_check(),)),)))
    await world.server.send(alloc)
    await until(lambda: health(world) == ["passing"])
    await world.kill(client)
    world.server.service_messages.clear()
    await world.agent()
    await until(lambda: world.server.service_messages)
    first = world.server.service_messages[0]
    assert first.full
    assert [(each.service_name, each.health) for each in first.put] in ([("web", "")], [("web", "passing")])
    await until(lambda: health(world) == ["passing"])
    assert all(each.health in ("", "passing") for message in world.server.service_messages for each in message.put)


async def test_a_name_that_is_none_is_told_and_the_task_runs(world: World) -> None:
    await world.agent()
    alloc = an_alloc(a_job(services=(Service(name="${NOMAD_ALLOC_NAME}"),)))
    await world.server.send(alloc)
    await until(
        lambda: world.server.status(alloc) == "running" and "Task hook message" in world.server.event_types(alloc)
    )
    assert names(world) == []


async def test_a_service_passes_with_its_check_and_not_before(world: World, port: Port) -> None:
    await world.agent()
    await port.close()
    alloc = an_alloc(a_job(services=(Service(name="web", checks=(a_check(port.number),)),)))
    await world.server.send(alloc)
    await until(lambda: health(world) == ["pending"])
    await until(lambda: "has not passed yet" in description(world, alloc))
    assert [each["Status"] for each in await results(world, alloc)] == ["pending"]
    await port.open()
    await until(lambda: health(world) == ["passing"])
    await until(lambda: description(world, alloc) == "Tasks are running")
    assert [(each["Status"], each["Check"], each["Service"]) for each in await results(world, alloc)] == [
        ("success", "ping", "web")
    ]
    await port.close()
    await until(lambda: health(world) == ["critical"])
    await until(lambda: "Task hook message" in world.server.event_types(alloc))


async def test_checks_decide_whether_an_allocation_is_healthy(world: World, port: Port) -> None:
    await world.agent()
    await port.close()
    update = UpdateStrategy(health_check="checks", min_healthy_time=0, healthy_deadline=600 * S)
    alloc = an_alloc(
        a_job(update=update, services=(Service(name="web", checks=(a_check(port.number),)),)), deployment_id="d"
    )
    await world.server.send(alloc)
    await until(lambda: "has not passed yet" in description(world, alloc))
    assert world.server.newest[alloc.id].healthy is None
    await port.open()
    await until(lambda: world.server.newest[alloc.id].healthy)


async def test_the_last_word_of_a_failing_check_is_told_at_the_deadline(world: World, port: Port) -> None:
    await world.agent()
    await port.close()
    update = UpdateStrategy(health_check="checks", min_healthy_time=0, healthy_deadline=S)
    alloc = an_alloc(
        a_job(update=update, services=(Service(name="web", checks=(a_check(port.number),)),)), deployment_id="d"
    )
    await world.server.send(alloc)
    await until(lambda: (report := world.server.newest.get(alloc.id)) is not None and report.healthy is False)
    event = next(
        e for e in world.server.newest[alloc.id].task_states["main"].events if e.type == "Alloc Unhealthy"
    )  # fmt: skip
    assert 'check "ping" of service "web"' in event.display_message
    assert "onnect" in event.display_message


async def test_health_by_task_states_ignores_checks(world: World, port: Port) -> None:
    await world.agent()
    await port.close()
    update = UpdateStrategy(health_check="task_states", min_healthy_time=0, healthy_deadline=600 * S)
    alloc = an_alloc(
        a_job(update=update, services=(Service(name="web", checks=(a_check(port.number),)),)), deployment_id="d"
    )
    await world.server.send(alloc)
    await until(lambda: (report := world.server.newest.get(alloc.id)) is not None and report.healthy is True)


def test_the_deadline_of_a_task_that_runs_already_begins_with_its_deployment(tmp_path: Path) -> None:
    async def course() -> None:
        world = World(tmp_path, virtual_time.VirtualClock(), virtual_time.in_place)
        await world.agent()
        alloc = an_alloc(a_job())
        await world.server.send(alloc)
        await until(lambda: world.server.status(alloc) == "running")
        await world.clock.sleep(3600)
        update = UpdateStrategy(health_check="checks", min_healthy_time=10 * S, healthy_deadline=60 * S)
        failing = a_check(type="tcp")  # without a port it never passes
        job = a_job(update=update, services=(Service(name="web", checks=(failing,)),), version=1)
        start = world.clock.monotonic()
        await world.server.send(replace(alloc, job=job, job_version=1, deployment_id="d", modify_index=11))
        await until(lambda: world.server.newest[alloc.id].healthy is not None, 3600, every_s=0.01)
        assert world.server.newest[alloc.id].healthy is False
        assert world.clock.monotonic() - start == pytest.approx(60, abs=0.5)
        await world.close()

    virtual_time.run(course())


async def test_a_failing_check_restarts_its_task(world: World, port: Port) -> None:
    await world.agent()
    check = a_check(port.number, check_restart=CheckRestart(limit=1, grace=0))
    task = a_task(restart_policy=fast_restarts(attempts=1), services=(Service(name="web", checks=(check,)),))
    alloc = an_alloc(a_job(task))
    await world.server.send(alloc)
    await until(lambda: health(world) == ["passing"])
    await port.close()
    await until(lambda: len(world.machine.starts) == 2)
    await until(lambda: "Restart Signaled" in world.server.event_types(alloc))
    await world.server.until_status(alloc, "failed")  # the policy allows one restart, and the check still fails
    assert len(world.machine.starts) == 2


async def test_a_port_is_not_used_before_the_one_that_holds_it_has_ended(world: World) -> None:
    await world.agent()
    shared = AllocatedShared(ports=(AllocatedPort(label="http", value=8080),))
    old = an_alloc(a_job(a_task(config={"kill_after": "50ms"})), 1)
    old = replace(old, allocated_resources=replace(old.allocated_resources, shared=shared))
    new = an_alloc(a_job(), 2)
    new = replace(new, allocated_resources=replace(new.allocated_resources, shared=shared))
    await world.server.send(old)
    await world.server.until_status(old, "running")
    await world.server.send(replace(old, desired_status=Desired.STOP, modify_index=11), new)
    await world.server.until_status(old, "complete")
    await world.server.until_status(new, "running")
    order = [(update.id, update.client_status) for update in world.server.updates]
    assert order.index((old.id, "complete")) < order.index((new.id, "running"))


async def test_all_that_was_offered_is_forgotten_with_the_allocation(world: World, port: Port) -> None:
    client = await world.agent()
    alloc = an_alloc(a_job(services=(Service(name="web", checks=(a_check(port.number),)),)))
    await world.server.send(alloc)
    await until(lambda: names(world) == ["web"])
    await world.server.send(gone=(alloc.id,))
    await until(lambda: alloc.id not in client.runners)
    await until(lambda: names(world) == [])
