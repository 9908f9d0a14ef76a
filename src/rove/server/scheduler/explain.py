"""Why not here? Every failing check on a node, with the nearest miss; and a job in one paragraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rove.structs.alloc import Allocation, AllocMetric, AllocStatus, alloc_index, alloc_name
from rove.structs.deployment import Deployment, DeploymentStatus
from rove.structs.job import Job, JobType, TaskGroup
from rove.structs.node import Eligibility, Node, NodeStatus
from rove.structs.plan import Plan

from .asks import Ask, ask_of
from .conditions import holds, resolve
from .devices import assign_device, device_fits, instances_of
from .feasible import (
    datacenter_matches,
    driver_is_healthy,
    network_obstacles,
    volume_fits,
    volume_source,
)
from .ledger import MAX_ALLOCS, Ledger, free_cores, mhz_of_cores
from .randomness import Steady
from .view import Fleet, View

HARD = frozenset({"state", "datacenter", "node_pool", "driver", "constraint", "volume", "network", "present"})
MISSES_NAMED = 3

UNITS = {"cpu": "MHz", "memory": "MiB", "disk": "MiB"}


@dataclass(frozen=True)
class Obstacle:
    """One failing check.

    kind: state, datacenter, node_pool, driver, constraint, device, volume, network, port, cpu, memory,
    disk, cores, node_max_allocs, distinct_hosts, distinct_property, present. text: for people. short_by: what is
    missing, in the kind's unit (MHz, MiB, cores), 0 where that has no meaning. asked: what was asked for, in that unit.
    """

    kind: str
    text: str
    short_by: float = 0.0
    asked: float = 0.0

    @property
    def is_hard(self) -> bool:
        """True if no room on the node would mend it."""
        return self.kind in HARD or (self.kind == "device" and not self.short_by)


@dataclass(frozen=True)
class NodeVerdict:
    """What stands against a group on one node; no obstacles: it would fit."""

    node_id: str
    node_name: str
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def fits(self) -> bool:
        return not self.obstacles

    @property
    def distance(self) -> tuple[int, int, float]:
        """How far off the node is: checks that no room would mend, then checks, then missing shares."""
        hard = sum(1 for obstacle in self.obstacles if obstacle.is_hard)
        return hard, len(self.obstacles), sum(o.short_by / max(o.asked, 1.0) for o in self.obstacles)


def explain(
    job: Job, group: str, view: View, node_id: str | None = None, plan: Plan | None = None
) -> tuple[NodeVerdict, ...]:
    """Every failing check of one more copy of `group` on `node_id` (id, its beginning, or name), or on all nodes.

    The nearest miss comes first. An unknown group or node gives nothing. plan: of the job; things are explained as
    they are when it is carried out.
    """
    found = job.group(group)
    if found is None:
        return ()
    fleet = view.fleet()
    explainer = _Explainer(ask_of(job, found), view, fleet, plan)
    verdicts = [explainer.verdict(node) for node in _nodes(view, fleet, node_id)]
    return tuple(sorted(verdicts, key=lambda verdict: (verdict.distance, verdict.node_name, verdict.node_id)))


def nearest_miss(job: Job, group: str, view: View) -> str:
    """The node that comes nearest to taking one more copy, and what stands against it; '' if one would take it."""
    verdict = next((one for one in explain(job, group, view) if not one.fits), None)
    if verdict is None:
        return ""
    texts = [obstacle.text for obstacle in verdict.obstacles]
    more = f" (and {len(texts) - MISSES_NAMED} more)" if len(texts) > MISSES_NAMED else ""
    return f"The nearest miss is {verdict.node_name}: {'; '.join(texts[:MISSES_NAMED])}{more}."


def _nodes(view: View, fleet: Fleet, wanted: str | None) -> Iterable[Node]:
    if wanted is not None and (exact := view.node(wanted)) is not None:
        yield exact
        return
    for node_id in fleet.ids:
        node = view.node(node_id) if node_id else None
        if node is not None and (wanted is None or node.name == wanted or node.id.startswith(wanted)):
            yield node


class _Explainer:
    """Checks one ask against nodes without stopping at the first failure."""

    def __init__(self, ask: Ask, view: View, fleet: Fleet, plan: Plan | None = None) -> None:
        self.ask = ask
        self.view = view
        self.fleet = fleet
        self.ledger = Ledger(view, fleet, Steady())  # asks for ports are tried, never given
        self.own: list[tuple[str, str, str]] = list(_copies(ask.job, view, plan))
        """(group, node, name) of the job's live copies."""
        if plan is not None:
            self.ledger.carry_out(plan)

    def verdict(self, node: Node) -> NodeVerdict:
        """Everything that stands against the node."""
        obstacles = [
            *self._state(node), *self._place(node), *self._drivers(node), *self._constraints(node),
            *self._present(node), *self._distinct(node), *self._devices(node), *self._volumes(node),
            *self._network(node), *self._room(node),
        ]  # fmt: skip
        return NodeVerdict(node.id, node.name or node.id, tuple(obstacles))

    def _state(self, node: Node) -> Iterable[Obstacle]:
        if node.status is not NodeStatus.READY:
            yield Obstacle("state", f"the node is {node.status.value}")
        if node.drain_strategy is not None:
            yield Obstacle("state", "the node is draining")
        elif node.scheduling_eligibility is not Eligibility.ELIGIBLE:
            yield Obstacle("state", "the node is marked ineligible")

    def _place(self, node: Node) -> Iterable[Obstacle]:
        job = self.ask.job
        if not datacenter_matches(job.datacenters, node.datacenter):
            yield Obstacle(
                "datacenter", f"the node is in {node.datacenter}, the job asks for {', '.join(job.datacenters)}"
            )
        if job.node_pool not in ("", "all", node.node_pool):
            yield Obstacle("node_pool", f"the node is in pool {node.node_pool}, the job asks for {job.node_pool}")

    def _drivers(self, node: Node) -> Iterable[Obstacle]:
        for driver in self.ask.drivers:
            if driver_is_healthy(node, driver):
                continue
            info = node.drivers.get(driver)
            if info is None or not info.detected:
                yield Obstacle("driver", f"driver {driver} was not found on the node")
            else:
                why = f": {info.health_description}" if info.health_description else ""
                yield Obstacle("driver", f"driver {driver} is not healthy{why}")

    def _constraints(self, node: Node) -> Iterable[Obstacle]:
        region = self.ask.job.region
        for condition in self.ask.constraints:
            if holds(condition, node, region):
                continue
            value = resolve(condition.l_target, node, region)
            has = "the node has no such value" if value is None else f"the node has {value!r}"
            yield Obstacle("constraint", f"{condition.text()}: {has}")

    def _present(self, node: Node) -> Iterable[Obstacle]:
        if self.ask.job.type in (JobType.SYSTEM, JobType.SYSBATCH) and (self.ask.group.name, node.id) in {
            (group, where) for group, where, _ in self.own
        }:
            yield Obstacle("present", "it has its copy: a system job runs one on a node")

    def _distinct(self, node: Node) -> Iterable[Obstacle]:
        ask = self.ask
        same_group = [copy for copy in self.own if copy[0] == ask.group.name]
        if ask.distinct_hosts:
            rivals = self.own if ask.distinct_hosts == "job" else same_group
            there = [name for _, where, name in rivals if where == node.id]
            if there:
                yield Obstacle("distinct_hosts", f"distinct_hosts: {there[0]} is already there")
        for target, most, scope in ask.distinct_properties:
            value = resolve(target, node, ask.job.region)
            if value is None:
                yield Obstacle("constraint", f"distinct_property: the node has no {target}")
                continue
            rivals = self.own if scope == "job" else same_group
            nodes = (self.view.node(where) for _, where, _ in rivals)
            count = sum(1 for other in nodes if other and resolve(target, other, ask.job.region) == value)
            if count >= most:
                yield Obstacle(
                    "distinct_property", f"distinct_property: {target} = {value} has {count} of {most} copies"
                )

    def _devices(self, node: Node) -> Iterable[Obstacle]:
        detail = self.ledger.detail(self._row(node)) if self.ask.devices else None
        used = set(detail.devices) if detail else set()
        for _, request in self.ask.devices:
            given = assign_device(request, node, used)
            if given is not None:
                used |= instances_of(given)
            elif device_fits(request, node):
                text = f"fewer than {request.count} of device {request.name} are free"
                yield Obstacle("device", text, request.count, request.count)
            else:
                yield Obstacle("device", f"the node has no device {request.name} as asked for")

    def _volumes(self, node: Node) -> Iterable[Obstacle]:
        taken = {alloc_index(name) for group, _, name in self.own if group == self.ask.group.name}
        index = next(number for number in range(len(taken) + 1) if number not in taken)
        for volume in self.ask.volumes:
            if volume.type == "csi":
                yield Obstacle("volume", f'volume "{volume.name}" is of type csi, which is not supported')
            elif not volume_fits(volume, node, index):
                source = volume_source(volume, index)
                reason = "is read-only there" if source in node.host_volumes else "is not offered by the node"
                yield Obstacle("volume", f'host volume "{source}" {reason}')

    def _network(self, node: Node) -> Iterable[Obstacle]:
        for problem in network_obstacles(self.ask, node):
            yield Obstacle("network", problem)
        detail = self.ledger.detail(self._row(node)) if self.ask.has_ports else None
        if detail is None:
            return
        taken = self.ledger.taken_ports(self.ask, detail)
        for port in taken:
            yield Obstacle("port", f"port {port.value} is taken")
        ports = self.ledger.try_ports(self.ask, detail) if not taken else ()
        if isinstance(ports, str):
            yield Obstacle("port", ports.removeprefix("network: "))

    def _room(self, node: Node) -> Iterable[Obstacle]:
        row, ask, fleet = self._row(node), self.ask, self.fleet
        cpu = ask.cpu + mhz_of_cores(ask, node)
        columns = (
            ("cpu", cpu, fleet.cpu, fleet.used_cpu), ("memory", ask.memory, fleet.memory, fleet.used_memory),
            ("disk", ask.disk, fleet.disk, fleet.used_disk),
        )  # fmt: skip
        for name, asked, capacity, used in columns:
            free = float(capacity[row]) - float(used[row])
            if asked > free:
                short = asked - free
                yield Obstacle(
                    name,
                    f"{short:,.0f} {UNITS[name]} of {name} short: asks {asked:,}, "
                    f"{max(free, 0):,.0f} of {float(capacity[row]):,.0f} free",
                    short,
                    float(asked),
                )
        if self.ledger.is_capped(row):
            most = int(fleet.max_allocs[row])
            yield Obstacle("node_max_allocs", f"the node holds at most {most} allocations, and has {most}")
        if ask.cores:
            detail = self.ledger.detail(row)
            free_now = len(free_cores(node, detail.cores)) if detail else 0
            if free_now < ask.cores:
                missing = ask.cores - free_now
                yield Obstacle("cores", f"{missing} cores short: asks {ask.cores}, {free_now} free", missing, ask.cores)

    def _row(self, node: Node) -> int:
        row = self.fleet.row_of(node.id)
        return -1 if row is None else row


