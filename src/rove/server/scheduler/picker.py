"""Pickers: which node is best for the next copy, kept up to date as copies are placed.

`HeapPicker` is for scores that depend on the node alone: a placement changes one node's score, so a
sorted stream of untouched nodes and a heap of touched ones always show the best. `SpreadPicker` adds
terms that depend on how many copies an attribute's value has: it keeps such a stream and heap for every
combination of values, and the values' terms outside of them.
Both look at every node, and both give exactly the greedy choice; ties go to the lower position.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection
from typing import Protocol

import numpy as np

from .score import LN10, MAX_FIT, Columns, fit_score
from .spread import SpreadTerms
from .view import Bools, Floats, Ints

NOWHERE = -1
FIRST_CHUNK = 64


class Picker(Protocol):
    """Chooses positions of `Columns`."""

    def best(self) -> int:
        """The best position for one more copy, or NOWHERE."""
        ...

    def score(self, position: int) -> float:
        """The score of one more copy there, as things stand."""
        ...

    def place(self, position: int) -> None:
        """A copy goes there."""
        ...

    def adjust(self, position: int, cpu: float, memory: float, disk: float, copies: int) -> None:
        """Something else changes there: this much more is used, that many more copies are there."""
        ...

    def reopen(self, position: int) -> None:
        """Undo `drop`; takes effect with the next change there."""
        ...

    def drop(self, position: int) -> None:
        """Nothing more may go there."""
        ...

    def is_open(self, position: int) -> bool:
        """True if one more copy fits there."""
        ...

    def is_blocked(self, position: int) -> bool:
        """True if a limit per attribute value keeps every copy away, whatever the room."""
        ...

    def totals(self) -> Floats:
        """Every node's score, -inf where nothing fits."""
        ...

    def terms_of(self, position: int) -> tuple[float, float]:
        """(sum, number) of the scorers that apply there."""
        ...


class _Nodes:
    """The state both pickers share: what is used where, as Python numbers once a node is touched."""

    def __init__(self, columns: Columns, allowed: Bools | None) -> None:
        self.columns = columns
        self.sums, self.terms = columns.own_scores()
        self.open = columns.fits()
        if allowed is not None:
            self.open &= allowed
        self.dropped: set[int] = set()
        self.touched: set[int] = set()

    def change(self, position: int, cpu: float, memory: float, disk: float, copies: int) -> None:
        """Use more (or less) of a node, and score it again."""
        columns = self.columns
        used = [float(column[position]) for column in columns.used]
        used[0] += cpu
        used[1] += memory
        used[2] += disk
        columns.used[0][position], columns.used[1][position], columns.used[2][position] = used
        count = float(columns.copies[position]) + copies
        columns.copies[position] = count
        ask = (columns.ask_cpu(position), columns.ask[1], columns.ask[2])
        capacity = [float(column[position]) for column in columns.capacity]
        sums = fit_score(
            1.0 - (used[0] + ask[0]) / max(capacity[0], 1.0),
            1.0 - (used[1] + ask[1]) / max(capacity[1], 1.0),
            columns.spread,
        )
        terms = 1.0 + columns.wish_terms
        if count > 0:
            sums -= (count + 1.0) / columns.count
            terms += 1.0
        if columns.wishes is not None:
            sums += float(columns.wishes[position])
        self.sums[position], self.terms[position] = sums, terms
        self.touched.add(position)
        fits = all(used[k] + ask[k] <= capacity[k] for k in range(3))
        self.open[position] = fits and position not in self.dropped

    def reopen(self, position: int) -> None:
        """Undo `drop`; takes effect with the next change there."""
        self.dropped.discard(position)

    def place(self, position: int) -> None:
        """A copy goes there."""
        columns = self.columns
        self.change(position, columns.ask_cpu(position), columns.ask[1], columns.ask[2], 1)


