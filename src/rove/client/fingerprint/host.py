"""The operating system: kernel, distribution, host name, cgroups, signals."""

from __future__ import annotations

import platform
import signal
import socket
from pathlib import Path


def probe() -> dict[str, str]:
    """Attributes of the operating system."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    attributes = {
        "kernel.name": platform.system().lower(),
        "kernel.version": platform.release(),
        "kernel.arch": platform.machine(),
        "os.name": release.get("ID", platform.system().lower()),
        "os.version": release.get("VERSION_ID", ""),
        "os.signals": ",".join(sorted({item.name for item in signal.Signals})),
        "unique.hostname": socket.gethostname(),
    }
    cgroups = cgroups_version()
    if cgroups:
        attributes["os.cgroups.version"] = cgroups
    landlock = _landlock_version()
    if landlock:
        attributes["kernel.landlock"] = landlock
    return attributes


def cgroups_version() -> str:
    """ "2" where only the unified hierarchy is mounted, "1" for the older or the hybrid one, "" for none."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "2"
    return "1" if Path("/sys/fs/cgroup/memory").exists() else ""


def _landlock_version() -> str:
    try:
        modules = Path("/sys/kernel/security/lsm").read_text()
    except OSError:
        return ""
    return "v1" if "landlock" in modules.split(",") else ""
