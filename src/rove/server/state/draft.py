"""One transaction under way: tables that may be written, and a record of what was touched.

A draft is given its index, its time and its randomness, so applying is a pure function of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rove.engine import Change
from rove.structs.base import UnixNs
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job

from . import rows
from .blocks import AllocChange, Block, id_bytes, split
from .fleet import FleetDraft
from .tables import NO_TALLY, Column, JobKey, Tables, Tally, WatchKey

MAPS = (
    "nodes", "jobs", "versions", "specs", "submissions", "kept_counts", "evaluations", "deployments", "blocks",
    "changes", "pools", "namespaces", "scaling", "launches", "documents", "tallies", "uses", "children",
    "blocks_of_job", "on_node", "block_of_evaluation", "moved_of_evaluation", "evaluations_of_job",
    "deployments_of_job", "ports", "marks",
)  # fmt: skip


class Draft:
    """Writable tables. `finish` gives the new `Tables`; the base stays as it was."""

    nodes: Column
    jobs: Column
    versions: Column
    specs: Column
    submissions: Column
    kept_counts: Column
    evaluations: Column
    deployments: Column
    blocks: Column
    changes: Column
    pools: Column
    namespaces: Column
    scaling: Column
    launches: Column
    documents: Column
    tallies: Column
    uses: Column
    children: Column
    blocks_of_job: Column
    on_node: Column
    block_of_evaluation: Column
    moved_of_evaluation: Column
    evaluations_of_job: Column
    deployments_of_job: Column
    ports: Column
    marks: Column

    def __init__(
        self, base: Tables, index: int, now: UnixNs, random: Callable[[int], bytes] = lambda count: bytes(count)
    ) -> None:
        self.base = base
        self.index = index
        self.now = now
        self.random = random
        self.next_block = base.next_block
        self.configuration = base.configuration
        self.fleet = FleetDraft(base.fleet)
        self.rows: dict[tuple[str, bytes], msgspec.Struct | None] = {}
        self.touched: set[WatchKey] = set()
        self.alloc_nodes: set[str] = set()
        self.new_blocks: list[Block] = []
        self.changed_allocs: dict[int, str] = {}
        """Reference -> event type."""
        self.gone_allocs: list[str] = []
        self.events: dict[tuple[str, ...], str] = {}
        """(topic, key...) -> event type, in order."""
        self.gone_jobs: list[Job] = []
        self.dirty_jobs: set[JobKey] = set()
        self.heads: set[JobKey] = set()
        """Jobs whose small row has to be written."""
        self.event_type = ""
        for name in MAPS:
            setattr(self, name, Column(getattr(base, name)))

    def put_row(self, table: str, key: bytes, value: msgspec.Struct) -> None:
        """Write an engine row."""
        self.rows[table, key] = value

    def delete_row(self, table: str, key: bytes) -> None:
        """Delete an engine row."""
        self.rows[table, key] = None

    def mark(self, *keys: WatchKey) -> None:
        """Note that `keys` changed now, where no noun tells by its own modify index."""
        for key in keys:
            self.marks[key] = self.index
        self.touched.update(keys)

    def tally(self, key: JobKey) -> Tally:
        """The counts of a job."""
        found: Tally = self.tallies.get(key, NO_TALLY)
        return found

    def find_alloc(self, alloc_id: str) -> tuple[Block, int] | None:
        """Block and position of an allocation that is kept."""
        raw = id_bytes(alloc_id)
        if raw is None:
            return None
        number, position = split(int.from_bytes(raw[8:], "big"))
        block: Block | None = self.blocks.get(number)
        if block is None or block.row.ids[position * 16 : position * 16 + 16] != raw:
            return None
        change: AllocChange | None = self.changes.get(block.reference(position))
        return None if change is not None and change.gone else (block, position)

    def change_of(self, block: Block, position: int) -> AllocChange:
        """The newest state of an allocation."""
        found: AllocChange | None = self.changes.get(block.reference(position))
        return found if found is not None else block.first()

    def open_evaluations(self, key: JobKey) -> list[Evaluation]:
        """Evaluations of a job that have not ended."""
        found = (self.evaluations.get(name) for name in self.evaluations_of_job.get(key, ()))
        return [evaluation for evaluation in found if evaluation is not None and not evaluation.is_terminal]

    def finish(self) -> tuple[Tables, list[Change]]:
        """The new tables and the engine rows."""
        tables = self.base.share()
        tables.index = self.index
        tables.next_block = self.next_block
        tables.configuration = self.configuration
        tables.fleet = self.fleet.result
        for name in MAPS:
            column: Column = getattr(self, name)
            setattr(tables, name, column.finish())
        return tables, rows.encode(self.rows)


def without(items: tuple[Any, ...], item: Any) -> tuple[Any, ...]:
    """The tuple without `item`."""
    return tuple(other for other in items if other != item)
