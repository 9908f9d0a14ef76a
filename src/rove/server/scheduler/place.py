"""Placing the copies that reconciling asks for: the greedy best node for each, all nodes considered."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from rove.structs.alloc import Allocation, AllocMetric, Desired, NodeScore, RescheduleTracker
from rove.structs.job import Job, TaskGroup
from rove.structs.plan import AllocStop, Placement
from rove.structs.resources import AllocatedPort, AllocatedResources

from .asks import Ask, ask_of
from .columns import Candidates, candidates, picker_for
from .decision import PREEMPTED, GroupDecision, Request
from .feasible import Feasible, base_mask, datacenter_matches, feasible
from .ledger import MAX_ALLOCS, Given, Ledger
from .metrics import NOTHING_MORE, base_metric, exhausted, node_score, top_scores
from .picker import NOWHERE, Picker, best_penalised
from .preempt import Preemptor
from .score import PENALTY, PREEMPTION
from .view import Bools, Ints

SCORED_MAX = 10
"""Copies of one block whose scores are kept part by part. More than these are placed in one go: only sums are kept."""


@dataclass(slots=True)
class Block:
    """Copies of one group, version and kind, growing column by column."""

    job: Job
    group: str
    canary: bool
    resources: AllocatedResources
    rows: list[int] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    own: dict[int, AllocatedResources] = field(default_factory=dict)
    ports: dict[int, tuple[AllocatedPort, ...]] = field(default_factory=dict)
    previous: dict[int, str] = field(default_factory=dict)
    trackers: dict[int, RescheduleTracker] = field(default_factory=dict)
    preempted: dict[int, tuple[str, ...]] = field(default_factory=dict)
    scored: dict[int, NodeScore] = field(default_factory=dict)
    metrics: AllocMetric | None = None

    def add(self, row: int, index: int, score: float, given: Given | None = None) -> int:
        """One more copy; returns its position in the block."""
        position = len(self.rows)
        self.rows.append(row)
        self.indexes.append(index)
        self.scores.append(score)
        if given is not None:
            if given.ports:
                self.ports[position] = given.ports
            if given.resources is not None:
                self.own[position] = given.resources
        return position

    def placement(self, ids: Sequence[str], eval_id: str, deployment_id: str) -> Placement:
        """The block as a plan carries it."""
        rows: Ints = np.array(self.rows, dtype=np.int64)
        distinct, numbers = np.unique(rows, return_inverse=True)
        return Placement(
            namespace=self.job.namespace, job_id=self.job.id, job_version=self.job.version,
            group=self.group, eval_id=eval_id, deployment_id=deployment_id, canary=self.canary,
            node_ids=tuple(ids[row] for row in distinct.tolist()),
            nodes=numbers.reshape(-1).astype("<i4").tobytes(), indexes=np.array(self.indexes, "<i4").tobytes(),
            scores=array("f", self.scores).tobytes(), resources=self.resources, own_resources=self.own,
            ports=self.ports, previous=self.previous, trackers=self.trackers, preempted=self.preempted,
            scored=self.scored, metrics=self.metrics,
        )  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What placing one group came to."""

    blocks: list[Block] = field(default_factory=list)
    stops: list[AllocStop] = field(default_factory=list)
    unplaced: int = 0
    failed: AllocMetric | None = None
    class_eligibility: dict[str, bool] = field(default_factory=dict)
    escaped: bool = False
    refused: list[Request] = field(default_factory=list)
    victims: list[Allocation] = field(default_factory=list)


