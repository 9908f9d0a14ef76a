"""Puts an agent together: state, server, node, API, listeners; and takes it apart again.

The only place that knows all parts. `run_agent` is what ``rove agent`` calls.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from rove import __version__, jobspec
from rove.agent import garbage, logs
from rove.agent.admission import Admission
from rove.agent.config import AgentConfig
from rove.agent.config_effect import unsafe_to_ignore, without_effect
from rove.agent.lag import LoopLag
from rove.agent.leaving import drain_before_leaving
from rove.agent.settings import client_settings, server_settings
from rove.api import AgentInfo, Backend, create_app, mount_internal
from rove.api.local import LocalNode, local_node
from rove.client.client import Client
from rove.client.drivers.base import DriverError
from rove.client.drivers.registry import load_drivers
from rove.client.fingerprint import fingerprint
from rove.client.link import Dialer
from rove.dns.loop import Responder
from rove.errors import RoveError, invariant
from rove.ports import Ids
from rove.ports.real import RealClock, RealIds

log = logging.getLogger("rove.agent")

Reload = Callable[[], AgentConfig]
SECRETS = ("token", "password", "key", "secret", "encrypt")
ENGINES = ("sqlite", "memory")


def run_agent(config: AgentConfig, reload: Reload | None = None) -> int:
    """Run an agent until it is told to stop; the exit code. reload: reads the configuration again (SIGHUP)."""
    import uvloop

    try:
        return uvloop.run(_run(config, reload))
    except RoveError as error:
        print(error.text(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


async def _run(config: AgentConfig, reload: Reload | None) -> int:
    garbage.set_up()
    monitor = logs.set_up(config)
    for warning in (*config.warnings, *without_effect(config)):
        log.warning("%s", warning)
    agent = Agent(config, monitor)
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, agent.reload, reload)
    try:
        await agent.start()
        await stop.wait()
    finally:
        leave = (signal.SIGINT in received and config.leave_on_interrupt) or (
            signal.SIGTERM in received and config.leave_on_terminate
        )
        if leave:
            await _until_either(agent.leave(), hurry.wait())
        await agent.stop()
    return 0


async def _until_either(*works: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of them, and end the rest: a second signal cuts a farewell short."""
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Agent:
    """One agent: a server, a node, or both, with their listeners."""

    def __init__(self, config: AgentConfig, monitor: logs.Monitor | None = None) -> None:
        self.config = config
        self.name = config.name or socket.gethostname()
        self.server: Any = None
        self.client: Client | None = None
        self._monitor = monitor or logs.Monitor()
        self._clock, self._ids = RealClock(), RealIds()
        self._runners: list[web.AppRunner] = []
        self._backends: list[Backend] = []
        self._dialer: Dialer | None = None
        self._dns: Responder | None = None
        self._temporary: Path | None = None
        self._lag = LoopLag(self._clock)
        self._started_at = self._clock.now()

    # -- start and stop

    async def start(self) -> None:
        """Start everything. Raises `RoveError`; then nothing is left running."""
        try:
            self._check()
            data_dir = self._data_dir()
            if self.config.server.enabled:
                await self._start_server(data_dir)
            await self._listen()
            if self.config.client.enabled:
                await self._start_client(data_dir)
            if self.config.dns.enabled:
                await self._start_dns()
        except BaseException:
            await self.stop()
            raise
        roles = " and ".join(
            role for role, part in (("server", self.server), ("node", self.client)) if part is not None
        )
        log.info("rove %s started as %s; API at http://%s", __version__, roles, self.config.advertised_http())

    def _check(self) -> None:
        if unsafe := unsafe_to_ignore(self.config):
            raise RoveError(
                "agent.not_built",
                "the agent was not started",
                unsafe,
                "take it out of the configuration, and keep the agent's addresses to networks that you trust",
            )
        if not self.config.server.enabled and not self.config.client.enabled:
            raise RoveError(
                "agent.no_role",
                "the agent was not started",
                "neither the server nor the client is enabled",
                "use -dev, or write server { enabled = true } or client { enabled = true }",
            )
        if self.config.client.enabled and not self.config.server.enabled and not self.config.server_addresses():
            raise RoveError(
                "agent.no_servers",
                "the agent was not started",
                "the node has no server to connect to",
                'write client { servers = ["host:4647"] }',
            )

    def _data_dir(self) -> Path:
        if self.config.dev and not self.config.data_dir:
            self._temporary = Path(tempfile.mkdtemp(prefix="rove-dev-"))
            self._temporary.chmod(0o711)  # tasks of other users reach their directories through it
            return self._temporary
        if not self.config.data_dir:
            raise RoveError(
                "agent.no_data_dir",
                "the agent was not started",
                "there is no data_dir",
                'write data_dir = "/var/lib/rove", or use -dev to try things out',
            )
        path = Path(self.config.data_dir)
        try:
            path.mkdir(mode=0o711, parents=True, exist_ok=True)
            probe = path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise RoveError(
                "agent.data_dir",
                "the agent was not started",
                f"data_dir {path}: {error.strerror or error}",
                "name a folder that this user may write to",
            ) from None
        return path

    async def _start_server(self, data_dir: Path) -> None:
        from rove.engine import Engine
        from rove.server.server import Server

        engine: Engine
        kind = self.config.server.store.engine
        if kind == "memory" or (self.config.dev and not self.config.data_dir):
            from rove.engine.memory import MemoryEngine

            engine = MemoryEngine()
        elif kind == "sqlite":
            from rove.engine.sqlite import SqliteEngine

            folder = Path(self.config.server.data_dir) if self.config.server.data_dir else data_dir / "server"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            engine = SqliteEngine(folder / "state.db")
        else:
            known = ", ".join(ENGINES)
            raise RoveError(
                "agent.store",
                "the agent was not started",
                f'the state cannot be kept by engine "{kind}": '
                + ("it is planned and not built yet" if kind == "etcd" else f"there is no such engine; known: {known}"),
                'write server { store { engine = "sqlite" } }, or leave it out',
            )
        self.server = Server(server_settings(self.config, self.name), engine, self._clock, self._ids)
        await self.server.start()
        self._lag.start()
        asyncio.get_running_loop().run_in_executor(None, _warm_up)

    async def _start_client(self, data_dir: Path) -> None:
        settings = client_settings(self.config, self.name, data_dir)
        self._dialer = Dialer(settings.servers)
        node_id = settings.node_id or _node_id(settings.state_path, self._ids)
        try:
            drivers = load_drivers(
                data_dir=settings.state_path,
                clock=self._clock,
                node_id=node_id,
                node_name=self.name,
                configs=settings.drivers,
                options=settings.options,
                allow=settings.driver_allowlist,
                deny=settings.driver_denylist,
                cgroup_parent=settings.cgroup_parent,
            )
        except DriverError as error:
            raise RoveError("agent.plugin", "the agent was not started", error.what, "mend the plugin block") from None
        self.client = Client(
            settings,
            clock=self._clock,
            ids=self._ids,
            drivers=drivers,
            fingerprint=fingerprint,
            connect=self._dialer,
            on_servers=self._learn_servers,
        )
        await self.client.start()
        for backend in self._backends:
            backend.client = local_node(self.client)

    async def _start_dns(self) -> None:
        from rove.agent.dns import FromServer, from_store, start_dns

        if self.server is not None:
            look_up: Any = from_store(self.server.store)
        else:
            invariant(self.client is not None, "an agent is a server or a node")
            assert self.client is not None
            look_up = FromServer(self.client, self._clock)
        self._dns = await start_dns(self.config.dns, self.config.bind_addr, look_up)

    def _learn_servers(self, servers: Any) -> None:
        if self._dialer is not None and servers:
            self._dialer.servers = tuple(dict.fromkeys((*servers, *self._dialer.servers)))

    async def leave(self) -> None:
        """Have the node's allocations moved away, if the configuration wants that."""
        how = self.config.client.drain_on_shutdown
        if self.client is not None and how is not None and not self.config.dev:
            servers = self._dialer.servers if self._dialer is not None else ()
            await drain_before_leaving(self.client, self.server, servers, how)

    async def stop(self) -> None:
        """Stop everything. Tasks run on, except in -dev."""
        for backend in self._backends:
            if isinstance(backend.client, LocalNode):
                await backend.client.close()
        self._backends.clear()
        if self._dns is not None:
            await self._dns.stop()
            self._dns = None
        if self.client is not None:
            await self.client.stop()
            self.client = None
        if self._dialer is not None:
            await self._dialer.close()
            self._dialer = None
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        await self._lag.stop()
        if self.server is not None:
            await self.server.stop()
            self.server = None
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)
            self._temporary = None

    def reload(self, read: Reload | None) -> None:
        """Read the configuration again and take over what can change while running: the log level."""
        if read is None:
            return
        try:
            fresh = read()
        except RoveError as error:
            log.error("the configuration was not reloaded: %s", error.what)
            return
        logs.set_level(fresh.log_level, self._monitor)
        self.config = msgspec.structs.replace(self.config, log_level=fresh.log_level)
        log.info("configuration reloaded; log level %s", fresh.log_level)

    # -- listeners

    async def _listen(self) -> None:
        config = self.config
        for host in config.http_hosts():
            await self._serve(create_app(self._backend()), host, config.ports.http, "http")
        if self.server is not None:
            app = create_app(self._backend())
            mount_internal(app, self.server.serve_node)
            await self._serve(app, config.rpc_host(), config.ports.rpc, "rpc")

    async def _serve(self, app: web.Application, host: str, port: int, name: str) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await runner.setup()
        self._runners.append(runner)
        if runner.server is not None:
            Admission.guard(runner.server, self.config.limits.http_max_conns_per_client if name == "http" else 0)
        try:
            await web.TCPSite(runner, host, port, backlog=1024).start()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another program listens there" if taken else (error.strerror or str(error))
            raise RoveError(
                "agent.port_taken" if taken else "agent.listen",
                f"cannot listen on {host}:{port}",
                why,
                f"stop that program, or write ports {{ {name} = {port + 100} }}" if taken else "",
            ) from None

    def _backend(self) -> Backend:
        server, config = self.server, self.config
        backend = Backend(
            region=config.region,
            server=server,
            body_limit=config.limits.max_body_size_bytes,
            response_headers=config.http_api_response_headers,
            agent=AgentInfo(
                name=self.name,
                version=__version__,
                datacenter=config.datacenter,
                config=shown_config(config),
                stats=self._stats,
                monitor=self._monitor.follow,
                gauges=self._gauges,
                server_addresses=lambda: self._dialer.servers if self._dialer else config.server_addresses(),
            ),
        )
        self._backends.append(backend)
        return backend

    def _stats(self) -> dict[str, dict[str, str]]:
        runtime = {
            "arch": os.uname().machine,
            "version": sys.version.split()[0],
            "cpu_count": str(os.cpu_count()),
            "uptime_s": str(int(self._clock.now() - self._started_at)),
            "kernel.name": os.uname().sysname.lower(),
        }
        stats = {"runtime": runtime}
        if self.server is not None:
            broker, blocked = self.server.evaluations.broker, self.server.evaluations.blocked
            stats["nomad"] = {
                "server": "true",
                "leader": str(self.server.is_leader).lower(),
                "bootstrap": "true",
                "known_regions": "1",
                "leader_addr": self.server.leader_address,
            }
            stats["broker"] = {"total_ready": str(broker.ready), "total_blocked": str(len(blocked))}
        if self.client is not None:
            stats["client"] = {"node_id": self.client.node.id, "num_allocations": str(len(self.client.runners))}
        return stats

    def _gauges(self) -> dict[str, float]:
        gauges: dict[str, float] = {"runtime.uptime_s": self._clock.now() - self._started_at}
        if self.server is not None:
            broker, blocked = self.server.evaluations.broker, self.server.evaluations.blocked
            gauges |= {
                "broker.total_ready": broker.ready,
                "broker.total_unacked": broker.in_flight,
                "broker.total_waiting": broker.delayed,
                "blocked_evals.total_blocked": len(blocked),
                "heartbeat.active": self.server.nodes.connected,
                "runtime.loop_lag_max_ms": self._lag.worst_ms,
            }
        if self.client is not None:
            gauges["client.allocations"] = len(self.client.runners)
        return gauges


