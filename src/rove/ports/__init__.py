"""The outside world as protocols: clock, ids, transport. Only `real.py` and `websocket.py` touch it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time. `now` may jump when the machine's clock is set; `monotonic` never goes back."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...


class Ids(Protocol):
    """New identifiers and randomness for them."""

    def uuid(self) -> str:
        """A random UUID (RFC 9562, version 4) in text form."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """That many random bytes."""
        ...
