"""A node agent with the mock driver, and a small server on the other end of a memory pipe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rove.testing.node_agent import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.close()
