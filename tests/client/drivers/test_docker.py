"""The docker driver on a real engine, with a real registry."""

from __future__ import annotations

import asyncio
import os
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rove.client.drivers.base import DriverError, TaskHandle
from rove.client.drivers.docker import DockerDriver
from rove.structs.resources import AllocatedCpu, AllocatedMemory, AllocatedPort, AllocatedTask
from rove.testing.driver_contract import Behaviour, DriverContract, quiet, task_spec, until, within

pytestmark = pytest.mark.docker

RUN = "trap 'exit 0' TERM; while true; do sleep 0.05; done"
SCRIPTS = {
    Behaviour.SUCCEED: "exit 0",
    Behaviour.FAIL: "exit 7",
    Behaviour.RUN: RUN,
    Behaviour.STUBBORN: "trap '' TERM INT HUP; while true; do sleep 0.05; done",
    Behaviour.PRINT: "echo to stdout; echo to stderr >&2; exit 0",
    Behaviour.END_LATER: "while [ ! -e /local/end ]; do sleep 0.05; done; exit 9",
}
SMALL = AllocatedTask(cpu=AllocatedCpu(cpu_shares=100), memory=AllocatedMemory(memory_mb=32))


class DockerCase:
    """Containers of the test image."""

    def __init__(self, base: Path, image: str) -> None:
        self.base = base
        self.image = image

    def driver(self) -> DockerDriver:
        return DockerDriver({"volumes": {"enabled": True}})

    def config(self, behaviour: Behaviour) -> dict[str, Any] | None:
        if behaviour is Behaviour.IMPOSSIBLE:
            return {"image": self.image, "command": "/no/such/program"}
        return self.shell(SCRIPTS[behaviour])

    def shell(self, script: str, **config: Any) -> dict[str, Any]:
        return {"image": self.image, "command": "/bin/sh", "args": ["-c", script], **config}

    async def let_end(self, handle: TaskHandle) -> None:
        for folder in self.base.rglob("local"):
            (folder / "end").touch()


class TestContract(DriverContract):
    @pytest.fixture
    def case(self, tmp_path: Path, busybox_image: str) -> DockerCase:
        return DockerCase(tmp_path, busybox_image)


@pytest.fixture
async def case(tmp_path: Path, busybox_image: str) -> AsyncIterator[DockerCase]:
    yield DockerCase(tmp_path, busybox_image)
    left = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "label=io.rove.task"], capture_output=True, text=True, check=True
    )
    for container in left.stdout.split():
        subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=False)


@pytest.fixture
async def driver(case: DockerCase) -> AsyncIterator[DockerDriver]:
    made = case.driver()
    yield made
    await made.close()


def inspect(handle: TaskHandle, template: str) -> str:
    container = handle.reattach_state()["container_id"]
    return subprocess.run(
        ["docker", "inspect", "-f", template, container], capture_output=True, text=True, check=True
    ).stdout.strip()


async def test_ports_are_published_on_the_host(case: DockerCase, driver: DockerDriver, unused_tcp_port: int) -> None:
    config = case.shell("mkdir /www; echo page > /www/index.html; exec httpd -f -p 8080 -h /www", ports=["http"])
    port = AllocatedPort(label="http", value=unused_tcp_port, to=8080, host_ip="127.0.0.1")
    handle = await driver.start(task_spec(case.base, config, ports=(port,), resources=SMALL), quiet)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{unused_tcp_port}/", timeout=5) as page:
                return page.read() == b"page\n"
        except OSError:
            return False

    await until(answers)
    assert handle.network_address
    await handle.kill("SIGKILL", 1)
    await handle.destroy()


@pytest.fixture
def unused_tcp_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_limits_labels_user_and_environment_reach_the_container(case: DockerCase, driver: DockerDriver) -> None:
    config = case.shell(
        "id -u; echo $COLOUR; " + RUN, labels=[{"group": "webserver", "com.hashicorp.nomad.alloc_id": "x"}]
    )
    spec = task_spec(
        case.base,
        config,
        env={"COLOUR": "blue"},
        user="web",
        resources=AllocatedTask(
            cpu=AllocatedCpu(cpu_shares=250), memory=AllocatedMemory(memory_mb=20, memory_max_mb=40)
        ),
    )
    handle = await driver.start(spec, quiet)
    await until(
        lambda: (
            (spec.log_dir / "web.stdout.0").exists() and (spec.log_dir / "web.stdout.0").read_text() == "1000\nblue\n"
        )
    )
    assert inspect(handle, "{{.HostConfig.CpuShares}}") == "250"
    assert inspect(handle, "{{.HostConfig.Memory}}") == str(40 * 1024**2)
    assert inspect(handle, "{{.HostConfig.MemoryReservation}}") == str(20 * 1024**2)
    assert inspect(handle, '{{index .Config.Labels "group"}}') == "webserver"
    assert inspect(handle, '{{index .Config.Labels "com.hashicorp.nomad.alloc_id"}}') == spec.alloc_id
    await handle.kill("SIGTERM", 5)
    await handle.destroy()