def _copies(job: Job, view: View, plan: Plan | None) -> Iterable[tuple[str, str, str]]:
    """(group, node, name) of the job's live copies, as they are when the plan is carried out."""
    gone = {stop.alloc_id for stop in plan.stops} if plan is not None else set()
    for alloc in view.allocs_of_job(job.namespace, job.id):
        if not alloc.is_terminal and alloc.id not in gone:
            yield alloc.task_group, alloc.node_id, alloc.name
    for placement in plan.placements if plan is not None else ():
        indexes = np.frombuffer(placement.indexes, "<i4").tolist()
        for number, index in zip(np.frombuffer(placement.nodes, "<i4").tolist(), indexes, strict=True):
            yield placement.group, placement.node_ids[number], alloc_name(job.id, placement.group, index)


def why(job: Job, view: View, failed: dict[str, AllocMetric], now: float = 0.0) -> str:
    """One paragraph: what of the job's count is met, and what the rest waits for.

    failed: metrics of the job's last evaluation by group. now: seconds since the epoch.
    """
    if job.stop:
        return f'Job "{job.id}" is stopped, so nothing of it should run.'
    if job.is_periodic or job.is_parameterized:
        kind = "periodic" if job.is_periodic else "parameterized"
        return f'Job "{job.id}" is {kind}: only its children run.'
    allocs = list(view.allocs_of_job(job.namespace, job.id))
    deployment = view.latest_deployment(job.namespace, job.id)
    parts = [_group_sentence(job, group, allocs, failed.get(group.name), view, now) for group in job.task_groups]
    waiting = _deployment_sentence(deployment, job)
    if view.scheduler_configuration().pause_eval_broker:
        waiting = f"The scheduler is paused: nothing is placed until somebody lets it go on. {waiting}".rstrip()
    return " ".join(part for part in (f'Job "{job.id}":', *parts, waiting) if part)


