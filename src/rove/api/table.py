"""The route table: every route that this API serves and documents."""

from __future__ import annotations

from . import (
    absent,
    agent,
    allocations,
    client,
    deployments,
    evaluations,
    event,
    exec,
    groupings,
    job,
    jobs,
    metrics,
    nodes,
    openapi,
    operator,
    scaling,
    search,
    status,
    statuses,
    system,
    tags,
)
from .routes import Route

ROUTES: tuple[Route, ...] = (
    *jobs.ROUTES,
    *job.ROUTES,
    *tags.ROUTES,
    *statuses.ROUTES,
    *scaling.ROUTES,
    *allocations.ROUTES,
    *client.ROUTES,
    *exec.ROUTES,
    *evaluations.ROUTES,
    *deployments.ROUTES,
    *nodes.ROUTES,
    *groupings.ROUTES,
    *agent.ROUTES,
    *status.ROUTES,
    *system.ROUTES,
    *operator.ROUTES,
    *search.ROUTES,
    *metrics.ROUTES,
    *event.ROUTES,
    *openapi.ROUTES,
    *absent.ROUTES,
)
