"""The contract on disk between an agent and the shims: files, their fields, their version.

A task has one private *state directory* that holds

======== ======================================================= ==============================
file     content                                                 written by
======== ======================================================= ==============================
spec     what to start (`LaunchSpec`)                            the agent, before the start
lock     nothing; flock'ed by the shim for as long as it lives   the shim
pid      who runs, and under which limits (`PidRecord`)          the shim, before the task runs
exit     how it ended (`ExitRecord`)                             the shim, once, before it leaves
ctl      Unix socket for orders (`rove.client.shim.shim`)        the shim; may be missing
shim.log what the shim could not do, in words                    the shim
======== ======================================================= ==============================

Tomorrow's agent meets yesterday's shims, so: readers ignore fields they do not know, refuse a file
whose `version` is newer than theirs, and never raise; a file that cannot be used comes back as
`Unreadable`. Files are replaced whole: temporary name, fsync, rename, fsync of the directory.

Standard library only, and little of it: every import here is paid for by the zygote.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

CONTRACT_VERSION = 1

SPEC_FILE = "spec"
PID_FILE = "pid"
EXIT_FILE = "exit"
LOCK_FILE = "lock"
CONTROL_SOCKET = "ctl"
NOTE_FILE = "shim.log"
EXIT_RESERVE = f".{EXIT_FILE}"
"""Disk space for the exit file, taken at the start: a full disk must not cost the exit code."""

FILE_SIZE_MAX = 16 * 1024 * 1024
"""Bytes. A larger file is not ours, whatever its name."""

KIND_PROCESS = "process"
"""The task is a program that the shim itself executes. The only kind so far: an OCI runtime would be
another, with its own create, start and delete in `shim.RUNTIMES`."""

STDIN_NULL = "null"
"""The task reads end-of-file from its standard input. Any other value is the path of a file to read."""

MISSING, BROKEN, NEWER = "missing", "broken", "newer"


class Unreadable(NamedTuple):
    """A file that cannot be used. why: MISSING, BROKEN or NEWER; detail: in words."""

    why: str
    detail: str


class CgroupSpec(NamedTuple):
    """The control group a task gets, and its limits. None leaves a limit alone."""

    name: str
    """Leaf name, unique on the node, without a slash."""
    parent: str = "rove"
    memory_bytes: int | None = None
    """Hard limit; beyond it the kernel's OOM killer acts."""
    memory_reserved_bytes: int | None = None
    """Soft limit: what the task keeps when memory is short."""
    cpu_shares: int | None = None
    """Relative weight in the scale of cgroup v1: 1024 is one ordinary group."""
    cpu_quota_us: int | None = None
    """Microseconds of CPU time in every 100 ms."""
    pids_max: int | None = None


class LaunchSpec(NamedTuple):
    """Everything a shim has to know to run one task."""

    task: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    state_dir: str
    log_dir: str
    stdout_name: str
    """Base name of the log files: `<stdout_name>.0`, `.1`, ... in `log_dir`."""
    stderr_name: str
    path: str | None = None
    """The program file; None looks argv[0] up in the PATH of `env`."""
    uid: int | None = None
    """None keeps the user of the agent."""
    gid: int | None = None
    groups: list[int] = []
    umask: int = 0o022
    rlimits: list[tuple[str, int, int]] = []
    """Name as in `resource.RLIMIT_<NAME>` but lower case, soft, hard; -1 is unlimited."""
    stdin: str = STDIN_NULL
    logs: bool = True
    """False sends all output to /dev/null."""
    max_files: int = 10
    max_file_bytes: int = 10 * 1024 * 1024
    cgroup: CgroupSpec | None = None
    oom_score_adj: int | None = None
    no_new_privs: bool = False
    cores: list[int] = []
    """The only cores it runs on; empty leaves it all of them."""
    drain_s: float = 1.0
    """How long a process that outlives the main one may keep the output open."""
    kind: str = KIND_PROCESS
    version: int = CONTRACT_VERSION