def _group_sentence(
    job: Job, group: TaskGroup, allocs: list[Allocation], metric: AllocMetric | None, view: View, now: float
) -> str:
    own = [alloc for alloc in allocs if alloc.task_group == group.name]
    running = sum(1 for a in own if not a.is_terminal and a.client_status is AllocStatus.RUNNING)
    done = sum(1 for a in own if a.client_status is AllocStatus.COMPLETE and not a.is_server_terminal)
    starting = [a for a in own if not a.is_terminal and a.client_status is AllocStatus.PENDING]
    unknown = sum(1 for a in own if not a.is_terminal and a.client_status is AllocStatus.UNKNOWN)
    is_counted = job.type in (JobType.SERVICE, JobType.BATCH)
    wanted = f" of {group.count}" if is_counted else ""
    states = [] if done and done == group.count and is_counted else [f"{running}{wanted} running"]
    states += [
        f"{n} {word}" for n, word in ((len(starting), "starting"), (done, "complete"), (unknown, "out of reach")) if n
    ]
    text = f'group "{group.name}" has {", ".join(states)}.'
    if starting and (event := _last_event(max(starting, key=lambda alloc: alloc.modify_index))):
        text += f" The last event of one that starts: {event}."
    text += _failures(own)
    if metric is not None:
        text += f" {placement_sentence(metric)} {nearest_miss(job, group.name, view)}".rstrip()
    elif is_counted and len(own) and (held := _held_back(job, group, own, view)):
        text += f" {held} more are held back until a new version comes, because the roll-out failed."
    return text


