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

from rove.structs.node import Node

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

    def fill(self, count: int, once: bool) -> tuple[Ints, list[float]]:
        """Place up to `count` copies, greedily; with `once` at most one a node.

        Gives the chosen positions in order, and their scores.
        """
        ...

    def adjust(self, position: int, cpu: float, memory: float, disk: float, copies: int) -> None:
        """Something else changes there: this much more is used, that many more copies are there."""
        ...

    def reopen(self, position: int) -> None:
        """Undo `drop`; takes effect with the next change there."""
        ...

    def elsewhere(self, node: Node, copies: int) -> None:
        """Copies came to (or left) a node that is none of the positions."""
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
        self._states: dict[int, list[float]] = {}

    def change(self, position: int, cpu: float, memory: float, disk: float, copies: int) -> None:
        """Use more (or less) of a node, and score it again."""
        columns = self.columns
        state = self._states.get(position)
        if state is None:
            state = self._states[position] = self._load(position)
        used_cpu = state[0] = state[0] + cpu
        used_memory = state[1] = state[1] + memory
        used_disk = state[2] = state[2] + disk
        count = state[3] = state[3] + copies
        _, _, _, _, cap_cpu, cap_memory, cap_disk, ask_cpu, wish = state
        columns.used[0][position], columns.used[1][position], columns.used[2][position] = state[:3]
        columns.copies[position] = count
        after_cpu, after_memory = used_cpu + ask_cpu, used_memory + columns.ask[1]
        sums = wish + fit_score(
            1.0 - after_cpu / (cap_cpu or 1.0), 1.0 - after_memory / (cap_memory or 1.0), columns.spread
        )
        terms = 1.0 + columns.wish_terms
        if count > 0:
            sums -= (count + 1.0) / columns.count
            terms += 1.0
        self.sums[position], self.terms[position] = sums, terms
        self.touched.add(position)
        self.open[position] = (
            after_cpu <= cap_cpu
            and after_memory <= cap_memory
            and used_disk + columns.ask[2] <= cap_disk
            and position not in self.dropped
        )

    def _load(self, position: int) -> list[float]:
        """Used, copies, capacity, what a copy takes of the CPU, and wishes, as Python numbers."""
        columns = self.columns
        used = [float(column[position]) for column in columns.used]
        capacity = [float(column[position]) for column in columns.capacity]
        wish = float(columns.wishes[position]) if columns.wishes is not None else 0.0
        return [*used, float(columns.copies[position]), *capacity, columns.ask_cpu(position), wish]

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

    def _refill(self) -> None:
        """Sort the next best untouched nodes."""
        chosen, scores = _best_of(self._initial, self._chunk)
        self._untouched = list(zip((-scores).tolist(), chosen.tolist(), strict=True))
        self._next = 0
        self._exhausted = not self._untouched
        self._initial[chosen] = -np.inf
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

    def elsewhere(self, node: Node, copies: int) -> None:
        pass  # no other node's copies matter to a score

    def totals(self) -> Floats:
        return np.where(self.open, self.sums / self.terms, -np.inf)

    def fill(self, count: int, once: bool) -> tuple[Ints, list[float]]:
        """Place up to `count` copies, greedily; with `once` at most one a node.

        Gives the chosen positions in order and their scores. Of n copies only the n best nodes can get
        any, so no more are sorted. A node keeps getting copies for as long as it beats the next best: the
        work in Python is a few operations a copy.
        """
        order, scores = _best_of(self.totals(), count)
        if once:
            for position in order.tolist():
                super().place(position)
                self.drop(position)
            self._start()
            return order, scores.tolist()
        columns = self.columns
        ask = columns.ask_cpu
        nodes = [
            list(node)
            for node in zip(
                *(column[order].tolist() for column in columns.used),
                columns.copies[order].tolist(),
                strict=True,
            )
        ]
        limits = list(zip(*(column[order].tolist() for column in columns.capacity), strict=True))
        wishes = columns.wishes[order].tolist() if columns.wishes is not None else [0.0] * len(order)
        cpus = [ask(0)] * len(order) if isinstance(columns.ask[0], float) else [ask(p) for p in order.tolist()]
        ranks, taken = self._fill(count, list(zip((-scores).tolist(), order.tolist(), strict=True)), nodes, limits,
                                  wishes, cpus)  # fmt: skip
        for k in range(3):
            columns.used[k][order] = [node[k] for node in nodes]
        columns.copies[order] = [node[3] for node in nodes]
        self._start_again()
        return order[np.array(ranks, dtype=np.int64)], taken

    def _fill(
        self,
        count: int,
        stream: list[tuple[float, int]],
        nodes: list[list[float]],
        limits: list[tuple[float, float, float]],
        wishes: list[float],
        cpus: list[float],
    ) -> tuple[list[int], list[float]]:
        """The loop of `fill`: changes `nodes`, gives ranks in `stream` and scores, in order."""
        columns = self.columns
        memory, disk = float(columns.ask[1]), float(columns.ask[2])
        spread, counted, terms = columns.spread, float(columns.count), 2.0 + columns.wish_terms
        exp, push, pop = math.exp, heapq.heappush, heapq.heappop
        entries = [(score, position, rank) for rank, (score, position) in enumerate(stream)]
        end = (math.inf, 0, 0)
        entries.append(end)
        heap: list[tuple[float, int, int]] = [end]
        ranks: list[int] = []
        scores: list[float] = []
        following = 0
        left = count
        while left > 0:
            entry = entries[following]
            if entry < heap[0]:
                following += 1
            else:
                entry = heap[0]
                if entry is end:
                    break
                pop(heap)
            negative, position, rank = entry
            rival = entries[following]
            if heap[0] < rival:
                rival = heap[0]
            node = nodes[rank]
            used_cpu, used_memory, used_disk, copies = node
            cap_cpu, cap_memory, cap_disk = limits[rank]
            cpu, wish = cpus[rank], wishes[rank]
            per_cpu, per_memory = cap_cpu or 1.0, cap_memory or 1.0
            while True:
                ranks.append(rank)
                scores.append(-negative)
                left -= 1
                used_cpu += cpu
                used_memory += memory
                used_disk += disk
                copies += 1.0
                if (
                    used_cpu + cpu > cap_cpu
                    or used_memory + memory > cap_memory
                    or used_disk + disk > cap_disk
                    or left <= 0
                ):
                    break
                total = exp((1.0 - (used_cpu + cpu) / per_cpu) * LN10)
                total += exp((1.0 - (used_memory + memory) / per_memory) * LN10)
                value = total - 2.0 if spread else 20.0 - total
                value = 0.0 if value < 0.0 else MAX_FIT if value > MAX_FIT else value
                negative = -(value / MAX_FIT - (copies + 1.0) / counted + wish) / terms
                if (negative, position, rank) > rival:
                    push(heap, (negative, position, rank))
                    break
            node[0], node[1], node[2], node[3] = used_cpu, used_memory, used_disk, copies
        return ranks, scores

    def _start_again(self) -> None:
        """Score every node again after many changes."""
        self.sums, self.terms = self.columns.own_scores()
        self.open &= self.columns.fits()
        self.touched.clear()
        self._states.clear()
        self._start()


