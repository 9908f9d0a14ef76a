"""raw_exec: runs a program on the machine as it is, not isolated, under a shim that outlives the agent."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rove.client.drivers.base import (
    Capabilities,
    DriverError,
    EmitEvent,
    ExecSession,
    Exit,
    TaskSpec,
    TaskUsage,
)
from rove.client.drivers.processor import core_mhz
from rove.client.drivers.registry import DriverContext
from rove.client.shim.contract import CgroupSpec, ExitRecord, LaunchSpec, Limits
from rove.client.shim.host import Handle, ShimHost
from rove.client.shim.link import ShimError
from rove.errors import RoveError
from rove.structs.node import DriverInfo

CONFIG_KEYS = ("command", "args", "work_dir", "oom_score_adj", "denied_envvars")
PLUGIN_KEYS = ("enabled", "denied_host_uids", "denied_host_gids", "denied_envvars")
MIB = 1024 * 1024
OOM_SCORE_MAX = 1000
NEVER_RAN_CODE = 127
UNKNOWN_CODE = -1
"""Of a task that ended without anybody learning how."""

LIMIT_WORDS = {
    "group": "a control group of its own",
    "memory_bytes": "the memory limit",
    "memory_reserved_bytes": "the memory reservation",
    "cpu_shares": "the cpu share",
    "oom_score_adj": "oom_score_adj",
    "cores": "the cores held for the task",
}


def create(context: DriverContext) -> RawExecDriver:
    """The factory that the driver registry knows. Raises `RoveError` for a wrong plugin config."""
    enabled = context.options.get("driver.raw_exec.enable", "").lower() in ("1", "true")
    try:
        return RawExecDriver(ShimHost(), context.config, enabled=enabled, cgroup_parent=context.cgroup_parent)
    except DriverError as error:
        known = ", ".join(PLUGIN_KEYS)
        fix = f'correct the block plugin "raw_exec" {{ config {{ }} }}; it knows: {known}'
        raise RoveError("driver.bad_config", "raw_exec was not set up", error.what, fix) from None


class RawExecDriver:
    """Runs programs on the machine itself."""

    name = "raw_exec"
    capabilities = Capabilities(fs_isolation="none", send_signals=True, can_exec=True)

    def __init__(
        self,
        host: ShimHost,
        plugin: Mapping[str, Any] | None = None,
        *,
        enabled: bool = False,
        cgroup_parent: str = "rove",
    ) -> None:
        """host: closed with the driver. plugin: the agent's `plugin "raw_exec"` config.

        enabled: the default where the plugin config does not say. Raises `DriverError` for a wrong config.
        """
        config = dict(plugin or {})
        if unknown := sorted(set(config) - set(PLUGIN_KEYS)):
            raise DriverError(f"raw_exec's plugin config has no option {unknown[0]!r}")
        self._host = host
        self._cgroup_parent = cgroup_parent.strip("/") or "rove"
        self._enabled = str(config.get("enabled", enabled)).lower() in ("1", "true")
        self._denied_env = tuple(config.get("denied_envvars") or ())
        self._denied_uids = parse_ranges(config.get("denied_host_uids") or "")
        self._denied_gids = parse_ranges(config.get("denied_host_gids") or "")
        self._core_mhz = core_mhz()

    async def fingerprint(self) -> DriverInfo:
        """Healthy if it is enabled and a shim could be made."""
        if not self._enabled:
            return DriverInfo(health_description="raw_exec is switched off in the agent's configuration")
        try:
            await self._host.prove()
        except ShimError as error:
            return DriverInfo(detected=True, health_description=error.what)
        attributes = {"driver.raw_exec": "1"}
        return DriverInfo(attributes=attributes, detected=True, healthy=True, health_description="Healthy")

    def validate(self, config: Mapping[str, Any]) -> list[str]:
        """Everything wrong with a task's config."""
        return [
            *(f"raw_exec has no option {key!r}" for key in sorted(set(config) - set(CONFIG_KEYS))),
            *_command_problems(config),
            *_extra_problems(config),
        ]

    async def start(self, spec: TaskSpec, emit: EmitEvent) -> RawTask:
        """Start the program under a shim. Raises `DriverError`."""
        if not self._enabled:
            raise DriverError("raw_exec is switched off on this node")
        if problems := self.validate(spec.config):
            raise DriverError("; ".join(problems))
        if "/" in spec.name or spec.name in ("", ".", ".."):
            raise DriverError(f"the task's name {spec.name!r} cannot name its log files")
        launch = self._launch_spec(spec)
        try:
            handle = await self._host.launch(launch)
        except ShimError as error:
            raise DriverError(error.what, recoverable=error.recoverable) from None
        if refused := limits_refused(handle.limits):
            await emit(refused, {"driver": self.name})
        return RawTask(handle, self._core_mhz)

    async def recover(self, spec: TaskSpec, state: Mapping[str, Any]) -> RawTask | None:
        """Find the task by its state directory; also without `state`, if this attempt was started."""
        told = state.get("state_dir")
        place = Path(told) if isinstance(told, str) and told else _attempt_dir(spec)
        if not place.is_relative_to(spec.state_dir) or ".." in place.parts:
            return None
        try:
            handle = await self._host.adopt(str(place))
        except ShimError as error:
            raise DriverError(error.what, recoverable=True) from None
        return None if handle is None else RawTask(handle, self._core_mhz)

    async def close(self) -> None:
        """Let go of the zygote and of all tasks."""
        await self._host.close()

    def _launch_spec(self, spec: TaskSpec) -> LaunchSpec:
        argv, program = find_program(spec)
        uid, gid, groups = self._identity(spec.user)
        denied = (*self._denied_env, *(spec.config.get("denied_envvars") or ()))
        state_dir = _attempt_dir(spec)
        return LaunchSpec(
            task=spec.id,
            argv=argv,
            path=program,
            env={name: value for name, value in spec.env.items() if not _is_denied(name, denied)},
            cwd=str(spec.config.get("work_dir") or spec.task_dir),
            state_dir=str(state_dir),
            log_dir=str(spec.log_dir),
            stdout_name=f"{spec.name}.stdout",
            stderr_name=f"{spec.name}.stderr",
            uid=uid,
            gid=gid,
            groups=groups,
            logs=not spec.log_config.disabled,
            max_files=max(1, spec.log_config.max_files),
            max_file_bytes=max(1, spec.log_config.max_file_size_mb) * MIB,
            cgroup=cgroup_spec(spec, state_dir, self._cgroup_parent),
            oom_score_adj=spec.config.get("oom_score_adj") or None,
            cores=list(spec.resources.cpu.reserved_cores),
        )

    def _identity(self, user: str) -> tuple[int | None, int | None, list[int]]:
        """uid, gid and groups; None keeps the agent's. Raises `DriverError`."""
        uid, gid, groups = resolve_user(user)
        effective = (os.geteuid() if uid is None else uid, os.getegid() if gid is None else gid)
        if any(first <= effective[0] <= last for first, last in self._denied_uids):
            raise DriverError(f"this node's raw_exec refuses tasks of user {effective[0]}")
        for number in {effective[1], *groups}:
            if any(first <= number <= last for first, last in self._denied_gids):
                raise DriverError(f"this node's raw_exec refuses tasks of group {number}")
        return uid, gid, groups