def _failures(own: list[Allocation]) -> str:
    """What failed, and whether it is replaced."""
    failing = [a for a in own if a.client_status is AllocStatus.FAILED and not a.is_server_terminal]
    if not failing:
        return ""
    text = f" {len(failing)} failed"
    later = sum(1 for alloc in failing if alloc.followup_eval_id)
    text += f", {later} of them will be replaced after a pause." if later else " and will not be replaced."
    last = max(failing, key=lambda alloc: alloc.modify_index)
    event = _last_event(last)
    return f"{text} The last failure, on {last.node_name or last.node_id}: {event}." if event else text


def _held_back(job: Job, group: TaskGroup, own: list[Allocation], view: View) -> int:
    """Copies that are missing because the roll-out of this version failed."""
    deployment = view.latest_deployment(job.namespace, job.id)
    if deployment is None or deployment.status is not DeploymentStatus.FAILED or deployment.job_version != job.version:
        return 0
    there = sum(
        1
        for alloc in own
        if not alloc.is_server_terminal and alloc.client_status not in (AllocStatus.LOST, AllocStatus.COMPLETE)
    )
    return max(group.count - there, 0)


def _last_event(alloc: Allocation) -> str:
    events = [event for state in (alloc.task_states or {}).values() for event in state.events]
    last = max(events, key=lambda event: event.time, default=None)
    return (last.display_message or last.message or last.type) if last else ""


def placement_sentence(metric: AllocMetric) -> str:
    """What kept copies from being placed, in words."""
    missing = metric.coalesced_failures + 1
    if not metric.nodes_evaluated:
        return (
            f'{missing} could not be placed: no ready node is in the job\'s datacenters and pool "{metric.node_pool}".'
        )
    reasons = [f"{n} ruled out by {text}" for text, n in Counter(metric.constraint_filtered).most_common()]
    reasons += [_exhausted(name, n) for name, n in Counter(metric.dimension_exhausted).most_common()]
    listing = "; ".join(reasons) or "none had what was asked for"
    nodes = "1 node" if metric.nodes_evaluated == 1 else f"{metric.nodes_evaluated} nodes"
    return f"{missing} could not be placed; of {nodes}: {listing}."


def _exhausted(dimension: str, nodes: int) -> str:
    if dimension == MAX_ALLOCS:
        return f"{nodes} with as many allocations as they may hold"
    _, detail, text = dimension.partition(": ")
    return f"{nodes} where {text}" if detail else f"{nodes} without {dimension} to spare"


def _deployment_sentence(deployment: Deployment | None, job: Job) -> str:
    if deployment is None or deployment.job_version != job.version:
        return ""
    if deployment.status is DeploymentStatus.PAUSED:
        return "Its roll-out is paused."
    if deployment.status is DeploymentStatus.FAILED:
        return f"Its roll-out has failed: {deployment.status_description}."
    if deployment.status is not DeploymentStatus.RUNNING:
        return ""
    texts = []
    for name, group in deployment.task_groups.items():
        if group.desired_canaries and not group.promoted:
            healthy = group.healthy_allocs
            texts.append(f'{healthy} of {group.desired_canaries} canaries of "{name}" are healthy, not promoted yet')
        elif group.healthy_allocs < group.desired_total:
            texts.append(f'{group.healthy_allocs} of {group.desired_total} of "{name}" are healthy')
    return f"Its roll-out goes on: {'; '.join(texts)}." if texts else ""
