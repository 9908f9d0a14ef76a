"""What every test may use: a real component, or a plain word why it is missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICES_DIR = Path(tempfile.gettempdir()) / "rove-test-services"
DOCKER_SOCKET = "/var/run/docker.sock"


def require(available: object, reason: str) -> None:
    """Skip the test if a component is missing; in CI that is a failure, so that nothing goes untested."""
    if available:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI has to have it: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def needs_root() -> None:
    """The test has to be run by root."""
    require(os.geteuid() == 0, "has to be run by root")


def _docker_answers() -> bool:
    done = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    return done.returncode == 0


def _start_dockerd() -> str:
    """Start the one engine of this machine and leave it running; '' or what went wrong."""
    if os.geteuid() != 0:
        return "no Docker engine is running, and only root can start one"
    if not shutil.which("dockerd"):
        return "dockerd is not installed (Debian: docker.io)"
    SERVICES_DIR.mkdir(exist_ok=True)
    log = SERVICES_DIR / "dockerd.log"
    for stale in (Path("/var/run/docker.pid"), Path(DOCKER_SOCKET)):
        stale.unlink(missing_ok=True)
    command = [
        "dockerd",
        "--data-root",
        str(SERVICES_DIR / "docker"),
        "-H",
        f"unix://{DOCKER_SOCKET}",
        "--live-restore",
    ]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if _docker_answers():
            return ""
        if process.poll() is not None:
            break
        time.sleep(0.1)
    tail = log.read_text(errors="replace").splitlines()[-3:]
    return "dockerd did not start: " + " | ".join(tail)


@pytest.fixture(scope="session")
def docker_engine() -> str:
    """The socket of a real Docker engine; started if none runs. One engine a machine, guarded by a lock."""
    import fcntl

    if not shutil.which("docker"):
        require(False, "the docker command is not installed (Debian: docker.io)")
    lock_path = Path(tempfile.gettempdir()) / f"rove-test-docker-{os.geteuid()}.lock"
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _docker_answers():
            problem = _start_dockerd()
            require(not problem, problem)
    return DOCKER_SOCKET


@pytest.fixture(scope="session")
def busybox_image(docker_engine: str) -> str:
    """A small image made on this machine from its own busybox."""
    name = "rove-test/busybox:1"
    known = subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False)
    if known.returncode == 0:
        return name
    require(Path("/bin/busybox").exists(), "no /bin/busybox (Debian: busybox-static)")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "bin").mkdir()
        shutil.copy("/bin/busybox", root / "bin" / "busybox")
        for applet in (
            "sh",
            "httpd",
            "sleep",
            "cat",
            "echo",
            "ls",
            "env",
            "nc",
            "true",
            "false",
            "id",
            "dd",
            "yes",
            "kill",
        ):
            (root / "bin" / applet).symlink_to("busybox")
        (root / "tmp").mkdir()
        (root / "etc").mkdir()
        (root / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n")
        tar = subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(
            ["docker", "import", "--change", 'CMD ["/bin/sh"]', "-", name],
            stdin=tar.stdout,
            check=True,
            capture_output=True,
        )
        tar.wait()
    return name


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def image_registry(docker_engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real, empty image registry (docker-registry)."""
    require(shutil.which("docker-registry"), "docker-registry is not installed (Debian: docker-registry)")
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            require(False, "docker-registry did not listen")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def rove_command() -> list[str]:
    """The command line program, as an argument vector."""
    return [sys.executable, "-m", "rove"]