class ExecSpec(NamedTuple):
    """An extra command in the context of a running task."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    tty: bool = False
    uid: int | None = None
    gid: int | None = None
    groups: list[int] = []
    umask: int = 0o022
    no_new_privs: bool = False
    cgroup_dirs: list[str] = []
    """Absolute directories of the control groups that the command joins."""
    version: int = CONTRACT_VERSION


class Limits(NamedTuple):
    """What became of the limits asked for."""

    applied: dict[str, str] = {}
    """Limit name to the value in force."""
    missing: dict[str, str] = {}
    """Limit name to the reason why it is not in force."""


class PidRecord(NamedTuple):
    """The processes of a task. A pid means nothing without its start time and the boot it belongs to."""

    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks since boot."""
    shim_pid: int
    shim_start_ticks: int
    boot_id: str
    started_at: float
    """Seconds since the epoch."""
    cgroup_dirs: dict[str, str] = {}
    """Controller name (`v2` for the unified hierarchy) to absolute directory."""
    limits: Limits = Limits()
    version: int = CONTRACT_VERSION


class StartError(NamedTuple):
    """Why a task could not be started. stage: which step; errno: 0 if it was not a system call."""

    stage: str
    errno: int
    text: str


class Rusage(NamedTuple):
    """Resources of the main process and the children it waited for."""

    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_bytes: int = 0


class ExitRecord(NamedTuple):
    """How a task ended. Exactly one of code and signal is set, unless the code is unknown."""

    code: int | None
    signal: int | None
    oom_killed: bool = False
    at: float = 0.0
    """Seconds since the epoch; 0 if unknown."""
    rusage: Rusage = Rusage()
    error: StartError | None = None
    """Set if the task never ran."""
    unknown: str = ""
    """Why neither code nor signal is known; empty if one is."""
    dropped_bytes: int = 0
    """Output lost because the log files could not be written."""
    version: int = CONTRACT_VERSION


class _BadField(Exception):
    pass


_T = TypeVar("_T")
_Object = dict[str, Any]


class _Fields:
    """Typed access to a JSON object; every surprise is a `_BadField`."""

    def __init__(self, data: object) -> None:
        if not isinstance(data, dict):
            raise _BadField("not a JSON object")
        self.data: _Object = data

    def get(self, name: str, kinds: type | tuple[type, ...], default: Any = _BadField) -> Any:
        value = self.data.get(name, default)
        if value is _BadField:
            raise _BadField(f"{name} is missing")
        wrong = not isinstance(value, kinds) or (value.__class__ is bool and kinds is not bool)
        if value is not default and wrong:
            raise _BadField(f"{name} has the wrong type")
        return value

    def integer(self, name: str, default: Any = _BadField) -> int:
        value: int = self.get(name, int, default)
        return value

    def positive(self, name: str) -> int:
        if (value := self.integer(name)) <= 0:
            raise _BadField(f"{name} is not positive")
        return value

    def maybe_integer(self, name: str) -> int | None:
        return None if self.data.get(name) is None else self.integer(name)

    def number(self, name: str, default: Any = _BadField) -> float:
        return float(self.get(name, (int, float), default))

    def text(self, name: str, default: Any = _BadField) -> str:
        value: str = self.get(name, str, default)
        return value

    def maybe_text(self, name: str) -> str | None:
        return None if self.data.get(name) is None else self.text(name)

    def flag(self, name: str, default: bool) -> bool:
        value: bool = self.get(name, bool, default)
        return value

    def texts(self, name: str) -> dict[str, str]:
        value: dict[str, str] = self.get(name, dict, {})
        if not all(isinstance(item, str) for item in value.values()):
            raise _BadField(f"{name} holds something that is not text")
        return value

    def items(self, name: str, kind: type[_T]) -> list[_T]:
        value: list[_T] = self.get(name, list, [])
        if not all(isinstance(item, kind) for item in value):
            raise _BadField(f"{name} holds something of the wrong type")
        return value


def _limits(data: object) -> Limits:
    fields = _Fields(data)
    return Limits(fields.texts("applied"), fields.texts("missing"))


