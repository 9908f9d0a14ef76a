"""The errors for things that are not there, in the words that clients look for (`not found`)."""

from __future__ import annotations

from rove.errors import NotFoundError

from .govalues import shown


def unknown_job(namespace: str, job_id: str) -> NotFoundError:
    """No such job."""
    return NotFoundError("job.unknown", f"job not found: {shown(job_id)} in namespace {shown(namespace)}")


def unknown(noun: str, thing_id: str) -> NotFoundError:
    """No such alloc, node, evaluation, deployment, ..."""
    code = noun.replace(" ", "_")
    return NotFoundError(f"{code}.unknown", f"{noun} not found: {shown(thing_id)}")
