"""What a commit changed, for those who act on it: loops, watchers, the event stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rove.structs.alloc import Allocation
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job
from rove.structs.node import Node

from .blocks import Block, split
from .draft import Draft
from .fleet import no_fleet
from .snapshot import Snapshot
from .tables import Tables, WatchKey
from .transactions import Transaction

NO_FLEET = no_fleet()


class Committed:
    """A transaction that is durable.

    revision, transaction: which. before, snapshot: the states around it. touched: watch keys (those of
    ``allocs.node`` are told by `alloc_nodes`). alloc_nodes: nodes whose allocations changed.
    """

    def __init__(self, draft: Draft, transaction: Transaction, before: Tables, after: Tables) -> None:
        self.revision = draft.index
        self.transaction = transaction
        self.before = Snapshot(before)
        self.snapshot = Snapshot(after)
        self.touched: frozenset[WatchKey] | set[WatchKey] = draft.touched
        self.alloc_nodes: frozenset[str] = frozenset(draft.alloc_nodes)
        self.new_blocks: Sequence[Block] = draft.new_blocks
        self.changed_allocs: Mapping[int, str] = draft.changed_allocs
        self.gone_allocs: Mapping[str, str] = draft.gone_allocs
        """Allocations that were collected: id -> node."""
        self.gone_jobs: Sequence[Job] = draft.gone_jobs
        self.named: Mapping[tuple[str, ...], str] = draft.events
        """(topic, key...) -> event type."""

    def without_fleet(self) -> Committed:
        """The same, without the fleet's columns, for those who keep it: they are the bulk of what is not shared."""
        other = Committed.__new__(Committed)
        other.__dict__.update(self.__dict__)
        for name in ("before", "snapshot"):
            tables = getattr(self, name)._tables.share()
            tables.fleet = NO_FLEET
            setattr(other, name, Snapshot(tables))
        return other

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Evaluations that were stored, in their newest state; those deleted are left out."""
        found = (self.snapshot.evaluation(key[1]) for key in self.named if key[0] == "Evaluation")
        return tuple(evaluation for evaluation in found if evaluation is not None)

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """Deployments that were stored."""
        found = (self.snapshot.deployment(key[1]) for key in self.named if key[0] == "Deployment")
        return tuple(deployment for deployment in found if deployment is not None)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Nodes that were stored."""
        found = (self.snapshot.node(key[1]) for key in self.named if key[0] == "Node")
        return tuple(node for node in found if node is not None)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Jobs that were stored, or whose status changed."""
        found = (self.snapshot.job(key[1], key[2]) for key in self.touched if key[0] == "job")
        return tuple(job for job in found if job is not None)

    @property
    def deleted_jobs(self) -> tuple[tuple[str, str], ...]:
        """(namespace, id) of jobs that are gone."""
        return tuple(job.key for job in self.gone_jobs if self.snapshot.job(*job.key) is None)

    def created_allocs(self) -> Iterator[Allocation]:
        """The allocations that were placed, made on the spot."""
        for block in self.new_blocks:
            yield from self.snapshot._of_block(block)

    def updated_allocs(self) -> Iterator[Allocation]:
        """The allocations that changed and are not new, made on the spot."""
        for block, position in self.changed():
            yield self.snapshot._make(block, position)

    def allocs(self) -> Iterator[Allocation]:
        """Both."""
        yield from self.created_allocs()
        yield from self.updated_allocs()

    def assigned(self) -> dict[str, list[str]]:
        """By node: ids of the allocations that the server placed there or wants something new of.

        A node's own reports are not among them. Costs much less than `allocs`.
        """
        found: dict[str, list[str]] = {}
        for block in self.new_blocks:
            for position in range(len(block)):
                found.setdefault(block.node_of(position), []).append(block.id_of(position))
        tables = self.snapshot._tables
        for block, position in self.changed():
            change = tables.change_at(block, position)
            if change is not None and change.alloc_modify_index == self.revision:
                found.setdefault(block.node_of(position), []).append(block.id_of(position))
        return found

    def ended_nodes(self) -> frozenset[str]:
        """Nodes on which an allocation ended (client-terminal) with this commit, so that there is room."""
        before, after = self.before._tables, self.snapshot._tables
        ended = set()
        for block, position in self.changed():
            old, new = before.change_at(block, position), after.change_at(block, position)
            if new is not None and new.is_client_terminal and not (old is not None and old.is_client_terminal):
                ended.add(block.node_of(position))
        return frozenset(ended)

    def changed(self) -> Iterator[tuple[Block, int]]:
        """Block and position of each allocation that changed and is not new."""
        new = {block.number for block in self.new_blocks}
        blocks = self.snapshot._tables.blocks
        for reference in self.changed_allocs:
            number, position = split(reference)
            if number in new or (block := blocks.get(number)) is None:
                continue
            change = self.snapshot._tables.change_at(block, position)
            if change is not None and not change.gone:
                yield block, position
