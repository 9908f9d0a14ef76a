"""A cluster's nodes, jobs and allocations as one JSON or msgpack value, and the way from it into a store.

The dump holds nouns in the API's form, so that it can be gathered over HTTP from any server that speaks Nomad's API.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from rove import jobspec
from rove.engine.memory import MemoryEngine
from rove.errors import BadRequestError, RoveError
from rove.server.state.blocks import POSITION_BITS, AllocChange, id_bytes, reference_key
from rove.server.state.rows import encode, key, spec_key
from rove.server.state.settings import CONFIGURATION_KEY
from rove.server.state.tables import JobHead
from rove.structs.alloc import Allocation
from rove.structs.base import Noun
from rove.structs.deployment import Deployment
from rove.structs.evaluation import Evaluation
from rove.structs.job import Job
from rove.structs.node import Namespace, Node, NodePool, SchedulerConfiguration, computed_class
from rove.structs.plan import AllocBlock, Placement

replace = msgspec.structs.replace

BYTES_MAX = 4 << 30


class ClusterDump(Noun, frozen=True, kw_only=True):
    """Everything a simulation begins with. jobs: newest versions, and older ones that allocations still run."""

    index: int = 1
    taken_at: float = 0.0
    """Seconds since the epoch; 0: not known."""
    nodes: tuple[Node, ...] = ()
    jobs: tuple[Job, ...] = ()
    allocations: tuple[Allocation, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    node_pools: tuple[NodePool, ...] = ()
    scheduler_configuration: SchedulerConfiguration = SchedulerConfiguration()


PARTS = tuple(field.encode_name for field in msgspec.structs.fields(ClusterDump))


def read_dump(source: str | Path | bytes) -> ClusterDump:
    """A dump from a file or from bytes: JSON, or msgpack. Raises `BadRequestError` if it makes no sense."""
    if isinstance(source, bytes):
        name, raw = "the snapshot", source
    else:
        name, raw = str(source), _bytes_of(Path(source))
    try:
        value = msgspec.json.decode(raw) if raw.lstrip()[:1] == b"{" else msgspec.msgpack.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise _wrong(name, f"it is neither JSON nor msgpack: {error}") from None
    if not isinstance(value, dict):
        raise _wrong(name, "it is not an object")
    return dump_of(value, name)


def dump_of(value: dict[str, Any], name: str = "the snapshot") -> ClusterDump:
    """A dump from plain values in the API's form; null stands for what is not there.

    Raises `BadRequestError` if it makes no sense; so that no other JSON passes for an empty cluster, it must have
    Nodes and nothing that a dump has not.
    """
    unknown = sorted(str(each) for each in value if each not in PARTS)
    if unknown:
        raise _wrong(name, f'"{unknown[0][:100]}" is no part of a snapshot; those are {", ".join(PARTS)}')
    if value.get("Nodes") is None:
        raise _wrong(name, "it has no Nodes")
    try:
        value = _without_null(value)
        jobs = [_job(each) for each in value.pop("Jobs", ())]
        return replace(msgspec.convert(value, ClusterDump), jobs=tuple(jobs))
    except RoveError as error:
        raise _wrong(name, f"a job in it is not usable: {error.what}: {error.why}") from None
    except (msgspec.ValidationError, RecursionError, TypeError) as error:
        raise _wrong(name, str(error)) from None


def _job(api: dict[str, Any]) -> Job:
    job = jobspec.canonicalize(jobspec.decode_api_job(api))
    return jobspec.add_implied_constraints(job, consul=False)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_null(each) for each in value]
    return value


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > BYTES_MAX:
            raise _wrong(str(path), f"it is larger than {BYTES_MAX >> 30} GiB")
        return path.read_bytes()
    except OSError as error:
        raise _wrong(str(path), (error.strerror or str(error)).lower()) from None


def _wrong(name: str, why: str) -> BadRequestError:
    return BadRequestError(
        "simulate.snapshot", f"{name} could not be used as a snapshot", why[:500],
        "write one with: rove operator simulate -save FILE",
    )  # fmt: skip


class _BlockKey(NamedTuple):
    namespace: str
    job_id: str
    version: int
    group: str
    deployment_id: str
    is_canary: bool


def fill(engine: MemoryEngine, dump: ClusterDump) -> None:
    """Put a dump's nouns into an empty engine as the store would have stored them.

    Allocations keep the first half of their ids; the second half is the store's own. Those whose job is
    not in the dump are left out. A paused scheduler is let go on: with it nothing would ever be placed.
    """
    rows: dict[tuple[str, bytes], msgspec.Struct | None] = {}
    for node in dump.nodes:
        rows["nodes", key(node.create_index, node.id)] = replace(node, computed_class=computed_class(node))
    for namespace in dump.namespaces:
        rows["namespaces", key(namespace.create_index, namespace.name)] = namespace
    for pool in dump.node_pools:
        rows["pools", key(pool.create_index, pool.name)] = pool
    rows["configuration", CONFIGURATION_KEY] = replace(dump.scheduler_configuration, pause_eval_broker=False)
    known = _put_jobs(rows, dump.jobs)
    new_ids = _put_allocs(rows, dump.allocations, known)
    for evaluation in dump.evaluations:
        if not evaluation.is_terminal:
            rows["evaluations", key(evaluation.create_index, evaluation.id)] = evaluation
    for deployment in dump.deployments:
        rows["deployments", key(deployment.create_index, deployment.id)] = _with_ids(deployment, new_ids)
    for change in encode(rows):
        if change.value is not None:
            engine.rows[change.table, change.key] = change.value
    engine.revision = max(dump.index, 1)


def _put_jobs(
    rows: dict[tuple[str, bytes], msgspec.Struct | None], jobs: Iterable[Job]
) -> dict[tuple[str, str, int], Job]:
    versions: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        versions[job.key].append(job)
    known: dict[tuple[str, str, int], Job] = {}
    for same in versions.values():
        newest = max(same, key=lambda job: job.version)
        kept = {job.version: job for job in same if job.create_index == newest.create_index}
        for job in kept.values():
            rows["specs", spec_key(job.namespace, job.id, job.create_index, job.version)] = job
            known[(*job.key, job.version)] = job
        rows["jobs", key(newest.create_index, newest.namespace, newest.id)] = JobHead(
            namespace=newest.namespace, id=newest.id, create_index=newest.create_index, version=newest.version,
            status=newest.status, status_description=newest.status_description, modify_index=newest.modify_index,
            versions=tuple(sorted(kept, reverse=True)),
        )  # fmt: skip
    return known


def _put_allocs(
    rows: dict[tuple[str, bytes], msgspec.Struct | None],
    allocs: Iterable[Allocation],
    known: dict[tuple[str, str, int], Job],
) -> dict[str, str]:
    """Blocks of equal allocations and their state. Returns the new ids by the old ones."""
    blocks: dict[_BlockKey, list[Allocation]] = defaultdict(list)
    for alloc in allocs:
        if (*alloc.job_key, alloc.job_version) in known and alloc.node_id:
            canary = alloc.deployment_status is not None and alloc.deployment_status.canary
            place = _BlockKey(
                alloc.namespace, alloc.job_id, alloc.job_version, alloc.task_group, alloc.deployment_id, canary
            )
            blocks[place].append(alloc)
    new_ids: dict[str, str] = {}
    made: list[tuple[int, _BlockKey, list[Allocation]]] = []
    for number, (place, found) in enumerate(sorted(blocks.items()), start=1):
        found.sort(key=lambda alloc: (alloc.create_index, alloc.name, alloc.id))
        made.append((number, place, found))
        for position, alloc in enumerate(found):
            new_ids[alloc.id] = _new_id(alloc.id, number << POSITION_BITS | position)
    for number, place, found in made:
        job = known[place.namespace, place.job_id, place.version]
        rows["blocks", number.to_bytes(8, "big")] = _block(number, place, found, new_ids, job)
        for position, alloc in enumerate(found):
            rows["allocs", reference_key(number << POSITION_BITS | position)] = _state(alloc, new_ids)
    return new_ids


def _new_id(old: str, reference: int) -> str:
    raw = id_bytes(old) or old.encode()[:8].ljust(8, b"\0")
    text = (raw[:8] + reference.to_bytes(8, "big")).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _block(
    number: int, place: _BlockKey, allocs: list[Allocation], new_ids: dict[str, str], job: Job
) -> AllocBlock:  # fmt: skip
    node_ids = tuple(dict.fromkeys(alloc.node_id for alloc in allocs))
    column = {node_id: at for at, node_id in enumerate(node_ids)}
    shared = allocs[0].allocated_resources
    placement = Placement(
        namespace=place.namespace, job_id=place.job_id, job_version=place.version, group=place.group,
        eval_id=allocs[0].eval_id, deployment_id=place.deployment_id, canary=place.is_canary, node_ids=node_ids,
        nodes=np.array([column[alloc.node_id] for alloc in allocs], dtype="<i4").tobytes(),
        indexes=np.array([max(alloc.index, 0) for alloc in allocs], dtype="<i4").tobytes(),
        resources=shared,
        own_resources={
            at: alloc.allocated_resources for at, alloc in enumerate(allocs) if alloc.allocated_resources != shared
        },
        previous={
            at: new_ids.get(alloc.previous_allocation, alloc.previous_allocation)
            for at, alloc in enumerate(allocs) if alloc.previous_allocation
        },
        trackers={
            at: alloc.reschedule_tracker for at, alloc in enumerate(allocs) if alloc.reschedule_tracker is not None
        },
    )  # fmt: skip
    return AllocBlock(
        number=number, placement=placement,
        ids=b"".join(bytes.fromhex(new_ids[alloc.id].replace("-", "")) for alloc in allocs),
        create_index=min(alloc.create_index for alloc in allocs), create_time=allocs[0].create_time,
        job_create_index=job.create_index,
    )  # fmt: skip


def _state(alloc: Allocation, new_ids: dict[str, str]) -> AllocChange:
    return AllocChange(
        client_status=alloc.client_status, client_description=alloc.client_description,
        desired_status=alloc.desired_status, desired_description=alloc.desired_description,
        transition=alloc.desired_transition, alloc_states=alloc.alloc_states, health=alloc.deployment_status,
        next_allocation=new_ids.get(alloc.next_allocation, alloc.next_allocation),
        followup_eval_id=alloc.followup_eval_id, modify_index=alloc.modify_index,
        alloc_modify_index=alloc.modify_index, modify_time=alloc.modify_time,
    )  # fmt: skip


def _with_ids(deployment: Deployment, new_ids: dict[str, str]) -> Deployment:
    groups = {
        name: replace(group, placed_canaries=tuple(new_ids.get(each, each) for each in group.placed_canaries))
        for name, group in deployment.task_groups.items()
    }
    return replace(deployment, task_groups=groups)
