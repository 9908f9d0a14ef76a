"""Finds task drivers: the built-in ones and those installed under the entry point group ``rove.drivers``.

A driver module is imported only when a node offers it, so that an agent without docker never pays for
the docker library. What is registered is a factory: ``Callable[[DriverContext], Driver]``.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from rove.errors import RoveError
from rove.ports import Clock

from .base import Driver

GROUP = "rove.drivers"

BUILT_IN = {
    "raw_exec": "rove.client.drivers.raw_exec:create",
    "docker": "rove.client.drivers.docker:create",
    "mock_driver": "rove.client.drivers.mock:create",
}
"""Factories by driver name, as "module:attribute"."""

log = logging.getLogger(__name__)


class DriverContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver may know of its node. config: its plugin block; state_dir: its own directory."""

    name: str
    config: dict[str, Any]
    state_dir: Path
    node_id: str
    node_name: str
    clock: Clock
    options: dict[str, str] = {}
    cgroup_parent: str = "rove"


Factory = Callable[[DriverContext], Driver]


def load_drivers(
    *,
    data_dir: Path,
    clock: Clock,
    node_id: str = "",
    node_name: str = "",
    configs: dict[str, dict[str, Any]] | None = None,
    options: dict[str, str] | None = None,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    cgroup_parent: str = "rove",
) -> dict[str, Driver]:
    """Make every driver that may be used here, by name. One that cannot be imported is named in the log.

    data_dir: each driver gets ``<data_dir>/drivers/<name>`` for what outlives the agent.
    configs: plugin configuration by driver name. allow empty: all but `deny`.
    """
    allowed, denied = set(allow), set(deny)
    drivers: dict[str, Driver] = {}
    for name, target in sorted(_known(configs or {}).items()):
        if (allowed and name not in allowed) or name in denied:
            continue
        context = DriverContext(
            name=name, config=(configs or {}).get(name, {}), state_dir=data_dir / "drivers" / name, clock=clock,
            node_id=node_id, node_name=node_name, options=options or {}, cgroup_parent=cgroup_parent,
        )  # fmt: skip
        try:
            drivers[name] = _resolve(target)(context)
        except ImportError as error:
            log.warning("driver %s is not available: %s", name, error)
    return drivers


def _known(configs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Targets by name. The mock driver is a tool for tests: it has to be asked for by a plugin block."""
    known = {entry.name: entry.value for entry in metadata.entry_points(group=GROUP)}
    known.update(BUILT_IN)
    if "mock_driver" not in configs:
        known.pop("mock_driver")
    return known


def _resolve(target: str) -> Factory:
    module, _, attribute = target.partition(":")
    try:
        factory: Factory = getattr(importlib.import_module(module), attribute)
    except AttributeError:
        raise RoveError(
            "driver.no_factory", f'driver entry point "{target}" was not loaded', f"{module} has no {attribute}",
            'name a callable that takes a DriverContext, as "module:create"',
        ) from None  # fmt: skip
    return factory
