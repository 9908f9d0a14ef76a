"""Node drain: moving allocations off a node without taking more of a service away than it allows."""

from .loop import Drains

__all__ = ["Drains"]
