"""How a node leaves: its server moves the allocations to other nodes first (`drain_on_shutdown`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import aiohttp

from rove.agent.config import DrainOnShutdown
from rove.client.client import Client
from rove.errors import RoveError
from rove.structs.node import DrainSpec

log = logging.getLogger(__name__)

AFTER_DEADLINE_S = 60.0
"""How long tasks may take to end once the drain's deadline has passed."""
REASON = "the node's agent leaves"


async def drain_before_leaving(client: Client, server: Any, servers: Sequence[str], how: DrainOnShutdown) -> None:
    """Ask the server to drain the node, and wait until nothing that has to leave runs here any more.

    server: this agent's own, or None; then one of `servers` (host:port) is asked. Whatever goes wrong is logged:
    the agent leaves all the same, and its tasks run on.
    """
    spec = DrainSpec(deadline=-1 if how.force else int(how.deadline_s * 1e9), ignore_system_jobs=how.ignore_system_jobs)
    try:
        if server is not None:
            await server.drain_node(client.node.id, spec, meta={"message": REASON})
        else:
            await _ask(client.node.id, servers, spec)
    except (RoveError, OSError, aiohttp.ClientError, TimeoutError) as error:
        log.error("the node was not drained before leaving, its tasks run on: %s", error)
        return
    leaving = [runner for runner in client.runners.values() if not (how.ignore_system_jobs and _is_system(runner))]
    log.info("leaving: waiting for %d allocations to move away", len([r for r in leaving if not r.ended.is_set()]))
    patience_s = AFTER_DEADLINE_S + (0.0 if how.force else how.deadline_s)
    try:
        async with asyncio.timeout(patience_s):
            for runner in leaving:
                await runner.ended.wait()
            await client.reporter.flush()
    except TimeoutError:
        log.error("some allocations did not move away in time; they run on")


def _is_system(runner: Any) -> bool:
    return runner.job.type in ("system", "sysbatch")


async def _ask(node_id: str, servers: Sequence[str], spec: DrainSpec) -> None:
    """Ask the servers one after the other. Raises what the last one gave."""
    body = {
        "NodeID": node_id,
        "DrainSpec": {"Deadline": spec.deadline, "IgnoreSystemJobs": spec.ignore_system_jobs},
        "Meta": {"message": REASON},
    }
    failure: Exception = OSError("no server is known")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        for address in servers:
            try:
                async with session.put(f"http://{address}/v1/node/{node_id}/drain", json=body) as answer:
                    if answer.status == 200:
                        return
                    failure = OSError(f"{address} answered {answer.status}: {(await answer.text())[:200]}")
            except (OSError, aiohttp.ClientError, TimeoutError) as error:
                failure = error
    raise failure