async def test_too_much_memory_is_reported_as_such(case: DockerCase, driver: DockerDriver) -> None:
    config = case.shell("x=$(yes | head -c 100000000); echo ${#x}")
    small = AllocatedTask(memory=AllocatedMemory(memory_mb=12))
    handle = await driver.start(task_spec(case.base, config, resources=small), quiet)
    exit_ = await within(handle.wait())
    assert exit_.oom_killed
    assert not exit_.is_success
    await handle.destroy()


async def test_the_directories_of_the_allocation_are_mounted(case: DockerCase, driver: DockerDriver) -> None:
    spec = task_spec(case.base, case.shell("echo a > /alloc/a; echo l > /local/l; echo s > /secrets/s"))
    handle = await driver.start(spec, quiet)
    assert (await within(handle.wait())).is_success
    assert (spec.shared_dir / "a").read_text() == "a\n"
    assert (spec.task_dir / "local/l").read_text() == "l\n"
    assert (spec.task_dir / "secrets/s").read_text() == "s\n"
    await handle.destroy()


async def test_volumes_and_mounts(case: DockerCase, driver: DockerDriver, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("from the host\n")
    config = case.shell(
        "cat /data/f; cat /again/f; touch /data/x; df /scratch | grep -c tmpfs",
        volumes=[f"{outside}:/data:ro"],
        mount=[
            {"type": "bind", "source": str(outside), "target": "/again", "readonly": True},
            {"type": "tmpfs", "target": "/scratch", "tmpfs_options": [{"size": 1000000}]},
        ],
    )
    spec = task_spec(case.base, config)
    handle = await driver.start(spec, quiet)
    await within(handle.wait())
    assert (spec.log_dir / "web.stdout.0").read_text().startswith("from the host\nfrom the host\n")
    assert not (outside / "x").exists()
    await handle.destroy()


async def test_volumes_of_the_host_need_the_nodes_leave(case: DockerCase, tmp_path: Path) -> None:
    strict = DockerDriver({})
    for config in (
        {"volumes": ["/etc:/data"]},
        {"volumes": ["../../../etc:/data"]},
        {"mount": [{"type": "bind", "source": "/etc", "target": "/data"}]},
        {"privileged": True},
        {"cap_add": ["sys_admin"]},
    ):
        with pytest.raises(DriverError, match="not allowed|leads out"):
            await strict.start(task_spec(case.base, case.shell("exit 0", **config)), quiet)
    (task_spec(case.base, {}).task_dir / "sneaky").symlink_to("/etc")
    with pytest.raises(DriverError, match="leads out"):
        await strict.start(task_spec(case.base, case.shell("exit 0", volumes=["sneaky:/data"])), quiet)
    await strict.close()


async def test_an_image_is_pulled_from_a_registry_with_progress(
    case: DockerCase, driver: DockerDriver, image_registry: str, tmp_path: Path
) -> None:
    name = f"{image_registry}/test/blob:1"
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "blob").write_bytes(os.urandom(3_000_000))  # a layer that the engine does not hold
    (tmp_path / "content" / "bin").mkdir()
    subprocess.run(["cp", "/bin/busybox", str(tmp_path / "content/bin/sh")], check=True)
    tar = subprocess.run(["tar", "-C", str(tmp_path / "content"), "-c", "."], capture_output=True, check=True)
    subprocess.run(["docker", "import", "-", name], input=tar.stdout, capture_output=True, check=True)
    subprocess.run(["docker", "push", name], capture_output=True, check=True)
    subprocess.run(["docker", "rmi", name], capture_output=True, check=True)
    told: list[str] = []

    async def emit(message: str, details: Mapping[str, str]) -> None:
        told.append(message)

    config = {"image": name, "command": "/bin/sh", "args": ["-c", "exit 0"]}
    handle = await driver.start(task_spec(case.base, config), emit)
    assert (await within(handle.wait())).is_success
    assert any("pulling" in message for message in told)
    assert any("MiB" in message for message in told), told
    await handle.destroy()
    told.clear()
    handle = await driver.start(task_spec(case.base, config), emit)
    await handle.destroy()
    assert told == []  # it is here: nothing to pull
    handle = await driver.start(task_spec(case.base, {**config, "force_pull": True}), emit)
    await handle.destroy()
    assert told
    subprocess.run(["docker", "rmi", name], capture_output=True, check=False)


