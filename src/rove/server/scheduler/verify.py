"""`verify`: is a plan still right on a newer snapshot?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import msgspec
import numpy as np

from rove.structs.alloc import AllocStatus, Desired
from rove.structs.job import JobType
from rove.structs.node import NodeStatus
from rove.structs.plan import AllocStop, InPlaceUpdate, Placement, Plan
from rove.structs.resources import AllocatedPort, AllocatedResources, ports_of, usage_of

from .decision import RESCHEDULED, UPDATING
from .devices import Instance, devices_in_use, instances_of
from .ledger import collides, cores_of, is_taken
from .view import Bools, Fleet, Floats, Ints, View

EPSILON = 1e-6


def verify(plan: Plan, view: View) -> tuple[Plan, bool]:
    """The part of `plan` that still holds on `view`, and whether that is all of it.

    Placements are dropped node by node: a node that is gone, not ready, or has no room (CPU, memory,
    disk, ports, devices, cores) loses all its new copies of this plan; with `all_at_once` everything
    new is dropped if anything is. A copy whose name somebody has got meanwhile is dropped: two workers may have
    made a plan for one job. Placements of a job version or deployment that is gone are dropped, and
    so are evictions made for a copy that was dropped, and the end of what a dropped copy was to replace. All other
    stops, and annotations, always stay.
    """
    if not plan.placements and not plan.in_place:
        return plan, True
    keep = [_is_wanted(plan, placement, view) for placement in plan.placements]
    in_place = tuple(update for update in plan.in_place if _may_stay(plan, update, view))
    fleet = view.fleet()
    rows = [_rows(placement, fleet) for placement in plan.placements]
    bad = _bad_rows(plan, view, fleet, rows, keep)
    masks: list[Bools] = []
    for placement, where, wanted in zip(plan.placements, rows, keep, strict=True):
        good = np.full(len(placement), wanted)
        if wanted:
            good &= where >= 0
            good &= ~_doubled(plan, placement, view)
            if bad:
                good &= ~np.isin(where, list(bad))
        masks.append(good)
    everything = all(bool(mask.all()) for mask in masks) and len(in_place) == len(plan.in_place)
    if everything:
        return plan, True
    if plan.all_at_once:
        masks = [np.zeros(len(mask), bool) for mask in masks]
    return _cut(plan, masks, in_place), False


def _is_wanted(plan: Plan, placement: Placement, view: View) -> bool:
    """True if the job version and the deployment of a placement still are what they were."""
    job = view.job(placement.namespace, placement.job_id)
    if job is None or job.stop:
        return False
    if plan.job is not None and job.create_index != plan.job.create_index and plan.job.create_index:
        return False
    if view.job_version(placement.namespace, placement.job_id, placement.job_version) is None:
        return False
    return _deployment_lives(plan, placement.deployment_id, placement.namespace, placement.job_id, view)


def _doubled(plan: Plan, placement: Placement, view: View) -> Bools:
    """Copies whose name lives already, elsewhere than in an allocation that the plan stops.

    Canaries and copies that a silent node may still run share names by intent. System jobs have one copy
    a group on a node, all under one name: there the node counts.
    """
    none = np.zeros(len(placement), bool)
    job_key = (placement.namespace, placement.job_id)
    if placement.canary or not view.allocs_changed_since(*job_key, plan.snapshot_index):
        return none
    stopping = {stop.alloc_id for stop in plan.stops}
    stopping |= {note.alloc_id for note in plan.annotations if note.client_status is AllocStatus.UNKNOWN}
    live = [
        alloc
        for alloc in view.allocs_of_job(*job_key)
        if alloc.task_group == placement.group
        and not alloc.is_terminal
        and not alloc.is_canary
        and alloc.client_status is not AllocStatus.UNKNOWN
        and alloc.id not in stopping
    ]
    if not live:
        return none
    job = view.job(*job_key)
    if job is not None and job.type in (JobType.SYSTEM, JobType.SYSBATCH):
        taken = {alloc.node_id for alloc in live}
        numbers = [number for number, node_id in enumerate(placement.node_ids) if node_id in taken]
        return np.isin(np.frombuffer(placement.nodes, "<i4"), numbers)
    return np.isin(np.frombuffer(placement.indexes, "<i4"), [alloc.index for alloc in live])


def _deployment_lives(plan: Plan, deployment_id: str, namespace: str, job_id: str, view: View) -> bool:
    if not deployment_id:
        return True
    newest = view.latest_deployment(namespace, job_id)
    if newest is not None and newest.id == deployment_id:
        return newest.is_active
    return plan.deployment is not None and plan.deployment.id == deployment_id


def _may_stay(plan: Plan, update: InPlaceUpdate, view: View) -> bool:
    if plan.job is None:
        return False
    job = view.job(plan.job.namespace, plan.job.id)
    if job is None or job.stop:
        return False
    return view.job_version(job.namespace, job.id, update.job_version) is not None and _deployment_lives(
        plan, update.deployment_id, job.namespace, job.id, view
    )


def _rows(placement: Placement, fleet: Fleet) -> Ints:
    """The fleet row of every copy; -1 where the node is gone or not ready."""
    found = [fleet.row_of(node_id) for node_id in placement.node_ids]
    rows = np.array([-1 if row is None else row for row in found], dtype=np.int64)
    if len(rows):
        rows[rows >= 0] = np.where(fleet.ready[rows[rows >= 0]], rows[rows >= 0], -1)
    found_rows: Ints = rows[np.frombuffer(placement.nodes, "<i4")]
    return found_rows


def _bad_rows(plan: Plan, view: View, fleet: Fleet, rows: list[Ints], keep: list[bool]) -> set[int]:
    """Nodes on which the plan's new copies do not all have what they need."""
    size = len(fleet.ids)
    asked: list[Floats] = [np.zeros(size) for _ in range(4)]
    close: dict[int, list[tuple[Placement, int]]] = defaultdict(list)
    for placement, where, wanted in zip(plan.placements, rows, keep, strict=True):
        if not wanted or not len(where):
            continue
        _add_asks(asked, placement, where, size)
        for position in {*placement.ports, *placement.own_resources}:
            if where[position] >= 0:
                close[int(where[position])].append((placement, position))
    touched = np.flatnonzero(asked[3])
    full = touched[_over(touched, asked, fleet)]
    if len(full) and plan.stops:
        freed = _freed(plan, view, fleet)
        full = full[_over(full, [a - b for a, b in zip(asked, freed, strict=True)], fleet)]
    bad: set[int] = set(full.tolist())
    stopping = {stop.alloc_id for stop in plan.stops} if close else set()
    for row, copies in close.items():
        if row not in bad and not _details_fit(row, copies, fleet, view, stopping):
            bad.add(row)
    return bad


