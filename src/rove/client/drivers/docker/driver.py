"""The docker driver: start, find again, signal, stop and measure containers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp

from rove.client.drivers.base import Capabilities, DriverError, EmitEvent, Exit, TaskSpec, TaskUsage
from rove.client.drivers.processor import core_count, core_mhz
from rove.client.drivers.registry import DriverContext
from rove.client.shim import cgroup
from rove.client.shim.stats import GroupMeter
from rove.jobspec.durations import parse_duration
from rove.structs.base import SECOND
from rove.structs.node import DriverInfo

from . import config as rules
from .images import Images
from .logs import LogCopier
from .sessions import DockerExec

log = logging.getLogger(__name__)

STARTS_AT_ONCE = 8
"""More only add latency: the engine is the bottleneck."""
ENGINE_RETRY_S = 1.0
REAP_EVERY_S = 300.0
OUTPUT_WAIT_S = 5.0
"""How long an ended container's last output is waited for."""
DEFAULT_SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
ENGINE_GONE = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError, OSError)


def create(context: DriverContext) -> DockerDriver:
    """The factory that the driver registry knows. Raises `DriverError` for a wrong plugin config."""
    driver = DockerDriver(context.config, node_id=context.node_id)
    for key in rules.without_effect(context.config):
        log.warning("the option %s of the docker plugin has no effect here", key)
    return driver


