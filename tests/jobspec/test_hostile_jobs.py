"""Whatever arrives, the answer is a job or an error for people; never a traceback."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from rove.errors import RoveError
from rove.jobspec import (
    JobFileError,
    add_implied_constraints,
    annotate,
    canonicalize,
    decode_api_job,
    diff_jobs,
    job_to_api,
    job_to_hcl,
    parse_job,
    render_problems,
    validate,
    warnings,
)
from rove.structs.job import Job

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**63 - 1, -(2**63) + 1, 2**64, 1.5, 1e300, "", " ", "x", "\0", "${", "{{ a/b }}",
    "é" * 50,
    [], [None], [[]], ["x"], {}, {"": ""}, {"ID": 1}, [{}], "9" * 400, "(" * 200, "../" * 30,
]  # fmt: skip


def use(job: Job) -> None:
    """Everything the server and the command line do with a job that they accepted or refuse."""
    problems = validate(job)
    assert all(each.text and "\n" not in each.text for each in problems)
    warnings(job)
    add_implied_constraints(job)
    annotate(diff_jobs(None, job, contextual=True), {})
    annotate(diff_jobs(job, canonicalize({"ID": "other"})), {})
    assert canonicalize(job_to_api(job)) == job


def mutated(text: str, rng: random.Random) -> str:
    """The text with one to three small accidents."""
    for _ in range(rng.randint(1, 3)):
        if not text:
            return text
        at, end = sorted(rng.randrange(len(text)) for _ in range(2))
        end = min(end, at + rng.choice([1, 3, 10, 80]))
        insert = rng.choice(
            [
                "",
                "",
                "{",
                "}",
                '"',
                "=",
                "[",
                "${",
                "%{",
                "\n",
                "\0",
                "<<EOT\n",
                "null",
                "-1",
                "# ",
                "é",
                text[at:end] * 2,
            ]
        )
        text = text[:at] + insert + text[end:]
    return text


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_a_job_or_a_positioned_error(seed: int, corpus: list[Path]) -> None:
    rng = random.Random(seed)
    for _ in range(40):
        file = rng.choice(corpus)
        text = mutated(file.read_text(), rng)
        try:
            parsed = parse_job(text, filename="damaged")
        except JobFileError as error:
            assert error.diagnostics
            assert all(each.range is not None for each in error.diagnostics if each.is_error)
            assert str(error)
            continue
        try:
            job = canonicalize(parsed.api)
        except RoveError:
            continue
        use(job)
        render_problems(parsed, validate(job))
        job_to_hcl(parsed.api)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key inside of a value."""
    found = []
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_body_is_a_job_or_an_error_for_people(seed: int, corpus: list[Path]) -> None:
    rng = random.Random(seed)
    apis = [job_to_api(canonicalize(parse_job(file.read_text()).api)) for file in rng.sample(corpus, 6)]
    for _ in range(40):
        body = copy.deepcopy(rng.choice(apis))
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(places(body))
            container[key] = copy.deepcopy(rng.choice(ODD))
        try:
            job = canonicalize(decode_api_job(json.dumps({"Job": body}).encode()))
        except RoveError as error:
            assert error.status in (400, 500)
            assert error.what
            continue
        use(job)


TASK = 'task "t%d" {\n driver = "raw_exec"\n config {\n command = "/bin/x"\n}\n}\n'
CONDITION = 'constraint {\n attribute = "x"\n value = "y"\n}\n'
LARGE = {
    "tasks without groups": "".join(TASK % at for at in range(12_000)),
    "20,000 equal constraints": CONDITION * 20_000 + TASK % 0,
    "50,000 datacenters": "datacenters = [" + ",".join(f'"dc{at}"' for at in range(50_000)) + "]\n" + TASK % 0,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", LARGE)
def test_the_work_grows_no_faster_than_the_job(name: str) -> None:
    job = canonicalize(parse_job(f'job "a" {{\n{LARGE[name]}}}\n').api)
    changed = canonicalize({**job_to_api(job), "Datacenters": [*reversed(job.datacenters), "other"]})
    annotate(diff_jobs(None, job, contextual=True), {})
    assert diff_jobs(job, changed)["Type"] == "Edited"
    assert not validate(job)
    assert job_to_hcl(job).count("task ") == sum(len(group.tasks) for group in job.task_groups)


def test_secrets_are_not_copied_to_thousands_of_tasks() -> None:
    secrets = "".join(f'secret "s{at}" {{\n provider = "nomad"\n path = "x"\n}}\n' for at in range(3000))
    with pytest.raises(JobFileError, match="more than 2000"):
        parse_job('job "a" {\n' + secrets + "".join(TASK % at for at in range(3000)) + "}\n")


def test_a_problem_of_a_task_without_a_group_is_shown_in_the_file() -> None:
    text = 'job "a" {\n task "t" {\n  driver = "raw_exec"\n  identity {\n   name = "x"\n   ttl = "-1s"\n  }\n }\n}\n'
    parsed = parse_job(text, filename="f")
    shown = render_problems(parsed, validate(canonicalize(parsed.api)))
    assert "f:2:2: " in shown
    assert "f:6:" in shown or "f:4:" in shown