def _over(rows: Ints, asked: list[Floats], fleet: Fleet) -> Bools:
    """Which of `rows` would hold more than they can. asked: CPU, memory, disk and copies by row, net of what goes."""
    caps = fleet.max_allocs[rows]
    over: Bools = (caps > 0) & (fleet.alloc_count[rows] + asked[3][rows] > caps)
    for k, (used, capacity) in enumerate(
        ((fleet.used_cpu, fleet.cpu), (fleet.used_memory, fleet.memory), (fleet.used_disk, fleet.disk))
    ):
        over |= used[rows] + asked[k][rows] > capacity[rows] + EPSILON
    return over


def _freed(plan: Plan, view: View, fleet: Fleet) -> list[Floats]:
    """What the plan's own stops give back, by fleet row: CPU, memory, disk and copies."""
    freed: list[Floats] = [np.zeros(len(fleet.ids)) for _ in range(4)]
    for stop in plan.stops:
        alloc = view.alloc(stop.alloc_id)
        row = None if alloc is None or alloc.is_client_terminal else fleet.row_of(alloc.node_id)
        if alloc is None or row is None:
            continue
        usage = usage_of(alloc.allocated_resources)
        for column, value in zip(freed, (usage.cpu, usage.memory_mb, usage.disk_mb, 1), strict=True):
            column[row] += value
    return freed


def _add_asks(asked: list[Floats], placement: Placement, where: Ints, size: int) -> None:
    """Add what the copies of a placement take, and how many they are, by fleet row."""
    usage = usage_of(placement.resources)
    good = where[where >= 0]
    counts = np.bincount(good, minlength=size).astype(np.float64)
    asked[0] += counts * usage.cpu
    asked[1] += counts * usage.memory_mb
    asked[2] += counts * usage.disk_mb
    asked[3] += counts
    for position, resources in placement.own_resources.items():
        row = int(where[position])
        if row >= 0:
            own = usage_of(resources)
            asked[0][row] += own.cpu - usage.cpu
            asked[1][row] += own.memory_mb - usage.memory_mb
            asked[2][row] += own.disk_mb - usage.disk_mb


