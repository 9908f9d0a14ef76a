"""`import rove.jobspec` brings in nothing of weight: the command line starts with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rove.jobspec


def loaded_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(out.stdout.split())


def test_the_package_alone_loads_none_of_its_parts() -> None:
    modules = loaded_by("import rove.jobspec")
    assert not {"msgspec", "re2", "zoneinfo", "rove.structs.job", "rove.jobspec.schema"} & modules


def test_reading_a_plain_job_needs_no_regular_expressions_or_time_zones_of_users() -> None:
    code = "from rove.jobspec import *\nj = canonicalize(parse_job(EXAMPLE_JOB).api)\nassert not validate(j)"
    assert not {"re2", "zoneinfo", "numpy", "aiohttp", "asyncio"} & loaded_by(code)


def test_a_job_of_no_known_type_leaves_the_names_as_they_are() -> None:
    code = """
from rove import jobspec
try:
    jobspec.canonicalize({"ID": "x", "Type": "bogus"})
except Exception as error:
    assert "bogus" in str(error)
assert jobspec.validate(jobspec.canonicalize({"ID": "x"}))
"""
    assert "rove.jobspec.canonical" in loaded_by(code)


def test_every_name_it_promises_is_there() -> None:
    for name in rove.jobspec.__all__:
        assert getattr(rove.jobspec, name) is not None


def test_a_name_it_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = rove.jobspec.nothing_of_that_name  # type: ignore[attr-defined]