class RawTask:
    """A task under a shim. Satisfies `rove.client.drivers.base.TaskHandle`."""

    network_address = ""

    def __init__(self, handle: Handle, core_mhz: float) -> None:
        self._handle = handle
        self._core_mhz = core_mhz

    @property
    def pid(self) -> int:
        """The main process."""
        return self._handle.pid

    def reattach_state(self) -> dict[str, Any]:
        """Where its shim keeps its files."""
        return {"state_dir": self._handle.state_dir, "pid": self._handle.pid}

    async def wait(self) -> Exit:
        """Return when the task and all it started are gone."""
        return exit_of(await self._handle.wait())

    async def signal(self, name: str) -> None:
        """Signal the main process. Raises `DriverError`."""
        try:
            await self._handle.signal(name)
        except ShimError as error:
            raise DriverError(error.what) from None

    async def kill(self, signal: str, timeout_s: float) -> None:
        """Ask, then force. Raises `DriverError` for an unknown signal or a task that the kernel holds."""
        try:
            await self._handle.kill(signal or "SIGINT", timeout_s)
        except ShimError as error:
            raise DriverError(error.what, recoverable=True) from None

    async def usage(self) -> TaskUsage:
        """What it uses now."""
        now = await self._handle.usage()
        return TaskUsage(
            cpu_user_ns=now.user_ns,
            cpu_system_ns=now.system_ns,
            cpu_percent=now.cpu_percent,
            total_ticks_mhz=now.cpu_percent / 100 * self._core_mhz,
            throttled_periods=now.throttled_periods,
            throttled_ns=now.throttled_ns,
            rss=now.rss,
            cache=now.cache,
            swap=now.swap,
            usage=now.usage,
            max_usage=now.max_usage,
            pids=now.pids,
            measured_cpu=now.measured_cpu,
            measured_memory=now.measured_memory,
        )

    async def execute(self, command: list[str], *, tty: bool) -> ExecSession:
        """Run a command as the task's user, in its directory and control group. Raises `DriverError`."""
        if not command or not command[0]:
            raise DriverError("there is no command to run")
        try:
            return await self._handle.exec_in(command, tty=tty)
        except ShimError as error:
            raise DriverError(error.what, recoverable=error.recoverable) from None

    async def destroy(self) -> None:
        """Remove the shim's files of an ended task."""
        self._handle.remove()


