"""The three jobs that Rove was asked for first, to the last field of their API form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rove.jobspec import canonicalize, job_to_api, parse_job, validate

HERE = Path(__file__).parent
JOBS = HERE.parent / "corpus" / "jobs"
EXAMPLES = ["raw-binary", "five-workers", "web-service"]


def read(name: str) -> dict[str, Any]:
    return parse_job((JOBS / f"{name}.nomad.hcl").read_text(), filename=f"{name}.nomad.hcl").api


def golden(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((HERE / "golden" / f"{name}.json").read_text())
    return value


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_parsed_job_is_what_an_api_client_would_send(name: str) -> None:
    assert read(name) == golden(f"{name}.parsed")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_stored_job_has_every_default(name: str) -> None:
    job = canonicalize(read(name))
    assert validate(job) == []
    assert job_to_api(job) == golden(f"{name}.stored")


def test_a_command_with_its_arguments_in_one_text_stays_one_text() -> None:
    task = read("raw-binary")["TaskGroups"][0]["Tasks"][0]
    assert task["Config"] == {"command": "my_service --arg1=test1 --arg2=test2"}
    assert task["Artifacts"][0]["GetterOptions"] == {"checksum": "md5:9e107d9d372bb6826bd81d3542a419d6"}


def test_five_workers_roll_with_two_canaries_and_a_deadline_that_leaves_time() -> None:
    update = canonicalize(read("five-workers")).task_groups[0].update
    assert update is not None
    assert (update.canary, update.max_parallel, update.auto_revert, update.auto_promote) == (2, 1, True, False)
    # the file sets healthy_deadline to the default of progress_deadline, which then moves out of its way
    assert update.healthy_deadline == 600_000_000_000
    assert update.progress_deadline == 900_000_000_000


def test_labels_of_a_container_are_a_map_however_they_are_written() -> None:
    task = read("web-service")["TaskGroups"][0]["Tasks"][0]
    assert task["Config"]["labels"] == {"group": "webserver"}