async def test_a_missing_image_fails_for_good_with_its_name(
    case: DockerCase, driver: DockerDriver, image_registry: str
) -> None:
    with pytest.raises(DriverError, match="nothing/here") as caught:
        await driver.start(task_spec(case.base, {"image": f"{image_registry}/nothing/here:1"}), quiet)
    assert not caught.value.recoverable


async def test_an_unreachable_registry_may_come_back(case: DockerCase, driver: DockerDriver) -> None:
    with pytest.raises(DriverError) as caught:
        await driver.start(task_spec(case.base, {"image": "127.0.0.1:1/x:1"}), quiet)
    assert caught.value.recoverable


async def test_no_engine_is_said_plainly(tmp_path: Path) -> None:
    lonely = DockerDriver({"endpoint": f"unix://{tmp_path}/none.sock"})
    info = await lonely.fingerprint()
    assert not info.healthy
    assert info.health_description
    with pytest.raises(DriverError):
        await lonely.start(task_spec(tmp_path, {"image": "x"}), quiet)
    await lonely.close()


async def test_output_is_whole_over_a_change_of_agents(case: DockerCase) -> None:
    script = (
        "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; done; touch /local/half; "
        "while [ ! -e /local/go ]; do sleep 0.05; done; while [ $i -lt 800 ]; do i=$((i+1)); echo line $i; done"
    )
    first = case.driver()
    spec = task_spec(case.base, case.shell(script))
    handle = await first.start(spec, quiet)
    await until(lambda: (spec.task_dir / "local/half").exists())
    state = handle.reattach_state()
    await first.close()
    (spec.task_dir / "local/go").touch()
    await asyncio.sleep(0.2)
    second = case.driver()
    found = await second.recover(spec, state)
    assert found is not None
    assert (await within(found.wait())).is_success
    assert (spec.log_dir / "web.stdout.0").read_text() == "".join(f"line {i}\n" for i in range(1, 801))
    await found.destroy()
    await second.close()


async def test_a_strangers_container_is_neither_adopted_nor_removed(case: DockerCase, driver: DockerDriver) -> None:
    spec = task_spec(case.base, case.shell("exit 0"))
    name = f"{spec.name}-{spec.alloc_id}"
    subprocess.run(["docker", "run", "-d", "--name", name, case.image, "sleep", "100"], capture_output=True, check=True)
    try:
        assert await driver.recover(spec, {}) is None
        with pytest.raises(DriverError, match="not ours"):
            await driver.start(spec, quiet)
        assert subprocess.run(["docker", "inspect", name], capture_output=True, check=False).returncode == 0
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)


async def test_a_container_that_nobody_owns_is_removed(case: DockerCase) -> None:
    first = DockerDriver({}, node_id="reap-test")
    spec = task_spec(case.base, case.shell(RUN))
    await first.start(spec, quiet)
    await first.close()
    second = DockerDriver({}, node_id="reap-test")
    assert await second.reap() == [f"{spec.name}-{spec.alloc_id}"]
    assert await second.reap() == []
    await second.close()


async def test_the_fingerprint_tells_the_engine(driver: DockerDriver) -> None:
    info = await driver.fingerprint()
    assert info.healthy
    assert info.attributes["driver.docker"] == "1"
    assert info.attributes["driver.docker.version"]
    assert info.attributes["driver.docker.volumes.enabled"] == "true"


def test_unknown_options_are_refused() -> None:
    driver = DockerDriver({})
    assert driver.validate({"image": "x", "imgae": "y"}) == ["docker has no option 'imgae'"]
    assert driver.validate({}) == ["image is missing"]
    assert driver.validate({"image": "x", "args": "one"}) == ["args is a list of strings"]
    with pytest.raises(DriverError, match="alow_privileged"):
        DockerDriver({"alow_privileged": True})