def _warm_up() -> None:
    """Import what the first job would import, which would block the loop for a tenth of a second."""
    job = jobspec.canonicalize(jobspec.decode_api_job({"ID": "warm-up", "TaskGroups": [{"Name": "g"}]}))
    if not jobspec.validate(job):
        jobspec.warnings(job)
    jobspec.add_implied_constraints(job, consul=False)


def _node_id(state_path: Path, ids: Ids) -> str:
    """The node's id, made at its first start: drivers name what they start by it, so it is needed before them."""
    path = state_path / "client-id"
    try:
        if known := path.read_text().strip():
            return known
    except OSError:
        pass
    fresh = ids.uuid()
    try:
        state_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(fresh)
    except OSError as error:
        raise RoveError(
            "agent.state_dir", "the agent was not started", f"{path}: {error.strerror or error}", "make it writable"
        ) from None
    return fresh


def shown_config(config: AgentConfig) -> dict[str, Any]:
    """The configuration as `agent/self` shows it: Nomad's names, secrets taken out."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    redacted: dict[str, Any] = _redact(plain)
    return {
        **{_title(key): value for key, value in redacted.items()},
        "Region": config.region,
        "Datacenter": config.datacenter,
        "NodeName": config.name,
        "Version": {"Version": __version__, "Revision": "", "VersionPrerelease": "", "VersionMetadata": ""},
        "DevMode": config.dev,
    }


def _redact(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _redact(item, key) for key, item in value.items()}
    if isinstance(value, str) and value and any(word in name.lower() for word in SECRETS) and "file" not in name:
        return "<redacted>"
    return value


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.removesuffix("_s").split("_"))