def _pid_record(fields: _Fields) -> PidRecord:
    return PidRecord(
        pid=fields.positive("pid"),
        start_ticks=fields.integer("start_ticks"),
        shim_pid=fields.positive("shim_pid"),
        shim_start_ticks=fields.integer("shim_start_ticks"),
        boot_id=fields.text("boot_id"),
        started_at=fields.number("started_at", 0.0),
        cgroup_dirs=fields.texts("cgroup_dirs"),
        limits=_limits(fields.data.get("limits", {})),
        version=fields.integer("version"),
    )


def _start_error(data: object) -> StartError:
    fields = _Fields(data)
    return StartError(fields.text("stage"), fields.integer("errno", 0), fields.text("text"))


def _rusage(data: object) -> Rusage:
    fields = _Fields(data)
    return Rusage(fields.number("user_s", 0), fields.number("system_s", 0), fields.integer("max_rss_bytes", 0))


def _exit_record(fields: _Fields) -> ExitRecord:
    code, number = fields.maybe_integer("code"), fields.maybe_integer("signal")
    error = fields.data.get("error")
    unknown = fields.text("unknown", "")
    if (code is None) == (number is None) and not unknown and error is None:
        raise _BadField("it needs either a code or a signal")
    return ExitRecord(
        code=code,
        signal=number,
        oom_killed=fields.flag("oom_killed", False),
        at=fields.number("at", 0.0),
        rusage=_rusage(fields.data.get("rusage", {})),
        error=None if error is None else _start_error(error),
        unknown=unknown,
        dropped_bytes=fields.integer("dropped_bytes", 0),
        version=fields.integer("version"),
    )


def _cgroup_spec(data: object) -> CgroupSpec:
    fields = _Fields(data)
    return CgroupSpec(
        fields.text("name"),
        fields.text("parent", "rove"),
        *(fields.maybe_integer(name) for name in CgroupSpec._fields[2:]),
    )


def _rlimit(item: list[Any]) -> tuple[str, int, int]:
    if len(item) != 3 or not isinstance(item[0], str) or not all(isinstance(n, int) for n in item[1:]):
        raise _BadField("rlimits needs [name, soft, hard]")
    return item[0], item[1], item[2]


def _launch_spec(fields: _Fields) -> LaunchSpec:
    cgroup = fields.data.get("cgroup")
    return LaunchSpec(
        task=fields.text("task"),
        argv=fields.items("argv", str),
        env=fields.texts("env"),
        cwd=fields.text("cwd"),
        state_dir=fields.text("state_dir"),
        log_dir=fields.text("log_dir"),
        stdout_name=fields.text("stdout_name"),
        stderr_name=fields.text("stderr_name"),
        path=fields.maybe_text("path"),
        uid=fields.maybe_integer("uid"),
        gid=fields.maybe_integer("gid"),
        groups=fields.items("groups", int),
        umask=fields.integer("umask", 0o022),
        rlimits=[_rlimit(item) for item in fields.items("rlimits", list)],
        stdin=fields.text("stdin", STDIN_NULL),
        logs=fields.flag("logs", True),
        max_files=fields.positive("max_files"),
        max_file_bytes=fields.positive("max_file_bytes"),
        cgroup=None if cgroup is None else _cgroup_spec(cgroup),
        oom_score_adj=fields.maybe_integer("oom_score_adj"),
        no_new_privs=fields.flag("no_new_privs", False),
        cores=fields.items("cores", int),
        drain_s=fields.number("drain_s", 1.0),
        kind=fields.text("kind", KIND_PROCESS),
        version=fields.integer("version"),
    )


def _exec_spec(fields: _Fields) -> ExecSpec:
    return ExecSpec(
        argv=fields.items("argv", str),
        env=fields.texts("env"),
        cwd=fields.text("cwd"),
        tty=fields.flag("tty", False),
        uid=fields.maybe_integer("uid"),
        gid=fields.maybe_integer("gid"),
        groups=fields.items("groups", int),
        umask=fields.integer("umask", 0o022),
        no_new_privs=fields.flag("no_new_privs", False),
        cgroup_dirs=fields.items("cgroup_dirs", str),
        version=fields.integer("version"),
    )


