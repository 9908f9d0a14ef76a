"""What a docker job may ask of a node, and what the engine is then told. No engine is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rove.client.drivers.base import DriverError
from rove.client.drivers.docker import create
from rove.client.drivers.docker.config import Policy, create_request
from rove.client.drivers.registry import DriverContext
from rove.ports.real import RealClock
from rove.structs.resources import AllocatedCpu, AllocatedTask
from rove.testing.driver_contract import task_spec

OFF, ON = Policy(), Policy(volumes_enabled=True)
HOST_ROOT = {"type": "none", "o": "bind", "device": "/"}
DRIVER_MOUNT = {
    "type": "volume",
    "source": "x",
    "target": "/host",
    "volume_options": [{"driver_config": [{"name": "local", "options": [HOST_ROOT]}]}],
}


def host_config(base: Path, policy: Policy, **config: Any) -> dict[str, Any]:
    request = create_request(task_spec(base, {"image": "busybox", **config}), policy, "node")
    host: dict[str, Any] = request["HostConfig"]
    return host


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"volume_driver": "local", "volumes": ["/:/host"]}, "volume_driver 'local' is not allowed"),
        ({"volume_driver": "local"}, "volume_driver 'local' is not allowed"),
        ({"mount": [DRIVER_MOUNT]}, "driver_config of the mount at '/host' is not allowed"),
        ({"mounts": [DRIVER_MOUNT]}, "driver_config of the mount at '/host' is not allowed"),
        ({"volumes": ["/:/host"]}, "volume source '/' is not allowed"),
        ({"mount": [{"type": "bind", "source": "/", "target": "/host"}]}, "volume source '/' is not allowed"),
    ],
)
def test_a_node_without_volumes_gives_nothing_of_itself(tmp_path: Path, config: dict[str, Any], word: str) -> None:
    with pytest.raises(DriverError, match=word):
        host_config(tmp_path, OFF, **config)


def test_a_node_with_volumes_passes_volume_drivers_on(tmp_path: Path) -> None:
    host = host_config(tmp_path, ON, volume_driver="local", volumes=["name:/data"], mount=[DRIVER_MOUNT])
    assert host["VolumeDriver"] == "local"
    assert "name:/data" in host["Binds"]
    assert host["Mounts"][0]["VolumeOptions"]["DriverConfig"]["Options"] == HOST_ROOT


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_below_the_allocation_leads_nowhere_else(tmp_path: Path, absolute: bool) -> None:
    spec = task_spec(tmp_path, {})
    link = spec.shared_dir / "x"
    link.symlink_to("/")
    source = str(link) if absolute else "../alloc/x"
    for config in ({"volumes": [f"{source}:/host"]}, {"mount": [{"type": "bind", "source": source, "target": "/h"}]}):
        with pytest.raises(DriverError, match="is a link that leads out"):
            host_config(tmp_path, OFF, **config)


def test_a_directory_of_the_allocation_may_be_named_by_its_whole_path(tmp_path: Path) -> None:
    spec = task_spec(tmp_path, {})
    source = f"{spec.task_dir}/../alloc"
    assert f"{spec.shared_dir}:/mine" in host_config(tmp_path, OFF, volumes=[f"{source}:/mine"])["Binds"]


@pytest.mark.parametrize("name", ["local", "secrets"])
def test_a_link_in_place_of_a_tasks_own_directory_is_refused(tmp_path: Path, name: str) -> None:
    own = task_spec(tmp_path, {}).task_dir / name
    if own.exists():
        own.rename(own.with_name("aside"))
    own.symlink_to("/")
    with pytest.raises(DriverError, match="is a link that leads out"):
        host_config(tmp_path, OFF)


def test_cores_that_are_held_for_the_task_come_before_what_the_config_says(tmp_path: Path) -> None:
    held = AllocatedTask(cpu=AllocatedCpu(reserved_cores=(1, 3)))
    spec = task_spec(tmp_path, {"image": "busybox", "cpuset_cpus": "0-7"}, resources=held)
    assert create_request(spec, OFF, "node")["HostConfig"]["CpusetCpus"] == "1,3"
    assert host_config(tmp_path, OFF, cpuset_cpus="0-7")["CpusetCpus"] == "0-7"


def set_up(state_dir: Path, **plugin: Any) -> None:
    create(
        DriverContext(
            name="docker", config=plugin, state_dir=state_dir, node_id="n", node_name="node", clock=RealClock()
        )
    )


@pytest.mark.parametrize("plugin", [{"allowed_modes": ["bridge"]}, {"tls": [{"cert": "/etc/cert.pem"}]}])
async def test_a_plugin_option_that_would_protect_and_cannot_is_refused(tmp_path: Path, plugin: dict[str, Any]) -> None:
    with pytest.raises(DriverError, match=f"plugin option {next(iter(plugin))} is not supported: "):
        set_up(tmp_path, **plugin)


async def test_plugin_options_without_effect_are_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    set_up(tmp_path, infra_image="pause", oom_score_adj=0, disable_log_collection=True, allowed_modes=[])
    assert [record.getMessage() for record in caplog.records] == [
        "the option disable_log_collection of the docker plugin has no effect here",
        "the option infra_image of the docker plugin has no effect here",
    ]
