"""From the agent's configuration to what the server and the node are told. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rove import __version__
from rove.agent.config import AgentConfig, SchedulerDefaults
from rove.client.settings import ClientSettings, DrainOnShutdown
from rove.structs.node import (
    HostNetwork,
    HostVolume,
    NodeDisk,
    NodeMemory,
    NodeReserved,
    PreemptionConfig,
    ReservedCpu,
    ReservedNetworks,
    SchedulerConfiguration,
)

if TYPE_CHECKING:
    from rove.server.server import ServerSettings


def client_settings(config: AgentConfig, name: str, data_dir: Path) -> ClientSettings:
    """What the node agent is told. In an agent with both parts the node connects to its own server first."""
    client = config.client
    own = (config.advertised_rpc(),) if config.server.enabled else ()
    drain = client.drain_on_shutdown
    return ClientSettings(
        data_dir=data_dir,
        state_dir=Path(client.state_dir) if client.state_dir else data_dir / "client",
        alloc_dir=Path(client.alloc_dir) if client.alloc_dir else data_dir / "alloc",
        name=name,
        region=config.region,
        datacenter=config.datacenter,
        node_class=client.node_class,
        node_pool=client.node_pool,
        meta=client.meta,
        options=client.options,
        servers=(*own, *config.server_addresses()),
        http_addr=config.advertised_http(),
        version=__version__,
        network_interface=client.network_interface,
        network_speed_mbits=client.network_speed,
        preferred_address_family=client.preferred_address_family,
        cpu_total_compute_mhz=client.cpu_total_compute,
        memory_total_mb=client.memory_total_mb,
        disk_total_mb=client.disk_total_mb,
        disk_free_mb=client.disk_free_mb,
        reservable_cores=core_ids(client.reservable_cores) or None,
        reserved=_reserved(config),
        min_dynamic_port=client.min_dynamic_port,
        max_dynamic_port=client.max_dynamic_port,
        host_volumes={
            name: HostVolume(name=name, path=volume.path, read_only=volume.read_only)
            for name, volume in client.host_volume.items()
        },
        host_networks={
            name: HostNetwork(
                name=name, cidr=network.cidr, interface=network.interface, reserved_ports=network.reserved_ports
            )
            for name, network in client.host_network.items()
        },
        node_max_allocs=client.node_max_allocs,
        default_ineligible=client.default_ineligible,
        no_host_uuid=client.no_host_uuid,
        cgroup_parent=client.cgroup_parent,
        bridge_network_name=client.bridge_network_name,
        bridge_network_subnet=client.bridge_network_subnet,
        cni_path=client.cni_path,
        cni_config_dir=client.cni_config_dir,
        max_kill_timeout_s=client.max_kill_timeout_s,
        disable_remote_exec=client.disable_remote_exec,
        drain_on_shutdown=DrainOnShutdown(
            deadline_s=drain.deadline_s, force=drain.force, ignore_system_jobs=drain.ignore_system_jobs
        )
        if drain
        else None,
        destroy_on_shutdown=config.dev,
        gc_interval_s=client.gc_interval_s,
        gc_parallel_destroys=client.gc_parallel_destroys,
        gc_disk_usage_threshold=client.gc_disk_usage_threshold,
        gc_inode_usage_threshold=client.gc_inode_usage_threshold,
        gc_max_allocs=client.gc_max_allocs,
        drivers={name: plugin.config for name, plugin in config.plugin.items()},
        driver_allowlist=_names(client.options, "driver.allowlist", "driver.whitelist"),
        driver_denylist=_names(client.options, "driver.denylist", "driver.blacklist"),
        artifact=msgspec.to_builtins(client.artifact),
        template=msgspec.to_builtins(client.template),
    )


def server_settings(config: AgentConfig, name: str) -> ServerSettings:
    """What the server is told."""
    from rove.server.collection.core import Thresholds
    from rove.server.nodes.loop import HeartbeatPolicy
    from rove.server.server import ServerSettings

    server = config.server
    return ServerSettings(
        name=name,
        region=config.region,
        datacenter=config.datacenter,
        rpc_address=config.advertised_rpc(),
        workers=server.num_schedulers,
        heartbeat=HeartbeatPolicy(
            ttl_s=server.min_heartbeat_ttl_s,
            closed_grace_s=server.heartbeat_grace_s,
            takeover_grace_s=server.failover_heartbeat_ttl_s,
        ),
        thresholds=Thresholds(
            evaluation_s=server.eval_gc_threshold_s,
            batch_evaluation_s=server.batch_eval_gc_threshold_s,
            job_s=server.job_gc_threshold_s,
            node_s=server.node_gc_threshold_s,
            deployment_s=server.deployment_gc_threshold_s,
        ),
        scheduler=_scheduler(server.default_scheduler_config),
    )


def _scheduler(defaults: SchedulerDefaults) -> SchedulerConfiguration:
    preempts = defaults.preemption_config
    return SchedulerConfiguration(
        scheduler_algorithm=defaults.scheduler_algorithm,
        memory_oversubscription_enabled=defaults.memory_oversubscription_enabled,
        reject_job_registration=defaults.reject_job_registration,
        pause_eval_broker=defaults.pause_eval_broker,
        preemption_config=PreemptionConfig(
            system_scheduler_enabled=preempts.system_scheduler_enabled,
            sysbatch_scheduler_enabled=preempts.sysbatch_scheduler_enabled,
            batch_scheduler_enabled=preempts.batch_scheduler_enabled,
            service_scheduler_enabled=preempts.service_scheduler_enabled,
        ),
    )


def _reserved(config: AgentConfig) -> NodeReserved:
    reserved = config.client.reserved
    return NodeReserved(
        cpu=ReservedCpu(cpu_shares=reserved.cpu, reserved_cpu_cores=core_ids(reserved.cores)),
        memory=NodeMemory(memory_mb=reserved.memory),
        disk=NodeDisk(disk_mb=reserved.disk),
        networks=ReservedNetworks(reserved_host_ports=reserved.reserved_ports),
    )


def core_ids(text: str) -> tuple[int, ...]:
    """``0,2-4`` as (0, 2, 3, 4). Raises ValueError."""
    ids: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        ids.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(ids))


def _names(options: dict[str, str], *keys: str) -> tuple[str, ...]:
    text = next((options[key] for key in keys if options.get(key)), "")
    return tuple(filter(None, (name.strip() for name in text.split(","))))