def _decode(data: bytes, build: Callable[[_Fields], _T]) -> _T | Unreadable:
    try:
        fields = _Fields(json.loads(data))
        version = fields.integer("version")
        if version > CONTRACT_VERSION:
            return Unreadable(NEWER, f"it has version {version}, this program knows {CONTRACT_VERSION}")
        return build(fields)
    except _BadField as error:
        return Unreadable(BROKEN, str(error))
    except (ValueError, RecursionError, OverflowError):
        return Unreadable(BROKEN, f"it is not JSON ({len(data)} bytes)")


def _read(state_dir: str, name: str, build: Callable[[_Fields], _T]) -> _T | Unreadable:
    try:
        fd = os.open(os.path.join(state_dir, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Unreadable(MISSING, "it does not exist")
    except (OSError, ValueError) as error:
        return Unreadable(BROKEN, str(error))
    try:
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_SIZE_MAX:
                return Unreadable(BROKEN, f"it is larger than {FILE_SIZE_MAX} bytes or not a file")
            data = file.read(status.st_size)
    except OSError as error:
        return Unreadable(BROKEN, str(error))
    return _decode(data, build)


def read_spec(state_dir: str) -> LaunchSpec | Unreadable:
    """The `spec` file. Never raises."""
    return _read(state_dir, SPEC_FILE, _launch_spec)


def read_pid(state_dir: str) -> PidRecord | Unreadable:
    """The `pid` file. Never raises."""
    return _read(state_dir, PID_FILE, _pid_record)


def read_exit(state_dir: str) -> ExitRecord | Unreadable:
    """The `exit` file. Never raises."""
    return _read(state_dir, EXIT_FILE, _exit_record)


def decode_pid(data: bytes) -> PidRecord | Unreadable:
    """A `PidRecord` that came over a socket. Never raises."""
    return _decode(data, _pid_record)


def decode_exit(data: bytes) -> ExitRecord | Unreadable:
    """An `ExitRecord` that came over a pipe. Never raises."""
    return _decode(data, _exit_record)


def decode_exec(data: bytes) -> ExecSpec | Unreadable:
    """An `ExecSpec` that came over a pipe. Never raises."""
    return _decode(data, _exec_spec)


def start_error(data: object) -> StartError:
    """A `StartError` out of decoded JSON; one that says so if it is not one. Never raises."""
    try:
        return _start_error(data)
    except _BadField as error:
        return StartError("report", 0, f"the shim's report cannot be read: {error}")


def plain(record: Any) -> Any:
    """A record (and the records in it) as what JSON knows."""
    if hasattr(record, "_fields"):
        return {name: plain(value) for name, value in zip(record._fields, record, strict=True)}
    return record


def encode(record: Any) -> bytes:
    """A record as JSON."""
    return json.dumps(plain(record)).encode()


def write_file(state_dir: str, name: str, data: bytes, *, durable: bool = True) -> None:
    """Replace a file whole: a reader sees the old content or the new, also after a power failure.

    durable: False skips both fsyncs, for what need not survive the machine. Mode 0600. Raises OSError,
    and then leaves the old file untouched.
    """
    temporary = os.path.join(state_dir, f".{name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)
        os.rename(temporary, os.path.join(state_dir, name))
    except OSError:
        remove_file(temporary)
        raise
    finally:
        os.close(fd)
    if durable:
        sync_dir(state_dir)


def sync_dir(path: str) -> None:
    """Make renames in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_file(path: str) -> None:
    """Remove a file that may be gone already. Raises nothing."""
    try:
        os.unlink(path)
    except OSError:
        pass


def control_path(dir_fd: int) -> str:
    """The control socket below an open state directory: short enough for a Unix address, however deep."""
    return f"/proc/self/fd/{dir_fd}/{CONTROL_SOCKET}"
