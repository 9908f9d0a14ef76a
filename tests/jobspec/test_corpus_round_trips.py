"""Every job file of the corpus: read, valid, settled, printed, and read again as the same job."""

from __future__ import annotations

import json
from pathlib import Path

from rove.jobspec import (
    canonicalize,
    decode_api_job,
    diff_jobs,
    format_hcl,
    job_to_api,
    job_to_hcl,
    parse_job,
    render_problems,
    spec_changed,
    validate,
    warnings,
)
from rove.structs.job import Job


def job_in(file: Path) -> Job:
    return canonicalize(parse_job(file.read_text(), filename=file.name).api)


def test_it_is_read_and_valid(corpus_file: Path) -> None:
    parsed = parse_job(corpus_file.read_text(), filename=corpus_file.name)
    problems = validate(canonicalize(parsed.api))
    assert problems == [], render_problems(parsed, problems)


def test_its_api_form_is_plain_json_and_means_the_same(corpus_file: Path) -> None:
    api = parse_job(corpus_file.read_text()).api
    again = decode_api_job(json.dumps({"Job": api}).encode())
    assert canonicalize(again) == canonicalize(api)


def test_defaults_are_filled_in_once(corpus_file: Path) -> None:
    job = job_in(corpus_file)
    assert canonicalize(job_to_api(job)) == job


def test_printed_and_read_again_it_is_the_same_job(corpus_file: Path) -> None:
    job = job_in(corpus_file)
    text = job_to_hcl(job)
    assert canonicalize(parse_job(text, filename="printed").api) == job
    assert format_hcl(text) == text


def test_the_form_that_was_parsed_prints_to_the_same_job_too(corpus_file: Path) -> None:
    parsed = parse_job(corpus_file.read_text())
    again = parse_job(job_to_hcl(parsed.api), filename="printed")
    assert canonicalize(again.api) == canonicalize(parsed.api)


def test_unchanged_it_has_no_difference(corpus_file: Path) -> None:
    job, same = job_in(corpus_file), job_in(corpus_file)
    assert not spec_changed(job, same)
    diff = diff_jobs(job, same)
    assert (diff["Type"], diff["Fields"], diff["Objects"]) == ("None", [], [])
    assert all(group["Type"] == "None" for group in diff["TaskGroups"])


def test_advice_is_text(corpus_file: Path) -> None:
    assert all(isinstance(line, str) and line for line in warnings(job_in(corpus_file)))


def test_the_corpus_is_large_and_uses_every_word_of_the_language() -> None:
    from rove.jobspec.schema import JOB, Body

    corpus = Path(__file__).parent.parent / "corpus" / "jobs"
    files = [each.read_text() for each in corpus.iterdir() if each.suffix == ".hcl"]
    assert len(files) >= 150
    text = "\n".join(files)
    seen: set[int] = set()
    unused: set[str] = set()

    def look(body: Body) -> None:
        if id(body) in seen:
            return
        seen.add(id(body))
        unused.update(f"{body.name}.{word}" for word in body.known if word not in text)
        for nest in body.blocks.values():
            look(nest.body)

    look(JOB)
    assert unused == set()
