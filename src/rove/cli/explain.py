"""Why the scheduler could not place something, in words."""

from __future__ import annotations

from typing import Any

from rove.cli.output import clean, table

Json = dict[str, Any]


def failed_groups(failed: dict[str, Json], verbose: bool = False) -> list[str]:
    """Lines about every group that was not placed whole."""
    lines: list[str] = []
    for group, metric in sorted(failed.items()):
        missing = int(metric.get("CoalescedFailures") or 0) + 1
        plural = "allocation" if missing == 1 else "allocations"
        lines.append(f'Group "{group}": {missing} {plural} not placed')
        lines += [f"  * {line}" for line in reasons(metric)]
        if verbose:
            lines += [f"  {line}" for line in score_table(metric).splitlines()]
    return [clean(line) for line in lines]


def reasons(metric: Json) -> list[str]:
    """One line for each thing that kept a group from being placed, the widest first."""
    lines = [] if metric.get("NodesEvaluated") else _nobody(metric)
    return [*lines, *filters(metric)] or ["no node was fit, and the scheduler gave no detail"]


def filters(metric: Json) -> list[str]:
    """One line for each thing that kept nodes out, the widest first; none where all were fit."""
    # What nodes were ruled out by, and of which class they were, are two counts of the same nodes.
    lines = [f'class "{name}": {_nodes(count)} filtered' for name, count in _by_count(metric.get("ClassFiltered"))]
    for name, count in _by_count(metric.get("ConstraintFiltered")):
        lines.append(f'{_nodes(count)} ruled out by constraint "{name}"')
    exhausted = int(metric.get("NodesExhausted") or 0)
    if exhausted:
        lines.append(f"{_nodes(exhausted)} without enough room")
    for name, count in _by_count(metric.get("ClassExhausted")):
        lines.append(f'class "{name}": {_nodes(count)} without enough room')
    for name, count in _by_count(metric.get("DimensionExhausted")):
        lines.append(f'"{name}" is short on {_nodes(count)}')
    return lines + [f"quota: {name}" for name in metric.get("QuotaExhausted") or []]


def _nobody(metric: Json) -> list[str]:
    lines = []
    pool = metric.get("NodePool")
    if pool and not metric.get("NodesInPool"):
        lines.append(f'node pool "{pool}" has no node that is ready and eligible')
    available = metric.get("NodesAvailable") or {}
    lines += [f'datacenter "{dc}" has no node that is ready' for dc, count in sorted(available.items()) if not count]
    return lines or ["no node was ready to be looked at"]


TOTAL = "normalized-score"
"""Not a scorer's: what all of them came to, which is the final score."""


def score_table(metric: Json) -> str:
    """The nodes that were scored: a column for each scorer, and the final score. Empty if there are none."""
    found = metric.get("ScoreMetaData") or []
    scorers = sorted({name for entry in found for name in entry.get("Scores") or {}} - {TOTAL})
    rows = []
    for entry in found:
        own = entry.get("Scores") or {}
        shown = [f"{float(own[name]):.3g}" if name in own else "-" for name in scorers]
        rows.append([entry.get("NodeID"), *shown, f"{float(entry.get('NormScore') or 0):.3f}"])
    return table(["Node", *scorers, "Final Score"], rows) if rows else ""


def _by_count(found: dict[str, int] | None) -> list[tuple[str, int]]:
    return sorted((found or {}).items(), key=lambda item: (-int(item[1]), item[0]))


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
