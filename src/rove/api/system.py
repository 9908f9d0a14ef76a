"""/v1/system/*: chores."""

from __future__ import annotations

from .call import Call, Reply
from .routes import Route


async def collect_garbage(call: Call) -> Reply:
    """Forget everything that is over."""
    await call.server.collect_garbage()
    return Reply({}, call.store.index, is_read=False)


async def reconcile_summaries(call: Call) -> Reply:
    """Count the summaries of all jobs anew."""
    await call.server.reconcile_summaries()
    return Reply({}, call.store.index, is_read=False)


ROUTES = (
    Route(
        methods=("PUT",),
        path="/v1/system/gc",
        handler=collect_garbage,
        summary="Forget what is over",
        capability="management",
    ),
    Route(
        methods=("PUT",),
        path="/v1/system/reconcile/summaries",
        handler=reconcile_summaries,
        summary="Count summaries anew",
        capability="management",
    ),
)
