"""Spread terms and limits per attribute value, over combinations of values.

Every spread and every distinct_property constraint looks at one attribute. A *combination* is what a
node has for all of them together; nodes of one combination always have the same term.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rove.structs.job import Spread

from .view import Bools, Floats, Ints

WORST = -1.0


class Attribute:
    """One attribute: its values by number (the last number stands for "missing"), and copies by value."""

    def __init__(self, values: Sequence[str], counts: Sequence[int]) -> None:
        self.values = list(values)
        self.counts = np.array([*counts, 0], dtype=np.float64)

    @property
    def missing(self) -> int:
        """The number that stands for nodes without the attribute."""
        return len(self.values)


class SpreadRule:
    """One spread: the term of every value as things stand."""

    def __init__(self, spread: Spread, attribute: Attribute, count: int, share: float) -> None:
        self.attribute = attribute
        self.share = share
        self.desired = self._desired(spread, attribute, count) if spread.spread_target else None
        self.terms = np.zeros(len(attribute.counts))
        self.update()

    @staticmethod
    def _desired(spread: Spread, attribute: Attribute, count: int) -> Floats:
        """Copies wanted by value; nan for values that no target (and no remainder) covers."""
        targets = {target.value: target.percent * count / 100.0 for target in spread.spread_target}
        rest = 100 - sum(target.percent for target in spread.spread_target)
        other = targets.get("*", rest * count / 100.0 if rest > 0 else np.nan)
        return np.array([targets.get(value, other) for value in attribute.values] + [np.nan])

    def update(self) -> None:
        """Work the terms out again from the counts."""
        if self.desired is None:
            self._even()
        else:
            self._targets(self.desired)
        self.terms[self.attribute.missing] = WORST * self.share

    def _targets(self, desired: Floats) -> None:
        counts = self.attribute.counts
        terms = np.full(len(counts), WORST)
        wanted = desired > 0
        terms[wanted] = (desired[wanted] - (counts[wanted] + 1.0)) / desired[wanted]
        lowest = min(WORST, float(terms[wanted].min()) if wanted.any() else WORST)
        terms[desired == 0] = lowest
        terms *= self.share
        self.terms = terms

    def _even(self) -> None:
        counts = self.attribute.counts[:-1]
        terms = np.zeros(len(counts) + 1)
        used = counts[counts > 0]
        if len(used):
            low, high = float(used.min()), float(used.max())
            terms[:-1] = (low - counts) / low
            terms[:-1][counts == low] = WORST if low == high else (high - low) / low
        terms *= self.share
        self.terms = terms


class PropertyLimit:
    """A distinct_property constraint: at most `most` copies a value, none where it is missing."""

    def __init__(self, attribute: Attribute, most: int) -> None:
        self.attribute = attribute
        self.most = most

    def full(self) -> Bools:
        """By value: nothing more may go there."""
        full = self.attribute.counts >= self.most
        full[self.attribute.missing] = True
        return full


class SpreadTerms:
    """The terms of all combinations, kept up to date as copies are placed."""

    def __init__(
        self,
        rules: Sequence[tuple[SpreadRule, Ints]],
        limits: Sequence[tuple[PropertyLimit, Ints]],
        combinations: int,
    ) -> None:
        """rules, limits: each with its value's number for every combination."""
        self.combinations = combinations
        self._rules = rules
        self._limits = limits
        self.blocked: Bools | None = None
        self._totals = np.zeros(combinations)
        self._total()

    def totals(self) -> Floats:
        """The sum of terms of every combination."""
        return self._totals

    def total_of(self, combination: int) -> float:
        return float(self._totals[combination])

    def add(self, combination: int, copies: int) -> None:
        """Copies were placed on (or taken from) nodes of this combination."""
        for attribute, numbers in self._attributes():
            attribute.counts[numbers[combination]] += copies
        for rule, _ in self._rules:
            rule.update()
        self._total()

    def _attributes(self) -> list[tuple[Attribute, Ints]]:
        seen: dict[int, tuple[Attribute, Ints]] = {}
        for rule, numbers in self._rules:
            seen[id(rule.attribute)] = (rule.attribute, numbers)
        for limit, numbers in self._limits:
            seen[id(limit.attribute)] = (limit.attribute, numbers)
        return list(seen.values())

    def _total(self) -> None:
        if len(self._rules) == 1:
            rule, numbers = self._rules[0]
            self._totals = rule.terms[numbers]
        elif self._rules:
            self._totals = np.sum([rule.terms[numbers] for rule, numbers in self._rules], axis=0)
        if self._limits:
            blocked = np.zeros(self.combinations, bool)
            for limit, numbers in self._limits:
                blocked |= limit.full()[numbers]
            self.blocked = blocked
