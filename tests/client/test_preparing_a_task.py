"""What is done before a task starts, and how it fails."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rove.client.client import task_host_env
from rove.client.drivers.base import Exit
from rove.client.drivers.mock import seconds
from rove.client.taskrunner.hooks.dirs import make_dirs, owner_of
from rove.structs.job import DispatchPayload, Template, VolumeMount, VolumeRequest
from rove.structs.node import HostVolume
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until


async def outcome(world: World, job: Any, status: str, **settings: Any) -> Any:
    await world.agent(**settings)
    alloc = an_alloc(job)
    await world.server.send(alloc)
    await world.server.until_status(alloc, status)
    return alloc


def text_of(world: World, alloc: Any, kind: str) -> str:
    events = world.server.newest[alloc.id].task_states["main"].events
    return next(event.display_message for event in events if event.type == kind)


def test_directories_have_the_modes_that_tasks_of_any_user_need(tmp_path: Path) -> None:
    make_dirs(tmp_path / "web", None)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (tmp_path / "web").iterdir()}
    assert modes == {"local": 0o777, "secrets": 0o700, "private": 0o700, "tmp": 0o1777}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away")
def test_directories_that_are_there_already_become_the_tasks_users(tmp_path: Path) -> None:
    make_dirs(tmp_path / "web", None)
    make_dirs(tmp_path / "web", (1234, 1235))
    for name, owner in (("secrets", 1234), ("private", 1234), ("local", 0)):
        assert (tmp_path / "web" / name).stat().st_uid == owner


def test_a_link_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "local").symlink_to("/etc")
    with pytest.raises(FileExistsError):
        make_dirs(tmp_path / "web", None)


def test_users_are_found_by_name_and_number() -> None:
    assert owner_of("root") == (0, 0)
    assert owner_of("0:0") == (0, 0)
    assert owner_of("no-such-user-here") is None
    assert owner_of("") is None


async def test_a_dispatched_payload_is_written_below_local(world: World) -> None:
    job = a_job(a_task(dispatch_payload=DispatchPayload(file="in/put.json")))
    job = msgspec.structs.replace(job, dispatched=True, payload=b"{}")
    alloc = await outcome(world, job, "running")
    assert (world.data_dir / "alloc" / alloc.id / "main/local/in/put.json").read_bytes() == b"{}"


@pytest.mark.parametrize("file", ["../../escape", "/etc/escape", "a/../../b", "a\0b", "."])
async def test_a_payload_that_leaves_local_fails_the_task(world: World, file: str) -> None:
    job = a_job(a_task(dispatch_payload=DispatchPayload(file=file)))
    job = msgspec.structs.replace(job, dispatched=True, payload=b"{}")
    alloc = await outcome(world, job, "failed")
    assert "no path below" in text_of(world, alloc, "Setup Failure")
    assert world.machine.starts == []


async def test_a_template_says_that_it_cannot_be_rendered_yet(world: World) -> None:
    alloc = await outcome(world, a_job(a_task(templates=(Template(dest_path="local/x"),))), "failed")
    assert "template" in text_of(world, alloc, "Setup Failure")


async def test_an_unknown_reference_in_the_config_fails_the_task_with_its_name(world: World) -> None:
    alloc = await outcome(world, a_job(a_task(config={"stdout_string": "${no.such}"})), "failed")
    assert "${no.such}" in text_of(world, alloc, "Setup Failure")


async def test_references_in_the_config_are_replaced(world: World) -> None:
    alloc = await outcome(
        world, a_job(a_task(config={"stdout_string": "${NOMAD_TASK_NAME} on ${node.unique.name}"})), "running"
    )
    log = world.data_dir / "alloc" / alloc.id / "alloc/logs/main.stdout.0"
    await until(lambda: log.exists() and log.read_text() == "main on node-1")


async def test_a_driver_that_the_node_lacks_fails_the_task(world: World) -> None:
    alloc = await outcome(world, a_job(a_task(driver="warp")), "failed")
    assert 'no driver "warp"' in text_of(world, alloc, "Driver Failure")


async def test_a_host_volume_that_the_node_lacks_fails_the_task(world: World) -> None:
    task = a_task(volume_mounts=(VolumeMount(volume="data", destination="/data"),))
    job = a_job(task, volumes={"data": VolumeRequest(name="data", type="host", source="fast")})
    alloc = await outcome(world, job, "failed")
    assert 'no host volume "fast"' in text_of(world, alloc, "Setup Failure")


async def test_a_host_volume_is_mounted(world: World, tmp_path: Path) -> None:
    (tmp_path / "fast").mkdir()
    task = a_task(volume_mounts=(VolumeMount(volume="data", destination="/data", read_only=True),))
    job = a_job(task, volumes={"data": VolumeRequest(name="data", type="host", source="fast")})
    alloc = await outcome(
        world, job, "running", host_volumes={"fast": HostVolume(name="fast", path=str(tmp_path / "fast"))}
    )
    spec = world.agents[-1].runners[alloc.id].tasks["main"]._spec()
    assert [(mount.host_path, mount.task_path, mount.read_only) for mount in spec.mounts] == [
        (str(tmp_path / "fast"), "/data", True)
    ]


async def test_a_recoverable_start_failure_is_tried_again_by_the_policy(world: World) -> None:
    config = {"start_error": "registry is busy", "start_error_recoverable": True}
    alloc = await outcome(world, a_job(a_task(config=config, restart_policy=fast_restarts(2))), "failed")
    assert world.server.newest[alloc.id].task_states["main"].restarts == 2


async def test_a_log_directory_swapped_for_a_link_is_not_followed(world: World, tmp_path: Path) -> None:
    alloc = await outcome(world, a_job(a_task(restart_policy=fast_restarts(3))), "running")
    logs = world.data_dir / "alloc" / alloc.id / "alloc" / "logs"
    target = tmp_path / "elsewhere"
    target.mkdir()
    logs.rmdir()
    logs.symlink_to(target)
    world.machine.tasks[f"{alloc.id}/main"].end(Exit(code=1))
    await world.server.until_status(alloc, "failed")
    assert os.listdir(target) == []


def test_secrets_of_the_agent_are_not_handed_to_tasks() -> None:
    env = task_host_env({
        "PATH": "/bin", "VAULT_TOKEN": "x", "MY_PASSWORD": "x", "AWS_SECRET_ACCESS_KEY": "x", "ROVE_TOKEN": "x",
        "GITHUB_TOKEN": "x", "HOME": "/root",
    })  # fmt: skip
    assert env == {"PATH": "/bin", "HOME": "/root"}


@pytest.mark.parametrize(("text", "value"), [("1m30s", 90.0), ("250ms", 0.25), ("", 0.0), (2_000_000_000, 2.0)])
def test_durations_of_mock_tasks_are_gos(text: object, value: float) -> None:
    assert seconds(text) == pytest.approx(value)
