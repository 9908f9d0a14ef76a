"""`rove system`."""

from __future__ import annotations

from rove.cli.app import current
from rove.cli.command import command


@command()
def gc() -> None:
    """Forget everything that is finished: jobs, evaluations, allocations, nodes, deployments."""
    current().client().operator.gc()


@command()
def summaries() -> None:
    """Count all jobs' allocations anew."""
    current().client().operator.reconcile_summaries()
