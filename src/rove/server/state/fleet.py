"""All nodes as columns, kept up to date at commit. `FleetView` satisfies `scheduler.view.Fleet`.

A `Fleet` is one revision's: the columns of some earlier revision, and the steps since. Committing adds
steps; the columns are brought up to date when a scheduler looks, or when many steps have piled up. So
ten thousand nodes that register one by one do not copy ten thousand rows each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from immutables import Map

from rove.structs.node import Node
from rove.structs.resources import Usage

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

STEPS_MAX = 128
"""So many steps are carried along at most; looking at a fresh revision takes no longer than these do."""
TAKE_WEIGHT = 8
"""A step that is a whole placement counts as this many."""

NODE_COLUMNS = ("ready", "cpu", "memory", "disk", "max_allocs", "class_of", "datacenter_of", "pool_of")
USAGE_COLUMNS = ("used_cpu", "used_memory", "used_disk", "alloc_count")


class Names:
    """Distinct strings and their numbers, in order of first use. Append-only, shared by snapshots."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of `name`, a new one if it is new."""
        if (number := self._numbers.get(name)) is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number


@dataclass(slots=True)
class FleetView:
    """All nodes as a scheduler sees them; see `scheduler.view.Fleet`.

    `ready`, `used_*` and `alloc_count` are the caller's own to write; the other columns are shared.
    """

    ids: Sequence[str]
    ready: Bools
    cpu: Floats
    memory: Floats
    disk: Floats
    used_cpu: Floats
    used_memory: Floats
    used_disk: Floats
    alloc_count: Ints
    max_allocs: Ints
    class_of: Ints
    classes: Sequence[str]
    class_example: Mapping[int, int]
    datacenter_of: Ints
    datacenters: Sequence[str]
    pool_of: Ints
    pools: Sequence[str]
    rows: Mapping[str, int]

    def row_of(self, node_id: str) -> int | None:
        """The row of a node, or None."""
        return self.rows.get(node_id)


class Columns:
    """One row a node. Never changed once a fleet holds them."""

    __slots__ = ("_examples", "ids", *NODE_COLUMNS, *USAGE_COLUMNS)

    ready: Bools
    cpu: Floats
    memory: Floats
    disk: Floats
    max_allocs: Ints
    class_of: Ints
    datacenter_of: Ints
    pool_of: Ints
    used_cpu: Floats
    used_memory: Floats
    used_disk: Floats
    alloc_count: Ints

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._examples: dict[int, int] | None = None
        self.ready = np.zeros(0, dtype=np.bool_)
        for name in ("cpu", "memory", "disk", "used_cpu", "used_memory", "used_disk"):
            setattr(self, name, np.zeros(0))
        for name in ("max_allocs", "class_of", "datacenter_of", "pool_of", "alloc_count"):
            setattr(self, name, np.zeros(0, dtype=np.int64))

    def examples(self) -> dict[int, int]:
        """A row that has the class, for every class that any node has. Worked out once."""
        if self._examples is None:
            rows = np.flatnonzero(np.array([bool(node_id) for node_id in self.ids], dtype=np.bool_))
            numbers, first = np.unique(self.class_of[rows], return_index=True)
            self._examples = dict(zip(numbers.tolist(), rows[first].tolist(), strict=True))
        return self._examples

    def advanced(self, steps: Sequence[Step], size: int) -> Columns:
        """The columns with `size` rows after `steps`."""
        new = Columns.__new__(Columns)
        touches_nodes = size > len(self.ids) or any(step[0] in ("put", "gone", "ready") for step in steps)
        more = size - len(self.ids)
        new.ids = [*self.ids, *[""] * more] if touches_nodes else self.ids
        new._examples = None if touches_nodes else self._examples
        for name in NODE_COLUMNS:
            column = getattr(self, name)
            setattr(new, name, _grown(column, more) if touches_nodes else column)
        for name in USAGE_COLUMNS:
            setattr(new, name, _grown(getattr(self, name), more))
        for step in steps:
            new._take(step)
        return new

    def _take(self, step: Step) -> None:
        match step:
            case ("used", row, cpu, memory, disk, count):
                self.used_cpu[row] += cpu
                self.used_memory[row] += memory
                self.used_disk[row] += disk
                self.alloc_count[row] += count
            case ("take", rows, cpu, memory, disk, _):
                counts = np.bincount(rows, minlength=len(self.ids))
                self.used_cpu += counts * cpu
                self.used_memory += counts * memory
                self.used_disk += counts * disk
                self.alloc_count += counts
            case ("ready", row, ready, *_):
                self.ready[row] = ready
            case ("gone", row, *_):
                self.ids[row] = ""
                self.ready[row] = False
            case ("put", row, node_id, *values):
                self.ids[row] = node_id
                for name, value in zip(NODE_COLUMNS, values, strict=True):
                    getattr(self, name)[row] = value


Step = tuple[Any, ...]
"""("used", row, MHz, MB, MB, allocations), ("take", rows, MHz, MB, MB, 1), ("ready", row, bool), ("gone", row),
("put", row, id, and a value for each of `NODE_COLUMNS`)."""


