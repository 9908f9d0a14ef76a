"""The scheduler's scores, worked out the slow and obvious way: one node, one copy at a time.

Written from docs/scheduling.md alone; shares no code with the fast engine but the structs and the
conditions on single nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rove.server.scheduler.conditions import holds, resolve
from rove.structs.job import Job, Spread, TaskGroup
from rove.structs.node import Node
from rove.structs.resources import usage_of
from rove.testing.builders import resources_of_group
from rove.testing.fleet import FakeView

Placed = list[tuple[str, str]]
"""(group name, node id) of new copies."""


def suitable(job: Job, group: TaskGroup, node: Node) -> bool:
    """True if the node may run the group, room aside."""
    conditions = [*job.constraints, *group.constraints, *(c for task in group.tasks for c in task.constraints)]
    drivers = [node.drivers.get(task.driver) for task in group.tasks]
    return (
        node.is_ready
        and (job.datacenters == ("*",) or node.datacenter in job.datacenters)
        and (job.node_pool == "all" or node.node_pool == job.node_pool)
        and all(driver is not None and driver.healthy for driver in drivers)
        and all(holds(condition, node) for condition in conditions)
    )


def scores(
    job: Job, group: TaskGroup, view: FakeView, placed: Placed, penalised: Iterable[str] = ()
) -> dict[str, float]:
    """The score of one more copy on every node where it can go."""
    ask = usage_of(resources_of_group(group))
    bad = set(penalised)
    copies = copies_by_node(job, group.name, view, placed)
    every = copies_by_node(job, None, view, placed)
    found = {}
    for node in view.nodes.values():
        if not suitable(job, group, node) or not distinct(job, group, node, view, copies, every):
            continue
        used = [0.0, 0.0, 0.0]
        for alloc in view.allocs_of_node(node.id):
            usage = usage_of(alloc.allocated_resources)
            used = [used[0] + usage.cpu, used[1] + usage.memory_mb, used[2] + usage.disk_mb]
        for name, where in placed:
            if where == node.id:
                other = job.group(name)
                assert other is not None
                usage = usage_of(resources_of_group(other))
                used = [used[0] + usage.cpu, used[1] + usage.memory_mb, used[2] + usage.disk_mb]
        after = [used[0] + ask.cpu, used[1] + ask.memory_mb, used[2] + ask.disk_mb]
        resources = node.node_resources
        capacity = [resources.cpu.cpu_shares, resources.memory.memory_mb, resources.disk.disk_mb]
        if any(a > c for a, c in zip(after, capacity, strict=True)):
            continue
        free = [1 - after[0] / max(capacity[0], 1), 1 - after[1] / max(capacity[1], 1)]
        total = 10 ** free[0] + 10 ** free[1]
        worst_fit = view.configuration.scheduler_algorithm == "spread"
        fit = min(max(total - 2 if worst_fit else 20 - total, 0), 18) / 18
        parts = [fit]
        if copies[node.id]:
            parts.append(-(copies[node.id] + 1) / group.count)
        if node.id in bad:
            parts.append(-1.0)
        affinities = [*job.affinities, *group.affinities]
        if affinities:
            weight = sum(abs(a.weight) for a in affinities)
            parts.append(sum(a.weight for a in affinities if holds(a, node)) / weight)
        spread = spread_score(job, group, node, view, copies)
        if spread:
            parts.append(spread)
        found[node.id] = sum(parts) / len(parts)
    return found


def copies_by_node(job: Job, group: str | None, view: FakeView, placed: Placed) -> Counter[str]:
    """Live and new copies of the group (None: of the job) on every node."""
    counts: Counter[str] = Counter()
    for alloc in view.allocs_of_job(job.namespace, job.id):
        if not alloc.is_terminal and group in (None, alloc.task_group):
            counts[alloc.node_id] += 1
    counts.update(node_id for name, node_id in placed if group in (None, name))
    return counts


def distinct(job: Job, group: TaskGroup, node: Node, view: FakeView, copies: Counter[str], every: Counter[str]) -> bool:
    """True if distinct_hosts and distinct_property allow one more copy there."""
    for scope, conditions in ((every, job.constraints), (copies, group.constraints)):
        for condition in conditions:
            if condition.operand == "distinct_hosts" and scope[node.id]:
                return False
            if condition.operand == "distinct_property":
                value = resolve(condition.l_target, node)
                if value is None:
                    return False
                there = sum(
                    many for where, many in scope.items() if resolve(condition.l_target, view.nodes[where]) == value
                )
                if there >= int(condition.r_target or 1):
                    return False
    return True


def spread_score(job: Job, group: TaskGroup, node: Node, view: FakeView, copies: Counter[str]) -> float:
    """The sum of all spreads' terms for one more copy on the node."""
    spreads = [*group.spreads, *job.spreads]
    weights = sum(spread.weight for spread in spreads)
    total = 0.0
    for spread in spreads:
        by_value: Counter[str] = Counter()
        for where, many in copies.items():
            value = named(spread, resolve(spread.attribute, view.nodes[where]))
            if value is not None:
                by_value[value] += many
        value = named(spread, resolve(spread.attribute, node))
        total += one_spread(spread, value, by_value, group.count, view) * spread.weight / weights
    return total


def named(spread: Spread, value: str | None) -> str | None:
    """The value a spread counts: what no target names is all one value."""
    if value is None or not spread.spread_target or value in {target.value for target in spread.spread_target}:
        return value
    return "*"


def one_spread(spread: Spread, value: str | None, counts: Counter[str], count: int, view: FakeView) -> float:
    """One spread's term."""
    if value is None:
        return -1.0
    if not spread.spread_target:
        used = [many for many in counts.values() if many > 0]
        if not used:
            return 0.0
        low, high = min(used), max(used)
        if counts[value] != low:
            return (low - counts[value]) / low
        return -1.0 if low == high else (high - low) / low
    targets = {target.value: target.percent * count / 100 for target in spread.spread_target}
    rest = 100 - sum(target.percent for target in spread.spread_target)
    if "*" not in targets and rest > 0:
        targets["*"] = rest * count / 100
    desired = targets.get(value)
    if desired is None:
        return -1.0
    if desired > 0:
        return (desired - (counts[value] + 1)) / desired
    values = {named(spread, resolve(spread.attribute, other)) for other in view.nodes.values()} - {None}
    boosts = [(targets[v] - (counts[v] + 1)) / targets[v] for v in values if v is not None and targets.get(v, 0) > 0]
    return min([-1.0, *boosts])
