"""From fleet, view and ask to the columns and pickers that placing works on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from rove.structs.alloc import Allocation
from rove.structs.job import Affinity
from rove.structs.node import Node

from .asks import Ask
from .conditions import holds, is_unique, resolve
from .devices import affinity_score, assign_device, device_named, instances_of
from .feasible import Feasible
from .ledger import Ledger, mhz_of_cores
from .picker import HeapPicker, Picker, SpreadPicker
from .score import Columns
from .spread import REST, Attribute, PropertyLimit, SpreadRule, SpreadTerms
from .view import Bools, Floats, Ints


@dataclass(slots=True)
class Candidates:
    """The feasible nodes of one group in tie-break order. rows: fleet row by position."""

    rows: Ints
    columns: Columns
    wish_parts: dict[str, Floats]

    def position_of(self, row: int | None) -> int:
        """The position of a fleet row, or -1."""
        if row is None:
            return -1
        if self._positions is None:
            size = int(self.rows.max()) + 1 if len(self.rows) else 0
            self._positions = np.full(size, -1, dtype=np.int64)
            self._positions[self.rows] = np.arange(len(self.rows))
        return int(self._positions[row]) if row < len(self._positions) else -1

    _positions: Ints | None = None


def candidates(ask: Ask, found: Feasible, ledger: Ledger, copies: Counter[int], shift: int, spread: bool) -> Candidates:
    """Columns for `ask` over the feasible nodes.

    copies: live copies of the group by fleet row. shift: where in the fleet ties start. spread: the
    cluster's algorithm is worst fit.
    """
    fleet = ledger.fleet
    rows: Ints = np.flatnonzero(found.mask)
    if len(rows) and shift:
        rows = np.roll(rows, -(shift % len(rows)))
    cpu: Floats | float = float(ask.cpu)
    if ask.cores:
        nodes = (ledger.node(row) for row in rows.tolist())
        cpu = np.array([float(ask.cpu + mhz_of_cores(ask, node)) if node else 0.0 for node in nodes])
    wish_parts = _wishes(ask, ledger, rows)
    wishes = sum(wish_parts.values()) if wish_parts else None
    counts = np.zeros(len(rows))
    columns = Columns(
        capacity=(fleet.cpu[rows], fleet.memory[rows], fleet.disk[rows]),
        used=(fleet.used_cpu[rows], fleet.used_memory[rows], fleet.used_disk[rows]),
        ask=(cpu, float(ask.memory), float(ask.disk)),
        copies=counts,
        wishes=wishes if isinstance(wishes, np.ndarray) else None,
        wish_terms=len(wish_parts),
        count=ask.group.count,
        spread=spread,
    )
    result = Candidates(rows, columns, wish_parts)
    for row, many in copies.items():
        position = result.position_of(row)
        if position >= 0:
            counts[position] = many
    return result


def _met(affinity: Affinity, region: str, node: Node) -> float:
    return float(holds(affinity, node, region))


def _wishes(ask: Ask, ledger: Ledger, rows: Ints) -> dict[str, Floats]:
    """By scorer name, the scores of affinities and device affinities."""
    parts: dict[str, Floats] = {}
    total = sum(abs(affinity.weight) for affinity in ask.affinities)
    if total:
        region = ask.job.region
        score = np.zeros(len(rows))
        for affinity in ask.affinities:
            score += affinity.weight * _matches(partial(_met, affinity, region), is_unique(affinity), ledger, rows)
        parts["node-affinity"] = score / total
    if any(request.affinities for _, request in ask.devices):
        parts["devices"] = np.array([_device_score(ask, ledger, row) for row in rows.tolist()])
    return parts


def _device_score(ask: Ask, ledger: Ledger, row: int) -> float:
    """Matched weights over all weights of the devices that a copy would get there now; 0 if it gets none."""
    detail = ledger.detail(row)
    if detail is None:
        return 0.0
    used = set(detail.devices)
    matched = total = 0.0
    for _, request in ask.devices:
        given = assign_device(request, detail.node, used)
        if given is None:
            return 0.0
        used |= instances_of(given)
        weights = sum(abs(affinity.weight) for affinity in request.affinities)
        matched += affinity_score(request, device_named(given, detail.node)) * weights
        total += weights
    return matched / total


def _matches(value: Callable[[Node], float], per_node: bool, ledger: Ledger, rows: Ints) -> Floats:
    """A number for every row, worked out once per class where the class decides it."""
    fleet = ledger.fleet
    if per_node:
        nodes = [ledger.node(row) for row in rows.tolist()]
        return np.array([value(node) if node else 0.0 for node in nodes], dtype=np.float64)
    by_class = np.zeros(max(len(fleet.classes), 1))
    for number, row in fleet.class_example.items():
        node = ledger.node(row)
        by_class[number] = value(node) if node else 0.0
    return by_class[fleet.class_of[rows]]


def attribute_numbers(
    value_of: Callable[[Node], str | None], per_node: bool, ledger: Ledger, rows: Ints
) -> tuple[list[str], Ints]:
    """The values of an attribute and, for every row, its value's number (-1: missing)."""
    fleet = ledger.fleet
    numbers: dict[str, int] = {}

    def number(node: Node | None) -> int:
        value = value_of(node) if node else None
        return -1 if value is None else numbers.setdefault(value, len(numbers))

    if per_node:
        found = np.array([number(ledger.node(row)) for row in rows.tolist()], dtype=np.int64)
    else:
        by_class = np.full(max(len(fleet.classes), 1), -1, dtype=np.int64)
        for class_number, row in fleet.class_example.items():
            by_class[class_number] = number(ledger.node(row))
        found = by_class[fleet.class_of[rows]]
    return list(numbers), found