class DockerDriver:
    """Containers of one engine."""

    name = "docker"
    capabilities = Capabilities(fs_isolation="image", mounts=True, creates_network=True)

    def __init__(self, plugin: Mapping[str, Any] | None = None, *, node_id: str = "") -> None:
        self._plugin = dict(plugin or {})
        self._node_id = node_id
        self._core_mhz = core_mhz()
        cores = core_count()
        self._policy = rules.policy_of(self._plugin, total_mhz=self._core_mhz * cores, cores=cores)
        self._engine: aiodocker.Docker | None = None
        self._connector: aiohttp.BaseConnector | None = None
        self._images: Images | None = None
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._tasks: dict[str, DockerTask] = {}
        self._expected: set[str] = set()
        self._reaper: asyncio.Task[None] | None = None

    # -- the engine

    def _connect(self) -> aiodocker.Docker:
        if self._engine is None:
            url = self._plugin.get("endpoint") or _default_endpoint()
            if not url:
                raise DriverError("no Docker engine is reachable: there is no socket", recoverable=True)
            connector = (
                aiohttp.UnixConnector(url.removeprefix("unix://"), limit=0) if url.startswith("unix://") else None
            )
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
            engine = aiodocker.Docker(url=url, connector=connector, timeout=timeout)
            if connector is not None:
                engine.docker_host = "unix://localhost"
            self._engine, self._connector = engine, connector
            gc = rules.merged(self._plugin.get("gc"))
            auth = rules.merged(self._plugin.get("auth"))
            self._images = Images(
                engine,
                auth_file=str(auth.get("config") or ""),
                remove=bool(gc.get("image", True)),
                delay_s=_seconds(gc.get("image_delay"), 180.0),
            )
        return self._engine

    async def fingerprint(self) -> DriverInfo:
        """Healthy if the engine answers."""
        try:
            engine = self._connect()
            async with asyncio.timeout(10.0):
                version, info = await engine.version(), await engine.system.info()
        except DriverError as error:
            return DriverInfo(health_description=error.what)
        except (aiodocker.DockerError, TimeoutError, ValueError, *ENGINE_GONE) as error:
            return DriverInfo(
                detected=bool(self._tasks), health_description=f"the Docker engine does not answer: {_text(error)}"
            )
        self._start_reaper()
        attributes = {
            "driver.docker": "1",
            "driver.docker.version": str(version.get("Version", "")),
            "driver.docker.os_type": str(info.get("OSType", "linux")),
            "driver.docker.runtimes": ",".join(sorted(info.get("Runtimes") or ())),
        }
        for name, enabled in (
            ("volumes.enabled", self._policy.volumes_enabled),
            ("privileged.enabled", self._policy.allow_privileged),
        ):
            if enabled:
                attributes[f"driver.docker.{name}"] = "true"
        bridge = await self._bridge_ip(engine)
        if bridge:
            attributes["driver.docker.bridge_ip"] = bridge
        return DriverInfo(attributes=attributes, detected=True, healthy=True, health_description="Healthy")

    async def _bridge_ip(self, engine: aiodocker.Docker) -> str:
        try:
            bridge = await (await engine.networks.get("bridge")).show()
            return str(bridge["IPAM"]["Config"][0].get("Gateway", ""))
        except (aiodocker.DockerError, LookupError, TypeError, *ENGINE_GONE):
            return ""

    def validate(self, config: Mapping[str, Any]) -> list[str]:
        """Everything wrong with a task's config."""
        return rules.problems(config)

    # -- tasks

    async def start(self, spec: TaskSpec, emit: EmitEvent) -> DockerTask:
        """Pull the image if it is missing, create the container and start it. Raises `DriverError`."""
        found = rules.problems(spec.config)
        if found:
            raise DriverError("; ".join(found))
        engine = self._connect()
        images = self._images
        assert images is not None
        image = str(spec.config["image"])
        try:
            await images.ensure(
                image,
                force=bool(spec.config.get("force_pull")),
                auth=rules.merged(spec.config.get("auth")),
                soft=bool(spec.config.get("auth_soft_fail")),
                emit=emit,
                activity_timeout_s=_seconds(self._plugin.get("pull_activity_timeout"), 120.0),
                timeout_s=_seconds(
                    spec.config.get("image_pull_timeout") or self._plugin.get("image_pull_timeout"), 300.0
                ),
            )
            request = rules.create_request(spec, self._policy, self._node_id)
            async with self._starts:
                container = await self._create(engine, spec, request)
                try:
                    await container.start()
                    state = await container.show()
                except BaseException:
                    await _remove(container)
                    raise
        except aiodocker.DockerError as error:
            raise DriverError(
                f"the container could not be started: {error.message}", recoverable=_may_pass(error)
            ) from None
        except ENGINE_GONE as error:
            raise DriverError(f"the Docker engine does not answer: {_text(error)}", recoverable=True) from None
        except ValueError as error:
            raise DriverError(f"the image {image} was refused: {error}") from None
        return self._take(spec, container, state)

    async def _create(
        self, engine: aiodocker.Docker, spec: TaskSpec, request: dict[str, Any]
    ) -> aiodocker.containers.DockerContainer:
        name = rules.container_name(spec)
        self._expected.add(name)
        try:
            return await engine.containers.create(request, name=name)
        except aiodocker.DockerError as error:
            if error.status != 409:
                raise
        # A container of an earlier start of this very task is in the way: its start or its removal was cut short.
        stale = await engine.containers.get(name)
        labels = stale["Config"].get("Labels") or {}
        if labels.get(rules.LABEL_TASK) != spec.id:
            raise DriverError(f"a container named {name} is there and is not ours")
        await _remove(stale)
        return await engine.containers.create(request, name=name)

    def _take(
        self, spec: TaskSpec, container: aiodocker.containers.DockerContainer, state: Mapping[str, Any]
    ) -> DockerTask:
        task = DockerTask(self, spec, container, state, self._core_mhz)
        self._tasks[container.id] = task
        if self._images is not None:
            self._images.hold(str(spec.config.get("image", "")))
        return task

    async def recover(self, spec: TaskSpec, state: Mapping[str, Any]) -> DockerTask | None:
        """Find the container by its id, else by its name; ours by its label."""
        name = rules.container_name(spec)
        self._expected.add(name)
        wanted = str(state.get("container_id") or name)
        while True:
            try:
                container = await self._connect().containers.get(wanted)
                shown = await container.show()
                break
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return None
                raise DriverError(f"the container could not be looked up: {error.message}", recoverable=True) from None
            except (DriverError, *ENGINE_GONE):
                # The engine may be restarting, with the container in it. Only its answer is the truth.
                await asyncio.sleep(ENGINE_RETRY_S)
        if (shown["Config"].get("Labels") or {}).get(rules.LABEL_TASK) != spec.id:
            return None
        if shown["State"]["Status"] == "created":
            await _remove(container)
            return None
        return self._take(spec, container, shown)

    def forget(self, task: DockerTask) -> None:
        """The task's container is gone."""
        self._expected.discard(task.name)
        if self._tasks.pop(task.container_id, None) is not None and self._images is not None:
            self._images.release(task.image)

    async def close(self) -> None:
        """Let go of the engine; containers run on."""
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
        await asyncio.gather(*(task.let_go() for task in list(self._tasks.values())))
        if self._images is not None:
            await self._images.close()
        if self._engine is not None:
            await self._engine.close()
            self._engine = None
        if self._connector is not None:
            await self._connector.close()
            self._connector = None

    # -- containers that nobody owns

    def _start_reaper(self) -> None:
        options = rules.merged(rules.merged(self._plugin.get("gc")).get("dangling_containers"))
        if self._reaper is None and self._node_id and options.get("enabled", True):
            period = _seconds(options.get("period"), REAP_EVERY_S)
            self._reaper = asyncio.get_running_loop().create_task(self._reap_for_ever(period))

    async def _reap_for_ever(self, period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s)  # the first time too: the node finds its tasks again first
            with contextlib.suppress(aiodocker.DockerError, DriverError, *ENGINE_GONE):
                await self.reap()

    async def reap(self) -> list[str]:
        """Remove containers of this node that no task owns; returns their names."""
        label = f"{rules.LABEL_NODE}={self._node_id}"
        found = await self._connect().containers.list(all=True, filters={"label": [label]})
        removed = []
        for container in found:
            name = container._container["Names"][0].lstrip("/")
            if container.id not in self._tasks and name not in self._expected:
                log.warning("container %s belongs to no task and is removed", name)
                await _remove(container)
                removed.append(name)
        return removed


