"""What people ask of a deployment: promote, fail, pause, resume, unblock, set health, explain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rove.errors import BadRequestError, NotFoundError, RoveError
from rove.ports import Clock, Ids
from rove.server.nodes.loop import Nodes
from rove.server.state import (
    Batch,
    PutEvaluations,
    SetAllocHealth,
    Snapshot,
    Store,
    Transaction,
    UpdateDeployments,
)
from rove.structs.alloc import Allocation
from rove.structs.deployment import Deployment, DeploymentStatus, DeploymentWaits
from rove.structs.evaluation import Evaluation
from rove.structs.messages import AllocRequest, Kind, Stats
from rove.structs.plan import DeploymentUpdate

from . import core, gates
from .loop import carried_out, promoted
from .waits import to_ask, waits_of

CHECKS_TIMEOUT_S = 2.0
HELD = frozenset({DeploymentStatus.PAUSED, DeploymentStatus.INITIALIZING, DeploymentStatus.PENDING})


class DeploymentChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a verb. eval_id is empty if nothing has to be scheduled."""

    eval_id: str = ""
    eval_create_index: int = 0
    deployment_modify_index: int = 0
    reverted_job_version: int | None = None
    index: int = 0


class DeploymentVerbs:
    """Each verb checks against the head and commits one transaction. Raises `RoveError`."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, nodes: Nodes) -> None:
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._ids = ids

    async def promote(self, deployment_id: str, *, all: bool = False, groups: Sequence[str] = ()) -> DeploymentChanged:
        """Let the canaries of all groups, or of some, take over. They must be healthy."""
        head, deployment = self._active(deployment_id, "promote")
        names = check_promotion(head, deployment, None if all else groups)
        evaluation = self._evaluation(head, deployment)
        return await self._commit(deployment, promoted(deployment, names), evaluation)

    async def fail(self, deployment_id: str) -> DeploymentChanged:
        """End a deployment as failed; groups with auto_revert take the job back to its stable version."""
        head, deployment = self._active(deployment_id, "fail")
        return await self._fail(head, deployment, (), core.FAILED_BY_PERSON)

    async def pause(self, deployment_id: str, pause: bool) -> DeploymentChanged:
        """Hold a deployment (nothing is placed, no deadline runs), or let it go on with a fresh deadline."""
        head, deployment = self._active(deployment_id, "pause" if pause else "resume")
        if pause:
            if deployment.status is DeploymentStatus.PAUSED:
                return self._unchanged(head, deployment)
            return await self._commit(
                deployment, [self._update(deployment, DeploymentStatus.PAUSED, core.PAUSED)], None
            )
        if deployment.status not in HELD:
            return self._unchanged(head, deployment)
        # The state gives a resumed deployment its whole progress deadline again.
        part = self._update(deployment, DeploymentStatus.RUNNING, core.description_of(deployment))
        return await self._commit(deployment, [part], self._evaluation(head, deployment))

    async def unblock(self, deployment_id: str) -> DeploymentChanged:
        """Release a deployment that waits for other regions."""
        head, deployment = self._active(deployment_id, "unblock")
        if deployment.status is not DeploymentStatus.BLOCKED:
            raise BadRequestError(
                "deployment.not_blocked",
                "can't unblock deployment that is not blocked",
                f"deployment {deployment.id[:8]} is {deployment.status}",
                status=500,
            )
        part = self._update(deployment, DeploymentStatus.SUCCESSFUL, "the roll-out is complete")
        return await self._commit(deployment, [part], self._evaluation(head, deployment))

    async def set_health(
        self, deployment_id: str, healthy: Sequence[str], unhealthy: Sequence[str]
    ) -> DeploymentChanged:
        """Say by hand which allocations are healthy. One that is not ends the deployment as failed."""
        head, deployment = self._active(deployment_id, "set health of allocations for")
        check_members(head, deployment, (*healthy, *unhealthy), set(healthy) & set(unhealthy))
        part = SetAllocHealth(deployment_id=deployment.id, healthy_ids=tuple(healthy), unhealthy_ids=tuple(unhealthy))
        if not unhealthy:
            return await self._commit(deployment, [part], self._evaluation(head, deployment))
        named = ", ".join(alloc_id[:8] for alloc_id in unhealthy)
        return await self._fail(head, deployment, (part,), f"a person found allocations unhealthy: {named}")

    async def explain(self, deployment_id: str) -> DeploymentWaits:
        """What a deployment waits for; the nodes are asked about checks."""
        snapshot = self._store.snapshot()
        deployment = snapshot.deployment(deployment_id)
        if deployment is None:
            raise unknown(deployment_id)
        job = snapshot.job(*deployment.job_key)
        allocs = snapshot.allocs_of_deployment(deployment.id)
        evaluations = snapshot.evaluations_of_job(*deployment.job_key)
        asked = to_ask(job, allocs) if deployment.is_active else []
        checks = await asyncio.gather(*(self._checks(alloc) for alloc in asked))
        by_alloc = {alloc.id: found for alloc, found in zip(asked, checks, strict=True)}
        return waits_of(deployment, job, allocs, evaluations, self._clock.now(), by_alloc)

    async def _checks(self, alloc: Allocation) -> dict[str, Any]:
        """An allocation's checks; empty if its node does not say."""
        try:
            request = AllocRequest(alloc_id=alloc.id)
            answer = await self._nodes.call(alloc.node_id, Kind.ALLOC_CHECKS, request, Stats, CHECKS_TIMEOUT_S)
        except (RoveError, OSError, msgspec.MsgspecError):
            return {}
        return answer.body

    async def _fail(
        self, head: Snapshot, deployment: Deployment, before: Iterable[Transaction], why: str
    ) -> DeploymentChanged:
        job = head.job(*deployment.job_key)
        decision = core.failed(deployment, job, core.newest_stable(head.job_versions(*deployment.job_key)), why)
        evaluation = self._evaluation(head, deployment)
        if evaluation is None:
            update = self._update(deployment, DeploymentStatus.FAILED, decision.description)
            return await self._commit(deployment, [*before, update], None)
        parts = [*before, *carried_out(head, deployment, decision, evaluation)]
        return await self._commit(
            deployment, parts, evaluation, is_included=True, reverted_version=decision.reverted_version
        )

    async def _commit(
        self,
        deployment: Deployment,
        parts: Sequence[Transaction],
        evaluation: Evaluation | None,
        *,
        is_included: bool = False,
        reverted_version: int | None = None,
    ) -> DeploymentChanged:
        if evaluation is not None and not is_included:
            parts = [*parts, PutEvaluations(evaluations=(evaluation,))]
        index = await self._store.commit(Batch(parts=tuple(parts)))
        return DeploymentChanged(
            eval_id="" if evaluation is None else evaluation.id,
            eval_create_index=0 if evaluation is None else index,
            deployment_modify_index=index,
            reverted_job_version=reverted_version,
            index=index,
        )

    def _active(self, deployment_id: str, verb: str) -> tuple[Snapshot, Deployment]:
        head = self._store.head()
        deployment = head.deployment(deployment_id)
        if deployment is None:
            raise unknown(deployment_id)
        if not deployment.is_active:
            raise BadRequestError(
                "deployment.over",
                f"can't {verb}: this is a terminal deployment",
                f"deployment {deployment.id[:8]} is {deployment.status}: {deployment.status_description}",
                status=500,
            )
        return head, deployment

    def _evaluation(self, head: Snapshot, deployment: Deployment) -> Evaluation | None:
        job = head.job(*deployment.job_key)
        return None if job is None else core.evaluation_for(deployment, job, self._ids.uuid(), self._clock.now())

    @staticmethod
    def _update(deployment: Deployment, status: DeploymentStatus, description: str) -> Transaction:
        update = DeploymentUpdate(deployment_id=deployment.id, status=status, description=description)
        return UpdateDeployments(updates=(update,))

    @staticmethod
    def _unchanged(head: Snapshot, deployment: Deployment) -> DeploymentChanged:
        return DeploymentChanged(deployment_modify_index=deployment.modify_index, index=head.index)


