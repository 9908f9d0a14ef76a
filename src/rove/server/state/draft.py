"""One transaction under way: tables that may be written, and a record of what was touched.

A draft is given its index, its time and its randomness, so applying is a pure function of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rove.engine import Change
from rove.structs.base import UnixNs
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job

from . import rows
from .blocks import AllocChange, Block, id_bytes, split
from .fleet import FleetDraft
from .tables import NO_TALLY, Changes, Column, JobKey, Tables, Tally, WatchKey

MAPS = frozenset(
    (
        "nodes",
        "jobs",
        "versions",
        "specs",
        "submissions",
        "kept_counts",
        "evaluations",
        "deployments",
        "blocks",
        "pools",
        "namespaces",
        "scaling",
        "launches",
        "documents",
        "services",
        "services_of_node",
        "tallies",
        "uses",
        "children",
        "blocks_of_job",
        "on_node",
        "block_of_evaluation",
        "moved_of_evaluation",
        "evaluations_of_job",
        "deployments_of_job",
        "ports",
        "marks",
    )
)
"""Tables that are maps; a draft makes a `Column` of each when it is first looked at."""


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
    pools: Column
    namespaces: Column
    scaling: Column
    launches: Column
    documents: Column
    services: Column
    services_of_node: Column
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
        self.changes = Changes(base.changes)
        self.rows: dict[tuple[str, bytes], msgspec.Struct | None] = {}
        self.touched: set[WatchKey] = set()
        self.alloc_nodes: set[str] = set()
        self.new_blocks: list[Block] = []
        self.changed_allocs: dict[int, str] = {}
        """Reference -> event type."""
        self.gone_allocs: dict[str, str] = {}
        """Id -> node."""
        self.events: dict[tuple[str, ...], str] = {}
        """(topic, key...) -> event type, in order."""
        self.gone_jobs: list[Job] = []
        self.dirty_jobs: set[JobKey] = set()
        self.heads: set[JobKey] = set()
        """Jobs whose small row has to be written."""
        self.event_type = ""
        self._moves: dict[str, dict[int, bool]] = {}
        """Evaluation -> allocation taken over by it -> is so, or no longer."""

    def __getattr__(self, name: str) -> Column:
        """A table that is looked at for the first time."""
        if name not in MAPS:
            raise AttributeError(name)
        column = self.__dict__[name] = Column(getattr(self.base, name))
        return column

    def put_row(self, table: str, key: bytes, value: msgspec.Struct) -> None:
        """Write an engine row."""
        self.rows[table, key] = value

    def delete_row(self, table: str, key: bytes) -> None:
        """Delete an engine row."""
        self.rows[table, key] = None

    def mark(self, *keys: WatchKey) -> None:
        """Note that `keys` changed now, where no noun tells by its own modify index."""
        for key in keys:
            if key not in self.touched:
                self.touched.add(key)
                self.marks[key] = self.index

    def note_move(self, evaluation_id: str, reference: int, is_its_own: bool) -> None:
        """An evaluation took an allocation over in place, or lost it to a later one. Listed when all is done."""
        self._moves.setdefault(evaluation_id, {})[reference] = is_its_own

    def _list_moves(self) -> None:
        for evaluation_id, moves in self._moves.items():
            before: tuple[int, ...] = self.moved_of_evaluation.get(evaluation_id, ())
            kept = [reference for reference in before if reference not in moves]
            listed = (*kept, *(reference for reference, is_its_own in moves.items() if is_its_own))
            if listed:
                self.moved_of_evaluation[evaluation_id] = listed
            elif before:
                self.moved_of_evaluation.pop(evaluation_id)
        self._moves.clear()

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
        change = self.changes.at(block, position)
        return None if change is not None and change.gone else (block, position)

    def change_of(self, block: Block, position: int) -> AllocChange:
        """The newest state of an allocation."""
        found = self.changes.at(block, position)
        return found if found is not None else block.first()

    def in_order(self, nouns: Column, ids: tuple[str, ...], new: str) -> tuple[str, ...]:
        """`ids` with the id of a new noun, oldest first; those of one revision in order of id, as when loaded."""
        place = len(ids)
        while place and ids[place - 1] > new and nouns.get(ids[place - 1]).create_index == self.index:
            place -= 1
        return (*ids[:place], new, *ids[place:])

    def open_evaluations(self, key: JobKey) -> list[Evaluation]:
        """Evaluations of a job that have not ended."""
        found = (self.evaluations.get(name) for name in self.evaluations_of_job.get(key, ()))
        return [evaluation for evaluation in found if evaluation is not None and not evaluation.is_terminal]

    def finish(self) -> tuple[Tables, list[Change]]:
        """The new tables and the engine rows."""
        self._list_moves()
        tables = self.base.share()
        tables.index = self.index
        tables.next_block = self.next_block
        tables.configuration = self.configuration
        tables.fleet = self.fleet.finish()
        tables.changes = self.changes.finish()
        for name in MAPS.intersection(self.__dict__):
            setattr(tables, name, self.__dict__[name].finish())
        return tables, rows.encode(self.rows)