def exit_of(record: ExitRecord) -> Exit:
    """A shim's record in the words of the drivers."""
    if record.error is not None:
        return Exit(code=NEVER_RAN_CODE, error=record.error.text, finished_at=record.at)
    return Exit(
        code=UNKNOWN_CODE if record.unknown and not record.signal else record.code or 0,
        signal=record.signal or 0,
        oom_killed=record.oom_killed,
        error=record.unknown,
        finished_at=record.at,
    )


def limits_refused(limits: Limits) -> str:
    """One sentence about the limits that the machine refused; "" if it refused none."""
    if "group" in limits.missing:
        return f"This machine sets no resource limits for the task: {limits.missing['group']}"
    refused = [f"{LIMIT_WORDS.get(name, name)} ({why})" for name, why in sorted(limits.missing.items())]
    return f"This machine does not set {', '.join(refused)}" if refused else ""


def cgroup_spec(spec: TaskSpec, state_dir: Path, parent: str) -> CgroupSpec:
    """The task's control group: named after the task, made unique by its state directory."""
    memory, shares = spec.resources.memory, spec.resources.cpu.cpu_shares
    hard = max(memory.memory_mb, memory.memory_max_mb)
    unique = hashlib.sha256(str(state_dir).encode()).hexdigest()[:16]
    words = re.sub(r"[^A-Za-z0-9_-]", "_", f"{spec.alloc_id[:8]}-{spec.name[:64]}")
    return CgroupSpec(
        name=f"{words}-{unique}",
        parent=parent,
        memory_bytes=hard * MIB if hard > 0 else None,
        memory_reserved_bytes=memory.memory_mb * MIB if 0 < memory.memory_mb < hard else None,
        cpu_shares=shares if shares > 0 else None,
    )


def split_command(config: Mapping[str, Any]) -> list[str]:
    """Program and arguments. A command of several words without `args` is split as a shell would quote it.

    No shell is run: variables, globs and pipes stay ordinary text. Raises ValueError for an open quote.
    """
    command, args = str(config["command"]), [str(arg) for arg in config.get("args") or ()]
    return [command, *args] if args else (shlex.split(command) or [command])


