"""The table of commands names modules; every one of them must be there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rove.cli.command import Noun, Verb
from rove.cli.tree import TREE


def _paths(table: dict[str, Any], *before: str) -> Iterator[tuple[str, ...]]:
    for name, entry in table.items():
        if isinstance(entry, Noun):
            yield (*before, name)
            yield from _paths(entry.verbs, *before, name)
        else:
            assert isinstance(entry, Verb)
            yield (*before, name)


@pytest.mark.parametrize("path", list(_paths(TREE)), ids=" ".join)
def test_a_command_explains_itself(path: tuple[str, ...], rove: Any) -> None:
    for flag in ("-h", "-help", "--help"):
        result = rove(*path, flag)
        assert result.code == 0
        assert result.out.startswith(f"Usage: rove {' '.join(path)}")
        assert result.err == ""


def test_a_noun_alone_lists_its_verbs(rove: Any) -> None:
    result = rove("job")
    assert result.code == 1
    assert "validate" in result.out


def _modules_after(*args: str) -> set[str]:
    program = (
        "import sys; from rove.cli.main import run; run(sys.argv[1:]); print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_version_is_told_without_loading_an_http_client() -> None:
    assert not {"http.client", "aiohttp", "rich", "numpy", "ssl"} & _modules_after("version")


def test_a_call_of_the_api_loads_no_asynchronous_client() -> None:
    assert not {"aiohttp", "asyncio", "numpy", "rich"} & _modules_after(
        "job", "status", "-address", "http://127.0.0.1:1"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_printed(shell: str, rove: Any) -> None:
    result = rove("completion", shell)
    assert result.code == 0
    assert "_ROVE_COMPLETE" in result.out
