"""Patterns mean the same on every Python 3.11: before 3.11.5 repeated groups with `*+` were matched wrongly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rove.jobspec.hcl import format as layout
from rove.jobspec.hcl import json_form, lexer

CORPUS = Path(__file__).parents[2] / "corpus" / "jobs"
DEBIANS = Path("/usr/bin/python3")
READ = """
import json, sys
from rove.jobspec.hcl.format import format_source
from rove.jobspec.hcl.parser import parse
found = {}
for path in sys.argv[1:]:
    text = open(path, encoding="utf-8", newline="").read()
    try:
        parse(text)
        found[path] = format_source(text)
    except Exception as error:
        found[path] = repr(error)
print(json.dumps(found))
"""


@pytest.mark.parametrize("module", [lexer, layout, json_form], ids=lambda module: module.__name__)
def test_no_pattern_repeats_a_group_possessively(module: ModuleType) -> None:
    patterns = [value.pattern for value in vars(module).values() if isinstance(value, re.Pattern)]
    assert patterns
    assert not [pattern for pattern in patterns if re.search(r"(?<!\\)\)[*+?]\+", pattern)]


def test_debians_python_reads_and_lays_out_every_job_file_alike() -> None:
    files = sorted(map(str, CORPUS.rglob("*.hcl"))) + sorted(map(str, CORPUS.rglob("*.nomad")))
    assert len(files) > 50
    ours = _read(sys.executable, files)
    other = _version(DEBIANS) if DEBIANS.exists() else None
    if other is None or other[:2] != sys.version_info[:2]:
        pytest.skip("there is no other Python of this version here")
    assert _read(str(DEBIANS), files) == ours


def _version(python: Path) -> tuple[int, ...]:
    said = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:3])"], stdout=subprocess.PIPE, check=True
    )
    return tuple(map(int, said.stdout.split()))


def _read(python: str, files: list[str]) -> dict[str, str]:
    search = ":".join(path for path in sys.path if path.endswith(("site-packages", "src")))
    environment = {"PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([python, "-c", READ, *files], stdout=subprocess.PIPE, env=environment, check=True)
    read: dict[str, str] = json.loads(done.stdout)
    return read