def find_program(spec: TaskSpec) -> tuple[list[str], str | None]:
    """argv and the program file; None leaves the search in PATH to the start itself. Raises `DriverError`.

    Looks in the task's ``local/``, then in the task directory itself. A file there is made executable: a
    download is not. A whole command that is the name of such a file is not split.
    """
    command = str(spec.config["command"]).strip()
    if not spec.config.get("args") and (whole := _in_task(spec, command)) is not None:
        return [command], whole
    argv = split_command({**spec.config, "command": command})
    if not argv[0]:
        raise DriverError("raw_exec needs a command")
    return argv, argv[0] if os.path.isabs(argv[0]) else _in_task(spec, argv[0])


def _in_task(spec: TaskSpec, command: str) -> str | None:
    if "\0" in command or not command:
        return None
    task_dir = os.path.realpath(spec.task_dir)
    bases = ("",) if os.path.isabs(command) else (spec.task_dir / "local", spec.task_dir)
    for base in bases:
        path = os.path.join(base, command)
        if os.path.isfile(path):
            if os.path.realpath(path).startswith(task_dir + "/"):
                _make_executable(path)
            return path
    return None


def _make_executable(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # the start itself will say what is wrong
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode) and not mode & 0o111:
            os.fchmod(fd, stat.S_IMODE(mode) | 0o755)
    except OSError:
        pass
    finally:
        os.close(fd)


def resolve_user(user: str) -> tuple[int | None, int | None, list[int]]:
    """uid, gid and groups of a user's name or number; (None, None, []) for "". Raises `DriverError`."""
    if not user:
        return None, None, []
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except (KeyError, OverflowError, ValueError):
        raise DriverError(f"this machine has no user {user!r}") from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise DriverError(f"the agent is not root, so it cannot run a task as {user!r}")
    groups = {group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem}
    return entry.pw_uid, entry.pw_gid, sorted(groups | {entry.pw_gid})


def parse_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """ "0,10-20" to ((0, 0), (10, 20)). Raises `DriverError`."""
    ranges = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise DriverError(f"{part!r} is neither a number nor a range of numbers")
        ranges.append((int(first), int(last or first)))
    return tuple(ranges)


def _is_denied(name: str, patterns: tuple[str, ...]) -> bool:
    """A pattern is a name, or the beginning of one followed by a star."""
    return any(name == p or (p.endswith("*") and name.startswith(p[:-1])) for p in patterns)


def _attempt_dir(spec: TaskSpec) -> Path:
    return spec.state_dir / f"shim.{spec.attempt}"


def _command_problems(config: Mapping[str, Any]) -> list[str]:
    command, args = config.get("command"), config.get("args", [])
    problems = []
    if not isinstance(command, str) or not command.strip():
        problems.append("raw_exec needs a command")
    if args is not None and (not isinstance(args, (list, tuple)) or not all(map(_is_scalar, args))):
        problems.append("raw_exec's args must be a list of strings")
    if not problems and not args:
        try:
            shlex.split(str(command))
        except ValueError as error:
            problems.append(f"raw_exec's command cannot be split into words: {error}".lower())
    words = [str(command), *(map(str, args) if isinstance(args, (list, tuple)) else ())]
    if any("\0" in word for word in words):
        problems.append("raw_exec's command and args cannot hold a NUL character")
    return problems


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _extra_problems(config: Mapping[str, Any]) -> list[str]:
    problems = []
    work_dir, score = config.get("work_dir") or "", config.get("oom_score_adj") or 0
    if not isinstance(work_dir, str) or (work_dir and not os.path.isabs(work_dir)):
        problems.append("raw_exec's work_dir must be an absolute path")
    if not isinstance(score, int) or not 0 <= score <= OOM_SCORE_MAX:
        problems.append(f"raw_exec's oom_score_adj must be a number from 0 to {OOM_SCORE_MAX}")
    denied = config.get("denied_envvars") or ()
    if not isinstance(denied, (list, tuple)) or not all(isinstance(name, str) for name in denied):
        problems.append("raw_exec's denied_envvars must be a list of names")
    return problems
