"""Spread terms and limits per attribute value, over combinations of values.

Every spread and every distinct_property constraint looks at one attribute. A *combination* is what a
node has for all of them together; nodes of one combination always have the same term.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from rove.structs.job import Spread
from rove.structs.node import Node

from .view import Bools, Floats, Ints

WORST = -1.0


REST = "*"
"""Stands for all values that no target of a spread names."""


class Attribute:
    """One attribute: its values by number (the last number stands for "missing"), and copies by value.

    value_of: a node's value, None if it is missing.
    """

    def __init__(self, values: Sequence[str], counts: Sequence[int], value_of: Callable[[Node], str | None]) -> None:
        self.values = list(values)
        self.counts = np.array([*counts, 0], dtype=np.float64)
        self._value_of = value_of

    def number_on(self, node: Node) -> int:
        """The number of a node's value."""
        value = self._value_of(node)
        return self.values.index(value) if value in self.values else self.missing

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
        self._low = self._high = 0.0
        self._sizes: dict[float, int] = {}
        self._has_zero = self.desired is not None and bool((self.desired == 0).any())
        self.update()

    @staticmethod
    def _desired(spread: Spread, attribute: Attribute, count: int) -> Floats:
        """Copies wanted by value; nan for the rest if the targets leave it nothing."""
        targets = {target.value: target.percent * count / 100.0 for target in spread.spread_target}
        left = 100 - sum(target.percent for target in spread.spread_target)
        targets.setdefault(REST, left * count / 100.0 if left > 0 else np.nan)
        return np.array([targets[value] for value in attribute.values] + [np.nan])

    def update(self) -> None:
        """Work the terms out again from the counts."""
        if self.desired is None:
            self._even()
        else:
            self._targets(self.desired)
        self.terms[self.attribute.missing] = WORST * self.share

    def changed(self, number: int, by: int) -> bool:
        """The count of one value has changed by so many. True if only that value's term has."""
        if number == self.attribute.missing:
            return True
        count = float(self.attribute.counts[number])
        if self.desired is None:
            if not self._moved(count - by, count):
                self.update()
                return False
            low, high = self._low, self._high
            self.terms[number] = self.share * _even_term(count, low, high)
            return True
        desired = float(self.desired[number])
        if self._has_zero or not desired > 0:
            self.update()
            return False
        self.terms[number] = self.share * ((desired - (count + 1.0)) / desired)
        return True

    def _moved(self, before: float, after: float) -> bool:
        """A value went from `before` to `after` copies. True if the lowest and highest counts are still those."""
        sizes = self._sizes
        sizes[before] = sizes.get(before, 0) - 1
        sizes[after] = sizes.get(after, 0) + 1
        low, high = self._low, self._high
        inside = (after == 0 or low <= after) and after <= high
        return bool(high) and inside and sizes.get(low, 0) > 0 and sizes.get(high, 0) > 0

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
        self._low = self._high = 0.0
        self._sizes = dict(Counter(counts.tolist()))
        if len(used):
            low, high = float(used.min()), float(used.max())
            self._low, self._high = low, high
            terms[:-1] = (low - counts) / low
            terms[:-1][counts == low] = WORST if low == high else (high - low) / low
        terms *= self.share
        self.terms = terms


def _even_term(count: float, low: float, high: float) -> float:
    """The term of a value with `count` copies where the others have between `low` and `high`."""
    if count != low:
        return (low - count) / low
    return WORST if low == high else (high - low) / low


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
        self._unique = self._attributes()
        self._totals = np.zeros(combinations)
        self._total()

    def totals(self) -> Floats:
        """The sum of terms of every combination."""
        return self._totals

    def total_of(self, combination: int) -> float:
        return float(self._totals[combination])

    def add(self, combination: int, copies: int) -> bool:
        """Copies were placed on (or taken from) nodes of this combination.

        True if no other combination's term has changed.
        """
        for attribute, numbers in self._unique:
            attribute.counts[numbers[combination]] += copies
        if len(self._rules) == 1 and not self._limits:
            rule, numbers = self._rules[0]
            if rule.changed(int(numbers[combination]), copies):
                self._totals[combination] = rule.terms[numbers[combination]]
                return True
        else:
            for rule, _ in self._rules:
                rule.update()
        self._total()
        return False

    def elsewhere(self, node: Node, copies: int) -> None:
        """Copies came to (or left) a node that is none of the combinations'."""
        for attribute, _ in self._unique:
            attribute.counts[attribute.number_on(node)] += copies
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
