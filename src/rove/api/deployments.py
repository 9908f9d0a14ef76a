"""/v1/deployments and /v1/deployment/*."""

from __future__ import annotations

from typing import Any

from rove.errors import BadRequestError
from rove.structs.alloc import Allocation, AllocStub
from rove.structs.base import Noun
from rove.structs.deployment import Deployment, DeploymentWaits

from .backend import Snapshot
from .call import Call, Reply
from .govalues import shown
from .missing import unknown
from .reading import read, read_page
from .routes import BLOCKING, LISTING, READ, WRITE, Route
from .shapes import DeploymentReply, alloc_stub, deployment_order


class PauseBody(Noun, frozen=True, kw_only=True):
    """Pause or resume."""

    deployment_id: str = ""
    pause: bool = False


class PromoteBody(Noun, frozen=True, kw_only=True):
    """Promote the canaries of all groups, or of some."""

    deployment_id: str = ""
    all: bool = False
    groups: list[str] = []


class UnblockBody(Noun, frozen=True, kw_only=True):
    """Release a deployment that waits for other regions."""

    deployment_id: str = ""


class HealthBody(Noun, frozen=True, kw_only=True):
    """Which allocations are healthy, said by hand."""

    deployment_id: str = ""
    healthy_allocation_ids: list[str] = []
    unhealthy_allocation_ids: list[str] = []


async def list_deployments(call: Call) -> Reply:
    """Deployments in creation order."""
    namespace, prefix = call.list_namespace, call.query.get("prefix", "")

    def items(snapshot: Snapshot) -> Any:
        return snapshot.deployments(prefix, namespace)

    def shape(_: Snapshot, deployment: Deployment) -> Deployment:
        return deployment

    return await read_page(call, [("deployments",)], items, shape, deployment_order)


def known_deployment(snapshot: Snapshot, deployment_id: str) -> Deployment:
    """The deployment. Raises `NotFoundError`."""
    deployment = snapshot.deployment(deployment_id)
    if deployment is None:
        raise unknown("deployment", deployment_id)
    return deployment


async def read_deployment(call: Call) -> Reply:
    """One deployment."""
    deployment_id = call.ids["deployment_id"]
    return await read(call, [("deployment", deployment_id)], lambda snap: known_deployment(snap, deployment_id))


async def allocations(call: Call) -> Reply:
    """Stubs of a deployment's allocations."""
    deployment_id = call.ids["deployment_id"]

    def items(snapshot: Snapshot) -> Any:
        return snapshot.allocs_of_deployment(deployment_id)

    def shape(_: Snapshot, alloc: Allocation) -> AllocStub:
        return alloc_stub(alloc)

    # Changes of a deployment's allocations show as changes of the allocations; the deployment has no key for them.
    keys = [("deployment", deployment_id), ("allocs",)]
    return await read_page(call, keys, items, shape, lambda a: (a.create_index, a.id))


async def fail(call: Call) -> Reply:
    """End a deployment as failed."""
    return _answer(await call.verb("fail_deployment")(_existing(call)))


async def pause(call: Call) -> Reply:
    """Pause or resume."""
    body = await call.body(PauseBody)
    return _answer(await call.verb("pause_deployment")(_existing(call, body.deployment_id), body.pause))


async def promote(call: Call) -> Reply:
    """Promote canaries."""
    body = await call.body(PromoteBody)
    deployment_id = _existing(call, body.deployment_id)
    if body.all == bool(body.groups):
        raise BadRequestError("deployment.promote", "promote either all groups or some", fix="send All or Groups")
    return _answer(await call.verb("promote_deployment")(deployment_id, all=body.all, groups=body.groups))


async def unblock(call: Call) -> Reply:
    """Release a deployment that waits for other regions."""
    body = await call.body(UnblockBody, optional=True)
    return _answer(await call.verb("unblock_deployment")(_existing(call, body.deployment_id)))


async def set_health(call: Call) -> Reply:
    """Say which allocations are healthy."""
    body = await call.body(HealthBody)
    deployment_id = _existing(call, body.deployment_id)
    if not body.healthy_allocation_ids and not body.unhealthy_allocation_ids:
        raise BadRequestError("deployment.health", "no allocation is named")
    done = await call.verb("set_alloc_health")(
        deployment_id, body.healthy_allocation_ids, body.unhealthy_allocation_ids
    )
    return _answer(done)


async def explain(call: Call) -> Reply:
    """What a deployment waits for, and until when."""
    snapshot = call.store.snapshot()
    known_deployment(snapshot, call.ids["deployment_id"])
    return Reply(await call.verb("explain_deployment")(call.ids["deployment_id"]), snapshot.index)


def _existing(call: Call, in_body: str = "") -> str:
    deployment_id = call.ids["deployment_id"]
    if in_body and in_body != deployment_id:
        raise BadRequestError(
            "deployment.id_mismatch",
            f"DeploymentID {shown(in_body)} in the body is not the path's {shown(deployment_id)}",
        )
    return known_deployment(call.store.snapshot(), deployment_id).id


def _answer(done: Any) -> Reply:
    body = DeploymentReply(
        eval_id=done.eval_id,
        eval_create_index=done.eval_create_index,
        deployment_modify_index=getattr(done, "deployment_modify_index", done.index),
        reverted_job_version=getattr(done, "reverted_job_version", None),
        index=done.index,
    )
    return Reply(body, done.index, is_read=False)


def _verb(name: str, handler: Any, summary: str, body: Any = None) -> Route:
    return Route(
        methods=WRITE,
        path=f"/v1/deployment/{name}/{{deployment_id}}",
        handler=handler,
        summary=summary,
        capability="submit-job",
        body=body,
        answer=DeploymentReply,
    )


ROUTES = (
    Route(
        methods=READ,
        path="/v1/deployments",
        handler=list_deployments,
        summary="List deployments",
        capability="read-job",
        query=(*LISTING, *BLOCKING),
        answer=list[Deployment],
        blocks_on=("deployments",),
    ),
    Route(
        methods=READ,
        path="/v1/deployment/{deployment_id}",
        handler=read_deployment,
        summary="Read a deployment",
        capability="read-job",
        query=BLOCKING,
        answer=Deployment,
        blocks_on=("deployment",),
    ),
    Route(
        methods=READ,
        path="/v1/deployment/allocations/{deployment_id}",
        handler=allocations,
        summary="Allocations of a deployment",
        capability="read-job",
        query=(*LISTING, *BLOCKING),
        answer=list[AllocStub],
        blocks_on=("deployment", "allocs"),
    ),
    Route(
        methods=READ,
        path="/v1/deployment/{deployment_id}/why",
        handler=explain,
        summary="What a deployment waits for (Rove's own)",
        capability="read-job",
        answer=DeploymentWaits,
    ),
    _verb("fail", fail, "End a deployment as failed"),
    _verb("pause", pause, "Pause or resume a deployment", PauseBody),
    _verb("promote", promote, "Promote canaries", PromoteBody),
    _verb("unblock", unblock, "Release a blocked deployment", UnblockBody),
    _verb("allocation-health", set_health, "Say which allocations are healthy", HealthBody),
)
