"""raw_exec runs programs of the machine: found, split, limited, refused as promised."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rove.client.drivers.base import DriverError
from rove.client.drivers.raw_exec import (
    RawExecDriver,
    exit_of,
    find_program,
    limits_refused,
    parse_ranges,
    resolve_user,
    split_command,
)
from rove.client.drivers.registry import load_drivers
from rove.client.shim.contract import ExitRecord, Limits, StartError
from rove.client.shim.host import ShimHost
from rove.errors import RoveError
from rove.ports.real import RealClock
from rove.structs.job import LogConfig
from rove.structs.resources import AllocatedCpu, AllocatedMemory, AllocatedTask
from rove.testing.driver_contract import Behaviour, DriverContract, quiet, task_spec, until

SCRIPTS = {
    Behaviour.SUCCEED: "exit 0",
    Behaviour.FAIL: "exit 7",
    Behaviour.RUN: "exec sleep 1000",
    Behaviour.STUBBORN: "trap '' TERM INT HUP; while :; do sleep 0.05; done",
    Behaviour.PRINT: "echo to stdout; echo to stderr >&2",
    Behaviour.END_LATER: "while [ ! -e let-end ]; do sleep 0.02; done; exit 9",
}


class RawCase:
    """raw_exec over this machine."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def driver(self) -> RawExecDriver:
        return RawExecDriver(ShimHost(), {"enabled": True}, cgroup_parent="rove-test")

    def config(self, behaviour: Behaviour) -> dict[str, Any]:
        if behaviour is Behaviour.IMPOSSIBLE:
            return {"command": "/no/such/program"}
        return {"command": "/bin/sh", "args": ["-c", SCRIPTS[behaviour]]}

    async def let_end(self, handle: Any) -> None:
        (self.base / "alloc" / "web" / "let-end").touch()

    async def end_all(self) -> None:
        driver = self.driver()
        for attempt in (0, 1):
            left = await driver.recover(task_spec(self.base, {}, attempt=attempt), {})
            if left is not None:
                await left.kill("SIGKILL", 0)
        await driver.close()


@pytest.fixture
async def case(tmp_path):
    made = RawCase(tmp_path)
    yield made
    await made.end_all()


@pytest.fixture
async def driver(case):
    made = case.driver()
    yield made
    await made.close()


class TestRawExecKeepsTheDriverContract(DriverContract):
    @pytest.fixture
    async def case(self, tmp_path):
        made = RawCase(tmp_path)
        yield made
        await made.end_all()


async def output_of(driver, spec) -> str:
    handle = await driver.start(spec, quiet)
    end = await handle.wait()
    assert end.is_success, end
    return (spec.log_dir / "web.stdout.0").read_text()


async def test_one_string_is_split_into_words_without_a_shell(case, driver):
    script = case.base / "alloc/web/local/my_service"
    spec = task_spec(case.base, {"command": "my_service --arg1=test1 --arg2='a b' $HOME * | cat"})
    script.write_text('#!/bin/sh\nfor arg in "$@"; do echo "<$arg>"; done\n')

    said = await output_of(driver, spec)

    assert said.split("\n")[:-1] == ["<--arg1=test1>", "<--arg2=a b>", "<$HOME>", "<*>", "<|>", "<cat>"]


async def test_with_args_a_command_is_one_word(case, driver):
    spec = task_spec(case.base, {"command": "two words", "args": ["x"]})

    with pytest.raises(DriverError, match="'two words' was not found"):
        await driver.start(spec, quiet)


async def test_a_file_whose_name_has_blanks_is_not_split(case, driver):
    spec = task_spec(case.base, {"command": "my program"})
    (spec.task_dir / "local/my program").write_text("#!/bin/sh\necho here\n")

    assert await output_of(driver, spec) == "here\n"


async def test_the_tasks_own_program_comes_before_the_machines(case, driver):
    spec = task_spec(case.base, {"command": "ls"})
    (spec.task_dir / "local/ls").write_text("#!/bin/sh\necho mine\n")

    assert await output_of(driver, spec) == "mine\n"


async def test_a_downloaded_program_without_the_mark_is_made_executable(case, driver):
    spec = task_spec(case.base, {"command": "local/tool"})
    tool = spec.task_dir / "local/tool"
    tool.write_text("#!/bin/sh\necho ran\n")
    tool.chmod(0o644)

    assert await output_of(driver, spec) == "ran\n"


def test_a_link_out_of_the_task_is_not_made_executable(tmp_path):
    spec = task_spec(tmp_path, {"command": "tool"})
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o600)
    (spec.task_dir / "local/tool").symlink_to(outside)

    find_program(spec)

    assert outside.stat().st_mode & 0o777 == 0o600


async def test_a_task_runs_in_its_task_directory_with_its_environment_only(case, driver):
    spec = task_spec(case.base, {"command": "/bin/sh", "args": ["-c", "pwd; echo $MARK; env | wc -l"]})

    said = (await output_of(driver, spec)).split("\n")

    assert said[:2] == [str(spec.task_dir), "marked"]
    assert int(said[2]) <= 5


