"""Growing lists of block numbers that many snapshots share: 4 to 8 bytes an entry.

A list is a shared array and a length. Adding to the newest list appends in place, which older lists
do not see, since they end before it; adding to an older one (after a roll-back) copies.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable


class Postings:
    """An immutable list of rising numbers below 2**63."""

    __slots__ = ("_items", "_length")

    def __init__(self, items: Iterable[int] = ()) -> None:
        self._items = array("Q", items)
        self._length = len(self._items)

    def __len__(self) -> int:
        return self._length

    def numbers(self) -> list[int]:
        """All entries, oldest first."""
        return self._items[: self._length].tolist()

    def add(self, number: int) -> Postings:
        """The list with one more entry."""
        longer = Postings.__new__(Postings)
        items = self._items
        if len(items) != self._length:
            items = items[: self._length]
        items.append(number)
        longer._items = items
        longer._length = self._length + 1
        return longer

    def __contains__(self, number: int) -> bool:
        place = bisect_left(self._items, number, 0, self._length)
        return place < self._length and self._items[place] == number

    def insert(self, number: int) -> Postings:
        """The list with `number` at its place."""
        if not self._length or self._items[self._length - 1] < number:
            return self.add(number)
        numbers = self.numbers()
        insort(numbers, number)
        return Postings(numbers)

    def without(self, numbers: Iterable[int]) -> Postings:
        """The list without those entries."""
        gone = set(numbers)
        return Postings(number for number in self.numbers() if number not in gone)


EMPTY = Postings()