class DockerTask:
    """One container."""

    def __init__(
        self,
        driver: DockerDriver,
        spec: TaskSpec,
        container: aiodocker.containers.DockerContainer,
        shown: Mapping[str, Any],
        core_mhz: int,
    ) -> None:
        self._driver = driver
        self._container = container
        self._core_mhz = core_mhz
        self.name = rules.container_name(spec)
        self.image = str(spec.config.get("image", ""))
        self.container_id: str = container.id
        self.network_address = _address(shown)
        self._meter: GroupMeter | None = None
        self._last: tuple[float, int] | None = None
        loop = asyncio.get_running_loop()
        tty = bool(spec.config.get("tty"))
        driver_type = rules.merged(spec.config.get("logging"))
        readable = (driver_type.get("driver") or driver_type.get("type") or "json-file") in (
            "json-file",
            "local",
            "journald",
        )
        self._logs: asyncio.Task[None] | None = None
        if readable and not spec.log_config.disabled:
            self._logs = loop.create_task(LogCopier(container, spec, tty=tty).run())
        self._exit: asyncio.Task[Exit] = loop.create_task(self._watch())

    def reattach_state(self) -> dict[str, Any]:
        """The container's id."""
        return {"container_id": self.container_id}

    async def wait(self) -> Exit:
        """Return when the container has ended and its output was copied."""
        return await asyncio.shield(self._exit)

    async def _watch(self) -> Exit:
        while True:
            try:
                shown = await self._container.show()
                state = shown["State"]
                if not state["Running"] and state["Status"] != "restarting":
                    break
                await self._container.wait(timeout=None, condition="not-running")
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return Exit(code=-1, error="the container was removed by somebody else")
                await asyncio.sleep(ENGINE_RETRY_S)
            except (TimeoutError, *ENGINE_GONE):
                await asyncio.sleep(ENGINE_RETRY_S)
        if self._logs is not None:
            await asyncio.wait([self._logs], timeout=OUTPUT_WAIT_S)
        return _exit_of(state)

    async def signal(self, name: str) -> None:
        """Send a signal to the main process."""
        try:
            await self._container.kill(signal=name)
        except aiodocker.DockerError as error:
            raise DriverError(f"the container took no {name}: {error.message}") from None
        except ENGINE_GONE as error:
            raise DriverError(f"the Docker engine does not answer: {_text(error)}", recoverable=True) from None

    async def kill(self, signal: str, timeout_s: float) -> None:
        """Ask the container to end, force it after `timeout_s`, return when it is gone."""
        name = signal or "SIGTERM"
        while not self._exit.done():
            try:
                await self._container.kill(signal=name)
            except aiodocker.DockerError as error:
                if error.status not in (404, 409):
                    log.warning("container %s: %s", self.container_id[:12], error.message)
            except ENGINE_GONE:
                await asyncio.sleep(ENGINE_RETRY_S)
                continue
            done, _ = await asyncio.wait([self._exit], timeout=timeout_s if name != "SIGKILL" else 10.0)
            if done:
                return
            name = "SIGKILL"

    async def usage(self) -> TaskUsage:
        """From the container's control groups."""
        if self._meter is None:
            pid = int((await self._shown())["State"].get("Pid") or 0)
            self._meter = GroupMeter(_cgroups_of(pid)) if pid else None
        if self._meter is None:
            return TaskUsage()
        use = self._meter.read()
        now, total = asyncio.get_running_loop().time(), use.user_ns + use.system_ns
        percent = 0.0
        if self._last is not None and now > self._last[0]:
            percent = max(0.0, (total - self._last[1]) / 1e9 / (now - self._last[0]) * 100)
        self._last = (now, total)
        return TaskUsage(
            cpu_user_ns=use.user_ns,
            cpu_system_ns=use.system_ns,
            cpu_percent=percent,
            total_ticks_mhz=percent / 100 * self._core_mhz,
            throttled_periods=use.throttled_periods,
            throttled_ns=use.throttled_ns,
            rss=use.rss,
            cache=use.cache,
            swap=use.swap,
            usage=use.usage,
            max_usage=use.max_usage,
            measured_cpu=use.measured_cpu,
            measured_memory=use.measured_memory,
        )

    async def _shown(self) -> dict[str, Any]:
        try:
            shown: dict[str, Any] = await self._container.show()
        except (aiodocker.DockerError, *ENGINE_GONE) as error:
            raise DriverError(f"the container could not be looked at: {_text(error)}") from None
        return shown

    async def execute(self, command: list[str], *, tty: bool) -> DockerExec:
        """Run a command in the container."""
        try:
            made = await self._container.exec(command, stdin=True, stdout=True, stderr=True, tty=tty)
            stream = made.start(detach=False)
            await stream._init()
        except aiodocker.DockerError as error:
            raise DriverError(f"the command could not be started: {error.message}") from None
        except ENGINE_GONE as error:
            raise DriverError(f"the Docker engine does not answer: {_text(error)}", recoverable=True) from None
        return DockerExec(made, stream)

    async def destroy(self) -> None:
        """Remove the container."""
        await self.let_go()
        await _remove(self._container)
        self._driver.forget(self)

    async def let_go(self) -> None:
        """Stop following the container."""
        followers = [task for task in (self._logs, self._exit) if task is not None and not task.done()]
        for task in followers:
            task.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        if self._meter is not None:
            self._meter.close()


