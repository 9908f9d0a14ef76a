"""Why the scheduler could not place something, in words."""

from __future__ import annotations

from typing import Any

from rove.cli.output import clean

Json = dict[str, Any]


def failed_groups(failed: dict[str, Json], verbose: bool = False) -> list[str]:
    """Lines about every group that was not placed whole."""
    lines: list[str] = []
    for group, metric in sorted(failed.items()):
        missing = int(metric.get("CoalescedFailures") or 0) + 1
        plural = "allocation" if missing == 1 else "allocations"
        lines.append(f'Group "{group}": {missing} {plural} not placed')
        lines += [f"  * {line}" for line in reasons(metric, verbose)]
    return [clean(line) for line in lines]


def reasons(metric: Json, verbose: bool = False) -> list[str]:
    """One line for each thing that kept nodes out, the widest first."""
    lines: list[str] = []
    if not metric.get("NodesEvaluated"):
        lines += _nobody(metric)
    for label, key in (("class", "ClassFiltered"), ("constraint", "ConstraintFiltered")):
        for name, count in _by_count(metric.get(key)):
            lines.append(f'{_nodes(count)} ruled out by {label} "{name}"')
    exhausted = int(metric.get("NodesExhausted") or 0)
    if exhausted:
        lines.append(f"{_nodes(exhausted)} without enough room")
    for name, count in _by_count(metric.get("ClassExhausted")):
        lines.append(f'class "{name}": {_nodes(count)} without enough room')
    for name, count in _by_count(metric.get("DimensionExhausted")):
        lines.append(f'"{name}" is short on {_nodes(count)}')
    lines += [f"quota: {name}" for name in metric.get("QuotaExhausted") or []]
    if verbose:
        lines += [f"score of {line}" for line in scores(metric)]
    return lines or ["no node was fit, and the scheduler gave no detail"]


def _nobody(metric: Json) -> list[str]:
    lines = []
    pool = metric.get("NodePool")
    if pool and not metric.get("NodesInPool"):
        lines.append(f'node pool "{pool}" has no node that is ready and eligible')
    available = metric.get("NodesAvailable") or {}
    lines += [f'datacenter "{dc}" has no node that is ready' for dc, count in sorted(available.items()) if not count]
    return lines or ["no node was ready to be looked at"]


def scores(metric: Json) -> list[str]:
    """A line for each node that was scored."""
    found = metric.get("ScoreMetaData") or []
    return [
        f"{str(entry.get('NodeID', ''))[:8]}: {float(entry.get('NormScore') or 0):.3f} ("
        + ", ".join(f"{name} {float(value):.3g}" for name, value in sorted((entry.get("Scores") or {}).items()))
        + ")"
        for entry in found
    ]


def _by_count(found: dict[str, int] | None) -> list[tuple[str, int]]:
    return sorted((found or {}).items(), key=lambda item: (-int(item[1]), item[0]))


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
