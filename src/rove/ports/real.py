"""The real clock and the real source of ids."""

from __future__ import annotations

import asyncio
import os
import time
import uuid


class RealClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)


class RealIds:
    """Ids from the operating system's randomness."""

    def uuid(self) -> str:
        """A random UUID (RFC 9562, version 4) in text form."""
        return str(uuid.uuid4())

    def random_bytes(self, count: int) -> bytes:
        """That many random bytes."""
        return os.urandom(count)
