"""Applying a transaction: a pure function from tables, transaction, index, time and randomness to new tables."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rove.structs.alloc import DesiredTransition
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job, TaskGroupSummary
from rove.structs.plan import Plan

from . import allocs, collecting, counting, deployments, evaluations, jobs, nodes, services, settings
from . import transactions as t
from .draft import Draft
from .jobs import NO_COUNTS
from .postings import EMPTY

replace = msgspec.structs.replace

EVENT_TYPES: dict[type[t.Transaction], str] = {
    t.PutNode: "NodeRegistration",
    t.SetNodeStatus: "NodeStreamEvent",
    t.SetNodeEligibility: "NodeEligibility",
    t.SetNodeDrain: "NodeDrain",
    t.AddNodeEvents: "NodeStreamEvent",
    t.SetNodeMeta: "NodeRegistration",
    t.DeleteNodes: "NodeDeregistration",
    t.PutJob: "JobRegistered",
    t.StopJob: "JobDeregistered",
    t.SetJobStability: "JobRegistered",
    t.TagJobVersion: "JobRegistered",
    t.PutEvaluations: "EvaluationUpdated",
    t.ApplyPlan: "PlanResult",
    t.UpdateAllocs: "AllocationUpdated",
    t.SetTransitions: "AllocationUpdateDesiredStatus",
    t.PutDeployment: "DeploymentStatusUpdate",
    t.UpdateDeployments: "DeploymentStatusUpdate",
    t.SetProgressDeadline: "DeploymentStatusUpdate",
    t.PromoteDeployment: "DeploymentPromotion",
    t.SetAllocHealth: "DeploymentAllocHealth",
    t.Collect: "JobBatchDeregistered",
}
"""Type of the events that a transaction's changes give, after Nomad's names."""


def apply(draft: Draft, transaction: t.Transaction) -> None:
    """Apply a transaction and all that follows from it."""
    apply_part(draft, transaction)
    services.follow(draft)
    jobs.refresh_statuses(draft)


def apply_part(draft: Draft, transaction: t.Transaction) -> None:
    """Apply one transaction, batches part by part."""
    if isinstance(transaction, t.Batch):
        for part in transaction.parts:
            apply_part(draft, part)
        return
    draft.event_type = EVENT_TYPES.get(type(transaction), "")
    APPLY[type(transaction)](draft, transaction)


def _put_evaluations(draft: Draft, items: tuple[Evaluation, ...]) -> None:
    for evaluation in items:
        evaluations.put_evaluation(draft, evaluation)


def _put_job(draft: Draft, transaction: t.PutJob) -> None:
    jobs.put_job(draft, transaction)
    if transaction.evaluation is not None:
        evaluations.put_evaluation(draft, transaction.evaluation)


def _stop_job(draft: Draft, transaction: t.StopJob) -> None:
    key = (transaction.namespace, transaction.job_id)
    if transaction.purge:
        jobs.purge_job(draft, key)
    else:
        jobs.stop_job(draft, key)
    if transaction.no_shutdown_delay:
        wanted = DesiredTransition(no_shutdown_delay=True)
        for block, position, _ in list(allocs.live_of_job(draft, key)):
            allocs.set_transition(draft, block.id_of(position), wanted)
    if transaction.evaluation is not None:
        evaluations.put_evaluation(draft, transaction.evaluation)


def _apply_plan(draft: Draft, transaction: t.ApplyPlan) -> None:
    plan = transaction.plan
    for update in plan.deployment_updates:
        deployments.update_status(draft, update)
    if plan.deployment is not None:
        _put_plan_deployment(draft, plan)
    blocks = [allocs.place(draft, placement, plan.job) for placement in plan.placements]
    for stop in plan.stops:
        by = ""
        if stop.preempted_by_index is not None:
            number, position = stop.preempted_by_index
            by = blocks[number].id_of(position)
        allocs.stop(draft, stop, by)
    for annotation in plan.annotations:
        allocs.annotate(draft, annotation)
    for in_place in plan.in_place:
        allocs.move(draft, in_place)
    _put_evaluations(draft, transaction.evaluations)


def _put_plan_deployment(draft: Draft, plan: Plan) -> None:
    """Store a plan's deployment. Counters of a known one are the store's own, not those of the plan."""
    wanted = plan.deployment
    known: Deployment | None = draft.deployments.get(wanted.id) if wanted is not None else None
    if wanted is None:
        return
    if known is not None:
        groups = {
            name: group
            if (old := known.task_groups.get(name)) is None
            else replace(old, desired_total=group.desired_total, desired_canaries=group.desired_canaries)
            for name, group in wanted.task_groups.items()
        }
        wanted = replace(known, task_groups={**known.task_groups, **groups})
        if wanted == known:
            return
    deployments.put_deployment(draft, wanted)


def _update_allocs(draft: Draft, transaction: t.UpdateAllocs) -> None:
    for update in transaction.updates:
        allocs.report(draft, update, transaction.node_id)
    _put_evaluations(draft, transaction.evaluations)


def _set_transitions(draft: Draft, transaction: t.SetTransitions) -> None:
    for alloc_id, wanted in transaction.transitions.items():
        allocs.set_transition(draft, alloc_id, wanted)
    _put_evaluations(draft, transaction.evaluations)


def _update_deployments(draft: Draft, transaction: t.UpdateDeployments) -> None:
    for update in transaction.updates:
        deployments.update_status(draft, update)
    if transaction.job is not None:
        jobs.put_job(draft, t.PutJob(job=transaction.job))
    _put_evaluations(draft, transaction.evaluations)


def _promote(draft: Draft, transaction: t.PromoteDeployment) -> None:
    if deployments.promote(draft, transaction.deployment_id, transaction.groups):
        deployment: Deployment = draft.deployments.get(transaction.deployment_id)
        for name, group in deployment.task_groups.items():
            if group.promoted and (not transaction.groups or name in transaction.groups):
                allocs.promote_canaries(draft, group.placed_canaries)
    _put_evaluations(draft, transaction.evaluations)


def _set_alloc_health(draft: Draft, transaction: t.SetAllocHealth) -> None:
    for alloc_id in transaction.healthy_ids:
        allocs.set_health(draft, alloc_id, transaction.deployment_id, True)
    for alloc_id in transaction.unhealthy_ids:
        allocs.set_health(draft, alloc_id, transaction.deployment_id, False)
    if transaction.update is not None:
        deployments.update_status(draft, transaction.update)
    if transaction.job is not None:
        jobs.put_job(draft, t.PutJob(job=transaction.job))
    _put_evaluations(draft, transaction.evaluations)


def _delete_nodes(draft: Draft, transaction: t.DeleteNodes) -> None:
    for node_id in transaction.node_ids:
        nodes.forget(draft, node_id)
    _put_evaluations(draft, transaction.evaluations)


def _set_node_status(draft: Draft, transaction: t.SetNodeStatus) -> None:
    nodes.set_status(draft, transaction)
    _put_evaluations(draft, transaction.evaluations)


def _set_node_eligibility(draft: Draft, transaction: t.SetNodeEligibility) -> None:
    nodes.set_eligibility(draft, transaction)
    _put_evaluations(draft, transaction.evaluations)


def _set_node_drain(draft: Draft, transaction: t.SetNodeDrain) -> None:
    nodes.set_drain(draft, transaction)
    _put_evaluations(draft, transaction.evaluations)


def _collect(draft: Draft, transaction: t.Collect) -> None:
    if transaction.decided_at:
        transaction = collecting.still_over(draft, transaction)
    allocs.collect(draft, transaction.alloc_ids)
    for evaluation_id in transaction.evaluation_ids:
        evaluations.forget(draft, evaluation_id)
    for deployment_id in transaction.deployment_ids:
        deployments.forget(draft, deployment_id)
    for key in transaction.jobs:
        jobs.purge_job(draft, key)
    for node_id in transaction.node_ids:
        nodes.forget(draft, node_id)


def _reconcile_summaries(draft: Draft, transaction: t.ReconcileSummaries) -> None:
    for key, job in draft.base.jobs.items():
        tally = draft.tally(key)
        groups = count_groups(draft, job)
        if groups != {name: counts for name, counts in tally.groups.items() if counts != NO_COUNTS}:
            jobs.set_tally(draft, key, replace(tally, groups=groups, modify_index=draft.index))
            draft.mark(("job.summary", *key))


def count_groups(draft: Draft, job: Job) -> dict[str, TaskGroupSummary]:
    """A job's summary counted from nothing: allocations, and what is stored of those collected."""
    kept = draft.kept_counts.get(job.key)
    groups = dict(kept.groups) if kept is not None else {}
    for number in draft.blocks_of_job.get(job.key, EMPTY).numbers():
        block = draft.blocks.get(number)
        name = block.placement.group
        for position in range(len(block)):
            change = draft.change_of(block, position)
            if not change.gone and counting.is_counted(draft, counting.spec_at(block, change)):
                field = counting.COUNTED_AS[change.client_status]
                counts = groups.get(name, NO_COUNTS)
                groups[name] = replace(counts, **{field: getattr(counts, field) + 1})
    return {name: counts for name, counts in groups.items() if counts != NO_COUNTS}