class HeapPicker(_Nodes):
    """For scores that depend on the node alone."""

    def __init__(self, columns: Columns, allowed: Bools | None = None) -> None:
        super().__init__(columns, allowed)
        self._start()

    def _start(self) -> None:
        self._initial = np.where(self.open, self.sums / self.terms, -np.inf)
        self._untouched: list[tuple[float, int]] = []
        self._next = 0
        self._chunk = FIRST_CHUNK
        self._exhausted = False
        self._heap: list[tuple[float, int]] = []

    def expect(self, count: int) -> None:
        """Say how many copies are to come, so that that many nodes are sorted at once."""
        self._chunk = max(self._chunk, count)

    def _refill(self) -> None:
        """Sort the next best untouched nodes."""
        scores = self._initial
        remaining = int(np.count_nonzero(scores > -np.inf))
        take = min(self._chunk, remaining)
        if not take:
            self._exhausted = True
            self._untouched, self._next = [], 0
            return
        if take == 1:
            chosen = np.array([int(scores.argmax())])
        elif take < remaining:
            edge = np.partition(scores, len(scores) - take)[len(scores) - take]
            above = np.flatnonzero(scores > edge)
            equal = np.flatnonzero(scores == edge)[: take - len(above)]
            chosen = np.concatenate((above, equal))
        else:
            chosen = np.flatnonzero(scores > -np.inf)
        best = np.lexsort((chosen, -scores[chosen]))
        chosen = chosen[best]
        self._untouched = list(zip((-scores[chosen]).tolist(), chosen.tolist(), strict=True))
        self._next = 0
        scores[chosen] = -np.inf
        self._chunk *= 4

    def _head(self) -> tuple[float, int] | None:
        """The best untouched node."""
        while True:
            while self._next < len(self._untouched):
                entry = self._untouched[self._next]
                if entry[1] not in self.touched and entry[1] not in self.dropped:
                    return entry
                self._next += 1
            if self._exhausted:
                return None
            self._refill()

    def best(self) -> int:
        head = self._head()
        heap = self._heap
        while heap:
            entry = heap[0]
            position = entry[1]
            if self.open[position] and -entry[0] == self.score(position):
                break
            heapq.heappop(heap)
        if heap and (head is None or heap[0] < head):
            return heap[0][1]
        return head[1] if head else NOWHERE

    def score(self, position: int) -> float:
        return float(self.sums[position] / self.terms[position])

    def terms_of(self, position: int) -> tuple[float, float]:
        return float(self.sums[position]), float(self.terms[position])

    def place(self, position: int) -> None:
        super().place(position)
        self._push(position)

    def adjust(self, position: int, cpu: float, memory: float, disk: float, copies: int) -> None:
        self.change(position, cpu, memory, disk, copies)
        self._push(position)

    def _push(self, position: int) -> None:
        if self.open[position]:
            heapq.heappush(self._heap, (-self.score(position), position))

    def drop(self, position: int) -> None:
        self.dropped.add(position)
        self.open[position] = False

    def is_open(self, position: int) -> bool:
        return bool(self.open[position])

    def is_blocked(self, position: int) -> bool:
        return False

    def totals(self) -> Floats:
        return np.where(self.open, self.sums / self.terms, -np.inf)

    def fill(self, count: int, once: bool) -> tuple[list[int], list[float]]:
        """Place up to `count` copies, greedily; with `once` at most one a node.

        Gives the chosen positions in order and their scores. A node keeps getting copies for as long
        as it beats the next best: Python's work is then a few operations a copy.
        """
        columns = self.columns
        where: list[int] = []
        scores: list[float] = []
        spread, counted = columns.spread, float(columns.count)
        base_terms = 1.0 + columns.wish_terms
        exp = math.exp
        heap = self._heap
        self.expect(count)
        while len(where) < count:
            position = self.best()
            if position == NOWHERE:
                break
            if once:
                where.append(position)
                scores.append(self.score(position))
                super().place(position)
                self.drop(position)
                continue
            if heap and heap[0][1] == position:
                heapq.heappop(heap)
            else:
                self._next += 1
            rival = self._rival()
            used_cpu, used_memory, used_disk = (float(column[position]) for column in columns.used)
            cap_cpu, cap_memory, cap_disk = (float(column[position]) for column in columns.capacity)
            cpu, memory, disk = columns.ask_cpu(position), float(columns.ask[1]), float(columns.ask[2])
            per_cpu, per_memory = max(cap_cpu, 1.0), max(cap_memory, 1.0)
            copies = float(columns.copies[position])
            wish = float(columns.wishes[position]) if columns.wishes is not None else 0.0
            score = self.score(position)
            left = count - len(where)
            while True:
                where.append(position)
                scores.append(score)
                left -= 1
                used_cpu += cpu
                used_memory += memory
                used_disk += disk
                copies += 1.0
                after_cpu, after_memory = used_cpu + cpu, used_memory + memory
                total = exp((1.0 - after_cpu / per_cpu) * LN10) + exp((1.0 - after_memory / per_memory) * LN10)
                value = total - 2.0 if spread else 20.0 - total
                value = (0.0 if value < 0.0 else MAX_FIT if value > MAX_FIT else value) / MAX_FIT
                sums = value - (copies + 1.0) / counted + wish
                score = sums / (base_terms + 1.0)
                fits = after_cpu <= cap_cpu and after_memory <= cap_memory and used_disk + disk <= cap_disk
                if not fits or left <= 0 or (-score, position) > rival:
                    break
            columns.used[0][position] = used_cpu
            columns.used[1][position] = used_memory
            columns.used[2][position] = used_disk
            columns.copies[position] = copies
            self.sums[position], self.terms[position] = sums, base_terms + 1.0
            self.touched.add(position)
            self.open[position] = fits
            if fits:
                heapq.heappush(heap, (-float(self.sums[position] / self.terms[position]), position))
        return where, scores

    def _rival(self) -> tuple[float, int]:
        """The entry that the present node has to beat."""
        head = self._head()
        heap = self._heap
        while heap and not (self.open[heap[0][1]] and -heap[0][0] == self.score(heap[0][1])):
            heapq.heappop(heap)
        if heap and (head is None or heap[0] < head):
            return heap[0]
        return head if head is not None else (np.inf, 0)


