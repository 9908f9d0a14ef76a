"""Preemption: the least valuable allocations whose end makes room for one copy of a higher priority."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rove.structs.alloc import Allocation
from rove.structs.job import RequestedDevice
from rove.structs.node import Node
from rove.structs.resources import ports_of

from .asks import Ask
from .columns import Candidates
from .devices import Instance, assign_device, device_answers, devices_in_use, instances_of
from .ledger import Ledger, collides
from .picker import Picker
from .score import fit_score, preemption_score

PRIORITY_GAP = 10
"""Only allocations of jobs at least this much lower may be pushed out."""

CROWD_PENALTY = 50.0
"""Added to an allocation's distance for every one of its group above `migrate.max_parallel` already chosen."""


@dataclass(frozen=True, slots=True)
class Found:
    """A node (by position), who has to leave it, the score it then has, and what the leaving adds to it."""

    position: int
    victims: tuple[Allocation, ...]
    score: float
    part: float


@dataclass(frozen=True, slots=True)
class Victim:
    """An allocation that may be pushed out. holds: MHz, MB, MB."""

    alloc: Allocation
    priority: int
    holds: tuple[float, float, float]


class Preemptor:
    """Finds room for copies of one ask by pushing out others. Never pushes out its own job."""

    def __init__(self, ask: Ask, ledger: Ledger) -> None:
        self.ask = ask
        self.ledger = ledger
        self._candidates: dict[int, list[Victim]] = {}
        self._heap: list[tuple[float, int]] | None = None
        self._chosen_of_group: Counter[tuple[str, str, str]] = Counter()

    def victims_on(self, row: int) -> list[Victim]:
        """Allocations on a node that may be pushed out, lowest priority first."""
        if row not in self._candidates:
            found = []
            for alloc in self.ledger.view.allocs_of_node(self.ledger.fleet.ids[row]):
                priority = alloc.job.priority if alloc.job else 50
                if alloc.is_terminal or alloc.job_key == self.ask.job.key:
                    continue
                if priority > self.ask.job.priority - PRIORITY_GAP:
                    continue
                usage = self.ledger.usage(alloc)
                found.append(Victim(alloc, priority, (float(usage.cpu), float(usage.memory_mb), float(usage.disk_mb))))
            found.sort(key=lambda victim: (victim.priority, victim.alloc.id))
            self._candidates[row] = found
        return [victim for victim in self._candidates[row] if victim.alloc.id not in self.ledger.freed]

    def best(self, chosen: Candidates, picker: Picker, shut: Collection[int], only: int | None) -> Found | None:
        """The node where pushing out costs least and fits best, or None.

        shut: positions that are no use. only: the one position allowed, None for any. Nodes are worked out
        once; later only those that look best are looked at again, as a placement makes no other node better.
        """
        if only is not None:
            usable = only >= 0 and only not in shut and not picker.is_blocked(only)
            return self.on(chosen, picker, only) if usable else None
        if self._heap is None:
            found = (self.on(chosen, picker, position) for position in range(len(chosen.rows)))
            self._heap = [(-one.score, one.position) for one in found if one is not None]
            heapq.heapify(self._heap)
        heap = self._heap
        aside: list[tuple[float, int]] = []
        best: Found | None = None
        while heap and best is None:
            entry = heapq.heappop(heap)
            position = entry[1]
            if position in shut or picker.is_blocked(position):
                aside.append(entry)
                continue
            fresh = self.on(chosen, picker, position)
            if fresh is None:
                continue
            heapq.heappush(heap, (-fresh.score, position))
            if heap[0][1] == position:
                best = fresh
        for entry in aside:
            heapq.heappush(heap, entry)
        return best

    def note(self, found: Found) -> None:
        """Remember whom was pushed out, so that one group is not hit again and again."""
        self._chosen_of_group.update(_group_of(victim) for victim in found.victims)

    def on(self, chosen: Candidates, picker: Picker, position: int) -> Found | None:
        """Whether, and how, room can be made on one node."""
        columns = chosen.columns
        row = int(chosen.rows[position])
        victims = self.victims_on(row)
        if not victims:
            return None
        ask = (columns.ask_cpu(position), float(columns.ask[1]), float(columns.ask[2]))
        free = [float(columns.capacity[k][position]) - float(columns.used[k][position]) for k in range(3)]
        forced = self._holders(row, victims)
        if forced is None:
            return None
        picked = list(forced)
        for victim in picked:
            free = [a + b for a, b in zip(free, victim.holds, strict=True)]
        rest = [victim for victim in victims if victim not in picked]
        needed = [a - b for a, b in zip(ask, free, strict=True)]
        extra = self._choose(rest, needed)
        if extra is None or not (picked or extra):
            return None
        picked += extra
        freed = [sum(victim.holds[k] for victim in extra) for k in range(3)]
        after = [
            1.0
            - (float(columns.capacity[k][position]) - free[k] - freed[k] + ask[k])
            / max(float(columns.capacity[k][position]), 1.0)
            for k in (0, 1)
        ]
        own_sum, terms = picker.terms_of(position)
        # The picker's own fit score is of an over-full node: put the one after eviction in its place.
        over = [
            1.0 - (float(columns.used[k][position]) + ask[k]) / max(float(columns.capacity[k][position]), 1.0)
            for k in (0, 1)
        ]
        own_sum += fit_score(after[0], after[1], columns.spread) - fit_score(over[0], over[1], columns.spread)
        part = preemption_score([victim.priority for victim in picked])
        return Found(position, tuple(victim.alloc for victim in picked), (own_sum + part) / (terms + 1.0), part)

    def _holders(self, row: int, victims: Sequence[Victim]) -> list[Victim] | None:
        """Victims that hold a static port or the devices asked for; None if others hold them too."""
        ask = self.ask
        picked: list[Victim] = []
        if ask.static_ports:
            detail = self.ledger.detail(row)
            if detail is None:
                return None
            taken = self.ledger.taken_ports(ask, detail)
            for victim in victims:
                held = ports_of(victim.alloc.allocated_resources)
                if any(collides(port, held) for port in taken):
                    picked.append(victim)
            others = {victim.alloc.id for victim in picked}
            if taken and self.ledger.is_held_by_others(taken, detail, others):
                return None
        return self._device_holders(row, victims, picked) if ask.devices else picked

    def _device_holders(self, row: int, victims: Sequence[Victim], picked: list[Victim]) -> list[Victim] | None:
        """`picked`, and as many more as the devices asked for need; None if that does not help."""
        detail = self.ledger.detail(row)
        if detail is None:
            return None
        held = {victim.alloc.id: devices_in_use((victim.alloc,)) for victim in victims}
        used = set(detail.devices)
        for victim in picked:
            used -= held[victim.alloc.id]
        for _, request in self.ask.devices:
            given = assign_device(request, detail.node, used)
            if given is None:
                chosen = self._who_leaves(request, detail.node, used, [v for v in victims if v not in picked], held)
                if chosen is None:
                    return None
                picked = [*picked, *chosen]
                for victim in chosen:
                    used -= held[victim.alloc.id]
                given = assign_device(request, detail.node, used)
            if given is None:
                return None
            used |= instances_of(given)
        return picked

    @staticmethod
    def _who_leaves(
        request: RequestedDevice, node: Node, used: set[Instance], victims: list[Victim], held: dict[str, set[Instance]]
    ) -> list[Victim] | None:
        """The least victims that give one of the node's groups enough free devices: of low priority, then few."""
        options: list[list[Victim]] = []
        for device in node.node_resources.devices:
            if not device_answers(request, device):
                continue
            name = (device.vendor, device.type, device.name)
            healthy = {(*name, instance.id) for instance in device.instances if instance.healthy}
            short = request.count - len(healthy - used)
            chosen: list[Victim] = []
            for victim in victims:
                frees = len(held[victim.alloc.id] & healthy & used)
                if short > 0 and frees:
                    chosen.append(victim)
                    short -= frees
            if short <= 0:
                options.append(chosen)
        return min(options, key=lambda some: (max(victim.priority for victim in some), len(some)), default=None)

    def _choose(self, victims: list[Victim], needed: list[float]) -> list[Victim] | None:
        """The victims whose resources come nearest to what is needed, lowest priorities first."""
        if all(need <= 0 for need in needed):
            return []
        picked: list[Victim] = []
        left = list(needed)
        groups: dict[int, list[Victim]] = {}
        for victim in victims:
            groups.setdefault(victim.priority, []).append(victim)
        for priority in sorted(groups):
            rest = groups[priority]
            while rest and any(need > 0 for need in left):
                nearest = min(rest, key=lambda victim: (self._distance(victim, left, picked), victim.alloc.id))
                rest.remove(nearest)
                picked.append(nearest)
                left = [a - b for a, b in zip(left, nearest.holds, strict=True)]
        if any(need > 0 for need in left):
            return None
        return _without_superfluous(picked, needed)

    def _distance(self, victim: Victim, left: list[float], picked: list[Victim]) -> float:
        terms = [((a - b) / a) ** 2 for a, b in zip(left, victim.holds, strict=True) if a > 0]
        distance = math.sqrt(sum(terms))
        group = victim.alloc.job.group(victim.alloc.task_group) if victim.alloc.job else None
        allowed = group.migrate.max_parallel if group and group.migrate else 0
        key = _group_of(victim.alloc)
        already = self._chosen_of_group[key] + sum(1 for other in picked if _group_of(other.alloc) == key)
        if allowed and already >= allowed:
            distance += CROWD_PENALTY * (already - allowed + 1)
        return distance


def _group_of(alloc: Allocation) -> tuple[str, str, str]:
    return (*alloc.job_key, alloc.task_group)


def _without_superfluous(picked: list[Victim], needed: list[float]) -> list[Victim]:
    """Let go of victims that the others make unnecessary, the most important ones first."""
    kept = list(picked)
    for victim in sorted(picked, key=lambda victim: -victim.priority):
        rest = [other for other in kept if other is not victim]
        if all(sum(other.holds[k] for other in rest) >= needed[k] for k in range(3)):
            kept = rest
    return kept