def picker_for(
    ask: Ask,
    chosen: Candidates,
    ledger: Ledger,
    live: Sequence[Allocation],
    placed: dict[str, Counter[int]],
    allowed: Bools | None = None,
) -> Picker:
    """The picker that the ask needs.

    live: allocations of the whole job that stay. placed: new copies by group and row, of this plan.
    """
    if not ask.spreads and not ask.distinct_properties:
        return HeapPicker(chosen.columns, allowed)
    rules: list[tuple[SpreadRule, Ints]] = []
    limits: list[tuple[PropertyLimit, Ints]] = []
    weights = sum(spread.weight for spread in ask.spreads) or 1
    parts: list[tuple[Attribute, Ints]] = []
    for spread in ask.spreads:
        named = frozenset(target.value for target in spread.spread_target)
        attribute, numbers = _attribute(spread.attribute, named, ask, "group", chosen, ledger, live, placed)
        rules.append((SpreadRule(spread, attribute, ask.group.count, spread.weight / weights), numbers))
        parts.append((attribute, numbers))
    for target, most, scope in ask.distinct_properties:
        attribute, numbers = _attribute(target, frozenset(), ask, scope, chosen, ledger, live, placed)
        limits.append((PropertyLimit(attribute, most), numbers))
        parts.append((attribute, numbers))
    code = parts[0][1]
    for attribute, numbers in parts[1:]:
        code = code * (attribute.missing + 1) + numbers
    distinct, first, combination = np.unique(code, return_index=True, return_inverse=True)
    terms = SpreadTerms(
        [(rule, numbers[first]) for rule, numbers in rules],
        [(limit, numbers[first]) for limit, numbers in limits],
        len(distinct),
    )
    return SpreadPicker(chosen.columns, terms, combination.reshape(-1), allowed)


def _attribute(
    target: str,
    named: frozenset[str],
    ask: Ask,
    scope: str,
    chosen: Candidates,
    ledger: Ledger,
    live: Iterable[Allocation],
    placed: dict[str, Counter[int]],
) -> tuple[Attribute, Ints]:
    """The attribute with the copies it has now, and its value's number by position.

    named: values that count for themselves, all others together being the rest; none: every value does.
    """
    region = ask.job.region

    def value_of(node: Node) -> str | None:
        value = resolve(target, node, region)
        return REST if named and value is not None and value not in named else value

    values, numbers = attribute_numbers(value_of, "unique." in target, ledger, chosen.rows)
    counts = Counter[str]()
    rows = Counter[int]()
    for alloc in live:
        if scope == "job" or alloc.task_group == ask.group.name:
            row = ledger.fleet.row_of(alloc.node_id)
            if row is not None:
                rows[row] += 1
    for group, by_row in placed.items():
        if scope == "job" or group == ask.group.name:
            rows.update(by_row)
    for row, many in rows.items():
        node = ledger.node(row)
        value = value_of(node) if node else None
        if value is not None:
            counts[value] += many
    values += [value for value in counts if value not in set(values)]
    attribute = Attribute(values, [counts[value] for value in values], value_of)
    return attribute, np.where(numbers < 0, attribute.missing, numbers)