class Placer:
    """Places groups of one job one after the other, on one ledger."""

    def __init__(self, job: Job, ledger: Ledger, live: Sequence[Allocation], preempts: bool, spread: bool) -> None:
        """live: allocations of the job that neither are terminal nor stop with certainty in this plan."""
        self.job = job
        self.ledger = ledger
        self.live = {alloc.id: alloc for alloc in live}
        self.preempts = preempts
        self.spread = spread
        self.oversubscribes = ledger.view.scheduler_configuration().memory_oversubscription_enabled
        self.placed: dict[str, Counter[int]] = {}
        self._bases: dict[str, Bools] = {}
        self.shift = int(ledger.rng.random() * max(len(ledger.fleet.ids), 1))

    def ask(self, job: Job, group: TaskGroup) -> Ask:
        """What a copy asks for under the cluster's rules."""
        return ask_of(job, group, oversubscribes=self.oversubscribes)

    def base(self, ask: Ask) -> Bools:
        """Ready nodes in the job's datacenters and pool."""
        key = f"{ask.job.node_pool}/{','.join(ask.job.datacenters)}"
        if key not in self._bases:
            self._bases[key] = base_mask(ask, self.ledger.fleet)
        return self._bases[key]

    def place(self, name: str, decision: GroupDecision) -> Outcome:
        """Find nodes for what `decision` wants of the group `name`."""
        outcome = Outcome()
        versions: dict[int, Job] = {}
        requests: dict[int, list[Request]] = {}
        if decision.plain:
            versions[self.job.version] = self.job
        for request in sorted(decision.requests, key=lambda request: not request.canary):
            versions.setdefault(request.job.version, request.job)
            requests.setdefault(request.job.version, []).append(request)
        for version, job in versions.items():
            group = job.group(name)
            if group is None:
                continue
            ask = self.ask(job, group)
            plain = decision.plain if job is self.job else []
            wanted = requests.get(version, [])
            if any(volume.per_alloc for volume in ask.volumes):
                wanted = [*wanted, *(Request(index, job) for index in plain)]
                for request in wanted:
                    self._place_version(ask, [request], [], outcome, request.index)
            else:
                self._place_version(ask, wanted, plain, outcome)
        return outcome

    def _place_version(
        self, ask: Ask, requests: list[Request], plain: list[int], outcome: Outcome, index: int = 0
    ) -> None:
        if requests or plain:
            found = feasible(ask, self.ledger.view, self.ledger.fleet, self.base(ask), index)
            Run(self, ask, found, outcome).run(requests, plain)