async def test_work_dir_and_denied_variables_are_honoured(case, driver):
    config = {"command": "sh", "args": ["-c", "pwd; echo [$MARK$MARKET$KEPT]"], "work_dir": "/"}
    env = {"PATH": os.environ["PATH"], "MARK": "a", "MARKET": "b", "KEPT": "c"}
    spec = task_spec(case.base, {**config, "denied_envvars": ["MARK*"]}, env=env)

    assert await output_of(driver, spec) == "/\n[c]\n"


async def test_log_files_follow_the_tasks_log_settings(case, driver):
    config = {"command": "sh", "args": ["-c", "yes 0123456789 | head -c 3500000"]}
    spec = task_spec(case.base, config, log_config=LogConfig(max_files=2, max_file_size_mb=1))

    await (await driver.start(spec, quiet)).wait()

    assert sorted(path.name for path in spec.log_dir.glob("web.stdout.*")) == ["web.stdout.2", "web.stdout.3"]


async def test_limits_are_asked_for_and_a_refusal_is_told(case, driver):
    resources = AllocatedTask(cpu=AllocatedCpu(cpu_shares=100), memory=AllocatedMemory(memory_mb=32, memory_max_mb=64))
    told: list[str] = []

    async def emit(message: str, details: object) -> None:
        told.append(message)

    handle = await driver.start(task_spec(case.base, case.config(Behaviour.RUN), resources=resources), emit)

    limits = handle._handle.limits
    for name in ("memory_bytes", "memory_reserved_bytes", "cpu_shares"):
        assert (name in limits.applied) != (name in limits.missing)
    assert bool(told) == bool(limits.missing)
    if "memory_bytes" in limits.applied:
        assert limits.applied["memory_bytes"] == str(64 << 20)
        assert limits.applied["memory_reserved_bytes"] == str(32 << 20)


async def test_a_task_runs_on_the_cores_that_are_held_for_it_alone(case, driver):
    core = max(os.sched_getaffinity(0))
    resources = AllocatedTask(cpu=AllocatedCpu(cpu_shares=100, reserved_cores=(core,)))
    spec = task_spec(
        case.base, {"command": "grep", "args": ["Cpus_allowed_list", "/proc/self/status"]}, resources=resources
    )

    handle = await driver.start(spec, quiet)

    assert (await handle.wait()).is_success
    assert (spec.log_dir / "web.stdout.0").read_text().split() == ["Cpus_allowed_list:", str(core)]


async def test_cores_that_this_machine_does_not_have_are_told(case, driver):
    told: list[str] = []

    async def emit(message: str, details: object) -> None:
        told.append(message)

    resources = AllocatedTask(cpu=AllocatedCpu(reserved_cores=(1023,)))
    handle = await driver.start(task_spec(case.base, case.config(Behaviour.RUN), resources=resources), emit)

    assert "kernel refused [1023]" in handle._handle.limits.missing["cores"]
    assert told


def test_a_refused_limit_is_worded_for_people():
    assert limits_refused(Limits({"group": "v2"}, {})) == ""
    assert "the memory limit (no such file)" in limits_refused(Limits({}, {"memory_bytes": "no such file"}))
    assert "sets no resource limits for the task: read-only" in limits_refused(
        Limits({}, {"memory_bytes": "x", "group": "read-only"})
    )


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "needs a command"),
        ({"command": ""}, "needs a command"),
        ({"command": "  "}, "needs a command"),
        ({"command": 5}, "needs a command"),
        ({"command": None}, "needs a command"),
        ({"command": "x", "args": "y"}, "args must be a list"),
        ({"command": "x", "args": [["y"]]}, "args must be a list"),
        ({"command": "x 'open"}, "cannot be split into words"),
        ({"command": "x\0y"}, "NUL"),
        ({"command": "x", "args": ["\0"]}, "NUL"),
        ({"command": "x", "work_dir": "relative"}, "work_dir must be an absolute path"),
        ({"command": "x", "oom_score_adj": -1}, "oom_score_adj"),
        ({"command": "x", "oom_score_adj": "high"}, "oom_score_adj"),
        ({"command": "x", "denied_envvars": "A"}, "denied_envvars"),
        ({"command": "x", "image": "y"}, "no option 'image'"),
    ],
)
async def test_a_wrong_config_is_explained_and_refused(case, driver, config, problem):
    assert any(problem in line for line in driver.validate(config))
    with pytest.raises(DriverError, match=problem):
        await driver.start(task_spec(case.base, config), quiet)


async def test_switched_off_it_says_so_and_starts_nothing(case):
    driver = RawExecDriver(ShimHost(), {})

    info = await driver.fingerprint()

    assert (info.detected, info.healthy) == (False, False)
    assert "switched off" in info.health_description
    with pytest.raises(DriverError, match="switched off"):
        await driver.start(task_spec(case.base, {"command": "true"}), quiet)
    await driver.close()


async def test_a_machine_that_cannot_make_shims_is_unhealthy_and_says_why():
    driver = RawExecDriver(ShimHost(python="/no/such/python"), {"enabled": True})

    info = await driver.fingerprint()

    assert (info.detected, info.healthy) == (True, False)
    assert "could not be started" in info.health_description