def unknown(deployment_id: str) -> NotFoundError:
    """The deployment does not exist."""
    return NotFoundError("deployment.unknown", "deployment not found", f'there is no deployment "{deployment_id}"')


def check_promotion(head: Snapshot, deployment: Deployment, groups: Sequence[str] | None) -> tuple[str, ...]:
    """The groups to promote (None: all that wait). Raises if one does not exist or is not ready."""
    unknown = sorted(set(groups or ()) - set(deployment.task_groups))
    if unknown:
        known = ", ".join(sorted(deployment.task_groups))
        raise BadRequestError(
            "deployment.unknown_group",
            f"task groups that are not part of the deployment: {', '.join(unknown)}",
            f"it has: {known}",
        )
    waiting = core.unpromoted(deployment)
    names = tuple(name for name in waiting if groups is None or name in groups)
    if not names:
        raise BadRequestError(
            "deployment.no_canaries", "no canaries to promote", "no group asked for has canaries that wait", status=500
        )
    lacking = []
    for name in names:
        canaries = [head.alloc(alloc_id) for alloc_id in waiting[name].placed_canaries]
        ready = core.healthy_canaries(waiting[name], [alloc for alloc in canaries if alloc is not None], name)
        if len(ready) < waiting[name].desired_canaries:
            lacking.append(f'Task group "{name}" has {len(ready)}/{waiting[name].desired_canaries} healthy allocations')
    job = head.job(*deployment.job_key)
    shut = [
        f'gate "{gate.name}" of group "{name}"' for name in names for gate in gates.closed(job, name, waiting[name])
    ]
    if shut and not lacking:
        raise BadRequestError(
            "deployment.gate",
            f"not open yet: {', '.join(shut)}",
            "canaries are promoted only when all gates of their group have answered well",
            f"see what they said: rove deployment status {deployment.id[:8]}",
            status=500,
        )
    if lacking:
        raise BadRequestError(
            "deployment.unhealthy_canaries",
            "; ".join(lacking),
            "canaries are promoted only when all of them are healthy",
            f"see what they wait for: rove deployment status {deployment.id[:8]}",
            status=500,
        )
    return names


def check_members(head: Snapshot, deployment: Deployment, alloc_ids: Iterable[str], both: set[str]) -> None:
    """Raises if an allocation is not one of the deployment's, or is said to be healthy and unhealthy."""
    if both:
        raise BadRequestError(
            "deployment.health", f"allocations are named as healthy and as unhealthy: {', '.join(sorted(both))}"
        )
    for alloc_id in alloc_ids:
        alloc = head.alloc(alloc_id)
        if alloc is None:
            raise NotFoundError("alloc.unknown", f'Unknown allocation "{alloc_id}"')
        if alloc.deployment_id != deployment.id:
            raise BadRequestError(
                "deployment.health",
                f'allocation "{alloc_id}" is not part of deployment "{deployment.id}"',
                status=500,
            )
