"""What the tests of job files share: the corpus, and a small job to break in one place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rove.jobspec import Problem, canonicalize, parse_job, validate
from rove.structs.job import Job

CORPUS = Path(__file__).parent.parent / "corpus" / "jobs"

BASE = """
job "j" {{
  type = "{type}"
  {job}
  group "g" {{
    {group}
    task "t" {{
      driver = "{driver}"
      {config}
      {task}
    }}
  }}
}}
"""


def corpus_files() -> list[Path]:
    """Every job file of the corpus."""
    return sorted(each for each in CORPUS.iterdir() if each.suffix in (".hcl", ".json"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `corpus_file` runs once for each file of the corpus."""
    if "corpus_file" in metafunc.fixturenames:
        files = corpus_files()
        metafunc.parametrize("corpus_file", files, ids=[each.name.split(".")[0] for each in files])


@pytest.fixture
def corpus() -> list[Path]:
    """Every job file of the corpus."""
    return corpus_files()


@pytest.fixture
def job_text() -> Callable[..., str]:
    """Makes the text of a valid small job; text may be put into the job, its group and its task."""

    def make(
        *, type: str = "service", job: str = "", group: str = "", task: str = "", driver: str = "raw_exec",
        config: str = 'config { command = "x" }',
    ) -> str:  # fmt: skip
        return BASE.format(type=type, job=job, group=group, task=task, driver=driver, config=config)

    return make


@pytest.fixture
def make_job(job_text: Callable[..., str]) -> Callable[..., Job]:
    """Makes that job."""
    return lambda **parts: canonicalize(parse_job(job_text(**parts)).api)


@pytest.fixture
def problems(make_job: Callable[..., Job]) -> Callable[..., list[Problem]]:
    """Says what is wrong with that job."""
    return lambda **parts: validate(make_job(**parts))


@pytest.fixture
def api_job() -> Callable[..., dict[str, Any]]:
    """Makes a small job as an API client sends it."""

    def make(**fields: Any) -> dict[str, Any]:
        task = {"Name": "t", "Driver": "raw_exec", "Config": {"command": "x"}}
        return {"ID": "j", "TaskGroups": [{"Name": "g", "Tasks": [task]}], **fields}

    return make
