"""Checkers of what must stay true whatever happened: each says what is broken, in words.

They take a state's `Snapshot`, or what the HTTP API says of one, so that tests in the process and tests of processes
check the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from rove.server.state import Snapshot
from rove.structs.alloc import Allocation, AllocStatus
from rove.structs.base import Noun
from rove.structs.deployment import DeploymentStatus
from rove.structs.evaluation import EvalStatus
from rove.structs.job import Job, JobType
from rove.structs.node import Node
from rove.structs.resources import AllocatedResources, ports_of, usage_of

Json = dict[str, Any]


def broken_promises(snapshot: Snapshot, *, is_settled: bool = True) -> list[str]:
    """Everything that is wrong with a state. is_settled: nothing is under way, so that counts have to be met too."""
    found = [*over_committed(snapshot), *duplicate_names(snapshot, is_settled=is_settled)]
    if is_settled:
        found += unexplained(snapshot)
    return found


def over_committed(snapshot: Snapshot) -> Iterator[str]:
    """Promise 2: what is stored never takes more of a node than it has."""
    for node in snapshot.nodes():
        held = list(snapshot.allocs_of_node(node.id))
        begun = {alloc.create_index for alloc in held}
        # What is being stopped holds its room until it has ended, but for the copy that takes its place.
        counted = [alloc for alloc in held if not alloc.is_server_terminal or not _makes_room(alloc, begun)]
        yield from _too_much(node, [alloc.allocated_resources for alloc in counted])


def _makes_room(alloc: Allocation, begun: set[int]) -> bool:
    return bool(alloc.alloc_modify_index in begun or alloc.next_allocation or alloc.preempted_by_allocation)


def _too_much(node: Node, held: Iterable[AllocatedResources]) -> Iterator[str]:
    held = list(held)
    usages = [usage_of(each) for each in held]
    has, kept = node.node_resources, node.reserved_resources
    for what, asked, capacity in (
        ("MHz", sum(each.cpu for each in usages), has.cpu.cpu_shares - kept.cpu.cpu_shares),
        ("MiB of memory", sum(each.memory_mb for each in usages), has.memory.memory_mb - kept.memory.memory_mb),
        ("MiB of disk", sum(each.disk_mb for each in usages), has.disk.disk_mb - kept.disk.disk_mb),
    ):
        if asked > capacity:
            yield f"node {node.name}: {asked} {what} given away, it has {capacity}"
    ports = Counter(port.value for each in held for port in ports_of(each) if port.value)
    for port, count in ports.items():
        if count > 1:
            yield f"node {node.name}: port {port} was given to {count} allocations"
    cores = Counter(core for each in held for task in each.tasks.values() for core in task.cpu.reserved_cores)
    for core, count in cores.items():
        if count > 1:
            yield f"node {node.name}: core {core} was given to {count} tasks"


def duplicate_names(snapshot: Snapshot, *, is_settled: bool = True) -> Iterator[str]:
    """Promise 3: at most one live allocation a name, canaries and what is out of reach aside.

    A promoted canary keeps its name, and the copy that has had it so far is stopped by the next evaluation.
    """
    holders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for job in snapshot.jobs():
        everywhere = job.type in (JobType.SYSTEM, JobType.SYSBATCH)
        for alloc in snapshot.allocs_of_job(job.namespace, job.id):
            if not _counts(alloc) or (not is_settled and _was_canary(snapshot, alloc)):
                continue
            key: tuple[str, ...] = (
                (alloc.namespace, alloc.name, alloc.node_id) if everywhere else (alloc.namespace, alloc.name)
            )
            holders[key].append(alloc.id)
    for key, ids in holders.items():
        if len(ids) > 1:
            yield f"{' '.join(key)} is held by {len(ids)} live allocations: {', '.join(sorted(ids))}"


def _was_canary(snapshot: Snapshot, alloc: Allocation) -> bool:
    deployment = snapshot.deployment(alloc.deployment_id) if alloc.deployment_id else None
    group = deployment.task_groups.get(alloc.task_group) if deployment is not None else None
    return group is not None and alloc.id in group.placed_canaries


def _counts(alloc: Allocation) -> bool:
    return not (alloc.is_terminal or alloc.is_canary or alloc.client_status is AllocStatus.UNKNOWN)


def unexplained(snapshot: Snapshot) -> Iterator[str]:
    """Promise 5: every service and batch job has its count, or a stored evaluation that says why not."""
    for job in snapshot.jobs():
        if job.stop or job.is_periodic or job.is_parameterized or job.type in (JobType.SYSTEM, JobType.SYSBATCH):
            continue
        evaluations = snapshot.evaluations_of_job(job.namespace, job.id)
        waits = any(each.status in (EvalStatus.BLOCKED, EvalStatus.PENDING) for each in evaluations)
        allocs = snapshot.allocs_of_job(job.namespace, job.id)
        deployment = snapshot.latest_deployment(job.namespace, job.id)
        # A roll-out that goes on, or has failed, holds copies back and says so itself.
        rolls_out = deployment is not None and (deployment.is_active or deployment.status is DeploymentStatus.FAILED)
        for group in job.task_groups:
            have, live = _present(job, group.name, allocs)
            if (have < group.count or live > group.count) and not waits and not rolls_out:
                yield f"job {job.id}, group {group.name}: {have} of {group.count}, and nothing says why"
    for evaluation in snapshot.evaluations():
        if evaluation.status is EvalStatus.BLOCKED and not evaluation.failed_tg_allocs:
            yield f"evaluation {evaluation.id} of job {evaluation.job_id} is blocked without a reason"


def _present(job: Job, group: str, allocs: Iterable[Allocation]) -> tuple[int, int]:
    """Copies that are there, done or have failed with no attempt left, by name; and how many of them live."""
    present, live = set(), set()
    for alloc in allocs:
        if alloc.task_group != group or alloc.is_server_terminal or alloc.is_canary:
            continue
        is_done = alloc.client_status is AllocStatus.COMPLETE and job.type is JobType.BATCH
        if is_done or not alloc.is_client_terminal or alloc.client_status is AllocStatus.FAILED:
            present.add(alloc.name)
        if not alloc.is_client_terminal:
            live.add(alloc.name)
    return len(present), len(live)


# -- over HTTP


class _Held(Noun, frozen=True, kw_only=True):
    allocated_resources: AllocatedResources


def broken_over_http(
    nodes: Iterable[Json], allocs: Iterable[Json], jobs: Iterable[Json], evals: Iterable[Json]
) -> list[str]:
    """The same from the API's answers: nodes as read one by one, stubs with resources, jobs, evaluations."""
    found: list[str] = []
    by_node: dict[str, list[AllocatedResources]] = defaultdict(list)
    names: Counter[tuple[str, str]] = Counter()
    live: Counter[tuple[str, str, str]] = Counter()
    for stub in allocs:
        if stub["ClientStatus"] in ("complete", "failed", "lost"):
            continue
        by_node[stub["NodeID"]].append(msgspec.convert(stub, _Held).allocated_resources)
        canary = (stub.get("DeploymentStatus") or {}).get("Canary")
        if stub["DesiredStatus"] == "run" and stub["ClientStatus"] != "unknown" and not canary:
            names[stub["Namespace"], stub["Name"]] += 1
            live[stub["Namespace"], stub["JobID"], stub["TaskGroup"]] += 1
    for raw in nodes:
        node = msgspec.convert({key: value for key, value in raw.items() if value is not None}, Node)
        found += _too_much(node, by_node.get(node.id, ()))
    found += [f"{name[1]} is held by {count} live allocations" for name, count in names.items() if count > 1]
    waiting = {(e["Namespace"], e["JobID"]) for e in evals if e["Status"] in ("blocked", "pending")}
    for job in jobs:
        for group in job["TaskGroups"] or []:
            have, count = live[job["Namespace"], job["ID"], group["Name"]], group["Count"]
            if not job["Stop"] and have != count and (job["Namespace"], job["ID"]) not in waiting:
                found.append(f"job {job['ID']}, group {group['Name']}: {have} of {count}, and nothing says why")
    return found
