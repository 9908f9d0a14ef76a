"""All probes together, corrected by what the configuration says: the node that registers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import msgspec

from rove import SPOKEN_VERSION
from rove.client.drivers.base import Driver
from rove.client.settings import ClientSettings
from rove.structs.node import (
    DriverInfo,
    Eligibility,
    HostVolume,
    Node,
    NodeCpu,
    NodeDisk,
    NodeMemory,
    NodeResources,
    computed_class,
)

from . import cpu, host, memory, network, storage


async def fingerprint(settings: ClientSettings, drivers: Mapping[str, Driver]) -> Node:
    """The node as it is now. id and secret are those of the settings; a driver that fails its probe is unhealthy."""
    names = list(drivers)
    infos = await asyncio.gather(*(_probe_driver(drivers[name]) for name in names))
    return describe(settings, dict(zip(names, infos, strict=True)))


async def _probe_driver(driver: Driver) -> DriverInfo:
    try:
        return await driver.fingerprint()
    except Exception as error:  # a broken plugin must not take the node with it
        return DriverInfo(detected=False, healthy=False, health_description=f"the probe failed: {error}")


def describe(settings: ClientSettings, drivers: Mapping[str, DriverInfo]) -> Node:
    """The node from probes of the machine, the driver probes given, and the settings."""
    cpu_attributes, mhz, cores = cpu.probe()
    memory_attributes, memory_mb = memory.probe()
    storage_attributes, disk_mb = storage.probe(settings.alloc_path)
    network_attributes, networks = network.probe(
        settings.network_interface,
        settings.network_speed_mbits,
        settings.host_networks,
        settings.preferred_address_family,
    )
    mhz = settings.cpu_total_compute_mhz or mhz
    memory_mb = settings.memory_total_mb or memory_mb
    disk_mb = settings.disk_total_mb or settings.disk_free_mb or disk_mb
    attributes = {
        **host.probe(),
        **cpu_attributes,
        **memory_attributes,
        **storage_attributes,
        **network_attributes,
        "cpu.totalcompute": str(mhz),
        "cpu.usablecompute": str(mhz - settings.reserved.cpu.cpu_shares),
        "nomad.version": SPOKEN_VERSION,
        "rove.version": settings.version,
        "nomad.service_discovery": "true",
        "unique.advertise.address": settings.http_addr,
    }
    for info in drivers.values():
        if info.detected:
            attributes.update(info.attributes)
    node = Node(
        id=settings.node_id,
        secret_id=settings.secret_id,
        datacenter=settings.datacenter,
        name=settings.name or attributes["unique.hostname"],
        http_addr=settings.http_addr,
        attributes={key: value for key, value in attributes.items() if value},
        node_resources=NodeResources(
            cpu=NodeCpu(
                cpu_shares=mhz,
                total_cpu_cores=cores,
                reservable_cpu_cores=settings.reservable_cores or tuple(sorted(os.sched_getaffinity(0))),
            ),
            memory=NodeMemory(memory_mb=memory_mb),
            disk=NodeDisk(disk_mb=disk_mb),
            node_networks=networks,
            min_dynamic_port=settings.min_dynamic_port,
            max_dynamic_port=settings.max_dynamic_port,
        ),
        reserved_resources=settings.reserved,
        meta=dict(settings.meta),
        node_class=settings.node_class,
        node_pool=settings.node_pool,
        drivers=dict(drivers),
        host_volumes=_usable(settings.host_volumes),
        host_networks=dict(settings.host_networks),
        node_max_allocs=settings.node_max_allocs,
        cgroup_parent=settings.cgroup_parent,
        scheduling_eligibility=Eligibility.INELIGIBLE if settings.default_ineligible else Eligibility.ELIGIBLE,
    )
    return msgspec.structs.replace(node, computed_class=computed_class(node))


def _usable(volumes: Mapping[str, HostVolume]) -> dict[str, HostVolume]:
    """Host volumes whose folder exists; a missing one is not offered."""
    return {name: volume for name, volume in volumes.items() if os.path.isdir(volume.path)}