class SpreadPicker(_Nodes):
    """For jobs that spread over attribute values or limit copies per value.

    combination: for every position, the number of its combination of values. A node's score is
    (own sum + term of its combination) / (own number + 1 if that term is not 0).
    """

    def __init__(self, columns: Columns, terms: SpreadTerms, combination: Ints, allowed: Bools | None = None) -> None:
        super().__init__(columns, allowed)
        self._spread = terms
        self._combination = combination
        self._combinations = terms.combinations
        self._heads = np.full((2, self._combinations), -np.inf)
        self._head_positions = np.full((2, self._combinations), -1, dtype=np.int64)
        self._heaps: list[list[list[tuple[float, int]]]] = [[[] for _ in range(self._combinations)] for _ in range(2)]
        self._sort()

    def _kind(self, position: int) -> int:
        """0 for nodes without copies, 1 for those with: within a kind the number of terms is equal."""
        return 1 if self.columns.copies[position] > 0 else 0

    def _sort(self) -> None:
        """Sort all open nodes by (kind, combination, own sum): one stream for every pair."""
        positions = np.flatnonzero(self.open)
        kinds = (self.columns.copies[positions] > 0).astype(np.int64)
        bucket = kinds * self._combinations + self._combination[positions]
        order = np.lexsort((positions, -self.sums[positions], bucket))
        self._stream = positions[order]
        bounds = np.searchsorted(bucket[order], np.arange(2 * self._combinations + 1))
        self._cursor = bounds[:-1].tolist()
        self._end = bounds[1:].tolist()
        for kind in range(2):
            for combination in range(self._combinations):
                bucket_number = kind * self._combinations + combination
                if self._cursor[bucket_number] < self._end[bucket_number]:
                    self._refresh(kind, combination)

    def _refresh(self, kind: int, combination: int) -> None:
        """Find the best open node of a pair again."""
        number = kind * self._combinations + combination
        cursor, end = self._cursor[number], self._end[number]
        while cursor < end:
            position = int(self._stream[cursor])
            if position not in self.touched and position not in self.dropped:
                break
            cursor += 1
        self._cursor[number] = cursor
        head: tuple[float, int] = (np.inf, -1)
        if cursor < end:
            position = int(self._stream[cursor])
            head = (-float(self.sums[position]), position)
        heap = self._heaps[kind][combination]
        while heap:
            entry = heap[0]
            position = entry[1]
            if self.open[position] and self._kind(position) == kind and -entry[0] == float(self.sums[position]):
                break
            heapq.heappop(heap)
        if heap and heap[0] < head:
            head = heap[0]
        self._heads[kind, combination] = -head[0]
        self._head_positions[kind, combination] = head[1]

    def best(self) -> int:
        terms = self._spread.totals()
        counted = (terms != 0.0) + (1.0 + self.columns.wish_terms)
        first = (self._heads[0] + terms) / counted
        second = (self._heads[1] + terms) / (counted + 1.0)
        blocked = self._spread.blocked
        if blocked is not None:
            first[blocked] = -np.inf
            second[blocked] = -np.inf
        top = max(first.max(), second.max())
        if top == -np.inf:
            return NOWHERE
        tied = [self._head_positions[0, first == top], self._head_positions[1, second == top]]
        return int(min(part.min() for part in tied if len(part)))

    def spread_term(self, position: int) -> float:
        """What spreading adds there."""
        return self._spread.total_of(int(self._combination[position]))

    def terms_of(self, position: int) -> tuple[float, float]:
        term = self._spread.total_of(int(self._combination[position]))
        own = float(self.sums[position]), float(self.terms[position])
        return own[0] + term, own[1] + (1.0 if term != 0.0 else 0.0)

    def score(self, position: int) -> float:
        sums, terms = self.terms_of(position)
        return sums / terms

    def _renew(self, position: int) -> None:
        combination = int(self._combination[position])
        if self.open[position]:
            kind = self._kind(position)
            heapq.heappush(self._heaps[kind][combination], (-float(self.sums[position]), position))
        for kind in range(2):
            self._refresh(kind, combination)

    def place(self, position: int) -> None:
        super().place(position)
        self._spread.add(int(self._combination[position]), 1)
        self._renew(position)

    def adjust(self, position: int, cpu: float, memory: float, disk: float, copies: int) -> None:
        self.change(position, cpu, memory, disk, copies)
        if copies:
            self._spread.add(int(self._combination[position]), copies)
        self._renew(position)

    def drop(self, position: int) -> None:
        self.dropped.add(position)
        self.open[position] = False
        self._renew(position)

    def is_open(self, position: int) -> bool:
        return bool(self.open[position]) and not self.is_blocked(position)

    def is_blocked(self, position: int) -> bool:
        blocked = self._spread.blocked
        return blocked is not None and bool(blocked[int(self._combination[position])])

    def totals(self) -> Floats:
        terms = self._spread.totals()[self._combination]
        scores = (self.sums + terms) / (self.terms + (terms != 0.0))
        usable = self.open
        if self._spread.blocked is not None:
            usable = usable & ~self._spread.blocked[self._combination]
        return np.where(usable, scores, -np.inf)


def best_penalised(picker: Picker, penalised: Collection[int]) -> tuple[int, float]:
    """The best position if the `penalised` ones score one more -1, and its score."""
    totals = picker.totals()
    for position in penalised:
        if totals[position] > -np.inf:
            sums, terms = picker.terms_of(position)
            totals[position] = (sums - 1.0) / (terms + 1.0)
    position = int(totals.argmax()) if len(totals) else NOWHERE
    if position == NOWHERE or totals[position] == -np.inf:
        return NOWHERE, 0.0
    return position, float(totals[position])
