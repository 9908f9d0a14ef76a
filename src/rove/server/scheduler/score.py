"""Scores: how good a node is for one more copy. Higher is better; formulas in docs/scheduling.md.

The score of a node is the mean of the scorers that apply to it: binpack (always), job-anti-affinity
(if copies of the group are there), node-affinity and devices (if the job has such wishes),
allocation-spread (if not zero), node-reschedule-penalty, preemption.
"""

from __future__ import annotations

import math

import numpy as np

from .view import Bools, Floats

BINPACK = "binpack"
ANTI_AFFINITY = "job-anti-affinity"
PENALTY = "node-reschedule-penalty"
AFFINITY = "node-affinity"
DEVICES = "devices"
SPREAD = "allocation-spread"
PREEMPTION = "preemption"
NORMALISED = "normalized-score"

MAX_FIT = 18.0
LN10 = math.log(10.0)


def fit_score(free_cpu: float, free_memory: float, spread: bool) -> float:
    """Best fit (or, with `spread`, worst fit), 0 to 1, from the free shares after placing."""
    total = math.exp(free_cpu * LN10) + math.exp(free_memory * LN10)
    value = total - 2.0 if spread else 20.0 - total
    return min(max(value, 0.0), MAX_FIT) / MAX_FIT


def fit_scores(free_cpu: Floats, free_memory: Floats, spread: bool) -> Floats:
    """`fit_score` for columns."""
    total = np.exp(free_cpu * LN10)
    total += np.exp(free_memory * LN10)
    value = total - 2.0 if spread else 20.0 - total
    np.clip(value, 0.0, MAX_FIT, out=value)
    value /= MAX_FIT
    return value


def preemption_score(priorities: list[int]) -> float:
    """Higher when the victims' priorities are few and low."""
    top = max(priorities)
    weight = top + sum(priorities) / max(top, 1)
    return 1.0 / (1.0 + math.exp(0.0048 * (weight - 2048.0)))


class Columns:
    """One group's candidate nodes as columns, in tie-break order, with what is used on them now.

    Positions, not fleet rows, number the nodes here. `sums` and `terms` are the sum and number of a
    node's own scorers for one more copy; what depends on other nodes (spread) is added by the picker.
    """

    def __init__(
        self,
        capacity: tuple[Floats, Floats, Floats],
        used: tuple[Floats, Floats, Floats],
        ask: tuple[Floats | float, float, float],
        copies: Floats,
        wishes: Floats | None,
        wish_terms: int,
        count: int,
        spread: bool,
    ) -> None:
        self.capacity = capacity
        self.used = used
        self.ask = ask
        self.copies = copies
        self.wishes = wishes
        self.wish_terms = wish_terms
        self.count = max(count, 1)
        self.spread = spread

    def __len__(self) -> int:
        return len(self.copies)

    def fits(self) -> Bools:
        """Where one more copy fits."""
        ok = self.used[0] + self.ask[0] <= self.capacity[0]
        ok &= self.used[1] + self.ask[1] <= self.capacity[1]
        ok &= self.used[2] + self.ask[2] <= self.capacity[2]
        return ok

    def binpack(self) -> Floats:
        """The fit score of every node."""
        free = [1.0 - (self.used[k] + self.ask[k]) / np.maximum(self.capacity[k], 1.0) for k in (0, 1)]
        return fit_scores(free[0], free[1], self.spread)

    def own_scores(self) -> tuple[Floats, Floats]:
        """(sums, terms) of every node, fits or not."""
        sums = self.binpack()
        terms = np.full(len(sums), 1.0 + self.wish_terms)
        crowded = self.copies > 0
        if crowded.any():
            sums[crowded] -= (self.copies[crowded] + 1.0) / self.count
            terms[crowded] += 1.0
        if self.wishes is not None:
            sums += self.wishes
        return sums, terms

    def ask_cpu(self, position: int) -> float:
        """MHz that a copy takes on this node (cores differ between machines)."""
        cpu = self.ask[0]
        return float(cpu) if isinstance(cpu, (int, float)) else float(cpu[position])