class Run:
    """Placing copies of one group and one version."""

    def __init__(self, placer: Placer, ask: Ask, found: Feasible, outcome: Outcome) -> None:
        self.placer = placer
        self.ledger = placer.ledger
        self.ask = ask
        self.found = found
        self.outcome = outcome
        self.noted: dict[int, str] = {}
        self.holders: Counter[int] = Counter()
        """With distinct_hosts: by row, the copies that keep others away."""
        self.blocks: dict[bool, Block] = {}
        self.metric = base_metric(ask, found, self.ledger)
        self.failures = 0
        self.preemptor: Preemptor | None = None
        live = [alloc for alloc in placer.live.values() if alloc.id not in self.ledger.freed]
        name = ask.group.name
        fleet = self.ledger.fleet
        copies: Counter[int] = Counter(placer.placed.get(name, ()))
        for alloc in live:
            if alloc.task_group == name:
                row = fleet.row_of(alloc.node_id)
                if row is not None:
                    copies[row] += 1
        self.chosen: Candidates = candidates(ask, found, self.ledger, copies, placer.shift, placer.spread)
        self.picker: Picker = picker_for(ask, self.chosen, self.ledger, live, placer.placed)
        if ask.distinct_hosts:
            self._keep_hosts_distinct(live, copies)

    def _keep_hosts_distinct(self, live: list[Allocation], copies: Counter[int]) -> None:
        self.holders = Counter(copies)
        if self.ask.distinct_hosts == "job":
            found = (self.ledger.fleet.row_of(alloc.node_id) for alloc in live)
            self.holders = Counter(row for row in found if row is not None)
            for by_row in self.placer.placed.values():
                self.holders.update(by_row)
        for row, many in self.holders.items():
            if many:
                self._rule_out(row)

    def _rule_out(self, row: int) -> None:
        position = self.chosen.position_of(row)
        if position >= 0:
            self.picker.drop(position)
            self.noted[position] = "distinct_hosts"

    def _hold(self, row: int) -> None:
        """A copy was placed there: with distinct_hosts nobody else may go."""
        if self.ask.distinct_hosts:
            self.holders[row] += 1
            self._rule_out(row)

    def run(self, requests: list[Request], plain: list[int]) -> None:
        self.metric = msgspec.structs.replace(
            self.metric, score_meta_data=top_scores(self.chosen, self.picker, self.ledger)
        )
        for request in requests:
            self._place_request(request)
        if plain:
            if self.ask.needs_detail or self.ledger.has_caps or 1 < len(plain) <= SCORED_MAX:
                self._place_plain(plain)
            else:
                self._fill(plain)
        for block in self.blocks.values():
            block.metrics = self.metric
            self.outcome.blocks.append(block)
        if self.failures:
            self._note_failure()

    def _block(self, canary: bool) -> Block:
        if canary not in self.blocks:
            self.blocks[canary] = Block(self.ask.job, self.ask.group.name, canary, self.ask.resources)
        return self.blocks[canary]

    def _fill(self, plain: list[int]) -> None:
        """The fast way: all plain copies in one go."""
        positions, scores = self.picker.fill(len(plain), bool(self.ask.distinct_hosts))
        rows = self.chosen.rows[positions]
        if self.ask.distinct_hosts:
            self.noted |= dict.fromkeys(positions.tolist(), "distinct_hosts")
        block = self._block(False)
        block.rows += rows.tolist()
        block.indexes += plain[: len(positions)]
        block.scores += scores
        fleet = self.ledger.fleet
        np.add.at(fleet.used_cpu, rows, self.ask.cpu)
        np.add.at(fleet.used_memory, rows, self.ask.memory)
        np.add.at(fleet.used_disk, rows, self.ask.disk)
        np.add.at(fleet.alloc_count, rows, 1)
        self.placer.placed.setdefault(self.ask.group.name, Counter()).update(rows.tolist())
        left = plain[len(positions) :]
        if left:
            self._place_plain(left)
        if not block.rows:
            del self.blocks[False]

    def _place_plain(self, plain: list[int]) -> None:
        for done, index in enumerate(plain):
            if not self._place_one(index, Request(index, self.ask.job)):
                self._fail(len(plain) - done)
                return

    def _place_request(self, request: Request) -> None:
        """Place one copy; the stop that depends on it happens only if a node is found."""
        freed = self._free(request.previous) if request.stop and request.previous else None
        if self._place_one(request.index, request):
            if request.stop is not None:
                self.outcome.stops.append(request.stop)
            return
        if freed is not None and request.previous is not None:
            self._unfree(request.previous, freed)
        self.outcome.refused.append(request)
        self._fail(1)

    def _free(self, alloc: Allocation) -> int | None:
        row = self.ledger.free(alloc)
        position = self.chosen.position_of(row)
        if row is None:
            return None
        self.holders[row] -= 1
        if position < 0:
            self._left(row, -1)
            return row
        usage = self.ledger.usage(alloc)
        is_held = bool(self.ask.distinct_hosts) and self.holders[row] > 0
        if not is_held and self.noted.pop(position, ""):
            self.picker.reopen(position)
        self.picker.adjust(position, -usage.cpu, -usage.memory_mb, -usage.disk_mb, -1)
        return row

    def _left(self, row: int, copies: int) -> None:
        """Copies left (or came back to) a node where none may go now: what they count for elsewhere changes."""
        node = self.ledger.node(row)
        if node is not None:
            self.picker.elsewhere(node, copies)

    def _unfree(self, alloc: Allocation, row: int) -> None:
        self.ledger.unfree(alloc, row)
        self.holders[row] += 1
        position = self.chosen.position_of(row)
        if position < 0:
            self._left(row, 1)
        else:
            usage = self.ledger.usage(alloc)
            self.picker.adjust(position, usage.cpu, usage.memory_mb, usage.disk_mb, 1)
            if self.ask.distinct_hosts:
                self._rule_out(row)

    def _place_one(self, index: int, request: Request) -> bool:
        """Place one copy on the best node that has everything; False if there is none."""
        while True:
            position, score = self._choose(request)
            if position == NOWHERE:
                return self.placer.preempts and self._preempt(index, request)
            row = int(self.chosen.rows[position])
            given: Given | None = None
            if self.ledger.is_capped(row):
                self.noted[position] = MAX_ALLOCS
                self.picker.drop(position)
                continue
            if self.ask.needs_detail:
                answer = self.ledger.assign(self.ask, row)
                if isinstance(answer, str):
                    self.noted[position] = answer
                    self.picker.drop(position)
                    continue
                given = answer
            scored = self._scored(request, position)
            self.picker.place(position)
            block, at = self._record(index, request, row, score, given, self.chosen.columns.ask_cpu(position))
            if scored is not None:
                block.scored[at] = scored
            self._hold(row)
            return True

    def _scored(self, request: Request, position: int) -> NodeScore | None:
        """Every scorer's part for the copy about to go there, unless there are too many copies to keep that for."""
        if sum(len(block.scored) for block in self.blocks.values()) >= SCORED_MAX:
            return None
        fleet = self.ledger.fleet
        is_penalised = any(fleet.row_of(node_id) == self.chosen.rows[position] for node_id in request.penalised)
        more = {PENALTY: -1.0} if is_penalised else NOTHING_MORE
        return node_score(self.chosen, self.picker, self.ledger, position, more)

    def _choose(self, request: Request) -> tuple[int, float]:
        if request.node_id:
            position = self.chosen.position_of(self.ledger.fleet.row_of(request.node_id))
            if position < 0 or not self.picker.is_open(position):
                return NOWHERE, 0.0
            return position, self.picker.score(position)
        if request.preferred:
            position = self.chosen.position_of(self.ledger.fleet.row_of(request.preferred))
            if position >= 0 and self.picker.is_open(position):
                return position, self.picker.score(position)
        if request.penalised:
            found = (self.chosen.position_of(self.ledger.fleet.row_of(node)) for node in request.penalised)
            penalised = {position for position in found if position >= 0}
            if penalised:
                return best_penalised(self.picker, penalised)
        position = self.picker.best()
        return position, self.picker.score(position) if position != NOWHERE else 0.0

    def _record(
        self, index: int, request: Request, row: int, score: float, given: Given | None, cpu: float
    ) -> tuple[Block, int]:
        self.ledger.use(row, cpu, self.ask.memory, self.ask.disk)
        self.placer.placed.setdefault(self.ask.group.name, Counter())[row] += 1
        block = self._block(request.canary)
        position = block.add(row, index, score, given)
        if request.previous is not None:
            block.previous[position] = request.previous.id
        if request.tracker is not None:
            block.trackers[position] = request.tracker
        return block, position

    def _preempt(self, index: int, request: Request) -> bool:
        """Make room by stopping copies of lower priority."""
        if self.preemptor is None:
            self.preemptor = Preemptor(self.ask, self.ledger)
        only = self.chosen.position_of(self.ledger.fleet.row_of(request.node_id)) if request.node_id else None
        shut = {where for where, reason in self.noted.items() if reason == "distinct_hosts"}
        if self.ledger.has_caps:
            shut |= {where for where, reason in self.noted.items() if reason == MAX_ALLOCS}
        while True:
            found = self.preemptor.best(self.chosen, self.picker, shut, only)
            if found is None:
                return False
            row = int(self.chosen.rows[found.position])
            for victim in found.victims:
                self._evict(victim, found.position, -1)
            given = self.ledger.assign(self.ask, row) if self.ask.needs_detail else None
            if self.ledger.is_capped(row):
                given = MAX_ALLOCS
            if isinstance(given, str):
                for victim in found.victims:
                    self._evict(victim, found.position, 1)
                shut.add(found.position)
                continue
            break
        self.outcome.victims += found.victims
        self.preemptor.note(found)
        self.noted.pop(found.position, None)
        self.picker.reopen(found.position)
        scored = node_score(self.chosen, self.picker, self.ledger, found.position, {PREEMPTION: found.part})
        self.picker.place(found.position)
        cpu = self.chosen.columns.ask_cpu(found.position)
        block, position = self._record(index, request, row, found.score, given, cpu)
        block.preempted[position] = tuple(victim.id for victim in found.victims)
        block.scored[position] = scored
        self._hold(row)
        return True

    def _evict(self, victim: Allocation, position: int, sign: int) -> None:
        """Free (-1) what a victim holds, or take that back (1)."""
        usage = self.ledger.usage(victim)
        if sign < 0:
            self.ledger.free(victim)
        else:
            self.ledger.unfree(victim, int(self.chosen.rows[position]))
        self.picker.adjust(position, sign * usage.cpu, sign * usage.memory_mb, sign * usage.disk_mb, 0)

    def _fail(self, many: int) -> None:
        self.failures += many

    def _note_failure(self) -> None:
        outcome = self.outcome
        outcome.unplaced += self.failures
        nodes, dimensions, classes = exhausted(self.chosen, self.ledger, self.noted)
        by_reason = dict(self.metric.constraint_filtered)
        filtered = self.metric.nodes_filtered
        for text in ("distinct_hosts",):
            if text in dimensions:
                many = dimensions.pop(text)
                by_reason[text] = by_reason.get(text, 0) + many
                filtered += many
                nodes -= many
        filtered, nodes = self._count_full_values(by_reason, filtered, nodes)
        coalesced = self.failures - 1 if outcome.failed is None else outcome.failed.coalesced_failures + self.failures
        outcome.failed = msgspec.structs.replace(
            self.metric, nodes_filtered=filtered, constraint_filtered=by_reason, nodes_exhausted=nodes,
            dimension_exhausted=dimensions, class_exhausted=classes, coalesced_failures=coalesced,
        )  # fmt: skip
        fleet = self.ledger.fleet
        for number, reason in self.found.reasons.items():
            name = fleet.classes[number]
            helps = not reason and self._is_looked_at(number)
            outcome.class_eligibility[name] = outcome.class_eligibility.get(name, False) or helps
        outcome.escaped = outcome.escaped or self.found.escaped

    def _is_looked_at(self, class_number: int) -> bool:
        """True if nodes of the class are in one of the job's datacenters and in its pool; a class has one of each."""
        fleet, job = self.ledger.fleet, self.ask.job
        row = fleet.class_example[class_number]
        if job.node_pool not in ("", "all", fleet.pools[fleet.pool_of[row]]):
            return False
        return datacenter_matches(job.datacenters, fleet.datacenters[fleet.datacenter_of[row]])

    def _count_full_values(self, by_reason: dict[str, int], filtered: int, nodes: int) -> tuple[int, int]:
        """Count nodes that only a distinct_property limit keeps out."""
        if not self.ask.distinct_properties:
            return filtered, nodes
        shut = [
            position
            for position in range(len(self.chosen.rows))
            if position not in self.noted and not self.picker.is_open(position)
        ]
        columns = self.chosen.columns
        roomy = columns.fits()
        many = sum(1 for position in shut if roomy[position])
        if many:
            by_reason["distinct_property"] = by_reason.get("distinct_property", 0) + many
        return filtered + many, nodes


def evictions(blocks: Sequence[Block], offset: int) -> list[AllocStop]:
    """The stops of allocations pushed out, each naming (placement, position) of the copy that does it."""
    return [
        AllocStop(
            alloc_id=victim,
            desired=Desired.EVICT,
            description=PREEMPTED,
            preempted_by_index=(offset + number, position),
        )
        for number, block in enumerate(blocks)
        for position, victims in block.preempted.items()
        for victim in victims
    ]