def _best_of(totals: Floats, count: int) -> tuple[Ints, Floats]:
    """The positions of the best `count` scores, best first (ties: lower position first), and their scores."""
    usable = int(np.count_nonzero(totals > -np.inf))
    take = min(count, usable)
    if take < usable:
        edge = np.partition(totals, len(totals) - take)[len(totals) - take]
        above = np.flatnonzero(totals > edge)
        chosen: Ints = np.concatenate((above, np.flatnonzero(totals == edge)[: take - len(above)]))
    else:
        chosen = np.flatnonzero(totals > -np.inf)
    chosen = chosen[np.lexsort((chosen, -totals[chosen]))]
    return chosen, totals[chosen]


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
        self._heads = np.full(2 * self._combinations, -np.inf)
        self._scores = np.full(2 * self._combinations, -np.inf)
        self._positions = np.full(2 * self._combinations, -1, dtype=np.int64)
        self._heaps: list[list[tuple[float, int]]] = [[] for _ in range(2 * self._combinations)]
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
        self._stream = positions[order].tolist()
        bounds = np.searchsorted(bucket[order], np.arange(2 * self._combinations + 1))
        self._cursor = bounds[:-1].tolist()
        self._end = bounds[1:].tolist()
        for number in range(2 * self._combinations):
            if self._cursor[number] < self._end[number]:
                self._refresh(*divmod(number, self._combinations))
        self._rescore_all()

    def _refresh(self, kind: int, combination: int) -> None:
        """Find the best open node of a pair again."""
        number = kind * self._combinations + combination
        cursor, end = self._cursor[number], self._end[number]
        stream, touched, dropped = self._stream, self.touched, self.dropped
        while cursor < end:
            position = stream[cursor]
            if position not in touched and position not in dropped:
                break
            cursor += 1
        self._cursor[number] = cursor
        head: tuple[float, int] = (math.inf, -1)
        if cursor < end:
            position = stream[cursor]
            head = (-float(self.sums[position]), position)
        heap = self._heaps[number]
        while heap:
            entry = heap[0]
            position = entry[1]
            if self.open[position] and self._kind(position) == kind and -entry[0] == self.sums[position]:
                if entry < head:
                    head = entry
                break
            heapq.heappop(heap)
        self._heads[number] = -head[0]
        self._positions[number] = head[1]

    def _rescore(self, combination: int) -> None:
        """Work out the scores of one combination's two heads."""
        blocked = self._spread.blocked is not None and self._spread.blocked[combination]
        term = self._spread.total_of(combination)
        terms = 1.0 + self.columns.wish_terms + (term != 0.0)
        for number in (combination, combination + self._combinations):
            self._scores[number] = -math.inf if blocked else (float(self._heads[number]) + term) / terms
            terms += 1.0

    def _rescore_all(self) -> None:
        """Work out the scores of all heads."""
        terms = self._spread.totals()
        counted = (terms != 0.0) + (1.0 + self.columns.wish_terms)
        many = self._combinations
        self._scores[:many] = (self._heads[:many] + terms) / counted
        self._scores[many:] = (self._heads[many:] + terms) / (counted + 1.0)
        if self._spread.blocked is not None:
            self._scores[:many][self._spread.blocked] = -np.inf
            self._scores[many:][self._spread.blocked] = -np.inf

    def best(self) -> int:
        if not self._combinations:
            return NOWHERE
        scores = self._scores
        first = int(scores.argmax())
        top = scores[first]
        if top == -np.inf:
            return NOWHERE
        (tied,) = (scores == top).nonzero()
        return int(self._positions[first] if len(tied) == 1 else self._positions[tied].min())

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

    def _renew(self, position: int, copies: int) -> None:
        """After a change of one node: its combination's heads and scores, or all scores if copies came or went."""
        combination = int(self._combination[position])
        only_one = self._spread.add(combination, copies) if copies else True
        if self.open[position]:
            number = self._kind(position) * self._combinations + combination
            heapq.heappush(self._heaps[number], (-float(self.sums[position]), position))
        for kind in range(2):
            self._refresh(kind, combination)
        if only_one:
            self._rescore(combination)
        else:
            self._rescore_all()

    def place(self, position: int) -> None:
        super().place(position)
        self._renew(position, 1)

    def adjust(self, position: int, cpu: float, memory: float, disk: float, copies: int) -> None:
        self.change(position, cpu, memory, disk, copies)
        self._renew(position, copies)

    def fill(self, count: int, once: bool) -> tuple[Ints, list[float]]:
        """Place up to `count` copies, greedily; with `once` at most one a node."""
        where: list[int] = []
        scores: list[float] = []
        for _ in range(count):
            position = self.best()
            if position == NOWHERE:
                break
            where.append(position)
            scores.append(self.score(position))
            self.place(position)
            if once:
                self.drop(position)
        return np.array(where, dtype=np.int64), scores

    def drop(self, position: int) -> None:
        self.dropped.add(position)
        self.open[position] = False
        self._renew(position, 0)

    def is_open(self, position: int) -> bool:
        return bool(self.open[position]) and not self.is_blocked(position)

    def elsewhere(self, node: Node, copies: int) -> None:
        self._spread.elsewhere(node, copies)
        self._rescore_all()

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