@pytest.mark.parametrize("plugin", [{"enabeld": True}, {"denied_host_uids": "x"}, {"denied_host_uids": "1-"}])
def test_a_wrong_plugin_config_is_refused(plugin):
    with pytest.raises(DriverError):
        RawExecDriver(ShimHost(), plugin)


async def test_an_unknown_user_is_named(case, driver):
    spec = task_spec(case.base, case.config(Behaviour.SUCCEED), user="no-such-user")

    with pytest.raises(DriverError, match="no user 'no-such-user'"):
        await driver.start(spec, quiet)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_a_task_runs_as_its_user(case, driver):
    spec = task_spec(case.base, {"command": "id", "args": ["-un"], "work_dir": "/"}, user="nobody")

    assert await output_of(driver, spec) == "nobody\n"


@pytest.mark.parametrize("denied", [{"denied_host_uids": "65534"}, {"denied_host_gids": "60000-65535"}])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_a_denied_user_or_group_is_refused(case, denied):
    driver = RawExecDriver(ShimHost(), {"enabled": True, **denied})

    with pytest.raises(DriverError, match="refuses tasks of"):
        await driver.start(task_spec(case.base, {"command": "id"}, user="nobody"), quiet)
    await driver.close()


async def test_no_user_means_the_agents_user_which_may_be_denied(case):
    driver = RawExecDriver(ShimHost(), {"enabled": True, "denied_host_uids": str(os.geteuid())})

    with pytest.raises(DriverError, match=f"refuses tasks of user {os.geteuid()}"):
        await driver.start(task_spec(case.base, {"command": "id"}), quiet)
    await driver.close()


async def test_a_state_that_points_outside_the_task_is_not_followed(case, driver):
    spec = task_spec(case.base, case.config(Behaviour.RUN))

    for place in ("/", "/etc", f"{spec.state_dir}/../..", str(spec.task_dir)):
        assert await driver.recover(spec, {"state_dir": place}) is None


async def test_a_task_is_found_by_its_attempt_when_its_state_was_never_stored(case, driver):
    spec = task_spec(case.base, case.config(Behaviour.RUN))
    handle = await driver.start(spec, quiet)

    found = await driver.recover(spec, {})

    assert found is not None
    assert found.pid == handle.pid


async def test_secrets_of_the_environment_are_not_on_the_command_line(case, driver):
    spec = task_spec(case.base, case.config(Behaviour.RUN), env={"PATH": "/bin:/usr/bin", "TOKEN": "s3cr3t"})
    handle = await driver.start(spec, quiet)
    record = handle._handle.record

    for pid in (record.pid, record.shim_pid):
        await until(lambda pid=pid: Path(f"/proc/{pid}/cmdline").read_bytes())
        assert b"s3cr3t" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert (spec.state_dir / "shim.0").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("config", "argv"),
    [
        ({"command": "a b"}, ["a", "b"]),
        ({"command": "a b", "args": []}, ["a", "b"]),
        ({"command": "a 'b c' \"d e\" f\\ g"}, ["a", "b c", "d e", "f g"]),
        ({"command": "a b", "args": ["c d", 5]}, ["a b", "c d", "5"]),
    ],
)
def test_commands_are_split_like_a_shell_would_quote_them(config, argv):
    assert split_command(config) == argv


def test_ranges_of_ids_are_read():
    assert parse_ranges("") == ()
    assert parse_ranges("0, 10-20") == ((0, 0), (10, 20))


def test_no_user_keeps_the_agents_own():
    assert resolve_user("") == (None, None, [])


def test_a_record_of_a_task_that_never_ran_is_an_error():
    end = exit_of(ExitRecord(None, None, error=StartError("exec", 2, "not found")))

    assert (end.error, end.is_success) == ("not found", False)


def test_an_unknown_end_is_not_a_success():
    assert not exit_of(ExitRecord(None, None, unknown="the shim was killed")).is_success
    assert exit_of(ExitRecord(None, None, unknown="the shim was killed")).code == -1
    assert exit_of(ExitRecord(None, 9)).signal == 9
    assert exit_of(ExitRecord(None, 9)).code == 0


def test_the_registry_makes_it_from_the_agents_configuration(tmp_path):
    drivers = load_drivers(
        data_dir=tmp_path, clock=RealClock(), configs={"raw_exec": {"enabled": True}}, allow=["raw_exec"]
    )

    assert drivers["raw_exec"].name == "raw_exec"


def test_the_registry_explains_a_wrong_plugin_config(tmp_path):
    with pytest.raises(RoveError) as caught:
        load_drivers(data_dir=tmp_path, clock=RealClock(), configs={"raw_exec": {"enabeld": True}}, allow=["raw_exec"])

    assert caught.value.code == "driver.bad_config"
    assert "'enabeld'" in caught.value.why


async def test_a_task_whose_name_is_a_path_is_refused(case, driver):
    spec = task_spec(case.base, {"command": "true"})
    climbing = msgspec.structs.replace(spec, name="../../escape")

    with pytest.raises(DriverError, match="cannot name its log files"):
        await driver.start(climbing, quiet)
