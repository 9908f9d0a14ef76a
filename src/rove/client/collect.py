"""Which ended allocations lose their directories now. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Ended(NamedTuple):
    """An allocation that has ended, and when (seconds since the epoch)."""

    alloc_id: str
    finished_at: float


class Room(NamedTuple):
    """How full the disk is, in percent."""

    disk: float
    inodes: float


class Limits(NamedTuple):
    """Above these, ended allocations are removed. max_allocs counts all on the node, running ones too."""

    disk: float
    inodes: float
    max_allocs: int


class Collect(NamedTuple):
    """What to remove now and why. again: look once more when it is done."""

    alloc_ids: tuple[str, ...] = ()
    reason: str = ""
    again: bool = False


def to_collect(ended: Sequence[Ended], total: int, room: Room, limits: Limits, parallel: int) -> Collect:
    """The oldest ended allocations that have to go, at most `parallel` when it is for the disk."""
    oldest = [item.alloc_id for item in sorted(ended, key=lambda item: item.finished_at)]
    if not oldest:
        return Collect()
    if total > limits.max_allocs:
        return Collect(tuple(oldest[: total - limits.max_allocs]), f"more than {limits.max_allocs} allocations", True)
    if room.disk > limits.disk:
        return Collect(tuple(oldest[:parallel]), f"the disk is {room.disk:.0f} % full", True)
    if room.inodes > limits.inodes:
        return Collect(tuple(oldest[:parallel]), f"{room.inodes:.0f} % of the inodes are used", True)
    return Collect()
