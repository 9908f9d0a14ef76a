"""How parts of a job are called in messages, the same for reading and for judging."""

from __future__ import annotations


def nth(name: str, index: int) -> str:
    """The block of that index (from 0) among its equals: ``service``, ``service[2]``."""
    return f"{name}[{index + 1}]" if index else name