def _exit_of(state: Mapping[str, Any]) -> Exit:
    code = int(state.get("ExitCode") or 0)
    finished = _epoch(str(state.get("FinishedAt") or ""))
    oom = bool(state.get("OOMKilled"))
    error = str(state.get("Error") or "")
    signal = code - 128 if 128 < code < 128 + 65 else 0
    return Exit(code=code, signal=signal, oom_killed=oom, error=error, finished_at=finished)


def _epoch(stamp: str) -> float:
    if not stamp or stamp.startswith("0001"):
        return 0.0
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{seconds}+00:00").timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        return 0.0


def _address(shown: Mapping[str, Any]) -> str:
    settings = shown.get("NetworkSettings") or {}
    if settings.get("IPAddress"):
        return str(settings["IPAddress"])
    networks = settings.get("Networks") or {}
    return next((str(net["IPAddress"]) for net in networks.values() if net.get("IPAddress")), "")


def _cgroups_of(pid: int) -> dict[str, str]:
    """Control group folders of a process by controller, as `GroupMeter` wants them."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            folder = f"/sys/fs/cgroup/{controller}{path}" if controller else f"/sys/fs/cgroup{path}"
            if os.path.isdir(folder) and (controller or os.path.exists(f"{folder}/memory.stat")):
                found[controller or cgroup.UNIFIED] = folder
    return found


async def _remove(container: aiodocker.containers.DockerContainer) -> None:
    try:
        await container.delete(force=True, v=True)
    except aiodocker.DockerError as error:
        if error.status not in (404, 409):
            log.warning("container %s could not be removed: %s", container.id[:12], error.message)
    except ENGINE_GONE as error:
        log.warning("container %s could not be removed: %s", container.id[:12], error)


def _default_endpoint() -> str:
    given = os.environ.get("DOCKER_HOST", "")
    if given:
        return given
    return next((f"unix://{path}" for path in DEFAULT_SOCKETS if os.path.exists(path)), "")


def _may_pass(error: aiodocker.DockerError) -> bool:
    """True if trying again may help: a taken port, a busy engine; not a refused request."""
    text = str(error.message).lower()
    return error.status >= 500 and "no such file or directory" not in text and "executable file not found" not in text


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _seconds(value: Any, default: float) -> float:
    """A duration such as "5m" or "1h30m", or a number of seconds."""
    if value is None or value == "":
        return default
    if isinstance(value, int | float):
        return float(value)
    text = str(value)
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    nanoseconds = parse_duration(text)
    if nanoseconds is None:
        raise DriverError(f"{value!r} is not a duration such as 30s or 5m")
    return nanoseconds / SECOND
