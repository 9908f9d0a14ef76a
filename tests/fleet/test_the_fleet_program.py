"""`python -m bench.nodesim` refuses what makes no sense, and says why nothing connects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rove.testing.server_process import free_ports

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("given", [("--racks", "0"), ("--nodes", "-4"), ("--every", "nan")])
def test_numbers_that_make_no_sense_are_refused(given: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "bench.nodesim", *given]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f"argument {given[0]}: {given[1]} is below" in ended.stderr


@pytest.fixture
def unconnected() -> Iterator[subprocess.Popen[str]]:
    """The program with two nodes, 100 and 101, and the address of no server."""
    (port,) = free_ports(1)
    command = [
        sys.executable, "-m", "bench.nodesim", "--server", f"127.0.0.1:{port}", "--nodes", "2", "--first", "100",
        "--json", "--listen", "--every", "0.05",
    ]  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        yield process
        process.kill()


def test_a_fleet_without_a_server_says_what_is_wrong(unconnected: subprocess.Popen[str]) -> None:
    assert unconnected.stdout is not None
    problems = (json.loads(line)["problem"] for line in unconnected.stdout)
    assert "Cannot connect" in next(problem for problem in problems if problem)


def test_a_node_that_is_not_there_cannot_vanish(unconnected: subprocess.Popen[str]) -> None:
    assert unconnected.stdin is not None
    assert unconnected.stderr is not None
    unconnected.stdin.write("vanish 99\nvanish 100\nvanish 99999\nvanish x\n")
    unconnected.stdin.flush()
    assert [unconnected.stderr.readline() for _ in range(3)] == [
        "there is no node 99 here: 100 to 101\n",
        "there is no node 99999 here: 100 to 101\n",
        "'vanish x' was not understood: write vanish NUMBER\n",
    ]
