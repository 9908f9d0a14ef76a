"""Why copies went where they went, or nowhere, as Nomad's metrics name it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from rove.structs.alloc import AllocMetric, NodeScore

from . import score as names
from .asks import Ask
from .columns import Candidates
from .feasible import Feasible
from .ledger import Ledger
from .picker import Picker, SpreadPicker
from .view import Ints

TOP_NODES = 5
NOTHING_MORE: Mapping[str, float] = {}


def base_metric(ask: Ask, found: Feasible, ledger: Ledger) -> AllocMetric:
    """What filtering did: nodes looked at, filtered, and by which check."""
    fleet = ledger.fleet
    base = found.base
    considered = int(np.count_nonzero(base))
    filtered = considered - int(np.count_nonzero(found.mask))
    by_reason: Counter[str] = Counter(found.unique)
    by_class: Counter[str] = Counter()
    if any(found.reasons.values()):
        sizes = np.bincount(fleet.class_of[base], minlength=len(fleet.classes))
        for number, reason in found.reasons.items():
            if reason and sizes[number]:
                by_reason[reason] += int(sizes[number])
                node = ledger.node(fleet.class_example[number])
                if node is not None and node.node_class:
                    by_class[node.node_class] += int(sizes[number])
    in_datacenter = np.bincount(fleet.datacenter_of[base], minlength=len(fleet.datacenters))
    return AllocMetric(
        nodes_evaluated=considered,
        nodes_filtered=filtered,
        nodes_in_pool=_in_pool(ask, ledger),
        node_pool=ask.job.node_pool,
        nodes_available={name: int(n) for name, n in zip(fleet.datacenters, in_datacenter.tolist(), strict=True) if n},
        class_filtered=dict(by_class),
        constraint_filtered=dict(by_reason),
    )


def _in_pool(ask: Ask, ledger: Ledger) -> int:
    fleet = ledger.fleet
    if ask.job.node_pool in ("", "all"):
        return int(np.count_nonzero(fleet.ready))
    for number, name in enumerate(fleet.pools):
        if name == ask.job.node_pool:
            return int(np.count_nonzero(fleet.ready & (fleet.pool_of == number)))
    return 0


def exhausted(chosen: Candidates, ledger: Ledger, noted: dict[int, str]) -> tuple[int, dict[str, int], dict[str, int]]:
    """(nodes, by dimension, by node class) of feasible nodes without room as things stand.

    noted: by position, the reason found when a node was looked at closely.
    """
    columns = chosen.columns
    dimensions: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    left = np.ones(len(columns), bool)
    full = np.zeros(len(columns), bool)
    for position, reason in noted.items():
        dimensions[reason] += 1
        left[position] = False
        full[position] = True
    for k, name in enumerate(("cpu", "memory", "disk")):
        short = left & (columns.used[k] + columns.ask[k] > columns.capacity[k])
        many = int(np.count_nonzero(short))
        if many:
            dimensions[name] += many
        left &= ~short
        full |= short
    rows = chosen.rows[full]
    sizes = np.bincount(ledger.fleet.class_of[rows]) if len(rows) else np.zeros(0, int)
    for number in np.flatnonzero(sizes).tolist():
        node = ledger.node(ledger.fleet.class_example.get(number, -1)) if number in ledger.fleet.class_example else None
        if node is not None and node.node_class:
            classes[node.node_class] += int(sizes[number])
    return int(np.count_nonzero(full)), dict(dimensions), dict(classes)


def top_scores(chosen: Candidates, picker: Picker, ledger: Ledger) -> tuple[NodeScore, ...]:
    """The best nodes as things stand, with every scorer's part."""
    totals = picker.totals()
    many = min(TOP_NODES, int(np.count_nonzero(totals > -np.inf)))
    if not many:
        return ()
    best: Ints = np.argpartition(-totals, many - 1)[:many]
    best = best[np.lexsort((best, -totals[best]))]
    return tuple(node_score(chosen, picker, ledger, position) for position in best.tolist())


def node_score(
    chosen: Candidates, picker: Picker, ledger: Ledger, position: int, more: Mapping[str, float] = NOTHING_MORE
) -> NodeScore:
    """Every scorer's part for one more copy on a node, as things stand. more: parts that are this copy's own."""
    columns = chosen.columns
    free = [
        1.0
        - (float(columns.used[k][position]) + (columns.ask_cpu(position) if k == 0 else columns.ask[1]))
        / max(float(columns.capacity[k][position]), 1.0)
        for k in (0, 1)
    ]
    scores = {names.BINPACK: names.fit_score(free[0], free[1], columns.spread)}
    copies = float(columns.copies[position])
    if copies > 0:
        scores[names.ANTI_AFFINITY] = -(copies + 1.0) / columns.count
    for name, part in chosen.wish_parts.items():
        scores[name] = float(part[position])
    if isinstance(picker, SpreadPicker):
        term = picker.spread_term(position)
        if term:
            scores[names.SPREAD] = term
    scores |= more
    return NodeScore(
        node_id=ledger.fleet.ids[int(chosen.rows[position])],
        scores=scores,
        norm_score=sum(scores.values()) / len(scores),
    )
