"""When Python looks for cyclic garbage, so that no look holds the event loop for long.

Python looks at all objects made since its last look once there are 700 *more* than then. A server replaces as many
objects as it makes (with each heartbeat, with each commit), so that one look may be at 60,000 and take 50 ms. State is
long-lived and has few cycles: looks at what is old are rare, and find what was left of closed connections.
"""

from __future__ import annotations

import gc

THRESHOLDS = (1_000, 8, 1_000)


def set_up() -> None:
    """Set the thresholds of this process."""
    gc.set_threshold(*THRESHOLDS)


def collect_young() -> None:
    """Look at what was made since the last look: microseconds if that is little, so do it often."""
    gc.collect(0)
