"""A task that cannot be started says why, and nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from rove.client.shim.host import ShimHost
from rove.client.shim.link import ShimError


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["no-such-program"], "'no-such-program' was not found in any directory of PATH"),
        (["/no/such/program"], "'/no/such/program' was not found"),
        (["/"], "is a directory"),
        (["./plain"], "not marked executable"),
        (["./broken"], "interpreter or loader it names is not"),
        (["./text"], "format that this machine cannot execute"),
        ([""], "there is no command"),
        (["true", "a\0b"], "cannot be passed on"),
    ],
)
async def test_a_program_that_cannot_run_is_named_with_the_reason(place, host, argv, said):
    (place.base / "plain").write_text("x")
    for name, text in (("broken", "#!/no/such/interpreter\n"), ("text", "just words")):
        (place.base / name).write_text(text)
        (place.base / name).chmod(0o755)

    with pytest.raises(ShimError) as caught:
        await host.launch(place.spec("web", *argv))

    assert said in caught.value.what
    assert not caught.value.recoverable


async def test_a_missing_working_directory_is_named(place, host):
    with pytest.raises(ShimError, match="cannot enter the working directory '/no/such/place'"):
        await host.launch(place.spec("web", "true", cwd="/no/such/place"))


async def test_a_missing_log_directory_is_named(place, host):
    with pytest.raises(ShimError, match="/no/such/logs"):
        await host.launch(place.spec("web", "true", log_dir="/no/such/logs"))


async def test_a_log_directory_that_is_a_link_is_refused(place, host, tmp_path):
    (tmp_path / "link").symlink_to("/tmp")

    with pytest.raises(ShimError, match="link"):
        await host.launch(place.spec("web", "true", log_dir=str(tmp_path / "link")))


async def test_a_state_directory_that_cannot_be_written_is_an_error_that_may_pass(place, host):
    (place.base / "file").write_text("in the way")

    with pytest.raises(ShimError, match="state directory cannot be written") as caught:
        await host.launch(place.spec("web", "true", state_dir=str(place.base / "file" / "state")))

    assert caught.value.recoverable


async def test_a_task_that_runs_is_not_started_twice(place, host, is_alive):
    handle = await host.launch(place.spec("web", "sleep", "1000"))

    with pytest.raises(ShimError, match="runs already"):
        await host.launch(place.spec("web", "sleep", "1000"))

    assert is_alive(handle.pid)


async def test_of_two_starts_at_once_one_wins(place, host):
    spec = place.spec("web", "sleep", "1000")

    results = await asyncio.gather(host.launch(spec), host.launch(spec), return_exceptions=True)

    assert sorted(isinstance(result, ShimError) for result in results) == [False, True]


async def test_a_task_that_never_ran_says_so_to_the_next_agent(place, host):
    with pytest.raises(ShimError):
        await host.launch(place.spec("web", "no-such-program"))

    handle = await host.adopt(place.state("web"))

    assert handle is not None
    record = await handle.wait()
    assert record.error is not None
    assert "no-such-program" in record.error.text


async def test_a_task_can_be_started_again_in_the_same_place(place, host):
    for code in (1, 2, 3):
        handle = await host.launch(place.spec("web", "sh", "-c", f"exit {code}"))
        assert (await handle.wait()).code == code


async def test_a_zygote_that_cannot_start_is_explained(place, tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho broken installation >&2\nexit 3\n")
    fake.chmod(0o755)
    host = ShimHost(python=str(fake))

    with pytest.raises(ShimError, match="broken installation"):
        await host.warm()
    with pytest.raises(ShimError, match="could not be started"):
        await ShimHost(python="/no/such/python").warm()


async def test_the_task_inherits_nothing_but_its_own_descriptors_and_environment(place, host):
    handle = await host.launch(place.spec("web", "sh", "-c", "ls -l /proc/self/fd | wc -l; env | sort", env={"A": "1"}))
    await handle.wait()

    lines = place.log("web").decode().split("\n")
    assert int(lines[0]) <= 5  # a heading, 0, 1, 2, and the directory that ls itself reads
    assert [line for line in lines if line.startswith("A=")] == ["A=1"]
    assert not any("PYTHON" in line or "LC_ALL" in line for line in lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_a_task_runs_as_the_user_it_was_given(place, host):
    handle = await host.launch(
        place.spec("web", "sh", "-c", "id -u; id -g; id -G", uid=65534, gid=65534, groups=[65534], cwd="/")
    )
    await handle.wait()

    assert place.log("web") == b"65534\n65534\n65534\n"


async def test_limits_of_the_process_are_set_before_it_runs(place, host):
    handle = await host.launch(
        place.spec("web", "sh", "-c", "ulimit -n; umask", rlimits=[("nofile", 77, 77)], umask=0o027)
    )
    await handle.wait()

    assert place.log("web") == b"77\n0027\n"


def test_the_zygote_loads_only_the_standard_library_and_the_shim():
    import subprocess
    from pathlib import Path

    import rove

    code = (
        f"import sys; sys.path.insert(0, {str(Path(rove.__file__).parent.parent)!r}); "
        "import rove.client.shim.zygote; print(chr(10).join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    ours = {name for name in loaded if name.startswith("rove")}
    strangers = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"rove", "__main__"}

    assert strangers == set()
    assert all(name in ("rove", "rove.client") or name.startswith("rove.client.shim") for name in ours)
    assert not {"asyncio", "logging", "subprocess", "msgspec"} & set(loaded)
