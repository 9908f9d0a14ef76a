"""Host volumes: which directories of the node a task sees. Pure apart from the check that they exist."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rove.client.drivers.base import Capabilities, Mount
from rove.client.taskrunner.env import Scope
from rove.structs.job import Task, TaskGroup
from rove.structs.node import HostVolume

from .base import HookError


def host_mounts(
    group: TaskGroup, task: Task, offered: Mapping[str, HostVolume], can: Capabilities, scope: Scope
) -> tuple[Mount, ...]:
    """The mounts a task asks for. Raises `HookError` if one cannot be had here."""
    mounts: list[Mount] = []
    for wish in task.volume_mounts:
        name = scope.text(wish.volume)
        request = group.volumes.get(name)
        if request is None:
            raise HookError(f'volume_mount names volume "{name}", which group "{group.name}" does not declare')
        if request.type != "host":
            raise HookError(f'volume "{name}" is of type "{request.type}"; this node offers host volumes only')
        if not can.mounts:
            raise HookError(f'driver "{task.driver}" cannot mount volumes')
        volume = offered.get(request.source)
        if volume is None:
            raise HookError(f'this node offers no host volume "{request.source}"')
        if not os.path.isdir(volume.path):
            raise HookError(f'host volume "{request.source}": {volume.path} is not a directory', recoverable=True)
        read_only = wish.read_only or request.read_only or volume.read_only
        mounts.append(
            Mount(
                host_path=volume.path,
                task_path=wish.destination,
                read_only=read_only,
                propagation=wish.propagation_mode or "private",
            )
        )
    return tuple(mounts)
