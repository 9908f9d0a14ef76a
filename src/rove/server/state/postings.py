"""Growing lists of block numbers that many snapshots share: 4 to 8 bytes an entry.

A list is a shared array and a length. Adding to the newest list appends in place, which older lists
do not see, since they end before it; adding to an older one (after a roll-back) copies.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable

import msgspec


class Postings(msgspec.Struct, frozen=True, gc=False):
    """An immutable list of rising numbers below 2**63: the first `length` of an array that may go on."""

    items: array[int]
    length: int

    @classmethod
    def of(cls, numbers: Iterable[int] = ()) -> Postings:
        """A list of its own."""
        items = array("Q", numbers)
        return cls(items, len(items))

    def __len__(self) -> int:
        return self.length

    def numbers(self) -> list[int]:
        """All entries, oldest first."""
        return self.items[: self.length].tolist()

    def add(self, number: int) -> Postings:
        """The list with one more entry."""
        items = self.items
        if len(items) != self.length:
            items = items[: self.length]
        items.append(number)
        return Postings(items, self.length + 1)

    def __contains__(self, number: int) -> bool:
        place = bisect_left(self.items, number, 0, self.length)
        return place < self.length and self.items[place] == number

    def insert(self, number: int) -> Postings:
        """The list with `number` at its place."""
        if not self.length or self.items[self.length - 1] < number:
            return self.add(number)
        numbers = self.numbers()
        insort(numbers, number)
        return Postings.of(numbers)

    def without(self, numbers: Iterable[int]) -> Postings:
        """The list without those entries."""
        gone = set(numbers)
        return Postings.of(number for number in self.numbers() if number not in gone)


EMPTY = Postings.of()
