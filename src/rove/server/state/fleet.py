"""All nodes as columns, kept up to date at commit. `FleetView` satisfies `scheduler.view.Fleet`.

Columns are never changed once a snapshot holds them: a `FleetDraft` copies what it is about to write,
once a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from immutables import Map

from rove.structs.node import Node
from rove.structs.resources import Usage

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


NODE_COLUMNS = ("ready", "cpu", "memory", "disk", "class_of", "datacenter_of", "pool_of")
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
    class_of: Ints
    classes: Sequence[str]
    class_example: Mapping[int, int]
    datacenter_of: Ints
    datacenters: Sequence[str]
    pool_of: Ints
    pools: Sequence[str]
    rows: Map[str, int]

    def row_of(self, node_id: str) -> int | None:
        """The row of a node, or None."""
        row: int | None = self.rows.get(node_id)
        return row


class FleetColumns:
    """One row a node, as the tables hold it."""

    __slots__ = (
        "_class_example", "_class_names", "_datacenter_names", "_pool_names", "_rows", "alloc_count", "class_of",
        "cpu", "datacenter_of", "disk", "ids", "memory", "pool_of", "ready", "used_cpu", "used_disk",
        "used_memory",
    )  # fmt: skip

    def __init__(self) -> None:
        self.ids: Sequence[str] = ()
        self._rows: Map[str, int] = Map()
        self._class_names, self._datacenter_names, self._pool_names = Names(), Names(), Names()
        self._class_example: dict[int, int] | None = {}
        self.ready: Bools = np.zeros(0, dtype=np.bool_)
        self.cpu: Floats = np.zeros(0)
        self.memory: Floats = np.zeros(0)
        self.disk: Floats = np.zeros(0)
        self.used_cpu: Floats = np.zeros(0)
        self.used_memory: Floats = np.zeros(0)
        self.used_disk: Floats = np.zeros(0)
        self.alloc_count: Ints = np.zeros(0, dtype=np.int64)
        self.class_of: Ints = np.zeros(0, dtype=np.int64)
        self.datacenter_of: Ints = np.zeros(0, dtype=np.int64)
        self.pool_of: Ints = np.zeros(0, dtype=np.int64)

    def examples(self) -> dict[int, int]:
        """A row that has the class, for every class that any node has. Worked out once."""
        if self._class_example is None:
            rows = np.flatnonzero(np.array([bool(node_id) for node_id in self.ids], dtype=np.bool_))
            numbers, first = np.unique(self.class_of[rows], return_index=True)
            self._class_example = dict(zip(numbers.tolist(), rows[first].tolist(), strict=True))
        return self._class_example

    def row_of(self, node_id: str) -> int | None:
        """The row of a node, or None."""
        row: int | None = self._rows.get(node_id)
        return row

    def view(self) -> FleetView:
        """The columns for a scheduler."""
        return FleetView(
            ids=self.ids,
            ready=self.ready.copy(),
            cpu=self.cpu,
            memory=self.memory,
            disk=self.disk,
            used_cpu=self.used_cpu.copy(),
            used_memory=self.used_memory.copy(),
            used_disk=self.used_disk.copy(),
            alloc_count=self.alloc_count.copy(),
            class_of=self.class_of,
            classes=self._class_names.names,
            class_example=self.examples(),
            datacenter_of=self.datacenter_of,
            datacenters=self._datacenter_names.names,
            pool_of=self.pool_of,
            pools=self._pool_names.names,
            rows=self._rows,
        )

    def share(self) -> FleetColumns:
        """The same columns, none copied."""
        other = FleetColumns.__new__(FleetColumns)
        for name in FleetColumns.__slots__:
            setattr(other, name, getattr(self, name))
        return other


class FleetDraft:
    """Changes of the fleet within one transaction. `result` is a new `FleetColumns`, or the old one."""

    def __init__(self, base: FleetColumns) -> None:
        self.result = base
        self._base = base
        self._owns_nodes = False
        self._owns_usage = False

    def put(self, node: Node, used: Usage, count: int) -> None:
        """Add a node or refresh its row. used, count: what its allocations take, for a new row."""
        columns = self._own_nodes()
        row = columns.row_of(node.id)
        if row is None:
            row = self._append(node.id)
            columns.used_cpu[row], columns.used_memory[row] = used.cpu, used.memory_mb
            columns.used_disk[row], columns.alloc_count[row] = used.disk_mb, count
        has, kept = node.node_resources, node.reserved_resources
        columns.ready[row] = node.is_ready
        columns.cpu[row] = max(0, has.cpu.cpu_shares - kept.cpu.cpu_shares)
        columns.memory[row] = max(0, has.memory.memory_mb - kept.memory.memory_mb)
        columns.disk[row] = max(0, has.disk.disk_mb - kept.disk.disk_mb)
        columns.class_of[row] = columns._class_names.number(node.computed_class)
        columns.datacenter_of[row] = columns._datacenter_names.number(node.datacenter)
        columns.pool_of[row] = columns._pool_names.number(node.node_pool)
        columns._class_example = None

    def reserve(self, node_ids: Sequence[str]) -> None:
        """Rows for many new nodes at once, as when loading; `put` fills them in."""
        columns = self._own()
        first, count = len(columns.ids), len(node_ids)
        columns.ids = (*columns.ids, *node_ids)
        with_rows = columns._rows.mutate()
        for row, node_id in enumerate(node_ids, first):
            with_rows[node_id] = row
        columns._rows = with_rows.finish()
        self._grow(count)

    def set_ready(self, node: Node) -> None:
        """Refresh whether a node takes work."""
        row = self.result.row_of(node.id)
        if row is not None and bool(self.result.ready[row]) != node.is_ready:
            self._own_nodes().ready[row] = node.is_ready

    def remove(self, node_id: str) -> None:
        """Blank a node's row. Rows are not used again until the store is loaded anew."""
        row = self.result.row_of(node_id)
        if row is None:
            return
        columns = self._own_nodes()
        ids = list(columns.ids)
        ids[row] = ""
        columns.ids = ids
        columns._rows = columns._rows.delete(node_id)
        columns.ready[row] = False
        columns._class_example = None

    def take(self, rows: Ints, usage: Usage) -> None:
        """`usage` more on each row, once for each time that it is named."""
        columns = self._own_usage()
        if len(rows) == 1:
            self.add(int(rows[0]), usage, 1)
            return
        counts = np.bincount(rows, minlength=len(columns.ids))
        columns.used_cpu += counts * usage.cpu
        columns.used_memory += counts * usage.memory_mb
        columns.used_disk += counts * usage.disk_mb
        columns.alloc_count += counts

    def add(self, row: int, usage: Usage, sign: int) -> None:
        """`usage` more (sign 1) or less (sign -1) on one row."""
        columns = self._own_usage()
        columns.used_cpu[row] += sign * usage.cpu
        columns.used_memory[row] += sign * usage.memory_mb
        columns.used_disk[row] += sign * usage.disk_mb
        columns.alloc_count[row] += sign

    def exchange(self, row: int, old: Usage, new: Usage) -> None:
        """An allocation on `row` holds `new` instead of `old`."""
        columns = self._own_usage()
        columns.used_cpu[row] += new.cpu - old.cpu
        columns.used_memory[row] += new.memory_mb - old.memory_mb
        columns.used_disk[row] += new.disk_mb - old.disk_mb

    def _own(self) -> FleetColumns:
        if self.result is self._base:
            self.result = self._base.share()
        return self.result

    def _own_nodes(self) -> FleetColumns:
        columns = self._own()
        if not self._owns_nodes:
            self._owns_nodes = True
            for name in NODE_COLUMNS:
                setattr(columns, name, getattr(columns, name).copy())
        return columns

    def _own_usage(self) -> FleetColumns:
        columns = self._own()
        if not self._owns_usage:
            self._owns_usage = True
            for name in USAGE_COLUMNS:
                setattr(columns, name, getattr(columns, name).copy())
        return columns

    def _append(self, node_id: str) -> int:
        columns = self.result
        row = len(columns.ids)
        columns.ids = (*columns.ids, node_id)
        columns._rows = columns._rows.set(node_id, row)
        self._grow(1)
        return row

    def _grow(self, count: int) -> None:
        columns = self._own()
        for name in (*NODE_COLUMNS, *USAGE_COLUMNS):
            column = getattr(columns, name)
            setattr(columns, name, np.append(column, np.zeros(count, dtype=column.dtype)))
        self._owns_nodes = self._owns_usage = True
