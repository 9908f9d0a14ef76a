"""Routes of Nomad for which there is nothing here: answered so that its clients go on.

Lists are empty, things of enterprise editions are 501, as Nomad's community edition answers, and access control
says that it is off. A room that brings one of these to life takes its line out of here.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from rove.errors import BadRequestError, RoveError

from .call import Call, Reply
from .missing import unknown
from .routes import READ, WRITE, Route

EVERY = ("GET", *WRITE, "DELETE")


async def empty_list(call: Call) -> Reply:
    """A list of nothing."""
    return Reply([], max(1, call.store.index))


async def no_such(call: Call) -> Reply:
    """A thing that cannot be here."""
    raise unknown("object", next(iter(call.ids.values()), ""))


async def enterprise(call: Call) -> Reply:
    """A part of another edition."""
    raise RoveError("feature.absent", "Rove has no such feature", status=501)


async def no_snapshot(call: Call) -> Reply:
    """The state is one file, which is copied where it lies."""
    raise RoveError(
        "operator.no_snapshot",
        "snapshots over the API are not built",
        "the state of a server is one file, server/state.db below its data_dir",
        'copy it on the server, also while the agent runs: sqlite3 state.db ".backup copy.db"',
        status=501,
    )


async def no_variables(call: Call) -> Reply:
    """Variables cannot be written."""
    raise RoveError(
        "var.not_built",
        "variables are planned and not built yet",
        fix='give values to a job file with -var, or to a task with its "env" stanza',
        status=501,
    )


async def acl_disabled(call: Call) -> Reply:
    """Access control is off."""
    raise BadRequestError("acl.disabled", "ACL support disabled")


async def no_license(call: Call) -> web.StreamResponse:
    """Rove needs no licence."""
    return web.Response(status=204)


def _lists(*paths: str) -> list[Route]:
    return [
        Route(methods=READ, path=path, handler=empty_list, summary="Empty here", answer=list[dict[str, Any]])
        for path in paths
    ]


def _all(handler: Any, summary: str, methods: tuple[str, ...], *paths: str) -> list[Route]:
    return [Route(methods=methods, path=path, handler=handler, summary=summary) for path in paths]


ROUTES = (
    *_lists(
        "/v1/volumes",
        "/v1/volumes/external",
        "/v1/volumes/snapshot",
        "/v1/volumes/claims",
        "/v1/plugins",
        "/v1/vars",
    ),
    *_all(
        no_such,
        "Not here",
        READ,
        "/v1/volume/csi/{volume_id}",
        "/v1/volume/host/{volume_id}",
        "/v1/plugin/csi/{plugin_id}",
        "/v1/var/{path}",
    ),
    *_all(
        enterprise,
        "Of another edition",
        EVERY,
        "/v1/quotas",
        "/v1/quota",
        "/v1/quota/{name}",
        "/v1/quota-usages",
        "/v1/sentinel/policies",
        "/v1/sentinel/policy/{name}",
        "/v1/recommendations",
        "/v1/recommendation",
        "/v1/recommendation/{name}",
    ),
    *_all(acl_disabled, "Access control is off", EVERY, "/v1/acl/{rest}"),
    *_all(no_snapshot, "Not built", EVERY, "/v1/operator/snapshot"),
    *_all(no_variables, "Not built", (*WRITE, "DELETE"), "/v1/var/{path}"),
    *_all(no_license, "No licence is needed", READ, "/v1/operator/license"),
    *_all(enterprise, "Of another edition", WRITE, "/v1/operator/license", "/v1/operator/utilization"),
)
