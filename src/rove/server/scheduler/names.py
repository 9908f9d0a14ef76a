"""Name indexes: which of `web.api[0]`, `web.api[1]`, ... are free."""

from __future__ import annotations

from collections.abc import Iterable


class NameIndex:
    """The indexes in use by one group. Gives out the lowest free ones, so names are used again."""

    def __init__(self, taken: Iterable[int]) -> None:
        self._taken = set(taken)

    def __contains__(self, index: int) -> bool:
        return index in self._taken

    def take(self, count: int) -> list[int]:
        """The `count` lowest free indexes, now in use."""
        if not self._taken:
            self._taken.update(range(count))
            return list(range(count))
        found: list[int] = []
        index = 0
        while len(found) < count:
            if index not in self._taken:
                found.append(index)
            index += 1
        self._taken.update(found)
        return found

    def take_this(self, index: int) -> None:
        """Mark one index as in use."""
        self._taken.add(index)
