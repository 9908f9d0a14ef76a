"""The artifacts hook with a real server and the real fetcher."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from rove.structs.job import Artifact
from rove.testing.node_agent import World, a_job, a_task, an_alloc, fast_restarts, until

CONTENT = b"#!/bin/sh\necho hello\n"


class Shelf:
    """A small artifact server. missing: how many requests are still answered with 404."""

    def __init__(self) -> None:
        self.base = ""
        self.requests = 0
        self.missing = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.missing:
            self.missing -= 1
            return web.Response(status=404)
        return web.Response(body=CONTENT)


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    shelf = Shelf()
    app = web.Application()
    app.router.add_get("/{name}", shelf.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    shelf.base = f"http://127.0.0.1:{port}"
    yield shelf
    await runner.cleanup()


async def run(world: World, artifact: Artifact, status: str, **task: Any) -> Any:
    await world.agent()
    alloc = an_alloc(a_job(a_task(artifacts=(artifact,), **task)))
    await world.server.send(alloc)
    await world.server.until_status(alloc, status)
    return alloc


async def test_an_artifact_is_in_place_before_the_task_starts(world: World, shelf: Shelf) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    artifact = Artifact(
        getter_source=f"{shelf.base}/${{NOMAD_TASK_NAME}}.sh", getter_options={"checksum": f"sha256:{digest}"}
    )
    alloc = await run(world, artifact, "running")
    assert (world.data_dir / "alloc" / alloc.id / "main/local/main.sh").read_bytes() == CONTENT
    assert "Downloading Artifacts" in world.server.event_types(alloc)


async def test_a_wrong_checksum_fails_the_task_and_leaves_nothing(world: World, shelf: Shelf) -> None:
    artifact = Artifact(getter_source=f"{shelf.base}/x.sh", getter_options={"checksum": "sha256:" + "0" * 64})
    alloc = await run(world, artifact, "failed", restart_policy=fast_restarts(0))
    assert "Failed Artifact Download" in world.server.event_types(alloc)
    assert list((world.data_dir / "alloc" / alloc.id / "main/local").iterdir()) == []
    assert world.machine.starts == []


async def test_a_restart_does_not_fetch_again(world: World, shelf: Shelf) -> None:
    config = {"run_for": "1ms", "exit_code": 1}
    await run(world, Artifact(getter_source=f"{shelf.base}/x.sh"), "failed", config=config,
              restart_policy=fast_restarts(2))  # fmt: skip
    assert len(world.machine.starts) == 3
    assert shelf.requests == 1


async def test_a_download_that_is_stopped_leaves_nothing_staged(world: World, shelf: Shelf) -> None:
    alloc = await run(world, Artifact(getter_source=f"{shelf.base}/x.sh"), "running")
    await world.server.stop(alloc)
    await world.server.until_status(alloc, "complete")
    await until(lambda: not [path for path in (world.data_dir / "alloc" / ".staging").rglob("*") if path.is_file()])
