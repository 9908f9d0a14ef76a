"""Randomness as the scheduler uses it: to break ties and to pick ports. `random.Random` is one."""

from __future__ import annotations

from typing import Protocol


class Rng(Protocol):
    """A seeded source of numbers."""

    def random(self) -> float:
        """The next number in [0, 1)."""
        ...


class Steady:
    """Always the same number, for questions that give nothing away."""

    def random(self) -> float:
        """0."""
        return 0.0
