"""Rules of stored evaluations: indexes, queued counts, blocked ones that are no longer needed."""

from __future__ import annotations

import msgspec

from rove.structs.evaluation import EvalStatus, Evaluation
from rove.structs.job import Job

from . import rows
from .draft import Draft
from .jobs import set_queued, set_tally
from .tables import JobKey

replace = msgspec.structs.replace


def put_evaluation(draft: Draft, evaluation: Evaluation) -> Evaluation:
    """Store an evaluation, new or changed; returns it with its indexes and times."""
    old: Evaluation | None = draft.evaluations.get(evaluation.id)
    key = evaluation.job_key
    job: Job | None = draft.jobs.get(key)
    evaluation = replace(
        evaluation, modify_index=draft.index, modify_time=draft.now,
        create_index=draft.index if old is None else old.create_index,
        create_time=(evaluation.create_time or draft.now) if old is None else old.create_time,
        job_modify_index=evaluation.job_modify_index or (job.job_modify_index if job else 0),
    )  # fmt: skip
    _store(draft, evaluation)
    if old is None:
        draft.evaluations_of_job[key] = draft.in_order(
            draft.evaluations, draft.evaluations_of_job.get(key, ()), evaluation.id
        )  # fmt: skip
    opened = (not evaluation.is_terminal) - (old is not None and not old.is_terminal)
    if opened or old is None:
        tally = draft.tally(key)
        set_tally(draft, key, replace(
            tally, open_evals=tally.open_evals + opened, evals=tally.evals + (old is None),
        ))  # fmt: skip
    if evaluation.queued_allocations and evaluation.status is not EvalStatus.CANCELED:
        set_queued(draft, key, evaluation.queued_allocations)
    if evaluation.status is EvalStatus.COMPLETE and not evaluation.failed_tg_allocs:
        _cancel_blocked(draft, evaluation, job)
    return evaluation


def _store(draft: Draft, evaluation: Evaluation) -> None:
    draft.evaluations[evaluation.id] = evaluation
    draft.put_row("evaluations", rows.key(evaluation.create_index, evaluation.id), evaluation)
    draft.mark(("evals",), ("evals.job", *evaluation.job_key))
    draft.touched.add(("eval", evaluation.id))
    draft.events["Evaluation", evaluation.id] = draft.event_type


def _cancel_blocked(draft: Draft, done: Evaluation, job: Job | None) -> None:
    """An evaluation placed everything: what waits for room on behalf of the job has nothing left to do.

    Evaluations blocked on one node (system jobs) stay, unless the job is stopped.
    """
    if not draft.tally(done.job_key).open_evals:
        return
    over = job is None or job.stop
    for blocked in draft.open_evaluations(done.job_key):
        if blocked.status is not EvalStatus.BLOCKED or blocked.id in (done.id, done.blocked_eval):
            continue
        if blocked.create_index > done.create_index and not over:
            continue
        if blocked.node_id and not over:
            continue
        reason = f"evaluation {done.id} left nothing to place"
        put_evaluation(
            draft, replace(blocked, status=EvalStatus.CANCELED, status_description=reason)
        )  # fmt: skip


def forget(draft: Draft, evaluation_id: str) -> None:
    """Remove an evaluation."""
    evaluation: Evaluation | None = draft.evaluations.pop(evaluation_id)
    if evaluation is None:
        return
    key: JobKey = evaluation.job_key
    rest = tuple(name for name in draft.evaluations_of_job.get(key, ()) if name != evaluation_id)
    if rest:
        draft.evaluations_of_job[key] = rest
    else:
        draft.evaluations_of_job.pop(key)
    draft.delete_row("evaluations", rows.key(evaluation.create_index, evaluation_id))
    tally = draft.tally(key)
    set_tally(draft, key, replace(
        tally, evals=tally.evals - 1, open_evals=tally.open_evals - (not evaluation.is_terminal),
    ))  # fmt: skip
    draft.mark(("evals",), ("evals.job", *key))
    draft.touched.add(("eval", evaluation_id))
