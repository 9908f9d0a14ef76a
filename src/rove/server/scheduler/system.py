"""System and sysbatch jobs: one copy of every group on every node that suits it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import unix_ns
from rove.structs.deployment import Deployment, DeploymentStatus
from rove.structs.evaluation import Evaluation, Trigger
from rove.structs.job import Job, JobType, TaskGroup
from rove.structs.plan import AllocAnnotation, AllocStop, DesiredUpdates

from . import decision as reasons
from .asks import Ask, ask_of
from .conditions import resolve
from .decision import Decision, GroupDecision, Request
from .feasible import base_mask, feasible, suits
from .group import Context
from .ledger import Ledger
from .metrics import base_metric
from .place import Outcome, Placer, Run
from .reconcile import allocs_by_group, decide_groups
from .reconnect import resolve_reconnects
from .rollout import HOLDING, Progress, strategy_of
from .taint import NodeOf, disconnect_of, is_of, sort_allocs


def reconcile_system(
    job: Job,
    allocs: Iterable[Allocation],
    deployment: Deployment | None,
    evaluation: Evaluation,
    ledger: Ledger,
    *,
    now: float,
    node_of: NodeOf,
    fits_in_place: Callable[[Allocation, TaskGroup], bool],
    new_id: Callable[[], str],
) -> Decision:
    """Say what must change for a system or sysbatch job that is not stopped."""
    result, _ = decide_groups(
        job, allocs_by_group(allocs), deployment, evaluation,
        lambda context, group, own: _SystemGroup(context, group, own, ledger).decide(),
        now=now, node_of=node_of, fits_in_place=fits_in_place, new_id=new_id,
    )  # fmt: skip
    return result


class _SystemGroup:
    """One group of a system job."""

    def __init__(self, context: Context, group: TaskGroup, allocs: list[Allocation], ledger: Ledger) -> None:
        self.context = context
        self.job = context.job
        self.group = group
        self.allocs = allocs
        self.ledger = ledger
        self.out = GroupDecision()
        self.strategy = strategy_of(context.job, group)
        self.is_batch = context.job.type is JobType.SYSBATCH
        deployment = context.deployment
        self.failed = deployment is not None and deployment.status is DeploymentStatus.FAILED
        self.paused = deployment is not None and deployment.status in HOLDING
        self.state = deployment.task_groups.get(group.name) if deployment else None

    def decide(self) -> tuple[GroupDecision, Progress]:
        ask = ask_of(self.job, self.group)
        base = base_mask(ask, self.ledger.fleet)
        found = feasible(ask, self.ledger.view, self.ledger.fleet, base)
        wanted = {self.ledger.fleet.ids[row] for row in np.flatnonzero(found.mask).tolist()}
        if self.group.count == 0:
            wanted = set()
        sorted_allocs = sort_allocs(self.allocs, self.job, self.context.node_of, self.context.now)
        reconnected = resolve_reconnects(sorted_allocs, self.job, self.group)
        for alloc, description in reconnected.stops:
            self.out.stop(alloc, description)
        self.out.annotations += [
            AllocAnnotation(alloc_id=alloc.id, client_status=alloc.client_status) for alloc in reconnected.kept
        ]
        for alloc in (*sorted_allocs.lost, *sorted_allocs.expired):
            self.out.stop(alloc, reasons.LOST, AllocStatus.LOST)
        for alloc in sorted_allocs.migrate:
            self.out.stop(alloc, reasons.MIGRATING)
        self._note_disconnects(sorted_allocs.disconnecting)
        ended = self._ended_nodes()
        busy: dict[str, Allocation] = {}
        failed_here: dict[str, Allocation] = {}
        silent = [*sorted_allocs.disconnecting, *(alloc for alloc, _ in sorted_allocs.unknown)]
        silent += [alloc for alloc, _ in sorted_allocs.late_lost]
        for alloc in sorted_allocs.kept:
            if alloc.client_status is AllocStatus.FAILED:
                failed_here[alloc.node_id] = alloc
            elif alloc.node_id in busy:
                self.out.stop(alloc, reasons.NOT_NEEDED)
            else:
                busy[alloc.node_id] = alloc
        destructive, in_place, same = self._split(busy, wanted, ask)
        taken = set(busy) | {alloc.node_id for alloc in silent} | ended
        moving = {alloc.node_id: alloc for alloc in sorted_allocs.migrate}
        fresh = self._apart(sorted(wanted - taken), ask) if not self.paused else []
        if self.failed:  # a node without a copy gets one all the same, but not one that has failed there
            fresh = [node_id for node_id in fresh if node_id not in failed_here]
        canaries = self._canaries(destructive, fresh)
        missing = canaries - self._live_canaries() if self._waits(canaries) and self.state is not None else 0
        for number, node_id in enumerate(fresh):
            before = failed_here.get(node_id)
            stop = AllocStop(alloc_id=before.id, description=reasons.RESCHEDULED) if before else None
            previous = before or moving.get(node_id)
            canary = number < missing
            self.out.requests.append(Request(0, self.job, previous, canary=canary, stop=stop, node_id=node_id))
        replaced = self._replace(destructive, canaries)
        updated = [] if self.failed or self.paused else in_place
        self.out.in_place = updated
        self.out.updates = DesiredUpdates(
            ignore=len(same) + len(destructive) - replaced + len(in_place) - len(updated) + len(ended),
            place=len(fresh), migrate=len(sorted_allocs.migrate),
            stop=len(self.out.stops) - len(sorted_allocs.migrate), in_place_update=len(updated),
            destructive_update=replaced, disconnect=len(sorted_allocs.disconnecting),
            reconnect=len(reconnected.kept),
        )  # fmt: skip
        self.out.unsuited = self.group.count > 0 and not wanted and not busy
        had = any(is_of(alloc, self.job) for alloc in self.allocs)
        total = len(destructive) + len(in_place) + len(fresh)
        deployment = self.context.deployment
        mine = [alloc for alloc in busy.values() if deployment is not None and alloc.deployment_id == deployment.id]
        undecided = any(not alloc.is_healthy for alloc in mine)
        return self.out, Progress(
            strategy=self.strategy, total=total, fresh=not had or bool(destructive) or bool(in_place),
            settled=not (destructive or in_place or fresh or undecided), canaries=canaries, copies=len(mine),
        )  # fmt: skip

    def _apart(self, node_ids: list[str], ask: Ask) -> list[str]:
        """Those of the nodes that distinct_property leaves: the others are none of the job's, like filtered ones."""
        if not ask.distinct_properties:
            return node_ids
        counts: Counter[tuple[str, str | None]] = Counter()
        for alloc in self.allocs:
            if not alloc.is_terminal:
                counts.update(self._values(alloc.node_id, ask))
        left = []
        for node_id in node_ids:
            values = self._values(node_id, ask)
            limits = zip(values, ask.distinct_properties, strict=True)
            if all(value[1] is not None and counts[value] < most for value, (_, most, _) in limits):
                left.append(node_id)
                counts.update(values)
        return left

    def _values(self, node_id: str, ask: Ask) -> list[tuple[str, str | None]]:
        """The node's values of the attributes that distinct_property looks at."""
        node = self.context.node_of(node_id)
        targets = [target for target, _, _ in ask.distinct_properties]
        return [(target, resolve(target, node, self.job.region) if node else None) for target in targets]

    def _ended_nodes(self) -> set[str]:
        """Nodes where a sysbatch job of this version has had its run, well or not."""
        if not self.is_batch:
            return set()
        return {
            alloc.node_id
            for alloc in self.allocs
            if is_of(alloc, self.job)
            and alloc.client_status in (AllocStatus.COMPLETE, AllocStatus.FAILED)
            and not (alloc.is_server_terminal and alloc.client_status is AllocStatus.COMPLETE
                     and alloc.desired_description == reasons.MIGRATING)
        }  # fmt: skip

    def _note_disconnects(self, disconnecting: list[Allocation]) -> None:
        for alloc in disconnecting:
            rules = disconnect_of(alloc)
            ends = unix_ns(self.context.now) + (rules.lost_after if rules else 0)
            followup = self.context.followups.at(ends, Trigger.MAX_DISCONNECT_TIMEOUT)
            self.out.annotations.append(
                AllocAnnotation(alloc_id=alloc.id, client_status=AllocStatus.UNKNOWN, followup_eval_id=followup)
            )

    def _split(
        self, busy: dict[str, Allocation], wanted: set[str], ask: Ask
    ) -> tuple[list[Allocation], list[Allocation], list[Allocation]]:
        """(to be replaced, to be updated in place, already right); stops what has no business there."""
        destructive, in_place, same = [], [], []
        for node_id, alloc in busy.items():
            current_version = is_of(alloc, self.job)
            if node_id in wanted:
                if current_version:
                    same.append(alloc)
                elif self.context.must_restart(alloc):
                    destructive.append(alloc)
                elif self.context.fits_in_place(alloc, self.group):
                    in_place.append(alloc)
                else:
                    self.out.stop(alloc, reasons.NODE_UNSUITABLE)
                continue
            node = self.context.node_of(node_id)
            suited = (
                self.group.count > 0
                and node is not None
                and current_version
                and suits(ask, node, alloc.index, drivers=False)
            )
            if suited:
                same.append(alloc)  # its node takes nothing new, or its driver has a weak moment, but it may stay
            else:
                self.out.stop(alloc, reasons.NODE_UNSUITABLE)
        destructive.sort(key=lambda alloc: (alloc.is_healthy, alloc.node_id))
        return destructive, in_place, same

    def _canaries(self, destructive: list[Allocation], fresh: list[str]) -> int:
        """How many canaries this roll-out has; `canary` is a percentage of the nodes to be updated.

        Of a roll-out under way there may be fewer when nodes have left: no more are waited for than can be.
        """
        if self.strategy is None or self.failed:
            return 0
        if self.state is not None:
            wanted = self.state.desired_canaries
            if not wanted or self.state.promoted:
                return wanted
            return max(1, min(wanted, self._live_canaries() + len(destructive) + len(fresh)))
        well = sum(1 for alloc in destructive if not self._is_sick(alloc))
        if self.context.deployment is not None or not self.strategy.canary or not well:
            return 0
        return min(math.ceil(self.strategy.canary / 100 * well), self.strategy.max_parallel)

    def _waits(self, canaries: int) -> bool:
        """True while canaries are out and have not been promoted."""
        return canaries > 0 and not (self.state is not None and self.state.promoted)

    def _mine(self) -> list[Allocation]:
        """Copies of the present roll-out that go on."""
        deployment = self.context.deployment
        stopping = {stop.alloc_id for stop in self.out.stops}
        return [
            alloc
            for alloc in self.allocs
            if deployment is not None
            and alloc.deployment_id == deployment.id
            and not alloc.is_server_terminal
            and alloc.id not in stopping
        ]

    def _live_canaries(self) -> int:
        return sum(1 for alloc in self._mine() if alloc.is_canary and not alloc.is_client_terminal)

    def _is_sick(self, alloc: Allocation) -> bool:
        """True for a canary of an earlier roll-out that never became healthy: its node has nothing that works."""
        deployment = self.context.deployment
        is_earlier = deployment is None or alloc.deployment_id != deployment.id
        return alloc.is_canary and not alloc.is_healthy and is_earlier

    def _replace(self, destructive: list[Allocation], canaries: int) -> int:
        """Replace old copies as far as the update rules allow now; returns how many. The sick need no canary."""
        if self.failed or self.paused:
            return 0
        sick = [alloc for alloc in destructive if self._is_sick(alloc)]
        others = [alloc for alloc in destructive if not self._is_sick(alloc)]
        waiting = self._waits(canaries)
        if self.strategy is not None:
            mine = self._mine()
            if any(alloc.is_unhealthy for alloc in mine):
                return 0
            limit = self.strategy.max_parallel - len(self.out.requests)
            limit -= sum(1 for alloc in mine if not alloc.is_healthy)
            sick = sick[: max(limit, 0)]
            limit -= len(sick)
            if waiting:
                asked = sum(1 for request in self.out.requests if request.canary)
                limit = min(limit, canaries - self._live_canaries() - asked)
            others = others[: max(limit, 0)]
        for alloc in (*sick, *others):
            stop = AllocStop(alloc_id=alloc.id, description=reasons.UPDATING)
            canary = waiting and not self._is_sick(alloc)
            self.out.requests.append(Request(0, self.job, alloc, canary=canary, stop=stop, node_id=alloc.node_id))
        return len(sick) + len(others)


def place_system(placer: Placer, name: str, decision: GroupDecision) -> Outcome:
    """Place each copy on the one node it is for. Nodes without room are reported, not replaced."""
    outcome = Outcome()
    group = placer.job.group(name)
    if group is None:
        return outcome
    ask = placer.ask(placer.job, group)
    found = feasible(ask, placer.ledger.view, placer.ledger.fleet, placer.base(ask))
    Run(placer, ask, found, outcome).run(decision.requests, [])
    if decision.unsuited:
        outcome.failed = base_metric(ask, found, placer.ledger)
    return outcome
