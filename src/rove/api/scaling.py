"""/v1/scaling/*: the scaling policies that jobs carry, for autoscalers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from rove.structs.base import Noun
from rove.structs.job import Job, ScalingPolicy, TaskGroup

from .backend import Snapshot
from .call import Call, Reply
from .missing import unknown
from .reading import read, read_page
from .routes import BLOCKING, LISTING, READ, Route

POLICIES = ("scaling.policies",)
"""What changes only when a policy does: an autoscaler's own scaling must not wake it."""


class PolicyStub(Noun, frozen=True, kw_only=True):
    """A scaling policy in lists."""

    id: str
    enabled: bool
    type: str
    target: dict[str, str]
    create_index: int
    modify_index: int


async def list_policies(call: Call) -> Reply:
    """Scaling policies by id. job, type: only those."""
    job_id, kind, prefix = (call.query.get(name, "") for name in ("job", "type", "prefix"))

    def items(snapshot: Snapshot) -> Any:
        return [
            policy
            for policy in policies(snapshot, call.list_namespace)
            if policy.target["Job"] == (job_id or policy.target["Job"])
            and policy.type == (kind or policy.type)
            and policy.id.startswith(prefix)
        ]

    def shape(_: Snapshot, policy: ScalingPolicy) -> PolicyStub:
        return PolicyStub(**{name: getattr(policy, name) for name in PolicyStub.__struct_fields__})

    return await read_page(call, [POLICIES], items, shape, lambda policy: (policy.id,))


async def read_policy(call: Call) -> Reply:
    """One scaling policy."""
    policy_id = call.ids["policy_id"]

    def build(snapshot: Snapshot) -> ScalingPolicy:
        found = next((policy for policy in policies(snapshot, None) if policy.id == policy_id), None)
        if found is None:
            raise unknown("scaling policy", policy_id)
        return found

    return await read(call, [POLICIES], build)


def policies(snapshot: Snapshot, namespace: str | None) -> Iterator[ScalingPolicy]:
    """The scaling policies of all jobs that are not stopped."""
    for job in snapshot.jobs(namespace):
        if not job.stop:
            for group in job.task_groups:
                if group.scaling is not None:
                    yield _placed(job, group, group.scaling)


def _placed(job: Job, group: TaskGroup, policy: ScalingPolicy) -> ScalingPolicy:
    """The policy with its target and an id that follows from the target, so that it stays the same."""
    target = {"Namespace": job.namespace, "Job": job.id, "Group": group.name}
    named = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(target.values()))
    return msgspec.structs.replace(
        policy,
        id=policy.id or str(named),
        target=target,
        create_index=policy.create_index or job.create_index,
        modify_index=policy.modify_index or job.job_modify_index,
    )


ROUTES = (
    Route(
        methods=READ,
        path="/v1/scaling/policies",
        handler=list_policies,
        summary="List scaling policies",
        capability="list-scaling-policies",
        query=(*LISTING, *BLOCKING, "job", "type"),
        answer=list[PolicyStub],
        blocks_on=POLICIES,
    ),
    Route(
        methods=READ,
        path="/v1/scaling/policy/{policy_id}",
        handler=read_policy,
        summary="Read a scaling policy",
        capability="read-scaling-policy",
        query=BLOCKING,
        answer=ScalingPolicy,
        blocks_on=POLICIES,
    ),
)
