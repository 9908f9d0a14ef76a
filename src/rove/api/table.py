"""The route table: every route that this API serves and documents."""

from __future__ import annotations

from . import allocations, evaluations, job, jobs, nodes, status
from .routes import Route

ROUTES: tuple[Route, ...] = (
    *jobs.ROUTES,
    *job.ROUTES,
    *allocations.ROUTES,
    *evaluations.ROUTES,
    *nodes.ROUTES,
    *status.ROUTES,
)
