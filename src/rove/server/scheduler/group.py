"""One group of a service or batch job: what must change, step by step. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import SECOND, unix_ns
from rove.structs.deployment import Deployment, DeploymentGroup, DeploymentStatus
from rove.structs.evaluation import Evaluation, Trigger
from rove.structs.job import Job, TaskGroup, UpdateStrategy
from rove.structs.plan import AllocAnnotation, AllocStop, DesiredUpdates

from . import decision as reasons
from .decision import GroupDecision, Request
from .destructive import needs_restart
from .followups import Followups
from .names import NameIndex
from .reconnect import resolve_reconnects
from .reschedule import due, next_tracker, penalised_nodes, policy_of
from .rollout import HOLDING, Progress, is_for, strategy_of
from .taint import NodeOf, Sorted, disconnect_of, is_of, sort_allocs

FitsInPlace = Callable[[Allocation, TaskGroup], bool]

RESCHEDULE_SLACK_NS = SECOND
"""A replacement due within this time is made at once."""


@dataclass(slots=True)
class Context:
    """What every group of one reconciliation shares."""

    job: Job
    evaluation: Evaluation
    deployment: Deployment | None
    former: Deployment | None
    """The newest deployment, if it is not the one that governs."""
    now: float
    node_of: NodeOf
    fits_in_place: FitsInPlace
    followups: Followups
    restarts: dict[tuple[int, int, str], bool] = field(default_factory=dict)

    def must_restart(self, alloc: Allocation) -> bool:
        """True if `alloc` (of an older version) cannot become one of the present version in place."""
        return alloc.job is None or self.differs(alloc.job, alloc.task_group)

    def differs(self, older: Job, group: str) -> bool:
        """True if copies of `older` must be replaced to become copies of the present version."""
        key = (older.version, older.create_index, group)
        if key not in self.restarts:
            self.restarts[key] = needs_restart(older, self.job, group)
        return self.restarts[key]


class Group:
    """One group's reconciliation. The steps run in the order of `decide`."""

    def __init__(self, context: Context, group: TaskGroup, allocs: list[Allocation]) -> None:
        self.context = context
        self.job = context.job
        self.group = group
        self.out = GroupDecision()
        self.strategy: UpdateStrategy | None = strategy_of(context.job, group)
        self.had_this_version = any(is_of(alloc, context.job) for alloc in allocs)
        self.sorted: Sorted = sort_allocs(allocs, context.job, context.node_of, context.now)
        deployment = context.deployment
        self.failed = deployment is not None and deployment.status is DeploymentStatus.FAILED
        self.paused = deployment is not None and deployment.status in HOLDING
        former = context.former
        ended_well = former is not None and former.status is DeploymentStatus.SUCCESSFUL and is_for(former, self.job)
        known = deployment or (former if ended_well else None)
        self.state: DeploymentGroup | None = known.task_groups.get(group.name) if known else None
        self.canaries: list[Allocation] = []
        self.now_due: list[Allocation] = []
        self.later: list[tuple[Allocation, int]] = []
        self.migrate_count = 0
        self.reschedule_count = 0
        self.filled = 0

    def decide(self) -> tuple[GroupDecision, Progress]:
        reconnected = resolve_reconnects(self.sorted, self.job, self.group)
        for alloc, description in reconnected.stops:
            self.out.stop(alloc, description)
        self.out.annotations += [
            AllocAnnotation(alloc_id=alloc.id, client_status=alloc.client_status) for alloc in reconnected.kept
        ]
        self._end_stale_canaries()
        self._pick_reschedules()
        pool = self._pool()
        pool = self._stop_superseded(pool)
        pool, spare = self._trim(pool)
        destructive, in_place, same = self._split_by_change(pool)
        canaries_wanted = self._canaries_wanted(destructive)
        holding = self.failed or self.paused or canaries_wanted > 0
        self._place_canaries(canaries_wanted)
        self._handle_moves(pool, holding)
        self._fill(spare, pool, holding)
        placed = self.out.wanted
        replaced = self._replace(destructive, placed, holding)
        updated = [] if self.failed or self.paused else in_place
        self.out.in_place = updated
        self._note_waiting(pool)
        self.out.updates = DesiredUpdates(
            ignore=len(same) + len(destructive) - replaced + len(in_place) - len(updated)
            + len(self.canaries) + len(self.sorted.done),
            place=self.out.wanted - self.migrate_count - replaced - self._canary_requests()
            - self.reschedule_count,
            migrate=self.migrate_count, stop=len(self.out.stops) - self.migrate_count,
            in_place_update=len(updated), destructive_update=replaced, canary=self._canary_requests(),
            disconnect=len(self.sorted.disconnecting), reconnect=len(reconnected.kept),
            reschedule_now=self.reschedule_count, reschedule_later=len(self.later),
        )  # fmt: skip
        total = len(destructive) + len(in_place) + placed
        return self.out, Progress(
            strategy=self.strategy,
            total=total - (self._canary_requests() if self.strategy else 0),
            fresh=not self.had_this_version or bool(destructive) or bool(in_place),
            settled=not (destructive or in_place or self.out.wanted or self.now_due or self._has_undecided()),
            canaries=canaries_wanted,
        )

    # Canaries

    def _is_live_canary(self, alloc: Allocation) -> bool:
        deployment = self.context.deployment
        return (
            alloc.is_canary
            and deployment is not None
            and deployment.is_active
            and alloc.deployment_id == deployment.id
            and not (self.state and self.state.promoted)
        )

    def _end_stale_canaries(self) -> None:
        """Take live canaries out of the pool, and stop those whose roll-out is over without promotion."""
        deployment = self.context.deployment
        ended = set()
        former = self.context.former
        if former is not None and former.status is not DeploymentStatus.SUCCESSFUL:
            before = former.task_groups.get(self.group.name)
            if before is not None and not before.promoted:
                ended.add(former.id)
        if deployment is not None and self.failed and not (self.state and self.state.promoted):
            ended.add(deployment.id)
        for condition in (self.sorted.kept, self.sorted.migrate, self.sorted.lost, self.sorted.expired):
            keep = []
            for alloc in condition:
                if alloc.is_canary and alloc.deployment_id in ended:
                    lost = condition is self.sorted.lost or condition is self.sorted.expired
                    self.out.stop(alloc, reasons.CANARY_OVER, AllocStatus.LOST if lost else None)
                elif self._is_live_canary(alloc):
                    self._sort_canary(alloc, condition)
                else:
                    keep.append(alloc)
            condition[:] = keep

    def _sort_canary(self, alloc: Allocation, condition: list[Allocation]) -> None:
        if condition is self.sorted.kept:
            if alloc.desired_transition.reschedule:
                self.now_due.append(alloc)
            else:
                self.canaries.append(alloc)
        elif condition is self.sorted.migrate:
            self.out.stop(alloc, reasons.MIGRATING)
            self.migrate_count += 1
        else:
            self.out.stop(alloc, reasons.LOST, AllocStatus.LOST)

    def _canaries_wanted(self, destructive: list[Allocation]) -> int:
        """How many canaries must stand before anything else rolls; 0 if none are (still) asked for."""
        if self.failed or self.strategy is None:
            return 0
        if self.state is not None:
            return 0 if self.state.promoted else self.state.desired_canaries
        if self.context.deployment is not None:
            return 0
        return self.strategy.canary if destructive else 0

    def _place_canaries(self, wanted: int) -> None:
        replaced = [alloc for alloc in self.now_due if self._is_live_canary(alloc)]
        self.now_due = [alloc for alloc in self.now_due if not self._is_live_canary(alloc)]
        for alloc in replaced:
            self.out.requests.append(self._reschedule_request(alloc, self.job, canary=True))
            self.reschedule_count += 1
        missing = wanted - len(self.canaries) - len(replaced)
        if missing <= 0 or self.paused:
            return
        taken = NameIndex(alloc.index for alloc in (*self.canaries, *replaced))
        names = [index for index in range(self.group.count) if index not in taken][:missing]
        start = self.group.count
        while len(names) < missing:
            if start not in taken:
                names.append(start)
            start += 1
        self.out.requests += [Request(index, self.job, canary=True) for index in names]

    def _canary_requests(self) -> int:
        return sum(1 for request in self.out.requests if request.canary and not request.tracker)

    # Failed copies

    def _pick_reschedules(self) -> None:
        staying = []
        for alloc in self.sorted.kept:
            when = self._reschedule_at(alloc)
            if when is not None and when <= unix_ns(self.context.now) + RESCHEDULE_SLACK_NS:
                self.now_due.append(alloc)
                continue
            staying.append(alloc)
            if when is not None:
                self.later.append((alloc, when))
        self.sorted.kept = staying
        if self.now_due:
            self.now_due.sort(key=lambda alloc: alloc.index)

    def _reschedule_at(self, alloc: Allocation) -> int | None:
        """When this copy is to be replaced (ns): 0 for at once, None for not at all."""
        wish = alloc.desired_transition
        deployment = self.context.deployment
        if alloc.client_status is not AllocStatus.FAILED:
            return 0 if wish.reschedule else None
        if wish.force_reschedule:
            return 0
        if deployment is not None and alloc.deployment_id == deployment.id and not wish.reschedule:
            return None  # its roll-out decides, or has failed with it
        found = due(alloc, policy_of(alloc), self.context.now)
        if found is None:
            return None
        return 0 if alloc.followup_eval_id == self.context.evaluation.id else found.at

    def _reschedule_request(self, alloc: Allocation, job: Job, canary: bool = False) -> Request:
        return Request(
            index=alloc.index,
            job=job,
            previous=alloc,
            canary=canary,
            stop=AllocStop(alloc_id=alloc.id, description=reasons.RESCHEDULED, rescheduled=True),
            tracker=next_tracker(alloc, policy_of(alloc), self.context.now),
            penalised=penalised_nodes(alloc),
            preferred=self._preferred(alloc),
        )

    # Who stays

    def _pool(self) -> list[Allocation]:
        """Every allocation that occupies one of the group's slots (canaries aside), lost ones not."""
        silent = [alloc for alloc, _ in self.sorted.unknown if not _is_replaced(alloc)]
        if self.sorted.disconnecting:
            silent += [alloc for alloc in self.sorted.disconnecting if not _is_replaced(alloc)]
        late = [alloc for alloc, _ in self.sorted.late_lost]
        return [*self.sorted.kept, *self.now_due_plain(), *self.sorted.migrate, *silent, *late]

    def now_due_plain(self) -> list[Allocation]:
        return [alloc for alloc in self.now_due if not self._is_live_canary(alloc)]

    def _stop_superseded(self, pool: list[Allocation]) -> list[Allocation]:
        """After promotion the canaries are ordinary copies: older ones of the same name go."""
        if not (self.state and self.state.promoted):
            return pool
        taken = {alloc.index for alloc in pool if is_of(alloc, self.job) and not alloc.is_client_terminal}
        keep = []
        for alloc in pool:
            if alloc.index in taken and not is_of(alloc, self.job):
                self.out.stop(alloc, reasons.UPDATING)
            else:
                keep.append(alloc)
        return self._without_stopped(keep)

    def _trim(self, pool: list[Allocation]) -> tuple[list[Allocation], int]:
        """Stop what is above the count. Returns the rest, and how many slots are free."""
        slots = max(self.group.count - len(self.sorted.done), 0)
        excess = len(pool) - slots
        names = Counter(alloc.index for alloc in pool)
        doubles = len(names) < len(pool)
        if excess <= 0 and not doubles:
            return pool, -excess
        moving = {alloc.id for alloc in self.sorted.migrate}
        failing = {alloc.id for alloc in self.now_due}

        def first_to_go(alloc: Allocation) -> tuple[bool, bool, bool, bool, bool, int, bool, int]:
            return (
                names[alloc.index] > 1 and not is_of(alloc, self.job), alloc.index >= self.group.count, alloc.is_canary,
                alloc.id in moving, alloc.id in failing, alloc.index, alloc.is_client_terminal, alloc.create_index,
            )  # fmt: skip

        order = sorted(pool, key=first_to_go, reverse=True)
        going: set[str] = set()
        for alloc in order:
            if names[alloc.index] > 1:
                going.add(alloc.id)
                names[alloc.index] -= 1
        for alloc in order:
            if len(going) >= excess:
                break
            going.add(alloc.id)
        for alloc in pool:
            if alloc.id in going:
                self.out.stop(alloc, reasons.NOT_NEEDED)
        rest = self._without_stopped(pool)
        return rest, max(slots - len(rest), 0)

    def _without_stopped(self, pool: list[Allocation]) -> list[Allocation]:
        gone = {stop.alloc_id for stop in self.out.stops}
        self.now_due = [alloc for alloc in self.now_due if alloc.id not in gone]
        self.later = [(alloc, when) for alloc, when in self.later if alloc.id not in gone]
        for condition in (self.sorted.kept, self.sorted.migrate, self.sorted.disconnecting):
            condition[:] = [alloc for alloc in condition if alloc.id not in gone]
        self.sorted.unknown = [pair for pair in self.sorted.unknown if pair[0].id not in gone]
        self.sorted.late_lost = [pair for pair in self.sorted.late_lost if pair[0].id not in gone]
        return [alloc for alloc in pool if alloc.id not in gone]

    def _split_by_change(self, pool: list[Allocation]) -> tuple[list[Allocation], list[Allocation], list[Allocation]]:
        """(to be replaced, to be updated in place, already right) among those that stay where they are."""
        destructive, in_place, same = [], [], []
        for alloc in self.sorted.kept:
            if is_of(alloc, self.job):
                same.append(alloc)
            elif self.context.must_restart(alloc):
                destructive.append(alloc)
            elif alloc.is_client_terminal:
                same.append(alloc)  # nothing runs that could be taken over; its replacement will be new
            elif not self.context.fits_in_place(alloc, self.group):
                destructive.append(alloc)
            else:
                in_place.append(alloc)
        destructive.sort(key=lambda alloc: (not alloc.is_client_terminal, alloc.is_healthy, alloc.index))
        return destructive, in_place, same

    # Replacements

    def _version_for(self, alloc: Allocation, holding: bool) -> Job:
        """While a roll-out is held, a replacement is of the version that its predecessor ran."""
        if not holding or alloc.job is None or alloc.job.group(self.group.name) is None:
            return self.job
        return alloc.job if self.context.differs(alloc.job, self.group.name) else self.job

    def _preferred(self, alloc: Allocation) -> str:
        return alloc.node_id if self.group.ephemeral_disk.sticky else ""

    def _handle_moves(self, pool: list[Allocation], holding: bool) -> None:
        for alloc in self.now_due:
            self.reschedule_count += 1
            self.out.requests.append(self._reschedule_request(alloc, self._version_for(alloc, holding)))
        for alloc in self.sorted.migrate:
            self.migrate_count += 1
            self.out.stop(alloc, reasons.MIGRATING)
            if not alloc.desired_transition.migrate_disable_placement:
                self.out.requests.append(
                    Request(alloc.index, self._version_for(alloc, holding), alloc, preferred=self._preferred(alloc))
                )
        now = self.context.now
        for alloc in self.sorted.disconnecting:
            rules = disconnect_of(alloc)
            ends = unix_ns(now) + (rules.lost_after if rules else 0)
            followup = self.context.followups.at(ends, Trigger.MAX_DISCONNECT_TIMEOUT)
            self.out.annotations.append(
                AllocAnnotation(alloc_id=alloc.id, client_status=AllocStatus.UNKNOWN, followup_eval_id=followup)
            )

    def _fill(self, spare: int, pool: list[Allocation], holding: bool) -> None:
        """Replace lost copies and make missing ones, up to the count."""
        gone = [*self.sorted.lost, *self.sorted.expired]
        for alloc in gone:
            self.out.stop(alloc, reasons.LOST, AllocStatus.LOST)
        if spare <= 0:
            return
        silent = [alloc for alloc in self.sorted.disconnecting if _is_replaced(alloc)]
        taken = {alloc.index for alloc in (*pool, *self.sorted.done)}
        names = NameIndex(taken)
        before = [*gone, *silent]
        for alloc in sorted(before, key=lambda alloc: alloc.index):
            if spare <= 0:
                return
            if alloc.index in names or alloc.index < 0:
                continue
            if holding and self.failed and is_of(alloc, self.job):
                continue  # it belonged to a roll-out that has failed
            names.take_this(alloc.index)
            spare -= 1
            self.filled += 1
            self.out.requests.append(
                Request(
                    alloc.index,
                    self._version_for(alloc, holding),
                    alloc,
                    tracker=alloc.reschedule_tracker,
                    penalised=penalised_nodes(alloc),
                )
            )
        if not holding:
            self.out.plain = names.take(spare)
            return
        self._fill_with_older(names, pool, spare)

    def _fill_with_older(self, names: NameIndex, pool: list[Allocation], spare: int) -> None:
        """While a roll-out is held, missing copies are made of the version that the others run."""
        name = self.group.name
        known = [*pool, *self.sorted.lost, *self.sorted.expired]
        older = Counter(
            alloc.job_version
            for alloc in known
            if alloc.job is not None and not is_of(alloc, self.job) and self.context.differs(alloc.job, name)
        )
        if not older or self.paused:
            return
        version = older.most_common(1)[0][0]
        job = next(alloc.job for alloc in known if alloc.job_version == version and alloc.job is not None)
        group = job.group(self.group.name)
        wanted = min(spare, (group.count if group else 0) - len(pool) - self.filled)
        self.out.requests += [Request(index, job) for index in names.take(max(wanted, 0))]

    def _replace(self, destructive: list[Allocation], placed: int, holding: bool) -> int:
        """Replace old copies as far as the update rules allow now; returns how many."""
        chosen = destructive[: self._limit(len(destructive), placed, holding)]
        for alloc in chosen:
            self.out.requests.append(
                Request(
                    alloc.index,
                    self.job,
                    alloc,
                    stop=AllocStop(alloc_id=alloc.id, description=reasons.UPDATING),
                    preferred=self._preferred(alloc),
                )
            )
        return len(chosen)

    def _limit(self, wanted: int, placed: int, holding: bool) -> int:
        if holding:
            return 0
        if self.strategy is None:
            return wanted
        limit = self.strategy.max_parallel - placed
        deployment = self.context.deployment
        for alloc in self.sorted.kept:
            if deployment is None or alloc.deployment_id != deployment.id:
                continue
            if alloc.is_unhealthy:
                return 0
            if not alloc.is_healthy:
                limit -= 1
        return max(limit, 0)

    def _has_undecided(self) -> bool:
        """True while a running copy of the present roll-out has not been found healthy."""
        deployment = self.context.deployment
        return deployment is not None and any(
            alloc.deployment_id == deployment.id and not alloc.is_client_terminal and not alloc.is_healthy
            for alloc in self.sorted.kept
        )

    def _note_waiting(self, pool: list[Allocation]) -> None:
        """Note on waiting copies which later evaluation looks at them."""
        replaced = {request.previous.id for request in self.out.requests if request.previous}
        later = [(alloc, when) for alloc, when in self.later if alloc.id not in replaced]
        self.later = later
        for alloc, when in later:
            if not alloc.followup_eval_id:
                followup = self.context.followups.at(when, Trigger.ALLOC_FAILURE)
                self.out.annotations.append(AllocAnnotation(alloc_id=alloc.id, followup_eval_id=followup))
        self.out.annotations += [
            AllocAnnotation(alloc_id=alloc.id, followup_eval_id="")
            for alloc in self.sorted.kept
            if alloc.followup_eval_id and not alloc.is_client_terminal and alloc.id not in replaced
        ]  # it runs: what somebody was to look at is over, and a later failure needs its own evaluation
        for alloc, when in (*self.sorted.late_lost, *self.sorted.unknown):
            over = alloc.followup_eval_id in ("", self.context.evaluation.id)
            if over and when > unix_ns(self.context.now):
                followup = self.context.followups.at(when, Trigger.MAX_DISCONNECT_TIMEOUT)
                self.out.annotations.append(AllocAnnotation(alloc_id=alloc.id, followup_eval_id=followup))


def _is_replaced(alloc: Allocation) -> bool:
    """True if a silent copy is to have a stand-in."""
    rules = disconnect_of(alloc)
    return rules is None or rules.replace