def _details_fit(
    row: int, copies: list[tuple[Placement, int]], fleet: Fleet, view: View, stopping: Collection[str]
) -> bool:
    """Whether ports, devices and cores of the copies are free on the node."""
    node = view.node(fleet.ids[row])
    if node is None or node.status is not NodeStatus.READY:
        return False
    taken = view.ports_of_node(node.id)
    own: dict[int, list[AllocatedPort]] = {}
    clash: list[AllocatedPort] = []
    for placement, position in copies:
        for port in placement.ports.get(position, ()):
            if port.ignore_collision:
                continue
            same = own.setdefault(port.value, [])
            if collides(port, same):
                return False
            same.append(port)
            if port.value in taken:
                clash.append(port)
    resources = [p.own_resources[i] for p, i in copies if i in p.own_resources]
    if not clash and not resources:
        return True
    staying = [alloc for alloc in view.allocs_of_node(node.id) if alloc.id not in stopping]
    held = [port for alloc in staying for port in ports_of(alloc.allocated_resources)] if clash else []
    if any(is_taken(port, held, node) for port in clash):
        return False
    return _own_fit(resources, devices_in_use(staying), cores_of(staying))


def _own_fit(resources: list[AllocatedResources], devices: set[Instance], cores: set[int]) -> bool:
    for given in resources:
        for task in given.tasks.values():
            mine = {instance for device in task.devices for instance in instances_of(device)}
            if mine & devices or set(task.cpu.reserved_cores) & cores:
                return False
            devices |= mine
            cores |= set(task.cpu.reserved_cores)
    return True


def _cut(plan: Plan, masks: list[Bools], in_place: tuple[InPlaceUpdate, ...]) -> Plan:
    """The plan with only the copies that the masks keep."""
    placements: list[Placement] = []
    moved: dict[tuple[int, int], tuple[int, int]] = {}
    for number, (placement, mask) in enumerate(zip(plan.placements, masks, strict=True)):
        kept = np.flatnonzero(mask)
        if not len(kept):
            continue
        for new, old in enumerate(kept.tolist()):
            if placement.preempted:
                moved[number, old] = (len(placements), new)
        placements.append(placement if len(kept) == len(placement) else take(placement, kept))
    stops: list[AllocStop] = []
    waiting = _unreplaced(plan, masks)
    for stop in plan.stops:
        if stop.alloc_id in waiting and stop.description in (UPDATING, RESCHEDULED):
            continue  # it makes room for its successor only
        if stop.preempted_by_index is None or stop.desired is not Desired.EVICT:
            stops.append(stop)
        elif stop.preempted_by_index in moved:
            stops.append(msgspec.structs.replace(stop, preempted_by_index=moved[stop.preempted_by_index]))
    return msgspec.structs.replace(plan, placements=tuple(placements), stops=tuple(stops), in_place=in_place)


def _unreplaced(plan: Plan, masks: list[Bools]) -> set[str]:
    """Allocations whose successor was dropped."""
    return {
        previous
        for placement, mask in zip(plan.placements, masks, strict=True)
        for position, previous in placement.previous.items()
        if not mask[position]
    }


def take(placement: Placement, positions: Ints) -> Placement:
    """The copies at `positions` (rising) of a placement."""
    nodes = np.frombuffer(placement.nodes, "<i4")[positions]
    used, numbers = np.unique(nodes, return_inverse=True)
    new = {old: number for number, old in enumerate(positions.tolist())}
    scores = np.frombuffer(placement.scores, "<f4")
    return msgspec.structs.replace(
        placement,
        node_ids=tuple(placement.node_ids[number] for number in used.tolist()),
        nodes=numbers.reshape(-1).astype("<i4").tobytes(),
        indexes=np.frombuffer(placement.indexes, "<i4")[positions].tobytes(),
        scores=scores[positions].tobytes() if len(scores) else b"",
        own_resources={new[i]: value for i, value in placement.own_resources.items() if i in new},
        ports={new[i]: value for i, value in placement.ports.items() if i in new},
        previous={new[i]: value for i, value in placement.previous.items() if i in new},
        trackers={new[i]: value for i, value in placement.trackers.items() if i in new},
        preempted={new[i]: value for i, value in placement.preempted.items() if i in new},
        scored={new[i]: value for i, value in placement.scored.items() if i in new},
    )
