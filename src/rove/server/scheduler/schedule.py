"""`schedule`: one evaluation, one snapshot, one plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rove.structs.alloc import Allocation, AllocMetric
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, JobType, TaskGroup
from rove.structs.node import Node, SchedulerConfiguration
from rove.structs.plan import (
    AllocStop,
    DesiredUpdates,
    InPlaceUpdate,
    Placement,
    Plan,
    SchedulerResult,
)

from .asks import Ask, ask_of
from .conditions import resolve
from .decision import Decision
from .feasible import suits
from .ledger import Ledger
from .place import Outcome, Placer, evictions
from .randomness import Rng
from .reconcile import reconcile
from .system import place_system, reconcile_system
from .taint import is_of
from .view import View


def schedule(evaluation: Evaluation, view: View, *, now: float, rng: Rng, new_id: Callable[[], str]) -> SchedulerResult:
    """Say what must change for the evaluation's job, on this snapshot.

    now: seconds since the epoch. rng: seeded; only breaks ties and picks ports. new_id: makes ids of
    new deployments and evaluations. Works for service, batch, system and sysbatch jobs (the job's own
    type counts, not the evaluation's). Raises nothing for any stored job: what cannot be placed is
    in `failed` with its reasons.
    """
    job = view.job(evaluation.namespace, evaluation.job_id)
    allocs = list(view.allocs_of_job(evaluation.namespace, evaluation.job_id))
    deployment = view.latest_deployment(evaluation.namespace, evaluation.job_id)
    if job is not None and (job.is_periodic or job.is_parameterized) and not job.stop:
        return SchedulerResult(plan=_empty_plan(evaluation, view, job))  # only its children run
    in_place = InPlaceCheck(job, view, allocs)
    is_system = job is not None and job.type in (JobType.SYSTEM, JobType.SYSBATCH)
    ledger = Ledger(view, view.fleet(), rng)
    decide = reconcile_system if is_system and job is not None and not job.stop else None
    if decide is not None and job is not None:
        decision = decide(
            job, allocs, deployment, evaluation, ledger, now=now, node_of=view.node,
            fits_in_place=in_place, new_id=new_id,
        )  # fmt: skip
    else:
        decision = reconcile(
            job, allocs, deployment, evaluation, now=now, node_of=view.node, fits_in_place=in_place,
            new_id=new_id,
        )  # fmt: skip
    return carry_out(evaluation, view, job, allocs, decision, ledger, is_system)


def carry_out(
    evaluation: Evaluation,
    view: View,
    job: Job | None,
    allocs: Sequence[Allocation],
    decision: Decision,
    ledger: Ledger,
    is_system: bool,
) -> SchedulerResult:
    """Find nodes for what was decided and put everything into one plan."""
    outcomes: dict[str, Outcome] = {}
    stopping = {stop.alloc_id for group in decision.groups.values() for stop in group.stops}
    if job is not None and any(group.wanted or group.unsuited for group in decision.groups.values()):
        for alloc in allocs:
            if alloc.id in stopping:
                ledger.free(alloc)
        live = [alloc for alloc in allocs if not alloc.is_terminal and alloc.id not in stopping]
        configuration = view.scheduler_configuration()
        placer = Placer(job, ledger, live, preempts(job, configuration), configuration.scheduler_algorithm == "spread")
        place = place_system if is_system else Placer.place
        for name, group in decision.groups.items():
            if group.wanted or group.unsuited:
                outcomes[name] = place(placer, name, group)
    return _result(evaluation, view, job, decision, outcomes, ledger.fleet.ids)


def preempts(job: Job, configuration: SchedulerConfiguration) -> bool:
    """Whether jobs of this type may push out others."""
    rules = configuration.preemption_config
    return {
        JobType.SERVICE: rules.service_scheduler_enabled,
        JobType.BATCH: rules.batch_scheduler_enabled,
        JobType.SYSTEM: rules.system_scheduler_enabled,
        JobType.SYSBATCH: rules.sysbatch_scheduler_enabled,
    }[job.type]


def _result(
    evaluation: Evaluation,
    view: View,
    job: Job | None,
    decision: Decision,
    outcomes: dict[str, Outcome],
    ids: Sequence[str],
) -> SchedulerResult:
    placements: list[Placement] = []
    stops: list[AllocStop] = list(decision.buried)
    in_place: list[InPlaceUpdate] = []
    updates: dict[str, DesiredUpdates] = {}
    failed: dict[str, AllocMetric] = {}
    eligibility: dict[str, bool] = {}
    for name, group in decision.groups.items():
        outcome = outcomes.get(name, Outcome())
        stops += group.stops
        stops += outcome.stops
        stops += evictions(outcome.blocks, len(placements))
        takes_part = decision.deployment_id and group.join_deployment
        for block in outcome.blocks:
            joins = takes_part and job is not None and block.job.version == job.version
            placements.append(block.placement(ids, evaluation.id, decision.deployment_id if joins else ""))
        in_place += [
            InPlaceUpdate(
                alloc_id=alloc.id,
                job_version=job.version if job else 0,
                eval_id=evaluation.id,
                deployment_id=decision.deployment_id if takes_part else "",
            )
            for alloc in group.in_place
        ]
        updates[name] = msgspec.structs.replace(group.updates, preemptions=len(outcome.victims))
        if outcome.failed is not None:
            failed[name] = outcome.failed
        for class_name, good in outcome.class_eligibility.items():
            eligibility[class_name] = eligibility.get(class_name, False) or good
    queued = {group.name: 0 for group in job.task_groups} if job is not None else {}
    queued |= {name: outcome.unplaced for name, outcome in outcomes.items() if name in queued}
    plan = Plan(
        eval_id=evaluation.id, priority=evaluation.priority, job=job,
        all_at_once=job.all_at_once if job else False, snapshot_index=view.index,
        placements=tuple(placements), stops=tuple(stops),
        annotations=tuple(note for group in decision.groups.values() for note in group.annotations),
        in_place=tuple(in_place), deployment=decision.deployment,
        deployment_updates=tuple(decision.deployment_updates), desired_updates=updates,
    )  # fmt: skip
    return SchedulerResult(
        plan=plan, failed=failed, queued=queued, evaluations=tuple(decision.evaluations),
        class_eligibility=eligibility, escaped=any(outcome.escaped for outcome in outcomes.values()),
        deployment_id=decision.deployment_id,
    )  # fmt: skip


def _empty_plan(evaluation: Evaluation, view: View, job: Job) -> Plan:
    return Plan(eval_id=evaluation.id, priority=evaluation.priority, job=job, snapshot_index=view.index)


class InPlaceCheck:
    """Whether a living allocation's node still meets the constraints of the newest version.

    Of copies that distinct_hosts or distinct_property no longer let be together, those of the newest version stay, then
    those asked about first. allocs: all of the job.
    """

    def __init__(self, job: Job | None, view: View, allocs: Sequence[Allocation]) -> None:
        self._job = job
        self._view = view
        self._newest = [alloc for alloc in allocs if job is not None and not alloc.is_terminal and is_of(alloc, job)]
        self._asks: dict[str, Ask] = {}
        self._stay: dict[tuple[str, ...], set[str]] = {}
        """By (group or '' for the whole job, attribute or 'host', value): who stays."""

    def __call__(self, alloc: Allocation, group: TaskGroup) -> bool:
        """True if `alloc` may go on where it is, as a copy of `group`."""
        node = self._view.node(alloc.node_id)
        if node is None or self._job is None:
            return False
        ask = self._asks.get(group.name)
        if ask is None:
            ask = self._asks[group.name] = ask_of(self._job, group)
            self._keep_newest(ask)
        return suits(ask, node, alloc.index) and self._keeps_apart(ask, node, alloc.id)

    def _keep_newest(self, ask: Ask) -> None:
        """Copies of the newest version have their places already."""
        for alloc in self._newest if ask.distinct_hosts or ask.distinct_properties else ():
            node = self._view.node(alloc.node_id)
            if node is not None:
                for key, _ in self._shares(ask, node, alloc.task_group):
                    self._stay.setdefault(key, set()).add(alloc.id)

    def _keeps_apart(self, ask: Ask, node: Node, alloc_id: str) -> bool:
        if any(resolve(target, node, ask.job.region) is None for target, _, _ in ask.distinct_properties):
            return False
        shares = self._shares(ask, node, ask.group.name)
        staying = [(self._stay.setdefault(key, set()), most) for key, most in shares]
        if any(alloc_id not in there and len(there) >= most for there, most in staying):
            return False
        for there, _ in staying:
            there.add(alloc_id)
        return True

    @staticmethod
    def _shares(ask: Ask, node: Node, group: str) -> list[tuple[tuple[str, ...], int]]:
        """What a copy of `group` on the node takes part of, and how many may: its host, and values of attributes.

        Only what copies of the ask's own group are limited by.
        """
        found: list[tuple[tuple[str, ...], int]] = []
        is_own = group == ask.group.name
        if ask.distinct_hosts == "job" or (ask.distinct_hosts and is_own):
            found.append((("" if ask.distinct_hosts == "job" else group, "host", node.id), 1))
        for target, most, scope in ask.distinct_properties:
            value = resolve(target, node, ask.job.region)
            if value is not None and (scope == "job" or is_own):
                found.append((("" if scope == "job" else group, target, value), most))
        return found