APPLY: dict[type[t.Transaction], Callable[..., object]] = {
    t.PutNode: lambda draft, transaction: nodes.put_node(draft, transaction.node),
    t.SetNodeStatus: _set_node_status,
    t.SetNodeEligibility: _set_node_eligibility,
    t.SetNodeDrain: _set_node_drain,
    t.AddNodeEvents: lambda draft, transaction: nodes.add_events(draft, transaction.node_id, transaction.events),
    t.SetNodeMeta: lambda draft, transaction: nodes.set_meta(draft, transaction.node_id, transaction.meta),
    t.DeleteNodes: _delete_nodes,
    t.PutJob: _put_job,
    t.StopJob: _stop_job,
    t.SetJobStability: jobs.set_stability,
    t.TagJobVersion: jobs.tag_version,
    t.PutPeriodicLaunch: jobs.put_launch,
    t.PutScalingEvent: jobs.put_scaling_event,
    t.ReconcileSummaries: _reconcile_summaries,
    t.PutEvaluations: lambda draft, transaction: _put_evaluations(draft, transaction.evaluations),
    t.ApplyPlan: _apply_plan,
    t.UpdateAllocs: _update_allocs,
    t.SetTransitions: _set_transitions,
    t.PutServices: services.put_services,
    t.DeleteService: services.delete_service,
    t.PutDeployment: lambda draft, transaction: deployments.put_deployment(draft, transaction.deployment),
    t.UpdateDeployments: _update_deployments,
    t.PromoteDeployment: _promote,
    t.SetAllocHealth: _set_alloc_health,
    t.SetProgressDeadline: lambda draft, transaction: deployments.reset_progress(draft, transaction.deployment_id),
    t.PutSchedulerConfiguration: lambda draft, transaction: settings.put_configuration(
        draft, transaction.configuration
    ),
    t.PutNodePool: lambda draft, transaction: settings.put_pool(draft, transaction.pool),
    t.DeleteNodePool: lambda draft, transaction: settings.delete_pool(draft, transaction.name),
    t.PutNamespace: lambda draft, transaction: settings.put_namespace(draft, transaction.namespace),
    t.DeleteNamespace: lambda draft, transaction: settings.delete_namespace(draft, transaction.name),
    t.PutDocument: lambda draft, transaction: settings.put_document(
        draft, transaction.table, transaction.key, transaction.value
    ),
    t.Collect: _collect,
}
