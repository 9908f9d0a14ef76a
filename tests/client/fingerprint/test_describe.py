"""The fingerprint of the machine that the tests run on, beside what the kernel says."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from rove.client.fingerprint import fingerprint
from rove.client.fingerprint.compose import describe
from rove.client.settings import ClientSettings
from rove.structs.node import DriverInfo, HostNetwork, HostVolume, NodeReserved, ReservedCpu


def settings(tmp_path: Path, **fields: object) -> ClientSettings:
    return ClientSettings(data_dir=tmp_path, node_id="n1", secret_id="s", version="1", **fields)


def test_attributes_have_the_names_that_job_files_use(tmp_path: Path) -> None:
    node = describe(settings(tmp_path), {})
    wanted = {
        "cpu.arch",
        "cpu.numcores",
        "cpu.totalcompute",
        "cpu.frequency",
        "memory.totalbytes",
        "kernel.name",
        "kernel.version",
        "os.name",
        "os.signals",
        "unique.hostname",
        "unique.network.ip-address",
        "unique.storage.volume",
        "unique.storage.bytestotal",
        "nomad.version",
    }
    assert wanted <= node.attributes.keys()
    assert node.attributes["kernel.name"] == "linux"
    assert node.attributes["kernel.version"] == platform.release()
    assert node.attributes["cpu.numcores"] == str(len(os.sched_getaffinity(0)))


def test_resources_are_those_of_the_machine(tmp_path: Path) -> None:
    resources = describe(settings(tmp_path), {}).node_resources
    kib = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert resources.memory.memory_mb == kib // 1024
    assert resources.cpu.cpu_shares >= 100 * len(os.sched_getaffinity(0))
    assert resources.disk.disk_mb > 0


def test_the_configuration_overrides_what_was_found(tmp_path: Path) -> None:
    node = describe(
        settings(
            tmp_path,
            cpu_total_compute_mhz=1234,
            memory_total_mb=567,
            disk_total_mb=89,
            node_class="big",
            datacenter="eu",
            meta={"rack": "r1"},
            reserved=NodeReserved(cpu=ReservedCpu(cpu_shares=34)),
        ),
        {},
    )
    assert node.node_resources.cpu.cpu_shares == 1234
    assert node.attributes["cpu.usablecompute"] == "1200"
    assert node.node_resources.memory.memory_mb == 567
    assert node.node_resources.disk.disk_mb == 89
    assert (node.node_class, node.datacenter, node.meta) == ("big", "eu", {"rack": "r1"})


def test_only_detected_drivers_leave_attributes(tmp_path: Path) -> None:
    node = describe(
        settings(tmp_path),
        {
            "raw_exec": DriverInfo(detected=True, healthy=True, attributes={"driver.raw_exec": "1"}),
            "docker": DriverInfo(detected=False, attributes={"driver.docker": "1"}),
        },
    )
    assert node.attributes["driver.raw_exec"] == "1"
    assert "driver.docker" not in node.attributes


def test_the_class_ignores_what_is_unique(tmp_path: Path) -> None:
    one = describe(settings(tmp_path, http_addr="127.0.0.1:1", meta={"unique.x": "1", "rack": "a"}), {})
    two = describe(settings(tmp_path, http_addr="127.0.0.1:2", meta={"unique.x": "2", "rack": "a"}), {})
    three = describe(settings(tmp_path, meta={"rack": "b"}), {})
    assert one.computed_class == two.computed_class != three.computed_class


def test_a_missing_host_volume_is_not_offered(tmp_path: Path) -> None:
    volumes = {"data": HostVolume(path=str(tmp_path)), "gone": HostVolume(path=str(tmp_path / "gone"))}
    assert set(describe(settings(tmp_path, host_volumes=volumes), {}).host_volumes) == {"data"}


def test_a_host_network_is_found_by_its_addresses(tmp_path: Path) -> None:
    networks = {"inner": HostNetwork(name="inner", cidr="127.0.0.0/8", reserved_ports="22")}
    found = describe(settings(tmp_path, host_networks=networks), {}).node_resources.node_networks[0].addresses
    assert ("inner", "127.0.0.1", "22") in {(a.alias, a.address, a.reserved_ports) for a in found}


async def test_a_broken_driver_probe_does_not_take_the_node_with_it(tmp_path: Path) -> None:
    class Broken:
        async def fingerprint(self) -> DriverInfo:
            raise ValueError("no")

    node = await fingerprint(settings(tmp_path), {"broken": Broken()})  # type: ignore[dict-item]
    assert not node.drivers["broken"].healthy
    assert "no" in node.drivers["broken"].health_description


@pytest.mark.parametrize("field", ["id", "secret_id"])
async def test_identity_is_kept(tmp_path: Path, field: str) -> None:
    node = await fingerprint(settings(tmp_path), {})
    assert getattr(node, field) == {"id": "n1", "secret_id": "s"}[field]
