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
import threading
from collections.abc import Callable

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
            listening = (asyncio.get_running_loop(), fleet, numbers)
            threading.Thread(target=_listen, args=listening, daemon=True).start()
        while True:
            await asyncio.sleep(options.every)
            connected = sum(1 for node in fleet.nodes if node.is_connected)
            if connected == len(nodes) and not gc.get_freeze_count():
                gc.freeze()
            problem = fleet.problem if connected < len(nodes) else ""
            if options.json:
                line = {"connected": connected, "running": fleet.running, "reported": fleet.reported}
                print(json.dumps({**line, "problem": problem}), flush=True)
            else:
                text = f"connected {connected} of {len(nodes)}, running {fleet.running}, reports {fleet.reported}"
                print(f"{text}; last failure: {problem}" if problem else text, flush=True)


def _listen(loop: asyncio.AbstractEventLoop, fleet: Fleet, numbers: range) -> None:
    # Unbuffered: lines that come together are all obeyed, and no lock is held when the program ends.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as lines, contextlib.suppress(RuntimeError):
        for line in lines:
            loop.call_soon_threadsafe(_obey, line.decode(errors="replace"), fleet, numbers)


def _obey(line: str, fleet: Fleet, numbers: range) -> None:
    try:
        fleet.nodes[vanishing(line, numbers)].vanish()
    except ValueError as error:
        print(error, file=sys.stderr, flush=True)


def vanishing(line: str, numbers: range) -> int:
    """The place in `numbers` of the node that a line such as ``vanish 7`` names. Raises `ValueError`."""
    verb, _, number = line.strip().partition(" ")
    if verb != "vanish" or not (number.isascii() and number.isdigit()):
        raise ValueError(f"{line.strip()[:80]!r} was not understood: write vanish NUMBER")
    try:
        return numbers.index(int(number[:80]))
    except ValueError:
        raise ValueError(f"there is no node {number[:80]} here: {numbers[0]} to {numbers[-1]}") from None


def at_least(least: float, kind: type[float] = int) -> Callable[[str], float]:
    """Reads a number of an option that is not below `least`."""

    def number(text: str) -> float:
        found = kind(text)
        if not least <= found < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is below {least}, or no number")
        return found

    return number


def main() -> None:
    """The program."""
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(simulate(arguments().parse_args()))


def arguments() -> argparse.ArgumentParser:
    """What the program takes."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", default="127.0.0.1:4647", help="host:port of a server's rpc listener")
    options.add_argument("--nodes", type=at_least(1), default=1000)
    options.add_argument(
        "--first", type=at_least(0), default=0, help="number of the first node, for several such programs"
    )
    options.add_argument("--racks", type=at_least(1), default=25)
    options.add_argument("--cpu", type=at_least(1), default=40_000, help="MHz of a node")
    options.add_argument("--memory", type=at_least(1), default=65_536, help="MiB of a node")
    options.add_argument("--every", type=at_least(0.01, float), default=1.0, help="seconds between lines")
    options.add_argument("--json", action="store_true", help="lines as JSON")
    options.add_argument("--listen", action="store_true", help="read `vanish NUMBER` from standard input")
    return options


if __name__ == "__main__":
    main()