def _grown(column: npt.NDArray[Any], more: int) -> npt.NDArray[Any]:
    return np.append(column, np.zeros(more, dtype=column.dtype)) if more else column.copy()


class Fleet:
    """The fleet at one revision. Immutable to those who look; bringing the columns up to date is kept."""

    __slots__ = ("_state", "classes", "datacenters", "pools", "rows", "size")

    def __init__(self, columns: Columns, steps: list[Step], length: int) -> None:
        self._state = (columns, steps, length)
        self.rows: Map[str, int] = Map()
        self.size = 0
        self.classes, self.datacenters, self.pools = Names(), Names(), Names()

    def row_of(self, node_id: str) -> int | None:
        """The row of a node, or None."""
        row: int | None = self.rows.get(node_id)
        return row

    def columns(self) -> Columns:
        """The columns, brought up to date. May be called from any thread: two may do the same work."""
        columns, steps, length = self._state
        if length or len(columns.ids) != self.size:
            columns = columns.advanced(steps[:length], self.size)
            self._state = (columns, [], 0)
        return columns

    def view(self) -> FleetView:
        """The columns for a scheduler."""
        columns = self.columns()
        return FleetView(
            ids=columns.ids,
            ready=columns.ready.copy(),
            cpu=columns.cpu,
            memory=columns.memory,
            disk=columns.disk,
            used_cpu=columns.used_cpu.copy(),
            used_memory=columns.used_memory.copy(),
            used_disk=columns.used_disk.copy(),
            alloc_count=columns.alloc_count.copy(),
            max_allocs=columns.max_allocs,
            class_of=columns.class_of,
            classes=self.classes.names,
            class_example=columns.examples(),
            datacenter_of=columns.datacenter_of,
            datacenters=self.datacenters.names,
            pool_of=columns.pool_of,
            pools=self.pools.names,
            rows=self.rows,
        )


def no_fleet() -> Fleet:
    """A fleet without nodes."""
    return Fleet(Columns(), [], 0)


class FleetDraft:
    """Changes of the fleet within one transaction."""

    def __init__(self, base: Fleet) -> None:
        self._base = base
        self._steps: list[Step] = []
        self._rows = base.rows
        self._size = base.size

    def row_of(self, node_id: str) -> int | None:
        """The row of a node, or None."""
        row: int | None = self._rows.get(node_id)
        return row

    def put(self, node: Node, used: Usage, count: int) -> None:
        """Add a node or refresh its row. used, count: what its allocations take, for a new row.

        Rows of removed nodes are not used again until the store is loaded anew.
        """
        row = self.row_of(node.id)
        if row is None:
            row = self._size
            self._size += 1
            self._rows = self._rows.set(node.id, row)
            if count:
                self._steps.append(("used", row, used.cpu, used.memory_mb, used.disk_mb, count))
        has, kept = node.node_resources, node.reserved_resources
        self._steps.append((
            "put", row, node.id, node.is_ready,
            node.usable_mhz,
            max(0, has.memory.memory_mb - kept.memory.memory_mb),
            max(0, has.disk.disk_mb - kept.disk.disk_mb),
            max(0, node.node_max_allocs),
            self._base.classes.number(node.computed_class),
            self._base.datacenters.number(node.datacenter),
            self._base.pools.number(node.node_pool),
        ))  # fmt: skip

    def set_ready(self, node: Node) -> None:
        """Refresh whether a node takes work."""
        if (row := self.row_of(node.id)) is not None:
            self._steps.append(("ready", row, node.is_ready))

    def remove(self, node_id: str) -> None:
        """Blank a node's row."""
        if (row := self.row_of(node_id)) is not None:
            self._rows = self._rows.delete(node_id)
            self._steps.append(("gone", row))

    def take(self, rows: Ints, usage: Usage) -> None:
        """`usage` more on each row, once for each time that it is named."""
        if len(rows) == 1:
            self.add(int(rows[0]), usage, 1)
        else:
            self._steps.append(("take", rows, usage.cpu, usage.memory_mb, usage.disk_mb, 1))

    def add(self, row: int, usage: Usage, sign: int) -> None:
        """`usage` more (sign 1) or less (sign -1) on one row."""
        self._steps.append(("used", row, sign * usage.cpu, sign * usage.memory_mb, sign * usage.disk_mb, sign))

    def finish(self) -> Fleet:
        """The fleet after this transaction."""
        base = self._base
        if not self._steps and self._size == base.size:
            return base
        columns, steps, length = base._state
        if len(steps) != length:
            steps = steps[:length]  # another revision went on from there, and was rolled back
        steps.extend(self._steps)
        fleet = Fleet(columns, steps, len(steps))
        fleet.rows, fleet.size = self._rows, self._size
        fleet.classes, fleet.datacenters, fleet.pools = base.classes, base.datacenters, base.pools
        takes = sum(1 for step in steps if step[0] == "take")
        if len(steps) + takes * TAKE_WEIGHT > STEPS_MAX:
            fleet.columns()
        return fleet
