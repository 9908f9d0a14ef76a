"""A fleet on one machine, as a program: thousands of simulated node agents over real sockets.

``python -m bench.nodesim --server 127.0.0.1:4647 --nodes 1000`` runs until Ctrl-C and says what it does once a second.
`rove.testing.nodesim` is the same as a library.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import sys

from rove.agent import garbage
from rove.testing.nodesim import Fleet, SimNode, describe

__all__ = ["Fleet", "SimNode", "describe"]


async def simulate(options: argparse.Namespace) -> None:
    """Run until cancelled; a line a second. Reads `vanish NUMBER` lines from standard input with --listen."""
    numbers = range(options.first, options.first + options.nodes)
    nodes = [describe(number, racks=options.racks, cpu_mhz=options.cpu, memory_mb=options.memory) for number in numbers]
    # A collection stops every node of this process at once, and their heartbeats arrive in bursts that no real fleet
    # makes: keep collections small, and what lives as long as the process out of them.
    garbage.set_up()
    async with Fleet(options.server, nodes) as fleet:
        if options.listen:
            asyncio.get_running_loop().add_reader(sys.stdin, lambda: _obey(fleet, options.first))
        while True:
            await asyncio.sleep(options.every)
            connected = sum(1 for node in fleet.nodes if node.is_connected)
            if connected == len(nodes) and not gc.get_freeze_count():
                gc.freeze()
            if options.json:
                line = {"connected": connected, "running": fleet.running, "reported": fleet.reported}
                print(json.dumps(line), flush=True)
            else:
                print(
                    f"connected {connected} of {len(nodes)}, running {fleet.running}, reports {fleet.reported}",
                    flush=True,
                )


def _obey(fleet: Fleet, first: int) -> None:
    line = sys.stdin.readline()
    if not line:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        return
    verb, _, number = line.strip().partition(" ")
    if verb == "vanish" and number.isdigit():
        fleet.nodes[int(number) - first].vanish()


def main() -> None:
    """The program."""
    import uvloop

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", default="127.0.0.1:4647", help="host:port of a server's rpc listener")
    options.add_argument("--nodes", type=int, default=1000)
    options.add_argument("--first", type=int, default=0, help="number of the first node, for several such programs")
    options.add_argument("--racks", type=int, default=25)
    options.add_argument("--cpu", type=int, default=40_000, help="MHz of a node")
    options.add_argument("--memory", type=int, default=65_536, help="MiB of a node")
    options.add_argument("--every", type=float, default=1.0, help="seconds between lines")
    options.add_argument("--json", action="store_true", help="lines as JSON")
    options.add_argument("--listen", action="store_true", help="read `vanish NUMBER` from standard input")
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(simulate(options.parse_args()))


if __name__ == "__main__":
    main()
